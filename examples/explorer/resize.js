/* Resample and filter gray images as Pillow does, so that a picture gives the same image as
   minicnn.to_mnist_format. An image is { H, W, data }, data in rows: a Float32Array, or a Uint8Array
   that is computed in Pillow's fixed-point numbers.

   Each output pixel is a weighted mean of the input pixels around its center. When shrinking, the
   filter is as many times wider. Rows first, then columns. */

const PRECISION = 2 ** 22; // the weights of bytes are integer multiples of 1 / PRECISION

const FILTERS = {
  box: { support: 0.5, kernel: (t) => (t > -0.5 && t <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, kernel: (t) => Math.max(1 - Math.abs(t), 0) },
  bicubic: { // Keys, 1981, with a = -0.5
    support: 2,
    kernel(t) {
      const a = -0.5, d = Math.abs(t);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
};

/** Compute the first input pixel and the weights of each output pixel of a row. */
function filterWeights(inputSize, outputSize, { support, kernel }, isBytes) {
  const scale = inputSize / outputSize, filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  return Array.from({ length: outputSize }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + reach + 0.5), inputSize);
    const weights = [];
    for (let j = first; j < end; j++) weights.push(kernel((j - center + 0.5) * (1 / filterScale)));
    const sum = sumOf(weights);
    const normalized = weights.map((weight) => (sum ? weight / sum : weight));
    return { first, weights: isBytes ? normalized.map(toFixedPoint) : normalized };
  });
}

function toFixedPoint(weight) {
  return Math.trunc(weight * PRECISION + Math.sign(weight) * 0.5);
}

/** Return the byte of a sum in fixed point. */
function toByte(sum) {
  return Math.min(Math.max(Math.floor(sum / PRECISION + 0.5), 0), 255);
}

/** Resample an image to H × W. @param {"box"|"bilinear"|"bicubic"} filter */
function resample(image, H, W, filter) {
  const rows = W === image.W ? image : resampleRows(image, W, FILTERS[filter]);
  return H === image.H ? rows : resampleColumns(rows, H, FILTERS[filter]);
}

/** Resample each row to W pixels. */
function resampleRows(image, W, filter) {
  const { H, data } = image, isBytes = data instanceof Uint8Array;
  const pixels = filterWeights(image.W, W, filter, isBytes), out = new data.constructor(H * W);
  for (let w = 0; w < W; w++) {
    const { first, weights } = pixels[w];
    for (let h = 0; h < H; h++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[h * image.W + first + k] * weights[k];
      out[h * W + w] = isBytes ? toByte(sum) : sum;
    }
  }
  return { H, W, data: out };
}

/** Resample each column to H pixels. */
function resampleColumns(image, H, filter) {
  const { W, data } = image, isBytes = data instanceof Uint8Array;
  const pixels = filterWeights(image.H, H, filter, isBytes), out = new data.constructor(H * W);
  for (let h = 0; h < H; h++) {
    const { first, weights } = pixels[h];
    for (let w = 0; w < W; w++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[(first + k) * W + w] * weights[k];
      out[h * W + w] = isBytes ? toByte(sum) : sum;
    }
  }
  return { H, W, data: out };
}

// ---------------------------------------------------------------- filters of bytes

/** Return the means of blocks of `factor` × `factor` pixels, smaller at the far edges. */
function reduce({ H, W, data }, factor) {
  if (factor === 1) return { H, W, data };
  const out = { H: Math.ceil(H / factor), W: Math.ceil(W / factor) };
  out.data = new Uint8Array(out.H * out.W);
  for (let h = 0; h < out.H; h++) {
    for (let w = 0; w < out.W; w++) {
      const bottom = Math.min((h + 1) * factor, H), right = Math.min((w + 1) * factor, W);
      let sum = 0;
      for (let y = h * factor; y < bottom; y++) {
        for (let x = w * factor; x < right; x++) sum += data[y * W + x];
      }
      const count = (bottom - h * factor) * (right - w * factor);
      const multiplier = Math.floor(2 ** 24 / count);
      out.data[h * out.W + w] = Math.floor(((sum + (count >> 1)) * multiplier) / 2 ** 24);
    }
  }
  return out;
}

/** Exchange rows and columns. */
function transpose({ H, W, data }) {
  const out = new data.constructor(data.length);
  for (let i = 0; i < data.length; i++) out[(i % W) * H + Math.floor(i / W)] = data[i];
  return { H: W, W: H, data: out };
}

/** Replace each row by `filterRow(row, out)`, `passes` times; then each column likewise. */
function separably(image, passes, filterRow) {
  for (let axis = 0; axis < 2; axis++) {
    const { H, W } = image;
    for (let pass = 0; pass < passes; pass++) {
      const out = new Uint8Array(H * W);
      for (let h = 0; h < H; h++) {
        filterRow(image.data.subarray(h * W, (h + 1) * W), out.subarray(h * W, (h + 1) * W));
      }
      image = { H, W, data: out };
    }
    image = transpose(image);
  }
  return image;
}

/** Blur by three box filters each way, whose ends have a part of the weight. */
function gaussianBlur(image, sigma) {
  const variance = sigma ** 2 / 3;
  const whole = Math.floor((Math.sqrt(12 * variance + 1) - 1) / 2);
  const part = ((2 * whole + 1) * (whole * (whole + 1) - 3 * variance)) /
    (6 * (variance - (whole + 1) ** 2));
  const radius = Math.fround(whole + part), reach = Math.trunc(radius);
  const weight = Math.floor(Math.fround(2 ** 24 / Math.fround(radius * 2 + 1)));
  const endWeight = Math.floor((2 ** 24 - (reach * 2 + 1) * weight) / 2);
  return separably(image, 3, (row, out) => {
    const last = row.length - 1;
    const at = (w) => row[Math.min(Math.max(w, 0), last)];
    let sum = 0;
    for (let w = -reach - 1; w < reach; w++) sum += at(w);
    for (let w = 0; w <= last; w++) {
      sum += at(w + reach) - at(w - reach - 1);
      const ends = at(w - reach - 1) + at(w + reach + 1);
      out[w] = Math.floor((sum * weight + ends * endWeight + 2 ** 23) / 2 ** 24);
    }
  });
}

/** Return the extreme over squares of `size` pixels, as `choose` is Math.max or Math.min. */
function extremum(image, size, choose) {
  const reach = size >> 1;
  return separably(image, 1, (row, out) => {
    for (let w = 0; w < row.length; w++) {
      out[w] = choose(...row.subarray(Math.max(w - reach, 0), w + reach + 1));
    }
  });
}

/** Return the median over squares of 3 pixels. */
function medianOf9({ H, W, data }) {
  const near = (i, n) => [Math.max(i - 1, 0), i, Math.min(i + 1, n - 1)];
  return { H, W, data: data.map((_, i) => {
    const columns = near(i % W, W);
    const square = near(Math.floor(i / W), H).flatMap((y) => columns.map((x) => data[y * W + x]));
    return square.sort((a, b) => a - b)[4];
  }) };
}

/** Add all values. */
function sumOf(values) {
  return values.reduce((a, b) => a + b, 0);
}

/** Round to the nearest integer, a half to the even one, as Python and NumPy do. */
function roundHalfEven(x) {
  const below = Math.floor(x), fraction = x - below;
  if (fraction !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
