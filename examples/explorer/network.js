/* The network: read from the page, run on an image. */

/** Bytes of base64. @returns {Uint8Array} */
function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** An empty tensor of a shape: [H, W, C], or [n] for a row. @returns {Tensor} */
function tensor(shape) {
  const [H, W, C] = shape.length === 3 ? shape : [1, 1, shape[0]];
  return { H, W, C, data: new Float32Array(H * W * C) };
}

/** The number at (h, w, c) of a tensor; 0 outside. */
function at(x, h, w, c) {
  return h < 0 || w < 0 || h >= x.H || w >= x.W ? 0 : x.data[(h * x.W + w) * x.C + c];
}

class Network {
  /**
   * @param {object} description what make_explorer.py has written: steps in order, each with the
   *     numbers of the steps that it takes its inputs from, and all weights in base64
   */
  constructor(description) {
    this.mean = Math.fround(description.inputMean);
    this.std = Math.fround(description.inputStd);
    this.classNames = description.classNames;
    this.parameters = description.parameters;
    const weights = new Float32Array(bytesOf(description.weights).buffer);
    this.steps = description.steps.map((entry, number) => {
      const step = { ...entry, number, y: tensor(entry.shape), isRow: entry.shape.length === 1 };
      for (const [name, { begin, shape }] of Object.entries(entry.arrays ?? {})) {
        step[name] = weights.subarray(begin, begin + shape.reduce((a, b) => a * b, 1));
      }
      return step;
    });
  }

  get input() {
    return this.steps[0].y;
  }

  get probabilities() {
    return this.steps.at(-1).y.data;
  }

  /** Layers whose outputs are in the page for the test images only. @returns {string[]} */
  get recordedLayers() {
    return this.steps.filter(({ layer }) => layer === "Recorded").map(({ text }) => text);
  }

  /** The tensors that a step takes. @returns {Tensor[]} */
  inputsOf(step) {
    return step.inputs.map((number) => this.steps[number].y);
  }

  /** What a gray level of 0 to 255 is to the first layer, in float32 as in Sequential.prepare. */
  scaled(level) {
    return Math.fround(Math.fround(Math.fround(level / 255) - this.mean) / this.std);
  }

  /**
   * Run all steps on an image.
   * @param {Uint8Array} image 28·28 gray levels, 255 is ink
   * @param {number} test the index of the image among the test images, or -1
   * @returns {Float32Array} the probability of each class
   */
  run(image, test) {
    for (let i = 0; i < image.length; i++) this.input.data[i] = this.scaled(image[i]);
    for (const step of this.steps.slice(1)) {
      FORWARD[step.layer](step, this.inputsOf(step), test);
    }
    return this.probabilities;
  }
}
