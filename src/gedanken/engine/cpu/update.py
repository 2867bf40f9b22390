"""Optimizers as programs: which rule is which kernel, and with which numbers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.kernels.sparse import Part
from gedanken.engine.cpu.kernels.update import NORM_PIECE, Centred, Kept, Lead, Moment, Pace, Update
from gedanken.engine.cpu.lowering.base import PIECE, cut
from gedanken.engine.cpu.program import Program, Variable
from gedanken.engine.cpu.threads import Pool
from gedanken.optimizer_state import Updated
from gedanken.optimizers import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    Lamb,
    Lion,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    Optimizer,
    RAdam,
    RMSProp,
    Rprop,
)
from gedanken.optimizers.base import Decaying
from gedanken.sparse import RowPart
from gedanken.types import Array, Arrays

Step = Callable[[float, int, Array, Array, Arrays], None]

# For each rule its kernel, and for the kernel's parameters the rule's fields; shares near 1 come in parts, as Kept.
_MOMENTS = {"mean": "beta1", "square": "beta2", "epsilon": "epsilon"}
KERNELS: dict[type[Optimizer], tuple[str, dict[str, str]]] = {
    SGD: ("sgd", {}),
    Momentum: ("momentum", {"kept": "momentum"}),
    Nesterov: ("momentum", {"kept": "momentum"}),
    AdaGrad: ("adagrad", {"epsilon": "epsilon", "start": "start"}),
    RMSProp: ("rmsprop", {"kept": "decay", "epsilon": "epsilon"}),
    AdaDelta: ("adadelta", {"kept": "decay", "epsilon": "epsilon"}),
    Adam: ("adam", _MOMENTS),
    AdamW: ("adam", _MOMENTS),
    Muon: ("adam", _MOMENTS),
    Lamb: ("lamb", _MOMENTS),
    AdaMax: ("adamax", {"mean": "beta1", "kept": "beta2", "epsilon": "epsilon"}),
    NAdam: ("nadam", _MOMENTS),
    RAdam: ("radam", _MOMENTS),
    Rprop: ("rprop", {}),
    Lion: ("lion", {"turning": "beta1", "kept": "beta2"}),
}


def _kernel(rule: Any) -> tuple[str, dict[str, str]]:
    """Return the kernel of a rule with its options, and where its parameters come from."""
    name, fields = KERNELS[type(rule)]
    if getattr(rule, "amsgrad", False):
        return "amsgrad", fields
    if isinstance(rule, RMSProp):
        moving = {"going": "momentum"} if rule.momentum else {}
        return f"{name}{'_centred' * rule.centred}{'_moving' * bool(moving)}", {**fields, **moving}
    return name, fields


def fused_update(library: Library, pool: Pool, rule: Optimizer, updated: Updated) -> Step | None:
    """Return what clips and updates in one pass, or None for a rule that has no kernel."""
    if type(rule) not in KERNELS or not isinstance(rule, Decaying) or not updated.size:
        return None
    return _Step(library, pool, rule, updated)


class _Step:
    """One optimizer's program for one set of parameters."""

    def __init__(self, library: Library, pool: Pool, rule: Decaying, updated: Updated) -> None:
        self.rule, self.program = rule, Program(library, pool)
        self.vectors = {name: self.program.input((updated.size,)) for name in ("p", "g", *rule.slots())}
        self._bound: tuple[Array, ...] = ()
        self.rate, self.varying = Variable(), {name: Variable() for name in rule.numbers(0).keys() - {"rate"}}
        kernel, fields = _kernel(rule)
        size, decayed = updated.whole, updated.decayed
        limit = math.inf if rule.clip_value is None else rule.clip_value
        penalty, decay = (0.0, rule.weight_decay) if rule.decoupled else (rule.weight_decay, 0.0)
        update = Update(
            p=self.vectors["p"], g=self.vectors["g"], size=size, piece=PIECE, decayed=decayed, penalty=penalty,
            decay=decay, limit=limit, factor=self._shorten(size, limit), rate=self.rate,
        )  # fmt: skip
        given = self._given(kernel, fields)
        if size:
            self.program.add(f"update.{kernel}", cut(size, PIECE), u=update, **given)
        if kernel == "lamb":
            self._step_by_trust(update, given["change"])
        for part in updated.rows:
            self._touched(kernel, part, given)
        self.program.cut()
        self.program.complete()

    def _touched(self, kernel: str, part: RowPart, given: dict[str, Any]) -> None:
        """Emit the update of a matrix's touched rows; a lazy rule has a kernel of the same name for it."""
        gradient = part.gradient
        rows = Part(
            p=self.vectors["p"], g=self.vectors["g"], start=part.start, width=gradient.array[0].size,
            touched=gradient.touched, count=gradient.count, rate=self.rate,
        )  # fmt: skip
        self.program.add(f"sparse.{kernel}", 1, part=rows, **given)

    def _given(self, kernel: str, fields: dict[str, str]) -> dict[str, Any]:
        """Return what a kernel takes of its rule: slots, numbers, and those that the step sets."""
        given: dict[str, Any] = {name: self.vectors[name] for name in self.rule.slots()}
        given |= {word: self._number(word, getattr(self.rule, field)) for word, field in fields.items()}
        if kernel == "momentum":
            given["ahead"] = int(type(self.rule) is Nesterov)
        elif kernel == "lamb":
            given["change"] = self.program.buffer((self.vectors["p"].shape[0],))
        elif kernel == "nadam":
            given["lead"] = Lead(ahead=self.varying["ahead"], direct=self.varying["direct"])
        elif isinstance(self.rule, Rprop):
            bounds = {name: getattr(self.rule, name) for name in ("shrink", "grow", "lowest", "highest")}
            given["pace"] = Pace(**bounds)
        elif kernel == "radam":
            given["trust"] = self.varying["trust"]
        elif kernel == "rmsprop_centred_moving":
            given["centred"] = Centred(**{name: given.pop(name) for name in ("squares", "mean", "kept")})
        return given

    def _number(self, word: str, value: float) -> Any:
        """Return one of the rule's numbers as the kernel takes it; the parts of a share come from float64."""
        if word in ("epsilon", "start"):
            return value
        share = float(np.dtype(self.program.library.dtype).type(value))
        kept = Kept(share=share, less=value - share, rest=1 - value)
        if word not in self.varying:
            return kept
        return Moment(values=self.vectors[word], kept=kept, seen=self.varying[word])

    def _shorten(self, size: int, limit: float) -> Any:
        """Emit the gradient's length where it is bounded; return what holds the factor that shortens it."""
        longest = self.rule.clip_norm
        if longest is None:
            return np.ones(1, self.program.library.dtype)
        pieces, factor = cut(size, NORM_PIECE), self.program.buffer((1,))
        partial = self._square_sums(self.vectors["g"], size, limit)
        self.program.add("update.shorten", 1, pieces, partial=partial, pieces=pieces, longest=longest, factor=factor)
        return factor

    def _square_sums(self, vector: Any, size: int, limit: float = math.inf) -> Any:
        pieces = cut(size, NORM_PIECE)
        partial = self.program.buffer((2 * pieces,))
        self.program.add("update.square_sums", pieces, NORM_PIECE, g=vector, size=size, limit=limit, partial=partial)
        return partial

    def _step_by_trust(self, update: Any, change: Any) -> None:
        """Emit the end of a step of Lamb, whose length goes by that of the parameters."""
        size, ratio = update.size, self.program.buffer((1,))
        pieces, both = cut(size, NORM_PIECE), [self._square_sums(vector, size) for vector in (update.p, change)]
        self.program.add("update.trust", 1, pieces, of_p=both[0], of_change=both[1], pieces=pieces, ratio=ratio)
        self.program.add("update.step_by_trust", cut(size, PIECE), u=update, change=change, ratio=ratio)

    def __call__(self, rate: float, step: int, p: Array, g: Array, slots: Arrays) -> None:
        self._bind((p, g, *slots.values()))
        numbers = self.rule.numbers(step)
        self.rate.set(rate * numbers.pop("rate", 1.0))
        for name, number in numbers.items():
            self.varying[name].set(number)
        self.program.run(0)

    def _bind(self, arrays: tuple[Array, ...]) -> None:
        """Tell the program where its vectors are; from step to step they stay the same."""
        if self._bound and all(one is other for one, other in zip(arrays, self._bound, strict=True)):
            return
        self._bound = ()
        for buffer, array in zip(self.vectors.values(), arrays, strict=True):
            buffer.point_to(array)
        self._bound = arrays
