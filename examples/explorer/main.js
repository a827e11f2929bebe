/* Connect the parts of the page. Changes are computed and drawn at most once per frame. */

const content = JSON.parse(document.getElementById("data").textContent);
const network = new Network(content.network);
const byId = (id) => document.getElementById(id);

const state = { image: null, cell: null, timing: {} };
const pixels = decodeBase64(content.testImages.images);
const tests = content.testImages.labels.map((label, i) => ({
  label, image: pixels.slice(i * IMAGE_SIZE ** 2, (i + 1) * IMAGE_SIZE ** 2),
}));

// ---------------------------------------------------------------- views

const pad = new Pad(byId("pad"), changed);
const input = new InputSheet(network.steps[0], "Input of the network, 28×28",
  (h, w, c) => choose({ step: 0, h, w, c }), () => {});
byId("input").append(input.root);
const output = new Bars(network.steps.at(-1), network.classNames, percent,
  (h, w, c) => choose({ step: network.steps.length - 1, h, w, c }));
byId("output").append(output.root);
const cards = network.steps.slice(1).map((step) => new Card(step, network, choose));
byId("cards").append(...cards.map((card) => card.root));
const panel = new Panel(network, choose, () => choose(null));

byId("summary").textContent = `${network.steps.length - 2} layers, ` +
  `${network.parameters.toLocaleString("en")} weights, computed in this page`;

// ---------------------------------------------------------------- test images and files

function showTests() {
  byId("tests-section").hidden = tests.length === 0;
  const rankInClass = (index) =>
    tests.slice(0, index).filter(({ label }) => label === tests[index].label).length;
  // The first of each class, then the second of each.
  const order = [...tests.keys()].sort((a, b) => rankInClass(a) - rankInClass(b));
  for (const index of order) {
    const { label, image } = tests[index];
    const name = network.classNames[label];
    const button = element("button", { type: "button", title: `Test image: ${name}` });
    const canvas = element("canvas", { width: IMAGE_SIZE, height: IMAGE_SIZE });
    button.setAttribute("aria-label", `Test image ${index}: ${name}`);
    button.append(canvas);
    drawGray(canvas.getContext("2d"), { H: IMAGE_SIZE, W: IMAGE_SIZE, data: image }, false);
    button.addEventListener("click", () => pickTest(index));
    byId("tests").append(button);
  }
}

function pickTest(index) {
  const { image, label } = tests[index];
  state.lastTest = index;
  pad.put({ strokes: [], test: image, name: network.classNames[label] });
}

/** Pick the next test image of a class. */
function pickTestOf(label) {
  const indices = [...tests.keys()].filter((index) => tests[index].label === label);
  if (indices.length) pickTest(indices[(indices.indexOf(state.lastTest) + 1) % indices.length]);
}

async function openFile(file) {
  try {
    const fileImage = await readImage(file);
    pad.put({ strokes: [], fileImage, digit: toMnistFormat(fileImage), name: file.name });
  } catch {
    byId("status").textContent = `${file.name} is not an image that this browser can read.`;
  }
}

// ---------------------------------------------------------------- frames

/** Request a frame, if none is requested yet. */
function changed() {
  state.frame ??= requestAnimationFrame(() => {
    state.frame = null;
    showFrame();
  });
}

/** Compute the network and draw all views. */
function showFrame() {
  const start = performance.now();
  const image = pad.image();
  const test = tests.findIndex((candidate) => candidate.image === pad.drawing.test);
  state.isUnknown = image !== null && test < 0 && network.recordedLayers.length > 0;
  state.image = state.isUnknown ? null : image;
  const centered = performance.now();
  if (state.image) network.run(state.image, test);
  const computed = performance.now();
  const isBlank = state.image === null;
  input.draw(state.image);
  for (const view of [output, ...cards]) view.draw(isBlank);
  panel.update(state.image);
  showStatus();
  showPrediction();
  const drawn = performance.now();
  state.timing = {
    centering: centered - start, network: computed - centered, drawing: drawn - computed,
    all: drawn - start,
  };
  const ms = (time) => `${time.toFixed(1)} ms`;
  byId("timing").textContent = `Last frame: ${ms(state.timing.all)} (centering ` +
    `${ms(state.timing.centering)}, network ${ms(state.timing.network)}, drawing ` +
    `${ms(state.timing.drawing)})`;
}

function showStatus() {
  const { test, fileImage, name } = pad.drawing;
  byId("undo").disabled = pad.history.length === 1;
  byId("clear").disabled = pad.isEmpty;
  byId("status").textContent = state.isUnknown
    ? `The page cannot compute ${network.recordedLayers[0]} for this image: choose a test image.`
    : !state.image ? (fileImage ? `${name} has no ink.` : "Draw a digit.")
    : test ? `Test image: ${name}.`
    : !fileImage ? "Your drawing, centered as in MNIST."
    : `${name}, centered as in MNIST.`;
}

