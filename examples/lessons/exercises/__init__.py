"""Check the sixteen exercises of the lessons.

from exercises import check
check(output_size)  # prints whether it is correct, or an explanation
"""

from exercises.checking import Function, verdict
from exercises.gradients import BACKPROPAGATION, LOSS
from exercises.learning import OPTIMIZERS, TRAINING
from exercises.speed import SPEED
from exercises.windows import CONVOLUTION, PIXELS, POOLING

LESSONS = {
    1: PIXELS,
    2: CONVOLUTION,
    3: POOLING,
    4: LOSS,
    5: BACKPROPAGATION,
    6: OPTIMIZERS,
    7: TRAINING,
    8: SPEED,
}
EXERCISES = {name: task for lesson in LESSONS.values() for name, task in lesson.items()}


def check(answer: Function) -> None:
    """Print whether a function solves the exercise of its name."""
    name = answer.__name__
    if name not in EXERCISES:
        raise ValueError(f"no exercise asks for {name}; they ask for {', '.join(EXERCISES)}")
    wrong = verdict(answer, EXERCISES[name])
    print(f"not yet: {wrong}" if wrong else f"right: {name} passes every test")
