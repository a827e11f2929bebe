"""Test the content, text layout and style of figures."""

import io
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib.text
import numpy as np
import pytest
from matplotlib import style as matplotlib_style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minicnn import (
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    MaxPool2D,
    ReLU,
    Sequential,
    explain,
    load_mnist_sample,
    metrics,
    plots,
)
from minicnn.plots import style
from minicnn.table import percent

FASHION = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 6, 6), np.uint8)


def probabilities(count, classes):
    """Draw rows that sum to 1, most of them near one class."""
    return RNG.dirichlet(np.full(classes, 0.2), count).astype(np.float32)


def texts(figure):
    """Return each text of a figure with its box in pixels."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    hidden = set()  # the labels of ticks beyond the ends of an axis
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        hidden |= {
            tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high
        }
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_text() and text.get_visible() and text not in hidden
    ]


def pixels(figure):
    """Return the pixels of the PNG file of a figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file))


def check(figure):
    """Assert that a figure is white and its texts are apart; return them."""
    assert isinstance(figure, Figure)
    assert figure.get_facecolor() == (1, 1, 1, 1)
    printed = texts(figure)
    width, height = figure.get_size_inches() * figure.dpi
    x0, y0, x1, y1 = np.array([box.extents for _, box in printed]).reshape(-1, 4).T
    outside = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height)
    assert not outside.any(), [printed[index][0] for index in np.flatnonzero(outside)]
    apart = (x1[:, None] <= x0 + 0.5) | (y1[:, None] <= y0 + 0.5)
    overlap = np.argwhere(np.triu(~(apart | apart.T), k=1))
    assert not len(overlap), [(printed[one][0], printed[other][0]) for one, other in overlap]
    return [text for text, _ in printed]


# ---------------------------------------------------------------- predictions


@pytest.mark.parametrize(("count", "classes"), [(1, 10), (3, 26), (13, 10), (40, 2)])
def test_predictions_draw_titles_shares_and_bars(count, classes):
    names = None if count == 1 else (FASHION * 3)[:classes]
    titles = [f"{'long_folder_name/' * (index % 5)}{index}.png" for index in range(count)]
    shares = probabilities(count, classes)
    figure = plots.predictions(
        list(IMAGES[:count]), IMAGES[:count], shares, titles=titles, class_names=names
    )
    printed = check(figure)
    assert {percent(share) for share in shares.max(axis=1)} <= set(printed)
    assert set(titles[:2]) <= set(printed)  # short titles are complete
    bars = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    assert len(bars) == count * min(classes, 10)
    longest = max(bar.get_width() for bar in bars)
    assert longest == pytest.approx(shares.max() * 1.2, rel=1e-5)


def test_predictions_draw_images_of_every_kind():
    empty = np.full((4, 8, 4), 255, np.uint8)
    empty[..., 3] = 0  # transparent
    originals = [
        empty,
        Image.new("LA", (5, 5), (0, 0)),
        np.ones((8, 4)),
        np.ones((4, 4, 1), np.float32),
        np.full((3000, 10, 3), 255, np.uint8),
        Image.new("1", (5, 5), 1),
        Image.fromarray(np.full((5, 5), 65535, np.uint16)),
        Image.fromarray(np.full((5, 5), 0.25, np.float32)),
    ]
    figure = plots.predictions(originals, IMAGES[:8], probabilities(8, 3))
    check(figure)
    shown = [image.get_array() for image in figure.axes[0].images[::2]]
    assert [int(image.min()) for image in shown] == [204, 204, 255, 255, 255, 255, 255, 63]
    assert all(image.min() == image.max() for image in shown)
    assert shown[0].shape == (4, 8, 3)
    assert max(shown[4].shape) <= 504  # reduced before it is drawn
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)  # proportions are kept


