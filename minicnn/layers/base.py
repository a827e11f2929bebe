"""What every layer can do."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn.random import RandomKey
from minicnn.shapes import FloatArray, Shape

Gradients = dict[str, FloatArray]
Initializer = Callable[[Generator, Shape, DTypeLike], FloatArray]


@dataclass(eq=False, repr=False)
class Layer:
    """What every layer can do. Shapes here are of one image: without the leading N.

    Attributes
    ----------
    parameters : dict of str to ndarray
        The arrays that training learns, by name; empty before `build`.
    statistics : dict of str to ndarray
        The arrays that training follows but does not learn, such as a running mean; most layers
        have none.
    replayable : bool
        Class attribute: True promises that `forward`, `infer` and `backward` touch arrays through
        kernels only, so that their kernel calls can be captured and replayed. Subclasses do not
        inherit it.
    """

    replayable: ClassVar[bool] = False

    parameters: dict[str, FloatArray] = field(default_factory=dict, init=False)
    statistics: dict[str, FloatArray] = field(default_factory=dict, init=False)

    def __init_subclass__(cls) -> None:
        """Reset `replayable` unless the class itself declares it."""
        # Not inherited: an overridden method may use NumPy, which a replay leaves out.
        cls.replayable = cls.__dict__.get("replayable", False)

    def __repr__(self) -> str:
        """Return the call that makes this layer, without what is left at its default."""
        words = []
        for option in fields(self):
            value = getattr(self, option.name)
            if option.init and option.default is MISSING:
                words.append(repr(value))
            elif option.init and value != option.default:
                words.append(f"{option.name}={getattr(value, '__name__', repr(value))}")
        return f"{type(self).__name__}({', '.join(words)})"

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes that the parameters have for inputs of a given shape.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        dict of str to tuple of int
            One for each of `parameters`, under its name.

        Raises
        ------
        ValueError
            If the layer cannot take such an input.
        """
        return {}

    def statistics_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes that the statistics have for inputs of a given shape.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        dict of str to tuple of int
            One for each of `statistics`, under its name, which is not one of `parameters`.

        Raises
        ------
        ValueError
            If the layer cannot take such an input.
        """
        return {}

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        """Make parameters and statistics for inputs of a given shape, if the layer has any.

        Parameters
        ----------
        input_shape : tuple of int
        rng : numpy.random.Generator
            Draws the first weights.
        dtype : dtype
            float32, or float64 for gradient checks.
        """

    def bind(self, parameters: Gradients, statistics: Gradients) -> None:
        """Take other arrays for the layer's own: views of the vectors in which a model has all.

        Parameters
        ----------
        parameters, statistics : dict of str to ndarray
            By the names that the layer's own have.
        """
        self.parameters, self.statistics = parameters, statistics

    def arrays(self) -> list[FloatArray]:
        """Return the layer's own arrays.

        Returns
        -------
        list of ndarray
            Its parameters, then its statistics.
        """
        return [*self.parameters.values(), *self.statistics.values()]

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape that comes out for a shape that goes in.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            If the layer cannot take such an input.
        """
        return input_shape

    def macs(self, input_shape: Shape) -> int:
        """Return how many multiply-adds one image costs in forward.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        int
        """
        return 0

    def forward(
        self, x: FloatArray, *, training: bool = False, draws: RandomKey | None = None
    ) -> tuple[FloatArray, Any]:
        """Compute the output.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        training : bool
            Whether this is a training step; most layers do the same either way.
        draws : Draws, optional
            Where a layer that is random in training takes its randomness from.

        Returns
        -------
        y : ndarray (N, *output_shape)
        cache : object
            For `backward`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def infer(self, x: FloatArray) -> FloatArray:
        """Compute the output in use, where no way back is wanted.

        Parameters
        ----------
        x : ndarray (N, *input_shape)

        Returns
        -------
        ndarray (N, *output_shape)
        """
        return self.forward(x)[0]

    def backward(
        self,
        dy: FloatArray,
        cache: Any,
        *,
        need_dx: bool = True,
        gradients: Gradients | None = None,
    ) -> tuple[FloatArray | None, Gradients]:
        """Compute the gradients.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        cache : object
            From `forward`.
        need_dx : bool
            False where nobody will use dx, as in the first layer; it may then be None.
        gradients : dict of str to ndarray, optional
            Where to write the gradients of the parameters; new arrays where left out.

        Returns
        -------
        dx : ndarray (N, *input_shape), or None
        gradients : dict
            One array for each of `parameters`, under its name.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def batch_statistics(self, cache: Any) -> dict[str, FloatArray]:
        """Return what one forward in training saw of that which the statistics follow.

        Parameters
        ----------
        cache : object
            From `forward`, with ``training=True``.

        Returns
        -------
        dict of str to ndarray
            One for each of `statistics`, under its name.
        """
        return {}

    def statistics_momentum(self) -> dict[str, float]:
        """Return how far one shard of a batch moves the statistics to what it observed.

        Returns
        -------
        dict of str to float
            One for each of `statistics`, under its name: with m it is
            ``running += m · (observed - running)``.
        """
        return {}

    def _parameter(self, name: str) -> FloatArray:
        if name not in self.parameters:
            raise RuntimeError(
                f"{type(self).__name__} has no {name} yet: put the layer into a Sequential, or "
                f"call layer.build(input_shape, rng) first"
            )
        return self.parameters[name]
