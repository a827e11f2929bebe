"""Record results of PyTorch, so that parity is tested without PyTorch.

    python tests/data/record_pytorch.py

The file is ``tests/data/pytorch.npz``, its arrays in the layout of minicnn. Inputs are multiples of
1/8 up to 4: every product and sum of a convolution is exact, also in float32. So the record of a
convolution, pool or dense layer does not depend on the machine.
"""

import warnings
from pathlib import Path

import numpy as np

RECORD = Path(__file__).with_name("pytorch.npz")

# x (N, H, W, C), weight (KH, KW, C, F), stride, padding
CONVOLUTIONS = {
    "conv 3x3": ((2, 6, 5, 3), (3, 3, 3, 4), 1, 0),
    "conv 1x1": ((2, 3, 4, 3), (1, 1, 3, 2), 1, 0),
    "conv 5x5": ((1, 7, 8, 1), (5, 5, 1, 3), 1, 2),
    "conv 2x3": ((2, 5, 6, 2), (2, 3, 2, 2), 1, 0),
    "conv stride 2": ((2, 7, 6, 2), (3, 3, 2, 2), 2, 0),
    "conv stride (2, 1)": ((1, 6, 5, 2), (3, 2, 2, 3), (2, 1), 0),
    "conv padding (2, 1)": ((1, 4, 5, 2), (3, 3, 2, 2), 1, (2, 1)),
    "conv all different": ((3, 8, 5, 2), (4, 3, 2, 5), (3, 2), (1, 2)),
    "conv same": ((1, 5, 4, 2), (3, 5, 2, 2), 1, "same"),
    "conv same, even kernel": ((1, 5, 4, 2), (4, 2, 2, 2), 1, "same"),
    "conv K above 64": ((2, 4, 4, 8), (3, 3, 8, 2), 1, 1),
}

# x (N, H, W, C), pool size, stride, padding; PyTorch allows half the window of padding
POOLS = {
    "pool 2x2": ((2, 6, 4, 3), 2, None, 0),
    "pool 2x2, left over": ((1, 5, 7, 2), 2, None, 0),
    "pool 3x3 overlapping": ((2, 5, 6, 2), 3, 1, 0),
    "pool 3x2 padded": ((1, 5, 6, 2), (3, 2), (2, 1), (1, 1)),
    "pool with gaps": ((1, 8, 7, 1), 2, (3, 4), 0),
}

# x (N, H, W, C), kernel (KH, KW), stride, padding
DEPTHWISE = {
    "depthwise 3x3": ((2, 6, 5, 3), (3, 3), 1, 1),
    "depthwise stride (2, 1)": ((1, 7, 6, 2), (3, 2), (2, 1), 0),
    "depthwise all different": ((2, 8, 5, 9), (4, 3), (3, 2), (1, 2)),
    "depthwise same": ((1, 5, 4, 2), (3, 5), 1, "same"),
}

# x (N, H, W, C), pool size, stride, padding; areas that are powers of two give exact means
AVERAGES = {
    "average 2x2": ((2, 6, 4, 3), 2, None, 0),
    "average 2x2, left over": ((1, 5, 7, 2), 2, None, 0),
    "average 4x2 padded": ((1, 5, 6, 2), (4, 2), (2, 1), (2, 1)),
    "average with gaps": ((1, 8, 7, 1), 2, (3, 4), 0),
}

DENSES = {"dense 5 to 3": (4, 5, 3), "dense 70 to 2": (3, 70, 2)}

# x (N, ..., C), epsilon, momentum; NORM_STEPS of training and one of inference
NORMS = {"norm of images": ((4, 3, 5, 6), 1e-5, 0.1), "norm of rows": ((7, 9), 1e-3, 0.3)}
NORM_STEPS = 3
NORM_RESULTS = (
    "mean variance inference_y inference_dx inference_dweight inference_dbias y dx dweight dbias"
)

# The class of torch.optim, its options, and those of minicnn; 50 steps each
OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.1}, {"learning_rate": 0.1}),
    "sgd momentum": (
        "SGD",
        {"lr": 0.05, "momentum": 0.9},
        {"learning_rate": 0.05, "momentum": 0.9},
    ),
    "sgd nesterov": (
        "SGD",
        {"lr": 0.02, "momentum": 0.8, "nesterov": True},
        {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True},
    ),
    "adam": ("Adam", {}, {}),
    "adam other options": (
        "Adam",
        {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-4},
        {"learning_rate": 0.03, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-4},
    ),
    "adamw": (
        "AdamW",
        {"lr": 0.05, "weight_decay": 0.3},
        {"learning_rate": 0.05, "weight_decay": 0.3},
    ),
}
STEPS, PARAMETERS = 50, 5


def to_torch(array, *, weight=False):
    """Convert (N, H, W, C) to (N, C, H, W), or weights to (F, C, KH, KW)."""
    return np.ascontiguousarray(array.transpose((3, 2, 0, 1) if weight else (0, 3, 1, 2)))