def test_readable_shortens_texts_and_replaces_missing_characters():
    assert style.readable("数字.png", 9) == "��.png"
    assert style.readable("short", 9, 5) == "short"
    assert style.readable("wide", 9, 0.01) == "…"
    assert style.readable("WWWWiiiiiiiiiiiiiiiiiiiiiiiiiiWWWW", 9, 1) == "WWW…WW"
    cut = style.readable("a/long/name/of/a/folder/digit.png", 9, 1.5)
    assert re.fullmatch("a/.*….*digit.png", cut)
    assert 1.2 < style.text_width(cut, 9) <= 1.5
    assert style.text_width("$x^2$", 9) > style.text_width("$x^2", 9) > style.text_width("x^2", 9)
    titles = ["$x_1$ and $\\frac{1}{2}$", "50 % $", "line\nbreak"]
    figure = plots.predictions(list(IMAGES[:3]), IMAGES[:3], probabilities(3, 3), titles=titles)
    assert set(titles[:2]) < set(check(figure))


def test_percent_rounds_to_0_and_100_only_if_exact():
    shares = [0, 1e-9, 0.00051, 0.5, 0.9994, 0.99999, 1]
    formatted = [percent(share) for share in shares]
    assert formatted == ["0.0%", "<0.1%", "0.1%", "50.0%", "99.9%", ">99.9%", "100.0%"]


# ---------------------------------------------------------------- curves


@pytest.mark.parametrize("epochs", [1, 8, 100])
@pytest.mark.parametrize("validated", [False, True])
def test_learning_curves_draw_each_epoch(epochs, validated):
    falling = list(0.9 ** np.arange(epochs))
    history = {"loss": falling, "accuracy": [1 - loss / 5 for loss in falling]}
    if validated:
        history |= {f"val_{name}": values for name, values in history.items()}
    figure = plots.learning_curves(history)
    printed = check(figure)
    assert {"loss", "accuracy", "epoch", "training, as it went"} <= set(printed)
    assert ("validation, after each epoch" in printed) == validated
    for axes, measure in zip(figure.axes, ("loss", "accuracy"), strict=True):
        training, *validation = axes.lines
        assert len(validation) == validated
        assert list(training.get_xdata()) == list(range(1, epochs + 1))
        assert list(training.get_ydata()) == history[measure]
        assert (training.get_marker() == "") == (
            epochs == 100
        )  # without a marker a single point is invisible
        ticks = axes.get_xticks()
        assert np.array_equal(ticks, np.rint(ticks))  # no half epochs
        low, high = axes.get_ylim()
        assert low <= min(history[measure])
        assert high >= max(history[measure])


def matrix_of(classes, count, right):
    labels = RNG.integers(0, classes, count)
    guesses = RNG.integers(0, classes, count)
    predicted = np.where(RNG.random(count) < right, labels, guesses)
    return metrics.confusion_matrix(labels, predicted, classes)


@pytest.mark.parametrize(
    ("matrix", "names"),
    [
        (matrix_of(10, 2000, 0.97), None),
        (matrix_of(10, 500, 0.8), FASHION),
        (matrix_of(2, 900_000, 0.9), ["cat", "dog"]),
        (np.diag([5, 4, 0]), ["a name that is much longer than it can be", "b", "c"]),
        (np.array([[7]]), None),
        (np.array([[0, 3], [2, 0]]), None),
    ],
    ids=["digits", "long names", "large numbers", "no mistake", "one class", "nothing right"],
)
def test_confusion_matrix_draws_counts_shares_and_colors(matrix, names):
    figure = plots.confusion_matrix(matrix, names)
    printed = check(figure)
    shares = metrics.normalize_rows(matrix)
    counts = [f"{count:,}" for count in matrix[matrix > 0]]
    percents = [percent(share) for share in shares[matrix > 0]]
    assert set(counts) | set(percents) | {"true", "predicted"} <= set(printed)
    assert f"{matrix.trace():,} of {matrix.sum():,} right" in " ".join(printed)
    if names is FASHION:
        assert all(printed.count(name) == 2 for name in names)
    colors = figure.axes[0].images[0].get_array()
    white, right = colors.min(axis=2) > 0.9, np.eye(len(matrix), dtype=bool)
    assert np.array_equal(white, matrix == 0)  # only empty cells are pale
    assert (colors[..., 2] > colors[..., 0])[right & ~white].all()  # the diagonal is blue
    assert (colors[..., 0] > colors[..., 2])[~right & ~white].all()  # mistakes are not
    darkness = (1 - colors[~right & ~white]).sum(axis=1)
    if darkness.size:  # the most frequent mistake is the deepest
        assert darkness.argmax() == shares[~right & ~white].argmax()


