"""A layer of which the user writes the forward pass alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from gedanken.checks import require, required_arguments, truth
from gedanken.derivatives import traced
from gedanken.errors import ArgumentError, ShapeError
from gedanken.init import DEFAULT, Zeros
from gedanken.layers.base import NO_LENGTHS, Context, Layer, Param
from gedanken.layers.border import guarded, sealed
from gedanken.layers.declared import declared_params
from gedanken.types import Array, Arrays, Shape

Named = tuple[tuple[str, Param], ...]
MASKS = 4  # choices of places that are changed


@dataclass(frozen=True, init=False, eq=False, repr=False)
class FunctionLayer(Layer):
    """A layer given by a function of your own; autograd finds the derivatives.

        y = function(xp, x, p)

    `xp` is NumPy, CuPy, or autograd's form of NumPy, so what the function computes it computes with functions of `xp`
    and with operators. It builds arrays and does not write into them. On a GPU the derivatives are found on the host,
    with copies of the arrays, in training alone.

    Args:
        function: (xp, x, p) -> y, or (xp, x) -> y without parameters. Each sample by itself, without random numbers.
        params: the trained arrays by name: each a Param, or a shape. Of a shape with two axes or more the first values
            are random as those of a FullyConnectedLayer's kernel, else 0.
        by_place: whether it treats each place of a sequence by itself, so that sequences may have lengths.

    Shapes:
        x: (N, F), (N, T, F) or (N, H, W, C): channels last.   y: (N, ...), whatever the function gives, channels last.
        p: the parameters by name.

    Raises:
        ShapeError: the function cannot take such inputs, mixes samples, or gives no array of samples (at compile time).
        GradientError: what autograd finds is not the derivative, or it finds none (at compile time).
        MissingPackageError: autograd is not installed (at compile time; prediction does without).

    Source:
        Maclaurin, Duvenaud & Adams 2015, "Autograd: Effortless gradients in Numpy" (the derivatives).
    """

    of_functions: ClassVar[bool] = True

    function: Callable[..., Any]
    _params: Named
    by_place: bool

    def __init__(
        self,
        function: Callable[..., Any],
        params: Mapping[str, Param | Sequence[int]] | Named | None = None,
        by_place: bool = False,
    ) -> None:
        require(callable(function), "FunctionLayer function", "be callable", function)
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "_params", _named(params))
        object.__setattr__(self, "by_place", truth("FunctionLayer by_place", by_place))
        wanted, rule = ((3,), "take (xp, x, p)") if self._params else ((2, 3), "take (xp, x) or (xp, x, p)")
        require(required_arguments(function) in wanted, "FunctionLayer function", rule, function)

    def __repr__(self) -> str:
        return f"FunctionLayer({getattr(self.function, '__name__', type(self.function).__name__)})"

    def output_shape(self, shape: Shape) -> Shape:
        if shape not in self._shapes:
            self._shapes[shape] = self._found_shape(shape)
        return self._shapes[shape]

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        if self.by_place:
            return lengths
        raise ShapeError(NO_LENGTHS, "say by_place=True if its function treats each place by itself")

    def params(self, shape: Shape) -> dict[str, Param]:
        return dict(self._params)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        if ctx.train:
            y, back = self._traced(ctx, p, x)
            return y, back
        return self._call(ctx.ops.xp, x, *p.values()), x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        # Behind a layer that learns a frozen one is asked too, whose pass was one of prediction.
        back = cache if callable(cache) else self._traced(ctx, p, cache)[1]
        dx, *found = back(dy)
        for name, gradient in zip(p, found, strict=True):
            g[name][...] = gradient
        return dx

    def _traced(self, ctx: Context, p: Arrays, x: Array) -> tuple[Array, Callable[[Array], list[Array]]]:
        return traced(f"layer {ctx.path} {self}", ctx.ops, self._call, [x, *p.values()])

    def _call(self, xp: Any, x: Any, *values: Any) -> Any:
        if not self._takes_p:
            return self.function(xp, x)
        return self.function(xp, x, dict(zip(dict(self._params), values, strict=True)))

    @cached_property
    def _takes_p(self) -> bool:
        return required_arguments(self.function) == 3

    @cached_property
    def _shapes(self) -> dict[Shape, Shape]:
        """The output shapes that are known, by those of the input."""
        return {}

    def _found_shape(self, shape: Shape) -> Shape:
        """Run the function on numbers in (0, 1), which logarithms and roots take too, and near the first parameters."""
        rng = np.random.default_rng(0)
        x = rng.random((2, *shape))
        declared = declared_params(str(self), self, shape).values()
        first = [
            one.init(rng, one.shape, one.fan_in or 1, one.fan_out or 1) + 0.1 * rng.random(one.shape)
            for one in declared
        ]
        values = [sealed(np.asarray(one)) for one in first]

        def run(some: Array) -> Any:
            return guarded("the function", "x and p", self._call, np, sealed(some), *values)

        try:
            with np.errstate(all="ignore"):
                y, again, alone = run(x), run(x), run(x[:1])
        except ArgumentError as error:
            raise ShapeError(f"is refused: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise ShapeError(f"has a function that raised {type(error).__name__}: {told[:200]}") from error
        if not (isinstance(y, np.ndarray) and y.ndim > 1 and len(y) == 2 and y.dtype.kind in "biuf"):
            got = f"{y.shape} of {y.dtype}" if isinstance(y, np.ndarray) else f"a {type(y).__name__}"
            hint = "with axis=1, keepdims=True a sum of features is (N, 1)"
            raise ShapeError(f"must give an array (N, ...) of real numbers, for N = 2 it gives {got}", hint)
        if not np.array_equal(y, again, equal_nan=True):
            raise ShapeError("must give the same for the same input", "Dropout is a layer for random numbers")
        if np.shape(alone) != (1, *y.shape[1:]) or not np.allclose(y[:1], alone, 1e-6, 1e-9, equal_nan=True):
            raise ShapeError("must treat each sample by itself, but gives another result for one among others")
        if self.by_place:
            _check_places(run, x, y)
        return y.shape[1:]


def _check_places(run: Callable[[Array], Any], x: Array, y: Array) -> None:
    """Raise ShapeError where other numbers at some places change what comes out at others."""
    if x.ndim != 3 or y.shape[:2] != x.shape[:2]:
        raise ShapeError(f"must give as many places as it gets with by_place=True, it gives {y.shape[1:]}")
    rng = np.random.default_rng(1)
    for _ in range(MASKS):
        other = rng.random(x.shape[1]) < 0.5
        changed = run(np.where(other[:, None], rng.random(x.shape), x))
        if not np.allclose(changed[:, ~other], y[:, ~other], 1e-6, 1e-9, equal_nan=True):
            raise ShapeError("must treat each place by itself with by_place=True")


def _named(params: Any) -> Named:
    """Return parameters by name; a shape becomes a Param."""
    where = "FunctionLayer params"
    given = params if isinstance(params, Mapping) else {} if params is None else None
    if given is None:  # as a file has them
        pairs = isinstance(params, tuple) and all(isinstance(one, tuple) and len(one) == 2 for one in params)
        require(pairs, where, "be a dict of a Param or a shape by name", params)
        given = dict(params)
    found = []
    for name, value in given.items():
        require(isinstance(name, str) and name.isidentifier(), where, "have names such as 'scale'", name)
        param = value if isinstance(value, Param) else _of_shape(f"{where}[{name!r}]", value)
        require(not (param.rows or param.simplex), f"{where}[{name!r}]", "have no rows and no simplex", param)
        found.append((name, param))
    return tuple(found)


def _of_shape(where: str, shape: Any) -> Param:
    right = isinstance(shape, (tuple, list)) and all(type(size) is int and size >= 1 for size in shape)
    require(right, where, "be a Param, or a shape such as (3,)", shape)
    return Param(tuple(shape), DEFAULT if len(shape) > 1 else Zeros())
