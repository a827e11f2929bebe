"""Write a web page that shows how a saved network recognizes a digit.

    python examples/train_mnist.py --save model.npz
    python examples/tools/make_explorer.py --model model.npz --out explorer.html

The page is one file with the network's weights, test images and scripts. It opens from disk in a
browser and loads nothing. Its sources are in ``examples/explorer/``.

The page has the first three test images of each class: of the digits that come with minicnn, or of
the data in ``--data-dir``.
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

sys.path.insert(0, str(Path(__file__).parents[1]))
from console import Help, run_script
from files import check_distinct, writable, write_file

Shape = tuple[int, ...]

SOURCES = Path(__file__).parents[1] / "explorer"
# In the order of the page: each script uses those before it.
SCRIPTS = (
    "layers.js", "network.js", "receptive_fields.js", "resize.js", "segmentation.js",
    "mnist_format.js", "pad.js", "format.js", "elements.js", "maps.js", "cards.js", "panel.js",
    "explain.js", "main.js",
)  # fmt: skip
# The layers that layers.js computes.
LAYERS = (
    AvgPool2D, BatchNorm, Concat, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten,
    GlobalAvgPool2D, MaxPool2D, ReLU, Residual,
)  # fmt: skip
IMAGES_PER_CLASS = 3
NO_IMAGES = np.empty((0, 28, 28), np.uint8)

Step = dict[str, Any]  # JSON


class ExplorerError(ValueError):
    """A model or data that the page cannot show."""


# ---------------------------------------------------------------- network


class Steps:
    """A network as a list of steps, in the order of their computation.

    A layer is one step. A container gives the steps of its branches, then one step that merges
    them. The page computes the layers of LAYERS. The step of another one is ``Recorded`` and holds
    the outputs for the test images.

    Attributes
    ----------
    steps : list of dict
        ``layer`` (its class), ``text`` (its ``repr``), ``path`` (3, or 5.2 for the second layer
        inside the fifth), ``inputs`` (indices of steps), ``shape`` of the output, ``arrays`` (name
        to offset among the weights and shape), and options of the layer.
    """

    def __init__(self, model: Sequential, images: NDArray[np.uint8]) -> None:
        self.steps: list[Step] = []
        self._outputs: list[NDArray[Any]] = []  # of each step for the test images
        self._arrays: list[NDArray[np.float32]] = []
        self._size = 0  # of all arrays
        shape = model.input_shape
        x = model.preprocess(images) if len(images) else np.empty((0, *shape), model.dtype)
        self._add("Input", "Input", "", [], shape, x)
        source = self._add_layers(model.layers, 0, shape, "", "")
        self._add("Softmax", "Softmax", "", [source], model.output_shape, self._outputs[source])

    def weights(self) -> bytes:
        """Return all parameters and statistics as little-endian float32."""
        return b"".join(array.astype("<f4").tobytes() for array in self._arrays)

    def _add_layers(
        self, layers: Sequence[Layer], source: int, shape: Shape, prefix: str, branch: str
    ) -> int:
        """Add layers, numbered as in `Trace`; return the index of the last step."""
        for number, layer in enumerate(layers, start=0 if prefix else 1):
            source = self._add_layer(layer, source, shape, f"{prefix}{number}", branch)
            shape = layer.output_shape(shape)
        return source

    def _add_layer(self, layer: Layer, source: int, shape: Shape, path: str, branch: str) -> int:
        """Add a layer; return the index of its step."""
        kind, out = type(layer), layer.output_shape(shape)
        if kind in (Residual, Concat):
            return self._add_container(layer, source, shape, path)
        x = self._outputs[source]
        y = layer.forward(x)[0] if len(x) else np.empty((0, *out), x.dtype)
        options: Step = {"branch": branch} if branch else {}
        if kind not in LAYERS:
            if not len(x):
                raise ExplorerError(
                    f"layer {path} is {layer}, which the page cannot compute and shows for test "
                    f"images only; give --data-dir"
                )
            options["arrays"] = {"recorded": self._add_array(y, path)}
            return self._add("Recorded", repr(layer), path, [source], out, y, **options)
        if isinstance(layer, (Conv2D, DepthwiseConv2D, MaxPool2D, AvgPool2D)):
            options["window"] = layer.window(shape)._asdict()
        else:
            options |= {name: getattr(layer, name) for name in layer.options}
        arrays = {**layer.parameters, **layer.statistics}
        options["arrays"] = {name: self._add_array(array, path) for name, array in arrays.items()}
        return self._add(kind.__name__, repr(layer), path, [source], out, y, **options)

    def _add_container(self, layer: Any, source: int, shape: Shape, path: str) -> int:
        """Add the branches and the step that merges them; return its index."""
        names = ["branch", "shortcut"]
        if isinstance(layer, Concat):
            names = [f"branch {number}" for number in range(len(layer.branches))]
        ends = [
            self._add_layers(chain.layers, source, shape, f"{path}.{prefix}", name)
            for name, (prefix, chain) in zip(names, layer.sequences.items(), strict=True)
        ]
        kind = type(layer).__name__
        out = layer.output_shape(shape)
        y, _ = layer.merge([self._outputs[end] for end in ends])
        return self._add(kind, kind, path, ends, out, y, branches=names)

    def _add(
        self,
        kind: str,
        text: str,
        path: str,
        inputs: list[int],
        shape: Shape,
        outputs: NDArray[Any],
        **options: Any,
    ) -> int:
        """Append a step; return its index."""
        self._outputs.append(outputs)
        self.steps.append(
            {"layer": kind, "text": text, "path": path, "inputs": inputs, "shape": list(shape)}
            | options
        )
        return len(self.steps) - 1

    def _add_array(self, array: NDArray[Any], path: str) -> dict[str, Any]:
        """Append an array to the weights; return its offset and shape."""
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        if not np.isfinite(single).all():
            raise ExplorerError(f"layer {path} has a value that is too large for float32")
        self._arrays.append(single)
        offset, self._size = self._size, self._size + array.size
        return {"offset": offset, "shape": list(array.shape)}


def class_names(model: Sequential) -> list[str]:
    """Return the names of the classes, or 0, 1, 2, … if the model has none."""
    return list(model.class_names or map(str, range(model.output_shape[0])))


def describe(model: Sequential, images: NDArray[np.uint8] = NO_IMAGES) -> dict[str, Any]:
    """Return the network as JSON; `images` are the test images of the page."""
    if model.input_shape != (28, 28, 1):
        raise ExplorerError(
            f"the model takes images of {'×'.join(map(str, model.input_shape))}; the explorer "
            f"shows networks for 28×28×1, one channel"
        )
    if len(model.output_shape) != 1:
        raise ExplorerError(
            f"the model returns {'×'.join(map(str, model.output_shape))} values; the explorer "
            f"shows classifiers, which return one value per class: append Flatten and Dense"
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


# ---------------------------------------------------------------- test images


def test_images(folder: Path | None, model: Sequential) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the first three test images of each class, and their labels.

    Without a folder these are minicnn's own digits, or none if the classes are not digits. The
    shape of the images is (n, 28, 28).
    """
    if folder is None and class_names(model) != list("0123456789"):
        return NO_IMAGES, []
    data = (
        minicnn.load_mnist_sample()
        if folder is None
        else minicnn.load_mnist(folder, download=False)
    )
    classes = model.output_shape[0]
    if data.test_images.shape[1:] != (28, 28) or data.test_labels.max() >= classes:
        raise ExplorerError(
            f"the test images of {data.name} are {data.test_images.shape[1:]} with labels up to "
            f"{data.test_labels.max()}; the model takes (28, 28) and labels below {classes}"
        )
    index = np.concatenate(
        [np.flatnonzero(data.test_labels == label)[:IMAGES_PER_CLASS] for label in range(classes)]
    )
    return data.test_images[index], data.test_labels[index].tolist()


