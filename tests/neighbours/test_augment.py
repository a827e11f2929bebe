"""Augmentation: the effect of each transformation, and its random key."""

import dataclasses
import os
import tracemalloc
import warnings
from dataclasses import FrozenInstanceError
from math import floor

import numba
import numpy as np
import pytest

from minicnn import Augment, Dense, Flatten, Sequential, fit, load_mnist_sample
from minicnn.augment.sample import box_side, inverse_affine
from minicnn.augment.transform import (
    BRIGHTNESS_FACTOR,
    SHARPNESS,
    STROKE_WIDTH,
    UNCHANGED,
    WARP_LANES,
    elastic_smoothing,
    transform_images,
)
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
    "erase": 0.5,
}


def from_python(device_function):
    """Wrap a device function, which only compiled code can call."""
    return numba.njit(lambda *arguments: device_function(*arguments))


philox, inverse_affine, box_side = map(from_python, (philox, inverse_affine, box_side))

needs_jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="takes long without JIT"
)


@pytest.fixture(scope="module")
def digits():
    """Return twelve digits of 8×8 pixels, so that plain Python is fast too."""
    return load_mnist_sample().train_images[:12, 2:27:3, 3:26:3].copy()[:, :8]


def augmented(images, image_ids=None, seed=0, epoch=0, **ranges):
    image_ids = np.arange(len(images)) if image_ids is None else image_ids
    return Augment(**ranges)(images, image_ids, seed=seed, epoch=epoch)


def equal(actual, expected):
    np.testing.assert_array_equal(actual, expected, strict=True)


# ------------------------------------------------------------ random words


# From the authors' Random123 library, file tests/kat_vectors, lines "philox4x32 10".
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_returns_the_published_test_vectors(counter, key, expected):
    assert philox(*map(np.uint64, counter + key)) == expected


def test_random_bits_are_those_of_philox_at_the_address():
    seed, stream, epoch = 2**32 + 7, 2, 5
    actual = random_bits(seed, "noise", epoch, np.array([3, 2**32 - 1]), 9)
    assert actual.shape == (2, 12)
    for row, image_id in zip(actual.view(np.uint32), (3, 2**32 - 1), strict=True):
        for block in range(3):
            words = philox(*map(np.uint64, (block, stream, image_id, epoch, 7, 1)))
            assert tuple(row[block::3]) == words


def test_random_bits_differ_between_addresses():
    image_ids = np.arange(3)
    actual = [
        random_bits(seed, stream, epoch, image_ids, 4)
        for seed in (0, 1, 2**32)
        for stream in ("augmentation", "elastic", "noise")
        for epoch in (0, 1)
    ]
    assert len(np.unique(actual)) == np.size(actual)


def test_random_bits_are_uniform():
    words = random_bits(4, "noise", 0, np.arange(20), 100) / 2**31
    assert abs(words.mean()) < 3 / (3 * words.size) ** 0.5  # three standard errors
    assert words.var() == pytest.approx(1 / 3, rel=0.05)
    assert -1 <= words.min() < -0.99
    assert 0.99 < words.max() < 1


# ------------------------------------------------------------ the warp


def plain_warp(images, maps, fields):
    """Compute the warp in loops: the weight of a neighbor falls with distance."""
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
    """Compute the warp with PyTorch, whose coordinates go from -1 to 1."""
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
    actual = functional.grid_sample(x, grid, "bilinear", "zeros", align_corners=True)
    return actual.numpy().transpose(0, 2, 3, 1)


def our_warp(images, maps, words, rows, columns):
    magnitudes = np.full((len(images), 3), UNCHANGED, images.dtype)
    boxes = np.zeros((len(images), 4), np.int64)
    return transform_images(images, True, maps, magnitudes, boxes, words, (rows, columns))