def test_confusion_matrix_of_26_classes_fits_a_page():
    figure = plots.confusion_matrix(matrix_of(26, 3000, 0.95), [chr(65 + k) for k in range(26)])
    check(figure)
    assert figure.get_size_inches().max() < 16


@pytest.mark.parametrize("count", [3, 2000])
def test_reliability_diagram_draws_accuracy_and_counts(count):
    shares = probabilities(count, 10)
    calibration = metrics.calibration(RNG.integers(0, 10, count), shares, 8)
    figure = plots.reliability_diagram(calibration)
    printed = check(figure)
    error = calibration.expected_calibration_error
    assert f"expected calibration error {error:.2%}" in printed
    upper, lower = figure.axes
    heights = [bar.get_height() for bar in upper.patches]
    assert heights == list(np.nan_to_num(calibration.accuracy))
    assert [bar.get_height() for bar in lower.patches] == list(calibration.counts)


# ---------------------------------------------------------------- images


def test_image_grid_draws_captions_and_proportions():
    assert set(check(plots.image_grid(IMAGES[:13], [*FASHION, "a", "b", "c"]))) > set(FASHION)
    figure = plots.image_grid(RNG.random((3, 4, 8, 3)), columns=2)  # colors, no captions
    check(figure)
    assert len(figure.axes[0].images) == 3
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)
    check(plots.image_grid(IMAGES[:1]))


@pytest.mark.parametrize("names", [None, FASHION])
def test_worst_mistakes_are_sorted_by_confidence(names):
    labels = np.zeros(40, np.uint8)
    shares = probabilities(40, 10)
    shown = names or [str(k) for k in range(10)]
    predicted, confidence = shares.argmax(axis=1), shares.max(axis=1)
    wrong = predicted != 0
    printed = check(plots.worst_mistakes(IMAGES, labels, shares, class_names=names, count=5))
    assert f"{wrong.sum()} of 40 read wrong; the 5 surest" in printed
    worst = np.flatnonzero(wrong)[np.argsort(-confidence[wrong])][:5]
    readings = [f"read {shown[predicted[n]]}, {percent(confidence[n])}" for n in worst]
    assert [text for text in printed if text.startswith("read ")] == readings
    assert [text for text in printed if text.startswith("image ")] == [f"image {n}" for n in worst]
    assert printed.count(f"true {shown[0]}") == 5


def test_worst_mistakes_of_one_or_no_mistake():
    shares = np.eye(10, dtype=np.float32)[[1, 2, 3]]
    figure = plots.worst_mistakes(IMAGES[:3], np.array([1, 2, 3]), shares)
    assert check(figure) == ["0 of 3 read wrong"]
    printed = check(plots.worst_mistakes(IMAGES[:3], np.array([1, 5, 3]), shares))
    assert printed == ["1 of 3 read wrong", "image 1", "true 5", "read 2, 100.0%"]


def shifted(images, image_ids, *, seed, epoch):
    """Shift images by seed + epoch + index: the result shows the arguments."""
    steps = [seed + epoch + index for index in image_ids]
    return np.stack([np.roll(x, s) for x, s in zip(images, steps, strict=True)]) / np.float32(255)


