"""Costs of how far rows of outputs are from rows of targets: shares, directions, regions of a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from gedanken.checks import real, require
from gedanken.costs.base import LEAST, Cost, Weighing, with_channel
from gedanken.costs.binary import refuse_targets
from gedanken.costs.labels import ClassCost, classes_of, places_of
from gedanken.errors import ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape


class KullbackLeibler(Cost):
    """How much targets, shares of classes, differ from the shares that the network gives.

        cost = mean over n of   sum over c of t[n, c] * log(t[n, c] / y[n, c])

    It is the cross-entropy without what depends on the targets alone. Shares of 0 cost nothing; a probability below
    1e-30 counts as 1e-30.

    Args:
        reduction: see Cost; "mean" is PyTorch's "batchmean" for rows.

    Shapes:
        y, t: (N, C), (N, T, C) or (N, C, H, W), shares that sum to 1 over the classes.

    Raises:
        DataError: targets below 0, or of another shape.

    Source:
        Kullback & Leibler 1951, "On information and sufficiency".
    """

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, t = ops.xp, target.astype(y.dtype)
        safe, known = xp.maximum(y, LEAST), xp.maximum(t, LEAST)
        return ops.sum(t * (xp.log(known) - xp.log(safe)), axis=-1), -t / safe

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = super().checked_target(argument, target, shape)
        refuse_targets(argument, target, target < 0, "be shares of at least 0")
        return target


@dataclass(frozen=True, eq=False, repr=False)
class CosineDistance(Cost):
    """1 less the cosine of the angle between outputs and targets: lengths do not count.

        cost = mean over n of 1 - y[n] . t[n] / (max(|y[n]|, epsilon) * max(|t[n]|, epsilon))

    Args:
        epsilon: least length, > 0.
        reduction: see Cost.

    Shapes:
        y, t: (N, F), (N, T, F), or (N, C, H, W) with one vector of C for each pixel.

    Source:
        Salton & McGill 1983, "Introduction to modern information retrieval", section 4.1.
    """

    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        real("CosineDistance epsilon", self.epsilon, "(0, inf)")

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, t = ops.xp, target.astype(y.dtype)
        long = [xp.sqrt(ops.sum(one * one, axis=-1, keepdims=True)) for one in (y, t)]
        size, other = (xp.maximum(one, self.epsilon) for one in long)
        away, toward = y / size, t / other
        cosine = ops.sum(away * toward, axis=-1, keepdims=True)
        turning = xp.where(long[0] > self.epsilon, cosine * away, 0)
        return 1 - cosine[..., 0], (turning - toward) / size


class Ratio(NamedTuple):
    """Factors of what is wrong as a part of all: off / (shared * A + s + off), A as of Dice.

    off = claimed * sum of y * (1 - t) + missed * sum of (1 - y) * t
    """

    shared: float
    claimed: float
    missed: float


class Overlap(ClassCost):
    """A cost of regions of each class: how much of them is only in the outputs or only in the targets."""

    smooth: float
    class_weights: Sequence[float] | str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        real(f"{type(self).__name__} smooth", self.smooth, "(0, inf)")

    @property
    def ratio(self) -> Ratio:
        """Return what counts how much."""
        raise NotImplementedError

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        hard = target.ndim < y.ndim
        t = (target[..., None] == ops.xp.arange(y.shape[-1]) if hard else target).astype(y.dtype)
        known = self.labelled(target)
        there = True if known is None else known[..., None] if hard else known  # not hard: of one region
        y, t = (ops.xp.where(there, one, 0) for one in (y, t))
        places = tuple(range(1, y.ndim - 1))
        r = self.ratio
        off = r.claimed * (y * (1 - t)) + r.missed * ((1 - y) * t)
        shared, off = (ops.sum(one, axis=places, keepdims=True) for one in (r.shared * (y * t), off))
        right = shared + self.smooth
        total = right + off
        w = ops.asarray(self.weight_numbers or [1.0] * y.shape[-1], y.dtype)
        w = w / w.sum()
        costs = ops.sum(w * (off / total), axis=tuple(range(1, y.ndim)))
        slopes = w * (right * (r.claimed * (1 - t) - r.missed * t) - off * (r.shared * t)) / total**2
        return costs, ops.xp.where(there, slopes, 0)

    def weighing(
        self, ops: Ops, shape: Shape, target: Array, weight: Array | None = None, lengths: Array | None = None
    ) -> Weighing:
        found = super().weighing(ops, shape, target, weight, lengths)
        return found._replace(counted=self.labelled(target))

    def counted(self, ops: Ops, shape: Shape, target: Array, lengths: Array | None = None) -> Array | None:
        return Cost.counted(self, ops, shape, target, lengths)

    def importance(self, ops: Ops, shape: Shape, target: Array) -> Array | None:
        return None

    def check_output(self, shape: Shape) -> None:
        if len(shape) not in (2, 3):
            raise ShapeError(f"{self} needs an output (C, H, W) or (T, C), got {shape}", "leave out Flatten()")
        if isinstance(self.class_weights, tuple) and len(self.class_weights) != classes_of(shape):
            raise ShapeError(f"class_weights has {len(self.class_weights)} values for {classes_of(shape)} classes")

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        target = with_channel(target, shape)  # of a single region they say where it is, not its number
        if target.shape[1:] != shape:
            return super().checked_target(argument, target, shape)
        wrong, rule, there = (target < 0) | (target > 1), "lie in [0, 1]", self.labelled(target)
        if classes_of(shape) > 1:
            self._refuse_shares(argument, target, places_of(shape))
        elif there is not None:
            wrong, rule = wrong & there, f"{rule}, or be {self.ignore_label} to be ignored"
        refuse_targets(argument, target, wrong, rule)
        return target


@dataclass(frozen=True, eq=False, repr=False)
class Dice(Overlap):
    """How little the regions of each class, as the network gives them, cover the true ones; for pictures in parts.

        cost = mean over n of   sum over c of w[c] / W * (1 - (2 * A + s) / (B + s))
        A = sum over places of y * t,   B = sum over places of y + t,   W = sum of w

    Rare classes count as much as common ones, and places that are neither claimed nor true do not count at all.

    Args:
        smooth: s, > 0; it lets a class that is nowhere cost nothing where it is not claimed.
        class_weights: weight w of each class, each >= 0, or None for 1 each; (0, 1, 1) leaves out the background.
        ignore_label: as of CrossEntropy; of one region the targets that say where it is may have it too.
        reduction: see Cost; what is averaged over are samples.

    Shapes:
        y: (N, C, H, W) or (N, T, C), probabilities, C >= 1.   t: class numbers (N, H, W) or (N, T), of one region 0
        and 1; or shaped as y, in [0, 1].

    Raises:
        ShapeError: class_weights has another length (at compile time).
        DataError: labels out of range, or of another shape.

    Source:
        Milletari et al. 2016, "V-Net", arXiv:1606.04797, section 3. Differs: nothing is squared in B, and s.
    """

    smooth: float = 1.0
    class_weights: Sequence[float] | str | None = None
    named: ClassVar[str] = "dice"

    @property
    def ratio(self) -> Ratio:
        return Ratio(2.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Tversky(Overlap):
    """Dice that says what is worse, to claim what is not there or to miss what is.

        cost = mean over n of   sum over c of w[c] / W * (1 - (A + s) / (A + alpha * P + beta * M + s))
        A = sum over places of y * t,   P = sum of y * (1 - t),   M = sum of (1 - y) * t,   W = sum of w

    With alpha = beta = 1/2 it is Dice with 2 * s, with 1 and 1 the Jaccard distance.

    Args:
        alpha, beta: what counts that is claimed but not there, and that is missed; >= 0, not both 0. Small things in
            large pictures need the larger beta.
        smooth, class_weights, ignore_label, reduction: as of Dice.

    Shapes:
        y: (N, C, H, W) or (N, T, C), probabilities, C >= 1.   t: class numbers (N, H, W) or (N, T); or shaped as y, in
        [0, 1].

    Raises:
        ShapeError, DataError: as Dice.

    Source:
        Salehi, Erdogmus & Gholipour 2017, arXiv:1706.05721, equation 3. Differs: s.
    """

    alpha: float = 0.5
    beta: float = 0.5
    smooth: float = 1.0
    class_weights: Sequence[float] | str | None = None
    named: ClassVar[str] = "tversky"

    def __post_init__(self) -> None:
        super().__post_init__()
        real("Tversky alpha", self.alpha, "[0, inf)")
        real("Tversky beta", self.beta, "[0, inf)")
        given = {"alpha": self.alpha, "beta": self.beta}
        require(self.alpha + self.beta > 0, "Tversky alpha or beta", "be above 0", given)

    @property
    def ratio(self) -> Ratio:
        return Ratio(1.0, self.alpha, self.beta)
