/* All maps of one step on one canvas: a pixel of the canvas is one number, and CSS makes it larger.
   On a second canvas above it are the boxes around cells: the chosen one and receptive fields. */

const TILE = 54; // wanted side of a map on the screen, in CSS pixels

class MapSheet {
  /**
   * @param {object} step of the network
   * @param {string} label for those who do not see it
   * @param {(h, w, c, keepsHistory) => void} onPick
   * @param {(?{ h, w, c }) => void} onPoint the cell below the pointer or the cursor, or none
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
    this.root.setAttribute("aria-label", `${label}. Arrow keys move, Enter works a number out.`);
    this.listen();
  }

  /** Arrange the maps in rows, as many in each as fit into a width in CSS pixels. */
  layOut(width) {
    const { H, W, C } = this.step.y;
    if (this.step.isRow) {
      this.zoom = C <= 32 ? 26 : C <= 256 ? 15 : 8;
      this.gap = 0;
    } else {
      this.zoom = Math.min(Math.max(Math.round(TILE / Math.max(H, W)), 2), 18);
      this.gap = Math.max(1, Math.round(4 / this.zoom));
    }
    const pitch = (W + this.gap) * this.zoom;
    this.columns = Math.max(1, Math.min(C, Math.floor((width + this.gap * this.zoom) / pitch)));
    this.arrange();
  }