def from_torch(array, *, weight=False):
    """Convert (N, C, H, W) to (N, H, W, C), or weights to (KH, KW, C, F)."""
    return np.ascontiguousarray(array.transpose((2, 3, 1, 0) if weight else (0, 2, 3, 1)))


def eighths(rng, *shape):
    """Draw multiples of 1/8 from -4 to 4."""
    return rng.integers(-32, 33, shape) / 8


def leaf(array):
    import torch

    return torch.tensor(array, requires_grad=True)


def conv2d(x, weight, bias, stride, padding, dy=None):
    """Return (y, dx, dweight, dbias) from PyTorch; without `dy` only (y,)."""
    from torch.nn.functional import conv2d

    x, weight, bias = leaf(to_torch(x)), leaf(to_torch(weight, weight=True)), leaf(bias)
    with warnings.catch_warnings():  # PyTorch warns that "same" with an even kernel may copy
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel lengths")
        y = conv2d(x, weight, bias, stride, padding)
    results = [from_torch(y.detach().numpy())]
    if dy is not None:
        y.backward(leaf(to_torch(dy)))
        dweight = from_torch(weight.grad.numpy(), weight=True)
        results += [from_torch(x.grad.numpy()), dweight, bias.grad.numpy()]
    return tuple(results)


def depthwise_conv2d(x, weight, bias, stride, padding, dy=None):
    """Return (y, dx, dweight, dbias) from PyTorch; without `dy` only (y,)."""
    from torch.nn.functional import conv2d

    groups = x.shape[3]
    x, bias = leaf(to_torch(x)), leaf(bias)
    weight = leaf(to_torch(weight[:, :, None], weight=True))  # (C, 1, KH, KW)
    y = conv2d(x, weight, bias, stride, padding, groups=groups)
    results = [from_torch(y.detach().numpy())]
    if dy is not None:
        y.backward(leaf(to_torch(dy)))
        dweight = from_torch(weight.grad.numpy(), weight=True)[:, :, 0]
        results += [from_torch(x.grad.numpy()), dweight, bias.grad.numpy()]
    return tuple(results)


def max_pool2d(x, pool_size, stride, padding, dy=None):
    """Return (y, dx) from PyTorch; without `dy` only (y,)."""
    return pool2d("max_pool2d", x, pool_size, stride, padding, dy)


def avg_pool2d(x, pool_size, stride, padding, dy=None):
    """Return (y, dx) from PyTorch; without `dy` only (y,)."""
    return pool2d("avg_pool2d", x, pool_size, stride, padding, dy)


def pool2d(kind, x, pool_size, stride, padding, dy):
    from torch.nn import functional

    x = leaf(to_torch(x))
    y = getattr(functional, kind)(x, pool_size, stride, padding)
    if dy is None:
        return (from_torch(y.detach().numpy()),)
    y.backward(leaf(to_torch(dy)))
    return from_torch(y.detach().numpy()), from_torch(x.grad.numpy())


def channels_first(array):
    """Convert (N, H, W, C) to (N, C, H, W); return (N, C) unchanged."""
    return to_torch(array) if array.ndim == 4 else array


def channels_last(array):
    """Convert (N, C, H, W) to (N, H, W, C); return (N, C) unchanged."""
    return from_torch(array) if array.ndim == 4 else array


def batch_norm(steps, x, dy, weight, bias, epsilon, momentum):
    """Train PyTorch's batch norm on `steps`, then run it on x.

    Return the running mean and variance, then (y, dx, dweight, dbias) of inference and of training.
    """
    import torch

    kind = torch.nn.BatchNorm2d if x.ndim == 4 else torch.nn.BatchNorm1d
    layer = kind(len(weight), epsilon, momentum, dtype=leaf(x).dtype)
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    for step in steps:
        layer(torch.tensor(channels_first(step)))
    results = [layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()]
    layer.eval()
    for _ in range(2):
        layer.zero_grad()
        leaf_x = leaf(channels_first(x))
        y = layer(leaf_x)
        y.backward(leaf(channels_first(dy)))
        results += [channels_last(y.detach().numpy()), channels_last(leaf_x.grad.numpy())]
        results += [layer.weight.grad.numpy().copy(), layer.bias.grad.numpy().copy()]
        layer.train()
    return tuple(results)


def gradients(function, dy, *arguments):
    """Return the output of a PyTorch function, then a gradient per argument."""
    leaves = [leaf(array) for array in arguments]
    y = function(*leaves)
    y.backward(leaf(np.asarray(dy)))
    return y.detach().numpy(), *(argument.grad.numpy() for argument in leaves)


def trajectory(kind, options, start, steps):
    """Return the parameters after each step of a PyTorch optimizer."""
    import torch

    parameters = leaf(start)
    optimizer = getattr(torch.optim, kind)([parameters], **options)
    history = []
    for gradient in steps:
        parameters.grad = torch.tensor(gradient)
        optimizer.step()
        history.append(parameters.detach().numpy().copy())
    return np.array(history)


