"""Attention of the places of a sequence to each other."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from gedanken.checks import extent, real, truth
from gedanken.errors import ShapeError
from gedanken.hyperparameters import changed_fields
from gedanken.init import DEFAULT, Initializer, Zeros, check_initializers
from gedanken.layers.attending import Attending, Learned, Lengths, attend, attend_back
from gedanken.layers.attention_mask import Written, checked_mask, mask_numbers, require_places
from gedanken.layers.base import Context, Layer, Param
from gedanken.layers.conv1d import require_sequence
from gedanken.random import DRAW_RANGE
from gedanken.types import Array, Arrays, Shape


class Sizes(NamedTuple):
    """Numbers of all heads' queries (and keys), of their values, and of the output."""

    keys: int
    values: int
    units: int


@dataclass(frozen=True, eq=False, repr=False)
class Attention(Layer):
    """What layers of attention are told, see MultiHeadAttention."""

    n_heads: int
    causal: bool = False
    bias: bool = True
    init: Initializer = DEFAULT
    bias_init: Initializer = Zeros()
    keep: float = 1.0
    attention_mask: Any = None
    learned_key: bool = False
    zero_key: bool = False
    key_size: int | None = None
    value_size: int | None = None
    n_units: int | None = None

    def __post_init__(self) -> None:
        name = type(self).__name__
        extent(f"{name} n_heads", self.n_heads)
        for field in ("causal", "bias", "learned_key", "zero_key"):
            truth(f"{name} {field}", getattr(self, field))
        check_initializers(name, init=self.init, bias_init=self.bias_init)
        real(f"{name} keep", self.keep, "(0, 1]")
        for field in ("key_size", "value_size", "n_units"):
            if getattr(self, field) is not None:
                extent(f"{name} {field}", getattr(self, field))
        if self.attention_mask is not None:
            more = bool(self.learned_key or self.zero_key)
            mask = checked_mask(name, self.attention_mask, self.n_heads, bool(self.causal), more)
            object.__setattr__(self, "attention_mask", mask)

    def __repr__(self) -> str:
        fields = changed_fields(self)
        if self.attention_mask is not None:
            fields["attention_mask"] = Written(self.attention_mask)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    @cached_property
    def attending(self) -> Attending:
        """How queries find values."""
        mask = None if self.attention_mask is None else mask_numbers(self.attention_mask)
        threshold = max(round(self.keep * DRAW_RANGE), 1)
        return Attending(self.n_heads, bool(self.causal), mask, threshold, bool(self.zero_key))

    def sizes(self, features: int) -> Sizes:
        """Return what is made of so many features."""
        if self.key_size is None and features % self.n_heads:
            raise ShapeError(f"has n_heads={self.n_heads}, which must divide the {features} features")
        size = self.key_size or features // self.n_heads
        return Sizes(self.n_heads * size, self.n_heads * (self.value_size or size), self.n_units or features)

    def learned(self, p: Arrays) -> Learned | None:
        """Return the trained key and its value; None where there are none."""
        return Learned(p["learned_key"], p["learned_value"]) if self.learned_key else None


