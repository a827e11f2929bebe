/* How one number was made, as elements for the panel. Each function looks up what went in and
   works the number out anew; the last line holds it as data-sum. */

/**
 * @param {Network} network after `run`
 * @param {{ step: number, h: number, w: number, c: number }} cell
 * @param {Uint8Array} image what `run` got
 * @param {?number} choice the input channel whose window is to be shown
 * @returns {{ formula: string, content: Element[], running?: string[] }}
 */
function explain(network, cell, image, choice) {
  const step = network.steps[cell.step];
  const inputs = step.inputs.map((number) => network.steps[number]);
  const context = { network, step, cell, inputs, image, choice, source: inputs[0] };
  return {
    Input: explainInput,
    Conv2D: explainConvolution,
    DepthwiseConv2D: explainConvolution,
    MaxPool2D: explainMaxPool,
    AvgPool2D: explainMean,
    GlobalAvgPool2D: explainMean,
    Dense: explainDense,
    BatchNorm: explainBatchNorm,
    ReLU: explainReLU,
    Dropout: explainSame,
    Flatten: explainFlatten,
    Residual: explainResidual,
    Concat: explainConcat,
    Softmax: explainSoftmax,
    Recorded: explainRecorded,
  }[step.layer](context);
}

// ---------------------------------------------------------------- each kind of step

function explainInput({ network, cell, image }) {
  const level = image[cell.h * FIELD + cell.w];
  const share = level / 255, centerd = share - network.mean;
  return {
    formula: "x = (level / 255 − mean) / std",
    content: [
      line("gray level, 0 to 255", `${level}`, 0),
      line("divided by 255", long(share), 1),
      line(`minus the mean ${long(network.mean)} of the training images`, long(centerd), 2),
      result(`divided by their spread ${long(network.std)}`, centerd / network.std, 3),
    ],
  };
}

/** Window, weights and products of one channel; then the sums of all channels, and the bias. */
function explainConvolution({ step, cell, source, choice }) {
  const { KH, KW, SH, SW, top, left } = step.window;
  const isDepthwise = step.layer === "DepthwiseConv2D";
  const x = source.y, F = step.y.C;
  const row = cell.h * SH - top, column = cell.w * SW - left;
  const weightAt = (kh, kw, c) => isDepthwise
    ? step.weight[(kh * KW + kw) * F + cell.c] : step.weight[((kh * KW + kw) * x.C + c) * F + cell.c];
  const valueAt = (kh, kw, c) => at(x, row + kh, column + kw, c);
  const productsOf = (c) => Array.from({ length: KH * KW }, (_, k) => {
    const kh = Math.floor(k / KW), kw = k % KW;
    return valueAt(kh, kw, c) * weightAt(kh, kw, c);
  });
  const channels = isDepthwise ? [cell.c] : [...Array(x.C).keys()];
  const sums = channels.map((c) => sumOf(productsOf(c)));
  const most = sums.reduce((best, s, i) => (Math.abs(s) > Math.abs(sums[best]) ? i : best), 0);
  const chosen = isDepthwise ? cell.c : choice ?? channels[most];
  const products = productsOf(chosen);
  const isOutside = (kh, kw) =>
    row + kh < 0 || column + kw < 0 || row + kh >= x.H || column + kw >= x.W;
  const scales = [largestSize(x.data), largestSize(step.weight), largestSize(products)];
  const beatAt = (kh, kw) => kh * KW + kw + 1;
  const many = channels.length > 1;
  const content = [
    many ? element("p", { className: "small" }, `Map ${chosen} of the ${x.C} before` +
      `${chosen === channels[most] ? ", which adds most" : ""}:`) : null,
    element("div", { className: "grids" },
      grid("window", KH, KW, (kh, kw) => ({
        value: valueAt(kh, kw, chosen), scale: scales[0], isOutside: isOutside(kh, kw),
        goto: [source, row + kh, column + kw, chosen], with: beatAt(kh, kw),
      })),
      sign("×"),
      grid("weights", KH, KW, (kh, kw) => ({
        value: weightAt(kh, kw, chosen), scale: scales[1], with: beatAt(kh, kw),
      })),
      sign("="),
      grid("products", KH, KW, (kh, kw) => ({
        value: products[kh * KW + kw], scale: scales[2], beat: beatAt(kh, kw),
      }))),
    element("p", { className: "running" }),
  ];
  let beat = KH * KW + 1;
  if (many) {
    const { table, last } = partsOfSum(channels.map((c, i) => ({
      value: sums[i],
      mark: c === chosen,
      name: Object.assign(element("button", { type: "button", className: "link" }, `map ${c}`)),
    })), `What each of the ${x.C} maps adds; click one to see its window:`, beat);
    [...table.querySelectorAll(".part button")].forEach((button) => {
      button.dataset.choice = button.textContent.slice(4);
    });
    content.push(table);
    beat = last + 1;
  }
  const sum = sumOf(sums), bias = step.bias ? step.bias[cell.c] : 0;
  content.push(
    line(many ? "sum of all maps" : "sum of the products", long(sum), beat),
    line(step.bias ? "plus the bias" : "no bias: this layer has none", long(bias), beat + 1),
    result("output", sum + bias, beat + 2),
  );
  return {
    formula: isDepthwise ? "y[oh, ow, c] = bias[c] + Σ x[h, w, c] · weight[kh, kw, c]"
      : "y[oh, ow, f] = bias[f] + Σ x[h, w, c] · weight[kh, kw, c, f]",
    content: content.filter((part) => part !== null),
    running: runningSums(products),
  };
}

