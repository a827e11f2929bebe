"""Compilation and its cache, also with damaged or read-only files.

No test removes write permission, because root may write anyway. A file in the place of the folder
stops every user.
"""

import os
import pickle
import platform
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.codegen import get_host_cpu_features
from reference_ops import reference_ops

import minicnn
from minicnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sequential, reference
from minicnn.kernels import jit
from minicnn.random import RandomKey

PACKAGE = Path(minicnn.__file__).parent
needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled"
)
X = np.arange(4.0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache folder; reset the state of the process."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_warned", set())
    return tmp_path / "cache"


def new_kernel():
    """Make the same kernel again, as another process would."""

    def double(x, y):
        for i in range(x.size):
            y[i] = 2 * x[i]

    return jit.kernel(double)


def doubled(kernel, dtype=np.float64):
    y = np.zeros(4, dtype)
    kernel(X.astype(dtype), y)
    return y.tolist()


def all_doubled(kernels):
    found = [doubled(kernel, dtype) for kernel in kernels for dtype in (np.float64, np.float32)]
    return all(row == [0, 2, 4, 6] for row in found)


def was_loaded(kernel):
    return sum(kernel.stats.cache_hits.values()) == 1


def files(cache, suffix):
    return sorted(cache.rglob(f"*.{suffix}"))


# ---------------------------------------------------------------- one process


def test_without_jit_kernel_returns_the_function(monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert not isinstance(new_kernel(), jit.KernelDispatcher)
    assert doubled(new_kernel()) == [0, 2, 4, 6]


def test_a_compiled_kernel_is_cached_and_loaded(cache):
    first, second = new_kernel(), new_kernel()
    assert doubled(first) == doubled(second) == [0, 2, 4, 6]
    assert not was_loaded(first)
    assert was_loaded(second)
    assert len(files(cache, "nbc")) == 1


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"garbage"], ids=["empty", "cut", "garbage"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_file_is_reported_and_replaced(cache, suffix, content):
    doubled(new_kernel())
    (damaged,) = files(cache, suffix)
    damaged.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="could not be read .* compiled again") as caught:
        assert doubled(new_kernel()) == [0, 2, 4, 6]
    assert len(caught) == 1
    assert str(damaged.parent) in str(caught[0].message)  # the folder to delete
    third = new_kernel()
    assert doubled(third) == [0, 2, 4, 6]
    assert was_loaded(third)


def test_a_missing_file_is_compiled_again(cache):
    doubled(new_kernel())
    (data,) = files(cache, "nbc")
    data.unlink()
    assert doubled(new_kernel()) == [0, 2, 4, 6]
    assert data.is_file()


def test_a_file_with_code_for_another_signature_is_not_used(cache):
    # Two processes that save their first signature in the same instant leave such files.
    kernel = new_kernel()
    doubled(kernel, np.float64)
    doubled(kernel, np.float32)
    one, two = files(cache, "nbc")
    for old, new in ((one, "spare"), (two, one.name), (one.with_name("spare"), two.name)):
        old.rename(one.with_name(new))
    for dtype in (np.float32, np.float64):
        assert doubled(new_kernel(), dtype) == [0, 2, 4, 6]
    again = new_kernel()
    assert doubled(again) == [0, 2, 4, 6]
    assert was_loaded(again)


def test_a_folder_that_becomes_read_only_gives_one_warning(cache):
    kernels = [new_kernel(), new_kernel()]
    shutil.rmtree(cache)
    cache.write_bytes(b"a file where the folder was")
    with pytest.warns(RuntimeWarning, match="cannot be cached .* NUMBA_CACHE_DIR") as caught:
        assert all_doubled(kernels)
    assert len(caught) == 1


def test_an_index_that_can_be_neither_read_nor_written_stops_nobody(cache):
    doubled(new_kernel())
    (index,) = files(cache, "nbi")
    index.unlink()
    index.mkdir()
    with pytest.warns(RuntimeWarning, match="cannot be cached") as caught:
        assert doubled(new_kernel()) == [0, 2, 4, 6]
    assert len(caught) == 1


def test_without_a_folder_the_first_compilation_warns(cache):
    source = "def double(x, y):\n    for i in range(x.size):\n        y[i] = 2 * x[i]\n"
    kernels = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            scope = {}
            exec(source, scope)  # code without a file has no cache folder
            kernels.append(jit.kernel(scope["double"]))
    with pytest.warns(RuntimeWarning, match="cannot be cached .* NUMBA_CACHE_DIR") as caught:
        assert all_doubled(kernels)
    assert len(caught) == 1


def test_a_compilation_is_announced_once_and_a_load_is_not(cache):
    said = []
    with jit.announce_compilation(said.append):
        assert all_doubled([new_kernel()])
    assert [line.split("(")[0] for line in said] == ["Compiling the kernels for this machine "]
    with jit.announce_compilation(said.append):
        assert all_doubled([new_kernel()])
    assert len(said) == 1


# ---------------------------------------------------------------- the version


