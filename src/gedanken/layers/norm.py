"""What normalisations share, and BatchNorm: subtract a mean, divide by a deviation, then scale and shift."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from gedanken.checks import real, truth
from gedanken.errors import ShapeError
from gedanken.init import Constant, Zeros
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.ops import Ops
from gedanken.ranks.together import Together
from gedanken.types import Array, Arrays, Shape


class Norm(Layer):
    """What normalisations share: a trained scale and shift of each channel, each of which may be left out."""

    scale: bool
    shift: bool
    epsilon: float
    needs = "needs a channel axis: (F,), (T, F) or (C, H, W)"

    def __post_init__(self) -> None:
        name = type(self).__name__
        real(f"{name} epsilon", self.epsilon, "(0, inf)")
        truth(f"{name} scale", self.scale)
        truth(f"{name} shift", self.shift)

    def output_shape(self, shape: Shape) -> Shape:
        if not shape:
            raise ShapeError(self.needs)
        return shape

    def param_axes(self, shape: Shape) -> tuple[int, ...]:
        """Return the axes of a sample that scale and shift have, counted from 0."""
        return (len(shape) - 1,)

    def params(self, shape: Shape) -> dict[str, Param]:
        size = tuple(shape[axis] for axis in self.param_axes(shape))
        scale = {"scale": Param(size, Constant(1.0))} if self.scale else {}
        return scale | ({"shift": Param(size, Zeros())} if self.shift else {})

    def _scaled(self, p: Arrays, h: Array) -> Array:
        """Return y = scale * h + shift."""
        y = h * self._beside(p["scale"], h) if self.scale else h
        return y + self._beside(p["shift"], h) if self.shift else y

    def _scaled_back(self, ops: Ops, p: Arrays, g: Arrays, h: Array, dy: Array) -> Array:
        """Write the gradients of scale and shift, and return that of h."""
        own = self.param_axes(dy.shape[1:])
        others = tuple(axis for axis in range(dy.ndim) if axis - 1 not in own)
        if self.shift:
            g["shift"][...] = ops.sum(dy, axis=others)
        if self.scale:
            g["scale"][...] = ops.sum(dy * h, axis=others)
        return dy * self._beside(p["scale"], dy) if self.scale else dy

    def _beside(self, param: Array, x: Array) -> Array:
        """Return scale or shift with an axis for each of x (N, ...)."""
        own = self.param_axes(x.shape[1:])
        return param.reshape([x.shape[axis] if axis - 1 in own else 1 for axis in range(x.ndim)])


def normalised_dx(ops: Ops, dh: Array, h: Array, deviation: Array, axes: tuple[int, ...]) -> Array:
    """Return the gradient through h = (x - mean) / deviation, mean and deviation taken over `axes` of x.

    dx = (dh - mean(dh) - h * mean(dh * h)) / deviation
    """
    mean_dh = ops.mean(dh, axis=axes, keepdims=True)
    mean_dh_h = ops.mean(dh * h, axis=axes, keepdims=True)
    return (dh - mean_dh - h * mean_dh_h) / deviation


@dataclass(frozen=True, eq=False, repr=False)
class BatchNorm(Norm):
    """Normalise each channel over the batch, then scale and shift it.

        y = scale * (x - mean) / sqrt(var + epsilon) + shift

    Training uses the mean and variance of the mini-batch, over all pixels, and moves the running ones towards them;
    everything else uses the running ones. Of sequences with lengths it is over the places that are real, so that
    padding counts for nothing.

        running = momentum * running + (1 - momentum) * of the mini-batch

    Args:
        momentum: fraction of the running value kept per step, in [0, 1). None: the running values are the means over
            all mini-batches so far, so of mini-batch number k the fraction (k - 1) / k is kept.
        epsilon: added to the variance, > 0, in squared units of x.
        scale, shift: whether there is a scale, and a shift.
        biased: whether the running variance is that of the mini-batches as it is, as in Keras and ONNX, and not the
            unbiased one.

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
    momentum: float | None = 0.9
    epsilon: float = 1e-5
    scale: bool = True
    shift: bool = True
    biased: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        truth("BatchNorm biased", self.biased)
        if self.momentum is not None:
            real("BatchNorm momentum", self.momentum, "[0, 1)")

    def state(self, shape: Shape) -> dict[str, StateValue]:
        running = {"mean": StateValue(shape[-1:], 0.0), "var": StateValue(shape[-1:], 1.0)}
        return running | ({"count": StateValue((1,), 0.0)} if self.momentum is None else {})

    def output_lengths(self, shape: Shape, lengths: Array) -> Array:
        return lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return True

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        rows, real = x.reshape(len(x), -1, x.shape[-1]), None  # (N, H * W, C)
        if ctx.train and ctx.lengths is not None:
            real = ctx.ops.xp.arange(x.shape[1]) < ctx.lengths[:, None]
            rows = x[real][:, None]
        if ctx.train:
            count = rows.shape[0] * rows.shape[1]
            h, mean = ctx.ops.centred(rows, axis=(0, 1))
            var = ctx.ops.mean_square(h, axis=(0, 1))
            if ctx.together:
                mean, var, count = _of_all(ctx.together, mean, var, count)
                h = rows - mean
            self._remember(ctx.ops, s, mean[0, 0], var, count)
        else:
            var = s["var"]
            h = rows - s["mean"]
        deviation = ctx.ops.xp.sqrt(var + self.epsilon)
        h /= deviation
        return _in_place(ctx.ops, self._scaled(p, h), real, x.shape), (h, deviation, ctx.train, real)

    def _remember(self, ops: Ops, s: Arrays, mean: Array, var: Array, count: int) -> None:
        if count == 1:
            return  # a single value has no variance
        kept_var = var if self.biased else var * (count / (count - 1))
        kept = self.momentum
        if kept is None:
            s["count"] += 1
            kept = 1 - 1 / float(ops.to_host(s["count"])[0])
        for name, batch in (("mean", mean), ("var", kept_var)):
            ops.move(s[name], kept, (1 - kept) * batch)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        h, deviation, of_batch, real = cache
        dy_rows = dy.reshape(h.shape) if real is None else dy[real][:, None]
        count = h.shape[0] * h.shape[1]
        by_shift = ctx.ops.sum(dy_rows, axis=(0, 1))
        by_scale = ctx.ops.sum(dy_rows * h, axis=(0, 1))
        if self.shift:
            g["shift"][...] = by_shift
        if self.scale:
            g["scale"][...] = by_scale
        gain = p["scale"] / deviation if self.scale else 1 / deviation
        if not of_batch:  # mean and deviation were constants
            return dy * gain
        # dx = (dh - mean(dh) - h * mean(dh * h)) / deviation, the means being the two sums above
        if ctx.together:
            by_shift, by_scale, count = _sums_of_all(ctx.together, by_shift, by_scale, count)
        dx = h * (by_scale / -count)
        dx += dy_rows
        dx -= by_shift / count
        dx *= gain
        return _in_place(ctx.ops, dx, real, dy.shape)


