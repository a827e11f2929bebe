/* Separate ink from paper, as minicnn/recognizer/segmentation.py does.

   The names are those of the Python module, whose comments give the reasons. A gray image is
   { H, W, data }, data a Uint8Array in rows; 0 is black. Ink levels have the same form: contrast
   to the paper, 255 for black on white. */

const UNIFORM_SHARE = 0.4; // of the border has one brightness if the background is uniform
const JPEG_NOISE = 12; // gray levels by which a small JPEG differs from the drawing
const PHOTO_SIZE = 800; // longer side of a reduced photo; averaging removes noise
const BACKGROUND_SIZE = 128; // longer side of the copy on which an uneven background is estimated
const MAX_COVERAGE = 0.6; // of the image; no drawing covers more of its paper
const MIN_PHOTO_CONTRAST = 1.3; // contrast of ink on a photo, relative to the paper's own
const MIN_INK_LEVEL = 16; // a smaller contrast is not ink
const MIN_TOUCHING_LEVEL = 64; // of ink at opposite edges of a crop; creases have less contrast
const MAX_TOUCHES = 7; // of a cropped digit and the border; printed lines touch it more often

/**
 * Separate the ink from the paper.
 * @returns {?{ levels: object, peak: number, regions: object[], isUniform: boolean,
 *     isFramed: boolean }} ink levels, the level of the darkest ink, the connected regions of the
 *     ink, and whether it is a drawing, and on a sheet in a frame; null for a blank image
 */
function segmentForeground(gray) {
  const isUniform = hasUniformBackground(gray);
  const factor = Math.ceil(Math.max(gray.H, gray.W) / PHOTO_SIZE);
  const levels = isUniform ? globalContrast(gray) : localContrast(denoise(gray, factor));
  const paper = Math.trunc(medianLevel(borderHistogram(levels)));
  levels.data = levels.data.map((level) => Math.max(level - paper, 0));
  const { H, W, data } = levels;
  const peak = nthLargest(data, Math.max(4, Math.floor(Math.max(H, W) / 8)));
  let background = backgroundLevel(levels);
  if (!isUniform && peak >= MIN_TOUCHING_LEVEL && peak < MIN_PHOTO_CONTRAST * background) {
    background = Math.min(background, levelBesideInk(levels, peak));
  }
  if (peak < MIN_INK_LEVEL || (!isUniform && peak < MIN_PHOTO_CONTRAST * background)) return null;
  let high = isodataThreshold(levels, peak);
  if (background < 0.7 * peak) high = Math.max(high, (background + peak) / 2);
  // Soft edges touch ink above `high`; the grain of paper does not.
  const low = Math.min(Math.max(0.15 * high, 1.1 * background), high);
  const regions = hysteresisThreshold(levels, low, high);
  const sheet = isUniform && sheetInsideFrame(regions, H, W);
  if (!sheet) return { levels, peak, regions, isUniform, isFramed: false };
  const inside = segmentForeground(crop(gray, ...sheet));
  return inside && { ...inside, isFramed: true };
}

/** Return the box of a sheet of paper in a frame of another brightness, or null. */
function sheetInsideFrame(regions, H, W) {
  // Ink that covers most of the image is paper.
  const area = sumOf(regions.map(({ pixels }) => pixels.length));
  if (area <= MAX_COVERAGE * H * W) return null;
  const top = Math.min(...regions.map((region) => region.top));
  const bottom = Math.max(...regions.map((region) => region.bottom));
  const left = Math.min(...regions.map((region) => region.left));
  const right = Math.max(...regions.map((region) => region.right));
  const k = borderWidth(H, W);
  const isInside = top >= k && bottom <= H - k && left >= k && right <= W - k;
  return isInside ? [top, bottom, left, right] : null;
}

/** Crop to [top, bottom) × [left, right). */
function crop({ W, data }, top, bottom, left, right) {
  const cropped = new data.constructor((bottom - top) * (right - left));
  for (let h = top; h < bottom; h++) {
    cropped.set(data.subarray(h * W + left, h * W + right), (h - top) * (right - left));
  }
  return { H: bottom - top, W: right - left, data: cropped };
}

// ---------------------------------------------------------------- regions

/**
 * Label the 8-connected components, in order of their first pixels.
 * @param {Uint8Array} mask H·W, 1 is ink
 * @returns {{ top, left, bottom, right, pixels: number[] }[]}
 */
