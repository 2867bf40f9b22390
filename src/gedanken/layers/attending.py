"""What places find at others by queries, keys and values: the formula that layers of attention share."""

import math
from typing import Any, NamedTuple

import numpy as np

from gedanken.layers.base import Context
from gedanken.ops import Ops
from gedanken.random import DRAW_RANGE
from gedanken.types import Array


class Attending(NamedTuple):
    """How queries find values.

    Args:
        n_heads: how many heads stand beside each other in queries, keys and values.
        causal: whether the query of a place sees keys of the same place and of those before it only.
        mask: (1 or n_heads, T, U), what is added to scores, -inf where a query does not see a key; None for nothing.
        threshold: in training a share is kept where its draw is below; DRAW_RANGE keeps all.
        zero_key: whether all queries see one more key, and its value, that are 0.
    """

    n_heads: int
    causal: bool = False
    mask: Array | None = None
    threshold: int = DRAW_RANGE
    zero_key: bool = False


class Lengths(NamedTuple):
    """How many places are real: of queries and of keys, each (N,) or None where all are."""

    queries: Array | None = None
    keys: Array | None = None


class Learned(NamedTuple):
    """One more key, and its value, that all queries see: (H * D,) and (H * E,)."""

    key: Array
    value: Array


class Slopes(NamedTuple):
    """Gradients with respect to queries, keys, values and, where there is one, the learned key and its value."""

    q: Array
    k: Array
    v: Array
    learned: Learned | None


def attend(
    ctx: Context, q: Array, k: Array, v: Array, how: Attending, lengths: Lengths, learned: Learned | None = None
) -> tuple[Array, Any]:
    """Return what each query finds, and the cache for `attend_back`.

        shares[n, h, t] = softmax over u of   q[n, h, t] . k[n, h, u] / sqrt(D) + mask[h, t, u]
        found[n, h, t] = sum over u of shares[n, h, t, u] * v[n, h, u]

    Keys behind the end of their sequence have no share, and queries behind that of theirs find 0, as do those that
    see no key. The learned key and that of zeros stand before all others.

    Shapes:
        q: (N, T, H * D).   k: (N, U, H * D).   v: (N, U, H * E).   found: (N, T, H * E).
    """
    ops, xp = ctx.ops, ctx.ops.xp
    more, places = (learned is not None) + how.zero_key, (q.shape[1], k.shape[1])
    k, v = (
        _by_head(_with_more(ops, ops.real_places(x, lengths.keys), row, how.zero_key), how.n_heads)
        for x, row in ((k, learned and learned.key), (v, learned and learned.value))
    )
    q = _by_head(q, how.n_heads) * q.dtype.type(_scale(q, how))
    scores = xp.matmul(q, k.swapaxes(2, 3))
    near, mask = _seen(ops, places, how, lengths.keys, more)
    if mask is None:
        shares = ops.softmax(scores, near)
    else:
        shares = ops.softmax((scores + mask).astype(q.dtype), near)
        shares = xp.where((near & (mask > -np.inf)).any(axis=3, keepdims=True), shares, q.dtype.type(0))
    kept = _kept(ctx, shares, how)
    used = shares if kept is None else shares * kept
    found = ops.real_places(_side_by_side(_sum_of_values(ops, used, v, how, more)), lengths.queries)
    return found, (q, k, v, shares, kept, learned is not None)


def attend_back(ctx: Context, cache: Any, dfound: Array, how: Attending, lengths: Lengths) -> Slopes:
    """Return the gradients.

    Shapes:
        dfound: (N, T, H * E).   the results: as what they are with respect to.
    """
    ops, xp = ctx.ops, ctx.ops.xp
    q, k, v, shares, kept, has_learned = cache
    dfound = _by_head(ops.real_places(dfound, lengths.queries), how.n_heads)
    dshares = xp.matmul(dfound, v.swapaxes(2, 3))
    if kept is not None:
        dshares = dshares * kept
    mean = ops.sum(dshares * shares, axis=3, keepdims=True)
    dscores = shares * (dshares - mean)
    used = shares if kept is None else shares * kept
    parts = xp.matmul(dscores, k), xp.matmul(dscores.swapaxes(2, 3), q), xp.matmul(used.swapaxes(2, 3), dfound)
    dq, dk, dv = (_side_by_side(part).astype(q.dtype) for part in parts)
    dq *= q.dtype.type(_scale(dq, how))
    more = has_learned + how.zero_key
    rows = Learned(ops.sum(dk[:, 0], axis=0), ops.sum(dv[:, 0], axis=0)) if has_learned else None
    return Slopes(dq, dk[:, more:], dv[:, more:], rows)


def _scale(q: Array, how: Attending) -> float:
    """Return what queries are multiplied by: their variance then does not grow with a head's size."""
    return 1 / math.sqrt(q.shape[2] // how.n_heads)


def _with_more(ops: Ops, x: Array, row: Array | None, zeros: bool) -> Array:
    """Return x (N, U, F) with a row, and one of zeros, before each sample's."""
    xp, more = ops.xp, []
    if row is not None:
        more.append(xp.broadcast_to(row, (len(x), 1, x.shape[2])))
    if zeros:
        more.append(xp.zeros((len(x), 1, x.shape[2]), x.dtype))
    return xp.concatenate([*more, x], axis=1) if more else x


def _seen(
    ops: Ops, places: tuple[int, int], how: Attending, lengths: Array | None, more: int
) -> tuple[Array, Array | None]:
    """Return which keys are real and not behind a query where these are causal, (N or 1, 1, T or 1, U); and the mask.

    `more` keys that all queries see stand before those of `places`.
    """
    xp, at = ops.xp, ops.xp.arange(places[1])
    near = xp.ones((1, 1, 1, places[1]), bool) if lengths is None else at < lengths[:, None, None, None]
    if how.causal:
        near = near & (at <= xp.arange(places[0])[:, None])
    before = ((0, 0), (0, 0), (0, 0), (more, 0))
    mask = None if how.mask is None else xp.pad(ops.asarray(how.mask)[None], before)
    return xp.pad(near, before, constant_values=True), mask


def _kept(ctx: Context, shares: Array, how: Attending) -> Array | None:
    """Return by how much shares are multiplied in training, 0 where they are dropped; None where all are kept."""
    if not ctx.train or how.threshold == DRAW_RANGE:
        return None
    samples, heads, queries, keys = shares.shape
    cut = 0 if ctx.places is None else ctx.places - queries  # from queries and keys alike, which are of one sequence
    draws = ctx.draws((samples, heads, queries + cut, keys + cut))[:, :, :queries, :keys]
    kept = (draws < how.threshold).astype(shares.dtype)
    return kept * shares.dtype.type(DRAW_RANGE / how.threshold)


def _sum_of_values(ops: Ops, shares: Array, v: Array, how: Attending, more: int) -> Array:
    """Return shares @ v; a value that is not finite is not seen by queries before it where these are causal."""
    xp = ops.xp
    if not how.causal or xp.isfinite(v).all():
        return xp.matmul(shares, v)
    ends = [more + place + 1 for place in range(shares.shape[2])]
    return xp.stack([xp.matmul(shares[:, :, i, None, :end], v[:, :, :end])[:, :, 0] for i, end in enumerate(ends)], 2)


def _by_head(x: Array, heads: int) -> Array:
    """Return (N, T, H * D) as (N, H, T, D)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _side_by_side(x: Array) -> Array:
    """Return (N, H, T, D) as (N, T, H * D)."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)