@pytest.fixture(scope="module")
def case():
    """Return images of 7×10×3, and maps that reach far outside of them."""
    rng = np.random.default_rng(2)
    images = rng.random((4, 7, 10, 3))
    maps = np.concatenate([rng.normal(0, 1, (4, 2, 2)), rng.normal(0, 2, (4, 2, 1))], axis=2)
    rows, columns = elastic_smoothing(7, 10, 0.8, np.float64)
    K, J = rows.shape[1], len(columns)
    words = random_bits(3, "elastic", 0, np.arange(4), 2 * K * J)
    u = words[:, : 2 * K * J].reshape(4, 2, K, J) / 2**31
    return images, maps, words, rows, columns, rows @ u @ columns[:, :10]


def test_the_warp_equals_slow_loops(case, dtype):
    images, maps, words, rows, columns, fields = case
    cast = [array.astype(dtype) for array in (images, maps, rows, columns)]
    actual = our_warp(cast[0], cast[1], words, cast[2], cast[3])
    assert actual.dtype == dtype
    close = 1e-13 if dtype == np.float64 else 2e-5  # coordinates up to 20 in float32
    np.testing.assert_allclose(actual, plain_warp(images, maps, fields), atol=close)
    none = elastic_smoothing(7, 10, 0.0, dtype)
    actual = our_warp(cast[0], cast[1], words, *none)
    np.testing.assert_allclose(actual, plain_warp(images, maps, 0 * fields), atol=close)


def test_the_warp_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    images, maps, words, rows, columns, fields = case
    expected = torch_warp(torch, images, maps, fields)
    np.testing.assert_allclose(our_warp(images, maps, words, rows, columns), expected, atol=1e-13)
    np.testing.assert_allclose(plain_warp(images, maps, fields), expected, atol=1e-13)


def turned(images, map_, dtype):
    none = elastic_smoothing(*images.shape[1:3], 0.0, dtype)
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
    expected = np.zeros_like(odd)
    expected[:, 2:, :-1] = odd[:, :-2, 1:]
    equal(turned(odd, [[1, 0, -2], [0, 1, 1]], dtype), expected)
    equal(turned(odd, [[1, 0, 0], [0, 1, 1e6]], dtype), 0 * odd)


def one_map(angle=0.0, slant=0.0, zoom=(1.0, 1.0), shift=(0.0, 0.0)):
    maps = np.empty((1, 2, 3))
    inverse_affine(angle, slant, *map(float, zoom), *map(float, shift), maps, 0)
    return maps[0]


def test_inverse_affine_inverts_zoom_shear_rotation_and_shift():
    """Compare with sources computed by hand: right of the center, and above."""
    right, above = (0, 1, 1), (-1, 0, 1)
    # anticlockwise: the pixel above comes from the right
    np.testing.assert_allclose(one_map(angle=np.pi / 2) @ above, (0, 1), atol=1e-15)
    np.testing.assert_allclose(one_map(slant=0.25) @ above, (-1, -0.25))  # moved to the right
    np.testing.assert_allclose(one_map(zoom=(2, 4)) @ right, (0, 0.25))
    np.testing.assert_allclose(one_map(zoom=(2, -4)) @ above, (-0.5, 0))
    np.testing.assert_allclose(one_map(shift=(3, 5)) @ right, (-3, -4))
    # Together: the inverse of zoom, then shear, then rotation, then shift.
    cos, sin = np.cos(0.3), np.sin(0.3)
    turn, shear = np.array([[cos, -sin], [sin, cos]]), np.array([[1, 0], [-0.2, 1]])
    forward = np.eye(3)
    forward[:2, :2] = turn @ shear @ np.diag([1.5, 0.8])
    forward[:2, 2] = 1.25, -2
    actual = one_map(0.3, 0.2, (1.5, 0.8), (1.25, -2))
    np.testing.assert_allclose(actual, np.linalg.inv(forward)[:2], atol=1e-15)


# ------------------------------------------------------------ the elastic distortion


def test_elastic_has_its_standard_deviation_and_is_smooth():
    ramp = np.tile(
        np.linspace(0, 1, 9)[:, None], (150, 1, 9)
    )  # its values show the source of each pixel
    rows = augmented(ramp, elastic=0.4) * 8 - np.arange(9)[:, None]
    moved = rows[:, 3:6, 3:6]
    assert moved.std() == pytest.approx(0.4, rel=0.1)
    assert abs(moved.mean()) < 0.1
    # Gaussians of standard deviation s, d pixels apart, overlap by exp(-d² / (4 s²))
    together = np.corrcoef(rows[:, 3:6, 2].ravel(), rows[:, 3:6, 5].ravel())[0, 1]
    assert together == pytest.approx(np.exp(-9 / 64), abs=0.1)


