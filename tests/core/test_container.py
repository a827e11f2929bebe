"""Containers: ops, shapes and names, a small ResNet and DenseNet."""

import inspect
import json
import os

import numpy as np
import pytest

from minicnn import (
    Adam,
    BatchNorm,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Residual,
    Sequential,
    fit,
    load_mnist_sample,
    load_model,
    ops,
    plots,
    reference,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from minicnn.layers.base import layer_classes
from minicnn.layers.container import is_replayable, iter_layers
from minicnn.random import RandomKey
from minicnn.train.nonfinite import find_non_finite


def block(filters, shortcut=None):
    layers = [Conv2D(filters, 3, padding=1), BatchNorm(), ReLU()]
    return [Residual([*layers, Conv2D(filters, 3, padding=1), BatchNorm()], shortcut), ReLU()]


def resnet(size=8, **options):
    layers = [
        Conv2D(4, 3, padding=1), BatchNorm(), ReLU(),
        *block(4),
        MaxPool2D(2),
        *block(6, shortcut=[Conv2D(6, 1), BatchNorm()]),
        MaxPool2D(2), Flatten(), Dense(10),
    ]  # fmt: skip
    return Sequential(layers, input_shape=(size, size, 1), **options)


def grow(filters):
    return Concat([[], [BatchNorm(), ReLU(), Conv2D(filters, 3, padding=1), Dropout(0.1)]])


def densenet(size=8, **options):
    layers = [
        Conv2D(4, 3, padding=1), grow(4), grow(4),
        Conv2D(6, 1), MaxPool2D(2),
        grow(4), grow(4),
        BatchNorm(), ReLU(), MaxPool2D(2), Flatten(), Dense(10),
    ]  # fmt: skip
    return Sequential(layers, input_shape=(size, size, 1), **options)


NETWORKS = {"ResNet": resnet, "DenseNet": densenet}
needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes long without JIT"
)
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture(scope="module")
def digits():
    """Return twenty digits of 8×8 pixels, small enough for plain Python."""
    data = load_mnist_sample()
    return data.train_images[:20, 2:26:3, 3:27:3].copy(), data.train_labels[:20]


def train(network, digits, count=20, **options):
    model = network()
    chosen = {"epochs": 2, "batch_size": 10, "validation_split": 0, "progress": False, **options}
    history = fit(model, digits[0][:count], digits[1][:count], **chosen)
    return model, history


# ---------------------------------------------------------------- the ops


@pytest.mark.parametrize("channels", [(3, 2), (1,), (2, 5, 1)])
@pytest.mark.parametrize("axes", [(4,), (2, 3, 4)])
def test_concat_equals_the_reference(normals, dtype, axes, channels):
    draw = normals(1, dtype)
    parts = [draw(*axes, count) for count in channels]
    y, cache = ops.concat(parts)
    wanted, slow = reference.merge.concat(parts)
    np.testing.assert_array_equal(y, wanted, strict=True)
    dy = draw(*y.shape)
    for found, right in zip(
        ops.concat_backward(dy, cache), reference.merge.concat_backward(dy, slow), strict=True
    ):
        np.testing.assert_array_equal(found, right, strict=True)


def test_add_equals_the_reference(normals, dtype):
    draw = normals(2, dtype)
    a, b, dy = draw(2, 3, 4), draw(2, 3, 4), draw(2, 3, 4)
    y, cache = ops.add(a, b)
    wanted, slow = reference.merge.add(a, b)
    np.testing.assert_array_equal(y, wanted, strict=True)
    for found, right in zip(
        ops.add_backward(dy, cache), reference.merge.add_backward(dy, slow), strict=True
    ):
        np.testing.assert_array_equal(found, right, strict=True)