/** Show the class with the highest probability. */
function showPrediction() {
  const prediction = byId("prediction");
  if (!state.image) {
    prediction.classList.add("is-long");
    prediction.replaceChildren(element("strong", {}, "none"));
    return;
  }
  const probability = Math.max(...network.probabilities);
  const name = network.classNames[network.probabilities.indexOf(probability)];
  prediction.classList.toggle("is-long", name.length > 3);
  prediction.replaceChildren(element("strong", {}, name), percent(probability));
}

// ---------------------------------------------------------------- the chosen cell

/** Explain a cell in the panel and mark its receptive fields; null closes the panel. */
function choose(cell, addToHistory = true) {
  state.cell = cell;
  const regions = cell ? receptiveFields(network, cell) : new Map();
  const inputs = cell ? network.steps[cell.step].inputs : [];
  const marksOf = (index) => {
    const region = regions.get(index);
    if (!region) return [];
    const kind = index === cell.step ? "own" : inputs.includes(index) ? "near" : "far";
    return [{ region, kind }];
  };
  for (const card of cards) card.mark(marksOf(card.step.index));
  output.mark(marksOf(network.steps.length - 1));
  input.mark(marksOf(0).map(({ region, kind }) => ({ region, kind: kind === "own" ? kind : "near" })));
  panel.show(cell, state.image, addToHistory);
  byId("panel-move").hidden = !cell || viewOf(cell) instanceof Bars;
  if (cell?.step && !panel.sliding) scrollToCell(cell);
}

/** Return the sheet or the bars that show a cell. */
function viewOf({ step }) {
  return step ? cards[step - 1].view : input;
}

/** Scroll to a cell outside the window, behind the answer at its top or the panel at its bottom. */
function scrollToCell(cell) {
  const view = viewOf(cell);
  const y = view.root.getBoundingClientRect().top + view.offsetOf(cell);
  const positionOf = (node) => getComputedStyle(node).position;
  const isAnswerAbove = positionOf(byId("answer")) === "sticky";
  const top = isAnswerAbove ? byId("answer").getBoundingClientRect().height : 0;
  const isPanelBelow = positionOf(panel.root) === "fixed";
  const bottom = isPanelBelow ? panel.root.getBoundingClientRect().top : window.innerHeight;
  if (y > top + 40 && y < bottom - 40) return;
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
  window.scrollBy({ top: y - (top + bottom) / 2, behavior: reducedMotion ? "auto" : "smooth" });
}

// ---------------------------------------------------------------- layout, theme, keys

function layOut() {
  input.layOut(byId("input").clientWidth);
  for (const card of cards) card.layOut();
  if (panel.cell) panel.layOut();
  changed();
}

function setTheme(name) {
  theme = name;
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
  for (const view of [input, ...cards]) view.mark(view.marks ?? []);
  changed();
}

function setSlow(isSlow) {
  panel.isSlow = isSlow;
  byId("slow").setAttribute("aria-pressed", String(isSlow));
  if (panel.cell) panel.play();
}

const ACTIONS = {
  u: () => pad.undo(),
  c: () => pad.clear(),
  o: () => byId("file").click(),
  s: () => setSlow(!panel.isSlow),
  d: () => setTheme(theme === "dark" ? "light" : "dark"),
  r: () => panel.cell && panel.play(),
  p: () => panel.cell && panel.slide(),
  "?": () => byId("help-box").showModal(),
  Escape: () => choose(null),
  Backspace: () => panel.back(),
};

function listen() {
  const buttons = { undo: "u", clear: "c", open: "o", slow: "s", theme: "d", help: "?" };
  for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", ACTIONS[key]);
  byId("panel-move").addEventListener("click", ({ target }) => {
    if (target.dataset.key) viewOf(state.cell).moveCursor(target.dataset.key);
  });
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) openFile(target.files[0]);
    target.value = ""; // else opening the same file again is no change
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) openFile(clipboardData.files[0]);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help-box").open) return;
    if (/^[0-9]$/.test(event.key)) pickTestOf(Number(event.key));
    else if (event.key in ACTIONS) ACTIONS[event.key]();
    else return;
    event.preventDefault();
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    // A phone's address bar changes the height only, which needs no new layout.
    if (window.innerWidth !== width) layOut();
    width = window.innerWidth;
  });
  setTheme(document.documentElement.dataset.theme);
}

showTests();
listen();
layOut();
if (tests.length) pickTestOf(7);

/** For the console, and for tests. */
globalThis.explorer = { network, pad, panel, state, choose, pickTest, showFrame };
