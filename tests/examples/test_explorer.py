"""Test the explorer page in headless Chromium, driven by Playwright.

Without either of them the tests are skipped; with MINICNN_BROWSER_TESTS=required they fail.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import explorer
import make_explorer
import numpy as np
import pytest
import recipes
from PIL import Image

import minicnn
from minicnn import Adam, Augment, Conv2D, Dense, Flatten, Layer, MaxPool2D, Sequential
from minicnn.optim import warmup_linear
from minicnn.table import percent

REQUIRED = os.environ.get("MINICNN_BROWSER_TESTS") == "required"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="the reference CNN takes hours without JIT"
)

# Strokes in pixels of the pad's 280×280.
DIGITS = {
    7: [[(70, 60), (205, 60), (125, 225)]],
    1: [[(145, 50), (138, 230)]],
    4: [[(95, 55), (80, 150), (200, 150)], [(175, 60), (165, 235)]],
}


class Halved(Layer):
    """A layer that the page cannot compute: ``y = x / 2``."""

    def forward(self, x, *, key=None):
        return x / 2, None


def own_layer():
    """Return a network with a layer outside minicnn."""
    layers = [Conv2D(3, 3), Halved(), MaxPool2D(2), Halved(), Flatten(), Dense(10)]
    return Sequential(layers, (28, 28, 1), seed=2)


def missing(reason):
    if REQUIRED:
        pytest.fail(f"MINICNN_BROWSER_TESTS=required, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright is not installed: pip install 'minicnn[browser]'")
    path = next(filter(None, map(shutil.which, explorer.BROWSERS)), None)
    if path is None:
        missing(f"there is no browser: none of {', '.join(explorer.BROWSERS)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def reader():
    """Train the reference network on minicnn's own digits for three epochs."""
    data = minicnn.load_mnist_sample()
    model = recipes.reference_cnn(0)
    minicnn.fit(
        model, data.train_images, data.train_labels, epochs=3, batch_size=32, validation_split=0,
        optimizer=Adam(0.004, beta2=0.99), schedule=warmup_linear,
        augment=Augment.digits(), progress=False,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def pages(reader, every_layer, tmp_path_factory):
    """Return a folder with the pages of all networks."""
    folder = tmp_path_factory.mktemp("explorer")
    models = {"reader": reader, "every layer": every_layer(), "float64": every_layer(np.float64)}
    models["own layer"] = own_layer()
    for name, model in models.items():
        (folder / f"{name}.html").write_text(make_explorer.page(model), encoding="utf-8")
    return folder


@pytest.fixture
def open_page(browser, pages):
    """Return a function that opens a page; check for errors and requests."""
    contexts, messages = [], []

    def open_(name="reader", **options):
        options = {"viewport": {"width": 1400, "height": 900}, **options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"error: {error}"))

        def log_request(request):
            if not request.url.startswith(("file:", "data:", "blob:")):
                messages.append(f"request: {request.url}")

        context.on("request", log_request)
        page.goto((pages / f"{name}.html").as_uri())
        settle(page)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert messages == []


def settle(page):
    """Wait for two frames, so that all changes are drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame("
                  "() => requestAnimationFrame(done)))")  # fmt: skip


def draw(page, strokes):
    box = page.locator("#pad").bounding_box()
    scale = box["width"] / 280
    for stroke in strokes:
        points = [(box["x"] + x * scale, box["y"] + y * scale) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()
    settle(page)


def swipe(page, points):
    """Move a finger over points (x, y) in CSS pixels."""
    send = page.context.new_cdp_session(page).send
    for kind, (x, y) in zip(["touchStart", *["touchMove"] * 10], points, strict=True):
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(page)


def probabilities(page, images):
    """Run the page's network on images (N, 28, 28)."""
    return np.array(page.evaluate(
        "images => images.map(image => [...explorer.network.run(Uint8Array.from(image))])",
        images.reshape(len(images), -1).tolist(),
    ))  # fmt: skip


