"""Layers of sequences: convolutions as those of pictures of one row, poolings and positions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gedanken.engine.cpu.kernels.time import Ends, Windows
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Backward, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import Convolution1DLayer, ConvolutionLayer, SinePositions
from gedanken.layers.adaptive import AdaptiveTimePool
from gedanken.layers.pool1d import TimePool
from gedanken.layers.stages import LayerStage
from gedanken.types import Shape

Convolution = Callable[[Lowering, Sequence[LayerStage], Buffer], tuple[Buffer, Backward, int]]
# A window to a size needs none of the numbers of one that slides.
ALONG_ALL = dict.fromkeys(("before", "more", "counts", "room", "divisor"), 0)
ALONG_ALL |= dict.fromkeys(("width", "stride", "step", "to_size"), 1)


def convolution_1d(
    low: Lowering, row: Sequence[LayerStage], x: Buffer, convolution: Convolution
) -> tuple[Buffer, Backward, int]:
    """Lower the convolution over time that begins a row, with what `convolution` takes in of the layers behind it.

    Where sequences have lengths, what stands behind their ends is cut off first: from x, from dy and from dx.
    """
    stage, shape = row[0], row[0].shape
    window = stage.layer.window()  # type: ignore[attr-defined]
    given = cut_ends(low, stage, x) if low.has_lengths else x
    pictures = [_as_picture(one) for one in row]
    y, back, taken = convolution(low, pictures, low.program.view(given, (low.samples, 1, *shape)))
    made = row[taken - 1].output_shape

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if low.has_lengths:
            dy = cut_ends(low, stage, dy, (made[0], made[1], window.more, window.stride))
        dx = back(low.program.view(dy, (low.samples, 1, *made)), wanted)
        if not wanted or dx is None:
            return None
        dx = low.program.view(dx, (low.samples, *shape))
        return cut_ends(low, stage, dx) if low.has_lengths else dx

    return low.program.view(y, (low.samples, *made)), backward, taken


def _as_picture(stage: LayerStage) -> LayerStage:
    """Return a layer of sequences as the same layer of pictures of one row."""
    layer, p, g = stage.layer, stage.p, stage.g
    if isinstance(layer, Convolution1DLayer):
        geometry = layer.geometry(stage.shape)
        layer = ConvolutionLayer(
            layer.n_filter, layer.width_filter, 1, (1, layer.stride), geometry.padding, (1, layer.dilation),
            layer.groups, layer.bias,
        )  # fmt: skip
        p, g = ({**views, "kernel": views["kernel"][None]} for views in (p, g))
    return replace(
        stage, layer=layer, shape=(1, *stage.shape), output_shape=(1, *stage.output_shape), p=p, g=g,
        uncut=(1, *stage.whole),
    )  # fmt: skip


def cut_ends(
    low: Lowering, stage: LayerStage, x: Buffer, ends: tuple[int, int, int, int] | None = None, name: str = ""
) -> Buffer:
    """Emit x with 0 behind the end of each sequence; `ends` are places, features, and what becomes of a length.

    Of a layer that takes names, `name` says whose lengths.
    """
    places, features, more, stride = ends or (*stage.shape, -1, 1)
    piece = cut(PIECE, places * features)
    y = low.buffer(x.shape)
    low.program.add(
        "time.cut", cut(low.samples, piece), x=x, y=y, lengths=low.lengths(stage, name),
        e=Ends(samples=low.samples, places=places, features=features, more=more, stride=stride, piece=piece),
    )  # fmt: skip
    return y


def time_pool(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a pooling over time."""
    windows, size = windows_over_time(low, stage), math.prod(stage.shape)
    y, tasks = low.buffer((low.samples, *stage.output_shape)), cut(low.samples, windows.piece)
    winners = low.buffer((low.samples, windows.made, windows.features) if windows.largest else (1,))
    told: dict[str, Any] = {"winners": winners, "lengths": low.lengths(stage), "w": windows}
    low.program.add("time.pool", tasks, x=x, y=y, **told)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("time.pool_gradient", tasks, size, dy=dy, d=dx, **told)
        return dx

    return y, backward


def windows_over_time(low: Lowering, stage: LayerStage) -> Windows:
    """Return where the windows of a pooling over time stand."""
    layer, (places, features) = stage.layer, stage.shape
    assert isinstance(layer, (TimePool, AdaptiveTimePool))
    if isinstance(layer, TimePool):
        made = layer.window(stage.shape).on(stage.shape).positions((1, *stage.shape))[1]
        told = _sliding(layer, stage.shape)
    else:
        made, told = layer.size, ALONG_ALL
    return Windows(
        samples=low.samples, places=places, features=features, made=made, largest=int(layer.largest),
        piece=min(cut(PIECE, places * features), cut(low.samples, TASKS)), **told,
    )  # fmt: skip


def _sliding(layer: TimePool, shape: Shape) -> dict[str, int]:
    """Return what the kernels are told of a window that slides along sequences (T, F)."""
    window = layer.window(shape)
    return {
        "width": window.width, "before": layer.before(shape), "more": window.more, "stride": window.stride,
        "step": window.dilation, "counts": int(layer.counts_padding), "room": window.room,
        "divisor": layer.divides_by or 0, "to_size": 0,
    }  # fmt: skip


def positions(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower what adds a vector to each place of a sequence."""
    layer, (places, features) = stage.layer, stage.shape
    learned = stage.p.get("table")
    table = layer.waves(stage.shape).astype(low.real) if isinstance(layer, SinePositions) else learned
    assert table is not None
    size, piece = places * features, cut(PIECE, places * features)
    y = low.buffer(x.shape)
    low.program.add(
        "time.add_positions", cut(low.samples, piece), x=x, y=y, table=table, size=size, samples=low.samples,
        piece=piece,
    )  # fmt: skip

    def backward(dy: Buffer, _: bool) -> Buffer | None:
        if learned is not None:
            ends = Ends(samples=low.samples, places=places, features=features, more=-1, stride=1, piece=1)
            low.program.add(
                "time.sum_samples", len(learned), 2 * features, dy=dy, table=stage.g["table"],
                lengths=low.lengths(stage), e=ends,
            )  # fmt: skip
        return dy

    return y, backward
