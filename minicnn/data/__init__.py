"""Images to learn from: MNIST, its embedded sample, and any data set in MNIST's file format."""

from minicnn.data.idx import read_idx, read_images_and_labels
from minicnn.data.images import BlankImageError, ImageError, to_mnist
from minicnn.data.mnist import ImageDataset, MnistUnavailableError, load_mnist
from minicnn.data.sample import load_mnist_sample

__all__ = [
    "BlankImageError",
    "ImageDataset",
    "ImageError",
    "MnistUnavailableError",
    "load_mnist",
    "load_mnist_sample",
    "read_idx",
    "read_images_and_labels",
    "to_mnist",
]