def input_image(page):
    """Return the input of the page's network, or None."""
    image = page.evaluate("explorer.state.image && [...explorer.state.image]")
    return None if image is None else np.array(image, np.uint8).reshape(28, 28)


def assert_in_mnist_format(image, source):
    """Compare with `to_mnist_format`, up to 1 level of 255."""
    # NumPy adds in another order, so a level may round to the other side.
    assert np.abs(image.astype(int) - minicnn.to_mnist_format(source)).max() <= 1


def test_a_missing_browser_skips_or_fails(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match="no browser"):
        missing("there is no browser")
    monkeypatch.setattr(sys.modules[__name__], "REQUIRED", True)
    with pytest.raises(pytest.fail.Exception, match=r"=required, but there is no browser"):
        missing("there is no browser")


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("name", ["reader", "every layer", "float64"])
def test_probabilities_equal_those_of_python(open_page, pages, reader, every_layer, name):
    models = {"reader": reader, "every layer": every_layer(), "float64": every_layer(np.float64)}
    images = minicnn.load_mnist_sample().test_images[:100]
    expected = models[name].predict_proba(images)
    assert np.ptp(expected, axis=0).max() > 0.05  # they differ from image to image
    actual = probabilities(open_page(name), images)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_shares_are_written_as_in_figures_and_tables(open_page):
    shares = [0.0, 1e-9, 0.0004, 0.0006, 0.05, 0.5, 0.9994, 0.9996, 0.99999, 1.0]
    assert open_page().evaluate("shares => shares.map(percent)", shares) == [*map(percent, shares)]


def test_every_explanation_ends_in_the_value_of_the_cell(open_page):
    """Check two cells of every step, in the corner and inside."""
    for name in ("reader", "every layer", "own layer"):
        page = open_page(name)
        rows = page.evaluate("""() => explorer.network.steps.flatMap(({ y, layer }, step) =>
            [[0, 0, 0], [y.H - 1, y.W >> 1, y.C - 1]].map(([h, w, c]) => {
                explorer.choose({ step, h, w, c });
                const { result } = document.querySelector("#panel [data-result]").dataset;
                return [layer, Number(result), y.data[(h * y.W + w) * y.C + c]];
            }))""")
        assert {layer for layer, _, _ in rows} >= {"Input", "Conv2D", "Dense", "Softmax"}
        for layer, actual, expected in rows:
            assert actual == pytest.approx(expected, rel=1e-5, abs=1e-6), layer


def test_a_window_has_the_values_of_the_step_before(open_page):
    page = open_page()
    page.evaluate("explorer.choose({ step: 5, h: 4, w: 5, c: 9 })")
    for grid, count in (("window", 9), ("weights", 9), ("products", 9)):
        cells = page.locator(f"#panel .grid:has(figcaption:text-is('{grid}')) .cell")
        assert cells.count() == count
    first = page.locator("#panel .grid .cell").first
    step, h, w, c = map(int, first.get_attribute("data-goto").split())
    assert (step, h, w) == (4, 4, 5)
    value = page.evaluate("([h, w, c]) => at(explorer.network.steps[4].y, h, w, c)", [h, w, c])
    assert first.inner_text() == f"{value:.2f}"
    first.click()
    assert page.evaluate("explorer.state.cell") == {"step": 4, "h": h, "w": w, "c": c}
    page.keyboard.press("Backspace")
    assert page.evaluate("explorer.state.cell.step") == 5


def test_receptive_fields(open_page):
    """Check 3×3, then 4×4 after a pool, and 8×8 and 10×10 after convolutions."""
    page = open_page()
    for step, box in ((1, (2, 5, 3, 6)), (2, (4, 8, 6, 10)), (5, (4, 12, 6, 14)),
                      (6, (8, 18, 12, 22)), (14, (0, 26, 0, 26))):  # fmt: skip
        cell = {"step": step, "h": 0, "w": 0, "c": 1} if step == 14 else {
            "step": step, "h": 2, "w": 3, "c": 1}  # fmt: skip
        region = page.evaluate("cell => receptiveFields(explorer.network, cell).get(0)", cell)
        assert tuple(region[key] for key in ("h0", "h1", "w0", "w1")) == box, step


