"""Attention of the places of a sequence to each other."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.checks import extent, truth
from gedanken.errors import ShapeError
from gedanken.init import DEFAULT, Initializer, Zeros, check_initializers
from gedanken.layers.base import Context, Layer, Param
from gedanken.layers.conv1d import require_sequence
from gedanken.types import Array, Arrays, Shape


@dataclass(frozen=True, eq=False, repr=False)
class MultiHeadAttention(Layer):
    """Let each place of a sequence take in what it finds at the others, in some ways at once (self-attention).

        q, k, v = the three thirds of x @ kernel + bias, each cut into heads of D = F / n_heads features
        shares[n, h, t] = softmax over u of   q[n, h, t] . k[n, h, u] / sqrt(D)
        y = (sum over u of shares[n, h, t, u] * v[n, h, u], heads beside each other) @ output_kernel + output_bias

    Places behind a sequence's end have no share.

    Args:
        n_heads: at least 1; it divides the features.
        causal: whether a place sees itself and those before it only.
        bias: whether there are biases.
        init: first values of both kernels; by default uniform with variance 1 / (3 * F).
        bias_init: first values of the biases.

    Shapes:
        x, y: (N, T, F).   kernel: (F, 3 F).   bias: (3 F,).   output_kernel: (F, F).   output_bias: (F,).

    Raises:
        ShapeError: the input is no sequence, or n_heads does not divide its features (at compile time).

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2. The engine `cpu` keeps no T x T matrix: Rabe & Staats 2021,
        arXiv:2112.05682.
    """

    n_heads: int
    causal: bool = False
    bias: bool = True
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()

    def __post_init__(self) -> None:
        extent("MultiHeadAttention n_heads", self.n_heads)
        truth("MultiHeadAttention causal", self.causal)
        truth("MultiHeadAttention bias", self.bias)
        check_initializers("MultiHeadAttention", init=self.init, bias_init=self.bias_init)

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        if shape[1] % self.n_heads:
            raise ShapeError(f"has n_heads={self.n_heads}, which must divide the {shape[1]} features")
        return shape

    def output_lengths(self, shape: Shape, lengths: Array) -> Array:
        return lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return True

    def params(self, shape: Shape) -> dict[str, Param]:
        features = shape[1]
        found = {}
        for name, width in (("", 3 * features), ("output_", features)):
            found[f"{name}kernel"] = Param((features, width), self.init, features, features, decay=True)
            if self.bias:
                found[f"{name}bias"] = Param((width,), self.bias_init, features, features)
        return found

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        ops, (samples, places, features) = ctx.ops, x.shape
        thirds = ops.product(x.reshape(-1, features), p["kernel"]) + p.get("bias", 0)
        q, k, v = self._heads(thirds.reshape(samples, places, 3, self.n_heads, -1))
        scores = ops.xp.matmul(q, k.swapaxes(2, 3)) / math.sqrt(q.shape[3])
        shares = ops.softmax(ops.xp.where(self._sees(ctx, samples, places), scores, -np.inf).astype(x.dtype))
        found = ops.xp.matmul(shares, v).transpose(0, 2, 1, 3).reshape(-1, features)
        y = ops.product(found, p["output_kernel"]) + p.get("output_bias", 0)
        return y.reshape(x.shape), (x, q, k, v, shares, found)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        x, q, k, v, shares, found = cache
        ops, xp, features = ctx.ops, ctx.ops.xp, x.shape[2]
        rows = ops.real_places(dy, ctx.lengths).reshape(-1, features)
        g["output_kernel"][...] = ops.product_sum(found, rows)
        dfound = ops.product(rows, p["output_kernel"].T).reshape(*x.shape[:2], self.n_heads, -1).transpose(0, 2, 1, 3)
        dshares = xp.matmul(dfound, v.swapaxes(2, 3))
        mean = ops.sum(dshares * shares, axis=3, keepdims=True)
        dscores = shares * (dshares - mean) / math.sqrt(q.shape[3])
        turned = dscores.swapaxes(2, 3)
        parts = xp.matmul(dscores, k), xp.matmul(turned, q), xp.matmul(shares.swapaxes(2, 3), dfound)
        thirds = xp.stack(parts, axis=0).transpose(1, 3, 0, 2, 4).reshape(-1, 3 * features).astype(x.dtype)
        g["kernel"][...] = ops.product_sum(x.reshape(-1, features), thirds)
        if self.bias:
            g["bias"][...] = ops.sum(thirds, axis=0)
            g["output_bias"][...] = ops.sum(rows, axis=0)
        return ops.product(thirds, p["kernel"].T).reshape(x.shape)

    def _heads(self, thirds: Array) -> Array:
        """Return (N, T, 3, H, D) as (3, N, H, T, D)."""
        return thirds.transpose(2, 0, 3, 1, 4)

    def _sees(self, ctx: Context, samples: int, places: int) -> Array:
        """Return which places each place sees, (N or 1, 1, T or 1, T)."""
        xp = ctx.ops.xp
        at = xp.arange(places)
        real = xp.ones((1, 1, 1, places), bool) if ctx.lengths is None else at < ctx.lengths[:, None, None, None]
        return real & (at <= at[:, None]) if self.causal else real

    def multiply_adds(self, shape: Shape) -> int:
        places, features = shape
        return 4 * places * features**2 + 2 * places**2 * features
