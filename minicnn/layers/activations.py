"""ReLU and dropout."""

from dataclasses import dataclass

from minicnn import ops
from minicnn.layers.base import Layer
from minicnn.shapes.checks import check_range


@dataclass(eq=False, repr=False)
class ReLU(Layer):
    """Rectified linear unit: ``y = max(x, 0)``."""

    ops = ops.relu, ops.relu_backward
    replayable = True


@dataclass(eq=False, repr=False)
class Dropout(Layer):
    """Zero random elements in training; scale the others to keep the mean.

    Elements that are kept are multiplied by ``1 / (1 - rate)``. At inference y is x. A key means
    training: ``model.forward(x, key=minicnn.RandomKey(seed, epoch, image_ids))``.

    Parameters
    ----------
    rate : float
        Probability of dropping an element, 0 to below 1; see `minicnn.ops.dropout`.

    Raises
    ------
    TypeError, ValueError
        If `rate` is not a number in that range.
    """

    rate: float

    ops = ops.dropout, ops.dropout_backward
    options = ("rate",)
    uses_key = True
    example = (0.4,), (3, 4, 2)
    replayable = True

    def __post_init__(self) -> None:
        self.rate = check_range("Dropout", "rate", self.rate, high=1)
