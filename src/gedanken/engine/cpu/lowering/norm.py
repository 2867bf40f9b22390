"""LayerNorm and RMSNorm, GroupNorm and InstanceNorm, LocalResponseNorm: one pass each way."""

import math
from typing import Any

import numpy as np

from gedanken.engine.cpu.kernels.blocks import LINE
from gedanken.engine.cpu.kernels.group_norm import GroupedNorm
from gedanken.engine.cpu.kernels.local_response import ROOM, Beside
from gedanken.engine.cpu.kernels.norm import Norm
from gedanken.engine.cpu.kernels.update import Kept
from gedanken.engine.cpu.lowering.base import PIECE, Lowered, Lowering, cut, no_backward
from gedanken.engine.cpu.lowering.permute import by_row
from gedanken.engine.cpu.lowering.pointwise import remembered
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import InstanceNorm, LayerNorm, LocalResponseNorm, UnitNorm
from gedanken.layers.group_norm import Grouped
from gedanken.layers.stages import LayerStage
from gedanken.types import Array


def layer_norm(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower LayerNorm, RMSNorm or UnitNorm."""
    return by_row(low, stage, x, _by_row)


def _by_row(low: Lowering, stage: LayerStage, x: Buffer, size: int) -> Lowered:
    """Emit the norm of rows of `size` numbers."""
    layer: Any = stage.layer
    epsilon, channels = layer.epsilon, stage.shape[-1] if layer.axes is None else size
    scale, shift = stage.p.get("scale", low.ones(channels)), stage.p.get("shift", low.zeros(channels))
    if isinstance(layer, UnitNorm):  # the root of a sum of squares is that of their mean, times that of their number
        channels, scale, epsilon = 1, np.full(1, size**-0.5, low.real), epsilon / size
    rows = low.samples * math.prod(stage.shape) // size
    piece = cut(PIECE, size)
    slots, width = cut(rows, piece), channels * max(1, min(LINE // channels, size // channels))
    y, moments = low.buffer(x.shape), low.buffer((rows, 3))
    norm = Norm(
        rows=rows, size=size, channels=channels, width=width, piece=piece,
        centred=int(isinstance(layer, LayerNorm)), epsilon=epsilon, scale=scale, moments=moments,
    )  # fmt: skip
    low.program.add("norm.forward", slots, 2 * width, x=x, y=y, shift=shift, n=norm)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx, shifts, scales = low.buffer(x.shape), low.buffer((slots, channels)), low.buffer((slots, channels))
        low.program.add("norm.gradient", slots, 7 * width, x=x, dy=dy, d=dx, shifts=shifts, scales=scales, n=norm)
        _add_up(low, stage, shifts, scales, slots)
        return dx if wanted else None

    return y, backward


def group_norm(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower GroupNorm or InstanceNorm; a group of channels, or a channel, has a mean of its own in each sample."""
    layer, shape = stage.layer, stage.shape
    assert isinstance(layer, Grouped)
    channels, samples, pixels = shape[-1], low.samples, math.prod(shape[:-1])
    groups = layer.groups(channels)
    piece = cut(PIECE, math.prod(shape))
    y, moments = low.buffer((samples, *shape)), low.buffer((samples, groups, 4))
    norm = GroupedNorm(
        samples=samples, pixels=pixels, channels=channels, groups=groups, piece=piece, epsilon=layer.epsilon,
        scale=_scale(low, stage), moments=moments,
        counts=low.lengths(stage) if len(shape) == 2 else np.full(samples, pixels, np.int64),
    )  # fmt: skip
    if stage.s and not low.train:
        normal = remembered(low, stage)
        low.program.add("group_norm.by_running", cut(samples, piece), x=x, y=y, normal=normal, n=norm)
        return y, no_backward
    low.program.add("group_norm.forward", cut(samples, piece), 7 * channels, x=x, y=y, shift=_shift(low, stage), n=norm)
    if isinstance(layer, InstanceNorm) and layer.running:
        kept, running = _kept(low, layer.momentum), {name: stage.s[name] for name in ("mean", "var")}
        low.program.add("group_norm.remember", channels, samples, n=norm, kept=kept, **running)

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


def _kept(low: Lowering, momentum: float) -> Kept:
    share = float(low.real.type(momentum))
    return Kept(share=share, less=momentum - share, rest=1 - momentum)


def _scale(low: Lowering, stage: LayerStage) -> Array:
    return stage.p.get("scale", low.ones(stage.shape[-1]))


def _shift(low: Lowering, stage: LayerStage) -> Array:
    return stage.p.get("shift", low.zeros(stage.shape[-1]))


def _add_up(low: Lowering, stage: LayerStage, shifts: Buffer, scales: Buffer, slots: int) -> None:
    """Emit the gradients of shift and scale, where there are any, from those of pieces."""
    for name, parts in (("shift", shifts), ("scale", scales)):
        if name in stage.g:
            low.add_up(parts, stage.g[name], slots)
