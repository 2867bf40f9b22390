"""What holds for every cost, checked on every row of the table."""

from typing import Any

import numpy as np
import pytest

import gedanken
from gedanken import ArgumentError, BinaryCrossEntropy, Cost, CrossEntropy, CustomCost, DataError, Network
from gedanken.costs import COSTS as NAMED
from gedanken.costs import SigmoidBinaryCrossEntropy, SoftMaxCrossEntropy
from gedanken.engine.fuse_cost import fuse_cost
from gedanken.io.architecture import known_classes
from gedanken.io.data import from_data, to_data
from gedanken.layers import Branches, FullyConnectedLayer, Layer, ReLU, Sequential, Sigmoid, SoftMax
from gedanken.layers.containers import placed
from gedanken.named import as_cost
from gedanken.ops import Ops
from gedanken.types import Array
from tests.cases import COSTS, FUNCTIONS, CostCase, name_of, public_kinds
from tests.contracts.test_every_layer import assert_close, numeric_gradient
from tests.standin_cupy import StandInCupy

every_cost = pytest.mark.parametrize("case", COSTS, ids=name_of)
OPS = Ops(dtype="float64")


def fused(layers: list[Layer], cost: Cost) -> tuple[Cost, bool]:
    return fuse_cost(placed(layers, (4,)), cost)


def drawn(case: CostCase, samples: int, seed: int = 0) -> tuple[Array, Array]:
    return case.draw(np.random.default_rng(seed), samples)


@every_cost
@pytest.mark.parametrize("samples", [1, 4])
def test_gradient_agrees_with_finite_differences(case: CostCase, samples: int) -> None:
    y, target = drawn(case, samples)
    _, dy = case.cost(OPS, y, target)
    assert_close(dy, numeric_gradient(lambda: float(case.cost(OPS, y, target)[0]), y), 1e-6)


@every_cost
def test_the_mean_is_taken_once(case: CostCase) -> None:
    y, target = drawn(case, 5)
    cost, dy = case.cost(OPS, y, target)
    twice, dy_twice = case.cost(OPS, np.concatenate([y, y]), np.concatenate([target, target]))
    assert twice == pytest.approx(cost, rel=1e-12)
    np.testing.assert_allclose(dy_twice, np.concatenate([dy, dy]) / 2, rtol=1e-12)


@every_cost
def test_type_is_kept_and_nothing_is_changed(case: CostCase) -> None:
    y, target = drawn(case, 3)
    y32, kept = y.astype("float32"), target.copy()
    cost, dy = case.cost(Ops(), y32, target.astype("float32") if isinstance(case.cost, CustomCost) else target)
    assert (cost.dtype, dy.dtype) == ("float32", "float32")
    np.testing.assert_array_equal(y32, y.astype("float32"))
    np.testing.assert_array_equal(target, kept)


def assert_same_on(device: Ops, case: CostCase, tolerance: float) -> None:
    y, target = drawn(case, 3)
    cost, dy = case.cost(device, device.asarray(y), device.asarray(target, target.dtype))
    expected, expected_dy = case.cost(OPS, y, target)
    assert float(cost) == pytest.approx(float(expected), rel=tolerance)
    np.testing.assert_allclose(device.to_host(dy), expected_dy, rtol=tolerance)


@every_cost
def test_on_cupy_arrays_it_gives_the_same(case: CostCase, standin_cupy: StandInCupy) -> None:
    assert_same_on(Ops(standin_cupy, "float64"), case, tolerance=1e-12)


@every_cost
def test_as_data_it_is_the_same_cost(case: CostCase) -> None:
    if isinstance(case.cost, CustomCost) and case.cost.function not in FUNCTIONS:
        with pytest.raises(ArgumentError, match=r"cannot be saved: .*functions with a name are data; use def"):
            to_data(case.cost)
    else:
        assert from_data(to_data(case.cost), known_classes(FUNCTIONS)) == case.cost


def test_every_public_cost_has_a_row() -> None:
    public = public_kinds(Cost)
    assert public - {Cost} == {type(case.cost) for case in COSTS}
    assert set(NAMED.values()) == public - {Cost, CustomCost}


