"""PyTorch's side of `kernels.py`; runs in a process of its own."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from compare import Timed
from kernel_cases import IMAGES, REFERENCE_CNN_SIZES, Arrays, Case, arrays, as_list, size
from numpy.typing import NDArray

# The gradients that backward computes: of (x, weight, bias).
GRADIENTS = {
    "dx": (True, False, False),
    "dweight": (False, True, True),
    "backward": (True, True, True),
}
Operator = Callable[..., tuple[Any, Callable[..., Any]]]


class TorchTimed(Timed):
    """PyTorch's side of a case."""

    def peak_bytes(self) -> int:
        """Return what `peak_bytes` does, as PyTorch's profiler has seen it."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            result = self.step()
        events: Any = profiler.profiler
        changes = [e for e in events.kineto_results.events() if e.name() == "[memory]"]
        held = np.cumsum([e.nbytes() for e in sorted(changes, key=lambda e: e.start_ns())])
        return max(0, int(held.max(initial=0)) - size(result))


def torch_side(
    case: Case, direction: str, layout: str = "contiguous", images: int = IMAGES
) -> TorchTimed:
    """Return PyTorch's side of a case."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler is talkative
    import torch

    data = arrays(case, images)
    if case.operation == "Adam":
        return _adam(data)
    with torch.inference_mode():
        tensors = {name: _to_torch(name, array, layout) for name, array in data.items()}
        dy = tensors.pop("dy", None)
        inputs = list(tensors.values())
        forward = _forward(case)
        _, backward = forward(*inputs)

    def step() -> Any:
        with torch.inference_mode():
            if direction == "forward":
                return forward(*inputs)[0]
            if case.operation == "loss":
                y, backward_of_this = forward(*inputs)
                return y, backward_of_this()
            return backward(dy, GRADIENTS[direction])

    def answer() -> Any:
        found = [part for part in as_list(step()) if part is not None]
        weight_at = {"backward": 1, "dweight": 0}.get(direction)
        return [_to_numpy(part, i == weight_at) for i, part in enumerate(found)]

    return TorchTimed(step, answer)


def _to_torch(name: str, array: NDArray[Any], layout: str) -> Any:
    import torch

    tensor = torch.from_numpy(array)
    if tensor.ndim == 2 and name == "weight":
        return tensor.t().contiguous()  # (out, in)
    if tensor.ndim == 3 and name == "weight":
        tensor = tensor.unsqueeze(2)  # (KH, KW, 1, C)
    if tensor.ndim != 4:
        return tensor
    order = (3, 2, 0, 1) if name == "weight" else (0, 3, 1, 2)
    chosen = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    return tensor.permute(order).contiguous(memory_format=chosen)


def _to_numpy(tensor: Any, is_weight: bool) -> Any:
    if tensor.ndim == 4:
        tensor = tensor.permute((2, 3, 1, 0) if is_weight else (0, 2, 3, 1))
    elif tensor.ndim == 3:
        tensor = tensor.permute(1, 2, 0)  # a depthwise (C, KH, KW)
    elif tensor.ndim == 2 and is_weight:
        tensor = tensor.t()
    return tensor.contiguous().numpy()


