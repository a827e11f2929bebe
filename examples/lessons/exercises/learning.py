"""The exercises of lessons 4 to 7: loss, gradients, optimisers, training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from exercises.checking import Arguments, Exercise
from minicnn import SGD, Adam, reference

Array = NDArray[Any]

# ---------------------------------------------------------------- 4, softmax and cross-entropy


def logits(rng: Generator) -> Iterator[Arguments]:
    """Draw logits: small ones, large ones, and one row alone."""
    for N, K, scale in [(1, 3, 1.0), (4, 10, 2.0), (3, 5, 1000.0), (2, 10, 1e5)]:
        yield {"logits": scale * rng.standard_normal((N, K))}


def logits_and_labels(rng: Generator) -> Iterator[Arguments]:
    """Draw logits with labels."""
    for N, K in [(1, 3), (4, 10), (7, 5)]:
        yield {"logits": 2 * rng.standard_normal((N, K)), "labels": rng.integers(0, K, N)}


def naive_softmax(logits: Array) -> Array:
    """Return what the formula says, taken at its word."""
    powers = np.exp(logits)
    ratios: Array = powers / powers.sum(axis=1, keepdims=True)
    return ratios


def probabilities_less_ones(logits: Array, labels: Array) -> Array:
    """Return ``p - t``: N times the gradient of the mean."""
    ones = reference.one_hot(labels, logits.shape[1])
    _, cache = reference.softmax_cross_entropy(logits, ones)
    return reference.softmax_cross_entropy_backward(float(len(labels)), cache)


LOSS = {
    "softmax": Exercise(
        logits,
        lambda logits: reference.softmax(logits)[0],
        {
            "e^1000 is too large for a float: take the largest logit of each row off first.": (
                naive_softmax
            ),
            "Each row must sum to 1, not all rows together.": (
                lambda logits: np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            ),
            "The sum goes over the classes of one image (axis 1), not over the images.": (
                lambda logits: reference.softmax(logits.T)[0].T
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
            "The sign is wrong: the gradient points to where the loss rises.": (
                lambda logits, labels: -probabilities_less_ones(logits, labels) / len(labels)
            ),
            "At the label, 1 must be taken off.": (
                lambda logits, labels: reference.softmax(logits)[0] / len(labels)
            ),
            "Divide by the number of images, not of classes.": (
                lambda logits, labels: probabilities_less_ones(logits, labels) / logits.shape[1]
            ),
        },
    ),
}

# ---------------------------------------------------------------- 5, backpropagation


def dense_cases(rng: Generator) -> Iterator[Arguments]:
    """Draw what a dense layer sees: square weights first, where a missing .T goes unnoticed."""
    for N, inputs, outputs in [(3, 3, 3), (2, 4, 3), (5, 2, 6)]:
        yield {
            "dy": rng.standard_normal((N, outputs)),
            "x": rng.standard_normal((N, inputs)),
            "weight": rng.standard_normal((inputs, outputs)),
        }


def dense_gradients(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return dx, dweight and dbias, by the loops."""
    return reference.dense_backward(dy, (x, weight))


