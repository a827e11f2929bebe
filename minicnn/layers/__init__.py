"""Layers: thin objects that hold parameters and call an op pair.

A layer keeps no activation: `forward` returns what `backward` needs as its cache. So several
pieces of a batch can be under way on one layer at once.
"""

from minicnn.layers.activations import ReLU
from minicnn.layers.base import Layer
from minicnn.layers.branches import Concat, Residual
from minicnn.layers.chain import Chain
from minicnn.layers.containers import Container, every_layer
from minicnn.layers.convolution import Conv2D
from minicnn.layers.dense import Dense, Flatten
from minicnn.layers.depthwise import DepthwiseConv2D
from minicnn.layers.dropout import Dropout
from minicnn.layers.fused import (
    FusedConvPool,
    FusedConvReLU,
    FusedDenseReLU,
    FusedNormReLU,
    Step,
    fuse,
)
from minicnn.layers.normalisation import BatchNorm
from minicnn.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D

__all__ = [
    "AvgPool2D",
    "BatchNorm",
    "Chain",
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
    "GlobalAvgPool2D",
    "Layer",
    "MaxPool2D",
    "ReLU",
    "Residual",
    "Step",
    "every_layer",
    "fuse",
]
