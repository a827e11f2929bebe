"""Changes between steps: the same bytes with and without replay.

Each way changes something after the steps of a training are replayed. It runs with and without
replay; losses, gradients, statistics, logits, its own log and errors must be equal.
"""

import copy
import os
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

from minicnn import (
    SGD,
    Adam,
    Augment,
    AvgPool2D,
    BatchGradient,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    diagnostics,
    evaluate,
    explain,
    fit,
    ops,
)
from minicnn.kernels.capture import CallGraph, ReplayError
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import shared_pool

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="plain Python calls no kernels"
)

STEPS_BEFORE, STEPS_AFTER = 5, 4
BATCH = 24  # two microbatches
CONV, NORM, RELU, POOL, BLOCK, DROPOUT, DEPTHWISE, AVERAGE, FLATTEN, HIDDEN, _, LAST = range(12)


def make_layers(*own):
    """Return layers of most kinds, and one's own before the flattening."""
    block = Residual([Conv2D(4, 3, padding=1), BatchNorm()])
    layers = [Conv2D(4, 3, padding=1, bias=False), BatchNorm(), ReLU(), MaxPool2D(2), block]
    layers += [Dropout(0.25), DepthwiseConv2D(3, padding=1), AvgPool2D(2), *own]
    return [*layers, Flatten(), Dense(6), ReLU(), Dense(3)]


class Training:
    """A training whose steps are logged."""

    def __init__(self, layers=None, kind=Sequential):
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (80, 8, 8, 1), np.uint8)
        self.labels = rng.integers(0, 3, 80)
        self.model = kind(make_layers() if layers is None else layers, (8, 8, 1), seed=1)
        self.run_batch = BatchGradient(self.model, self.images, self.labels, seed=2, threads=1)
        self.optimizer, self.lr_scale = Adam(0.01), 1.0
        self.batch_size, self.epoch, self.log = BATCH, 0, []
        self.order = np.random.default_rng(5)

    @property
    def layers(self):
        return self.model.layers

    def step(self):
        batch = self.order.permutation(80)[: self.batch_size]
        result = self.run_batch(batch, self.epoch)
        self.log += [result.loss, result.correct, result.gradient.tobytes()]
        self.log.append(result.batch_statistics.tobytes())
        self.optimizer.step(self.model.parameters, result.gradient, self.lr_scale)
        self.model.update_statistics(result.batch_statistics)
        self.log.append(self.model.infer(self.model.preprocess(self.images[:9])).tobytes())
        self.log += [self.model.parameters.tobytes(), self.model.statistics.tobytes()]


# ---------------------------------------------------------------- layers of one's own


@dataclass(eq=False, repr=False)
class Own(Layer):
    """The identity, by an op of the library."""

    ops = ops.relu, ops.relu_backward


@dataclass(eq=False, repr=False)
class RandomDepth(Own):
    """Left out in every other training pass."""

    def forward(self, x, *, key=None):
        self.passes = getattr(self, "passes", 0) + (key is not None)
        return (x, None) if self.passes % 2 else super().forward(x)

    def backward(self, dy, cache, **options):
        return (dy, {}) if cache is None else super().backward(dy, cache, **options)


@dataclass(eq=False, repr=False)
class OwnStatistic(Own):
    """A running mean that the forward pass moves by itself."""

    mean: float = 0.0

    def forward(self, x, *, key=None):
        if key is not None:
            self.mean += 0.5 * (float(x.mean()) - self.mean)
        return super().forward(x + np.float32(self.mean))


@dataclass(eq=False, repr=False)
class Monitor(Own):
    """List the mean of each training pass."""

    seen: list = field(default_factory=list)

    def forward(self, x, *, key=None):
        if key is not None:
            self.seen.append(float(x.mean()))
        return super().forward(x)


@dataclass(eq=False, repr=False)
class EpochSwitch(Own):
    """Active from epoch 1 on."""

    def forward(self, x, *, key=None):
        late = key is not None and int(np.asarray(key.epoch).item()) >= 1
        return super().forward(x) if late else (x, None)

    def backward(self, dy, cache, **options):
        return (dy, {}) if cache is None else super().backward(dy, cache, **options)


