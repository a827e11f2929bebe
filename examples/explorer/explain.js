/* Explain how one value is computed, as elements for the panel.

   Each function computes the value again from the inputs; the last line has it as data-result. */

/**
 * @param {Network} network after `run`
 * @param {{ step: number, h: number, w: number, c: number }} cell
 * @param {Uint8Array} image the argument of `run`
 * @param {?number} channel the input channel of the window; null: the one with the largest sum
 * @returns {{ formula: string, content: Element[], running?: string[] }} `running` has the text of
 *     each tick of the animation
 */
function explain(network, cell, image, channel) {
  const step = network.steps[cell.step];
  const inputs = step.inputs.map((index) => network.steps[index]);
  const context = { network, step, cell, inputs, image, channel, source: inputs[0] };
  return {
    Input: explainInput,
    Conv2D: explainConv,
    DepthwiseConv2D: explainConv,
    MaxPool2D: explainMaxPool,
    AvgPool2D: explainMean,
    GlobalAvgPool2D: explainMean,
    Dense: explainDense,
    BatchNorm: explainBatchNorm,
    ReLU: explainReLU,
    Dropout: explainDropout,
    Flatten: explainFlatten,
    Residual: explainResidual,
    Concat: explainConcat,
    Softmax: explainSoftmax,
    Recorded: explainRecorded,
  }[step.layer](context);
}

function explainInput({ network, cell, image }) {
  const level = image[cell.h * IMAGE_SIZE + cell.w];
  const scaled = level / 255, centered = scaled - network.mean;
  return {
    formula: "x = (level / 255 − mean) / std",
    content: [
      line("gray level, 0 to 255", `${level}`, 0),
      line("divided by 255", long(scaled), 1),
      line(`minus the mean ${long(network.mean)} of the training images`, long(centered), 2),
      result(`divided by their standard deviation ${long(network.std)}`,
        centered / network.std, 3),
    ],
  };
}

// ---------------------------------------------------------------- windows

/** Return the size of a window, its origin in the input, and functions of (kh, kw). */
function windowOf({ step, cell, source }) {
  const x = source.y;
  const { KH, KW, SH, SW, top, left } =
    step.window ?? { KH: x.H, KW: x.W, SH: 1, SW: 1, top: 0, left: 0 }; // global pooling
  const row = cell.h * SH - top, column = cell.w * SW - left;
  return {
    KH, KW,
    valueAt: (kh, kw, c) => at(x, row + kh, column + kw, c),
    isPaddingAt: (kh, kw) => isPadding(x, row + kh, column + kw),
    sourceOf: (kh, kw, c) => [source, row + kh, column + kw, c], // for `link`
  };
}

/** Return f(kh, kw) for every position of a window, row by row. */
function overWindow(KH, KW, f) {
  return Array.from({ length: KH * KW }, (_, k) => f(Math.floor(k / KW), k % KW));
}

/** Show the products of one channel, then the sums of all channels and the bias. */
function explainConv(context) {
  const { step, cell, source } = context;
  const { KH, KW, valueAt, isPaddingAt, sourceOf } = windowOf(context);
  const isDepthwise = step.layer === "DepthwiseConv2D";
  const C = source.y.C, F = step.y.C;
  const weightAt = (kh, kw, c) => isDepthwise
    ? step.weight[(kh * KW + kw) * F + cell.c] : step.weight[((kh * KW + kw) * C + c) * F + cell.c];
  const productsOf = (c) =>
    overWindow(KH, KW, (kh, kw) => valueAt(kh, kw, c) * weightAt(kh, kw, c));
  const channels = isDepthwise ? [cell.c] : [...Array(C).keys()];
  const sums = channels.map((c) => sumOf(productsOf(c)));
  const largest = channels[argmaxAbs(sums)];
  const chosen = isDepthwise ? cell.c : context.channel ?? largest;
  const products = productsOf(chosen);
  const scales = [source.y.data, step.weight, products].map(maxAbs);
  const tickOf = (kh, kw) => kh * KW + kw + 1;
  const grids = element("div", { className: "grids" },
    grid("window", KH, KW, (kh, kw) => ({
      value: valueAt(kh, kw, chosen), scale: scales[0], isPadding: isPaddingAt(kh, kw),
      goto: sourceOf(kh, kw, chosen), highlightTick: tickOf(kh, kw),
    })),
    operator("×"),
    grid("weights", KH, KW, (kh, kw) => ({
      value: weightAt(kh, kw, chosen), scale: scales[1], highlightTick: tickOf(kh, kw),
    })),
    operator("="),
    grid("products", KH, KW, (kh, kw) => ({
      value: products[kh * KW + kw], scale: scales[2], tick: tickOf(kh, kw),
    })));
  const caption = element("p", { className: "small" },
    `Channel ${chosen} of ${C}${chosen === largest ? ", with the largest sum" : ""}:`);
  const hasTable = channels.length > 1;
  const { table, lastTick } = hasTable
    ? channelSums(channels, sums, chosen, KH * KW + 1) : { table: null, lastTick: KH * KW };
  const sum = sumOf(sums), bias = step.bias ? step.bias[cell.c] : 0;
  const content = [
    hasTable ? caption : null,
    grids,
    element("p", { className: "running" }),
    table,
    line(hasTable ? "sum of all channels" : "sum of the products", long(sum), lastTick + 1),
    line(step.bias ? "plus the bias" : "no bias", long(bias), lastTick + 2),
    result("output", sum + bias, lastTick + 3),
  ];
  return {
    formula: isDepthwise ? "y[oh, ow, c] = bias[c] + Σ x[h, w, c] · weight[kh, kw, c]"
      : "y[oh, ow, f] = bias[f] + Σ x[h, w, c] · weight[kh, kw, c, f]",
    content: content.filter((node) => node !== null),
    running: runningSums(products),
  };
}

