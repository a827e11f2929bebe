"""Convolution: the op pair, and the ways in which it can be computed."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from minicnn import reference
from minicnn.kernels import im2col, reduce
from minicnn.kernels.capture import refuse_capture
from minicnn.ops import arrays, direct, products, winograd
from minicnn.ops.activations import ReLUCache, relu_backward, relu_inplace
from minicnn.runtime import arena
from minicnn.shapes import FloatArray, IntPair, Padding
from minicnn.shapes.checks import check_gradient
from minicnn.shapes.window import Window, conv2d_window

BACKENDS = ("auto", "direct", "winograd", "im2col", "reference")

FAST = {"direct": direct, "winograd": winograd}

# The patches of as many images as this are made at once: they should still be in the
# second-level cache when the matrix product reads them.
PATCH_BYTES = 256 * 1024


class Conv2DCache(NamedTuple):
    """What `conv2d_backward` needs: references to the arguments, and of a ReLU a bit an output.

    The patches are gathered anew in backward: they would be KH·KW times the size of `x`.
    """

    x: FloatArray
    weight: FloatArray
    window: Window
    backend: str
    relu: ReLUCache | None


def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    stride: IntPair = 1,
    padding: Padding = 0,
    *,
    relu: bool = False,
    backend: str = "auto",
) -> tuple[FloatArray, Conv2DCache]:
    """Convolve images with a set of kernels (cross-correlation, as everywhere in the field).

    ``y[n, oh, ow, f] = bias[f] + Σ_{kh,kw,c} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c, f]``, where x is 0 outside the image; then ``max(y, 0)`` if there is a ReLU.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
        "same" gives ``ceil(H / SH) × ceil(W / SW)`` outputs, "valid" is 0.
    relu : bool
        Whether a ReLU follows: the same numbers as `ops.relu` gives, with one array less.
    backend : {"auto", "direct", "winograd", "im2col", "reference"}
        "auto": "winograd" where it can be used and pays, else "direct".
        "direct": sums kept in vector registers, no patches copied.
        "winograd": minimal filtering, for 3×3 kernels at stride 1: 16 multiplications for 36. Whole
        numbers come out exact as with the others; of the rest the last digits may differ.
        "im2col": every window copied into a row of a matrix, then one matrix product.
        "reference": the seven loops of `minicnn.reference`.

    Returns
    -------
    y : ndarray (N, OH, OW, F)
        Of x's dtype.
    cache : Conv2DCache

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not fit, or `backend` is unknown or not for such windows.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proc. IEEE 86 (1998), section II.A. im2col: Chellapilla, Puri, Simard, "High performance
    convolutional neural networks for document processing" (2006), section 2. Minimal filtering:
    Lavin, Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016), section 4.1.
    """
    window = conv2d_window(x, weight, bias, stride, padding)
    backend = select_backend("conv2d", backend, window, *weight.shape[2:])
    if backend in ("reference", "im2col"):
        refuse_capture(f"backend {backend!r} uses NumPy")
    if backend == "reference":
        y, _ = reference.conv2d(x, weight, bias, stride, padding)
    elif backend == "im2col":
        y = _by_patches(x, weight, bias, window)
    else:
        y = FAST[backend].conv2d(x, weight, bias, window)
    return y, Conv2DCache(x, weight, window, backend, relu_inplace(y, y) if relu else None)


def _by_patches(x: FloatArray, weight: FloatArray, bias: FloatArray, window: Window) -> FloatArray:
    """Return the convolution as a matrix product of patches and weights."""
    F = weight.shape[3]
    y: FloatArray = arena.empty((x.shape[0], window.OH, window.OW, F), x.dtype)
    y[...] = bias
    matrix = np.ascontiguousarray(weight).reshape(-1, F)  # (KH*KW*C, F)
    for images, patches in _chunks_of_patches(x, window):
        products.matmul_add(patches, matrix, y[images].reshape(-1, F))
    return y


def select_backend(op: str, backend: str, window: Window, C: int, F: int) -> str:
    """Return the backend that is meant, with "auto" decided.

    Parameters
    ----------
    op : str
        Who asks, for the message.
    backend : str
    window : Window
    C, F : int
        Channels that go in and come out.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it is unknown, or "winograd" for other windows than 3×3 at stride 1.
    """
    if backend not in BACKENDS:
        raise ValueError(f"{op}: backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
    if backend == "auto":
        return "winograd" if winograd.is_faster(window, C, F) else "direct"
    if backend == "winograd" and not winograd.supports(window):
        raise ValueError(
            f"{op}: backend 'winograd' is for 3×3 kernels at stride 1, not "
            f"{window.KH}×{window.KW} at stride {window.SH}×{window.SW}; 'auto' takes it where it "
            f"can be used"
        )
    return backend


def conv2d_backward(
    dy: FloatArray,
    cache: Conv2DCache,
    *,
    need_dx: bool = True,
    out: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray | None, FloatArray, FloatArray]:
    """Give the gradients of `conv2d`.

    With P the patches as a matrix ``(N·OH·OW, KH·KW·C)``, W the weights as ``(KH·KW·C, F)`` and
    dY as ``(N·OH·OW, F)``, forward is ``Y = P W + bias``. Hence ``dW = Pᵀ dY``,
    ``dbias = Σ_rows dY`` and ``dP = dY Wᵀ``; each pixel of dx then collects the elements of dP
    that are copies of it.

    Derivation: minicnn/reference/DERIVATIONS.md, "Convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    cache : Conv2DCache
    need_dx : bool
        False leaves dx out: the first layer of a network has no use for it.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to be overwritten; new arrays where left out.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C, F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not fit the output.
    """
    x, weight, window, backend, relu = cache
    F = weight.shape[3]
    check_gradient("conv2d_backward", dy, (x.shape[0], window.OH, window.OW, F), x.dtype)
    if relu is not None:
        dy = relu_backward(dy, relu)
    dweight, dbias = arrays.gradient_buffers("conv2d_backward", weight, dy, out)
    if backend == "reference":
        found = reference.conv2d_backward(dy, (x, weight, window))
        dweight[...], dbias[...] = found[1:]
        return found[0] if need_dx else None, dweight, dbias
    dy = np.ascontiguousarray(dy)
    reduce.column_sums(dy.reshape(-1, F), dbias)
    if backend != "im2col":
        FAST[backend].weight_gradient(x, dy, window, dweight)
        H, W = x.shape[1:3]
        dx = FAST[backend].input_gradient(dy, weight, window, H, W) if need_dx else None
        return dx, dweight, dbias
    dweight.fill(0)
    for images, patches in _chunks_of_patches(x, window):
        products.matmul_add(patches.T, dy[images].reshape(-1, F), dweight.reshape(-1, F))
    return _input_gradient(dy, cache) if need_dx else None, dweight, dbias


def _input_gradient(dy: FloatArray, cache: Conv2DCache) -> FloatArray:
    """Return dx: the gradient of the patches, added up where they overlap."""
    x, weight, window, *_ = cache
    KH, KW, C, F = weight.shape
    transposed = np.ascontiguousarray(weight.reshape(-1, F).T)  # (F, KH*KW*C)
    dx = np.zeros(x.shape, x.dtype)
    for images in _chunks(x, window):
        rows = dy[images].reshape(-1, F)
        dpatches = np.zeros((rows.shape[0], KH * KW * C), x.dtype)
        products.matmul_add(rows, transposed, dpatches)
        im2col.col2im(dpatches.reshape(-1, window.OH, window.OW, KH, KW, C), window, dx[images])
    return dx


def _chunks(x: FloatArray, window: Window) -> Iterator[slice]:
    """Cut the batch so that the patches of a chunk fit in cache: at least one image each."""
    N, C = x.shape[0], x.shape[3]
    image_bytes = window.OH * window.OW * window.KH * window.KW * C * x.itemsize
    step = max(1, PATCH_BYTES // image_bytes)
    for start in range(0, N, step):
        yield slice(start, min(start + step, N))


def _chunks_of_patches(x: FloatArray, window: Window) -> Iterator[tuple[slice, FloatArray]]:
    """Yield (images, their patches as a matrix); the matrix is overwritten by the next chunk."""
    C = x.shape[3]
    x = np.ascontiguousarray(x)
    buffer: FloatArray | None = None
    for images in _chunks(x, window):
        count = images.stop - images.start
        if buffer is None:  # the first chunk is the largest
            buffer = np.empty((count, window.OH, window.OW, window.KH, window.KW, C), x.dtype)
        patches = buffer[:count]
        im2col.im2col(x[images], window, patches)
        yield images, patches.reshape(-1, window.KH * window.KW * C)  # (n*OH*OW, KH*KW*C)
