/* The panel that explains one value, and its animation.

   The animation counts ticks. An element with data-tick = n is hidden before tick n; an element
   with data-highlight-tick = n is highlighted during tick n. */

const SLOW_TICK = 700; // milliseconds
const DURATION = 1500; // of the whole animation in milliseconds, without slow motion

class Panel {
  /**
   * @param {Network} network
   * @param {(cell, addToHistory) => void} onPick
   * @param {() => void} onClose
   */
  constructor(network, onPick, onClose) {
    this.network = network;
    this.onPick = onPick;
    this.cell = null;
    this.history = []; // cells shown before
    this.channel = null; // input channel whose window is shown; null: the one with the largest sum
    this.isSlow = false;
    this.root = document.getElementById("panel");
    this.body = document.getElementById("panel-body");
    this.input = new InputSheet(network.steps[0], "The image, 28×28",
      (h, w, c) => onPick({ step: 0, h, w, c }), () => {});
    document.getElementById("panel-input").append(this.input.root);
    document.getElementById("panel-close").addEventListener("click", onClose);
    document.getElementById("panel-back").addEventListener("click", () => this.back());
    document.getElementById("panel-replay").addEventListener("click", () => this.play());
    document.getElementById("panel-slide").addEventListener("click", () => this.slide());
    this.body.addEventListener("click", (event) => this.follow(event));
  }

  /** Explain a cell, animated; null clears the panel. */
  show(cell, image, addToHistory = true) {
    if (cell && this.cell && addToHistory) this.history.push(this.cell);
    if (!cell) this.history = [];
    if (cell?.step !== this.cell?.step) this.channel = null;
    this.cell = cell;
    document.getElementById("panel-hint").hidden = Boolean(cell);
    document.getElementById("panel-cell").hidden = !cell;
    this.root.classList.toggle("is-open", Boolean(cell));
    if (!cell) return this.stop();
    this.layOut();
    this.update(image);
    return this.play();
  }

  /** Measure the width after a change of the panel or the window. */
  layOut() {
    this.width = this.body.clientWidth;
    this.input.layOut(document.getElementById("panel-input").clientWidth);
  }

  /** Explain the same cell for another image, without animation. */
  update(image) {
    if (!this.cell) return;
    clearTimeout(this.timer);
    this.image = image;
    const { network, cell } = this;
    const step = network.steps[cell.step];
    document.getElementById("panel-layer").textContent =
      [step.path, step.branch, step.text].filter(Boolean).join(" · ");
    document.getElementById("panel-title").textContent = capital(nameOfCell(step, cell, network));
    document.getElementById("panel-back").disabled = this.history.length === 0;
    document.getElementById("panel-slide").hidden = step.y.data.length === 1;
    const region = receptiveFields(network, cell).get(0);
    document.getElementById("panel-field").textContent = `Receptive field: ` +
      `${region.h1 - region.h0}×${region.w1 - region.w0} pixels of the input`;
    this.input.draw(image);
    this.input.mark([{ region, kind: "near" }]);
    document.querySelector("#panel-value b").textContent =
      image ? long(at(step.y, cell.h, cell.w, cell.c)) : "none";
    const explanation = image ? explain(network, cell, image, this.channel) : emptyExplanation();
    document.getElementById("panel-formula").textContent = explanation.formula;
    this.running = explanation.running ?? [];
    this.body.replaceChildren(...explanation.content);
    this.fitGrids();
    this.ticks = Math.max(0, ...[...this.body.querySelectorAll("[data-tick]")]
      .map(({ dataset }) => Number(dataset.tick)));
    this.showTick(this.ticks);
  }

  /** Make the cells as large as three grids in a row allow; below 30 pixels the grids wrap. */
  fitGrids() {
    const cells = this.body.querySelector(".cells");
    if (!cells) return;
    const { columns } = cells.dataset;
    const size = Math.floor((this.width - 54) / (3 * columns));
    this.body.style.setProperty("--cell", `${size < 30 ? 40 : Math.min(size, 48)}px`);
  }

  // -------------------------------------------------------------- animation

  /** Play the animation from the start. */
  play() {
    clearTimeout(this.timer);
    const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.image || (reducedMotion && !this.isSlow) || this.sliding) {
      return this.showTick(this.ticks);
    }
    const pause = this.isSlow ? SLOW_TICK : Math.min(180, DURATION / (this.ticks + 1));
    const next = (tick) => {
      this.showTick(tick);
      if (tick < this.ticks) this.timer = setTimeout(() => next(tick + 1), pause);
    };
    return next(0);
  }

  stop() {
    clearTimeout(this.timer);
    this.slide(false);
  }

  showTick(tick) {
    const isLast = tick === this.ticks;
    for (const node of this.body.querySelectorAll("[data-tick]")) {
      const own = Number(node.dataset.tick);
      node.classList.toggle("pending", own > tick);
      node.classList.toggle("highlight", own === tick && !isLast);
    }
    for (const node of this.body.querySelectorAll("[data-highlight-tick]")) {
      const isHighlighted = Number(node.dataset.highlightTick) === tick && !isLast;
      node.classList.toggle("highlight", isHighlighted);
    }
    document.getElementById("panel-value").classList.toggle("pending", !isLast);
    const running = this.body.querySelector(".running");
    if (running && this.running.length) {
      running.textContent = this.running[Math.min(tick, this.running.length - 1)];
    }
  }

  // -------------------------------------------------------------- from cell to cell

  back() {
    const cell = this.history.pop();
    if (cell) this.onPick(cell, false);
  }

  /** Follow a click on a value of a window to its cell, or on a channel to its window. */
  follow(event) {
    const target = event.target.closest("[data-goto], [data-channel]");
    if (!target) return;
    if (target.dataset.goto) {
      const [step, h, w, c] = target.dataset.goto.split(" ").map(Number);
      this.onPick({ step, h, w, c });
      this.root.focus({ preventScroll: true }); // the clicked button no longer exists
    } else {
      this.channel = Number(target.dataset.channel);
      this.update(this.image);
      this.play();
      this.body.querySelector(`[data-channel="${this.channel}"]`).focus({ preventScroll: true });
    }
  }

  /** Start or stop moving over the map, cell by cell. */
  slide(isOn = !this.sliding) {
    clearTimeout(this.sliding);
    this.sliding = null;
    document.getElementById("panel-slide").setAttribute("aria-pressed", String(isOn));
    if (!isOn || !this.cell) return;
    const move = () => {
      this.sliding = setTimeout(move, this.isSlow ? SLOW_TICK : 120);
      this.onPick(this.nextCell(), false);
    };
    move();
  }

  /** Return the next cell of the same map in reading order; in a vector, the next value. */
  nextCell() {
    const { step, h, w, c } = this.cell;
    const { H, W, C } = this.network.steps[step].y;
    if (H * W === 1) return { step, h, w, c: (c + 1) % C };
    const next = (h * W + w + 1) % (H * W);
    return { step, h: Math.floor(next / W), w: next % W, c };
  }
}

/** Return the explanation without an image. */
function emptyExplanation() {
  return {
    formula: "",
    content: [element("p", {}, "Draw a digit to see the values.")],
  };
}