  /** Make the canvases for `columns` maps in a row, `zoom` CSS pixels a cell, `gap` cells apart. */
  arrange() {
    const { H, W, C } = this.step.y;
    const rows = Math.ceil(C / this.columns);
    this.canvas.width = this.columns * (W + this.gap) - this.gap;
    this.canvas.height = rows * (H + this.gap) - this.gap;
    this.pixels = new ImageData(this.canvas.width, this.canvas.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    const size = [this.canvas.width * this.zoom, this.canvas.height * this.zoom];
    for (const { style } of [this.root, this.canvas, this.boxes]) {
      [style.width, style.height] = size.map((pixels) => `${pixels}px`);
    }
    const sharp = window.devicePixelRatio || 1;
    [this.boxes.width, this.boxes.height] = size.map((pixels) => Math.round(pixels * sharp));
    this.boxes.getContext("2d").setTransform(sharp, 0, 0, sharp, 0, 0);
    this.drawMarks();
  }

  /** Row and column of the canvas at which map c begins. */
  originOf(c) {
    const { H, W } = this.step.y;
    return [
      Math.floor(c / this.columns) * (H + this.gap),
      (c % this.columns) * (W + this.gap),
    ];
  }

  /** Color every number. `isBlank`: there is no image, so there are no numbers either. */
  draw(isBlank) {
    const { H, W, C, data } = this.step.y;
    const colors = COLORS[theme];
    const scale = isBlank ? 0 : largestSize(data);
    const factor = scale > 0 ? SHADES / scale : 0;
    for (let c = 0; c < C; c++) {
      const [top, left] = this.originOf(c);
      for (let h = 0; h < H; h++) {
        let place = (top + h) * this.canvas.width + left;
        for (let w = 0; w < W; w++) {
          const shade = data[(h * W + w) * C + c] * factor + SHADES;
          this.words[place++] = colors[(shade + 0.5) | 0];
        }
      }
    }
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
    return scale;
  }

  /** How far below the upper edge of the sheet a cell is, in CSS pixels. */
  depthOf({ h, c }) {
    return (this.originOf(c)[0] + h) * this.zoom;
  }

  // -------------------------------------------------------------- boxes

  /** Show boxes around regions. @param {{ region: object, kind: string }[]} marks */
  mark(marks) {
    this.marks = marks;
    this.own = marks.find(({ kind }) => kind === "own")?.region;
    if (this.own) this.cursor = { h: this.own.h0, w: this.own.w0, c: this.own.c0 };
    this.drawMarks();
  }

  drawMarks() {
    const pen = this.boxes.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    pen.clearRect(0, 0, this.boxes.width, this.boxes.height);
    for (const { region, kind } of this.marks) {
      pen.strokeStyle = style.getPropertyValue(`--${kind}`);
      pen.lineWidth = kind === "far" ? 1 : 2;
      if (isWhole(region, this.step.y)) {
        pen.strokeRect(1, 1, this.canvas.width * this.zoom - 2, this.canvas.height * this.zoom - 2);
        continue;
      }
      for (let c = region.c0; c < region.c1; c++) {
        const [top, left] = this.originOf(c);
        pen.strokeRect(
          (left + region.w0) * this.zoom, (top + region.h0) * this.zoom,
          (region.w1 - region.w0) * this.zoom, (region.h1 - region.h0) * this.zoom,
        );
      }
    }
  }

  // -------------------------------------------------------------- pointer and keys

  listen() {
    this.root.addEventListener("click", (event) => {
      const cell = this.cellBelow(event);
      if (cell) this.pick(cell);
    });
    this.root.addEventListener("pointermove", (event) => this.onPoint(this.cellBelow(event)));
    this.root.addEventListener("pointerleave", () => this.onPoint(null));
    this.root.addEventListener("focus", () => this.onPoint(this.cursor));
    this.root.addEventListener("blur", () => this.onPoint(null));
    this.root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter") this.pick(this.cursor);
      else if (!this.move(event.key)) return;
      event.preventDefault();
    });
  }

  pick(cell) {
    this.cursor = cell;
    this.onPick(cell.h, cell.w, cell.c);
  }

  cellBelow(event) {
    const { H, W, C } = this.step.y;
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.canvas.width);
    const h = row % (H + this.gap), w = column % (W + this.gap);
    const across = Math.floor(column / (W + this.gap));
    const c = Math.floor(row / (H + this.gap)) * this.columns + across;
    return row >= 0 && column >= 0 && h < H && w < W && across < this.columns && c < C
      ? { h, w, c } : null;
  }

  /** Move the cursor; at the edge of a map into the next one. @returns {boolean} if it is a key */
  move(key) {
    const { H, W, C } = this.step.y;
    const steps = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
    };
    let { h, w, c } = this.cursor;
    if (key === "PageDown") c += 1;
    else if (key === "PageUp") c -= 1;
    else if (key in steps) {
      h += steps[key][0];
      w += steps[key][1];
      if (h < 0 || h >= H) [h, c] = [(h + H) % H, c + Math.sign(h) * this.columns];
      if (w < 0 || w >= W) [w, c] = [(w + W) % W, c + Math.sign(w)];
    } else return false;
    if (c < 0 || c >= C) return true;
    if (this.own) this.onPick(h, w, c, false); // it is shown in the panel: go on there
    this.cursor = { h, w, c };
    this.onPoint(this.cursor);
    return true;
  }
}

/** The 28×28 image that the network sees, in gray; what is outside a receptive field is dimmed. */
class SeenSheet extends MapSheet {
  /** Make it as wide as `width` CSS pixels. */
  layOut(width) {
    this.zoom = width / this.step.y.W;
    this.gap = 0;
    this.columns = 1;
    this.arrange();
  }

  /** @param {?Uint8Array} image 28·28 gray levels, or none */
  draw(image) {
    for (let i = 0; i < this.words.length; i++) {
      const level = image ? image[i] : 0;
      this.words[i] = (255 << 24) | (level << 16) | (level << 8) | level;
    }
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  drawMarks() {
    const pen = this.boxes.getContext("2d");
    const { H, W } = this.step.y;
    super.drawMarks();
    for (const { region } of this.marks) {
      pen.beginPath();
      pen.rect(0, 0, W * this.zoom, H * this.zoom);
      pen.rect(region.w0 * this.zoom, region.h0 * this.zoom,
        (region.w1 - region.w0) * this.zoom, (region.h1 - region.h0) * this.zoom);
      pen.fillStyle = "rgb(60 66 80 / 0.6)";
      pen.fill("evenodd");
    }
  }
}
