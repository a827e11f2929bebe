"""Test the links, quotes, examples and formulas of DERIVATIONS.md.

The page: every backward links to it, its quotes stand in the code, and its examples and workings
return the stated values. The formulas: each derivative ∂y/∂x is written here as a whole Jacobian,
compared with the op, and multiplied out.
"""

import doctest
import inspect
import re
from itertools import product
from math import prod, sqrt
from pathlib import Path

import numpy as np
import pytest
from reference_ops import reference_ops

import minicnn.shapes
from minicnn import SGD, Adam, losses, ops, reference
from minicnn.shapes.window import make_window

ROOT = Path(__file__).parents[2]
PAGE = "minicnn/reference/DERIVATIONS.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
TITLES = re.findall(r"^## (.*)$", TEXT, re.M)
SECTIONS = dict(zip(TITLES, re.split(r"^## .*$", TEXT, flags=re.M)[1:], strict=True))
OPERATIONS = [title for title in TITLES if title not in ("Conventions", "A first example")]

LINK = rf'{PAGE}, "([^"]+)"'
VERSIONS = {"reference": reference_ops, "ops": ops, "losses": losses}
DERIVED = {
    f"{version}.{name}": thing
    for version, module in VERSIONS.items()
    for name, thing in vars(module).items()
    if name.endswith("_backward")
} | {"ops.fold_batch_norm": ops.fold_batch_norm, "SGD": SGD, "Adam": Adam}

versions = pytest.mark.parametrize("version", [ops, reference_ops], ids=["ops", "reference"])


# ------------------------------------------------------------ the page


def docstring_of(name):
    return inspect.getdoc(DERIVED[name]) or ""


def section_of(name):
    """Return the title of the section that a docstring links to."""
    file = Path(inspect.getsourcefile(DERIVED[name])).relative_to(ROOT)
    titles = re.findall(rf"^Derivation: {LINK}\.$", docstring_of(name), re.M)
    assert len(set(titles) & set(OPERATIONS)) == len(titles) == 1, (
        f"{file}: {name}: add 'Derivation: {PAGE}, \"Title\".' to the docstring, and that section "
        f"with its contents entry, a quote from the code and a Check to {PAGE}"
    )
    return titles[0]


@pytest.mark.parametrize("name", DERIVED)
def test_every_backward_links_to_its_derivation(name):
    assert section_of(name)


@pytest.mark.parametrize("name", DERIVED)
def test_a_section_derives_the_formulas_of_the_docstring(name):
    title = section_of(name)
    summary = docstring_of(name).partition("\nParameters\n")[0]
    formulas = re.findall(r"``(.*?)``", " ".join(summary.split()))
    section = " ".join(SECTIONS[title].split())
    for formula in formulas:
        if re.search(" [+]?= | ← ", formula):
            assert formula in section, (
                f"{PAGE}: derive `{formula}` of the docstring of {name} in section {title!r}"
            )


def test_every_section_is_linked_to_and_no_other():
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "minicnn").rglob("*.py"))
    linked = set(re.findall(LINK, "".join(sources)))
    assert linked <= set(OPERATIONS), f"{PAGE}: add sections {sorted(linked - set(OPERATIONS))}"
    unlinked = sorted(set(OPERATIONS) - linked)
    assert not unlinked, f"add 'Derivation: {PAGE}, \"{unlinked[0]}\".' to the op's docstring"


def test_the_contents_are_those_of_the_page():
    found = re.findall(r"^- \[(.*)\]\(#(.*)\)$", TEXT, re.M)
    lines = [(title, title.lower().replace(" ", "-")) for title in TITLES]
    assert found == lines, f"{PAGE}: list every section in the contents as `- [Title](#title)`"
    anchors = set(re.findall(r"\]\(#(.*?)\)", TEXT)) - {anchor for _, anchor in found}
    assert not anchors, f"{PAGE}: links to sections that do not exist: {sorted(anchors)}"
    for path in re.findall(r"\]\((\.\./.*?)\)", TEXT):
        assert ((ROOT / PAGE).parent / path).is_file(), f"{PAGE}: link to a missing file: {path}"


