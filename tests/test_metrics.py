"""Every metric against its definition in plain Python, and the conventions that the docstrings promise."""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gedanken.metrics
from gedanken import Adam, FullyConnectedLayer, Network, Sigmoid, SoftMax
from gedanken.errors import ArgumentError, DataError
from gedanken.metrics import (
    F1,
    R2,
    ROCAUC,
    Accuracy,
    AveragePrecision,
    BalancedAccuracy,
    BestThreshold,
    ClassReport,
    CohenKappa,
    ConfusionMatrix,
    DiceCoefficient,
    ExactMatch,
    ExplainedVariance,
    FBeta,
    HammingLoss,
    IoU,
    LogLoss,
    MatthewsCorrelation,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    Metric,
    PearsonCorrelation,
    Precision,
    PrecisionAtRecall,
    PrecisionRecallCurve,
    Recall,
    RecallAtPrecision,
    ROCCurve,
    RootMeanSquareError,
    Specificity,
    TopKAccuracy,
)
from gedanken.ops import Ops
from gedanken.parallel.base import StepResult
from gedanken.training.meter import Meter
from gedanken.types import Array
from tests.standin_cupy import DeviceArray, StandInCupy

Rows = list[list[float]]
NAN = math.nan
quietly = settings(deadline=None, max_examples=20)
few = settings(deadline=None, max_examples=5)


# Definitions, on lists: y is one list of scores a sample, labels one whole number a sample.


def guesses(y: Rows, threshold: float = 0.5) -> list[int]:
    return [int(row[0] > threshold) if len(row) == 1 else row.index(max(row)) for row in y]


def accuracy(y: Rows, labels: list[int], threshold: float = 0.5) -> float:
    right = sum(guess == label for guess, label in zip(guesses(y, threshold), labels, strict=True))
    return right / len(labels)


def top_k(y: Rows, labels: list[int], k: int) -> float:
    right = 0
    for row, label in zip(y, labels, strict=True):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        right += label in order[:k]
    return right / len(labels)


def counts(y: Rows, labels: list[int]) -> list[list[int]]:
    classes = max(len(y[0]), 2)
    seen = list(zip(labels, guesses(y), strict=True))
    return [[seen.count((true, guess)) for guess in range(classes)] for true in range(classes)]


def share(top: Fraction | int, bottom: Fraction | int) -> Fraction:
    return Fraction(top) / bottom if bottom else Fraction(0)


def of_class(matrix: list[list[int]], which: str, k: int) -> Fraction:
    precision = share(matrix[k][k], sum(row[k] for row in matrix))
    recall = share(matrix[k][k], sum(matrix[k]))
    harmonic = share(2 * precision * recall, precision + recall)
    has, given, all_of_them = sum(matrix[k]), sum(row[k] for row in matrix), sum(map(sum, matrix))
    others = {
        "f2": share(5 * precision * recall, 4 * precision + recall),
        "iou": share(matrix[k][k], has + given - matrix[k][k]),
        "specificity": share(all_of_them - has - given + matrix[k][k], all_of_them - has),
    }
    return {"precision": precision, "recall": recall, "f1": harmonic, **others}[which]


def macro(y: Rows, labels: list[int], which: str) -> float:
    matrix = counts(y, labels)
    present = sorted({*labels, *guesses(y)})
    return float(sum(of_class(matrix, which, k) for k in present) / len(present))


def weighted(y: Rows, labels: list[int], which: str) -> float:
    matrix = counts(y, labels)
    return float(sum(of_class(matrix, which, label) for label in labels) / len(labels))


def micro(y: Rows, labels: list[int], which: str) -> float:
    # Every wrong guess is a false positive of one class and a false negative of another.
    right = accuracy(y, labels)
    others = {"iou": right / (2 - right), "specificity": 1 - (1 - right) / (max(len(y[0]), 2) - 1)}
    return others.get(which, right)


def binary(y: Rows, labels: list[int], which: str) -> float:
    return float(of_class(counts(y, labels), which, 1))


def correlation(y: Rows, labels: list[int]) -> float:
    """Pearson's correlation of the one-hot tables of guesses and labels, summed over the classes."""
    classes, samples = max(len(y[0]), 2), len(labels)

    def covariance(first: list[int], second: list[int]) -> Fraction:
        total = Fraction(0)
        for k in range(classes):
            ones, others = [int(a == k) for a in first], [int(b == k) for b in second]
            joint = Fraction(sum(a * b for a, b in zip(ones, others, strict=True)), samples)
            total += joint - Fraction(sum(ones) * sum(others), samples**2)
        return total

    guess = guesses(y)
    scale = math.sqrt(covariance(guess, guess) * covariance(labels, labels))
    return float(covariance(guess, labels)) / scale if scale else 0.0


def each(y: Rows, labels: list[int], which: str) -> list[float]:
    present, matrix = {*labels, *guesses(y)}, counts(y, labels)
    return [float(of_class(matrix, which, k)) if k in present else NAN for k in range(len(matrix))]


def report(y: Rows, labels: list[int]) -> list[list[float]]:
    kinds = ("precision", "recall", "f1")
    columns = [
        [*each(y, labels, kind), *(mean(y, labels, kind) for mean in (micro, macro, weighted))] for kind in kinds
    ]
    support = [*(float(labels.count(k)) for k in range(len(columns[0]) - 3)), *[float(len(labels))] * 3]
    return [list(row) for row in zip(*columns, support, strict=True)]


def balanced(y: Rows, labels: list[int]) -> float:
    return float(sum(of_class(counts(y, labels), "recall", k) for k in set(labels)) / len(set(labels)))


def kappa(y: Rows, labels: list[int], distance: Callable[[int, int], int]) -> float:
    """Mean distance of the pairs as they are, beside that of all guesses with all labels."""
    guess = guesses(y)
    apart = sum(distance(a, b) for a, b in zip(guess, labels, strict=True))
    by_chance = sum(distance(a, b) for a in guess for b in labels)
    return float(1 - Fraction(apart * len(labels), by_chance)) if by_chance else NAN


def surprise(y: Rows, labels: list[int]) -> float:
    given = [
        row[label] if len(row) > 1 else (row[0] if label else 1 - row[0]) for row, label in zip(y, labels, strict=True)
    ]
    return -sum(math.log(max(share, 1e-30)) for share in given) / len(given)


