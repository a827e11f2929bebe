/* The drawing pad, and images from files.

   The pad stores strokes. Each change is a new entry of a history, so that undo works for strokes,
   clearing, test images and files. */

const PAD_SIZE = 280; // side of the gray image of the strokes, in pixels
const PEN_WIDTH = 26; // in the same pixels
const MAX_IMAGE_SIZE = 2400; // pixels of the longer side; larger images are reduced
const MAX_CANVAS = 16_000_000; // pixels; a larger canvas stays empty in some browsers

/**
 * The content of the pad: strokes, each a list of points [x, y] in pixels of the gray image; or a
 * test image (28·28); or a gray image from a file, and the digit in it (28·28, or null).
 * @typedef {{ strokes: number[][][], test?: Uint8Array, fileImage?: object, digit?: Uint8Array,
 *     name?: string }} Drawing
 */

class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange called after each change of the content
   */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.history = [{ strokes: [] }];
    this.pointer = null; // id of the pointer that draws
    this.grayCanvas = document.createElement("canvas");
    this.grayCanvas.width = this.grayCanvas.height = PAD_SIZE;
    this.context = this.grayCanvas.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.beginStroke(event));
    canvas.addEventListener("pointermove", (event) => this.extendStroke(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.endStroke(event));
    }
    this.show();
  }

  /** @returns {Drawing} */
  get drawing() {
    return this.history.at(-1);
  }

  get isEmpty() {
    const { strokes, test, fileImage } = this.drawing;
    return strokes.length === 0 && !test && !fileImage;
  }

  /** Replace the content of the pad. @param {Drawing} drawing */
  put(drawing) {
    this.history.push(drawing);
    this.changed();
  }

  undo() {
    if (this.history.length > 1) this.history.pop();
    this.changed();
  }

  clear() {
    if (!this.isEmpty) this.put({ strokes: [] });
  }

  /** Return the network's input. @returns {?Uint8Array} 28·28; null for a blank pad */
  image() {
    const { strokes, test, fileImage, digit } = this.drawing;
    if (test) return test;
    if (fileImage) return digit;
    return strokes.length ? toMnistFormat(this.gray()) : null;
  }

  /** Return the strokes as a gray image, white on black. */
  gray() {
    const pixels = this.context.getImageData(0, 0, PAD_SIZE, PAD_SIZE).data;
    const data = new Uint8Array(PAD_SIZE * PAD_SIZE);
    for (let i = 0; i < data.length; i++) data[i] = pixels[4 * i];
    return { H: PAD_SIZE, W: PAD_SIZE, data };
  }

  // -------------------------------------------------------------- strokes

  beginStroke(event) {
    if (this.pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.put({ strokes: [...this.drawing.strokes, [this.pointOf(event)]] });
  }

  extendStroke(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? []; // all moves since the last frame
    const points = (events.length ? events : [event]).map((each) => this.pointOf(each));
    this.drawing.strokes.at(-1).push(...points);
    this.changed();
  }

  endStroke(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  pointOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * PAD_SIZE,
      ((event.clientY - box.top) / box.height) * PAD_SIZE,
    ];
  }

  // -------------------------------------------------------------- drawing

  changed() {
    this.show();
    this.onChange();
  }

  show() {
    const context = this.canvas.getContext("2d");
    const { strokes, test, fileImage } = this.drawing;
    drawStrokes(this.context, strokes, PAD_SIZE);
    drawStrokes(context, strokes, this.canvas.width);
    if (test) drawGray(context, { H: IMAGE_SIZE, W: IMAGE_SIZE, data: test }, false);
    if (fileImage) drawGray(context, fileImage, true);
  }
}

/** Draw strokes, white on black, on a square of `size` pixels. */
function drawStrokes(context, strokes, size) {
  const scale = size / PAD_SIZE;
  context.fillStyle = "black";
  context.fillRect(0, 0, size, size);
  context.strokeStyle = "white";
  context.lineWidth = PEN_WIDTH * scale;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * scale, y * scale]);
    context.beginPath();
    context.moveTo(...points[0]);
    // A canvas draws no line of length 0, so a dot gets a length.
    context.lineTo(points[0][0] + 0.01, points[0][1]);
    // Quadratic curves through the midpoints make the line smooth.
    for (let i = 1; i < points.length - 1; i++) {
      const [[x, y], [nextX, nextY]] = [points[i], points[i + 1]];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    if (points.length > 1) context.lineTo(...points.at(-1));
    context.stroke();
  }
}

/** Draw a gray image centered on the canvas, as large as fits. */
function drawGray(context, image, isSmooth) {
  const canvas = document.createElement("canvas");
  canvas.width = image.W;
  canvas.height = image.H;
  const source = canvas.getContext("2d");
  const pixels = source.createImageData(image.W, image.H);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(image.data, grayPixel));
  source.putImageData(pixels, 0, 0);
  const size = context.canvas.width, scale = size / Math.max(image.H, image.W);
  const W = image.W * scale, H = image.H * scale;
  context.imageSmoothingEnabled = isSmooth;
  context.drawImage(canvas, (size - W) / 2, (size - H) / 2, W, H);
}

/** Return the 32 bits of an opaque gray pixel. */
function grayPixel(level) {
  return (255 << 24) | (level << 16) | (level << 8) | level;
}

/**
 * Read an image file: rotated by its EXIF tag, converted to gray as in Pillow, and reduced.
 * Transparent pixels become white, or black if that more than doubles the contrast.
 * @param {Blob} file
 * @returns {Promise<{ H: number, W: number, data: Uint8Array }>}
 */
async function readImage(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const scale = Math.min(1, Math.sqrt(MAX_CANVAS / (bitmap.width * bitmap.height)));
  const [H, W] = [bitmap.height, bitmap.width].map((n) => Math.max(1, Math.floor(n * scale)));
  const [onWhite, onBlack] = ["white", "black"].map((background) => {
    const canvas = document.createElement("canvas");
    canvas.width = W;
    canvas.height = H;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = background;
    context.fillRect(0, 0, W, H);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, W, H);
    const rgba = context.getImageData(0, 0, W, H).data, data = new Uint8Array(H * W);
    for (let i = 0; i < data.length; i++) {
      // Pillow's fixed-point weights of red, green and blue (ITU-R 601-2).
      data[i] =
        (rgba[4 * i] * 19595 + rgba[4 * i + 1] * 38470 + rgba[4 * i + 2] * 7471 + 32768) >> 16;
    }
    return { H, W, data };
  });
  const contrast = ({ data }) => {
    const counts = histogram(data);
    return counts.findLastIndex(Boolean) - counts.findIndex(Boolean);
  };
  const gray = 2 * contrast(onWhite) < contrast(onBlack) ? onBlack : onWhite;
  return reduce(gray, Math.ceil(Math.max(H, W) / MAX_IMAGE_SIZE));
}
