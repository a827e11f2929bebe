"""Images side by side."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minicnn import shapes


def as_pictures(where: str, images: NDArray[Any], name: str = "images") -> NDArray[Any]:
    """Return images as they can be drawn: float, 0 to 1, grey ones without their channel.

    Parameters
    ----------
    where : str
        Name of the function that asks, for the messages.
    images : ndarray (N, H, W) or (N, H, W, C)
        uint8 (0 to 255), or float (0 to 1).
    name : str
        Name of the argument.

    Returns
    -------
    ndarray of float (N, H, W) or (N, H, W, 3)

    Raises
    ------
    TypeError, ValueError
        If they are no images of one or three channels.
    """
    shapes.check_pixels(where, images)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            f"{where}: {name} must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), not {images.shape}"
        )
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype == np.uint8:
        return images / np.float32(255)
    shapes.check_pixel_range(where, images)
    return images.clip(0, 1)
