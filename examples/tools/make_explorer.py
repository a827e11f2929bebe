"""Write a web page that shows how a saved network recognizes a digit.

    python examples/train_mnist.py --save model.npz
    python examples/tools/make_explorer.py --model model.npz --out explorer.html

The page is one file with the weights, test images and scripts. It opens from disk in a browser, on
a computer or a phone, and sends no request. Its sources are in ``examples/explorer/``.

The test images are the first three of each class of the sample in the package, or of the data in
``--data-dir``.
"""

import argparse
import base64
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minicnn
from minicnn import (
    AvgPool2D,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ModelFileError,
    ReLU,
    Residual,
    Sequential,
)
from minicnn.explanation.formulas import window_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from files import writable, write_file

Shape = tuple[int, ...]

PARTS = Path(__file__).parents[1] / "explorer"
# In the order of the page; each script uses those before it.
SCRIPTS = (
    "layers.js", "network.js", "fields.js", "resize.js", "ink.js", "digit.js", "pad.js",
    "numbers.js", "maps.js", "cards.js", "panel.js", "parts.js", "explain.js", "main.js",
)  # fmt: skip
KNOWN = (
    AvgPool2D, BatchNorm, Concat, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten,
    GlobalAvgPool2D, MaxPool2D, ReLU, Residual,
)  # fmt: skip
IMAGES_PER_CLASS = 3
NO_IMAGES = np.empty((0, 28, 28), np.uint8)

Step = dict[str, Any]  # a JSON object


class ExplorerError(ValueError):
    """Raised for a model or data that the page cannot show."""


# ---------------------------------------------------------------- the network


class Steps:
    """A network as a list of steps, each computed from earlier steps.

    A layer is one step. A container has the steps of its branches and one that merges them. A step
    has ``layer``, ``text``, ``place`` (3, or 5.2 inside layer 5), ``inputs`` (indices of earlier
    steps), ``shape`` (of the output), ``arrays`` (offset and shape by name) and the options of its
    layer. The page cannot compute a layer outside minicnn: its step is ``Recorded`` and holds the
    outputs for the test images.
    """

    def __init__(self, model: Sequential, images: NDArray[np.uint8]) -> None:
        self.steps: list[Step] = []
        self._outputs: list[NDArray[Any]] = []  # of each step for the test images
        self._arrays: list[NDArray[np.float32]] = []
        self._length = 0
        shape = model.input_shape
        x = model.preprocess(images) if len(images) else np.empty((0, *shape), model.dtype)
        self._add("Input", "Input", "", [], shape, x)
        source = self._add_chain(model.layers, 0, shape, "", "")
        self._add("Softmax", "Softmax", "", [source], model.output_shape, self._outputs[source])

    def weights(self) -> bytes:
        """Return all weights and statistics as little-endian float32."""
        return b"".join(array.astype("<f4").tobytes() for array in self._arrays)

    def _add_chain(
        self, layers: Sequence[Layer], source: int, shape: Shape, place: str, branch: str
    ) -> int:
        """Add a sequence of layers; return the index of the last step."""
        for position, layer in enumerate(layers, 1):
            source = self._add_layer(layer, source, shape, f"{place}{position}", branch)
            shape = layer.output_shape(shape)
        return source

    def _add_layer(self, layer: Layer, source: int, shape: Shape, place: str, branch: str) -> int:
        kind, out = type(layer), layer.output_shape(shape)
        if type(layer) in (Residual, Concat):
            return self._add_container(layer, source, shape, place)
        x = self._outputs[source]
        y = layer.forward(x)[0] if len(x) else np.empty((0, *out), x.dtype)
        more: Step = {"branch": branch} if branch else {}
        if kind not in KNOWN:
            if not len(x):
                raise ExplorerError(
                    f"layer {place} is {layer}: the page shows layers outside minicnn for test "
                    f"images only; give --data-dir"
                )
            more["arrays"] = {"recorded": self._keep(y, place)}
            return self._add("Recorded", repr(layer), place, [source], out, y, **more)
        if isinstance(layer, (Conv2D, DepthwiseConv2D, MaxPool2D, AvgPool2D)):
            more["window"] = window_of(layer, shape)._asdict()
        if isinstance(layer, BatchNorm):
            more["epsilon"] = layer.epsilon
        if isinstance(layer, Dropout):
            more["rate"] = layer.rate
        arrays = {**layer.parameters, **layer.statistics}
        more["arrays"] = {name: self._keep(array, place) for name, array in arrays.items()}
        return self._add(kind.__name__, repr(layer), place, [source], out, y, **more)

    def _add_container(self, layer: Any, source: int, shape: Shape, place: str) -> int:
        """Add the branches, then the step that merges them."""
        if isinstance(layer, Residual):
            branches = {"branch": layer.layers, "shortcut": layer.shortcut or []}
        else:
            branches = {f"branch {n}": layers for n, layers in enumerate(layer.branches, 1)}
        ends = [
            self._add_chain(layers, source, shape, f"{place}.{number}.", name)
            for number, (name, layers) in enumerate(branches.items(), 1)
        ]
        kind = type(layer).__name__
        out = layer.output_shape(shape)
        y, _ = layer.merge([self._outputs[end] for end in ends])
        return self._add(kind, kind, place, ends, out, y, names=list(branches))

    def _add(
        self,
        kind: str,
        text: str,
        place: str,
        inputs: list[int],
        shape: Shape,
        outputs: NDArray[Any],
        **more: Any,
    ) -> int:
        self._outputs.append(outputs)
        self.steps.append(
            {"layer": kind, "text": text, "place": place, "inputs": inputs, "shape": list(shape)}
            | more
        )
        return len(self.steps) - 1

    def _keep(self, array: NDArray[Any], place: str) -> dict[str, Any]:
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        if not np.isfinite(single).all():
            raise ExplorerError(f"layer {place} has a weight that is too large for float32")
        self._arrays.append(single)
        begin, self._length = self._length, self._length + array.size
        return {"begin": begin, "shape": list(array.shape)}


