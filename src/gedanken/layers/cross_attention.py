"""Attention of the places of one sequence to those of another."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from gedanken.by_name import ByName
from gedanken.checks import require, truth
from gedanken.errors import ShapeError
from gedanken.layers.attending import Lengths, attend, attend_back
from gedanken.layers.attention import Attention
from gedanken.layers.attention_mask import require_places
from gedanken.layers.base import Context, Param
from gedanken.layers.conv1d import require_sequence
from gedanken.layers.layer_norm import LayerNorm, RMSNorm
from gedanken.types import AnyShape, Array, Arrays, Shape

ROLES = ("query", "key", "value")
NORM = "norm_"  # begins the names of the norm's parameters


@dataclass(frozen=True, eq=False, repr=False)
class CrossAttention(Attention):
    """Let each place of one sequence take in what it finds at the places of another, in some ways at once.

        q, k, v = norm(x[queries]) @ query_kernel + query_bias, x[keys] @ key_kernel + key_bias,
                  x[values] @ value_kernel + value_bias, each cut into H = n_heads heads, of D, D and E features
        scores[n, h, t, u] = q[n, h, t] . k[n, h, u] / sqrt(D) + mask[h, t, u]
        shares[n, h, t] = softmax of scores[n, h, t] over u
        y = (sum over u of shares[n, h, t, u] * v[n, h, u], heads beside each other) @ output_kernel + output_bias

    It takes inputs by name: those of the network, or what Branches(..., merge="names") or Heads give. Places behind the
    end of a sequence have no share, and neither sequence has to be as long as the other.

    Args:
        n_heads: at least 1; it divides the features of the queries, unless key_size is given.
        causal: whether a place sees the same place of the other sequence and those before it only.
        bias, init, bias_init, keep, learned_key, zero_key, key_size, value_size, n_units: as of MultiHeadAttention, F
            being the features of the queries.
        attention_mask: which place (row) sees which of the other sequence (column), a table (T, U) or (n_heads, T, U).
        queries: name of the sequence whose places look.
        keys: name of the sequence that they look at.
        values: name of what they take from there, of as many places; None for what `keys` names.
        norm: what normalises the queries' input, a LayerNorm() or RMSNorm() of features; None is nothing.
        residual: whether the queries' input is added to y, as it was before `norm`.
        names: whether all inputs go on by their names, with y in the place of the queries; else y goes on alone.

    Shapes:
        x[queries]: (N, T, F).   x[keys]: (N, U, G).   x[values]: (N, U, G2).   y: (N, T, n_units).
        query_kernel: (F, H D).   key_kernel: (G, H D).   value_kernel: (G2, H E).   output_kernel: (H E, n_units).
        The biases and the learned key and value: as many numbers as their kernels have columns.
        norm_scale, norm_shift: (F,).

    Raises:
        ShapeError: an input is no sequence, keys and values have other places or lengths, the residual has other
            features, or an input would be left aside (at compile time).

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, sections 3.1 and 3.2.3; Xiong et al. 2020, arXiv:2002.04745 (norm).
    """

    _: KW_ONLY
    queries: str
    keys: str
    values: str | None = None
    norm: LayerNorm | RMSNorm | None = None
    residual: bool = False
    names: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("queries", "keys", "values"):
            name = getattr(self, field)
            right = (isinstance(name, str) and name.isidentifier()) or (field == "values" and name is None)
            require(right, f"CrossAttention {field}", "be a name that is a word such as target", name)
        known = self.norm is None or (type(self.norm) in (LayerNorm, RMSNorm) and self.norm.axes is None)
        require(known, "CrossAttention norm", "be a LayerNorm or RMSNorm without axes, or None", self.norm)
        truth("CrossAttention residual", self.residual)
        truth("CrossAttention names", self.names)

    @property
    def taken(self) -> tuple[str, str, str]:
        """The names of queries, keys and values."""
        return self.queries, self.keys, self.values or self.keys

    @property
    def input_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(dict.fromkeys(self.taken))

    @property
    def gives_names(self) -> bool:  # type: ignore[override]
        return self.names

    def output_shape(self, shape: AnyShape) -> AnyShape:
        for name in self.input_names:
            try:
                require_sequence(shape[name])
            except ShapeError as error:
                raise ShapeError(f"{error.rule} of {name!r}", error.hint) from None
        (places, features), (seen, _), (valued, _) = (shape[name] for name in self.taken)
        if seen != valued:
            raise ShapeError(f"has {seen} places of keys {self.keys!r} and {valued} of values {self.values!r}")
        require_places(self.attending.mask, places, seen)
        units = self.sizes(features).units
        if self.residual and units != features:
            raise ShapeError(f"makes {units} features, which residual=True adds to the {features} of {self.queries!r}")
        left = [name for name in shape if name not in self.taken]
        if left and not self.names:
            raise ShapeError(f"leaves the input {left[0]!r} aside", "hand it on with names=True, or merge it before")
        return {**shape, self.queries: (places, units)} if self.names else (places, units)

    def output_lengths(self, shape: AnyShape, lengths: Any) -> Any:
        keys, values = (lengths.get(name) for name in self.taken[1:])
        if (keys is None) != (values is None) or bool((keys != values).any() if keys is not None else False):
            raise ShapeError(f"takes keys {self.keys!r} and values {self.values!r} of other lengths of sequences")
        return lengths if self.names else lengths.get(self.queries)

    def may_be_cut(self, shape: AnyShape, places: Any) -> bool:
        return self.attention_mask is None and self.keep == 1  # each has numbers for all places

    def params(self, shape: AnyShape) -> dict[str, Param]:
        keys, values, units = self.sizes(shape[self.queries][1])
        widths = [
            *((f"{role}_", shape[name][1], width) for role, name, width in self._made((keys, keys, values))),
            ("output_", values, units),
        ]
        found = {}
        for name, size, width in widths:
            found[f"{name}kernel"] = Param((size, width), self.init, size, width, decay=True)
            if self.bias:
                found[f"{name}bias"] = Param((width,), self.bias_init, size, width)
        if self.learned_key:
            for role, name, width in self._made((keys, keys, values))[1:]:
                found[f"learned_{role}"] = Param((width,), self.init, shape[name][1], width)
        normed = self.norm.params(shape[self.queries]) if self.norm else {}
        return found | {NORM + name: param for name, param in normed.items()}

    def _made(self, widths: tuple[int, int, int]) -> list[tuple[str, str, int]]:
        """Return role, name and width of queries, keys and values."""
        return list(zip(ROLES, self.taken, widths, strict=True))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Any) -> tuple[Any, Any]:
        ops, given = ctx.ops, [x.parts[name] for name in self.taken]
        normed = None
        if self.norm:
            given[0], normed = self.norm.forward(ctx, of_norm(p), {}, given[0])
        q, k, v = (
            (ops.product(one.reshape(-1, one.shape[2]), p[f"{role}_kernel"]) + p.get(f"{role}_bias", 0)).reshape(
                *one.shape[:2], -1
            )
            for role, one in zip(ROLES, given, strict=True)
        )
        found, cache = attend(ctx, q, k, v, self.attending, self._lengths(ctx), self.learned(p))
        found = found.reshape(-1, found.shape[2])
        y = (ops.product(found, p["output_kernel"]) + p.get("output_bias", 0)).reshape(*q.shape[:2], -1)
        if self.residual:
            y = y + x.parts[self.queries]
        return ByName({**x.parts, self.queries: y}) if self.names else y, (given, normed, cache, found)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Any) -> Any:
        given, normed, cache, found = cache
        ops, lengths = ctx.ops, self._lengths(ctx)
        ends = ops.real_places(dy.parts[self.queries] if self.names else dy, lengths.queries)
        rows = ends.reshape(-1, ends.shape[2])
        g["output_kernel"][...] = ops.product_sum(found, rows)
        dfound = ops.product(rows, p["output_kernel"].T).reshape(*ends.shape[:2], -1)
        slopes = attend_back(ctx, cache, dfound, self.attending, lengths)
        if slopes.learned:
            g["learned_key"][...], g["learned_value"][...] = slopes.learned
        if self.bias:
            g["output_bias"][...] = ops.sum(rows, axis=0)
        passed = {name: [one] for name, one in dy.parts.items() if name != self.queries} if self.names else {}
        dxs: dict[str, list[Array]] = {self.queries: [ends] if self.residual else [], **passed}
        for role, name, one, made in zip(ROLES, self.taken, given, slopes[:3], strict=True):
            d = made.reshape(-1, made.shape[2])
            g[f"{role}_kernel"][...] = ops.product_sum(one.reshape(-1, one.shape[2]), d)
            if self.bias:
                g[f"{role}_bias"][...] = ops.sum(d, axis=0)
            dx = ops.product(d, p[f"{role}_kernel"].T).reshape(one.shape)
            if self.norm and role == "query":
                dx = self.norm.backward(ctx, of_norm(p), of_norm(g), normed, dx)
            dxs.setdefault(name, []).append(dx)
        return ByName({name: ops.total(parts) for name, parts in dxs.items()})

    def _lengths(self, ctx: Context) -> Lengths:
        told: Mapping[str, Array] = ctx.lengths or {}  # type: ignore[assignment]
        return Lengths(told.get(self.queries), told.get(self.keys))

    def multiply_adds(self, shape: AnyShape) -> int:
        keys, values, units = self.sizes(shape[self.queries][1])
        made = sum(math.prod(shape[name]) * width for _, name, width in self._made((keys, keys, values)))
        places, seen = shape[self.queries][0], shape[self.keys][0] + bool(self.learned_key) + bool(self.zero_key)
        return made + places * (seen * (keys + values) + values * units)

    def activations(self, shape: AnyShape) -> int:
        made: Shape = shape[self.queries][0], self.sizes(shape[self.queries][1]).units
        return math.prod(made) + (math.prod(shape[self.queries]) if self.norm else 0)


def of_norm(views: Arrays) -> Arrays:
    """Return the norm's parameters, or their gradients, of those of a CrossAttention."""
    return {name.removeprefix(NORM): view for name, view in views.items() if name.startswith(NORM)}
