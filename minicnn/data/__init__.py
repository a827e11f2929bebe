"""Images to learn from: MNIST, its embedded sample, any data set in its format, and variations."""

from minicnn.data.augment import Augment
from minicnn.data.drawn import are_digits, drawn_digits
from minicnn.data.idx import read_idx, read_images_and_labels
from minicnn.data.images import BlankImageError, ImageError, to_mnist
from minicnn.data.mnist import ImageDataset, MnistUnavailableError, load_mnist
from minicnn.data.page import FoundDigit, find_digits
from minicnn.data.sample import load_mnist_sample

__all__ = [
    "Augment",
    "BlankImageError",
    "FoundDigit",
    "ImageDataset",
    "ImageError",
    "MnistUnavailableError",
    "are_digits",
    "drawn_digits",
    "find_digits",
    "load_mnist",
    "load_mnist_sample",
    "read_idx",
    "read_images_and_labels",
    "to_mnist",
]
