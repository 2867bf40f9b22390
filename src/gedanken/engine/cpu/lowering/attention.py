"""Attention: products that make queries, keys and values, what each head finds, and a product of that."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from gedanken.engine.cpu.kernels.attention import Given, Heads, Places, Slopes
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.base import Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.dense import dense
from gedanken.engine.cpu.lowering.time import cut_ends
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import MultiHeadAttention
from gedanken.layers.attending import Attending
from gedanken.layers.stages import LayerStage
from gedanken.types import Shape

ROWS = 32  # queries at a time: their scores for some hundred places stay in a first-level cache


class Sizes(NamedTuple):
    """Places of queries and of keys, and the numbers of a head's key and of its value."""

    queries: int
    keys: int
    size: int
    width: int


def attention(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower attention of the places of sequences to each other."""
    layer, (places, features) = stage.layer, stage.shape
    assert isinstance(layer, MultiHeadAttention)
    size, lengths = features // layer.n_heads, low.lengths(stage)
    thirds, back_to_x = dense(low, _product(stage, "", (places, 3 * features)), x, LINEAR)
    q, k, v = _thirds(thirds, features)
    given = Given(q=q, k=k, v=v, query_lengths=lengths, key_lengths=lengths)
    found, gradients = attend(low, given, Sizes(places, places, size, size), layer.attending)
    y, back_to_found = dense(low, _product(stage, "output_", stage.shape), found, LINEAR)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dfound = back_to_found(cut_ends(low, stage, dy) if low.has_lengths else dy, True)
        assert dfound is not None
        dthirds = low.buffer((low.samples, places, 3 * features))
        gradients(dfound, *_thirds(dthirds, features))
        return back_to_x(dthirds, wanted)

    return y, backward


def _thirds(numbers: Buffer, features: int) -> tuple[Places, Places, Places]:
    q, k, v = (Places(numbers=numbers, start=third * features, row=3 * features) for third in range(3))
    return q, k, v


# Emits the backward instructions: (gradient of what was found, where those of queries, keys and values go).
Gradients = Callable[[Buffer, Places, Places, Places], None]


def attend(low: Lowering, given: Given, sizes: Sizes, how: Attending) -> tuple[Buffer, Gradients]:
    """Emit what each head finds, (samples, queries, heads * width); see `layers.attending.attend`.

    Queries, keys and values, and their gradients, may stand anywhere, such as in thirds of one array.
    """
    tasks, h = low.samples * how.n_heads, _heads(low, sizes, how)
    found = low.buffer((low.samples, sizes.queries, how.n_heads * sizes.width))
    sums = low.buffer((tasks, sizes.queries, 2))
    wide, deep, broad, rows = (getattr(h, name) for name in ("wide", "deep", "broad", "rows"))
    room = sizes.size * wide + sizes.keys * broad + rows * (wide + broad)
    low.program.add("attention.forward", tasks, room, given=given, found=found, sums=sums, h=h)

    def gradients(dfound: Buffer, dq: Places, dk: Places, dv: Places) -> None:
        slopes = Slopes(found=found, dfound=dfound, sums=sums, dq=dq, dk=dk, dv=dv)
        room = (sizes.size + sizes.width) * wide + sizes.keys * (2 * deep + broad) + 2 * rows * (wide + deep + broad)
        low.program.add("attention.gradient", tasks, room, given=given, s=slopes, h=h)

    return found, gradients


def _heads(low: Lowering, sizes: Sizes, how: Attending) -> Heads:
    wide, deep, broad = (cut(count, low.lanes) * low.lanes for count in sizes[1:])
    return Heads(
        queries=sizes.queries, keys=sizes.keys, heads=how.n_heads, size=sizes.size, width=sizes.width,
        causal=int(how.causal), rows=min(ROWS, sizes.queries), wide=wide, deep=deep, broad=broad,
        scale=1 / math.sqrt(sizes.size), zero_offset=low.zero_offset,
    )  # fmt: skip


def _product(stage: LayerStage, name: str, output_shape: Shape) -> LayerStage:
    """Return one of the two products as a dense layer of its own."""
    p, g = (
        {key.removeprefix(name): view for key, view in views.items() if key in (f"{name}kernel", f"{name}bias")}
        for views in (stage.p, stage.g)
    )
    return replace(stage, output_shape=output_shape, p=p, g=g)