FOLDED = [
    (SoftMax(), CrossEntropy(), SoftMaxCrossEntropy, COSTS[0]),
    (SoftMax(), CrossEntropy(label_smoothing=0.2), SoftMaxCrossEntropy, COSTS[1]),
    (SoftMax(), CrossEntropy(class_weights=(1, 2, 0.5, 3)), SoftMaxCrossEntropy, COSTS[2]),
    (Sigmoid(), BinaryCrossEntropy(), SigmoidBinaryCrossEntropy, COSTS[3]),
    (Sigmoid(), BinaryCrossEntropy([0.5, 1, 3]), SigmoidBinaryCrossEntropy, COSTS[3]),
]
FOLDED_IDS = ["plain", "smoothed", "weighted", "binary", "binary, weighted"]


@pytest.mark.parametrize(("layer", "cost", "kind", "case"), FOLDED, ids=FOLDED_IDS)
def test_folded_it_is_the_layer_and_the_cost(layer: SoftMax, cost: Cost, kind: type, case: CostCase) -> None:
    both, one = fused([layer], cost)
    assert one
    assert type(both) is kind
    z, target = np.random.default_rng(1).normal(size=(5, 4)), drawn(case, 5)[1]
    z = z[:, : target.shape[1]] if target.ndim == 2 else z
    ctx = gedanken.Context(OPS)
    y, cache = layer.forward(ctx, {}, {}, z)
    expected, dy = cost(OPS, y, target)
    got, dz = both(OPS, z, target)
    assert got == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dz, layer.backward(ctx, {}, {}, cache, dy), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(("layer", "cost", "kind", "case"), FOLDED, ids=FOLDED_IDS)
def test_folded_it_bears_any_score(layer: SoftMax, cost: Cost, kind: type, case: CostCase) -> None:
    both, _ = fused([layer], cost)
    target = drawn(case, 2)[1]
    scores = np.array([[1e4, -1e4, 0, 1], [-1e4, -1e4, -1e4, 1e4]])
    scores = scores[:, : target.shape[1]] if target.ndim == 2 else scores
    value, dz = both(OPS, scores, target)
    assert np.isfinite(value)
    assert np.isfinite(dz).all()


@pytest.mark.parametrize(
    ("last", "cost", "fix"),
    [
        (FullyConnectedLayer(4), CrossEntropy(), "add SoftMax()"),
        (ReLU(), CrossEntropy(), "add SoftMax()"),
        (FullyConnectedLayer(4), BinaryCrossEntropy(), "add Sigmoid()"),
    ],
    ids=repr,
)
def test_scores_are_not_taken_for_probabilities(last: gedanken.Layer, cost: Cost, fix: str) -> None:
    with pytest.raises(ArgumentError, match="needs probabilities") as error:
        fused([last], cost)
    assert str(error.value).endswith(fix)


def test_a_layer_that_may_give_probabilities_is_left_alone() -> None:
    assert fused([Branches(SoftMax(), SoftMax())], CrossEntropy()) == (CrossEntropy(), False)
    assert fused([Sigmoid()], CrossEntropy()) == (CrossEntropy(), False)


@pytest.mark.parametrize(
    ("y", "target", "cost", "expected"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], [1, 0], CrossEntropy(), -(np.log(0.8) + np.log(0.5)) / 2),
        ([[0.2, 0.8], [0.5, 0.5]], [1, 0], CrossEntropy(class_weights=(3, 1)), -(np.log(0.8) + 3 * np.log(0.5)) / 2),
        ([[0.2, 0.8]], [1], CrossEntropy(label_smoothing=0.5), -0.75 * np.log(0.8) - 0.25 * np.log(0.2)),
        ([[0.2]], [[1.0]], BinaryCrossEntropy(), -np.log(0.2)),
        ([[0.2, 0.3]], [[1.0, 0.0]], BinaryCrossEntropy(pos_weight=19), -(19 * np.log(0.2) + np.log(0.7)) / 2),
        ([[0.2, 0.3]], [[1.0, 1.0]], BinaryCrossEntropy([2, 5]), -(2 * np.log(0.2) + 5 * np.log(0.3)) / 2),
        ([[1.0, 2.0]], [[0.0, 4.0]], gedanken.MeanSquared(), 2.5),
        ([[1.0, 2.0]], [[0.0, 4.0]], gedanken.MeanAbsolute(), 1.5),
        ([[1.0, 2.0]], [[0.5, 5.0]], gedanken.Huber(1.0), (0.125 + 2.5) / 2),
    ],
)
def test_known_values(y: list[list[float]], target: list[int], cost: Cost, expected: float) -> None:
    assert float(cost(OPS, np.array(y), np.array(target))[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BinaryCrossEntropy(pos_weight=0), "BinaryCrossEntropy pos_weight must be a number in (0, inf), got 0"),
        (lambda: BinaryCrossEntropy(pos_weight=[1, -1]), "BinaryCrossEntropy pos_weight must be a number in (0, inf)"),
        (lambda: BinaryCrossEntropy(pos_weight=[]), "BinaryCrossEntropy pos_weight must be a number, or one for each"),
        (lambda: BinaryCrossEntropy([1, 2]).check_output((3,)), "pos_weight has 2 values for 3 outputs, of shape (3,)"),
        (lambda: BinaryCrossEntropy([1, 2]).check_output((3, 2, 2)), "pos_weight has 2 values for 3 outputs"),
    ],
)
def test_wrong_weights_are_named(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value).startswith(message)


