"""Build the benchmarked networks in minicnn and in PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minicnn
from minicnn import BatchNorm, Conv2D, Dense, Flatten, Layer, MaxPool2D, ReLU, Sequential

# ("conv", filters, kernel size, padding), ("dense", units), "norm", "relu", "pool" (2×2), "flatten"
Spec = tuple[Any, ...]
Weights = list[dict[str, NDArray[np.float32]]]  # for each layer, by name
NORM, RELU, POOL, FLATTEN = ("norm",), ("relu",), ("pool",), ("flatten",)
MODELS: dict[str, list[Spec]] = {
    "reference CNN": [
        ("conv", 32, 3, 0), RELU, POOL, ("conv", 64, 3, 0), RELU, POOL,
        FLATTEN, ("dense", 128), RELU, ("dense", 10),
    ],
    "reference CNN with batch norm": [
        ("conv", 32, 3, 0), POOL, NORM, RELU, ("conv", 64, 3, 0), POOL, NORM, RELU,
        FLATTEN, ("dense", 128), RELU, ("dense", 10),
    ],
    "LeNet-5": [
        ("conv", 6, 5, 0), RELU, POOL, ("conv", 16, 5, 0), RELU, POOL,
        FLATTEN, ("dense", 120), RELU, ("dense", 84), RELU, ("dense", 10),
    ],
    "four convolutions": [
        ("conv", 32, 3, 0), RELU, ("conv", 32, 3, 0), RELU, POOL,
        ("conv", 64, 3, 0), RELU, ("conv", 64, 3, 0), RELU, POOL,
        FLATTEN, ("dense", 128), RELU, ("dense", 10),
    ],
    "ten_epochs": [  # of examples/recipes.py
        ("conv", 32, 3, 0), RELU, ("conv", 32, 3, 0), POOL, NORM, RELU,
        ("conv", 64, 3, 0), RELU, ("conv", 64, 3, 0), POOL, NORM, RELU,
        ("conv", 128, 3, 0), NORM, RELU, FLATTEN, ("dense", 128), NORM, RELU, ("dense", 10),
    ],
}  # fmt: skip
IMAGE = (28, 28, 1)


def minicnn_model(
    specs: list[Spec], image: tuple[int, int, int] = IMAGE, seed: int = 0
) -> Sequential:
    makers: dict[str, Callable[..., Layer]] = {
        "conv": lambda filters, size, padding: Conv2D(filters, size, padding=padding),
        "norm": BatchNorm,
        "relu": ReLU,
        "pool": lambda: MaxPool2D(2),
        "flatten": Flatten,
        "dense": Dense,
    }
    layers = [makers[kind](*options) for kind, *options in specs]
    return Sequential(layers, input_shape=image, seed=seed)


def weights_of(model: Sequential) -> Weights:
    """Return a copy of each layer's parameters."""
    return [{k: v.copy() for k, v in layer.parameters.items()} for layer in model.layers]


def channels_first(specs: list[Spec], weights: Weights) -> Weights:
    """Return the weights in the layout of PyTorch and ONNX.

    Convolutions are (F, C, KH, KW), dense layers (out, in). PyTorch flattens (C, H, W) where
    minicnn flattens (H, W, C), so the rows of the next dense layer are permuted.
    """
    shape, flat_from, result = IMAGE, (0, 0, 0), []
    for (kind, *options), own in zip(specs, weights, strict=True):
        theirs = dict(own)
        if kind == "conv":
            filters, size, padding = options
            theirs["weight"] = own["weight"].transpose(3, 2, 0, 1)
            H, W, _ = shape
            shape = (H + 2 * padding - size + 1, W + 2 * padding - size + 1, filters)
        elif kind == "pool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "flatten":
            flat_from = shape
        elif kind == "dense":
            weight = own["weight"]
            if any(flat_from):
                rows = np.arange(len(weight)).reshape(flat_from).transpose(2, 0, 1).ravel()
                weight, flat_from = weight[rows], (0, 0, 0)
            theirs["weight"] = weight.T
        result.append({name: np.ascontiguousarray(array) for name, array in theirs.items()})
    return result


def torch_network(specs: list[Spec], weights: Weights) -> Any:
    """Return the network as a PyTorch module with minicnn's weights."""
    import torch
    from torch import nn

    modules: list[Any] = []
    for (kind, *options), own in zip(specs, channels_first(specs, weights), strict=True):
        module: Any
        if kind == "conv":
            module = nn.Conv2d(own["weight"].shape[1], options[0], options[1], padding=options[2])
        elif kind == "dense":
            module = nn.Linear(own["weight"].shape[1], options[0])
        elif kind == "norm":
            flat = any(isinstance(each, nn.Flatten) for each in modules)
            module = (nn.BatchNorm1d if flat else nn.BatchNorm2d)(len(own["weight"]))
        else:
            module = {"relu": nn.ReLU(), "pool": nn.MaxPool2d(2), "flatten": nn.Flatten()}[kind]
        for name, array in own.items():
            setattr(module, name, nn.Parameter(torch.from_numpy(array.copy())))
        modules.append(module)
    return nn.Sequential(*modules)


def digits(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the first images (N, 28, 28, 1) and labels of the sample."""
    data = minicnn.load_mnist_sample()
    return data.train_images[:count, :, :, None].copy(), data.train_labels[:count].astype(np.int64)


def torch_images(images: NDArray[np.uint8]) -> Any:
    """Convert images (N, H, W, C) to a float32 tensor (N, C, H, W), 0 to 1."""
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
