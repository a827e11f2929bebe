"""A mini-batch cut into fixed shards, on worker threads.

A batch is cut into shards of up to 32 consecutive images, whatever the number of threads (see
`microbatches`). A worker takes a shard through the whole network, forward and backward, while it is
in its cache; the shards' gradients are then added in their order. So the result is the same, bit
for bit, for any number of threads, and no thread waits for another between layers.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from minicnn.kernels import optimizers
from minicnn.kernels.capture import ReplayCache
from minicnn.losses import loss_and_gradient
from minicnn.model.sequential import Sequential
from minicnn.random import RandomKey
from minicnn.runtime import arena
from minicnn.runtime.thread_pool import ThreadPool
from minicnn.shapes import FloatArray, IntArray

MICROBATCH = 32
# So many shards' gradients are kept until they are added up: memory does not grow with the batch.
MAX_PENDING_GRADIENTS = 16


class Augmentation(Protocol):
    """What `fit` asks of an object that varies images, such as `minicnn.Augment`."""

    def __call__(
        self, images: NDArray[Any], numbers: IntArray, *, seed: int, epoch: int
    ) -> FloatArray:
        """Return the images as they look in an epoch.

        Parameters
        ----------
        images : ndarray (n, H, W, C); without C where the model has one channel
        numbers : ndarray of int (n,)
            Of the images in the data set: whatever is random depends on them, not on the order.
        seed, epoch : int

        Returns
        -------
        ndarray of float, shaped as `images`
            0 to 1. It may lie in the workspace.
        """


class StepResult(NamedTuple):
    """What a mini-batch gave.

    `loss` is the mean over the batch, `correct` how many images got the right class, `gradient`
    (P,) that of the mean loss with respect to all parameters, and a row of `batch_statistics`
    (shards, S) what a shard saw of that which the statistics follow. The arrays are overwritten by
    the next batch.
    """

    loss: float
    correct: int
    gradient: FloatArray
    batch_statistics: FloatArray


class DataParallelGradient:
    """Computes the gradient of a mini-batch on worker threads.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        All images; a call takes some of them by number.
    labels : ndarray of int (N,)
    workers : Workers
    augment : callable, optional
        As in `minicnn.fit`; images are taken as they are where left out.
    seed : int
        For `augment`, and for layers that are random in training.
    label_smoothing : float
        As in `minicnn.softmax_cross_entropy`.
    """

    def __init__(
        self,
        model: Sequential,
        images: NDArray[Any],
        labels: IntArray,
        workers: ThreadPool,
        augment: Augmentation | None = None,
        seed: int = 0,
        label_smoothing: float = 0.0,
    ) -> None:
        self.model, self.images, self.workers = model, images, workers
        self.labels = labels.astype(np.int64, copy=False)  # one kernel for all integer types
        self.augment, self.seed, self.label_smoothing = augment, seed, label_smoothing
        self._gradients = np.empty((0, model.parameters.size), model.dtype)  # (shards, P)
        self._rows: list[FloatArray] = []  # of the gradients
        self._repeats = ReplayCache()
        self._total = np.empty_like(model.parameters)
        self._observed = np.empty((0, model.statistics.size), model.dtype)  # (shards, S)

    def __call__(self, batch: IntArray, epoch: int = 0) -> StepResult:
        """Run a batch forward and backward.

        Parameters
        ----------
        batch : ndarray of int (n,)
            Numbers of the images.
        epoch : int
            Decides, with the seed, how images are augmented, and what random layers do.

        Returns
        -------
        BatchResult
        """
        shards = microbatches(batch)
        if len(self._gradients) < min(len(shards), MAX_PENDING_GRADIENTS):
            rows = min(len(shards), MAX_PENDING_GRADIENTS)
            self._gradients = np.empty((rows, self.model.parameters.size), self.model.dtype)
            self._rows = list(self._gradients)
        if len(self._observed) < len(shards):
            self._observed = np.empty((len(shards), self.model.statistics.size), self.model.dtype)
        loss, correct = 0.0, 0
        for first in range(0, len(shards), MAX_PENDING_GRADIENTS):
            group = shards[first : first + MAX_PENDING_GRADIENTS]
            shares = [len(shard) / len(batch) for shard in group]  # of the mean over the batch
            batch_statistics = self._observed[first : first + MAX_PENDING_GRADIENTS]
            pieces = list(
                zip(range(MAX_PENDING_GRADIENTS), group, shares, batch_statistics, strict=False)
            )
            results = self.workers.map(lambda piece: self._shard(epoch, *piece), pieces)
            # in their order, whoever was first
            optimizers.reduce_gradients(self._gradients, len(group), first == 0, self._total)
            loss += sum(loss for loss, _ in results)
            correct += sum(correct for _, correct in results)
        return StepResult(loss, correct, self._total, self._observed[: len(shards)])

    def augmented_images(self, numbers: IntArray, epoch: int) -> NDArray[Any]:
        """Return images as the model meets them in an epoch, before `Sequential.preprocess`.

        Parameters
        ----------
        numbers : ndarray of int (n,)
        epoch : int

        Returns
        -------
        ndarray (n, H, W, C), or without C
            Augmented ones may lie in the workspace.
        """
        images = self.images[numbers]
        if self.augment is None:
            return images
        return self.augment(images, numbers, seed=self.seed, epoch=epoch)

    def shards(
        self, batch: IntArray, epoch: int
    ) -> Iterator[tuple[NDArray[Any], IntArray, RandomKey]]:
        """Yield the shards of a batch as the model meets them in an epoch.

        Parameters
        ----------
        batch : ndarray of int (n,)
            Numbers of the images.
        epoch : int

        Yields
        ------
        images : ndarray (s, H, W, C), or without C
            As `augmented_images` returns them.
        labels : ndarray of int (s,)
        draws : Draws
        """
        for shard in microbatches(batch):
            draws = RandomKey(self.seed, epoch, shard)
            yield self.augmented_images(shard, epoch), self.labels[shard], draws

    def _shard(
        self, epoch: int, row: int, shard: IntArray, share: float, batch_statistics: FloatArray
    ) -> tuple[float, int]:
        """Run one shard forward and backward; a row of gradients takes its part of the batch's."""
        out = self._rows[row]
        # errstate: the caller looks for ∞ and NaN itself
        with arena.scope(), np.errstate(over="ignore", invalid="ignore"):
            x = self.model.preprocess(self.augmented_images(shard, epoch))
            labels = arena.empty(shard.shape, np.int64)
            labels[...] = self.labels[shard]

            def work() -> tuple[FloatArray, list[Any]]:
                draws = RandomKey(self.seed, epoch, shard)
                logits, caches = self.model.forward(x, training=True, draws=draws)
                totals, dlogits = loss_and_gradient(logits, labels, share, self.label_smoothing)
                self.model.backward(dlogits, caches, gradients=out)
                return totals, caches

            totals, caches = self._repeats.run(work, (share, len(x)), (x, labels), (out,))
            if batch_statistics.size:
                self.model.batch_statistics(caches, batch_statistics)
            loss, correct = totals.tolist()
        return loss / len(shard) * share, int(correct)


def microbatches(batch: IntArray) -> list[IntArray]:
    """Cut a batch into shards of at most 32 images, as equal as can be.

    Equal, because what a layer makes of a whole shard, such as a mean, says little of a few images;
    and no thread is to wait for another. From 17 images on there are two.

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