def class_names(model: Sequential) -> list[str]:
    """Return the names of the classes, or their indices."""
    return list(model.class_names or map(str, range(model.output_shape[0])))


def describe(model: Sequential, images: NDArray[np.uint8] = NO_IMAGES) -> dict[str, Any]:
    """Return the network as the page reads it.

    Parameters
    ----------
    model : Sequential
    images : ndarray of uint8 (n, 28, 28)
        The test images of the page.

    Returns
    -------
    dict
        What JSON can hold.

    Raises
    ------
    ExplorerError
        If it does not take images of 28×28 with one channel, does not end in one number for each
        class, has a weight beyond float32, or a layer outside minicnn and there are no images.
    """
    if model.input_shape != (28, 28, 1):
        raise ExplorerError(
            f"the model takes images of {'×'.join(map(str, model.input_shape))}; the explorer "
            f"shows networks for 28×28×1, one channel"
        )
    if len(model.output_shape) != 1:
        raise ExplorerError(
            f"the model ends in {'×'.join(map(str, model.output_shape))} numbers; the explorer "
            f"shows classifiers, which end in one for each class: put Flatten and Dense behind"
        )
    network = Steps(model, images)
    return {
        "steps": network.steps,
        "inputMean": model.input_mean,
        "inputStd": model.input_std,
        "classNames": class_names(model),
        "parameters": model.parameters.size,
        "weights": base64.b64encode(network.weights()).decode(),
    }


# ---------------------------------------------------------------- the test images


def some_images(folder: Path | None, model: Sequential) -> dict[str, Any]:
    """Choose the first three test images of each class.

    Parameters
    ----------
    folder : Path, or None
        Of the files of MNIST or others like them; the library's own digits where it is None, or
        no image where the model's classes are not the ten digits.
    model : Sequential

    Returns
    -------
    dict
        ``images`` in base64, 28·28 bytes each; ``labels``.

    Raises
    ------
    ExplorerError
        If the images or labels are not such as the model knows.
    OSError, ValueError
        As `minicnn.load_mnist`.
    """
    if folder is None:
        if class_names(model) != list("0123456789"):
            return {"images": "", "labels": []}
        data = minicnn.load_mnist_sample()
    else:
        data = minicnn.load_mnist(folder, download=False)
    classes = model.output_shape[0]
    if data.test_images.shape[1:] != (28, 28) or data.test_labels.max() >= classes:
        raise ExplorerError(
            f"the test images of {data.name} are {data.test_images.shape[1:]} with labels up to "
            f"{data.test_labels.max()}; the model takes (28, 28) and labels below {classes}"
        )
    chosen = [np.flatnonzero(data.test_labels == label)[:IMAGES_PER_CLASS]
              for label in range(classes)]  # fmt: skip
    index = np.concatenate(chosen)
    return {
        "images": base64.b64encode(data.test_images[index].tobytes()).decode(),
        "labels": data.test_labels[index].tolist(),
    }


# ---------------------------------------------------------------- the page


def page(model: Sequential, folder: Path | None = None) -> str:
    """Put the page together.

    Parameters
    ----------
    model : Sequential
    folder : Path, optional
        As in `some_images`.

    Returns
    -------
    str
        HTML; the same for the same model and images.

    Raises
    ------
    ExplorerError, OSError, ValueError
        As `describe` and `some_images`.
    """
    pictures = some_images(folder, model)
    images = np.frombuffer(base64.b64decode(pictures["images"]), np.uint8).reshape(-1, 28, 28)
    content = {"network": describe(model, images), "pictures": pictures}
    style, *scripts = [
        (PARTS / name).read_text(encoding="utf-8") for name in ("style.css", *SCRIPTS)
    ]
    # Inside a script only these would end it, or change how it is read.
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    program = "\n".join(scripts).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    html = (PARTS / "page.html").read_text(encoding="utf-8")
    for mark, text in (("STYLE", style), ("DATA", data), ("PROGRAM", program)):
        before, after = html.split(f"@@{mark}@@")
        html = before + text + after
    return html


# ---------------------------------------------------------------- the program


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write a web page that shows how a saved network recognizes a digit."
    )
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="FILE.npz",
        help="a model saved by train_mnist.py or train.py",
    )
    parser.add_argument(
        "--out",
        type=writable,
        default=Path("explorer.html"),
        metavar="FILE.html",
        help="the page (default: explorer.html)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="folder with the four MNIST files, or others in their format, whose test images are "
        "in the page (default: the digits that come with the library)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the page; return the exit status."""
    flags = parse_flags(argv)
    try:
        content = page(minicnn.load_model(flags.model), flags.data_dir)
        write_file(flags.out, content)
    except (OSError, ModelFileError, ValueError) as error:
        print(f"make_explorer.py: error: {error}", file=sys.stderr)
        return 2
    print(f"{flags.out}: {flags.out.stat().st_size / 1e6:.2f} MB; open it in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
