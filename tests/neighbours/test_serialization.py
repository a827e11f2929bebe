"""Model files: saving, loading, and errors for damaged or hostile files."""

import inspect
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from minicnn import (
    AvgPool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    MaxPool2D,
    ModelFileError,
    ReLU,
    Sequential,
    initializers,
    load_model,
    serialization,
)
from minicnn.layers import base
from minicnn.layers.base import layer_classes, make_example
from minicnn.runtime import archive


def tiny_model(**options):
    layers = [
        Conv2D(2, 3, padding="same"),
        ReLU(),
        MaxPool2D((2, 1), stride=2),
        Flatten(),
        Dense(3),
    ]
    return Sequential(layers, input_shape=(4, 5, 1), **options)


@pytest.fixture
def saved(tmp_path):
    """Write a valid model file and return its path."""
    path = tmp_path / "model.npz"
    model = tiny_model(seed=4, input_mean=0.1, class_names=["α", "b", "c"])
    model.metadata = {"history": {"loss": [1.5, 0.1]}, "data set": "ünï"}
    model.save(path)
    return path


def contents(path):
    with np.load(path, allow_pickle=False) as arrays:
        members = dict(arrays)
    return json.loads(str(members.pop("description"))), members


def rewrite(path, description, members):
    np.savez(path, description=np.array(json.dumps(description)), **members)


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in members:
            file.writestr(name, data)


def npy(array, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version)
    return file.getvalue()


# ---------------------------------------------------------------- round trip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_is_saved_and_loaded(tmp_path, dtype):
    path = tmp_path / "model.npz"
    names = ("zero", "one", "two")
    model = tiny_model(seed=3, input_mean=0.1307, input_std=0.3081, class_names=names, dtype=dtype)
    model.metadata = {"epochs": 2, "history": {"loss": [0.1 + 0.2, float("inf")]}, "augment": None}
    model.save(path)
    found = load_model(path)
    assert found.parameters.dtype == dtype
    assert found.parameters.tobytes() == model.parameters.tobytes()
    assert [repr(layer) for layer in found.layers] == [repr(layer) for layer in model.layers]
    assert found.class_names == names
    assert found.metadata == model.metadata
    assert (found.input_shape, found.output_shape) == (model.input_shape, model.output_shape)
    assert (found.input_mean, found.input_std) == (0.1307, 0.3081)
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_saved_file_keeps_its_mode(tmp_path):
    path = tmp_path / "model.npz"
    for mode in (0o600, 0o640):
        path.touch()
        path.chmod(mode)
        tiny_model().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert load_model(path).output_shape == tiny_model().output_shape


def test_one_process_at_a_time_writes_an_exclusive_file(tmp_path):
    path = tmp_path / "m[1].npz"  # no pattern
    other = tmp_path / ".m1.npz.0123.part"
    for file in (other, tmp_path / ".m[1].npz.0123.part"):
        file.touch()
    with archive.exclusive(path):
        refused = pytest.raises(BlockingIOError, match=r"m\[1\].npz is being written by another")
        with refused, archive.exclusive(path):
            pytest.fail("two at once")
        with archive.exclusive(tmp_path / "other.npz"):
            pass
        assert set(tmp_path.iterdir()) == {tmp_path / ".m[1].npz.lock", other}
    with archive.exclusive(path):
        pass
    assert list(tmp_path.iterdir()) == [other]


def test_a_lock_file_that_its_owner_just_removed_is_no_lock(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    with open(tmp_path / ".m.npz.lock", "ab") as removed:
        os.unlink(removed.name)
        assert not archive._holds(removed, Path(removed.name))
        Path(removed.name).touch()
        assert not archive._holds(removed, Path(removed.name))
    with archive.exclusive(path):
        pass


def test_a_loaded_model_gives_the_same_predictions(tmp_path):
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)]
    model = Sequential(layers, input_shape=(8, 8, 1), input_mean=0.1, input_std=0.3)
    model.save(tmp_path / "model.npz")
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    wanted = model.predict_proba(images)
    assert np.array_equal(load_model(tmp_path / "model.npz").predict_proba(images), wanted)