def mean_precision(scores: list[float], positive: list[bool]) -> float:
    """Precision down to each positive, scores as high as its own included."""
    found = []
    for score, right in zip(scores, positive, strict=True):
        if right:
            there = [one for other, one in zip(scores, positive, strict=True) if other >= score]
            found.append(Fraction(sum(there), len(there)))
    return float(sum(found) / len(found)) if found else NAN


def curves(y: Rows, labels: list[int]) -> list[tuple[list[float], list[bool]]]:
    classes = range(len(y[0])) if len(y[0]) > 2 else [1]
    return [([row[min(k, len(row) - 1)] for row in y], [label == k for label in labels]) for k in classes]


def precision_under_curve(y: Rows, labels: list[int], how: str | None) -> Any:
    drawn = curves(y, labels)
    if how == "micro":
        return mean_precision(*([one for part in parts for one in part] for parts in zip(*drawn, strict=True)))
    figures = [mean_precision(*curve) for curve in drawn]
    there = [
        (f, sum(positive) if how == "weighted" else 1)
        for f, (_, positive) in zip(figures, drawn, strict=True)
        if f == f
    ]
    if how is None:
        return figures
    return sum(f * n for f, n in there) / sum(n for _, n in there) if there else NAN


def areas(y: Rows, labels: list[int], how: str | None) -> Any:
    """As `area`, of which each class against all others is a case."""
    drawn = curves(y, labels)
    if how == "micro":
        drawn = [tuple([one for part in parts for one in part] for parts in zip(*drawn, strict=True))]  # type: ignore[misc]
    figures = [area([[score] for score in scores], list(map(int, positive))) for scores, positive in drawn]
    there = [
        (f, sum(positive) if how == "weighted" else 1)
        for f, (_, positive) in zip(figures, drawn, strict=True)
        if f == f
    ]
    if how is None:
        return figures
    return sum(f * n for f, n in there) / sum(n for _, n in there) if there else NAN


class Cut(NamedTuple):
    """What a threshold does: of the positives and the negatives those whose score is above it."""

    threshold: float
    found: int
    wrong: int
    positives: int
    negatives: int


def cuts(y: Rows, labels: list[int]) -> list[Cut]:
    """All that thresholds can do, from the one above which there is nothing."""
    scores = [row[-1] for row in y]
    order, positives = sorted(set(scores), reverse=True), sum(labels)
    middles = [(a + b) / 2 for a, b in pairwise([*order, order[-1] - 1e-3])]
    found = []
    for threshold in [order[0], *middles]:
        above = [label for score, label in zip(scores, labels, strict=True) if score > threshold]
        found.append(Cut(threshold, sum(above), len(above) - sum(above), positives, len(labels) - positives))
    return found


def precision_recall(y: Rows, labels: list[int]) -> list[list[float]]:
    rows = [[c.threshold, c.found / (c.found + c.wrong) if c.found + c.wrong else 1.0] for c in cuts(y, labels)]
    recall = [c.found / c.positives if c.positives else NAN for c in cuts(y, labels)]
    return [[*row, one] for row, one in zip(rows, recall, strict=True)][::-1]


def receiver(y: Rows, labels: list[int]) -> list[list[float]]:
    return [
        [c.threshold, c.wrong / c.negatives if c.negatives else NAN, c.found / c.positives if c.positives else NAN]
        for c in reversed(cuts(y, labels))
    ]


def best_at(y: Rows, labels: list[int], least: float, wanted: int) -> float:
    """The best precision (1) or recall (2) where the other is at least so high."""
    if not sum(labels):
        return NAN
    rows = [row for row in precision_recall(y, labels)[:-1] if row[3 - wanted] >= least - 1e-12]
    return max([row[wanted] for row in rows], default=0.0)


def best_cut(y: Rows, labels: list[int], how: str) -> float:
    if not sum(labels):
        return NAN

    def good(c: Cut) -> tuple[Fraction, float]:
        false = share(c.wrong, c.negatives)
        all_kinds = {
            "f1": share(2 * c.found, c.positives + c.found + c.wrong),
            "accuracy": Fraction(c.found - c.wrong),
            "balanced_accuracy": Fraction(c.found, c.positives) - false,
        }
        return all_kinds[how], c.threshold

    return max(cuts(y, labels), key=good).threshold


def area(y: Rows, labels: list[int]) -> float:
    if len(set(labels)) < 2:
        return NAN
    areas = []
    for k in sorted(set(labels)) if len(y[0]) > 2 else [1]:
        column = min(k, len(y[0]) - 1)
        marked = [(row[column], label == k) for row, label in zip(y, labels, strict=True)]
        pairs = [(a, b) for a, positive in marked if positive for b, other in marked if not other]
        areas.append(sum(Fraction(int(a > b) + int(a >= b), 2) for a, b in pairs) / len(pairs))
    return float(sum(areas) / len(areas))


def exact(rows: Rows) -> list[list[Fraction]]:
    return [[Fraction(number) for number in row] for row in rows]


def misses(y: Rows, target: Rows) -> list[Fraction]:
    return [a - b for one, two in zip(exact(y), exact(target), strict=True) for a, b in zip(one, two, strict=True)]


def mean_absolute(y: Rows, target: Rows) -> float:
    wrong = misses(y, target)
    return float(sum(abs(miss) for miss in wrong) / len(wrong))


def root_mean_square(y: Rows, target: Rows) -> float:
    wrong = misses(y, target)
    return math.sqrt(sum(miss**2 for miss in wrong) / len(wrong))


def as_share(y: Rows, target: Rows) -> float:
    targets = [t for row in exact(target) for t in row]
    parts = [abs(m) / max(abs(t), Fraction(2) ** -52) for m, t in zip(misses(y, target), targets, strict=True)]
    return float(sum(parts) / len(parts))


