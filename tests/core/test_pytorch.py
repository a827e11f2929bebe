"""Equality with PyTorch: recorded values, and live if it is installed."""

import importlib.util
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from minicnn import (
    SGD,
    Adam,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Sequential,
    ops,
    optim,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.ops import conv
from minicnn.random import RandomKey

# All that compute every convolution, registered ones included.
BACKENDS = [name for name in conv.BACKENDS if name != "winograd"]

spec = importlib.util.spec_from_file_location(
    "record_pytorch", Path(__file__).parents[1] / "data" / "record_pytorch.py"
)
recording = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recording)  # imports no PyTorch

from_torch, to_torch = recording.from_torch, recording.to_torch
OPTIMIZERS = {"SGD": SGD, "Adam": Adam, "AdamW": Adam}

# For sums in float64 that two libraries add in different orders: thousands of roundings of 1e-16.
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module")
def record():
    with np.load(recording.RECORD) as file:
        return dict(file)


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


def arrays_of(record, case, names, dtype):
    """Return recorded arrays in a dtype; multiples of 1/8 are exact in both."""
    return [record[f"{case}/{name}"].astype(dtype) for name in names.split()]


def equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


# ------------------------------------------------------------ the two layouts


def test_to_and_from_torch_say_which_axis_is_which():
    image, weight = np.empty((2, 3, 4, 5)), np.empty((2, 3, 4, 5))
    for n, h, w, c in np.ndindex(image.shape):
        image[n, h, w, c] = 1000 * n + 100 * h + 10 * w + c
        weight[n, h, w, c] = 1000 * n + 100 * h + 10 * w + c
    assert to_torch(image).shape == (2, 5, 3, 4)
    assert to_torch(image)[1, 4, 2, 3] == 1234  # n, c, h, w of n=1, h=2, w=3, c=4
    assert to_torch(weight, weight=True).shape == (5, 4, 2, 3)
    assert to_torch(weight, weight=True)[4, 3, 1, 2] == 1234  # F, C, KH, KW


@pytest.mark.parametrize("weight", [False, True])
def test_to_and_from_torch_undo_each_other(normals, weight):
    array = normals(1, np.float64)(2, 3, 4, 5)
    equal([from_torch(to_torch(array, weight=weight), weight=weight)], [array])
    equal([to_torch(from_torch(array, weight=weight), weight=weight)], [array])
    assert to_torch(array, weight=weight).flags.c_contiguous


# ------------------------------------------------------------ recorded


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", recording.CONVOLUTIONS)
def test_recorded_convolutions_are_equal(record, dtype, case, backend):
    *_, stride, padding = recording.CONVOLUTIONS[case]
    x, weight, bias, dy = arrays_of(record, case, "x weight bias dy", dtype)
    y, cache = ops.conv2d(x, weight, bias, stride, padding, backend=backend)
    found = (y, *ops.conv2d_backward(dy, cache))
    equal(found, arrays_of(record, case, "y dx dweight dbias", dtype))


@pytest.mark.parametrize("case", recording.POOLS)
def test_recorded_pools_are_equal(record, dtype, case):
    _, *options = recording.POOLS[case]
    x, dy = arrays_of(record, case, "x dy", dtype)
    y, cache = ops.max_pool2d(x, *options)
    equal((y, ops.max_pool2d_backward(dy, cache)), arrays_of(record, case, "y dx", dtype))


@pytest.mark.parametrize("case", recording.AVERAGES)
def test_recorded_averages_are_equal(record, dtype, case):
    _, *options = recording.AVERAGES[case]
    x, dy = arrays_of(record, case, "x dy", dtype)
    y, cache = ops.avg_pool2d(x, *options)
    equal((y, ops.avg_pool2d_backward(dy, cache)), arrays_of(record, case, "y dx", dtype))


@pytest.mark.parametrize("case", recording.DEPTHWISE)
def test_recorded_depthwise_convolutions_are_equal(record, dtype, case):
    *_, stride, padding = recording.DEPTHWISE[case]
    x, weight, bias, dy = arrays_of(record, case, "x weight bias dy", dtype)
    y, cache = ops.depthwise_conv2d(x, weight, bias, stride, padding)
    found = (y, *ops.depthwise_conv2d_backward(dy, cache))
    equal(found, arrays_of(record, case, "y dx dweight dbias", dtype))


