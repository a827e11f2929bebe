/* One card for each step: its name, a sentence on its computation, and its feature maps. */

const MAX_BARS = 16; // a longer vector is shown as a map sheet

/** Describe the computation of a step in a sentence. */
function descriptionOf(step, network) {
  const { H, W, C } = step.y;
  const inputs = network.inputsOf(step);
  const x = inputs[0];
  const size = step.window && `${step.window.KH}×${step.window.KW}`;
  const inputMaps = x.C === 1 ? "the input map" : `the ${x.C} input maps`;
  const plusBias = step.bias ? ", plus a bias" : "";
  const unit = step.isVector ? "value" : "feature map";
  return {
    Conv2D: () => `${C} filters of ${size} slide over ${inputMaps}. At each position a filter ` +
      `gives one value: the sum of the products of its weights and the inputs${plusBias}.`,
    DepthwiseConv2D: () => `Each of the ${C} feature maps has its own ${size} filter${plusBias}.`,
    MaxPool2D: () => `The maximum of each ${size} window.`,
    AvgPool2D: () => `The mean of each ${size} window.`,
    GlobalAvgPool2D: () => `The mean of each of the ${C} feature maps.`,
    Dense: () => `Each of the ${C} outputs is a weighted sum of all ${x.C} inputs${plusBias}.`,
    BatchNorm: () => `Each ${unit} is normalized with the mean and variance from training, then ` +
      `scaled and shifted with learned values.`,
    ReLU: () => `Values below 0 become 0.`,
    Dropout: () => `In training, ${percent(step.rate)} of the values become 0 at random. At ` +
      `inference, as here, the layer changes nothing.`,
    Flatten: () => `${capital(inputMaps)} of ${x.H}×${x.W} become one vector of ${C} values, in ` +
      `the order rows, columns, channels.`,
    Residual: () => `The sum of the branch and its shortcut.`,
    Concat: () => `The channels of the ${inputs.length} branches: ` +
      `${inputs.map((input) => input.C).join(" + ")} = ${C} ${unit}s` +
      `${step.isVector ? "" : ` of ${H}×${W}`}.`,
    Recorded: () => `A layer that this page cannot compute. Its outputs for the test images were computed in ` +
      `Python; the page shows input and output.`,
    Softmax: () => `The logits become probabilities: exp of each, divided by the sum of all.`,
  }[step.layer]();
}

/** Name a cell in words. */
function nameOfCell(step, { h, w, c }, network) {
  if (!step.isVector) return `map ${c}, row ${h}, column ${w}`;
  return step.y.C === network.classNames.length ? `class ${network.classNames[c]}` : `value ${c}`;
}

/** A short vector; each value is a button with a bar. */
class Bars {
  /**
   * @param {object} step whose output is a vector
   * @param {string[]} names
   * @param {(number) => string} format
   * @param {(h, w, c) => void} onPick
   */
  constructor(step, names, format, onPick) {
    this.step = step;
    this.format = format;
    this.root = element("div", { className: "bars" });
    this.rows = names.map((name, c) => {
      const bar = element("span", { className: "bar" });
      const value = element("span", { className: "value" });
      const row = element("button", { type: "button", className: "bar-row" },
        element("span", { className: "name" }, name),
        element("span", { className: "rail" }, bar), value);
      row.addEventListener("click", () => onPick(0, 0, c));
      this.root.append(row);
      return { row, bar, value };
    });
  }

  layOut() {}

  /** Return the distance of a row from the top of the bars in CSS pixels. */
  offsetOf({ c }) {
    return this.rows[c].row.offsetTop - this.root.offsetTop;
  }

  /** Draw the bars, or none if there is no image. */
  draw(isBlank) {
    const { data } = this.step.y;
    const argmax = data.indexOf(Math.max(...data));
    const isSigned = data.some((x) => x < 0);
    const scale = this.step.layer === "Softmax" ? 1 : maxAbs(data);
    this.rows.forEach(({ row, bar, value }, c) => {
      setBar(bar, isBlank || scale === 0 ? 0 : data[c] / scale, isSigned);
      value.textContent = isBlank ? "" : this.format(data[c]);
      row.classList.toggle("max", !isBlank && c === argmax);
    });
    return scale;
  }

