"""The transforms of Winograd's F(2×2, 3×3), and its sixteen matrix products.

With

    Bᵀ = ⎡1  0 -1  0⎤    G = ⎡ 1   0   0 ⎤    Aᵀ = ⎡1  1  1  0⎤
         ⎢0  1  1  0⎥        ⎢ ½   ½   ½ ⎥         ⎣0  1 -1 -1⎦
         ⎢0 -1  1  0⎥        ⎢ ½  -½   ½ ⎥
         ⎣0  1  0 -1⎦        ⎣ 0   0   1 ⎦

- input transform ``Bᵀ x B``: a 4×4 tile of the image to 16 values, transposed ``B m Bᵀ``;
- weight transform ``G w Gᵀ``: a 3×3 kernel to 16 values, transposed ``Gᵀ u G``;
- output transform ``Aᵀ m A``: 16 values to 2×2 outputs, transposed ``A dy Aᵀ``.

The transposes are the backward pass. Channels are taken in panels of NR; the remaining ones in
panels of `NR_SMALL`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.jit import device_function, inline_function, kernel
from minicnn.kernels.simd import add, fma, load, splat, store, subtract
from minicnn.kernels.six import load_six, multiply_rows, six_from, six_sums, six_times, store_six
from minicnn.kernels.target import NR_SMALL
from minicnn.kernels.tiles import Four, load_tail, store_tail

Array = NDArray[np.float32]
Vector = Any


@device_function
def input_transform_1d(d0: Vector, d1: Vector, d2: Vector, d3: Vector) -> Four:
    """Return ``Bᵀ d``."""
    return subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3)


@device_function
def transform_input(x: Array, TH: int, TW: int, first: int, count: int, transformed: Array) -> None:
    """Compute ``transformed[:, t] = Bᵀ x B`` of the tiles from `first` on, counted over all images.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
    TH, TW : int
        Rows and columns of tiles; tile (th, tw) begins at pixel (2·th, 2·tw).
    first, count : int
    transformed : ndarray (16, B, C)
        Overwritten.
    """
    _, H, W, C = x.shape
    _, B, _ = transformed.shape
    row, plane = W * C, B * C
    whole: Any = np.int64(NR_SMALL)  # as a mere constant it would compile the pieces a second time
    for t in range(count):
        n, place = divmod(first + t, TH * TW)
        th, tw = divmod(place, TW)
        corner = n * H * row + 2 * th * row + 2 * tw * C
        for c in range(0, C, NR_SMALL):
            i, o = corner + c, t * C + c
            if C - c >= NR_SMALL:  # a constant instead of what is left: no masks
                _transform(x, i, row, C, whole, transformed, o, plane)
            else:
                _transform(x, i, row, C, C - c, transformed, o, plane)


@device_function
def _transform(
    x: Array, i: int, row: int, C: int, left: int, transformed: Array, o: int, plane: int
) -> None:
    """Write the 16 elements of a tile, one row after another, for the first `left` channels."""
    a0, a1, a2, a3 = _load_row(x, i, C, left)
    b0, b1, b2, b3 = _load_row(x, i + row, C, left)
    d0, d1, d2, d3 = _load_row(x, i + 2 * row, C, left)
    e0, e1, e2, e3 = _load_row(x, i + 3 * row, C, left)
    a0, b0, d0, e0 = input_transform_1d(a0, b0, d0, e0)  # down each column
    a1, b1, d1, e1 = input_transform_1d(a1, b1, d1, e1)
    a2, b2, d2, e2 = input_transform_1d(a2, b2, d2, e2)
    a3, b3, d3, e3 = input_transform_1d(a3, b3, d3, e3)
    _store_row(input_transform_1d(a0, a1, a2, a3), left, transformed, o, plane)
    _store_row(input_transform_1d(b0, b1, b2, b3), left, transformed, o + 4 * plane, plane)
    _store_row(input_transform_1d(d0, d1, d2, d3), left, transformed, o + 8 * plane, plane)
    _store_row(input_transform_1d(e0, e1, e2, e3), left, transformed, o + 12 * plane, plane)


@device_function
def _load_row(x: Array, i: int, C: int, left: int) -> Four:
    return (
        load_tail(x, i, left),
        load_tail(x, i + C, left),
        load_tail(x, i + 2 * C, left),
        load_tail(x, i + 3 * C, left),
    )


@device_function
def _store_row(four: Four, left: int, out: Array, o: int, plane: int) -> None:
    store_tail(out, o, four[0], left)
    store_tail(out, o + plane, four[1], left)
    store_tail(out, o + 2 * plane, four[2], left)
    store_tail(out, o + 3 * plane, four[3], left)


@device_function
def output_transform_1d(m: Array, i: int, step: int) -> tuple[Vector, Vector]:
    """Return ``Aᵀ m`` of the four numbers from `i` on."""
    m0, m1 = load(m, i, NR_SMALL), load(m, i + step, NR_SMALL)
    m2, m3 = load(m, i + 2 * step, NR_SMALL), load(m, i + 3 * step, NR_SMALL)
    return add(m0, add(m1, m2)), subtract(subtract(m1, m2), m3)


@device_function
def output_transform(products: Array, i: int, plane: int, bias: Vector) -> Four:
    """Return the four outputs of a tile, in row order: ``Aᵀ m A + bias``."""
    a0, a1 = output_transform_1d(products, i, plane)  # the first row of m A
    b0, b1 = output_transform_1d(products, i + 4 * plane, plane)
    d0, d1 = output_transform_1d(products, i + 8 * plane, plane)
    e0, e1 = output_transform_1d(products, i + 12 * plane, plane)
    return (
        add(add(a0, add(b0, d0)), bias),
        add(add(a1, add(b1, d1)), bias),
        add(subtract(subtract(b0, d0), e0), bias),
        add(subtract(subtract(b1, d1), e1), bias),
    )


@inline_function
def batched_gemm(tiles: Array, weight: Array, count: int, products: Array, lanes: int) -> None:
    """Compute ``products[e, t, f] = Σ_c tiles[e, t, c] · weight[e, c, f]`` for all 16 elements e.

    The loop nest is e, block of f, t, c: six tiles and a block of channels are a tile of the
    product.

    Parameters
    ----------
    tiles : ndarray (16, B, C)
    weight : ndarray (16, C·Fp + NARROW)
        Of each element one block of channels after another, (C, channels of the block).
    count : int
        Tiles that are in use, at most B.
    products : ndarray (16, B, Fp)
        Overwritten.
    lanes : int
        A constant.
    """
    _, B, C = tiles.shape
    Fp = products.shape[2]
    whole = Fp - Fp % lanes
    for e in range(16):
        i, j, w = e * B * C, e * B * Fp, e * weight.shape[1]
        for f in range(0, whole, lanes):
            multiply_rows(tiles, i, C, count, weight, w + f * C, products, j + f, Fp, lanes)
        for f in range(whole, Fp, NR_SMALL):
            multiply_rows(tiles, i, C, count, weight, w + f * C, products, j + f, Fp, NR_SMALL)


@inline_function
def batched_gemm_tn(
    images: Array, gradients: Array, count: int, dweight: Array, lanes: int
) -> None:
    """Add ``dweight[e, c, f] += Σ_t images[e, t, c] · gradients[e, t, f]`` for all 16 elements e.

    Parameters
    ----------
    images : ndarray (16, B, C)
    gradients : ndarray (16, B, Fp)
    count : int
        Tiles that are in use, at most B.
    dweight : ndarray (16, C + 1, Fp)
        Updated.
    lanes : int
        A constant.
    """
    C, Fp = images.shape[2], gradients.shape[2]
    whole = Fp - Fp % lanes
    for e in range(16):
        for c in range(0, C, 6):
            for f in range(0, whole, lanes):
                _gemm_tn_block(images, gradients, e, c, f, count, dweight, lanes)
            for f in range(whole, Fp, NR_SMALL):
                _gemm_tn_block(images, gradients, e, c, f, count, dweight, NR_SMALL)


@inline_function
def _gemm_tn_block(
    images: Array,
    gradients: Array,
    e: int,
    c: int,
    f: int,
    count: int,
    dweight: Array,
    lanes: int,
) -> None:
    _, B, C = images.shape
    Fp = gradients.shape[2]
    six = six_from(c, C)
    places = six_times(six, Fp, e * dweight.shape[1] * Fp)
    sums = load_six(dweight, places, f, lanes, lanes)
    numbers, first = six_times(six, 1, e * B * C), e * B * Fp + f
    sums = six_sums(images, numbers, count, C, gradients, first, Fp, sums, lanes)
    store_six(dweight, places, f, lanes, sums, lanes)


@kernel
def transform_weight(weight: Array, lanes: int, transformed: Array) -> None:
    """Compute ``G w Gᵀ`` for each pair of channels.

    Parameters
    ----------
    weight : ndarray (3, 3, C, F)
    lanes : int
        Channels of a block.
    transformed : ndarray (16, C·Fp + NARROW)
        Overwritten, but for the last numbers of each element: blocks of channels as
        `batched_gemm` takes them, filled up with zeros.
    """
    _, _, C, F = weight.shape
    plane = transformed.shape[1]  # from one of the sixteen to the next
    Fp = (plane - NR_SMALL) // C
    s = C * F  # from one of the nine weights to the next
    for c in range(C):
        for f in range(0, Fp, NR_SMALL):
            i, left = c * F + f, max(0, F - f)
            a = _filter(weight, i, 3 * s, left)  # the first column, (4,)
            b = _filter(weight, i + s, 3 * s, left)
            d = _filter(weight, i + 2 * s, 3 * s, left)
            block = lanes if f < Fp - Fp % lanes else NR_SMALL
            place = (f - f % block) * C + c * block + f % block
            _store_filtered(transformed, place, plane, a[0], b[0], d[0])
            _store_filtered(transformed, place + 4 * plane, plane, a[1], b[1], d[1])
            _store_filtered(transformed, place + 8 * plane, plane, a[2], b[2], d[2])
            _store_filtered(transformed, place + 12 * plane, plane, a[3], b[3], d[3])


@device_function
def _filter(weight: Array, i: int, step: int, left: int) -> Four:
    """Return ``G w`` of the three weights from `i` on."""
    w0 = load_tail(weight, i, left)
    w1 = load_tail(weight, i + step, left)
    w2 = load_tail(weight, i + 2 * step, left)
    return _filtered(weight, w0, w1, w2)


@device_function
def _filtered(like: Array, w0: Vector, w1: Vector, w2: Vector) -> Four:
    half, minus_half = splat(like, 0.5, NR_SMALL), splat(like, -0.5, NR_SMALL)
    middle = fma(half, add(w0, w2), splat(like, 0, NR_SMALL))
    return w0, fma(half, w1, middle), fma(minus_half, w1, middle), w2


@device_function
def _store_filtered(out: Array, i: int, step: int, w0: Vector, w1: Vector, w2: Vector) -> None:
    u0, u1, u2, u3 = _filtered(out, w0, w1, w2)
    store(out, i, u0)
    store(out, i + step, u1)
    store(out, i + 2 * step, u2)
    store(out, i + 3 * step, u3)


@kernel
def transform_weight_backward(dtransformed: Array, dweight: Array) -> None:
    """Compute ``Gᵀ du G`` for each pair of channels: the adjoint of `transform_weight`.

    Parameters
    ----------
    dtransformed : ndarray (16, C + 1, Fp)
    dweight : ndarray (3, 3, C, F)
        Overwritten.
    """
    _, rows, Fp = dtransformed.shape
    _, _, C, F = dweight.shape
    plane, s = rows * Fp, C * F
    for c in range(C):
        for f in range(0, F, NR_SMALL):
            i = c * Fp + f
            a = _gather(dtransformed, i, 4 * plane)  # Gᵀ of the first column, (3,)
            b = _gather(dtransformed, i + plane, 4 * plane)
            d = _gather(dtransformed, i + 2 * plane, 4 * plane)
            e = _gather(dtransformed, i + 3 * plane, 4 * plane)
            place = c * F + f
            _store_gathered(dweight, place, s, F - f, a[0], b[0], d[0], e[0])
            _store_gathered(dweight, place + 3 * s, s, F - f, a[1], b[1], d[1], e[1])
            _store_gathered(dweight, place + 6 * s, s, F - f, a[2], b[2], d[2], e[2])


@device_function
def _gather(array: Array, i: int, step: int) -> tuple[Vector, Vector, Vector]:
    """Return ``Gᵀ u`` of the four numbers from `i` on."""
    u0, u1 = load(array, i, NR_SMALL), load(array, i + step, NR_SMALL)
    u2, u3 = load(array, i + 2 * step, NR_SMALL), load(array, i + 3 * step, NR_SMALL)
    return _gathered(array, u0, u1, u2, u3)


@device_function
def _gathered(
    like: Array, u0: Vector, u1: Vector, u2: Vector, u3: Vector
) -> tuple[Vector, Vector, Vector]:
    half, zero = splat(like, 0.5, NR_SMALL), splat(like, 0, NR_SMALL)
    both = fma(half, add(u1, u2), zero)
    return add(u0, both), fma(half, subtract(u1, u2), zero), add(both, u3)


@device_function
def _store_gathered(
    out: Array, i: int, step: int, left: int, u0: Vector, u1: Vector, u2: Vector, u3: Vector
) -> None:
    w0, w1, w2 = _gathered(out, u0, u1, u2, u3)
    store_tail(out, i, w0, left)
    store_tail(out, i + step, w1, left)
    store_tail(out, i + 2 * step, w2, left)


@device_function
def output_transform_t(a: Vector, b: Vector, zero: Vector) -> Four:
    """Return ``A y`` of two numbers."""
    return a, add(a, b), subtract(a, b), subtract(zero, b)


@device_function
def transform_dy(dy: Array, first: int, count: int, transformed: Array) -> None:
    """Compute ``transformed[:, t] = A dy Aᵀ`` of the tiles from `first` on; 0 outside of dy.

    `dy` is (N, OH, OW, F), `transformed` (16, B, Fp).
    """
    _, OH, OW, F = dy.shape
    _, B, Fp = transformed.shape
    TH, TW = (OH + 1) // 2, (OW + 1) // 2
    plane = B * Fp
    zero = splat(dy, 0, NR_SMALL)
    for t in range(count):
        n, place = divmod(first + t, TH * TW)
        th, tw = divmod(place, TW)
        out = ((n * OH + 2 * th) * OW + 2 * tw) * F
        below, beside = 2 * th + 1 < OH, 2 * tw + 1 < OW
        for f in range(0, Fp, NR_SMALL):
            left, z = max(0, F - f), t * Fp + f
            g00 = load_tail(dy, out + f, left)
            g01 = load_tail(dy, out + F + f, left) if beside else zero
            g10 = load_tail(dy, out + OW * F + f, left) if below else zero
            g11 = load_tail(dy, out + (OW + 1) * F + f, left) if below and beside else zero
            a = output_transform_t(g00, g10, zero)  # the first column of A dy
            b = output_transform_t(g01, g11, zero)
            _store_spread(transformed, z, plane, a[0], b[0])
            _store_spread(transformed, z + 4 * plane, plane, a[1], b[1])
            _store_spread(transformed, z + 8 * plane, plane, a[2], b[2])
            _store_spread(transformed, z + 12 * plane, plane, a[3], b[3])


@device_function
def _store_spread(out: Array, i: int, step: int, a: Vector, b: Vector) -> None:
    z0, z1, z2, z3 = output_transform_t(a, b, splat(out, 0, NR_SMALL))
    store(out, i, z0)
    store(out, i + step, z1)
    store(out, i + 2 * step, z2)
    store(out, i + 3 * step, z3)


@device_function
def input_transform_t(v0: Vector, v1: Vector, v2: Vector, v3: Vector, zero: Vector) -> Four:
    """Return ``B v``."""
    return v0, add(subtract(v1, v2), v3), subtract(add(v1, v2), v0), subtract(zero, v3)


@device_function
def add_square(
    products: Array, i: int, plane: int, dx: Array, o: int, row: int, C: int, left: int
) -> None:
    """Add ``B m Bᵀ`` of the 16 numbers from `i` on to 4×4 pixels of dx, for `left` channels."""
    a = _column(products, i, 4 * plane)  # the first column of B m
    b = _column(products, i + plane, 4 * plane)
    d = _column(products, i + 2 * plane, 4 * plane)
    e = _column(products, i + 3 * plane, 4 * plane)
    _add_row(dx, o, C, left, a[0], b[0], d[0], e[0])
    _add_row(dx, o + row, C, left, a[1], b[1], d[1], e[1])
    _add_row(dx, o + 2 * row, C, left, a[2], b[2], d[2], e[2])
    _add_row(dx, o + 3 * row, C, left, a[3], b[3], d[3], e[3])


@device_function
def _column(products: Array, i: int, step: int) -> Four:
    m0, m1 = load(products, i, NR_SMALL), load(products, i + step, NR_SMALL)
    m2, m3 = load(products, i + 2 * step, NR_SMALL), load(products, i + 3 * step, NR_SMALL)
    return input_transform_t(m0, m1, m2, m3, splat(products, 0, NR_SMALL))


@device_function
def _add_row(
    dx: Array, o: int, C: int, left: int, v0: Vector, v1: Vector, v2: Vector, v3: Vector
) -> None:
    x0, x1, x2, x3 = input_transform_t(v0, v1, v2, v3, splat(dx, 0, NR_SMALL))
    _add_some(dx, o, x0, left)
    _add_some(dx, o + C, x1, left)
    _add_some(dx, o + 2 * C, x2, left)
    _add_some(dx, o + 3 * C, x3, left)


@device_function
def _add_some(dx: Array, o: int, v: Vector, left: int) -> None:
    store_tail(dx, o, add(load_tail(dx, o, left), v), left)
