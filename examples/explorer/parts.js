/* What the panel is made of: lines of a calculation, grids of numbers, lists of parts of a sum. */

const MOST_PARTS = 10; // channels, or inputs of a dense layer, that are listed one by one

/** Let an element wait for a beat. */
function onBeat(beat, made) {
  made.dataset.beat = beat;
  return made;
}

/** A value that leads to the cell it came from. */
function link(source, h, w, c, text, properties = {}) {
  const made = element("button", { type: "button", className: "link", ...properties }, text);
  made.dataset.goto = `${source.number} ${h} ${w} ${c}`;
  made.title = `${at(source.y, h, w, c)}; go to this cell`;
  return made;
}

/** A line of a calculation: what it is, and its value. */
function line(name, value, beat) {
  const made = element("div", { className: "line" },
    element("span", {}, name), value instanceof Node ? value : element("b", {}, value));
  return beat === undefined ? made : onBeat(beat, made);
}

/** The last line: the number that all this gives. */
function result(text, sum, beat) {
  const made = line(text, long(sum), beat);
  made.classList.add("result");
  made.dataset.sum = sum;
  return made;
}

/**
 * A grid of numbers, colored.
 * @param {string} title
 * @param {number} rows
 * @param {number} columns
 * @param {(r, k) => { value: number, scale: number, goto?: [object, number, number, number],
 *     beat?: number, isOutside?: boolean, isBest?: boolean, with?: number }} look beat: the one
 *     that it waits for; with: the one in which it stands out
 */
function grid(title, rows, columns, look) {
  const cells = element("div", { className: "cells" });
  cells.dataset.columns = columns;
  cells.style.gridTemplateColumns = `repeat(${columns}, var(--cell))`;
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < columns; k++) {
      const { value, scale, goto: place, beat, with: other, isOutside, isBest } = look(r, k);
      const text = isOutside ? "" : short(value);
      const made = place && !isOutside
        ? link(...place, text) : element("span", { title: isOutside ? "padding" : `${value}` }, text);
      made.className = `cell${isOutside ? " outside" : ""}${isBest ? " best" : ""}`;
      if (!isOutside) Object.assign(made.style, cssColors(value, scale));
      if (other !== undefined) made.dataset.with = other;
      cells.append(beat === undefined ? made : onBeat(beat, made));
    }
  }
  return element("figure", { className: "grid" },
    element("figcaption", {}, title), element("div", { className: "scroll" }, cells));
}

function sign(text) {
  return element("span", { className: "sign", ariaHidden: "true" }, text);
}

/** A list of parts of a sum, the largest first, and the rest of them in one line. */
function partsOfSum(parts, head, beat) {
  const sorted = [...parts].sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  const listed = sorted.slice(0, MOST_PARTS), rest = sorted.slice(MOST_PARTS);
  const scale = largestSize(parts.map(({ value }) => value));
  const table = element("div", { className: "parts" }, element("p", { className: "small quiet" }, head));
  listed.forEach(({ value, name, middle, mark }, i) => {
    const bar = element("span", { className: "bar" });
    const width = scale ? 50 * (Math.abs(value) / scale) : 0;
    bar.style.width = `${width}%`;
    bar.style.left = `${value < 0 ? 50 - width : 50}%`;
    bar.style.background = cssColors(Math.sign(value) * 0.68, 1).background;
    const row = element("div", { className: "part" }, name,
      element("span", { className: "small quiet" }, middle ?? ""),
      element("span", { className: "rail" }, bar), element("b", {}, short(value)));
    row.classList.toggle("chosen", Boolean(mark));
    table.append(onBeat(beat + i, row));
  });
  const sum = rest.reduce((a, { value }) => a + value, 0);
  if (rest.length) {
    table.append(line(`the other ${rest.length}, together`, long(sum), beat + listed.length));
  }
  return { table, last: beat + listed.length };
}

/** The texts of a running sum: 0 + first, then what it is after each part. */
function runningSums(values) {
  let sum = 0;
  return ["sum so far: 0", ...values.map((value) => `sum so far: ${long((sum += value))}`)];
}
