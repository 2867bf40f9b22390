"""Attention: a product that makes queries, keys and values, what each head finds, and a product of that."""

import math
from dataclasses import replace
from typing import Any

from gedanken.engine.cpu.kernels.attention import Heads, Slopes
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.base import Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.dense import dense
from gedanken.engine.cpu.lowering.time import cut_ends
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import MultiHeadAttention
from gedanken.layers.stages import LayerStage
from gedanken.types import Shape

ROWS = 32  # queries at a time: their scores for some hundred places stay in a first-level cache


def attention(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower attention of the places of sequences to each other."""
    layer, (places, features) = stage.layer, stage.shape
    assert isinstance(layer, MultiHeadAttention)
    heads, tasks = _heads(low, layer, stage.shape), low.samples * layer.n_heads
    thirds, back_to_x = dense(low, _product(stage, "", (places, 3 * features)), x, LINEAR)
    found, sums = low.buffer((low.samples, places, features)), low.buffer((tasks, places, 2))
    wide, deep, size, rows = (getattr(heads, name) for name in ("wide", "deep", "size", "rows"))
    kept = size * wide + places * deep
    told: dict[str, Any] = {"lengths": low.lengths(stage), "h": heads}
    low.program.add("attention.forward", tasks, kept + rows * (wide + deep), thirds=thirds, y=found, sums=sums, **told)
    y, back_to_found = dense(low, _product(stage, "output_", stage.shape), found, LINEAR)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dfound = back_to_found(cut_ends(low, stage, dy) if low.has_lengths else dy, True)
        assert dfound is not None
        dthirds = low.buffer((low.samples, places, 3 * features))
        slopes = Slopes(thirds=thirds, y=found, dy=dfound, sums=sums, d=dthirds)
        scratch = 2 * size * wide + 3 * places * deep + rows * (2 * wide + 3 * deep)
        low.program.add("attention.gradient", tasks, scratch, s=slopes, **told)
        return back_to_x(dthirds, wanted)

    return y, backward


def _heads(low: Lowering, layer: MultiHeadAttention, shape: Shape) -> Heads:
    places, features = shape
    size = features // layer.n_heads
    wide, deep = (cut(count, low.lanes) * low.lanes for count in (places, size))
    return Heads(
        places=places, heads=layer.n_heads, size=size, causal=int(layer.causal), rows=min(ROWS, places), wide=wide,
        deep=deep, scale=1 / math.sqrt(size), zero_offset=low.zero_offset,
    )  # fmt: skip


def _product(stage: LayerStage, name: str, output_shape: Shape) -> LayerStage:
    """Return one of the two products as a dense layer of its own."""
    p, g = (
        {key.removeprefix(name): view for key, view in views.items() if key in (f"{name}kernel", f"{name}bias")}
        for views in (stage.p, stage.g)
    )
    return replace(stage, output_shape=output_shape, p=p, g=g)
