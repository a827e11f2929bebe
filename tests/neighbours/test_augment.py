"""Augmentation: what each transformation does to pixels, and what that hangs on: the key alone."""

import dataclasses
import os
import tracemalloc
import warnings
from math import floor

import numba
import numpy as np
import pytest

from minicnn import Augment, Dense, Flatten, Sequential, fit, load_mnist_sample
from minicnn.augment import pixels, warp
from minicnn.augment.sample import inverse_affine, segment
from minicnn.kernels.elementwise import philox
from minicnn.random import random_bits
from minicnn.runtime.arena import scope
from minicnn.runtime.thread_pool import ThreadPool

EVERYTHING = {
    "rotation": 20,
    "shift": 1.5,
    "shear": 15,
    "zoom": 0.2,
    "elastic": 0.5,
    "thin": 0.5,
    "thicken": 1.2,
    "blur": 0.8,
    "sharpen": 1.0,
    "brightness": 0.3,
    "contrast": 0.3,
    "noise": 0.1,
    "erase": 0.5,
}


def from_python(piece):
    """Make a piece, which only compiled code may call, one that a test can call."""
    return numba.njit(lambda *arguments: piece(*arguments))


philox, inverse_affine, segment = map(from_python, (philox, inverse_affine, segment))

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes long without JIT"
)


@pytest.fixture(scope="module")
def digits():
    """Twelve real digits, thinned to 10×8 so that plain Python is quick too."""
    return load_mnist_sample().train_images[:12, 2:27:3, 3:26:3].copy()[:, :8]


def vary(images, numbers=None, seed=0, epoch=0, **strengths):
    numbers = np.arange(len(images)) if numbers is None else numbers
    return Augment(**strengths)(images, numbers, seed=seed, epoch=epoch)


def equal(found, wanted):
    np.testing.assert_array_equal(found, wanted, strict=True)


# ------------------------------------------------------------ random words


# From the authors' Random123 library, file tests/kat_vectors, lines "philox4x32 10".
@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_published_answers(counter, key, wanted):
    assert philox(*map(np.uint64, counter + key)) == wanted


def test_the_words_of_an_image_are_those_at_its_address():
    seed, purpose, epoch = 2**32 + 7, 2, 5
    found = random_bits(seed, "noise", epoch, np.array([3, 2**32 - 1]), 9)
    assert found.shape == (2, 12)
    for row, number in zip(found.view(np.uint32), (3, 2**32 - 1), strict=True):
        for block in range(3):
            words = philox(*map(np.uint64, (block, purpose, number, epoch, 7, 1)))
            assert tuple(row[block::3]) == words


def test_no_two_addresses_share_words():
    numbers = np.arange(3)
    found = [
        random_bits(seed, purpose, epoch, numbers, 4)
        for seed in (0, 1, 2**32)
        for purpose in ("augmentation", "elastic", "noise")
        for epoch in (0, 1)
    ]
    assert len(np.unique(found)) == np.size(found)


def test_words_are_evenly_distributed():
    words = random_bits(4, "noise", 0, np.arange(20), 100) / 2**31
    assert abs(words.mean()) < 3 / (3 * words.size) ** 0.5  # three standard errors
    assert words.var() == pytest.approx(1 / 3, rel=0.05)
    assert -1 <= words.min() < -0.99
    assert 0.99 < words.max() < 1


# ------------------------------------------------------------ the warp


def plain_warp(images, maps, fields):
    """The same in slow loops: the share of a neighbor falls with its distance."""
    N, H, W, _ = images.shape
    middle = np.array([(H - 1) / 2, (W - 1) / 2])
    out = np.zeros_like(images)
    for n, h, w in np.ndindex(N, H, W):
        a, b = maps[n] @ (h - middle[0], w - middle[1], 1) + fields[n, :, h, w] + middle
        for row in (floor(a), floor(a) + 1):
            for column in (floor(b), floor(b) + 1):
                if 0 <= row < H and 0 <= column < W:
                    share = (1 - abs(a - row)) * (1 - abs(b - column))
                    out[n, h, w] += share * images[n, row, column]
    return out


