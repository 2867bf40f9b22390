"""Recurrent layers: the products with the inputs of all places at once, and a kernel that reads the sequences."""

from typing import Any, NamedTuple

import numpy as np

from gedanken.engine.cpu.kernels.conv import Transposed
from gedanken.engine.cpu.kernels.gru import Behind
from gedanken.engine.cpu.kernels.lstm_projected import Projected
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
    cell, units, rows = _cell_of(low, stage), layer.n_units, low.samples * places
    state, width, kernel = layer.sizes[0], layer.gates * units, stage.p["kernel"]
    inputs = low.buffer((rows, width))
    bias = stage.p.get("bias", low.zeros(width))
    given = Matrix(x, features, 1)
    product(low, given, Matrix(kernel, width, 1), inputs, (rows, width, features), bias)
    reading = _reading(low, stage, cell, inputs)
    assert isinstance(reading.y, Buffer)
    room = cut(low.samples, reading.blocks) * (width + 5 * max(units, state))
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
        _recurrent_gradient(low, stage, reading, behind.slopes if cell.kernel == "gru" else inputs, cell.by_gate)
        if "projection" in stage.g:
            _projection_gradient(low, stage.g["projection"], cell.more["projected"], rows)
        if not wanted:
            return None
        dx = low.buffer((low.samples, *stage.shape))
        product(low, d, Matrix(kernel, width, 1).transposed(), dx, (rows, features, width))
        return dx

    return reading.y, backward


def _cell_of(low: Lowering, stage: LayerStage) -> Cell:
    layer = stage.layer
    if isinstance(layer, LSTM) and layer.projection:
        return Cell("lstm_projected", True, False, {"projected": _projected(low, stage)})
    if isinstance(layer, LSTM):
        return Cell("lstm", True, False, {})
    if isinstance(layer, GRU):
        return Cell("gru", True, False, {}) if layer.reset_after else Cell("gru_before", True, True, {})
    assert isinstance(layer, SimpleRNN)
    activation = activation_of(TanH() if layer.activation == "tanh" else ReLU())
    return Cell("simple_rnn", False, False, {"activation": activation})


def _reading(low: Lowering, stage: LayerStage, cell: Cell, inputs: Buffer) -> Reading:
    layer: Any = stage.layer
    places, state = stage.shape[0], layer.sizes[0]
    rows, width = low.samples * places, layer.gates * layer.n_units
    none = low.zeros(1)
    return Reading(
        samples=low.samples, places=places, units=state, width=width, blocks=_blocks(low.samples),
        reverse=int(layer.reverse), last=int(layer.last), train=int(low.train), lengths=low.lengths(stage),
        inputs=inputs, recurrent=_packed(low, stage.p["recurrent"], layer.gates if cell.by_gate else 1),
        zeros=low.zeros(max(width, state)), before=low.buffer((rows, state)) if low.train else none,
        kept=low.buffer((rows, layer.n_units)) if low.train and cell.keeps else none,
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


def _projected(low: Lowering, stage: LayerStage) -> Projected:
    """Return what the kernels are told of an LSTM's projection."""
    kernel, rows = stage.p["projection"], low.samples * stage.shape[0]
    cells, units = kernel.shape
    none = low.zeros(1)
    return Projected(
        cells=cells, packed=_packed(low, kernel, 1), turned=_turned(low, kernel) if low.train else none,
        given=low.buffer((rows, cells)) if low.train else none, slopes=low.buffer((rows, units)) if low.train else none,
    )  # fmt: skip


def _projection_gradient(low: Lowering, target: Array, projected: Any, rows: int) -> None:
    """Emit the gradient of an LSTM's projection: one product for all places."""
    cells, units = target.shape
    given = Matrix(projected.given, cells, 1).transposed()
    product(low, given, Matrix(projected.slopes, units, 1), target, (cells, units, rows))


def _recurrent_gradient(low: Lowering, stage: LayerStage, reading: Any, slopes: Any, by_gate: bool) -> None:
    """Emit the gradient of the recurrent kernel; `by_gate` where r and z read the state, and n reads r times it."""
    units, width, rows = reading.units, reading.width, reading.samples * reading.places
    if not by_gate:
        before = Matrix(reading.before, units, 1).transposed()
        product(low, before, Matrix(slopes, width, 1), stage.g["recurrent"], (units, width, rows))
        return
    gates, candidate = low.buffer((rows, 2 * units)), low.buffer((rows, units))
    take_apart(low, slopes, [gates, candidate])
    parts = [low.buffer((units, 2 * units)), low.buffer((units, units))]
    for read, d, part in zip((reading.before, reading.kept), (gates, candidate), parts, strict=True):
        columns = part.shape[1]
        product(low, Matrix(read, units, 1).transposed(), Matrix(d, columns, 1), part, (units, columns, rows))
    put_together(low, parts, stage.g["recurrent"])
