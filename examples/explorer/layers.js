"use strict";

/* The forward pass of every layer, for one image, in plain loops.

   A tensor is { H, W, C, data }: data is a Float32Array in the order rows, columns, channels, so
   that x[h, w, c] is data[(h * W + w) * C + c]. A vector of n values has H = W = 1 and C = n.

   A step is one layer of the network; see network.js. Its output is the tensor y; its weight, bias,
   mean and variance are Float32Arrays. Its window is KH × KW with strides SH and SW:

       output pixel (oh, ow) reads input rows oh * SH - top + kh and columns ow * SW - left + kw

   A position outside the input is padding. Sums are float64, outputs float32. */

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
            if (value === 0) continue; // about half of the values after a ReLU
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

/** y[oh, ow, c] = max over kh, kw of x[h, w, c], without padding */
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

/** y[oh, ow, c] = Σ over kh, kw of x[h, w, c] / (KH · KW), with padding as zeros */
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

/** y[c] = Σ over h, w of x[h, w, c] / (H · W) */
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
  const max = Math.max(...x.data);
  const exps = Array.from(x.data, (logit) => Math.exp(logit - max));
  const sum = sumOf(exps);
  y.data.set(exps.map((exp) => exp / sum));
}

/** y = a + b */
function add(a, b, y) {
  for (let i = 0; i < y.data.length; i++) y.data[i] = a.data[i] + b.data[i];
}

/** y[h, w] = the channels of all inputs at (h, w), in order */
function concat(inputs, y) {
  let offset = 0;
  for (const x of inputs) {
    for (let pixel = 0; pixel < y.H * y.W; pixel++) {
      const channels = x.data.subarray(pixel * x.C, (pixel + 1) * x.C);
      y.data.set(channels, pixel * y.C + offset);
    }
    offset += x.C;
  }
}

/** y = x: Flatten, which keeps the order, and Dropout at inference. */
function identity(x, y) {
  y.data.set(x.data);
}

/** y = the output for a test image of a layer outside this table, computed in Python */
function recorded(outputs, test, y) {
  y.data.set(outputs.subarray(test * y.data.length, (test + 1) * y.data.length));
}

/** Forward pass by kind of step: (step, inputs, index of the test image or -1). */
const FORWARD = {
  Conv2D: (s, [x]) => conv2d(x, s.weight, s.bias, s.window, s.y),
  DepthwiseConv2D: (s, [x]) => depthwiseConv2d(x, s.weight, s.bias, s.window, s.y),
  MaxPool2D: (s, [x]) => maxPool2d(x, s.window, s.y),
  AvgPool2D: (s, [x]) => avgPool2d(x, s.window, s.y),
  GlobalAvgPool2D: (s, [x]) => globalAvgPool2d(x, s.y),
  Dense: (s, [x]) => dense(x, s.weight, s.bias, s.y),
  BatchNorm: (s, [x]) => batchNorm(x, s.mean, s.variance, s.epsilon, s.weight, s.bias, s.y),
  ReLU: (s, [x]) => relu(x, s.y),
  Dropout: (s, [x]) => identity(x, s.y),
  Flatten: (s, [x]) => identity(x, s.y),
  Residual: (s, [a, b]) => add(a, b, s.y),
  Concat: (s, inputs) => concat(inputs, s.y),
  Softmax: (s, [x]) => softmax(x, s.y),
  Recorded: (s, _, test) => recorded(s.recorded, test, s.y),
};
