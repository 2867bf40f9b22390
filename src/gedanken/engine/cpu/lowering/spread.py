"""Convolution by spreading, see `kernels/spread.py`: when it is less work than gathering, and its instructions."""

import math

import numpy as np

from gedanken.engine.cpu.kernels.band import Finish, Weights
from gedanken.engine.cpu.kernels.rows import Activation
from gedanken.engine.cpu.kernels.spread import Spread
from gedanken.engine.cpu.lowering.activations import LINEAR
from gedanken.engine.cpu.lowering.base import CACHED, TASKS, Lowering, cut
from gedanken.engine.cpu.lowering.plan import Plan
from gedanken.engine.cpu.lowering.taps import contiguous, tiles_of
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import Geometry
from gedanken.types import Array

PIXELS = 48  # of a strip: enough to fill tiles
# What adding a pixel's products costs, in units of multiplying and adding a vector: for each run of them, and for each
# vector of a run.
RUN, VECTOR = 20, 14
WORTH = 0.8  # of the work of gathering: less is worth it
PHASES = 256  # of a plan: with more, listing and packing them takes longer than the products
MANY = 128  # taps of one output whose products are not simply added up: each is a rounding


def is_worth(low: Lowering, plan: Plan, geometry: Geometry) -> bool:
    """Return whether spreading the source of a plan over windows is less work than the plan, or far less to prepare.

    Args:
        plan: in the place of which it would be.
        geometry: of the convolution.
    """
    if len(plan.rows) * len(plan.columns) > PHASES:
        return True
    (height, width, _), (rows, columns) = plan.source, geometry.size
    outs, speed = plan.target[2] // plan.groups, low.products.speed
    gathered = tiles_of(low, plan).work * plan.groups * plan.unit * _vectors(low, outs) / speed
    products = plan.groups * plan.unit * _vectors(low, rows * columns * outs) / speed
    joined = contiguous(geometry)
    runs, run = (rows, columns * outs) if joined else (plan.groups * rows * columns, outs)
    adding = runs * (RUN + VECTOR * _vectors(low, run))
    return low.samples * height * width * (products + adding) < WORTH * gathered


def _vectors(low: Lowering, count: int) -> int:
    return cut(count, low.lanes)


def by_input(
    low: Lowering,
    plan: Plan,
    geometry: Geometry,
    dy: Buffer,
    kernel: Array,
    bias: Array,
    measured: bool,
    activation: Activation,
) -> tuple[Buffer, Buffer, Array]:
    """Emit the input gradient, plus a bias; plan is the one in the place of which it is emitted."""
    inputs, outputs, groups = math.prod(kernel.shape[:3]), kernel.shape[3] // geometry.groups, geometry.groups
    weights, _ = low.products.pack_transposed(low, kernel, [[0]], outputs, (inputs, outputs, groups))
    before = (geometry.padding[0][0], geometry.padding[1][0])
    return _spread(low, plan, geometry, before, dy, Weights(weights=weights, bias=bias), measured, activation)


def forward(
    low: Lowering,
    plan: Plan,
    geometry: Geometry,
    x: Buffer,
    kernel: Array | Buffer,
    bias: Array | Buffer,
    measured: bool,
    activation: Activation,
) -> tuple[Buffer, Buffer, Array]:
    """Emit the outputs of a convolution of stride 1: a pixel is spread over those that see it, taps mirrored."""
    taps, ins, outs = math.prod(kernel.shape[:2]), kernel.shape[2], kernel.shape[3] // geometry.groups
    panels = geometry.groups * low.panels(taps * outs)
    weights = low.buffer((panels, ins, low.tile_columns))
    low.program.add(
        "spread.pack_mirrored", panels, weights=kernel, packed=weights, taps=taps, ins=ins, outs=outs,
        groups=geometry.groups,
    )  # fmt: skip
    top, left = (
        dilation * (size - 1) - pad[0]
        for dilation, size, pad in zip(geometry.dilation, geometry.size, geometry.padding, strict=True)
    )
    return _spread(low, plan, geometry, (top, left), x, Weights(weights=weights, bias=bias), measured, activation)


def _spread(
    low: Lowering,
    plan: Plan,
    geometry: Geometry,
    before: tuple[int, int],
    source: Buffer,
    given: Weights,
    measured: bool = False,
    activation: Activation = LINEAR,
) -> tuple[Buffer, Buffer, Array]:
    (height, width, channels), (rows, columns, out_channels) = plan.source, plan.target
    band = cut(rows, cut(TASKS, low.samples))
    bands = cut(rows, band)
    panels = low.panels(math.prod(geometry.size) * out_channels // geometry.groups)
    strip = min(height, cut(PIXELS, width))
    pitch = strip * width * low.tile_columns
    held = max(1, min(panels, CACHED // (pitch * low.real.itemsize)))
    target = low.buffer((low.samples, *plan.target))
    statistics = low.buffer((low.samples * bands, 3, out_channels) if measured else (1,))
    place = low.products.strip_scratch(strip * width, channels, held * pitch)
    seen = math.prod(max(len(line.taps) for line in lines) for lines in (plan.rows, plan.columns))
    lost = band * columns * out_channels if seen > MANY else 0
    spread = Spread(
        height=height, width=width, channels=channels, out_height=rows, out_width=columns, out_channels=out_channels,
        rows=geometry.size[0], columns=geometry.size[1], down=geometry.stride[0], right=geometry.stride[1],
        top=before[0], left=before[1], by_row=geometry.dilation[0], by_column=geometry.dilation[1],
        groups=geometry.groups, lost=place if lost else 0, bands=bands, band=band, strip=strip, held=held,
        zero_bias=low.zeros(low.tile_columns), zero_offset=low.zero_offset,
    )  # fmt: skip
    low.program.add(
        low.products.spread, low.samples * bands, place + lost,
        source=source, weights=given.weights, bias=given.bias, target=target,
        s=spread,
        finish=Finish(activation=activation, measured=int(measured), statistics=statistics),
    )  # fmt: skip
    lengths = [min(band, rows - start) * columns for start in range(0, rows, band)]
    return target, statistics, np.tile(np.array(lengths, low.real), low.samples)
