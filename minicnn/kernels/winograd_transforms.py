"""The transforms and matrix products of Winograd's F(2×2, 3×3).

With

    Bᵀ = ⎡1  0 -1  0⎤    G = ⎡ 1   0   0 ⎤    Aᵀ = ⎡1  1  1  0⎤
         ⎢0  1  1  0⎥        ⎢ ½   ½   ½ ⎥         ⎣0  1 -1 -1⎦
         ⎢0 -1  1  0⎥        ⎢ ½  -½   ½ ⎥
         ⎣0  1  0 -1⎦        ⎣ 0   0   1 ⎦

- input transform ``Bᵀ x B``: a 4×4 tile of the image to 16 values, transposed ``B m Bᵀ``;
- weight transform ``G w Gᵀ``: a 3×3 kernel to 16 values, transposed ``Gᵀ u G``;
- output transform ``Aᵀ m A``: 16 values to 2×2 outputs, transposed ``A dy Aᵀ``.

The transposes are the backward pass. A square is a tile of vectors in row order. Channels are taken
in panels of NR; the remaining ones in panels of `NR_SMALL`.
"""

from collections.abc import Callable

from minicnn.kernels.gemm import MR, accumulate, gemm_panel
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    Rows,
    Tile,
    Vector,
    add,
    axpy_tile,
    clamp_rows,
    fma,
    load_tail,
    load_tile,
    row_offsets,
    splat,
    store_tile,
    subtract,
)
from minicnn.kernels.target import FULL_VECTOR, NR_SMALL
from minicnn.shapes import Array

Transform = Callable[[Tile, Array], Tile]  # of one column; the array gives the dtype of constants

NINE, SIXTEEN = tuple(range(9)), tuple(range(16))
SIXTEEN_BY_COLUMN = SIXTEEN[0::4] + SIXTEEN[1::4] + SIXTEEN[2::4] + SIXTEEN[3::4]


# ---------------------------------------------------------------- one axis


@device_function
def input_transform(d: Tile, like: Array) -> Tile:
    """Return ``Bᵀ d``."""
    d0, d1, d2, d3 = d
    return subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3)


@device_function
def input_transposed(v: Tile, like: Array) -> Tile:
    """Return ``B v``."""
    v0, v1, v2, v3 = v
    zero = splat(like, 0, NR_SMALL)
    return v0, add(subtract(v1, v2), v3), subtract(add(v1, v2), v0), subtract(zero, v3)


@device_function
def weight_transform(w: Tile, like: Array) -> Tile:
    """Return ``G w``."""
    w0, w1, w2 = w
    half, minus_half = splat(like, 0.5, NR_SMALL), splat(like, -0.5, NR_SMALL)
    middle = fma(half, add(w0, w2), splat(like, 0, NR_SMALL))
    return w0, fma(half, w1, middle), fma(minus_half, w1, middle), w2


@device_function
def weight_transposed(u: Tile, like: Array) -> Tile:
    """Return ``Gᵀ u``."""
    u0, u1, u2, u3 = u
    half, zero = splat(like, 0.5, NR_SMALL), splat(like, 0, NR_SMALL)
    both = fma(half, add(u1, u2), zero)
    return add(u0, both), fma(half, subtract(u1, u2), zero), add(both, u3)


@device_function
def output_transform(m: Tile, like: Array) -> Tile:
    """Return ``Aᵀ m``."""
    m0, m1, m2, m3 = m
    return add(m0, add(m1, m2)), subtract(subtract(m1, m2), m3)


@device_function
def output_transposed(y: Tile, like: Array) -> Tile:
    """Return ``A y``."""
    a, b = y
    return a, add(a, b), subtract(a, b), subtract(splat(like, 0, NR_SMALL), b)


# ---------------------------------------------------------------- both axes
# Each of these functions makes rows of columns. So two calls transform both axes and leave the
# square in row order.