def test_the_table_of_letters_is_in_the_linked_module():
    assert "one per axis or size" in inspect.getdoc(minicnn.shapes)


def bare(line):
    """Return a line of code without indentation and final comma."""
    return line.strip().rstrip(",")


@pytest.mark.parametrize("title", OPERATIONS)
def test_the_quotes_of_a_section_stand_in_the_named_file(title):
    parts = re.findall(r"In\s+`([^`]+)`|```python\n(.*?)```", SECTIONS[title], re.S)
    assert any(quote for _, quote in parts), (
        f"{PAGE}: add to section {title!r} 'In `minicnn/file.py`:' and a python block of it"
    )
    for path, quote in parts:
        if path:
            lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
            left = map(bare, lines)  # an iterator: quotes follow the order of the file
        for line in quote.splitlines():
            assert bare(line) in left, (
                f"{PAGE}: section {title!r} quotes {line.strip()!r}: quote lines of {path} in order"
            )


def worked(formula):
    """Evaluate one side of a line of working."""
    for sign, name in {"·": "*", "²": "**2", "√": "sqrt"}.items():
        formula = formula.replace(sign, name)
    return eval(formula, {"sqrt": sqrt})


def workings(section):
    """Return the lines ``name = working = result`` that stand under "By hand"."""
    blocks = re.findall(r"^By hand.*\n(?:.+\n)*\n((?:    .+\n)+)", section, re.M)
    assert len(blocks) == section.count("By hand")
    return [line.strip().split(" = ") for line in "".join(blocks).splitlines()]


def run(section, names):
    """Run the lines behind ``>>>``; return the names that they define."""
    example = doctest.DocTestParser().get_doctest(section, names, PAGE, PAGE, 0)
    report = []
    doctest.DocTestRunner().run(example, out=report.append, clear_globs=False)
    assert not report, "".join(report)
    return example.globs


@pytest.fixture(scope="module")
def pasted():
    """Return the names that the first section defines."""
    return run(SECTIONS["Conventions"], {})


@pytest.mark.parametrize("title", TITLES[1:])
def test_the_workings_of_a_section_equal_its_computed_values(pasted, title):
    names = run(SECTIONS[title], {**pasted})
    for name, *sides in workings(SECTIONS[title]):
        assert sides
        wanted = [eval(name, names)] * len(sides)
        np.testing.assert_allclose([*map(worked, sides)], wanted, rtol=1e-14, atol=1e-15)


def test_every_section_has_something_to_run_at_its_end():
    for title in OPERATIONS:
        assert re.search(r"\nCheck[^`]*\n\n```pycon\n[^`]*\n\n```\s*\Z", SECTIONS[title]), (
            f"{PAGE}: end section {title!r} with 'Check:' and a pycon block"
        )


# ------------------------------------------------------------ the formulas

# Size, kernel, stride and padding of a window. The second skips pixels and reads padding.
WINDOWS = [((4, 3), (3, 2), 1, 0), ((6, 5), (2, 3), (3, 2), (1, 2)), ((4, 5), (3, 3), 1, 1)]
windows = pytest.mark.parametrize(("size", "kernel", "stride", "padding"), WINDOWS, ids=str)


def delta(size):
    """Return ``[i = j]``."""
    return np.eye(size)


def sees(window, H, W):
    """Return ``[oh·SH - top + kh = h]`` as (oh, h, kh), and as (ow, w, kw)."""
    KH, KW, SH, SW, top, left, OH, OW = window
    rows, columns = np.zeros((OH, H, KH)), np.zeros((OW, W, KW))
    for oh, h, kh in np.ndindex(rows.shape):
        rows[oh, h, kh] = oh * SH - top + kh == h
    for ow, w, kw in np.ndindex(columns.shape):
        columns[ow, w, kw] = ow * SW - left + kw == w
    return rows, columns


def down(jacobian, x):
    """Return ``y = J x``."""
    return np.tensordot(jacobian, x, x.ndim)


