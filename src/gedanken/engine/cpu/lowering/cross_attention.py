"""Attention to another sequence: products of both, what each head finds, a product of that, and gradients by name."""

from dataclasses import replace
from typing import Any

from gedanken.by_name import ByName
from gedanken.engine.cpu.kernels.attention import Places
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.attention import Parts, Sizes, attend, product_of
from gedanken.engine.cpu.lowering.base import Lowered, Lowering
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
    (places, features), (seen, _) = (shape[name] for name in layer.taken[:2])
    keys, values, units = layer.sizes(features)
    made, backs = [], []
    for role, name, width in zip(ROLES, layer.taken, (keys, keys, values), strict=True):
        part, back = _product(low, stage, role, x.parts[name], width)
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
        for name, back, d in zip(layer.taken, backs, ds, strict=True):
            if dx := back(d, wanted):
                dxs.setdefault(name, []).append(dx)
        return (
            ByName({name: join(low, "sum", parts, parts[0].shape) for name, parts in dxs.items()}) if wanted else None
        )

    return ByName({**x.parts, layer.queries: y}) if layer.names else y, backward


def _product(low: Lowering, stage: LayerStage, role: str, x: Buffer, width: int) -> Lowered:
    """Emit queries, keys or values of all heads, `width` numbers, of what they are made of."""
    layer, shape, norm = stage.layer, x.shape[1:], None
    assert isinstance(layer, CrossAttention)
    if layer.norm and role == ROLES[0]:
        own = replace(stage, layer=layer.norm, shape=shape, output_shape=shape, p=of_norm(stage.p), g=of_norm(stage.g))
        x, norm = layer_norm(low, own, x)
    y, back = dense(low, product_of(stage, f"{role}_", shape, (shape[0], width)), x, LINEAR)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx = back(dy, wanted or norm is not None)
        return norm(dx, wanted) if norm and dx else dx

    return y, backward


def _parts(arrays: list[Buffer]) -> Parts:
    """Return queries, keys and values that stand in arrays of their own."""
    return Parts(*(Places(numbers=one, start=0, row=one.shape[2]) for one in arrays))
