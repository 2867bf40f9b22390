"""How the costs of entries become one number: weights, lengths, labels to ignore, reductions."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gedanken import (
    ArgumentError,
    BinaryCrossEntropy,
    BinaryFocal,
    CrossEntropy,
    CustomCost,
    Dice,
    Hinge,
    Huber,
    MeanSquared,
    ShapeError,
    SquaredHinge,
    Tversky,
)
from gedanken.costs import Cost
from gedanken.costs.base import REDUCTIONS
from gedanken.ops import Ops
from gedanken.types import Array
from tests.cases import COSTS, CostCase, name_of
from tests.contracts.test_every_layer import assert_close, numeric_gradient
from tests.standin_cupy import StandInCupy

OPS = Ops(dtype="float64")
RNG = np.random.default_rng(5)
WEIGHT = np.array([0.5, 0.0, 2.0, 1.0])
every_cost = pytest.mark.parametrize("case", COSTS, ids=name_of)


def singly(cost: Cost, y: Array, target: Array) -> Array:
    """Return the cost of each sample by itself."""
    return np.array([float(cost(OPS, y[n : n + 1], target[n : n + 1])[0]) for n in range(len(y))])


@every_cost
def test_a_weight_multiplies_and_does_not_divide(case: CostCase) -> None:
    y, target = case.draw(np.random.default_rng(0), 4)
    cost = replace(case.cost, reduction="mean")
    value, dy = cost(OPS, y, target, WEIGHT)
    assert float(value) == pytest.approx((WEIGHT * singly(cost, y, target)).mean(), rel=1e-12)
    apart = WEIGHT.reshape(-1, *(1,) * (y.ndim - 1))
    np.testing.assert_allclose(dy, apart * cost(OPS, y, target)[1], rtol=1e-12)


@every_cost
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_agree_with_finite_differences(case: CostCase, reduction: str) -> None:
    y, target = case.draw(np.random.default_rng(1), 4)
    cost = replace(case.cost, reduction=reduction)
    _, dy = cost(OPS, y, target, WEIGHT)
    assert_close(dy, numeric_gradient(lambda: float(cost(OPS, y, target, WEIGHT)[0]), y), 1e-6)


@every_cost
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_cost_of_parts_makes_that_of_the_whole(case: CostCase, reduction: str) -> None:
    y, target = case.draw(np.random.default_rng(2), 4)
    cost = replace(case.cost, reduction=reduction)
    parts = [cost.judged(OPS, y[own], target[own], WEIGHT[own]) for own in (slice(0, 1), slice(1, 4))]
    whole = cost.judged(OPS, y, target, WEIGHT)
    total = sum(float(part.cost) * part.weighing.samples for part in parts)
    assert total / (1.0 if cost.sums else whole.weighing.samples) == pytest.approx(float(whole.cost), rel=1e-12)


@every_cost
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_where_nothing_counts_cost_and_gradient_are_0(case: CostCase, reduction: str) -> None:
    y, target = case.draw(np.random.default_rng(3), 4)
    value, dy = replace(case.cost, reduction=reduction)(OPS, y * np.nan, target, 0 * WEIGHT)
    assert (float(value), dy.shape) == (0, y.shape)
    assert not dy.any()


@every_cost
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_on_cupy_arrays_it_gives_the_same(case: CostCase, reduction: str, standin_cupy: StandInCupy) -> None:
    y, target = case.draw(np.random.default_rng(4), 4)
    cost, device = replace(case.cost, reduction=reduction), Ops(standin_cupy, "float64")
    value, dy = cost(device, device.asarray(y), device.asarray(target, target.dtype), device.asarray(WEIGHT))
    expected, expected_dy = cost(OPS, y, target, WEIGHT)
    assert float(value) == pytest.approx(float(expected), rel=1e-12)
    np.testing.assert_allclose(device.to_host(dy), expected_dy, rtol=1e-12, atol=1e-15)


def test_reductions_divide_by_what_they_say() -> None:
    y, target = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]), np.array([0, 1, 1])
    log, w, s = -np.log([0.5, 0.8, 0.1]), np.array([3.0, 1, 1]), np.array([1.0, 2, 0.5])
    expected = {"mean": 3, "batch_mean": 3, "sum": 1, "weighted_mean": (w * s).sum()}
    for reduction, divisor in expected.items():
        cost = CrossEntropy(class_weights=(3, 1), reduction=reduction)
        assert float(cost(OPS, y, target, s)[0]) == pytest.approx((w * s * log).sum() / divisor, rel=1e-12)
    squares = np.array([[1.0, 2, 3], [0, 1, 0]])
    for reduction, divisor in {"mean": 6, "batch_mean": 2, "sum": 1, "weighted_mean": 6}.items():
        value, _ = MeanSquared(reduction=reduction)(OPS, squares, 0 * squares)
        assert float(value) == pytest.approx((squares**2).sum() / divisor, rel=1e-12)
    weighed = BinaryCrossEntropy(class_weights=(2, 1), reduction="weighted_mean")
    value, _ = weighed(OPS, np.array([[0.5], [0.25]]), np.array([[1.0], [0.0]]))
    assert float(value) == pytest.approx((np.log(2) - 2 * np.log(0.75)) / 3, rel=1e-12)


SEQUENCES = [
    (MeanSquared(), RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 5, 2))),
    (Huber(0.3), RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 5, 2))),
    (BinaryCrossEntropy(), RNG.uniform(0.1, 0.9, (3, 5, 2)), RNG.integers(0, 2, (3, 5, 2))),
    (CrossEntropy(0.1), RNG.dirichlet(np.ones(4), (3, 5)), RNG.integers(0, 4, (3, 5))),
    (CrossEntropy(), RNG.dirichlet(np.ones(4), (3, 5)), RNG.dirichlet(np.ones(4), (3, 5))),
    (
        CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=-1), lambda y, t: 2 * (y - t)),
        RNG.normal(size=(3, 5, 2)),
        RNG.normal(size=(3, 5, 2)),
    ),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("cost", "y", "target"), SEQUENCES, ids=lambda value: getattr(type(value), "__name__", ""))
def test_places_behind_the_length_of_a_sample_do_not_count(cost: Cost, y: Array, target: Array, reduction: str) -> None:
    cost, lengths = replace(cost, reduction=reduction), np.array([5, 2, 1])
    value, dy = cost(OPS, y, target, None, lengths)
    inside = np.arange(5) < lengths[:, None]
    wild = np.where(inside[..., None], y, np.nan)
    np.testing.assert_equal((float(value), dy), (cost(OPS, wild, target, None, lengths)))
    assert not dy[~inside].any()
    expected, _ = cost(OPS, y[inside], target[inside])  # all places that count, as samples
    scale = inside.sum() / 3 if reduction == "batch_mean" else 1.0
    assert float(value) == pytest.approx(float(expected) * scale, rel=1e-12)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignored", [-1, 255, 2])
def test_ignored_labels_do_not_count(ignored: int, reduction: str) -> None:
    y, labels = RNG.dirichlet(np.full(4, 9.0), (2, 3, 5)), RNG.integers(0, 4, (2, 3, 5))
    labels[labels == 2] = 0
    labels[0, :2] = ignored
    cost = CrossEntropy(0.1, (1, 2, 0.5, 3), ignore_label=ignored, reduction=reduction)
    weight = np.array([2.0, 3.0])
    value, dy = cost(OPS, y, labels, weight)
    there = labels != ignored
    assert not dy[~there].any()
    expected, _ = cost(OPS, y[there], labels[there], np.repeat(weight, 15).reshape(labels.shape)[there])
    scale = there.sum() / 2 if reduction == "batch_mean" else 1.0
    assert float(value) == pytest.approx(float(expected) * scale, rel=1e-12)
    assert_close(dy, numeric_gradient(lambda: float(cost(OPS, y, labels, weight)[0]), y), 1e-6)


ANSWERS = [
    (kind, shape)
    for kind in (BinaryCrossEntropy, BinaryFocal, Hinge, SquaredHinge, Dice, Tversky)
    for shape in ((4, 1), (4, 5, 1), (4, 3, 2, 1))
    if len(shape) > 2 or kind not in (Dice, Tversky)
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("kind", "shape"), ANSWERS)
def test_ignored_answers_do_not_count(kind: Any, shape: Any, reduction: str) -> None:
    regions = issubclass(kind, (Dice, Tversky))
    options = {"class_weights": (2, 3)} if issubclass(kind, (BinaryCrossEntropy, BinaryFocal)) else {}
    y, wanted, weight = RNG.uniform(0.1, 0.9, shape), RNG.integers(0, 2, shape), np.array([2.0, 3, 1, 0.5])
    wanted[RNG.random(shape) < 0.3] = 255
    cost, plain = kind(**options, ignore_label=255, reduction=reduction), kind(**options, reduction=reduction)
    value, dy = cost(OPS, y, wanted, weight)
    there = wanted != 255
    assert not dy[~there].any()
    wild = np.where(there, y, np.nan)
    np.testing.assert_equal((value, dy), cost(OPS, wild, wanted, weight))
    if regions:  # what is neither claimed nor there counts for nothing
        expected, _ = plain(OPS, y * there, wanted * there, weight)
    else:
        each = np.repeat(weight, wanted[0].size).reshape(shape)[there]
        expected, _ = plain(OPS, y[there][:, None], wanted[there][:, None], each)
    scale = there.sum() / 4 if reduction == "batch_mean" and not regions else 1.0
    assert float(value) == pytest.approx(float(expected) * scale, rel=1e-12)
    assert_close(dy, numeric_gradient(lambda: float(cost(OPS, y, wanted, weight)[0]), y), 1e-6)


class Own(Cost):
    """A cost that makes the mean itself."""

    def __call__(self, ops: Any, y: Any, target: Any) -> Any:
        return abs(y - target).mean(), ops.xp.sign(y - target) / y.size


def test_a_cost_that_makes_the_mean_itself_takes_neither_weights_nor_lengths() -> None:
    y = RNG.normal(size=(3, 2))
    assert Own().judged(OPS, y, y + 1).cost == pytest.approx(1.0)
    assert not Own(reduction="sum").sums
    for options in ({"weight": WEIGHT[:3]}, {"lengths": np.array([1, 1, 1])}):
        with pytest.raises(ArgumentError, match=r"need a cost that defines entries\(ops, y, target\), Own overrides"):
            Own().judged(OPS, y, y, **options)


def test_a_cost_of_whole_samples_takes_no_lengths() -> None:
    cost = CustomCost(lambda y, t: (y - t)[:, 0, 0], lambda y, t: 0 * y)
    with pytest.raises(ShapeError, match="takes samples as a whole and cannot leave out"):
        cost(OPS, np.zeros((2, 3, 1)), np.zeros((2, 3, 1)), None, np.array([1, 2]))


def test_wrong_reductions_and_labels_to_ignore_are_named() -> None:
    with pytest.raises(
        ArgumentError, match="MeanSquared reduction must be one of batch_mean, mean, sum, weighted_mean"
    ):
        MeanSquared(reduction="none")
    with pytest.raises(ArgumentError, match="CrossEntropy ignore_label must be a whole number"):
        CrossEntropy(ignore_label=0.5)  # type: ignore[arg-type]
