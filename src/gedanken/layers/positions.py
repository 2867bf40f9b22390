"""Where in its sequence a place stands, for layers that would not see it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import real
from gedanken.init import HeNormal, Initializer, check_initializers
from gedanken.layers.base import ByPlace, Context, Param
from gedanken.layers.conv1d import require_sequence
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class LearnedPositions(ByPlace):
    """Add a trained vector to each place of a sequence.

        y[n, t] = x[n, t] + table[t]

    Args:
        init: first values of the vectors; variances are those of fan_in = F.

    Shapes:
        x, y: (N, T, F).   table: (T, F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        Gehring et al. 2017, arXiv:1705.03122, section 3.1.
    """

    init: Initializer = HeNormal()

    def __post_init__(self) -> None:
        check_initializers("LearnedPositions", init=self.init)

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        return shape

    def params(self, shape: Shape) -> dict[str, Param]:
        return {"table": Param(shape, self.init, shape[1], shape[1])}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return x + p["table"][: x.shape[1]], None

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        g["table"][: dy.shape[1]] = ctx.ops.sum(ctx.ops.real_places(dy, ctx.lengths), axis=0)
        g["table"][dy.shape[1] :] = 0
        return dy


@dataclass(frozen=True, eq=False, repr=False)
class SinePositions(ByPlace):
    """Add waves of different length to the features of a sequence, from which its places can be told.

        y[n, t, 2 i] = x[n, t, 2 i] + sin(t / longest ** (2 i / F)),   y[n, t, 2 i + 1] = ... + cos(the same)

    Args:
        longest: the longest wave is 2 pi times so many places, > 1.

    Shapes:
        x, y: (N, T, F).

    Raises:
        ShapeError: the input is no sequence (at compile time).

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """

    longest: float = 10_000.0

    def __post_init__(self) -> None:
        real("SinePositions longest", self.longest, "(1, inf)")

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        return shape

    def waves(self, shape: Shape) -> Array:
        """Return what is added, (T, F) of float64."""
        places, features = shape
        even = np.arange(0, features, 2)
        angles = np.arange(places)[:, None] / self.longest ** (even / features)
        both = np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(places, -1)
        return both[:, :features]

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return x + ctx.ops.asarray(self.waves(x.shape[1:])), None

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return dy
