"""2-D convolution: the forward/backward pair, and the choice of backend.

Start here to see how an op is built: check the arguments, allocate the outputs, call one backend,
return what backward reads. Every backend is a module with the same three functions, so a backend is
exchanged without touching this file::

    forward(x, weight, bias, window, y)              fills y        (N, OH, OW, F)
    backward_weight(x, dy, window, dweight)          fills dweight  (KH, KW, C, F)
    backward_input(dy, weight, window, dx)           fills dx       (N, H, W, C)

The backend "reference" is the seven loops of `minicnn.reference`, the ground truth of the others.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from minicnn.kernels import conv_direct, conv_winograd, depthwise, im2col, reduce
from minicnn.kernels.capture import refuse_capture
from minicnn.ops.activations import ReLUCache, relu_backward, relu_into
from minicnn.reference import conv as reference_conv
from minicnn.runtime import arena
from minicnn.shapes import Array, IntPair, Out, Padding
from minicnn.shapes.checks import check_dy
from minicnn.shapes.window import Window, conv_window


class Backend(Protocol):
    """The three functions of a convolution backend, usually a module.

    A fourth one is optional: ``supports(window)`` returns whether the backend can compute a
    convolution; without it, it computes every one.
    """

    def forward(self, x: Array, weight: Array, bias: Array, window: Window, y: Array) -> None:
        """Compute y (N, OH, OW, F)."""

    def backward_weight(self, x: Array, dy: Array, window: Window, dweight: Array) -> None:
        """Compute dweight (KH, KW, C, F)."""

    def backward_input(self, dy: Array, weight: Array, window: Window, dx: Array) -> None:
        """Compute dx (N, H, W, C)."""


BACKENDS: dict[str, Backend] = {
    "direct": conv_direct,
    "winograd": conv_winograd,
    "im2col": im2col,
    "reference": reference_conv,
}
# The backends that write arrays through kernels only, so that a replay repeats all they do.
CAPTURABLE = ("direct", "winograd", "im2col")


class Conv2DCache(NamedTuple):
    """Inputs of `conv2d` or `depthwise_conv2d`, not copied; a ReLU's bits."""

    x: Array
    weight: Array
    window: Window
    backend: str
    relu_cache: ReLUCache | None


def conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    stride: IntPair = 1,
    padding: Padding = 0,
    *,
    relu: bool = False,
    backend: str = "auto",
) -> tuple[Array, Conv2DCache]:
    """Convolve images with F filters.

    Cross-correlation: the kernel is not flipped.
    ``y[n, oh, ow, f] = bias[f] + Σ_{kh,kw,c} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c, f]``, with zeros outside the image, then ``max(y, 0)`` if `relu`.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C, F)
    bias : ndarray (F,)
    stride : int or pair of int
        Vertical and horizontal step of the window.
    padding : int, pair of int, "same" or "valid"
        Zeros on each side; "same" gives ``ceil(H / SH) × ceil(W / SW)`` outputs, "valid" is 0.
    relu : bool
        Apply a ReLU in place: the values of `ops.relu`, with one array less.
    backend : {"auto", "direct", "winograd", "im2col", "reference"} or a registered name
        "auto" selects "winograd" for 3×3 kernels at stride 1 with at least 16 channels on both
        sides, else "direct". "winograd" takes 16 multiplications for 2×2 outputs and a channel
        instead of 36; its rounding differs in the last digits. See `register_backend` for your own.

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
        If shapes do not match, or `backend` is unknown or does not support the window.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proc. IEEE 86 (1998), section II.A. Dumoulin, Visin, "A guide to convolution arithmetic for
    deep learning" (2016), section 2.
    """
    window = conv_window("conv2d", "KH KW C F", x, weight, bias, stride, padding)
    backend = select_backend("conv2d", backend, window, *weight.shape[2:])
    if backend not in CAPTURABLE:
        refuse_capture(f"backend {backend!r} may write arrays by other means than kernels")
    y: Array = arena.empty((len(x), window.OH, window.OW, weight.shape[3]), x.dtype)
    BACKENDS[backend].forward(x, weight, bias, window, y)
    return y, Conv2DCache(x, weight, window, backend, relu_into(y, y) if relu else None)


