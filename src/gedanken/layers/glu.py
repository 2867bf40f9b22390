"""The gated linear unit: one half of the channels says how much of the other half goes on."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.checks import is_list, require
from gedanken.errors import ShapeError
from gedanken.layers.base import Context
from gedanken.layers.over_axes import OverAxes
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class GLU(OverAxes):
    """Multiply the first half of the channels by the sigmoid of the second half.

        y = a * q,   q = 1 / (1 + exp(-b)),   x = a beside b
        da = dy * q,   db = dy * a * q * (1 - q)

    Args:
        axes: another axis of a sample to be halved, a number, counted from 1 as users see them; see Permute. Halves of
            the places of a sequence do not honour lengths.

    Shapes:
        x: (N, ..., C).   y: (N, ..., C / 2).

    Raises:
        ShapeError: the channels, or what lies along the axis, cannot be halved (at compile time).

    Source:
        Dauphin et al. 2016, arXiv:1612.08083, equation 1.
    """

    _: KW_ONLY
    axes: int | None = None
    whole_pictures = False

    def __post_init__(self) -> None:
        require(not is_list(self.axes), "GLU axes", "be a single axis", self.axes)
        self._check_axes()

    def output_shape(self, shape: Shape) -> Shape:
        if self.axes is None and not shape:
            raise ShapeError("needs an even number of channels, not 0")
        axis = self.inside(super().output_shape(shape))[0]
        if not shape[axis] or shape[axis] % 2:
            what = "of channels" if self.axes is None else f"along axis {self.axes}"
            raise ShapeError(f"needs an even number {what}, not {shape[axis]}")
        return tuple(size // 2 if place == axis else size for place, size in enumerate(shape))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        a, b = self._halves(x)
        return a * ctx.ops.sigmoid(b), x

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        a, b = self._halves(cache)
        q = ctx.ops.sigmoid(b)
        both = [dy * q, dy * (a * (q * ctx.ops.sigmoid(-b)))]
        dx: Array = ctx.ops.xp.concatenate(both, axis=self._over(cache)[0])
        return dx

    def _halves(self, x: Array) -> tuple[Array, Array]:
        before, half = (slice(None),) * self._over(x)[0], x.shape[self._over(x)[0]] // 2
        return x[(*before, slice(half))], x[(*before, slice(half, None))]
