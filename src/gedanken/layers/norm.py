"""Normalisations: subtract a mean, divide by a deviation, then scale and shift."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.checks import extent, real
from gedanken.errors import ShapeError
from gedanken.init import Constant, Zeros
from gedanken.layers.base import ByPlace, Context, Layer, Param, StateValue
from gedanken.ops import Ops
from gedanken.types import Array, Arrays, Shape


def _scale_and_shift(features: int) -> dict[str, Param]:
    return {"scale": Param((features,), Constant(1.0)), "shift": Param((features,), Zeros())}


def _normalised_dx(ops: Ops, dh: Array, h: Array, deviation: Array, axes: tuple[int, ...]) -> Array:
    """Return the gradient through h = (x - mean) / deviation, mean and deviation taken over `axes` of x.

    dx = (dh - mean(dh) - h * mean(dh * h)) / deviation
    """
    mean_dh = ops.mean(dh, axis=axes, keepdims=True)
    mean_dh_h = ops.mean(dh * h, axis=axes, keepdims=True)
    return (dh - mean_dh - h * mean_dh_h) / deviation


@dataclass(frozen=True, eq=False, repr=False)
class BatchNorm(Layer):
    """Normalise each channel over the batch, then scale and shift it.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    Training uses the mean and variance of the mini-batch, over all pixels, and moves the running ones towards them;
    everything else uses the running ones.

        running = momentum * running + (1 - momentum) * of the mini-batch

    Args:
        momentum: fraction of the running value kept per step, in [0, 1).
        epsilon: added to the variance, > 0, in squared units of x.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale, shift, mean, var: (F,) or (C,).

    Raises:
        ShapeError: the input has no channel axis (at compile time).

    Source:
        Ioffe & Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2: the running variance is the unbiased one,
        m / (m - 1) times that of the mini-batch of m values. Differs: a mini-batch of one
        value leaves the running ones, and the network warns of it.
    """

    _: KW_ONLY
    momentum: float = 0.9
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        real("BatchNorm momentum", self.momentum, "[0, 1)")
        real("BatchNorm epsilon", self.epsilon, "(0, inf)")

    def output_shape(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("needs a channel axis: (F,) or (C, H, W)")
        return shape

    def params(self, shape: Shape) -> dict[str, Param]:
        return _scale_and_shift(shape[-1])

    def state(self, shape: Shape) -> dict[str, StateValue]:
        return {"mean": StateValue(shape[-1:], 0.0), "var": StateValue(shape[-1:], 1.0)}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        rows = x.reshape(len(x), -1, x.shape[-1])  # (N, H * W, C)
        if ctx.train:
            h, mean = ctx.ops.centred(rows, axis=(0, 1))
            var = ctx.ops.mean_square(h, axis=(0, 1))
            self._remember(ctx.ops, s, mean[0, 0], var, rows.shape[0] * rows.shape[1])
        else:
            var = s["var"]
            h = rows - s["mean"]
        deviation = ctx.ops.xp.sqrt(var + self.epsilon)
        h /= deviation
        return (h * p["scale"] + p["shift"]).reshape(x.shape), (h, deviation, ctx.train)

    def _remember(self, ops: Ops, s: Arrays, mean: Array, var: Array, count: int) -> None:
        if count == 1:
            return  # a single value has no variance
        unbiased = var * (count / (count - 1))
        for name, batch in (("mean", mean), ("var", unbiased)):
            ops.move(s[name], self.momentum, (1 - self.momentum) * batch)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation, of_batch = cache
        dy_rows = dy.reshape(h.shape)
        count = h.shape[0] * h.shape[1]
        g["shift"][...] = ctx.ops.sum(dy_rows, axis=(0, 1))
        g["scale"][...] = ctx.ops.sum(dy_rows * h, axis=(0, 1))
        if not of_batch:  # mean and deviation were constants
            return dy * (p["scale"] / deviation)
        # dx = (dh - mean(dh) - h * mean(dh * h)) / deviation, the means being the two sums above
        dx = h * (g["scale"] / -count)
        dx += dy_rows
        dx -= g["shift"] / count
        dx *= p["scale"] / deviation
        return dx.reshape(dy.shape)


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(ByPlace):
    """Normalise each sample over all its features, then scale and shift each feature.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    On images the mean is over height, width and channels, and scale and shift are per channel. On a sequence (T, F)
    each of the T vectors is normalised by itself.

    Args:
        epsilon: added to the variance, > 0, in squared units of x.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale, shift: (F,) or (C,).

    Raises:
        ShapeError: the input has no channel axis (at compile time).

    Source:
        Ba, Kiros & Hinton 2016, arXiv:1607.06450, equation 3.
    """

    _: KW_ONLY
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        real("LayerNorm epsilon", self.epsilon, "(0, inf)")

    def output_shape(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError("needs a channel axis: (F,), (T, F) or (C, H, W)")
        return shape

    def params(self, shape: Shape) -> dict[str, Param]:
        return _scale_and_shift(shape[-1])

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        axes = (1, 2, 3) if x.ndim == 4 else (-1,)
        h, _ = ctx.ops.centred(x, axes)
        deviation = ctx.ops.xp.sqrt(ctx.ops.mean_square(h, axis=axes, keepdims=True) + self.epsilon)
        h /= deviation
        return h * p["scale"] + p["shift"], (h, deviation, axes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation, axes = cache
        others = tuple(range(dy.ndim - 1))
        g["shift"][...] = ctx.ops.sum(dy, axis=others)
        g["scale"][...] = ctx.ops.sum(dy * h, axis=others)
        return _normalised_dx(ctx.ops, dy * p["scale"], h, deviation, axes)


@dataclass(frozen=True, eq=False, repr=False)
class GroupNorm(Layer):
    """Normalise each sample over groups of channels and all pixels or times, then scale and shift each channel.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    Args:
        n_groups: number of groups, at least 1; it divides the channels.
        epsilon: added to the variance, > 0, in squared units of x.

    Shapes:
        x, y: (N, F), (N, T, F) or (N, H, W, C).   scale, shift: (F,) or (C,).

    Raises:
        ShapeError: n_groups does not divide the channels (at compile time).

    Source:
        Wu & He 2018, arXiv:1803.08494, equations 1 to 7.
    """

    n_groups: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        extent("GroupNorm n_groups", self.n_groups)
        real("GroupNorm epsilon", self.epsilon, "(0, inf)")

    def output_shape(self, shape: Shape) -> Shape:
        if not shape or shape[-1] % self.n_groups:
            channels = shape[-1] if shape else 0
            raise ShapeError(f"has n_groups={self.n_groups}, which must divide the {channels} channels")
        return shape

    def params(self, shape: Shape) -> dict[str, Param]:
        return _scale_and_shift(shape[-1])

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        grouped = x.reshape(self._grouped(x.shape))
        h, _ = ctx.ops.centred(grouped, (1, 3))
        deviation = ctx.ops.xp.sqrt(ctx.ops.mean_square(h, axis=(1, 3), keepdims=True) + self.epsilon)
        h /= deviation
        return h.reshape(x.shape) * p["scale"] + p["shift"], (h, deviation)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation = cache
        others = tuple(range(dy.ndim - 1))
        g["shift"][...] = ctx.ops.sum(dy, axis=others)
        g["scale"][...] = ctx.ops.sum(dy * h.reshape(dy.shape), axis=others)
        dh = (dy * p["scale"]).reshape(h.shape)
        return _normalised_dx(ctx.ops, dh, h, deviation, (1, 3)).reshape(dy.shape)

    def _grouped(self, shape: Shape) -> Shape:
        """Return (N, pixels, groups, channels of a group) for (N, ..., C)."""
        return (shape[0], math.prod(shape[1:-1]), self.n_groups, shape[-1] // self.n_groups)
