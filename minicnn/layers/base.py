"""Base class of all layers: an op pair, its parameters and options.

A layer is three files: slow loops in `minicnn.reference`, an op pair in `minicnn.ops`, and a class
here. The class declares the op pair; defining it registers it for saving, loading and checks.

A layer stores no activations: `forward` returns a cache for `backward`. So several threads can use
one layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import MISSING, dataclass, field, fields
from inspect import getsourcefile, isabstract
from math import prod
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from minicnn.random import RandomKey
from minicnn.runtime import arena
from minicnn.shapes import Array, Shape
from minicnn.shapes.checks import check_bool

Arrays = dict[str, Array]
Initializer = Callable[[Generator, Shape, DTypeLike], Array]
OpPair = tuple[Callable[..., Any], Callable[..., Any]]

METHOD_NAMES = ("forward", "infer", "backward", "ops")  # a replay does not look them up again
METHODS = attrgetter(*METHOD_NAMES)

_registry: dict[tuple[str, str], type["Layer"]] = {}  # by module and qualified name


@dataclass(eq=False, repr=False)
class Layer:
    """A parameterized operation with a forward and a backward pass.

    A subclass is a dataclass whose fields are the layer's arguments. It declares `ops`, and as far
    as its op needs them `options`, `parameter_shapes`, `output_shape` and the other methods. Shapes
    are those of one image, without N. For example::

        @dataclass(eq=False, repr=False)
        class LeakyReLU(Layer):
            slope: float = 0.01
            ops = leaky_relu, leaky_relu_backward
            options = ("slope",)

    Attributes
    ----------
    parameters : dict of str to ndarray
        The trained arrays by name; empty before `build`.
    statistics : dict of str to ndarray
        Running statistics, which training updates without a gradient.
    ops : (callable, callable)
        ``forward(x, *parameters, *statistics, **options) -> (y, cache)`` and
        ``backward(dy, cache) -> dx``. With parameters it is
        ``backward(dy, cache, *, need_dx, out) -> (dx, *dparameters)``: `out` is a tuple of arrays
        to write the gradients to, or None, and dx may be None if `need_dx` is False.
    options : tuple of str
        The fields that the forward op takes as keyword arguments.
    uses_key : bool
        Whether the forward op takes the keyword ``key`` too: None at inference.
    initial_values : dict of str to float
        First value of parameters and statistics by name; 0 for the others.
    example : (tuple, tuple of int)
        Arguments and an input shape for checks that run over every defined layer.
    replayable : bool
        True promises two things of `forward`, `infer` and `backward`, so that their kernel calls
        can be captured and replayed. They touch arrays through kernels only. Which kernels they
        call depends on shapes and on the layer's attributes alone, not on a random number or the
        epoch. A step is captured again after an attribute was assigned.
        ``MINICNN_VERIFY_REPLAY=1`` checks every replay. Subclasses do not inherit it. One layer
        without it, such as one whose op uses NumPy, turns replay off for the whole network: write
        a kernel and set ``replayable = True``.
    """

    ops: ClassVar[OpPair | None] = None
    options: ClassVar[tuple[str, ...]] = ()
    uses_key: ClassVar[bool] = False
    initial_values: ClassVar[dict[str, float]] = {}
    example: ClassVar[tuple[tuple[Any, ...], Shape]] = ((), (4, 6, 2))
    replayable: ClassVar[bool] = False

    parameters: dict[str, Array] = field(default_factory=dict, init=False)
    statistics: dict[str, Array] = field(default_factory=dict, init=False)

    def __init_subclass__(cls) -> None:
        """Register the class; `replayable` holds only if the class declares it."""
        # Not inherited: an overridden method may use NumPy, which a replay leaves out.
        cls.replayable = cls.__dict__.get("replayable", False)
        # A class that is defined again, as by a notebook cell, replaces the former one.
        _registry[cls.__module__, cls.__qualname__] = cls

    def __repr__(self) -> str:
        """Return the call that makes this layer, without default arguments."""
        words = []
        for option in fields(self):
            value = getattr(self, option.name)
            if option.init and option.default is MISSING:
                words.append(repr(value))
            elif option.init and value != option.default:
                words.append(f"{option.name}={getattr(value, '__name__', repr(value))}")
        return f"{type(self).__name__}({', '.join(words)})"

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; raise AttributeError for a method."""
        if name in METHOD_NAMES:  # a fused step and a replay would not call it
            raise AttributeError(f"{self!r}.{name} cannot be replaced; override it in a subclass")
        super().__setattr__(name, value)

    # ------------------------------------------------------------ shapes and arrays

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the output shape for an input shape.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            If the layer does not accept the shape.
        """
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shape of each parameter, in the order of the op's arguments.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        dict of str to tuple of int

        Raises
        ------
        ValueError
            If the layer does not accept the shape.
        """
        return {}

    def statistics_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shape of each running statistic, by name.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        dict of str to tuple of int

        Raises
        ------
        ValueError
            If the layer does not accept the shape.
        """
        return {}

    def macs(self, input_shape: Shape) -> int:
        """Return the number of multiply-adds of the forward pass of one image.

        Parameters
        ----------
        input_shape : tuple of int

        Returns
        -------
        int
        """
        return 0

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        """Allocate and initialize parameters and statistics.

        Parameters
        ----------
        input_shape : tuple of int
        rng : numpy.random.Generator
            Source of random initial weights.
        dtype : dtype
            float32, or float64 for gradient checks.
        """
        shapes = self.parameter_shapes(input_shape), self.statistics_shapes(input_shape)
        first = self.initial_values
        parameters, statistics = (
            {name: np.full(shape, first.get(name, 0), dtype) for name, shape in own.items()}
            for own in shapes
        )
        self.bind(parameters, statistics)

    def bind(self, parameters: Arrays, statistics: Arrays) -> None:
        """Replace the layer's arrays, such as by views of a flat vector.

        Parameters
        ----------
        parameters, statistics : dict of str to ndarray
            Arrays by the names of the present ones.
        """
        self.parameters, self.statistics = parameters, statistics

    def arrays(self) -> list[Array]:
        """Return the parameters, then the statistics.

        Returns
        -------
        list of ndarray
        """
        return [*self.parameters.values(), *self.statistics.values()]

    # ------------------------------------------------------------ forward and backward

    def forward(self, x: Array, *, key: RandomKey | None = None) -> tuple[Array, Any]:
        """Compute the output.

        Parameters
        ----------
        x : ndarray (N, *input_shape)
        key : RandomKey, optional
            Present in training, and the source of randomness there; None at inference.

        Returns
        -------
        y : ndarray (N, *output_shape)
        cache : object
            For `backward`.
        """
        if self.ops is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no forward: declare ops = forward, backward"
            )
        if not self.parameters and (shapes := self.parameter_shapes(x.shape[1:])):
            raise RuntimeError(
                f"{type(self).__name__} has no {next(iter(shapes))} yet: put the layer into a "
                f"Sequential, or call layer.build(input_shape, rng) first"
            )
        y, cache = self.ops[0](x, *self._op_inputs(), **self._op_options(key))
        return y, cache

    def infer(self, x: Array) -> Array:
        """Compute the output at inference, without a cache.

        Parameters
        ----------
        x : ndarray (N, *input_shape)

        Returns
        -------
        ndarray (N, *output_shape)
        """
        return self.forward(x)[0]

    def backward(
        self, dy: Array, cache: Any, *, need_dx: bool = True, gradients: Arrays | None = None
    ) -> tuple[Array | None, Arrays]:
        """Compute the gradients of the input and of the parameters.

        Parameters
        ----------
        dy : ndarray (N, *output_shape)
        cache : object
            From `forward`.
        need_dx : bool
            False if dx is not used, as in the first layer; it may then be None.
        gradients : dict of str to ndarray, optional
            Arrays to write the parameters' gradients to; new arrays by default.

        Returns
        -------
        dx : ndarray (N, *input_shape), or None
        gradients : dict
            One array for each of `parameters`, under its name.
        """
        if self.ops is None:
            raise NotImplementedError(f"{type(self).__name__} has no backward")
        return self._call_backward(self.ops[1], dy, cache, need_dx, gradients)

    # The parts of forward and backward that a fused step shares.

    def _op_inputs(self) -> Sequence[Array]:
        """Return the arrays that the forward op takes after x."""
        return self.arrays()

    def _op_options(self, key: RandomKey | None) -> dict[str, Any]:
        """Return the keyword arguments of the forward op."""
        options = {name: getattr(self, name) for name in self.options}
        return options | {"key": key} if self.uses_key else options

    def _op_out(self, gradients: Arrays) -> tuple[Array, ...]:
        """Return the arrays that the backward op writes the gradients to."""
        return tuple(gradients[name] for name in self.parameters)

    def _call_backward(
        self,
        backward: Callable[..., Any],
        dy: Array,
        cache: Any,
        need_dx: bool,
        gradients: Arrays | None,
    ) -> tuple[Array | None, Arrays]:
        """Call a backward op and name the gradients that it returns."""
        if not self.parameters:
            return backward(dy, cache), {}
        out = None if gradients is None else self._op_out(gradients)
        dx, *found = backward(dy, cache, need_dx=need_dx, out=out)
        # Not strict: without a bias the op still returns dbias, which is dropped.
        return dx, dict(zip(self.parameters, found, strict=False))

    # ------------------------------------------------------------ running statistics

    def batch_statistics(self, cache: Any) -> dict[str, Array]:
        """Return the batch values to update the running statistics from.

        Parameters
        ----------
        cache : object
            From `forward` with a key.

        Returns
        -------
        dict of str to ndarray
            One for each of `statistics`, under its name.
        """
        return {}

    def statistics_momentum(self) -> dict[str, float]:
        """Return m of each update ``running += m · (batch - running)``.

        Returns
        -------
        dict of str to float
            One for each of `statistics`, under its name.
        """
        return {}


class WeightedLayer(Layer, ABC):
    """A layer with a weight and an optional bias, such as a convolution.

    Its op requires a bias: a layer without one passes zeros.
    """

    initializer: Initializer
    bias: bool

    def __post_init__(self) -> None:
        check_bool(type(self).__name__, "bias", self.bias)

    @abstractmethod
    def _weight_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the weight; its last axis is that of the bias."""

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        weight = self._weight_shape(input_shape)
        return {"weight": weight, "bias": weight[-1:]} if self.bias else {"weight": weight}

    def macs(self, input_shape: Shape) -> int:
        # Each output pixel takes a product with every weight.
        return prod(self.output_shape(input_shape)[:-1]) * prod(self._weight_shape(input_shape))

    def build(self, input_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> None:
        super().build(input_shape, rng, dtype)
        weight = self.parameters["weight"]
        weight[...] = self.initializer(rng, weight.shape, dtype)

    def _op_inputs(self) -> Sequence[Array]:
        weight = self.parameters["weight"]
        if self.bias:
            return weight, self.parameters["bias"]
        return weight, arena.constant_zeros(weight.shape[-1], weight.dtype)

    def _op_out(self, gradients: Arrays) -> tuple[Array, ...]:
        weight = gradients["weight"]
        unused = arena.empty(weight.shape[-1:], weight.dtype)
        return weight, gradients.get("bias", unused)


# ---------------------------------------------------------------- registry


def layer_classes() -> list[type[Layer]]:
    """Return every layer class that is defined, sorted by module and name.

    Returns
    -------
    list of type
        Your own classes too, once their module is imported.
    """
    return [cls for _, cls in sorted(_registry.items()) if _has_forward(cls)]


def _has_forward(cls: type[Layer]) -> bool:
    """Return whether a class is a layer rather than a base class of layers."""
    return not isabstract(cls) and (cls.ops is not None or cls.forward is not Layer.forward)


def make_example(cls: type[Layer]) -> tuple[Layer, Shape]:
    """Make the layer that `Layer.example` of a class describes.

    Parameters
    ----------
    cls : type

    Returns
    -------
    layer : Layer
    input_shape : tuple of int

    Raises
    ------
    TypeError
        If the class cannot be called with these arguments.
    """
    arguments, input_shape = deepcopy(cls.example)
    try:
        return cls(*arguments), input_shape
    except TypeError as error:
        raise TypeError(
            f"{cls.__name__} has no valid example ({error}): add a line such as "
            f"`example = (2,), (4, 6, 2)`, arguments and an input shape, to the class in "
            f"{getsourcefile(cls)}"
        ) from error
