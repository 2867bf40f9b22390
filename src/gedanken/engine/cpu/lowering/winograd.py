"""Convolution with fewer products, see `kernels/winograd.py`: when it is less work, and its instructions."""

import math
from typing import NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.band import Finish
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.kernels.winograd import Squares
from gedanken.engine.cpu.kernels.winograd_basis import PLACES, SQUARES
from gedanken.engine.cpu.lowering.base import CACHED, TASKS, Lowering, cut, slots_of
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

SHARE = 512 << 10  # bytes of a block of sums of the gradient: half of a second-level cache
# What a vector costs, in units of multiplying and adding one: pixels of a square into the other basis, its outputs back
# from it, a pair of channels of a window.
PIXELS, OUTPUTS, WINDOW = 100, 80, 80
WORTH = 0.85  # of the work of sliding: less is worth it


class Slid(NamedTuple):
    """A pass of a convolution: images of shape `source`, zeros before them, and the shape of outputs.

    backwards: whether it is the input gradient, for which windows are turned round.
    """

    source: Shape
    target: Shape
    before: tuple[int, int]
    backwards: bool = False

    @property
    def squares(self) -> tuple[int, int]:
        """Rows and columns of squares."""
        return cut(self.target[0], 2), cut(self.target[1], 2)


def is_worth(low: Lowering, geometry: Geometry, slid: Slid, windows: int = 1) -> bool:
    """Return whether a convolution is less work so.

    Args:
        geometry: of the convolution.
        slid: its pass, forwards or backwards.
        windows: how often windows are brought into the other basis, or back from it.
    """
    simple = geometry.size == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and geometry.groups == 1
    if not (simple and low.products.other_basis and min(slid.before) >= 0):
        return False
    channels, vectors = slid.source[2], cut(slid.target[2], low.lanes)
    deep, squares = cut(channels, low.lanes), low.samples * math.prod(slid.squares)
    work = squares * (PLACES * deep * low.lanes * vectors + PIXELS * deep + OUTPUTS * vectors)
    return work + windows * WINDOW * channels * vectors < WORTH * 9 * low.samples * math.prod(slid.target[:2]) * (
        channels * vectors
    )


def slide(
    low: Lowering,
    slid: Slid,
    source: Buffer,
    kernel: Array | Buffer,
    bias: Array | Buffer,
    measured: bool,
    activation: Activation,
) -> tuple[Buffer, Buffer, Array]:
    """Emit the outputs of a pass; what is returned is as for `conv.slid`."""
    (down, across), out_channels = slid.squares, slid.target[2]
    together = max(1, min(SQUARES // (down * across), low.samples // TASKS))
    numbers = 4 * across * (_vectors(low, slid.source[2]) + out_channels) * low.real.itemsize
    fitting = max(cut(SQUARES, across), CACHED // numbers)
    band = min(down, fitting, cut(down, cut(TASKS, cut(low.samples, together)))) if together == 1 else down
    band = cut(down, cut(down, band))
    bands = cut(down, band)
    target = low.buffer((low.samples, *slid.target))
    statistics = low.buffer((low.samples * bands, 3, out_channels) if measured else (1,))
    squares, scratch = _squares(low, slid, together, bands, band)
    low.program.add(
        "winograd.forward", cut(low.samples, together) * bands, scratch, source=source,
        weights=_packed(low, slid, kernel), bias=bias, target=target, s=squares,
        finish=Finish(activation=activation, measured=int(measured), statistics=statistics),
    )  # fmt: skip
    lengths = [min(2 * band, slid.target[0] - 2 * start) * slid.target[1] for start in range(0, down, band)]
    return target, statistics, np.tile(np.array(lengths, low.real), low.samples)


def _packed(low: Lowering, slid: Slid, kernel: Array | Buffer) -> Buffer:
    """Emit the windows in the other basis."""
    (ins, outs), panels = kernel.shape[2:], low.panels(slid.target[2])
    packed = low.buffer((PLACES, panels, _vectors(low, slid.source[2]), low.tile_columns))
    name, rows = ("pack_transposed", 12 + 9 * outs) if slid.backwards else ("pack", 12)
    low.program.add(
        f"winograd_basis.{name}", panels, rows * low.tile_columns, weights=kernel, packed=packed, ins=ins, outs=outs
    )
    return packed


def _vectors(low: Lowering, count: int) -> int:
    """Return a count rounded up to whole vectors."""
    return cut(count, low.lanes) * low.lanes


def _squares(low: Lowering, slid: Slid, together: int, bands: int, band: int, blocks: int = 1) -> tuple[Squares, int]:
    """Return how squares are shared out, and the scratch memory that it takes."""
    (height, width, channels), (down, across) = slid.source, slid.squares
    deep, tall, padded_width = _vectors(low, channels), 2 * band + 2, 2 * across + 2
    each = PLACES * (deep + low.tile_columns) * low.real.itemsize
    some = max(low.tile_rows, min(SQUARES, 3 * CACHED // each) // low.tile_rows * low.tile_rows)
    squares = Squares(
        height=height, width=width, channels=channels, top=slid.before[0], left=slid.before[1],
        out_height=slid.target[0], out_width=slid.target[1], out_channels=slid.target[2], down=down, across=across,
        some=some, tall=tall, padded_width=padded_width, deep=deep, images=low.samples, together=together,
        bands=bands, band=band, blocks=blocks,
        offsets=np.arange(0, deep, low.lanes, dtype=np.int64) * PLACES * SQUARES,
    )  # fmt: skip
    return squares, PLACES * SQUARES * (deep + low.tile_columns) + together * tall * padded_width * deep


def kernel_gradient(low: Lowering, stage: LayerStage, slid: Slid, x: Buffer, dy: Buffer) -> None:
    """Emit the gradients with respect to kernel and bias."""
    sums, (down, across) = slots_of(low, stage), slid.squares
    panels, block = low.panels(slid.target[2]), PLACES * _vectors(low, slid.source[2]) * low.tile_columns
    held = max(1, min(panels, SHARE // (block * low.real.itemsize), panels * sums.slots // TASKS))
    blocks = cut(panels, held)
    together = max(1, min(SQUARES // (down * across), cut(low.samples, sums.slots)))
    squares, scratch = _squares(low, slid, together, 1, down, blocks)
    low.program.add(
        "winograd.gradient", sums.slots * blocks, scratch + cut(panels, blocks) * block, x=x, dy=dy, sums=sums,
        s=squares,
    )  # fmt: skip
    low.add_up(sums.weights, stage.g["kernel"], sums.slots)
    if "bias" in stage.g:
        low.add_up(sums.bias, stage.g["bias"], sums.slots)