# ---------------------------------------------------------------- page


def page(model: Sequential, folder: Path | None = None) -> str:
    """Return the page as HTML; the same for the same model and test images."""
    images, labels = test_images(folder, model)
    content = {
        "network": describe(model, images),
        "testImages": {"images": base64.b64encode(images.tobytes()).decode(), "labels": labels},
    }
    style, *scripts = [
        (SOURCES / name).read_text(encoding="utf-8") for name in ("style.css", *SCRIPTS)
    ]
    # Only these sequences end a script, or change how HTML parses it.
    data = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    program = "\n".join(scripts).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    html = (SOURCES / "page.html").read_text(encoding="utf-8")
    for mark, text in (("STYLE", style), ("DATA", data), ("PROGRAM", program)):
        before, after = html.split(f"@@{mark}@@")
        html = before + text + after
    return html


# ---------------------------------------------------------------- command line


def parse_flags(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write a web page that shows how a saved network recognizes a digit.",
        formatter_class=Help,
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
        help="folder with four files in MNIST's format; the page gets their test images "
        "(default: the digits that come with minicnn)",
    )
    flags = parser.parse_args(argv)
    check_distinct(parser, {"--out": flags.out, "--model": flags.model})
    return flags


def main(argv: list[str] | None = None) -> int:
    """Write the page; return the exit status: 0, or 2 after an error."""
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
    run_script(main)