def test_arguments_of_layers_are_saved(tmp_path):
    layers = [
        Conv2D(2, (3, 2), stride=(1, 2), padding=(1, 0), backend="im2col"),
        Conv2D(np.int64(3), 1, initializer=initializers.glorot_uniform),
        DepthwiseConv2D((2, 3), stride=1, padding="same", initializer=initializers.glorot_uniform),
        MaxPool2D((2, 1), padding="same"),
        AvgPool2D((1, 2), stride=1, padding=(0, 1)),
        GlobalAvgPool2D(),
        Dense(4, initializer=initializers.glorot_uniform),
        ReLU(),
    ]
    model = Sequential(layers, input_shape=(6, 6, 3))
    model.save(tmp_path / "model.npz")
    found = load_model(tmp_path / "model.npz")
    assert [repr(layer) for layer in found.layers] == [repr(layer) for layer in model.layers]
    assert found.class_names is None
    assert found.metadata == {}


def test_numpy_scalars_are_saved_as_plain_numbers(tmp_path):
    layers = [MaxPool2D(np.int64(2), stride=(np.int8(1), 2)), Flatten()]
    Sequential(layers, input_shape=(4, 4, 1)).save(tmp_path / "model.npz")
    assert repr(load_model(tmp_path / "model.npz").layers[0]) == "MaxPool2D(2, stride=(1, 2))"


LIBRARY = [cls for cls in layer_classes() if cls.__module__.startswith("minicnn.")]


@pytest.mark.parametrize("cls", LIBRARY, ids=lambda cls: cls.__name__)
def test_the_example_of_every_layer_is_saved_and_loaded(tmp_path, cls):
    layer, shape = make_example(cls)
    shape, before = (shape, []) if len(shape) == 3 else ((*shape, 1, 1), [Flatten()])
    model = Sequential([*before, layer], input_shape=shape)
    model.save(tmp_path / "model.npz")
    found = load_model(tmp_path / "model.npz")
    assert repr(found.layers) == repr(model.layers)
    assert found.parameters.tobytes() == model.parameters.tobytes()


def test_every_initializer_of_the_library_can_be_saved():
    functions = inspect.getmembers(initializers, inspect.isfunction)
    assert set(serialization.INITIALIZERS) == {name for name, _ in functions} - {"fans"}


def test_a_model_without_parameters_is_saved_too(tmp_path):
    Sequential([Flatten()], input_shape=(2, 2, 1)).save(tmp_path / "model.npz")
    assert load_model(tmp_path / "model.npz").parameters.size == 0


def test_numpy_opens_the_file_without_pickle(saved):
    description, members = contents(saved)
    assert set(members) == {"0.weight", "0.bias", "4.weight", "4.bias"}
    assert {str(array.dtype) for array in members.values()} == {"float32"}
    assert description["format"] == "minicnn model"
    assert description["version"] == 1
    assert description["model"]["layers"][0] == {
        "layer": "Conv2D", "filters": 2, "kernel_size": 3, "stride": 1, "padding": "same",
        "backend": "auto", "initializer": "he_normal", "bias": True,
    }  # fmt: skip


def test_a_file_that_numpy_wrote_again_is_loaded(saved):
    before = load_model(saved)
    rewrite(saved, *contents(saved))
    assert load_model(saved).parameters.tobytes() == before.parameters.tobytes()


def test_the_same_model_gives_the_same_file(tmp_path):
    for name in ("a.npz", "b.npz"):
        tiny_model(seed=1).save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_new_process_loads_the_file(saved):
    code = f"import minicnn; print(minicnn.load_model({str(saved)!r}).class_names)"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == "('α', 'b', 'c')"


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a", "b"], ValueError, "class_names must be 3, one for each class, not 2"),
        ([0, 1, 2], TypeError, "class_names must be texts, but one is 0"),
    ],
)
def test_class_names_must_fit_the_outputs(names, error, message):
    with pytest.raises(error, match=message):
        tiny_model(class_names=names)


# ---------------------------------------------------------------- own layers and invalid models


def own_layer(module="mine", name="Own"):
    """Define a layer class, as a module of a user does."""
    body = {"__module__": module, "__annotations__": {"slope": float}, "slope": 0.5}
    body["forward"] = lambda self, x, key=None: (x, None)
    return dataclass(eq=False, repr=False)(type(name, (Layer,), body))


@pytest.fixture
def save_own(tmp_path, monkeypatch):
    """Return a function that saves a layer and then forgets its class."""
    library = {key: cls for key, cls in base._registry.items() if key[0].startswith("minicnn.")}
    monkeypatch.setattr(base, "_registry", library)

    def save(cls):
        path = tmp_path / "model.npz"
        Sequential([Flatten(), cls(0.25)], input_shape=(2, 2, 1)).save(path)
        del base._registry[cls.__module__, cls.__qualname__]
        return path

    return save


