"""Layers that draw random numbers in training and pass everything on else: dropouts and noise."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from gedanken.checks import real
from gedanken.errors import ShapeError
from gedanken.layers.base import ByPlace, Context
from gedanken.random import DRAW_RANGE
from gedanken.types import Array, Arrays, Shape

LOWEST = -1.7580993408473766  # what SELU gives at most for large negative numbers: -1.0507 * 1.6733


class Noise(ByPlace):
    """What changes its numbers at random in training, and passes them on elsewhere."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        return self.disturbed(ctx, x) if ctx.train else (x, None)

    @abstractmethod
    def disturbed(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        """Return y and the cache of a training pass; None for one that is as at prediction."""


@dataclass(frozen=True, eq=False, repr=False)
class Dropout(Noise):
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
        real(f"{type(self).__name__} keep", self.keep, "(0, 1]")

    def disturbed(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        if self.threshold == DRAW_RANGE:
            return x, None
        kept = self._kept(ctx, x)
        return self._thin(x, kept), kept

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return dy if cache is None else self._thin(dy, cache)

    @property
    def threshold(self) -> int:
        return max(round(self.keep * DRAW_RANGE), 1)

    def _kept(self, ctx: Context, x: Array) -> Array:
        return ctx.for_each(ctx.draws, x.shape) < self.threshold

    def _thin(self, x: Array, kept: Array) -> Array:
        y = x * kept
        y *= DRAW_RANGE / self.threshold
        return y


class SpatialDropout(Dropout):
    """In training, **keep** each channel of a sample, all its pixels or times, with probability `keep`.

        y = x / keep where the channel is kept, else 0;   outside training y = x

    Neighbours in a picture or a sequence are alike, so what is dropped by itself is still told by them.

    Args:
        keep: probability that a channel is kept, in (0, 1]; rounded as that of Dropout.

    Shapes:
        x, y: (N, T, F) or (N, H, W, C).

    Raises:
        ShapeError: the input is neither a sequence nor an image (at compile time).

    Source:
        Tompson et al. 2014, arXiv:1411.4280, section 3.2.
    """

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ShapeError("needs a sequence (T, F) or an image (C, H, W)", "use Dropout for features")
        return shape

    def _kept(self, ctx: Context, x: Array) -> Array:
        kept = ctx.draws((len(x), x.shape[-1])) < self.threshold
        return kept.reshape(len(x), *(1,) * (x.ndim - 2), -1)


class AlphaDropout(Dropout):
    """In training, **keep** each value with probability `keep`, and let mean and variance be as before.

        y = a * (x where kept, else low) + b;   outside training y = x
        low = -1.7581,   a = (keep + low**2 * keep * (1 - keep)) ** (-1 / 2),   b = -a * (1 - keep) * low

    It stands behind SELU, whose lowest result is `low`.

    Args:
        keep: probability that a value is kept, in (0, 1]; rounded as that of Dropout.

    Shapes:
        x, y: (N, ...).

    Source:
        Klambauer et al. 2017, arXiv:1706.02515, section "New dropout technique".
    """

    @property
    def line(self) -> tuple[float, float]:
        """Factor a and shift b."""
        keep = self.threshold / DRAW_RANGE
        factor = 1 / math.sqrt(keep + LOWEST**2 * keep * (1 - keep))
        return factor, -factor * (1 - keep) * LOWEST

    def disturbed(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        if self.threshold == DRAW_RANGE:
            return x, None
        kept, (factor, shift) = self._kept(ctx, x), self.line
        return factor * ctx.ops.xp.where(kept, x, x.dtype.type(LOWEST)) + shift, kept

    def _thin(self, x: Array, kept: Array) -> Array:
        return x * kept * self.line[0]


@dataclass(frozen=True, eq=False, repr=False)
class GaussianNoise(Noise):
    """In training, add a random number of a normal distribution to each value.

        y = x + std * z,   z ~ N(0, 1);   outside training y = x;   dx = dy

    z is made of two draws of 24 bits, by Box and Muller's formula, so |z| is at most 5.8.

    Args:
        std: the standard deviation of what is added, >= 0.

    Shapes:
        x, y: (N, ...).

    Source:
        Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".
    """

    std: float

    def __post_init__(self) -> None:
        real("GaussianNoise std", self.std, "[0, inf)")

    def disturbed(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        return x + self.std * ctx.for_each(ctx.normals, x.shape), None

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return dy
