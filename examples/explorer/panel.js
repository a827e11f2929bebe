/* The panel in which one number is worked out, and its animation.

   What explain.js builds is shown beat by beat: an element with data-beat = n waits until beat n
   has come, one with data-with = n stands out in that beat. A running sum is text that differs from beat to beat. */

const SLOW_BEAT = 700; // milliseconds
const WHOLE = 1500; // milliseconds in which all beats come where motion is not slow

class Panel {
  /**
   * @param {Network} network
   * @param {(cell) => void} onPick another cell was asked for
   * @param {() => void} onClose
   */
  constructor(network, onPick, onClose) {
    this.network = network;
    this.onPick = onPick;
    this.cell = null;
    this.before = []; // cells to go back to
    this.choice = null; // the input channel whose window is shown; null for the one that adds most
    this.isSlow = false;
    this.root = document.getElementById("panel");
    this.body = document.getElementById("panel-body");
    this.seen = new SeenSheet(network.steps[0], "The image, 28×28",
      (h, w, c) => onPick({ step: 0, h, w, c }), () => {});
    document.getElementById("panel-seen").append(this.seen.root);
    document.getElementById("panel-close").addEventListener("click", onClose);
    document.getElementById("panel-back").addEventListener("click", () => this.back());
    document.getElementById("panel-replay").addEventListener("click", () => this.play());
    document.getElementById("panel-slide").addEventListener("click", () => this.slide());
    this.body.addEventListener("click", (event) => this.follow(event));
  }

  /** Show a cell, worked out beat by beat; or, without one, nothing. */
  show(cell, image, keepsHistory = true) {
    if (cell && this.cell && keepsHistory) this.before.push(this.cell);
    if (!cell) this.before = [];
    if (cell?.step !== this.cell?.step) this.choice = null;
    this.cell = cell;
    document.getElementById("panel-hint").hidden = Boolean(cell);
    document.getElementById("panel-cell").hidden = !cell;
    this.root.classList.toggle("is-open", Boolean(cell));
    if (!cell) return this.stop();
    this.layOut();
    this.update(image);
    return this.play();
  }

  /** Measure what there is room for, where the panel or the window has changed. */
  layOut() {
    this.width = this.body.clientWidth;
    this.seen.layOut(document.getElementById("panel-seen").clientWidth);
  }

  /** Work the same cell out for another image, without animation. */
  update(image) {
    if (!this.cell) return;
    clearTimeout(this.timer);
    this.image = image;
    const { network, cell } = this;
    const step = network.steps[cell.step];
    document.getElementById("panel-layer").textContent =
      [step.place, step.branch, step.text].filter(Boolean).join(" · ");
    document.getElementById("panel-title").textContent = capital(placeOf(step, cell, network));
    document.getElementById("panel-back").disabled = this.before.length === 0;
    document.getElementById("panel-slide").hidden = step.y.data.length === 1;
    const region = receptiveFields(network, cell).get(0);
    document.getElementById("panel-field").textContent = `Receptive field: ` +
      `${region.h1 - region.h0}×${region.w1 - region.w0} pixels of the input`;
    this.seen.draw(image);
    this.seen.mark([{ region, kind: "near" }]);
    document.querySelector("#panel-value b").textContent =
      image ? long(at(step.y, cell.h, cell.w, cell.c)) : "none";
    const explanation = image ? explain(network, cell, image, this.choice) : nothingYet();
    document.getElementById("panel-formula").textContent = explanation.formula;
    this.running = explanation.running ?? [];
    this.body.replaceChildren(...explanation.content);
    this.fitGrids();
    this.beats = Math.max(0, ...[...this.body.querySelectorAll("[data-beat]")]
      .map(({ dataset }) => Number(dataset.beat)));
    this.showBeat(this.beats);
  }

  /** Let cells be as large as three grids in a row allow; where that is too small, wrap. */
  fitGrids() {
    const cells = this.body.querySelector(".cells");
    if (!cells) return;
    const { columns } = cells.dataset;
    const size = Math.floor((this.width - 54) / (3 * columns));
    this.body.style.setProperty("--cell", `${size < 30 ? 40 : Math.min(size, 48)}px`);
  }

  // -------------------------------------------------------------- beats

  /** Let all beats come, one after the other. */
  play() {
    clearTimeout(this.timer);
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!this.image || (isStill && !this.isSlow) || this.sliding) return this.showBeat(this.beats);
    const pause = this.isSlow ? SLOW_BEAT : Math.min(180, WHOLE / (this.beats + 1));
    const next = (beat) => {
      this.showBeat(beat);
      if (beat < this.beats) this.timer = setTimeout(() => next(beat + 1), pause);
    };
    return next(0);
  }

  stop() {
    clearTimeout(this.timer);
    this.slide(false);
  }

  showBeat(beat) {
    const isLast = beat === this.beats;
    for (const part of this.body.querySelectorAll("[data-beat]")) {
      const own = Number(part.dataset.beat);
      part.classList.toggle("waits", own > beat);
      part.classList.toggle("now", own === beat && !isLast);
    }
    for (const part of this.body.querySelectorAll("[data-with]")) {
      part.classList.toggle("now", Number(part.dataset.with) === beat && !isLast);
    }
    document.getElementById("panel-value").classList.toggle("waits", !isLast);
    const sum = this.body.querySelector(".running");
    if (sum && this.running.length) {
      sum.textContent = this.running[Math.min(beat, this.running.length - 1)];
    }
  }

  // -------------------------------------------------------------- from cell to cell

  back() {
    const cell = this.before.pop();
    if (cell) this.onPick(cell, false);
  }

  /** Go where a click on a number of a window, or on a channel, leads. */
  follow(event) {
    const target = event.target.closest("[data-goto], [data-choice]");
    if (!target) return;
    if (target.dataset.goto) {
      const [step, h, w, c] = target.dataset.goto.split(" ").map(Number);
      this.onPick({ step, h, w, c });
      this.root.focus({ preventScroll: true }); // the button is gone
    } else {
      this.choice = Number(target.dataset.choice);
      this.update(this.image);
      this.play();
      this.body.querySelector(`[data-choice="${this.choice}"]`).focus({ preventScroll: true });
    }
  }

  /** Move on over the map, cell by cell, or stop. */
  slide(isOn = !this.sliding) {
    clearTimeout(this.sliding);
    this.sliding = null;
    document.getElementById("panel-slide").setAttribute("aria-pressed", String(isOn));
    if (!isOn || !this.cell) return;
    const go = () => {
      this.sliding = setTimeout(go, this.isSlow ? SLOW_BEAT : 120);
      this.onPick(this.nextCell(), false);
    };
    go();
  }

  /** The next cell of the same map in reading order; of a row the next number. */
  nextCell() {
    const { step, h, w, c } = this.cell;
    const { H, W, C } = this.network.steps[step].y;
    if (H * W === 1) return { step, h, w, c: (c + 1) % C };
    const next = (h * W + w + 1) % (H * W);
    return { step, h: Math.floor(next / W), w: next % W, c };
  }
}

/** What the panel says where there is no image. */
function nothingYet() {
  return {
    formula: "",
    content: [element("p", {}, "Nothing is drawn yet, so there are no numbers.")],
  };
}