def test_a_layer_class_that_is_not_imported_is_named_with_the_import_to_add(save_own):
    path = save_own(own_layer())
    message = "layer 2: there is no layer 'mine.Own': .* as in `from mine import Own`"
    with pytest.raises(ModelFileError, match=message):
        load_model(path)
    own_layer("elsewhere")
    assert repr(load_model(path).layers[1]) == "Own(slope=0.25)"
    again = own_layer()
    assert type(load_model(path).layers[1]) is again


def test_a_layer_class_of_a_script_is_found_in_any_module(save_own):
    path = save_own(own_layer("__main__"))
    with pytest.raises(ModelFileError, match="as in `from your_module import Own`"):
        load_model(path)
    cls = own_layer()
    assert type(load_model(path).layers[1]) is cls


def test_two_layer_classes_of_one_name_are_ambiguous(save_own):
    path = save_own(own_layer("__main__"))
    own_layer("one")
    own_layer("two")
    message = "the layer '__main__.Own' is ambiguous: .* one.Own and two.Own; rename one of them"
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_a_layer_class_that_is_defined_again_replaces_the_former(save_own):
    path = save_own(own_layer())
    own_layer()
    again = own_layer()
    assert type(load_model(path).layers[1]) is again


def test_an_own_layer_may_have_the_name_of_a_library_layer(save_own):
    path = save_own(own_layer(name="Dense"))
    cls = own_layer(name="Dense")
    assert type(load_model(path).layers[1]) is cls


def test_a_layer_whose_arguments_are_not_fields_cannot_be_saved(tmp_path):
    class Scaled(Dense):
        def __init__(self, units, factor):
            super().__init__(units)
            self.factor = factor

    model = Sequential([Flatten(), Scaled(2, 3)], input_shape=(2, 2, 1))
    message = r"the layer Scaled\(2\) cannot be saved: .* @dataclass\(eq=False, repr=False\) above"
    with pytest.raises(TypeError, match=message):
        model.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_an_own_initializer_cannot_be_saved_but_replaced(tmp_path):
    layer = Dense(3, initializer=lambda rng, shape, dtype: np.ones(shape, dtype))
    model = Sequential([Flatten(), layer], input_shape=(2, 2, 1))
    with pytest.raises(
        TypeError, match=r"Dense.* its initializer .* set layer.initializer to one of"
    ):
        model.save(tmp_path / "model.npz")
    layer.initializer = initializers.he_normal
    model.save(tmp_path / "model.npz")
    assert (
        load_model(tmp_path / "model.npz").layers[1].parameters["weight"].tolist() == [[1] * 3] * 4
    )


def test_metadata_must_be_json_and_weights_finite(tmp_path):
    path = tmp_path / "model.npz"
    model = tiny_model()
    for metadata in ({"accuracy": np.float32(0.9)}, {"when": {1, 2}}, {"history": object()}):
        model.metadata = metadata
        with pytest.raises(
            TypeError, match=r"model.npz was not written: its metadata must be JSON"
        ):
            model.save(path)
    model.metadata = {}
    model.layers[4].parameters["bias"][1] = np.nan
    with pytest.raises(
        ValueError, match=r"model.npz was not written: 4.bias holds infinity or NaN"
    ):
        model.save(path)
    assert not list(tmp_path.iterdir())


def test_a_description_beyond_the_limit_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LONGEST_DESCRIPTION", 100)
    with pytest.raises(
        ValueError, match=r"with a description of .* characters exceed the limits of"
    ):
        tiny_model().save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- atomic writes


def test_the_error_of_a_file_that_cannot_be_opened_is_raised(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        tiny_model().save(tmp_path / "model.npz")


def test_a_missing_folder_or_a_folder_as_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"m.npz cannot be written: there is no folder .*no"
    ):
        tiny_model().save(tmp_path / "no" / "m.npz")
    with pytest.raises(IsADirectoryError, match="cannot be written: it is a folder; name a file"):
        tiny_model().save(tmp_path)


def test_a_folder_without_write_permission_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"m.npz cannot be written: .* does not let you"):
        tiny_model().save(tmp_path / "m.npz")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(saved, monkeypatch, error):
    before = saved.read_bytes()

    def fail(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        tiny_model(seed=9).save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_file_is_synced_before_it_is_renamed(saved, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("rename"), replace(*names)))
    tiny_model().save(saved)
    assert events[:2] == ["fsync", "rename"]