@pytest.fixture
def copied_sources(tmp_path, monkeypatch):
    for name in ("kernels", "augment"):
        shutil.copytree(PACKAGE / name, tmp_path / name)
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "kernels" / "jit.py"))
    return tmp_path


def test_a_change_in_any_source_changes_the_version(copied_sources):
    found = [jit._version()]
    for source in sorted(copied_sources.rglob("*.py")):
        with source.open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        found.append(jit._version())
    assert len(set(found)) == len(found) > 5
    assert jit._version() == found[-1]


@pytest.mark.parametrize("setting", ["CPU_NAME", "CPU_FEATURES"])
def test_another_cpu_changes_the_version(monkeypatch, setting):
    here = jit._version()
    monkeypatch.setattr(numba.config, setting, "")
    assert jit._version() != here


# ---------------------------------------------------------------- processes of their own

STEP = """
import numpy as np
from minicnn import SGD
for dtype in DTYPES:
    parameters = np.ones(3, dtype)
    SGD(0.5).step(parameters, np.ones(3, dtype))
    assert parameters.tolist() == [0.5, 0.5, 0.5]
"""
WAIT = "import minicnn\nprint('ready', flush=True)\ninput()\n"
COUNT = """
from numba.core import event
recorder = event.RecordingListener()
event.register("numba:compile", recorder)
"""