def back(dy, jacobian):
    """Return ``dx = Jᵀ dy``."""
    return np.tensordot(dy, jacobian, dy.ndim)


def slopes(function, x):
    """Return the Jacobian of a function of complex numbers.

    It is the imaginary part after a tiny step along the imaginary axis. No difference is taken, so
    no digits cancel.
    """
    columns = []
    for at in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[at] += 1e-30j
        columns.append(np.imag(function(moved)) / 1e-30)
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@versions
@windows
def test_convolution(integers, version, size, kernel, stride, padding):
    draw, C, F = integers(0, np.float64), 2, 3
    x, weight, bias = draw(2, *size, C), draw(*kernel, C, F), draw(F)
    rows, columns = sees(make_window("test", size, kernel, stride, padding), *size)
    of_x = np.einsum("nm,ahk,bwl,klcf->nabfmhwc", delta(2), rows, columns, weight)
    of_weight = np.einsum("nhwc,ahk,bwl,fg->nabfklcg", x, rows, columns, delta(F))

    y, cache = version.conv2d(x, weight, bias, stride, padding)
    np.testing.assert_array_equal(y, down(of_x, x) + bias)
    np.testing.assert_array_equal(y, down(of_weight, weight) + bias)
    dy = draw(*y.shape)
    dx, dweight, dbias = version.conv2d_backward(dy, cache)
    np.testing.assert_array_equal(dx, back(dy, of_x))
    np.testing.assert_array_equal(dweight, back(dy, of_weight))
    np.testing.assert_array_equal(dbias, dy.sum(axis=(0, 1, 2)))

    patches = np.einsum("nhwc,ahk,bwl->nabklc", x, rows, columns).reshape(-1, prod(kernel) * C)
    matrix, upstream = weight.reshape(-1, F), dy.reshape(-1, F)
    np.testing.assert_array_equal(y.reshape(-1, F), patches @ matrix + bias)
    np.testing.assert_array_equal(dweight.reshape(-1, F), patches.T @ upstream)
    dpatches = (upstream @ matrix.T).reshape(*y.shape[:3], *kernel, C)
    np.testing.assert_array_equal(dx, np.einsum("nabklc,ahk,bwl->nhwc", dpatches, rows, columns))


def gathered(dy, weight, window, shape):
    """Return dx as a sum over the outputs that read each pixel.

    ``Σ dy[n, (h + top - kh) / SH, (w + left - kw) / SW, f] · weight[kh, kw, c, f]``
    """
    KH, KW, SH, SW, top, left, OH, OW = window
    dx = np.zeros(shape)
    for h, w, kh, kw in product(range(shape[1]), range(shape[2]), range(KH), range(KW)):
        (oh, rest), (ow, more) = divmod(h + top - kh, SH), divmod(w + left - kw, SW)
        if rest == more == 0 and 0 <= oh < OH and 0 <= ow < OW:
            dx[:, h, w] += dy[:, oh, ow] @ weight[kh, kw].T
    return dx


@windows
def test_the_gradient_of_the_images_gathered(integers, size, kernel, stride, padding):
    draw = integers(1, np.float64)
    x, weight, bias = draw(2, *size, 2), draw(*kernel, 2, 3), draw(3)
    window = make_window("test", size, kernel, stride, padding)
    y, cache = reference.conv.conv2d(x, weight, bias, stride, padding)
    dy = draw(*y.shape)
    dx, _, _ = reference.conv.conv2d_backward(dy, cache)
    np.testing.assert_array_equal(dx, gathered(dy, weight, window, x.shape))

    own = weight[:, :, 0, :2]
    y, cache = reference.conv.depthwise_conv2d(x, own, bias[:2], stride, padding)
    dx, _, _ = reference.conv.depthwise_conv2d_backward(dy[..., :2], cache)
    diagonal = np.einsum("klc,cf->klcf", own, delta(2))
    np.testing.assert_array_equal(dx, gathered(dy[..., :2], diagonal, window, x.shape))


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_at_stride_1_the_gradient_of_the_images_is_a_convolution(integers, padding):
    draw = integers(2, np.float64)
    x, weight, bias = draw(2, 4, 5, 2), draw(3, 3, 2, 3), draw(3)
    y, cache = reference.conv.conv2d(x, weight, bias, 1, padding)
    dy = draw(*y.shape)
    dx, _, _ = reference.conv.conv2d_backward(dy, cache)
    turned = np.empty((3, 3, 3, 2))
    for i, j in product(range(3), range(3)):
        turned[i, j] = weight[3 - 1 - i, 3 - 1 - j].T
    found, _ = reference.conv.conv2d(dy, turned, np.zeros(2), 1, 3 - 1 - padding)
    np.testing.assert_array_equal(dx, found)


