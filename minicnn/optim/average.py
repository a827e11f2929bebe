"""The exponential moving average of what an optimiser changes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import kernels
from minicnn.shapes import FloatArray


class MovingAverage:
    """Weights averaged over the last steps, which wander less than those of any one step.

    ``a ← a + (1 - d)(p - a)`` after each step, with ``d = min(decay, (1 + n) / (10 + n))`` where n
    steps have gone before: while there are few, the first weights are soon forgotten.

    Parameters
    ----------
    arrays : dict of str to ndarray
        What is averaged; the average begins with what they hold.
    decay : float
        0 to below 1: the average reaches back some ``1 / (1 - decay)`` steps.

    Attributes
    ----------
    arrays : dict of str to ndarray
        The average of each.

    References
    ----------
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging" (SIAM J. Control and
    Optimization 30, 1992), for the idea. TensorFlow's documentation of
    ``tf.train.ExponentialMovingAverage``, for the decay of the first steps.
    """

    def __init__(self, arrays: Mapping[str, FloatArray], decay: float) -> None:
        self.arrays = {name: array.copy() for name, array in arrays.items()}
        self._followed, self._decay = arrays, decay
        self._steps = np.zeros((), np.int64)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what one step hands to the next: to be kept, or to be filled from what was kept.

        Returns
        -------
        dict of str to ndarray
            `arrays`, and the number of ``steps`` (). No copies.
        """
        return {**self.arrays, "steps": self._steps}

    def update(self) -> None:
        """Take in what the arrays are after a step."""
        n = int(self._steps)
        share = 1 - min(self._decay, (1 + n) / (10 + n))
        for name, average in self.arrays.items():
            kernels.move_towards(average, self._followed[name], average.dtype.type(share))
        self._steps += 1
