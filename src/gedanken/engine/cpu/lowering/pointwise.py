"""BatchNorm, activation, pooling, dropout and Flatten, as many as stand in this order, in one pass each way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gedanken.engine.cpu.kernels import pointwise as places
from gedanken.engine.cpu.kernels.batch_norm import Normalised, Pieces, Share
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.pointwise import Pass
from gedanken.engine.cpu.kernels.rows import Draw
from gedanken.engine.cpu.kernels.time import Ends
from gedanken.engine.cpu.lowering.activations import ACTIVATIONS, activation_of
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, cut
from gedanken.engine.cpu.lowering.pooling import POOLS, in_group
from gedanken.engine.cpu.lowering.time import cut_ends
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import (
    BasePool,
    BatchNorm,
    Dropout,
    Flatten,
    InstanceNorm,
)
from gedanken.layers.stages import LayerStage
from gedanken.random import DRAW_RANGE, DRAWS_PER_BLOCK, Purpose, stream_key
from gedanken.ranks.together import Together
from gedanken.types import Array


@dataclass
class Group:
    """Layers that one pass does; each of them may be missing."""

    norm: LayerStage | None = None
    activation: LayerStage | None = None
    pool: LayerStage | None = None
    dropout: LayerStage | None = None
    flatten: LayerStage | None = None

    @property
    def stages(self) -> list[LayerStage]:
        return [stage for stage in (self.norm, self.activation, self.pool, self.dropout, self.flatten) if stage]


def group_of(stages: Sequence[LayerStage]) -> Group:
    """Return the longest group that begins the row of stages."""
    group, rest = Group(), list(stages)
    kinds_in_order = (
        ("norm", (BatchNorm,)),
        ("activation", tuple(ACTIVATIONS)),
        ("pool", tuple(POOLS)),
        ("dropout", (Dropout,)),
    )
    for name, types in kinds_in_order:
        if rest and type(rest[0].layer) in types and (name != "pool" or in_group(rest[0])):
            setattr(group, name, rest.pop(0))
    if group.stages and rest and type(rest[0].layer) is Flatten and len(rest[0].shape) == 3:
        group.flatten = rest[0]
    return group


def pointwise(low: Lowering, group: Group, x: Buffer, statistics: Buffer | None, counts: Array | None) -> Lowered:
    """Lower a group; statistics and counts are those of x, where the convolution before it took them."""
    work = _Pass(low, group, x)
    if not (work.drops or group.norm or group.activation or group.pool):
        return flatten(low, group.flatten, x) if group.flatten else (x, lambda dy, _: dy)
    if group.norm:
        work.normalise(group.norm, statistics, counts)
    return work.forward(), work.backward


def flatten(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower Flatten: the pixels of each channel one after the other."""
    shape = stage.shape
    pixels, channels = (shape[0] * shape[1], shape[2]) if len(shape) == 3 else (1, 1)
    flat = (low.samples, *stage.output_shape)
    if pixels == 1 or channels == 1:
        return low.program.view(x, flat), lambda dy, _: low.program.view(dy, (low.samples, *shape))
    y = low.buffer(flat)
    low.program.add("dense.reorder", low.samples, x=x, y=y, rows=pixels, columns=channels)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer((low.samples, *shape))
        low.program.add("dense.reorder", low.samples, x=dy, y=dx, rows=channels, columns=pixels)
        return dx

    return y, backward


def remembered(low: Lowering, stage: LayerStage) -> Buffer:
    """Emit mean, gain and shift of a norm that goes by running values at prediction."""
    normal = low.buffer((5, stage.shape[-1]))
    low.program.add("batch_norm.remember", 1, norm=_normalised(low, stage), channels=stage.shape[-1], normal=normal)
    return normal


def _share(low: Lowering, stage: LayerStage) -> Share:
    """Return how the running values of a BatchNorm move."""
    layer = stage.layer
    assert isinstance(layer, BatchNorm)
    momentum = 0.0 if layer.momentum is None else layer.momentum
    kept = float(low.real.type(momentum))
    return Share(
        kept=kept, less=momentum - kept, taken=1 - momentum, biased=int(layer.biased),
        cumulative=int(layer.momentum is None), seen=stage.s.get("count", low.zeros(1)),
    )  # fmt: skip


def _normalised(low: Lowering, stage: LayerStage) -> Normalised:
    layer, channels = stage.layer, stage.shape[-1]
    assert isinstance(layer, (BatchNorm, InstanceNorm))
    return Normalised(
        scale=stage.p.get("scale", low.ones(channels)), shift=stage.p.get("shift", low.zeros(channels)),
        running_mean=stage.s["mean"], running_var=stage.s["var"], epsilon=layer.epsilon,
    )  # fmt: skip