function labelRegions(mask, H, W) {
  const visited = new Uint8Array(mask.length), regions = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || visited[start]) continue;
    const region = { top: H, left: W, bottom: 0, right: 0, pixels: [start] };
    visited[start] = 1;
    for (let next = 0; next < region.pixels.length; next++) {
      const h = Math.floor(region.pixels[next] / W), w = region.pixels[next] % W;
      region.top = Math.min(region.top, h);
      region.bottom = Math.max(region.bottom, h + 1);
      region.left = Math.min(region.left, w);
      region.right = Math.max(region.right, w + 1);
      for (let y = Math.max(h - 1, 0); y <= Math.min(h + 1, H - 1); y++) {
        for (let x = Math.max(w - 1, 0); x <= Math.min(w + 1, W - 1); x++) {
          const neighbor = y * W + x;
          if (!mask[neighbor] || visited[neighbor]) continue;
          visited[neighbor] = 1;
          region.pixels.push(neighbor);
        }
      }
    }
    regions.push(region);
  }
  return regions;
}

// ---------------------------------------------------------------- background

/** Count the pixels of each of the 256 levels in one or more arrays. */
function histogram(...arrays) {
  const counts = new Float64Array(256);
  for (const levels of arrays) {
    for (let i = 0; i < levels.length; i++) counts[levels[i]]++;
  }
  return counts;
}

/** Return the width of the border in pixels. */
function borderWidth(H, W) {
  return Math.max(1, Math.floor(Math.min(H, W) / 32));
}

/** Count the levels of the pixels along the four edges. */
function borderHistogram(image) {
  const { H, W } = image;
  const k = borderWidth(H, W), end = Math.max(H - k, k);
  const edges = [
    crop(image, 0, k, 0, W), crop(image, H - k, H, 0, W),
    crop(image, k, end, 0, k), crop(image, k, end, W - k, W),
  ];
  return histogram(...edges.map(({ data }) => data));
}

/** Compute the median level of a histogram. */
function medianLevel(counts) {
  const total = sumOf(counts);
  const levelAt = (rank) => {
    let level = 0;
    for (let below = counts[0]; below <= rank; below += counts[level]) level++;
    return level;
  };
  return (levelAt((total - 1) >> 1) + levelAt(total >> 1)) / 2;
}

/** Return whether the border is uniform: a drawing, not a photo. */
function hasUniformBackground(gray) {
  const counts = borderHistogram(gray), paper = medianLevel(counts);
  const tolerance = Math.max(gray.H, gray.W) > BACKGROUND_SIZE ? 0 : JPEG_NOISE;
  const similar = counts.filter((_, level) => Math.abs(level - paper) <= tolerance);
  return sumOf(similar) >= UNIFORM_SHARE * sumOf(counts);
}

/** Measure contrast to the paper brightness, darker or brighter; 0 for the border's median. */
function globalContrast(gray) {
  const { H, W } = gray;
  const border = borderHistogram(gray), paper = medianLevel(border);
  let darker = 0, brighter = 0;
  histogram(gray.data).forEach((count, level) => {
    if (level < paper) darker += count * (level - paper) ** 2;
    else brighter += count * (level - paper) ** 2;
  });
  // Ink is the side with more contrast.
  const table = Uint8Array.from({ length: 256 }, (_, level) => {
    const ratio = darker >= brighter
      ? (paper - level) / Math.max(paper, 1)
      : (level - paper) / Math.max(255 - paper, 1);
    return roundHalfEven(Math.min(Math.max(ratio, 0), 1) * 255);
  });
  return { H, W, data: gray.data.map((level) => table[level]) };
}

/** Reduce a photo by `factor` and blur it slightly. */
function denoise(gray, factor) {
  const image = reduce(gray, factor);
  return gaussianBlur(image, Math.min(1, Math.max(image.H, image.W) / 400));
}