@versions
@windows
def test_depthwise_convolution(integers, version, size, kernel, stride, padding):
    draw, C = integers(3, np.float64), 3
    x, weight, bias = draw(2, *size, C), draw(*kernel, C), draw(C)
    rows, columns = sees(make_window("test", size, kernel, stride, padding), *size)
    of_x = np.einsum("nm,ahk,bwl,klc,cd->nabcmhwd", delta(2), rows, columns, weight, delta(C))
    of_weight = np.einsum("nhwc,ahk,bwl,cd->nabckld", x, rows, columns, delta(C))
    y, cache = version.depthwise_conv2d(x, weight, bias, stride, padding)
    np.testing.assert_array_equal(y, down(of_x, x) + bias)
    np.testing.assert_array_equal(y, down(of_weight, weight) + bias)
    dy = draw(*y.shape)
    dx, dweight, dbias = version.depthwise_conv2d_backward(dy, cache)
    np.testing.assert_array_equal(dx, back(dy, of_x))
    np.testing.assert_array_equal(dweight, back(dy, of_weight))
    np.testing.assert_array_equal(dbias, dy.sum(axis=(0, 1, 2)))


Bt = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
At = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def test_minimal_filtering(integers):
    found = np.einsum("ei,ek,re->ikr", At.T, G, Bt.T)
    for i, k, r in np.ndindex(found.shape):
        assert found[i, k, r] == (r == i + k)

    draw = integers(4, np.float64)
    d, w, dy = draw(4, 4), draw(3, 3), draw(2, 2)
    y, cache = reference.conv.conv2d(d[None, :, :, None], w[:, :, None, None], np.zeros(1))
    V = Bt @ d @ Bt.T
    np.testing.assert_array_equal(y[0, :, :, 0], At @ ((G @ w @ G.T) * V) @ At.T)
    _, dweight, _ = reference.conv.conv2d_backward(dy[None, :, :, None], cache)
    np.testing.assert_array_equal(dweight[:, :, 0, 0], G.T @ (V * (At.T @ dy @ At)) @ G)


@versions
@windows
def test_max_pooling(integers, version, size, kernel, stride, padding):
    draw = integers(5, np.float64)
    x = draw(2, *size, 3)  # nine different values, hence ties
    padding = tuple(min(p, k - 1) for p, k in zip(np.broadcast_to(padding, 2), kernel, strict=True))
    window = make_window("test", size, kernel, stride, padding)
    jacobian = np.zeros((2, window.OH, window.OW, 3, *x.shape))
    for n, oh, ow, c in np.ndindex(jacobian.shape[:4]):
        pixels = [
            (oh * window.SH - window.top + kh, ow * window.SW - window.left + kw)
            for kh, kw in product(range(kernel[0]), range(kernel[1]))
        ]
        inside = [(h, w) for h, w in pixels if 0 <= h < size[0] and 0 <= w < size[1]]
        first = np.argmax([x[n, h, w, c] for h, w in inside])  # the first of equal maxima
        jacobian[n, oh, ow, c, n, *inside[first], c] = 1
    y, cache = version.max_pool2d(x, kernel, stride, padding)
    np.testing.assert_array_equal(y, down(jacobian, x))
    dy = draw(*y.shape)
    np.testing.assert_array_equal(version.max_pool2d_backward(dy, cache), back(dy, jacobian))


