/* Format values as text and as colors. Blue and orange differ for color-blind people too. */

/** Format a value in a grid with about three digits. */
function short(x) {
  const size = Math.abs(x);
  return signed(size >= 99.95 ? x.toFixed(0) : size >= 9.995 ? x.toFixed(1) : x.toFixed(2));
}

/** Format a value in a sum with about five digits. */
function long(x) {
  const size = Math.abs(x);
  if (x === 0) return "0";
  return signed(size < 1e-4 || size >= 1e6 ? x.toExponential(3) : x.toFixed(size >= 100 ? 2 : 4));
}

/** Format a share so that only 0 reads as 0 % and only 1 as 100 %, as minicnn/table.py does. */
function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1%";
  return share >= 0.9995 && share < 1 ? ">99.9%" : `${(100 * share).toFixed(1)}%`;
}

/** Write the minus sign as "−", and none before a zero. */
function signed(text) {
  return text.startsWith("-") ? (/[1-9]/.test(text) ? `−${text.slice(1)}` : text.slice(1)) : text;
}

/** Make the first letter a capital. */
function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

// Diverging color maps from -1 to 1: colors [red, green, blue] at even distances.
const COLOR_STOPS = {
  light: [[13, 54, 110], [33, 102, 172], [120, 171, 214], [244, 244, 241], [247, 178, 103],
    [209, 98, 16], [120, 45, 4]],
  dark: [[205, 232, 255], [96, 176, 245], [34, 92, 150], [14, 16, 20], [146, 80, 16],
    [247, 152, 51], [255, 233, 196]],
};
const SHADES = 256; // on either side of 0

/** Color maps by theme: 2 · SHADES + 1 pixels of 32 bits, from -1 to 1. */
const COLOR_MAPS = Object.fromEntries(Object.entries(COLOR_STOPS).map(([name, stops]) => {
  const colors = new Uint32Array(2 * SHADES + 1);
  for (let i = 0; i < colors.length; i++) {
    const position = (i / (2 * SHADES)) * (stops.length - 1);
    const stop = Math.min(Math.floor(position), stops.length - 2), fraction = position - stop;
    const [r, g, b] = stops[stop].map((level, k) =>
      Math.round(level + fraction * (stops[stop + 1][k] - level)));
    colors[i] = (255 << 24) | (b << 16) | (g << 8) | r; // little-endian memory has red first
  }
  return [name, colors];
}));

let theme = "light"; // set in main.js

/** Return the index of a value in a color map that ends at ±scale. */
function shadeOf(x, scale) {
  const ratio = scale > 0 ? Math.min(Math.max(x / scale, -1), 1) : 0;
  return Math.round((ratio + 1) * SHADES);
}

/** Return the CSS colors of a value: its background, and black or white text. */
function cssColors(x, scale) {
  const pixel = COLOR_MAPS[theme][shadeOf(x, scale)];
  const rgb = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
  return {
    background: `rgb(${rgb.join(" ")})`,
    // At a luminance of 0.179 black and white have the same contrast, 4.6.
    color: luminance(rgb) > 0.179 ? "#000" : "#fff",
  };
}

/** Compute the relative luminance of a color, 0 to 1 (WCAG 2.2). */
function luminance(rgb) {
  const [r, g, b] = rgb.map((level) => level / 255)
    .map((level) => (level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Compute the largest absolute value of a tensor or array. */
function maxAbs(values) {
  let max = 0;
  for (const x of values) max = Math.max(max, Math.abs(x));
  return max;
}
