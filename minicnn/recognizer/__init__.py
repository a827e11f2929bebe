"""Find, segment and normalize handwritten digits in people's own images.

In reading order: `load_image` (file or array to gray levels), `segmentation` (ink and paper),
`grouping` (which ink forms one digit), `detect` (the whole pipeline), `mnist_format` (one digit as
a 28×28 image), `synthetic` (digits drawn from strokes, for training).

SciPy does the morphology. Only this package imports it, so ``import minicnn`` stays fast.
"""
