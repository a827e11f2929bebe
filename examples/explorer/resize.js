/* Resize gray images as Pillow does, so that a drawing becomes what minicnn.to_mnist_format makes
   of it. An image is { H, W, data }, data a Float32Array in rows.

   Each new pixel is a weighted mean of the old ones around its place; where the picture becomes
   smaller the weights reach as many times further. Rows first, then columns. */

const FILTERS = {
  box: { reach: 0.5, at: (t) => (t > -0.5 && t <= 0.5 ? 1 : 0) },
  linear: { reach: 1, at: (t) => Math.max(1 - Math.abs(t), 0) },
  cubic: {
    reach: 2,
    at(t) {
      const a = -0.5, d = Math.abs(t);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
};

/** For each of the new pixels in a row the first old one that it is made of, and the weights. */
function weightsOf(oldSize, newSize, filter) {
  const scale = oldSize / newSize, widened = Math.max(scale, 1);
  const reach = filter.reach * widened;
  return Array.from({ length: newSize }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const last = Math.min(Math.trunc(center + reach + 0.5), oldSize);
    const weights = [];
    for (let j = first; j < last; j++) weights.push(filter.at((j - center + 0.5) * (1 / widened)));
    const sum = sumOf(weights);
    return { first, weights: weights.map((weight) => (sum ? weight / sum : weight)) };
  });
}

/** Scale a picture to H × W. @param {"box"|"linear"|"cubic"} how */
function resized(picture, H, W, how) {
  const wide = W === picture.W ? picture : resizedRows(picture, W, FILTERS[how]);
  return H === picture.H ? wide : resizedColumns(wide, H, FILTERS[how]);
}

function resizedRows(picture, W, filter) {
  const { H, data } = picture;
  const made = weightsOf(picture.W, W, filter), out = new Float32Array(H * W);
  for (let w = 0; w < W; w++) {
    const { first, weights } = made[w];
    for (let h = 0; h < H; h++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[h * picture.W + first + k] * weights[k];
      out[h * W + w] = sum;
    }
  }
  return { H, W, data: out };
}

function resizedColumns(picture, H, filter) {
  const { W, data } = picture;
  const made = weightsOf(picture.H, H, filter), out = new Float32Array(H * W);
  for (let h = 0; h < H; h++) {
    const { first, weights } = made[h];
    for (let w = 0; w < W; w++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += data[(first + k) * W + w] * weights[k];
      out[h * W + w] = sum;
    }
  }
  return { H, W, data: out };
}

function sumOf(numbers) {
  return numbers.reduce((a, b) => a + b, 0);
}

/** Round to the nearest whole number, and a half to the even one, as Python and NumPy do. */
function roundHalfEven(x) {
  const below = Math.floor(x), rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
