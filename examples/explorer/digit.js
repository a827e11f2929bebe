/* Convert the image of a digit to MNIST's format, as minicnn/recognizer/mnist_format.py does: stroke
   width in MNIST's range, longer side 20 pixels, center of mass at the center of 28×28.

   Pictures of darkness are { H, W, data }, data a Float32Array: 0 is paper, 1 the darkest ink. */

const BOX = 20; // longer side of a digit
const FIELD = 28; // side of the whole
const FINE = 8; // pixels of the fine picture to one of the field, in each direction
const CENTER = 14; // where the center of mass of every MNIST digit lies
const THINNEST = 2.2, WIDEST = 4.0; // stroke widths in pixels of the field

/**
 * Turn a gray picture of one digit into what the network knows.
 * @param {{ H: number, W: number, data: Uint8Array }} gray
 * @returns {?Uint8Array} 28·28, 255 is ink; null where nothing is drawn
 */
function toMnist(gray) {
  const darkness = findDigit(gray);
  return darkness && fitToField(darkness);
}

function fitToField(darkness) {
  const crop = cropped(darkness);
  const change = changeOfWidth(crop);
  return placed(boxed(change === 0 ? crop : redrawn(crop, change)));
}

/** The middle one of some numbers, or the mean of the two in the middle. */
function median(numbers) {
  const sorted = Float64Array.from(numbers).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Cut away the empty rows and columns around the ink. */
function cropped(picture) {
  const { H, W, data } = picture;
  let top = H, bottom = 0, left = W, right = 0;
  for (let h = 0; h < H; h++) {
    for (let w = 0; w < W; w++) {
      if (data[h * W + w] === 0) continue;
      top = Math.min(top, h);
      bottom = h + 1;
      left = Math.min(left, w);
      right = Math.max(right, w + 1);
    }
  }
  return part(picture, top, bottom, left, right);
}

/** Scale: by averaging where the picture becomes smaller, by `how` where it becomes larger. */
function scaledBy(picture, scale, how) {
  const [H, W] = [picture.H, picture.W].map((n) => Math.max(1, roundHalfEven(n * scale)));
  return resized(picture, H, W, scale > 1 ? how : "box");
}

/** A margin around a picture, of paper or of the pixels next to it. @param {"paper"|"edge"} fill */
function padded({ H, W, data }, margin, fill) {
  const PH = H + 2 * margin, PW = W + 2 * margin, wide = new Float32Array(PH * PW);
  for (let h = 0; h < PH; h++) {
    const inside = Math.min(Math.max(h - margin, 0), H - 1); // the row next to it
    if (fill === "paper" && inside !== h - margin) continue;
    const row = h * PW;
    wide.set(data.subarray(inside * W, (inside + 1) * W), row + margin);
    if (fill === "paper") continue;
    wide.fill(data[inside * W], row, row + margin);
    wide.fill(data[(inside + 1) * W - 1], row + margin + W, row + PW);
  }
  return { H: PH, W: PW, data: wide };
}

// ---------------------------------------------------------------- the width of the strokes

/** What is missing on each side of a stroke (or, negative, too much), in pixels of the field. */
function changeOfWidth(crop) {
  const width = strokeWidth(fine(crop, 0)) / FINE;
  const target = Math.min(Math.max(width, THINNEST), WIDEST);
  return ((BOX / 2) * (target - width)) / (BOX - target);
}

/** The digit 160 pixels long, with smooth edges; half of its ink is fully dark. */
function fine(crop, margin) {
  const scale = (BOX * FINE) / Math.max(crop.H, crop.W);
  const smooth = scaledBy(padded(crop, 2 + Math.ceil(margin / scale), "paper"), scale, "cubic");
  const { data } = smooth;
  const half = 0.5 * largest(data);
  const dark = Math.fround(median(data.filter((value) => value > half)));
  for (let i = 0; i < data.length; i++) data[i] = Math.min(Math.max(data[i] / dark, 0), 1);
  return smooth;
}

function largest(numbers) {
  let most = 0;
  for (let i = 0; i < numbers.length; i++) most = Math.max(most, numbers[i]);
  return most;
}

/** The mean width of the strokes in pixels: distances to the edge run from 0 to half of it. */
function strokeWidth({ H, W, data }) {
  const squared = squaredDistances(data.map((value) => (value > 0.5 ? 1 : 0)), H, W);
  let sum = 0, count = 0;
  for (let i = 0; i < squared.length; i++) {
    if (squared[i] === 0) continue;
    sum += Math.sqrt(squared[i]) - 0.5; // the edge lies half a pixel before the first one outside
    count++;
  }
  return (4 * sum) / count;
}

/** For each pixel the squared distance to the nearest one that is not inside; see distance.py. */
function squaredDistances(inside, H, W) {
  const column = new Int32Array(H * W), d2 = new Int32Array(H * W);
  for (let w = 0; w < W; w++) {
    for (let h = 0, steps = 0; h < H; h++) {
      steps = inside[h * W + w] ? steps + 1 : 0;
      column[h * W + w] = steps;
    }
    for (let h = H - 1, steps = 0; h >= 0; h--) {
      steps = inside[h * W + w] ? steps + 1 : 0;
      column[h * W + w] = Math.min(column[h * W + w], steps);
    }
  }
  for (let h = 0; h < H; h++) {
    for (let w = 0; w < W; w++) {
      let best = Math.min(column[h * W + w] ** 2, (w + 1) ** 2, (W - w) ** 2);
      for (let way = 1; way * way < best; way++) {
        best = Math.min(best, way * way + column[h * W + w - way] ** 2);
        best = Math.min(best, way * way + column[h * W + w + way] ** 2);
      }
      d2[h * W + w] = best;
    }
  }
  return d2;
}

/** Draw the digit with strokes that are wider by `change` on each side, or narrower. */
function redrawn(crop, change) {
  const radius = Math.abs(change) * FINE;
  const negative = (picture) => ({ ...picture, data: picture.data.map((value) => 1 - value) });
  const drawn = change > 0
    ? widened(fine(crop, Math.ceil(radius)), radius)
    : negative(widened(negative(fine(crop, 0)), radius)); // less ink is more paper
  drawn.data = drawn.data.map((value) => (value > 0.25 ? value : 0));
  return largest(drawn.data) > 0 ? cropped(drawn) : crop;
}

/** Give each pixel the largest value within a radius: the ink of a pen that much wider.
    The disc is taken row by row, from its tips to its middle: each row is wider than the last. */
function widened(picture, radius) {
  const reach = Math.floor(radius), { H, W } = picture;
  const wide = padded(picture, reach, "edge");
  const rows = wide.data.slice(); // the largest of each pixel and `half` on either side of it
  const out = picture.data.slice();
  for (let dy = reach, half = 0; dy >= 0; dy--) {
    for (; (half + 1) ** 2 + dy * dy <= radius * radius; half++) {
      for (let h = 0; h < wide.H; h++) {
        for (let w = reach; w < reach + W; w++) {
          const i = h * wide.W + w, k = half + 1;
          rows[i] = Math.max(rows[i], wide.data[i - k], wide.data[i + k]);
        }
      }
    }
    for (let h = 0; h < H; h++) {
      for (let w = 0; w < W; w++) {
        const above = rows[(h + reach - dy) * wide.W + w + reach];
        const below = rows[(h + reach + dy) * wide.W + w + reach];
        out[h * W + w] = Math.max(out[h * W + w], above, below);
      }
    }
  }
  return { H, W, data: out };
}

// ---------------------------------------------------------------- the field

/** Scale to a longer side of 20 pixels. */
function boxed(crop) {
  return scaledBy(crop, BOX / Math.max(crop.H, crop.W), "linear");
}

/** Stretch to 255, and put the center of mass at the middle of the field. */
function placed({ H, W, data }) {
  const stretch = Math.fround(255 / largest(data));
  // An edge that is ink at all stays so: 1 of 255 at least.
  const levels = data.map((value) =>
    value > 0 ? Math.max(roundHalfEven(Math.fround(value * stretch)), 1) : 0);
  let mass = 0, down = 0, across = 0;
  levels.forEach((level, i) => {
    mass += level;
    down += level * Math.floor(i / W);
    across += level * (i % W);
  });
  const start = (center, n) =>
    Math.min(Math.max(roundHalfEven(CENTER - center), 0), FIELD - n);
  const top = start(down / mass, H), left = start(across / mass, W);
  const field = new Uint8Array(FIELD * FIELD);
  levels.forEach((level, i) => {
    field[(top + Math.floor(i / W)) * FIELD + left + (i % W)] = level;
  });
  return field;
}