@pytest.mark.parametrize("case", recording.DENSES)
def test_recorded_dense_layers_are_equal(record, dtype, case):
    x, weight, bias, dy = arrays_of(record, case, "x weight bias dy", dtype)
    y, cache = ops.dense(x, weight, bias)
    found = (y, *ops.dense_backward(dy, cache))
    equal(found, arrays_of(record, case, "y dx dweight dbias", dtype))


def test_recorded_relu_is_equal(record, dtype):
    x, dy = arrays_of(record, "relu", "x dy", dtype)
    y, cache = ops.relu(x)
    equal((y, ops.relu_backward(dy, cache)), arrays_of(record, "relu", "y dx", dtype))


def test_recorded_softmax(record):
    logits, dy, *wanted = arrays_of(record, "softmax", "logits dy y dlogits", np.float64)
    y, cache = ops.softmax(logits)
    np.testing.assert_allclose(y, wanted[0], **CLOSE)
    np.testing.assert_allclose(ops.softmax_backward(dy, cache), wanted[1], **CLOSE)


def norm_results(steps, x, dy, weight, bias, epsilon, momentum):
    """Do what `record_pytorch.batch_norm` does, in minicnn."""
    mean, variance = np.zeros_like(bias), np.ones_like(bias)
    for step in steps:
        _, cache = ops.batch_norm(step, weight, bias, epsilon=epsilon)
        mean += momentum * (cache.mean - mean)
        variance += momentum * (cache.variance - variance)
    found = [mean, variance]
    for y, cache in (
        ops.batch_norm_inference(x, weight, bias, mean, variance, epsilon=epsilon),
        ops.batch_norm(x, weight, bias, epsilon=epsilon),
    ):
        found += [y, *ops.batch_norm_backward(dy, cache)]
    return found


@pytest.mark.parametrize("case", recording.NORMS)
def test_recorded_batch_norms(record, case):
    _, *options = recording.NORMS[case]
    given = arrays_of(record, case, "steps x dy weight bias", np.float64)
    wanted = arrays_of(record, case, recording.NORM_RESULTS, np.float64)
    for name, found, one in zip(
        recording.NORM_RESULTS.split(), norm_results(*given, *options), wanted, strict=True
    ):
        np.testing.assert_allclose(found, one, err_msg=name, **CLOSE)


@pytest.mark.parametrize("size", [1, 300])
@pytest.mark.parametrize("kind", ["labels", "rows"])
def test_recorded_losses(record, kind, size):
    case = f"loss of {kind}, logits times {size}"
    labels = record[f"{case}/labels"]
    logits, *wanted = arrays_of(record, case, "logits loss dlogits", np.float64)
    loss, cache = softmax_cross_entropy(logits, labels)
    np.testing.assert_allclose(loss, wanted[0], **CLOSE)
    np.testing.assert_allclose(softmax_cross_entropy_backward(1.0, cache), wanted[1], **CLOSE)


@pytest.mark.parametrize("kind", ["labels", "rows"])
def test_recorded_losses_with_label_smoothing(record, kind):
    case = f"loss of {kind}, smoothed"
    labels = record[f"{case}/labels"]
    logits, *wanted = arrays_of(record, case, "logits loss dlogits", np.float64)
    loss, cache = softmax_cross_entropy(logits, labels, label_smoothing=0.1)
    np.testing.assert_allclose(loss, wanted[0], **CLOSE)
    np.testing.assert_allclose(softmax_cross_entropy_backward(1.0, cache), wanted[1], **CLOSE)


@pytest.mark.parametrize("case", recording.OPTIMIZERS)
def test_recorded_trajectories(record, dtype, case):
    kind, _, options = recording.OPTIMIZERS[case]
    optimizer = OPTIMIZERS[kind](**options)
    parameters, steps = arrays_of(record, "optimizers", "start gradients", dtype)
    seen = []
    for gradient in steps:
        optimizer.step(parameters, gradient)
        seen.append(parameters.copy())
    # float32: 50 steps of some roundings of 6e-8 each, on parameters of the order of 10.
    close = CLOSE if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(seen, record[f"{case}/trajectory"], **close)