def test_a_user_cost_of_the_wrong_shape_is_named() -> None:
    cost = CustomCost(lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t))
    net = Network().input((2,)).add(FullyConnectedLayer(2)).regression(cost=cost)
    with pytest.raises(gedanken.ShapeError, match=r"CustomCost must give costs of shape \(1,\)"):
        net.fit(np.zeros((3, 2)), np.zeros((3, 2)), progress=False)


def test_names_and_objects_become_costs() -> None:
    assert {name: type(as_cost(name)) for name in NAMED} == NAMED
    with pytest.raises(ArgumentError, match="did you mean 'cross_entropy'"):
        as_cost("cros_entropy")
    with pytest.raises(ArgumentError, match="wrap your own functions in CustomCost"):
        as_cost(max)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cost", "target", "message"),
    [
        (CrossEntropy(), [0, 1, 4], "labels must be class numbers from 0 to 3, got 4 in row 2"),
        (CrossEntropy(), [0, -1, 3], "labels must be class numbers from 0 to 3, got -1 in row 1"),
        (CrossEntropy(), [0, 0.5, 3], "labels must be class numbers from 0 to 3, got 0.5 in row 1"),
        (
            CrossEntropy(),
            [[0.5] * 4],
            "labels must be one-hot, or probabilities that sum to 1, got [0.5, 0.5, 0.5, 0.5]",
        ),
        (CrossEntropy(), [[1.0, 0, 0]], "labels must be class numbers (N,) or one-hot rows (N, 4), got shape (1, 3)"),
        (BinaryCrossEntropy(), [[0, 1, 2, 0.5]], "labels must lie in [0, 1], got 2.0 at index (0, 2)"),
        (gedanken.MeanSquared(), [[1.0, 2.0]], "labels must have shape (N, 4), got (1, 2)"),
    ],
    ids=repr,
)
def test_wrong_targets_are_named(cost: Cost, target: list[float], message: str) -> None:
    with pytest.raises(DataError) as error:
        cost.checked_target("labels", np.array(target), (4,))
    assert str(error.value).startswith(message)


def test_a_softmax_at_the_end_of_a_chain_is_folded_too() -> None:
    both, one = fused([FullyConnectedLayer(4), Sequential([ReLU(), SoftMax()])], CrossEntropy())
    assert (type(both), one) == (SoftMaxCrossEntropy, True)


def test_a_softmax_of_the_users_own_is_not() -> None:
    class Sharp(SoftMax):
        pass

    assert fused([Sharp()], CrossEntropy()) == (CrossEntropy(), False)


@every_cost
def test_one_result_however_arrays_lie_in_memory(case: CostCase) -> None:
    y, target = drawn(case, 6)
    expected, expected_dy = case.cost(OPS, y, target)
    for other in (np.asfortranarray(y), np.repeat(y, 2, axis=0)[::2]):
        cost, dy = case.cost(OPS, other, np.repeat(target, 2, axis=0)[::2])
        assert cost == expected
        np.testing.assert_array_equal(dy, expected_dy)


@pytest.mark.gpu
@every_cost
def test_on_a_gpu_it_gives_the_same(case: CostCase, gpu: Any) -> None:
    assert_same_on(Ops(gpu, "float64"), case, tolerance=1e-10)