@pytest.mark.parametrize("image_ids", [None, np.array([4, 9])])
def test_augmentation_grid_draws_the_images_of_each_epoch(image_ids):
    images = IMAGES[:2, :, :, None]
    figure = plots.augmentation_grid(images, shifted, image_ids=image_ids, seed=7, epochs=3)
    assert check(figure) == ["original", "epoch 1", "epoch 2", "epoch 3"]
    shown = [image.get_array() for image in figure.axes[0].images]
    for row, index in enumerate([0, 1] if image_ids is None else image_ids):
        x = IMAGES[row] / np.float32(255)
        expected = [x, *(np.roll(x, 7 + epoch + index) for epoch in range(3))]
        assert all(map(np.array_equal, shown[4 * row : 4 * row + 4], expected))


# ---------------------------------------------------------------- inside a network


def network(filters, channels, size=3, relu=True):
    layers = [Conv2D(filters, size), *[ReLU()] * relu, MaxPool2D(2)]
    return Sequential([*layers, Flatten(), Dense(3)], input_shape=(9, 8, channels))


@pytest.mark.parametrize(
    ("filters", "channels", "tiles"), [(1, 1, 1), (64, 1, 64), (5, 3, 5), (3, 2, 6), (2, 1, 2)]
)
def test_filters_draw_the_weights(filters, channels, tiles):
    model = network(filters, channels, size=1 if filters == 2 else (3, 2))
    figure = plots.filters(model)
    printed = check(figure)
    assert str(model.layers[0]) in printed[0]
    images = [image.get_array() for image in figure.axes[0].images]
    assert len(images) == tiles == len(printed) - 1
    weight = model.layers[0].parameters["weight"]
    largest = abs(weight).max()
    if channels == 3:
        assert np.array_equal(images[4], 0.5 + 0.5 * weight[..., 4] / largest)
    else:
        assert np.array_equal(images[-1], weight[..., -1, -1])
        assert figure.axes[0].images[0].get_clim() == (-largest, largest)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_feature_maps_draw_the_outputs_of_layers(channels):
    model = network(20, channels)
    image = RNG.random((9, 8, channels)).astype(np.float32)
    figure = plots.feature_maps(model, image)
    assert check(figure) == [
        "the image",
        "Conv2D(20, 3), ReLU(): 20 maps of 7×6, the first 16",
        "MaxPool2D(2): 20 maps of 3×3, the first 16",
    ]
    drawn = figure.axes[0].images
    pictures = channels if channels == 2 else 1
    assert len(drawn) == pictures + 16 + 16
    x = model.preprocess(image[None])
    for layer in model.layers[:2]:
        x, _ = layer.forward(x)
    maps = [image.get_array() for image in drawn[pictures : pictures + 16]]
    assert np.array_equal(np.stack(maps, axis=2), x[0, ..., :16])
    largest = x[0, ..., :16].max()
    assert drawn[pictures].get_clim() == (-largest, largest)  # 0 is white


def test_filters_are_counted_from_0():
    printed = check(plots.filters(network(3, 1)))
    assert printed[1:] == ["0", "1", "2"]
    printed = check(plots.filters(network(2, 2)))
    assert printed[1:] == ["0, channel 0", "0, channel 1", "1, channel 0", "1, channel 1"]


def test_the_explorer_has_the_same_colors_for_signs():
    script = (Path(__file__).parents[2] / "examples/explorer/format.js").read_text(encoding="utf-8")
    rows = re.search(r"light: \[(\[.*?\])\],\n", script, re.S)[1]
    stops = np.array([[int(level) for level in row.split(",")]
                      for row in re.findall(r"\[([\d, ]+)\]", rows)])  # fmt: skip
    drawn = style.SIGNED(np.linspace(0, 1, len(stops)), bytes=True)[:, :3]
    assert abs(drawn.astype(int) - stops).max() <= 1
    assert is_blue(stops[0])
    assert not is_blue(stops[-1])


def is_blue(color):
    return color[2] > color[0]  # of red, green, blue