/** The window of a pool: rows, columns and the place of its first number. */
function poolWindow({ step, cell, source }) {
  if (!step.window) return { KH: source.y.H, KW: source.y.W, row: 0, column: 0 };
  const { KH, KW, SH, SW, top, left } = step.window;
  return { KH, KW, row: cell.h * SH - top, column: cell.w * SW - left };
}

function explainMaxPool(context) {
  const { cell, source } = context;
  const { KH, KW, row, column } = poolWindow(context);
  const x = source.y;
  const isOutside = (kh, kw) =>
    row + kh < 0 || column + kw < 0 || row + kh >= x.H || column + kw >= x.W;
  let best = -Infinity, winner = null;
  const running = ["largest so far: none yet"];
  for (let k = 0; k < KH * KW; k++) {
    const kh = Math.floor(k / KW), kw = k % KW;
    const value = at(x, row + kh, column + kw, cell.c);
    if (!isOutside(kh, kw) && value > best) [best, winner] = [value, k];
    running.push(winner === null ? running[0] : `largest so far: ${long(best)}`);
  }
  return {
    formula: "y[oh, ow, c] = max over kh, kw of x[h, w, c]",
    running,
    content: [
      element("div", { className: "grids" }, grid("window", KH, KW, (kh, kw) => ({
        value: at(x, row + kh, column + kw, cell.c), scale: largestSize(x.data),
        goto: [source, row + kh, column + kw, cell.c], isOutside: isOutside(kh, kw),
        isBest: kh * KW + kw === winner, beat: kh * KW + kw + 1,
      }))),
      element("p", { className: "running" }),
      result("output: the largest", best, KH * KW + 1),
    ],
  };
}

function explainMean(context) {
  const { step, cell, source } = context;
  const { KH, KW, row, column } = poolWindow(context);
  const x = source.y;
  const values = Array.from({ length: KH * KW }, (_, k) =>
    at(x, row + Math.floor(k / KW), column + (k % KW), cell.c));
  const sum = sumOf(values);
  return {
    formula: step.window ? "y[oh, ow, c] = Σ x[h, w, c] / (KH · KW)" : "y[c] = Σ x[h, w, c] / (H · W)",
    running: runningSums(values),
    content: [
      element("div", { className: "grids" }, grid(step.window ? "window" : `map ${cell.c}`, KH, KW,
        (kh, kw) => ({
          value: values[kh * KW + kw], scale: largestSize(x.data),
          goto: [source, row + kh, column + kw, cell.c],
          isOutside: row + kh < 0 || column + kw < 0 || row + kh >= x.H || column + kw >= x.W,
          beat: kh * KW + kw + 1,
        }))),
      element("p", { className: "running" }),
      line("sum", long(sum), KH * KW + 1),
      result(`output: divided by ${KH} · ${KW} = ${KH * KW}`, sum / (KH * KW), KH * KW + 2),
    ],
  };
}

function explainDense({ network, step, cell, source }) {
  const x = source.y, F = step.y.C;
  const parts = Array.from(x.data, (value, c) => {
    const weight = step.weight[c * F + cell.c];
    return {
      value: value * weight,
      name: link(source, 0, 0, c, placeOf(source, { h: 0, w: 0, c }, network)),
      middle: `${short(value)} × ${short(weight)}`,
    };
  });
  const { table, last } = partsOfSum(parts,
    `What each of the ${x.C} numbers before adds, number × weight, the largest first:`, 1);
  const sum = sumOf(parts.map(({ value }) => value)), bias = step.bias ? step.bias[cell.c] : 0;
  return {
    formula: "y[f] = bias[f] + Σ x[c] · weight[c, f]",
    content: [
      table,
      line("sum of all products", long(sum), last + 1),
      line(step.bias ? "plus the bias" : "no bias: this layer has none", long(bias), last + 2),
      result("output", sum + bias, last + 3),
    ],
  };
}

