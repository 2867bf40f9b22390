"""LayerNorm and RMSNorm, GroupNorm and InstanceNorm, LocalResponseNorm: one pass each way."""

import math

from gedanken.engine.cpu.kernels.blocks import LINE
from gedanken.engine.cpu.kernels.group_norm import GroupedNorm
from gedanken.engine.cpu.kernels.local_response import ROOM, Beside
from gedanken.engine.cpu.kernels.norm import Norm
from gedanken.engine.cpu.lowering.base import PIECE, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm, RMSNorm
from gedanken.layers.stages import LayerStage
from gedanken.types import Array


def layer_norm(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower LayerNorm or RMSNorm; a row is what has a mean of its own, an image or a vector."""
    layer, shape = stage.layer, stage.shape
    assert isinstance(layer, (LayerNorm, RMSNorm))
    channels = shape[-1]
    size = math.prod(shape) if len(shape) == 3 else channels
    rows = low.samples * math.prod(shape) // size
    piece = cut(PIECE, size)
    slots, width = cut(rows, piece), channels * max(1, min(LINE // channels, size // channels))
    y, moments = low.buffer((low.samples, *shape)), low.buffer((rows, 3))
    norm = Norm(
        rows=rows, size=size, channels=channels, width=width, piece=piece,
        centred=int(isinstance(layer, LayerNorm)), epsilon=layer.epsilon, scale=_scale(low, stage), moments=moments,
    )  # fmt: skip
    low.program.add("norm.forward", slots, 2 * width, x=x, y=y, shift=_shift(low, stage), n=norm)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx, shifts, scales = low.buffer(x.shape), low.buffer((slots, channels)), low.buffer((slots, channels))
        low.program.add("norm.gradient", slots, 7 * width, x=x, dy=dy, d=dx, shifts=shifts, scales=scales, n=norm)
        _add_up(low, stage, shifts, scales, slots)
        return dx if wanted else None

    return y, backward


def group_norm(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower GroupNorm or InstanceNorm; a group of channels, or a channel, has a mean of its own in each sample."""
    layer, shape = stage.layer, stage.shape
    assert isinstance(layer, (GroupNorm, InstanceNorm))
    channels, samples = shape[-1], low.samples
    groups = layer.n_groups if isinstance(layer, GroupNorm) else channels
    piece = cut(PIECE, math.prod(shape))
    y, moments = low.buffer((samples, *shape)), low.buffer((samples, groups, 3))
    norm = GroupedNorm(
        samples=samples, pixels=math.prod(shape[:-1]), channels=channels, groups=groups, piece=piece,
        epsilon=layer.epsilon, scale=_scale(low, stage), moments=moments,
    )  # fmt: skip
    low.program.add("group_norm.forward", cut(samples, piece), 7 * channels, x=x, y=y, shift=_shift(low, stage), n=norm)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx, shifts, scales = low.buffer(x.shape), low.buffer((samples, channels)), low.buffer((samples, channels))
        low.program.add(
            "group_norm.gradient", cut(samples, piece), 6 * channels, x=x, dy=dy, d=dx, shifts=shifts, scales=scales,
            n=norm,
        )  # fmt: skip
        _add_up(low, stage, shifts, scales, samples)
        return dx if wanted else None

    return y, backward


def local_response(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower LocalResponseNorm; every pixel is by itself."""
    layer, channels = stage.layer, stage.shape[-1]
    assert isinstance(layer, LocalResponseNorm)
    pixels, piece = low.samples * math.prod(stage.shape[:-1]), cut(PIECE, channels)
    share, whole = layer.alpha / layer.size, min(int(layer.beta), 1 << 62)
    beside = Beside(
        pixels=pixels, channels=channels, piece=piece, before=min(layer.size // 2, channels - 1),
        after=min((layer.size - 1) // 2, channels - 1), k=layer.k, share=share, slope=2 * share * layer.beta,
        whole=whole, fraction=layer.beta % 1,
    )  # fmt: skip
    y = low.buffer((low.samples, *stage.shape))
    low.program.add("local_response.forward", cut(pixels, piece), ROOM * channels, x=x, y=y, b=beside)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("local_response.gradient", cut(pixels, piece), ROOM * channels, x=x, dy=dy, d=dx, b=beside)
        return dx

    return y, backward


def _scale(low: Lowering, stage: LayerStage) -> Array:
    return stage.p.get("scale", low.ones(stage.shape[-1]))


def _shift(low: Lowering, stage: LayerStage) -> Array:
    return stage.p.get("shift", low.zeros(stage.shape[-1]))


def _add_up(low: Lowering, stage: LayerStage, shifts: Buffer, scales: Buffer, slots: int) -> None:
    """Emit the gradients of shift and scale, where there are any, from those of pieces."""
    for name, parts in (("shift", shifts), ("scale", scales)):
        if name in stage.g:
            low.add_up(parts, stage.g[name], slots)
