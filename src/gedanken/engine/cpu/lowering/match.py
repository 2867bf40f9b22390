"""Which layers the kernels know, and the walk along a row of them."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gedanken.by_name import ByName
from gedanken.engine.base import Placement
from gedanken.engine.cpu.lowering.activations import ACTIVATIONS, LINEAR, activation_of, needs_input
from gedanken.engine.cpu.lowering.attention import attention
from gedanken.engine.cpu.lowering.base import Backward, Lowered, Lowering, no_backward
from gedanken.engine.cpu.lowering.conv import Convolved, convolution, predicted
from gedanken.engine.cpu.lowering.cross_attention import cross_attention
from gedanken.engine.cpu.lowering.curves import glu, prelu, softmax
from gedanken.engine.cpu.lowering.dense import dense
from gedanken.engine.cpu.lowering.embedding import as_reals, embedding
from gedanken.engine.cpu.lowering.frame import frame
from gedanken.engine.cpu.lowering.join import join, split
from gedanken.engine.cpu.lowering.noise import thinned, with_noise
from gedanken.engine.cpu.lowering.norm import group_norm, layer_norm, local_response
from gedanken.engine.cpu.lowering.norm_pool import norm_over_time, norm_pool
from gedanken.engine.cpu.lowering.permute import permute
from gedanken.engine.cpu.lowering.pointwise import (
    Group,
    flatten,
    group_of,
    pointwise,
    remembered,
)
from gedanken.engine.cpu.lowering.pooling import POOLS, in_group, pooling
from gedanken.engine.cpu.lowering.recurrent import from_state, recurrent
from gedanken.engine.cpu.lowering.reshape import reshape
from gedanken.engine.cpu.lowering.sparse import sparse_dense
from gedanken.engine.cpu.lowering.time import convolution_1d, positions, time_pool
from gedanken.engine.cpu.lowering.transposed import transposed
from gedanken.engine.cpu.lowering.upsampling import pixel_shuffle, upsampling
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import (
    GLU,
    GRU,
    LSTM,
    AdaptiveAveragePool1DLayer,
    AdaptiveMaxPool1DLayer,
    AlphaDropout,
    AveragePool1DLayer,
    BatchNorm,
    Convolution1DLayer,
    ConvolutionLayer,
    CroppingLayer,
    CrossAttention,
    Dropout,
    Embedding,
    Flatten,
    FromState,
    FullyConnectedLayer,
    GaussianNoise,
    GlobalAveragePool1DLayer,
    GlobalLpPool1DLayer,
    GlobalLpPoolLayer,
    GlobalMaxPool1DLayer,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LearnedPositions,
    LocalResponseNorm,
    LogSoftMax,
    LpPool1DLayer,
    LpPoolLayer,
    MaxPool1DLayer,
    MultiHeadAttention,
    PaddingLayer,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    PReLU,
    Reshape,
    RMSNorm,
    SimpleRNN,
    SinePositions,
    SoftMax,
    SparseFullyConnectedLayer,
    SpatialDropout,
    TransposedConvolutionLayer,
    UnitNorm,
    UpsamplingLayer,
)
from gedanken.layers.containers import Container
from gedanken.layers.dropout import Noise
from gedanken.layers.stages import ContainerStage, LayerStage


def why_no_kernel(stage: Placement) -> str:
    """Return why a layer cannot be lowered, or nothing."""
    layer = stage.layer
    if isinstance(stage, ContainerStage):
        return _why_no_kernel_inside(stage)
    if type(layer) not in KNOWN:
        return "no kernel"
    remembers = isinstance(layer, BatchNorm) or (isinstance(layer, InstanceNorm) and layer.running)
    if stage.frozen and (remembers or isinstance(layer, Noise)):
        return "frozen: it runs as at prediction"
    return ""


def _why_no_kernel_inside(stage: ContainerStage) -> str:
    if type(stage.layer).join is not Container.join:
        return "joins in a way of its own"
    if type(stage.layer).split is not Container.split:
        return "splits in a way of its own"
    for row in stage.rows.values():
        for inner in row:
            if why := why_no_kernel(inner):
                return why
    return ""


def lower(low: Lowering, stages: Sequence[Placement], x: Any) -> Lowered:
    """Emit the instructions of a row of layers; x is a buffer or, of several inputs, ByName of such."""
    backwards: list[Backward] = []
    rest: list[Any] = list(stages)
    while rest:
        x, backward, taken = _next(low, rest, x)
        backwards.append(backward)
        rest = rest[taken:]

    def back(dy: Any, wanted: bool) -> Any:
        gradient = dy
        for place in reversed(range(len(backwards))):
            assert gradient is not None
            # Only the first layer of the row may leave its input gradient out.
            gradient = backwards[place](gradient, wanted or place > 0)
        return gradient

    return x, back


def _next(low: Lowering, rest: Sequence[Any], x: Any) -> tuple[Buffer, Backward, int]:
    """Emit the run of layers that begins the row; return also how many they are."""
    stage, layer = rest[0], rest[0].layer
    if isinstance(stage, ContainerStage):
        return *_container(low, stage, x), 1
    if type(layer) in FIRST:
        return FIRST[type(layer)](low, rest, x)
    if type(layer) in ALONE:
        return *ALONE[type(layer)](low, stage, x), 1
    if type(layer) in POOLS and not in_group(stage):
        return *pooling(low, stage, x), 1
    group = group_of(rest)
    return *pointwise(low, group, x, None, None), len(group.stages)


def _dense(low: Lowering, rest: Sequence[LayerStage], x: Buffer) -> tuple[Buffer, Backward, int]:
    behind = activation_of(rest[1].layer) if len(rest) > 1 and type(rest[1].layer) in ACTIVATIONS else LINEAR
    if low.train and needs_input(behind):
        behind = LINEAR  # it is the next group's: a dense layer keeps its result only
    return *dense(low, rest[0], x, behind), 1 + (behind is not LINEAR)


def _convolution(low: Lowering, rest: Sequence[LayerStage], x: Buffer) -> tuple[Buffer, Backward, int]:
    group = group_of(rest[1:])
    taken = 1 + len(group.stages)
    if not low.train:
        normal = remembered(low, group.norm) if group.norm else None
        x = predicted(low, rest[0], x, normal, activation_of(group.activation.layer if group.activation else None))
        # BatchNorm and activation went into the convolution.
        left = Group(pool=group.pool, dropout=group.dropout, flatten=group.flatten)
        return (*pointwise(low, left, x, None, None), taken) if left.stages else (x, no_backward, taken)
    return *_followed(low, convolution(low, rest[0], x, group.norm is not None), group), taken


def _transposed(low: Lowering, rest: Sequence[LayerStage], x: Buffer) -> tuple[Buffer, Backward, int]:
    group = group_of(rest[1:])
    taken, curve = 1 + len(group.stages), LINEAR
    if group.activation and not (low.train or group.norm):
        curve, group = activation_of(group.activation.layer), replace(group, activation=None)
    made = transposed(low, rest[0], x, low.train and group.norm is not None, curve)
    return *_followed(low, made, group), taken


def _followed(low: Lowering, made: Convolved, group: Group) -> Lowered:
    """Emit the group behind a convolution."""
    if not group.stages:
        return made.y, made.backward
    z, after = pointwise(low, group, made.y, made.statistics if group.norm else None, made.counts)

    def both(dz: Buffer, wanted: bool) -> Buffer | None:
        dy = after(dz, True)
        assert dy is not None
        return made.backward(dy, wanted)

    return z, both


def _convolution_1d(low: Lowering, rest: Sequence[LayerStage], x: Buffer) -> tuple[Buffer, Backward, int]:
    together = {BatchNorm, Dropout, *ACTIVATIONS}
    if low.has_lengths and low.train:
        together.remove(BatchNorm)  # the convolution would measure padding too
    behind = itertools.takewhile(lambda one: type(one.layer) in together, rest[1:])
    return convolution_1d(low, [rest[0], *behind], x, _convolution)


def _container(low: Lowering, stage: ContainerStage, x: Any) -> tuple[Any, Backward]:
    ys: list[Buffer] = []
    backs: list[Backward] = []
    for name, row in stage.rows.items():
        given = x.parts[name] if isinstance(x, ByName) else x
        whole = row and row[0].layer.tokens is not None
        y, back = lower(low, row, given if whole or given.dtype != np.int64 else as_reals(low, given))
        ys.append(y)
        backs.append(back)
    merge, names = stage.layer.merge, stage.layer.gives_names

    joined = None if names else join(low, merge, ys, (low.samples, *stage.output_shape))

    def backward(dy: Any, wanted: bool) -> Any:
        dys = split(low, merge, dy, ys, joined) if joined else [dy.parts[name] for name in stage.rows]
        dxs = [row_back(dy_of_row, wanted) for row_back, dy_of_row in zip(backs, dys, strict=True)]
        if not wanted:
            return None
        if isinstance(x, ByName):
            return ByName(dict(zip(stage.rows, dxs, strict=True)))
        return join(low, "sum", [dx for dx in dxs if dx], x.shape)

    return joined or ByName(dict(zip(stage.rows, ys, strict=True))), backward


# Layers with products, which begin a run of layers.
FIRST: dict[type, Callable[[Lowering, Sequence[LayerStage], Any], tuple[Buffer, Backward, int]]] = {
    ConvolutionLayer: _convolution,
    Convolution1DLayer: _convolution_1d,
    TransposedConvolutionLayer: _transposed,
    FullyConnectedLayer: _dense,
}
# Layers that are lowered by themselves.
ALONE: dict[type, Callable[[Lowering, LayerStage, Any], Lowered]] = {
    Embedding: embedding,
    Flatten: flatten,
    Reshape: reshape,
    Permute: permute,
    UpsamplingLayer: upsampling,
    PixelShuffle: pixel_shuffle,
    PixelUnshuffle: pixel_shuffle,
    SoftMax: softmax,
    GLU: glu,
    LogSoftMax: softmax,
    PReLU: prelu,
    SpatialDropout: thinned,
    AlphaDropout: thinned,
    GaussianNoise: with_noise,
    SimpleRNN: recurrent,
    LSTM: recurrent,
    GRU: recurrent,
    FromState: from_state,
    LayerNorm: layer_norm,
    GroupNorm: group_norm,
    MaxPool1DLayer: time_pool,
    AveragePool1DLayer: time_pool,
    GlobalMaxPool1DLayer: time_pool,
    GlobalAveragePool1DLayer: time_pool,
    AdaptiveMaxPool1DLayer: time_pool,
    AdaptiveAveragePool1DLayer: time_pool,
    LpPool1DLayer: norm_over_time,
    GlobalLpPool1DLayer: norm_over_time,
    LpPoolLayer: norm_pool,
    GlobalLpPoolLayer: norm_pool,
    LearnedPositions: positions,
    SinePositions: positions,
    MultiHeadAttention: attention,
    CrossAttention: cross_attention,
    LocalResponseNorm: local_response,
    PaddingLayer: frame,
    CroppingLayer: frame,
    InstanceNorm: group_norm,
    RMSNorm: layer_norm,
    UnitNorm: layer_norm,
    SparseFullyConnectedLayer: sparse_dense,
}

KNOWN = {*FIRST, *ALONE, BatchNorm, Dropout, *ACTIVATIONS, *POOLS}
