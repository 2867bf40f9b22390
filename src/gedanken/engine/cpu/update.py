"""Optimizers as programs: which rule is which kernel, and with which numbers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.kernels.update import NORM_PIECE
from gedanken.engine.cpu.lowering.base import PIECE, cut
from gedanken.engine.cpu.program import Program, Variable
from gedanken.engine.cpu.threads import Pool
from gedanken.optimizers import SGD, AdaGrad, Adam, AdamW, Lion, Momentum, Nesterov, Optimizer, RMSProp, seen_share
from gedanken.types import Array, Arrays

Update = Callable[[float, int, Array, Array, Arrays], None]

# For each rule its kernel, and by the kernel's words the fields that it takes; KEPT are shares, see `_parts`.
KERNELS: dict[type[Optimizer], tuple[str, dict[str, str]]] = {
    SGD: ("sgd", {}),
    Momentum: ("momentum", {"kept": "momentum"}),
    Nesterov: ("momentum", {"kept": "momentum"}),
    AdaGrad: ("adagrad", {"epsilon": "epsilon"}),
    RMSProp: ("rmsprop", {"kept": "decay", "epsilon": "epsilon"}),
    Adam: ("adam", {"beta1": "beta1", "beta2": "beta2", "epsilon": "epsilon"}),
    AdamW: ("adam", {"beta1": "beta1", "beta2": "beta2", "epsilon": "epsilon"}),
    Lion: ("lion", {"beta1": "beta1", "beta2": "beta2"}),
}
KEPT = ("kept", "beta1", "beta2")


def fused_update(library: Library, pool: Pool, rule: Optimizer, size: int, decayed: int) -> Update | None:
    """Return what clips and updates in one pass, or None for a rule that has no kernel."""
    described = _kernel(rule)
    if not (described and size):
        return None
    return _Update(library, pool, rule, size, decayed, *described)


def _kernel(rule: Optimizer) -> tuple[str, dict[str, Any]] | None:
    """Return the rule's kernel and those of its numbers that stay the same."""
    name, fields = KERNELS.get(type(rule), ("", {}))
    same = {word: getattr(rule, field) for word, field in fields.items()}
    if type(rule) in (Momentum, Nesterov):
        same["ahead"] = int(type(rule) is Nesterov)
    return (name, same) if name else None


class _Update:
    """One optimizer's program for vectors of one length."""

    def __init__(
        self, library: Library, pool: Pool, rule: Optimizer, size: int, decayed: int, kernel: str, same: dict[str, Any]
    ) -> None:
        self.rule, self.program = rule, Program(library, pool)
        self.vectors = {name: self.program.input((size,)) for name in ("p", "g", *rule.slots())}
        self._bound: tuple[Array, ...] = ()
        self.numbers = {"rate": Variable()}
        limit = math.inf if rule.clip_value is None else rule.clip_value
        same = self._parts(kernel, same)
        factor = self._shorten(size, limit)
        if kernel in ("sgd", "momentum", "adam", "lion"):
            same = {**same, "decayed": decayed, "decay": getattr(rule, "weight_decay", 0.0)}
        if kernel == "adam":
            self.numbers |= {"mean_share": Variable(), "square_share": Variable()}
        given: dict[str, Any] = {**self.vectors, **self.numbers, **same}
        self.program.add(
            f"update.{kernel}", cut(size, PIECE), size=size, piece=PIECE, limit=limit, factor=factor, **given
        )
        self.program.cut()
        self.program.complete()

    def _parts(self, kernel: str, same: dict[str, Any]) -> dict[str, Any]:
        """Return the numbers with each share in its parts, worked out in float64."""
        kind = np.dtype(self.program.library.dtype).type
        for word in KEPT:
            if word in same:
                share = same[word]
                kept = float(kind(share))
                rest = {} if kernel == "momentum" else {f"{word}_rest": 1 - share}
                same = {**same, word: kept, f"{word}_less": share - kept, **rest}
        return same

    def _shorten(self, size: int, limit: float) -> Any:
        """Emit the gradient's length where it is bounded; return what holds the factor that shortens it."""
        longest = self.rule.clip_norm
        if longest is None:
            return np.ones(1, self.program.library.dtype)
        pieces = cut(size, NORM_PIECE)
        partial, factor = self.program.buffer((2 * pieces,)), self.program.buffer((1,))
        self.program.add(
            "update.square_sums", pieces, NORM_PIECE, g=self.vectors["g"], size=size, limit=limit, partial=partial
        )
        self.program.add("update.shorten", 1, pieces, partial=partial, pieces=pieces, longest=longest, factor=factor)
        return factor

    def __call__(self, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        self._bind((p, g, *slots.values()))
        self.numbers["rate"].set(rate)
        if isinstance(self.rule, (Adam, AdamW)):
            self.numbers["mean_share"].set(seen_share(self.rule.beta1, step + 1))
            self.numbers["square_share"].set(seen_share(self.rule.beta2, step + 1))
        self.program.run(0)

    def _bind(self, arrays: tuple[Array, ...]) -> None:
        """Tell the program where its vectors are; from step to step they stay the same."""
        if self._bound and all(one is other for one, other in zip(arrays, self._bound, strict=True)):
            return
        self._bound = ()
        for buffer, array in zip(self.vectors.values(), arrays, strict=True):
            buffer.point_to(array)
        self._bound = arrays
