/* All together: the page computes at most once a frame, and only where something has changed. */

const content = JSON.parse(document.getElementById("data").textContent);
const network = new Network(content.network);
const byId = (id) => document.getElementById(id);

const state = { image: null, cell: null, timing: {} };
const pixels = bytesOf(content.pictures.images);
const tests = content.pictures.labels.map((label, i) => ({
  label, image: pixels.slice(i * FIELD * FIELD, (i + 1) * FIELD * FIELD),
}));

// ---------------------------------------------------------------- parts of the page

const pad = new Pad(byId("pad"), changed);
const seen = new SeenSheet(network.steps[0], "What the network sees, 28×28",
  (h, w, c) => choose({ step: 0, h, w, c }), () => {});
byId("seen").append(seen.root);
const answers = new Bars(network.steps.at(-1), network.classNames, percent,
  (h, w, c) => choose({ step: network.steps.length - 1, h, w, c }));
byId("answers").append(answers.root);
const cards = network.steps.slice(1).map((step) => new Card(step, network, choose));
byId("cards").append(...cards.map((card) => card.root));
const panel = new Panel(network, choose, () => choose(null));

byId("facts").textContent = `${network.steps.length - 2} layers, ` +
  `${network.parameters.toLocaleString("en")} weights; all numbers are computed in this page`;

function showTests() {
  byId("tests-part").hidden = tests.length === 0;
  const rank = (number) => // the first of each class, then the second of each
    tests.slice(0, number).filter(({ label }) => label === tests[number].label).length;
  const order = [...tests.keys()].sort((a, b) => rank(a) - rank(b));
  order.forEach((number) => {
    const { label, image } = tests[number];
    const name = network.classNames[label];
    const button = element("button", { type: "button", title: `Test image: ${name}` });
    const canvas = element("canvas", { width: FIELD, height: FIELD });
    button.setAttribute("aria-label", `Test image ${number}: ${name}`);
    button.append(canvas);
    drawGray(canvas.getContext("2d"), { H: FIELD, W: FIELD, data: image }, false);
    button.addEventListener("click", () => pickTest(number));
    byId("tests").append(button);
  });
}

function pickTest(number) {
  state.lastTest = number;
  pad.put({ strokes: [], test: tests[number].image, name: network.classNames[tests[number].label] });
}

/** The next test image of a class. */
function pickTestOf(label) {
  const numbers = tests.flatMap((test, number) => (test.label === label ? [number] : []));
  if (numbers.length) pickTest(numbers[(numbers.indexOf(state.lastTest) + 1) % numbers.length]);
}

async function openPicture(file) {
  try {
    pad.put({ strokes: [], picture: await readPicture(file), name: file.name });
  } catch {
    byId("status").textContent = `${file.name} is not a picture that this browser can read.`;
  }
}

// ---------------------------------------------------------------- from change to picture

/** Compute and draw before the next frame is shown, however often this is called until then. */
function changed() {
  state.frame ??= requestAnimationFrame(() => {
    state.frame = null;
    showFrame();
  });
}

function showFrame() {
  const start = performance.now();
  const image = pad.image();
  const test = tests.findIndex((one) => one.image === pad.drawing.test);
  state.isUnknown = image !== null && test < 0 && network.recordedLayers.length > 0;
  state.image = state.isUnknown ? null : image;
  const centerd = performance.now();
  if (state.image) network.run(state.image, test);
  const computed = performance.now();
  const isBlank = state.image === null;
  seen.draw(state.image);
  for (const view of [answers, ...cards]) view.draw(isBlank);
  panel.update(state.image);
  showAnswer();
  const drawn = performance.now();
  state.timing = {
    centering: centerd - start, network: computed - centerd, drawing: drawn - computed,
    all: drawn - start,
  };
  const ms = (time) => `${time.toFixed(1)} ms`;
  byId("timing").textContent = `Last frame: ${ms(state.timing.all)} (centering ` +
    `${ms(state.timing.centering)}, network ${ms(state.timing.network)}, drawing ` +
    `${ms(state.timing.drawing)})`;
}

function showAnswer() {
  const { test, picture, name } = pad.drawing;
  byId("undo").disabled = pad.history.length === 1;
  byId("clear").disabled = pad.isEmpty;
  if (!state.image) {
    byId("status").textContent = state.isUnknown
      ? `The page cannot compute ${network.recordedLayers[0]} for this image: choose a test image.`
      : picture ? `Nothing is seen on ${name}.` : "Nothing is drawn yet.";
    byId("answer").classList.add("is-long");
    byId("answer").replaceChildren(element("strong", {}, "none"));
    return;
  }
  byId("status").textContent = test ? `A test image, as it is: ${name}.`
    : !picture ? "Your drawing, cut out and centerd."
    : isEven(picture) ? `${name}, cut out and centerd.`
    : `${name}, cut out and centerd; its paper is uneven, so this may have gone wrong.`;
  const order = Array.from(network.probabilities, (share, c) => ({ share, c }))
    .sort((a, b) => b.share - a.share);
  const [first] = order;
  byId("answer").classList.toggle("is-long", network.classNames[first.c].length > 3);
  byId("answer").replaceChildren(
    element("strong", {}, network.classNames[first.c]), `with ${percent(first.share)}`);
}

/** Work a cell out; null closes the panel. */
function choose(cell, keepsHistory = true) {
  state.cell = cell;
  const fields = cell ? receptiveFields(network, cell) : new Map();
  const near = cell ? network.steps[cell.step].inputs : [];
  const marksOf = (number) => {
    const region = fields.get(number);
    if (!region) return [];
    const kind = number === cell.step ? "own" : near.includes(number) ? "near" : "far";
    return [{ region, kind }];
  };
  for (const card of cards) card.mark(marksOf(card.step.number));
  answers.mark(marksOf(network.steps.length - 1));
  seen.mark(marksOf(0).map(({ region }) => ({ region, kind: "near" })));
  panel.show(cell, state.image, keepsHistory);
  if (cell?.step && !panel.sliding) reveal(cell);
}

/** Scroll to a cell that is out of sight, or below the panel where that lies at the bottom. */
function reveal(cell) {
  const { view } = cards[cell.step - 1];
  const place = view.root.getBoundingClientRect().top + view.depthOf(cell);
  const isOver = getComputedStyle(panel.root).position === "fixed";
  const bottom = isOver ? panel.root.getBoundingClientRect().top : window.innerHeight;
  if (place > 40 && place < bottom - 40) return;
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  window.scrollBy({ top: place - bottom / 2, behavior: isStill ? "auto" : "smooth" });
}

// ---------------------------------------------------------------- layout, theme, keys

function layOut() {
  seen.layOut(byId("seen").clientWidth);
  for (const card of cards) card.layOut();
  if (panel.cell) panel.layOut();
  changed();
}

function setTheme(name) {
  theme = name;
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = name === "dark" ? "Light" : "Dark";
  for (const view of [seen, ...cards]) view.mark(view.marks ?? []);
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
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) openPicture(target.files[0]);
    target.value = ""; // so that the same file can be opened again
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) openPicture(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) openPicture(clipboardData.files[0]);
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
  window.addEventListener("resize", () => { // not where only the bars of a phone come and go
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
globalThis.explorer = { network, pad, panel, state, choose, toMnist, pickTest, showFrame };
