"""ReLU and its way back, each in one pass over numbers that lie in a row."""

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.vectors import (
    beats,
    exceeds,
    fill,
    load,
    load_first,
    load_mask,
    select,
    store,
    store_first,
    store_mask,
)

# Of a vector. The way from memory is what takes the time; a few registers' worth at once leave
# little of a loop around it, and give the bits of a mask a whole number of bytes.
RELU_LANES = 32

Array = NDArray[np.float32]
Bits = NDArray[np.uint8]


@kernel
def relu_forward(x: Array, y: Array, positive: Bits) -> None:
    """Compute ``y[i] = max(x[i], 0)`` and remember where x was above 0.

    `i` runs over N·H·W·C. NaN stays NaN, and is not above 0.

    Parameters
    ----------
    x : ndarray (size,)
    y : ndarray (size,)
        Overwritten.
    positive : ndarray of uint8
        Overwritten: bit ``i % 8`` of byte ``i // 8`` says whether ``x[i] > 0``. As many bytes as
        whole vectors take.
    """
    size = x.size
    zeros = fill(x, 0, RELU_LANES)
    for i in range(0, size, RELU_LANES):
        left = size - i
        if left >= RELU_LANES:
            a = load(x, i, RELU_LANES)
            store(y, i, select(beats(a, zeros), a, zeros))
        else:
            a = load_first(x, i, left, RELU_LANES)
            store_first(y, i, select(beats(a, zeros), a, zeros), left)
        store_mask(positive, i // 8, exceeds(a, zeros))


@kernel
def relu_backward(dy: Array, positive: Bits, dx: Array) -> None:
    """Compute ``dx[i] = dy[i]`` where x was above 0, else 0.

    `i` runs over N·H·W·C.

    Parameters
    ----------
    dy : ndarray (size,)
    positive : ndarray of uint8
        From `relu_forward`.
    dx : ndarray (size,)
        Overwritten.
    """
    size = dy.size
    zeros = fill(dy, 0, RELU_LANES)
    for i in range(0, size, RELU_LANES):
        left = size - i
        mask = load_mask(positive, i // 8, RELU_LANES)
        if left >= RELU_LANES:
            store(dx, i, select(mask, load(dy, i, RELU_LANES), zeros))
        else:
            store_first(dx, i, select(mask, load_first(dy, i, left, RELU_LANES), zeros), left)