def moments(y: Rows, target: Rows) -> list[tuple[Fraction, Fraction, Fraction, Fraction]]:
    """Variance of the targets, of the outputs and of the misses, and covariance, of each output."""
    found = []
    for outputs, targets in zip(zip(*exact(y), strict=True), zip(*exact(target), strict=True), strict=True):

        def together(a: Any, b: Any) -> Fraction:
            n, pairs = len(a), list(zip(a, b, strict=True))
            return Fraction(sum(p * q for p, q in pairs), n) - Fraction(sum(a), n) * Fraction(sum(b), n)

        miss = [o - t for o, t in zip(outputs, targets, strict=True)]
        pairs = ((targets, targets), (outputs, outputs), (miss, miss), (outputs, targets))
        found.append(tuple(together(*pair) for pair in pairs))
    return found  # type: ignore[return-value]


def without_offset(y: Rows, target: Rows) -> list[float]:
    return [float(1 - miss / spread) if spread else NAN for spread, _, miss, _ in moments(y, target)]


def pearson(y: Rows, target: Rows) -> list[float]:
    return [float(c) / math.sqrt(a * b) if a and b else NAN for a, b, _, c in moments(y, target)]


def by_variance(y: Rows, target: Rows) -> float:
    found = [(figure, m[0]) for figure, m in zip(without_offset(y, target), moments(y, target), strict=True) if m[0]]
    return float(sum(Fraction(f) * v for f, v in found) / sum(v for _, v in found)) if found else NAN


def plain_mean(figures: list[float]) -> float:
    return sum(figures) / len(figures)


def explained(y: Rows, target: Rows) -> float:
    figures = []
    for outputs, targets in zip(zip(*exact(y), strict=True), zip(*exact(target), strict=True), strict=True):
        mean = sum(targets) / Fraction(len(targets))
        spread = sum((t - mean) ** 2 for t in targets)
        if not spread:
            return NAN
        figures.append(1 - sum((o - t) ** 2 for o, t in zip(outputs, targets, strict=True)) / spread)
    return float(sum(figures) / len(figures))


def explained_each(y: Rows, target: Rows) -> list[float]:
    columns = zip(zip(*y, strict=True), zip(*target, strict=True), strict=True)
    return [explained([[one] for one in outputs], [[one] for one in targets]) for outputs, targets in columns]


class Row(NamedTuple):
    """A metric, its definition, and how many outputs a network may have for it (none: a regression)."""

    metric: Metric
    definition: Callable[..., Any]
    outputs: tuple[int, int] | None = (1, 5)


def averaged(kind: Callable[..., Metric], which: str) -> list[Row]:
    means = {"macro": macro, "micro": micro, "weighted": weighted}
    rows = [Row(kind(average=name), lambda y, t, mean=mean: mean(y, t, which)) for name, mean in means.items()]
    last = [Row(kind(average=None), lambda y, t: each(y, t, which), (1, 2))]
    return [*rows, *last, Row(kind(average="binary"), lambda y, t: binary(y, t, which), (1, 2))]


TABLE = [
    Row(Accuracy(), accuracy),
    Row(Accuracy(threshold=0.25), lambda y, t: accuracy(y, t, 0.25)),
    Row(TopKAccuracy(1), accuracy, (2, 5)),
    Row(TopKAccuracy(2), lambda y, t: top_k(y, t, 2), (2, 5)),
    Row(TopKAccuracy(3), lambda y, t: top_k(y, t, 3), (3, 5)),
    *averaged(Precision, "precision"),
    *averaged(Recall, "recall"),
    *averaged(F1, "f1"),
    Row(MatthewsCorrelation(), correlation),
    Row(ConfusionMatrix(), counts),
    Row(FBeta(), lambda y, t: macro(y, t, "f2")),
    Row(Specificity(), lambda y, t: macro(y, t, "specificity")),
    Row(Specificity("micro"), lambda y, t: micro(y, t, "specificity")),
    Row(IoU(), lambda y, t: macro(y, t, "iou")),
    Row(IoU("micro"), lambda y, t: micro(y, t, "iou")),
    Row(IoU("binary"), lambda y, t: binary(y, t, "iou"), (1, 2)),
    Row(DiceCoefficient(), lambda y, t: macro(y, t, "f1")),
    Row(BalancedAccuracy(), balanced),
    Row(CohenKappa(), lambda y, t: kappa(y, t, lambda a, b: int(a != b))),
    Row(CohenKappa(distance="linear"), lambda y, t: kappa(y, t, lambda a, b: abs(a - b))),
    Row(CohenKappa(distance="quadratic"), lambda y, t: kappa(y, t, lambda a, b: (a - b) ** 2)),
    Row(ExactMatch(), accuracy),
    Row(HammingLoss(threshold=0.25), lambda y, t: 1 - accuracy(y, t, 0.25)),
    Row(ClassReport(), report, (1, 2)),
    Row(LogLoss(), surprise),
    Row(ROCAUC(), area),
    Row(ROCAUC("weighted"), lambda y, t: areas(y, t, "weighted")),
    Row(ROCAUC("micro"), lambda y, t: areas(y, t, "micro")),
    Row(ROCAUC(None), lambda y, t: areas(y, t, None), (1, 2)),
    Row(AveragePrecision(), lambda y, t: precision_under_curve(y, t, "macro")),
    Row(AveragePrecision("weighted"), lambda y, t: precision_under_curve(y, t, "weighted")),
    Row(AveragePrecision("micro"), lambda y, t: precision_under_curve(y, t, "micro")),
    Row(AveragePrecision(None), lambda y, t: precision_under_curve(y, t, None), (1, 2)),
    Row(PrecisionRecallCurve(), precision_recall, (1, 2)),
    Row(ROCCurve(), receiver, (1, 2)),
    Row(PrecisionAtRecall(0.5), lambda y, t: best_at(y, t, 0.5, 1), (1, 2)),
    Row(RecallAtPrecision(0.6), lambda y, t: best_at(y, t, 0.6, 2), (1, 2)),
    Row(BestThreshold(), lambda y, t: best_cut(y, t, "f1"), (1, 2)),
    Row(BestThreshold("accuracy"), lambda y, t: best_cut(y, t, "accuracy"), (1, 2)),
    Row(BestThreshold("balanced_accuracy"), lambda y, t: best_cut(y, t, "balanced_accuracy"), (1, 2)),
    Row(MeanSquaredError(), lambda y, t: root_mean_square(y, t) ** 2, None),
    Row(MeanAbsolutePercentageError(), as_share, None),
    Row(R2(None), explained_each, None),
    Row(ExplainedVariance(), lambda y, t: plain_mean(without_offset(y, t)), None),
    Row(ExplainedVariance("weighted"), by_variance, None),
    Row(ExplainedVariance(None), without_offset, None),
    Row(PearsonCorrelation(), lambda y, t: plain_mean(pearson(y, t)), None),
    Row(MeanAbsoluteError(), mean_absolute, None),
    Row(RootMeanSquareError(), root_mean_square, None),
    Row(R2(), explained, None),
]
every_row = pytest.mark.parametrize("row", TABLE, ids=[repr(row.metric) for row in TABLE])
every_metric = pytest.mark.parametrize("metric", [row.metric for row in TABLE], ids=repr)