def record():
    """Return all arrays by name, ``case/array``, and the PyTorch version."""
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(20)
    results = {"version": np.array(torch.__version__)}

    def store(case, names, arrays):
        for name, array in zip(names.split(), arrays, strict=True):
            results[f"{case}/{name}"] = array

    for case, (x_shape, weight_shape, stride, padding) in CONVOLUTIONS.items():
        x, weight, bias = (eighths(rng, *s) for s in (x_shape, weight_shape, weight_shape[3:]))
        (y,) = conv2d(x, weight, bias, stride, padding)
        dy = eighths(rng, *y.shape)
        arrays = conv2d(x, weight, bias, stride, padding, dy)
        store(case, "x weight bias dy y dx dweight dbias", (x, weight, bias, dy, *arrays))

    for case, (x_shape, *options) in POOLS.items():
        x = eighths(rng, *x_shape)
        (y,) = max_pool2d(x, *options)
        dy = eighths(rng, *y.shape)
        store(case, "x dy y dx", (x, dy, *max_pool2d(x, *options, dy)))

    for case, (N, inputs, outputs) in DENSES.items():
        x, weight, bias = (
            eighths(rng, N, inputs),
            eighths(rng, inputs, outputs),
            eighths(rng, outputs),
        )
        dy = eighths(rng, N, outputs)
        arrays = gradients(lambda x, weight, bias: x @ weight + bias, dy, x, weight, bias)
        store(case, "x weight bias dy y dx dweight dbias", (x, weight, bias, dy, *arrays))

    x, dy = eighths(rng, 3, 20), eighths(rng, 3, 20)
    store("relu", "x dy y dx", (x, dy, *gradients(functional.relu, dy, x)))

    logits, dy = eighths(rng, 4, 10), eighths(rng, 4, 10)
    softmax = gradients(lambda logits: functional.softmax(logits, dim=1), dy, logits)
    store("softmax", "logits dy y dlogits", (logits, dy, *softmax))

    labels, rows = np.array([3, 0, 9, 3]), rng.integers(1, 9, (4, 10)) / 1.0
    rows /= rows.sum(axis=1, keepdims=True)
    for case, targets in {"loss of labels": labels, "loss of rows": rows}.items():
        for size in (1, 300):
            arrays = gradients(
                lambda logits, targets=targets: functional.cross_entropy(
                    logits, torch.tensor(targets)
                ),
                1.0,
                size * logits,
            )
            store(
                f"{case}, logits times {size}",
                "logits labels loss dlogits",
                (size * logits, targets, *arrays),
            )

        arrays = gradients(
            lambda logits, targets=targets: functional.cross_entropy(
                logits, torch.tensor(targets), label_smoothing=0.1
            ),
            1.0,
            logits,
        )
        store(f"{case}, smoothed", "logits labels loss dlogits", (logits, targets, *arrays))

    start, steps = eighths(rng, PARAMETERS), eighths(rng, STEPS, PARAMETERS)
    store("optimizers", "start gradients", (start, steps))
    for case, (kind, options, _) in OPTIMIZERS.items():
        results[f"{case}/trajectory"] = trajectory(kind, options, start, steps)

    rng = np.random.default_rng(21)
    for case, (shape, epsilon, momentum) in NORMS.items():
        steps, x, dy = (eighths(rng, *extra, *shape) for extra in ((NORM_STEPS,), (), ()))
        weight, bias = eighths(rng, shape[-1]), eighths(rng, shape[-1])
        arrays = batch_norm(steps, x, dy, weight, bias, epsilon, momentum)
        store(case, "steps x dy weight bias", (steps, x, dy, weight, bias))
        store(case, NORM_RESULTS, arrays)

    rng = np.random.default_rng(22)
    for case, (x_shape, kernel, stride, padding) in DEPTHWISE.items():
        x, weight, bias = (eighths(rng, *s) for s in (x_shape, (*kernel, x_shape[3]), x_shape[3:]))
        (y,) = depthwise_conv2d(x, weight, bias, stride, padding)
        dy = eighths(rng, *y.shape)
        arrays = depthwise_conv2d(x, weight, bias, stride, padding, dy)
        store(case, "x weight bias dy y dx dweight dbias", (x, weight, bias, dy, *arrays))

    for case, (x_shape, *options) in AVERAGES.items():
        x = eighths(rng, *x_shape)
        (y,) = avg_pool2d(x, *options)
        dy = eighths(rng, *y.shape)
        store(case, "x dy y dx", (x, dy, *avg_pool2d(x, *options, dy)))

    return results


def pack(array):
    """Convert to float32 if that is exact, to halve the file."""
    if array.dtype == np.float64 and np.array_equal(array, array.astype(np.float32)):
        return array.astype(np.float32)
    return array


if __name__ == "__main__":
    np.savez_compressed(RECORD, **{name: pack(array) for name, array in record().items()})
    print(f"{RECORD}: {RECORD.stat().st_size / 1000:.0f} kB")
