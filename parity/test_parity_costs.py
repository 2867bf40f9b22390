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
    CTC,
    SGD,
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalHinge,
    ConvolutionLayer,
    CosineDistance,
    Cost,
    CrossEntropy,
    CustomCost,
    Dice,
    Focal,
    GaussianNLL,
    Hinge,
    HingeEmbedding,
    Huber,
    KullbackLeibler,
    Layer,
    LogCosh,
    MeanAbsolute,
    MeanAbsolutePercentage,
    MeanSquared,
    MeanSquaredLogarithmic,
    MultiLabelMargin,
    MultiMargin,
    Network,
    Poisson,
    Quantile,
    Sigmoid,
    SmoothL1,
    SoftMax,
    SquaredHinge,
    Tversky,
    WeightedMean,
)
from gedanken.ops import Ops

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


def focal(gamma: float, weights: Any = None) -> Callable[[Tensor, Tensor], Tensor]:
    def cost(z: Tensor, t: Tensor) -> Tensor:
        log = F.log_softmax(z, dim=1).gather(1, t[:, None])[:, 0]
        w = 1.0 if weights is None else torch.tensor(weights, dtype=torch.float64)[t]
        return (-w * (1 - log.exp()) ** gamma * log).mean()

    return cost


def binary_focal(z: Tensor, t: Tensor) -> Tensor:
    p = torch.sigmoid(z)
    return -(0.25 * t * (1 - p) ** 2 * F.logsigmoid(z) + 0.75 * (1 - t) * p**2 * F.logsigmoid(-z)).mean()


def multi_label_margin(z: Tensor, t: Tensor) -> Tensor:
    numbers = torch.argsort(-t, dim=1, stable=True)  # PyTorch is told the numbers of the labels, ended by -1
    return F.multilabel_margin_loss(z, torch.where(torch.gather(t, 1, numbers) == 1, numbers, -1))


def categorical_hinge(z: Tensor, t: Tensor) -> Tensor:
    right = F.one_hot(t, CLASSES).bool()
    return F.relu(1 - z[right] + z.masked_fill(right, -torch.inf).max(dim=1).values).mean()


def pinball(z: Tensor, t: Tensor) -> Tensor:
    shares, e = torch.tensor(QUANTILES, dtype=torch.float64), t - z
    return torch.maximum(shares * e, (shares - 1) * e).mean()


def log_cosh(z: Tensor, t: Tensor) -> Tensor:
    return torch.log(torch.cosh(z - t)).sum(dim=1).mean()


LOG_COSH = CustomCost(lambda y, t: np.log(np.cosh(y - t)).sum(axis=1), lambda y, t: np.tanh(y - t))

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
W64 = torch.tensor(WEIGHTS, dtype=torch.float64)

