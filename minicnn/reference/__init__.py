"""Every operation as slow, obvious loops: the textbook.

These functions are never optimized. They compute the formulas with sums in double precision, and
every faster version must give their values. The symbols are those of `minicnn.shapes`.
``name(x, ...)`` returns ``(y, cache)`` and ``name_backward(dy, cache)`` the gradients, as in
`minicnn.ops`; `dropout` takes the mask, `softmax_cross_entropy` probabilities as targets. The fused
ops have no loops of their own. DERIVATIONS.md, beside this file, derives the formulas.

Convolution is cross-correlation, as everywhere in the field: the kernel is not flipped.
"""

from minicnn.reference import activations, conv, dense, losses, merge, norm, pooling

__all__ = ["activations", "conv", "dense", "losses", "merge", "norm", "pooling"]
