"""Products in bf16 on the tile unit: operands are rounded and packed once, then multiplied."""

import itertools

import numpy as np

from gedanken.engine.cpu.kernels.bf16 import SIDE, TILE, Blocks
from gedanken.engine.cpu.kernels.bf16_conv import Planes
from gedanken.engine.cpu.kernels.conv import Transposed
from gedanken.engine.cpu.lowering.base import CACHED, PIECE, TASKS, Lowering, Matrix, cut, slots_of
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape

BLOCKS = 32  # tasks of a product: enough to share evenly
PIXELS = 768  # of dy in a panel: they fill most of a first-level cache


def full_tiles(count: int) -> int:
    """Return a count rounded up to whole tiles."""
    return cut(count, TILE) * TILE


def scratch(bf16s: int, reals: int = 0) -> int:
    """Return the scratch memory, in numbers of eight bytes, for so many of each."""
    return cut(bf16s, 4) + cut(reals, 2)


# ---------------------------------------------------------------------------------------------- convolution


def packed(low: Lowering, kernel: Array | Buffer, sizes: tuple[int, int, int], groups: int = 1) -> Buffer:
    """Emit the packing of a right factor; sizes are taps, depth of each, and columns of a group."""
    taps, depth, columns = sizes
    panels = groups * low.panels(columns)
    made = low.buffer((panels, taps, full_tiles(depth), TILE), "uint16")
    low.program.add(
        "bf16.pack", panels, weights=kernel, packed=made, taps=taps, depth=depth, columns=columns,
        groups=groups,
    )  # fmt: skip
    return made


def packed_transposed(
    low: Lowering, kernel: Array | Buffer, taps: list[list[int]], depth: int, sizes: tuple[int, int, int]
) -> tuple[Buffer, list[int]]:
    """Emit the packing of a transposed right factor, phase after phase; return also where each phase begins.

    Args:
        taps: of each phase.
        depth: numbers that lie in a row in the left factor.
        sizes: inputs (the columns), outputs (summed over) of a group, groups.
    """
    inputs, outputs, groups = sizes
    panels = groups * low.panels(inputs)
    runs = [len(listed) * outputs // depth for listed in taps]
    starts = list(itertools.accumulate((count * panels * full_tiles(depth) * TILE for count in runs), initial=0))
    made = low.buffer((max(starts[-1], 1),), "uint16")
    for listed, start in zip(taps, starts, strict=False):
        if listed:
            transposed = Transposed(
                start=start, taps=np.array(listed, np.int64), n_taps=len(listed), inputs=inputs, outputs=outputs,
                groups=groups,
            )  # fmt: skip
            low.program.add("bf16.pack_transposed", panels, weights=kernel, packed=made, depth=depth, kernel=transposed)
    return made, starts[:-1]


def band_numbers(size: int, pitch: int) -> int:
    """Return the scratch memory for a band of an image, and what is read behind its last whole tile."""
    return scratch(size + SIDE * pitch)


def strip_numbers(pixels: int, channels: int, products: int) -> int:
    """Return the scratch memory for some pixels, what is read behind their last whole tile, and their products."""
    return scratch(cut((pixels + SIDE) * channels, 2) * 2, products)


def kernel_gradient(
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


# ---------------------------------------------------------------------------------------------- dense products


def multiply(
    low: Lowering,
    a: Matrix,
    b: Matrix,
    bias: Array | Buffer,
    c: Buffer | Array,
    sizes: tuple[int, int, int],
    pieces: int,
) -> None:
    """Emit C = A B + bias; the arguments are those of `lowering/dense._multiply`."""
    rows, columns, inner = sizes
    left = low.buffer((full_tiles(rows), full_tiles(inner)), "uint16")
    piece = full_tiles(cut(PIECE, inner))
    low.program.add(
        "bf16.left_factor", cut(rows, piece), a=a.numbers, rounded=left, rows=rows, inner=inner, trans=int(a.down == 1),
        piece=piece,
    )  # fmt: skip
    if b.right == 1:
        right = packed(low, b.numbers, (1, inner, columns))
    else:
        right, _ = packed_transposed(low, b.numbers, [[0]], inner, (columns, inner, 1))
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