def test_an_existing_file_is_replaced_and_links_are_kept(tmp_path):
    path, link = tmp_path / "model.npz", tmp_path / "link.npz"
    tiny_model(seed=1).save(path)
    try:
        link.symlink_to(path)
    except OSError:
        pytest.skip("no symbolic links here")
    tiny_model(seed=2).save(link)
    assert link.is_symlink()
    assert load_model(path).parameters.tobytes() == tiny_model(seed=2).parameters.tobytes()


@pytest.mark.skipif(os.name != "posix", reason="permissions as on POSIX")
def test_a_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "other").touch()
    tiny_model().save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_mode == (tmp_path / "other").stat().st_mode


# ---------------------------------------------------------------- foreign files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.npz cannot be loaded: there is no such file"):
        load_model(tmp_path / "no.npz")
    with pytest.raises(ModelFileError, match="cannot be loaded: it is not a file"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (npy(np.zeros(3)), "it is a single NumPy array, not a minicnn model"),
        (b"\x80\x04N.", "it is not a .npz file"),  # a pickle
        (b"<!DOCTYPE html>", "it is not a .npz file"),
        (b"PK\x03\x04 and so on", r"it is cut off or damaged \(File is not a zip file\)"),
    ],
    ids=["empty", "npy", "pickle", "page", "zip in name"],
)
def test_foreign_files_are_rejected(tmp_path, data, message):
    path = tmp_path / "model.npz"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=f"model.npz cannot be loaded: {message}"):
        load_model(path)


def test_foreign_zips_are_rejected(tmp_path):
    path = tmp_path / "model.npz"
    cases = [
        ([("a.txt", b"hello")], "it is a zip without a description, so not a minicnn model"),
        ([("w.npy", npy(np.zeros(3)))], "it is a zip without a description"),
        ([("description.npy", b"hello")], "description is cut off or damaged"),
        ([("description.npy", npy(np.zeros(3)))], r"should be a string .*not float64 of shape \(3"),
        ([("description.npy", npy(np.float64(3)))], r"not float64 of shape \(\)"),
        ([("description.npy", npy(np.array("{}", ">U2")))], "should be a string .*not >U2"),
        ([("description.npy", npy(np.array(["a", "b"])))], r"not <U1 of shape \(2,\)"),
        ([("description.npy", npy(np.array("{}"), (2, 0)))], r"not version 1.0 of .npy"),
        ([("description.npy", npy(np.array("{}")))], "does not say that it is minicnn's"),
        ([("description.npy", npy(np.array("[]")))], "does not say that it is minicnn's"),
        ([("description.npy", npy(np.array("{")))], "its description is not JSON"),
        ([("description.npy", npy(np.array("[" * 100_000)))], "its description is not JSON"),
        ([("description.npy", npy(np.array("1" * 5000)))], "its description is not JSON"),
        ([("description.npy", npy(np.array("ab"))[:-2])], "does not have the size it declares"),
        ([("description.npy", npy(np.array("ab")) + bytes(4))], "does not have the size it"),
        ([("description.npy", npy(np.array("a"))[:-4] + b"\xff" * 4)], "description is not JSON"),
        ([("description.npy", npy(np.array("{}"))), ("b.txt", b"")], "it holds 'b.txt', which d"),
    ]  # fmt: skip
    for members, message in cases:
        zipped(path, members)
        with pytest.raises(ModelFileError, match=message):
            load_model(path)


def test_a_pickle_inside_is_rejected_and_not_run(saved):
    description, members = contents(saved)

    class Bomb:
        def __reduce__(self):
            return print, ("the bomb went off",)

    member = io.BytesIO()
    np.lib.format.write_array(member, np.array([Bomb()] * 6), allow_pickle=True)
    sound = [(f"{name}.npy", npy(array)) for name, array in members.items() if name != "4.bias"]
    text = ("description.npy", npy(np.array(json.dumps(description))))
    data = member.getvalue()
    head = data[: data.index(b"\n") + 1]
    zipped(saved, [text, *sound, ("4.bias.npy", head + bytes(12))])  # of the right size
    with pytest.raises(
        ModelFileError, match=r"4.bias should be float32 .*not object of shape \(6,"
    ):
        load_model(saved)
    zipped(saved, [text, *sound, ("4.bias.npy", data)])
    with pytest.raises(ModelFileError, match=r"4.bias should"):
        load_model(saved)
    zipped(saved, [("description.npy", data)])
    with pytest.raises(ModelFileError, match=r"description should be a string .*not object"):
        load_model(saved)