def samples_of(data: st.DataObject, outputs: tuple[int, int] | None) -> tuple[Array, Array]:
    samples = data.draw(st.integers(1, 12))
    if outputs is None:
        features, offset = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([0.0, 1e6, -1e9]))
        eighths = st.lists(st.integers(-800, 800), min_size=features, max_size=features)
        tables = [data.draw(st.lists(eighths, min_size=samples, max_size=samples)) for _ in range(2)]
        return np.array(tables[0]) / 8 + offset, np.array(tables[1]) / 8 + offset
    columns = data.draw(st.integers(*outputs))
    scores = st.lists(st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.75, 1.0]), min_size=columns, max_size=columns)
    y = np.array(data.draw(st.lists(scores, min_size=samples, max_size=samples)))
    labels = st.lists(st.integers(0, max(columns, 2) - 1), min_size=samples, max_size=samples)
    return y, np.array(data.draw(labels))


def one_hot(labels: Array, classes: int) -> Array:
    return np.eye(classes)[labels]


def two_samples(metric: Metric) -> tuple[Array, Array]:
    """Return outputs and targets that the metric accepts and has a figure for."""
    outputs = next(row.outputs for row in TABLE if row.metric == metric)
    if outputs is None:
        return np.array([[1.0], [2.0]]), np.array([[3.0], [5.0]])
    return np.eye(outputs[1])[:2], np.array([0, 1])


@every_row
@quietly
@given(data=st.data())
def test_equals_its_definition(row: Row, data: st.DataObject) -> None:
    y, target = samples_of(data, row.outputs)
    figure = row.metric.value(row.metric.measure(y, target))
    expected = row.definition(y.tolist(), target.tolist())
    assert figure == pytest.approx(np.array(expected), rel=1e-12, abs=1e-12, nan_ok=True)