@versions
@windows
def test_average_pooling(integers, version, size, kernel, stride, padding):
    draw = integers(6, np.float64)
    x = draw(2, *size, 3)
    padding = tuple(min(p, k - 1) for p, k in zip(np.broadcast_to(padding, 2), kernel, strict=True))
    rows, columns = sees(make_window("test", size, kernel, stride, padding), *size)
    holds = np.einsum("nm,ahk,bwl,cd->nabcmhwd", delta(2), rows, columns, delta(3))
    y, cache = version.avg_pool2d(x, kernel, stride, padding)
    close(y, down(holds / prod(kernel), x))
    dy = draw(*y.shape)
    close(version.avg_pool2d_backward(dy, cache), back(dy, holds / prod(kernel)))

    jacobian = np.einsum("nm,cd,hw->ncmhwd", delta(2), delta(3), np.ones(size)) / prod(size)
    y, cache = version.global_avg_pool2d(x)
    close(y, down(jacobian, x))
    dy = draw(*y.shape)
    close(version.global_avg_pool2d_backward(dy, cache), back(dy, jacobian))


@versions
def test_dense(integers, version):
    draw = integers(7, np.float64)
    x, weight, bias, dy = draw(3, 4), draw(4, 2), draw(2), draw(3, 2)
    of_x = np.einsum("nm,ij->njmi", delta(3), weight)
    of_weight = np.einsum("ni,jk->njik", x, delta(2))
    y, cache = version.dense(x, weight, bias)
    np.testing.assert_array_equal(y, down(of_x, x) + bias)
    np.testing.assert_array_equal(y, down(of_weight, weight) + bias)
    dx, dweight, dbias = version.dense_backward(dy, cache)
    np.testing.assert_array_equal(dx, back(dy, of_x))
    np.testing.assert_array_equal(dweight, back(dy, of_weight))
    np.testing.assert_array_equal(dbias, dy.sum(axis=0))


@versions
def test_flatten(integers, version):
    draw, (H, W, C) = integers(8, np.float64), (2, 4, 3)
    x, dy = draw(2, H, W, C), draw(2, H * W * C)
    jacobian = np.zeros((2, H * W * C, *x.shape))
    for n, h, w, c in np.ndindex(x.shape):
        jacobian[n, (h * W + w) * C + c, n, h, w, c] = 1
    y, cache = version.flatten(x)
    np.testing.assert_array_equal(y, down(jacobian, x))
    np.testing.assert_array_equal(version.flatten_backward(dy, cache), back(dy, jacobian))


@versions
def test_relu(integers, version):
    draw = integers(9, np.float64)
    x, dy = draw(40), draw(40)
    assert 0 in x
    jacobian = np.diag(np.where(x > 0, 1.0, 0.0))
    y, cache = version.relu(x)
    np.testing.assert_array_equal(y, down(jacobian, x))
    np.testing.assert_array_equal(version.relu_backward(dy, cache), back(dy, jacobian))


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_convolution_with_max_pooling(integers, relu, padding):
    draw = integers(10, np.float64)
    x, weight, bias = draw(2, 6, 5, 2), draw(3, 2, 2, 3), draw(3)
    z, _ = reference.conv.conv2d(x, weight, bias, padding=padding)
    y, cache = ops.conv2d_max_pool2d(x, weight, bias, padding=padding, relu=relu)
    dy = draw(*y.shape)
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(x, around)
    dpadded, dweight, dbias = np.zeros(padded.shape), np.zeros(weight.shape), np.zeros(3)
    dead = 0
    for n, ph, pw, f in np.ndindex(y.shape):
        square = z[n, 2 * ph : 2 * ph + 2, 2 * pw : 2 * pw + 2, f]
        row, column = np.unravel_index(np.argmax(square), (2, 2))
        if relu and square.max() <= 0:
            dead += 1
            continue
        h0, w0 = 2 * ph + row, 2 * pw + column  # in the padded image
        dbias[f] += dy[n, ph, pw, f]
        dweight[..., f] += dy[n, ph, pw, f] * padded[n, h0 : h0 + 3, w0 : w0 + 2]
        dpadded[n, h0 : h0 + 3, w0 : w0 + 2] += dy[n, ph, pw, f] * weight[..., f]
    assert (dead > 0) == relu
    found = ops.conv2d_max_pool2d_backward(dy, cache)
    np.testing.assert_array_equal(
        found[0], dpadded[:, padding : 6 + padding, padding : 5 + padding]
    )
    np.testing.assert_array_equal(found[1], dweight)
    np.testing.assert_array_equal(found[2], dbias)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@versions
