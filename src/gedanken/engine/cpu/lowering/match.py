"""Which layers the kernels know, and the walk along a row of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from gedanken.engine.cpu.lowering.base import Backward, Lowered, Lowering
from gedanken.engine.cpu.lowering.conv import convolution, predicted
from gedanken.engine.cpu.lowering.dense import dense, softmax
from gedanken.engine.cpu.lowering.join import join, split
from gedanken.engine.cpu.lowering.norm import group_norm, layer_norm
from gedanken.engine.cpu.lowering.pointwise import (
    CURVES,
    LINEAR,
    POOLS,
    Group,
    curve,
    flatten,
    group_of,
    is_wide,
    needs_input,
    pointwise,
    remembered,
)
from gedanken.engine.cpu.lowering.wide_pool import MOST_TAPS, wide_pool
from gedanken.engine.cpu.program import Buffer
from gedanken.engine.plan import Placement
from gedanken.layers import (
    BatchNorm,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GroupNorm,
    LayerNorm,
    MaxPoolLayer,
    SoftMax,
)
from gedanken.layers.containers import Container
from gedanken.layers.stages import ContainerStage, LayerStage

NORMS = {BatchNorm, LayerNorm, GroupNorm}
KNOWN = {ConvolutionLayer, FullyConnectedLayer, Flatten, SoftMax, Dropout, *NORMS, *CURVES, *POOLS}


def why_no_kernel(step: Placement) -> str:
    """Return why a layer cannot be lowered, or nothing."""
    layer = step.layer
    if isinstance(step, ContainerStage):
        return _obstacle_inside(step)
    if type(layer) not in KNOWN:
        return "no kernel"
    if isinstance(layer, MaxPoolLayer):
        taps = math.prod(layer.geometry(step.shape).size)
        return f"its window has {taps} pixels, kernels know {MOST_TAPS}" if taps > MOST_TAPS else ""
    return ""


def _obstacle_inside(step: ContainerStage) -> str:
    if type(step.layer).join is not Container.join:
        return "joins in a way of its own"
    for row in step.rows.values():
        for inner in row:
            if why := why_no_kernel(inner):
                return why
    return ""


def lower(low: Lowering, steps: Sequence[Placement], x: Buffer) -> Lowered:
    """Emit the instructions of a row of layers."""
    backwards: list[Backward] = []
    rest: list[Any] = list(steps)
    while rest:
        x, backward, taken = _next(low, rest, x)
        backwards.append(backward)
        rest = rest[taken:]

    def back(dy: Buffer, wanted: bool) -> Buffer | None:
        gradient: Buffer | None = dy
        for place in reversed(range(len(backwards))):
            assert gradient is not None
            gradient = backwards[place](gradient, wanted or place > 0)
        return gradient

    return x, back


def _next(low: Lowering, rest: Sequence[Any], x: Buffer) -> tuple[Buffer, Backward, int]:
    """Emit the run of layers that begins the row; return also how many they are."""
    step, layer = rest[0], rest[0].layer
    if isinstance(step, ContainerStage):
        return *_container(low, step, x), 1
    if isinstance(layer, ConvolutionLayer):
        return _convolution(low, rest, x)
    if isinstance(layer, FullyConnectedLayer):
        return _dense(low, rest, x)
    if type(layer) in ALONE:
        return *ALONE[type(layer)](low, step, x), 1
    if is_wide(step):
        return *wide_pool(low, step, x), 1
    group = group_of(rest)
    return *pointwise(low, group, x, None, None), len(group.steps)


def _dense(low: Lowering, rest: Sequence[LayerStage], x: Buffer) -> tuple[Buffer, Backward, int]:
    behind = curve(rest[1].layer) if len(rest) > 1 and type(rest[1].layer) in CURVES else LINEAR
    if low.train and needs_input(behind):
        behind = LINEAR  # it is the next group's: a dense layer keeps its result only
    return *dense(low, rest[0], x, behind), 1 + (behind is not LINEAR)


def _convolution(low: Lowering, rest: Sequence[LayerStage], x: Buffer) -> tuple[Buffer, Backward, int]:
    group = group_of(rest[1:])
    taken = 1 + len(group.steps)
    if not low.train:
        normal = remembered(low, group.norm) if group.norm else None
        x = predicted(low, rest[0], x, normal, curve(group.curve.layer if group.curve else None))
        left = Group(pool=group.pool, dropout=group.dropout, flatten=group.flatten)
        return (*pointwise(low, left, x, None, None), taken) if left.steps else (x, _no_way_back, taken)
    made = convolution(low, rest[0], x, group.norm is not None)
    if not group.steps:
        return made.y, made.backward, taken
    z, after = pointwise(low, group, made.y, made.statistics if group.norm else None, made.counts)

    def both(dz: Buffer, wanted: bool) -> Buffer | None:
        dy = after(dz, True)
        assert dy is not None
        return made.backward(dy, wanted)

    return z, both, taken


def _no_way_back(*_: object) -> Buffer | None:
    raise AssertionError("a prediction has no way back")


def _container(low: Lowering, step: ContainerStage, x: Buffer) -> Lowered:
    ys: list[Buffer] = []
    backs: list[Backward] = []
    for row in step.rows.values():
        y, back = lower(low, row, x)
        ys.append(y)
        backs.append(back)
    shape, merge = (low.samples, *step.output_shape), step.layer.merge

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dxs: list[Buffer] = []
        for row_back, dy_of_row in zip(backs, split(low, merge, dy, [y.shape for y in ys]), strict=True):
            dx = row_back(dy_of_row, wanted)
            if wanted and dx:
                dxs.append(dx)
        return join(low, "sum", dxs, x.shape) if wanted else None

    return join(low, merge, ys, shape), backward


# Layers that are lowered by themselves.
ALONE: dict[type, Callable[[Lowering, LayerStage, Buffer], Lowered]] = {
    Flatten: flatten,
    SoftMax: softmax,
    LayerNorm: layer_norm,
    GroupNorm: group_norm,
}
