"""Pen strokes of synthetic digits, and the folder of example scans."""

import draw_digits
import numpy as np
import pytest

from minicnn.recognizer.synthetic import GLYPHS, HandStyle, digit_strokes, render_strokes


def test_strokes_fill_the_unit_height_and_start_at_0():
    for digit in GLYPHS:
        strokes = digit_strokes(digit, np.random.default_rng(digit))
        points = np.concatenate(strokes)
        np.testing.assert_allclose(points.min(axis=0), 0, atol=1e-12)
        assert points[:, 1].max() == pytest.approx(1)


def test_the_same_seed_gives_the_same_strokes():
    first, again, other = (digit_strokes(4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len(first) != len(other) or not np.array_equal(first[0], other[0])


def test_a_glyph_is_chosen_by_name():
    rng = np.random.default_rng(0)
    assert len(digit_strokes(7, rng, glyph="plain")) == 1
    assert len(digit_strokes(7, rng, glyph="crossed")) == 2
    with pytest.raises(KeyError, match="looped"):
        digit_strokes(7, rng, glyph="looped")


def test_a_positive_slant_leans_to_the_right():
    rng = np.random.default_rng(0)
    (stroke,) = digit_strokes(1, rng, glyph="bar", hand=HandStyle(slant=0.4))
    assert stroke[0, 0] - stroke[-1, 0] == pytest.approx(0.4)


@pytest.mark.parametrize("antialias", [True, False])
def test_ink_follows_the_stroke(antialias):
    (stroke,) = digit_strokes(1, np.random.default_rng(0), glyph="bar", hand=HandStyle())
    mask = render_strokes([stroke], (40, 30), height=20, pen=6, antialias=antialias)
    assert mask.shape == (30, 40)
    rows, columns = np.nonzero(mask > 127)
    # Half a pen's width around the line from (20, 5) to (20, 25), up to a pixel.
    assert np.abs([rows.min() - 2, rows.max() - 27]).max() <= 1
    assert np.abs([columns.min() - 17, columns.max() - 22]).max() <= 1
    assert (np.unique(mask).size > 2) == antialias


# The folder of example scans


def test_the_folder_matches_the_script(capsys):
    assert draw_digits.main(["--check"]) == 0
    assert capsys.readouterr().out.endswith("matches the script\n")


def test_the_folder_is_small_and_has_each_digit_four_times():
    labels = [name.split("_")[0] for name in draw_digits.SCANS]
    assert min(labels.count(str(digit)) for digit in range(10)) >= 4
    assert sum(len(label) > 1 for label in labels) >= 2
    assert sum(path.stat().st_size for path in draw_digits.FOLDER.iterdir()) < 600_000


def test_check_names_the_files_that_differ(tmp_path, capsys, monkeypatch):
    few = ("0_paint.png", "1_white-on-black.png", "3_paint.png", "6_16-bit.png")
    monkeypatch.setattr(draw_digits, "SCANS", {name: draw_digits.SCANS[name] for name in few})
    assert draw_digits.main(["--output", str(tmp_path)]) == 0
    assert draw_digits.main(["--output", str(tmp_path), "--check"]) == 0
    (tmp_path / "0_paint.png").unlink()
    (tmp_path / "1_white-on-black.png").write_bytes((tmp_path / "3_paint.png").read_bytes())
    (tmp_path / "3_paint.png").write_bytes(draw_digits.draw_scan("6_16-bit.png"))
    (tmp_path / "more.png").write_bytes(b"")
    assert draw_digits.main(["--output", str(tmp_path), "--check"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("differs in 0_paint.png, more.png, 1_white-on-black.png, 3_paint.png")