def test_smoothing_of_a_grid_one_sigma_apart_is_even():
    rows, columns = elastic_smoothing(28, 28, 1.0, np.float64)
    assert rows.shape == (28, 14)
    shares = np.exp(-((np.arange(28)[:, None] / 4 - (np.arange(14) - 3)) ** 2) / 2) ** 2
    np.testing.assert_allclose(shares.sum(axis=1), np.pi**0.5, rtol=2e-4)  # before normalization
    np.testing.assert_allclose((rows**2).sum(axis=1), 3)  # 1 / the variance of a uniform number
    assert columns.shape[1] % WARP_LANES == 0
    assert not columns[:, 28:].any()


# ------------------------------------------------------------ strokes and edges


def adjust(x, column, amounts):
    """Change planes (N, C, H, W) in place by one column of the magnitudes."""
    N, _, H, W = x.shape
    magnitudes = np.full((N, 3), UNCHANGED, x.dtype)
    magnitudes[:, column] = amounts
    maps, boxes = np.empty((N, 2, 3), x.dtype), np.zeros((N, 4), np.int64)
    words, smoothing = np.empty((N, 0), np.int32), elastic_smoothing(H, W, 0.0, x.dtype)
    images = x.transpose(0, 2, 3, 1)
    images[...] = transform_images(images, False, maps, magnitudes, boxes, words, smoothing)


def thicken(x, *amounts):
    adjust(x, STROKE_WIDTH, amounts)


def blur(x, *amounts):
    adjust(x, SHARPNESS, amounts)


def test_dilation_grows_a_dot_to_a_disk_and_erosion_shrinks_it(dtype):
    dot = np.zeros((1, 1, 5, 5), dtype)
    dot[0, 0, 2, 2] = 1
    disk = np.zeros_like(dot)
    disk[0, 0, 1:4, 1:4] = [[0.5, 1, 0.5], [1, 1, 1], [0.5, 1, 0.5]]
    for amount, expected in [(1, disk), (0.5, dot + (disk - dot) / 2), (0, dot)]:
        x = dot.copy()
        thicken(x, amount)
        equal(x, expected)
        x = 1 - dot
        thicken(x, -amount)
        equal(x, 1 - expected)