# ------------------------------------------------------------ live


def test_the_record_is_what_the_script_makes(torch, record):
    found = {name: recording.pack(array) for name, array in recording.record().items()}
    assert found.keys() == record.keys()
    for name in found.keys() - {"version"}:
        # Exact where all is a multiple of 1/8; another version of PyTorch may round others.
        exact = name.startswith(("conv", "depthwise", "pool", "average", "dense", "relu"))
        close = {"rtol": 0, "atol": 0} if exact else CLOSE
        np.testing.assert_allclose(found[name], record[name], err_msg=name, **close)


def close_to_torch(torch, found, wanted):
    """Compare with the float32 tolerances of assert_close."""
    for one, other in zip(found, wanted, strict=True):
        close = CLOSE if one.dtype == np.float64 else {}
        torch.testing.assert_close(torch.from_numpy(one), torch.from_numpy(other), **close)


@pytest.mark.parametrize("padding", [0, 1, (2, 1), (0, 3)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, (1, 3)], ids=str)
def test_live_convolutions(torch, normals, dtype, stride, padding):
    draw = normals(2, dtype)
    for (H, W), (KH, KW) in product([(6, 6), (5, 7)], [(1, 1), (3, 3), (5, 2)]):
        x, weight, bias = draw(2, H, W, 2), draw(KH, KW, 2, 3), draw(3)
        y, cache = ops.conv2d(x, weight, bias, stride, padding)
        dy = draw(*y.shape)
        wanted = recording.conv2d(x, weight, bias, stride, padding, dy)
        close_to_torch(torch, (y, *ops.conv2d_backward(dy, cache)), wanted)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 4), (4, 3), (5, 5)], ids=str)
def test_live_convolutions_with_same_padding(torch, normals, dtype, kernel):
    draw = normals(3, dtype)
    x, weight, bias = draw(2, 6, 5, 2), draw(*kernel, 2, 3), draw(3)
    y, cache = ops.conv2d(x, weight, bias, padding="same")
    dy = draw(*y.shape)
    wanted = recording.conv2d(x, weight, bias, 1, "same", dy)
    close_to_torch(torch, (y, *ops.conv2d_backward(dy, cache)), wanted)


@pytest.mark.parametrize(
    ("pool_size", "stride", "padding"),
    [(2, None, 0), (3, 1, 0), (3, 2, 1), ((2, 4), (3, 1), (1, 2)), ((1, 3), None, (0, 1))],
)
@pytest.mark.parametrize("values", ["any", "ties", "minus infinity", "NaN"])
def test_live_pools(torch, normals, dtype, pool_size, stride, padding, values):
    draw = normals(4, dtype)
    x = draw(2, 7, 8, 3)
    if values == "ties":
        x = np.sign(x)
    elif values == "minus infinity":
        x[:, :5] = -np.inf  # whole windows of it: the first pixel wins
    elif values == "NaN":
        x[draw(*x.shape) > 1] = np.nan  # of several in a window the last wins
    y, cache = ops.max_pool2d(x, pool_size, stride, padding)
    dy = draw(*y.shape)
    wanted_y, wanted_dx = recording.max_pool2d(x, pool_size, stride, padding, dy)
    equal([y], [wanted_y])
    # A pixel adds up the windows that it has won, in an order that may differ.
    np.testing.assert_allclose(
        ops.max_pool2d_backward(dy, cache), wanted_dx, rtol=4 * np.finfo(dtype).eps, atol=1e-6
    )