@every_row
@few
@given(data=st.data())
def test_splits_equal_the_whole(row: Row, data: st.DataObject) -> None:
    y, target = samples_of(data, row.outputs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(y)), max_size=4)))
    parts = [row.metric.measure(y[a:b], target[a:b]) for a, b in pairwise([0, *cuts, len(y)])]
    total = parts[0]
    for part in parts[1:]:
        before = total.copy(), part.copy()
        merged = row.metric.merge(total, part)
        np.testing.assert_array_equal(total, before[0])
        np.testing.assert_array_equal(part, before[1])
        total = merged
    whole = row.metric.value(row.metric.measure(y, target))
    assert row.metric.value(total) == pytest.approx(whole, rel=1e-12, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("row", [row for row in TABLE if row.outputs], ids=lambda row: repr(row.metric))
@few
@given(data=st.data())
def test_all_forms_of_targets_mean_the_same(row: Row, data: st.DataObject) -> None:
    y, labels = samples_of(data, row.outputs)
    if y.shape[1] == 1:
        forms = [(y, labels[:, None]), (y[:, 0], labels), (y[:, 0], labels[:, None] == 1)]
    else:
        soft = 0.6 * one_hot(labels, y.shape[1]) + 0.4 / y.shape[1]
        soft = one_hot(labels, y.shape[1]) if isinstance(row.metric, LogLoss) else soft
        forms = [(y, one_hot(labels, y.shape[1])), (y, soft), (y, labels.astype(np.uint8))]
    statistics = row.metric.measure(y, labels)
    assert statistics.dtype == np.float64
    for outputs, target in [*forms, (y.tolist(), labels.astype(float))]:
        np.testing.assert_array_equal(row.metric.measure(np.asarray(outputs), target), statistics)


KNOWN = [
    (Accuracy(), [[0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.2, 0.8]], [0, 1, 1, 1], 0.75),
    (Accuracy(), [[0.9], [0.5], [0.2]], [1, 0, 1], 2 / 3),
    (Accuracy(threshold=0.0), [-1.5, 0.2, 3.0, -0.1], [0, 1, 1, 1], 0.75),
    (TopKAccuracy(2), [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], [1, 0, 2], 1 / 3),
    (TopKAccuracy(2), [[1.0, 1.0, 1.0]] * 3, [0, 1, 2], 2 / 3),
    (ConfusionMatrix(), [0.9, 0.8, 0.1, 0.3], [1, 0, 0, 1], [[1, 1], [1, 1]]),
    (ROCAUC(), [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
    (ROCAUC(), [0.5, 0.5, 0.5], [0, 1, 1], 0.5),
    (ROCAUC(), [[0.9, 0.1], [0.2, 0.4], [0.1, 0.3]], [0, 1, 0], 1.0),
    (ROCAUC(), [0.1, 0.2, -math.inf, math.inf], [0, 0, 0, 1], 1.0),
    (
        ROCAUC(),
        [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]],
        [0, 1, 2, 2],
        (1 + 2 / 3 + 7 / 8) / 3,
    ),
    (MeanAbsoluteError(), [2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0], 0.5),
    (RootMeanSquareError(), [2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0], math.sqrt(0.375)),
    (RootMeanSquareError(), [[3.0, 4.0]], [[0.0, 0.0]], math.sqrt(12.5)),
    (R2(), [1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 3.0, 4.0], 0.8),
    (R2(), [[1.0, 5.0], [3.0, 5.0]], [[1.0, 4.0], [3.0, 6.0]], 0.5),
]


@pytest.mark.parametrize(("metric", "y", "target", "figure"), KNOWN)
def test_worked_by_hand(metric: Metric, y: Any, target: Any, figure: Any) -> None:
    got = metric.value(metric.measure(np.array(y), np.array(target)))
    assert got == pytest.approx(np.array(figure), rel=1e-14)


@pytest.mark.parametrize(
    ("metric", "figure"),
    [
        (Precision(), (2 / 3 + 6 / 8) / 2),
        (Recall(), (1 / 2 + 6 / 7) / 2),
        (F1(), (4 / 7 + 12 / 15) / 2),
        (F1("weighted"), (4 * 4 / 7 + 7 * 12 / 15) / 11),
        (F1("micro"), 8 / 11),
        (Precision("binary"), 6 / 8),
        (Recall("binary"), 6 / 7),
        (F1("binary"), 12 / 15),
        (MatthewsCorrelation(), (6 * 2 - 2 * 1) / math.sqrt(8 * 7 * 3 * 4)),
    ],
)
def test_worked_by_hand_from_counts(metric: Metric, figure: float) -> None:
    true, predicted = np.repeat([0, 0, 1, 1], [2, 2, 1, 6]), np.repeat([0, 1, 0, 1], [2, 2, 1, 6])
    assert metric.value(metric.measure(np.eye(2)[predicted], true)) == pytest.approx(figure, rel=1e-14)


def test_offset_costs_r2_no_digits() -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(size=(5000, 2)) + np.array([1e6, 1e9])
    y = target + 0.5 * rng.normal(size=target.shape)
    metric = R2()
    total = metric.measure(y[:1], target[:1])
    for start in range(1, len(y), 37):
        total = metric.merge(total, metric.measure(y[start : start + 37], target[start : start + 37]))
    assert metric.value(total) == pytest.approx(explained(y.tolist(), target.tolist()), rel=1e-12)


def test_single_precision_outputs_are_summed_in_double() -> None:
    y = np.full(100_000, 0.1, dtype=np.float32)
    figure = MeanAbsoluteError().value(MeanAbsoluteError().measure(y, np.zeros_like(y)))
    assert figure == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@every_metric
def test_figure_of_no_samples(metric: Metric) -> None:
    y, target = two_samples(metric)
    figure = metric.value(metric.measure(y[:0], target[:0]))
    expected: Any = np.zeros((5, 5)) if type(metric) is ConfusionMatrix else NAN
    if isinstance(metric, ClassReport):
        expected = np.full((5, 4), [NAN, NAN, NAN, 0])
    np.testing.assert_array_equal(figure, expected)


@every_metric
def test_a_nan_output_makes_the_figure_nan(metric: Metric) -> None:
    y, target = two_samples(metric)
    good = metric.measure(y, target)
    assert not np.isnan(metric.value(good)).any()
    y[1, -1] = NAN
    bad = metric.measure(y, target)
    for total in (bad, metric.merge(good, bad), metric.merge(bad, good)):
        assert np.isnan(metric.value(total)).all()


CONVENTIONS = [
    (Precision("binary"), [0.1, 0.2], [0, 1], 0.0),
    (Recall("binary"), [0.9, 0.2], [0, 0], 0.0),
    (F1("binary"), [0.1, 0.2], [0, 0], 0.0),
    (F1(), [0.1, 0.2], [0, 0], 1.0),  # class 1 does not occur
    (F1("weighted"), [0.1, 0.9], [0, 0], 2 / 3),  # class 1 occurs, but its weight is 0
    (MatthewsCorrelation(), [0.9, 0.8], [0, 1], 0.0),
    (MatthewsCorrelation(), [0.9, 0.1], [1, 1], 0.0),
    (ROCAUC(), [0.9, 0.1], [1, 1], NAN),
    (ROCAUC(), [[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]], [0, 1], 1.0),  # class 2 does not occur
    (R2(), [1.0, 2.0], [1e6 + 0.1, 1e6 + 0.1], NAN),
    (R2(), [1.0], [1.0], NAN),
]


@pytest.mark.parametrize(("metric", "y", "target", "figure"), CONVENTIONS)
def test_conventions_for_undefined_figures(metric: Metric, y: Any, target: Any, figure: float) -> None:
    got = metric.value(metric.measure(np.array(y), np.array(target)))
    assert got == pytest.approx(figure, nan_ok=True)


WRONG_SHAPES = [
    ((4, 3), (5,)),
    ((4, 3), (4, 2)),
    ((4, 1), (3, 1)),
    ((4,), (4, 2)),
    ((1,), (4,)),
    ((4,), (1,)),
    ((4, 3), (1, 3)),
    ((), ()),
    ((4,), ()),
]
WRONG_CLASS_SHAPES = [
    ((4, 3), (4, 1)),
    ((2, 3, 3), (2,)),
    ((2, 3, 4), (2, 4)),
    ((2, 3, 4, 5), (2, 3, 4)),
    ((4, 0), (4, 0)),
]


@pytest.mark.parametrize(("y", "target"), WRONG_SHAPES)
def test_wrong_shapes_are_named(y: tuple[int, ...], target: tuple[int, ...]) -> None:
    for metric in [row.metric for row in TABLE]:
        with pytest.raises(DataError) as caught:
            metric.measure(np.zeros(y), np.zeros(target))
        assert metric.name in str(caught.value)
        assert str(y) in str(caught.value)
        assert str(target) in str(caught.value)


@pytest.mark.parametrize(("y", "target"), WRONG_CLASS_SHAPES)
def test_wrong_shapes_of_classes_are_named(y: tuple[int, ...], target: tuple[int, ...]) -> None:
    for metric in [row.metric for row in TABLE if row.outputs]:
        with pytest.raises(DataError, match=rf"{re.escape(metric.name)} .*got y .* and target "):
            metric.measure(np.zeros(y), np.zeros(target))


@pytest.mark.parametrize(
    ("metric", "y", "rule"),
    [
        (TopKAccuracy(), (4, 3), "C >= 5 classes, got y (4, 3) and target (4,)"),
        (TopKAccuracy(1), (4, 1), "C >= 2 classes, got y (4, 1) and target (4,)"),
        (F1("binary"), (4, 3), "exactly two classes, got y (4, 3) and target (4,)"),
    ],
)
def test_wrong_numbers_of_classes(metric: Metric, y: tuple[int, ...], rule: str) -> None:
    with pytest.raises(DataError) as caught:
        metric.measure(np.zeros(y), np.zeros(4))
    assert str(caught.value).endswith(rule)


@pytest.mark.parametrize("wrong", [-1, 0.5, 7, NAN])
def test_wrong_labels_are_named(wrong: float) -> None:
    for metric in [row.metric for row in TABLE if row.outputs]:
        y, _ = two_samples(metric)
        with pytest.raises(DataError, match=rf"labels of {metric.name} must be whole and in 0 \.\.\. \d, got {wrong}"):
            metric.measure(y, np.array([1, wrong]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Accuracy(threshold=NAN), "Accuracy threshold must be a number in (-inf, inf), got nan"),
        (lambda: ConfusionMatrix(threshold="0.5"), "ConfusionMatrix threshold must be a number"),  # type: ignore[arg-type]
        (lambda: F1(threshold=math.inf), "F1 threshold must be a number"),
        (lambda: F1("macros"), "F1 average must be one of"),  # type: ignore[arg-type]
        (lambda: Recall("samples", multi_label=False), "Recall average must be another for classes, got 'samples'"),
        (lambda: FBeta(0), "FBeta beta must be a number in (0, inf), got 0"),
        (lambda: CohenKappa(distance="squared"), "CohenKappa distance must be one of linear, quadratic, got 'squared'"),
        (lambda: ROCAUC("binary"), "ROCAUC average must be one of macro, micro, weighted"),  # type: ignore[arg-type]
        (lambda: R2("micro"), "R2 average must be one of macro, weighted, got 'micro'"),  # type: ignore[arg-type]
        (lambda: PrecisionAtRecall(1.1), "PrecisionAtRecall recall must be a number in (0, 1], got 1.1"),
        (lambda: RecallAtPrecision(0), "RecallAtPrecision precision must be a number in (0, 1], got 0"),
        (lambda: BestThreshold("best"), "BestThreshold criterion must be one of accuracy"),  # type: ignore[arg-type]
        (lambda: ROCCurve(1), "ROCCurve points must be a whole number of at least 2, got 1"),
        (lambda: TopKAccuracy(0), "TopKAccuracy k must be a whole number of at least 1, got 0"),
        (lambda: TopKAccuracy(2.5), "TopKAccuracy k must be a whole number"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments(make: Callable[[], Metric], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (Accuracy(), "accuracy"),
        (TopKAccuracy(), "top_5_accuracy"),
        (Precision(), "precision"),
        (Recall("micro"), "recall_micro"),
        (F1(), "f1"),
        (MatthewsCorrelation(), "matthews_correlation"),
        (ConfusionMatrix(), "confusion_matrix"),
        (ROCAUC(), "roc_auc"),
        (MeanAbsoluteError(), "mean_absolute_error"),
        (RootMeanSquareError(), "root_mean_square_error"),
        (R2(), "r2"),
        (R2("weighted"), "r2_weighted"),
        (F1(None), "f1_each"),
        (FBeta(), "f2"),
        (FBeta(0.5, average="micro"), "f0.5_micro"),
        (IoU(), "iou"),
        (AveragePrecision("micro"), "average_precision_micro"),
        (CohenKappa(distance="linear"), "cohen_kappa_linear"),
        (ROCCurve(), "roc_curve"),
        (PrecisionAtRecall(), "precision_at_recall_0.9"),
        (RecallAtPrecision(0.5), "recall_at_precision_0.5"),
        (BestThreshold("accuracy"), "best_threshold_accuracy"),
    ],
)
def test_names(metric: Metric, name: str) -> None:
    assert metric.name == name


def test_a_metric_of_a_users_own_needs_two_methods() -> None:
    class LargestOutput(Metric):
        def measure(self, y: Array, target: Array) -> Array:
            return np.array([y.max()])

        def merge(self, total: Array, part: Array) -> Array:
            return np.maximum(total, part)

        def value(self, total: Array) -> float:
            return float(total[0])

    metric = LargestOutput()
    y = np.array([[1.0], [4.0], [2.0]])
    total = metric.merge(metric.measure(y[:1], y[:1]), metric.measure(y[1:], y[1:]))
    assert (metric.name, metric.value(total)) == ("largest_output", 4.0)


@every_row
@few
@given(data=st.data())
def test_on_a_device_the_statistics_are_the_same_and_stay_there(row: Row, data: st.DataObject) -> None:
    ops, (y, target) = Ops(StandInCupy(), "float64"), samples_of(data, row.outputs)
    found = row.metric.measure(ops, ops.asarray(y), ops.asarray(target, target.dtype))
    assert isinstance(found, DeviceArray)
    expected = row.metric.measure(y, target)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(ops.to_host(found), expected)


class OldForm(Metric):
    """Takes no ops, as NumPy code does."""

    def measure(self, y: Any, target: Any) -> Array:
        assert type(y) is type(target) is np.ndarray
        return np.array([np.maximum(y, 0).sum(), len(y)])

    def value(self, total: Array) -> float:
        return float(total[0] / total[1])


class NewForm(OldForm):
    """Computes where the outputs are."""

    def measure(self, ops: Ops, y: Any, target: Any) -> Array:
        return ops.xp.stack([ops.xp.maximum(y, 0).sum(), ops.xp.asarray(len(y), dtype=y.dtype)])


class Inverse(Accuracy):
    """A metric of the library's with a change to what it is given."""

    def measure(self, y: Any, target: Any) -> Array:  # type: ignore[override]
        return super().measure(-y, target)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize("metric", [OldForm(), NewForm(), Inverse()], ids=repr)
@pytest.mark.parametrize("engine", ["numpy", "cpu", "cuda"])
def test_a_metric_of_ones_own_may_take_arrays_of_host_or_device(
    metric: Metric, engine: str, standin_cupy: StandInCupy
) -> None:
    x, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3
    net = Network(seed=1).input((3,)).add(FullyConnectedLayer(3)).add(SoftMax())
    net.regression(metrics=[metric], engine=engine, dtype="float64")
    history = net.fit(x, labels, mini_batch_size=8, epochs=2, validation_set=(x, labels), progress=False)
    y = net.feedforward(x)
    expected = metric.value(metric.measure(y, labels))
    assert history[f"validation_{metric.name}"][-1] == pytest.approx(expected, rel=1e-6)
    assert metric.value(metric.measure(y=y, target=labels)) == expected


@pytest.mark.parametrize("measure", [lambda self, y: y, lambda self, a, b, c, d: a], ids=["too few", "too many"])
def test_a_metric_that_takes_something_else_is_refused_before_anything_is_trained(measure: Any) -> None:
    metric = type("Odd", (OldForm,), {"measure": measure})()
    net = Network().input((3,)).add(FullyConnectedLayer(3)).add(SoftMax())
    with pytest.raises(
        ArgumentError, match=r"Odd.measure must take \(y, target\), NumPy arrays, or \(ops, y, target\)"
    ):
        net.regression(metrics=[metric])


@every_metric
def test_metrics_are_values(metric: Metric) -> None:
    options = dataclasses.asdict(metric)
    again = type(metric)(**options)
    assert again == metric
    assert hash(again) == hash(metric)
    metric.value(metric.measure(*two_samples(metric)))
    assert vars(metric) == options
    for option in options:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(metric, option, 1)


def test_every_public_metric_has_a_row() -> None:
    public = {
        kind
        for name, kind in vars(gedanken.metrics).items()
        if inspect.isclass(kind) and issubclass(kind, Metric) and kind is not Metric and not name.startswith("_")
    }
    assert public == {type(row.metric) for row in TABLE}


# ---------------------------------------------------------------------------------------------- several labels a sample

# scores of three labels, and which are true; the middle one is never true
SCORES = np.array([[0.9, 0.2, 0.6], [0.8, 0.4, 0.7], [0.3, 0.6, 0.2], [0.6, 0.1, 0.4], [0.1, 0.3, 0.9]])
MANY = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]])
PER_LABEL: list[tuple[Metric, Any]] = [
    (Accuracy(multi_label=True), 11 / 15),
    (Accuracy(multi_label=True, threshold=0.65), 12 / 15),
    (Precision(multi_label=True), (2 / 3 + 0 + 2 / 3) / 3),
    (Recall(multi_label=True), (1 + 0 + 2 / 3) / 3),
    (F1(multi_label=True), (4 / 5 + 0 + 2 / 3) / 3),
    (F1("micro", multi_label=True), 8 / 12),
    (F1("weighted", multi_label=True), (2 * 4 / 5 + 3 * 2 / 3) / 5),
    (MatthewsCorrelation(multi_label=True), ((5 * 2 - 6) / 6 + 0 + (5 * 2 - 9) / 6) / 3),
    (ROCAUC(multi_label=True), (1.0 + 4 / 6) / 2),
    (F1("samples", multi_label=True), (1 + 2 / 3 + 0 + 0 + 1) / 5),
    (Recall("samples", multi_label=True), (1 + 1 + 0 + 0 + 1) / 5),
    (F1(None, multi_label=True), [4 / 5, 0, 2 / 3]),
    (IoU(multi_label=True), (2 / 3 + 0 + 2 / 4) / 3),
    (Specificity(multi_label=True), (2 / 3 + 4 / 5 + 1 / 2) / 3),
    (ExactMatch(multi_label=True), 2 / 5),
    (HammingLoss(multi_label=True), 4 / 15),
    (BalancedAccuracy(multi_label=True), ((1 + 2 / 3) / 2 + 4 / 5 + (2 / 3 + 1 / 2) / 2) / 3),
    (CohenKappa(multi_label=True), (1 - 5 / (2 * 2 + 3 * 3) + 0 + 1 - 10 / (3 * 2 + 2 * 3)) / 3),
    (AveragePrecision(multi_label=True), (1 + (1 + 2 / 3 + 3 / 4) / 3) / 2),
    (ROCAUC("micro", multi_label=True), 44.5 / 50),
    (
        ClassReport(multi_label=True),
        [
            [2 / 3, 1, 4 / 5, 2],
            [0, 0, 0, 0],
            [2 / 3, 2 / 3, 2 / 3, 3],
            [4 / 7, 4 / 5, 8 / 12, 5],
            [4 / 9, 5 / 9, 22 / 45, 5],
            [2 / 3, 4 / 5, 18 / 25, 5],
        ],
    ),
    (ConfusionMatrix(multi_label=True), [[[2, 1], [0, 2]], [[4, 1], [0, 0]], [[1, 1], [1, 2]]]),
]