def test_softmax(normals, version):
    draw = normals(11, np.float64)
    logits, dy = draw(1, 5), draw(1, 5)
    y, cache = version.softmax(logits)
    close(y, softmax(logits))
    jacobian = y[0][:, None] * (delta(5) - y[0])  # y[j] · ([j = k] - y[k])
    close(jacobian, slopes(lambda row: softmax(row), logits[0]))
    dlogits = version.softmax_backward(dy, cache)
    close(dlogits[0], back(dy[0], jacobian))
    close(dlogits.sum(), 0)


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_softmax_cross_entropy(normals, smoothing):
    draw, N, K, labels = normals(12, np.float64), 3, 5, np.array([4, 0, 2])
    logits = draw(N, K)
    t = (1 - smoothing) * delta(K)[labels] + smoothing / K
    wanted = slopes(lambda logits: -np.sum(t * np.log(softmax(logits))) / N, logits)
    close(wanted, (softmax(logits) - t) / N)
    _, cache = losses.softmax_cross_entropy(logits, labels, label_smoothing=smoothing)
    close(losses.softmax_cross_entropy_backward(1.0, cache), wanted)
    _, cache = reference.losses.softmax_cross_entropy(logits, t)
    close(reference.losses.softmax_cross_entropy_backward(1.0, cache), wanted)
    # a microbatch of two of the three images
    _, cache = losses.softmax_cross_entropy(logits[:2], labels[:2], label_smoothing=smoothing)
    close(losses.softmax_cross_entropy_backward(2 / N, cache), wanted[:2])


@versions
@pytest.mark.parametrize("given", [False, True])
def test_batch_normalization(normals, version, given):
    draw, M, epsilon = normals(13, np.float64), 2 * 3 * 2, 0.5
    x, dy, weight, bias = draw(2, 3, 2, 1), draw(2, 3, 2, 1), draw(1), draw(1)
    m, v = (0.3, 1.7) if given else (x.mean(), x.var())

    def normal(x):
        mean, variance = (m, v) if given else (x.sum() / M, ((x - x.sum() / M) ** 2).sum() / M)
        return (x - mean) / np.sqrt(variance + epsilon)

    r, n = 1 / sqrt(v + epsilon), normal(x.ravel())
    jacobian = r * delta(M)
    if not given:
        jacobian = r * (delta(M) - 1 / M - np.outer(n, n) / M)
    close(jacobian, slopes(normal, x.ravel()))

    if given:
        statistics = np.array([m]), np.array([v])
        y, cache = version.batch_norm_inference(x, weight, bias, *statistics, epsilon=epsilon)
    else:
        y, cache = version.batch_norm(x, weight, bias, epsilon=epsilon)
    close(y.ravel(), n * weight + bias)
    dx, dweight, dbias = version.batch_norm_backward(dy, cache)
    close(dx.ravel(), back(dy.ravel(), weight * jacobian))
    close(dweight, [np.sum(dy.ravel() * n)])
    close(dbias, [dy.sum()])
    if not given:
        close(dx.sum(), 0)
        close(n.var(), v / (v + epsilon))


