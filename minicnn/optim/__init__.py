"""From gradients to new parameters: optimisers, schedules of their learning rate, averages."""

from minicnn.optim.average import MovingAverage
from minicnn.optim.optimisers import SGD, Adam
from minicnn.optim.schedules import (
    SCHEDULES,
    Schedule,
    WarmUp,
    constant,
    cosine,
    linear,
    one_cycle,
    step,
)

__all__ = [
    "SCHEDULES",
    "SGD",
    "Adam",
    "MovingAverage",
    "Schedule",
    "WarmUp",
    "constant",
    "cosine",
    "linear",
    "one_cycle",
    "step",
]
