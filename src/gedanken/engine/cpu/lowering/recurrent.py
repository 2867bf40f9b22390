"""Recurrent layers: the products with the inputs of all places at once, and a kernel that reads the sequences."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName
from gedanken.engine.cpu.kernels.conv import Transposed
from gedanken.engine.cpu.kernels.gru import Behind
from gedanken.engine.cpu.kernels.lstm_projected import Projected
from gedanken.engine.cpu.kernels.recurrent import Reading, Slopes
from gedanken.engine.cpu.lowering.activations import activation_of
from gedanken.engine.cpu.lowering.base import TASKS, Lowered, Lowering, Matrix, cut
from gedanken.engine.cpu.lowering.dense import product
from gedanken.engine.cpu.lowering.full import PACKED
from gedanken.engine.cpu.lowering.join import join, put_together, split, take_apart
from gedanken.engine.cpu.program import Buffer
from gedanken.layers import GRU, LSTM, FromState, ReLU, SimpleRNN, TanH
from gedanken.layers.from_state import of_reader
from gedanken.layers.recurrent import Recurrent
from gedanken.layers.stages import LayerStage
from gedanken.types import AnyShape, Array

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
    y, back = _read(low, stage, x, low.lengths(stage), ())
    return y, lambda dy, wanted: back(dy, wanted, ())


def from_state(low: Lowering, stage: LayerStage, x: ByName) -> tuple[Any, Any]:
    """Lower a recurrent layer whose first state is an input, or two that read in both directions."""
    layer = stage.layer
    assert isinstance(layer, FromState)
    shape: AnyShape = stage.shape
    given, lengths = shape[layer.sequence], low.lengths(stage, layer.sequence)
    merge = getattr(layer.layer, "merge", "sum")
    starts = [_apart(low, x.parts[name], len(layer.readers)) for name in layer.starts]
    ys, backs = [], []
    for number, (name, reader) in enumerate(layer.readers.items()):
        own = replace(
            stage, layer=reader, shape=given, output_shape=reader.output_shape(given), p=of_reader(name, stage.p),
            g=of_reader(name, stage.g),
        )  # fmt: skip
        y, back = _read(low, own, x.parts[layer.sequence], lengths, [parts[number] for parts in starts])
        ys.append(y)
        backs.append(back)
    y = join(low, merge, ys, (low.samples, *layer.layer.output_shape(given)))

    def backward(dy: Any, wanted: bool) -> ByName | None:
        passed = dy.parts if layer.names else {layer.sequence: dy}
        ds = [[low.buffer(part.shape) for part in parts] for parts in starts]
        dxs: list[Any] = []
        for number, (back, own) in enumerate(zip(backs, split(low, merge, passed[layer.sequence], ys, y), strict=True)):
            dxs.append(back(own, wanted, [parts[number] for parts in ds]))
        if not wanted:
            return None
        dx = join(low, "sum", dxs, (low.samples, *given))
        named = zip(layer.starts, ds, strict=True)
        wholes = {name: join(low, "concatenate", parts, (low.samples, *shape[name])) for name, parts in named}
        return ByName({**passed, layer.sequence: dx, **wholes})

    return ByName(layer.passed(x.parts, y)) if layer.names else y, backward


def _apart(low: Lowering, whole: Buffer, count: int) -> list[Buffer]:
    """Emit the equal parts that an array (samples, features) is made of."""
    if count == 1:
        return [whole]
    parts = [low.buffer((low.samples, whole.shape[1] // count)) for _ in range(count)]
    take_apart(low, whole, parts)
    return parts


# Emits the backward instructions: dy, whether dx is wanted, and where the gradients of the first states go.
_Back = Callable[[Buffer, bool, Sequence[Buffer]], Buffer | None]


def _read(
    low: Lowering, stage: LayerStage, x: Buffer, lengths: Buffer, starts: Sequence[Buffer]
) -> tuple[Buffer, _Back]:  # fmt: skip
    """Emit the reading of sequences; `starts` are the first of the states, where they are not 0."""
    layer, (places, features) = stage.layer, stage.shape
    assert isinstance(layer, Recurrent)
    cell, units, rows = _cell_of(low, stage), layer.n_units, low.samples * places
    state, width, kernel = layer.sizes[0], layer.gates * units, stage.p["kernel"]
    inputs = low.buffer((rows, width))
    bias = stage.p.get("bias", low.zeros(width))
    given = Matrix(x, features, 1)
    product(low, given, Matrix(kernel, width, 1), inputs, (rows, width, features), bias)
    reading = _reading(low, stage, cell, inputs, (lengths, _both(low, units, starts)))
    assert isinstance(reading.y, Buffer)
    room = cut(low.samples, reading.blocks) * (width + 5 * max(units, state))
    more = {"shift": stage.p.get("recurrent_bias", low.zeros(units))} if cell.kernel == "gru" else cell.more
    low.program.add(f"{cell.kernel}.forward", reading.blocks, room, r=reading, **more)

    def backward(dy: Buffer, wanted: bool, ds: Sequence[Buffer]) -> Buffer | None:
        start, start_cell = [*ds, *(low.buffer((low.samples, units) if ds else (1,)) for _ in range(2))][:2]
        slopes = Slopes(
            dy=dy, turned=_turned(low, stage.p["recurrent"]), sums=low.buffer((reading.blocks, width)), start=start,
            start_cell=start_cell,
        )  # fmt: skip
        space = room + cut(low.samples, reading.blocks) * width + 6 * width + units
        behind = Behind(slopes=low.buffer((rows, width)), sums=low.buffer((reading.blocks, units)))
        more = {"behind_product": behind} if cell.kernel == "gru" else cell.more
        low.program.add(f"{cell.kernel}.gradient", reading.blocks, space, r=reading, back=slopes, **more)
        d = Matrix(inputs, width, 1)
        product(low, given.transposed(), d, stage.g["kernel"], (features, width, rows))
        _other_gradients(low, stage, (cell, reading), slopes, behind)
        if not wanted:
            return None
        dx = low.buffer((low.samples, *stage.shape))
        product(low, d, Matrix(kernel, width, 1).transposed(), dx, (rows, features, width))
        return dx

    return reading.y, backward


def _other_gradients(
    low: Lowering, stage: LayerStage, how: tuple[Cell, Reading], slopes: Slopes, behind: Behind
) -> None:  # fmt: skip
    """Emit the gradients of the biases, of the recurrent kernel and of a projection."""
    cell, reading = how
    if "bias" in stage.g:
        low.add_up(slopes.sums, stage.g["bias"], reading.blocks)
    if "recurrent_bias" in stage.g:
        low.add_up(behind.sums, stage.g["recurrent_bias"], reading.blocks)
    _recurrent_gradient(low, stage, reading, behind.slopes if cell.kernel == "gru" else reading.inputs, cell.by_gate)
    if "projection" in stage.g:
        rows = reading.samples * reading.places
        _projection_gradient(low, stage.g["projection"], cell.more["projected"], rows)


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


def _both(low: Lowering, units: int, starts: Sequence[Buffer]) -> tuple[bool, Any, Any]:
    """Return whether there are states before the first place, and both: of what is not given zeros."""
    zeros = low.zeros(low.samples * units if starts else 1)
    start, start_cell = [*starts, zeros, zeros][:2]
    return bool(starts), start, start_cell


def _reading(low: Lowering, stage: LayerStage, cell: Cell, inputs: Buffer, told: tuple[Buffer, Any]) -> Reading:
    lengths, (begun, start, start_cell) = told
    layer: Any = stage.layer
    places, state = stage.shape[0], layer.sizes[0]
    rows, width = low.samples * places, layer.gates * layer.n_units
    none = low.zeros(1)
    return Reading(
        samples=low.samples, places=places, units=state, width=width, blocks=_blocks(low.samples),
        reverse=int(layer.reverse), last=int(layer.last), train=int(low.train), lengths=lengths,
        inputs=inputs, recurrent=_packed(low, stage.p["recurrent"], layer.gates if cell.by_gate else 1),
        zeros=low.zeros(max(width, state)), before=low.buffer((rows, state)) if low.train else none,
        kept=low.buffer((rows, layer.n_units)) if low.train and cell.keeps else none,
        y=low.buffer((low.samples, *stage.output_shape)), begun=int(begun), start=start,
        start_cell=start_cell, zero_offset=low.zero_offset,
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
    transposed = Transposed(
        starts=low.zero_offset, taps=low.zero_offset, ends=np.arange(2), inputs=inputs, outputs=outputs, groups=1
    )
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
