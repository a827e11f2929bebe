"""Schedules: by what the learning rate is multiplied as training goes on.

A schedule is any function of the share of the training that is done, 0 to 1, to a factor. So it
knows nothing of epochs and batches, and the same one serves short and long trainings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from minicnn import shapes

Schedule = Callable[[float], float]


def constant(progress: float) -> float:
    """Leave the learning rate as it is.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        1.
    """
    return 1.0


def step(progress: float) -> float:
    """Let the learning rate fall to a tenth when half is done, and again at three quarters.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        1, 0.1 or 0.01.

    References
    ----------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (CVPR 2016), section 4.2:
    divided by 10 after 32,000 and 48,000 of 64,000 steps.
    """
    if progress < 1 / 2:
        return 1.0
    return 0.1 if progress < 3 / 4 else 0.01


def linear(progress: float) -> float:
    """Let the learning rate fall evenly from 1 to 0 times its value.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        ``1 - progress``.
    """
    return 1 - progress


def cosine(progress: float) -> float:
    """Let the learning rate fall from 1 to 0 times its value along half a cosine.

    ``factor = (1 + cos(π · progress)) / 2``: large steps while there is far to go, small ones to
    settle at the end.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float

    References
    ----------
    Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017),
    equation 5, without restarts.
    """
    return (1 + cos(pi * progress)) / 2


def one_cycle(progress: float) -> float:
    """Let the learning rate rise evenly to its full value and fall back, then die away.

    From a tenth to the whole in the first 45 %, back to a tenth in the next 45 %, and to a
    thousandth in the last 10 %. The slow start allows a higher full value than other schedules.
    Momentum stays as it is; the paper lets it fall and rise the other way round. The same as
    ``torch.optim.lr_scheduler.OneCycleLR`` with ``anneal_strategy="linear"``, ``three_phase=True``,
    ``pct_start=0.45``, ``div_factor=10``, ``final_div_factor=100``.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0 to 1.

    Returns
    -------
    float
        0.001 to 1.

    References
    ----------
    Smith, Topin, "Super-convergence: very fast training of neural networks using large learning
    rates" (2018, arXiv:1708.07120), section 3.
    """
    if progress <= 0.9:
        from_top = abs(progress - 0.45) / 0.45
        return 1 - 0.9 * from_top
    return 0.1 - 0.099 * (progress - 0.9) / 0.1


@dataclass(frozen=True, repr=False)
class WarmUp:
    """Let the learning rate rise evenly from 0 to its full value, before a schedule takes over.

    Adam's first steps are large, whatever the gradients, and batch norm's first statistics are
    those of a few shards: high learning rates do harm until both have settled.

    Parameters
    ----------
    schedule : callable
        Takes its whole course in what is left of the training.
    share : float
        Of the training, 0 to below 1.

    Raises
    ------
    TypeError, ValueError
        If `share` is no number, or out of range.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017,
    arXiv:1706.02677), section 2.2.
    """

    schedule: Schedule = cosine
    share: float = 0.1

    def __post_init__(self) -> None:
        """Check the share."""
        shapes.number_in("WarmUp", "share", self.share, high=1)

    def __repr__(self) -> str:
        return f"WarmUp({getattr(self.schedule, '__name__', repr(self.schedule))}, {self.share})"

    def __call__(self, progress: float) -> float:
        """Return the factor.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.

        Returns
        -------
        float
        """
        if progress < self.share:
            return progress / self.share
        return self.schedule((progress - self.share) / (1 - self.share))


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "step": step,
    "linear": linear,
    "cosine": cosine,
    "cosine-warm-up": WarmUp(cosine),
    "one-cycle": one_cycle,
}
