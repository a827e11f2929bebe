/* Separate ink from paper, as minicnn/recognizer/segmentation.py does on uniform paper. The paper
   lies along the border; ink is darker or brighter.

   A gray picture is { H, W, data }, data a Uint8Array in rows; 0 is black. */

const NOISE = 12; // gray levels by which a small JPEG may differ from what was drawn
const FAINTEST = 16; // shades; what differs less from the paper is no ink
const SPECK = 0.02; // a piece smaller than this share of the largest is no part of a digit
const NEAR = 0.4; // nor is one that lies further from it than this share of its longer side

/** The part [top, bottom) × [left, right) of a picture. */
function part({ W, data }, top, bottom, left, right) {
  const cut = new data.constructor((bottom - top) * (right - left));
  for (let h = top; h < bottom; h++) {
    cut.set(data.subarray(h * W + left, h * W + right), (h - top) * (right - left));
  }
  return { H: bottom - top, W: right - left, data: cut };
}

/** How often each of the 256 levels occurs in one or more lists. */
function countsOf(...lists) {
  const counts = new Float64Array(256);
  for (const levels of lists) {
    for (let i = 0; i < levels.length; i++) counts[levels[i]]++;
  }
  return counts;
}

/** How often each level occurs along the four edges. */
function borderCounts(picture) {
  const { H, W } = picture;
  const k = Math.max(1, Math.floor(Math.min(H, W) / 32)), inside = Math.max(H - k, k);
  const strips = [
    part(picture, 0, k, 0, W), part(picture, H - k, H, 0, W),
    part(picture, k, inside, 0, k), part(picture, k, inside, W - k, W),
  ];
  return countsOf(...strips.map(({ data }) => data));
}

/** The level in the middle, or the mean of the two in the middle. */
function medianLevel(counts) {
  const total = sumOf(counts);
  const levelAt = (index) => {
    let level = 0;
    for (let seen = counts[0]; seen <= index; seen += counts[level]) level++;
    return level;
  };
  return (levelAt((total - 1) >> 1) + levelAt(total >> 1)) / 2;
}

/** Whether the paper has one color, unlike that of a photo. */
function isEven(gray) {
  const counts = borderCounts(gray), paper = medianLevel(counts);
  const noise = Math.max(gray.H, gray.W) > 128 ? 0 : NOISE;
  const near = counts.filter((_, level) => Math.abs(level - paper) <= noise);
  return sumOf(near) >= 0.4 * sumOf(counts);
}

/** How far each pixel is from the paper, 0 to 255; ink is on the side with more contrast. */
function shadesOf(gray) {
  const { H, W } = gray;
  const edge = borderCounts(gray), paper = medianLevel(edge);
  let darker = 0, brighter = 0;
  countsOf(gray.data).forEach((count, level) => {
    if (level < paper) darker += count * (level - paper) ** 2;
    else brighter += count * (level - paper) ** 2;
  });
  const table = Uint8Array.from({ length: 256 }, (_, level) => {
    const share = darker >= brighter
      ? (paper - level) / Math.max(paper, 1)
      : (level - paper) / Math.max(255 - paper, 1);
    return roundHalfEven(Math.min(Math.max(share, 0), 1) * 255);
  });
  const edgeShades = new Float64Array(256); // how often each shade occurs along the edges
  table.forEach((shade, level) => {
    edgeShades[shade] += edge[level];
  });
  const ground = Math.trunc(medianLevel(edgeShades));
  const data = new Uint8Array(H * W);
  for (let i = 0; i < data.length; i++) data[i] = Math.max(table[gray.data[i]] - ground, 0);
  return { H, W, data };
}

/** The n-th largest shade. */
function nthLargest(levels, n) {
  const counts = countsOf(levels), wanted = Math.min(n, levels.length);
  let shade = 255;
  for (let seen = counts[255]; seen < wanted; seen += counts[shade]) shade--;
  return shade;
}

/** How dark the paper itself gets: printed lines run from one edge to the edge opposite. */
function printedShade(shades) {
  const { H, W } = shades;
  const k = Math.max(1, Math.floor(Math.min(H, W) / 32));
  const h = Math.floor(H / 8), w = Math.floor(W / 8);
  const n = Math.max(1, Math.floor((k * Math.max(H, W)) / 500));
  const darkest = (...box) => nthLargest(part(shades, ...box).data, n);
  return Math.max(
    Math.min(darkest(h, H - h, 0, k), darkest(h, H - h, W - k, W)),
    Math.min(darkest(0, k, w, W - w), darkest(H - k, H, w, W - w)),
  );
}