@dataclass(eq=False, repr=False)
class Listed(Own):
    """Applies the functions in a list."""

    functions: list = field(default_factory=list)

    def forward(self, x, *, key=None):
        for function in self.functions:
            x = function(x)
        return super().forward(x)


@dataclass(eq=False, repr=False)
class Taught(Own):
    """Adds the mean logit of another model on the input of this layer."""

    teacher: object = None

    def forward(self, x, *, key=None):
        return super().forward(x + self.teacher.infer(x).mean())


@dataclass(eq=False, repr=False)
class Switch(Own):
    """Declared replayable: an attribute decides which kernels run."""

    on: bool = False

    replayable = True

    def forward(self, x, *, key=None):
        return super().forward(x) if self.on else (x, None)

    def backward(self, dy, cache, **options):
        return (dy, {}) if cache is None else super().backward(dy, cache, **options)


@dataclass(eq=False, repr=False)
class DeclaredDepth(RandomDepth):
    replayable = True


@dataclass(eq=False, repr=False)
class DeclaredEpochSwitch(EpochSwitch):
    replayable = True


@dataclass(eq=False, repr=False)
class LoudReLU(ReLU):
    """A subclass that overrides a method of a replayable layer."""

    def forward(self, x, *, key=None):
        y, cache = super().forward(x)
        y += np.float32(0.25)
        return y, cache


class OwnModel(Sequential):
    """A subclass that overrides a method of the model."""

    scale = np.float32(1)

    def forward(self, x, *, key=None):
        logits, caches = super().forward(x, key=key)
        logits *= self.scale
        return logits, caches


def teacher():
    return Sequential([Conv2D(2, 2), ReLU(), Flatten(), Dense(3)], input_shape=(2, 2, 4))


# ---------------------------------------------------------------- the ways

WAYS, REFUSED = {}, {}


def way(layers=None, *, refused=None, effect=True, kind=Sequential):
    """Register a change; `layers` makes the network, `refused` is its error."""

    def register(change):
        name = change.__name__.replace("_", " ")
        WAYS[name] = (layers, change, effect, kind)
        REFUSED[name] = refused
        return change

    return register


def assign(position, attribute, value, **options):
    """Register the assignment of an attribute of a layer."""

    def change(training, patch):
        setattr(training.layers[position], attribute, value)

    change.__name__ = f"{attribute}_of_layer_{position}_becomes_{value}"
    way(**options)(change)


# Options of layers. Momentum changes the statistics, the others the kernel calls.
assign(NORM, "epsilon", 0.5)
assign(NORM, "momentum", 0.5)
assign(DROPOUT, "rate", 0.6)
assign(CONV, "backend", "direct", effect=False)
assign(CONV, "backend", "im2col", refused=ValueError)  # fused in prediction
assign(CONV, "padding", "same", effect=False)
assign(CONV, "padding", 0, refused=ValueError)
assign(CONV, "stride", 2, refused=ValueError)
assign(CONV, "backend", "none", refused=ValueError)
assign(NORM, "epsilon", -1.0, refused=ValueError)
assign(NORM, "epsilon", "small", refused=TypeError)
assign(DROPOUT, "rate", 1.5, refused=ValueError)
assign(DEPTHWISE, "padding", 0, refused=ValueError)
assign(AVERAGE, "stride", 1, refused=ValueError)
assign(AVERAGE, "pool_size", (1, 2), refused=ValueError)
assign(HIDDEN, "bias", False)


@way()
def epsilon_inside_a_block(training, patch):
    training.layers[BLOCK].layers[1].epsilon = 0.5


@way()
def epsilon_there_and_back(training, patch):
    norm = training.layers[NORM]
    norm.epsilon = 0.5
    training.step()
    norm.epsilon = 1e-5


@way()
def options_changed_in_every_step(training, patch):
    for epsilon in (0.1, 0.2, 0.1, 0.2, 0.1):
        training.layers[NORM].epsilon = epsilon
        training.step()


