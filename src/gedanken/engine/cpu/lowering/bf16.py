"""Products in bf16 on the tile unit: operands are rounded and packed once, then multiplied.

What else the engine knows of bf16 is in `kernels/bf16.py` and `kernels/bf16_conv.py`, the intrinsics of
`tile_unit.py`, and `amx.py`, which asks the system for the unit.
"""

import math

import numpy as np

from gedanken.engine.cpu.kernels.bf16 import SIDE, TILE, Blocks
from gedanken.engine.cpu.kernels.bf16_conv import Planes
from gedanken.engine.cpu.lowering.base import (
    CACHED,
    PIECE,
    TASKS,
    Lowering,
    Matrix,
    Products,
    cut,
    pack_phases,
    slots_of,
)
from gedanken.engine.cpu.lowering.conv_gradient import by_kernel, seen
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

BLOCKS = 32  # tasks of a product: enough to share evenly
SPEED = 8  # vectors that a tile unit multiplies in the time of one
ZEROS = 3.5  # products of the tile unit for each one that is needed: with more it is no faster
PIXELS = 768  # of dy in a panel: they fill most of a first-level cache


class Bf16(Products):
    """Products of numbers rounded to bf16, summed in float32; a kernel gradient that is mostly zeros stays float32."""

    correlate, spread, speed = "bf16_conv.correlate", "bf16_conv.spread", SPEED
    reads_in_place, spreads_forward, other_basis = False, False, False

    def __init__(self) -> None:
        self.tile = (TILE, TILE)

    def tile_cost(self, rows: Array) -> Array:
        return -(-rows // SIDE) * SIDE

    def band_scratch(self, size: int, pitch: int, border: bool) -> int:
        return scratch(size + SIDE * pitch)  # the last tile is read whole, behind the band too

    def strip_scratch(self, pixels: int, channels: int, products: int) -> int:
        return scratch(cut((pixels + SIDE) * channels, 2) * 2, products)  # as for a band

    def pack(self, low: Lowering, kernel: Array | Buffer, sizes: tuple[int, int, int], groups: int = 1) -> Buffer:
        taps, depth, columns = sizes
        panels = groups * low.panels(columns)
        made = low.buffer((panels, taps, full_tiles(depth), TILE), "uint16")
        low.program.add(
            "bf16.pack", panels, weights=kernel, packed=made, taps=taps, depth=depth, columns=columns,
            groups=groups,
        )  # fmt: skip
        return made

    def pack_transposed(
        self, low: Lowering, kernel: Array | Buffer, taps: list[list[int]], depth: int, sizes: tuple[int, int, int]
    ) -> tuple[Buffer, list[int]]:
        lengths = [len(listed) * sizes[1] // depth * full_tiles(depth) * TILE for listed in taps]
        return pack_phases(low, "bf16.pack_transposed", kernel, taps, lengths, sizes, "uint16", depth=depth)

    def multiply(
        self, low: Lowering, a: Matrix, b: Matrix, bias: Array | Buffer, c: Buffer | Array,
        sizes: tuple[int, int, int], pieces: int,
    ) -> None:  # fmt: skip
        rows, columns, inner = sizes
        left = low.buffer((full_tiles(rows), full_tiles(inner)), "uint16")
        piece = full_tiles(cut(PIECE, inner))
        low.program.add(
            "bf16.left_factor", cut(rows, piece), a=a.numbers, rounded=left, rows=rows, inner=inner,
            trans=int(a.down == 1), piece=piece,
        )  # fmt: skip
        if b.right == 1:
            right = self.pack(low, b.numbers, (1, inner, columns))
        else:
            right, _ = self.pack_transposed(low, b.numbers, [[0]], inner, (columns, inner, 1))
        wanted = cut(BLOCKS, pieces)
        column_blocks = min(low.panels(columns), wanted)
        row_blocks = min(cut(rows, TILE), cut(wanted, column_blocks))
        blocks = Blocks(
            rows=rows, columns=columns, inner=inner, pieces=pieces, row_blocks=row_blocks, column_blocks=column_blocks,
            zero_bias=low.zeros(columns), zero_offset=low.zero_offset,
        )  # fmt: skip
        low.program.add(
            "bf16.multiply", pieces * row_blocks * column_blocks, left=left, right=right, bias=bias, c=c, s=blocks
        )

    def kernel_gradient(
        self, low: Lowering, stage: LayerStage, plan: Plan, geometry: Geometry, x: Buffer, dy: Buffer
    ) -> None:
        if suits_tile_unit(plan, geometry):
            _by_planes(low, stage, geometry, plan.source, plan.target, x, dy)
        else:
            by_kernel(low, stage, plan, geometry, x, dy)


def full_tiles(count: int) -> int:
    """Return a count rounded up to whole tiles."""
    return cut(count, TILE) * TILE


def scratch(bf16s: int, reals: int = 0) -> int:
    """Return the scratch memory, in numbers of eight bytes, for so many of each."""
    return cut(bf16s, 4) + cut(reals, 2)


def suits_tile_unit(plan: Plan, geometry: Geometry) -> bool:
    """Return whether the tile unit, which takes whole rows of images and whole tiles, multiplies few zeros."""
    ins, outs = plan.unit, plan.target[2] // plan.groups
    rows, columns = ((found[:, 1] - found[:, 0]).clip(0).sum() for found in (seen(plan, geometry, a) for a in (0, 1)))
    width = plane_width(geometry, plan.source)
    taken = math.prod(geometry.size) * plan.target[0] * width
    tiles = cut(ins, SIDE) * SIDE * cut(outs, TILE) * TILE
    return bool(taken * tiles < ZEROS * rows * columns * ins * cut(outs, SIDE) * SIDE)


def _by_planes(
    low: Lowering, stage: LayerStage, geometry: Geometry, image: Shape, output: Shape, x: Buffer, dy: Buffer
) -> None:
    """Emit the kernel gradient of a convolution; image and output are (height, width, channels)."""
    kernel, groups, (down, right) = stage.g["kernel"], geometry.groups, geometry.stride
    (height, width, channels), (out_height, out_width, out_channels) = image, output
    sums = slots_of(low, stage)
    slots = sums.slots
    blocks = min(low.panels(out_channels // groups), cut(TASKS, slots))
    (top, bottom), (left, _) = geometry.padding
    plane_rows, pitch = cut(height + top + bottom, down), plane_width(geometry, image)
    spread = (plane_rows, pitch) != (height, width) or geometry.stride != (1, 1)
    plane, places = _planes(geometry, channels, plane_rows, pitch, out_height)
    planes = down * right * channels * plane
    fitting = CACHED // (2 * planes)
    together = max(1, min(cut(PIXELS, out_height * pitch), fitting, cut(low.samples, slots)))
    strip = max(1, min(out_height, PIXELS // pitch)) if together == 1 else out_height
    memory = together * (planes + full_tiles(strip * pitch) * TILE) + SIDE * plane
    phased = down * right * plane_rows * pitch * channels if spread else 0
    given = Planes(
        blocks=blocks, together=together, strip=strip,
        spread=int(spread), height=height, width=width, channels=channels, top=top, left=left, down=down, right=right,
        plane_rows=plane_rows, plane_width=pitch, plane=plane, places=places, n_places=places.size,
        out_height=out_height, out_width=out_width, out_channels=out_channels, groups=groups,
        offsets=np.arange(together, dtype=np.int64) * planes,
    )  # fmt: skip
    low.program.add(
        "bf16_conv.kernel_gradient", slots * blocks, scratch(memory, phased), x=x, dy=dy, sums=sums,
        p=given,
    )  # fmt: skip
    low.add_up(sums.weights, kernel, slots)
    if "bias" in stage.g:
        low.add_up(sums.bias, stage.g["bias"], slots)


def plane_width(geometry: Geometry, image: Shape) -> int:
    """Return how wide the planes of an image's channels are, an even number."""
    left, right = geometry.padding[1]
    return 2 * cut(left + image[1] + right, 2 * geometry.stride[1])


def _planes(geometry: Geometry, channels: int, rows: int, width: int, out_height: int) -> tuple[int, Array]:
    """Return the numbers in the plane of a channel, and where each place of the window has its first pixel."""
    (down, right), (by_row, by_column) = geometry.stride, geometry.dilation
    window = [(r * by_row, s * by_column) for r in range(geometry.size[0]) for s in range(geometry.size[1])]
    shifts = [r // down * width + s // right for r, s in window]
    plane = full_tiles(max(rows * width, max(shifts) + out_height * width + TILE))
    phases = [r % down * right + s % right for r, s in window]
    places = [phase * channels * plane + shift for phase, shift in zip(phases, shifts, strict=True)]
    return plane, np.array(places, np.int64)