def torch_warp(torch, images, maps, fields):
    """The same by ``affine_grid`` and ``grid_sample``, whose coordinates go from -1 to 1."""
    N, H, W, C = images.shape
    half = np.array([(H - 1) / 2, (W - 1) / 2])
    theta = maps.copy()
    theta[:, :, :2] *= half
    theta /= half[:, None]
    theta = theta[:, ::-1][:, :, [1, 0, 2]].copy()  # x before y
    functional = torch.nn.functional
    grid = functional.affine_grid(torch.from_numpy(theta), (N, C, H, W), align_corners=True)
    grid = grid + torch.from_numpy((fields.transpose(0, 2, 3, 1) / half)[..., ::-1].copy())
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    found = functional.grid_sample(x, grid, "bilinear", "zeros", align_corners=True)
    return found.numpy().transpose(0, 2, 3, 1)


def our_warp(images, maps, words, rows, columns):
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    (H, W), (K, (J, width)) = x.shape[2:], (rows.shape[1], columns.shape)
    sizes = (K * (J + warp.WARP_LANES),), (2, H, width), (H, width), (H + 3, W + 3)
    rooms = [np.full(size, 7, x.dtype) for size in sizes]
    rooms[2] = rooms[2].astype(np.int32)
    out = np.empty_like(x)
    warp.warp(x, maps, words, rows, columns, *rooms, out)
    return out.transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def case():
    """Images that are not square, of three channels, and maps that reach far outside."""
    rng = np.random.default_rng(2)
    images = rng.random((4, 7, 10, 3))
    maps = np.concatenate([rng.normal(0, 1, (4, 2, 2)), rng.normal(0, 2, (4, 2, 1))], axis=2)
    rows, columns = warp.smoothing(7, 10, 0.8, 2.0, np.float64)
    K, J = rows.shape[1], len(columns)
    words = random_bits(3, "elastic", 0, np.arange(4), 2 * K * J)
    u = words[:, : 2 * K * J].reshape(4, 2, K, J) / 2**31
    return images, maps, words, rows, columns, rows @ u @ columns[:, :10]


def test_the_warp_equals_slow_loops(case, dtype):
    images, maps, words, rows, columns, fields = case
    cast = [array.astype(dtype) for array in (images, maps, rows, columns)]
    found = our_warp(cast[0], cast[1], words, cast[2], cast[3])
    assert found.dtype == dtype
    close = 1e-13 if dtype == np.float64 else 2e-5  # coordinates up to 20 in float32
    np.testing.assert_allclose(found, plain_warp(images, maps, fields), atol=close)
    none = warp.smoothing(7, 10, 0.0, 2.0, dtype)
    found = our_warp(cast[0], cast[1], words, *none)
    np.testing.assert_allclose(found, plain_warp(images, maps, 0 * fields), atol=close)


def test_the_warp_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    images, maps, words, rows, columns, fields = case
    wanted = torch_warp(torch, images, maps, fields)
    np.testing.assert_allclose(our_warp(images, maps, words, rows, columns), wanted, atol=1e-13)
    np.testing.assert_allclose(plain_warp(images, maps, fields), wanted, atol=1e-13)


def turned(images, map_, dtype):
    none = warp.smoothing(*images.shape[1:3], 0.0, 4.0, dtype)
    maps = np.tile(np.array(map_, dtype), (len(images), 1, 1))
    return our_warp(images.astype(dtype), maps, np.empty((len(images), 0), np.int32), *none)


def test_quarter_turns_flips_and_whole_pixels_are_exact(dtype):
    images = np.random.default_rng(1).random((2, 6, 6, 2)).astype(dtype)
    equal(turned(images, [[1, 0, 0], [0, 1, 0]], dtype), images)
    equal(turned(images, [[0, 1, 0], [-1, 0, 0]], dtype), np.rot90(images, axes=(1, 2)))
    equal(turned(images, [[0, -1, 0], [1, 0, 0]], dtype), np.rot90(images, -1, axes=(1, 2)))
    equal(turned(images, [[-1, 0, 0], [0, -1, 0]], dtype), images[:, ::-1, ::-1])
    odd = images[:, :5]
    equal(turned(odd, [[1, 0, 0], [0, -1, 0]], dtype), odd[:, :, ::-1])
    wanted = np.zeros_like(odd)
    wanted[:, 2:, :-1] = odd[:, :-2, 1:]
    equal(turned(odd, [[1, 0, -2], [0, 1, 1]], dtype), wanted)
    equal(turned(odd, [[1, 0, 0], [0, 1, 1e6]], dtype), 0 * odd)