def test_a_layer_outside_minicnn_is_shown_for_test_images_only(open_page):
    page = open_page("own layer")
    data = minicnn.load_mnist_sample()
    page.evaluate("explorer.pickTest(0)")
    settle(page)
    actual = page.evaluate("[...explorer.network.probabilities]")
    expected = own_layer().predict_proba(data.test_images[data.test_labels == 0][:1])[0]
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    page.evaluate("explorer.choose({ step: 2, h: 3, w: 4, c: 1 })")
    assert "y = Halved()(x)" in page.locator("#panel-formula").inner_text()
    page.keyboard.press("c")
    draw(page, DIGITS[7])
    assert "cannot compute Halved() for this image" in page.locator("#status").inner_text()


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("digit", DIGITS)
def test_drawn_digits_are_recognized(open_page, digit):
    page = open_page()
    page.keyboard.press("c")
    draw(page, DIGITS[digit])
    assert page.locator("#prediction strong").inner_text() == str(digit)
    times = page.evaluate("explorer.state.timing")
    sys.stdout.write(f"milliseconds of the last frame (pytest -s shows them): {times}\n")


SMALL, DOT, ACROSS = [[(10, 10), (30, 12), (15, 60)]], [[(140, 140)]], [[(30, 1), (279, 250)]]


@pytest.mark.parametrize("strokes", [*DIGITS.values(), SMALL, DOT, ACROSS])
def test_drawings_are_converted_as_by_to_mnist_format(open_page, strokes):
    page = open_page()
    draw(page, strokes)
    gray = np.array(page.evaluate("[...explorer.pad.gray().data]"), np.uint8).reshape(280, 280)
    assert_in_mnist_format(input_image(page), gray)


def test_a_blank_pad_has_no_prediction(open_page):
    page = open_page()
    page.keyboard.press("c")
    settle(page)
    assert page.locator("#status").inner_text() == "Draw a digit."
    assert page.locator("#prediction strong").inner_text() == "none"
    assert set(page.locator("#output .value").all_inner_texts()) == {""}
    page.evaluate("explorer.choose({ step: 3, h: 0, w: 0, c: 0 })")
    assert "Draw a digit to see the values." in page.locator("#panel-body").inner_text()


def test_undo_removes_the_last_change(open_page):
    page = open_page()
    before = input_image(page)
    draw(page, DIGITS[4])
    page.keyboard.press("c")
    page.keyboard.press("u")
    settle(page)
    assert page.locator("#prediction strong").inner_text() == "4"
    page.keyboard.press("u")
    page.locator("#undo").click()
    settle(page)
    np.testing.assert_array_equal(input_image(page), before)
    assert page.locator("#undo").is_enabled()  # the first test image remains