def test_add_and_concat_reject_arrays_that_do_not_fit():
    a, b = np.ones((2, 3, 4)), np.ones((2, 3, 5))
    with pytest.raises(
        ValueError, match=r"add: .* the same shape, not \(2, 3, 4\) and \(2, 3, 5\)"
    ):
        ops.add(a, b)
    with pytest.raises(TypeError, match="add: b is float32 but a is float64"):
        ops.add(a, a.astype(np.float32))
    with pytest.raises(TypeError, match="add: a must be float32 or float64, not int64"):
        ops.add(a.astype(int), a.astype(int))
    with pytest.raises(ValueError, match=r"concat: only the last axis.*\(2, 3, 4\), \(3, 3, 4\)"):
        ops.concat([a, np.ones((3, 3, 4))])
    with pytest.raises(ValueError, match="concat: give at least one branch"):
        ops.concat([])
    with pytest.raises(TypeError, match=r"concat: parts\[1\] is float32 but parts\[0\] is float64"):
        ops.concat([a, b.astype(np.float32)])
    with pytest.raises(ValueError, match=r"add_backward: dy .*\(2, 3, 5\)"):
        ops.add_backward(b, ops.add(a, a)[1])
    with pytest.raises(ValueError, match=r"concat_backward: dy .*\(2, 3, 5\)"):
        ops.concat_backward(b, ops.concat([a, a])[1])


# ---------------------------------------------------------------- the containers


def test_a_residual_by_hand():
    layer = Residual([Dense(2)])
    layer.build((2,), np.random.default_rng(0))
    layer.parameters["0.weight"][...] = [[1, 2], [3, 4]]
    layer.parameters["0.bias"][...] = 1
    y, cache = layer.forward(np.array([[1, 10]], np.float32))
    assert y.tolist() == [[1 + 31 + 1, 10 + 42 + 1]]
    dx, gradients = layer.backward(np.array([[1, 2]], np.float32), cache)
    assert dx.tolist() == [[1 + 1 + 4, 2 + 3 + 8]]
    assert gradients["0.weight"].tolist() == [[1, 2], [10, 20]]
    assert gradients["0.bias"].tolist() == [1, 2]
    assert layer.backward(np.ones((1, 2), np.float32), cache, need_dx=False)[0] is None


def test_a_concat_by_hand():
    layer = Concat([[], [Dense(1), ReLU()]])
    layer.build((2,), np.random.default_rng(0))
    layer.parameters["1.0.weight"][...] = [[1], [2]]
    y, cache = layer.forward(np.array([[3, 4], [-1, -1]], np.float32))
    assert y.tolist() == [[3, 4, 11], [-1, -1, 0]]
    dx, gradients = layer.backward(np.array([[1, 1, 10], [1, 1, 10]], np.float32), cache)
    assert dx.tolist() == [[11, 21], [1, 1]]
    assert gradients["1.0.weight"].tolist() == [[30], [40]]


def test_arrays_are_named_by_branch_position_and_name():
    inner = Residual([Conv2D(2, 1)], shortcut=[Conv2D(2, 1), BatchNorm()])
    model = Sequential([ReLU(), Concat([[], [inner]]), Flatten(), Dense(2)], input_shape=(2, 2, 3))
    names = ["0.weight", "0.bias", "shortcut.0.weight", "shortcut.0.bias"]
    names += ["shortcut.1.weight", "shortcut.1.bias"]
    assert list(inner.parameters) == names
    assert list(inner.statistics) == ["shortcut.1.mean", "shortcut.1.variance"]
    assert inner.statistics_momentum() == {"shortcut.1.mean": 0.1, "shortcut.1.variance": 0.1}
    assert list(model.layers[1].parameters) == [f"1.0.{name}" for name in names]
    assert list(model.layers[1].parameter_shapes((2, 2, 3))) == [f"1.0.{name}" for name in names]
    deepest = inner.shortcut[0]
    model.parameters[...] = 7
    assert deepest.parameters["weight"].tolist() == [[[[7, 7]] * 3]]
    assert np.shares_memory(deepest.parameters["weight"], model.parameters)
    assert np.shares_memory(inner.statistics["shortcut.1.mean"], model.statistics)
    assert [type(layer).__name__ for layer in iter_layers(model.layers)] == [
        "ReLU", "Concat", "Residual", "Conv2D", "Conv2D", "BatchNorm", "Flatten", "Dense",
    ]  # fmt: skip


