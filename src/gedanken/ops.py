"""The primitives that layers are written over, once for NumPy and CuPy alike.

Most of a layer's formula is plain array arithmetic on `ops.xp`, the array module. Here stand the few things that
such a module does not have in one word. They are the specification: short and right. A faster engine overrides
single ones and must agree with these.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gedanken.geometry import Geometry
from gedanken.types import Array, Shape

# Products of very long rows are summed in parts by the array module, the parts in float64.
LONG = 2048  # numbers up to which a row is one part
DEEP = 384  # numbers of a part of a longer one
ROWS = 128  # rows of a part where the sum is over rows
ROOM = 1 << 18  # numbers of the parts that are worked out at once

FARTHEST = 26.0  # z from which on exp(-z * z) is hardly a number of float64


class Ops:
    """Array module, number type and primitives of one device.

    Args:
        xp: the array module, NumPy or CuPy.
        dtype: type of parameters and activations, "float32" or "float64".
        column_limit: numbers that one block of unfolded windows may hold; small blocks stay in the cache.
    """

    def __init__(self, xp: Any = np, dtype: str = "float32", column_limit: int = 1 << 20) -> None:
        self.xp = xp
        self.dtype = np.dtype(dtype)
        self.column_limit = column_limit
        self._asnumpy = getattr(xp, "asnumpy", None)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Return host values as a contiguous array of this device."""
        kind = self.dtype if dtype is None else dtype
        return self.xp.ascontiguousarray(self.xp.asarray(values, dtype=kind))

    def to_host(self, array: Array) -> Array:
        """Return a device array as a NumPy array."""
        return self._asnumpy(array) if self._asnumpy else array

    def bound(self, vector: Array) -> float:
        """Return a number that no |value| of a vector exceeds: its length or, where that overflows, the largest one.

        It is inf or nan where a value is.
        """
        length = math.sqrt(float(self.xp.vdot(vector, vector)))  # one pass, no temporary array, no warning
        return length if math.isfinite(length) else float(abs(vector).max(initial=0))

    def finite(self, vector: Array) -> bool:
        """Say whether all values of a vector are finite."""
        return math.isfinite(self.bound(vector))

    def sum(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """Return sums in x's number type that were added up in float64, so that long ones keep their digits."""
        return self.xp.sum(x, axis=axis, keepdims=keepdims, dtype="float64").astype(x.dtype)

    def mean(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """Return means in x's number type that were computed in float64."""
        return self.xp.mean(x, axis=axis, keepdims=keepdims, dtype="float64").astype(x.dtype)

    def mean_square(self, x: Array, axis: int | tuple[int, ...], keepdims: bool = False) -> Array:
        """Return means of squares in x's number type; computed in float64, where squares of large numbers fit too."""
        return self.mean(self.xp.square(x, dtype="float64"), axis, keepdims).astype(x.dtype)

    def centred(self, x: Array, axis: int | tuple[int, ...]) -> tuple[Array, Array]:
        """Return x less its mean along axes, and the mean, whose axes are kept.

        The rounded mean of large numbers may be off by more than they differ, so what is left of it is subtracted too.
        """
        mean = self.mean(x, axis, keepdims=True)
        h = x - mean
        rest = self.mean(h, axis, keepdims=True)
        h -= rest
        return h, mean + rest

    def move(self, mean: Array, kept: float, news: Array) -> Array:
        """Set mean = kept * mean + news, in place, and return it; what rounding takes from `kept` is not lost."""
        rounded = float(mean.dtype.type(kept))
        if lost := kept - rounded:
            news = news + lost * mean
        mean *= rounded
        mean += news
        return mean

    def product_sum(self, x: Array, y: Array) -> Array:
        """Return the products of two matrices' rows, summed over the rows: x (..., N, F), y (..., N, G) -> (..., F, G).

        More rows than ROWS are summed in parts, the parts in float64.
        """
        turned = x.swapaxes(-1, -2)
        return self.xp.matmul(turned, y) if x.shape[-2] <= ROWS else self._product_of_parts(turned, y, ROWS)

    def product(self, x: Array, y: Array) -> Array:
        """Return the matrix products x (..., N, F) times y (..., F, G); sums over more than LONG keep their digits."""
        return self.xp.matmul(x, y) if x.shape[-1] <= LONG else self._product_of_parts(x, y, DEEP)

    def _product_of_parts(self, x: Array, y: Array, size: int) -> Array:
        """As `product`: sums of `size` terms by the array module, those sums in float64."""
        xp, depth = self.xp, x.shape[-1]
        total = xp.zeros((*x.shape[:-1], y.shape[-1]), "float64")
        whole, step = depth - depth % size, max(1, ROOM // max(total.size, 1)) * size
        for start in range(0, whole, step):
            part = slice(start, min(start + step, whole))
            left = xp.moveaxis(x[..., part].reshape(*x.shape[:-1], -1, size), -2, 0)
            right = y[..., part, :].reshape(*y.shape[:-2], -1, size, y.shape[-1])
            parts = xp.matmul(left, xp.moveaxis(right, -3, 0))
            total += parts[0] if len(parts) == 1 else parts.sum(axis=0, dtype="float64")
        if whole < depth:
            total += xp.matmul(x[..., whole:], y[..., whole:, :])
        return total.astype(x.dtype)

    def pad(self, x: Array, geometry: Geometry, value: float = 0.0) -> Array:
        """Return x (N, H, W, C) with `value` around each image."""
        if not any(map(any, geometry.padding)):
            return x
        return self.xp.pad(x, ((0, 0), *geometry.padding, (0, 0)), constant_values=value)

    def unpad(self, x: Array, geometry: Geometry) -> Array:
        """Return the part of x (N, H, W, C) that `pad` was given."""
        (top, bottom), (left, right) = geometry.padding
        return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]

    def take(self, x: Array, rows: Array, columns: Array, outside: float = 0.0) -> Array:
        """Return these rows and columns of x (N, H, W, C); where one is -1, `outside`."""
        xp = self.xp
        y = x[:, xp.asarray(np.maximum(rows, 0))][:, :, xp.asarray(np.maximum(columns, 0))]
        if (rows < 0).any() or (columns < 0).any():
            inside = xp.asarray((rows >= 0)[:, None, None] & (columns >= 0)[:, None])
            y = xp.where(inside, y, y.dtype.type(outside))
        return y

    def give_back(self, dy: Array, rows: Array, columns: Array, image: Shape) -> Array:
        """Return the gradient of `take` by x, of shape `image` = (H, W, C)."""
        by_row = self.xp.zeros((len(dy), image[0], *dy.shape[2:]), "float64")
        for place, row in enumerate(rows):
            if row >= 0:
                by_row[:, row] += dy[:, place]
        dx = self.xp.zeros((len(dy), *image), "float64")
        for place, column in enumerate(columns):
            if column >= 0:
                dx[:, :, column] += by_row[:, :, place]
        return dx.astype(dy.dtype)

    def windows(self, padded: Array, geometry: Geometry) -> Array:
        """Return the view (N, H', W', R, S, C) of all windows on padded images (N, H, W, C)."""
        n, height, width, c = padded.shape
        rows, columns = geometry._replace(padding=((0, 0), (0, 0))).positions((height, width))
        by_n, by_h, by_w, by_c = padded.strides
        (down, right), (dh, dw) = geometry.stride, geometry.dilation
        return self.xp.lib.stride_tricks.as_strided(
            padded,
            (n, rows, columns, *geometry.size, c),
            (by_n, by_h * down, by_w * right, by_h * dh, by_w * dw, by_c),
        )

    def convolve(self, x: Array, kernel: Array, geometry: Geometry) -> Array:
        """Slide the kernel over the images.

            y[n, i, j, k] = sum over r, s, c of x[n, i * stride + r * dilation, j * ..., c] * kernel[r, s, c, k]

        Shapes:
            x: (N, H, W, C).   kernel: (R, S, C / groups, K).   result: (N, H', W', K).
        """
        padded, weights = self.pad(x, geometry), self._by_group(kernel, geometry)
        y = self.xp.empty((len(x), *geometry.positions(x.shape[1:3]), kernel.shape[3]), self.dtype)
        for block in self._blocks(y, kernel):
            products = self.product(self._columns(padded[block], geometry), weights)
            y[block] = products.transpose(1, 0, 2).reshape(y[block].shape)
        return y

    def convolve_dkernel(self, x: Array, dy: Array, kernel: Array, geometry: Geometry) -> Array:
        """Return the gradient of `convolve` by the kernel.

        Shapes:
            x: (N, H, W, C).   dy: (N, H', W', K).   kernel, result: (R, S, C / groups, K).
        """
        padded = self.pad(x, geometry)
        total = self.xp.zeros_like(self._by_group(kernel, geometry), dtype="float64")
        for block in self._blocks(dy, kernel):
            columns, outputs = self._columns(padded[block], geometry), self._outputs(dy[block], geometry)
            total += self.product_sum(columns, outputs)
        return total.transpose(1, 0, 2).reshape(kernel.shape).astype(kernel.dtype)

    def convolve_dx(self, dy: Array, kernel: Array, geometry: Geometry, image: Shape) -> Array:
        """Return the gradient of `convolve` by images of shape `image` = (H, W, C).

        Shapes:
            dy: (N, H', W', K).   kernel: (R, S, C / groups, K).   result: (N, H, W, C).
        """
        exact = "float64" if math.prod(geometry.size) > ROWS else self.dtype  # a pixel's sum is over the windows' taps
        dx, dpadded = self.padded_zeros(len(dy), geometry, image, exact)
        weights = self._by_group(kernel, geometry).transpose(0, 2, 1)
        for block in self._blocks(dy, kernel):
            columns = self.product(self._outputs(dy[block], geometry), weights)
            parts = columns.transpose(1, 0, 2).reshape(*dy[block].shape[:3], geometry.groups, *geometry.size, -1)
            parts = self.xp.moveaxis(parts, 3, 5).reshape(*dy[block].shape[:3], *geometry.size, image[2])
            taps = self.windows(dpadded[block], geometry)
            for r, s in np.ndindex(geometry.size):
                tap = taps[:, :, :, r, s]
                tap += parts[:, :, :, r, s]
        return dx.astype(self.dtype, copy=False)

    def padded_zeros(self, n: int, geometry: Geometry, image: Shape, dtype: Any = None) -> tuple[Array, Array]:
        """Return zeros for n images and the padded zeros that they are a view of."""
        height, width = (size + sum(pad) for size, pad in zip(image[:2], geometry.padding, strict=True))
        padded = self.xp.zeros((n, height, width, image[2]), dtype or self.dtype)
        return self.unpad(padded, geometry), padded

    def _blocks(self, outputs: Array, kernel: Array) -> Iterator[slice]:
        """Yield slices of the batch whose unfolded windows hold about `column_limit` numbers."""
        each = outputs[0, :, :, 0].size * math.prod(kernel.shape[:3])
        step = max(1, self.column_limit // max(each, 1))
        return (slice(n, n + step) for n in range(0, len(outputs), step))

    def _columns(self, padded: Array, geometry: Geometry) -> Array:
        """Return every window as a row: (groups, N * H' * W', R * S * C / groups)."""
        views = self.windows(padded, geometry)
        groups, area = geometry.groups, math.prod(geometry.size)
        split = views.reshape(*views.shape[:5], groups, -1) if groups > 1 else views[..., None, :]
        return self.xp.moveaxis(split, 5, 0).reshape(groups, -1, area * views.shape[5] // groups)

    def _outputs(self, dy: Array, geometry: Geometry) -> Array:
        """Return dy (N, H', W', K) as (groups, N * H' * W', K / groups)."""
        split = dy.reshape(-1, geometry.groups, dy.shape[3] // geometry.groups)
        return split.transpose(1, 0, 2)

    def _by_group(self, kernel: Array, geometry: Geometry) -> Array:
        """Return the kernel (R, S, C / groups, K) as (groups, R * S * C / groups, K / groups)."""
        split = kernel.reshape(-1, geometry.groups, kernel.shape[3] // geometry.groups)
        return split.transpose(1, 0, 2)

    def real_places(self, x: Array, lengths: Array | None) -> Array:
        """Return sequences x (N, T, ...) with 0 at the places from lengths[n] on; as they are without lengths."""
        if lengths is None:
            return x
        real = self.xp.arange(x.shape[1]) < lengths[:, None]
        return self.xp.where(real.reshape(*real.shape, *(1,) * (x.ndim - 2)), x, x.dtype.type(0))

    def concatenate(self, parts: Sequence[Array]) -> Array:
        """Return arrays (..., C1), (..., C2) ... beside each other: (..., C1 + C2 + ...)."""
        return self.xp.concatenate(parts, axis=-1)

    def split(self, x: Array, widths: Sequence[int]) -> list[Array]:
        """Return the parts of x (..., C) that have so many channels: the inverse of `concatenate`."""
        ends = itertools.accumulate(widths)
        return [x[..., end - width : end] for end, width in zip(ends, widths, strict=True)]

    def total(self, parts: Sequence[Array]) -> Array:
        """Return the sum of arrays of one shape."""
        return sum(parts[1:], start=parts[0])

    def sigmoid(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x)); nothing overflows, and small results keep their digits."""
        power = self.xp.exp(-abs(x))
        return self.xp.where(x < 0, power, 1) / (1 + power)

    def normal_share(self, x: Array) -> Array:
        """Return the share of a normal distribution below x; small shares keep their digits.

        Source:
            Shepherd & Laframboise 1981, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc(x) in 0 <= x < inf".
            Differs: the coefficients are made here. They are summed by Clenshaw's recurrence.
        """
        xp, (first, *others) = self.xp, _tail_coefficients()
        z = abs(x) / math.sqrt(2)
        inside = xp.minimum(z, FARTHEST)
        t = 2 * inside / (inside + 3) * ((FARTHEST + 3) / FARTHEST) - 1
        older, old = xp.zeros_like(t), xp.zeros_like(t)
        for coefficient in reversed(others):
            older, old = old, coefficient + 2 * t * old - older
        tail = xp.exp(-x * x / 2) * (first + t * old - older) / (z + 3)
        return xp.where(x < 0, tail, 1 - tail)

    def softplus(self, x: Array) -> Array:
        """Return log(1 + exp(x)); nothing overflows, and small results keep their digits."""
        return self.xp.maximum(x, 0) + self.xp.log1p(self.xp.exp(-abs(x)))

    def softmax(self, x: Array, among: Array | None = None) -> Array:
        """Return exp(x) as shares of its sum over the last axis; others than those `among`, if given, have none."""
        if among is not None:
            x = self.xp.where(among, x, -np.inf).astype(x.dtype)
        _, _, powers, others = self._powers(x, among)
        return powers / (1 + others)

    def log_softmax(self, x: Array) -> Array:
        """Return the logarithms of `softmax`; that of a share near 1 keeps its digits."""
        _, gaps, _, others = self._powers(x)
        return gaps - self.xp.log1p(others)

    def softmax_cross_entropy(
        self, z: Array, target: Array, weights: Sequence[float] | None, smoothing: float
    ) -> tuple[Array, Array]:
        """Return costs and slopes of scores z (N, ..., C); see `costs.SoftMaxCrossEntropy`."""
        xp, weighted = self.xp, self.class_shares(z, target, weights, smoothing)
        is_best, gaps, powers, others = self._powers(z)
        share = self.sum(weighted, axis=-1, keepdims=True)
        with np.errstate(all="ignore"):
            dots = self.sum(xp.where(weighted > 0, weighted * gaps, 0), axis=-1, keepdims=True)
            costs = share * xp.log1p(others) - dots
            y = powers / (1 + others)
            lacking = xp.where(is_best, others / (1 + others), 1 - y)  # 1 - y would lose the digits of a y near 1
            return costs[..., 0], y * (share - weighted) - weighted * lacking

    def _powers(self, x: Array, among: Array | None = None) -> tuple[Array, Array, Array, Array]:
        """Return along the last axis where the largest x is, x less it, the exponentials of that, and their sum
        without the largest. What is infinitely far below has a share of nothing, as has what is not `among` x."""
        xp, largest = self.xp, x.max(axis=-1, keepdims=True)
        is_best = xp.arange(x.shape[-1]) == x.argmax(axis=-1)[..., None]
        with np.errstate(all="ignore"):
            gaps = xp.where(is_best & ~xp.isnan(largest), 0, x - largest)
            powers = xp.exp(gaps) if among is None else xp.where(among, xp.exp(gaps), 0)
            return is_best, gaps, powers, self.sum(xp.where(is_best, 0, powers), axis=-1, keepdims=True)

    def class_shares(self, y: Array, target: Array, weights: Sequence[float] | None, smoothing: float) -> Array:
        """Return w * q of `costs.CrossEntropy` for outputs y (N, ..., C) and targets (N, ...) or (N, ..., C)."""
        classes, hard = y.shape[-1], target.ndim < y.ndim
        shares = target[..., None] == self.xp.arange(classes) if hard else target
        w = self.asarray(weights or [1.0] * classes, y.dtype)
        return w * ((1 - smoothing) * shares.astype(y.dtype) + smoothing / classes)


@functools.cache
def _tail_coefficients() -> tuple[float, ...]:
    """Return the Chebyshev series of (z + 3) exp(z**2) erfc(z) / 2 over z / (z + 3), 0 <= z <= FARTHEST."""
    count = 25
    angles = (np.arange(count) + 0.5) * (math.pi / count)
    shares = (np.cos(angles) + 1) / 2 * (FARTHEST / (FARTHEST + 3))
    values = [(z + 3) * math.exp(z * z) * math.erfc(z) / 2 for z in 3 * shares / (1 - shares)]
    first, *others = np.cos(np.outer(np.arange(count), angles)) @ values * (2 / count)
    return (float(first) / 2, *map(float, others))
