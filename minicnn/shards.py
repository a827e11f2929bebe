"""A mini-batch cut into fixed shards, on worker threads.

A batch is cut into shards of 32 consecutive images, whatever the number of threads. A worker takes
a shard through the whole network, forward and backward, while it is in its cache; the shards'
gradients are then added in their order. So the result is the same, bit for bit, for any number of
threads, and no thread waits for another between layers.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from minicnn.model import Sequential
from minicnn.shapes import FloatArray, IntArray

SHARD = 32


class BatchGradient:
    """Computes the gradient of a mini-batch on worker threads.

    Parameters
    ----------
    model : Sequential
    images : ndarray (N, H, W, C); without C where the model has one channel
        All images; a call takes some of them by number.
    labels : ndarray of int (N,)
    pool : ThreadPoolExecutor
        The worker threads.
    """

    def __init__(
        self,
        model: Sequential,
        images: NDArray[Any],
        labels: IntArray,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.model, self.images, self.labels, self.pool = model, images, labels, pool
        self._gradients = np.empty((0, model.parameters.size), model.dtype)  # (shards, P)

    def __call__(self, batch: IntArray) -> tuple[float, int, FloatArray]:
        """Run a batch forward and backward.

        Parameters
        ----------
        batch : ndarray of int (n,)
            Numbers of the images.

        Returns
        -------
        loss : float
            Mean over the batch.
        correct : int
            How many images got the right class.
        gradient : ndarray (P,)
            Of the mean loss, with respect to all parameters; overwritten by the next call.
        """
        starts = range(0, len(batch), SHARD)
        if len(self._gradients) < len(starts):
            self._gradients = np.empty((len(starts), self.model.parameters.size), self.model.dtype)
        shards = [batch[start : start + SHARD] for start in starts]
        shares = [len(shard) / len(batch) for shard in shards]  # of the mean over the batch
        results = list(self.pool.map(self._shard, shards, shares, self._gradients))
        total = self._gradients[0]
        for gradients in self._gradients[1 : len(shards)]:  # in their order, whoever was first
            total += gradients
        return sum(loss for loss, _ in results), sum(correct for _, correct in results), total

    def _shard(self, shard: IntArray, share: float, out: FloatArray) -> tuple[float, int]:
        """Run one shard forward and backward; `out` takes its part of the batch's gradient."""
        labels = self.labels[shard]
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for ∞ and NaN itself
            logits, caches = self.model.forward(
                self.model.prepare(self.images[shard]), training=True
            )
            loss, cache = softmax_cross_entropy(logits, labels)
            dlogits = softmax_cross_entropy_backward(share, cache)
            self.model.backward(dlogits, caches, gradients=out)
        return float(loss) * share, count_correct(logits, labels)


def count_correct(logits: FloatArray, labels: IntArray) -> int:
    """Return how many rows have their largest logit at their label.

    Parameters
    ----------
    logits : ndarray (N, classes)
    labels : ndarray of int (N,)

    Returns
    -------
    int
    """
    return int((logits.argmax(axis=1) == labels).sum())
