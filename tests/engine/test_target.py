"""Vector widths, tile sizes and L1 size for each CPU."""

import numpy as np
import pytest

from minicnn.kernels import target


@pytest.mark.parametrize(
    ("features", "choices"),
    [
        ("+64bit,+avx,+avx2,+avx512f,+fma", (16, 32, 64)),
        ("+64bit,+avx,+avx2,-avx512f,+fma", (8, 16, 16)),
        ("+aes,+neon,+fp-armv8", (8, 16, 16)),
        ("+sse2,-avx,-avx2,-avx512f", (4, 8, 8)),
        ("", (4, 8, 8)),
    ],
)
def test_nr_choices_follow_the_cpu(features, choices):
    assert target.nr_choices(features) == choices


@pytest.mark.parametrize(
    ("features", "registers"),
    [
        ("+avx2,+avx512f,+fma", (16, 20)),
        ("+avx2,-avx512f,+fma", (8, 12)),
        ("+neon", (4, 20)),
        ("+sse2,-avx2,-avx512f", (4, 12)),
    ],
)
def test_registers_follow_the_cpu(features, registers):
    assert target.simd_registers(features) == registers


def test_choose_nr_leaves_few_lanes_empty(monkeypatch):
    monkeypatch.setattr(target, "NR_SMALL", 16)
    monkeypatch.setattr(target, "NR_MEDIUM", 32)
    monkeypatch.setattr(target, "NR_LARGE", 64)
    chosen = [target.choose_nr(F) for F in (1, 16, 17, 32, 33, 64, 500)]
    assert chosen == [16, 16, 32, 32, 64, 64, 64]
    assert [target.choose_nr(F) for F in (65, 96, 97, 128, 160)] == [32, 32, 64, 64, 32]


def test_specialize_compiles_one_kernel_per_value():
    def make(NR):
        def write_nr(out):
            out[0] = NR

        return write_nr

    kernels, out = target.specialize((8, 16, 16))(make), np.zeros(1)
    assert list(kernels) == [8, 16]
    for NR, kernel in kernels.items():
        kernel(out)
        assert out[0] == NR


def test_the_environment_overrides_the_features_of_the_host(monkeypatch):
    settings = {"CPU_FEATURES": None, "CPU_NAME": None}
    monkeypatch.setattr(target, "vars", lambda config: settings, raising=False)
    monkeypatch.setattr(target, "get_host_cpu_features", lambda: "+avx2")
    assert target._features() == "+avx2"
    settings["CPU_NAME"] = "generic"
    assert target._features() == ""
    settings["CPU_FEATURES"] = "+avx512f"
    assert target._features() == "+avx512f"


@pytest.mark.parametrize(
    ("files", "size"),
    [
        ({"level": "1", "type": "Data", "size": "48K"}, 48),
        ({"level": "1", "type": "Instruction", "size": "64K"}, 32),
        ({"level": "2", "type": "Data", "size": "1024K"}, 32),
        ({"level": "1", "type": "Data", "size": "48M"}, 32),
        ({"level": "1", "type": "Data"}, 32),
    ],
)
def test_l1_data_bytes_reads_linux_or_returns_32_kib(tmp_path, files, size):
    (tmp_path / "index0").mkdir()
    for name, content in files.items():
        (tmp_path / "index0" / name).write_text(f"{content}\n")
    assert target.l1_data_bytes(str(tmp_path)) == size * 1024
    assert target.l1_data_bytes(str(tmp_path / "none")) == 32 * 1024