@pytest.mark.parametrize(
    ("pool_size", "stride", "padding"),
    [(2, None, 0), (3, 1, 0), (3, 2, 1), ((2, 4), (3, 1), (1, 2)), ((1, 3), None, (0, 1))],
)
@pytest.mark.parametrize("C", [3, 16])
def test_live_averages(torch, normals, dtype, pool_size, stride, padding, C):
    draw = normals(14, dtype)
    x = draw(2, 7, 8, C)
    y, cache = ops.avg_pool2d(x, pool_size, stride, padding)
    dy = draw(*y.shape)
    wanted = recording.avg_pool2d(x, pool_size, stride, padding, dy)
    close_to_torch(torch, (y, ops.avg_pool2d_backward(dy, cache)), wanted)


@pytest.mark.parametrize("shape", [(2, 7, 8, 3), (3, 5, 5, 16)], ids=str)
def test_live_global_averages(torch, normals, dtype, shape):
    draw = normals(15, dtype)
    x, dy = draw(*shape), draw(shape[0], shape[3])
    y, cache = ops.global_avg_pool2d(x)
    wanted = recording.gradients(lambda x: x.mean((1, 2)), dy, x)
    close_to_torch(torch, (y, ops.global_avg_pool2d_backward(dy, cache)), wanted)


@pytest.mark.parametrize("padding", [0, 1, (2, 1), (0, 3)], ids=str)
@pytest.mark.parametrize("stride", [1, 2, (1, 3)], ids=str)
def test_live_depthwise_convolutions(torch, normals, dtype, stride, padding):
    draw = normals(16, dtype)
    for (H, W, C), (KH, KW) in product([(6, 6, 16), (5, 7, 3)], [(1, 1), (3, 3), (5, 2)]):
        x, weight, bias = draw(2, H, W, C), draw(KH, KW, C), draw(C)
        y, cache = ops.depthwise_conv2d(x, weight, bias, stride, padding)
        dy = draw(*y.shape)
        wanted = recording.depthwise_conv2d(x, weight, bias, stride, padding, dy)
        close_to_torch(torch, (y, *ops.depthwise_conv2d_backward(dy, cache)), wanted)


@pytest.mark.parametrize(("N", "inputs", "outputs"), [(1, 3, 2), (5, 130, 7), (8, 64, 10)])
def test_live_dense_layers(torch, normals, dtype, N, inputs, outputs):
    draw = normals(5, dtype)
    x, weight, bias, dy = draw(N, inputs), draw(inputs, outputs), draw(outputs), draw(N, outputs)
    y, cache = ops.dense(x, weight, bias)
    wanted = recording.gradients(lambda x, weight, bias: x @ weight + bias, dy, x, weight, bias)
    close_to_torch(torch, (y, *ops.dense_backward(dy, cache)), wanted)


@pytest.mark.parametrize("shape", [(2, 1), (33, 20), (2, 1, 1, 3), (8, 7, 9, 17)], ids=str)
def test_live_batch_norms(torch, normals, dtype, shape):
    draw = normals(9, dtype)
    steps, x, dy, weight, bias = (
        draw(*extra) for extra in ((4, *shape), shape, shape, shape[-1:], shape[-1:])
    )
    given = 2 * steps + 1, x, dy, weight, bias, 1e-5, 0.1
    close_to_torch(torch, norm_results(*given), recording.batch_norm(*given))


def test_live_relu(torch, dtype):
    x = np.array([-np.inf, -2.0, -0.0, 0.0, 1e-30, 3.0, np.inf], dtype)
    dy = np.array([1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0], dtype)
    y, cache = ops.relu(x)
    equal((y, ops.relu_backward(dy, cache)), recording.gradients(torch.relu, dy, x))
    (nan,), _ = ops.relu(np.array([np.nan], dtype))
    assert np.isnan(nan)


@pytest.mark.parametrize("rate", [0, 0.25, 0.5, 0.75])
def test_live_dropout(torch, dtype, rate):
    x, dy = np.linspace(1, 2, 300, dtype=dtype).reshape(3, 100), np.ones((3, 100), dtype)
    theirs = torch.tensor(x, requires_grad=True)
    wanted = torch.nn.functional.dropout(theirs, rate)
    wanted.backward(torch.tensor(dy))
    y, cache = ops.dropout(x, rate, RandomKey(0, 0, np.arange(3)))
    dx, both = ops.dropout_backward(dy, cache), (y != 0) & (wanted != 0).numpy()
    assert both.mean() == pytest.approx((1 - rate) ** 2, abs=0.15)
    equal((y[both], dx[both]), (wanted.detach().numpy()[both], theirs.grad.numpy()[both]))
    assert not dx[y == 0].any()
    in_use, _ = Dropout(rate).forward(x)
    equal([in_use], [torch.nn.functional.dropout(torch.tensor(x), rate, training=False).numpy()])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("size", [1, 30, 1000])
