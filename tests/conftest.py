"""Shared by all tests: how Hypothesis draws, and two sources of arrays."""

import numpy as np
import pytest
from hypothesis import settings

import minicnn

# derandomize: every run, on every machine, draws the same examples. No deadline: the first example
# may have to compile a kernel.
settings.register_profile("minicnn", deadline=None, derandomize=True, database=None)
settings.load_profile("minicnn")


@pytest.fixture(scope="session")
def integers():
    """``draw = integers(seed, dtype)``: ``draw(3, 4)`` are whole numbers from -4 to 4, as floats.

    Their products and sums are exact in float32, in whatever order they are added, while they stay
    below 2**24. No test here comes near.
    """

    def source(seed, dtype):
        rng = np.random.default_rng(seed)
        return lambda *shape: rng.integers(-4, 5, shape).astype(dtype)

    return source


@pytest.fixture(scope="session")
def normals():
    """``draw = normals(seed, dtype)``: ``draw(3, 4)`` are normally distributed numbers."""

    def source(seed, dtype):
        rng = np.random.default_rng(seed)
        return lambda *shape: rng.standard_normal(shape).astype(dtype)

    return source


@pytest.fixture(scope="session", params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Each dtype that the library computes in."""
    return request.param


@pytest.fixture(scope="session")
def every_layer():
    """``model = every_layer(dtype)``: one with each layer of the library, and odd windows.

    Its weights are those that it begins with, its biases and statistics random.
    """

    def make(dtype=np.float32):
        layers = [
            minicnn.Conv2D(6, (5, 3), stride=(2, 1), padding="same"),
            minicnn.BatchNorm(epsilon=1e-3),
            minicnn.ReLU(),
            minicnn.Residual(
                [
                    minicnn.DepthwiseConv2D(3, padding=1),
                    minicnn.Concat([[], [minicnn.Conv2D(2, 1), minicnn.ReLU()]]),
                ],
                [minicnn.Conv2D(8, 1, bias=False)],
            ),
            minicnn.MaxPool2D(3, stride=2, padding=1),
            minicnn.Residual([minicnn.BatchNorm()]),
            minicnn.AvgPool2D((2, 3), padding=(0, 1)),
            minicnn.Dropout(0.25),
            minicnn.Concat(
                [
                    [minicnn.GlobalAvgPool2D()],
                    [minicnn.Flatten(), minicnn.Dense(20, bias=False), minicnn.BatchNorm()],
                ]
            ),
            minicnn.Dense(10),
        ]
        model = minicnn.Sequential(
            layers, (28, 28, 1), seed=1, input_mean=0.1307, input_std=0.3081, dtype=dtype
        )
        rng = np.random.default_rng(0)
        for layer in model.layers:
            for name, array in {**layer.parameters, **layer.statistics}.items():
                if not name.endswith("weight"):
                    array[...] = rng.uniform(0.5, 1.5, array.shape)  # variances too
        return model

    return make


# Its name begins as test classes do.
minicnn.TestTimeAugmentation.__test__ = False
