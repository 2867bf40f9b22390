"""Where the taps of a convolution lie in memory, forward and backward, and along which axis tiles shall lie."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.conv import COLUMNS, IMAGES, ROWS, Phase
from gedanken.engine.cpu.lowering.base import CACHED, TASKS, Lowering, cut
from gedanken.engine.cpu.lowering.plan import Line, Plan
from gedanken.geometry import Geometry
from gedanken.types import Array, Shape

WORTH = 0.85  # of the work that tiles along columns are: less is worth another axis


class Tables(NamedTuple):
    """A plan in numbers, see `kernels/conv.py`; taps: for each phase, the window's places in the order of weights."""

    offsets: Array
    limits: Array
    phases: list[Phase]
    taps: list[list[int]]


def tables(plan: Plan, width: int, swapped: bool = False, starts: Sequence[int] | None = None) -> Tables:
    """Return where everything lies.

    Args:
        plan: what slides.
        width: of images as they lie in memory.
        swapped: whether taps are listed column by column.
        starts: where the packed weights of each phase begin, if not at the first number.
    """
    offsets: list[int] = []
    limits: list[Array] = []
    phases: list[Phase] = []
    taps: list[list[int]] = []
    told = 0  # limits so far
    pairs = list(product(plan.limits(0), plan.limits(1)))
    for ((down, *vertical), (right, *horizontal)), packed in zip(pairs, starts or [0] * len(pairs), strict=True):
        listed = right.places[:1] if plan.joined else right.places
        begin = len(offsets)
        places = np.add.outer(np.array(down.places, int) * width, np.array(listed, int)) * plan.source[2]
        seen = np.add.outer(np.array(down.taps, int) * plan.across, np.array(right.taps, int))
        places, seen = (places.T, seen.T) if swapped else (places, seen)
        offsets += places.ravel().tolist()
        taps.append(seen.ravel().tolist())
        phases.append(
            Phase(
                rows=down.amount, columns=right.amount, first_row=down.first, first_column=right.first,
                first_tap=begin, outer=places.shape[0], inner=places.shape[1], packed=packed,
                limits=told,
            )
        )  # fmt: skip
        limits += [*vertical, *horizontal]
        told += 2 * (down.amount + right.amount)
    return Tables(np.array(offsets or [0], np.int64), np.concatenate(limits).astype(np.int64), phases, taps)


# ---------------------------------------------------------------------------------------------- there and back


def contiguous(geometry: Geometry) -> bool:
    """Return whether a window's row is one run of memory."""
    return geometry.dilation[1] == 1 and geometry.groups == 1


def forward(geometry: Geometry, image: Shape, filters: int) -> Plan:
    """Return how the kernel slides over images."""
    out = geometry.positions(image)
    rows, columns = (
        [Line(out[axis], 0, list(range(size)), [t * geometry.dilation[axis] for t in range(size)])]
        for axis, size in enumerate(geometry.size)
    )
    (top, _), (left, right) = geometry.padding
    return Plan(
        image, (*out, filters), (top, left), image[1] + left + right, geometry.stride, (1, 1), rows, columns,
        geometry.groups, geometry.size[1], contiguous(geometry),
    )  # fmt: skip


