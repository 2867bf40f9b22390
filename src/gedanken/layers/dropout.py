"""Dropout."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import real
from gedanken.layers.base import ByPlace, Context
from gedanken.random import DRAW_RANGE
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class Dropout(ByPlace):
    """In training, **keep** each value with probability `keep` and set the others to zero.

        y = x / keep where kept, else 0;   outside training y = x

    Mind the argument: `Dropout(0.75)` keeps three values of four. Most libraries ask for the fraction that is dropped.
    Kept values are divided by `keep` in training, so nothing is scaled at prediction. A value is kept where its
    16-bit draw is below keep * 65536, so `keep` is rounded to a multiple of 1 / 65536, upwards where it is less.

    Args:
        keep: probability that a value is kept, in (0, 1].

    Shapes:
        x, y: (N, ...).

    Source:
        Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting". Differs: scaled
        in training instead of at prediction.
    """

    keep: float

    def __post_init__(self) -> None:
        real("Dropout keep", self.keep, "(0, 1]")

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        if not ctx.train or self.threshold == DRAW_RANGE:
            return x, None
        kept = ctx.draws(x.shape) < self.threshold
        return self._thin(x, kept), kept

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return dy if cache is None else self._thin(dy, cache)

    @property
    def threshold(self) -> int:
        return max(round(self.keep * DRAW_RANGE), 1)

    def _thin(self, x: Array, kept: Array) -> Array:
        y = x * kept
        y *= DRAW_RANGE / self.threshold
        return y
