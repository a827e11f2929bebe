/* Numbers as text and as colors. Blue and orange differ for color-blind people too. */

/** A number in a small cell: three figures or so. */
function short(x) {
  const size = Math.abs(x);
  return signed(size >= 99.95 ? x.toFixed(0) : size >= 9.995 ? x.toFixed(1) : x.toFixed(2));
}

/** A number in a sum: five figures. */
function long(x) {
  const size = Math.abs(x);
  if (x === 0) return "0";
  return signed(size < 1e-4 || size >= 1e6 ? x.toExponential(3) : x.toFixed(size >= 100 ? 2 : 4));
}

/** A share of 1 in per cent. */
function percent(share) {
  const text = (100 * share).toFixed(share > 0.0995 ? 1 : 2);
  return `${share < 1 && text === "100.0" ? "99.9+" : text} %`;
}

/** A real minus sign; and none before a zero. */
function signed(text) {
  return text.startsWith("-") ? (/[1-9]/.test(text) ? `−${text.slice(1)}` : text.slice(1)) : text;
}

// From -1 over 0 to 1: colors [red, green, blue] at even distances.
const SCALES = {
  light: [[13, 54, 110], [33, 102, 172], [120, 171, 214], [244, 244, 241], [247, 178, 103],
    [209, 98, 16], [120, 45, 4]],
  dark: [[205, 232, 255], [96, 176, 245], [34, 92, 150], [14, 16, 20], [146, 80, 16],
    [247, 152, 51], [255, 233, 196]],
};
const SHADES = 256; // on either side of 0

/** Tables of colors by theme, as `SHADES` 32-bit pixels from -1 to 1. */
const COLORS = Object.fromEntries(Object.entries(SCALES).map(([theme, stops]) => {
  const table = new Uint32Array(2 * SHADES + 1);
  for (let i = 0; i < table.length; i++) {
    const place = (i / (2 * SHADES)) * (stops.length - 1);
    const below = Math.min(Math.floor(place), stops.length - 2), rest = place - below;
    const [r, g, b] = stops[below].map((from, k) =>
      Math.round(from + rest * (stops[below + 1][k] - from)));
    table[i] = (255 << 24) | (b << 16) | (g << 8) | r; // as little-endian memory has red first
  }
  return [theme, table];
}));

let theme = "light"; // set in main.js

/** The place of a number in a table of colors, where `scale` and all beyond it is deepest. */
function shadeOf(x, scale) {
  const share = scale > 0 ? Math.min(Math.max(x / scale, -1), 1) : 0;
  return Math.round((share + 1) * SHADES);
}

/** A number's color, and black or white for text on it, whichever differs more, for CSS. */
function cssColors(x, scale) {
  const pixel = COLORS[theme][shadeOf(x, scale)];
  const rgb = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
  return {
    background: `rgb(${rgb.join(" ")})`,
    color: luminance(rgb) > 0.179 ? "#000" : "#fff", // there both have a contrast of 4.6
  };
}

/** How bright a color is, 0 to 1 (WCAG 2.2, relative luminance). */
function luminance(rgb) {
  const [r, g, b] = rgb.map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The largest number of a tensor or list, without its sign. */
function largestSize(numbers) {
  let size = 0;
  for (const x of numbers) size = Math.max(size, Math.abs(x));
  return size;
}

/** Make an element: `element("p", { className: "small" }, "text", child, …)`. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}