# Arrays.


@way()
def all_parameters_written_in_place(training, patch):
    training.model.parameters *= np.float32(0.5)


@way()
def a_weight_written_in_place(training, patch):
    training.layers[CONV].parameters["weight"][...] = 0.125


@way()
def the_dict_of_parameters_replaced(training, patch):
    layer = training.layers[LAST]
    layer.parameters = {name: array * 2 for name, array in layer.parameters.items()}


@way()
def one_array_of_a_layer_replaced(training, patch):
    training.layers[CONV].parameters["weight"] = np.full((3, 3, 1, 4), 0.125, np.float32)


@way()
def an_array_inside_a_block_replaced(training, patch):
    inside = training.layers[BLOCK].layers[0].parameters
    inside["bias"] = inside["bias"] + 1


@way()
def an_array_replaced_and_then_written_in_place(training, patch):
    weight = np.full((3, 3, 1, 4), 0.125, np.float32)
    training.layers[CONV].parameters["weight"] = weight
    for value in (0.25, 0.5, 0.75, 1):
        training.step()
        weight[...] = value


@way()
def an_array_in_another_order_written_in_place(training, patch):
    weight = np.asfortranarray(training.layers[HIDDEN].parameters["weight"])
    training.layers[HIDDEN].parameters["weight"] = weight
    for value in (0.25, 0.5, 0.75, 1):
        training.step()
        weight[...] = value


@way()
def arrays_shared_by_two_layers(training, patch):
    inside = training.layers[BLOCK].layers[1]
    training.layers[NORM].parameters["weight"] = inside.parameters["weight"]


@way(refused=TypeError)
def an_array_of_another_dtype(training, patch):
    layer = training.layers[LAST]
    layer.parameters["weight"] = layer.parameters["weight"].astype(np.float64)


@way(refused=ValueError)
def an_array_of_another_shape(training, patch):
    training.layers[LAST].parameters["weight"] = np.zeros((5, 3), np.float32)


@way()
def statistics_written_in_place(training, patch):
    training.model.statistics += 1


@way()
def a_running_variance_replaced(training, patch):
    training.layers[NORM].statistics["variance"] = np.full(4, 9, np.float32)


@way()
def arrays_bound_again(training, patch):
    layer = training.layers[LAST]
    layer.bind({name: array + 1 for name, array in layer.parameters.items()}, {})


# Data, batches and settings of a step.


@way()
def images_written_in_place(training, patch):
    training.images[...] = 255 - training.images


@way()
def float_images(training, patch):
    training.run_batch.images = (training.images / 512).astype(np.float32)


@way()
def labels_written_in_place(training, patch):
    training.labels[...] = (training.labels + 1) % 3


@way()
def labels_of_another_dtype(training, patch):
    training.run_batch.labels = ((training.labels + 1) % 3).astype(np.uint8)


@way(refused=ValueError)
def labels_out_of_range(training, patch):
    training.labels[...] = 3


@way(refused=ValueError)
def a_negative_label(training, patch):
    training.labels[...] = -1


@way(refused=ValueError)
def images_of_another_shape(training, patch):
    training.run_batch.images = training.images[:, :6]


@way(refused=ValueError)
def images_with_nan(training, patch):
    training.run_batch.images = np.full(training.images.shape, np.nan, np.float32)


@way()
def another_batch_size(training, patch):
    training.batch_size = 70


@way()
def one_image_a_batch(training, patch):
    training.batch_size = 1


@way()
def another_epoch(training, patch):
    training.epoch = 1  # dropout draws others


@way()
def another_seed(training, patch):
    training.run_batch.seed = 9


@way()
def label_smoothing(training, patch):
    training.run_batch.smoothing = 0.3


@way()
def augmentation(training, patch):
    training.run_batch.augment = Augment(rotation=20.0)


@way()
def an_augmentation_that_predicts(training, patch):
    def own(images, image_ids, *, seed, epoch):
        training.log.append(training.model.predict_proba(images, threads=1).tobytes())
        return images / np.float32(510)

    training.run_batch.augment = own


