"use strict";

/* The arithmetic of every layer, for one image, in plain loops.

   A tensor is { H, W, C, data }: data is a Float32Array in the order rows, columns, channels, so
   that x[h, w, c] is data[(h * W + w) * C + c]. A row of n numbers has H = W = 1 and C = n.

   A step is one layer of the network; see network.js. Its y is the tensor it gives; its weight,
   bias, mean and variance are Float32Arrays; its window says how a KH × KW window slides:

       output pixel (oh, ow) sees input rows oh * SH - top + kh and columns ow * SW - left + kw

   Where that lies outside the image there is padding. Sums are made with JavaScript's numbers,
   which have 64 bits, and kept in 32. */

/**
 * @typedef {{ H: number, W: number, C: number, data: Float32Array }} Tensor
 */

/** y[oh, ow, f] = bias[f] + Σ over kh, kw, c of x[h, w, c] · weight[kh, kw, c, f] */
function conv2d(x, weight, bias, window, y) {
  const { KH, KW, SH, SW, top, left, OH, OW } = window;
  const { H, W, C } = x;
  const F = y.C;
  const sum = new Float64Array(F);
  for (let oh = 0; oh < OH; oh++) {
    for (let ow = 0; ow < OW; ow++) {
      for (let f = 0; f < F; f++) sum[f] = bias ? bias[f] : 0;
      for (let kh = 0; kh < KH; kh++) {
        const h = oh * SH - top + kh;
        if (h < 0 || h >= H) continue;
        for (let kw = 0; kw < KW; kw++) {
          const w = ow * SW - left + kw;
          if (w < 0 || w >= W) continue;
          for (let c = 0; c < C; c++) {
            const value = x.data[(h * W + w) * C + c];
            if (value === 0) continue; // adds nothing: behind a ReLU that is every other one
            const row = ((kh * KW + kw) * C + c) * F;
            for (let f = 0; f < F; f++) sum[f] += value * weight[row + f];
          }
        }
      }
      y.data.set(sum, (oh * OW + ow) * F);
    }
  }
}

/** y[oh, ow, c] = bias[c] + Σ over kh, kw of x[h, w, c] · weight[kh, kw, c] */
function depthwiseConv2d(x, weight, bias, window, y) {
  const { KH, KW, SH, SW, top, left, OH, OW } = window;
  const { H, W, C } = x;
  const sum = new Float64Array(C);
  for (let oh = 0; oh < OH; oh++) {
    for (let ow = 0; ow < OW; ow++) {
      for (let c = 0; c < C; c++) sum[c] = bias ? bias[c] : 0;
      for (let kh = 0; kh < KH; kh++) {
        const h = oh * SH - top + kh;
        if (h < 0 || h >= H) continue;
        for (let kw = 0; kw < KW; kw++) {
          const w = ow * SW - left + kw;
          if (w < 0 || w >= W) continue;
          const pixel = (h * W + w) * C, row = (kh * KW + kw) * C;
          for (let c = 0; c < C; c++) sum[c] += x.data[pixel + c] * weight[row + c];
        }
      }
      y.data.set(sum, (oh * OW + ow) * C);
    }
  }
}

/** y[oh, ow, c] = the largest x[h, w, c] of the window; padding is never the largest. */
function maxPool2d(x, window, y) {
  const { KH, KW, SH, SW, top, left, OH, OW } = window;
  const { H, W, C } = x;
  for (let oh = 0; oh < OH; oh++) {
    for (let ow = 0; ow < OW; ow++) {
      for (let c = 0; c < C; c++) {
        let best = -Infinity;
        for (let kh = 0; kh < KH; kh++) {
          const h = oh * SH - top + kh;
          if (h < 0 || h >= H) continue;
          for (let kw = 0; kw < KW; kw++) {
            const w = ow * SW - left + kw;
            if (w < 0 || w >= W) continue;
            best = Math.max(best, x.data[(h * W + w) * C + c]);
          }
        }
        y.data[(oh * OW + ow) * C + c] = best;
      }
    }
  }
}

/** y[oh, ow, c] = Σ over kh, kw of x[h, w, c] / (KH · KW); padding counts as zeros. */
function avgPool2d(x, window, y) {
  const { KH, KW, SH, SW, top, left, OH, OW } = window;
  const { H, W, C } = x;
  for (let oh = 0; oh < OH; oh++) {
    for (let ow = 0; ow < OW; ow++) {
      for (let c = 0; c < C; c++) {
        let sum = 0;
        for (let kh = 0; kh < KH; kh++) {
          const h = oh * SH - top + kh;
          if (h < 0 || h >= H) continue;
          for (let kw = 0; kw < KW; kw++) {
            const w = ow * SW - left + kw;
            if (w < 0 || w >= W) continue;
            sum += x.data[(h * W + w) * C + c];
          }
        }
        y.data[(oh * OW + ow) * C + c] = sum / (KH * KW);
      }
    }
  }
}