/** The shade half way between mean paper and mean ink (Ridler and Calvard, 1978). */
function threshold(shades, peak) {
  const counts = countsOf(shades.data);
  let level = peak / 2;
  for (let round = 0; round < 10; round++) {
    const sums = [0, 0], numbers = [0, 0];
    counts.forEach((count, shade) => {
      const value = Math.min(shade, peak), side = value > level ? 1 : 0;
      sums[side] += count * value;
      numbers[side] += count;
    });
    level = (sums[1] / Math.max(1, numbers[1]) + sums[0] / Math.max(1, numbers[0])) / 2;
  }
  return level;
}

/**
 * The pieces of a mask that hang together, by sides or corners, in reading order.
 * @param {Uint8Array} mask H·W, 1 is ink
 * @returns {{ top, left, bottom, right, pixels: number[] }[]}
 */
function piecesOf(mask, H, W) {
  const seen = new Uint8Array(mask.length), pieces = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const piece = { top: H, left: W, bottom: 0, right: 0, pixels: [start] };
    seen[start] = 1;
    for (let next = 0; next < piece.pixels.length; next++) {
      const h = Math.floor(piece.pixels[next] / W), w = piece.pixels[next] % W;
      piece.top = Math.min(piece.top, h);
      piece.bottom = Math.max(piece.bottom, h + 1);
      piece.left = Math.min(piece.left, w);
      piece.right = Math.max(piece.right, w + 1);
      for (let a = Math.max(h - 1, 0); a <= Math.min(h + 1, H - 1); a++) {
        for (let b = Math.max(w - 1, 0); b <= Math.min(w + 1, W - 1); b++) {
          const near = a * W + b;
          if (!mask[near] || seen[near]) continue;
          seen[near] = 1;
          piece.pixels.push(near);
        }
      }
    }
    pieces.push(piece);
  }
  return pieces;
}

/** The pieces of one digit: the largest, and those near it that are more than specks. */
function piecesOfDigit(pieces) {
  const main = pieces.reduce((a, b) => (b.pixels.length > a.pixels.length ? b : a));
  const reach = NEAR * Math.max(main.bottom - main.top, main.right - main.left);
  return pieces.filter((piece) =>
    Math.max(piece.top - main.bottom, main.top - piece.bottom) <= reach &&
    Math.max(piece.left - main.right, main.left - piece.right) <= reach &&
    piece.pixels.length >= SPECK * main.pixels.length);
}

/**
 * Find the digit of a gray picture.
 * @returns {?{ H: number, W: number, data: Float32Array }} how dark each pixel is, 0 for paper and
 *     1 for the darkest ink; null where nothing is drawn
 */
function findDigit(gray) {
  const shades = shadesOf(gray);
  const { H, W, data } = shades;
  const peak = nthLargest(data, Math.max(4, Math.floor(Math.max(H, W) / 8)));
  if (peak < FAINTEST) return null;
  const printed = printedShade(shades);
  let sure = threshold(shades, peak);
  if (printed < 0.7 * peak) sure = Math.max(sure, (printed + peak) / 2);
  const faint = Math.min(Math.max(0.15 * sure, 1.1 * printed), sure);
  // Soft edges hang together with darker ink; grain of paper does not.
  const mask = new Uint8Array(H * W);
  for (let i = 0; i < mask.length; i++) mask[i] = data[i] > faint ? 1 : 0;
  const pieces = piecesOf(mask, H, W)
    .filter((piece) => piece.pixels.some((pixel) => data[pixel] > sure));
  const frame = sheetInside(pieces, H, W);
  if (frame) return findDigit(part(gray, ...frame));
  const darkness = new Float32Array(H * W);
  for (const piece of piecesOfDigit(pieces)) {
    for (const pixel of piece.pixels) darkness[pixel] = Math.min(data[pixel] / peak, 1);
  }
  return { H, W, data: darkness };
}

/** Where "ink" covers most of the picture it is paper in a frame: its box; else null. */
function sheetInside(pieces, H, W) {
  const area = sumOf(pieces.map(({ pixels }) => pixels.length));
  if (area <= 0.6 * H * W) return null;
  const box = [
    Math.min(...pieces.map((piece) => piece.top)), Math.max(...pieces.map((piece) => piece.bottom)),
    Math.min(...pieces.map((piece) => piece.left)), Math.max(...pieces.map((piece) => piece.right)),
  ];
  const k = Math.max(1, Math.floor(Math.min(H, W) / 32));
  const inside = box[0] >= k && box[1] <= H - k && box[2] >= k && box[3] <= W - k;
  return inside ? box : null;
}
