/* Receptive fields: the region of every earlier step that a cell is computed from.

   A region is a box of cells { h0, h1, w0, w1, c0, c1 }; h1, w1 and c1 are exclusive. */

/** Return the region of one cell. */
function cellRegion({ h, w, c }) {
  return { h0: h, h1: h + 1, w0: w, w1: w + 1, c0: c, c1: c + 1 };
}

/** Return the region of a whole tensor. */
function wholeRegion({ H, W, C }) {
  return { h0: 0, h1: H, w0: 0, w1: W, c0: 0, c1: C };
}

/** Return whether a region is the whole of a tensor with several channels. */
function isWhole(region, { H, W, C }) {
  const { h0, h1, w0, w1, c0, c1 } = region;
  return C > 1 && (h1 - h0) * (w1 - w0) * (c1 - c0) === H * W * C;
}

/** Return the bounding box of two regions; either may be missing. */
function union(a, b) {
  if (!a || !b) return a ?? b;
  return {
    h0: Math.min(a.h0, b.h0), h1: Math.max(a.h1, b.h1),
    w0: Math.min(a.w0, b.w0), w1: Math.max(a.w1, b.w1),
    c0: Math.min(a.c0, b.c0), c1: Math.max(a.c1, b.c1),
  };
}

/** Return the input region of the windows of an output region, without padding. */
function windowRegion(window, region, x, channels) {
  const { KH, KW, SH, SW, top, left } = window;
  return {
    h0: Math.max(region.h0 * SH - top, 0),
    h1: Math.min((region.h1 - 1) * SH - top + KH, x.H),
    w0: Math.max(region.w0 * SW - left, 0),
    w1: Math.min((region.w1 - 1) * SW - left + KW, x.W),
    ...channels,
  };
}

/** Return the cell of a position after Flatten, which orders by rows, columns, channels. */
function unflatten(index, { W, C }) {
  return { h: Math.floor(index / (W * C)), w: Math.floor(index / C) % W, c: index % C };
}

/** Return the region of an input that a region of a step's output is computed from, or null. */
function inputRegion(step, region, x, channelOffset) {
  const sameChannels = { c0: region.c0, c1: region.c1 };
  switch (step.layer) {
    case "Conv2D":
      return windowRegion(step.window, region, x, { c0: 0, c1: x.C });
    case "DepthwiseConv2D":
    case "MaxPool2D":
    case "AvgPool2D":
      return windowRegion(step.window, region, x, sameChannels);
    case "GlobalAvgPool2D":
      return { ...wholeRegion(x), ...sameChannels };
    case "Dense":
    case "Softmax":
    case "Recorded": // unknown, so it may be the whole input
      return wholeRegion(x);
    case "Flatten":
      return region.c1 - region.c0 === 1
        ? cellRegion(unflatten(region.c0, x))
        : wholeRegion(x);
    case "Concat": {
      const c0 = Math.max(region.c0 - channelOffset, 0);
      const c1 = Math.min(region.c1 - channelOffset, x.C);
      return c0 < c1 ? { ...region, c0, c1 } : null;
    }
    default: // ReLU, BatchNorm, Dropout, Residual are elementwise
      return region;
  }
}

/**
 * Compute the receptive field of a cell in every earlier step.
 * @param {Network} network
 * @param {{ step: number, h: number, w: number, c: number }} cell
 * @returns {Map<number, object>} step index → region; includes the cell itself
 */
function receptiveFields(network, cell) {
  const regions = new Map([[cell.step, cellRegion(cell)]]);
  for (let index = cell.step; index > 0; index--) {
    const region = regions.get(index);
    if (!region) continue;
    const step = network.steps[index];
    let channelOffset = 0; // of the input in the output of Concat
    for (const source of step.inputs) {
      const x = network.steps[source].y;
      const input = inputRegion(step, region, x, channelOffset);
      if (input) regions.set(source, union(regions.get(source), input));
      channelOffset += x.C;
    }
  }
  return regions;
}
