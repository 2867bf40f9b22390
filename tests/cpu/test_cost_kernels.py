"""The kernels of costs by themselves: random shapes, threads, extreme outputs; and that none is missing."""

import itertools
import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from gedanken import (
    CTC,
    BinaryCrossEntropy,
    CategoricalHinge,
    ConvolutionLayer,
    Cost,
    CustomCost,
    Flatten,
    FullyConnectedLayer,
    GaussianNLL,
    Heads,
    KullbackLeibler,
    Layer,
    LogCosh,
    MeanSquared,
    MeanSquaredLogarithmic,
    MultiMargin,
    Network,
    Poisson,
    Sigmoid,
    SoftMax,
    Softplus,
)
from gedanken.costs import SigmoidBinaryCrossEntropy
from gedanken.costs.binary import YesOrNo
from gedanken.costs.labels import ClassCost
from gedanken.costs.likeness import Overlap
from gedanken.engine.cpu.engine import HOW, CpuEngine
from gedanken.engine.cpu.lowering.base import Lowering
from gedanken.engine.cpu.lowering.cost import entries_of, lower_cost
from gedanken.engine.cpu.lowering.lowered_cost import costs_of, total_cost
from gedanken.engine.cpu.lowering.products import products_of
from gedanken.engine.cpu.lowering.value_cost import VALUES
from gedanken.engine.cpu.program import Program
from gedanken.engine.fuse_cost import fuse_cost
from gedanken.layers.containers import placed
from gedanken.ops import Ops
from gedanken.types import Array, Shape
from tests.cases import COSTS as ROWS
from tests.cases import CostCase, name_of
from tests.cpu.agree import TOLERANCE, distance
from tests.cpu.test_costs_agree import COSTS, Case, alignable, shown, targets

every_cost = pytest.mark.parametrize("case", COSTS, ids=shown)


class Found(NamedTuple):
    """What a program gives: the cost of each row, of all of them, and the gradient."""

    rows: Array
    cost: Any
    dy: Array


def by_kernel(
    cost: Cost, y: Array, target: Array, weight: Array | None = None, lengths: Array | None = None, threads: int = 1
) -> Found:
    """Return what the program of a cost alone gives for outputs, channels last."""
    engine = CpuEngine("", str(y.dtype), threads=threads)
    program = Program(engine.library, engine.pool)
    z = program.input(y.shape)
    to = lower_cost(Lowering(program, len(y), True, 0, products_of(engine.library)), cost, z)
    program.cut()
    program.keep(to.dz)
    program.keep(to.terms)
    program.complete()
    weighing = cost.weighing(engine.ops, entries_of(cost, y.shape), target, weight, lengths)
    z.point_to(y)
    held = to.point_to(target, weighing, y.dtype)
    program.run(0)
    del held
    engine.close()
    terms = program.array(to.terms)
    return Found(costs_of(terms), total_cost(terms, weighing.divisor), program.array(to.dz))


def fused(case: Case) -> Cost:
    """Return the cost that contains the activation before it, or itself."""
    return fuse_cost(placed([case.last], (3,)), case.cost)[0] if case.last else case.cost


def outputs_of(cost: Cost) -> int:
    """Return how many outputs a cost takes, 0 where that is free."""
    if isinstance(cost, YesOrNo) and cost.ignore_label is not None:
        return 1
    given = [getattr(cost, name, None) for name in ("class_weights", "pos_weight", "quantiles")]
    return 3 if any(isinstance(one, tuple) for one in given) else 0


