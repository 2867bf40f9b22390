"""What places find at others by queries, keys and values: the formula that layers of attention share."""

import math
from typing import Any, NamedTuple

import numpy as np

from gedanken.ops import Ops
from gedanken.types import Array


class Attending(NamedTuple):
    """How queries find values.

    Args:
        n_heads: how many heads stand beside each other in queries, keys and values.
        causal: whether the query of a place sees keys of the same place and of those before it only.
    """

    n_heads: int
    causal: bool = False


class Lengths(NamedTuple):
    """How many places are real: of queries and of keys, each (N,) or None where all are."""

    queries: Array | None = None
    keys: Array | None = None


def attend(ops: Ops, q: Array, k: Array, v: Array, how: Attending, lengths: Lengths) -> tuple[Array, Any]:
    """Return what each query finds, and the cache for `attend_back`.

        shares[n, h, t] = softmax over u of   q[n, h, t] . k[n, h, u] / sqrt(D)
        found[n, h, t] = sum over u of shares[n, h, t, u] * v[n, h, u]

    Keys behind the end of their sequence have no share, and queries behind that of theirs find 0.

    Shapes:
        q: (N, T, H * D).   k: (N, U, H * D).   v: (N, U, H * E).   found: (N, T, H * E).
    """
    xp = ops.xp
    k, v = ops.real_places(k, lengths.keys), ops.real_places(v, lengths.keys)
    q, k, v = (_by_head(x, how.n_heads) for x in (q, k, v))
    scores = xp.matmul(q, k.swapaxes(2, 3)) / math.sqrt(q.shape[3])
    sees = _seen(xp, scores.shape[2:], how, lengths.keys)
    shares = ops.softmax(xp.where(sees, scores, -np.inf).astype(q.dtype))
    found = ops.real_places(_side_by_side(xp.matmul(shares, v)), lengths.queries)
    return found, (q, k, v, shares)


def attend_back(
    ops: Ops, cache: Any, dfound: Array, how: Attending, lengths: Lengths
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients with respect to queries, keys and values.

    Shapes:
        dfound: (N, T, H * E).   dq, dk, dv: as q, k, v.
    """
    xp, (q, k, v, shares) = ops.xp, cache
    dfound = _by_head(ops.real_places(dfound, lengths.queries), how.n_heads)
    dshares = xp.matmul(dfound, v.swapaxes(2, 3))
    mean = ops.sum(dshares * shares, axis=3, keepdims=True)
    dscores = shares * (dshares - mean) / math.sqrt(q.shape[3])
    dq, dk = xp.matmul(dscores, k), xp.matmul(dscores.swapaxes(2, 3), q)
    dv = xp.matmul(shares.swapaxes(2, 3), dfound)
    made = (_side_by_side(one).astype(q.dtype) for one in (dq, dk, dv))
    return next(made), next(made), next(made)


def _seen(xp: Any, places: tuple[int, int], how: Attending, lengths: Array | None) -> Array:
    """Return which keys each query sees, (N or 1, 1, T or 1, U)."""
    at = xp.arange(places[1])
    real = xp.ones((1, 1, 1, places[1]), bool) if lengths is None else at < lengths[:, None, None, None]
    return real & (at <= xp.arange(places[0])[:, None]) if how.causal else real


def _by_head(x: Array, heads: int) -> Array:
    """Return (N, T, H * D) as (N, H, T, D)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _side_by_side(x: Array) -> Array:
    """Return (N, H, T, D) as (N, T, H * D)."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)
