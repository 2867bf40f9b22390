"""Reshape: the numbers of a picture, channel by channel, in another shape."""

from gedanken.engine.cpu.lowering.base import Lowered, Lowering
from gedanken.engine.cpu.program import Buffer
from gedanken.layers.stages import LayerStage
from gedanken.types import Shape


def reshape(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower Reshape."""

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        return _moved(low, dy, stage.output_shape, stage.shape) if wanted else None

    return _moved(low, x, stage.shape, stage.output_shape), backward


def _moved(low: Lowering, x: Buffer, given: Shape, made: Shape) -> Buffer:
    """Emit the numbers in a new shape: in the order of channels first, then back to channels last."""
    if given != made:
        x = _turned(low, x, *_pixels(given))
        x = _turned(low, x, *reversed(_pixels(made)))
    return low.program.view(x, (low.samples, *made))


def _turned(low: Lowering, x: Buffer, rows: int, columns: int) -> Buffer:
    """Emit the transposed matrix of each sample; one of a single row or column lies in the same order."""
    if rows == 1 or columns == 1:
        return x
    y = low.buffer((low.samples, columns, rows))
    low.program.add("dense.reorder", low.samples, x=x, y=y, rows=rows, columns=columns)
    return y


def _pixels(shape: Shape) -> tuple[int, int]:
    """Return pixels and channels of a picture; features have one order only."""
    return (shape[0] * shape[1], shape[2]) if len(shape) == 3 else (1, 1)