def pooled_gradients(rng: Generator) -> Iterator[Arguments]:
    """Draw gradients of 2×2 means, of images with a row or a column left over too."""
    for N, H, W, C in [(1, 4, 4, 1), (2, 6, 4, 3), (2, 5, 7, 2)]:
        yield {"dy": rng.standard_normal((N, H // 2, W // 2, C)), "H": H, "W": W}


def mean_gradient(dy: Array, H: int, W: int) -> Array:
    """Return dx of 2×2 mean pooling, by the loops."""
    N, _, _, C = dy.shape
    _, cache = reference.avg_pool2d(np.zeros((N, H, W, C)), 2)
    return reference.avg_pool2d_backward(dy, cache)


def at_the_first(dy: Array, H: int, W: int) -> Array:
    """Give all of a gradient to the first pixel of its window."""
    dx = np.zeros((len(dy), H, W, dy.shape[3]))
    dx[:, : 2 * dy.shape[1] : 2, : 2 * dy.shape[2] : 2] = dy
    return dx


BACKPROPAGATION = {
    "dense_backward": Exercise(
        dense_cases,
        dense_gradients,
        {
            "dbias: every image adds its part; a sum, no mean.": lambda dy, x, weight: (
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
            "dweight: a sum over the images, no mean.": lambda dy, x, weight: (
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
            "Each pixel is a quarter of the mean, and gets a quarter of dy.": (
                lambda dy, H, W: 4 * mean_gradient(dy, H, W)
            ),
            "All four pixels of a window have a part in its mean, not the first alone.": (
                at_the_first
            ),
            "np.tile lays the whole map out again; each number is to be repeated in its place.": (
                lambda dy, H, W: np.tile(dy, (1, 2, 2, 1)) / 4
            ),
        },
    ),
}

# ---------------------------------------------------------------- 6, optimisers


def momentum_cases(rng: Generator) -> Iterator[Arguments]:
    """Draw parameters, velocities and gradients."""
    for size, learning_rate, momentum in [(1, 0.1, 0.9), (5, 0.01, 0.5), (8, 0.3, 0.0)]:
        p, v, g = rng.standard_normal((3, size))
        yield {"p": p, "v": v, "g": g, "learning_rate": learning_rate, "momentum": momentum}


def momentum_of_library(
    p: Array, v: Array, g: Array, learning_rate: float, momentum: float
) -> tuple[Array, Array]:
    """Return the parameters and the velocity after a step of `minicnn.SGD`."""
    optimiser, p = SGD(learning_rate, momentum), p.copy()
    state = optimiser.state(p)
    state["v"][...] = v
    optimiser.step(p, g)
    return p, state["v"]


def adam_cases(rng: Generator) -> Iterator[Arguments]:
    """Draw parameters, moments and gradients, of the first step and of later ones."""
    for size, t in [(1, 1), (4, 2), (6, 30)]:
        p, m, g = rng.standard_normal((3, size))
        v = rng.random(size)
        first = t == 1
        yield {"p": p, "m": m * (not first), "v": v * (not first), "g": g, "t": t}


def adam_of_library(p: Array, m: Array, v: Array, g: Array, t: int) -> tuple[Array, Array, Array]:
    """Return the parameters and the moments after step t of `minicnn.Adam`."""
    optimiser, p = Adam(0.001), p.copy()
    state = optimiser.state(p)
    state["m"][...], state["v"][...], state["steps"][...] = m, v, t - 1
    optimiser.step(p, g)
    return p, state["m"], state["v"]


def adam_by_hand(
    p: Array, m: Array, v: Array, g: Array, t: int, *, square: bool = True, root: bool = True
) -> tuple[Array, Array, Array]:
    """Take a step of Adam, with or without two of its parts."""
    m = m + 0.1 * (g - m)
    v = 0.999 * v + 0.001 * (g * g if square else g)
    spread = v / (1 - 0.999**t)
    return p - 0.001 * m / (1 - 0.9**t) / ((np.sqrt(spread) if root else spread) + 1e-8), m, v


OPTIMISERS = {
    "momentum_step": Exercise(
        momentum_cases,
        momentum_of_library,
        {
            "The step is taken with the new velocity, not the old one.": (
                lambda p, v, g, learning_rate, momentum: (p - learning_rate * v, momentum * v + g)
            ),
            "The step goes against the velocity: minus.": (
                lambda p, v, g, learning_rate, momentum: (
                    p + learning_rate * (momentum * v + g),
                    momentum * v + g,
                )
            ),
            "The gradient is added whole, not (1 - momentum) of it.": (
                lambda p, v, g, learning_rate, momentum: (
                    p - learning_rate * (momentum * v + (1 - momentum) * g),
                    momentum * v + (1 - momentum) * g,
                )
            ),
        },
        results=("p", "v"),
    ),
    "adam_step": Exercise(
        adam_cases,
        adam_of_library,
        {
            "The moments begin at 0, which the first steps must correct: 1 - β^t.": (
                lambda p, m, v, g, t: adam_by_hand(p, m, v, g, t=10**9)
            ),
            "v is the mean of the squares of the gradients.": lambda p, m, v, g, t: adam_by_hand(
                p, m, v, g, t, square=False
            ),
            "The mean is divided by the square root of v.": lambda p, m, v, g, t: adam_by_hand(
                p, m, v, g, t, root=False
            ),
        },
        results=("p", "m", "v"),
    ),
}

# ---------------------------------------------------------------- 7, training


def shifts(rng: Generator) -> Iterator[Arguments]:
    """Draw images and how far they are to be moved, in all four directions."""
    for shape, down, right in [((1, 4, 4), 1, 0), ((2, 5, 4), 2, 1), ((3, 4, 6), -1, 2)]:
        yield {"images": rng.integers(1, 256, shape), "down": down, "right": right}
    yield {"images": rng.integers(1, 256, (2, 6, 5)), "down": -2, "right": -3}
    yield {"images": rng.integers(1, 256, (2, 3, 3)), "down": 0, "right": 0}


def moved(images: Array, down: int, right: int) -> Array:
    """Return images with each pixel moved; what comes from outside is 0."""
    _, H, W = images.shape
    y = np.zeros_like(images)
    for h in range(H):
        for w in range(W):
            if 0 <= h - down < H and 0 <= w - right < W:
                y[:, h, w] = images[:, h - down, w - right]
    return y


def courses(rng: Generator) -> Iterator[Arguments]:
    """Draw how the loss on the validation went, with ties and with comebacks."""
    yield {"val_losses": [0.9, 0.5, 0.6, 0.55, 0.6, 0.4], "patience": 2}
    yield {"val_losses": [0.9, 0.5, 0.6, 0.55, 0.4, 0.7], "patience": 3}
    yield {"val_losses": [0.5, 0.5, 0.5, 0.5, 0.5], "patience": 2}
    yield {"val_losses": [0.5, 0.4, 0.3], "patience": 1}
    for length in (6, 10, 15):
        losses = rng.integers(1, 20, length) / 10
        yield {"val_losses": losses.tolist(), "patience": int(rng.integers(1, 5))}


def stop(val_losses: list[float], patience: int) -> tuple[int, int]:
    """Return (best epoch, epochs done), both counted from 1, as `minicnn.fit` does."""
    best = done = 0
    while done < len(val_losses) and (not done or done - best < patience):
        done += 1
        if best == 0 or val_losses[done - 1] < val_losses[best - 1]:
            best = done
    return best, done


def stop_at_rises(val_losses: list[float], patience: int) -> tuple[int, int]:
    """Count epochs that are worse than the one before, instead of those since the best."""
    best, rises = 1, 0
    for epoch in range(2, len(val_losses) + 1):
        rises = rises + 1 if val_losses[epoch - 1] >= val_losses[epoch - 2] else 0
        if val_losses[epoch - 1] < val_losses[best - 1]:
            best = epoch
        if rises == patience:
            return best, epoch
    return best, len(val_losses)


TRAINING = {
    "shifted": Exercise(
        shifts,
        moved,
        {
            "np.roll brings back at one side what leaves at the other; 0 must come in.": (
                lambda images, down, right: np.roll(images, (down, right), axis=(1, 2))
            ),
            "It moves the other way: down and right are positive.": (
                lambda images, down, right: moved(images, -down, -right)
            ),
            "down is along axis 1, right along axis 2: they are exchanged.": (
                lambda images, down, right: moved(images, right, down)
            ),
        },
    ),
    "stopping": Exercise(
        courses,
        stop,
        {
            "The epochs since the best one count, not those that were worse than the last.": (
                stop_at_rises
            ),
            "That is one epoch too long.": lambda val_losses, patience: stop(
                val_losses, patience + 1
            ),
            "The best epoch is wanted, not the last.": lambda val_losses, patience: (
                stop(val_losses, patience)[1],
                stop(val_losses, patience)[1],
            ),
            "Epochs are counted from 1.": lambda val_losses, patience: (
                stop(val_losses, patience)[0] - 1,
                stop(val_losses, patience)[1],
            ),
            "The training is over when it is stopped: later epochs never happen.": (
                lambda val_losses, patience: (
                    int(np.argmin(val_losses)) + 1,
                    stop(val_losses, patience)[1],
                )
            ),
        },
        results=("best", "done"),
    ),
}
