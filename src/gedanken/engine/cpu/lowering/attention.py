"""Attention: products that make queries, keys and values, what each head finds, and a product of that."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from gedanken.engine.cpu.kernels.attention import Given, Places, Slopes
from gedanken.engine.cpu.kernels.shares import Heads
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.base import Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.dense import dense
from gedanken.engine.cpu.lowering.noise import draw_of
from gedanken.engine.cpu.lowering.time import cut_ends
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import MultiHeadAttention
from gedanken.layers.attention import Attention
from gedanken.layers.stages import LayerStage
from gedanken.random import DRAW_RANGE, DRAWS_PER_BLOCK, Purpose
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
    keys, values, _ = widths = layer.sizes(features)
    made, back_to_x = dense(low, product_of(stage, "", stage.shape, (places, 2 * keys + values)), x, LINEAR)
    sizes = Sizes(places, places, keys // layer.n_heads, values // layer.n_heads)
    found, gradients = attend(low, stage, _parts(made, widths), sizes)
    y, back_to_found = dense(low, product_of(stage, "output_", (places, values), stage.output_shape), found, LINEAR)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        ends = (places, stage.output_shape[1], -1, 1)
        dfound = back_to_found(cut_ends(low, stage, dy, ends) if low.has_lengths else dy, True)
        assert dfound is not None
        d = low.buffer(made.shape)
        gradients(dfound, _parts(d, widths))
        return back_to_x(d, wanted)

    return y, backward


class Parts(NamedTuple):
    """Where queries, keys and values of all heads stand, or their gradients."""

    q: Places
    k: Places
    v: Places


def _parts(numbers: Buffer, widths: tuple[int, int, int]) -> Parts:
    """Return the parts of an array in which queries, keys and values stand beside each other."""
    keys, row = widths[0], numbers.shape[2]
    return Parts(*(Places(numbers=numbers, start=part * keys, row=row) for part in range(3)))


Gradients = Callable[[Buffer, Parts], None]  # emits the backward instructions, of the gradient of what was found


def attend(
    low: Lowering, stage: LayerStage, parts: Parts, sizes: Sizes, lengths: Any = None
) -> tuple[Buffer, Gradients]:
    """Emit what each head finds, (samples, queries, heads * width); see `layers.attending.attend`.

    Args:
        stage: a layer of the class Attention.
        parts: may stand anywhere, such as in parts of one array, as may their gradients.
        sizes: of them.
        lengths: of queries and of keys; those of the stage by default.
    """
    layer = stage.layer
    assert isinstance(layer, Attention)
    tasks, h = low.samples * layer.n_heads, _heads(low, stage, sizes)
    found, none = low.buffer((low.samples, sizes.queries, layer.n_heads * sizes.width)), low.zeros(1)
    mask, (of_queries, of_keys) = layer.attending.mask, lengths or [low.lengths(stage)] * 2
    given = Given(
        **parts._asdict(), learned_key=stage.p.get("learned_key", none), query_lengths=of_queries, key_lengths=of_keys,
        learned_value=stage.p.get("learned_value", none), mask=none if mask is None else mask.astype(low.real),
    )  # fmt: skip
    sums = low.buffer((tasks, sizes.queries, 2))
    wide, deep, broad, rows = (getattr(h, name) for name in ("wide", "deep", "broad", "rows"))
    every, line = sizes.keys + h.more, 2 * wide + 64
    squares = (rows + 2 * low.lanes) * (low.lanes + 1)
    room = sizes.size * wide + every * broad + rows * (wide + broad + deep) + line
    low.program.add("attention.forward", tasks, room, given=given, found=found, sums=sums, h=h)

    def gradients(dfound: Buffer, d: Parts) -> None:
        partial = [low.buffer((tasks, size) if h.learned else (1,)) for size in (sizes.size, sizes.width)]
        slopes = Slopes(
            found=found, dfound=dfound, sums=sums, dq=d.q, dk=d.k, dv=d.v, dlearned_key=partial[0],
            dlearned_value=partial[1],
        )  # fmt: skip
        room = (sizes.size + sizes.width) * wide + every * (2 * deep + broad) + squares + line
        room += rows * (2 * wide + 2 * deep + broad)
        low.program.add("attention.gradient", tasks, room, given=given, s=slopes, h=h)
        for name, sums_of in zip(("learned_key", "learned_value"), partial, strict=True):
            if name in stage.g:
                low.add_up(sums_of, stage.g[name], low.samples)

    return found, gradients


def _heads(low: Lowering, stage: LayerStage, sizes: Sizes) -> Heads:
    layer: Any = stage.layer
    how, learned = layer.attending, int(layer.learned_key)
    more = learned + how.zero_key
    wide, deep, broad = (cut(count, low.lanes) * low.lanes for count in (sizes.keys + more, sizes.size, sizes.width))
    dropped = low.train and not stage.frozen and how.threshold < DRAW_RANGE
    shortened = 0 if stage.uncut is None else stage.uncut[0] - sizes.queries  # queries and keys alike
    drawn = sizes.queries + shortened, sizes.keys + more + shortened
    blocks = cut(how.n_heads * math.prod(drawn), DRAWS_PER_BLOCK)
    several = how.mask is not None and len(how.mask) > 1
    return Heads(
        queries=sizes.queries, keys=sizes.keys, more=more, learned=learned, heads=how.n_heads, size=sizes.size,
        width=sizes.width, causal=int(how.causal), masked=int(how.mask is not None),
        tables=sizes.queries * sizes.keys if several else 0, dropped=int(dropped),
        draw=draw_of(low, stage, Purpose.DROPOUT, blocks, how.threshold), drawn_queries=drawn[0], drawn_keys=drawn[1],
        kept=DRAW_RANGE / how.threshold if dropped else 1.0,
        rows=min(ROWS, sizes.queries), wide=wide, deep=deep, broad=broad, scale=1 / math.sqrt(sizes.size),
        zero_offset=low.zero_offset,
    )  # fmt: skip


def product_of(stage: LayerStage, name: str, shape: Shape, output_shape: Shape) -> LayerStage:
    """Return one of the two products as a dense layer of its own."""
    p, g = (
        {key.removeprefix(name): view for key, view in views.items() if key in (f"{name}kernel", f"{name}bias")}
        for views in (stage.p, stage.g)
    )
    return replace(stage, shape=shape, output_shape=output_shape, p=p, g=g)
