"""Embedding, and whole numbers that go to other layers."""

import math

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.embedding import Chains
from gedanken.engine.cpu.kernels.sparse import Touched
from gedanken.engine.cpu.lowering.base import PIECE, TASKS, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer
from gedanken.layers.stages import LayerStage
from gedanken.sparse import RowGradient


def embedding(low: Lowering, stage: LayerStage, x: Buffer) -> Lowered:
    """Lower y = table[x]; x are whole numbers."""
    table, places = stage.p["table"], low.samples * math.prod(stage.shape)
    tokens, width = table.shape
    y, piece = low.buffer((low.samples, *stage.output_shape)), cut(PIECE, width)
    rows = Rows(rows=places, columns=width, piece=piece)
    low.program.add("embedding.forward", cut(places, piece), x=x, table=table, y=y, m=rows)

    def backward(dy: Buffer, wanted: bool) -> Buffer | None:
        gradient: RowGradient = stage.g["table"]  # type: ignore[assignment]
        touched = Touched(
            array=gradient.array, touched=gradient.touched, marks=gradient.marks, count=gradient.count, width=width
        )
        first, last, after = (low.buffer((places,), "int64") for _ in range(3))
        chains = Chains(first=first, last=last, after=after, number=low.buffer((tokens,), "int64"))
        tasks = min(2 * TASKS, places)
        low.program.add("embedding.clear", tasks, g=touched, tasks=tasks)
        low.program.add("embedding.link", 1, x=x, g=touched, c=chains, places=places)
        low.program.add("embedding.add_up", tasks, 2 * width, dy=dy, g=touched, c=chains, tasks=tasks)
        return nothing(low, x) if wanted else None

    return y, backward


def nothing(low: Lowering, x: Buffer) -> Buffer:
    """Emit the gradient with respect to whole numbers: zeros, which nobody reads."""
    zeros, size = low.buffer(x.shape), math.prod(x.shape)
    low.program.add("embedding.nothing", cut(size, PIECE), x=zeros, size=size, piece=PIECE)
    return zeros


def as_reals(low: Lowering, x: Buffer) -> Buffer:
    """Emit whole numbers as numbers of the number type."""
    y, size = low.buffer(x.shape), math.prod(x.shape)
    low.program.add("embedding.as_reals", cut(size, PIECE), x=x, y=y, size=size, piece=PIECE)
    return y
