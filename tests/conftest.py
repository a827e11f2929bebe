"""Shared by all tests: how Hypothesis draws, and two sources of arrays."""

import numpy as np
import pytest
from hypothesis import settings

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