# ---------------------------------------------------------------- invalid members


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("4.bias"), "it lacks 4.bias$"),
        (lambda m: [m.pop(name) for name in list(m)], "it lacks 0.bias, 0.weight, 4.bias, 4.w"),
        (lambda m: m.update(stranger=np.zeros(3)), "it holds stranger, which does not belong"),
        (
            lambda m: m.update({f"{i:02}": np.zeros(3) for i in range(9)}),
            "00, 01, 02, 03, 04 and 4 more, which",
        ),
        (lambda m: m.update({"4.bias": np.zeros(4, "f4")}), r"float32 of shape \(3,\).*\(4,\)"),
        (lambda m: m.update({"4.bias": np.zeros((3, 1), "f4")}), r"not float32 of shape \(3, 1\)"),
        (lambda m: m.update({"4.bias": np.zeros(3, "f8")}), "should be float32 .*not float64"),
        (lambda m: m.update({"4.bias": np.zeros(3, ">f4")}), "4.bias should be float32 .*not >f4"),
        (lambda m: m.update({"4.bias": np.zeros(3, "i4")}), "4.bias should be float32 .*not int32"),
        (lambda m: m.update({"4.weight": np.zeros((18, 3), "f4").T}), r"of shape \(3, 18\)"),
        (
            lambda m: m.update({"4.weight": np.asfortranarray(m["4.weight"])}),
            r"in C order, not float32 of shape \(12, 3\) in Fortran order",
        ),
        (lambda m: m.update({"4.bias": np.zeros(9999, "f4")}), "should hold 12 bytes after a"),
        (lambda m: m["4.bias"].__setitem__(1, np.nan), "4.bias holds infinity or NaN"),
        (lambda m: m["0.weight"].__setitem__((1, 1, 0, 0), np.inf), "0.weight holds infinity"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_the_layers_are_named(saved, change, message):
    description, members = contents(saved)
    change(members)
    rewrite(saved, description, members)
    with pytest.raises(ModelFileError, match=rf"model.npz cannot be loaded: .*{message}"):
        load_model(saved)


def test_compressed_members_are_rejected_unread(tmp_path):
    path = tmp_path / "model.npz"
    zipped(path, [("description.npy", bytes(10**7))], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    with pytest.raises(
        ModelFileError, match=r"description.npy is compressed or encrypted; minicnn"
    ):
        load_model(path)


def test_false_sizes_are_rejected(saved):
    # In the directory at the end of a zip, 20 and 24 bytes after PK\1\2: packed and real size.
    data = saved.read_bytes()
    entry = data.rindex(b"PK\x01\x02")
    for place in (20, 24):
        changed = bytearray(data)
        changed[entry + place : entry + place + 4] = (2**31).to_bytes(4, "little")
        saved.write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"bytes but declares [\d,]+"):
            load_model(saved)
    changed[entry + 20 : entry + 24] = (2**31).to_bytes(4, "little")
    saved.write_bytes(changed)  # both: zipfile would read to the end of the file, and no further
    with pytest.raises(ModelFileError, match="declare more bytes than the file has"):
        load_model(saved)


def test_two_members_of_one_name_are_rejected(saved):
    with zipfile.ZipFile(saved, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("4.bias.npy", npy(np.ones(3, np.float32)))
    with pytest.raises(ModelFileError, match="it holds two members of one name"):
        load_model(saved)


def test_files_and_descriptions_beyond_the_limit_are_not_read(saved, monkeypatch):
    monkeypatch.setattr(archive, "LONGEST_DESCRIPTION", 10)
    monkeypatch.setattr(archive, "LONGEST_HEADER", 128)
    with pytest.raises(ModelFileError, match=r"its description of [\d,]+ bytes is too long"):
        load_model(saved)
    monkeypatch.setattr(archive, "LARGEST_FILE", 1000)
    with pytest.raises(ModelFileError, match=r"it has [\d,]+ bytes, more than the limit of 1,000"):
        load_model(saved)


def test_a_file_of_exactly_the_limit_is_read(saved, monkeypatch):
    size = saved.stat().st_size
    monkeypatch.setattr(archive, "LARGEST_FILE", size)
    load_model(saved)
    monkeypatch.setattr(archive, "LARGEST_FILE", size - 1)
    with pytest.raises(ModelFileError, match="more than the limit"):
        load_model(saved)


def test_messages_are_short_and_without_control_characters(saved):
    description, members = contents(saved)
    rewrite(saved, description, {**members, "\x1b[2J\u202e" + "x" * 9999: np.zeros(3)})
    with pytest.raises(
        ModelFileError, match=r"it holds \?\[2J\?x{100,200} … x{100,200}, which does not"
    ):
        load_model(saved)


# ---------------------------------------------------------------- invalid descriptions


def changed(*path_and_value):
    *path, last, value = path_and_value

    def change(description):
        for key in path:
            description = description[key]
        if value is KeyError:
            del description[last]
        else:
            description[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("version", 2), "it is of format 2, this minicnn reads 1; update minicnn"),
        (changed("version", 0), "there is no format 0"),
        (changed("version", True), "does not say that it is minicnn's"),
        (changed("version", KeyError), "does not say that it is minicnn's"),
        (changed("format", "minicnn checkpoint"), "it is a checkpoint, not a model"),
        (changed("format", "keras"), "does not say that it is minicnn's"),
        (changed("metadata", []), "model and metadata must be objects"),
        (changed("model", None), "model and metadata must be objects"),
        (changed("model", KeyError), "it lacks, or should not have, model"),
        (changed("more", 1), "it lacks, or should not have, more"),
        (changed("model", "seed", 1), "it lacks, or should not have, seed"),
        (changed("model", "dtype", KeyError), "it lacks, or should not have, dtype"),
        (changed("model", "dtype", "float16"), "dtype must be one of float32, float64, not 'flo"),
        (changed("model", "dtype", {}), "dtype must be one of"),
        (changed("model", "input_shape", [4, 5]), r"needs images \(H, W, C\)"),
        (changed("model", "input_shape", [4, -5, 1]), "input_shape must be at least 1, not -5"),
        (changed("model", "input_shape", [4, True, 1]), "input_shape must be a whole number, n"),
        (changed("model", "input_shape", [4, 10**4000, 1]), r"at most 2,147.*, not 10+\.\.\.0+$"),
        (changed("model", "input_shape", "456"), "input_shape must be a list, not '456'"),
        (changed("model", "input_shape", [10**6, 10**6, 1]), "layers 1 to 1 compute 4,000,00"),
        (changed("model", "input_mean", "0"), "input_mean must be a number, not '0'"),
        (changed("model", "input_std", -1.0), "input_std above 0, not"),
        (changed("model", "class_names", ["a"]), "class_names must be 3, one for each"),
        (changed("model", "class_names", [1, 2, 3]), "class_names must be texts, but one is 1"),
        (changed("model", "class_names", "abc"), "class_names must be a list, not 'abc'"),
        (changed("model", "layers", []), "layers must be a list of 1 to 1000"),
        (changed("model", "layers", [{"layer": "ReLU"}] * 1001), "layers must be a list of 1 to 1"),
        (changed("model", "layers", {}), "layers must be a list"),
        (changed("model", "layers", 1, []), "layer 2: it does not name its layer"),
        (changed("model", "layers", 1, {"layer": 7}), "layer 2: it does not name its layer"),
        (changed("model", "layers", 1, {"layer": "os.system"}), "layer 2: there is no layer 'os."),
        (changed("model", "layers", 1, {"layer": "Layer"}), "there is no layer 'Layer'"),
        (changed("model", "layers", 1, "x", 7), "layer 2: ReLU has no argument 'x'"),
        (changed("model", "layers", 1, "parameters", {}), "ReLU has no argument 'parameters'"),
        (changed("model", "layers", 4, "units", KeyError), "layer 5: .*missing .*'units'"),
        (changed("model", "layers", 4, "units", "3"), "units must be a whole number, not '3'"),
        (changed("model", "layers", 4, "units", 10**12), "layer 5: Dense: units must be at most"),
        (changed("model", "layers", 4, "units", 10**8), "layers 1 to 5 compute 100,000,"),
        (changed("model", "layers", 4, "units", 10**6), "should hold"),
        (changed("model", "layers", 0, "padding", 10**4000), "layer 1 .* padding must be at mo"),
        (changed("model", "layers", 4, "initializer", "exec"), "there is no initializer 'exec'"),
        (changed("model", "layers", 4, "initializer", [[]]), "layer 5: there is no initializer"),
        (changed("model", "layers", 0, "backend", "gpu"), "backend must be one of .*not 'gpu'"),
        (changed("model", "layers", 0, "padding", {}), "layer 1 .*padding must be a whole number"),
        (changed("model", "layers", 0, "padding", [1, [2]]), "layer 1 .*padding must be"),
        (changed("model", "layers", 0, "kernel_size", 9), "should hold"),
        (changed("model", "layers", 0, "stride", None), "layer 1 .*stride must be"),
        (changed("model", "layers", 3, {"layer": "ReLU"}), r"layer 5 \(Dense\(3\)\): .*Flatten"),
    ],
)  # fmt: skip
def test_invalid_descriptions_are_rejected(saved, change, message):
    description, members = contents(saved)
    change(description)
    rewrite(saved, description, members)
    with pytest.raises(ModelFileError, match=rf"model.npz cannot be loaded: .*{message}"):
        load_model(saved)