@pytest.mark.parametrize(("metric", "figure"), PER_LABEL, ids=lambda value: str(value)[:40])
def test_labels_are_judged_each_by_itself(metric: Metric, figure: Any) -> None:
    whole = metric.measure(SCORES, MANY)
    assert metric.value(whole) == pytest.approx(np.array(figure), rel=1e-14)
    parts = metric.merge(metric.measure(SCORES[:2], MANY[:2]), metric.measure(SCORES[2:], MANY[2:]))
    assert metric.value(parts) == pytest.approx(np.array(figure), rel=1e-14)
    assert metric.per_label() == metric
    bad = SCORES.copy()
    bad[1, 1] = NAN
    assert np.isnan(metric.value(metric.measure(bad, MANY))).all()


@pytest.mark.parametrize("metric", [metric for metric, _ in PER_LABEL], ids=str)
def test_a_network_of_several_answers_judges_labels(metric: Metric) -> None:
    plain = type(metric)()
    assert plain.per_label() == type(metric)(multi_label=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    target = (x[:, :3] > 0.3).astype(float)
    net = Network().input((4,)).add(FullyConnectedLayer(3)).add(Sigmoid())
    net.regression(cost="binary_cross_entropy", metrics=[plain])
    found = net.evaluate(x, target, mini_batch_size=7, progress=False)[plain.name]
    alone = plain.per_label()
    assert found == pytest.approx(alone.value(alone.measure(net.feedforward(x), target)), rel=1e-12)


def test_its_default_is_the_share_of_right_labels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    target = (x[:, :3] > 1.0).astype(float)  # mostly no: argmax of such rows means nothing
    net = Network().input((4,)).add(FullyConnectedLayer(3)).add(Sigmoid())
    net.regression(Adam(0.1), cost="binary_cross_entropy")
    net.fit(x, target, epochs=30, progress=False)
    accuracy = net.evaluate(x, target, progress=False)["accuracy"]
    assert accuracy == pytest.approx(((net.feedforward(x) > 0.5) == target).mean())
    assert accuracy > 0.95


@pytest.mark.parametrize(
    "metric", [Accuracy(), F1(), Precision(), Recall(), ROCAUC(), MatthewsCorrelation(), ConfusionMatrix()], ids=str
)
def test_several_labels_are_not_taken_for_one_class(metric: Metric) -> None:
    with pytest.raises(
        DataError, match=rf"one class for each sample.*row 0 of target; .*{type(metric).__name__}\(multi_label"
    ):
        metric.measure(SCORES, MANY)
    with pytest.raises(DataError, match="row 2 of target"):
        metric.measure(SCORES[[3, 4, 2]], MANY[[3, 4, 2]])


def test_what_means_nothing_for_labels_is_refused() -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(6)).add(Sigmoid())
    for metric in (TopKAccuracy(2), F1("binary")):
        with pytest.raises(ArgumentError, match="got several labels; use"):
            net.regression(cost="binary_cross_entropy", metrics=[metric])
    with pytest.raises(ArgumentError, match="F1 average must be another with multi_label, got 'binary'"):
        F1("binary", multi_label=True)
    with pytest.raises(ArgumentError, match="Accuracy multi_label must be True, False or None, got 'yes'"):
        Accuracy(multi_label="yes")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"labels of accuracy must lie in \[0, 1\], got 2.0"):
        Accuracy(multi_label=True).measure(SCORES, 2 * MANY)
    with pytest.raises(DataError, match="same shape"):
        Accuracy(multi_label=True).measure(SCORES, MANY[:, 0])


