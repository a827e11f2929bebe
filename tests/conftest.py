"""Fixtures of all tests, and the profile of Hypothesis."""

import numpy as np
import pytest
from hypothesis import settings

import minicnn

# derandomize: every run on every machine draws the same examples. No deadline: the first example
# may compile a kernel.
settings.register_profile("minicnn", deadline=None, derandomize=True, database=None)
settings.load_profile("minicnn")


@pytest.fixture(scope="session")
def integers():
    """Return a source of integers from -4 to 4 as floats.

    ``draw = integers(seed, dtype)``, then ``draw(3, 4)``. Sums of their products are exact in
    float32 in any order while they stay below 2**24, as in all tests.
    """

    def source(seed, dtype):
        rng = np.random.default_rng(seed)
        return lambda *shape: rng.integers(-4, 5, shape).astype(dtype)

    return source


@pytest.fixture(scope="session")
def normals():
    """Return a source of normally distributed values.

    ``draw = normals(seed, dtype)``, then ``draw(3, 4)``.
    """

    def source(seed, dtype):
        rng = np.random.default_rng(seed)
        return lambda *shape: rng.standard_normal(shape).astype(dtype)

    return source


@pytest.fixture(scope="session", params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    """Return each dtype of the library."""
    return request.param


@pytest.fixture(scope="session")
def every_layer():
    """Return a maker of a model with every layer and unusual windows.

    ``model = every_layer(dtype)`` has its initial weights, and random biases and statistics.
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


# pytest would collect it as a test class, by its name.
minicnn.TestTimeAugmentation.__test__ = False
