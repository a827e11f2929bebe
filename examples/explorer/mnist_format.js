/* Convert the image of one digit to MNIST's format, as minicnn/recognizer/mnist_format.py does.

   The names are those of the Python module, whose comments give the reasons. An ink image is
   { H, W, data }, data a Float32Array: 0 is paper, 1 the darkest ink. */

const IMAGE_SIZE = 28;
const DIGIT_SIZE = 20; // longer side of the digit inside the image
const CENTER = 14; // pixel index of the center of mass in every MNIST image
const SUPERSAMPLING = 8; // stroke widths are measured and corrected at 8 times the resolution
const MIN_STROKE_WIDTH = 2.2, MAX_STROKE_WIDTH = 4.0; // in pixels of the 28×28 image
const MIN_AREA = 0.02; // a region smaller than this part of the largest is not part of the digit
const MAX_DISTANCE = 0.4; // nor is one farther from it than this part of its longer side

/**
 * Convert a gray image of one digit to the format of MNIST's images.
 * @param {{ H: number, W: number, data: Uint8Array }} gray
 * @returns {?Uint8Array} 28·28, 255 is ink; null for a blank image
 */
function toMnistFormat(gray) {
  const foreground = segmentForeground(gray);
  return foreground && normalizeDigit(selectDigit(foreground));
}

/** Keep the ink of the largest region and of the regions near it. */
function selectDigit({ levels, peak, regions, isUniform, isFramed }) {
  const { H, W } = levels;
  const minArea = MIN_AREA * sumOf(regions.map(({ pixels }) => pixels.length));
  // On a photo, the edge of a table or a shadow reaches the border; the digit does not.
  const inside = regions.filter(({ top, left, bottom, right, pixels }) =>
    (isFramed || (top > 0 && left > 0 && bottom < H && right < W)) && pixels.length > minArea);
  const candidates = !isUniform && inside.length ? inside : regions;
  const largest = candidates.reduce((a, b) => (b.pixels.length > a.pixels.length ? b : a));
  const { top, left, bottom, right } = largest;
  const maxGap = MAX_DISTANCE * Math.max(bottom - top, right - left);
  const selected = candidates.filter((region) =>
    Math.max(region.top - bottom, top - region.bottom) <= maxGap &&
    Math.max(region.left - right, left - region.right) <= maxGap &&
    region.pixels.length >= MIN_AREA * largest.pixels.length);
  const data = new Float32Array(H * W);
  for (const { pixels } of selected) {
    for (const pixel of pixels) data[pixel] = Math.min(levels.data[pixel] / peak, 1);
  }
  return { H, W, data };
}

/** Correct the stroke width, resize to 20 pixels and center by mass. */
function normalizeDigit(ink) {
  const digit = correctStrokeWidth(cropToInk(ink));
  return centerByMass(resize(digit, DIGIT_SIZE / Math.max(digit.H, digit.W), "bilinear"));
}

/** Crop to the bounding box of the nonzero pixels. */
function cropToInk(image) {
  const { H, W, data } = image;
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
  return crop(image, top, bottom, left, right);
}

/** Resize by area averaging when shrinking, by `upsampling` when enlarging. */
function resize(image, scale, upsampling) {
  const [H, W] = [image.H, image.W].map((n) => Math.max(1, roundHalfEven(n * scale)));
  return resample(image, H, W, scale > 1 ? upsampling : "box");
}

// ---------------------------------------------------------------- stroke width

/** Dilate or erode until the mean stroke width is in MNIST's range. */
function correctStrokeWidth(digit) {
  const fine = supersample(digit);
  const width = strokeWidth(fine) / SUPERSAMPLING;
  const target = Math.min(Math.max(width, MIN_STROKE_WIDTH), MAX_STROKE_WIDTH);
  if (target === width) return digit;
  const growth = ((DIGIT_SIZE / 2) * (target - width)) / (DIGIT_SIZE - target); // on each side
  const radius = Math.abs(growth) * SUPERSAMPLING;
  const changed = growth > 0
    ? dilate(padWithPaper(fine, Math.ceil(radius)), radius)
    : invert(dilate(invert(fine), radius)); // erosion
  return maximum(changed.data) > 0 ? cropToInk(changed) : digit;
}

/** Enlarge to 160 pixels, with a pixel of paper around. */
function supersample(digit) {
  const scale = (DIGIT_SIZE * SUPERSAMPLING) / Math.max(digit.H, digit.W);
  const enlarged = resize(padWithPaper(digit, 2), scale, "bicubic");
  const { data } = enlarged;
  // A line much thinner than a pixel is pale. Scale until half of the ink is fully dark.
  const half = 0.5 * maximum(data);
  const fullInk = Math.fround(median(data.filter((value) => value > half)));
  for (let i = 0; i < data.length; i++) {
    const density = Math.min(data[i] / fullInk, 1);
    data[i] = density > 0.25 ? density : 0;
  }
  return padWithPaper(cropToInk(enlarged), 1);
}

/** Compute the mean stroke width in pixels, from the distance transform. */
function strokeWidth({ H, W, data }) {
  const squared = squaredDistanceTransform(data.map((value) => (value > 0.5 ? 1 : 0)), H, W);
  let sum = 0, count = 0;
  for (let i = 0; i < squared.length; i++) {
    if (squared[i] === 0) continue;
    // The edge lies half a pixel before the center of the first background pixel.
    sum += Math.sqrt(squared[i]) - 0.5;
    count++;
  }
  // Across a stroke of width w, the distance runs evenly from 0 to w/2: its mean is w/4.
  return (4 * sum) / count;
}