def conv2d_backward(
    dy: Array, cache: Conv2DCache, *, need_dx: bool = True, out: Out = None
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of `conv2d`.

    ``dbias[f] = Σ_{n,oh,ow} dy[n, oh, ow, f]``; dweight correlates x with dy. At stride 1, dx
    correlates dy with the kernel rotated by 180°.

    Derivation: minicnn/reference/DERIVATIONS.md, "Convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, F)
    cache : Conv2DCache
    need_dx : bool
        False skips dx, which the first layer of a network does not use.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to overwrite instead of new arrays.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C, F)
    dbias : ndarray (F,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    return _backward("conv2d_backward", BACKENDS[cache.backend], dy, cache, need_dx, out)


def _backward(
    op: str, backend: Backend, dy: Array, cache: Conv2DCache, need_dx: bool, out: Out
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of a convolution by the kernels of a backend."""
    x, weight, window, _, relu_cache = cache
    check_dy(op, dy, (len(x), window.OH, window.OW, weight.shape[-1]), x.dtype)
    dy = np.ascontiguousarray(dy if relu_cache is None else relu_backward(dy, relu_cache))
    dweight, dbias = arena.gradient_buffers(op, weight, out)
    reduce.column_sums(dy.reshape(-1, len(dbias)), dbias)
    backend.backward_weight(x, dy, window, dweight)
    if not need_dx:
        return None, dweight, dbias
    dx: Array = arena.empty(x.shape, x.dtype)
    backend.backward_input(dy, weight, window, dx)
    return dx, dweight, dbias


def select_backend(
    op: str, backend: str, window: Window, C: int, F: int, backends: Mapping[str, Any] = BACKENDS
) -> str:
    """Return `backend`, with "auto" resolved.

    Raises ValueError if it is unknown or does not support the window.
    """
    if backend == "auto":
        return "winograd" if conv_winograd.is_faster(window, C, F) else "direct"
    if backend not in backends:
        raise ValueError(
            f"{op}: backend must be one of auto, {', '.join(backends)}, not {backend!r}"
        )
    supports = getattr(BACKENDS[backend], "supports", None)
    if supports is not None and not supports(window):
        raise ValueError(
            f"{op}: backend {backend!r} does not support a {window.KH}×{window.KW} kernel at "
            f"stride {window.SH}×{window.SW}; use 'auto'"
        )
    return backend


def register_backend(name: str, backend: Backend) -> None:
    """Register your own convolution as ``backend=name``.

    `conv2d` and `Conv2D` take the name, and `minicnn.gradcheck.check_gradients` checks the
    gradients. The exact tests and the benchmark import your module, which registers itself::

        PYTHONPATH=examples python -m pytest -p own_backend tests/engine/test_exact.py -k own
        python benchmarks/kernels.py --module examples/own_backend.py --backend own

    Parameters
    ----------
    name : str
        A new name.
    backend : module or object
        With the functions ``forward(x, weight, bias, window, y)``,
        ``backward_weight(x, dy, window, dweight)`` and ``backward_input(dy, weight, window, dx)``.
        Each overwrites its last argument, which is in C order, as is dy. `window` is a
        `minicnn.shapes.window.Window`. Optional: ``supports(window)`` returns whether the backend
        computes such a convolution.

    Raises
    ------
    TypeError
        If `name` is no text, or one of the three functions is missing.
    ValueError
        If `name` is empty, "auto" or already registered.
    """
    if not isinstance(name, str):
        raise TypeError(f"register_backend: name must be a text, not {name!r}")
    if name in ("", "auto", *BACKENDS):
        raise ValueError(
            f"register_backend: name must be a new one, not {name!r}; "
            f"registered are {', '.join(BACKENDS)}"
        )
    for function in ("forward", "backward_weight", "backward_input"):
        if not callable(getattr(backend, function, None)):
            raise TypeError(
                f"register_backend: backend must have a function {function!r}, "
                f"but {backend!r} has none"
            )
    BACKENDS[name] = backend


def depthwise_conv2d(
    x: Array, weight: Array, bias: Array, stride: IntPair = 1, padding: Padding = 0
) -> tuple[Array, Conv2DCache]:
    """Convolve each channel with its own filter, as `conv2d` without flip.

    ``y[n, oh, ow, c] = bias[c] + Σ_{kh,kw} x[n, oh·SH - top + kh, ow·SW - left + kw, c]
    · weight[kh, kw, c]``, with zeros outside the image. PyTorch: ``Conv2d(C, C, groups=C)``.

    Parameters
    ----------
    x : ndarray (N, H, W, C)
        float32 or float64.
    weight : ndarray (KH, KW, C)
    bias : ndarray (C,)
    stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
        "same" gives ``ceil(H / SH) × ceil(W / SW)`` outputs, "valid" is 0.

    Returns
    -------
    y : ndarray (N, OH, OW, C)
        Of x's dtype.
    cache : Conv2DCache

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or their dtypes differ.
    ValueError
        If shapes do not match.

    References
    ----------
    Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
    applications" (2017), section 3.1, equation 3.
    """
    window = conv_window("depthwise_conv2d", "KH KW C", x, weight, bias, stride, padding)
    y: Array = arena.empty((len(x), window.OH, window.OW, x.shape[3]), x.dtype)
    depthwise.forward(x, weight, bias, window, y)
    return y, Conv2DCache(x, weight, window, "depthwise", None)


def depthwise_conv2d_backward(
    dy: Array, cache: Conv2DCache, *, need_dx: bool = True, out: Out = None
) -> tuple[Array | None, Array, Array]:
    """Compute the gradients of `depthwise_conv2d`.

    With (h, w) the pixel under tap (kh, kw) of window (oh, ow):
    ``dweight[kh, kw, c] = Σ_{n,oh,ow} x[n, h, w, c] · dy[n, oh, ow, c]``,
    ``dx[n, h, w, c] = Σ dy[n, oh, ow, c] · weight[kh, kw, c]`` over the windows that cover it, and
    ``dbias[c] = Σ_{n,oh,ow} dy[n, oh, ow, c]``.

    Derivation: minicnn/reference/DERIVATIONS.md, "Depthwise convolution".

    Parameters
    ----------
    dy : ndarray (N, OH, OW, C)
    cache : Conv2DCache
    need_dx : bool
        False skips dx, which the first layer of a network does not use.
    out : tuple of ndarray, optional
        ``(dweight, dbias)`` to overwrite instead of new arrays.

    Returns
    -------
    dx : ndarray (N, H, W, C), or None
    dweight : ndarray (KH, KW, C)
    dbias : ndarray (C,)

    Raises
    ------
    TypeError, ValueError
        If `dy` does not have the shape and dtype of the output.
    """
    return _backward("depthwise_conv2d_backward", depthwise, dy, cache, need_dx, out)