@device_function
def two_columns(transform: Transform, square: Tile, like: Array) -> Tile:
    """Return the transforms of two columns, one after the other."""
    return transform(square[0::2], like) + transform(square[1::2], like)


@device_function
def three_columns(transform: Transform, square: Tile, like: Array) -> Tile:
    """Return the transforms of three columns, one after the other."""
    first = transform(square[0::3], like) + transform(square[1::3], like)
    return first + transform(square[2::3], like)


@device_function
def four_columns(transform: Transform, square: Tile, like: Array) -> Tile:
    """Return the transforms of four columns, one after the other."""
    first = transform(square[0::4], like) + transform(square[1::4], like)
    return first + transform(square[2::4], like) + transform(square[3::4], like)


# ---------------------------------------------------------------- tiles of images


@device_function
def tile_origin(images: Array, t: int, TH: int, TW: int) -> tuple[int, bool, bool]:
    """Return the offset of pixel (2·th, 2·tw) of tile t, and what is inside.

    The tiles of all images (N, H, W, C) are counted, TH rows of TW each. The image may end at the
    pixel: the truth values are whether there is a pixel below, and one beside.
    """
    _, H, W, C = images.shape
    n, tile = divmod(t, TH * TW)
    th, tw = divmod(tile, TW)
    return ((n * H + 2 * th) * W + 2 * tw) * C, 2 * th + 1 < H, 2 * tw + 1 < W


@device_function
def pixel_row(images: Array, i: int) -> Rows:
    """Return the offsets of four pixels, the first of which is at offset i."""
    C = images.shape[3]
    return i, i + C, i + 2 * C, i + 3 * C


@device_function
def transform_input(
    x: Array,  # (N, H, W, C)
    TH: int,  # rows of tiles
    TW: int,
    first: int,  # tile, counted over all images
    count: int,
    transformed: Array,  # out (16, B, C)
) -> None:
    """Compute ``transformed[:, t] = Bᵀ x B`` of `count` tiles."""
    C = x.shape[3]
    for t in range(count):
        origin, _, _ = tile_origin(x, first + t, TH, TW)
        for c in range(0, C, NR_SMALL):
            if C - c >= NR_SMALL:  # a constant, so that LLVM drops the masks
                _transform_pixels(x, origin + c, FULL_VECTOR, transformed, t * C + c)
            else:
                _transform_pixels(x, origin + c, C - c, transformed, t * C + c)


@device_function
def _transform_pixels(x: Array, i: int, remaining: int, transformed: Array, o: int) -> None:
    """Compute ``Bᵀ x B`` for at most one vector of channels."""
    _, B, C = transformed.shape
    width = x.shape[2] * C
    upper = _load_row(x, i, remaining) + _load_row(x, i + width, remaining)
    lower = _load_row(x, i + 2 * width, remaining) + _load_row(x, i + 3 * width, remaining)
    d = four_columns(input_transform, upper + lower, x)
    d = four_columns(input_transform, d, x)
    store_tile(transformed, row_offsets(SIXTEEN, B * C, o), d, remaining)


@device_function
def _load_row(x: Array, i: int, remaining: int) -> Tile:
    """Return four pixels."""
    return load_tile(x, pixel_row(x, i), remaining, NR_SMALL)


@device_function
def add_input_gradient(
    products: Array,  # (16, B, Cp)
    TH: int,
    TW: int,
    first: int,
    count: int,
    dx: Array,  # updated (N, H, W, C)
) -> None:
    """Add ``B m Bᵀ`` of `count` tiles to their 4×4 pixels of dx."""
    C, Cp = dx.shape[3], products.shape[2]
    for t in range(count):
        origin, _, _ = tile_origin(dx, first + t, TH, TW)
        for c in range(0, C, NR_SMALL):
            if C - c >= NR_SMALL:  # a constant, so that LLVM drops the masks
                _add_pixels(products, t * Cp + c, FULL_VECTOR, dx, origin + c)
            else:
                _add_pixels(products, t * Cp + c, C - c, dx, origin + c)