class _Pass:
    """The numbers that both ways of a group share."""

    def __init__(self, low: Lowering, group: Group, x: Buffer) -> None:
        self.low, self.group, self.x = low, group, x
        self.activation = activation_of(group.activation.layer if group.activation else None)
        shape = group.stages[0].shape
        self.image = len(shape) == 3
        self.images = low.samples if self.image else 1
        rows = low.samples * math.prod(shape[:-1])
        self.height, self.width, self.channels = shape if len(shape) == 3 else (rows, 1, shape[-1] if shape else 1)
        self.out_height, self.out_width = self.height, self.width
        self.window: tuple[int, ...] = (places.NO_POOL, 1, 1, 1, 1, 0, 0)
        if group.pool:
            self._pool(group.pool)
        self.out_shape = group.stages[-1].output_shape
        self.threshold = DRAW_RANGE
        if group.dropout and low.train:
            assert isinstance(group.dropout.layer, Dropout)
            self.threshold = group.dropout.layer.threshold
        self.drops = self.threshold < DRAW_RANGE
        self.factor = DRAW_RANGE / self.threshold
        self.sample_rows = self.out_height if self.image else math.prod(shape[:-1])
        self.normal: Buffer | Array = low.zeros(1)
        self.total: Buffer | Array = low.zeros(1)
        # Whether what is measured over the mini-batch is that of its real places.
        self.padded = bool(group.norm and low.has_lengths and low.train and len(shape) == 2)
        self.row = self.width * self.channels
        self.longest = max(self.row, self.out_width * self.channels)

    def _pool(self, stage: LayerStage) -> None:
        layer = stage.layer
        assert isinstance(layer, BasePool)
        geometry = layer.geometry(stage.shape)
        self.out_height, self.out_width = geometry.positions(stage.shape)
        (top, _), (left, _) = geometry.padding
        self.window = (POOLS[type(layer)], *geometry.size, *geometry.stride, top, left)

    def _draw(self) -> Draw:
        key, dropout = [0, 0], self.group.dropout
        if dropout:
            key = stream_key(self.low.seed, Purpose.DROPOUT, dropout.path).view(np.int64).tolist()
        return Draw(
            key_0=key[0], key_1=key[1], epoch=self.low.epoch, position=self.low.position,
            blocks=cut(math.prod(dropout.whole), DRAWS_PER_BLOCK) if dropout else 0, threshold=self.threshold,
        )  # fmt: skip

    def _pass(self, band: int, bands: int) -> Pass:
        pool, rows, columns, down, right, top, left = self.window
        return Pass(
            height=self.height, width=self.width, channels=self.channels, out_height=self.out_height,
            out_width=self.out_width, bands=bands, band=band, normalised=int(self.group.norm is not None),
            normal=self.normal, activation=self.activation, pool=pool, pool_rows=rows,
            pool_columns=columns, down=down, right=right, top=top, left=left, drops=int(self.drops),
            factor=self.factor, sample_rows=self.sample_rows, draw=self._draw(),
            flat=self._rows() - self.longest if self.group.flatten else 0, sums=self._rows(),
        )  # fmt: skip

    def _bands(self, rows: int) -> tuple[int, int]:
        """Return (rows of a band, bands of an image)."""
        bands = cut(TASKS, self.images) if self.image else cut(rows * self.row, PIECE)
        band = cut(rows, bands)
        return band, cut(rows, band)

    # ------------------------------------------------------------------ BatchNorm

    def normalise(self, stage: LayerStage, statistics: Buffer | None, counts: Array | None) -> None:
        """Emit what makes mean, gain and shift of the channels."""
        layer, low = stage.layer, self.low
        assert isinstance(layer, BatchNorm)
        if not low.train:
            self.normal = remembered(low, stage)
            return
        self.normal = low.buffer((5, self.channels))
        told: Buffer | Array
        if self.padded:
            statistics, told = self._measure_real(stage)
        else:
            if statistics is None or counts is None:
                statistics, counts = self._measure()
            told, self.total = counts, np.array([counts.sum(dtype="float64")], low.real)
        if low.together:
            statistics, told = self._of_all(low.together, statistics, told)
        given = Pieces(values=statistics, pieces=told.shape[0], channels=self.channels, total=self.total)
        low.program.add(
            "batch_norm.normalise", 1, 6 * self.channels, given=given, counts=told, norm=_normalised(low, stage),
            share=_share(low, stage), normal=self.normal,
        )  # fmt: skip

    def _of_all(self, together: Together, statistics: Buffer, told: Buffer | Array) -> tuple[Buffer, Buffer]:
        """Emit what makes of the moments of pieces those of all ranks, one piece for each, and of how many numbers."""
        low, channels, ranks, own_total = self.low, self.channels, together.size, self.total
        own, values, counts = low.buffer((3, channels)), low.buffer((ranks, 3, channels)), low.buffer((ranks,))
        total = self.total = low.buffer((1,))
        given = Pieces(values=statistics, pieces=told.shape[0], channels=channels, total=own_total)
        low.program.add("batch_norm.join", 1, 4 * channels, given=given, counts=told, own=own)
        array = low.program.array

        def meet() -> None:
            count = array(own_total) if isinstance(own_total, Buffer) else own_total
            moments, found = together.all_moments(array(own).reshape(-1), float(count[0]))
            array(values)[...] = moments.reshape(values.shape)
            array(counts)[...] = found
            array(total)[0] = found.sum(dtype="float64")

        low.program.pause(meet)
        return values, counts

    def _measure(self) -> tuple[Buffer, Array]:
        rows = self.images * self.height * self.width
        piece = max(1, min(rows, PIECE // self.channels))
        pieces = cut(rows, piece)
        statistics = self.low.buffer((pieces, 3, self.channels))
        self.low.program.add(
            "batch_norm.measure", pieces, x=self.x, statistics=statistics,
            m=Rows(rows=rows, columns=self.channels, piece=piece),
        )  # fmt: skip
        return statistics, np.array([min(piece, rows - start) for start in range(0, rows, piece)], self.low.real)

    def _measure_real(self, stage: LayerStage) -> tuple[Buffer, Buffer]:
        low, (places, features) = self.low, stage.shape
        piece = cut(PIECE, places * features)
        ends = Ends(samples=low.samples, places=places, features=features, more=-1, stride=1, piece=piece)
        statistics, counts = low.buffer((low.samples, 3, self.channels)), low.buffer((low.samples,))
        low.program.add(
            "batch_norm.measure_real", cut(low.samples, piece), x=self.x, statistics=statistics, counts=counts,
            lengths=low.lengths(stage), e=ends,
        )  # fmt: skip
        self.total = low.buffer((1,))
        low.program.add("batch_norm.add_lengths", 1, lengths=low.lengths(stage), samples=low.samples, total=self.total)
        return statistics, counts

    # ------------------------------------------------------------------ both ways

    def forward(self) -> Buffer:
        band, bands = self._bands(self.out_height)
        y = self.low.buffer((self.low.samples, *self.out_shape))
        winners = y.shape if self.window[0] == places.MAX_POOL else (1,)
        self.winners = self.low.buffer(winners, "uint8")
        self.low.program.add(
            "pointwise.forward", self.images * bands, self._scratch(), x=self.x, y=y, winners=self.winners,
            p=self._pass(band, bands),
        )  # fmt: skip
        return y

    def backward(self, dy: Buffer, wanted: bool) -> Buffer | None:
        if not (wanted or self.group.norm):
            return None
        low, (band, bands) = self.low, self._bands(self.height)
        if self.padded and self.group.norm:
            dy = cut_ends(low, self.group.norm, dy)
        tasks, dx = self.images * bands, low.buffer(self.x.shape)
        partial = low.buffer((tasks, 2, self.channels) if self.group.norm else (1,))
        low.program.add(
            "pointwise.gradient", tasks, self._scratch(), x=self.x, dy=dy, winners=self.winners, d=dx,
            partial=partial, p=self._pass(band, bands),
        )  # fmt: skip
        if self.group.norm:
            self._renormalise(self.group.norm, partial, tasks, dx)
            dx = cut_ends(low, self.group.norm, dx) if self.padded else dx
        return dx

    def _renormalise(self, stage: LayerStage, partial: Buffer, pieces: int, dx: Buffer) -> None:
        """Emit the backward pass through BatchNorm, in place."""
        low, correction = self.low, self.low.buffer((2, self.channels))
        rows = self.images * self.height * self.width
        low.program.add(
            "batch_norm.correct", 1, 6 * self.channels,
            given=Pieces(values=partial, pieces=pieces, channels=self.channels, total=self.total),
            normal=self.normal, dscale=stage.g.get("scale", low.buffer((self.channels,))),
            dshift=stage.g.get("shift", low.buffer((self.channels,))), correction=correction,
        )  # fmt: skip
        low.add_over_ranks(correction)
        piece = cut(PIECE, self.channels)
        low.program.add(
            "batch_norm.renormalise", cut(rows, piece), x=self.x, d=dx, normal=self.normal, correction=correction,
            m=Rows(rows=rows, columns=self.channels, piece=piece),
        )  # fmt: skip

    def _scratch(self) -> int:
        """Return the numbers of scratch memory: rows, and sums of channels and of a row."""
        return self._rows() + 4 * self.channels + 2 * self.longest

    def _rows(self) -> int:
        """Return the numbers that rows take: those of the window, and a few more."""
        words = 2 * self.longest + 32  # random draws: 16 bits for each number, in whole blocks
        return (self.window[1] + 5) * self.longest + words