# ---------------------------------------------------------------- cost of a model


def conv(**options):
    return {"layer": "Conv2D", "filters": 1, "kernel_size": 1, **options}


def pool(size, **options):
    return {"layer": "MaxPool2D", "pool_size": size, **options}


COSTLY = {
    "padding": ([conv(padding=20_000, stride=30_000)], (4, 4, 1), "900,060,021 values"),
    "depthwise padding": (
        [{"layer": "DepthwiseConv2D", "kernel_size": 1, "padding": 20_000, "stride": 30_000}],
        (4, 4, 1), "900,060,021 values",
    ),
    "patches": ([conv(kernel_size=30, padding="same", backend="im2col")], (600, 600, 1), "325,"),
    "output": ([conv(filters=2**26)], (1, 1, 1), "67,108,866 values"),
    "image": ([{"layer": "GlobalAvgPool2D"}], (2**13, 2**13, 1), "67,108,865 values"),
    "max pool": (
        [pool(300, stride=1, padding=150)], (300, 300, 1), "of 130,465,440,000 multiply-adds",
    ),
    "average pool": (
        [{**pool(300, stride=1, padding=150), "layer": "AvgPool2D"}],
        (300, 300, 1), "of 130,465,440,000 multiply-adds",
    ),
    "multiply-adds": (
        [conv(filters=64, kernel_size=9, padding="same")] * 2,
        (400, 400, 64), "time of 53,084,160,000 multiply-adds",
    ),
    "Python loops": (
        [conv(filters=64, kernel_size=5, padding="same", backend="reference")],
        (28, 28, 32), "time of 40,140,800,000 multiply-adds",
    ),
    "many layers": ([{"layer": "ReLU"}] * 900, (600, 600, 1), "186 compute 67,320,000"),
    "inside a block": (
        [{"layer": "Residual", "layers": [pool(1)] * 30, "shortcut": [pool(1)] * 30}],
        (800, 800, 1), "78,080,000 values",
    ),
    "branches": ([{"layer": "Concat", "branches": [[]] * 64}] * 5, (1, 1, 1), "5 compute 1,090"),
}  # fmt: skip