def test_live_softmax_and_loss(torch, normals, dtype, size, smoothing):
    draw = normals(6, dtype)
    logits, dy, labels = draw(6, 10) * size, draw(6, 10), np.array([0, 9, 4, 4, 1, 7])
    y, cache = ops.softmax(logits)
    wanted = recording.gradients(lambda x: torch.softmax(x, 1), dy, logits)
    close_to_torch(torch, (y, ops.softmax_backward(dy, cache)), wanted)
    loss, cache = softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    wanted = recording.gradients(
        lambda x: torch.nn.functional.cross_entropy(
            x, torch.tensor(labels), label_smoothing=smoothing
        ),
        dtype(1),
        logits,
    )
    found = np.asarray(loss), softmax_cross_entropy_backward(1.0, cache)
    close_to_torch(torch, found, wanted)


def test_live_network(torch, normals, dtype):
    """Compare loss and gradients of one network in both libraries."""
    draw = normals(7, dtype)
    model = Sequential(
        [Conv2D(4, 3), ReLU(), MaxPool2D(2), Conv2D(5, 2, padding=1), ReLU(), Flatten(), Dense(10)],
        input_shape=(10, 9, 2),
        dtype=dtype,
    )
    x, labels = draw(6, 10, 9, 2), np.array([1, 2, 3, 4, 5, 9])
    logits, caches = model.forward(x)
    loss, cache = softmax_cross_entropy(logits, labels)
    _, gradients = model.backward(softmax_cross_entropy_backward(1.0, cache), caches)

    found, arguments = [np.asarray(loss)], []
    for layer, views in zip(model.layers, model.unflatten(gradients), strict=True):
        found += views.values()
        arguments += layer.parameters.values()

    def network(weight1, bias1, weight2, bias2, weight3, bias3):
        conv2d, max_pool2d = torch.nn.functional.conv2d, torch.nn.functional.max_pool2d
        h = torch.tensor(to_torch(x))
        h = max_pool2d(conv2d(h, weight1.permute(3, 2, 0, 1), bias1).relu(), 2)
        h = conv2d(h, weight2.permute(3, 2, 0, 1), bias2, padding=1).relu()
        h = h.permute(0, 2, 3, 1).flatten(1)  # minicnn's order of the features: h, w, c
        return torch.nn.functional.cross_entropy(h @ weight3 + bias3, torch.tensor(labels))

    close_to_torch(torch, found, recording.gradients(network, dtype(1), *arguments))


@pytest.mark.parametrize("case", recording.OPTIMIZERS)
def test_live_trajectories_of_other_numbers(torch, normals, dtype, case):
    kind, torch_options, options = recording.OPTIMIZERS[case]
    draw = normals(8, dtype)
    parameters, steps = draw(20), draw(50, 20) * 3
    wanted = recording.trajectory(kind, torch_options, parameters, steps)
    optimizer, seen = OPTIMIZERS[kind](**options), []
    for gradient in steps:
        optimizer.step(parameters, gradient)
        seen.append(parameters.copy())
    close = CLOSE if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}  # as above
    np.testing.assert_allclose(seen, wanted, **close)


@pytest.mark.parametrize(
    ("schedule", "name", "arguments"),
    [(optim.cosine, "CosineAnnealingLR", [200]), (optim.step_decay, "MultiStepLR", [[100, 150]])],
)
def test_live_schedules(torch, schedule, name, arguments):
    """Compare the factors of 200 steps with the progress that `fit` passes."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, *arguments)
    expected = []
    for _ in range(200):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    found = [schedule(done / 200) for done in range(200)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