def start(code, cwd=None, **environment):
    return subprocess.Popen(
        [sys.executable, "-W", "default::RuntimeWarning", "-c", code],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, error = process.communicate("\n")
    assert process.returncode == 0, error
    return out, error


def step(dtypes):
    return STEP.replace("DTYPES", repr(dtypes))


@needs_jit
def test_importing_compiles_nothing(tmp_path):
    code = f"{COUNT}import minicnn\nprint(len(recorder.buffer))\n{step(['f4'])}"
    out, error = finish(start(code + "print(len(recorder.buffer))", NUMBA_CACHE_DIR=str(tmp_path)))
    at_import, at_the_end = map(int, out.split())
    assert at_import == 0
    assert at_the_end > 0
    assert error == ""


@needs_jit
@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f4", "f8")], ids=["same", "different"])
def test_two_processes_compile_into_an_empty_cache_together(tmp_path, dtypes):
    both = [start(WAIT + step([own]), NUMBA_CACHE_DIR=str(tmp_path)) for own in dtypes]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:  # both have imported everything and compile now
        process.stdin.write("\n")
        process.stdin.flush()
    assert [finish(process)[1] for process in both] == ["", ""]
    # The files hold the right code; one entry of two may be missing.
    code = f"{COUNT}{step([*dtypes])}print(len(recorder.buffer) // 2)"
    out, error = finish(start(code, NUMBA_CACHE_DIR=str(tmp_path)))
    assert error == ""
    assert dtypes[0] != dtypes[1] or out == "0\n"


@needs_jit
@pytest.mark.skipif(os.name == "nt", reason="the user's cache folder is not found by a variable")
def test_a_read_only_install_works_with_one_warning(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "minicnn", ignore=shutil.ignore_patterns("__pycache__"))
    nowhere = tmp_path / "minicnn" / "kernels" / "__pycache__"
    nowhere.write_bytes(b"a file where the folder would be")
    variables = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"], str(nowhere))
    _, error = finish(start("import minicnn", cwd=tmp_path, **variables))
    assert error == ""  # nothing is compiled yet
    code = step(["f4", "f8"]) + "import minicnn\nprint(minicnn.__file__)"
    out, error = finish(start(code, cwd=tmp_path, **variables))
    assert Path(out.strip()).is_relative_to(tmp_path)
    assert error.count("Warning") == 1
    assert "RuntimeWarning: Compiled kernels cannot be cached" in error
    assert "NUMBA_CACHE_DIR" in error


# ---------------------------------------------------------------- other CPUs

# Two environment variables make Numba compile for another CPU. Each row: LLVM's names of the
# features that decide the code, the widest registers in that code, and whether it has FMA.
CPUS = {
    "x86-64": ("+sse2", "xmm", False),
    "nehalem": ("+sse4.2,+popcnt", "xmm", False),
    "sandybridge": ("+avx,+sse4.2,+popcnt", "ymm", False),
    "haswell": ("+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe,+popcnt", "ymm", True),
    "skylake-avx512": (
        "+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl,+avx2,+fma,+bmi,+bmi2,+popcnt",
        "zmm",
        True,
    ),
}


def networks():
    """Return models with integer weights that run all kernels and widths."""
    models = []
    for filters in (5, 20, 70):
        layers = [Conv2D(filters, 3), ReLU(), MaxPool2D(2), Conv2D(filters, 3), ReLU()]
        layers += [MaxPool2D(2), Flatten(), Dense(10)]
        models.append(Sequential(layers, input_shape=(10, 10, 1)))
        layers = [Conv2D(filters, 3, stride=2, padding=1), ReLU(), MaxPool2D(3, stride=1)]
        layers += [Conv2D(7, 1), Flatten(), Dense(filters)]
        models.append(Sequential(layers, input_shape=(9, 9, 3)))
    for number, model in enumerate(models):
        model.parameters[:] = np.random.default_rng(number).integers(-2, 3, model.parameters.size)
    return models


def inputs(model):
    """Return an input and an output gradient for a model."""
    rng = np.random.default_rng(7)
    shapes = (2, *model.input_shape), (2, *model.output_shape)
    return [rng.integers(-2, 3, shape).astype(np.float32) for shape in shapes]


def compute(model):
    x, dy = inputs(model)
    y, caches = model.forward(x, key=RandomKey(0, 0, np.arange(2)))
    dx, gradients = model.backward(dy, caches, need_dx=True)
    return y, dx, gradients


def compute_by_reference(model):
    """Compute the results of `compute` with the reference loops."""
    y, dy = inputs(model)
    backwards, found = [], []
    for layer in model.layers:
        own = layer.parameters.values()
        if isinstance(layer, Conv2D):
            y, cache = reference.conv.conv2d(y, *own, layer.stride, layer.padding)
            backwards.append((reference.conv.conv2d_backward, cache))
        elif isinstance(layer, MaxPool2D):
            y, cache = reference.pooling.max_pool2d(y, layer.pool_size, layer.stride)
            backwards.append((reference.pooling.max_pool2d_backward, cache))
        else:
            name = type(layer).__name__.lower()
            y, cache = getattr(reference_ops, name)(y, *own)
            backwards.append((getattr(reference_ops, f"{name}_backward"), cache))
    for back, cache in reversed(backwards):
        dy, *gradients = dy if isinstance(dy := back(dy, cache), tuple) else (dy,)
        found = [gradient.ravel() for gradient in gradients] + found
    return y, dy, np.concatenate(found)


def compiled_kernels():
    """Return every kernel by module and name, in all its widths."""
    found = {}
    for name, module in sys.modules.items():
        if name.startswith("minicnn.kernels."):
            for key, value in vars(module).items():
                ours = [
                    kernel
                    for kernel in (value.values() if isinstance(value, dict) else [value])
                    if isinstance(kernel, jit.KernelDispatcher) and kernel.__module__ == name
                    if jit._VERSION in kernel.py_func.__qualname__
                ]
                if ours:
                    found[name, key] = ours
    return found


def in_another_process(folder):
    """Run all networks, or compile the signatures in the folder."""
    wanted = folder / "signatures"
    if wanted.exists():
        for name, signatures in pickle.loads(wanted.read_bytes()).items():
            for kernel in compiled_kernels()[name]:
                for signature in signatures:
                    kernel.compile(signature)
    else:
        results = [compute(model) for model in networks()]
        (folder / "results").write_bytes(pickle.dumps(results))
    kernels = compiled_kernels()
    signatures = {
        name: list(dict.fromkeys(found for kernel in widths for found in kernel.signatures))
        for name, widths in kernels.items()
    }
    (folder / "compiled").write_bytes(pickle.dumps(signatures))
    code = "".join(
        code
        for widths in kernels.values()
        for kernel in widths
        for code in kernel.inspect_asm().values()
    )
    (folder / "code").write_text(code, encoding="utf-8")


def start_in(folder, **environment):
    code = "import sys, pathlib, test_jit as here\nhere.in_another_process(pathlib.Path())"
    folder.mkdir(exist_ok=True)
    tests = Path(__file__).parent
    path = os.pathsep.join(map(str, (tests, tests.parent, PACKAGE.parent)))
    finish(start(code, folder, NUMBA_CACHE_DIR=str(folder), PYTHONPATH=path, **environment))
    return folder


def widest_registers(code):
    return next(name for name in ("zmm", "ymm", "xmm", "none") if f"%{name}" in code)


@pytest.fixture(scope="module")
def wanted():
    return [compute_by_reference(model) for model in networks()]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Return the folder of a run for this machine."""
    return start_in(tmp_path_factory.mktemp("host"))


def check(folder, wanted):
    for found, right in zip(pickle.loads((folder / "results").read_bytes()), wanted, strict=True):
        for ours, theirs in zip(found, right, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@needs_jit
@pytest.mark.slow
def test_the_kernels_are_exact_on_this_machine(host, wanted):
    assert all(np.abs(array).max() < 2**22 for arrays in wanted for array in arrays)
    check(host, wanted)
    signatures = pickle.loads((host / "compiled").read_bytes())
    names = {name for (_, name), found in signatures.items() if found}
    assert {"forward_kernel", "backward_weight_sparse_kernel"} <= names


@needs_jit
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are x86 CPUs")
@pytest.mark.parametrize("cpu", CPUS)
def test_the_kernels_on_other_cpus(cpu, host, wanted, tmp_path):
    features, registers, fused = CPUS[cpu]
    runnable = set(features.split(",")) <= set(get_host_cpu_features().split(","))
    if not runnable:  # the code can be compiled and inspected, but not run
        shutil.copy(host / "compiled", tmp_path / "signatures")
    start_in(tmp_path, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features)
    if runnable:
        check(tmp_path, wanted)
    code = (tmp_path / "code").read_text(encoding="utf-8")
    assert widest_registers(code) == registers
    assert ("vfmadd" in code) is fused