def test_dilation_by_several_pixels_repeats_one_pixel(dtype):
    images = np.random.default_rng(0).integers(0, 9, (2, 2, 4, 5)).astype(dtype) / 8
    together, one_by_one = images.copy(), images.copy()
    thicken(together, 2.5, -1.0)
    for step in (1.0, 1.0, 0.5):
        thicken(one_by_one, step, 0.0)
    equal(together[0], one_by_one[0])
    equal(one_by_one[1], images[1])
    padded = np.pad(images[1], ((0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    cross = windows.reshape(2, 4, 5, 9)[..., 1::2].min(axis=-1)
    equal(together[1], (np.minimum(cross, images[1]) + windows.min(axis=(3, 4))) / 2)


def test_blur_is_a_convolution_and_sharpening_its_inverse(dtype):
    images = np.random.default_rng(0).random((3, 1, 6, 7)).astype(dtype)
    x = images.copy()
    blur(x, 1.0, 0.25, -0.5)
    weights = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
    blurred = (windows * weights).sum(axis=(4, 5))
    shares = np.array([1, 0.25, -0.5]).reshape(3, 1, 1, 1)
    expected = np.clip(images + shares * (blurred - images), 0, 1)
    np.testing.assert_allclose(x, expected, atol=1e-6)
    assert (x[2] == 1).any()  # some values are clipped
    assert x.dtype == dtype


@pytest.mark.parametrize("names", [("thin", "thicken"), ("sharpen", "blur")])
def test_half_of_the_images_change_in_each_direction(digits, names):
    images = np.repeat(digits[:1], 60, axis=0)
    one, other = (augmented(images, **{name: 1.0}) for name in names)
    same = augmented(images)
    changed = [(varied != same).any(axis=(1, 2)) for varied in (one, other)]
    equal(changed[0], ~changed[1])
    assert 20 < changed[0].sum() < 40
    both = augmented(images, **dict.fromkeys(names, 1.0))
    equal(both, np.where(changed[0][:, None, None], one, other))
    if names[0] == "thin":
        assert (one <= same).all()
        assert (other >= same).all()


# ------------------------------------------------------------ brightness, erasing


def test_brightness_multiplies_and_clips(dtype):
    images = np.array([[[[0.2, 0.4], [0.6, -0.0]]]], dtype).repeat(3, axis=0)
    x = images.copy()
    adjust(x, BRIGHTNESS_FACTOR, [1, 1.5, 2])
    equal(x[0], images[0])
    expected = [[[0.3, 0.6], [0.9, 0]], [[0.4, 0.8], [1, 0]]]
    np.testing.assert_allclose(x[1:, 0], expected, atol=1e-6)
    assert not np.signbit(x[1:]).any()
    assert x.dtype == dtype


def test_brightness_covers_its_range():
    images = np.full((100, 2, 2), 0.5)
    images[:, 0] = 0.3
    ratio = augmented(images, brightness=0.4) / images
    np.testing.assert_allclose(ratio, ratio[:, :1, :1] * np.ones_like(ratio))
    assert 0.6 <= ratio.min() < 0.65
    assert 1.35 < ratio.max() <= 1.4


def test_erasing_blanks_a_rectangle_of_some_images():
    images = np.ones((200, 20, 30, 2))
    blank = augmented(images, erase=0.25) == 0
    erased = blank.any(axis=(1, 2, 3))
    assert 35 < erased.sum() < 65
    for one in blank[erased]:
        equal(one[..., 0], one[..., 1])
        h, w = one[..., 0].any(axis=1), one[..., 0].any(axis=0)
        equal(one[..., 0], np.outer(h, w))  # one rectangle
        assert np.ptp(np.flatnonzero(h)) == h.sum() - 1
        assert np.ptp(np.flatnonzero(w)) == w.sum() - 1
    area = blank[erased].mean(axis=(1, 2, 3))
    assert 0.015 < area.min() < 0.05
    assert 0.15 < area.max() < 0.22
    blank = augmented(images, erase=1.0) == 0
    assert blank.any(axis=(1, 2, 3)).all()  # every image
    assert blank.any(axis=(0, 1, 3)).all()  # every row
    assert blank.any(axis=(0, 2, 3)).all()


def test_an_erased_rectangle_is_no_longer_than_the_image():
    assert box_side(14.1, 4, 0.999) == (0, 4)
    assert box_side(1.4, 6, 0.999) == (5, 6)
    assert box_side(1.6, 6, 0.0) == (0, 2)
    assert box_side(0.0, 6, 0.5) == (3, 3)


# ------------------------------------------------------------ all transformations


def test_augment_without_ranges_changes_nothing(digits):
    model = Sequential([Flatten(), Dense(2)], input_shape=(8, 8, 1), input_mean=0.1, input_std=0.3)
    equal(model.preprocess(augmented(digits)), model.preprocess(digits))
    equal(augmented(digits.astype(np.float64) / 255), digits / 255)


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_transformation_varies_with_seed_epoch_and_image(digits, name):
    images = np.repeat(digits[2:3], 12, axis=0)
    actual = {
        key: augmented(images, seed=key[0], epoch=key[1], **{name: EVERYTHING[name]}).tobytes()
        for key in ((0, 0), (0, 1), (1, 0))
    }
    assert len(set(actual.values())) == 3
    varied = augmented(images, **{name: EVERYTHING[name]})
    assert len(np.unique(varied, axis=0)) >= 4
    assert varied.min() >= 0
    assert varied.max() <= 1


def test_an_image_looks_the_same_in_any_order_batch_and_thread(digits):
    image_ids = np.array([5, 900, 3, 2**32 - 1, 0, 17, 8, 1, 2, 60_000, 7, 11])
    options = {"seed": 3, "epoch": 4, **EVERYTHING}
    expected = augmented(digits, image_ids, **options)
    order = np.random.default_rng(0).permutation(12)
    equal(augmented(digits[order], image_ids[order], **options), expected[order])

    def part(which):
        with scope():
            return augmented(digits[which], image_ids[which], **options).copy()

    slices = [slice(0, 1), slice(1, 6), slice(6, 9), slice(9, 12)]
    equal(np.concatenate(ThreadPool(3).map(part, slices)), expected)
    equal(expected, augmented(digits, image_ids.astype(np.uint32), **options))


def test_adding_a_transformation_leaves_the_others_unchanged(digits):
    one = augmented(digits, rotation=20, elastic=0.5)
    both = augmented(digits, rotation=20, elastic=0.5, blur=1.0)
    changed = (one != both).any(axis=(1, 2))
    assert changed.any()  # the blurred images
    assert not changed.all()  # the other half, which is sharpened by 0


def test_channels_move_together(digits):
    moves = {"rotation": 20, "elastic": 0.5, "thicken": 1, "blur": 1, "erase": 1}
    gray = augmented(digits, **moves)
    equal(augmented(digits[..., None], **moves), gray[..., None])
    color = np.stack([digits, digits // 2, digits], axis=-1)
    actual = augmented(color, **moves)
    assert actual.shape == color.shape
    equal(actual[..., 0], gray)
    equal(actual[..., 2], gray)
    assert (actual[..., 1] <= gray).all()


def test_float_images_keep_their_dtype(digits):
    expected = augmented(digits, **EVERYTHING)
    assert expected.dtype == np.float32
    equal(augmented((digits / np.float32(255)), **EVERYTHING), expected)
    double = augmented(digits / 255, **EVERYTHING)
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, expected, atol=1e-4)


def test_augment_does_not_write_to_its_images(digits):
    for images in (digits.copy(), digits / 255):
        before = images.copy()
        augmented(images, **EVERYTHING)
        equal(images, before)


def test_training_is_bit_identical_for_any_number_of_threads(digits):
    def trained(threads):
        model = Sequential([Flatten(), Dense(10)], input_shape=(8, 8, 1))
        labels = np.arange(12) % 10
        options = {"epochs": 2, "batch_size": 12, "validation_split": 0, "progress": False}
        fit(model, digits, labels, augment=Augment(**EVERYTHING), threads=threads, **options)
        return model.parameters

    equal(trained(3), trained(1))


@needs_jit
def test_a_step_allocates_no_new_image_memory():
    images = np.zeros((32, 28, 28), np.uint8)
    augment, image_ids = Augment(shift=1, thin=0.5, blur=0.5), np.arange(32)

    def step():
        with scope():
            augment(images, image_ids, seed=0, epoch=0)

    step()
    step()
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 28 * 28 * 4 / 2  # one float32 array has twice as much


def test_the_digits_preset_has_no_flips_and_small_rotations():
    augment = Augment.digits()
    assert dataclasses.replace(augment, rotation=0.0) != augment
    assert not augment.horizontal_flip
    assert not augment.vertical_flip
    assert augment.rotation <= 20  # a 6 must not become a 9


# ------------------------------------------------------------ flips


@pytest.mark.filterwarnings("ignore:Augment:UserWarning")
def test_flips_mirror_half_of_the_images_exactly(digits):
    images = np.repeat(digits[2:3], 40, axis=0)
    same = augmented(images)
    actual = augmented(images, horizontal_flip=True)
    flipped = (actual == same[:, :, ::-1]).all(axis=(1, 2))
    equal(actual[~flipped], same[~flipped])
    assert 10 < flipped.sum() < 30
    upside_down = (augmented(images, vertical_flip=True) == same[:, ::-1]).all(axis=(1, 2))
    assert 10 < upside_down.sum() < 30
    assert (upside_down != flipped).any()


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
def test_flips_are_warned_about(name):
    with pytest.warns(UserWarning, match=f"Augment: {name} is for photos.* digit") as caught:
        Augment(**{name: True})
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        Augment(**{name: False})


# ------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("ranges", "kind", "message"),
    [
        ({"rotation": 181}, ValueError, "Augment: rotation must be 0 to 180, not 181"),
        ({"rotation": -1}, ValueError, "Augment: rotation must be 0 to 180, not -1"),
        ({"shift": np.inf}, ValueError, "Augment: shift must be 0 or more, and finite, not inf"),
        ({"shear": 81}, ValueError, "Augment: shear must be 0 to 80, not 81"),
        ({"zoom": -0.1}, ValueError, "Augment: zoom must be 0 to 10, not -0.1"),
        ({"elastic": np.nan}, ValueError, "Augment: elastic must be 0 or more, and finite"),
        ({"thin": 101}, ValueError, "Augment: thin must be 0 to 100, not 101"),
        ({"thicken": -1}, ValueError, "Augment: thicken must be 0 to 100, not -1"),
        ({"blur": 1.1}, ValueError, "Augment: blur must be 0 to 1, not 1.1"),
        ({"sharpen": -1}, ValueError, "Augment: sharpen must be 0 to 100, not -1"),
        ({"brightness": 2}, ValueError, "Augment: brightness must be 0 to 1, not 2"),
        ({"erase": 1.5}, ValueError, "Augment: erase must be 0 to 1, not 1.5"),
        ({"rotation": "10"}, TypeError, "Augment: rotation must be a number, not '10'"),
        ({"erase": True}, TypeError, "Augment: erase must be a number, not True"),
        ({"vertical_flip": 1}, TypeError, "Augment: vertical_flip must be True or False, not 1"),
    ],
)
def test_augment_rejects_values_out_of_range(ranges, kind, message):
    with pytest.raises(kind, match=message):
        Augment(**ranges)


IMAGES = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"images": [[1]]}, TypeError, "Augment: images must be a NumPy array, not list"),
        ({"images": IMAGES.astype(int)}, TypeError, "Augment: images must be uint8 .* not int64"),
        ({"images": IMAGES[0]}, ValueError, r"\(N, H, W\) or .* not 2 axes \(shape \(4, 4\)\)"),
        ({"images": IMAGES[:0]}, ValueError, r"Augment: images is empty \(shape \(0, 4, 4\)\)"),
        ({"images": IMAGES + 2.0}, ValueError, "Augment: pixels of float images must lie in 0"),
        ({"image_ids": np.zeros(3)}, TypeError, "image_ids must be an integer array, not float64"),
        ({"image_ids": [0, 1, 2]}, TypeError, "image_ids must be an integer array, not list"),
        (
            {"image_ids": np.arange(4)},
            ValueError,
            r"image_ids must have shape \(3,\), .* not \(4,\)",
        ),
        (
            {"image_ids": np.arange(3) - 1},
            ValueError,
            r"in 0\.\.4294967295, but image_ids\[0\] is -1",
        ),
        ({"image_ids": np.arange(3) + 2**32 - 2}, ValueError, "image_ids must lie in 0"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number, not 0.5"),
        ({"seed": 2**64}, ValueError, "seed must be at most 18,446,744,073,709,551,615"),
        ({"epoch": True}, TypeError, "epoch must be a whole number, not True"),
        ({"epoch": -1}, ValueError, "epoch must be at least 0, not -1"),
    ],
)
def test_augment_rejects_wrong_images_and_keys(change, kind, message):
    arguments = {"images": IMAGES, "image_ids": np.arange(3), "seed": 0, "epoch": 0, **change}
    with pytest.raises(kind, match=message):
        Augment()(arguments.pop("images"), arguments.pop("image_ids"), **arguments)


def test_an_augmentation_is_written_by_name_and_does_not_change():
    with pytest.raises(TypeError, match="positional argument"):
        Augment(10)
    with pytest.raises(FrozenInstanceError):
        Augment(rotation=10).rotation = 20


def test_the_augmentation_for_digits_has_the_chosen_amounts():
    assert Augment.digits() == Augment(
        rotation=10, shift=1.5, shear=10, zoom=0.1, elastic=0.6, thin=0.3, thicken=0.6,
        blur=0.4, sharpen=2, brightness=0.3, erase=0.1,
    )  # fmt: skip
