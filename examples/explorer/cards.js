/* One card for each step: its name, what it does in a sentence, and its maps. */

const MOST_BARS = 16; // a row of so few numbers is shown as bars

/** What a step does, in a sentence. */
function noteOf(step, network) {
  const { H, W, C } = step.y;
  const inputs = network.inputsOf(step);
  const x = inputs[0];
  const size = step.window && `${step.window.KH}×${step.window.KW}`;
  const before = x.C === 1 ? "the map before" : `the ${x.C} maps before`;
  const where = step.isRow ? "number" : "map";
  return {
    Conv2D: () => `Each of ${C} filters slides over ${before} and answers ` +
      `each ${size} window with one number: the sum of its products with the filter's weights.`,
    DepthwiseConv2D: () => `Each of the ${C} maps has a ${size} filter of its own, which sees no ` +
      `other map.`,
    MaxPool2D: () => `Of each ${size} window only the largest number goes on.`,
    AvgPool2D: () => `Each ${size} window becomes its mean.`,
    GlobalAvgPool2D: () => `Each of the ${C} maps becomes one number, its mean.`,
    Dense: () => `Each of ${C} outputs is a weighted sum of all ${x.C} numbers before.`,
    BatchNorm: () => `Each ${where} is moved and stretched as training has found it useful, by the ` +
      `mean and variance that it had in training.`,
    ReLU: () => `What is below 0 becomes 0; the rest stays.`,
    Dropout: () => `In training ${percent(step.rate)} of the numbers are dropped at random. In ` +
      `use, as here, all pass unchanged.`,
    Flatten: () => `${capital(before)}, ${x.H}×${x.W} each, as one row of ${C} numbers: row by ` +
      `row, column by column, map by map.`,
    Residual: () => `The branch and its shortcut are added, number by number.`,
    Concat: () => `The ${inputs.length} branches side by side: ` +
      `${inputs.map((part) => part.C).join(" + ")} = ${C} ${where}s` +
      `${step.isRow ? "" : ` of ${H}×${W}`}.`,
    Recorded: () => `A layer outside minicnn. Its outputs for the test images were computed in ` +
      `Python; the page shows input and output.`,
    Softmax: () => `The last numbers become shares of 1: exp of each, divided by the sum of all.`,
  }[step.layer]();
}

/** A text with a capital at its beginning. */
function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** Where a cell is, in words. */
function placeOf(step, { h, w, c }, network) {
  if (!step.isRow) return `map ${c}, row ${h}, column ${w}`;
  return step.y.C === network.classNames.length ? `class ${network.classNames[c]}` : `number ${c}`;
}

/** A row of a few numbers, each a button with a bar. */
class Bars {
  /**
   * @param {object} step whose y is a row
   * @param {string[]} names
   * @param {(number) => string} text
   */
  constructor(step, names, text, onPick) {
    this.step = step;
    this.text = text;
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

  depthOf({ c }) {
    return this.rows[c].row.offsetTop - this.root.offsetTop;
  }

  draw(isBlank) {
    const { data } = this.step.y;
    const scale = isBlank ? 0 : largestSize(data), best = data.indexOf(Math.max(...data));
    const signs = data.some((x) => x < 0);
    const span = this.step.layer === "Softmax" ? 1 : scale;
    this.rows.forEach(({ row, bar, value }, c) => {
      const share = isBlank || span === 0 ? 0 : data[c] / span;
      const width = (signs ? 50 : 100) * Math.abs(share);
      bar.style.width = `${width}%`;
      bar.style.left = `${signs ? (share < 0 ? 50 - width : 50) : 0}%`;
      bar.style.background = cssColors(Math.sign(share) * 0.68, 1).background;
      value.textContent = isBlank ? "" : this.text(data[c]);
      row.classList.toggle("best", !isBlank && c === best);
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
   * @param {(cell) => void} onPick with { step, h, w, c }
   */
  constructor(step, network, onPick) {
    this.step = step;
    this.network = network;
    const { H, W, C } = step.y;
    const pick = (h, w, c, keeps) => onPick({ step: step.number, h, w, c }, keeps);
    const shape = step.isRow ? `${C}` : `${H}×${W}×${C}`;
    const title = step.layer === "Residual" ? "Residual: sum"
      : step.layer === "Concat" ? "Concat: side by side" : step.text;
    if (step.isRow && C <= MOST_BARS) {
      const names = C === network.classNames.length ? network.classNames : [...Array(C).keys()];
      this.view = new Bars(step, names, step.layer === "Softmax" ? percent : long, pick);
    } else {
      const maps = step.isRow ? `${C} numbers` : `${C} maps of ${H}×${W}`;
      this.view = new MapSheet(step, `${step.layer}, ${maps}`, pick, (cell) => this.point(cell));
    }
    this.readout = element("output", { className: "readout" });
    this.least = element("span", { className: "range" });
    this.most = element("span", { className: "range" });
    const legend = element("span", { className: "legend-part" },
      this.least, element("span", { className: "legend" }), this.most);
    this.root = element("article", { className: "card", id: `step-${step.number}` },
      element("div", { className: "card-head" },
        element("h3", {},
          step.place ? element("span", { className: "place" }, step.place) : null,
          element("code", {}, title),
          step.branch ? element("span", { className: "branch" }, step.branch) : null),
        element("span", { className: "shape", title: "shape of the output" }, shape)),
      element("p", { className: "note" }, noteOf(step, network)),
      this.view.root,
      element("div", { className: "card-foot" },
        this.view instanceof MapSheet ? legend : null, this.readout));
    this.root.classList.toggle("inside", Boolean(step.branch));
  }

  layOut() {
    const style = getComputedStyle(this.root);
    const sides = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
    this.view.layOut(this.root.clientWidth - sides);
  }

  draw(isBlank) {
    this.isBlank = isBlank;
    const scale = this.view.draw(isBlank);
    this.least.textContent = isBlank ? "" : short(-scale);
    this.most.textContent = isBlank ? "" : short(scale);
    if (this.pointed) this.point(this.pointed);
  }

  /** Say what the number below the pointer or cursor is. */
  point(cell) {
    this.pointed = cell;
    const { step } = this;
    this.readout.textContent = !cell || this.isBlank ? ""
      : `${placeOf(step, cell, this.network)}: ${long(at(step.y, cell.h, cell.w, cell.c))}`;
    this.showMarks();
  }

  mark(marks) {
    this.marks = marks;
    this.showMarks();
  }

  showMarks() {
    const pointed = this.pointed ? [{ region: cellRegion(this.pointed), kind: "point" }] : [];
    this.view.mark([...(this.marks ?? []), ...pointed]);
  }
}