def test_what_means_nothing_for_the_outputs_is_refused() -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(6)).add(Sigmoid())
    for metric in (BestThreshold(), PrecisionAtRecall(), ROCCurve()):
        with pytest.raises(ArgumentError, match=f"{metric.name} needs one yes-or-no output or two classes"):
            net.regression(cost="binary_cross_entropy", metrics=[metric])
        with pytest.raises(DataError, match=r"needs one output or two classes, got y \(4, 3\)"):
            metric.measure(np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(DataError, match=r"f1_samples needs several labels .* use F1\('samples', multi_label=True\)"):
        F1("samples").measure(np.eye(3), np.arange(3))
    with pytest.raises(DataError, match=r"log_loss needs outputs in \[0, 1\], got 1.5; end with SoftMax"):
        LogLoss().measure(np.array([[1.5, -0.5]]), np.array([0]))


def test_log_loss_is_the_cross_entropy_of_shares_and_of_labels() -> None:
    y, target = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]), np.array([[0.2, 0.3, 0.5], [0, 1, 0]])
    expected = -(0.2 * math.log(0.5) + 0.8 * math.log(0.25) + math.log(0.8)) / 2
    assert LogLoss().value(LogLoss().measure(y, target)) == pytest.approx(expected)
    each = LogLoss(multi_label=True)
    terms = [-t * math.log(p) - (1 - t) * math.log(1 - p) for p, t in zip(y.ravel(), target.ravel(), strict=True)]
    assert each.value(each.measure(y, target)) == pytest.approx(sum(terms) / 6)