def test_blue_is_below_0_in_every_figure_of_signed_values(trace):
    sums = plots.logit_contributions(trace).axes[0]
    assert all(is_blue(bar.get_facecolor()) for bar in sums.containers[1])  # against
    assert not any(is_blue(bar.get_facecolor()) for bar in sums.containers[0])  # for
    for figure in (
        plots.filters(network(3, 1)),
        plots.feature_maps(network(3, 1), np.eye(9, 8, dtype=np.float32)),
        plots.conv_window(trace, 1, (0, 0, 0)),
    ):
        image = figure.axes[0].images[-1]
        low, high = image.get_clim()
        assert low == -high < 0
        assert is_blue(image.to_rgba(low))
        assert not is_blue(image.to_rgba(high))


def test_feature_maps_of_networks_without_relu_or_with_dropout():
    model = Sequential([ReLU(), MaxPool2D((9, 8)), Flatten(), Dense(2)], input_shape=(9, 8, 1))
    printed = check(plots.feature_maps(model, IMAGES[0].repeat(2, 1)[:, :8].repeat(2, 0)[:9]))
    assert printed[1:] == ["ReLU(): 1 map of 9×8", "MaxPool2D((9, 8)): 1 map of 1×1"]
    figure = plots.feature_maps(network(2, 1, relu=False), np.zeros((9, 8)))
    assert check(figure)[1] == "Conv2D(2, 3): 2 maps of 7×6"
    dropping = Sequential([Dropout(0.5), Conv2D(2, 3), Dropout(0.5)], input_shape=(9, 8, 1))
    assert check(plots.feature_maps(dropping, np.zeros((9, 8))))[1:] == [
        "Conv2D(2, 3): 2 maps of 7×6"
    ]


# ---------------------------------------------------------------- the steps of one image


@pytest.fixture(scope="module")
def trace():
    layers = [
        Conv2D(5, 3), MaxPool2D(2), DepthwiseConv2D((2, 3)), Conv2D(2, 1), ReLU(), Flatten(),
        Dense(4),
    ]  # fmt: skip
    model = Sequential(layers, (11, 12, 1), class_names=["one", "two", "three", "f$o$ur"])
    model.parameters += RNG.normal(0, 0.1, model.parameters.shape).astype(np.float32)
    return explain(model, RNG.random((11, 12)))


@pytest.mark.parametrize(
    ("number", "at", "channels"), [(1, (8, 0, 4), 1), (3, (0, 2, 3), 1), (4, (2, 1, 0), 3)]
)
def test_conv_window_draws_values_and_sums(trace, number, at, channels):
    printed = check(plots.conv_window(trace, number, at))
    unit = trace.step(number)[at]
    assert printed.count("window") == printed.count("weights") == channels
    total, last = float(unit.total), printed[-1]
    assert last.endswith(f"sum {total:.4g}, bias {unit.bias:.4g}: {unit.result:.4g}")
    sums = [float(text.removeprefix("Σ = ")) for text in printed if text.startswith("Σ = ")]
    if channels == 3:
        sums.append(float(last.split(";")[0].rpartition("= ")[2]))
    assert sum(sums) == pytest.approx(total, abs=2e-3)
    values = [f"{value + 0.0:.2g}" for value in unit.inputs[..., 0].ravel()]
    if number == 1:
        assert all(printed.count(text) >= values.count(text) for text in values)


def test_conv_window_of_more_than_seven_columns_prints_no_values():
    model = Sequential([Conv2D(2, 9), Flatten(), Dense(2)], (10, 10, 1))
    figure = plots.conv_window(explain(model, np.ones((10, 10))), 1, (0, 0, 0))
    assert len(check(figure)) == 9  # title, names, signs, the sums


def test_pool_argmax_marks_the_maximum_of_each_window(trace):
    figure = plots.pool_argmax(trace, 2, 3)
    assert check(figure)[1:] == ["before: 9×10", "after: 4×5"]
    before, after = (np.asarray(image.get_array()) for image in figure.axes[0].images)
    np.testing.assert_array_equal(before, trace.step(2).x[..., 3])
    np.testing.assert_array_equal(after, trace.step(2).y[..., 3])
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    dots = [line.get_xydata()[0] for line in figure.axes[0].lines]
    rows = [int((y - top) / (bottom - top) * 9) for _, y in dots]
    columns = [int((x - left) / (right - left) * 10) for x, _ in dots]
    np.testing.assert_array_equal(before[rows, columns], after.ravel())


