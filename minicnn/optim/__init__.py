"""From gradients to new parameters: optimisers, and schedules of their learning rate."""

from minicnn.optim.optimisers import SGD, Adam
from minicnn.optim.schedules import SCHEDULES, Schedule, constant, cosine, one_cycle, step

__all__ = ["SCHEDULES", "SGD", "Adam", "Schedule", "constant", "cosine", "one_cycle", "step"]