def test_a_finger_draws_and_does_not_scroll(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.locator("#clear").click()
    box = page.locator("#pad").bounding_box()
    x, top, height = box["x"] + box["width"] / 2, box["y"], box["height"]
    swipe(page, [(x, top + (0.15 + 0.07 * step) * height) for step in range(11)])
    settle(page)
    assert page.locator("#prediction strong").inner_text() == "1"
    assert page.evaluate("window.scrollY") == 0
    assert page.evaluate("explorer.pad.drawing.strokes.length") == 1


# ---------------------------------------------------------------- test images and files


def test_test_images_are_used_unchanged(open_page, reader):
    page = open_page()
    sample = minicnn.load_mnist_sample()
    for _ in range(2):  # the second of its class
        page.keyboard.press("3")
    settle(page)
    np.testing.assert_array_equal(input_image(page), sample.test_images[13])
    actual = page.evaluate("[...explorer.network.probabilities]")
    np.testing.assert_allclose(actual, reader.predict_proba(sample.test_images[13]), atol=1e-4)
    page.locator("#tests button").nth(29).click()
    settle(page)
    np.testing.assert_array_equal(input_image(page), sample.test_images[29])


def images_of_seven():
    """Return a dark 7 on gray, and a white 7 on a transparent background."""
    ink = np.zeros((120, 100), np.uint8)
    ink[20:32, 20:80] = 255
    for row in range(32, 105):
        ink[row, 75 - (row - 32) // 2 :][:12] = 255
    dark = Image.fromarray(np.where(ink > 0, 40, 210).astype(np.uint8))
    white = np.full_like(ink, 255)
    clear = Image.fromarray(np.stack([white, white, white, ink], axis=-1))
    return {"dark.png": dark, "clear.png": clear}


def choose_file(page, path):
    page.locator("#file").set_input_files(path)


def drop(page, path):
    page.evaluate(
        """([name, bytes]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([Uint8Array.from(bytes)], name));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }""",
        [path.name, list(path.read_bytes())],
    )


@pytest.mark.parametrize(("name", "load"), [("dark.png", choose_file), ("clear.png", drop)])
def test_image_files_are_converted_as_by_to_mnist_format(open_page, tmp_path, name, load):
    images_of_seven()[name].save(tmp_path / name)
    page = open_page()
    load(page, tmp_path / name)
    page.get_by_text(f"{name}, centered as in MNIST.").wait_for()
    assert_in_mnist_format(input_image(page), tmp_path / name)
    assert page.locator("#prediction strong").inner_text() == "7"


def test_unreadable_and_blank_files_are_reported(open_page, tmp_path):
    (tmp_path / "words.png").write_text("not an image")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    page = open_page()
    page.locator("#file").set_input_files(tmp_path / "words.png")
    page.get_by_text("words.png is not an image that this browser can read.").wait_for()
    assert input_image(page) is not None  # the image before stays
    page.locator("#file").set_input_files(tmp_path / "blank.png")
    page.get_by_text("blank.png has no ink.").wait_for()
    assert input_image(page) is None


def test_every_example_gives_the_same_pixels_as_recognize(open_page):
    """Compare photos, scans and drawings with `detect_digits`, pixel by pixel."""
    page = open_page()
    folder = Path(explorer.__file__).parents[1] / "examples/digits"
    files = sorted(folder.iterdir())
    assert len(files) > 40
    for path in files:
        choose_file(page, path)
        page.get_by_text(f"{path.name}, centered as in MNIST.").wait_for()
        source = path
        if path.name == "6_16-bit.png":  # a browser cuts 16-bit gray to 8 bits, Pillow rounds
            source = (np.asarray(Image.open(path)) >> 8).astype(np.uint8)
        found = minicnn.detect_digits(source)
        # The page reads the largest of several digits, as `to_mnist_format` does.
        expected = found[0].image if len(found) == 1 else minicnn.to_mnist_format(source)
        np.testing.assert_array_equal(input_image(page), expected, path.name)


def test_an_uneven_background_gives_the_same_pixels_as_in_python(open_page, tmp_path):
    photo = np.array(images_of_seven()["dark.png"].resize((300, 360)))
    photo[photo > 200] -= (
        np.random.default_rng(0).integers(0, 20, (photo > 200).sum()).astype(np.uint8)
    )
    shade = np.linspace(1, 0.5, 300)  # the right side lies in a shadow
    Image.fromarray((photo * shade).astype(np.uint8)).save(tmp_path / "photo.png")
    page = open_page()
    page.locator("#file").set_input_files(tmp_path / "photo.png")
    page.get_by_text("photo.png, centered as in MNIST.").wait_for()
    np.testing.assert_array_equal(
        input_image(page), minicnn.to_mnist_format(tmp_path / "photo.png")
    )
    assert page.locator("#prediction strong").inner_text() == "7"


def test_a_cropped_photo_gives_the_same_pixels_as_in_python(open_page, tmp_path):
    path = Path(explorer.__file__).parents[1] / "examples/digits/5_photo.jpg"
    photo = np.asarray(Image.open(path).convert("L"))
    ((left, top, right, bottom), *_), = minicnn.detect_digits(photo)  # fmt: skip
    Image.fromarray(photo[top:bottom, left:right]).save(tmp_path / "cropped.png")
    page = open_page()
    choose_file(page, tmp_path / "cropped.png")
    page.get_by_text("cropped.png, centered as in MNIST.").wait_for()
    expected = minicnn.to_mnist_format(tmp_path / "cropped.png")
    np.testing.assert_array_equal(input_image(page), expected)


# ---------------------------------------------------------------- page


def test_a_click_on_a_map_explains_the_cell(open_page):
    page = open_page()
    sheet = page.locator("#step-2 .sheet")
    sheet.click(position={"x": 2.5 * 4, "y": 1.5 * 4})  # cells are 4 pixels wide
    assert page.evaluate("explorer.state.cell") == {"step": 2, "h": 1, "w": 2, "c": 0}
    assert page.locator("#panel-layer").inner_text() == "2 · MaxPool2D(2)"
    assert page.locator("#panel-title").inner_text() == "Map 0, row 1, column 2"
    page.locator("#panel-close").click()
    assert page.evaluate("explorer.state.cell") is None


def marked_cells(page, step):
    """Return the cells (h, w, c) of the boxes on a card."""
    return page.evaluate(
        """step => cards[step - 1].view.marks.map(
            ({ region }) => [region.h0, region.w0, region.c0])""",
        step,
    )


@pytest.mark.parametrize("pointer", ["mouse", "finger"])
def test_the_first_click_on_a_sheet_marks_no_other_cell(open_page, pointer):
    page = open_page(has_touch=pointer == "finger")
    sheet, position = page.locator("#step-2 .sheet"), {"x": 2.5 * 4, "y": 1.5 * 4}
    (sheet.tap if pointer == "finger" else sheet.click)(position=position)
    cells = marked_cells(page, 2)
    assert cells
    assert all(cell == [1, 2, 0] for cell in cells)
    value = page.evaluate("long(at(explorer.network.steps[2].y, 1, 2, 0))")
    assert page.locator("#step-2 .readout").inner_text() == f"map 0, row 1, column 2: {value}"


def test_arrows_in_the_panel_reach_cells_that_are_too_small_for_a_finger(open_page):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.evaluate("explorer.choose({ step: 1, h: 5, w: 25, c: 0 })")
    for name, (h, w, c) in {
        "Right": (5, 0, 1), "Left": (5, 25, 0), "Up": (4, 25, 0), "Down": (5, 25, 0),
    }.items():  # fmt: skip
        button = page.get_by_role("button", name=name, exact=True)
        assert min(button.bounding_box()[side] for side in ("width", "height")) >= 24
        button.tap()
        assert page.evaluate("explorer.state.cell") == {"step": 1, "h": h, "w": w, "c": c}
        assert marked_cells(page, 1) == [[h, w, c]]
    page.evaluate("explorer.choose({ step: 0, h: 3, w: 4, c: 0 })")
    page.get_by_role("button", name="Right", exact=True).tap()
    assert page.evaluate("explorer.state.cell") == {"step": 0, "h": 3, "w": 5, "c": 0}
    page.evaluate("explorer.choose({ step: 14, h: 0, w: 0, c: 3 })")
    assert not page.locator("#panel-move").is_visible()  # each class is a button


PHONE = {"width": 390, "height": 664}
WINDOWS = {
    "phone": PHONE, "landscape": {"width": 740, "height": 360},
    "wide landscape": {"width": 844, "height": 390}, "zoom 200%": {"width": 700, "height": 450},
    "tablet": {"width": 768, "height": 1024},
}  # fmt: skip


def is_in_window(page, selector):
    box, (width, height) = page.locator(selector).bounding_box(), page.viewport_size.values()
    right, bottom = box["x"] + box["width"], box["y"] + box["height"]
    return box["x"] >= 0 and box["y"] >= 0 and right <= width and bottom <= height


@pytest.mark.parametrize("name", WINDOWS)
def test_the_answer_is_in_the_window_at_the_pad_and_at_the_last_layer(open_page, name):
    options = {"viewport": WINDOWS[name], "has_touch": True, "is_mobile": True}
    page = open_page(**options, reduced_motion="reduce")
    assert is_in_window(page, "#pad")
    assert is_in_window(page, "#prediction")
    sheet = page.locator("#step-8 .sheet")
    sheet.scroll_into_view_if_needed()
    sheet.tap(position={"x": 5, "y": 5})
    settle(page)
    assert page.evaluate("explorer.state.cell.step") == 8
    assert page.evaluate("window.scrollY") > 1000
    assert is_in_window(page, "#prediction")
    assert is_in_window(page, "#panel-title")
    panel = page.locator("#panel").bounding_box()
    window = WINDOWS[name]
    assert panel["width"] * panel["height"] < window["width"] * window["height"] / 2


@pytest.mark.parametrize("name", WINDOWS)
def test_a_finger_beside_the_pad_scrolls(open_page, name):
    page = open_page(viewport=WINDOWS[name], has_touch=True, is_mobile=True)
    pad, window = page.locator("#pad").bounding_box(), WINDOWS[name]
    assert pad["height"] <= 0.6 * window["height"]
    # The strip beside the pad, or on an upright phone below it.
    x, y = pad["x"] + pad["width"] + 20, pad["y"] + pad["height"] - 5
    if x > window["width"] - 5:
        x, y = window["width"] / 2, pad["y"] + pad["height"] + 12
    swipe(page, [(x, y - 12 * step) for step in range(11)])
    page.wait_for_function("window.scrollY > 50")
    assert page.evaluate("explorer.pad.drawing.strokes.length") == 0


@pytest.mark.parametrize("width", [390, 800, 1100, 1400])
def test_the_hint_to_click_a_value_is_shown_until_one_is_chosen(open_page, width):
    page = open_page(viewport={"width": width, "height": 740})
    assert page.locator("#panel-hint").is_visible()
    hint, cards = (page.locator(name).bounding_box()["y"] for name in ("#panel-hint", "#step-2"))
    assert hint < cards
    page.locator("#step-2 .sheet").click(position={"x": 5, "y": 5})
    assert not page.locator("#panel-hint").is_visible()


def test_the_legend_of_values_above_0_begins_at_0(open_page):
    page = open_page()
    ends = {step: page.locator(f"#step-{step} .range").all_inner_texts() for step in (1, 4)}
    assert ends[1][0][1:] == ends[1][1]  # a convolution: a minus sign and the same number
    assert ends[4][0] == "0.00"  # a ReLU
    widths = [page.locator(f"#step-{step} .color-map").bounding_box()["width"] for step in (1, 4)]
    assert widths[1] == pytest.approx(widths[0] / 2)


# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision
# deficiency" (2009), severity 1.0.
COLOR_BLINDNESS = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_boxes_of_a_cell_and_of_its_inputs_differ_for_color_blind_readers(open_page, scheme):
    page = open_page(color_scheme=scheme)
    colors = page.evaluate("""["--own", "--near"].map(name => {
        document.body.style.color = `var(${name})`;
        return getComputedStyle(document.body).color;
    })""")
    for name, matrix in COLOR_BLINDNESS.items():
        own, near = (cie_lab(np.array(matrix) @ linear(color)) for color in colors)
        assert np.linalg.norm(own - near) >= 20, name  # of 100 from black to white


def cie_lab(rgb):
    """Convert linear RGB to CIE L*a*b*, in which equal distances look alike."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(rgb, 0, 1) / (0.9505, 1, 1.089)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_keys_control_the_page(open_page):
    page = open_page()
    page.locator("#step-2 .sheet").focus()
    for key in ("ArrowRight", "ArrowDown", "PageDown", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("explorer.state.cell") == {"step": 2, "h": 1, "w": 1, "c": 1}
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # across the edge into the map before
    assert page.evaluate("explorer.state.cell") == {"step": 2, "h": 1, "w": 12, "c": 0}
    assert "map 0, row 1, column 12" in page.locator("#step-2 .readout").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#panel-cell").is_visible()
    page.keyboard.press("?")
    assert page.locator("#help-box").is_visible()
    page.keyboard.press("Escape")
    before = page.evaluate("document.documentElement.dataset.theme")
    page.keyboard.press("d")
    assert {before, page.evaluate("document.documentElement.dataset.theme")} == {"dark", "light"}


def test_a_cell_below_the_panel_scrolls_into_view(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    page.evaluate("explorer.choose({ step: 7, h: 4, w: 4, c: 63 })")
    settle(page)
    sheet, panel = (page.locator(name).bounding_box() for name in ("#step-7 .sheet", "#panel"))
    assert 0 < sheet["y"] + sheet["height"] < panel["y"]


def test_slow_motion_and_reduced_motion(open_page):
    page = open_page()
    page.keyboard.press("s")
    page.evaluate("explorer.choose({ step: 1, h: 9, w: 9, c: 0 })")
    assert page.locator("#panel .pending").count() > 5  # the products appear one by one
    assert page.locator("#panel .running").inner_text() == "running sum: 0"
    still = open_page(reduced_motion="reduce")
    still.evaluate("explorer.choose({ step: 1, h: 9, w: 9, c: 0 })")
    assert still.locator("#panel .pending").count() == 0


def test_slide_moves_over_the_map(open_page):
    page = open_page()
    page.evaluate("explorer.choose({ step: 2, h: 0, w: 12, c: 3 })")
    page.keyboard.press("p")
    page.wait_for_function("explorer.state.cell.h === 1")  # after the end of a row
    page.keyboard.press("p")
    stopped = page.evaluate("explorer.state.cell")
    assert (stopped["step"], stopped["c"]) == (2, 3)


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("name", ["reader", "every layer"])
def test_the_page_is_never_wider_than_the_window(open_page, name, width):
    page = open_page(name, viewport={"width": width, "height": 740})
    page.evaluate("explorer.choose({ step: 1, h: 4, w: 4, c: 0 })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#panel-title").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(open_page, scheme):
    """Text has a contrast of at least 4.5 to its background (WCAG 2.2, 1.4.3)."""
    page = open_page(color_scheme=scheme)
    page.evaluate("explorer.choose({ step: 5, h: 4, w: 5, c: 9 })")
    texts = page.evaluate("""() => {
        const solid = (node) => {
            for (; node; node = node.parentElement) {
                const color = getComputedStyle(node).backgroundColor;
                if (!/, 0\\)$/.test(color)) return color;
            }
        };
        const isText = (node) => node.nodeType === 3 && node.data.trim();
        return [...document.querySelectorAll("body *")]
            .filter(({ childNodes }) => [...childNodes].some(isText))
            .filter((n) => n.offsetParent && !n.disabled && !n.closest(".pending"))
            .map((n) => [n.className || n.tagName, getComputedStyle(n).color, solid(n)]);
    }""")
    assert len(texts) > 100
    for name, *colors in texts:
        assert contrast(*map(luminance, colors)) >= 4.5, (name, colors)


def linear(color):
    """Return the linear red, green and blue of a CSS color."""
    levels = np.array([float(level) for level in re.findall(r"[\d.]+", color)[:3]]) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def luminance(color):
    return float(linear(color) @ (0.2126, 0.7152, 0.0722))


def contrast(a, b):
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def test_measure_times_the_frames(browser):
    case = explorer.measure(browser, "reference", rounds=1)
    assert case["frames"] == 72
    assert 0 < case["page_bytes"] < 2_000_000
    parts = [case[f"{part}_ms"] for part in ("centering", "network", "drawing")]
    assert all(part >= 0 for part in parts)
    assert case["all_ms"] <= case["all_ms_90"]
    assert 0 <= case["in_time"] <= 1
    assert explorer.line(case).startswith("reference: 1.")