def one_map(angle=0.0, slant=0.0, zoom=(1.0, 1.0), shift=(0.0, 0.0)):
    maps = np.empty((1, 2, 3))
    inverse_affine(angle, slant, *map(float, zoom), *map(float, shift), maps, 0)
    return maps[0]


def test_maps_undo_what_is_said():
    """Worked by hand: where the pixel to the right of the middle, or above it, comes from."""
    right, above = (0, 1, 1), (-1, 0, 1)
    # anticlockwise: what is above now was to the right
    np.testing.assert_allclose(one_map(angle=np.pi / 2) @ above, (0, 1), atol=1e-15)
    np.testing.assert_allclose(one_map(slant=0.25) @ above, (-1, -0.25))  # went to the right
    np.testing.assert_allclose(one_map(zoom=(2, 4)) @ right, (0, 0.25))
    np.testing.assert_allclose(one_map(zoom=(2, -4)) @ above, (-0.5, 0))
    np.testing.assert_allclose(one_map(shift=(3, 5)) @ right, (-3, -4))
    # all at once is the inverse of zoom, then shear, then rotation, then shift
    cos, sin = np.cos(0.3), np.sin(0.3)
    turn, shear = np.array([[cos, -sin], [sin, cos]]), np.array([[1, 0], [-0.2, 1]])
    forward = np.eye(3)
    forward[:2, :2] = turn @ shear @ np.diag([1.5, 0.8])
    forward[:2, 2] = 1.25, -2
    found = one_map(0.3, 0.2, (1.5, 0.8), (1.25, -2))
    np.testing.assert_allclose(found, np.linalg.inv(forward)[:2], atol=1e-15)


# ------------------------------------------------------------ the elastic distortion


def test_elastic_moves_pixels_as_far_as_it_says_and_neighbors_alike():
    ramp = np.tile(np.linspace(0, 1, 9)[:, None], (150, 1, 9))  # shows where a pixel came from
    rows = vary(ramp, elastic=0.4, elastic_sigma=2) * 8 - np.arange(9)[:, None]
    moved = rows[:, 3:6, 3:6]
    assert moved.std() == pytest.approx(0.4, rel=0.1)
    assert abs(moved.mean()) < 0.1
    # Gaussians of standard deviation s, d pixels apart, overlap by exp(-d² / (4 s²))
    together = np.corrcoef(rows[:, 3:6, 2].ravel(), rows[:, 3:6, 5].ravel())[0, 1]
    assert together == pytest.approx(np.exp(-9 / 16), abs=0.1)


def test_numbers_a_sigma_apart_are_close_enough():
    rows, columns = warp.smoothing(28, 28, 1.0, 4.0, np.float64)
    assert rows.shape == (28, 14)
    shares = np.exp(-((np.arange(28)[:, None] / 4 - (np.arange(14) - 3)) ** 2) / 2) ** 2
    np.testing.assert_allclose(shares.sum(axis=1), np.pi**0.5, rtol=2e-4)  # before it is made 1
    np.testing.assert_allclose((rows**2).sum(axis=1), 3)  # 1 / the variance of a number
    assert columns.shape[1] % warp.WARP_LANES == 0
    assert not columns[:, 28:].any()


def test_elastic_of_no_strength_is_the_identity(digits):
    equal(vary(digits, elastic=0.0, elastic_sigma=2.0), vary(digits))


# ------------------------------------------------------------ strokes and edges


def thicken(x, *amounts):
    rooms = (np.empty([x.shape[2] + 2, x.shape[3] + 2], x.dtype), np.empty(x.shape[3] + 2, x.dtype))
    pixels.dilate_or_erode(x, np.array(amounts, x.dtype), *rooms)


def blur(x, *amounts):
    rooms = (np.empty([x.shape[2] + 4, x.shape[3] + 4], x.dtype), np.empty(x.shape[3] + 4, x.dtype))
    pixels.blur(x, np.array(amounts, x.dtype), *rooms)


