"""The cost of label sequences that nobody has aligned with the places of the outputs."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gedanken.checks import require, truth, whole
from gedanken.costs.base import Cost, Weighing
from gedanken.data.conversion import as_array
from gedanken.data.ragged import aligned_labels
from gedanken.errors import DataError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape

NEVER = -1e30  # logarithm of what cannot happen: a number, so that differences of two are one too
TOLD = 2  # numbers before the labels in a row of targets: how many places count, and how many labels there are


@dataclass(frozen=True, eq=False, repr=False)
class CTC(Cost):
    """How unlikely the outputs make a sequence of labels, wherever its labels stand: CTC.

        y[t, k] = exp(x[t, k]) / sum over j of exp(x[t, j])
        cost = -log(sum over alignments a of product over t of y[t, a[t]])
        dx[t, k] = y[t, k] - share of the alignments, by their probability, with a[t] = k

    An alignment gives each place a label or the blank; without repeats and then without blanks it is the labels. All of
    them are summed up at once, by what they have in common up to a place (alpha) and behind it (beta), in logarithms.

    The network ends with a dense layer of one output for each label and one for the blank, or with LogSoftMax.

    Args:
        blank: number of the output that stands for no label.
        zero_infinity: whether a sample costs 0 that no alignment fits, because it has fewer places than labels and
            repeats of the label before. If not, such a sample is an error before the training.
        reduction: see Cost. With "mean" and "weighted_mean" a sample's cost is divided by its number of labels, at
            least 1, as PyTorch's "mean" does; "batch_mean" is the mean over samples that Keras takes.

    Shapes:
        x: (N, T, K), scores of any size or logarithms of probabilities; places behind a sequence's length do not count.
        labels: sequences of their own length, without blanks: lists of lists, Sequences, or an array (N, S) with blanks
            at the end of a row. Empty ones are [] in lists; in Sequences and in sequences that a Generator makes,
            which have a place at least, they are one blank.
        target of `entries`: (N, 2 + T), as `checked_target` makes it: places that count, number of labels, labels.

    Raises:
        ShapeError: outputs are no sequences of two numbers or more, or blank is none of them (at compile time).
        DataError: a label is none of the outputs, or the blank; or no alignment fits.

    Source:
        Graves et al. 2006, "Connectionist temporal classification", sections 3 and 4. Differs: logarithms, and beta
        without the output of its own place.
    """

    takes_scores: ClassVar[bool] = True
    aligns: ClassVar[bool] = True

    blank: int = 0
    zero_infinity: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("CTC blank", self.blank, at_least=0)
        truth("CTC zero_infinity", self.zero_infinity)

    def entries(self, ops: Ops, y: Array, target: Array) -> tuple[Array, Array]:
        xp, logs = ops.xp, ops.log_softmax(y.astype("float64"))
        places, count = target[:, 0], target[:, 1]
        states = self._states(ops, y.shape[1], target)
        emitted = xp.maximum(logs[xp.arange(len(y))[:, None], :, states].transpose(0, 2, 1), NEVER)
        leap = _leaps(ops, states)
        alpha, beta = _alpha(ops, emitted, leap), _beta(ops, emitted, leap, places, count)
        ways = alpha + beta
        total = _log_sum(ops, ways, axis=2)
        cost = -total[:, 0]
        fits = (needed(xp, target) <= xp.minimum(places, y.shape[1])) & ~(cost > -NEVER / 2)
        inside = (xp.arange(y.shape[1]) < places[:, None]) & fits[:, None]
        shares = xp.where(inside[..., None], xp.exp(xp.minimum(ways - total[..., None], 0)), 0)
        at_class = (states[..., None] == xp.arange(y.shape[2])).astype("float64")
        best = (xp.arange(y.shape[2]) == logs.argmax(axis=2)[..., None]) & ~xp.isnan(logs)
        slopes = xp.where(best, 0, xp.exp(logs) - xp.matmul(shares, at_class))
        slopes = xp.where(best, -slopes.sum(axis=2, keepdims=True), slopes)  # their sum is 0: it keeps small digits
        slopes = xp.where(inside[..., None], slopes, 0)
        cost = xp.where(fits, cost, 0.0 if self.zero_infinity else np.inf)
        return cost.astype(y.dtype), slopes.astype(y.dtype)

    def decode(self, outputs: Any, lengths: Any = None) -> list[Array]:
        """Return the labels of the likeliest output of each place, without repeats and then without blanks.

        Args:
            outputs: what `Network.feedforward` gives, (N, T, K).
            lengths: how many places of each sample count, (N,); None is all. Where `feedforward` was given lengths, the
                places behind them are blanks already if the blank is 0.

        Raises:
            DataError: outputs or lengths have another shape; a length is no whole number from 0 to T; or one of the
                outputs that count is a NaN.
            ArgumentError: the blank is none of the K outputs.
        """
        return self._decoded(*self._checked_outputs(outputs, lengths))

    def _checked_outputs(self, outputs: Any, lengths: Any) -> tuple[Array, Array]:
        """Return outputs (N, T, K) and which places of them count, (N, T)."""
        y = as_array("outputs", outputs)
        if y.ndim != 3 or y.shape[2] < 1:
            raise DataError(f"outputs must have shape (N, T, K), got {y.shape}")
        samples, places, columns = y.shape
        require(self.blank < columns, "CTC blank", f"be one of the {columns} outputs of a place, from 0 on", self.blank)
        told = np.full(samples, places) if lengths is None else as_array("lengths", lengths, "iuf")
        if told.shape != (samples,):
            raise DataError(f"lengths must have shape ({samples},), one for each sample, got {told.shape}")
        wrong = ~((told >= 0) & (told <= places) & (told == np.floor(told)))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(f"lengths must be whole numbers from 0 to {places}, got {told[row].item()} in row {row}")
        counted = np.arange(places) < told[:, None]
        nothing = np.isnan(y).any(axis=2) & counted
        if nothing.any():
            row, place = np.argwhere(nothing)[0].tolist()
            raise DataError(f"outputs must be numbers, got nan in row {row}, place {place}")
        return y, counted

    def _decoded(self, y: Array, counted: Array) -> list[Array]:
        best = y.argmax(axis=2)
        kept = (best != self.blank) & counted
        kept[:, 1:] &= best[:, 1:] != best[:, :-1]
        return [row[there] for row, there in zip(best, kept, strict=True)]

    def label_error_rate(self, outputs: Any, labels: Any, lengths: Any = None) -> float:
        """Return how many labels `decode` reads wrong, beside how many there are.

            rate = sum over n of distance(decoded[n], labels[n]) / sum over n of length of labels[n]

        The distance is the least number of labels to be put in, left out or changed, so the rate may be above 1. It is
        NaN where there are no labels.

        Args:
            outputs, lengths: as of `decode`.
            labels: the right labels of each sample, in any form that `fit` takes, see CTC.

        Raises:
            DataError, ArgumentError: as `decode`.
            DataError: there are not as many sequences of labels as outputs; or a label is none of the outputs, or the
                blank.

        Source:
            Graves et al. 2006, section 2.1; the distance is that of Levenshtein 1966.
        """
        y, counted = self._checked_outputs(outputs, lengths)
        target = aligned_labels("labels", labels, y.shape[1:], None)
        if len(target) != len(y):
            raise DataError(f"labels must have one entry for each sample of outputs, got {len(target)} for {len(y)}")
        target = self._checked_labels("labels", target, y.shape[2])
        right = [row[TOLD : TOLD + int(row[1])] for row in target]
        wrong = sum(map(distance, self._decoded(y, counted), right))
        count = sum(map(len, right))
        return wrong / count if count else float("nan")

    def _states(self, ops: Ops, places: int, target: Array) -> Array:
        """Return the labels with blanks around each, (N, 2 S + 1); behind the last label there are blanks only."""
        xp = ops.xp
        labels = target[:, TOLD : TOLD + min(places, max(1, int(float(target[:, 1].max()))))]
        among = xp.arange(labels.shape[1]) < target[:, 1][:, None]
        states = xp.full((len(target), 2 * labels.shape[1] + 1), self.blank, dtype="int64")
        states[:, 1::2] = xp.where(among, labels, self.blank)
        return states

    def weighing(
        self, ops: Ops, shape: Shape, target: Array, weight: Array | None = None, lengths: Array | None = None
    ) -> Weighing:
        found = super().weighing(ops, shape, target, weight, None)  # lengths stand in the target
        if self.reduction not in ("mean", "weighted_mean"):
            return found
        each = 1 / ops.xp.maximum(ops.asarray(target[:, 1]), 1)
        return found._replace(factor=each if found.factor is None else found.factor * each)

    def as_uncut(self, weighing: Weighing, share: float, samples: int) -> Weighing:
        return weighing

    def check_output(self, shape: Shape) -> None:
        if len(shape) != 2 or shape[1] < 2:
            rule = f"ctc needs an output (T, K), at each place a number for each label and for the blank, got {shape}"
            raise ShapeError(rule, "leave out last=True, poolings over all places and Flatten()")
        if self.blank >= shape[1]:
            raise ShapeError(f"CTC blank must be one of the {shape[1]} outputs of a place, from 0 on, got {self.blank}")

    def checked_target(self, argument: str, target: Array, shape: Shape) -> Array:
        """Return all targets of a data set in the form that `entries` takes, or raise DataError.

        Args:
            argument, shape: as of Cost.
            target: (N, 2 + S), of each sample the places of its output, the number of its labels, and its labels.
        """
        target = self._checked_labels(argument, target, shape[1])
        self._check_room(argument, target)
        kept = np.full((len(target), TOLD + shape[0]), self.blank, np.int32)
        columns = min(kept.shape[1], target.shape[1])
        kept[:, :columns] = target[:, :columns]
        kept[:, TOLD:][np.arange(shape[0]) >= kept[:, 1:TOLD]] = self.blank
        return kept

    def _checked_labels(self, argument: str, target: Array, columns: int) -> Array:
        """Return targets without blanks at the end of their labels, or raise DataError where a label is none."""
        target = self._without_last_blanks(target)
        labels = np.arange(target.shape[1] - TOLD) < target[:, 1:TOLD]
        given = target[:, TOLD:]
        outside = (given < 0) | (given >= columns) | (given != np.floor(given))
        wrong = labels & (outside | (given == self.blank))
        if wrong.any():
            row, place = np.argwhere(wrong)[0].tolist()
            rule = f"{argument} must be whole numbers from 0 to {columns - 1} without the blank {self.blank}"
            raise DataError(f"{rule}, got {given[row, place].item()} in row {row}, label {place}")
        return target

    def _without_last_blanks(self, target: Array) -> Array:
        """Return targets whose numbers of labels end with the last one that is not the blank."""
        labels = target[:, TOLD:]
        counted = np.arange(labels.shape[1]) < target[:, 1:TOLD]
        last = ((labels != self.blank) & counted) * (1 + np.arange(labels.shape[1]))
        return np.concatenate([target[:, :1], last.max(axis=1, initial=0)[:, None], labels], axis=1)

    def _check_room(self, argument: str, target: Array) -> None:
        needs = needed(np, target)
        short = needs > target[:, 0]
        if short.any() and not self.zero_infinity:
            row = int(np.argmax(short))
            rule = f"{argument} must have no more labels and repeats than the output has places, or zero_infinity=True"
            raise DataError(f"{rule}, got {int(needs[row])} for {int(target[row, 0])} in row {row}")


def distance(one: Array, other: Array) -> int:
    """Return how many labels have to be put in, left out or changed to make of one sequence another."""
    steps = np.arange(len(other) + 1)
    row = steps
    for done, label in enumerate(one, start=1):
        reached = np.minimum(row[1:] + 1, row[:-1] + (other != label))
        row = steps + np.minimum.accumulate(np.concatenate([[done], reached]) - steps)  # put in from left to right
    return int(row[-1])


def needed(xp: Any, target: Array) -> Array:
    """Return how many places the shortest alignment has, (N,): one for each label, one between two that are equal."""
    both = xp.arange(1, target.shape[1] - TOLD) < target[:, 1:TOLD]
    repeats = (target[:, TOLD + 1 :] == target[:, TOLD:-1]) & both
    found: Array = target[:, 1] + xp.count_nonzero(repeats, axis=1)
    return found


def _leaps(ops: Ops, states: Array) -> Array:
    """Return 0 where a state may follow the one two before it, which is another label, and else NEVER."""
    xp = ops.xp
    other = states[:, 2:] != states[:, :-2]
    none = xp.zeros((len(states), 2), dtype=bool)
    return xp.where(xp.concatenate([none, other], axis=1), 0.0, NEVER)


def _alpha(ops: Ops, emitted: Array, leap: Array) -> Array:
    """Return the logarithm of what reaches each state at each place, (N, T, states), that place's output included."""
    xp = ops.xp
    first = xp.where(xp.arange(emitted.shape[2]) < 2, emitted[:, 0], NEVER)
    rows = [first]
    for place in range(1, emitted.shape[1]):
        before = rows[-1]
        one, two = _moved(ops, before, 1), _moved(ops, before, 2) + leap
        rows.append(xp.maximum(_log_sum(ops, xp.stack([before, one, two]), axis=0) + emitted[:, place], NEVER))
    return xp.stack(rows, axis=1)