def test_a_container_shows_the_call_that_makes_it():
    assert repr(Residual([ReLU()])) == "Residual([ReLU()])"
    assert repr(Residual((Dense(2),), (Dense(2),))) == "Residual([Dense(2)], shortcut=[Dense(2)])"
    assert repr(Concat(((), [Dropout(0.5)]))) == "Concat([[], [Dropout(0.5)]])"


def test_keys_inside_differ_by_branch_and_position():
    layer = Concat([[Dropout(0.5)], [Dropout(0.5), Dropout(0.5)]])
    key = RandomKey(0, 0, np.arange(2))
    x = np.ones((2, 60), np.float32)
    y, _ = layer.forward(x, key=key)
    first, _ = Dropout(0.5).forward(x, key=key.fold_in(0).fold_in(0))
    second, _ = Dropout(0.5).forward(x, key=key.fold_in(1).fold_in(0))
    assert np.array_equal(y[:, :60], first)
    assert not np.array_equal(first, second)
    assert not (y[:, 60:] != 0)[second == 0].any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Residual(ReLU()), TypeError, r"Residual: give a list of layers, not ReLU\(\)"),
        (lambda: Residual([ReLU]), TypeError, "Residual: layers must be layer objects such as"),
        (lambda: Residual([ReLU()], 1), TypeError, "Residual: give a list of layers, not 1"),
        (lambda: Concat([]), TypeError, "Concat: give a list of branches"),
        (lambda: Concat(ReLU()), TypeError, "Concat: give a list of branches"),
        (lambda: Concat([ReLU()]), TypeError, r"Concat: give a list of layers"),
    ],
)
def test_containers_reject_other_things_than_lists_of_layers(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Residual([Conv2D(5, 3, padding=1)]),
            r"layer 1 \(Residual.* the layers give \(4, 4, 5\) but the shortcut \(4, 4, 2\).*"
            r"such as \[Conv2D\(filters, 1, stride\)\]",
        ),
        (Concat([[], [Conv2D(5, 3)]]), r"Concat: only the last axis.* \(4, 4, 2\), \(2, 2, 5\)"),
        (Residual([Dense(3)], [Dense(3)]), r"0 inside, Dense\(3\): Dense: .*"),
        (Residual([], [ReLU(), Dense(3)]), r"shortcut\.1 inside, Dense\(3\): Dense: .*"),
    ],
)
def test_branches_that_do_not_fit_are_rejected(layer, message):
    with pytest.raises(ValueError, match=message):
        Sequential([layer, Flatten(), Dense(2)], input_shape=(4, 4, 2))


def test_a_layer_with_arrays_occurs_once_in_a_model():
    twin = Dense(4)
    with pytest.raises(ValueError, match=r"the layer Dense\(4\) occurs twice"):
        Sequential([Flatten(), Residual([twin, twin])], input_shape=(2, 2, 1))
    twin = Dense(4)
    Sequential([Flatten(), Residual([twin])], input_shape=(2, 2, 1))
    with pytest.raises(ValueError, match=r"layer 2 .* already belongs to a model"):
        Sequential([Flatten(), Concat([[twin]])], input_shape=(2, 2, 1))
    free = ReLU()  # one without arrays may
    Sequential([Flatten(), free, Residual([free])], input_shape=(2, 2, 1))


# ---------------------------------------------------------------- whole networks


@needs_jit
@every_network
def test_a_network_overfits_twenty_digits(digits, network):
    model, history = train(network, digits, epochs=30, optimizer=Adam(0.02))
    assert history["loss"][0] > 1.5
    assert history["loss"][-1] < 0.1
    assert (model.predict(digits[0]) == digits[1]).mean() >= 0.9


@needs_jit
@every_network
def test_the_number_of_threads_does_not_change_a_bit(digits, network):
    images, labels = np.tile(digits[0], (2, 1, 1)), np.tile(digits[1], 2)
    one, _ = train(network, (images, labels), 40, batch_size=40, epochs=1, threads=1)
    for threads in (2, 4):
        other, _ = train(network, (images, labels), 40, batch_size=40, epochs=1, threads=threads)
        assert other.parameters.tobytes() == one.parameters.tobytes()
        assert other.statistics.tobytes() == one.statistics.tobytes()


