/* Receptive fields: which part of every earlier step a cell was made from.

   A region is a box of cells, { h0, h1, w0, w1, c0, c1 }, the second ones exclusive. */

/** The region that is one cell. */
function cellRegion({ h, w, c }) {
  return { h0: h, h1: h + 1, w0: w, w1: w + 1, c0: c, c1: c + 1 };
}

/** The region that is all of a tensor. */
function wholeRegion({ H, W, C }) {
  return { h0: 0, h1: H, w0: 0, w1: W, c0: 0, c1: C };
}

/** Whether a region is all of a tensor that has more than one channel. */
function isWhole(region, { H, W, C }) {
  const { h0, h1, w0, w1, c0, c1 } = region;
  return C > 1 && (h1 - h0) * (w1 - w0) * (c1 - c0) === H * W * C;
}

/** The smallest box around two regions; either may be missing. */
function around(a, b) {
  if (!a || !b) return a ?? b;
  return {
    h0: Math.min(a.h0, b.h0), h1: Math.max(a.h1, b.h1),
    w0: Math.min(a.w0, b.w0), w1: Math.max(a.w1, b.w1),
    c0: Math.min(a.c0, b.c0), c1: Math.max(a.c1, b.c1),
  };
}

/** What the windows of a region of outputs see of an input, without the padding. */
function seenThrough(window, region, x, channels) {
  const { KH, KW, SH, SW, top, left } = window;
  return {
    h0: Math.max(region.h0 * SH - top, 0),
    h1: Math.min((region.h1 - 1) * SH - top + KH, x.H),
    w0: Math.max(region.w0 * SW - left, 0),
    w1: Math.min((region.w1 - 1) * SW - left + KW, x.W),
    ...channels,
  };
}

/** Where a place in the flat row was before: Flatten goes through rows, columns, channels. */
function unflattened(index, { W, C }) {
  return { h: Math.floor(index / (W * C)), w: Math.floor(index / C) % W, c: index % C };
}

/** The part of input number i that a region of a step's outputs is made from; null for none. */
function regionOfInput(step, region, x, i, offset) {
  const own = { c0: region.c0, c1: region.c1 };
  switch (step.layer) {
    case "Conv2D":
      return seenThrough(step.window, region, x, { c0: 0, c1: x.C });
    case "DepthwiseConv2D":
    case "MaxPool2D":
    case "AvgPool2D":
      return seenThrough(step.window, region, x, own);
    case "GlobalAvgPool2D":
      return { ...wholeRegion(x), ...own };
    case "Dense":
    case "Softmax":
    case "Recorded": // unknown, so it may be all of the input
      return wholeRegion(x);
    case "Flatten":
      return region.c1 - region.c0 === 1
        ? cellRegion(unflattened(region.c0, x))
        : wholeRegion(x);
    case "Concat": {
      const c0 = Math.max(region.c0 - offset, 0), c1 = Math.min(region.c1 - offset, x.C);
      return c0 < c1 ? { ...region, c0, c1 } : null;
    }
    default: // ReLU, BatchNorm, Dropout, Residual: cell by cell
      return region;
  }
}

/**
 * Walk back from a cell.
 * @param {Network} network
 * @param {{ step: number, h: number, w: number, c: number }} cell
 * @returns {Map<number, object>} by the number of a step the region that the cell depends on;
 *     its own step with it
 */
function receptiveFields(network, cell) {
  const found = new Map([[cell.step, cellRegion(cell)]]);
  for (let number = cell.step; number > 0; number--) {
    const region = found.get(number);
    if (!region) continue;
    const step = network.steps[number];
    let offset = 0;
    step.inputs.forEach((source, i) => {
      const x = network.steps[source].y;
      const part = regionOfInput(step, region, x, i, offset);
      if (part) found.set(source, around(found.get(source), part));
      offset += x.C;
    });
  }
  return found;
}