def test_a_dot_grows_to_a_disc_and_a_disc_shrinks_to_a_dot(dtype):
    dot = np.zeros((1, 1, 5, 5), dtype)
    dot[0, 0, 2, 2] = 1
    disc = np.zeros_like(dot)
    disc[0, 0, 1:4, 1:4] = [[0.5, 1, 0.5], [1, 1, 1], [0.5, 1, 0.5]]
    for amount, wanted in [(1, disc), (0.5, dot + (disc - dot) / 2), (0, dot)]:
        x = dot.copy()
        thicken(x, amount)
        equal(x, wanted)
        x = 1 - dot
        thicken(x, -amount)
        equal(x, 1 - wanted)


def test_pixel_by_pixel_outwards_is_the_whole_way(dtype):
    images = np.random.default_rng(0).integers(0, 9, (2, 2, 4, 5)).astype(dtype) / 8
    at_once, one_by_one = images.copy(), images.copy()
    thicken(at_once, 2.5, -1.0)
    for step in (1.0, 1.0, 0.5):
        thicken(one_by_one, step, 0.0)
    equal(at_once[0], one_by_one[0])
    equal(one_by_one[1], images[1])
    padded = np.pad(images[1], ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    cross = windows.reshape(2, 4, 5, 9)[..., 1::2].min(axis=-1)
    equal(at_once[1], (np.minimum(cross, images[1]) + windows.min(axis=(3, 4))) / 2)


def test_blur_is_a_convolution_and_sharpening_its_reverse(dtype):
    images = np.random.default_rng(0).random((3, 1, 6, 7)).astype(dtype)
    x = images.copy()
    blur(x, 1.0, 0.25, -0.5)
    weights = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
    blurred = (windows * weights).sum(axis=(4, 5))
    shares = np.array([1, 0.25, -0.5]).reshape(3, 1, 1, 1)
    wanted = np.clip(images + shares * (blurred - images), 0, 1)
    np.testing.assert_allclose(x, wanted, atol=1e-6)
    assert (x[2] == 1).any()  # the limits were met
    assert x.dtype == dtype


@pytest.mark.parametrize("names", [("thin", "thicken"), ("sharpen", "blur")])
def test_half_of_the_images_change_one_way_and_half_the_other(digits, names):
    images = np.repeat(digits[:1], 60, axis=0)
    one, other = (vary(images, **{name: 1.0}) for name in names)
    same = vary(images)
    changed = [(varied != same).any(axis=(1, 2)) for varied in (one, other)]
    equal(changed[0], ~changed[1])
    assert 20 < changed[0].sum() < 40
    both = vary(images, **dict.fromkeys(names, 1.0))
    equal(both, np.where(changed[0][:, None, None], one, other))
    if names[0] == "thin":
        assert (one <= same).all()
        assert (other >= same).all()


# ------------------------------------------------------------ tones, noise, erasing


def test_brightness_and_contrast(dtype):
    images = np.array([[[[0.2, 0.4], [0.6, 0.4]]]], dtype).repeat(4, axis=0)
    factors = [(1, 1), (1.5, 1), (1, 0.5), (0.5, 5)]
    x = images.copy()
    pixels.adjust_brightness_contrast(x, *np.array(factors, dtype).T.copy())
    equal(x[0], images[0])
    wanted = [[[0.3, 0.6], [0.9, 0.6]], [[0.3, 0.4], [0.5, 0.4]], [[0, 0.2], [0.7, 0.2]]]
    np.testing.assert_allclose(x[1:, 0], wanted, atol=1e-6)
    assert x.dtype == dtype


def test_brightness_and_contrast_reach_as_far_as_they_say():
    images = np.full((100, 2, 2), 0.5)
    images[:, 0] = 0.3
    bright = vary(images, brightness=0.4)
    ratio = bright / images
    np.testing.assert_allclose(ratio, ratio[:, :1, :1] * np.ones_like(ratio))
    assert 0.6 <= ratio.min() < 0.65
    assert 1.35 < ratio.max() <= 1.4
    flat = vary(images, contrast=0.4)
    ratio = (flat[:, 1, 0] - flat[:, 0, 0]) / 0.2
    assert 0.6 <= ratio.min() < 0.65
    assert 1.35 < ratio.max() <= 1.4
    np.testing.assert_allclose(flat.mean(axis=(1, 2)), 0.4)


def test_noise_has_the_standard_deviation_that_was_asked_for(dtype):
    x = np.full((2, 2, 40, 40), 0.5, dtype)
    words = random_bits(0, "noise", 0, np.arange(2), 3200)
    pixels.add_noise(x, np.array([0.05, 0.1], dtype), words)
    assert x[0].std() == pytest.approx(0.05, rel=0.03)
    assert x[1].std() == pytest.approx(0.1, rel=0.03)
    assert abs(x.mean() - 0.5) < 0.004
    assert (x[0, 0] == x[0, 1]).mean() < 0.05  # each channel has its own
    loud = vary(np.zeros((20, 5, 5), np.uint8), noise=1.0)
    assert loud.min() == 0
    assert loud.max() == 1
    deviations = vary(np.full((40, 12, 12), 0.5), noise=0.1).std(axis=(1, 2))
    assert deviations.min() < 0.01
    assert 0.08 < deviations.max() < 0.12


def test_erasing_blanks_a_rectangle_of_some_images():
    images = np.ones((200, 20, 30, 2))
    blank = vary(images, erase=0.25) == 0
    erased = blank.any(axis=(1, 2, 3))
    assert 35 < erased.sum() < 65
    for one in blank[erased]:
        equal(one[..., 0], one[..., 1])
        h, w = one[..., 0].any(axis=1), one[..., 0].any(axis=0)
        equal(one[..., 0], np.outer(h, w))  # a rectangle, in one piece:
        assert np.ptp(np.flatnonzero(h)) == h.sum() - 1
        assert np.ptp(np.flatnonzero(w)) == w.sum() - 1
    area = blank[erased].mean(axis=(1, 2, 3))
    assert 0.015 < area.min() < 0.05
    assert 0.15 < area.max() < 0.22
    blank = vary(images, erase=1.0) == 0
    assert blank.any(axis=(1, 2, 3)).all()  # each of them;
    assert blank.any(axis=(0, 1, 3)).all()  # everywhere, up to the border
    assert blank.any(axis=(0, 2, 3)).all()


def test_a_rectangle_is_no_longer_than_the_image():
    boxes = np.empty((1, 4), np.int64)

    def ends(length, longest, place):
        segment(length, longest, place, boxes, 0, np.int64(2))
        return boxes[0, 2:].tolist()

    assert ends(14.1, 4, 0.999) == [0, 4]
    assert ends(1.4, 6, 0.999) == [5, 6]
    assert ends(1.6, 6, 0.0) == [0, 2]
    assert ends(0.0, 6, 0.5) == [3, 3]


# ------------------------------------------------------------ the whole


def test_what_is_off_changes_nothing(digits):
    model = Sequential([Flatten(), Dense(2)], input_shape=(8, 8, 1), input_mean=0.1, input_std=0.3)
    equal(model.preprocess(vary(digits)), model.preprocess(digits))
    equal(vary(digits.astype(np.float64) / 255), digits / 255)


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_transformation_varies_with_seed_epoch_and_image(digits, name):
    images = np.repeat(digits[2:3], 12, axis=0)
    found = {
        key: vary(images, seed=key[0], epoch=key[1], **{name: EVERYTHING[name]}).tobytes()
        for key in ((0, 0), (0, 1), (1, 0))
    }
    assert len(set(found.values())) == 3
    varied = vary(images, **{name: EVERYTHING[name]})
    assert len(np.unique(varied, axis=0)) >= 4
    assert varied.min() >= 0
    assert varied.max() <= 1


def test_an_image_looks_the_same_in_any_order_batch_and_thread(digits):
    numbers = np.array([5, 900, 3, 2**32 - 1, 0, 17, 8, 1, 2, 60_000, 7, 11])
    options = {"seed": 3, "epoch": 4, **EVERYTHING}
    wanted = vary(digits, numbers, **options)
    order = np.random.default_rng(0).permutation(12)
    equal(vary(digits[order], numbers[order], **options), wanted[order])

    def part(which):
        with scope():
            return vary(digits[which], numbers[which], **options).copy()

    pieces = [slice(0, 1), slice(1, 6), slice(6, 9), slice(9, 12)]
    with ThreadPool("test", 3) as workers:
        equal(np.concatenate(workers.map(part, pieces)), wanted)
    equal(wanted, vary(digits, numbers.astype(np.uint32), **options))


def test_one_transformation_more_leaves_the_others_as_they_were(digits):
    one = vary(digits, rotation=20, elastic=0.5)
    both = vary(digits, rotation=20, elastic=0.5, blur=1.0)
    changed = (one != both).any(axis=(1, 2))
    assert changed.any()  # those that are blurred;
    assert not changed.all()  # the others are turned and bent as before


def test_channels_move_together(digits):
    moves = {"rotation": 20, "elastic": 0.5, "thicken": 1, "blur": 1, "erase": 1}
    gray = vary(digits, **moves)
    equal(vary(digits[..., None], **moves), gray[..., None])
    color = np.stack([digits, digits // 2, digits], axis=-1)
    found = vary(color, **moves)
    assert found.shape == color.shape
    equal(found[..., 0], gray)
    equal(found[..., 2], gray)
    assert (found[..., 1] <= gray).all()


def test_float_images_keep_their_dtype(digits):
    wanted = vary(digits, **EVERYTHING)
    assert wanted.dtype == np.float32
    equal(vary((digits / np.float32(255)), **EVERYTHING), wanted)
    double = vary(digits / 255, **EVERYTHING)
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, wanted, atol=1e-4)


def test_images_that_are_given_stay_as_they_are(digits):
    for images in (digits.copy(), digits / 255):
        before = images.copy()
        vary(images, **EVERYTHING)
        equal(images, before)


def test_training_comes_out_the_same_on_any_number_of_threads(digits):
    def trained(threads):
        model = Sequential([Flatten(), Dense(10)], input_shape=(8, 8, 1))
        labels = np.arange(12) % 10
        options = {"epochs": 2, "batch_size": 12, "validation_split": 0, "progress": False}
        fit(model, digits, labels, augment=Augment(**EVERYTHING), threads=threads, **options)
        return model.parameters

    equal(trained(3), trained(1))


@needs_jit
def test_a_step_takes_no_new_memory_for_images():
    images = np.zeros((32, 28, 28), np.uint8)
    augment, numbers = Augment(shift=1, thin=0.5, blur=0.5), np.arange(32)

    def step():
        with scope():
            augment(images, numbers, seed=0, epoch=0)

    step()
    step()
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 28 * 28 * 4 / 2  # one array of floats is twice as much


def test_the_preset_for_digits_keeps_them_readable():
    augment = Augment.digits()
    assert dataclasses.replace(augment, rotation=0.0) != augment
    assert not augment.horizontal_flip
    assert not augment.vertical_flip
    assert augment.rotation <= 20  # a 6 must not become a 9


# ------------------------------------------------------------ flips


@pytest.mark.filterwarnings("ignore:Augment:UserWarning")
def test_flips_mirror_half_of_the_images_exactly(digits):
    images = np.repeat(digits[2:3], 40, axis=0)
    same = vary(images)
    found = vary(images, horizontal_flip=True)
    flipped = (found == same[:, :, ::-1]).all(axis=(1, 2))
    equal(found[~flipped], same[~flipped])
    assert 10 < flipped.sum() < 30
    upside_down = (vary(images, vertical_flip=True) == same[:, ::-1]).all(axis=(1, 2))
    assert 10 < upside_down.sum() < 30
    assert (upside_down != flipped).any()


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_some_images_stay_as_they_are_and_the_others_change_as_without(digits, share):
    images = np.concatenate([digits] * 5)
    plain = images / np.float32(255)
    varied = vary(images, **EVERYTHING)
    found = vary(images, **EVERYTHING, untouched=share)
    stays = (found == plain).all(axis=(1, 2))
    equal(found, np.where(stays[:, None, None], plain, varied))
    assert abs(stays.sum() - share * 60) < 12  # three standard deviations
    again = (vary(images, **EVERYTHING, untouched=share, epoch=1) == plain).all(axis=(1, 2))
    assert (again == stays).all() == (share in (0, 1))


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
def test_flips_are_warned_about(name):
    with pytest.warns(UserWarning, match=f"Augment: {name} is for photos.* digit") as caught:
        Augment(**{name: True})
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        Augment(**{name: False})


# ------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("strength", "kind", "message"),
    [
        ({"rotation": 181}, ValueError, "Augment: rotation must be 0 to 180, not 181"),
        ({"rotation": -1}, ValueError, "Augment: rotation must be 0 to 180, not -1"),
        ({"shift": np.inf}, ValueError, "Augment: shift must be 0 or more, and finite, not inf"),
        ({"shear": 81}, ValueError, "Augment: shear must be 0 to 80, not 81"),
        ({"zoom": -0.1}, ValueError, "Augment: zoom must be 0 to 10, not -0.1"),
        ({"elastic": np.nan}, ValueError, "Augment: elastic must be 0 or more, and finite"),
        ({"elastic_sigma": 0.4}, ValueError, "Augment: elastic_sigma must be 0.5 or more, and"),
        ({"thin": 101}, ValueError, "Augment: thin must be 0 to 100, not 101"),
        ({"thicken": -1}, ValueError, "Augment: thicken must be 0 to 100, not -1"),
        ({"blur": 1.1}, ValueError, "Augment: blur must be 0 to 1, not 1.1"),
        ({"sharpen": -1}, ValueError, "Augment: sharpen must be 0 to 100, not -1"),
        ({"brightness": 2}, ValueError, "Augment: brightness must be 0 to 1, not 2"),
        ({"contrast": 2}, ValueError, "Augment: contrast must be 0 to 1, not 2"),
        ({"noise": -0.5}, ValueError, "Augment: noise must be 0 to 1, not -0.5"),
        ({"erase": 1.5}, ValueError, "Augment: erase must be 0 to 1, not 1.5"),
        ({"untouched": 1.5}, ValueError, "Augment: untouched must be 0 to 1, not 1.5"),
        ({"rotation": "10"}, TypeError, "Augment: rotation must be a number, not '10'"),
        ({"noise": True}, TypeError, "Augment: noise must be a number, not True"),
        ({"vertical_flip": 1}, TypeError, "Augment: vertical_flip must be True or False, not 1"),
    ],
)
def test_strengths_out_of_range_are_refused(strength, kind, message):
    with pytest.raises(kind, match=message):
        Augment(**strength)


IMAGES = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"images": [[1]]}, TypeError, "Augment: images must be a NumPy array, not list"),
        ({"images": IMAGES.astype(int)}, TypeError, "Augment: images must be uint8 .* not int64"),
        ({"images": IMAGES[0]}, ValueError, r"\(N, H, W\) or .* not 2 axes \(shape \(4, 4\)\)"),
        ({"images": IMAGES[:0]}, ValueError, r"Augment: images is empty \(shape \(0, 4, 4\)\)"),
        ({"images": IMAGES + 2.0}, ValueError, "Augment: pixels of float images must lie in 0"),
        ({"numbers": np.zeros(3)}, TypeError, "numbers must be an integer array, not float64"),
        ({"numbers": [0, 1, 2]}, TypeError, "numbers must be an integer array, not list"),
        ({"numbers": np.arange(4)}, ValueError, r"numbers must have shape \(3,\), .* not \(4,\)"),
        ({"numbers": np.arange(3) - 1}, ValueError, r"numbers must lie in 0 \.\. 2\*\*32 - 1"),
        ({"numbers": np.arange(3) + 2**32 - 2}, ValueError, "numbers must lie in 0"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number, not 0.5"),
        ({"seed": 2**64}, ValueError, r"seed must lie in 0 \.\. 2\*\*64 - 1"),
        ({"epoch": True}, TypeError, "epoch must be a whole number, not True"),
        ({"epoch": -1}, ValueError, r"epoch must lie in 0 \.\. 2\*\*32 - 1, not -1"),
    ],
)
def test_images_and_keys_that_do_not_fit_are_refused(change, kind, message):
    arguments = {"images": IMAGES, "numbers": np.arange(3), "seed": 0, "epoch": 0, **change}
    with pytest.raises(kind, match=message):
        Augment()(arguments.pop("images"), arguments.pop("numbers"), **arguments)
