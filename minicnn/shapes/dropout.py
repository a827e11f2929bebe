"""What dropout demands."""

from minicnn.shapes.checks import FloatArray, check_float


def check_rate(where: str, rate: object) -> float:
    """Return how likely a number is dropped, as a float.

    Parameters
    ----------
    where : str
        Name of the function or class that asks, for the message.
    rate : object
        What was given.

    Returns
    -------
    float

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not in 0 .. 0.9999: nearer to 1 nothing would be left.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float)):
        raise TypeError(f"{where}: rate must be a number, not {rate!r}")
    if not 0 <= rate <= 0.9999:
        raise ValueError(f"{where}: rate must lie in 0 .. 0.9999, not {rate!r}")
    return float(rate)


def check_dropout(x: FloatArray, rate: object, images: int) -> float:
    """Check the arguments of `dropout`.

    Parameters
    ----------
    x : ndarray (N, ...)
    rate : object
    images : int
        For how many there are draws.

    Returns
    -------
    float
        The rate.

    Raises
    ------
    TypeError, ValueError
        If they do not fit.
    """
    check_float("dropout", "x", x)
    if x.shape[:1] != (images,) or x.size == 0:
        raise ValueError(f"dropout: the draws are for {images} images, but x has shape {x.shape}")
    return check_rate("dropout", rate)
