"""SGD and Adam: steps of a scalar loop, state, dtypes, errors.

Parity with PyTorch over 50 steps is in test_pytorch.py, arithmetic by hand in test_by_hand.py.
"""

import re
from math import sqrt

import numpy as np
import pytest

from minicnn import SGD, Adam, optim

STEPS, P = 30, 7


def slow_sgd(p, gradients, learning_rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    """One Python float at a time."""
    velocity, seen = [0.0] * len(p), []
    for g in gradients:
        for i in range(len(p)):
            p[i] = p[i] - learning_rate * weight_decay * p[i]
            velocity[i] = momentum * velocity[i] + g[i]
            step = g[i] + momentum * velocity[i] if nesterov else velocity[i]
            p[i] = p[i] - learning_rate * step
        seen.append(list(p))
    return seen


def slow_adam(
    p, gradients, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0
):
    """Algorithm 1 of the paper, as it stands there, after the decay."""
    m, v, seen = [0.0] * len(p), [0.0] * len(p), []
    for t, g in enumerate(gradients, start=1):
        for i in range(len(p)):
            p[i] = p[i] - learning_rate * weight_decay * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
            p[i] = p[i] - learning_rate * m_hat / (sqrt(v_hat) + epsilon)
        seen.append(list(p))
    return seen


OPTIMIZERS = {
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
DECAYING = {
    "sgd, decaying": (SGD, slow_sgd, {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.4}),
    "adam, decaying": (Adam, slow_adam, {"learning_rate": 0.05, "weight_decay": 0.4}),
}
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)
both_decaying = pytest.mark.parametrize("kind", DECAYING.values(), ids=DECAYING)
both = pytest.mark.parametrize("cls", [SGD, Adam])


@pytest.mark.parametrize(
    "kind", [*OPTIMIZERS.values(), *DECAYING.values()], ids=[*OPTIMIZERS, *DECAYING]
)
def test_steps_equal_those_of_a_scalar_loop(normals, dtype, kind):
    cls, slow, options = kind
    draw = normals(1, dtype)
    parameters, gradients = draw(P), draw(STEPS, P)
    expected = slow(parameters.tolist(), gradients.tolist(), **options)
    optimizer, seen = cls(**options), []
    for gradient in gradients:
        assert optimizer.step(parameters, gradient) is None
        seen.append(parameters.copy())
    assert parameters.dtype == dtype
    # 30 steps, each of some roundings (6e-8 or 1e-16) of numbers up to about 10.
    error = 300 * np.finfo(dtype).eps
    np.testing.assert_allclose(seen, expected, rtol=error, atol=error)


@every_optimizer
def test_gradients_are_only_read(normals, dtype, kind):
    cls, _, options = kind
    draw = normals(2, dtype)
    parameters, gradient = draw(P), draw(P)
    again = parameters.copy()
    cls(**options).step(parameters, gradient)
    gradient.flags.writeable = False
    cls(**options).step(again, gradient)
    np.testing.assert_array_equal(again, parameters)


@every_optimizer
def test_a_zero_gradient_changes_no_parameter(dtype, kind):
    cls, _, options = kind
    parameters = np.arange(P, dtype=dtype)
    cls(**options).step(parameters, np.zeros(P, dtype))
    np.testing.assert_array_equal(parameters, np.arange(P))


@both_decaying
def test_weight_decay_scales_with_the_learning_rate_not_the_gradient(dtype, kind):
    cls, _, options = kind
    parameters = np.arange(P, dtype=dtype)
    cls(**options).step(parameters, np.zeros(P, dtype), 0.5)
    # 0.05 · 0.5 (lr_scale) · 0.4
    np.testing.assert_allclose(parameters, 0.99 * np.arange(P), rtol=4 * np.finfo(dtype).eps)


@both_decaying
def test_parameters_outside_the_mask_do_not_decay(normals, dtype, kind):
    cls, _, options = kind
    draw = normals(4, dtype)
    start, gradients = draw(P), draw(STEPS, P)
    decay_mask = np.arange(P) % 3 != 0
    plain = {name: value for name, value in options.items() if name != "weight_decay"}
    found = []
    for optimizer, arguments in (
        (cls(**options), (1.0, decay_mask)),
        (cls(**options), ()),
        (cls(**plain), (1.0, decay_mask)),
    ):
        parameters = start.copy()
        for gradient in gradients:
            optimizer.step(parameters, gradient, *arguments)
        found.append(parameters)
    masked, everything, nothing = found
    np.testing.assert_array_equal(masked, np.where(decay_mask, everything, nothing))
    assert (everything != nothing).all()


@every_optimizer
def test_nan_stays_at_its_index(dtype, kind):
    cls, _, options = kind
    parameters, gradient = np.ones(3, dtype), np.array([1, np.nan, 2], dtype)
    cls(**options).step(parameters, gradient)
    assert np.isnan(parameters).tolist() == [False, True, False]


@both
def test_the_state_has_the_dtype_of_the_parameters(dtype, cls):
    first, second = cls(), cls()
    first.step(np.ones(P, dtype), np.ones(P, dtype))
    second.step(np.ones(2, dtype), np.ones(2, dtype))
    state = first.state_dict(np.ones(P, dtype))
    assert set(state) == ({"v", "steps"} if cls is SGD else {"m", "v", "steps"})
    assert all((state[n].shape, state[n].dtype) == ((P,), dtype) for n in set(state) - {"steps"})


@every_optimizer
def test_a_copied_state_continues_the_same_steps(normals, dtype, kind):
    cls, _, options = kind
    draw = normals(3, dtype)
    parameters, gradients = draw(P), draw(STEPS, P)
    first, second = cls(**options), cls(**options)
    for gradient in gradients[:10]:
        first.step(parameters, gradient)
    others = parameters.copy()
    for name, array in second.state_dict(others).items():
        array[...] = first.state_dict(parameters)[name]
    for gradient in gradients[10:]:
        first.step(parameters, gradient)
        second.step(others, gradient)
    assert others.tobytes() == parameters.tobytes()


def test_repr_is_the_call_that_makes_an_optimizer():
    for optimizer in (
        SGD(0.1, 0.9, True, weight_decay=0.2),
        SGD(),
        Adam(0.1, 0.5, 0.6, 1e-3, weight_decay=0.2),
        Adam(),
    ):
        again = eval(repr(optimizer), {"SGD": SGD, "Adam": Adam})
        assert vars(again) == vars(optimizer)
    nesterov = "SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.0)"
    assert repr(SGD(0.1, 0.9, True)) == nesterov


@both
def test_a_changed_learning_rate_takes_effect_in_the_next_step(cls):
    parameters, gradient = np.zeros(1), np.ones(1)
    optimizer = cls(learning_rate=0.5)
    optimizer.step(parameters, gradient)
    first = parameters[0]
    optimizer.learning_rate = 0.25
    optimizer.step(parameters, gradient)
    # A gradient that is always 1 makes both optimizers step by the learning rate (ε: 1e-8).
    assert first == pytest.approx(-0.5, rel=1e-7)
    assert parameters[0] - first == pytest.approx(-0.25, rel=1e-7)


def test_a_learning_rate_of_0_is_allowed():
    parameters = np.ones(2)
    SGD(learning_rate=0, momentum=0).step(parameters, np.ones(2))
    np.testing.assert_array_equal(parameters, 1)


# ------------------------------------------------------------ errors

FINITE = "must be 0 or more, and finite, not"
BELOW_1 = "must be at least 0 and below 1, not"

WRONG_OPTIONS = {
    f"SGD: learning_rate {FINITE} -0.1": lambda: SGD(-0.1),
    f"SGD: learning_rate {FINITE} nan": lambda: SGD(float("nan")),
    f"SGD: learning_rate {FINITE} inf": lambda: SGD(float("inf")),
    f"SGD: momentum {BELOW_1} 1.0": lambda: SGD(0.1, momentum=1.0),
    f"SGD: momentum {BELOW_1} -0.5": lambda: SGD(0.1, momentum=-0.5),
    f"SGD: momentum {BELOW_1} nan": lambda: SGD(0.1, momentum=float("nan")),
    "SGD: nesterov requires a momentum above 0; set momentum=0.9": lambda: SGD(nesterov=True),
    f"Adam: learning_rate {FINITE} -1": lambda: Adam(-1),
    f"Adam: beta1 {BELOW_1} 1": lambda: Adam(beta1=1),
    f"Adam: beta1 {BELOW_1} -0.1": lambda: Adam(beta1=-0.1),
    f"Adam: beta2 {BELOW_1} 1.5": lambda: Adam(beta2=1.5),
    f"Adam: epsilon {FINITE} -1e-08": lambda: Adam(epsilon=-1e-8),
    f"Adam: epsilon {FINITE} inf": lambda: Adam(epsilon=float("inf")),
    f"SGD: weight_decay {FINITE} -0.1": lambda: SGD(weight_decay=-0.1),
    f"Adam: weight_decay {FINITE} nan": lambda: Adam(weight_decay=float("nan")),
}


@pytest.mark.parametrize("message", WRONG_OPTIONS)
def test_options_out_of_range_are_rejected(message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        WRONG_OPTIONS[message]()


@pytest.mark.parametrize("value", ["0.1", True, None, [0.1]])
def test_options_that_are_not_numbers_are_rejected(value):
    with pytest.raises(
        TypeError, match=re.escape(f"learning_rate must be a number, not {value!r}")
    ):
        Adam(value)


def lengths(cls, parameters, gradients, state):
    return re.escape(
        f"{cls.__name__}: parameters ({parameters},), gradients ({gradients},) and the "
        f"optimizer's state ({state},) must have one length; give each model its own optimizer"
    )


@both
def test_a_second_model_is_rejected_and_not_changed(cls):
    optimizer, other = cls(), np.ones(4)
    optimizer.step(np.ones(P), np.ones(P))
    with pytest.raises(ValueError, match=lengths(cls, 4, 4, P)):
        optimizer.step(other, np.ones(4))
    np.testing.assert_array_equal(other, 1)


@both
def test_gradients_of_another_length_are_rejected(cls):
    optimizer = cls()
    optimizer.step(np.ones(P), np.ones(P))
    with pytest.raises(ValueError, match=lengths(cls, P, P - 1, P)):
        optimizer.step(np.ones(P), np.ones(P - 1))


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
def test_vectors_that_do_not_fit_are_rejected(cls, parameters, gradients, error, message):
    with pytest.raises(error, match=f"^{cls.__name__}: {message}"):
        cls().step(parameters, gradients)


@both
@pytest.mark.parametrize(
    ("decay_mask", "error", "message"),
    [
        ([True, False], TypeError, r"decay_mask must be an array of bool, not \[True, False\]"),
        (np.ones(2), TypeError, r"decay_mask must be an array of bool, not array\(\[1., 1.\]\)"),
        (np.ones(3, bool), ValueError, r"decay_mask must have shape \(2,\), not \(3,\)"),
    ],
)
def test_a_decay_mask_that_does_not_fit_is_rejected(cls, decay_mask, error, message):
    with pytest.raises(error, match=f"^{cls.__name__}: {message}"):
        cls().step(np.ones(2), np.ones(2), 1.0, decay_mask)


@both
def test_a_model_of_another_dtype_is_rejected(cls):
    optimizer = cls()
    optimizer.step(np.ones(2), np.ones(2))
    message = f"{cls.__name__}: state is float64 but parameters is float32"
    with pytest.raises(TypeError, match=message):
        optimizer.step(np.ones(2, np.float32), np.ones(2, np.float32))


@both
def test_a_rejected_first_step_changes_no_state(cls):
    optimizer, fresh = cls(), cls()
    with pytest.raises(ValueError, match="must have one length"):
        optimizer.step(np.ones(3), np.ones(2))
    parameters, expected = np.ones(2), np.ones(2)
    optimizer.step(parameters, np.ones(2))
    fresh.step(expected, np.ones(2))
    np.testing.assert_array_equal(parameters, expected)


def test_a_rejected_step_does_not_count():
    adam, fresh = Adam(), Adam()
    parameters, expected = np.ones(2), np.ones(2)
    adam.step(parameters, np.ones(2))
    fresh.step(expected, np.ones(2))
    with pytest.raises(ValueError, match="must have one length"):
        adam.step(parameters, np.ones(3))
    adam.step(parameters, -3 * np.ones(2))
    fresh.step(expected, -3 * np.ones(2))
    np.testing.assert_array_equal(parameters, expected)


# ---------------------------------------------------------------- schedules

FACTORS = {  # by progress, computed by hand
    "constant": {0: 1, 0.5: 1, 1: 1},
    "step": {0: 1, 0.49: 1, 0.5: 0.1, 0.74: 0.1, 0.75: 0.01, 1: 0.01},
    "cosine": {0: 1, 1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1: 0},
    "warmup-linear": {0: 0.04, 0.005: 0.04, 0.02: 0.08, 0.1: 0.4, 0.25: 1, 0.625: 0.5, 1: 0},
}


def test_every_schedule_gives_the_factors_of_its_formula():
    assert set(FACTORS) == set(optim.SCHEDULES)
    for name, factors in FACTORS.items():
        found = {progress: optim.SCHEDULES[name](progress) for progress in factors}
        assert found == pytest.approx(factors, abs=1e-15)