@every_network
def test_a_network_is_saved_and_loaded(digits, network, tmp_path):
    model = network()
    model.statistics[...] = np.random.default_rng(1).random(model.statistics.size) + 0.5
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    assert [repr(layer) for layer in again.layers] == [repr(layer) for layer in model.layers]
    assert again.parameters.tobytes() == model.parameters.tobytes()
    assert again.statistics.tobytes() == model.statistics.tobytes()
    assert np.array_equal(again.predict_proba(digits[0][:4]), model.predict_proba(digits[0][:4]))
    with np.load(tmp_path / "model.npz") as arrays:
        place = "3.0.weight" if network is resnet else "1.1.2.weight"
        assert arrays[place].shape == (3, 3, 4, 4)


@every_network
def test_layers_inside_are_fused_with_equal_results(digits, network):
    model = network(dtype=np.float64)
    model.statistics[...] = np.random.default_rng(1).random(model.statistics.size) + 0.5
    inside = [layer for layer in iter_layers(model.layers) if isinstance(layer, Residual | Concat)]
    steps = [step for layer in inside for chain in layer.sequences.values() for step in chain.steps]
    assert any(step.length > 1 for step in steps)

    def one_by_one(layers, x):
        for layer in layers:
            if isinstance(layer, Residual):
                x = one_by_one(layer.layers, x) + one_by_one(layer.shortcut or [], x)
            elif isinstance(layer, Concat):
                x = np.concatenate([one_by_one(own, x) for own in layer.branches], axis=-1)
            else:
                x, _ = layer.forward(x)
        return x

    x = model.preprocess(digits[0][:3])
    assert model.forward(x)[0] == pytest.approx(one_by_one(model.layers, x), rel=1e-9)


def test_the_summary_shows_the_layers_inside():
    layers = [Conv2D(2, 3), grow(3), Residual([Conv2D(5, 1)], shortcut=[Conv2D(5, 1)]), Flatten()]
    *lines, _ = Sequential([*layers, Dense(10)], input_shape=(6, 6, 1)).summary().splitlines()
    inner = [line.rstrip() for line in lines]
    assert inner[3].split() == ["2", "Concat", "(4,", "4,", "5)"]
    assert inner[4].strip() == "0: its input"
    assert inner[5].strip() == "1:"
    assert inner[6].split() == ["BatchNorm()", "(4,", "4,", "2)", "4", "0", "┐"]
    assert inner[8].split() == ["Conv2D(3,", "3,", "padding=1)", "(4,", "4,", "3)", "57", "864"]
    assert inner[8].index("Conv2D") == 4 + inner[3].index("Concat")
    assert inner[12].strip() == "shortcut:"
    assert lines[-1].split() == ["Total", f"{20 + 4 + 57 + 60 + 810:,}", "2,752"]


@every_network
def test_the_nonfinite_search_names_a_layer_inside(network):
    model = network()
    convs = [layer for layer in iter_layers(model.layers) if isinstance(layer, Conv2D)]
    shards = [(np.full((3, 8, 8), 255, np.uint8), np.arange(3), RandomKey(0, 0, np.arange(3)))]
    convs[1].parameters["weight"][...] = 3e38
    model.layers[0].parameters["bias"][...] = 5
    found = find_non_finite(model, shards)
    wanted = "which is 0 inside Residual" if network is resnet else "which is 1.2 inside Concat"
    assert f"the output of {convs[1]}, {wanted}" in found
    convs[1].parameters["bias"][0] = np.nan
    assert "0.bias of layer 4" in (found := find_non_finite(model, shards)) or "1.2.bias" in found


def test_an_overflow_in_merge_is_attributed_to_the_container():
    def found_in(*layers):
        model = Sequential([Flatten(), Dense(4), *layers, Dense(2)], input_shape=(2, 2, 1))
        model.parameters[...] = 0
        for layer in iter_layers(model.layers[:-1]):
            if isinstance(layer, Dense):
                layer.parameters["bias"][...] = 2e38
        white = np.full((2, 2, 2), 255, np.uint8)
        return find_non_finite(model, [(white, np.array([0, 1]), RandomKey(0, 0, np.arange(2)))])

    assert "the output of layer 3 (Residual([Dense(4)])) holds" in found_in(Residual([Dense(4)]))
    deep = Concat([[Residual([Dense(4)])]])
    wanted = f"the output of Residual([Dense(4)]), which is 0.0 inside {deep} holds"
    assert wanted in found_in(deep)