ROWS = [
    *(
        Row(CrossEntropy(s, WEIGHTS, reduction="weighted_mean"), SoftMax(), NUMBERS, cross_entropy(s, WEIGHTS))
        for s in (0.0, 0.3)
    ),
    Row(
        CrossEntropy(0.2, WEIGHTS, ignore_label=2, reduction="weighted_mean"),
        SoftMax(),
        NUMBERS,
        lambda z, t: F.cross_entropy(z, t, W64, ignore_index=2, label_smoothing=0.2),
    ),
    Row(
        CrossEntropy(ignore_label=0),
        SoftMax(),
        NUMBERS,
        lambda z, t: F.cross_entropy(z, t, ignore_index=0),
    ),
    Row(
        CrossEntropy(0.0, WEIGHTS, reduction="sum"),
        SoftMax(),
        NUMBERS,
        lambda z, t: F.cross_entropy(z, t, W64, reduction="sum"),
    ),
    Row(
        BinaryCrossEntropy(class_weights=(2, 0.5)),
        Sigmoid(),
        YES_NO,
        lambda z, t: F.binary_cross_entropy_with_logits(z, t, 2 - 1.5 * t),
    ),
    Row(MeanSquared(reduction="sum"), None, VALUES, lambda z, t: F.mse_loss(z, t, reduction="sum")),
    Row(Focal(), SoftMax(), NUMBERS, focal(2.0)),
    Row(Focal(1.5, WEIGHTS), SoftMax(), NUMBERS, focal(1.5, WEIGHTS)),
    Row(BinaryFocal(class_weights=(0.75, 0.25)), Sigmoid(), DEGREES, binary_focal),
    Row(
        KullbackLeibler(),
        SoftMax(),
        SHARES,
        lambda z, t: F.kl_div(F.log_softmax(z, dim=1), t, reduction="batchmean"),
    ),
    Row(CosineDistance(), None, VALUES, lambda z, t: (1 - F.cosine_similarity(z, t)).mean()),
    Row(SquaredHinge(), None, YES_NO, lambda z, t: (F.relu(1 - (2 * t - 1) * z) ** 2).mean()),
    Row(HingeEmbedding(1.3), None, YES_NO, lambda z, t: F.hinge_embedding_loss(z, 2 * t - 1, 1.3)),
    Row(HingeEmbedding(0.3), None, YES_NO, lambda z, t: F.hinge_embedding_loss(z, 2 * t - 1, 0.3)),
    Row(MultiLabelMargin(), None, YES_NO, multi_label_margin),
    Row(CategoricalHinge(), None, NUMBERS, categorical_hinge),
    Row(MultiMargin(), None, NUMBERS, F.multi_margin_loss),
    Row(MultiMargin(0.0), None, NUMBERS, lambda y, t: F.multi_margin_loss(y, t, margin=0.0)),
    Row(MultiMargin(0.7, 2, WEIGHTS), None, NUMBERS, lambda z, t: F.multi_margin_loss(z, t, 2, 0.7, W64)),
    Row(Poisson(), None, abs(VALUES), F.poisson_nll_loss),
    Row(Poisson(full=True), None, abs(VALUES), lambda z, t: F.poisson_nll_loss(z, t, full=True)),
    Row(
        Poisson(log_input=False),
        Sigmoid(),
        abs(VALUES),
        lambda z, t: F.poisson_nll_loss(torch.sigmoid(z), t, log_input=False),
    ),
    Row(Quantile(QUANTILES), None, COLUMN, pinball),
    Row(LogCosh(), None, VALUES, lambda z, t: torch.log(torch.cosh(z - t)).mean()),
    Row(MeanAbsolutePercentage(0.2), None, VALUES, lambda z, t: ((z - t).abs() / t.abs().clamp(min=0.2)).mean()),
    Row(
        MeanSquaredLogarithmic(),
        None,
        abs(VALUES),
        lambda z, t: F.mse_loss(torch.log1p(z.clamp(min=0)), torch.log1p(t)),
    ),
    Row(SmoothL1(0.4), None, VALUES, lambda z, t: F.smooth_l1_loss(z, t, beta=0.4)),
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
    Row(CustomCost(lambda xp, y, t: xp.sum(xp.log(xp.cosh(y - t)), axis=1)), None, VALUES, log_cosh),
]


def label(row: Row) -> str:
    return f"{type(row.cost).__name__}"


def agree(row: Row, z: Any, folded: bool) -> None:
    """Compare cost and gradient by the scores z."""
    layers = [row.last] if row.last else []
    ours = Ours([gedanken.Sequential([]), *layers], z.shape[1:], row.cost if folded else None)
    cost = ours.plan.cost or row.cost
    joined = folded and isinstance(row.cost, (CrossEntropy, BinaryCrossEntropy))
    assert bool(ours.plan._passes.output_activation) == joined
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


@pytest.mark.parametrize("row", [r for r in ROWS if isinstance(r.cost, (CrossEntropy, BinaryCrossEntropy))], ids=label)
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


def dice(y: Tensor, t: Tensor) -> Tensor:
    """Return the mean over samples and classes; `t` is class numbers, 255 for what is left out."""
    there, one = (t != 255)[..., None], F.one_hot(torch.where(t == 255, 0, t), y.shape[-1])
    both, total = (y * one * there).sum((1, 2)), ((y + one) * there).sum((1, 2))
    return (1 - (2 * both + 1) / (total + 1)).mean()