@device_function
def _add_pixels(products: Array, i: int, remaining: int, dx: Array, o: int) -> None:
    """Add ``B m Bᵀ`` for at most one vector of channels."""
    _, B, Cp = products.shape
    _, _, W, C = dx.shape
    m = load_tile(products, row_offsets(SIXTEEN, B * Cp, i), NR_SMALL, NR_SMALL)
    m = four_columns(input_transposed, m, dx)
    m = four_columns(input_transposed, m, dx)
    _add_row(dx, o, m[0:4], remaining)
    _add_row(dx, o + W * C, m[4:8], remaining)
    _add_row(dx, o + 2 * W * C, m[8:12], remaining)
    _add_row(dx, o + 3 * W * C, m[12:16], remaining)


@device_function
def _add_row(dx: Array, o: int, row: Tile, remaining: int) -> None:
    """Add a row of a square to four pixels."""
    pixels = pixel_row(dx, o)
    acc = load_tile(dx, pixels, remaining, NR_SMALL)
    store_tile(dx, pixels, axpy_tile(acc, splat(dx, 1, NR_SMALL), row), remaining)


@device_function
def transform_products(products: Array, t: int, f: int, bias: Vector) -> Tile:
    """Return the four outputs of tile t, in row order: ``Aᵀ m A + bias``."""
    _, B, Fp = products.shape
    planes = row_offsets(SIXTEEN_BY_COLUMN, B * Fp, t * Fp + f)
    m = load_tile(products, planes, NR_SMALL, NR_SMALL)  # transposed, because m A is computed first
    m = four_columns(output_transform, m, products)
    y00, y10, y01, y11 = two_columns(output_transform, m, products)
    return add(y00, bias), add(y01, bias), add(y10, bias), add(y11, bias)


@device_function
def transform_dy(
    dy: Array,  # (N, OH, OW, F)
    TH: int,
    TW: int,
    first: int,
    count: int,
    transformed: Array,  # out (16, B, Fp)
) -> None:
    """Compute ``A dy Aᵀ`` of `count` tiles; dy is 0 outside the image."""
    _, _, OW, F = dy.shape
    _, B, Fp = transformed.shape
    zero = splat(dy, 0, NR_SMALL)
    for t in range(count):
        i, below, beside = tile_origin(dy, first + t, TH, TW)
        both = below and beside
        for f in range(0, Fp, NR_SMALL):
            remaining = max(0, F - f)
            g00 = load_tail(dy, i + f, remaining, NR_SMALL)
            g01 = load_tail(dy, i + F + f, remaining, NR_SMALL) if beside else zero
            g10 = load_tail(dy, i + OW * F + f, remaining, NR_SMALL) if below else zero
            g11 = load_tail(dy, i + (OW + 1) * F + f, remaining, NR_SMALL) if both else zero
            g = two_columns(output_transposed, (g00, g01, g10, g11), dy)
            g = four_columns(output_transposed, g, dy)
            store_tile(transformed, row_offsets(SIXTEEN, B * Fp, t * Fp + f), g, NR_SMALL)


# ---------------------------------------------------------------- weights


@kernel
def transform_weight(
    weight: Array,  # (3, 3, C, F)
    NR: int,
    transformed: Array,  # out (16, C * Fp + NR_SMALL), each plane in panels for `batched_gemm`
) -> None:
    """Compute ``G w Gᵀ`` for each pair of channels."""
    _, _, C, F = weight.shape
    plane = transformed.shape[1]
    Fp = (plane - NR_SMALL) // C
    for c in range(C):
        for f in range(0, Fp, NR_SMALL):
            taps = row_offsets(NINE, C * F, c * F + f)
            w = load_tile(weight, taps, max(0, F - f), NR_SMALL)
            w = three_columns(weight_transform, w, weight)
            w = four_columns(weight_transform, w, weight)
            panel_width = NR if f < Fp - Fp % NR else NR_SMALL
            o = (f - f % panel_width) * C + c * panel_width + f % panel_width
            store_tile(transformed, row_offsets(SIXTEEN, plane, o), w, NR_SMALL)


