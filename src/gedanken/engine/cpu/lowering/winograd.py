"""Convolution with fewer products, see `kernels/winograd.py`: when it is less work, and its instructions."""

import math
from typing import Any, NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.band import Finish
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.kernels.winograd import Squares
from gedanken.engine.cpu.kernels.winograd_basis import PLACES, SQUARES
from gedanken.engine.cpu.kernels.winograd_lines import MOST
from gedanken.engine.cpu.kernels.winograd_lines import PLACES as LINE
from gedanken.engine.cpu.lowering.base import CACHED, TASKS, Lowering, cut, slots_of
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

SHARE = 512 << 10  # bytes of a block of sums of the gradient: half of a second-level cache
# What a vector costs, in units of multiplying and adding one: pixels of a square into the other basis, its outputs back
# from it, a pair of channels of a window.
PIXELS, OUTPUTS, WINDOW = (100, 70), (80, 50), 80  # of squares and of lines
WORTH = 0.85  # of the work of sliding: less is worth it
BORDERED = 16 << 20  # bytes of images with their border that a task may copy
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)  # and infinity: of all sets of small ones the one that costs the fewest digits


class Slid(NamedTuple):
    """A pass of a convolution: images of shape `source`, zeros before them, and the shape of outputs.

    size: of windows.   backwards: whether it is the input gradient, for which windows are turned round.
    """

    source: Shape
    target: Shape
    before: tuple[int, int]
    size: tuple[int, int]
    backwards: bool = False

    @property
    def each(self) -> tuple[int, int]:
        """Rows and columns of outputs of a square."""
        return (2, 2) if self.size == (3, 3) else (1, LINE + 1 - self.size[1])

    @property
    def places(self) -> int:
        """Numbers of a square in the other basis."""
        return PLACES if self.size == (3, 3) else LINE

    @property
    def squares(self) -> tuple[int, int]:
        """Rows and columns of squares."""
        high, broad = self.each
        return cut(self.target[0], high), cut(self.target[1], broad)


def is_worth(low: Lowering, geometry: Geometry, slid: Slid, slots: int = 0) -> bool:
    """Return whether a convolution is less work so.

    Args:
        geometry: of the convolution.
        slid: its pass, forwards or backwards.
        slots: of the gradient with respect to windows, into which its sums are brought back; 0 for another pass.
    """
    simple = geometry.stride == geometry.dilation == (1, 1) and geometry.groups == 1
    line = geometry.size[0] == 1 and 2 <= geometry.size[1] <= MOST
    if not (simple and (line or geometry.size == (3, 3)) and low.products.other_basis and min(slid.before) >= 0):
        return False
    channels, vectors = slid.source[2], cut(slid.target[2], low.lanes)
    if min(channels, slid.target[2]) < low.lanes:  # few have ways of their own
        return False
    deep, squares = cut(channels, low.lanes), low.samples * math.prod(slid.squares)
    rows = slid.source[0] if slots else sum(geometry.size)
    if rows * slid.source[1] * deep * low.lanes * low.real.itemsize > BORDERED:
        return False
    work = squares * (slid.places * deep * low.lanes * vectors + PIXELS[line] * deep + OUTPUTS[line] * vectors)
    work += max(slots, 1) * WINDOW * channels * vectors
    sliding = math.prod(geometry.size) * low.samples * math.prod(slid.target[:2]) * channels * vectors
    return work < WORTH * sliding


def _basis(low: Lowering, slid: Slid) -> Array:
    """Return the matrices of lines: rows of B', columns of A and of G, see `kernels/winograd_lines.py`."""
    if slid.places == PLACES:
        return low.zeros(1)
    points, powers = np.array(POINTS), np.arange(MOST)
    found = np.zeros((LINE + 2 * MOST, LINE))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        found[i, :-1] = np.poly(others)[::-1]
        found[LINE : LINE + MOST, i] = point**powers
        found[LINE + MOST :, i] = point**powers / np.prod(point - others)
    found[LINE - 1] = np.poly(points)[::-1]
    found[LINE + slid.each[1] - 1, -1] = found[LINE + MOST + slid.size[1] - 1, -1] = 1.0
    return found.astype(low.real)


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
    (down, across), (high, broad), out_channels = slid.squares, slid.each, slid.target[2]
    together = max(1, min(SQUARES // (down * across), low.samples // TASKS))
    numbers = high * broad * across * (_vectors(low, slid.source[2]) + out_channels) * low.real.itemsize
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
    lengths = [min(high * band, slid.target[0] - high * start) * slid.target[1] for start in range(0, down, band)]
    return target, statistics, np.tile(np.array(lengths, low.real), low.samples)


def _packed(low: Lowering, slid: Slid, kernel: Array | Buffer) -> Buffer:
    """Emit the windows in the other basis."""
    (ins, outs), panels, taps = kernel.shape[2:], low.panels(slid.target[2]), math.prod(slid.size)
    packed = low.buffer((slid.places, panels, _vectors(low, slid.source[2]), low.tile_columns))
    rows = taps * outs if slid.backwards else 0
    name, told = "pack_transposed" if slid.backwards else "pack", {"ins": ins, "outs": outs}
    given: dict[str, Any] = {"weights": kernel, "packed": packed, **told}
    if slid.places == PLACES:
        low.program.add(f"winograd_basis.{name}", panels, (rows + 12) * low.tile_columns, **given)
    else:
        given |= {"taps": taps, "basis": _basis(low, slid)}
        low.program.add(f"winograd_lines.{name}", panels, rows * low.tile_columns, **given)
    return packed


def _vectors(low: Lowering, count: int) -> int:
    """Return a count rounded up to whole vectors."""
    return cut(count, low.lanes) * low.lanes


def _squares(low: Lowering, slid: Slid, together: int, bands: int, band: int, blocks: int = 1) -> tuple[Squares, int]:
    """Return how squares are shared out, and the scratch memory that it takes."""
    (height, width, channels), (down, across), (high, broad) = slid.source, slid.squares, slid.each
    deep, tall = _vectors(low, channels), high * band + slid.size[0] - 1
    padded_width, places = broad * across + slid.size[1] - 1, slid.places
    each = places * (deep + low.tile_columns) * low.real.itemsize
    some = max(low.tile_rows, min(SQUARES, 3 * CACHED // each) // low.tile_rows * low.tile_rows)
    squares = Squares(
        height=height, width=width, channels=channels, top=slid.before[0], left=slid.before[1],
        out_height=slid.target[0], out_width=slid.target[1], out_channels=slid.target[2], high=high, broad=broad,
        places=places, taps=math.prod(slid.size), basis=_basis(low, slid), across=across, down=down, some=some,
        tall=tall, padded_width=padded_width, deep=deep, images=low.samples, together=together, bands=bands, band=band,
        blocks=blocks, offsets=np.arange(0, deep, low.lanes, dtype=np.int64) * places * SQUARES,
    )  # fmt: skip
    return squares, places * SQUARES * (deep + low.tile_columns) + together * tall * padded_width * deep


def kernel_gradient(low: Lowering, stage: LayerStage, slid: Slid, x: Buffer, dy: Buffer) -> None:
    """Emit the gradients with respect to kernel and bias."""
    sums, (down, across) = slots_of(low, stage), slid.squares
    panels, block = low.panels(slid.target[2]), slid.places * _vectors(low, slid.source[2]) * low.tile_columns
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
