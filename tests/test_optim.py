"""SGD and Adam: the same steps as a slow loop, state, dtypes, and what is refused.

Parity with PyTorch over 50 steps is in test_pytorch.py, arithmetic by hand in test_by_hand.py.
"""

import re
from math import sqrt

import numpy as np
import pytest

from minicnn import SGD, Adam

STEPS, P = 30, 7


def slow_sgd(p, gradients, learning_rate, momentum=0.0, nesterov=False):
    """One Python float at a time."""
    velocity, seen = [0.0] * len(p), []
    for g in gradients:
        for i in range(len(p)):
            velocity[i] = momentum * velocity[i] + g[i]
            step = g[i] + momentum * velocity[i] if nesterov else velocity[i]
            p[i] = p[i] - learning_rate * step
        seen.append(list(p))
    return seen


def slow_adam(p, gradients, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Algorithm 1 of the paper, as it stands there."""
    m, v, seen = [0.0] * len(p), [0.0] * len(p), []
    for t, g in enumerate(gradients, start=1):
        for i in range(len(p)):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            p[i] = p[i] - learning_rate * m_hat / (sqrt(v_hat) + epsilon)
        seen.append(list(p))
    return seen


OPTIMISERS = {
    "plain": (SGD, slow_sgd, {"learning_rate": 0.1}),
    "momentum": (SGD, slow_sgd, {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": (SGD, slow_sgd, {"learning_rate": 0.05, "momentum": 0.7, "nesterov": True}),
    "adam": (Adam, slow_adam, {}),
    "adam, other options": (
        Adam,
        slow_adam,
        {"learning_rate": 0.02, "beta1": 0.5, "beta2": 0.9, "epsilon": 0.01},
    ),
    "adam without memory": (Adam, slow_adam, {"learning_rate": 0.02, "beta1": 0.0, "beta2": 0.0}),
}
every_optimiser = pytest.mark.parametrize("kind", OPTIMISERS.values(), ids=OPTIMISERS)
both = pytest.mark.parametrize("cls", [SGD, Adam])


@every_optimiser
def test_steps_are_those_of_a_slow_loop(normals, dtype, kind):
    cls, slow, options = kind
    draw = normals(1, dtype)
    parameters, gradients = draw(P), draw(STEPS, P)
    wanted = slow(parameters.tolist(), gradients.tolist(), **options)
    optimiser, seen = cls(**options), []
    for gradient in gradients:
        assert optimiser.step(parameters, gradient) is None
        seen.append(parameters.copy())
    assert parameters.dtype == dtype
    # 30 steps, each of some roundings (6e-8 or 1e-16) of numbers up to about 10.
    error = 300 * np.finfo(dtype).eps
    np.testing.assert_allclose(seen, wanted, rtol=error, atol=error)


@every_optimiser
def test_gradients_are_only_read(normals, dtype, kind):
    cls, _, options = kind
    draw = normals(2, dtype)
    parameters, gradient = draw(P), draw(P)
    again = parameters.copy()
    cls(**options).step(parameters, gradient)
    gradient.flags.writeable = False
    cls(**options).step(again, gradient)
    np.testing.assert_array_equal(again, parameters)


@every_optimiser
def test_a_gradient_of_0_leaves_the_parameters_alone(dtype, kind):
    cls, _, options = kind
    parameters = np.arange(P, dtype=dtype)
    cls(**options).step(parameters, np.zeros(P, dtype))
    np.testing.assert_array_equal(parameters, np.arange(P))


@every_optimiser
def test_nan_travels_on_in_its_own_place(dtype, kind):
    cls, _, options = kind
    parameters, gradient = np.ones(3, dtype), np.array([1, np.nan, 2], dtype)
    cls(**options).step(parameters, gradient)
    assert np.isnan(parameters).tolist() == [False, True, False]


@both
def test_the_state_is_of_the_dtype_of_the_parameters_and_each_optimiser_has_its_own(dtype, cls):
    first, second = cls(), cls()
    first.step(np.ones(P, dtype), np.ones(P, dtype))
    second.step(np.ones(2, dtype), np.ones(2, dtype))
    state = first.state(np.ones(P, dtype))
    assert set(state) == ({"v"} if cls is SGD else {"m", "v", "steps"})
    assert all((state[n].shape, state[n].dtype) == ((P,), dtype) for n in set(state) - {"steps"})


@every_optimiser
def test_another_optimiser_goes_on_from_the_state_of_the_first(normals, dtype, kind):
    cls, _, options = kind
    draw = normals(3, dtype)
    parameters, gradients = draw(P), draw(STEPS, P)
    first, second = cls(**options), cls(**options)
    for gradient in gradients[:10]:
        first.step(parameters, gradient)
    others = parameters.copy()
    for name, array in second.state(others).items():
        array[...] = first.state(parameters)[name]
    for gradient in gradients[10:]:
        first.step(parameters, gradient)
        second.step(others, gradient)
    assert others.tobytes() == parameters.tobytes()


def test_an_optimiser_shows_the_call_that_makes_it():
    for optimiser in (SGD(0.1, 0.9, True), SGD(), Adam(0.1, 0.5, 0.6, 1e-3), Adam()):
        again = eval(repr(optimiser), {"SGD": SGD, "Adam": Adam})
        assert {**vars(again), "_steps": 0} == {**vars(optimiser), "_steps": 0}
    assert repr(SGD(0.1, 0.9, True)) == "SGD(0.1, momentum=0.9, nesterov=True)"
    assert repr(Adam()) == "Adam(0.001, beta1=0.9, beta2=0.999, epsilon=1e-08)"


@both
def test_a_learning_rate_changed_between_steps_counts_from_there(cls):
    """As a schedule does it."""
    parameters, gradient = np.zeros(1), np.ones(1)
    optimiser = cls(learning_rate=0.5)
    optimiser.step(parameters, gradient)
    first = parameters[0]
    optimiser.learning_rate = 0.25
    optimiser.step(parameters, gradient)
    # A gradient that is always 1 makes both optimisers step by the learning rate (ε: 1e-8).
    assert first == pytest.approx(-0.5, rel=1e-7)
    assert parameters[0] - first == pytest.approx(-0.25, rel=1e-7)


def test_no_momentum_and_a_learning_rate_of_0_are_allowed():
    parameters = np.ones(2)
    SGD(learning_rate=0, momentum=0).step(parameters, np.ones(2))
    np.testing.assert_array_equal(parameters, 1)


# ------------------------------------------------------------ what is refused

FINITE = "must be 0 or more, and finite, not"
BELOW_1 = "must be in 0 .. 1, not"

WRONG_OPTIONS = {
    f"SGD: learning_rate {FINITE} -0.1": lambda: SGD(-0.1),
    f"SGD: learning_rate {FINITE} nan": lambda: SGD(float("nan")),
    f"SGD: learning_rate {FINITE} inf": lambda: SGD(float("inf")),
    f"SGD: momentum {BELOW_1} 1.0": lambda: SGD(0.1, momentum=1.0),
    f"SGD: momentum {BELOW_1} -0.5": lambda: SGD(0.1, momentum=-0.5),
    f"SGD: momentum {BELOW_1} nan": lambda: SGD(0.1, momentum=float("nan")),
    "SGD: nesterov needs a momentum above 0, such as momentum=0.9": lambda: SGD(nesterov=True),
    f"Adam: learning_rate {FINITE} -1": lambda: Adam(-1),
    f"Adam: beta1 {BELOW_1} 1": lambda: Adam(beta1=1),
    f"Adam: beta1 {BELOW_1} -0.1": lambda: Adam(beta1=-0.1),
    f"Adam: beta2 {BELOW_1} 1.5": lambda: Adam(beta2=1.5),
    f"Adam: epsilon {FINITE} -1e-08": lambda: Adam(epsilon=-1e-8),
    f"Adam: epsilon {FINITE} inf": lambda: Adam(epsilon=float("inf")),
}


@pytest.mark.parametrize("message", WRONG_OPTIONS)
def test_options_out_of_range(message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        WRONG_OPTIONS[message]()


def lengths(cls, parameters, gradients, state):
    return re.escape(
        f"{cls.__name__}: parameters ({parameters},), gradients ({gradients},) and the "
        f"optimiser's state ({state},) must have one length; an optimiser serves one model"
    )


@both
def test_a_second_model_is_refused_and_left_as_it_is(cls):
    optimiser, other = cls(), np.ones(4)
    optimiser.step(np.ones(P), np.ones(P))
    with pytest.raises(ValueError, match=lengths(cls, 4, 4, P)):
        optimiser.step(other, np.ones(4))
    np.testing.assert_array_equal(other, 1)


@both
def test_gradients_of_another_length_are_refused(cls):
    optimiser = cls()
    optimiser.step(np.ones(P), np.ones(P))
    with pytest.raises(ValueError, match=lengths(cls, P, P - 1, P)):
        optimiser.step(np.ones(P), np.ones(P - 1))


@both
@pytest.mark.parametrize(
    ("parameters", "gradients", "error", "message"),
    [
        ([1.0], np.ones(1), TypeError, "parameters must be a NumPy array, not list"),
        (np.ones(1), [1.0], TypeError, "gradients must be a NumPy array, not list"),
        (np.ones(1, int), np.ones(1), TypeError, "parameters must be float32 or float64, not int"),
        (np.ones((2, 1)), np.ones(2), ValueError, r"parameters must have 1 axes \(P\), not 2"),
        (np.ones(2), np.ones((2, 1)), ValueError, r"gradients must have 1 axes \(P\), not 2"),
        (np.ones(0), np.ones(0), ValueError, r"parameters is empty \(shape \(0,\)\)"),
        (np.ones(1, np.float32), np.ones(1), TypeError, "gradients is float64 but parameters is"),
    ],
)
def test_vectors_that_do_not_fit(cls, parameters, gradients, error, message):
    with pytest.raises(error, match=f"^{cls.__name__}: {message}"):
        cls().step(parameters, gradients)


@both
def test_a_model_of_another_dtype_is_refused(cls):
    optimiser = cls()
    optimiser.step(np.ones(2), np.ones(2))
    message = f"{cls.__name__}: state is float64 but parameters is float32"
    with pytest.raises(TypeError, match=message):
        optimiser.step(np.ones(2, np.float32), np.ones(2, np.float32))


@both
def test_a_refused_first_step_leaves_no_trace(cls):
    optimiser, fresh = cls(), cls()
    with pytest.raises(ValueError, match="must have one length"):
        optimiser.step(np.ones(3), np.ones(2))
    parameters, wanted = np.ones(2), np.ones(2)
    optimiser.step(parameters, np.ones(2))
    fresh.step(wanted, np.ones(2))
    np.testing.assert_array_equal(parameters, wanted)


def test_a_refused_step_does_not_count():
    adam, fresh = Adam(), Adam()
    parameters, wanted = np.ones(2), np.ones(2)
    adam.step(parameters, np.ones(2))
    fresh.step(wanted, np.ones(2))
    with pytest.raises(ValueError, match="must have one length"):
        adam.step(parameters, np.ones(3))
    adam.step(parameters, -3 * np.ones(2))
    fresh.step(wanted, -3 * np.ones(2))
    np.testing.assert_array_equal(parameters, wanted)