@dataclass(frozen=True, eq=False, repr=False)
class MultiHeadAttention(Attention):
    """Let each place of a sequence take in what it finds at the others, in some ways at once (self-attention).

        q, k, v = the parts of x @ kernel + bias, each cut into H = n_heads heads, of D, D and E features
        scores[n, h, t, u] = q[n, h, t] . k[n, h, u] / sqrt(D) + mask[h, t, u]
        shares[n, h, t] = softmax of scores[n, h, t] over u
        y = (sum over u of shares[n, h, t, u] * v[n, h, u], heads beside each other) @ output_kernel + output_bias

    Places behind a sequence's end have no share. A place that sees only such finds 0.

    Args:
        n_heads: at least 1; it divides the features, unless key_size is given.
        causal: whether a place sees itself and those before it only.
        bias: whether there are biases.
        init: first values of the kernels and of the learned key; by default uniform with variance 1 / (3 * F).
        bias_init: first values of the biases.
        keep: probability that a share is **kept** in training, in (0, 1]; it is then divided by `keep`, see Dropout.
        attention_mask: which place (row) sees which (column), for all heads or for each: a table (T, T) or
            (n_heads, T, T) of truth values, True where it is seen, or of numbers that are added to scores, -inf where
            it is not. Mind that True means the reverse in PyTorch. It is kept as tuples.
        learned_key: whether there is one more key and value, which are trained, that all places see.
        zero_key: whether there is one more key and value of zeros that all places see, so that shares of the others
            need not sum to 1.
        key_size: D, of a head's queries and keys; None for F / n_heads.
        value_size: E, of a head's values; None for D.
        n_units: features of the output; None for F.

    Shapes:
        x: (N, T, F).   y: (N, T, n_units).   kernel: (F, H (2 D + E)).   bias: (H (2 D + E),).
        output_kernel: (H E, n_units).   output_bias: (n_units,).   learned_key: (H D,).   learned_value: (H E,).

    Raises:
        ShapeError: the input is no sequence, n_heads does not divide its features, or the attention_mask is of other
            places (at compile time).

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2. The engine `cpu` keeps no T x T matrix: Rabe & Staats 2021,
        arXiv:2112.05682. The learned key and that of zeros are those of PyTorch, add_bias_kv and add_zero_attn.
    """

    def output_shape(self, shape: Shape) -> Shape:
        require_sequence(shape)
        require_places(self.attending.mask, shape[0], shape[0])
        return shape[0], self.sizes(shape[1]).units

    def output_lengths(self, shape: Shape, lengths: Array) -> Array:
        return lengths

    def may_be_cut(self, shape: Shape, places: int) -> bool:
        return self.attention_mask is None

    def params(self, shape: Shape) -> dict[str, Param]:
        features, (keys, values, units) = shape[1], self.sizes(shape[1])
        found = {}
        made = 2 * keys + values
        for name, size, width, fan_out in (("", features, made, keys), ("output_", values, units, units)):
            found[f"{name}kernel"] = Param((size, width), self.init, size, fan_out, decay=True)
            if self.bias:
                found[f"{name}bias"] = Param((width,), self.bias_init, size, fan_out)
        if self.learned_key:
            found["learned_key"] = Param((keys,), self.init, features, keys)
            found["learned_value"] = Param((values,), self.init, features, values)
        return found

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        ops, (samples, places, features) = ctx.ops, x.shape
        keys, values, units = self.sizes(features)
        made = ops.product(x.reshape(-1, features), p["kernel"]) + p.get("bias", 0)
        q, k, v = (part.reshape(samples, places, -1) for part in ops.split(made, (keys, keys, values)))
        lengths = Lengths(ctx.lengths, ctx.lengths)
        found, cache = attend(ctx, q, k, v, self.attending, lengths, self.learned(p))
        found = found.reshape(-1, values)
        y = ops.product(found, p["output_kernel"]) + p.get("output_bias", 0)
        return y.reshape(samples, places, units), (x, cache, found)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        x, cache, found = cache
        ops, features = ctx.ops, x.shape[2]
        rows = ops.real_places(dy, ctx.lengths).reshape(-1, dy.shape[2])
        g["output_kernel"][...] = ops.product_sum(found, rows)
        dfound = ops.product(rows, p["output_kernel"].T).reshape(*x.shape[:2], -1)
        slopes = attend_back(ctx, cache, dfound, self.attending, Lengths(ctx.lengths, ctx.lengths))
        made = ops.concatenate(slopes[:3]).reshape(x.shape[0] * x.shape[1], -1)
        g["kernel"][...] = ops.product_sum(x.reshape(-1, features), made)
        if self.bias:
            g["bias"][...] = ops.sum(made, axis=0)
            g["output_bias"][...] = ops.sum(rows, axis=0)
        if slopes.learned:
            g["learned_key"][...], g["learned_value"][...] = slopes.learned
        return ops.product(made, p["kernel"].T).reshape(x.shape)

    def multiply_adds(self, shape: Shape) -> int:
        (places, features), (keys, values, units) = shape, self.sizes(shape[1])
        seen = places + bool(self.learned_key) + bool(self.zero_key)
        return places * (features * (2 * keys + values) + seen * (keys + values) + values * units)
