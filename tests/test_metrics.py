"""Every metric against its definition in plain Python, and the conventions that the docstrings promise."""

import dataclasses
import inspect
import math
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
    ConfusionMatrix,
    MatthewsCorrelation,
    MeanAbsoluteError,
    Metric,
    Precision,
    Recall,
    RootMeanSquareError,
    TopKAccuracy,
)
from gedanken.ops import Ops
from gedanken.parallel.base import StepResult
from gedanken.training.meter import Meter
from gedanken.types import Array
from tests.standin_cupy import DeviceArray, StandInCupy

Rows = list[list[float]]
NAN = math.nan
quietly = settings(deadline=None, max_examples=50)


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
    return {"precision": precision, "recall": recall, "f1": harmonic}[which]


def macro(y: Rows, labels: list[int], which: str) -> float:
    matrix = counts(y, labels)
    present = sorted({*labels, *guesses(y)})
    return float(sum(of_class(matrix, which, k) for k in present) / len(present))


def weighted(y: Rows, labels: list[int], which: str) -> float:
    matrix = counts(y, labels)
    return float(sum(of_class(matrix, which, label) for label in labels) / len(labels))


def micro(y: Rows, labels: list[int], which: str) -> float:
    # Every wrong guess is a false positive of one class and a false negative of another.
    return accuracy(y, labels)


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


def explained(y: Rows, target: Rows) -> float:
    figures = []
    for outputs, targets in zip(zip(*exact(y), strict=True), zip(*exact(target), strict=True), strict=True):
        mean = sum(targets) / Fraction(len(targets))
        spread = sum((t - mean) ** 2 for t in targets)
        if not spread:
            return NAN
        figures.append(1 - sum((o - t) ** 2 for o, t in zip(outputs, targets, strict=True)) / spread)
    return float(sum(figures) / len(figures))


class Row(NamedTuple):
    """A metric, its definition, and how many outputs a network may have for it (none: a regression)."""

    metric: Metric
    definition: Callable[..., Any]
    outputs: tuple[int, int] | None = (1, 5)


def averaged(kind: Callable[..., Metric], which: str) -> list[Row]:
    means = {"macro": macro, "micro": micro, "weighted": weighted}
    rows = [Row(kind(average), lambda y, t, mean=mean: mean(y, t, which)) for average, mean in means.items()]
    return [*rows, Row(kind("binary"), lambda y, t: binary(y, t, which), (1, 2))]


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
    Row(ROCAUC(), area),
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
@quietly
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
@quietly
@given(data=st.data())
def test_all_forms_of_targets_mean_the_same(row: Row, data: st.DataObject) -> None:
    y, labels = samples_of(data, row.outputs)
    if y.shape[1] == 1:
        forms = [(y, labels[:, None]), (y[:, 0], labels), (y[:, 0], labels[:, None] == 1)]
    else:
        soft = 0.6 * one_hot(labels, y.shape[1]) + 0.4 / y.shape[1]
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
    expected = np.zeros((5, 5)) if type(metric) is ConfusionMatrix else NAN
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


@every_metric
@pytest.mark.parametrize(("y", "target"), WRONG_SHAPES)
def test_wrong_shapes_are_named(metric: Metric, y: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as caught:
        metric.measure(np.zeros(y), np.zeros(target))
    assert metric.name in str(caught.value)
    assert str(y) in str(caught.value)
    assert str(target) in str(caught.value)


@pytest.mark.parametrize("metric", [row.metric for row in TABLE if row.outputs], ids=repr)
@pytest.mark.parametrize(("y", "target"), WRONG_CLASS_SHAPES)
def test_wrong_shapes_of_classes_are_named(metric: Metric, y: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"got y .* and target "):
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


@pytest.mark.parametrize("metric", [row.metric for row in TABLE if row.outputs], ids=repr)
@pytest.mark.parametrize("wrong", [-1, 0.5, 7, NAN])
def test_wrong_labels_are_named(metric: Metric, wrong: float) -> None:
    y, _ = two_samples(metric)
    with pytest.raises(DataError, match=rf"must be whole and in 0 \.\.\. \d, got {wrong}"):
        metric.measure(y, np.array([1, wrong]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Accuracy(threshold=NAN), "Accuracy threshold must be a number in (-inf, inf), got nan"),
        (lambda: ConfusionMatrix(threshold="0.5"), "ConfusionMatrix threshold must be a number"),  # type: ignore[arg-type]
        (lambda: F1(threshold=math.inf), "F1 threshold must be a number"),
        (lambda: F1("macros"), "F1 average must be one of"),  # type: ignore[arg-type]
        (lambda: Recall("samples"), "Recall average must be one of"),  # type: ignore[arg-type]
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
@quietly
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
