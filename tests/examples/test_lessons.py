"""The lessons: code, stored outputs, exercises and solutions."""

import ast
import inspect
import json
import re
import sys
from pathlib import Path

import exercises
import numpy as np
import pytest
import solutions
from exercises.checking import verdict
from test_notebook import LESSONS, code_cells, needs_jit, written

import minicnn
from minicnn import Dense, Flatten, Sequential

FOLDER = Path(__file__).parents[2] / "examples" / "lessons"
# Lessons whose printed values are the same on every machine.
SAME_EVERYWHERE = "1234"
TRAINS = "678"  # or measures

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_exercise = pytest.mark.parametrize(
    ("name", "exercise"), exercises.EXERCISES.items(), ids=list(exercises.EXERCISES)
)


def markdown(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def shortened(code):
    """Reduce epochs to 1 and timing loops to 10 ms."""
    return re.sub(r"epochs=\d+", "epochs=1", code).replace("() + 0.3", "() + 0.01")


def without_rounding(text):
    """Replace rounding errors, which differ between machines."""
    return re.sub(r"\d(\.\d+)?e-\d\d", "tiny", text)


def named(name, function):
    """Name a function after an exercise, as the checker requires."""

    def answer(**arguments):
        return function(**arguments)

    answer.__name__ = name
    return answer


# ---------------------------------------------------------------- the lessons


def test_there_are_eight_lessons_with_two_exercises_each():
    assert [path.name[:2] for path in LESSONS] == [
        f"{number}_" for number in range(1, len(LESSONS) + 1)
    ]
    assert [len(lesson) for lesson in exercises.LESSONS.values()] == [2] * 8
    assert len(exercises.EXERCISES) == 16


@each_lesson
def test_a_lesson_takes_fifteen_minutes(path):
    assert 900 <= len(markdown(path).split()) <= 1500
    assert 8 <= len(code_cells(path)) <= 18  # four of them the exercises and their checkers
    assert path.stat().st_size < 400_000


@each_lesson
def test_links_exist(path):
    targets = re.findall(r"\]\(([^)#]+)\)", markdown(path))
    assert targets
    for target in targets:
        assert target.startswith("https://") or (FOLDER / target).exists(), target


@each_lesson
def test_it_ends_with_two_unsolved_exercises(path):
    names = list(exercises.LESSONS[int(path.name[0])])
    last = code_cells(path)[-4:]
    for name, asked, checked in zip(names, last[::2], last[1::2], strict=True):
        assert "".join(checked["source"]) == f"check({name})"
        assert written(checked) == f"not yet: {name} is still to be written\n"
        function = ast.parse("".join(asked["source"])).body[0]
        assert function.name == name
        assert ast.get_docstring(function)
        assert isinstance(function.body[-1], ast.Raise)
        wanted = list(inspect.signature(getattr(solutions, name)).parameters)
        assert [argument.arg for argument in function.args.args] == wanted


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=needs_jit if path.name[0] in TRAINS else ()) for path in LESSONS],
    ids=lambda path: path.stem,
)
def test_its_code_runs_without_a_kernel(path, monkeypatch, capsys):
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(sys, "path", sys.path[:])  # a lesson adds to it
    names = {}
    with np.printoptions():  # what a lesson sets is forgotten again
        for cell in code_cells(path):
            exec(compile(shortened("".join(cell["source"])), path.name, "exec"), names)
            printed = without_rounding(capsys.readouterr().out)
            texts = [text for output in cell["outputs"] for text in output.get("text", [])]
            stored = without_rounding("".join(texts))
            if path.name[0] in SAME_EVERYWHERE:
                assert printed == stored
            assert bool(printed) == bool(stored)


# ---------------------------------------------------------------- the exercises


@each_exercise
def test_the_solution_is_correct(name, exercise, capsys):
    exercises.check(getattr(solutions, name))
    assert capsys.readouterr().out == f"right: {name} passes every test\n"


@each_exercise
def test_an_unsolved_exercise_fails(name, exercise, capsys):
    def nothing_yet(**arguments):
        raise NotImplementedError

    exercises.check(named(name, nothing_yet))
    assert capsys.readouterr().out == f"not yet: {name} is still to be written\n"
    assert "returns nothing" in verdict(named(name, lambda **arguments: None), exercise)


@each_exercise
def test_common_mistakes_are_named(name, exercise):
    assert len(exercise.mistakes) >= 2
    for words, mistake in exercise.mistakes.items():
        wrong = verdict(named(name, mistake), exercise)
        assert wrong.startswith(f"{name}("), words
        assert "wanted is" in wrong, words
        assert wrong.endswith(words), wrong


@each_exercise
def test_a_constant_fails(name, exercise):
    for arguments in exercise.cases(np.random.default_rng(1)):
        constant = exercise.right(**arguments)
        assert verdict(named(name, lambda constant=constant, **_: constant), exercise)


@each_exercise
def test_the_solution_is_correct_for_other_seeds(name, exercise):
    for seed in range(2, 6):
        rng = np.random.default_rng(seed)
        drawn = exercise._replace(cases=lambda _, rng=rng: exercise.cases(rng))
        assert not verdict(getattr(solutions, name), drawn)


def test_wrong_results_are_described():
    dense = exercises.EXERCISES["dense_backward"]
    for function, words in [
        (lambda dy, x, weight: dy, "it should return dx, dweight, dbias"),
        (lambda dy, x, weight: (dy, x), "it should return dx, dweight, dbias"),
        (lambda dy, x, weight: (x.T, "a", dy), "dx is wrong in"),
        (lambda dy, x, weight: (dy @ weight.T, "a", dy), "dweight should be numbers, not str"),
        (lambda dy, x, weight: 1 / 0, "raises ZeroDivisionError: division by zero"),
        (lambda dy, x, weight: (dy @ weight.T, x.T @ dy, dy), "dbias has shape (3, 3), wanted"),
    ]:
        assert words in verdict(named("dense_backward", function), dense)


def test_an_answer_that_writes_to_its_arguments_fails():
    def softmax(logits):
        found = solutions.softmax(logits)
        logits -= 1
        return found

    wrong = verdict(softmax, exercises.EXERCISES["softmax"])
    assert wrong == "softmax writes into its argument logits; make a new array"


def test_the_winograd_exercise_rejects_six_multiplications():
    def winograd(d, g):
        return [d[i] * g[0] + d[i + 1] * g[1] + d[i + 2] * g[2] for i in (0, 1)]

    wrong = verdict(winograd, exercises.EXERCISES["winograd"])
    assert "the results are right, but with 6 multiplications; 4 are enough" in wrong


def test_a_function_with_another_name_is_an_error():
    with pytest.raises(ValueError, match="no exercise asks for pool; they ask for output_size, "):
        exercises.check(named("pool", None))


@needs_jit
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_training_stops_as_in_the_exercise(patience):
    rng = np.random.default_rng(0)
    images, labels = rng.random((60, 4, 4), np.float32), rng.integers(0, 3, 60)
    model = Sequential([Flatten(), Dense(3)], input_shape=(4, 4, 1))
    history = minicnn.fit(
        model,
        images,
        labels,
        optimizer=minicnn.Adam(0.1),
        epochs=30,
        batch_size=14,
        validation_split=0.3,
        patience=patience,
        progress=False,
    )
    losses = history["val_loss"]
    assert 1 < len(losses) < 30
    assert solutions.stopping([*losses, 0.0], patience) == (
        model.metadata["best_epoch"],
        len(losses),
    )
