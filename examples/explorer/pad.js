/* The drawing pad, and pictures from files. What is drawn is kept as strokes; each change is a new
   entry of a history, so that all can be undone: strokes, clearing, test images and pictures. */

const PAD = 280; // pixels of the gray picture that the pad gives, in each direction
const PEN = 26; // width of the pen in the same pixels
const LARGEST_PICTURE = 800; // longer side to which a picture is reduced

/**
 * What is on the pad: strokes, each a list of points [x, y] in pixels of the gray picture; or a
 * test image (28·28); or a gray picture from a file.
 * @typedef {{ strokes: number[][][], test?: Uint8Array, picture?: object, name?: string }} Drawing
 */

class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange called whenever there is something else on the pad
   */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.history = [{ strokes: [] }];
    this.pointer = null; // the one that draws
    this.hidden = document.createElement("canvas");
    this.hidden.width = this.hidden.height = PAD;
    this.pen = this.hidden.getContext("2d", { willReadFrequently: true });
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.end(event));
    }
    this.show();
  }

  /** @returns {Drawing} */
  get drawing() {
    return this.history.at(-1);
  }

  get isEmpty() {
    const { strokes, test, picture } = this.drawing;
    return strokes.length === 0 && !test && !picture;
  }

  /** Put something else on the pad. @param {Drawing} drawing */
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

  /** What the network is to see. @returns {?Uint8Array} 28·28; null where nothing is drawn */
  image() {
    const { strokes, test, picture } = this.drawing;
    if (test) return test;
    if (picture) return toMnist(picture);
    return strokes.length ? toMnist(this.gray()) : null;
  }

  /** The strokes as a gray picture, white on black. */
  gray() {
    const pixels = this.pen.getImageData(0, 0, PAD, PAD).data;
    const data = new Uint8Array(PAD * PAD);
    for (let i = 0; i < data.length; i++) data[i] = pixels[4 * i];
    return { H: PAD, W: PAD, data };
  }

  // -------------------------------------------------------------- the pen

  begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.put({ strokes: [...this.drawing.strokes, [this.pointOf(event)]] });
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    const points = (between.length ? between : [event]).map((each) => this.pointOf(each));
    this.drawing.strokes.at(-1).push(...points);
    this.changed();
  }

  end(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  pointOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * PAD,
      ((event.clientY - box.top) / box.height) * PAD,
    ];
  }

  // -------------------------------------------------------------- showing

  changed() {
    this.show();
    this.onChange();
  }

  show() {
    const screen = this.canvas.getContext("2d");
    const { strokes, test, picture } = this.drawing;
    drawStrokes(this.pen, strokes, PAD);
    drawStrokes(screen, strokes, this.canvas.width);
    if (test) drawGray(screen, { H: FIELD, W: FIELD, data: test }, false);
    if (picture) drawGray(screen, picture, true);
  }
}

/** Draw strokes, white on black, on a square of `size` pixels. */
function drawStrokes(pen, strokes, size) {
  const scale = size / PAD;
  pen.fillStyle = "black";
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = "white";
  pen.lineWidth = PEN * scale;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * scale, y * scale]);
    pen.beginPath();
    pen.moveTo(...points[0]);
    pen.lineTo(points[0][0] + 0.01, points[0][1]); // so a dot is a stroke: it needs a length
    for (let i = 1; i < points.length - 1; i++) { // smooth: curves through the middles
      const [[x, y], [nextX, nextY]] = [points[i], points[i + 1]];
      pen.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    if (points.length > 1) pen.lineTo(...points.at(-1));
    pen.stroke();
  }
}

/** Draw a gray picture as large as fits. */
function drawGray(pen, picture, isSmooth) {
  const canvas = document.createElement("canvas");
  canvas.width = picture.W;
  canvas.height = picture.H;
  const own = canvas.getContext("2d");
  const pixels = own.createImageData(picture.W, picture.H);
  picture.data.forEach((level, i) => pixels.data.set([level, level, level, 255], 4 * i));
  own.putImageData(pixels, 0, 0);
  const size = pen.canvas.width, scale = size / Math.max(picture.H, picture.W);
  const W = picture.W * scale, H = picture.H * scale;
  pen.imageSmoothingEnabled = isSmooth;
  pen.drawImage(canvas, (size - W) / 2, (size - H) / 2, W, H);
}

/**
 * Read a picture file: turned upright, reduced, and gray as Pillow makes it. Transparency is laid
 * on white, or on black if more is seen then.
 * @param {Blob} file
 * @returns {Promise<{ H: number, W: number, data: Uint8Array }>}
 */
async function readPicture(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LARGEST_PICTURE / Math.max(bitmap.width, bitmap.height));
  const W = Math.max(1, Math.round(bitmap.width * scale));
  const H = Math.max(1, Math.round(bitmap.height * scale));
  const [onWhite, onBlack] = ["white", "black"].map((ground) => {
    const canvas = document.createElement("canvas");
    canvas.width = W;
    canvas.height = H;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.fillStyle = ground;
    pen.fillRect(0, 0, W, H);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, W, H);
    const pixels = pen.getImageData(0, 0, W, H).data;
    const gray = (_, i) =>
      (pixels[4 * i] * 19595 + pixels[4 * i + 1] * 38470 + pixels[4 * i + 2] * 7471 + 32768) >> 16;
    return { H, W, data: Uint8Array.from({ length: H * W }, gray) };
  });
  const contrast = ({ data }) =>
    data.reduce((a, b) => Math.max(a, b)) - data.reduce((a, b) => Math.min(a, b));
  return 2 * contrast(onWhite) < contrast(onBlack) ? onBlack : onWhite;
}
