/* Resample gray images as Pillow's Image.resize does, so that a drawing gives the same image as
   minicnn.to_mnist_format. An image is { H, W, data }, data a Float32Array in rows.

   Each output pixel is a weighted mean of the input pixels around its center. When shrinking, the
   filter is as many times wider. Rows first, then columns. */

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
function filterWeights(inputSize, outputSize, { support, kernel }) {
  const scale = inputSize / outputSize, filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  return Array.from({ length: outputSize }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + reach + 0.5), inputSize);
    const weights = [];
    for (let j = first; j < end; j++) weights.push(kernel((j - center + 0.5) * (1 / filterScale)));
    const sum = sumOf(weights);
    return { first, weights: weights.map((weight) => (sum ? weight / sum : weight)) };
  });
}

/** Resample an image to H × W. @param {"box"|"bilinear"|"bicubic"} filter */
function resample(image, H, W, filter) {
  const rows = W === image.W ? image : resampleRows(image, W, FILTERS[filter]);
  return H === image.H ? rows : resampleColumns(rows, H, FILTERS[filter]);
}

/** Resample each row to W pixels. */
function resampleRows(image, W, filter) {
  const { H, data } = image;
  const pixels = filterWeights(image.W, W, filter), out = new Float32Array(H * W);
  for (let w = 0; w < W; w++) {
    const { first, weights } = pixels[w];
    for (let h = 0; h < H; h++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[h * image.W + first + k] * weights[k];
      out[h * W + w] = sum;
    }
  }
  return { H, W, data: out };
}

/** Resample each column to H pixels. */
function resampleColumns(image, H, filter) {
  const { W, data } = image;
  const pixels = filterWeights(image.H, H, filter), out = new Float32Array(H * W);
  for (let h = 0; h < H; h++) {
    const { first, weights } = pixels[h];
    for (let w = 0; w < W; w++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[(first + k) * W + w] * weights[k];
      out[h * W + w] = sum;
    }
  }
  return { H, W, data: out };
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