def test_logit_contributions_add_up_to_the_logits(trace):
    figure = plots.logit_contributions(trace)
    printed = check(figure)
    assert {"one", "two", "three", "f$o$ur"} <= set(printed)
    sums, shares = figure.axes
    (dots,) = (line for line in sums.lines if line.get_marker() == "o")
    np.testing.assert_allclose(dots.get_xdata(), trace.logits)
    both = [[bar.get_width() for bar in bars] for bars in sums.containers]
    bias = trace.steps[-1].layer.parameters["bias"]
    np.testing.assert_allclose(np.sum(both, axis=0) + bias, trace.logits, atol=1e-5)
    drawn = [bar.get_width() for bar in shares.containers[0]]
    np.testing.assert_allclose(drawn, trace.probabilities)


def test_figures_of_a_trace_reject_other_layers(trace):
    for call, message in {
        lambda: plots.conv_window(
            trace, 2, (0, 0, 0)
        ): r"conv_window: layer 2 is MaxPool2D\(2\), not a conv",
        lambda: plots.pool_argmax(
            trace, 1, 0
        ): r"pool_argmax: layer 1 is Conv2D\(5, 3\), not a max-pool",
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(IndexError, match="pool_argmax: channel must be 0 to 4, not 5"):
        plots.pool_argmax(trace, 2, 5)
    pooled = explain(Sequential([GlobalAvgPool2D()], (4, 4, 3)), np.zeros((4, 4, 3)))
    with pytest.raises(
        ValueError, match=r"logit_contributions: the last layer is GlobalAvgPool2D\(\), not Dense"
    ):
        plots.logit_contributions(pooled)


# ---------------------------------------------------------------- every figure


def test_figures_ignore_the_style_of_the_user():
    def draw():
        return [
            plots.learning_curves({"loss": [2.0, 1.0], "accuracy": [0.5, 0.7]}),
            plots.confusion_matrix(np.array([[3, 1], [0, 2]])),
            plots.image_grid(IMAGES[:2], ["a", "b"]),
        ]

    plain = [pixels(figure) for figure in draw()]
    with matplotlib_style.context("dark_background"):
        figures = draw()
        assert all(map(np.array_equal, map(pixels, figures), plain))
        assert figures[0]._repr_png_().startswith(b"\x89PNG")
    assert all(map(np.array_equal, map(pixels, figures), plain))
    assert all((picture[0, 0] == 255).all() for picture in plain)  # white and opaque


def test_figures_do_not_import_pyplot():
    code = """
import sys
import matplotlib
before = matplotlib.rcParams.copy()
import numpy as np
from minicnn import plots
image = np.zeros((1, 4, 4), np.uint8)
plots.predictions(image, image, np.ones((1, 1)))._repr_png_()
assert matplotlib.rcParams.copy() == before
print("matplotlib.pyplot" in sys.modules)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "False\n"


def test_the_example_of_the_module_docstring_draws_its_figures(capsys, monkeypatch, tmp_path):
    _, example = plots.__doc__.split("::\n")
    code = textwrap.dedent(example)
    monkeypatch.chdir(tmp_path)
    data = load_mnist_sample()
    data = data._replace(test_images=data.test_images[:20], test_labels=data.test_labels[:20])
    model = Sequential([Flatten(), Dense(10)], input_shape=(28, 28, 1))
    exec(compile(code, "minicnn.plots", "exec"), {"model": model, "data": data})
    assert "Mean of the classes" in capsys.readouterr().out
    names = ["confusion-matrix.png", "mistakes.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


# ---------------------------------------------------------------- wrong arguments

SHARES = np.eye(2)
WRONG = {
    "predictions: originals must be 2, one for each row of probabilities, not 1": (
        plots.predictions,
        [IMAGES[0]],
        IMAGES[:2],
        SHARES,
    ),
    "predictions: inputs must be 2, one for each row of probabilities, not 3": (
        plots.predictions,
        IMAGES[:2],
        IMAGES[:3],
        SHARES,
    ),
    "predictions: draw at most 300 images in one figure, not 301": (
        plots.predictions,
        [IMAGES[0]] * 301,
        np.zeros((301, 2, 2), np.uint8),
        np.ones((301, 1)),
    ),
    "predictions: each row must be probabilities that sum to 1": (
        plots.predictions,
        IMAGES[:2],
        IMAGES[:2],
        SHARES * 2,
    ),
    "predictions: originals must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not (1, 4, 4, 2)": (
        plots.predictions,
        [np.zeros((4, 4, 2))] * 2,
        IMAGES[:2],
        SHARES,
    ),
    "predictions: pixels of float images must lie in 0..1": (
        plots.predictions,
        [np.full((4, 4), 255.0)] * 2,
        IMAGES[:2],
        SHARES,
    ),
    "predictions: originals must hold PIL images or NumPy arrays, not str": (
        plots.predictions,
        ["a.png", "b.png"],
        IMAGES[:2],
        SHARES,
    ),
    "predictions: images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not (4,)": (
        plots.predictions,
        IMAGES[:2],
        IMAGES[0, 0, :4],
        SHARES,
    ),
    "learning_curves: history must hold loss and accuracy, one value for each epoch": (
        plots.learning_curves,
        {"loss": [1.0]},
    ),
    "for each epoch, not ['epochs']": (plots.learning_curves, {"epochs": [1.0]}),
    "learning_curves: history must hold loss and accuracy, one value for each epoch, not "
    "{'loss': 1, 'accuracy': 2}": (plots.learning_curves, {"loss": [1.0], "accuracy": [0.5, 0.6]}),
    "learning_curves: history is empty": (plots.learning_curves, {"loss": [], "accuracy": []}),
    "confusion_matrix: class_names must be 2, one for each class, not 1": (
        plots.confusion_matrix,
        np.eye(2, dtype=int),
        ["a"],
    ),
    "normalize_rows: matrix must be (classes, classes), not (2, 3)": (
        plots.confusion_matrix,
        np.ones((2, 3), int),
    ),
    "image_grid: 1 captions for 2 images": (plots.image_grid, IMAGES[:2], ["a"]),
    "image_grid: images is empty": (plots.image_grid, IMAGES[:0]),
    "worst_mistakes: 3 images, but 2 labels": (
        plots.worst_mistakes,
        IMAGES[:3],
        np.array([0, 1]),
        SHARES,
    ),
    "worst_mistakes: labels must have shape (2,), one for each image, not (3,)": (
        plots.worst_mistakes,
        IMAGES[:3],
        np.array([0, 1, 1]),
        SHARES,
    ),
    "worst_mistakes: images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not (1, 6)": (
        plots.worst_mistakes,
        IMAGES[0, :2],
        np.array([1, 1]),
        SHARES,
    ),
    "filters: the model has no Conv2D": (
        plots.filters,
        Sequential([Flatten(), Dense(2)], input_shape=(2, 2, 1)),
    ),
    "feature_maps: no layer of the model makes maps (H, W, C)": (
        plots.feature_maps,
        Sequential([Flatten(), Dense(2)], input_shape=(6, 6, 1)),
        IMAGES[0],
    ),
    "feature_maps: give one image, not 2": (
        plots.feature_maps,
        Sequential([Flatten(), Dense(2)], input_shape=(6, 6, 1)),
        IMAGES[:2],
    ),
    "feature_maps: images have shape (3, 3), but the model takes (6, 6)": (
        plots.feature_maps,
        Sequential([Flatten(), Dense(2)], input_shape=(6, 6, 1)),
        IMAGES[0, :3, :3],
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_figures_reject_wrong_arguments(message):
    function, *arguments = WRONG[message]
    of_type = "not str" in message
    with pytest.raises(TypeError if of_type else ValueError, match=re.escape(message)):
        function(*arguments)
