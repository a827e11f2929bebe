"""Layers that need not be there in use; only the library's own, as in `minicnn.layers.fused`."""

from collections.abc import Sequence

from minicnn.layers.affine import Affine
from minicnn.layers.base import Layer
from minicnn.layers.convolution import Conv2D
from minicnn.layers.dense import Dense
from minicnn.layers.depthwise import DepthwiseConv2D
from minicnn.layers.dropout import Dropout
from minicnn.layers.normalisation import BatchNorm


def fold(layers: Sequence[Layer]) -> list[Layer]:
    """Fold every batch normalisation into the layer right before it, and leave out every dropout.

    A convolution or a dense layer can take a normalisation in: in use mean and variance are given,
    so that what it does is one more sum of products. What follows can then be computed together
    with the layer, as if there had been no normalisation.

    Parameters
    ----------
    layers : sequence of Layer
        With the parameters that they are to keep.

    Returns
    -------
    list of Layer
        On the same arrays; for use only, not for training.
    """
    found: list[Layer] = []
    for layer in layers:
        before = found[-1] if found else None
        if (
            type(layer) is BatchNorm
            and isinstance(before, Affine)
            and type(before) in (Conv2D, Dense, DepthwiseConv2D)
            and before.norm is None
        ):
            found[-1] = before.with_norm(layer)
        elif type(layer) is not Dropout:
            found.append(layer)
    return found