/** Return the index of the largest absolute value. */
function argmaxAbs(values) {
  return values.reduce((best, x, i) => (Math.abs(x) > Math.abs(values[best]) ? i : best), 0);
}

/** List the sums of the channels; each name is a button that shows the channel's window. */
function channelSums(channels, sums, chosen, firstTick) {
  const terms = channels.map((c, i) => {
    const name = element("button", { type: "button", className: "link" }, `channel ${c}`);
    name.dataset.channel = c;
    return { value: sums[i], name, isChosen: c === chosen };
  });
  const caption = `Sums of the ${channels.length} channels; click one to see its window:`;
  return termsOfSum(terms, caption, firstTick);
}

function explainMaxPool(context) {
  const { cell, source } = context;
  const { KH, KW, valueAt, isPaddingAt, sourceOf } = windowOf(context);
  let max = -Infinity, argmax = null;
  const running = ["maximum: none yet"];
  overWindow(KH, KW, (kh, kw) => {
    const value = valueAt(kh, kw, cell.c);
    if (!isPaddingAt(kh, kw) && value > max) [max, argmax] = [value, kh * KW + kw];
    running.push(argmax === null ? running[0] : `running maximum: ${long(max)}`);
  });
  return {
    formula: "y[oh, ow, c] = max over kh, kw of x[h, w, c]",
    running,
    content: [
      element("div", { className: "grids" }, grid("window", KH, KW, (kh, kw) => ({
        value: valueAt(kh, kw, cell.c), scale: maxAbs(source.y.data),
        goto: sourceOf(kh, kw, cell.c), isPadding: isPaddingAt(kh, kw),
        isMax: kh * KW + kw === argmax, tick: kh * KW + kw + 1,
      }))),
      element("p", { className: "running" }),
      result("output: the maximum", max, KH * KW + 1),
    ],
  };
}

function explainMean(context) {
  const { step, cell, source } = context;
  const { KH, KW, valueAt, isPaddingAt, sourceOf } = windowOf(context);
  const values = overWindow(KH, KW, (kh, kw) => valueAt(kh, kw, cell.c));
  const sum = sumOf(values);
  return {
    formula: step.window
      ? "y[oh, ow, c] = Σ x[h, w, c] / (KH · KW)" : "y[c] = Σ x[h, w, c] / (H · W)",
    running: runningSums(values),
    content: [
      element("div", { className: "grids" }, grid(step.window ? "window" : `map ${cell.c}`, KH, KW,
        (kh, kw) => ({
          value: values[kh * KW + kw], scale: maxAbs(source.y.data),
          goto: sourceOf(kh, kw, cell.c), isPadding: isPaddingAt(kh, kw), tick: kh * KW + kw + 1,
        }))),
      element("p", { className: "running" }),
      line("sum", long(sum), KH * KW + 1),
      result(`output: divided by ${KH} · ${KW} = ${KH * KW}`, sum / (KH * KW), KH * KW + 2),
    ],
  };
}

// ---------------------------------------------------------------- vectors

function explainDense({ network, step, cell, source }) {
  const x = source.y, F = step.y.C;
  const terms = Array.from(x.data, (value, c) => {
    const weight = step.weight[c * F + cell.c];
    return {
      value: value * weight,
      name: link(source, 0, 0, c, nameOfCell(source, { h: 0, w: 0, c }, network)),
      factors: `${short(value)} × ${short(weight)}`,
    };
  });
  const { table, lastTick } = termsOfSum(terms,
    `Products of the ${x.C} inputs and their weights, the largest first:`, 1);
  const sum = sumOf(terms.map(({ value }) => value)), bias = step.bias ? step.bias[cell.c] : 0;
  return {
    formula: "y[f] = bias[f] + Σ x[c] · weight[c, f]",
    content: [
      table,
      line("sum of all products", long(sum), lastTick + 1),
      line(step.bias ? "plus the bias" : "no bias", long(bias), lastTick + 2),
      result("output", sum + bias, lastTick + 3),
    ],
  };
}

