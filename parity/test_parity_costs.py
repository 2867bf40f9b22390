"""Every cost against PyTorch: value and gradient, behind the last layer that the plan folds into it and alone."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import ENGINE, Ours, assert_agree
from torch import Tensor

import gedanken
from gedanken import (
    SGD,
    BinaryCrossEntropy,
    ConvolutionLayer,
    Cost,
    CrossEntropy,
    CustomCost,
    Hinge,
    Huber,
    Layer,
    MeanAbsolute,
    MeanSquared,
    Network,
    Sigmoid,
    SoftMax,
    WeightedMean,
)

N, CLASSES = 7, 5
WEIGHTS = (0.5, 2.0, 1.0, 0.0, 3.5)
RNG = np.random.default_rng(11)
NUMBERS = np.array([0, 4, 2, 2, 1, 3, 0])
ONE_HOT = np.eye(CLASSES)[NUMBERS]
SHARES = RNG.dirichlet(np.ones(CLASSES), N)
YES_NO = RNG.integers(0, 2, (N, CLASSES)) * 1.0
DEGREES = RNG.uniform(0, 1, (N, CLASSES))
VALUES = RNG.integers(-3, 4, (N, CLASSES)) * 1.0
COLUMN = RNG.normal(0, 1, N)


class Row(NamedTuple):
    """A cost, the layer before it, targets, and PyTorch's cost of the scores that the layer is given."""

    cost: Cost
    last: Layer | None
    target: Any
    theirs: Callable[[Tensor, Tensor], Tensor]


def cross_entropy(smoothing: float = 0.0, weights: Any = None) -> Callable[[Tensor, Tensor], Tensor]:
    w = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    return lambda z, t: F.cross_entropy(z, t, w, label_smoothing=smoothing)


def weighted_numbers(smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    # PyTorch divides by N where targets are shares, by the sum of weights where they are class numbers.
    # Gedanken always divides by N, so one-hot rows and class numbers mean the same.
    total = cross_entropy(smoothing, WEIGHTS)
    return lambda z, t: total(z, F.one_hot(t, CLASSES).to(torch.float64))


def log_cosh(z: Tensor, t: Tensor) -> Tensor:
    return torch.log(torch.cosh(z - t)).sum(dim=1).mean()


LOG_COSH = CustomCost(lambda y, t: np.log(np.cosh(y - t)).sum(axis=1), lambda y, t: np.tanh(y - t))

ROWS = [
    *(Row(CrossEntropy(), SoftMax(), target, cross_entropy()) for target in (NUMBERS, ONE_HOT, SHARES)),
    *(Row(CrossEntropy(0.3), SoftMax(), target, cross_entropy(0.3)) for target in (NUMBERS, ONE_HOT, SHARES)),
    Row(CrossEntropy(0.0, WEIGHTS), SoftMax(), NUMBERS, weighted_numbers(0.0)),
    Row(CrossEntropy(0.3, WEIGHTS), SoftMax(), NUMBERS, weighted_numbers(0.3)),
    Row(CrossEntropy(0.0, WEIGHTS), SoftMax(), ONE_HOT, cross_entropy(0.0, WEIGHTS)),
    Row(CrossEntropy(0.0, WEIGHTS), SoftMax(), SHARES, cross_entropy(0.0, WEIGHTS)),
    *(Row(BinaryCrossEntropy(), Sigmoid(), target, F.binary_cross_entropy_with_logits) for target in (YES_NO, DEGREES)),
    Row(MeanSquared(), None, VALUES, F.mse_loss),
    Row(MeanAbsolute(), None, VALUES, F.l1_loss),
    Row(Huber(), None, VALUES, F.huber_loss),
    Row(Huber(0.4), None, VALUES, lambda z, t: F.huber_loss(z, t, delta=0.4)),
    Row(Hinge(), None, YES_NO, lambda z, t: F.relu(1 - (2 * t - 1) * z).mean()),
    Row(WeightedMean(), None, VALUES, lambda z, t: (z * t).mean()),
    Row(LOG_COSH, None, VALUES, log_cosh),
]


def label(row: Row) -> str:
    return f"{type(row.cost).__name__}"


def agree(row: Row, z: Any, folded: bool) -> None:
    """Compare cost and gradient by the scores z."""
    layers = [row.last] if row.last else []
    ours = Ours([gedanken.Sequential([]), *layers], z.shape[1:], row.cost if folded else None)
    cost = ours.plan.cost or row.cost
    assert bool(ours.plan.output_activation) == (folded and row.last is not None)
    target = row.cost.checked_target("labels", row.target, z.shape[1:])
    y, tape = ours.plan.forward(ours.plan.context(train=True), z)
    value, dy = cost(ours.plan.ops, y, ours.plan.ops.asarray(target, target.dtype))
    ours.plan.backward(ours.plan.context(train=True), tape, dy)
    scores = torch.tensor(z, requires_grad=True)
    there = row.theirs(scores, torch.from_numpy(row.target).reshape(target.shape))
    there.backward()
    assert_agree({"cost": value, "z": ours.probe.seen.pop()}, {"cost": there, "z": scores.grad})


@pytest.mark.parametrize("folded", [True, False], ids=["folded", "alone"])
@pytest.mark.parametrize("row", ROWS, ids=label)
def test_cost(row: Row, folded: bool) -> None:
    # Halves meet the corners of the piecewise costs: differences of 0 and of delta.
    agree(row, np.random.default_rng(2).integers(-4, 5, (N, CLASSES)) / 2, folded)


@pytest.mark.parametrize("row", [row for row in ROWS if row.last], ids=label)
def test_folded_cost_of_huge_scores(row: Row) -> None:
    agree(row, np.random.default_rng(2).normal(0, 1, (N, CLASSES)) * 1000, folded=True)


@pytest.mark.parametrize(
    ("cost", "theirs"), [(MeanSquared(), F.mse_loss), (MeanAbsolute(), F.l1_loss), (Huber(), F.huber_loss)], ids=repr
)
def test_a_column_takes_flat_targets(cost: Cost, theirs: Any) -> None:
    agree(Row(cost, None, COLUMN, theirs), np.random.default_rng(2).normal(0, 2, (N, 1)), folded=False)


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 5, 4)], ids=str)
def test_cost_of_images(shape: tuple[int, int, int]) -> None:
    x, target = np.random.default_rng(2).normal(0, 1, (2, 6, *shape))
    net = Network().input(shape).add(ConvolutionLayer(shape[0], 3, 3, zero_padding="same"))
    net.regression(SGD(), cost="mean_squared", engine=ENGINE, dtype="float64")
    there = F.mse_loss(torch.from_numpy(net.feedforward(x)), torch.from_numpy(target))
    assert_agree({"cost": net.evaluate(x, target, progress=False)["cost"]}, {"cost": there})


def test_every_public_cost_has_a_row() -> None:
    public = [getattr(gedanken, name) for name in gedanken.__all__]
    costs = {one for one in public if inspect.isclass(one) and issubclass(one, Cost) and not inspect.isabstract(one)}
    assert costs == {type(row.cost) for row in ROWS}