def _beta(ops: Ops, emitted: Array, leap: Array, places: Array, count: Array) -> Array:
    """Return the logarithm of what leads from each state to the end, (N, T, states), without that place's output."""
    xp, states = ops.xp, ops.xp.arange(emitted.shape[2])
    ends = (states == 2 * count[:, None]) | (states == 2 * count[:, None] - 1)
    end = xp.where(ends, 0.0, NEVER)
    rows = [xp.where((places == emitted.shape[1])[:, None], end, NEVER)]
    for place in range(emitted.shape[1] - 2, -1, -1):
        behind = rows[-1] + emitted[:, place + 1]
        one, two = _moved(ops, behind, -1), _moved(ops, behind + leap, -2)
        reached = xp.maximum(_log_sum(ops, xp.stack([behind, one, two]), axis=0), NEVER)
        rows.append(xp.where((places == place + 1)[:, None], end, reached))
    return xp.stack(rows[::-1], axis=1)


def _moved(ops: Ops, rows: Array, steps: int) -> Array:
    """Return rows (N, states) some steps to the right, to the left if negative, with NEVER where nothing comes from."""
    none = ops.xp.full((len(rows), abs(steps)), NEVER)
    parts = [none, rows[:, :-steps]] if steps > 0 else [rows[:, -steps:], none]
    return ops.xp.concatenate(parts, axis=1)


def _log_sum(ops: Ops, logs: Array, axis: int) -> Array:
    xp, largest = ops.xp, logs.max(axis=axis, keepdims=True)
    total = largest + xp.log(xp.exp(logs - largest).sum(axis=axis, keepdims=True))
    return total.squeeze(axis)