def tversky(y: Tensor, t: Tensor) -> Tensor:
    """Return the mean over samples and classes of Salehi et al. 2017, equation 3, with s = 1."""
    one = F.one_hot(t, y.shape[-1])
    both, claimed, missed = ((u * v).sum((1, 2)) for u, v in ((y, one), (y, 1 - one), (1 - y, one)))
    return (1 - (both + 1) / (both + 0.3 * claimed + 0.7 * missed + 1)).mean()


def by_channel(cost: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return PyTorch's cost of probabilities (N, H, W, C)."""
    return lambda y, t: cost(torch.log(y).movedim(-1, 1), t)


MAPS = RNG.integers(0, CLASSES, (3, 4, 2))
HOLES = np.where(RNG.random(MAPS.shape) < 0.3, 255, MAPS)
SOFT = RNG.dirichlet(np.ones(CLASSES), MAPS.shape)
ANSWERED = np.where(RNG.random((*MAPS.shape, 1)) < 0.3, 255, RNG.integers(0, 2, (*MAPS.shape, 1)))


def of_answers(cost: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return PyTorch's cost, without its mean, of the answers that are not 255, of the first output of each place."""

    def mean(y: Tensor, t: Tensor) -> Tensor:
        there = t != 255
        return cost(y[there], t[there].double()).mean()

    return mean


def focal(y: Tensor, t: Tensor) -> Tensor:
    """Return Lin et al. 2017, equation 5, with alpha 1/4 and gamma 2."""
    right = torch.where(t == 1, y, 1 - y)
    return torch.where(t == 1, 0.25, 0.75) * (1 - right) ** 2 * -torch.log(right)


def dice_of_region(y: Tensor, t: Tensor) -> Tensor:
    """Return the mean over samples; `t` says where the region is, 255 what is left out."""
    there = t != 255
    both, total = (y * t * there).sum((1, 2, 3)), ((y + t) * there).sum((1, 2, 3))
    return (1 - (2 * both + 1) / (total + 1)).mean()


IGNORING: list[tuple[Cost, Callable[[Tensor, Tensor], Tensor]]] = [
    (
        BinaryCrossEntropy(class_weights=(0.5, 3), ignore_label=255),
        of_answers(lambda y, t: F.binary_cross_entropy(y, t, 0.5 + 2.5 * t, reduction="none")),
    ),
    (BinaryFocal(class_weights=(0.75, 0.25), ignore_label=255), of_answers(focal)),
    (Hinge(ignore_label=255), of_answers(lambda y, t: torch.relu(1 - (2 * t - 1) * y))),
    (Dice(ignore_label=255), dice_of_region),
]
PLACES: list[tuple[Cost, Any, Callable[[Tensor, Tensor], Tensor]]] = [
    (CrossEntropy(), MAPS, by_channel(F.cross_entropy)),
    (CrossEntropy(ignore_label=255), HOLES, by_channel(lambda z, t: F.cross_entropy(z, t, ignore_index=255))),
    (
        CrossEntropy(0.1, WEIGHTS, ignore_label=255, reduction="weighted_mean"), HOLES,
        by_channel(lambda z, t: F.cross_entropy(z, t, W64, ignore_index=255, label_smoothing=0.1)),
    ),
    (
        CrossEntropy(ignore_label=255, reduction="sum"), HOLES,
        by_channel(lambda z, t: F.cross_entropy(z, t, ignore_index=255, reduction="sum")),
    ),
    (CrossEntropy(), SOFT, by_channel(lambda z, t: F.cross_entropy(z, t.movedim(-1, 1)))),
    (Dice(), MAPS, dice),
    (Dice(ignore_label=255), HOLES, dice),
    (Tversky(0.3, 0.7), MAPS, tversky),
    *((cost, ANSWERED, theirs) for cost, theirs in IGNORING),
    (KullbackLeibler(), SOFT, by_channel(lambda z, t: F.kl_div(z, t.movedim(-1, 1), reduction="sum") / MAPS.size)),
]  # fmt: skip


@pytest.mark.parametrize(("cost", "target", "theirs"), PLACES, ids=lambda one: type(one).__name__)
def test_cost_of_places(cost: Cost, target: Any, theirs: Callable[[Tensor, Tensor], Tensor]) -> None:
    y = RNG.dirichlet(np.full(CLASSES, 4.0), MAPS.shape)
    y = y if target.shape != ANSWERED.shape else y[..., :1]
    value, dy = cost(Ops(dtype="float64"), y, target)
    there = torch.tensor(y, requires_grad=True)
    expected = theirs(there, torch.from_numpy(target))
    expected.backward()
    if isinstance(cost, CrossEntropy):  # PyTorch makes shares of scores once more, here of their own logarithms
        dy = dy - (y * dy).sum(axis=-1, keepdims=True)
    assert_agree({"cost": value, "y": dy}, {"cost": expected, "y": there.grad})


WEIGHED: list[tuple[Cost, Any, Callable[[Tensor, Tensor], Tensor]]] = [
    (
        CrossEntropy(ignore_label=255), HOLES,
        lambda y, t: -torch.log((y * F.one_hot(torch.where(t == 255, 0, t), CLASSES)).sum(-1)) * (t != 255),
    ),
    (MeanSquared(), SOFT, lambda y, t: ((y - t) ** 2)),
    (BinaryCrossEntropy(ignore_label=255), ANSWERED, lambda y, t: F.binary_cross_entropy(
        y, torch.where(t == 255, 0, t).double(), reduction="none") * (t != 255)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("cost", "target", "theirs"), WEIGHED, ids=lambda one: type(one).__name__)
def test_weights_of_places(cost: Cost, target: Any, theirs: Callable[[Tensor, Tensor], Tensor]) -> None:
    weight = RNG.uniform(0, 2, MAPS.shape)
    y = RNG.dirichlet(np.full(CLASSES, 4.0), MAPS.shape)
    y = y if target.shape != ANSWERED.shape else y[..., :1]
    value, dy = cost(Ops(dtype="float64"), y, target, weight)
    there, wanted, factor = torch.tensor(y, requires_grad=True), torch.from_numpy(target), torch.from_numpy(weight)
    costs = theirs(there, wanted)
    expected = (costs * factor.reshape(factor.shape + (1,) * (costs.ndim - 3))).sum() / (target != 255).sum()
    expected.backward()
    assert_agree({"cost": value, "y": dy}, {"cost": expected, "y": there.grad})


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("blank", "zero"), [(0, False), (2, True)], ids=["first", "zero infinity"])
def test_labels_without_alignment(blank: int, zero: bool, reduction: str) -> None:
    """Gradients by the scores; by their logarithms PyTorch's are those already."""
    labels, lengths = [[1, 3], [3, 3, 1], [], [1]], np.array([6, 5, 4, 1])
    if zero:
        labels[3] = [1, 1]  # which fits into three places or more
    y, cost = RNG.normal(size=(4, 6, 5)), CTC(blank, zero, reduction=reduction)
    target = np.array([[t, len(row), *row, *[blank] * (6 - len(row))] for t, row in zip(lengths, labels, strict=True)])
    value, dy = cost(Ops(dtype="float64"), y, cost.checked_target("labels", target, (6, 5)))
    there = torch.tensor(y, requires_grad=True)
    logs = F.log_softmax(there, dim=-1).transpose(0, 1)
    count = torch.tensor([*map(len, labels)])
    flat = torch.tensor([one for row in labels for one in row])
    expected = F.ctc_loss(logs, flat, torch.from_numpy(lengths), count, blank, reduction, zero)
    expected.backward()
    assert_agree({"cost": value, "y": dy}, {"cost": expected, "y": there.grad})


def test_gaussian_density() -> None:
    y, target = RNG.uniform(0.5, 2, (N, 4)), RNG.normal(size=(N, 2))
    value, dy = GaussianNLL(full=True)(Ops(dtype="float64"), y, target)
    there = torch.tensor(y, requires_grad=True)
    expected = F.gaussian_nll_loss(there[:, :2], torch.from_numpy(target), there[:, 2:], full=True)
    expected.backward()
    assert_agree({"cost": value, "y": dy}, {"cost": expected, "y": there.grad})


def test_every_public_cost_has_a_row() -> None:
    public = [getattr(gedanken, name) for name in gedanken.__all__]
    costs = {one for one in public if inspect.isclass(one) and issubclass(one, Cost) and not inspect.isabstract(one)}
    assert costs == {type(row.cost) for row in ROWS} | {type(cost) for cost, *_ in PLACES} | {CTC, GaussianNLL}