  mark(marks) {
    const isAll = marks.some(({ region }) => isWhole(region, this.step.y));
    this.root.classList.toggle("near", isAll);
    this.rows.forEach(({ row }, c) => {
      const mark = !isAll && marks.find(({ region }) => region.c0 <= c && c < region.c1);
      row.classList.toggle("own", mark?.kind === "own");
      row.classList.toggle("near", mark?.kind === "near");
    });
  }
}

class Card {
  /**
   * @param {object} step
   * @param {Network} network
   * @param {(cell, addToHistory) => void} onPick with { step, h, w, c }
   */
  constructor(step, network, onPick) {
    this.step = step;
    this.network = network;
    const { H, W, C } = step.y;
    const pick = (h, w, c, addToHistory) => onPick({ step: step.index, h, w, c }, addToHistory);
    const shape = step.isVector ? `${C}` : `${H}×${W}×${C}`;
    const title = step.layer === "Residual" ? "Residual: sum"
      : step.layer === "Concat" ? "Concat: channels" : step.text;
    if (step.isVector && C <= MAX_BARS) {
      const names = C === network.classNames.length ? network.classNames : [...Array(C).keys()];
      this.view = new Bars(step, names, step.layer === "Softmax" ? percent : long, pick);
    } else {
      const content = step.isVector ? `${C} values` : `${C} feature maps of ${H}×${W}`;
      this.view = new MapSheet(step, `${step.layer}, ${content}`, pick, (cell) => this.point(cell));
    }
    this.readout = element("output", { className: "readout" });
    this.min = element("span", { className: "range" });
    this.max = element("span", { className: "range" });
    this.colorMap = element("span", { className: "color-map" });
    const legend = element("span", { className: "legend" }, this.min, this.colorMap, this.max);
    this.root = element("article", { className: "card", id: `step-${step.index}` },
      element("div", { className: "card-head" },
        element("h3", {},
          step.path ? element("span", { className: "path" }, step.path) : null,
          element("code", {}, title),
          step.branch ? element("span", { className: "branch" }, step.branch) : null),
        element("span", { className: "shape", title: "shape of the output" }, shape)),
      element("p", { className: "note" }, descriptionOf(step, network)),
      this.view.root,
      element("div", { className: "card-foot" },
        this.view instanceof MapSheet ? legend : null, this.readout));
    this.root.classList.toggle("inside", Boolean(step.branch));
  }

  layOut() {
    const style = getComputedStyle(this.root);
    const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
    this.view.layOut(this.root.clientWidth - padding);
  }

  draw(isBlank) {
    this.isBlank = isBlank;
    const scale = this.view.draw(isBlank);
    const isSigned = this.step.y.data.some((x) => x < 0);
    this.colorMap.classList.toggle("positive", !isSigned);
    this.min.textContent = isBlank ? "" : short(isSigned ? -scale : 0);
    this.max.textContent = isBlank ? "" : short(scale);
    this.showReadout();
  }

  point(cell) {
    this.pointed = cell;
    this.showMarks();
  }

  mark(marks) {
    this.marks = marks;
    this.showMarks();
  }

  /** Show the value of the cell under the pointer or cursor, else of the chosen cell. */
  showReadout() {
    const cell = this.pointed ?? (this.view.own ? this.view.cursor : null), { step } = this;
    this.readout.textContent = !cell || this.isBlank ? ""
      : `${nameOfCell(step, cell, this.network)}: ${long(at(step.y, cell.h, cell.w, cell.c))}`;
  }

  showMarks() {
    const pointed = this.pointed ? [{ region: cellRegion(this.pointed), kind: "point" }] : [];
    this.view.mark([...(this.marks ?? []), ...pointed]);
    this.showReadout();
  }
}
