"""Layers: thin objects that hold parameters and call an op pair.

A layer keeps no activation: `forward` returns what `backward` needs as its cache. So several
pieces of a batch can be under way on one layer at once.
"""

from minicnn.layers.activations import Dropout, ReLU
from minicnn.layers.base import Layer
from minicnn.layers.container import Container, iter_layers
from minicnn.layers.conv import Conv2D, DepthwiseConv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.fusion import (
    FusedConvPool,
    FusedConvReLU,
    FusedDenseReLU,
    FusedNormReLU,
    FusedSequence,
    Step,
    fuse,
)
from minicnn.layers.merge import Concat, Residual
from minicnn.layers.norm import BatchNorm
from minicnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D

__all__ = [
    "AvgPool2D",
    "BatchNorm",
    "Concat",
    "Container",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "FusedConvPool",
    "FusedConvReLU",
    "FusedDenseReLU",
    "FusedNormReLU",
    "FusedSequence",
    "GlobalAvgPool2D",
    "Layer",
    "MaxPool2D",
    "ReLU",
    "Residual",
    "Step",
    "fuse",
    "iter_layers",
]