@kernel
def transform_weight_backward(
    dtransformed: Array,  # (16, C + 1, Fp)
    dweight: Array,  # out (3, 3, C, F)
) -> None:
    """Compute ``Gᵀ du G`` for each pair of channels."""
    _, rows, Fp = dtransformed.shape
    _, _, C, F = dweight.shape
    for c in range(C):
        for f in range(0, F, NR_SMALL):
            planes = row_offsets(SIXTEEN, rows * Fp, c * Fp + f)
            u = load_tile(dtransformed, planes, NR_SMALL, NR_SMALL)
            u = four_columns(weight_transposed, u, dweight)
            u = three_columns(weight_transposed, u, dweight)
            store_tile(dweight, row_offsets(NINE, C * F, c * F + f), u, F - f)


# ---------------------------------------------------------------- matrix products


@device_function
def batched_gemm(
    tiles: Array,  # (16, B, C)
    weight: Array,  # (16, C * Fp + NR_SMALL), each plane in panels
    count: int,  # tiles to multiply, at most B
    products: Array,  # out (16, B, Fp)
    NR: int,
) -> None:
    """Compute ``products[e, t, f] = Σ_c tiles[e, t, c] · weight[e, c, f]``."""
    _, B, C = tiles.shape
    Fp = products.shape[2]
    whole = Fp - Fp % NR
    for e in range(16):
        i, j, w = e * B * C, e * B * Fp, e * weight.shape[1]
        for f in range(0, whole, NR):
            gemm_panel(tiles, i, C, count, weight, w + f * C, products, j + f, Fp, NR)
        for f in range(whole, Fp, NR_SMALL):
            gemm_panel(tiles, i, C, count, weight, w + f * C, products, j + f, Fp, NR_SMALL)


@device_function
def batched_gemm_tn(
    tiles: Array,  # (16, B, C)
    gradients: Array,  # (16, B, Fp)
    count: int,  # tiles to sum over, at most B
    dtransformed: Array,  # (16, C + 1, Fp), accumulated
    NR: int,
) -> None:
    """Add the products of transposed tiles and gradients to `dtransformed`.

    ``dtransformed[e, c, f] += Σ_t tiles[e, t, c] · gradients[e, t, f]``. "tn" is BLAS's name for a
    product whose first factor is transposed and whose second is not.
    """
    C, Fp = tiles.shape[2], gradients.shape[2]
    whole = Fp - Fp % NR
    for e in range(16):
        for c in range(0, C, MR):
            for f in range(0, whole, NR):
                _gemm_tn_tile(tiles, gradients, e, c, f, count, dtransformed, NR)
            for f in range(whole, Fp, NR_SMALL):
                _gemm_tn_tile(tiles, gradients, e, c, f, count, dtransformed, NR_SMALL)


@device_function
def _gemm_tn_tile(
    tiles: Array, gradients: Array, e: int, c: int, f: int, count: int, dtransformed: Array, NR: int
) -> None:
    """Accumulate the microtile of MR channels from c and NR filters from f."""
    _, B, C = tiles.shape
    Fp = gradients.shape[2]
    rows = clamp_rows(c, C, MR)
    out = row_offsets(rows, Fp, e * dtransformed.shape[1] * Fp + f)
    columns, g = row_offsets(rows, 1, e * B * C), e * B * Fp + f
    acc = load_tile(dtransformed, out, NR, NR)
    acc = accumulate(acc, tiles, columns, count, C, gradients, g, Fp, NR)
    store_tile(dtransformed, out, acc, NR)
