"""All sixteen exercises of the lessons, and what the checker cells call.

from exercises import check
check(output_size)  # prints that it is right, or what is not yet right
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
    """Print whether a function passes all tests of the exercise that has its name, or why not."""
    name = answer.__name__
    if name not in EXERCISES:
        raise ValueError(f"no exercise asks for {name}; they ask for {', '.join(EXERCISES)}")
    wrong = verdict(answer, EXERCISES[name])
    print(f"not yet: {wrong}" if wrong else f"right: {name} passes every test")
