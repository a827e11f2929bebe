/* HTML elements of an explanation: lines of a calculation, grids of values, terms of a sum.

   data-tick = n hides an element until tick n of the animation; see panel.js. */

const MAX_TERMS = 10; // terms of a sum that have a row of their own

/** Create an element: `element("p", { className: "small" }, "text", child, …)`. */
function element(name, properties = {}, ...children) {
  const created = Object.assign(document.createElement(name), properties);
  created.append(...children.filter((child) => child !== null));
  return created;
}

/** Set the tick from which an element is visible. */
function atTick(tick, target) {
  target.dataset.tick = tick;
  return target;
}

/** Create a link to the cell that a value comes from. */
function link(source, h, w, c, text, properties = {}) {
  const button = element("button", { type: "button", className: "link", ...properties }, text);
  button.dataset.goto = `${source.index} ${h} ${w} ${c}`;
  button.title = `${at(source.y, h, w, c)}; go to this cell`;
  return button;
}

/** Create a line of a calculation: a name and a value. */
function line(name, value, tick) {
  const row = element("div", { className: "line" },
    element("span", {}, name), value instanceof Node ? value : element("b", {}, value));
  return tick === undefined ? row : atTick(tick, row);
}

/** Create the last line of a calculation; data-result has its unrounded value. */
function result(name, value, tick) {
  const row = line(name, long(value), tick);
  row.classList.add("result");
  row.dataset.result = value;
  return row;
}

/**
 * Create a colored grid of values.
 * @param {string} title
 * @param {number} rows
 * @param {number} columns
 * @param {(r, k) => { value: number, scale: number, goto?: [object, number, number, number],
 *     tick?: number, highlightTick?: number, isPadding?: boolean, isMax?: boolean }} cellAt
 */
function grid(title, rows, columns, cellAt) {
  const cells = element("div", { className: "cells" });
  cells.dataset.columns = columns;
  cells.style.gridTemplateColumns = `repeat(${columns}, var(--cell))`;
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < columns; k++) {
      const { value, scale, goto: source, tick, highlightTick, isPadding, isMax } = cellAt(r, k);
      const text = isPadding ? "" : short(value);
      const cell = source && !isPadding
        ? link(...source, text)
        : element("span", { title: isPadding ? "padding" : `${value}` }, text);
      cell.className = `cell${isPadding ? " padding" : ""}${isMax ? " max" : ""}`;
      if (!isPadding) Object.assign(cell.style, cssColors(value, scale));
      if (highlightTick !== undefined) cell.dataset.highlightTick = highlightTick;
      cells.append(tick === undefined ? cell : atTick(tick, cell));
    }
  }
  return element("figure", { className: "grid" },
    element("figcaption", {}, title), element("div", { className: "scroll" }, cells));
}

/** Create the operator between two grids. */
function operator(text) {
  return element("span", { className: "operator", ariaHidden: "true" }, text);
}

/**
 * List the terms of a sum, the largest first; from the eleventh on in one line.
 * @returns {{ table: Element, lastTick: number }}
 */
function termsOfSum(terms, caption, firstTick) {
  const sorted = [...terms].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const listed = sorted.slice(0, MAX_TERMS), remaining = sorted.slice(MAX_TERMS);
  const scale = maxAbs(terms.map(({ value }) => value));
  const table = element("div", { className: "terms" },
    element("p", { className: "small quiet" }, caption));
  listed.forEach(({ value, name, factors, isChosen }, i) => {
    const row = element("div", { className: "term" }, name,
      element("span", { className: "small quiet" }, factors ?? ""),
      element("span", { className: "rail" }, signedBar(scale ? value / scale : 0)),
      element("b", {}, short(value)));
    row.classList.toggle("chosen", Boolean(isChosen));
    table.append(atTick(firstTick + i, row));
  });
  const lastTick = firstTick + listed.length;
  if (remaining.length) {
    const sum = sumOf(remaining.map(({ value }) => value));
    table.append(line(`the other ${remaining.length}, together`, long(sum), lastTick));
  }
  return { table, lastTick };
}

/** Create a bar from the middle to the right for values above 0, to the left below. */
function signedBar(ratio) {
  const bar = element("span", { className: "bar" });
  setBar(bar, ratio, true);
  return bar;
}

/** Set length and color of a bar; with `isSigned`, 0 is in the middle. */
function setBar(bar, ratio, isSigned) {
  const width = (isSigned ? 50 : 100) * Math.abs(ratio);
  bar.style.width = `${width}%`;
  bar.style.left = `${isSigned ? (ratio < 0 ? 50 - width : 50) : 0}%`;
  bar.style.background = cssColors(Math.sign(ratio) * 0.68, 1).background;
}

/** Return the text of the running sum after 0, 1, 2, … terms. */
function runningSums(values) {
  let sum = 0;
  return ["running sum: 0", ...values.map((value) => `running sum: ${long((sum += value))}`)];
}
