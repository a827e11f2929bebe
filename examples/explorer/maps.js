/* All feature maps of a step on one canvas: one pixel of the canvas is one value, and CSS enlarges
   it. A second canvas on top has the boxes around the chosen cell and its receptive fields. */

const MAP_SIZE = 54; // side of a feature map on the screen, about, in CSS pixels
const DASHES = [3, 2]; // of boxes around inputs: the form tells them from the cell, as the color

class MapSheet {
  /**
   * @param {object} step of the network
   * @param {string} label for screen readers
   * @param {(h, w, c, addToHistory) => void} onPick
   * @param {(?{ h, w, c }) => void} onPoint with the cell under the pointer or the cursor, or null
   */
  constructor(step, label, onPick, onPoint) {
    this.step = step;
    this.onPoint = onPoint;
    this.onPick = onPick;
    this.cursor = { h: 0, w: 0, c: 0 };
    this.marks = [];
    this.canvas = element("canvas", { className: "pixels" });
    this.boxes = element("canvas", { className: "boxes" });
    this.root = element("div", { className: "sheet", tabIndex: 0 }, this.canvas, this.boxes);
    this.root.setAttribute("role", "application");
    this.root.setAttribute("aria-label", `${label}. Arrow keys move, Enter explains a value.`);
    this.listen();
  }

  /** Arrange the maps in as many columns as fit into a width in CSS pixels. */
  layOut(width) {
    const { H, W, C } = this.step.y;
    if (this.step.isVector) {
      this.zoom = C <= 32 ? 26 : C <= 256 ? 15 : 8;
      this.gap = 0;
    } else {
      this.zoom = Math.min(Math.max(Math.round(MAP_SIZE / Math.max(H, W)), 2), 18);
      this.gap = Math.max(1, Math.round(4 / this.zoom));
    }
    const pitch = (W + this.gap) * this.zoom;
    this.columns = Math.max(1, Math.min(C, Math.floor((width + this.gap * this.zoom) / pitch)));
    this.resizeCanvases();
  }

