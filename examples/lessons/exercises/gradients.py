"""Define the exercises of lessons 4 and 5: the loss, and gradients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from exercises.checking import Arguments, Exercise
from minicnn import reference

Array = NDArray[Any]

# ---------------------------------------------------------------- 4, softmax and cross-entropy


def logits(rng: Generator) -> Iterator[Arguments]:
    """Draw small and large logits, and a single row."""
    for N, K, scale in [(1, 3, 1.0), (4, 10, 2.0), (3, 5, 1000.0), (2, 10, 1e5)]:
        yield {"logits": scale * rng.standard_normal((N, K))}


def logits_and_labels(rng: Generator) -> Iterator[Arguments]:
    """Draw logits with labels."""
    for N, K in [(1, 3), (4, 10), (7, 5)]:
        yield {"logits": 2 * rng.standard_normal((N, K)), "labels": rng.integers(0, K, N)}


def naive_softmax(logits: Array) -> Array:
    """Return softmax without subtracting the maximum."""
    powers = np.exp(logits)
    ratios: Array = powers / powers.sum(axis=1, keepdims=True)
    return ratios


def probabilities_less_ones(logits: Array, labels: Array) -> Array:
    """Return ``p - t``: N times the gradient of the mean."""
    ones = reference.losses.one_hot(labels, logits.shape[1])
    _, cache = reference.losses.softmax_cross_entropy(logits, ones)
    return reference.losses.softmax_cross_entropy_backward(float(len(labels)), cache)


LOSS = {
    "softmax": Exercise(
        logits,
        lambda logits: reference.activations.softmax(logits)[0],
        {
            "e^1000 is too large for a float: subtract the largest logit of each row first.": (
                naive_softmax
            ),
            "Each row must sum to 1, not all rows together.": (
                lambda logits: np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            ),
            "The sum goes over the classes of one image (axis 1), not over the images.": (
                lambda logits: reference.activations.softmax(logits.T)[0].T
            ),
            "One maximum for all rows is not enough: in another row every power becomes 0.": (
                lambda logits: naive_softmax(logits - logits.max())
            ),
        },
    ),
    "dlogits": Exercise(
        logits_and_labels,
        lambda logits, labels: probabilities_less_ones(logits, labels) / len(labels),
        {
            "The loss is a mean over N images: divide by N.": probabilities_less_ones,
            "The sign is wrong: the loss rises along its gradient.": (
                lambda logits, labels: -probabilities_less_ones(logits, labels) / len(labels)
            ),
            "At the label, 1 must be subtracted.": (
                lambda logits, labels: reference.activations.softmax(logits)[0] / len(labels)
            ),
            "Divide by the number of images, not of classes.": (
                lambda logits, labels: probabilities_less_ones(logits, labels) / logits.shape[1]
            ),
        },
    ),
}

# ---------------------------------------------------------------- 5, backpropagation


def dense_cases(rng: Generator) -> Iterator[Arguments]:
    """Draw arguments of a dense layer, square weights first."""
    for N, inputs, outputs in [(3, 3, 3), (2, 4, 3), (5, 2, 6)]:
        yield {
            "dy": rng.standard_normal((N, outputs)),
            "x": rng.standard_normal((N, inputs)),
            "weight": rng.standard_normal((inputs, outputs)),
        }


def dense_gradients(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return dx, dweight and dbias of the reference."""
    return reference.dense.dense_backward(dy, (x, weight))


def pooled_gradients(rng: Generator) -> Iterator[Arguments]:
    """Draw gradients of 2×2 means, also for odd image sizes."""
    for N, H, W, C in [(1, 4, 4, 1), (2, 6, 4, 3), (2, 5, 7, 2)]:
        yield {"dy": rng.standard_normal((N, H // 2, W // 2, C)), "H": H, "W": W}


def mean_gradient(dy: Array, H: int, W: int) -> Array:
    """Return dx of 2×2 mean pooling of the reference."""
    N, _, _, C = dy.shape
    _, cache = reference.pooling.avg_pool2d(np.zeros((N, H, W, C)), 2)
    return reference.pooling.avg_pool2d_backward(dy, cache)


def at_the_first(dy: Array, H: int, W: int) -> Array:
    """Return each gradient at the first pixel of its window."""
    dx = np.zeros((len(dy), H, W, dy.shape[3]))
    dx[:, : 2 * dy.shape[1] : 2, : 2 * dy.shape[2] : 2] = dy
    return dx


BACKPROPAGATION = {
    "dense_backward": Exercise(
        dense_cases,
        dense_gradients,
        {
            "dbias is a sum over the images, not a mean.": lambda dy, x, weight: (
                *dense_gradients(dy, x, weight)[:2],
                dy.mean(axis=0),
            ),
            "dx: the weights must be transposed, (out, in).": lambda dy, x, weight: (
                dy @ weight,
                *dense_gradients(dy, x, weight)[1:],
            ),
            "dweight must have the shape of weight, (in, out): it is transposed.": (
                lambda dy, x, weight: (dy @ weight.T, dy.T @ x, dy.sum(axis=0))
            ),
            "dweight is a sum over the images, not a mean.": lambda dy, x, weight: (
                dy @ weight.T,
                x.T @ dy / len(dy),
                dy.sum(axis=0),
            ),
        },
        results=("dx", "dweight", "dbias"),
    ),
    "mean_pool_backward": Exercise(
        pooled_gradients,
        mean_gradient,
        {
            "Each pixel contributes a quarter to the mean, so it gets a quarter of dy.": (
                lambda dy, H, W: 4 * mean_gradient(dy, H, W)
            ),
            "All four pixels of a window contribute to its mean, not only the first.": (
                at_the_first
            ),
            "np.tile repeats the whole map; repeat each value next to itself.": (
                lambda dy, H, W: np.tile(dy, (1, 2, 2, 1)) / 4
            ),
        },
    ),
}
