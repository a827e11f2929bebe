"""Train and explain small convolutional networks on NumPy and Numba.

The core, in reading order: `shapes`, `reference` (each op as slow loops), `random`, `ops`,
`initializers`, `layers` (begin at `base`), `losses`, `optim`, `model` (at `sequential`), `train`
(at `fit`), `gradcheck`. The engine makes it fast: `runtime` and `kernels`, with `kernels/GUIDE.md`.
The other modules build on the core. `plots` imports matplotlib, so it is loaded by
``from minicnn import plots`` alone.

A *backend* is a set of kernels for one convolution. A *microbatch* is the part of a batch that one
thread takes through the network at a time; its arrays lie in the thread's *arena*, at the same
addresses in each step. So its kernel calls can be *captured* once and *replayed*.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from minicnn import diagnostics, gradcheck, initializers, metrics, ops, reference
from minicnn.augment import Augment
from minicnn.data.idx import read_idx
from minicnn.data.mnist import ImageDataset, MnistUnavailableError, load_mnist, load_mnist_sample
from minicnn.ensemble import Ensemble, TestTimeAugmentation
from minicnn.explanation import explain
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Concat, Residual
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from minicnn.losses import one_hot, softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model.classifier import Classifier
from minicnn.model.sequential import Sequential
from minicnn.optim import SGD, Adam
from minicnn.random import RandomKey
from minicnn.runtime.archive import ModelFileError
from minicnn.runtime.thread_pool import cpu_count
from minicnn.serialization import load_model
from minicnn.train.data_parallel import BatchGradient
from minicnn.train.evaluate import Evaluation, evaluate
from minicnn.train.fit import fit
from minicnn.train.nonfinite import NonFiniteError

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "Augment",
    "AvgPool2D",
    "BatchGradient",
    "BatchNorm",
    "BlankImageError",
    "Classifier",
    "Concat",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "DigitBox",
    "Dropout",
    "Ensemble",
    "Evaluation",
    "Flatten",
    "GlobalAvgPool2D",
    "ImageDataset",
    "ImageError",
    "Layer",
    "MaxPool2D",
    "MnistUnavailableError",
    "ModelFileError",
    "NonFiniteError",
    "RandomKey",
    "ReLU",
    "Residual",
    "Sequential",
    "TestTimeAugmentation",
    "cpu_count",
    "detect_digits",
    "diagnostics",
    "evaluate",
    "explain",
    "fit",
    "gradcheck",
    "initializers",
    "load_mnist",
    "load_mnist_sample",
    "load_model",
    "metrics",
    "one_hot",
    "ops",
    "read_idx",
    "reference",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "synthetic_digits",
    "to_mnist_format",
]

# The recognizer imports SciPy, so its names are loaded at their first use.
_RECOGNIZER = {
    "BlankImageError": "load_image",
    "DigitBox": "detect",
    "ImageError": "load_image",
    "detect_digits": "detect",
    "synthetic_digits": "synthetic",
    "to_mnist_format": "mnist_format",
}

if TYPE_CHECKING:
    from minicnn.recognizer.detect import DigitBox, detect_digits
    from minicnn.recognizer.load_image import BlankImageError, ImageError
    from minicnn.recognizer.mnist_format import to_mnist_format
    from minicnn.recognizer.synthetic import synthetic_digits
else:

    def __getattr__(name: str) -> object:
        """Load a name of the recognizer."""
        if name not in _RECOGNIZER:
            raise AttributeError(f"module 'minicnn' has no attribute {name!r}")
        module = import_module(f"minicnn.recognizer.{_RECOGNIZER[name]}")
        return globals().setdefault(name, getattr(module, name))

    def __dir__() -> list[str]:
        """List the names that are loaded at their first use too."""
        return sorted({*globals(), *__all__})
