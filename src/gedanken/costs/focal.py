"""Cross-entropy that looks away from what the network already knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gedanken.checks import real
from gedanken.costs.base import LEAST
from gedanken.costs.binary import BinaryWeighted
from gedanken.costs.labels import ClassCost
from gedanken.ops import Ops
from gedanken.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Focal(ClassCost):
    """Cross-entropy in which a class counts the less, the surer the network is of it.

        cost = mean over n of   sum over c of -w[c] * t[n, c] * (1 - y[n, c])**gamma * log(y[n, c])

    A probability below 1e-30 counts as 1e-30.

    Args:
        gamma: how much the sure ones are looked away from, >= 0; 0 is cross-entropy.
        class_weights, ignore_label: as of CrossEntropy.
        reduction: see Cost.

    Shapes:
        y, t: as of CrossEntropy.

    Raises:
        ShapeError, DataError: as CrossEntropy.

    Source:
        Lin et al. 2017, "Focal loss for dense object detection", arXiv:1708.02002, equation 5; alpha is class_weights.
    """

    gamma: float = 2.0
    class_weights: Sequence[float] | str | None = None
    named: ClassVar[str] = "focal"

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Focal gamma", self.gamma, "[0, inf)")

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        shares = ops.class_shares(y, target, self.weight_numbers, 0.0)
        costs, slopes = _focused(ops, y, self.gamma)
        return ops.sum(shares * costs, axis=-1), shares * slopes


@dataclass(frozen=True, eq=False, repr=False)
class BinaryFocal(BinaryWeighted):
    """Cross-entropy of yes-or-no outputs in which an answer counts the less, the surer the network is of it.

        cost = mean of -(w1 * t * (1 - y)**gamma * log(y) + w0 * (1 - t) * y**gamma * log(1 - y))

    A probability below 1e-30 counts as 1e-30.

    Args:
        gamma: how much the sure ones are looked away from, >= 0; 0 is cross-entropy.
        class_weights, ignore_label: as of BinaryCrossEntropy; alpha of the paper is (1 - alpha, alpha).
        reduction: see Cost.

    Shapes:
        y, t: (N, ...), probabilities; t may be (N,), (N, T) or (N, H, W) where there is one output.

    Raises:
        ShapeError: there are more or fewer weights than outputs, or several with ignore_label (at compile time).
        DataError: targets outside [0, 1] or of another shape.

    Source:
        Lin et al. 2017, "Focal loss for dense object detection", arXiv:1708.02002, equation 5.
    """

    gamma: float = 2.0
    class_weights: Sequence[Any] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        real("BinaryFocal gamma", self.gamma, "[0, inf)")

    def each(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        no, yes = self._weighed(ops, target)
        (right, by_right), (wrong, by_wrong) = _focused(ops, y, self.gamma), _focused(ops, 1 - y, self.gamma)
        return yes * right + no * wrong, yes * by_right - no * by_wrong


def _focused(ops: Ops, y: Array, gamma: float) -> tuple[Array, Array]:
    """Return -(1 - y)**gamma * log(y) and its slope."""
    safe, rest = ops.xp.maximum(y, LEAST), ops.xp.maximum(1 - y, LEAST)
    log, power = ops.xp.log(safe), rest**gamma
    return -power * log, gamma * power / rest * log - power / safe