/** Measure contrast to the paper's brightness around each pixel. */
function localContrast(gray) {
  let image = gray;
  let small = reduce(gray, Math.ceil(Math.max(gray.H, gray.W) / BACKGROUND_SIZE));
  if (!inkIsDark(small)) {
    [image, small] = [image, small].map((each) =>
      ({ ...each, data: each.data.map((level) => 255 - level) }));
  }
  const size = Math.max(3, Math.floor(Math.max(small.H, small.W) / 6) | 1);
  const brightest = extremum(medianOf9(small), size, Math.max);
  const closed = gaussianBlur(extremum(brightest, size, Math.min), 2);
  const paper = resample(closed, image.H, image.W, "bicubic").data;
  return { ...image, data: image.data.map((level, i) => {
    const ratio = Math.fround(1 - Math.fround(level / Math.max(paper[i], 1)));
    return roundHalfEven(Math.fround(Math.max(ratio, 0) * 255));
  }) };
}

/** Return whether the skewness of the local contrast is negative. */
function inkIsDark(small) {
  const surroundings = gaussianBlur(small, Math.max(small.H, small.W) / 8).data;
  const difference = Float32Array.from(small.data, (level, i) => level - surroundings[i]);
  const middle = median(difference);
  return sumOf(difference.map((value) => (value - middle) ** 3)) <= 0;
}

/** Return the highest level of the paper: printed lines appear at opposite edges. */
function backgroundLevel(levels) {
  const { H, W } = levels;
  const k = borderWidth(H, W);
  const h = Math.floor(H / 8), w = Math.floor(W / 8);
  const n = Math.max(1, Math.floor((k * Math.max(H, W)) / 500));
  const darkest = (...box) => nthLargest(crop(levels, ...box).data, n);
  return Math.max(
    Math.min(darkest(h, H - h, 0, k), darkest(h, H - h, W - k, W)),
    Math.min(darkest(0, k, w, W - w), darkest(H - k, H, w, W - w)),
  );
}

/** Return the highest level of the paper beside a digit cropped to its ink. */
function levelBesideInk(levels, peak) {
  const { H, W, data } = levels, k = borderWidth(H, W);
  const depths = Array.from({ length: k }, (_, i) => i);
  const darkest = (pixel) => Math.max(...depths.map(pixel));
  const columns = Array.from({ length: W }, (_, w) => w);
  const rows = Array.from({ length: H }, (_, h) => h);
  const border = [ // clockwise
    ...columns.map((w) => darkest((i) => data[i * W + w])),
    ...rows.map((h) => darkest((i) => data[h * W + W - 1 - i])),
    ...columns.reverse().map((w) => darkest((i) => data[(H - 1 - i) * W + w])),
    ...rows.reverse().map((h) => darkest((i) => data[h * W + i])),
  ];
  const isInk = border.map((level) => level > peak / 2);
  const touches = isInk.filter((ink, i) => ink && !isInk.at(i - 1)).length;
  if (touches > MAX_TOUCHES) return 255;
  const softEdge = Math.max(2, Math.floor(Math.max(H, W) / 30));
  const paper = border.filter((_, i) =>
    !isInk.slice(Math.max(i - softEdge, 0), i + softEdge + 1).includes(true));
  const n = Math.max(1, Math.floor(border.length / 100));
  return paper.length ? nthLargest(paper, n) : 255;
}

// ---------------------------------------------------------------- thresholds

/** Return the n-th largest level. */
function nthLargest(levels, n) {
  const counts = histogram(levels), rank = Math.min(n, levels.length);
  let level = 255;
  for (let above = counts[255]; above < rank; above += counts[level]) level--;
  return level;
}

/** Return the level half way between mean paper and mean ink (Ridler and Calvard, 1978). */
function isodataThreshold(levels, peak) {
  const counts = histogram(levels.data);
  let threshold = peak / 2;
  for (let iteration = 0; iteration < 10; iteration++) {
    const sums = [0, 0], sizes = [0, 0]; // of paper, of ink
    counts.forEach((count, level) => {
      const value = Math.min(level, peak), side = value > threshold ? 1 : 0;
      sums[side] += count * value;
      sizes[side] += count;
    });
    threshold = (sums[1] / Math.max(1, sizes[1]) + sums[0] / Math.max(1, sizes[0])) / 2;
  }
  return threshold;
}

/** Return the regions above `low` that have a pixel above `high`. */
function hysteresisThreshold({ H, W, data }, low, high) {
  const mask = new Uint8Array(H * W);
  for (let i = 0; i < mask.length; i++) mask[i] = data[i] > low ? 1 : 0;
  return labelRegions(mask, H, W)
    .filter(({ pixels }) => pixels.some((pixel) => data[pixel] > high));
}