@pytest.mark.parametrize("padding", [0, 1])
def test_a_folded_normalization(normals, padding):
    draw = normals(14, np.float64)
    x, weight, bias = draw(2, 4, 3, 2), draw(3, 2, 2, 3), draw(3)
    norm = draw(3), draw(3), draw(3), draw(3) ** 2
    z, _ = reference.conv.conv2d(x, weight, bias, padding=padding)
    y, _ = reference.norm.batch_norm_inference(z, *norm)
    folded, _ = reference.conv.conv2d(x, *ops.fold_batch_norm(weight, bias, *norm), padding=padding)
    close(folded, y)


def test_dropout(integers):
    draw, rate = integers(15, np.float64), 0.75
    x, dy, keep = draw(12), draw(12), np.arange(12) % 4 == 0
    jacobian = np.diag(keep / (1 - rate))
    y, cache = reference.activations.dropout(x, keep, rate)
    np.testing.assert_array_equal(y, down(jacobian, x))
    np.testing.assert_array_equal(
        reference.activations.dropout_backward(dy, cache), back(dy, jacobian)
    )


@versions
def test_addition_and_concatenation(integers, version):
    draw = integers(16, np.float64)
    parts, dy = [draw(2, C) for C in (2, 1, 3)], draw(2, 6)
    y, cache = version.concat(parts)
    found, first = version.concat_backward(dy, cache), 0
    total = np.zeros(y.shape)
    for part, dpart in zip(parts, found, strict=True):
        jacobian = np.einsum("nm,cd->ncmd", delta(2), np.eye(6, part.shape[1], -first))
        total += down(jacobian, part)
        np.testing.assert_array_equal(dpart, back(dy, jacobian))
        first += part.shape[1]
    np.testing.assert_array_equal(y, total)

    _, cache = version.add(draw(2, 6), draw(2, 6))
    for gradient in version.add_backward(dy, cache):
        np.testing.assert_array_equal(gradient, dy)


# ------------------------------------------------------------ the optimizers


def test_momentum_as_the_sum_of_all_gradients():
    p, optimizer = np.zeros(1), SGD(0.1, momentum=0.5)
    for t in range(1, 6):
        optimizer.step(p, np.array([3.0]))
        close(optimizer.state_dict(p)["v"], [3 * (1 - 0.5**t) / (1 - 0.5)])


def test_nesterov_stores_the_point_of_the_gradient(normals):
    target, rate, momentum = normals(17, np.float64)(4), 0.1, 0.9
    q, v, p = np.zeros(4), np.zeros(4), np.zeros(4)
    optimizer = SGD(rate, momentum=momentum, nesterov=True)
    for _ in range(5):
        close(p, q - rate * momentum * v)
        v = momentum * v + (p - target)  # the gradient of |p - target|² / 2, at p
        q = q - rate * v
        optimizer.step(p, p - target)


def test_plain_descent_on_a_penalty_is_decoupled_decay(normals):
    draw = normals(18, np.float64)
    p, g = draw(4), draw(4)
    decayed, penalized = p.copy(), p.copy()
    SGD(0.1, weight_decay=0.3).step(decayed, g)
    SGD(0.1).step(penalized, g + 0.3 * p)
    close(decayed, penalized)


@pytest.mark.parametrize("t", [1, 2, 5])
def test_adam_divides_by_the_sum_of_the_weights_of_its_mean(normals, t):
    g, beta1, beta2 = normals(19, np.float64)(t, 3), 0.9, 0.99
    p, optimizer = np.zeros(3), Adam(0.1, beta1, beta2)
    for row in g:
        optimizer.step(p, row)
    m, v = (optimizer.state_dict(p)[name] for name in "mv")
    ages = np.arange(t)[::-1]
    close(m / (1 - beta1**t), np.average(g, axis=0, weights=beta1**ages))
    close(v / (1 - beta2**t), np.average(g**2, axis=0, weights=beta2**ages))


def test_a_step_of_adam_has_no_unit_of_the_gradient(normals):
    g, found = normals(20, np.float64)(3, 4), []
    for factor in (1, 1000):
        p, optimizer = np.zeros(4), Adam(0.1, epsilon=0)
        for row in g:
            optimizer.step(p, factor * row)
        found.append(p)
    close(*found)