def test_feature_maps_show_a_container_as_one_step(digits):
    figure = plots.feature_maps(densenet(), digits[0][0])
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "Concat: 8 maps of 8×8" in texts
    assert "Dropout" not in texts
    assert plots.filters(Sequential([Residual([Conv2D(1, 3, padding=1)]), Flatten(), Dense(2)],
                                    input_shape=(4, 4, 1))).axes  # fmt: skip


# ---------------------------------------------------------------- files from strangers


def described(path, layers):
    """Write a model file with a description of these layers."""
    Sequential([Flatten(), Dense(2)], input_shape=(2, 2, 1)).save(path)
    with np.load(path) as arrays:
        members = dict(arrays)
    description = json.loads(str(members.pop("description")))
    description["model"]["layers"] = layers
    np.savez(path, description=np.array(json.dumps(description)), **members)
    return path


def nested(depth):
    return {"layer": "Residual", "layers": [nested(depth - 1)] if depth else []}


FLAT = [{"layer": "Flatten"}, {"layer": "Dense", "units": 2}]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nested(30), *FLAT], "its layers are nested more than 40 levels deep"),
        ([{"layer": "Concat", "branches": [[{"layer": "ReLU"}] * 2000] * 2}], "its 4,005 layers"),
        ([{"layer": "Concat", "branches": [[]] * 4000}], "its 4,003 layers and lists"),
        ([{"layer": "Residual"}], "layer 1: "),
        ([{"layer": "Residual", "layers": 5}], "layer 1: Residual: give a list of layers"),
        ([{"layer": "Residual", "layers": [5]}], "layer 1: Residual: layers must be layer objects"),
        ([{"layer": "Concat", "branches": [{"layer": "ReLU"}]}], "layer 1: Concat: give a list"),
        ([{"layer": "Residual", "layers": [{"layer": "os"}]}], "layer 1: there is no layer 'os'"),
        ([{"layer": "Conv2D", "filters": 1, "kernel_size": [{"layer": "ReLU"}] * 2}],
         "kernel size must be a whole number"),
        (
            [{"layer": "Concat", "branches": [[{"layer": "Conv2D", "filters": 2**30,
                                                "kernel_size": 1}]]}],
            "layers 1 to 1 compute 8,589,934,",
        ),
        ([{"layer": "Residual", "layers": [{"layer": "Conv2D", "filters": 2, "kernel_size": 1}]}],
         r"layer 1 .*Residual: the layers give \(2, 2, 2\) but the shortcut \(2, 2, 1\)"),
    ],
)  # fmt: skip
def test_a_hostile_description_is_rejected(tmp_path, layers, message):
    with pytest.raises(ValueError, match=message):
        load_model(described(tmp_path / "model.npz", layers))


def test_a_nested_description_within_the_limits_is_loaded(tmp_path):
    path = tmp_path / "model.npz"
    layer = Dense(4)
    for _ in range(6):
        layer = Residual([layer])
    model = Sequential([Flatten(), layer], input_shape=(2, 2, 1))
    model.save(path)
    assert repr(load_model(path).layers[1]) == repr(layer)


# ---------------------------------------------------------------- the same in PyTorch


