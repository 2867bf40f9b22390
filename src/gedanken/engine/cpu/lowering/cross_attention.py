"""Attention to another sequence: products of both, what each head finds, a product of that, and gradients by name."""

from dataclasses import replace
from typing import Any

from gedanken.by_name import ByName
from gedanken.engine.cpu.kernels.attention import Places
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.attention import Parts, Sizes, attend, product_of
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.dense import dense
from gedanken.engine.cpu.lowering.join import join
from gedanken.engine.cpu.lowering.norm import layer_norm
from gedanken.engine.cpu.lowering.time import cut_ends
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import CrossAttention
from gedanken.layers.cross_attention import ROLES, of_norm
from gedanken.layers.stages import LayerStage
from gedanken.types import AnyShape


def cross_attention(low: Lowering, stage: LayerStage, x: ByName) -> tuple[Any, Any]:
    """Lower attention of the places of one input to those of another."""
    layer = stage.layer
    assert isinstance(layer, CrossAttention)
    shape: AnyShape = stage.shape
    shapes = [shape[name] for name in layer.taken]
    (places, features), (seen, _), _ = shapes
    keys, values, units = layer.sizes(features)
    given = [x.parts[name] for name in layer.taken]
    back_through_norm = None
    if layer.norm:
        own = {"shape": shapes[0], "output_shape": shapes[0], "p": of_norm(stage.p), "g": of_norm(stage.g)}
        given[0], back_through_norm = layer_norm(low, replace(stage, layer=layer.norm, **own), given[0])
    made, backs = [], []
    for role, one, of_one, width in zip(ROLES, given, shapes, (keys, keys, values), strict=True):
        part, back = dense(low, product_of(stage, f"{role}_", of_one, (of_one[0], width)), one, LINEAR)
        made.append(part)
        backs.append(back)
    sizes = Sizes(places, seen, keys // layer.n_heads, values // layer.n_heads)
    lengths = [low.lengths(stage, name) for name in layer.taken[:2]]
    found, gradients = attend(low, replace(stage, uncut=None), _parts(made), sizes, lengths)  # it draws for all or none
    last = product_of(stage, "output_", (places, values), (places, units))
    y, back_to_found = dense(low, last, found, LINEAR)
    if layer.residual:
        y = join(low, "sum", [y, x.parts[layer.queries]], y.shape)

    def backward(dy: Any, wanted: bool) -> ByName | None:
        ends = dy.parts[layer.queries] if isinstance(dy, ByName) else dy
        if low.has_lengths:
            ends = cut_ends(low, stage, ends, (places, units, -1, 1), layer.queries)
        dfound = back_to_found(ends, True)
        assert dfound is not None
        ds = [low.buffer(part.shape) for part in made]
        gradients(dfound, _parts(ds))
        passed = dy.parts if isinstance(dy, ByName) else {}
        dxs = {name: [one] for name, one in passed.items() if name != layer.queries}
        dxs[layer.queries] = [ends] if layer.residual else []
        for role, name, back, d in zip(ROLES, layer.taken, backs, ds, strict=True):
            through_norm = back_through_norm if role == "query" else None
            dx = back(d, wanted or through_norm is not None)
            if through_norm and dx:
                dx = through_norm(dx, wanted)
            if dx:
                dxs.setdefault(name, []).append(dx)
        return (
            ByName({name: join(low, "sum", parts, parts[0].shape) for name, parts in dxs.items()}) if wanted else None
        )

    return ByName({**x.parts, layer.queries: y}) if layer.names else y, backward


def _parts(arrays: list[Buffer]) -> Parts:
    """Return queries, keys and values that stand in arrays of their own."""
    return Parts(*(Places(numbers=one, start=0, row=one.shape[2]) for one in arrays))