@way()
def an_error_in_a_step(training, patch):
    def fails(images, image_ids, *, seed, epoch):
        raise OSError("no image")

    training.run_batch.augment = fails
    with pytest.raises(OSError, match="no image"):
        training.step()
    training.run_batch.augment = None


@way(effect=False)
def two_threads(training, patch):
    training.run_batch.pool = shared_pool(2)


@way()
def the_scale_of_the_input(training, patch):
    training.model.input_mean, training.model.input_std = 0.25, 0.5


# Optimizers.


@way()
def learning_rate(training, patch):
    training.optimizer.learning_rate = 0.1


@way()
def scale_of_the_learning_rate(training, patch):
    training.lr_scale = 0.1


@way()
def options_of_adam(training, patch):
    training.optimizer.beta1, training.optimizer.epsilon = 0.5, 0.1


@way()
def weight_decay(training, patch):
    training.optimizer.weight_decay = 0.5


@way()
def another_optimizer(training, patch):
    training.optimizer = SGD(0.1, momentum=0.9, nesterov=True)


@way()
def options_of_sgd(training, patch):
    training.optimizer = SGD(0.1, momentum=0.9)
    training.step()
    training.optimizer.momentum = 0.0


# Models.


@way(effect=False)
def the_model_copied(training, patch):
    training.model = training.run_batch.model = copy.deepcopy(training.model)


@way(effect=False)
def the_model_pickled(training, patch):
    training.model = training.run_batch.model = pickle.loads(pickle.dumps(training.model))


@way()
def another_model_of_the_same_form(training, patch):
    training.model = training.run_batch.model = Training().model
    training.model.parameters *= np.float32(0.75)


@way()
def trained_by_fit_between(training, patch):
    options = {"epochs": 1, "batch_size": 30, "progress": False}
    fit(training.model, training.images, training.labels, **options)


@way(effect=False)
def diagnosed_and_explained_between(training, patch):
    model, images, labels = training.model, training.images, training.labels
    diagnostics.diagnose(model, images, labels)
    explain(model, images[0], label=1)
    training.log.append(evaluate(model, images, labels))


@way(effect=False)
def another_training_between(training, patch):
    other = Training([Flatten(), Dropout(0.5), Dense(3)])
    for _ in range(5):
        other.step()
    training.log += other.log


@way(effect=False)
def inside_a_scope_of_the_arena(training, patch):
    for _ in range(3):
        with arena.scope():
            arena.empty((777,), np.float32)
            training.step()


# Methods.


@way()
def a_method_of_a_class_replaced(training, patch):
    forward = AvgPool2D.forward

    def doubled(self, x, *, key=None):
        y, cache = forward(self, x, key=key)
        return ops.add(y, y)[0], cache

    patch.setattr(AvgPool2D, "forward", doubled)


@way()
def the_op_of_a_class_replaced(training, patch):
    def twice(x, **options):
        y, cache = ops.avg_pool2d(x, **options)
        return ops.add(y, y)[0], cache

    patch.setattr(AvgPool2D, "ops", (twice, ops.avg_pool2d_backward))


@way()
def a_method_of_the_model_replaced(training, patch):
    forward = training.model.forward

    def halved(x, *, key=None):
        logits, caches = forward(x, key=key)
        training.log.append(float(logits.sum()))
        return logits * np.float32(0.5), caches

    training.model.forward = halved


@way(kind=OwnModel)
def a_model_of_ones_own(training, patch):
    training.model.scale = np.float32(0.5)


# Layers of one's own.


@way(lambda: make_layers(RandomDepth()), effect=False)
def stochastic_depth(training, patch):
    training.log.append(training.layers[8].passes)


@way(lambda: make_layers(OwnStatistic()))
def an_own_running_statistic(training, patch):
    training.log.append(training.layers[8].mean)
    training.layers[8].mean = 1.0


@way(lambda: make_layers(Monitor()), effect=False)
def a_monitor(training, patch):
    training.log.append(training.layers[8].seen)  # grows with later steps


