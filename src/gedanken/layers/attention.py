"""Attention of the places of a sequence to each other."""

from dataclasses import dataclass
from typing import Any

from gedanken.checks import extent, truth
from gedanken.errors import ShapeError
from gedanken.init import DEFAULT, Initializer, Zeros, check_initializers
from gedanken.layers.attending import Attending, Lengths, attend, attend_back
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

    def params(self, shape: Shape) -> dict[str, Param]:
        features = shape[1]
        found = {}
        for name, width in (("", 3 * features), ("output_", features)):
            found[f"{name}kernel"] = Param((features, width), self.init, features, features, decay=True)
            if self.bias:
                found[f"{name}bias"] = Param((width,), self.bias_init, features, features)
        return found

    @property
    def attending(self) -> Attending:
        """How queries find values."""
        return Attending(self.n_heads, self.causal)

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        ops, features = ctx.ops, x.shape[2]
        thirds = ops.product(x.reshape(-1, features), p["kernel"]) + p.get("bias", 0)
        q, k, v = (third.reshape(x.shape) for third in ops.split(thirds, [features] * 3))
        found, cache = attend(ops, q, k, v, self.attending, Lengths(ctx.lengths, ctx.lengths))
        found = found.reshape(-1, features)
        y = ops.product(found, p["output_kernel"]) + p.get("output_bias", 0)
        return y.reshape(x.shape), (x, cache, found)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        x, cache, found = cache
        ops, features = ctx.ops, x.shape[2]
        rows = ops.real_places(dy, ctx.lengths).reshape(-1, features)
        g["output_kernel"][...] = ops.product_sum(found, rows)
        dfound = ops.product(rows, p["output_kernel"].T).reshape(x.shape)
        parts = attend_back(ops, cache, dfound, self.attending, Lengths(ctx.lengths, ctx.lengths))
        thirds = ops.concatenate(parts).reshape(-1, 3 * features)
        g["kernel"][...] = ops.product_sum(x.reshape(-1, features), thirds)
        if self.bias:
            g["bias"][...] = ops.sum(thirds, axis=0)
            g["output_bias"][...] = ops.sum(rows, axis=0)
        return ops.product(thirds, p["kernel"].T).reshape(x.shape)

    def multiply_adds(self, shape: Shape) -> int:
        places, features = shape
        return 4 * places * features**2 + 2 * places**2 * features
