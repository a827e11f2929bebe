"""minicnn: a small convolutional network library on NumPy and Numba, gradients written by hand.

The rooms, in the order in which to read them: `shapes` (sizes and checks), `reference` (every
operation as slow loops), `ops` and `kernels` (the same, working), `layers`, `model`, `losses`,
`optim`, `train`, `saving`, `voting`; beside them `data`, `explanation`, `gradcheck`, `health`,
`metrics`, and `plots`, which is imported by itself because it brings matplotlib: ``from minicnn
import plots``.
"""

from minicnn import gradcheck, health, initialisers, metrics, ops, reference
from minicnn.archive import ModelFileError
from minicnn.data import (
    Augment,
    BlankImageError,
    FoundDigit,
    ImageDataset,
    ImageError,
    MnistUnavailableError,
    are_digits,
    drawn_digits,
    find_digits,
    load_mnist,
    load_mnist_sample,
    read_idx,
    to_mnist,
)
from minicnn.evaluation import Evaluation, evaluate
from minicnn.explanation import explain
from minicnn.health import NonFiniteError
from minicnn.layers import (
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
    ReLU,
    Residual,
)
from minicnn.losses import (
    one_hot,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.model import Sequential
from minicnn.optim import SGD, Adam
from minicnn.saving import load_model
from minicnn.train import fit
from minicnn.voting import Ensemble, MultiView
from minicnn.workers import usable_cores

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "Augment",
    "AvgPool2D",
    "BatchNorm",
    "BlankImageError",
    "Concat",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Ensemble",
    "Evaluation",
    "Flatten",
    "FoundDigit",
    "GlobalAvgPool2D",
    "ImageDataset",
    "ImageError",
    "Layer",
    "MaxPool2D",
    "MnistUnavailableError",
    "ModelFileError",
    "MultiView",
    "NonFiniteError",
    "ReLU",
    "Residual",
    "Sequential",
    "are_digits",
    "drawn_digits",
    "evaluate",
    "explain",
    "find_digits",
    "fit",
    "gradcheck",
    "health",
    "initialisers",
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
    "to_mnist",
    "usable_cores",
]
