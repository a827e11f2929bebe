"""Define the exercises of lessons 1 to 3: windows, convolution, pooling."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from exercises.checking import Arguments, Exercise
from minicnn import ops, reference
from minicnn.kernels import im2col
from minicnn.shapes.window import make_window, output_size

Array = NDArray[Any]


def whole(rng: Generator, *shape: int, low: int = -9) -> Array:
    """Draw integers from `low` to 9 as float64; their sums are exact."""
    return rng.integers(low, 10, shape).astype(np.float64)


# ---------------------------------------------------------------- 1, pixels and patches


def sizes(rng: Generator) -> Iterator[Arguments]:
    """Draw sizes: an image, a kernel, strides and paddings."""
    yield {"H": 28, "KH": 3, "S": 1, "P": 0}
    yield {"H": 28, "KH": 2, "S": 2, "P": 0}
    yield {"H": 8, "KH": 5, "S": 1, "P": 2}
    for _ in range(20):
        H, KH, S, P = rng.integers((5, 1, 1, 0), (40, 6, 4, 3))
        yield {"H": int(H), "KH": int(KH), "S": int(S), "P": int(P)}


def gathered(x: Array, KH: int, KW: int, S: int, P: int) -> Array:
    """Return the library's patches (N, OH, OW, KH, KW, C)."""
    N, H, W, C = x.shape
    window = make_window("patches", (H, W), (KH, KW), S, P)
    patches = np.empty((N, window.OH, window.OW, KH, KW, C), x.dtype)
    im2col.im2col(x, window, patches)
    return patches


