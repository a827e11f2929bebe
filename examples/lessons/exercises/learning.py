"""Define the exercises of lessons 6 and 7: optimizers, and training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from exercises.checking import Arguments, Exercise
from minicnn import SGD, Adam

Array = NDArray[Any]

# ---------------------------------------------------------------- 6, optimizers


def momentum_cases(rng: Generator) -> Iterator[Arguments]:
    """Draw parameters, velocities and gradients."""
    for size, learning_rate, momentum in [(1, 0.1, 0.9), (5, 0.01, 0.5), (8, 0.3, 0.0)]:
        p, v, g = rng.standard_normal((3, size))
        yield {"p": p, "v": v, "g": g, "learning_rate": learning_rate, "momentum": momentum}


def momentum_of_library(
    p: Array, v: Array, g: Array, learning_rate: float, momentum: float
) -> tuple[Array, Array]:
    """Return the parameters and the velocity after a step of `minicnn.SGD`."""
    optimizer, p = SGD(learning_rate, momentum), p.copy()
    state = optimizer.state_dict(p)
    state["v"][...] = v
    optimizer.step(p, g)
    return p, state["v"]


def adam_cases(rng: Generator) -> Iterator[Arguments]:
    """Draw parameters, moments and gradients of early and late steps."""
    for size, t in [(1, 1), (4, 2), (6, 30)]:
        p, m, g = rng.standard_normal((3, size))
        v = rng.random(size)
        first = t == 1
        yield {"p": p, "m": m * (not first), "v": v * (not first), "g": g, "t": t}


def adam_of_library(p: Array, m: Array, v: Array, g: Array, t: int) -> tuple[Array, Array, Array]:
    """Return the parameters and the moments after step t of `minicnn.Adam`."""
    optimizer, p = Adam(0.001), p.copy()
    state = optimizer.state_dict(p)
    state["m"][...], state["v"][...], state["steps"][...] = m, v, t - 1
    optimizer.step(p, g)
    return p, state["m"], state["v"]


def adam_by_hand(
    p: Array, m: Array, v: Array, g: Array, t: int, *, square: bool = True, root: bool = True
) -> tuple[Array, Array, Array]:
    """Take a step of Adam, optionally without square or root."""
    m = m + 0.1 * (g - m)
    v = 0.999 * v + 0.001 * (g * g if square else g)
    v_hat = v / (1 - 0.999**t)
    return p - 0.001 * m / (1 - 0.9**t) / ((np.sqrt(v_hat) if root else v_hat) + 1e-8), m, v


OPTIMIZERS = {
    "momentum_step": Exercise(
        momentum_cases,
        momentum_of_library,
        {
            "The step is taken with the new velocity, not the old one.": (
                lambda p, v, g, learning_rate, momentum: (p - learning_rate * v, momentum * v + g)
            ),
            "The step goes against the velocity: subtract.": (
                lambda p, v, g, learning_rate, momentum: (
                    p + learning_rate * (momentum * v + g),
                    momentum * v + g,
                )
            ),
            "Add the whole gradient, not (1 - momentum) of it.": (
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
            "The moments begin at 0 and are too small: divide them by 1 - β^t.": (
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
    """Draw images and shifts in all four directions."""
    for shape, down, right in [((1, 4, 4), 1, 0), ((2, 5, 4), 2, 1), ((3, 4, 6), -1, 2)]:
        yield {"images": rng.integers(1, 256, shape), "down": down, "right": right}
    yield {"images": rng.integers(1, 256, (2, 6, 5)), "down": -2, "right": -3}
    yield {"images": rng.integers(1, 256, (2, 3, 3)), "down": 0, "right": 0}


def moved(images: Array, down: int, right: int) -> Array:
    """Return shifted images, filled with 0."""
    _, H, W = images.shape
    y = np.zeros_like(images)
    for h in range(H):
        for w in range(W):
            if 0 <= h - down < H and 0 <= w - right < W:
                y[:, h, w] = images[:, h - down, w - right]
    return y


def courses(rng: Generator) -> Iterator[Arguments]:
    """Draw validation losses with ties and late improvements."""
    yield {"val_losses": [0.9, 0.5, 0.6, 0.55, 0.6, 0.4], "patience": 2}
    yield {"val_losses": [0.9, 0.5, 0.6, 0.55, 0.4, 0.7], "patience": 3}
    yield {"val_losses": [0.5, 0.5, 0.5, 0.5, 0.5], "patience": 2}
    yield {"val_losses": [0.5, 0.4, 0.3], "patience": 1}
    for length in (6, 10, 15):
        losses = rng.integers(1, 20, length) / 10
        yield {"val_losses": losses.tolist(), "patience": int(rng.integers(1, 5))}


def stop(val_losses: list[float], patience: int) -> tuple[int, int]:
    """Return (best epoch, epochs trained) as `minicnn.fit` does."""
    best = done = 0
    while done < len(val_losses) and (not done or done - best < patience):
        done += 1
        if best == 0 or val_losses[done - 1] < val_losses[best - 1]:
            best = done
    return best, done


def stop_at_rises(val_losses: list[float], patience: int) -> tuple[int, int]:
    """Count consecutive rises instead of epochs since the best."""
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
            "np.roll wraps around; fill with 0 instead.": (
                lambda images, down, right: np.roll(images, (down, right), axis=(1, 2))
            ),
            "The direction is wrong: down and right are positive.": (
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
            "Count the epochs since the best one, not consecutive rises.": (stop_at_rises),
            "This stops one epoch too late.": lambda val_losses, patience: stop(
                val_losses, patience + 1
            ),
            "Return the best epoch, not the last.": lambda val_losses, patience: (
                stop(val_losses, patience)[1],
                stop(val_losses, patience)[1],
            ),
            "Epochs are counted from 1.": lambda val_losses, patience: (
                stop(val_losses, patience)[0] - 1,
                stop(val_losses, patience)[1],
            ),
            "Epochs after the stop never happen: ignore their losses.": (
                lambda val_losses, patience: (
                    int(np.argmin(val_losses)) + 1,
                    stop(val_losses, patience)[1],
                )
            ),
        },
        results=("best", "done"),
    ),
}