def in_torch(torch, layers, arrays):
    """Return a PyTorch module of layers with weights from `arrays`."""
    nn = torch.nn

    class Sum(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.a, self.b = a, b

        def forward(self, x):
            return self.a(x) + self.b(x)

    class Side(nn.Module):
        def __init__(self, branches):
            super().__init__()
            self.branches = nn.ModuleList(branches)

        def forward(self, x):
            return torch.cat([branch(x) for branch in self.branches], 1)

    class Rows(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)  # minicnn's order of the features: h, w, c

    def module(layer):
        own = {name: torch.tensor(array) for name, array in layer.parameters.items()}
        if isinstance(layer, Residual):
            return Sum(row(layer.layers), row(layer.shortcut or []))
        if isinstance(layer, Concat):
            return Side([row(branch) for branch in layer.branches])
        if isinstance(layer, Conv2D):
            KH, _, C, F = own["weight"].shape
            made = nn.Conv2d(C, F, KH, padding=layer.padding)
            own["weight"] = own["weight"].permute(3, 2, 0, 1)
        elif isinstance(layer, Dense):
            made = nn.Linear(*own["weight"].shape)
            own["weight"] = own["weight"].T
        elif isinstance(layer, BatchNorm):
            made = nn.BatchNorm2d(len(own["bias"]), layer.epsilon, layer.momentum)
        else:
            return {
                "ReLU": nn.ReLU, "Flatten": Rows, "Dropout": nn.Identity,
                "MaxPool2D": lambda: nn.MaxPool2d(2),
            }[type(layer).__name__]()  # fmt: skip
        made = made.double()
        made.load_state_dict({**made.state_dict(), **own})
        arrays.append((layer, made))
        return made

    def row(layers):
        return nn.Sequential(*map(module, layers))

    return row(layers)


@every_network
def test_networks_equal_pytorch(digits, network):
    torch = pytest.importorskip("torch")
    model = network(dtype=np.float64)
    for layer in iter_layers(model.layers):
        if isinstance(layer, Dropout):
            layer.rate = 0.0  # what is dropped is another matter; see test_dropout.py
    pairs = []
    theirs = in_torch(torch, model.layers, pairs)
    x, labels = model.preprocess(digits[0][:6]), digits[1][:6]
    logits, caches = model.forward(x, key=RandomKey(0, 0, np.arange(6)))
    loss, cache = softmax_cross_entropy(logits, labels)
    _, gradients = model.backward(softmax_cross_entropy_backward(1.0, cache), caches)
    wanted = torch.nn.functional.cross_entropy(
        theirs(torch.tensor(x.transpose(0, 3, 1, 2))), torch.tensor(labels, dtype=torch.int64)
    )
    wanted.backward()
    assert loss == pytest.approx(wanted.item(), rel=1e-9)

    found = network(dtype=np.float64)  # shows the gradients by layers
    found.parameters[...] = gradients
    ours = [layer for layer in iter_layers(found.layers) if layer.parameters]
    ours = [layer for layer in ours if not isinstance(layer, Residual | Concat)]
    assert len(ours) == len(pairs)
    for layer, (_, made) in zip(ours, pairs, strict=True):
        right = made.weight.grad.numpy()
        right = right.transpose(2, 3, 1, 0) if right.ndim == 4 else right.T
        assert layer.parameters["weight"] == pytest.approx(right, rel=1e-6, abs=1e-9)
        assert layer.parameters["bias"] == pytest.approx(made.bias.grad.numpy(), abs=1e-9)

    batch_statistics = model.batch_statistics(caches)
    model.statistics += 0.1 * (batch_statistics - model.statistics)
    for layer, made in pairs:
        if isinstance(layer, BatchNorm):
            assert layer.statistics["mean"] == pytest.approx(made.running_mean.numpy())
            assert layer.statistics["variance"] == pytest.approx(made.running_var.numpy())
    in_use = theirs.eval()(torch.tensor(x.transpose(0, 3, 1, 2))).detach().numpy()
    assert model.forward(x)[0] == pytest.approx(in_use, rel=1e-6, abs=1e-9)


# ---------------------------------------------------------------- replay


def test_every_layer_of_the_library_is_replayable():
    for cls in layer_classes():
        if cls.__module__.startswith("minicnn."):
            where = inspect.getsourcefile(cls)
            assert cls.replayable, (
                f"{where}: write the op of {cls.__name__} with kernels (as LeakyReLU in "
                f"tests/core/test_own_layer.py), then add `replayable = True` to the class"
            )


def test_replayable_is_declared_and_not_inherited():
    class Own(ReLU):
        pass

    class Declared(ReLU):
        replayable = True

    assert is_replayable(resnet().layers)
    assert not is_replayable([ReLU(), Own()])
    assert is_replayable([ReLU(), Declared()])
    assert not is_replayable([Residual([ReLU()], shortcut=[Own()])])
