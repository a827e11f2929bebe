"""Solve the sixteen exercises of the lessons; try them yourself first.

A test runs the checker on each. Every exercise has other correct solutions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# ---------------------------------------------------------------- 1, pixels and patches


def output_size(H: int, KH: int, S: int, P: int) -> int:
    """Count the windows along an axis: the first, and one per whole step."""
    return (H + 2 * P - KH) // S + 1


def patch(image: Array, oh: int, ow: int, KH: int, KW: int, S: int, P: int) -> Array:
    """Return window (oh, ow) of the padded image."""
    padded = np.pad(image, P)
    return padded[oh * S : oh * S + KH, ow * S : ow * S + KW]


# ---------------------------------------------------------------- 2, convolution three ways


def one_number(x: Array, weight: Array, bias: Array, n: int, oh: int, ow: int, f: int) -> float:
    """Sum the products of a window with one filter, and add the bias."""
    KH, KW, _, _ = weight.shape
    window = x[n, oh : oh + KH, ow : ow + KW, :]
    return float((window * weight[:, :, :, f]).sum() + bias[f])


def im2col(x: Array, KH: int, KW: int) -> Array:
    """Write each window as a row: (N·OH·OW, KH·KW·C)."""
    N, H, W, _ = x.shape
    return np.array(
        [
            x[n, oh : oh + KH, ow : ow + KW, :].ravel()
            for n in range(N)
            for oh in range(H - KH + 1)
            for ow in range(W - KW + 1)
        ]
    )


# ---------------------------------------------------------------- 3, pooling and ReLU


def max_pool(x: Array, size: int) -> Array:
    """Return the maximum of each whole size × size window."""
    N, H, W, C = x.shape
    OH, OW = H // size, W // size
    windows = x[:, : OH * size, : OW * size].reshape(N, OH, size, OW, size, C)
    highest: Array = windows.max(axis=(2, 4))
    return highest


def pool_argmax(x: Array) -> Array:
    """Return the index of the first maximum of each 2×2 window."""
    four = [x[:, kh::2, kw::2] for kh in (0, 1) for kw in (0, 1)]  # in row order
    found: Array = np.argmax(four, axis=0)
    return found


# ---------------------------------------------------------------- 4, softmax and cross-entropy


def softmax(logits: Array) -> Array:
    """Return the probabilities of each row; no power exceeds e^0."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def dlogits(logits: Array, labels: Array) -> Array:
    """Return the gradient of the mean cross-entropy: (p - t) / N."""
    N = len(labels)
    differences = softmax(logits)
    differences[np.arange(N), labels] -= 1
    return differences / N


# ---------------------------------------------------------------- 5, backpropagation by hand


def dense_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return dx, dweight and dbias of y = x · weight + bias."""
    return dy @ weight.T, x.T @ dy, dy.sum(axis=0)


def mean_pool_backward(dy: Array, H: int, W: int) -> Array:
    """Return a quarter of each gradient for the four pixels of its window."""
    N, OH, OW, C = dy.shape
    dx = np.zeros((N, H, W, C))
    dx[:, : 2 * OH, : 2 * OW] = dy.repeat(2, axis=1).repeat(2, axis=2) / 4
    return dx


# ---------------------------------------------------------------- 6, optimizers


def momentum_step(
    p: Array, v: Array, g: Array, learning_rate: float, momentum: float
) -> tuple[Array, Array]:
    """Add the gradient to the velocity and step against it."""
    v = momentum * v + g
    return p - learning_rate * v, v


def adam_step(p: Array, m: Array, v: Array, g: Array, t: int) -> tuple[Array, Array, Array]:
    """Step by the mean gradient over the root of the mean square."""
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    m_corrected = m / (1 - 0.9**t)
    v_corrected = v / (1 - 0.999**t)
    return p - 0.001 * m_corrected / (np.sqrt(v_corrected) + 1e-8), m, v


# ---------------------------------------------------------------- 7, training


def shifted(images: Array, down: int, right: int) -> Array:
    """Shift images and fill with 0."""
    _, H, W = images.shape
    padded = np.pad(images, ((0, 0), (H, H), (W, W)))
    return padded[:, H - down : 2 * H - down, W - right : 2 * W - right]


def stopping(val_losses: list[float], patience: int) -> tuple[int, int]:
    """Return the best epoch and the number of epochs trained."""
    best = 1
    for epoch, loss in enumerate(val_losses, start=1):
        if loss < val_losses[best - 1]:
            best = epoch
        if epoch - best == patience:
            return best, epoch
    return best, len(val_losses)


# ---------------------------------------------------------------- 8, why fast kernels are fast


def gflops(N: int, OH: int, OW: int, KH: int, KW: int, C: int, F: int, seconds: float) -> float:
    """Count two operations per multiply-add."""
    macs = N * OH * OW * F * KH * KW * C
    return 2 * macs / seconds / 1e9


def winograd(d: Any, g: Any) -> list[Any]:
    """Compute two outputs of a 3-tap filter with four multiplications."""
    m1 = (d[0] - d[2]) * g[0]
    m2 = (d[1] + d[2]) * ((g[0] + g[1] + g[2]) / 2)
    m3 = (d[2] - d[1]) * ((g[0] - g[1] + g[2]) / 2)
    m4 = (d[1] - d[3]) * g[2]
    return [m1 + m2 + m3, m2 - m3 - m4]