@pytest.mark.parametrize(("layers", "shape", "message"), COSTLY.values(), ids=COSTLY)
def test_a_model_that_takes_gigabytes_or_minutes_is_rejected(saved, layers, shape, message):
    description, members = contents(saved)
    description["model"].update(layers=layers, input_shape=shape)
    rewrite(saved, description, members)
    with pytest.raises(ModelFileError, match=rf"layers 1 to .*{message}.*; the limits are 67,"):
        load_model(saved)


def test_a_model_beyond_the_limits_is_not_written(tmp_path):
    # A file that cannot be loaded would lose the model.
    for layers in ([MaxPool2D(300, stride=1, padding=150)], [ReLU() for _ in range(1001)]):
        with pytest.raises(ValueError, match=r"the limits are|a list of 1 to 1000 layers"):
            Sequential(layers, input_shape=(300, 300, 1)).save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_as_many_layers_and_lists_as_the_limit_are_loaded(saved, monkeypatch):
    layers = json.dumps(contents(saved)[0]["model"]["layers"])
    parts = layers.count("{") + layers.count("[")
    monkeypatch.setattr(serialization, "MAX_PARTS", parts)
    load_model(saved)
    monkeypatch.setattr(serialization, "MAX_PARTS", parts - 1)
    with pytest.raises(ModelFileError, match=f"its {parts} layers and lists are more than"):
        load_model(saved)


