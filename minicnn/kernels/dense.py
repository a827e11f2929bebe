"""The gradients of a dense layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels.compilation import kernel
from minicnn.kernels.matmul import matmul
from minicnn.kernels.tiles import transpose
from minicnn.kernels.vectors import at

Array = NDArray[np.float32]


@kernel
def dense_gradients(
    x: Array,
    weight: Array,
    dy: Array,
    y: Array,
    dweight: Array,
    dbias: Array,
    dx: Array,
    rows: Array,
    columns: Array,
    dx_transposed: Array,
    start: Array,
    lanes: int,
    lanes_of_images: int,
) -> None:
    """Compute ``dweight = xᵀ · dy``, ``dbias = Σ_n dy[n]`` and ``dx = dy · weightᵀ``.

    The last as ``dxᵀ = weight · dyᵀ``: this way round only the small matrices are transposed, not
    the weights. If the output went through a ReLU, dy counts as 0 where that made it 0.

    Parameters
    ----------
    x : ndarray (N, in)
    weight : ndarray (in, out)
    dy : ndarray (N, out)
    y : ndarray (N, out) or (0, …)
        The output behind the ReLU; empty where there is none.
    dweight : ndarray (in, out)
        Overwritten.
    dbias : ndarray (out,)
        Overwritten.
    dx : ndarray (N, in) or (0, in)
        Overwritten; empty where it is not wanted.
    rows : ndarray (N, out filled up)
        Room for dy behind the ReLU, filled up with zeros to a multiple of `lanes`.
    columns : ndarray (out, N filled up)
        Room for its transpose, filled up to a multiple of `lanes_of_images`.
    dx_transposed : ndarray (in, N)
        Room.
    start : ndarray
        Zeros, as many as there are images or outputs.
    lanes, lanes_of_images : int
        Of tiles for so many outputs, and for so many images.
    """
    N, outputs = dy.shape
    inputs = x.shape[1]
    for j in range(outputs):
        dbias[j] = 0
    for n in range(N):
        for j in range(outputs):
            i = n * outputs + j
            # not "y <= 0": NaN passes no gradient either
            g = at(dy, i) if y.size == 0 or at(y, i) > 0 else at(start, 0)
            rows[n, j] = g
            dbias[j] += g
        for j in range(outputs, rows.shape[1]):
            rows[n, j] = 0
    # for mere constants the product would be compiled anew
    one: Any = np.int64(1)
    without: Any = np.bool_(False)
    matmul(x, one, inputs, N, rows, rows, start, without, dweight, lanes)
    if dx.size > 0:
        for j in range(outputs):
            for n in range(N):
                columns[j, n] = rows[n, j]
            for n in range(N, columns.shape[1]):
                columns[j, n] = 0
        matmul(
            weight,
            outputs,
            one,
            outputs,
            columns,
            columns,
            start,
            without,
            dx_transposed,
            lanes_of_images,
        )
        transpose(dx_transposed, 0, dx)
