/* Read the network from the page and run it on an image. */

/** Decode base64. @returns {Uint8Array} */
function decodeBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Allocate a tensor of a shape [H, W, C], or [n] for a vector. @returns {Tensor} */
function tensor(shape) {
  const [H, W, C] = shape.length === 3 ? shape : [1, 1, shape[0]];
  return { H, W, C, data: new Float32Array(H * W * C) };
}

/** Return the value at (h, w, c) of a tensor; 0 in the padding. */
function at(x, h, w, c) {
  return isPadding(x, h, w) ? 0 : x.data[(h * x.W + w) * x.C + c];
}

/** Return whether a position is outside a tensor. */
function isPadding(x, h, w) {
  return h < 0 || w < 0 || h >= x.H || w >= x.W;
}

class Network {
  /**
   * @param {object} description from make_explorer.py: steps in order, each with the indices of
   *     the steps that give its inputs, and all weights in base64
   */
  constructor(description) {
    this.mean = Math.fround(description.inputMean);
    this.std = Math.fround(description.inputStd);
    this.classNames = description.classNames;
    this.parameters = description.parameters;
    const weights = new Float32Array(decodeBase64(description.weights).buffer);
    this.steps = description.steps.map((entry, index) => {
      const step = { ...entry, index, y: tensor(entry.shape), isVector: entry.shape.length === 1 };
      for (const [name, { offset, shape }] of Object.entries(entry.arrays ?? {})) {
        step[name] = weights.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
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

  /** Return the input tensors of a step. @returns {Tensor[]} */
  inputsOf(step) {
    return step.inputs.map((index) => this.steps[index].y);
  }

  /** Normalize a gray level of 0 to 255, in float32 as `Sequential.preprocess` does. */
  normalize(level) {
    return Math.fround(Math.fround(Math.fround(level / 255) - this.mean) / this.std);
  }

  /**
   * Run all steps on an image.
   * @param {Uint8Array} image 28·28 gray levels, 255 is ink
   * @param {number} test the index of the image among the test images, or -1
   * @returns {Float32Array} the probability of each class
   */
  run(image, test) {
    for (let i = 0; i < image.length; i++) this.input.data[i] = this.normalize(image[i]);
    for (const step of this.steps.slice(1)) {
      FORWARD[step.layer](step, this.inputsOf(step), test);
    }
    return this.probabilities;
  }
}
