"""Shape arithmetic and argument checks: the only room that raises about a shape.

The letters used everywhere in the library, one per axis or size:

======  ================================================================
``N``   images in the batch
``H``   height of the input, in pixels
``W``   width of the input, in pixels
``C``   channels of the input
``KH``  height of the kernel or pooling window
``KW``  width of the kernel or pooling window
``S``   stride (``SH`` downwards, ``SW`` to the right)
``P``   padding (``top``, ``bottom``, ``left``, ``right``)
``OH``  height of the output
``OW``  width of the output
``F``   filters, that is channels of the output
======  ================================================================

Images are ``(N, H, W, C)``, convolution weights ``(KH, KW, C, F)``, dense weights ``(in, out)``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

Shape = tuple[int, ...]
IntPair = int | tuple[int, int]
Padding = int | tuple[int, int] | str
