"""Costs and their slopes are numbers wherever the true ones are, in both number types and on both engines."""

from typing import Any

import numpy as np
import pytest

from gedanken import (
    AdaptiveAveragePoolLayer,
    AdaptiveMaxPoolLayer,
    AveragePoolLayer,
    BinaryCrossEntropy,
    Branches,
    Context,
    CroppingLayer,
    CrossEntropy,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    GlobalAveragePoolLayer,
    GlobalMaxPoolLayer,
    Layer,
    LeakyReLU,
    MaxPoolLayer,
    Network,
    PaddingLayer,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    SoftMax,
)
from gedanken.costs import SigmoidBinaryCrossEntropy, SoftMaxCrossEntropy
from gedanken.engine.select import select_engine

INF, NAN = float("inf"), float("nan")
everywhere = pytest.mark.parametrize(
    ("engine", "dtype"), [(engine, dtype) for engine in ("numpy", "cpu") for dtype in ("float32", "float64")]
)


def softplus(x: float) -> float:
    return max(x, 0.0) + float(np.log1p(np.exp(-abs(x))))


# Scores of a sample, its class, the cost, and the slopes.
CLASSES: list[tuple[list[float], int, float, list[float]]] = [
    ([2e38, -2e38], 0, 0.0, [0.0, 0.0]),
    ([1e38, -1e38], 1, 2e38, [1.0, -1.0]),
    ([0.5, -0.2, -INF], 0, 0.40318604888545784, [-0.3318122278318339, 0.3318122278318339, 0.0]),
    ([0.5, -0.2, -INF], 2, INF, [0.6681877721681662, 0.3318122278318339, -1.0]),
    ([-INF, -INF, 3.0], 2, 0.0, [0.0, 0.0, 0.0]),
    ([INF, 3.0], 0, 0.0, [0.0, 0.0]),
    ([INF, 3.0], 1, INF, [1.0, -1.0]),
    ([3.4e38, 3.4e38], 0, 0.6931471805599453, [-0.5, 0.5]),
    ([-3.4e38, -3.4e38], 1, 0.6931471805599453, [0.5, -0.5]),
    ([0.0, -30.0], 0, 9.357622968839299e-14, [-9.357622968839299e-14, 9.357622968839299e-14]),
    ([80.0, 0.0, 60.0], 0, 2.061153620314381e-09, [-2.06115362e-09, 1.8e-35, 2.06115362e-09]),
    ([-INF, -INF], 0, NAN, [NAN, NAN]),
    ([INF, INF], 0, NAN, [NAN, NAN]),
    ([NAN, 1.0], 1, NAN, [NAN, NAN]),
    ([1.0, NAN, INF], 0, NAN, [NAN, NAN, NAN]),
]


@everywhere
@pytest.mark.parametrize(("scores", "label", "expected", "slopes"), CLASSES, ids=str)
def test_cross_entropy(
    scores: list[float], label: int, expected: float, slopes: list[float], engine: str, dtype: str
) -> None:
    ops = select_engine(engine, dtype).ops
    one_hot = np.eye(len(scores))[[label]]
    for target in (np.array([label]), one_hot):
        cost, dz = SoftMaxCrossEntropy()(ops, ops.asarray([scores]), target)
        np.testing.assert_allclose(float(cost), expected, rtol=2e-6, atol=1e-30)
        np.testing.assert_allclose(dz[0], slopes, rtol=2e-6, atol=1e-30)


@everywhere
@pytest.mark.parametrize(("scores", "label", "expected", "slopes"), CLASSES, ids=str)
def test_softmax_alone(
    scores: list[float], label: int, expected: float, slopes: list[float], engine: str, dtype: str
) -> None:
    ops = select_engine(engine, dtype).ops
    y, cache = SoftMax().forward(Context(ops), {}, {}, ops.asarray([scores]))
    right = np.array(slopes)
    right[label] += 1
    np.testing.assert_allclose(y[0], right, rtol=1e-6, atol=1e-9)
    dx = SoftMax().backward(Context(ops), {}, {}, cache, ops.asarray([range(len(scores))]))
    assert np.isfinite(dx).all() == np.isfinite(right).all()


@everywhere
def test_the_whole_network_in_one_program_bears_them(engine: str, dtype: str) -> None:
    net = Network().input((3,)).add(Dropout(1)).add(FullyConnectedLayer(3, bias=False)).add(SoftMax())
    net.regression(engine=engine, dtype=dtype)
    assert net._plan is not None
    net._plan.params[...] = np.eye(3).ravel()
    scores = np.array([[2e38, -2e38, 0], [0.0, 5.0, -3e38]])
    found = net.evaluate(scores, [0, 1], progress=False)
    assert found["cost"] == pytest.approx(np.log1p(np.exp(-5.0)) / 2, rel=1e-5)