function explainFlatten({ cell, source }) {
  const x = source.y, { h, w, c } = unflatten(cell.c, x);
  return {
    formula: "y[(h · W + w) · C + c] = x[h, w, c]",
    content: [
      line(`index ${cell.c} = (${h} · ${x.W} + ${w}) · ${x.C} + ${c}`, "", 0),
      line(`row ${h}, column ${w}, channel ${c}`, link(source, h, w, c, "go to this cell"), 1),
      result("output", at(x, h, w, c), 2),
    ],
  };
}

function explainSoftmax({ network, cell, source }) {
  const logits = Array.from(source.y.data), max = Math.max(...logits);
  const exps = logits.map((z) => Math.exp(z - max)), sum = sumOf(exps);
  const head = ["class", "logit z", "z − max", "exp(z − max)"];
  const table = element("table", { className: "values" },
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", {}, text)))),
    element("tbody", {}, ...logits.map((z, c) => {
      const row = element("tr", {},
        element("th", {}, network.classNames[c]),
        element("td", {}, link(source, 0, 0, c, short(z))),
        element("td", {}, short(z - max)),
        element("td", {}, long(exps[c])));
      row.classList.toggle("chosen", c === cell.c);
      return atTick(c + 1, row);
    })));
  return {
    formula: "p[c] = exp(z[c] − max z) / Σ exp(z[k] − max z)",
    content: [
      element("div", { className: "scroll" }, table),
      line("sum of the last column", long(sum), logits.length + 1),
      result(`output: ${long(exps[cell.c])} / ${long(sum)}`, exps[cell.c] / sum, logits.length + 2),
    ],
  };
}

// ---------------------------------------------------------------- elementwise

function explainBatchNorm({ step, cell, source }) {
  const { h, w, c } = cell;
  const value = at(source.y, h, w, c);
  const centered = value - step.mean[c], std = Math.sqrt(step.variance[c] + step.epsilon);
  const normalized = centered / std, scaled = normalized * step.weight[c];
  return {
    formula: "y = (x − mean) / √(variance + epsilon) · weight + bias",
    content: [
      line("x", link(source, h, w, c, long(value)), 0),
      line(`minus the mean ${long(step.mean[c])}`, long(centered), 1),
      line(`standard deviation √(${long(step.variance[c])} + ${step.epsilon})`, long(std), 2),
      line("divided by the standard deviation", long(normalized), 3),
      line(`times the weight ${long(step.weight[c])}`, long(scaled), 4),
      result(`plus the bias ${long(step.bias[c])}`, scaled + step.bias[c], 5),
    ],
  };
}

function explainReLU({ cell: { h, w, c }, source }) {
  const value = at(source.y, h, w, c);
  return {
    formula: "y = max(x, 0)",
    content: [
      line("x", link(source, h, w, c, long(value)), 0),
      result(`output: x is ${value > 0 ? "above 0" : "not above 0"}`, Math.max(value, 0), 1),
    ],
  };
}

function explainDropout({ cell: { h, w, c }, source }) {
  const value = at(source.y, h, w, c);
  return {
    formula: "y = x",
    content: [
      line("x", link(source, h, w, c, long(value)), 0),
      result("output: no dropout at inference", value, 1),
    ],
  };
}

function explainResidual({ step, cell: { h, w, c }, inputs }) {
  const values = inputs.map(({ y }) => at(y, h, w, c));
  return {
    formula: "y = layers(x) + shortcut(x)",
    content: [
      ...inputs.map((source, i) =>
        line(step.branches[i], link(source, h, w, c, long(values[i])), i)),
      result("output: their sum", sumOf(values), 2),
    ],
  };
}

function explainConcat({ step, cell: { h, w, c }, inputs }) {
  let branch = 0, channel = c;
  while (channel >= inputs[branch].y.C) channel -= inputs[branch++].y.C;
  const source = inputs[branch];
  return {
    formula: "y[h, w] = the channels of all branches at (h, w)",
    content: [
      line(`channel ${c} is channel ${channel} of ${step.branches[branch]}`,
        link(source, h, w, channel, "go to this cell"), 0),
      result("output", at(source.y, h, w, channel), 1),
    ],
  };
}

function explainRecorded({ step, cell: { h, w, c }, source }) {
  return {
    formula: `y = ${step.text}(x)`,
    content: [
      line("x", link(source, 0, 0, 0, "go to the input"), 0),
      result("y, computed in Python", at(step.y, h, w, c), 1),
    ],
  };
}
