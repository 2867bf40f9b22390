"""The layer whose input is mostly zeros."""

import numpy as np

from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.sparse import Csr, Penalty, Touched
from gedanken.engine.cpu.lowering.base import TASKS, Lowered, Lowering, cut
from gedanken.engine.cpu.program import Buffer, Program
from gedanken.layers.stages import LayerStage
from gedanken.sparse import RowGradient, SparseRows


class SparseInput:
    """Where sparse rows are told to a program, as a Buffer is for an array.

    Args:
        program: that reads them.
        samples, features: how many rows and columns.
    """

    def __init__(self, program: Program, samples: int, features: int) -> None:
        self.shape, self.dtype = (samples, features), program.library.dtype
        self._begins, self._ends = (program.input((samples,), "int64") for _ in range(2))
        self._columns, self._values = program.input((samples,), "int32"), program.input((samples,))

    def point_to(self, rows: SparseRows) -> None:
        """Say which rows the next run reads."""
        self._begins.point_to(rows.begins)
        self._ends.point_to(rows.ends)
        self._columns.point_to(rows.columns)
        self._values.point_to(rows.values)
        self._columns.shape, self._values.shape = rows.columns.shape, rows.values.shape

    @property
    def csr(self) -> Csr:
        """What kernels are told."""
        return Csr(begins=self._begins, ends=self._ends, columns=self._columns, values=self._values)


def sparse_dense(low: Lowering, stage: LayerStage, x: SparseInput) -> Lowered:
    """Lower y = x @ kernel + bias for sparse x."""
    kernel, units = stage.p["kernel"], stage.output_shape[0]
    y = low.buffer((low.samples, units))
    piece = cut(low.samples, TASKS)
    low.program.add(
        "sparse.forward", cut(low.samples, piece), x=x.csr, kernel=kernel, bias=stage.p.get("bias", low.zeros(units)),
        y=y, m=Rows(rows=low.samples, columns=units, piece=piece),
    )  # fmt: skip

    def backward(dy: Buffer, wanted: bool) -> None:
        assert not wanted, "sparse rows are the input of the network"
        gradient: RowGradient = stage.g["kernel"]  # type: ignore[assignment]
        touched = Touched(
            array=gradient.array, touched=gradient.touched, marks=gradient.marks, count=gradient.count, width=units
        )
        seen = stage.s.get("seen", np.ones(1, low.real))
        penalty = Penalty(l2=stage.layer.l2, kernel=kernel, seen=seen, features=stage.shape[0])  # type: ignore[attr-defined]
        low.program.add(
            "sparse.gradient", 1, x=x.csr, dy=dy, g=touched, bias=stage.g.get("bias", low.zeros(units)),
            penalty=penalty, rows=low.samples,
        )  # fmt: skip

    return y, backward