@pytest.mark.parametrize(
    ("theirs", "ours"), [("mse", "mean_squared_error"), ("MeanIoU", "iou"), ("AUC", "roc_auc"), ("f1_score", "f1")]
)
def test_names_of_other_libraries_lead_to_ours(theirs: str, ours: str) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(6)).add(Sigmoid())
    with pytest.raises(ArgumentError, match=f"did you mean '{ours}'"):
        net.regression(metrics=[theirs])


def test_a_curve_of_many_points_is_thinned_out() -> None:
    rng = np.random.default_rng(0)
    y, labels = rng.uniform(size=5000), rng.integers(0, 2, 5000)
    few, all_of_them = (curve.value(curve.measure(y, labels)) for curve in (ROCCurve(50), ROCCurve(9999)))
    assert (few.shape, all_of_them.shape) == ((50, 3), (5001, 3))
    assert few[0, 1:].tolist() == [1, 1]
    assert few[-1, 1:].tolist() == [0, 0]
    assert {*map(tuple, few)} < {*map(tuple, all_of_them)}


def test_the_best_threshold_holds_for_outputs_in_single_precision() -> None:
    y = np.array([0.25, np.nextafter(np.float32(0.25), np.float32(1)), 0.9], np.float32)
    labels = np.array([0, 1, 1])
    best = BestThreshold()
    found = best.value(best.measure(y, labels))
    assert (y > np.float32(found)).tolist() == [False, True, True]
    judged = F1("binary", threshold=found)
    assert judged.value(judged.measure(y, labels)) == 1.0


# ---------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize(
    "metric", [Precision(), Recall(), F1(), MatthewsCorrelation(), ConfusionMatrix(), Accuracy()], ids=str
)
def test_statistics_do_not_grow_with_the_square_of_the_classes(metric: Metric) -> None:
    classes, rng = 10_000, np.random.default_rng(0)
    y, labels = np.zeros((8, classes), "float32"), rng.integers(0, classes, 8)
    y[np.arange(8), labels] = 1
    total = metric.measure(y, labels)
    for _ in range(3):
        total = metric.merge(total, metric.measure(y, labels))
    assert total.size <= 4 * classes


def test_a_confusion_matrix_counts_in_whole_numbers() -> None:
    metric = ConfusionMatrix()
    figure = metric.value(metric.measure(np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2])))
    assert isinstance(figure, np.ndarray)
    assert figure.dtype == np.int64
    assert figure.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_samples_that_are_kept_are_not_copied_in_every_step() -> None:
    class Keeping(ROCAUC):
        copied = 0

        def merge(self, total: Array, part: Array) -> Array:
            Keeping.copied += len(total) + len(part)
            return super().merge(total, part)

    meter, metric = Meter([Keeping()]), ROCAUC()
    rng = np.random.default_rng(0)
    y, labels = rng.uniform(size=(1000, 1)), rng.integers(0, 2, 1000)
    for i in range(1000):
        meter.add(StepResult(1, 1.0, 0.0, (metric.measure(y[i : i + 1], labels[i : i + 1]),)))
    assert meter.metrics["roc_auc"] == metric.value(metric.measure(y, labels))
    assert Keeping.copied < 1000 * 20