@everywhere
@pytest.mark.parametrize("pos_weight", [None, 19.0])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("score", [0.0, 20.0, -20.0, 100.0, -100.0, 3e38, -3e38, INF, -INF])
def test_binary_cross_entropy(score: float, share: float, pos_weight: float | None, engine: str, dtype: str) -> None:
    ops, w = select_engine(engine, dtype).ops, pos_weight or 1.0
    cost, dz = SigmoidBinaryCrossEntropy(pos_weight)(ops, ops.asarray([[score]]), np.array([[share]]))
    with np.errstate(all="ignore"):
        parts = [w * share * softplus(-score) if share > 0 else 0, (1 - share) * softplus(score) if share < 1 else 0]
        expected = sum(parts)
        slope = (1 - share) / (1 + np.exp(-score)) - w * share / (1 + np.exp(score))
    if expected < float(np.finfo(dtype).max) or score in (INF, -INF):
        np.testing.assert_allclose(float(cost), expected, rtol=2e-6, atol=1e-30)
    np.testing.assert_allclose(float(dz[0, 0]), slope, rtol=2e-6, atol=1e-30)


@everywhere
def test_a_score_that_is_no_number_shows(engine: str, dtype: str) -> None:
    ops = select_engine(engine, dtype).ops
    for share in (0.0, 1.0):
        cost, dz = SigmoidBinaryCrossEntropy()(ops, ops.asarray([[NAN]]), np.array([[share]]))
        assert np.isnan([float(cost), float(dz[0, 0])]).all()


@pytest.mark.parametrize("y", [0.0, 1.0, 1e-35, 0.3])
@pytest.mark.parametrize("cost", [BinaryCrossEntropy(), BinaryCrossEntropy(pos_weight=1e6)], ids=repr)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_probabilities_of_0_and_1_cost_the_same_in_any_number_type(
    cost: BinaryCrossEntropy, share: float, y: float
) -> None:
    found = []
    for dtype in ("float32", "float64"):
        ops = select_engine("numpy", dtype).ops
        value, dy = cost(ops, ops.asarray([[y]]), np.array([[share]]))
        found.append([float(value), float(dy[0, 0])])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_a_class_of_probability_0_costs_the_same_in_any_number_type() -> None:
    costs = []
    for dtype in ("float32", "float64"):
        ops = select_engine("numpy", dtype).ops
        value, dy = CrossEntropy(class_weights=[1e6, 1])(ops, ops.asarray([[0.0, 1.0]]), np.array([0]))
        assert np.isfinite(dy).all()
        costs.append(float(value))
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)
    assert costs[0] == pytest.approx(1e6 * 30 * np.log(10), rel=1e-6)


# ---------------------------------------------------------------------------------------------- what may stand between

BEHIND: dict[str, list[Layer]] = {
    "nothing": [],
    "flatten": [Flatten()],
    "reshape": [Reshape((1, 2))],
    "both, in chains": [Sequential([Reshape((2, 1)), Sequential([Flatten()])]), Sequential()],
    "an image": [Reshape((2, 1, 1)), Flatten()],
    "dropout that keeps all": [Dropout(1), Flatten()],
    "no branch": [Branches([]), Branches([], merge="sum"), Branches(Branches([Sequential()]))],
    "one branch": [Branches([Reshape((2, 1)), Branches(Flatten())], merge="sum")],
    "pooling of single pixels": [Reshape((2, 1, 1)), AveragePoolLayer(1, 1), MaxPoolLayer(1, 1, stride=3), Flatten()],
    "pooling of one pixel": [Reshape((2, 1, 1)), MaxPoolLayer(3, 2, zero_padding=1), GlobalAveragePoolLayer()],
    "same pooling of one pixel": [Reshape((2, 1, 1)), MaxPoolLayer(5, 5, zero_padding="same"), Flatten()],
    "pooling of pixels side by side": [Reshape((1, 1, 2)), AveragePoolLayer(1, 1, stride=1), Flatten()],
    "frames of nothing": [Reshape((1, 1, 2)), PaddingLayer(0), CroppingLayer(0), Flatten()],
    "the largest of one pixel": [Reshape((2, 1, 1)), AdaptiveMaxPoolLayer(1), GlobalMaxPoolLayer()],
    "leaky in name": [LeakyReLU(1)],
}
LAST: dict[str, list[Layer]] = {
    "a branch": [Branches([Sigmoid()])],
    "a branch of more": [Branches([LeakyReLU(1), Sigmoid(), Dropout(1)], merge="sum"), Sequential()],
    "a chain of a branch": [Sequential([Branches(Sequential([Sigmoid()])), Branches([])])],
}
COMPUTE: dict[str, list[Layer]] = {
    "pooling of two pixels": [Reshape((1, 1, 2)), MaxPoolLayer(2, 1)],
    "every second pixel": [Reshape((1, 1, 2)), MaxPoolLayer(1, 1, stride=2), Flatten()],
    "mean with zeros around": [Reshape((2, 1, 1)), AveragePoolLayer(3, 3, zero_padding=1), Flatten()],
    "zeros around": [Reshape((1, 1, 2)), PaddingLayer((0, 1)), Flatten()],
    "mean of two pixels": [Reshape((1, 1, 2)), AdaptiveAveragePoolLayer(1), Flatten()],
    "twice": [Residual([])],
    "two branches": [Branches([], [])],
    "dropout": [Dropout(0.5)],
    "mean of two": [Reshape((1, 1, 2)), GlobalAveragePoolLayer()],
}


