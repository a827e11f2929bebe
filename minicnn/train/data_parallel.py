"""The gradient of a mini-batch, as microbatches on a pool of threads.

A batch is cut into microbatches of at most 32 consecutive images, whatever the number of threads. A
thread takes a microbatch through the whole network, forward and backward, while it is in its cache.
The gradients are then added in order. So the result is the same, bit for bit, for any number of
threads, and no thread waits for another one between layers.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import reduce
from minicnn.kernels.capture import ReplayCache
from minicnn.losses import loss_and_gradient
from minicnn.model.sequential import Sequential
from minicnn.random import RandomKey
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import shared_pool
from minicnn.shapes import Array, IntArray
from minicnn.shapes.checks import check_labels, check_range
from minicnn.train.evaluate import check_data

MICROBATCH = 32
# Gradients kept before they are added up, so that memory does not grow with the batch.
MAX_PENDING_GRADIENTS = 16


class Augmentation(Protocol):
    """An object that varies training images, such as `minicnn.Augment`."""

    def __call__(
        self, images: NDArray[Any], image_ids: IntArray, /, *, seed: int, epoch: int
    ) -> Array:
        """Return the images as they look in an epoch.

        Parameters
        ----------
        images : ndarray (n, H, W, C); without C where the model has one channel
        image_ids : ndarray of int (n,)
            Indices of the images in the data set. Random values depend on them, not on the order.
        seed, epoch : int

        Returns
        -------
        ndarray of float, shaped as `images`
            0 to 1. It may lie in the arena.
        """


class BatchResult(NamedTuple):
    """Loss and gradient of a mini-batch; the next batch overwrites `gradient`.

    `loss` is the mean over the batch, `plain_loss` that without label smoothing, `correct` the
    number of images with the right class, `gradient` (P,) that of `loss`. Row i of
    `batch_statistics` (microbatches, S) holds the batch statistics of microbatch i, for
    `Sequential.update_statistics`.
    """

    loss: float
    correct: int
    plain_loss: float
    gradient: Array
    batch_statistics: Array


class BatchGradient:
    """Compute loss, gradient and statistics of mini-batches on all cores.

    `minicnn.fit` trains with it. A training loop of your own is::

        optimizer, rng = minicnn.Adam(), np.random.default_rng(0)
        run_batch = minicnn.BatchGradient(model, images, labels)
        for epoch in range(2):
            order = rng.permutation(len(images))
            for start in range(0, len(order), 128):
                result = run_batch(order[start : start + 128], epoch)
                optimizer.step(model.parameters, result.gradient)
                model.update_statistics(result.batch_statistics)

    The last line is for `BatchNorm`, which predicts with the running statistics.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        The data set; a call selects a batch by index.
    labels : ndarray of int (N,)
    augment : callable, optional
        As in `minicnn.fit`.
    seed : int
        Of `augment`, and of layers that are random in training.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.
    threads : int, optional
        One per usable core by default. The result does not depend on it.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or images or labels do not fit the model or each other.
    """

    def __init__(
        self,
        model: Sequential,
        images: NDArray[Any],
        labels: IntArray,
        augment: Augmentation | None = None,
        seed: int = 0,
        label_smoothing: float = 0.0,
        threads: int | None = None,
    ) -> None:
        check_data("BatchGradient", model, images, labels, Sequential)
        self.model, self.images, self.labels = model, images, labels
        self.augment, self.seed, self.pool = augment, seed, shared_pool(threads)
        self.smoothing = check_range("BatchGradient", "label_smoothing", label_smoothing, high=1)
        # Memory that is never written to costs nothing: small batches use the first rows only.
        self._gradients = np.empty((MAX_PENDING_GRADIENTS, model.parameters.size), model.dtype)
        self._rows = list(self._gradients)  # the same objects in each step, for the replay
        self._total = np.empty_like(model.parameters)
        self._replay_cache = ReplayCache(model.replayable)

    def __call__(self, batch: IntArray, epoch: int = 0) -> BatchResult:
        """Run a batch forward and backward.

        Parameters
        ----------
        batch : ndarray of int (n,)
            Indices of the images.
        epoch : int
            With the seed, it decides how images are augmented, and the draws of random layers.

        Returns
        -------
        BatchResult

        Raises
        ------
        TypeError, ValueError
            If `batch` holds no index or another one, or a label of the batch is no class.
        """
        # At least one index: an empty batch has no mean.
        check_labels("BatchGradient", batch, max(np.size(batch), 1), len(self.images), "batch")
        # Again, because the caller may have written to them.
        labels, classes = self.labels[batch], self.model.output_shape[0]
        check_labels("BatchGradient", labels, len(batch), classes, "labels[batch]")
        self._state = self._replay_cache.follow(self.model)
        parts = split_batch(batch)
        statistics = np.empty((len(parts), self.model.statistics.size), self.model.dtype)
        results: list[tuple[float, int, float]] = []
        for first in range(0, len(parts), MAX_PENDING_GRADIENTS):
            group = slice(first, first + MAX_PENDING_GRADIENTS)
            rows = zip(parts[group], self._rows, statistics[group], strict=False)
            # In order, whichever thread was first: the sum of floats depends on it.
            results += self.pool.map(
                lambda row: self._run_microbatch(len(batch), epoch, *row), list(rows)
            )
            count = len(results) - first
            reduce.reduce_gradients(self._gradients, count, first == 0, self._total)
        loss, correct, plain_loss = map(sum, zip(*results, strict=True))
        return BatchResult(loss, correct, plain_loss, self._total, statistics)

    def augmented_images(self, image_ids: IntArray, epoch: int) -> NDArray[Any]:
        """Return images as augmented in an epoch, before preprocessing.

        Parameters
        ----------
        image_ids : ndarray of int (n,)
        epoch : int

        Returns
        -------
        ndarray (n, H, W, C), or without C
            Augmented images may lie in the arena.
        """
        images = self.images[image_ids]
        if self.augment is None:
            return images
        return self.augment(images, image_ids, seed=self.seed, epoch=epoch)

    def microbatches(
        self, batch: IntArray, epoch: int
    ) -> Iterator[tuple[NDArray[Any], IntArray, RandomKey]]:
        """Yield the microbatches of a batch as augmented in an epoch.

        Parameters
        ----------
        batch : ndarray of int (n,)
            Indices of the images.
        epoch : int

        Yields
        ------
        images : ndarray (m, H, W, C), or without C
            From `augmented_images`.
        labels : ndarray of int (m,)
        key : RandomKey
        """
        for part in split_batch(batch):
            key = RandomKey(self.seed, epoch, part)
            yield self.augmented_images(part, epoch), self.labels[part], key

    def _run_microbatch(
        self, batch_size: int, epoch: int, image_ids: IntArray, gradient: Array, statistics: Array
    ) -> tuple[float, int, float]:
        """Return loss, correct images and plain loss; overwrite both arrays."""
        count = len(image_ids)
        share = count / batch_size  # images of the microbatch / images of the batch
        # fit checks results for infinity and NaN; NumPy need not warn of them.
        with arena.scope(), np.errstate(over="ignore", invalid="ignore"):
            x = self.model.preprocess(self.augmented_images(image_ids, epoch))
            labels, ids, epochs = arena.allocate(
                (((count,), np.int64), ((count,), np.uint64), ((1,), np.uint64))
            )
            labels[...], ids[...], epochs[...] = self.labels[image_ids], image_ids, epoch
            # Arrays for a replay, because it reads the present content of its inputs.
            own = (epochs, ids) if self._replay_cache.replayable else (epoch, image_ids)
            key = RandomKey(self.seed, *own)

            def work() -> tuple[Array, list[Any]]:
                logits, caches = self.model.forward(x, key=key)
                totals, dlogits = loss_and_gradient(logits, labels, share, self.smoothing)
                self.model.backward(dlogits, caches, gradients=gradient)
                return totals, caches

            totals, caches = self._replay_cache.run(
                work,
                ("forward and backward", share, count, self.seed, self.smoothing),
                (x, labels, ids, epochs, self._state),
                (gradient,),
            )
            if statistics.size:
                self.model.batch_statistics(caches, statistics)
            loss, correct, plain_loss = totals.tolist()
        return loss / batch_size, int(correct), plain_loss / batch_size


def split_batch(batch: IntArray) -> list[IntArray]:
    """Cut a batch into microbatches of nearly equal size, at most 32 images.

    Equal sizes balance the load of the threads. They also keep statistics of a microbatch, such as
    a mean, from resting on a few images. Batches of 17 images or more give at least two.

    Parameters
    ----------
    batch : ndarray of int (n,)

    Returns
    -------
    list of ndarray of int
    """
    images = len(batch)
    count = max(-(-images // MICROBATCH), min(2, -(-images // (MICROBATCH // 2))))
    return np.array_split(batch, count)