@way(lambda: make_layers(EpochSwitch()))
def a_switch_by_epoch(training, patch):
    training.epoch = 1


@way(lambda: make_layers(Listed()))
def a_list_of_functions(training, patch):
    training.layers[8].functions.append(lambda x: x * np.float32(0.5))


@way(lambda: make_layers(LoudReLU()), effect=False)
def a_subclass_that_overrides_a_method(training, patch):
    training.log.append(repr(training.layers[8]))


@way(lambda: make_layers(Taught(teacher())))
def a_model_inside_a_layer_of_another(training, patch):
    training.layers[8].teacher.parameters *= np.float32(2)


@way(lambda: make_layers(Taught(teacher())))
def a_teacher_trained_between(training, patch):
    own = training.layers[8].teacher
    images = np.random.default_rng(1).random((40, 2, 2, 4), np.float32)
    options = {"epochs": 1, "batch_size": 10, "progress": False}
    fit(own, images, training.labels[:40], **options)


@way(lambda: make_layers(Switch()))
def an_attribute_of_a_declared_layer(training, patch):
    training.layers[8].on = True
    training.layers[HIDDEN + 1].parameters["bias"] -= 1


# ---------------------------------------------------------------- the tests


def run(name, *, change=True):
    """Return the log of a training that is changed once it is replayed."""
    layers, apply, _, kind = WAYS[name]
    training = Training(None if layers is None else layers(), kind)
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(STEPS_BEFORE):
            training.step()
        before = len(training.log)
        try:
            if change:
                apply(training, patch)
            for _ in range(STEPS_AFTER):
                training.step()
        except (TypeError, ValueError) as error:
            training.log.append((type(error), str(error)))
    return training.log, before


@pytest.mark.parametrize("name", WAYS)
def test_a_change_gives_the_same_bytes_with_and_without_replay(monkeypatch, name):
    monkeypatch.delenv("MINICNN_VERIFY_REPLAY", raising=False)
    replays, replay = [], CallGraph.replay
    monkeypatch.setattr(CallGraph, "replay", lambda self: replays.append(replay(self)))
    found, before = run(name)
    plain = name not in OWN_LAYERS
    assert bool(replays) is plain  # layers of one's own run eagerly
    if WAYS[name][2]:
        assert found[before:] != run(name, change=False)[0][before:]

    monkeypatch.setattr(Sequential, "replayable", False)
    replays.clear()
    eager, _ = run(name)
    assert not replays
    assert found == eager
    if REFUSED[name]:
        kind, words = found[-1]
        assert kind is REFUSED[name]
        assert len(words.split()) > 4
    else:
        assert not isinstance(found[-1], tuple)


OWN_LAYERS = {
    "a model of ones own",
    "stochastic depth",
    "an own running statistic",
    "a monitor",
    "a switch by epoch",
    "a list of functions",
    "a subclass that overrides a method",
}


def test_there_are_at_least_45_ways():
    assert len(WAYS) >= 45


@pytest.mark.parametrize("layer", [DeclaredDepth, DeclaredEpochSwitch])
def test_a_wrong_declaration_is_refused_in_words(monkeypatch, layer):
    monkeypatch.setenv("MINICNN_VERIFY_REPLAY", "1")
    training = Training(make_layers(layer()))
    assert training.model.replayable

    def train():
        for step in range(8):
            training.epoch = step // 4
            training.step()

    if layer is DeclaredDepth:  # its counter is an attribute: each step is captured again
        train()
        monkeypatch.setattr(Sequential, "replayable", False)
        eager = Training(make_layers(RandomDepth()))
        for step in range(8):
            eager.epoch = step // 4
            eager.step()
        assert training.log == eager.log
    else:
        with pytest.raises(ReplayError, match="declared replayable changes arrays by other means"):
            train()


def test_a_layer_in_another_place_is_refused_in_words():
    # The steps of a model are fused when it is made, so predictions would keep the former layer.
    model = Training().model
    with pytest.raises(TypeError, match="'tuple' object does not support item assignment"):
        model.layers[RELU] = Dropout(0.5)
