"""The specification's primitives on the engine `cpu`, and what kernels do in place of some."""

from collections.abc import Callable, Sequence

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.kernels.blocks import Rows
from gedanken.engine.cpu.kernels.cost import RowWeights, Targets
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.join import add_up, put_together, take_apart
from gedanken.engine.cpu.lowering.lowered_cost import class_weights, costs_of
from gedanken.engine.cpu.lowering.products import products_of
from gedanken.engine.cpu.program import Program, call
from gedanken.engine.cpu.threads import Pool
from gedanken.ops import Ops
from gedanken.types import Array

SHARED = 1 << 16  # numbers that are worth waking helpers for


class CpuOps(Ops):
    """The specification's primitives, and what kernels do in place of some."""

    def __init__(self, library: Library, pool: Pool) -> None:
        super().__init__(np, library.dtype)
        self.library, self.pool = library, pool

    def concatenate(self, parts: Sequence[Array]) -> Array:
        if not self._worth_sharing(parts):
            return super().concatenate(parts)
        whole = np.empty((*parts[0].shape[:-1], sum(part.shape[-1] for part in parts)), self.dtype)
        self._share(lambda low: put_together(low, parts, whole))
        return whole

    def split(self, x: Array, widths: Sequence[int]) -> list[Array]:
        if not self._worth_sharing([x]):
            return super().split(x, widths)
        parts = [np.empty((*x.shape[:-1], width), self.dtype) for width in widths]
        self._share(lambda low: take_apart(low, x, parts))
        return parts

    def total(self, parts: Sequence[Array]) -> Array:
        if len(parts) == 1 or not self._worth_sharing(parts):
            return super().total(parts)
        whole = np.empty_like(parts[0])
        self._share(lambda low: add_up(low, parts, whole))
        return whole

    def _worth_sharing(self, parts: Sequence[Array]) -> bool:
        """Return whether kernels can and should do the work: the arrays are large, and lie as kernels know it."""
        known = all(part.dtype == self.dtype and part.flags.c_contiguous for part in parts)
        return known and sum(part.size for part in parts) >= SHARED

    def _share(self, emit: Callable[[Lowering], None]) -> None:
        """Let all threads do some instructions on arrays, once."""
        program = Program(self.library, self.pool)
        emit(Lowering(program, 0, train=False, seed=0, products=products_of(self.library)))
        program.cut()
        program.complete()
        program.run(0)

    def softmax(self, x: Array, among: Array | None = None) -> Array:
        if among is not None:
            return super().softmax(x, among)
        given, columns = np.ascontiguousarray(x, self.dtype), x.shape[-1]
        y, rows = np.empty_like(given), given.size // columns
        call(self.library, "cost.softmax", x=given, y=y, m=Rows(rows=rows, columns=columns, piece=rows))
        return y

    def softmax_cross_entropy(
        self, z: Array, target: Array, weights: Sequence[float] | None, smoothing: float
    ) -> tuple[Array, Array]:
        columns, rows = z.shape[-1], z.size // z.shape[-1]
        hard = target.ndim < z.ndim
        classes = np.ascontiguousarray(target, np.int64) if hard else np.zeros(1, np.int64)
        shares = np.zeros(1, self.dtype) if hard else np.ascontiguousarray(target, self.dtype)
        targets = Targets(
            classes=classes, shares=shares, hard=int(hard), weights=class_weights(weights, columns, self.dtype),
            kept=1 - smoothing, smoothing=smoothing,
            counts=RowWeights(factors=np.zeros(1, self.dtype), given=0, divisor=1),
        )  # fmt: skip
        terms, dz, y = np.empty((rows, 3), self.dtype), np.empty(z.shape, self.dtype), np.empty(z.shape, self.dtype)
        call(
            self.library, "cost.softmax_cross_entropy", z=np.ascontiguousarray(z, self.dtype), targets=targets, y=y,
            dz=dz, terms=terms, m=Rows(rows=rows, columns=columns, piece=rows),
        )  # fmt: skip
        return costs_of(terms).reshape(z.shape[:-1]), dz