def _forward(case: Case) -> Operator:
    """Return a function that gives y, and a function that gives the gradients.

    PyTorch's own operators are called, as its autograd calls them, but without it.
    """
    import torch
    import torch.nn.functional as functional

    aten: Any = torch.ops.aten
    stride, padding = [case.stride] * 2, list(case.padding)

    def conv(x: Any, w: Any, b: Any) -> Any:
        options = ([len(b)], stride, padding, [1, 1], False, [0, 0], 1)
        y = functional.conv2d(x, w, b, case.stride, case.padding)
        return y, lambda dy, mask: aten.convolution_backward(dy, x, w, *options, mask)

    def relu(x: Any) -> Any:
        y = functional.relu(x)
        return y, lambda dy, mask: aten.threshold_backward(dy, y, 0)

    def norm(x: Any, w: Any, b: Any) -> Any:
        y, *found = aten.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)
        options = (w, None, None, *found, True, 1e-5)
        return y, lambda dy, mask: aten.native_batch_norm_backward(dy, x, *options, list(mask))

    def norm_relu(x: Any, w: Any, b: Any) -> Any:
        y, norm_backward = norm(x, w, b)
        y, relu_backward = relu(y)
        return y, lambda dy, mask: norm_backward(relu_backward(dy, mask), mask)

    def pool(x: Any, window: tuple[int, int], by: int) -> Any:
        options = (list(window), [by, by], [0, 0], [1, 1], False)
        y, argmax = aten.max_pool2d_with_indices(x, *options)
        return y, lambda dy, mask: aten.max_pool2d_with_indices_backward(dy, x, *options, argmax)

    def average(x: Any) -> Any:
        options = ([case.KH, case.KW], stride, [0, 0], False, True, None)
        y = aten.avg_pool2d(x, *options)
        return y, lambda dy, mask: aten.avg_pool2d_backward(dy, x, *options)

    def global_average(x: Any) -> Any:
        # autograd spreads first and divides then, which takes longer
        def backward(dy: Any, mask: Any) -> Any:
            share = (dy / (case.H * case.W))[:, :, None, None]
            return share.expand(x.shape).contiguous(memory_format=torch.channels_last)

        return x.mean((2, 3)), backward

    def depthwise(x: Any, w: Any, b: Any) -> Any:
        options = ([len(b)], stride, padding, [1, 1], False, [0, 0], len(b))
        y = functional.conv2d(x, w, b, case.stride, case.padding, groups=len(b))

        def backward(dy: Any, mask: Any) -> Any:
            dx, dw, db = aten.convolution_backward(dy, x, w, *options, mask)
            return dx, dw.squeeze(1), db

        return y, backward

    def conv_relu_pool(x: Any, w: Any, b: Any) -> Any:
        y, conv_backward = conv(x, w, b)
        y, relu_backward = relu(y)
        y, pool_backward = pool(y, (2, 2), 2)
        return y, lambda dy, mask: conv_backward(relu_backward(pool_backward(dy, mask), mask), mask)

    def dense(x: Any, w: Any, b: Any) -> Any:
        return functional.linear(x, w, b), lambda dy, mask: (dy @ w, dy.t() @ x, dy.sum(0))

    def loss(x: Any, labels: Any) -> Any:
        logarithms = functional.log_softmax(x, 1)
        y, total = aten.nll_loss_forward(logarithms, labels, None, 1, -100)

        def backward() -> Any:
            one = torch.ones_like(y)
            d = aten.nll_loss_backward(one, logarithms, labels, None, 1, -100, total)
            return aten._log_softmax_backward_data(d, logarithms, 1, x.dtype)

        return y, backward

    table: dict[str, Any] = {
        "conv": conv,
        "conv + ReLU + pool": conv_relu_pool,
        "pool": lambda x: pool(x, (case.KH, case.KW), case.stride),
        "average pool": average,
        "global average": global_average,
        "depthwise": depthwise,
        "ReLU": relu,
        "norm": norm,
        "norm + ReLU": norm_relu,
        "dense": dense,
        "loss": loss,
    }
    chosen: Operator = table[case.operation]
    return chosen


def _adam(data: Arrays) -> TorchTimed:
    """PyTorch's fused Adam, on as many tensors as the network has."""
    import torch

    pieces = [torch.from_numpy(a) for a in np.split(data["parameters"], _starts())]
    gradients = [torch.from_numpy(a) for a in np.split(data["g"], _starts())]
    for piece, gradient in zip(pieces, gradients, strict=True):
        piece.grad = gradient
    optimizer = torch.optim.Adam(pieces, fused=True)

    def answer() -> Any:
        optimizer.step()
        return [torch.cat(pieces).numpy()]

    return TorchTimed(optimizer.step, answer)


def _starts() -> Any:
    return np.cumsum(REFERENCE_CNN_SIZES)[:-1]