def test_large_networks_are_within_the_limits():
    vgg16 = []
    for count, filters in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]:
        for _ in range(count):
            vgg16 += [Conv2D(filters, 3, padding=1), ReLU()]
        vgg16.append(MaxPool2D(2))
    vgg16 += [Flatten(), Dense(4096), ReLU(), Dense(4096), ReLU(), Dense(1000)]
    assert serialization.state_shapes(vgg16, (224, 224, 3))[-1]["weight"] == (4096, 1000)
    assert serialization.state_shapes([Flatten()], (2**25, 1, 1)) == [{}]  # exactly 2²⁶ values
    lenet = [Conv2D(32, 5, padding=2, backend="reference"), MaxPool2D(2)]
    lenet += [Conv2D(64, 5, padding=2, backend="reference"), MaxPool2D(2), Flatten(), Dense(10)]
    assert len(serialization.state_shapes(lenet, (28, 28, 1))) == 6


def test_too_many_members_are_not_listed(saved, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 5)  # the description and four arrays
    load_model(saved)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 4)
    with pytest.raises(ModelFileError, match="it holds more than 4 members"):
        load_model(saved)


def test_a_std_that_makes_pixels_infinite_is_rejected(saved):
    description, members = contents(saved)
    description["model"]["input_std"] = 1e-300
    rewrite(saved, description, members)
    with pytest.raises(ModelFileError, match=r"finite numbers in float32, .* not 0\.1 and 1e-300"):
        load_model(saved)


@pytest.mark.parametrize("change", [("4.weight", 3e38), ("4.bias", -3e38)], ids=lambda c: c[0])
def test_weights_that_overflow_do_not_answer_nan(saved, change):
    description, members = contents(saved)
    members["4.weight"][...] = -1e20
    members["0.weight"][...] = 3e38
    members[change[0]][...] = change[1]
    rewrite(saved, description, members)
    model, white = load_model(saved), np.full((4, 5), 255, np.uint8)
    with pytest.raises(ValueError, match="the network computes infinity or NaN, so its weights"):
        model.predict(white)


# ---------------------------------------------------------------- damaged files


def load_or_refuse(path, data):
    path.write_bytes(data)
    try:
        return load_model(path)
    except ModelFileError:
        return None


def test_a_truncated_file_is_rejected(saved):
    data = saved.read_bytes()
    for length in [*range(0, len(data), 5), *range(len(data) - 100, len(data))]:
        assert load_or_refuse(saved, data[:length]) is None


def test_a_changed_byte_gives_the_same_model_or_an_error(saved):
    """Some bytes of a zip are redundant: they may change without effect."""
    data, whole = saved.read_bytes(), load_model(saved)
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.permutation(len(data))[:1000]:
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(8))
        model = load_or_refuse(saved, bytes(changed))
        if model is None:
            refused += 1
        else:
            assert model.parameters.tobytes() == whole.parameters.tobytes()
            assert model.metadata == whole.metadata
            assert model.class_names == whole.class_names
    assert refused > 700


def test_changed_bytes_with_valid_checksum_give_a_model_or_an_error(saved):
    """Change bytes of the members, then zip them with a valid checksum."""
    with zipfile.ZipFile(saved) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    rng = np.random.default_rng(1)
    for round_number in range(400):
        number = round_number % len(members)
        name, data = members[number]
        # the header, and of the description what follows it too
        reach = 128 if name != "description.npy" else len(data)
        changed = bytearray(data)
        for place in rng.integers(0, reach, int(rng.integers(1, 4))):
            changed[place] = int(rng.choice([*b"{}[]()',: <U>f4i8O09\n\x00\xff\x80"]))
        zipped(saved, [*members[:number], (name, bytes(changed)), *members[number + 1 :]])
        load_or_refuse(saved, saved.read_bytes())


def test_a_deep_or_strange_json_is_a_clear_error(saved):
    """Put values of every type at every position of the description."""
    description, members = contents(saved)
    strange = [None, True, 0, -1, 10**30, 1.5, float("nan"), "", "x", [], [[]], {}, [1, 2, 3]]

    def paths(node, path=()):
        yield path
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items if isinstance(node, (dict, list)) else ():
            yield from (
                paths(value, (*path, key)) if isinstance(value, (dict, list)) else [(*path, key)]
            )

    for path in [path for path in paths(description) if path and path[0] != "metadata"]:
        for value in strange:
            other = json.loads(json.dumps(description))
            changed(*path, value)(other)
            file = io.BytesIO()
            rewrite(file, other, members)
            load_or_refuse(saved, file.getvalue())


def test_the_archive_never_unpickles_or_evaluates():
    source = "".join(p.read_text("utf-8") for p in Path(archive.__file__).parent.glob("*.py"))
    assert "pickle.load" not in source
    assert not re.search(r"allow_pickle=True|np\.load\(|eval\(", source)