def windows(rng: Generator) -> Iterator[Arguments]:
    """Draw images with the index of a window."""
    for H, W, KH, KW, S, P in [(6, 6, 3, 3, 1, 0), (7, 5, 3, 2, 2, 0), (6, 8, 3, 3, 2, 1)]:
        OH, OW = (H + 2 * P - KH) // S + 1, (W + 2 * P - KW) // S + 1
        for oh, ow in [(0, 1), (1, 0), (OH - 1, OW - 1), (OH // 2, OW // 2)]:
            image = whole(rng, H, W, low=1)
            yield {"image": image, "oh": oh, "ow": ow, "KH": KH, "KW": KW, "S": S, "P": P}


def one_patch(image: Array, oh: int, ow: int, KH: int, KW: int, S: int, P: int) -> Array:
    """Return one patch of an image (H, W)."""
    patch: Array = gathered(image[None, :, :, None], KH, KW, S, P)[0, oh, ow, :, :, 0]
    return patch


PIXELS = {
    "output_size": Exercise(
        sizes,
        lambda H, KH, S, P: output_size(H, KH, S, P, P),
        {
            "The first window counts too: + 1.": lambda H, KH, S, P: (H + 2 * P - KH) // S,
            "Padding is on both sides: 2 P.": lambda H, KH, S, P: (H + P - KH) // S + 1,
            "A window that extends past the edge does not count: round down.": (
                lambda H, KH, S, P: -((KH - H - 2 * P) // S) + 1
            ),
        },
    ),
    "patch": Exercise(
        windows,
        one_patch,
        {
            "Each step is S pixels: the window begins at oh · S.": (
                lambda image, oh, ow, KH, KW, S, P: np.pad(image, P)[oh : oh + KH, ow : ow + KW]
            ),
            "Pad first: the window begins P pixels higher and further left.": (
                lambda image, oh, ow, KH, KW, S, P: np.pad(image, ((0, 9), (0, 9)))[
                    oh * S : oh * S + KH, ow * S : ow * S + KW
                ]
            ),
            "Rows come first: oh counts downwards, ow to the right.": (
                lambda image, oh, ow, KH, KW, S, P: one_patch(image, ow, oh, KH, KW, S, P)
            ),
        },
    ),
}

# ---------------------------------------------------------------- 2, convolution three ways


def outputs(rng: Generator) -> Iterator[Arguments]:
    """Draw images, weights and the index of one output."""
    for N, H, W, C, KH, KW, F in [
        (1, 5, 5, 1, 3, 3, 1),
        (2, 6, 5, 3, 2, 3, 4),
        (3, 4, 7, 2, 3, 1, 5),
    ]:
        for _ in range(3):
            n, oh, ow, f = rng.integers((N, H - KH + 1, W - KW + 1, F))
            yield {
                "x": whole(rng, N, H, W, C),
                "weight": whole(rng, KH, KW, C, F),
                "bias": whole(rng, F),
                "n": int(n),
                "oh": int(oh),
                "ow": int(ow),
                "f": int(f),
            }


def one_output(x: Array, weight: Array, bias: Array, n: int, oh: int, ow: int, f: int) -> Any:
    """Return one output of the reference convolution."""
    return reference.conv.conv2d(x, weight, bias)[0][n, oh, ow, f]


def images(rng: Generator) -> Iterator[Arguments]:
    """Draw images and the sizes of a window."""
    for shape, KH, KW in [((1, 4, 4, 1), 3, 3), ((2, 5, 6, 3), 2, 3), ((3, 6, 4, 2), 3, 1)]:
        yield {"x": whole(rng, *shape), "KH": KH, "KW": KW}


def patch_rows(x: Array, KH: int, KW: int) -> Array:
    """Return the library's im2col matrix."""
    return gathered(x, KH, KW, 1, 0).reshape(-1, KH * KW * x.shape[3])


CONVOLUTION = {
    "one_number": Exercise(
        outputs,
        one_output,
        {
            "The bias of the filter is missing.": lambda bias, **rest: one_output(
                bias=0 * bias, **rest
            ),
            "Do not flip the kernel: kh and kw have the same direction in image and kernel.": (
                lambda weight, **rest: one_output(weight=weight[::-1, ::-1], **rest)
            ),
            "Use only filter f: weight[:, :, :, f].": (
                lambda bias, **rest: (
                    bias[rest["f"]]
                    + sum(
                        one_output(bias=0 * bias, **{**rest, "f": f})
                        for f in range(rest["weight"].shape[3])
                    )
                )
            ),
            "Sum over all channels, not only the first.": (
                lambda x, weight, **rest: one_output(
                    x[:, :, :, :1], np.ascontiguousarray(weight[:, :, :1]), **rest
                )
            ),
        },
    ),
    "im2col": Exercise(
        images,
        patch_rows,
        {
            "Each patch is a row, not a column.": lambda x, KH, KW: patch_rows(x, KH, KW).T,
            "The windows are in row order: ow runs faster than oh.": (
                lambda x, KH, KW: (
                    gathered(x, KH, KW, 1, 0).swapaxes(1, 2).reshape(-1, KH * KW * x.shape[3])
                )
            ),
            "Within a row, the channels of one pixel are neighbors: c runs fastest.": (
                lambda x, KH, KW: np.moveaxis(gathered(x, KH, KW, 1, 0), 5, 3).reshape(
                    -1, KH * KW * x.shape[3]
                )
            ),
        },
    ),
}

# ---------------------------------------------------------------- 3, pooling and ReLU


def maps(rng: Generator) -> Iterator[Arguments]:
    """Draw feature maps, also negative ones, and pool sizes."""
    for shape, size in [((1, 4, 4, 1), 2), ((2, 6, 4, 3), 2), ((2, 7, 5, 2), 2), ((1, 8, 9, 2), 3)]:
        yield {"x": whole(rng, *shape), "size": size}
        yield {"x": whole(rng, *shape) - 20, "size": size}


def maps_with_ties(rng: Generator) -> Iterator[Arguments]:
    """Draw feature maps with frequent ties."""
    for shape in [(1, 4, 4, 1), (2, 6, 4, 3), (3, 4, 8, 2)]:
        yield {"x": rng.integers(-2, 3, shape).astype(np.float64)}


def squares(x: Array) -> Array:
    """Return the pixels of each 2×2 window: (N, OH, OW, C, 4)."""
    N, H, W, C = x.shape
    windows = x.reshape(N, H // 2, 2, W // 2, 2, C)
    return windows.transpose(0, 1, 3, 5, 2, 4).reshape(N, H // 2, W // 2, C, 4)


def first_argmax(x: Array) -> Array:
    """Return the argmax of each 2×2 window of the reference."""
    _, (_, argmax, _) = reference.pooling.max_pool2d(x, 2)
    found: Array = argmax[..., 0] % 2 * 2 + argmax[..., 1] % 2
    return found


def sliding_max(x: Array, size: int) -> Array:
    """Return the maximum of overlapping windows."""
    return ops.max_pool2d(x, size, 1)[0]


POOLING = {
    "max_pool": Exercise(
        maps,
        lambda x, size: reference.pooling.max_pool2d(x, size)[0],
        {
            "A maximum that starts at 0 is wrong if all numbers are negative.": (
                lambda x, size: np.maximum(reference.pooling.max_pool2d(x, size)[0], 0)
            ),
            "The windows must not overlap: move each by its own size.": sliding_max,
            "Return the maximum, not the mean.": (
                lambda x, size: reference.pooling.avg_pool2d(x, size)[0]
            ),
            "Take the maximum of each channel separately.": (
                lambda x, size: reference.pooling.max_pool2d(x, size)[0].max(axis=3)
            ),
        },
    ),
    "pool_argmax": Exercise(
        maps_with_ties,
        first_argmax,
        {
            "If values are equal, the first one is the argmax.": (
                lambda x: 3 - squares(x)[..., ::-1].argmax(axis=-1)
            ),
            "Row order: 1 is the pixel to the right of 0, 2 the one below.": (
                lambda x: squares(x)[..., [0, 2, 1, 3]].argmax(axis=-1)
            ),
            "Take the maximum, not the minimum.": lambda x: squares(x).argmin(axis=-1),
        },
    ),
}
