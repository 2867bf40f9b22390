"""Recurrent layers: the products with the inputs of all places at once, and a kernel that reads the sequences."""

from typing import Any, NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.conv import Transposed
from gedanken.engine.cpu.kernels.gru import Behind
from gedanken.engine.cpu.kernels.recurrent import Reading, Slopes
from gedanken.engine.cpu.lowering.activations import activation_of
from gedanken.engine.cpu.lowering.base import TASKS, Lowered, Lowering, Matrix, cut
from gedanken.engine.cpu.lowering.dense import product
from gedanken.engine.cpu.lowering.full import PACKED
from gedanken.engine.cpu.lowering.join import put_together, take_apart
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import GRU, LSTM, ReLU, SimpleRNN, TanH
from gedanken.layers.recurrent import Recurrent
from gedanken.layers.stages import LayerStage
from gedanken.types import Array

TOGETHER = 16  # sequences that a task reads: enough to use a panel of the recurrent kernel for


class Cell(NamedTuple):
    """What a recurrent layer is to its kernels.

    Args:
        kernel: the file of `forward` and `gradient`.
        keeps: whether `forward` keeps something beside gates and states.
        by_gate: whether the recurrent kernel is packed gate by gate.
        more: what else they are both told.
    """

    kernel: str
    keeps: bool
    by_gate: bool
    more: dict[str, Any]


def recurrent(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower SimpleRNN, LSTM or GRU."""
    layer, (places, features) = stage.layer, stage.shape
    assert isinstance(layer, Recurrent)
    cell, units, rows = _cell_of(stage), layer.n_units, low.samples * places
    width, kernel = layer.gates * units, stage.p["kernel"]
    inputs = low.buffer((rows, width))
    bias = stage.p.get("bias", low.zeros(width))
    given = Matrix(x, features, 1)
    product(low, given, Matrix(kernel, width, 1), inputs, (rows, width, features), bias)
    reading = _reading(low, stage, cell, inputs)
    assert isinstance(reading.y, Buffer)
    room = cut(low.samples, reading.blocks) * (width + 5 * units)
    more = {"shift": stage.p.get("recurrent_bias", low.zeros(units))} if cell.kernel == "gru" else cell.more
    low.program.add(f"{cell.kernel}.forward", reading.blocks, room, r=reading, **more)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        sums = low.buffer((reading.blocks, width))
        slopes = Slopes(dy=dy, turned=_turned(low, stage.p["recurrent"]), sums=sums)
        space = room + cut(low.samples, reading.blocks) * width + 6 * width + units
        behind = Behind(slopes=low.buffer((rows, width)), sums=low.buffer((reading.blocks, units)))
        more = {"behind_product": behind} if cell.kernel == "gru" else cell.more
        low.program.add(f"{cell.kernel}.gradient", reading.blocks, space, r=reading, back=slopes, **more)
        if "bias" in stage.g:
            low.add_up(sums, stage.g["bias"], reading.blocks)
        if "recurrent_bias" in stage.g:
            low.add_up(behind.sums, stage.g["recurrent_bias"], reading.blocks)
        d = Matrix(inputs, width, 1)
        product(low, given.transposed(), d, stage.g["kernel"], (features, width, rows))
        if cell.by_gate:
            _gradient_by_gate(low, stage, reading, inputs)
        else:
            found = Matrix(behind.slopes, width, 1) if cell.kernel == "gru" else d
            before = Matrix(reading.before, units, 1).transposed()
            product(low, before, found, stage.g["recurrent"], (units, width, rows))
        if not wanted:
            return None
        dx = low.buffer((low.samples, *stage.shape))
        product(low, d, Matrix(kernel, width, 1).transposed(), dx, (rows, features, width))
        return dx

    return reading.y, backward


def _cell_of(stage: LayerStage) -> Cell:
    layer = stage.layer
    if isinstance(layer, LSTM):
        return Cell("lstm", True, False, {})
    if isinstance(layer, GRU):
        return Cell("gru", True, False, {}) if layer.reset_after else Cell("gru_before", True, True, {})
    assert isinstance(layer, SimpleRNN)
    activation = activation_of(TanH() if layer.activation == "tanh" else ReLU())
    return Cell("simple_rnn", False, False, {"activation": activation})


def _reading(low: Lowering, stage: LayerStage, cell: Cell, inputs: Buffer) -> Reading:
    layer: Any = stage.layer
    places, units = stage.shape[0], layer.n_units
    rows, width = low.samples * places, layer.gates * units
    none = low.zeros(1)
    return Reading(
        samples=low.samples, places=places, units=units, width=width, blocks=_blocks(low.samples),
        reverse=int(layer.reverse), last=int(layer.last), train=int(low.train), lengths=low.lengths(stage),
        inputs=inputs, recurrent=_packed(low, stage.p["recurrent"], layer.gates if cell.by_gate else 1),
        zeros=low.zeros(width), before=low.buffer((rows, units)) if low.train else none,
        kept=low.buffer((rows, units)) if low.train and cell.keeps else none,
        y=low.buffer((low.samples, *stage.output_shape)), zero_offset=low.zero_offset,
    )  # fmt: skip


def _blocks(samples: int) -> int:
    """Return how many tasks read so many sequences."""
    return min(samples, max(cut(samples, TOGETHER), min(TASKS, cut(samples, TOGETHER // 2))))


def _panel(low: Lowering) -> int:
    """Return the columns of the micro-kernel's tile, whatever large products are done with."""
    machine = low.program.library.machine
    return machine.vectors * machine.lanes(low.real.itemsize)


def _packed(low: Lowering, kernel: Array, groups: int) -> Buffer:
    """Emit the packing of the recurrent kernel, once for all places."""
    rows, columns = kernel.shape[0], kernel.shape[1] // groups
    packed = low.buffer((groups * cut(columns, _panel(low)), rows, _panel(low)))
    low.program.add(
        "conv.pack", cut(rows, PACKED), weights=kernel, packed=packed, rows=rows, columns=columns, groups=groups,
        block=PACKED,
    )  # fmt: skip
    return packed


def _turned(low: Lowering, kernel: Array) -> Buffer:
    """Emit the packing of the transposed recurrent kernel."""
    inputs, outputs = kernel.shape
    panels = cut(inputs, _panel(low))
    packed = low.buffer((panels, outputs, _panel(low)))
    transposed = Transposed(start=0, taps=np.zeros(1, np.int64), n_taps=1, inputs=inputs, outputs=outputs, groups=1)
    low.program.add("conv.pack_transposed", panels, weights=kernel, packed=packed, kernel=transposed)
    return packed


def _gradient_by_gate(low: Lowering, stage: LayerStage, reading: Any, slopes: Buffer) -> None:
    """Emit the gradient of the recurrent kernel where r and z read the state, and n reads r times the state."""
    units, rows = reading.units, reading.samples * reading.places
    gates, candidate = low.buffer((rows, 2 * units)), low.buffer((rows, units))
    take_apart(low, slopes, [gates, candidate])
    parts = [low.buffer((units, 2 * units)), low.buffer((units, units))]
    for read, d, part in zip((reading.before, reading.kept), (gates, candidate), parts, strict=True):
        columns = part.shape[1]
        product(low, Matrix(read, units, 1).transposed(), Matrix(d, columns, 1), part, (units, columns, rows))
    put_together(low, parts, stage.g["recurrent"])