def judged(layers: list[Layer], cost: str, score: float, target: Any, engine: str, dtype: str) -> tuple[Any, ...]:
    net = Network().input((2,)).add(FullyConnectedLayer(2, bias=False))
    for layer in layers:
        net.add(layer)
    net.regression(cost=cost, metrics=[], engine=engine, dtype=dtype)
    plan = net._plan
    assert plan is not None
    plan.params[...] = np.eye(2).ravel()
    x = np.array([[score, -score]], dtype)
    outputs, value, *_ = plan.cost_and_gradients(plan.context(train=True), x, target)
    return value, plan.grads.reshape(2, 2).diagonal() / x[0], outputs, net.feedforward(x)


@everywhere
@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_layers_that_only_give_a_shape_do_not_part_sigmoid_and_cost(
    behind: list[Layer], engine: str, dtype: str
) -> None:
    target = np.zeros((1, 1, 2) if behind == BEHIND["reshape"] else (1, 2))
    value, slopes, outputs, plain = judged([Sigmoid(), *behind], "binary_cross_entropy", 100.0, target, engine, dtype)
    assert value == pytest.approx(50.0, rel=1e-6)
    np.testing.assert_allclose(slopes, [0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(outputs, plain, atol=1e-7)
    assert outputs.shape == plain.shape == target.shape


@everywhere
@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
def test_a_sigmoid_within_is_one_with_the_cost(last: list[Layer], engine: str, dtype: str) -> None:
    value, _, outputs, plain = judged(last, "binary_cross_entropy", 100.0, np.zeros((1, 2)), engine, dtype)
    assert value == pytest.approx(50.0, rel=1e-6)
    np.testing.assert_allclose(outputs, plain, atol=1e-7)


@pytest.mark.parametrize("behind", COMPUTE.values(), ids=COMPUTE)
def test_layers_that_compute_stay_between_sigmoid_and_cost(behind: list[Layer]) -> None:
    net = Network().input((2,))
    for layer in [Sigmoid(), *behind]:
        net.add(layer)
    net.regression(cost="binary_cross_entropy")
    assert net._plan is not None
    assert type(net._plan.cost) is BinaryCrossEntropy


@pytest.mark.parametrize("behind", [[], [Branches([])], [Reshape((2, 1, 1)), GlobalAveragePoolLayer()]], ids=str)
def test_evaluation_is_as_stable_as_training(behind: list[Layer]) -> None:
    net = Network().input((2,))
    for layer in [Sigmoid(), *behind]:
        net.add(layer)
    net.regression(cost="binary_cross_entropy")
    assert net.evaluate([[100.0, -100.0]], [[0, 0]], progress=False)["cost"] == pytest.approx(50.0, rel=1e-6)


@everywhere
@pytest.mark.parametrize(
    "name",
    ["nothing", "flatten", "both, in chains", "dropout that keeps all", "no branch", "one branch", "leaky in name"],
)
@pytest.mark.parametrize("softmax", [[SoftMax()], [Reshape((1, 2)), SoftMax()], [Sequential([SoftMax()])]], ids=str)
def test_nor_softmax_and_cost(softmax: list[Layer], name: str, engine: str, dtype: str) -> None:
    behind = [*BEHIND[name], Flatten()] if len(softmax) > 1 else BEHIND[name]
    value, slopes, outputs, plain = judged([*softmax, *behind], "cross_entropy", 100.0, np.array([1]), engine, dtype)
    assert value == pytest.approx(200.0, rel=1e-6)
    np.testing.assert_allclose(slopes, [1.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(outputs, plain, atol=1e-7)


def test_a_softmax_of_several_distributions_is_no_single_one() -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(4)).add(Reshape((2, 2))).add(SoftMax()).add(Flatten())
    net.regression(cost="cross_entropy")
    assert net._plan is not None
    assert type(net._plan.cost) is CrossEntropy
