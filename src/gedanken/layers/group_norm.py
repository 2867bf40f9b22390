"""Normalisations of groups of channels, each sample by itself: GroupNorm, and InstanceNorm, whose groups are one."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.checks import extent, real, truth
from gedanken.errors import ShapeError
from gedanken.layers.base import Context, StateValue
from gedanken.layers.norm import Norm
from gedanken.ops import Ops
from gedanken.types import Array, Arrays, Shape


class Grouped(Norm):
    """What normalises groups of channels over the pixels, or the real places, of each sample."""

    def groups(self, channels: int) -> int:
        """Return how many groups so many channels are in."""
        return channels

    def output_lengths(self, shape: Shape, lengths: Array) -> Array | None:
        return lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return True

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        ops, lengths = ctx.ops, ctx.lengths
        groups = self.groups(x.shape[-1])
        rows = ops.real_places(x.reshape(len(x), -1, groups, x.shape[-1] // groups), lengths)
        counts = rows.shape[3] * (rows.shape[1] if lengths is None else lengths[:, None, None, None])
        mean = _mean(ops, rows, counts)
        h = ops.real_places(rows - mean, lengths)
        rest = _mean(ops, h, counts)  # of large numbers the rounded mean may be off by more than they differ
        h = ops.real_places(h - rest, lengths)
        var = _mean(ops, ops.xp.square(h, dtype="float64"), counts).astype(x.dtype)
        if ctx.train:
            self._remember(ops, s, mean + rest, var, counts)
        deviation = ops.xp.sqrt(var + self.epsilon)
        h /= deviation
        y = ops.real_places(self._scaled(p, h.reshape(x.shape)), lengths)
        return y, (h, deviation, counts)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        ops, (h, deviation, counts) = ctx.ops, cache
        dh = self._scaled_back(ops, p, g, h.reshape(dy.shape), ops.real_places(dy, ctx.lengths)).reshape(h.shape)
        dx = (dh - _mean(ops, dh, counts) - h * _mean(ops, dh * h, counts)) / deviation
        return ops.real_places(dx.reshape(dy.shape), ctx.lengths)

    def _remember(self, ops: Ops, s: Arrays, mean: Array, var: Array, counts: Any) -> None:
        """Move running values towards those of the samples, (N, 1, groups, 1) each."""


def _mean(ops: Ops, x: Array, counts: Any) -> Array:
    """Return the means over pixels and a group's channels of (N, pixels, groups, channels), of so many numbers each."""
    return (ops.xp.sum(x, axis=(1, 3), keepdims=True, dtype="float64") / counts).astype(x.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class GroupNorm(Grouped):
    """Normalise each sample over groups of channels and all pixels or times, then scale and shift each channel.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    Of a padded sequence the real places are normalised, over these alone; y is 0 at the others.

    Args:
        n_groups: number of groups, at least 1; it divides the channels.
        epsilon: added to the variance, > 0, in squared units of x.
        scale, shift: whether there is a scale, and a shift.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale, shift: (F,) or (C,).

    Raises:
        ShapeError: n_groups does not divide the channels (at compile time).

    Source:
        Wu & He 2018, arXiv:1803.08494, equations 1 to 7.
    """

    n_groups: int
    epsilon: float = 1e-5
    scale: bool = True
    shift: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        extent("GroupNorm n_groups", self.n_groups)

    def groups(self, channels: int) -> int:
        return self.n_groups

    def output_shape(self, shape: Shape) -> Shape:
        if not shape or shape[-1] % self.n_groups:
            channels = shape[-1] if shape else 0
            raise ShapeError(f"has n_groups={self.n_groups}, which must divide the {channels} channels")
        return shape


@dataclass(frozen=True, eq=False, repr=False)
class InstanceNorm(Grouped):
    """Normalise each channel of each sample over its pixels or times, then scale and shift it.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    It is a GroupNorm with a group for each channel. Training and prediction do the same, unless it is `running`: then
    training moves running values towards the means over a mini-batch of the samples' mean and variance, and everything
    else uses those, as BatchNorm does.

        running = momentum * running + (1 - momentum) * of the mini-batch

    Of a padded sequence the real places are normalised, over these alone; y is 0 at the others.

    Args:
        epsilon: added to the variance, > 0, in squared units of x.
        scale, shift: whether there is a scale, and a shift.
        running: whether there are running values.
        momentum: fraction of them kept per step, in [0, 1).

    Shapes:
        x, y: (N, T, F) or (N, H, W, C).   scale, shift, mean, var: (F,) or (C,).

    Raises:
        ShapeError: the input is neither a sequence nor an image (at compile time).

    Source:
        Ulyanov, Vedaldi & Lempitsky 2016, arXiv:1607.08022, equation 2. `running`: as PyTorch's track_running_stats,
        with the unbiased variance, m / (m - 1) times that of the m numbers; a single number counts as of variance 0.
    """

    _: KW_ONLY
    epsilon: float = 1e-5
    scale: bool = True
    shift: bool = True
    running: bool = False
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("InstanceNorm running", self.running)
        real("InstanceNorm momentum", self.momentum, "[0, 1)")

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ShapeError("needs a sequence (T, F) or an image (C, H, W)", "use LayerNorm for features")
        return shape

    def state(self, shape: Shape) -> dict[str, StateValue]:
        if not self.running:
            return {}
        return {"mean": StateValue(shape[-1:], 0.0), "var": StateValue(shape[-1:], 1.0)}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        if ctx.train or not self.running:
            return super().forward(ctx, p, s, x)
        deviation = ctx.ops.xp.sqrt(s["var"] + self.epsilon)
        h = ctx.ops.real_places((x - s["mean"]) / deviation, ctx.lengths)
        return ctx.ops.real_places(self._scaled(p, h), ctx.lengths), (h, deviation, None)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation, counts = cache
        if counts is not None:
            return super().backward(ctx, p, g, cache, dy)
        return self._scaled_back(ctx.ops, p, g, h, ctx.ops.real_places(dy, ctx.lengths)) / deviation

    def _remember(self, ops: Ops, s: Arrays, mean: Array, var: Array, counts: Any) -> None:
        if self.running:
            unbiased = var * (counts / ops.xp.maximum(ops.asarray(counts - 1), 1))
            for name, each in (("mean", mean), ("var", unbiased)):
                ops.move(s[name], self.momentum, (1 - self.momentum) * ops.mean(each, axis=(0, 1, 3)))
