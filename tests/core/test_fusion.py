"""Fused layers equal the separate layers exactly."""

import numpy as np
import pytest

from minicnn import Sequential, ops
from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.conv import Conv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.fusion import fuse
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import MaxPool2D


def equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


CALLS = {
    "dense": (ops.dense, ops.dense_backward, {}, [(5, 7), (7, 6), (6,)]),
    "dense, one whole tile": (ops.dense, ops.dense_backward, {}, [(4, 3), (3, 16), (16,)]),
    "dense, wide": (ops.dense, ops.dense_backward, {}, [(33, 50), (50, 21), (21,)]),
    **{
        f"conv2d, {backend}": (
            ops.conv2d,
            ops.conv2d_backward,
            {"backend": backend, "padding": 1},
            [(2, 5, 4, 2), (3, 3, 2, 9), (9,)],
        )
        for backend in ("direct", "winograd", "im2col", "reference")
    },
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_fused_relu_equals_a_separate_relu(integers, dtype, call):
    op, backward, options, shapes = call
    draw = integers(1, dtype)
    arguments = [draw(*shape) for shape in shapes]
    plain, plain_cache = op(*arguments, **options)
    wanted, relu_cache = ops.relu(plain)
    y, cache = op(*arguments, **options, relu=True)
    equal([y], [wanted])
    assert (y == 0).any()
    assert (y > 0).any()

    dy = draw(*y.shape)
    gradients = backward(ops.relu_backward(dy, relu_cache), plain_cache)
    equal(backward(dy, cache), gradients)
    assert backward(dy, cache, need_dx=False)[0] is None

    out = tuple(np.full(shape, np.nan, dtype) for shape in shapes[1:])
    found = backward(dy, cache, out=out)
    equal(found, gradients)
    assert found[1] is out[0]
    assert found[2] is out[1]


def test_a_fused_relu_keeps_nan(dtype):
    x, weight, bias = np.full((1, 2), np.nan, dtype), np.ones((2, 3), dtype), np.zeros(3, dtype)
    y, cache = ops.dense(x, weight, bias, relu=True)
    assert np.isnan(y).all()
    dx, _, dbias = ops.dense_backward(np.ones_like(y), cache)
    equal([dx, dbias], [np.zeros((1, 2), dtype), np.zeros(3, dtype)])  # as `relu_backward` has it


def test_a_fused_step_reads_the_arrays_that_its_layer_has_at_the_call():
    layers = [Conv2D(4, 3), ReLU(), Conv2D(3, 3), BatchNorm(), ReLU(), Flatten(), Dense(5), ReLU()]
    model = Sequential(layers, input_shape=(9, 8, 1))
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 1)).astype(np.float32)
    for layer in model.layers:
        arrays = [
            {name: array + 0.5 for name, array in own.items()}
            for own in (layer.parameters, layer.statistics)
        ]
        layer.bind(*arrays)
    one_by_one = x
    for layer in model.layers:
        one_by_one, _ = layer.forward(one_by_one)
    equal([model.forward(x)[0]], [one_by_one])
    np.testing.assert_allclose(model.infer(x), one_by_one, rtol=1e-5)


def test_subclasses_are_not_fused():
    def marked(kind):
        class Marked(kind):
            def forward(self, x, **options):
                y, cache = super().forward(x, **options)
                return y + 1, cache

        return Marked

    rng = np.random.default_rng(0)
    rows = [
        [marked(Conv2D)(2, 3), ReLU(), MaxPool2D(2)],
        [Conv2D(2, 3), marked(ReLU)(), MaxPool2D(2)],
        [Conv2D(2, 3), marked(MaxPool2D)(2)],
        [Conv2D(2, 3), marked(ReLU)()],
        [marked(Conv2D)(2, 3), ReLU()],
        [Flatten(), marked(Dense)(3), ReLU()],
        [marked(BatchNorm)(), ReLU()],
        [Conv2D(2, 3), marked(BatchNorm)()],
        [marked(Conv2D)(2, 3), BatchNorm()],
        [marked(Dropout)(0.5), Flatten()],
    ]
    for layers in rows:
        model = Sequential(layers, (6, 6, 1))
        x = rng.standard_normal((2, 6, 6, 1)).astype(np.float32)
        alone = x
        for layer in layers:
            alone, _ = layer.forward(alone)
        for found in (model.forward(x)[0], model.infer(x)):
            np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5, err_msg=str(layers))


def test_layers_that_are_one_step():
    """Check that fusion happens, since separate layers are only slower."""
    conv, other = Conv2D(2, 3), Conv2D(2, 3, backend="im2col")
    norm, relu, pool, dense = BatchNorm(), ReLU(), MaxPool2D(2), Dense(3)
    cases = [
        ([conv, relu], [2], [2]),
        ([conv, relu, pool], [3], [3]),
        ([conv, pool, relu], [2, 1], [2, 1]),
        ([conv, norm, relu, pool], [1, 2, 1], [3]),
        ([conv, MaxPool2D(3), relu], [1, 1, 1], [1, 1, 1]),
        ([other, relu, pool], [1, 1, 1], [1, 1, 1]),
        ([dense, norm, relu], [1, 2], [2]),
        ([dense, Dropout(0.5), relu], [1, 1, 1], [2]),
        ([norm, relu, relu], [2, 1], [2, 1]),
    ]
    for layers, training, inference in cases:
        assert [step.length for step in fuse(layers)] == training
        assert [step.length for step in fuse(layers, inference=True)] == inference