def backward(geometry: Geometry, image: Shape, output: Shape) -> Plan:
    """Return how the transposed kernel slides over dy: a convolution for each of the stride's phases."""
    # Zeros before dy: so many outputs before its own can see an input.
    before = [geometry.dilation[axis] * (geometry.size[axis] - 1) // geometry.stride[axis] for axis in (0, 1)]
    rows, columns = (
        list(
            _phases(
                image[axis], geometry.size[axis], geometry.stride[axis], geometry.dilation[axis], pad[0], before[axis]
            )
        )
        for axis, pad in enumerate(geometry.padding)
    )
    width = max(output[1], *(line.amount + max(line.places, default=0) for line in columns))
    return Plan(
        output, image, (before[0], before[1]), width, (1, 1), geometry.stride, rows, columns, geometry.groups,
        geometry.size[1], contiguous(geometry) and geometry.stride[1] == 1,
    )  # fmt: skip


def _phases(length: int, size: int, stride: int, dilation: int, pad: int, before: int) -> Iterator[Line]:
    """Yield the phases along one axis: inputs a, a + stride, ... of the padded image.

    At tap t the output i - q sees input i of them, where q = (t * dilation - a) / stride is whole.
    """
    for a in sorted((pad + i) % stride for i in range(min(stride, length))):
        seen = [(t, (t * dilation - a) // stride) for t in range(size) if (t * dilation - a) % stride == 0]
        # By their places in dy, ascending: `Line.limits` searches in them.
        seen.sort(key=lambda tap: -tap[1])
        start = max(0, cut(pad - a, stride))  # the first inside the image
        last = (length - 1 + pad - a) // stride
        first = a + start * stride - pad
        yield Line(last - start + 1, first, [t for t, _ in seen], [start - q + before for _, q in seen])


# ---------------------------------------------------------------------------------------------- tiles


class Tiles(NamedTuple):
    """How outputs are shared out: the axis of tiles, images of a task, and the rows of tiles with their taps in all."""

    axis: int
    together: int
    work: float


def tiles_of(low: Lowering, plan: Plan) -> Tiles:
    """Return the axis along which the tiles of all images multiply the fewest zeros and are filled best."""
    (rows, tiled_rows), (columns, tiled_columns) = (_seen(low, plan, axis) for axis in (0, 1))
    together = images_together(low, plan)
    blocks = cut(low.samples, together)
    choice = [
        Tiles(COLUMNS, 1, low.samples * rows * tiled_columns),
        Tiles(ROWS, 1, low.samples * tiled_rows * columns),
        Tiles(IMAGES, together, blocks * low.products.tile_cost(np.array([together])).sum() * rows * columns),
    ]
    best = min(choice, key=lambda one: one.work)
    return best if best.work < WORTH * choice[0].work else choice[0]


def images_together(low: Lowering, plan: Plan) -> int:
    """Return how many images a task takes whose tiles lie along them."""
    size = low.real.itemsize * plan.source[0] * plan.source[1] * plan.source[2]
    most = max(low.tile_rows, min(CACHED // size, cut(low.samples, TASKS)))
    return cut(low.samples, cut(low.samples, most))


def most_seen(low: Lowering, plan: Plan, axis: int) -> int:
    """Return the most numbers that a tile along an axis sums over."""
    most = plan.unit
    for along in (0, 1):
        rows = low.tile_rows if axis == (ROWS, COLUMNS)[along] else 1
        most *= max(max(_union(*line, rows)[0].tolist()) for line in plan.limits(along))
    return most


def _union(line: Line, first: Array, last: Array, rows: int) -> tuple[Array, Array]:
    """Return how many taps each tile of so many rows sees, and the tiles' sizes."""
    starts, sizes = _parts(line.amount, rows)
    return np.maximum(last[starts] - first[starts + sizes - 1], 0), sizes


def _seen(low: Lowering, plan: Plan, axis: int) -> tuple[float, float]:
    """Return the taps that all outputs along an axis see, one by one and in tiles."""
    single, tiled = 0.0, 0.0
    for line, first, last in plan.limits(axis):
        union, sizes = _union(line, first, last, low.tile_rows)
        single += float(np.maximum(last - first, 0).sum())
        tiled += float((union * low.products.tile_cost(sizes)).sum())
    return single, tiled


def _parts(count: int, most: int) -> tuple[Array, Array]:
    """Return first rows and sizes of the tiles that so many rows are cut into."""
    parts = cut(count, most)
    sizes = np.full(parts, count // parts) + (np.arange(parts) < count % parts)
    return np.cumsum(sizes) - sizes, sizes