def _of_all(together: Together, mean: Array, var: Array, count: int) -> tuple[Array, Array, int]:
    """Return mean, variance and number of all ranks' values: var = sum of n_r / n * (var_r + (mean_r - mean)**2)."""
    own = np.concatenate([mean.reshape(-1), var]).astype("float64")
    moments, counts = together.all_moments(own, count)
    means, spreads = np.split(moments, 2, axis=1)
    total = counts.sum()
    mean_of_all = counts @ means / total
    var_of_all = counts @ (spreads + (means - mean_of_all) ** 2) / total
    return mean_of_all.astype(mean.dtype).reshape(mean.shape), var_of_all.astype(var.dtype), int(total)


def _sums_of_all(together: Together, by_shift: Array, by_scale: Array, count: int) -> tuple[Array, Array, int]:
    """Return the sums of all ranks, and of how many values they are."""
    sums = np.array([*by_shift, *by_scale, count], "float64")
    together.add(sums)
    shift, scale = np.split(sums[:-1].astype(by_shift.dtype), 2)
    return shift, scale, int(sums[-1])


def _in_place(ops: Ops, rows: Array, real: Array | None, shape: Shape) -> Array:
    """Return rows as an array of a shape: all of its places, or those that are real beside zeros."""
    if real is None:
        return rows.reshape(shape)
    y = ops.xp.zeros(shape, rows.dtype)
    y[real] = rows[:, 0]
    return y