/**
 * Compute the squared distance of each pixel to the nearest background pixel.
 * First along each column; then along each row the minimum of dx² + column².
 */
function squaredDistanceTransform(mask, H, W) {
  const column = new Int32Array(H * W), squared = new Int32Array(H * W);
  for (let w = 0; w < W; w++) {
    for (let h = 0, distance = 0; h < H; h++) {
      distance = mask[h * W + w] ? distance + 1 : 0;
      column[h * W + w] = distance;
    }
    for (let h = H - 1, distance = 0; h >= 0; h--) {
      distance = mask[h * W + w] ? distance + 1 : 0;
      column[h * W + w] = Math.min(column[h * W + w], distance);
    }
  }
  for (let h = 0; h < H; h++) {
    for (let w = 0; w < W; w++) {
      // Outside the image is background.
      let nearest = Math.min(column[h * W + w] ** 2, (w + 1) ** 2, (W - w) ** 2);
      for (let dx = 1; dx * dx < nearest; dx++) {
        nearest = Math.min(nearest, dx * dx + column[h * W + w - dx] ** 2);
        nearest = Math.min(nearest, dx * dx + column[h * W + w + dx] ** 2);
      }
      squared[h * W + w] = nearest;
    }
  }
  return squared;
}

/** Dilate gray levels with a disk, as a wider pen would. */
function dilate(image, radius) {
  const reach = Math.floor(radius), { H, W } = image;
  const padded = padWithEdge(image, reach);
  const rowMax = padded.data.slice(); // maximum over the pixels from w - half to w + half
  const out = image.data.slice();
  // From the top row of the disk to its middle each row is wider, so rowMax only grows.
  for (let dy = reach, half = 0; dy >= 0; dy--) {
    for (; (half + 1) ** 2 + dy * dy <= radius * radius; half++) {
      for (let h = 0; h < padded.H; h++) {
        for (let w = reach; w < reach + W; w++) {
          const i = h * padded.W + w, k = half + 1;
          rowMax[i] = Math.max(rowMax[i], padded.data[i - k], padded.data[i + k]);
        }
      }
    }
    for (let h = 0; h < H; h++) {
      for (let w = 0; w < W; w++) {
        const above = rowMax[(h + reach - dy) * padded.W + w + reach];
        const below = rowMax[(h + reach + dy) * padded.W + w + reach];
        out[h * W + w] = Math.max(out[h * W + w], above, below);
      }
    }
  }
  return { H, W, data: out };
}

/** Swap ink and paper. */
function invert(image) {
  return { ...image, data: image.data.map((value) => 1 - value) };
}

// ---------------------------------------------------------------- placement

/** Rescale to 0..255 and place the center of mass at (14, 14). */
function centerByMass({ H, W, data }) {
  const factor = Math.fround(255 / maximum(data));
  // Faint edge pixels keep at least level 1; otherwise the longer side would be 19 pixels.
  const levels = data.map((value) =>
    value > 0 ? Math.max(roundHalfEven(Math.fround(value * factor)), 1) : 0);
  let mass = 0, y = 0, x = 0;
  levels.forEach((level, i) => {
    mass += level;
    y += level * Math.floor(i / W);
    x += level * (i % W);
  });
  // The whole digit stays inside the image.
  const offset = (center, n) =>
    Math.min(Math.max(roundHalfEven(CENTER - center), 0), IMAGE_SIZE - n);
  const top = offset(y / mass, H), left = offset(x / mass, W);
  const image = new Uint8Array(IMAGE_SIZE * IMAGE_SIZE);
  levels.forEach((level, i) => {
    image[(top + Math.floor(i / W)) * IMAGE_SIZE + left + (i % W)] = level;
  });
  return image;
}

// ---------------------------------------------------------------- as in NumPy

/** Pad with zeros on all four sides. */
function padWithPaper({ H, W, data }, margin) {
  const paddedW = W + 2 * margin, padded = new Float32Array((H + 2 * margin) * paddedW);
  for (let h = 0; h < H; h++) {
    padded.set(data.subarray(h * W, (h + 1) * W), (h + margin) * paddedW + margin);
  }
  return { H: H + 2 * margin, W: paddedW, data: padded };
}

/** Pad with the nearest edge pixel on all four sides. */
function padWithEdge({ H, W, data }, margin) {
  const paddedH = H + 2 * margin, paddedW = W + 2 * margin;
  const padded = new Float32Array(paddedH * paddedW);
  for (let h = 0; h < paddedH; h++) {
    const source = Math.min(Math.max(h - margin, 0), H - 1) * W, row = h * paddedW;
    padded.set(data.subarray(source, source + W), row + margin);
    padded.fill(data[source], row, row + margin);
    padded.fill(data[source + W - 1], row + margin + W, row + paddedW);
  }
  return { H: paddedH, W: paddedW, data: padded };
}

/** Compute the median; with an even count, the mean of the two middle values. */
function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Compute the maximum of values that are 0 or more. */
function maximum(values) {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, values[i]);
  return max;
}