function explainBatchNorm({ step, cell, source }) {
  const { h, w, c } = cell;
  const value = at(source.y, h, w, c);
  const centerd = value - step.mean[c], spread = Math.sqrt(step.variance[c] + step.epsilon);
  const normal = centerd / spread, stretched = normal * step.weight[c];
  return {
    formula: "y = (x − mean) / √(variance + epsilon) · weight + bias",
    content: [
      line("x", link(source, h, w, c, long(value)), 0),
      line(`minus the mean ${long(step.mean[c])}`, long(centerd), 1),
      line(`√(${long(step.variance[c])} + ${step.epsilon}), the spread`, long(spread), 2),
      line("divided by the spread", long(normal), 3),
      line(`times the weight ${long(step.weight[c])}`, long(stretched), 4),
      result(`plus the bias ${long(step.bias[c])}`, stretched + step.bias[c], 5),
    ],
  };
}

function explainReLU({ cell: { h, w, c }, source }) {
  const value = at(source.y, h, w, c);
  return {
    formula: "y = max(x, 0)",
    content: [
      line("x", link(source, h, w, c, long(value)), 0),
      result(value > 0 ? "above 0: it stays" : "not above 0: it becomes 0", Math.max(value, 0), 1),
    ],
  };
}

function explainSame({ cell: { h, w, c }, source }) {
  const value = at(source.y, h, w, c);
  return {
    formula: "y = x",
    content: [
      line("x", link(source, h, w, c, long(value)), 0),
      result("in use nothing is dropped: it stays", value, 1),
    ],
  };
}

function explainRecorded({ step, cell: { h, w, c }, source }) {
  return {
    formula: `y = ${step.text}(x)`,
    content: [
      line("x", link(source, 0, 0, 0, "the step before"), 0),
      result("y, computed in Python", at(step.y, h, w, c), 1),
    ],
  };
}

function explainFlatten({ cell, source }) {
  const x = source.y, { h, w, c } = unflattened(cell.c, x);
  return {
    formula: "y[(h · W + w) · C + c] = x[h, w, c]",
    content: [
      line(`number ${cell.c} = (${h} · ${x.W} + ${w}) · ${x.C} + ${c}`, "", 0),
      line(`so it is row ${h}, column ${w} of map ${c}`, link(source, h, w, c, "go there"), 1),
      result("output", at(x, h, w, c), 2),
    ],
  };
}

function explainResidual({ step, cell: { h, w, c }, inputs }) {
  const values = inputs.map(({ y }) => at(y, h, w, c));
  return {
    formula: "y = layers(x) + shortcut(x)",
    content: [
      ...inputs.map((source, i) =>
        line(step.names[i], link(source, h, w, c, long(values[i])), i)),
      result("output: their sum", sumOf(values), 2),
    ],
  };
}

function explainConcat({ step, cell: { h, w, c }, inputs }) {
  let number = 0, own = c;
  while (own >= inputs[number].y.C) own -= inputs[number++].y.C;
  const source = inputs[number];
  return {
    formula: "y = the channels of all branches, side by side",
    content: [
      line(`channel ${c} is channel ${own} of ${step.names[number]}`,
        link(source, h, w, own, "go there"), 0),
      result("output", at(source.y, h, w, own), 1),
    ],
  };
}

function explainSoftmax({ network, cell, source }) {
  const z = Array.from(source.y.data), most = Math.max(...z);
  const powers = z.map((value) => Math.exp(value - most)), sum = sumOf(powers);
  const head = ["class", "z", "z − max", "exp(z − max)"];
  const table = element("table", { className: "figures" },
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", {}, text)))),
    element("tbody", {}, ...z.map((value, c) => {
      const row = element("tr", {},
        element("th", {}, network.classNames[c]),
        element("td", {}, link(source, 0, 0, c, short(value))),
        element("td", {}, short(value - most)),
        element("td", {}, long(powers[c])));
      row.classList.toggle("chosen", c === cell.c);
      return onBeat(c + 1, row);
    })));
  return {
    formula: "p[c] = exp(z[c] − max z) / Σ exp(z[k] − max z)",
    content: [
      element("div", { className: "scroll" }, table),
      line("sum of the last column", long(sum), z.length + 1),
      result(`output: ${long(powers[cell.c])} / ${long(sum)}`, powers[cell.c] / sum, z.length + 2),
    ],
  };
}