  /** Resize for `columns` maps in a row, `zoom` CSS pixels a cell, `gap` cells between maps. */
  resizeCanvases() {
    const { H, W, C } = this.step.y;
    const rows = Math.ceil(C / this.columns);
    this.canvas.width = this.columns * (W + this.gap) - this.gap;
    this.canvas.height = rows * (H + this.gap) - this.gap;
    this.imageData = new ImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.imageData.data.buffer);
    const size = [this.canvas.width * this.zoom, this.canvas.height * this.zoom];
    for (const { style } of [this.root, this.canvas, this.boxes]) {
      [style.width, style.height] = size.map((length) => `${length}px`);
    }
    const ratio = window.devicePixelRatio || 1; // boxes have the resolution of the screen
    [this.boxes.width, this.boxes.height] = size.map((length) => Math.round(length * ratio));
    this.boxes.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    this.drawMarks();
  }

  /** Return row and column of the top left pixel of map c. */
  originOf(c) {
    const { H, W } = this.step.y;
    return [
      Math.floor(c / this.columns) * (H + this.gap),
      (c % this.columns) * (W + this.gap),
    ];
  }

  /** Color every value, or none if there is no image. @returns {number} the value of full color */
  draw(isBlank) {
    const { H, W, C, data } = this.step.y;
    const colors = COLOR_MAPS[theme];
    const scale = isBlank ? 0 : maxAbs(data);
    const factor = scale > 0 ? SHADES / scale : 0;
    for (let c = 0; c < C; c++) {
      const [top, left] = this.originOf(c);
      for (let h = 0; h < H; h++) {
        let pixel = (top + h) * this.canvas.width + left;
        for (let w = 0; w < W; w++) {
          const shade = data[(h * W + w) * C + c] * factor + SHADES;
          this.pixels[pixel++] = colors[(shade + 0.5) | 0];
        }
      }
    }
    this.canvas.getContext("2d").putImageData(this.imageData, 0, 0);
    return scale;
  }

  /** Return the distance of a cell from the top of the sheet in CSS pixels. */
  offsetOf({ h, c }) {
    return (this.originOf(c)[0] + h) * this.zoom;
  }

  // -------------------------------------------------------------- boxes

  /** Draw boxes around regions. @param {{ region: object, kind: string }[]} marks */
  mark(marks) {
    this.marks = marks;
    this.own = marks.find(({ kind }) => kind === "own")?.region;
    if (this.own) this.cursor = { h: this.own.h0, w: this.own.w0, c: this.own.c0 };
    this.drawMarks();
  }

  drawMarks() {
    const context = this.boxes.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, this.boxes.width, this.boxes.height);
    for (const { region, kind } of this.marks) {
      context.strokeStyle = style.getPropertyValue(`--${kind}`);
      context.lineWidth = kind === "far" ? 1 : 2;
      context.setLineDash(kind === "own" || kind === "point" ? [] : DASHES);
      if (isWhole(region, this.step.y)) {
        const [width, height] = [this.canvas.width * this.zoom, this.canvas.height * this.zoom];
        context.strokeRect(1, 1, width - 2, height - 2);
        continue;
      }
      for (let c = region.c0; c < region.c1; c++) {
        const [top, left] = this.originOf(c);
        context.strokeRect(
          (left + region.w0) * this.zoom, (top + region.h0) * this.zoom,
          (region.w1 - region.w0) * this.zoom, (region.h1 - region.h0) * this.zoom,
        );
      }
    }
  }

  // -------------------------------------------------------------- pointer and keys

  listen() {
    this.root.addEventListener("click", (event) => {
      const cell = this.cellUnder(event);
      if (cell) this.pick(cell);
    });
    this.root.addEventListener("pointermove", (event) => this.onPoint(this.cellUnder(event)));
    this.root.addEventListener("pointerleave", () => this.onPoint(null));
    this.root.addEventListener("focus", () => {
      // A click gives focus too, before the cursor has moved to the clicked cell.
      if (this.root.matches(":focus-visible")) this.onPoint(this.cursor);
    });
    this.root.addEventListener("blur", () => this.onPoint(null));
    this.root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter") this.pick(this.cursor);
      else if (!this.moveCursor(event.key)) return;
      else this.onPoint(this.cursor);
      event.preventDefault();
    });
  }

  pick(cell) {
    this.cursor = cell;
    this.onPick(cell.h, cell.w, cell.c);
  }

  /** Return the cell under the pointer, or null. */
  cellUnder(event) {
    const { H, W, C } = this.step.y;
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.canvas.width);
    const h = row % (H + this.gap), w = column % (W + this.gap);
    const mapColumn = Math.floor(column / (W + this.gap));
    const c = Math.floor(row / (H + this.gap)) * this.columns + mapColumn;
    return row >= 0 && column >= 0 && h < H && w < W && mapColumn < this.columns && c < C
      ? { h, w, c } : null;
  }

  /** Move the cursor, across the edge into the next map. @returns {boolean} if the key moves it */
  moveCursor(key) {
    const { H, W, C } = this.step.y;
    const directions = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
    };
    let { h, w, c } = this.cursor;
    if (key === "PageDown") c += 1;
    else if (key === "PageUp") c -= 1;
    else if (key in directions) {
      h += directions[key][0];
      w += directions[key][1];
      if (h < 0 || h >= H) [h, c] = [(h + H) % H, c + Math.sign(h) * this.columns];
      if (w < 0 || w >= W) [w, c] = [(w + W) % W, c + Math.sign(w)];
    } else return false;
    if (c < 0 || c >= C) return true;
    if (this.own) this.onPick(h, w, c, false); // the panel shows a cell of this step: follow it
    this.cursor = { h, w, c };
    return true;
  }
}

/** The 28×28 input image in gray; pixels outside a receptive field are dimmed. */
class InputSheet extends MapSheet {
  /** Make it as wide as `width` CSS pixels. */
  layOut(width) {
    this.zoom = width / this.step.y.W;
    this.gap = 0;
    this.columns = 1;
    this.resizeCanvases();
  }

  /** @param {?Uint8Array} image 28·28 gray levels, or null */
  draw(image) {
    for (let i = 0; i < this.pixels.length; i++) {
      this.pixels[i] = grayPixel(image ? image[i] : 0);
    }
    this.canvas.getContext("2d").putImageData(this.imageData, 0, 0);
  }

  drawMarks() {
    const context = this.boxes.getContext("2d");
    const { H, W } = this.step.y;
    super.drawMarks();
    for (const { region } of this.marks) {
      context.beginPath();
      context.rect(0, 0, W * this.zoom, H * this.zoom);
      context.rect(region.w0 * this.zoom, region.h0 * this.zoom,
        (region.w1 - region.w0) * this.zoom, (region.h1 - region.h0) * this.zoom);
      context.fillStyle = "rgb(60 66 80 / 0.6)";
      context.fill("evenodd");
    }
  }
}
