"""The transforms and matrix products of Winograd's F(2×2, 3×3).

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

from minicnn.kernels.gemm import MR, accumulate, gemm_panel
from minicnn.kernels.jit import device_function, kernel
from minicnn.kernels.simd import (
    Tile,
    Vector,
    add,
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

THREE_ROWS, FOUR_ROWS = (0, 1, 2), (0, 1, 2, 3)


# ---------------------------------------------------------------- input transform


@device_function
def input_transform_1d(d: Tile) -> Tile:
    """Return ``Bᵀ d``."""
    d0, d1, d2, d3 = d
    return subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3)


@device_function
def transform_input(
    x: Array,  # (N, H, W, C)
    TH: int,  # rows of tiles; tile (th, tw) begins at pixel (2 * th, 2 * tw)
    TW: int,
    first: int,  # tile, counted over all images
    count: int,
    transformed: Array,  # out (16, B, C)
) -> None:
    """Compute ``transformed[:, t] = Bᵀ x B`` of `count` tiles."""
    _, H, W, C = x.shape
    _, B, _ = transformed.shape
    row_stride, plane = W * C, B * C
    for t in range(count):
        n, tile = divmod(first + t, TH * TW)
        th, tw = divmod(tile, TW)
        origin = n * H * row_stride + 2 * th * row_stride + 2 * tw * C
        for c in range(0, C, NR_SMALL):
            i, o = origin + c, t * C + c
            if C - c >= NR_SMALL:  # a constant, so that LLVM drops the masks
                _transform_tile(x, i, row_stride, C, FULL_VECTOR, transformed, o, plane)
            else:
                _transform_tile(x, i, row_stride, C, C - c, transformed, o, plane)


@device_function
def _transform_tile(
    x: Array, i: int, row_stride: int, C: int, remaining: int, out: Array, o: int, plane: int
) -> None:
    """Write the 16 values of a tile, row by row, for `remaining` channels."""
    a0, a1, a2, a3 = load_tile(x, row_offsets(FOUR_ROWS, C, i), remaining, NR_SMALL)
    i += row_stride
    b0, b1, b2, b3 = load_tile(x, row_offsets(FOUR_ROWS, C, i), remaining, NR_SMALL)
    i += row_stride
    d0, d1, d2, d3 = load_tile(x, row_offsets(FOUR_ROWS, C, i), remaining, NR_SMALL)
    i += row_stride
    e0, e1, e2, e3 = load_tile(x, row_offsets(FOUR_ROWS, C, i), remaining, NR_SMALL)
    a0, b0, d0, e0 = input_transform_1d((a0, b0, d0, e0))  # each column
    a1, b1, d1, e1 = input_transform_1d((a1, b1, d1, e1))
    a2, b2, d2, e2 = input_transform_1d((a2, b2, d2, e2))
    a3, b3, d3, e3 = input_transform_1d((a3, b3, d3, e3))
    planes = row_offsets(FOUR_ROWS, plane, o)
    store_tile(out, planes, input_transform_1d((a0, a1, a2, a3)), remaining)
    planes = row_offsets(planes, 1, 4 * plane)
    store_tile(out, planes, input_transform_1d((b0, b1, b2, b3)), remaining)
    planes = row_offsets(planes, 1, 4 * plane)
    store_tile(out, planes, input_transform_1d((d0, d1, d2, d3)), remaining)
    planes = row_offsets(planes, 1, 4 * plane)
    store_tile(out, planes, input_transform_1d((e0, e1, e2, e3)), remaining)


@device_function
def input_transform_t(v: Tile, zero: Vector) -> Tile:
    """Return ``B v``, the transpose of `input_transform_1d`."""
    v0, v1, v2, v3 = v
    return v0, add(subtract(v1, v2), v3), subtract(add(v1, v2), v0), subtract(zero, v3)


@device_function
def add_input_gradient(
    products: Array, i: int, plane: int, dx: Array, o: int, row_stride: int, C: int, remaining: int
) -> None:
    """Add ``B m Bᵀ`` to 4×4 pixels of dx, for `remaining` channels."""
    a0, a1, a2, a3 = _column_t(products, i, plane)  # the first column of B m
    b0, b1, b2, b3 = _column_t(products, i + plane, plane)
    d0, d1, d2, d3 = _column_t(products, i + 2 * plane, plane)
    e0, e1, e2, e3 = _column_t(products, i + 3 * plane, plane)
    _add_row_t(dx, o, C, (a0, b0, d0, e0), remaining)
    _add_row_t(dx, o + row_stride, C, (a1, b1, d1, e1), remaining)
    _add_row_t(dx, o + 2 * row_stride, C, (a2, b2, d2, e2), remaining)
    _add_row_t(dx, o + 3 * row_stride, C, (a3, b3, d3, e3), remaining)


@device_function
def _column_t(products: Array, i: int, plane: int) -> Tile:
    """Return ``B m`` of one column."""
    m = load_tile(products, row_offsets(FOUR_ROWS, 4 * plane, i), NR_SMALL, NR_SMALL)
    return input_transform_t(m, splat(products, 0, NR_SMALL))


@device_function
def _add_row_t(dx: Array, o: int, C: int, v: Tile, remaining: int) -> None:
    """Add ``B v`` to four pixels of dx."""
    x0, x1, x2, x3 = input_transform_t(v, splat(dx, 0, NR_SMALL))
    pixels = row_offsets(FOUR_ROWS, C, o)
    y0, y1, y2, y3 = load_tile(dx, pixels, remaining, NR_SMALL)
    store_tile(dx, pixels, (add(y0, x0), add(y1, x1), add(y2, x2), add(y3, x3)), remaining)


# ---------------------------------------------------------------- output transform


@device_function
def output_transform_1d(products: Array, i: int, plane: int) -> tuple[Vector, Vector]:
    """Return ``Aᵀ m`` of four planes from offset i on."""
    m0, m1, m2, m3 = load_tile(products, row_offsets(FOUR_ROWS, plane, i), NR_SMALL, NR_SMALL)
    return add(m0, add(m1, m2)), subtract(subtract(m1, m2), m3)


@device_function
def output_transform(products: Array, i: int, plane: int, bias: Vector) -> Tile:
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


@device_function
def output_transform_t(a: Vector, b: Vector, zero: Vector) -> Tile:
    """Return ``A y`` of two vectors, the transpose of `output_transform_1d`."""
    return a, add(a, b), subtract(a, b), subtract(zero, b)


@device_function
def transform_dy(
    dy: Array,  # (N, OH, OW, F)
    first: int,  # tile, counted over all images
    count: int,
    transformed: Array,  # out (16, B, Fp)
) -> None:
    """Compute ``A dy Aᵀ`` of `count` tiles; dy is 0 outside the image."""
    _, OH, OW, F = dy.shape
    _, B, Fp = transformed.shape
    TH, TW = (OH + 1) // 2, (OW + 1) // 2
    plane = B * Fp
    zero = splat(dy, 0, NR_SMALL)
    for t in range(count):
        n, tile = divmod(first + t, TH * TW)
        th, tw = divmod(tile, TW)
        i = ((n * OH + 2 * th) * OW + 2 * tw) * F
        below, beside = 2 * th + 1 < OH, 2 * tw + 1 < OW
        both = below and beside
        for f in range(0, Fp, NR_SMALL):
            remaining = max(0, F - f)
            g00 = load_tail(dy, i + f, remaining, NR_SMALL)
            g01 = load_tail(dy, i + F + f, remaining, NR_SMALL) if beside else zero
            g10 = load_tail(dy, i + OW * F + f, remaining, NR_SMALL) if below else zero
            g11 = load_tail(dy, i + (OW + 1) * F + f, remaining, NR_SMALL) if both else zero
            a0, a1, a2, a3 = output_transform_t(g00, g10, zero)  # the first column of A dy
            b0, b1, b2, b3 = output_transform_t(g01, g11, zero)
            planes = row_offsets(FOUR_ROWS, plane, t * Fp + f)
            store_tile(transformed, planes, output_transform_t(a0, b0, zero), NR_SMALL)
            planes = row_offsets(planes, 1, 4 * plane)
            store_tile(transformed, planes, output_transform_t(a1, b1, zero), NR_SMALL)
            planes = row_offsets(planes, 1, 4 * plane)
            store_tile(transformed, planes, output_transform_t(a2, b2, zero), NR_SMALL)
            planes = row_offsets(planes, 1, 4 * plane)
            store_tile(transformed, planes, output_transform_t(a3, b3, zero), NR_SMALL)


# ---------------------------------------------------------------- weight transform


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
    row, column = 3 * C * F, C * F  # strides of the kernel's rows and columns
    for c in range(C):
        for f in range(0, Fp, NR_SMALL):
            i, remaining = c * F + f, max(0, F - f)
            a0, a1, a2, a3 = _weight_column(weight, i, row, remaining)  # the first column of G w
            b0, b1, b2, b3 = _weight_column(weight, i + column, row, remaining)
            d0, d1, d2, d3 = _weight_column(weight, i + 2 * column, row, remaining)
            panel_width = NR if f < Fp - Fp % NR else NR_SMALL
            o = (f - f % panel_width) * C + c * panel_width + f % panel_width
            planes = row_offsets(FOUR_ROWS, plane, o)
            store_tile(transformed, planes, weight_transform_1d(weight, (a0, b0, d0)), NR_SMALL)
            planes = row_offsets(planes, 1, 4 * plane)
            store_tile(transformed, planes, weight_transform_1d(weight, (a1, b1, d1)), NR_SMALL)
            planes = row_offsets(planes, 1, 4 * plane)
            store_tile(transformed, planes, weight_transform_1d(weight, (a2, b2, d2)), NR_SMALL)
            planes = row_offsets(planes, 1, 4 * plane)
            store_tile(transformed, planes, weight_transform_1d(weight, (a3, b3, d3)), NR_SMALL)


@device_function
def _weight_column(weight: Array, i: int, row: int, remaining: int) -> Tile:
    """Return ``G w`` of one column of the kernel."""
    w = load_tile(weight, row_offsets(THREE_ROWS, row, i), remaining, NR_SMALL)
    return weight_transform_1d(weight, w)


@device_function
def weight_transform_1d(like: Array, w: Tile) -> Tile:
    """Return ``G w``."""
    w0, w1, w2 = w
    half, minus_half = splat(like, 0.5, NR_SMALL), splat(like, -0.5, NR_SMALL)
    middle = fma(half, add(w0, w2), splat(like, 0, NR_SMALL))
    return w0, fma(half, w1, middle), fma(minus_half, w1, middle), w2


@kernel
def transform_weight_backward(
    dtransformed: Array,  # (16, C + 1, Fp)
    dweight: Array,  # out (3, 3, C, F)
) -> None:
    """Compute ``Gᵀ du G`` for each pair of channels."""
    _, rows, Fp = dtransformed.shape
    _, _, C, F = dweight.shape
    plane, column = rows * Fp, C * F
    for c in range(C):
        for f in range(0, F, NR_SMALL):
            i = c * Fp + f
            a0, a1, a2 = _weight_column_t(dtransformed, i, plane)  # the first column of Gᵀ du
            b0, b1, b2 = _weight_column_t(dtransformed, i + plane, plane)
            d0, d1, d2 = _weight_column_t(dtransformed, i + 2 * plane, plane)
            e0, e1, e2 = _weight_column_t(dtransformed, i + 3 * plane, plane)
            columns = row_offsets(THREE_ROWS, column, c * F + f)
            store_tile(dweight, columns, weight_transform_t(dweight, (a0, b0, d0, e0)), F - f)
            columns = row_offsets(columns, 1, 3 * column)
            store_tile(dweight, columns, weight_transform_t(dweight, (a1, b1, d1, e1)), F - f)
            columns = row_offsets(columns, 1, 3 * column)
            store_tile(dweight, columns, weight_transform_t(dweight, (a2, b2, d2, e2)), F - f)


@device_function
def _weight_column_t(dtransformed: Array, i: int, plane: int) -> Tile:
    """Return ``Gᵀ u`` of one column."""
    u = load_tile(dtransformed, row_offsets(FOUR_ROWS, 4 * plane, i), NR_SMALL, NR_SMALL)
    return weight_transform_t(dtransformed, u)


@device_function
def weight_transform_t(like: Array, u: Tile) -> Tile:
    """Return ``Gᵀ u``, the transpose of `weight_transform_1d`."""
    u0, u1, u2, u3 = u
    half, zero = splat(like, 0.5, NR_SMALL), splat(like, 0, NR_SMALL)
    both = fma(half, add(u1, u2), zero)
    return add(u0, both), fma(half, subtract(u1, u2), zero), add(both, u3)


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
    dweight: Array,  # (16, C + 1, Fp), accumulated
    NR: int,
) -> None:
    """Add ``dweight[e, c, f] += Σ_t tiles[e, t, c] · gradients[e, t, f]``."""
    C, Fp = tiles.shape[2], gradients.shape[2]
    whole = Fp - Fp % NR
    for e in range(16):
        for c in range(0, C, MR):
            for f in range(0, whole, NR):
                _gemm_tn_tile(tiles, gradients, e, c, f, count, dweight, NR)
            for f in range(whole, Fp, NR_SMALL):
                _gemm_tn_tile(tiles, gradients, e, c, f, count, dweight, NR_SMALL)


@device_function
def _gemm_tn_tile(
    tiles: Array, gradients: Array, e: int, c: int, f: int, count: int, dweight: Array, NR: int
) -> None:
    """Accumulate the microtile of MR channels from c and NR filters from f."""
    _, B, C = tiles.shape
    Fp = gradients.shape[2]
    rows = clamp_rows(c, C, MR)
    out = row_offsets(rows, Fp, e * dweight.shape[1] * Fp + f)
    columns, g = row_offsets(rows, 1, e * B * C), e * B * Fp + f
    acc = load_tile(dweight, out, NR, NR)
    store_tile(dweight, out, accumulate(acc, tiles, columns, count, C, gradients, g, Fp, NR), NR)
