"""Pixels around images, and pixels at their sides taken away: a copy each way. So with places of sequences."""

import numpy as np

from gedanken.engine.cpu.kernels.frame import Around, Frame, Run
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.geometry import BORDERS
from gedanken.layers import frames
from gedanken.layers.frames import as_image
from gedanken.layers.stages import LayerStage
from gedanken.types import Array, Shape


def frame(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower a layer that puts images into another frame."""
    layer = stage.layer
    assert isinstance(layer, frames.Frame)
    if low.has_lengths and len(stage.shape) == 2:
        return _along_time(low, stage, layer, x)
    y, back = framed(low, x, as_image(stage.shape), layer.taken(stage.shape), layer.outside)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        dx = back(dy, wanted)
        return low.program.view(dx, x.shape) if dx else None

    return low.program.view(y, (low.samples, *stage.output_shape)), backward


def framed(low: Lowering, x: Buffer, image: Shape, taken: tuple[Array, Array], outside: float = 0.0) -> Lowered:
    """Emit what takes these rows and columns of images (H, W, C), and puts `outside` where one is -1."""
    (rows, columns), (height, width, channels) = taken, image
    order = np.argsort(rows, kind="stable")[np.count_nonzero(rows < 0) :]
    here = Frame(
        height=height, width=width, channels=channels, out_height=len(rows), out_width=len(columns), rows=rows,
        columns=columns, order=order, begins=np.searchsorted(rows[order], np.arange(height + 1)), run=_run(columns),
        outside=outside,
    )  # fmt: skip
    line, out_line = width * channels, len(columns) * channels
    y, (band, bands) = low.buffer((low.samples, len(rows), len(columns), channels)), low.bands(len(rows))
    low.program.add("frame.forward", low.samples * bands, x=x, y=y, f=here, band=band, bands=bands)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx, (band, bands) = low.buffer((low.samples, *image)), low.bands(height)
        low.program.add(
            "frame.gradient", low.samples * bands, 2 * out_line + line, dy=dy, d=dx, f=here, band=band, bands=bands
        )
        return dx

    return y, backward


def _along_time(low: Lowering, stage: LayerStage, layer: frames.Frame, x: Buffer) -> Lowered:
    """Emit the same for sequences, each of which has an end of its own."""
    (places, features), (before, after) = stage.shape, layer.around(stage.shape)
    piece = min(cut(PIECE, places * features), cut(low.samples, TASKS))
    y, made = low.buffer((low.samples, *stage.output_shape)), stage.output_shape[0]
    around = Around(
        samples=low.samples, places=places, features=features, made=made, before=before, after=after,
        mode=BORDERS.index(layer.beyond), outside=layer.outside, piece=piece,
    )  # fmt: skip
    tasks, lengths = cut(low.samples, piece), low.lengths(stage)
    low.program.add("frame.along_time", tasks, x=x, y=y, lengths=lengths, a=around)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        if not wanted:
            return None
        dx = low.buffer(x.shape)
        low.program.add("frame.time_gradient", tasks, places * features, dy=dy, d=dx, lengths=lengths, a=around)
        return dx

    return y, backward


def _run(columns: Array) -> Run:
    """Return the columns of the result that stand beside each other in the input as well, the longest such run."""
    ends = np.flatnonzero((np.diff(columns) != 1) | (columns[:-1] < 0)) + 1
    starts, ends = np.r_[0, ends], np.r_[ends, len(columns)]
    best = int(np.argmax((ends - starts) * (columns[starts] >= 0)))
    return Run(inside=int(columns[starts[best]]), out=int(starts[best]), count=int(ends[best] - starts[best]))