/** y[c] = the mean of x[h, w, c] over all h and w */
function globalAvgPool2d(x, y) {
  const { H, W, C } = x;
  for (let c = 0; c < C; c++) {
    let sum = 0;
    for (let pixel = 0; pixel < H * W; pixel++) sum += x.data[pixel * C + c];
    y.data[c] = sum / (H * W);
  }
}

/** y[f] = bias[f] + Σ over c of x[c] · weight[c, f] */
function dense(x, weight, bias, y) {
  const F = y.C;
  const sum = new Float64Array(F);
  for (let f = 0; f < F; f++) sum[f] = bias ? bias[f] : 0;
  for (let c = 0; c < x.C; c++) {
    const value = x.data[c];
    if (value === 0) continue;
    for (let f = 0; f < F; f++) sum[f] += value * weight[c * F + f];
  }
  y.data.set(sum);
}

/** y = (x - mean[c]) / √(variance[c] + epsilon) · weight[c] + bias[c] */
function batchNorm(x, mean, variance, epsilon, weight, bias, y) {
  const C = x.C;
  for (let i = 0; i < x.data.length; i++) {
    const c = i % C;
    y.data[i] = ((x.data[i] - mean[c]) / Math.sqrt(variance[c] + epsilon)) * weight[c] + bias[c];
  }
}

/** y = max(x, 0) */
function relu(x, y) {
  for (let i = 0; i < x.data.length; i++) y.data[i] = Math.max(x.data[i], 0);
}

/** y[c] = exp(x[c] - max x) / Σ over k of exp(x[k] - max x) */
function softmax(x, y) {
  const largest = Math.max(...x.data);
  const powers = Array.from(x.data, (z) => Math.exp(z - largest));
  const sum = powers.reduce((a, b) => a + b);
  y.data.set(powers.map((power) => power / sum));
}

/** y = a + b */
function add(a, b, y) {
  for (let i = 0; i < y.data.length; i++) y.data[i] = a.data[i] + b.data[i];
}

/** The channels of all parts, side by side: y[h, w] = parts[0][h, w], then parts[1][h, w], … */
function concat(parts, y) {
  let begin = 0;
  for (const part of parts) {
    for (let pixel = 0; pixel < y.H * y.W; pixel++) {
      const row = part.data.subarray(pixel * part.C, (pixel + 1) * part.C);
      y.data.set(row, pixel * y.C + begin);
    }
    begin += part.C;
  }
}

/** y = x: what dropout does in use, and flattening, which changes no number and no order. */
function same(x, y) {
  y.data.set(x.data);
}

/** The output that minicnn computed for a test image: a layer that this page cannot compute. */
function recorded(outputs, test, y) {
  y.data.set(outputs.subarray(test * y.data.length, (test + 1) * y.data.length));
}

/** How each kind of step fills its y from the tensors of its inputs, for an image or a test image. */
const FORWARD = {
  Conv2D: (s, [x]) => conv2d(x, s.weight, s.bias, s.window, s.y),
  DepthwiseConv2D: (s, [x]) => depthwiseConv2d(x, s.weight, s.bias, s.window, s.y),
  MaxPool2D: (s, [x]) => maxPool2d(x, s.window, s.y),
  AvgPool2D: (s, [x]) => avgPool2d(x, s.window, s.y),
  GlobalAvgPool2D: (s, [x]) => globalAvgPool2d(x, s.y),
  Dense: (s, [x]) => dense(x, s.weight, s.bias, s.y),
  BatchNorm: (s, [x]) => batchNorm(x, s.mean, s.variance, s.epsilon, s.weight, s.bias, s.y),
  ReLU: (s, [x]) => relu(x, s.y),
  Dropout: (s, [x]) => same(x, s.y),
  Flatten: (s, [x]) => same(x, s.y),
  Residual: (s, [a, b]) => add(a, b, s.y),
  Concat: (s, parts) => concat(parts, s.y),
  Softmax: (s, [x]) => softmax(x, s.y),
  Recorded: (s, _, test) => recorded(s.recorded, test, s.y),
};