def random_shape(cost: Cost, rng: Any, most: int) -> tuple[Shape, bool]:
    """Return a shape of outputs, (N, F), (N, T, F) or (N, H, W, F), and whether samples may have lengths."""
    samples, size = int(rng.integers(1, most)), outputs_of(cost) or 2 * int(rng.integers(1, most))
    if isinstance(cost, CTC):
        return (samples, int(rng.integers(1, most)), max(2, size // 2)), False
    if isinstance(cost, GaussianNLL) or isinstance(getattr(cost, "quantiles", None), tuple):
        return (samples, size), False
    if isinstance(cost, YesOrNo) and rng.random() < 0.3:
        return (samples, *rng.integers(1, 9, 2).tolist(), size), False
    if isinstance(cost, Overlap) or rng.random() < 0.5:
        return (samples, int(rng.integers(2, most)), size), not isinstance(cost, Overlap)
    return (samples, size), False


def drawn(case: Case, rng: Any, dtype: str, most: int = 90) -> tuple[Cost, Array, Array, Array | None, Array | None]:
    """Return the cost, outputs of a random shape, targets, weights and lengths."""
    cost = fused(case)
    shape, may_have_lengths = random_shape(cost, rng, most)
    y = rng.random(shape) if case.last and cost is case.cost else rng.normal(size=shape)
    weight = rng.integers(0, 3, shape[0]) * rng.random(shape[0]) if rng.random() < 0.5 else None
    lengths = rng.integers(1, shape[1] + 1, shape[0]) if may_have_lengths else None
    if isinstance(cost, CTC):
        return cost, y.astype(dtype), alignable(cost, rng, shape), weight, None
    hard = bool(rng.random() < 0.5)
    flat = targets(cost, rng, (math.prod(shape[:-1]), shape[-1]), hard)
    target = flat.reshape(*shape[:-1], *flat.shape[1:])
    return cost, y.astype(dtype), target, weight, lengths


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_cost
def test_random_shapes(case: Case, dtype: str) -> None:
    rng = np.random.default_rng(len(shown(case)))
    for _ in range(6):
        cost, *given = drawn(case, rng, dtype)
        expected, got = cost.judged(Ops(dtype=dtype), *given), by_kernel(cost, *given)
        where = f"{given[0].shape}, targets {given[1].shape}"
        assert distance(np.array([expected.cost]), np.array([got.cost])) < TOLERANCE[dtype], where
        assert distance(expected.dy, got.dy) < TOLERANCE[dtype], where


@every_cost
def test_threads_do_not_change_a_bit(case: Case) -> None:
    cost, *given = drawn(case, np.random.default_rng(3), "float32")
    one, *others = (by_kernel(cost, *given, threads=threads) for threads in (1, 2, 3))
    for other in others:
        assert other.cost == one.cost
        np.testing.assert_array_equal(other.dy, one.dy)


@every_cost
def test_kernels_keep_to_their_memory(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as Python, which checks every bound."""
    monkeypatch.setenv(HOW, "python")
    cost, *given = drawn(case, np.random.default_rng(8), "float32", most=6)
    expected, got = cost.judged(Ops(), *given), by_kernel(cost, *given)
    assert distance(expected.dy, got.dy) < TOLERANCE["float32"]
    assert distance(np.array([expected.cost]), np.array([got.cost])) < TOLERANCE["float32"]


@pytest.mark.parametrize("told", [[3, 1, 3], [3, 1, -1], [4, 1, 1], [3, 4, 1], [0, 0, 0], [3, -1, 0]], ids=str)
def test_labels_to_align_are_no_place_in_memory(told: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.random.default_rng(0).normal(size=(2, 3, 3))
    target = np.array([[3, 1, 2, 0, 0], [*told, 0, 0]])
    for how in ("python", ""):
        monkeypatch.setenv(HOW, how)
        got = by_kernel(CTC(zero_infinity=True), y, target)
        assert got.rows[0] > 0
        assert got.rows[1] == 0
        assert not got.dy[1].any()


@pytest.mark.parametrize(("places", "count", "spread"), [(1000, 950, 1), (1000, 10, 1), (500, 200, 20), (500, 1, 0)])
def test_long_alignments_keep_their_digits(places: int, count: int, spread: float) -> None:
    """Of most states, which labels that nearly fill the places leave no way to, the likeliest is far from the rest."""
    rng = np.random.default_rng(0)
    y = spread * rng.normal(size=(1, places, 30)).astype("float32")
    target = np.zeros((1, 2 + places), np.int32)
    target[0, : 2 + count] = [places, count, *(1 + np.arange(count) % 29)]
    cost = CTC(reduction="sum")
    expected, got = cost.judged(Ops(dtype="float64"), y.astype("float64"), target), by_kernel(cost, y, target)
    np.testing.assert_allclose(got.dy, expected.dy, rtol=0, atol=1e-5)
    assert float(got.cost) == pytest.approx(float(expected.cost), rel=1e-6)


@pytest.mark.parametrize("cost", [MultiMargin(), CategoricalHinge()], ids=str)
def test_a_label_of_no_class_is_no_place_in_memory(cost: Cost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are checked before, but who gave them may write into them later."""
    y, labels = np.random.default_rng(0).normal(size=(4, 3)), np.array([1, 3, -1, 1 << 40])
    for how in ("python", ""):
        monkeypatch.setenv(HOW, how)
        got = by_kernel(cost, y, labels)
        assert got.rows[0] > 0
        assert not got.rows[1:].any()
        assert not got.dy[1:].any()


SHARES = (0.0, 1e-38, 1e-30, 1e-7, 0.25, 0.999, 1.0)
SCORES = (0.0, 1e-3, -0.02, 1.0, -2.5, 20.0, 88.5, -88.5, 1e4, -1e4)


def extremes(case: Case, cost: Cost, rng: Any) -> tuple[Array, Array]:
    """Return outputs at the ends of their range, of rows each with each other, and targets."""
    values = SHARES if (case.last and cost is case.cost) or isinstance(cost, Overlap) else SCORES
    if isinstance(cost, Poisson) and not cost.log_input:
        values = (*SHARES, -1.0, 3.0, 1e4, 1e30)
    if isinstance(cost, GaussianNLL):
        return np.array([*itertools.product(SCORES, (*SHARES, -1.0, 1e4))]), rng.normal(size=(90, 1))
    values = values if isinstance(cost, Overlap) else (*values, np.nan)
    values = (*values, np.inf, -np.inf) if cost.takes_scores else values
    if type(cost) in VALUES:
        y = np.repeat(np.resize(values, (5 * len(values), 1)), outputs_of(cost) or 1, axis=1)
        return y, targets(cost, rng, y.shape, hard=True)
    y = np.array([*itertools.product(values, repeat=3)])
    if isinstance(cost, CTC):
        return y[:, None], alignable(cost, rng, (len(y), 1, 3))
    if isinstance(cost, Overlap):
        return y[None], rng.integers(0, 2, (1, len(y)))
    return y, targets(cost, rng, y.shape, hard=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_cost
def test_extreme_outputs(case: Case, dtype: str) -> None:
    cost = replace(fused(case), reduction="sum")
    y, target = extremes(case, cost, np.random.default_rng(5))
    y, ops, near = y.astype(dtype), Ops(dtype=dtype), 2 * TOLERANCE[dtype]
    with np.errstate(all="ignore"):
        costs, slopes = cost.entries(ops, y, target)
        counted = cost.counted(ops, costs.shape, target)
    if counted is not None:
        counted = counted.reshape(-1, 1)
        costs, slopes = np.where(counted.reshape(costs.shape), costs, 0), np.where(counted, slopes, 0)
    got = by_kernel(cost, y, target)
    # What is subnormal is 0 to kernels. Sums of a row are as exact as their terms.
    apart = 1e-37 if type(cost) in VALUES else near
    np.testing.assert_allclose(got.rows, costs.reshape(len(y), -1).sum(axis=1), rtol=near, atol=apart)
    finite = np.isfinite(slopes)
    size = np.where(finite, abs(slopes), 0)
    size = size if type(cost) in VALUES else size.max(axis=-1, keepdims=True) + 0 * size
    least = near if isinstance(cost, Poisson) else 1e-37  # what little two numbers differ by has fewer digits
    assert (abs(got.dy[finite] - slopes[finite]) <= near * size[finite] + least).all()
    np.testing.assert_array_equal(got.dy[~finite], slopes[~finite])


def test_small_differences_keep_their_digits() -> None:
    """Costs near 0, each by itself, where a formula might lose all."""
    for dtype in ("float32", "float64"):
        y = np.array([[10.0**-power] for power in range(1, 15)], dtype)
        for cost, target in (
            (LogCosh(), 0 * y),
            (MeanSquaredLogarithmic(), 0 * y),
            (BinaryCrossEntropy(), 1 + 0 * y),
            (SigmoidBinaryCrossEntropy(), 1 + 0 * y),
        ):
            costs, slopes = cost.entries(Ops(dtype=dtype), y, target)
            got = by_kernel(replace(cost, reduction="sum"), y, target)
            np.testing.assert_allclose(got.rows, costs[:, 0], rtol=TOLERANCE[dtype], atol=1e-37)
            np.testing.assert_allclose(got.dy, slopes, rtol=TOLERANCE[dtype])


def layers_for(cost: Cost, shape: Shape) -> list[Layer]:
    """Return layers that turn samples of a shape, channels first, into outputs of this shape that suit a cost."""
    if isinstance(cost, GaussianNLL) or (isinstance(cost, Poisson) and not cost.log_input):
        return [FullyConnectedLayer(shape[-1]), Softplus()]
    body = ConvolutionLayer(shape[0], 1, 1) if len(shape) == 3 else FullyConnectedLayer(shape[-1])
    if isinstance(cost, (ClassCost, KullbackLeibler)) and not cost.takes_scores:
        return [body, SoftMax()]
    return [body, Sigmoid()] if isinstance(cost, YesOrNo) and not cost.takes_scores else [body]


@pytest.mark.parametrize("heads", [False, True], ids=["alone", "of a head"])
@pytest.mark.parametrize("case", [row for row in ROWS if not isinstance(row.cost, CustomCost)], ids=name_of)
def test_a_step_is_one_program(case: CostCase, heads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every public cost has a row there, see tests/contracts: a new one without a kernel fails here."""
    y, target = (np.moveaxis(one, -1, 1) if one.ndim == 4 else one for one in case.draw(np.random.default_rng(0), 6))
    net, layers, labels = Network(seed=0).input(y.shape[1:]), layers_for(case.cost, y.shape[1:]), target
    cost: Any = case.cost
    if isinstance(cost, CTC):
        labels = [row[2 : 2 + row[1]].tolist() for row in target]
    if heads:
        net.add(Heads(one=layers, two=[Flatten(), FullyConnectedLayer(1)]))
        labels, cost = {"one": labels, "two": np.ones((6, 1))}, {"one": cost, "two": "log_cosh"}
    else:
        for layer in layers:
            net.add(layer)
    net.regression(cost=cost, engine="cpu")
    monkeypatch.setattr(Cost, "judged", None)  # the way of all costs through their specification
    assert net.summary().fallbacks == ()
    assert np.isfinite(net.fit(y, labels, epochs=1, mini_batch_size=4, progress=False)["cost"][0])


def own(y: Array, t: Array) -> Array:
    return ((y - t) ** 2).sum(axis=1)


def own_slope(y: Array, t: Array) -> Array:
    return 2 * (y - t)


class Squared(MeanSquared):
    """A cost of a user's own, which may compute anything else."""


def test_costs_of_a_users_own_are_named_in_the_summary() -> None:
    net = Network().input((3,)).add(FullyConnectedLayer(2)).regression(cost=CustomCost(own, own_slope), engine="cpu")
    assert net.summary().fallbacks == ("cost CustomCost (no kernel)",)
    assert "by specification: cost CustomCost (no kernel)" in str(net.summary())
    heads = Heads(one=[FullyConnectedLayer(2)], two=[FullyConnectedLayer(1)])
    several = Network().input((3,)).add(heads).regression(cost={"one": Squared(), "two": "huber"}, engine="cpu")
    assert several.summary().fallbacks == ("cost Squared of head 'one' (no kernel)",)
    plain = Network().input((3,)).add(FullyConnectedLayer(2)).regression(cost=Squared(), engine="numpy")
    assert plain.summary().fallbacks == ()
