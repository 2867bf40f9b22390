"""Weights of samples and of classes, and labels to ignore, from `fit` and `evaluate` to the last update."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gedanken import (
    CTC,
    SGD,
    Adam,
    ArgumentError,
    ArrayGenerator,
    BinaryCrossEntropy,
    BinaryFocal,
    Callback,
    Checkpoint,
    ConvolutionLayer,
    Cost,
    CrossEntropy,
    CustomCost,
    DataError,
    DataParallel,
    Dice,
    Embedding,
    Focal,
    FullyConnectedLayer,
    GedankenError,
    Generator,
    Heads,
    Hinge,
    Hogwild,
    Huber,
    Metric,
    Network,
    Quantile,
    Sequences,
    ShapeError,
    Sigmoid,
    SoftMax,
    Tversky,
)
from gedanken.costs import COSTS as NAMED
from gedanken.data.order import hold_out
from gedanken.layers.shape import to_channels_last

RNG = np.random.default_rng(3)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X[:, 0] > 0.3).astype(int) + (X[:, 1] > 0.9)
W = RNG.integers(0, 4, 40).astype("float64")
ENGINES = ("numpy", "cpu")


def classes(engine: str = "cpu", cost: Any = "cross_entropy", **options: Any) -> Network:
    net = Network(seed=2).input((6,)).add(FullyConnectedLayer(5)).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(options.pop("optimizer", SGD(0.1)), cost, metrics=[], engine=engine, **options)


def pixels(cost: Any, engine: str = "cpu") -> Network:
    net = Network(seed=2).input((1, 5, 4)).add(ConvolutionLayer(3, 3, 3, zero_padding="same")).add(SoftMax())
    return net.regression(SGD(0.1), cost, metrics=[], engine=engine)


def weights_of(net: Network) -> dict[str, Any]:
    assert net._plan
    return net._plan.state()


def same(one: Network, other: Network, tolerance: float = 0.0) -> None:
    for name, array in weights_of(one).items():
        np.testing.assert_allclose(weights_of(other)[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_weight_is_as_many_samples(engine: str) -> None:
    """With costs that add up, in one mini-batch, a weight of 2 is the sample twice, and one of 0 is none."""
    cost, rows = CrossEntropy(reduction="sum"), np.repeat(np.arange(40), W.astype(int))
    weighted, repeated = classes(engine, cost, optimizer=SGD(0.003)), classes(engine, cost, optimizer=SGD(0.003))
    history = weighted.fit(X, Y, W, epochs=3, mini_batch_size=40, shuffle=False, progress=False)
    again = repeated.fit(X[rows], Y[rows], epochs=3, mini_batch_size=len(rows), shuffle=False, progress=False)
    same(weighted, repeated, 1e-5)
    np.testing.assert_allclose(history["cost"], again["cost"], rtol=1e-5)
    found = weighted.evaluate(X, Y, W, progress=False)
    assert found["cost"] == pytest.approx(repeated.evaluate(X[rows], Y[rows], progress=False)["cost"], rel=1e-5)


REDUCTIONS = ("mean", "weighted_mean", "batch_mean", "sum")
HOLES = RNG.integers(0, 3, (30, 5, 4))
HOLES[RNG.random(HOLES.shape) < np.linspace(0, 0.95, 30)[:, None, None]] = 255
PICTURES = RNG.normal(size=(30, 1, 5, 4)).astype("float32")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_evaluate_gives_one_cost_for_every_mini_batch_size(reduction: str, engine: str) -> None:
    net = pixels(CrossEntropy(0.1, [1, 2, 3], ignore_label=255, reduction=reduction), engine)
    sizes = [net.evaluate(PICTURES, HOLES, W[:30], mini_batch_size=size, progress=False) for size in (1, 7, 30)]
    assert len({round(found["cost"], 4) for found in sizes}) == 1
    assert sizes[0]["cost"] == pytest.approx(sizes[2]["cost"], rel=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gathered_mini_batches_are_one_large_one(reduction: str) -> None:
    cost = CrossEntropy(ignore_label=255, reduction=reduction)
    nets = [pixels(cost) for _ in range(2)]
    for net, size, accumulate in zip(nets, (30, 10), (1, 3), strict=True):
        net.regression(SGD(0.01, accumulate=accumulate), cost, metrics=[], engine="cpu")
        net.fit(PICTURES, HOLES, W[:30], mini_batch_size=size, shuffle=False, progress=False)
    same(*nets, tolerance=1e-5)


NOTHING = np.full_like(HOLES, 255)
ONE_LEFT = np.where(np.arange(30)[:, None, None] == 29, 2, NOTHING)  # in the last sample alone


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_mini_batch_in_which_nothing_counts_teaches_nothing(engine: str, accumulate: int) -> None:
    net, cost = pixels("cross_entropy", engine), CrossEntropy(ignore_label=255)
    net.regression(SGD(0.1, accumulate=accumulate), cost, metrics=["accuracy", "f1"], engine=engine)
    before, costs = weights_of(net), list[float]()

    class Watch(Callback):
        def on_step(self, run: Any, record: Any) -> None:
            costs.append(record.cost)
            if len(costs) == 5:
                assert all(np.array_equal(array, before[name]) for name, array in weights_of(net).items())

    history = net.fit(
        PICTURES, ONE_LEFT, mini_batch_size=5, shuffle=False, progress=False, callbacks=[Watch()],
        validation_set=(PICTURES, ONE_LEFT),
    )  # fmt: skip
    assert costs[:5] == [0.0] * 5
    assert history["cost"] == costs[5:]
    assert not np.array_equal(weights_of(net)["0.kernel"], before["0.kernel"])
    assert all(map(np.isfinite, (*history["accuracy"], *history["validation_f1"])))


WAYS: dict[str, Callable[[Network], Any]] = {
    "generator": lambda net: net.fit(ArrayGenerator((X, Y, W), mini_batch_size=8), epochs=2, progress=False),
    "shared": lambda net: net.fit(
        X, Y, W, epochs=2, mini_batch_size=8, shuffle=False, progress=False, parallel=DataParallel(workers=2)
    ),
    "hogwild": lambda net: net.fit(
        X, Y, W, epochs=2, mini_batch_size=8, shuffle=False, progress=False,
        parallel=Hogwild(workers=1, backend="threads"),
    ),
    "hogwild, generator": lambda net: net.fit(
        ArrayGenerator((X, Y, W), mini_batch_size=8), epochs=2, progress=False,
        parallel=Hogwild(workers=1, backend="threads"),
    ),
}  # fmt: skip


def resumed(net: Network) -> None:
    options: Any = {"mini_batch_size": 8, "shuffle": False, "progress": False, "callbacks": [Checkpoint()]}
    net.fit(X, Y, W, epochs=1, folder="run", **options)
    again = classes()
    again.fit(X, Y, W, epochs=2, resume="run", **options)
    assert net._plan
    net._plan.restore(weights_of(again))
    with pytest.raises(GedankenError, match="its data"):
        classes().fit(X, Y, W + 1, epochs=2, resume="run", **options)


WAYS["resumed"] = resumed


@pytest.mark.parametrize("way", WAYS)
def test_weights_go_every_way(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain, net, unweighted = classes(), classes(), classes()
    plain.fit(X, Y, W, epochs=2, mini_batch_size=8, shuffle=False, progress=False)
    unweighted.fit(X, Y, epochs=2, mini_batch_size=8, shuffle=False, progress=False)
    WAYS[way](net)
    same(plain, net)
    assert any((weights_of(plain)[name] != array).any() for name, array in weights_of(unweighted).items())


def test_validation_has_weights_of_its_own() -> None:
    net = classes()
    history = net.fit(X, Y, validation_set=(X, Y, W), progress=False)
    assert history["validation_cost"] == [net.evaluate(X, Y, W, progress=False)["cost"]]
    held = classes().fit(X, Y, W, validation_set=0.25, progress=False)
    assert len(held["validation_cost"]) == 1


def test_balanced_weights_are_numbers_after_fit_and_in_the_file(tmp_path: Path) -> None:
    counts = np.bincount(Y)
    net = classes(cost=CrossEntropy(class_weights="balanced"))
    with pytest.raises(ArgumentError, match="balanced weights are those of the labels that it is trained on"):
        net.evaluate(X, Y, progress=False)
    net.fit(X, Y, epochs=2, mini_batch_size=8, progress=False)
    assert net._cost == CrossEntropy(class_weights=tuple((40 / (3 * counts)).tolist()))
    told = classes(cost=net._cost)
    told.fit(X, Y, epochs=2, mini_batch_size=8, progress=False)
    same(net, told)
    net.save(tmp_path / "net.safetensors")
    loaded = Network.load(tmp_path / "net.safetensors")
    assert loaded.evaluate(X, Y, progress=False)["cost"] == pytest.approx(net.evaluate(X, Y, progress=False)["cost"])


def yes_or_no(cost: Any, engine: str) -> Network:
    net = Network(seed=2).input((6,)).add(FullyConnectedLayer(1)).add(Sigmoid())
    return net.regression(SGD(0.1), cost, metrics=[], engine=engine)


def two_heads(cost: Any, engine: str) -> Network:
    net = (
        Network(seed=2).input((6,)).add(Heads(kind=[FullyConnectedLayer(3), SoftMax()], size=[FullyConnectedLayer(1)]))
    )
    return net.regression(SGD(0.1), {"kind": cost, "size": "mean_squared"}, engine=engine)


BALANCED: dict[str, tuple[Callable[[Any, str], Network], Any, Any, str]] = {
    "classes": (lambda cost, engine: classes(engine, cost), CrossEntropy, Y, "^CrossEntropy"),
    "classes, not joined": (lambda cost, engine: classes(engine, cost), Focal, Y, "^Focal"),
    "yes or no": (yes_or_no, BinaryCrossEntropy, Y > 0, "^BinaryCrossEntropy"),
    "yes or no, not joined": (yes_or_no, BinaryFocal, Y > 0, "^BinaryFocal"),
    "one of two heads": (two_heads, CrossEntropy, {"kind": Y, "size": W}, "^head 'kind': CrossEntropy"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("which", BALANCED)
def test_a_network_with_balanced_weights_serves_before_its_first_fit(which: str, engine: str, tmp_path: Path) -> None:
    make, cost, labels, said = BALANCED[which]
    net = make(cost(class_weights="balanced"), engine)
    net.save(tmp_path / "net.safetensors", optimizer=True)
    others = copy.deepcopy(net), pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "net.safetensors")
    rows = net.summary().rows
    for other in others:
        assert other.summary().rows == rows
        same(net, other)
    assert len(net.predict(X)) == len(others[0].predict(X))
    assert net.check(X, labels).findings is not None
    assert len(net.find_learning_rate(X, labels, steps=10).rates) > 1
    with pytest.raises(
        ArgumentError, match=said + r"\(class_weights='balanced'\): .*; call fit before evaluate, or give"
    ):
        net.evaluate(X, labels, progress=False)
    history = net.fit(X, labels, progress=False)
    assert others[0].fit(X, labels, progress=False)["cost"] == history["cost"]
    assert net.evaluate(X, labels, progress=False)["cost"] < history["cost"][0]


def test_balanced_weights_of_yes_and_no() -> None:
    for outputs in (1, 2):
        net = Network().input((6,)).add(FullyConnectedLayer(outputs)).add(Sigmoid())
        net.regression(SGD(0.1), BinaryCrossEntropy(class_weights="balanced"), metrics=[])
        labels = np.stack([Y > 0, Y > 1], axis=1)[:, :outputs]
        net.fit(X, labels, progress=False)
        expected = tuple((20 / (40 - n), 20 / n) for n in labels.sum(axis=0).tolist())
        assert net._cost == BinaryCrossEntropy(class_weights=expected if outputs == 2 else expected[0])


class Plain(Metric):
    def measure(self, y: Any, target: Any) -> Any:  # type: ignore[override]
        return np.ones(1)

    def value(self, total: Any) -> float:
        return float(total[0])


class Whole(Cost):
    def __call__(self, ops: Any, y: Any, target: Any) -> Any:
        return abs(y - target).mean(), ops.xp.sign(y - target) / y.size


def values(cost: Any, metrics: Any = ()) -> Network:
    return Network().input((6,)).add(FullyConnectedLayer(1)).regression(cost=cost, metrics=list(metrics))


class Items(Generator):
    """Samples with weights, or without."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights
        super().__init__(mini_batch_size=8, workers=0)

    def __len__(self) -> int:
        return len(X)

    def get_mini_batches(self, index: int) -> list[Any]:
        weight = () if self.weights is None else (self.weights[index],)
        return [(X[index], Y[index], *weight)]


class Pairs(Generator):
    """Samples with labels."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y
        super().__init__(mini_batch_size=8, workers=0)

    def __len__(self) -> int:
        return len(self.x)

    def get_mini_batches(self, index: int) -> list[Any]:
        return [(self.x[index], self.y[index])]


def holes(*given: Any, **options: Any) -> Any:
    """Train on pictures with a label to ignore."""
    return pixels(CrossEntropy(ignore_label=255)).fit(*given, **options, progress=False)


def masks(cost: Cost, engine: str = "cpu", metrics: Any = None) -> Network:
    net = Network(seed=1).input((1, 5, 4)).add(ConvolutionLayer(1, 3, 3, zero_padding="same"))
    return (net if cost.takes_scores else net.add(Sigmoid())).regression(SGD(0.1), cost, metrics=metrics, engine=engine)


ANSWERS = np.where(HOLES == 2, 1, HOLES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [BinaryCrossEntropy, BinaryFocal, Hinge, Dice, Tversky])
def test_metrics_and_cost_see_only_answers_that_are_not_ignored(kind: Any, engine: str) -> None:
    net = masks(kind(ignore_label=255), engine, ["accuracy", "f1", "roc_auc"])
    net.fit(PICTURES, ANSWERS, W[:30], mini_batch_size=7, progress=False)
    found = net.evaluate(PICTURES, ANSWERS, W[:30], mini_batch_size=7, progress=False)
    y, there = net.feedforward(PICTURES)[:, 0], ANSWERS != 255
    given = y[there][:, None], ANSWERS[there], (W[:30, None, None] + 0 * there)[there]
    metrics = net._compiled("evaluate").metrics
    expected = [metric.value(metric.measure(*given)) for metric in metrics]
    assert [found[metric.name] for metric in metrics] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_balanced_weights_leave_out_answers_to_ignore(engine: str) -> None:
    there = ANSWERS != 255
    yes = float((ANSWERS[there] == 1).mean())
    nets = [
        masks(BinaryCrossEntropy(class_weights=weights, ignore_label=255), engine)
        for weights in ("balanced", (0.5 / (1 - yes), 0.5 / yes))
    ]
    costs = [net.fit(PICTURES, ANSWERS, shuffle=False, progress=False)["cost"] for net in nets]
    assert costs[0] == costs[1]


def test_a_checkup_leaves_out_answers_to_ignore() -> None:
    net = masks(BinaryCrossEntropy(ignore_label=255))
    found = net.check(PICTURES, ANSWERS)
    assert found.figures.expected_initial_cost == pytest.approx(np.log(2))
    assert "target-range" not in {finding.code for finding in found.findings}
    lonely = np.where(ANSWERS == 255, 255, 1)
    assert "labels-constant" in {finding.code for finding in net.check(PICTURES, lonely).findings}


SHORT = np.where(np.arange(16) < RNG.integers(1, 6, (40, 1)), RNG.integers(1, 9, (40, 16)), 0)  # is cut
OF_WORDS, OF_PIXELS = RNG.integers(0, 3, SHORT.shape) * 0.5, RNG.integers(0, 3, HOLES.shape) * 0.5


class Placed(NamedTuple):
    """A network with places, data, labels, weights of places, and which places are real."""

    net: Callable[..., Network]
    data: Any
    labels: Any
    weights: Any
    real: Any


def tagger(last: Any, cost: Any, metrics: Any) -> Callable[[str], Network]:
    def make(engine: str) -> Network:
        net = Network(seed=2).input((16,)).add(Embedding(9, 4, mask=0)).add(FullyConnectedLayer(last[0]))
        net = net.add(last[1]) if last[1] else net
        return net.regression(Adam(0.05), cost, metrics=metrics, engine=engine)

    return make


THERE = SHORT > 0
PLACED: dict[str, Placed] = {
    "classes of words": Placed(
        tagger((3, SoftMax()), "cross_entropy", ["accuracy"]), SHORT, SHORT % 3, OF_WORDS, THERE,
    ),
    "answers of words": Placed(
        tagger((1, Sigmoid()), BinaryCrossEntropy(ignore_label=-1), ["accuracy"]),
        SHORT, SHORT % 3 - 1, OF_WORDS, THERE & (SHORT % 3 > 0),
    ),
    "values of words": Placed(
        tagger((2, None), "mean_squared", ["mean_absolute_error"]), SHORT, RNG.normal(size=(40, 16, 2)), OF_WORDS, THERE
    ),
    "classes of pixels": Placed(
        lambda engine: pixels(CrossEntropy(ignore_label=255), engine), PICTURES, HOLES, OF_PIXELS, HOLES != 255
    ),
    "answers of pixels": Placed(
        lambda engine: masks(BinaryCrossEntropy(ignore_label=255), engine, ["accuracy"]),
        PICTURES, ANSWERS, OF_PIXELS, ANSWERS != 255,
    ),
    "values of pixels": Placed(
        lambda engine: masks(Huber(), engine, ["mean_absolute_error"]), PICTURES, RNG.normal(size=HOLES.shape),
        OF_PIXELS, HOLES >= 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PLACED)
def test_weights_of_places_multiply_the_cost_of_each(name: str, engine: str) -> None:
    make, data, labels, weights, real = PLACED[name]
    net = make(engine)
    found = net.evaluate(data, labels, weights, mini_batch_size=7, progress=False)
    alone, figures = 0.0, []
    train_state = net._compiled("evaluate")
    outputs = to_channels_last(net.feedforward(data))
    for weight in (0.5, 1.0):  # of places with one weight the cost is known
        only = real & (weights == weight)
        cost = net.evaluate(data, labels, (only * 1.0), mini_batch_size=40, progress=False)["cost"]
        alone += weight * cost
    assert found["cost"] == pytest.approx(alone, rel=1e-5)
    for metric in train_state.metrics:
        given = outputs[real], labels[real], weights[real]
        figures.append(metric.value(metric.measure(given[0], given[1], weight=given[2])))
    assert [found[metric.name] for metric in train_state.metrics] == pytest.approx(figures, rel=1e-5)


@pytest.mark.parametrize("name", PLACED)
def test_weights_of_places_that_are_alike_are_those_of_samples(name: str) -> None:
    make, data, labels, weights, _ = PLACED[name]
    each = W[: len(data)]
    spread = each.reshape(-1, *(1,) * (weights.ndim - 1)) + 0 * weights
    nets = [make("cpu") for _ in range(5)]
    expected, one, two, three, four = nets
    options: Any = {"mini_batch_size": 7, "shuffle": False, "progress": False}
    costs = [expected.fit(data, labels, each, **options)["cost"], one.fit(data, labels, spread, **options)["cost"]]
    costs.append(two.fit(data, labels, spread, parallel=DataParallel(workers=2), **options)["cost"])
    source = ArrayGenerator(data, labels, spread, mini_batch_size=7, workers=0)
    costs.append(three.fit(source, progress=False)["cost"])
    way = Hogwild(workers=1, backend="threads")
    history = four.fit(data, labels, spread, parallel=way, validation_set=(data, labels, spread), **options)
    for other in (one, two, three, four):
        same(expected, other, 1e-5)
    np.testing.assert_allclose(costs, [costs[0]] * 4, rtol=1e-5)
    after = expected.evaluate(data, labels, each, progress=False)["cost"]
    assert history["validation_cost"][-1] == pytest.approx(after, rel=1e-4)


def test_what_has_no_weight_at_a_place_teaches_nothing_there() -> None:
    make, data, labels, weights, _ = PLACED["classes of pixels"]
    nets, other = (make("cpu"), make("cpu")), np.where((weights == 0) & (labels != 255), (labels + 1) % 3, labels)
    for net, given in zip(nets, (labels, other), strict=True):
        net.fit(data, given, weights, validation_set=0.2, progress=False)
    same(*nets)


def test_weights_of_places_may_be_lists_and_sequences() -> None:
    make, data, labels, weights, real = PLACED["classes of words"]
    rows = [row[mask].tolist() for row, mask in zip(weights, real, strict=True)]
    wild = np.where(real, weights, 7.0)
    forms = weights, wild, rows, Sequences(wild, real.sum(axis=1))
    costs = {make("cpu").evaluate(data, labels, given, progress=False)["cost"] for given in forms}
    listed = [[row[mask] for row, mask in zip(one, real, strict=True)] for one in (data, labels, weights)]
    costs.add(make("cpu").evaluate(ArrayGenerator(*listed, mini_batch_size=256, workers=0), progress=False)["cost"])
    assert len(costs) == 1


HELD = np.isin(np.arange(40), hold_out(40, 0.5, 2)[1]).astype(float)
MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "negative": (lambda: classes().fit(X, Y, W - 1), DataError, r"weights must be at least 0, got -1.0 for sample"),
    "not a number": (lambda: classes().fit(X, Y, W * np.nan), DataError, "weights must be finite"),
    "all 0": (lambda: classes().evaluate(X, Y, 0 * W), DataError, "weights must not all be 0"),
    "another length": (lambda: classes().fit(X, Y, W[1:]), DataError, r"weights must have shape .*, got \(39,\)"),
    "a column": (lambda: classes().fit(X, Y, W[:, None]), DataError, r"weights must have shape \(40,\)"),
    "of a validation": (
        lambda: classes().fit(X, Y, validation_set=(X, Y, -W)), DataError, "validation_set weights must be at least 0"
    ),
    "of a generator": (
        lambda: classes().fit(ArrayGenerator((X, Y, -W), mini_batch_size=8)), DataError,
        "weights of ArrayGenerator must be at least 0",
    ),
    "beside a generator": (
        lambda: classes().fit(ArrayGenerator((X, Y), mini_batch_size=8), weights=W), ArgumentError,
        "weights must be left out, because ArrayGenerator gives them",
    ),
    "a metric that knows none": (
        lambda: values("mean_squared", [Plain()]).fit(X, Y, W), ArgumentError,
        "weights must be None: the metric Plain knows no weights",
    ),
    "a cost that knows none": (
        lambda: values(Whole()).fit(X, Y, W), ArgumentError,
        r"weights must be None: weights need a cost that defines entries",
    ),
    "balanced of a generator": (
        lambda: classes(cost=CrossEntropy(class_weights="balanced")).fit(Items(None)), ArgumentError,
        "class_weights of CrossEntropy must be numbers where a Generator other than ArrayGenerator gives the labels",
    ),
    "weights of other places": (
        lambda: holes(PICTURES, HOLES, OF_PIXELS[:, 1:]), DataError,
        r"weights must have shape \(30,\), one for each sample, or \(30, 5, 4\), one for each place, got \(30, 4, 4\)",
    ),
    "weights of places that are negative": (
        lambda: holes(PICTURES, HOLES, OF_PIXELS - 1), DataError,
        "weights must be at least 0, got -.* for sample 0, place",
    ),
    "weights of places where samples are taken as a whole": (
        lambda: masks(Dice()).fit(PICTURES, HOLES == 1, OF_PIXELS), DataError,
        r"weights must have shape \(30,\), one for each sample, got \(30, 5, 4\); costs of whole samples",
    ),
    "weights of places of an alignment": (
        lambda: Network().input((5, 2)).add(FullyConnectedLayer(3)).regression(Adam(), CTC(), metrics=[]).fit(
            np.ones((4, 5, 2)), [[1, 2]] * 4, np.ones((4, 5))
        ), DataError, r"weights must have shape \(4,\), one for each sample, got \(4, 5\); costs of whole samples",
    ),
    "weights of places of a cost of one's own for samples": (
        lambda: pixels(CustomCost(lambda y, t: (y * 0).sum(axis=(1, 2, 3)), lambda y, t: 0 * y)).fit(
            PICTURES, np.zeros((30, 3, 5, 4)), OF_PIXELS
        ), ShapeError, "takes samples as a whole, its entries can have no weights",
    ),
    "all labels to ignore where places weigh something": (
        lambda: holes(PICTURES, HOLES, (HOLES == 255) * 1.0), DataError, "labels must not all be 255, which the cost",
    ),
    "all 0 of an ArrayGenerator": (
        lambda: classes().fit(ArrayGenerator((X, Y, 0 * W))), DataError, "weights of ArrayGenerator must not all be 0"
    ),
    "all 0 of a generator": (
        lambda: classes().fit(Items(0 * W)), DataError, "weights of Items must not all be 0 in an epoch"
    ),
    "all 0 in an evaluation": (
        lambda: classes().evaluate(Items(0 * W)), DataError, "weights of Items must not all be 0 in an epoch"
    ),
    "all 0 in a validation": (
        lambda: classes().fit(X, Y, validation_set=Items(0 * W)), DataError, "weights of Items must not all be 0"
    ),
    "all 0 for workers": (
        lambda: classes().fit(Items(0 * W), parallel=Hogwild(workers=1, backend="threads")), DataError,
        "weights of Items must not all be 0 in an epoch",
    ),
    "all 0 but the held-out": (
        lambda: classes().fit(X, Y, HELD, validation_set=0.5), DataError,
        "weights must not all be 0 among the 20 samples to train on by validation_set=0.5; give",
    ),
    "all 0 of the held-out": (
        lambda: classes().fit(X, Y, 1 - HELD, validation_set=0.5), DataError,
        "weights must not all be 0 among the 20 samples held out by validation_set=0.5",
    ),
    "all labels to ignore": (
        lambda: holes(PICTURES, NOTHING), DataError,
        "labels must not all be 255, which the cost ignores: nothing would be learnt",
    ),
    "all labels to ignore, evaluated": (
        lambda: pixels(CrossEntropy(ignore_label=255)).evaluate(PICTURES, NOTHING), DataError,
        "labels must not all be 255",
    ),
    "all labels to ignore, tried": (
        lambda: pixels(CrossEntropy(ignore_label=255)).find_learning_rate(PICTURES, NOTHING), DataError,
        "labels must not all be 255",
    ),
    "all labels to ignore in a validation": (
        lambda: holes(PICTURES, HOLES, validation_set=(PICTURES, NOTHING)), DataError,
        "validation_set labels must not all be 255",
    ),
    "all labels to ignore of the held-out": (
        lambda: holes(PICTURES, ONE_LEFT, validation_set=0.3), DataError,
        "labels must not all be 255, which the cost ignores among the 9 samples held out by validation_set=0.3",
    ),
    "all labels to ignore where samples weigh something": (
        lambda: holes(PICTURES, ONE_LEFT, np.arange(30) < 29), DataError,
        "labels must not all be 255, which the cost ignores, of samples with a weight above 0: nothing",
    ),
    "all labels to ignore of an ArrayGenerator": (
        lambda: holes(ArrayGenerator(PICTURES, NOTHING)), DataError,
        "labels of ArrayGenerator must not all be 255, which the cost ignores: nothing",
    ),
    "all labels to ignore of a Generator": (
        lambda: holes(Pairs(PICTURES, NOTHING)), DataError,
        "labels of Pairs must not all be 255, which the cost ignores in an epoch: nothing was learnt",
    ),
    "all labels to ignore of a validation's Generator": (
        lambda: holes(PICTURES, HOLES, validation_set=Pairs(PICTURES, NOTHING)), DataError,
        "labels of Pairs must not all be 255, which the cost ignores in an epoch: nothing was learnt",
    ),
    "all labels to ignore at real places": (
        lambda: words(CrossEntropy(ignore_label=1)).fit(TEXTS, 1 + (TEXTS == 0)), DataError,
        "labels must not all be 1, which the cost ignores, at real places: nothing",
    ),
    "all labels to ignore of all heads": (
        lambda: headed({"kind": CrossEntropy(ignore_label=-1), "size": CrossEntropy(ignore_label=7)}, 2).fit(
            X, {"kind": 0 * Y - 1, "size": 0 * Y + 7}
        ), DataError, r"labels must not all be \{'kind': -1, 'size': 7\}, which the cost ignores",
    ),
    "balanced without a class": (
        lambda: classes(cost=CrossEntropy(class_weights="balanced")).fit(X, Y * 0), DataError,
        'class_weights="balanced" needs labels of each class, there is none of class 1',
    ),
    "another word": (
        lambda: CrossEntropy(class_weights="even"), ArgumentError, 'or "balanced", got .even.'
    ),
    "both weights": (
        lambda: BinaryCrossEntropy(2, (1, 2)), ArgumentError,
        "pos_weight must be left out where class_weights are given",
    ),
    "class maps of another shape": (
        lambda: pixels("cross_entropy").fit(PICTURES, HOLES[:, 1:]), DataError,
        r"labels must be class numbers \(N, 5, 4\) or one-hot maps \(N, 3, 5, 4\), got shape \(30, 4, 4\)",
    ),
    "a label that is not ignored": (
        lambda: pixels(CrossEntropy(ignore_label=254)).fit(PICTURES, HOLES), DataError,
        r"labels must be class numbers from 0 to 2, or 254 to be ignored, got 255 in index",
    ),
    **{
        f"one-hot beside a label to ignore, {type(cost).__name__}": (
            lambda cost=cost: pixels(cost).fit(PICTURES, np.eye(3)[HOLES % 3].transpose(0, 3, 1, 2)), DataError,
            r"labels must be class numbers \(N, 5, 4\) for ignore_label=0, got one-hot labels",
        )
        for cost in (CrossEntropy(ignore_label=0), Focal(ignore_label=0), Dice(ignore_label=0))
    },
    "shares beside a label to ignore": (
        lambda: classes(cost=CrossEntropy(ignore_label=0)).evaluate(X, np.full((40, 3), 1 / 3)), DataError,
        r"labels must be class numbers \(N,\) for ignore_label=0",
    ),
    "several answers beside a label to ignore": (
        lambda: Network().input((3, 5, 4)).add(Sigmoid()).regression(SGD(0.1), BinaryFocal(ignore_label=255)),
        ShapeError, r"needs one output, at each place where there are places, for its ignore_label, got 3 outputs",
    ),
    **{
        f"an answer that is not ignored, {type(cost).__name__}": (
            lambda cost=cost: masks(cost).fit(PICTURES, HOLES), DataError,
            "labels must (lie in .0, 1.|be 0 or 1 for .*), or be 254 to be ignored, got 2",
        )
        for cost in (BinaryCrossEntropy(ignore_label=254), Dice(ignore_label=254), Hinge(ignore_label=254))
    },
    "all answers to ignore": (
        lambda: masks(BinaryCrossEntropy(ignore_label=255)).fit(PICTURES, NOTHING), DataError,
        "labels must not all be 255, which the cost ignores: nothing",
    ),
    "all of a region to ignore": (
        lambda: masks(Dice(ignore_label=255)).fit(PICTURES, NOTHING[:, None]), DataError,
        "labels must not all be 255, which the cost ignores: nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_before_training(mistake: str) -> None:
    make, kind, message = MISTAKES[mistake]
    with pytest.raises(kind, match=message) as error:
        make()
    assert isinstance(error.value, GedankenError)


def test_weights_that_are_0_in_some_mini_batches_are_right() -> None:
    net, weights = classes(), W * (np.arange(40) >= 16)
    assert net.fit(Items(weights), progress=False)["cost"][0] > 0


EVEN = CrossEntropy(class_weights="balanced")
TEXTS = np.where(np.arange(7) < RNG.integers(1, 8, (40, 1)), RNG.integers(1, 9, (40, 7)), 0)
PLACES = np.where(TEXTS == 0, -1, (TEXTS > 4).astype(int) + (TEXTS > 7))


def words(cost: CrossEntropy = EVEN) -> Network:
    net = Network(seed=2).input((7,)).add(Embedding(9, 4, mask=0)).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(SGD(0.1), cost, metrics=[])


def headed(cost: Any = None, units: int = 1) -> Network:
    net = Network(seed=2).input((6,)).add(FullyConnectedLayer(5))
    size = [FullyConnectedLayer(units), *[SoftMax()] * (units > 1)]
    heads = Heads(kind=[FullyConnectedLayer(3), SoftMax()], size=size)
    costs = cost or {"kind": EVEN, "size": "mean_squared"}
    return net.add(heads).regression(SGD(0.1), costs, metrics={"kind": [], "size": []})


LABELLED: dict[str, tuple[Callable[[], Network], Any, Any]] = {
    "labels": (lambda: classes(cost=CrossEntropy(class_weights="balanced")), X, Y),
    "one-hot rows": (lambda: classes(cost=CrossEntropy(class_weights="balanced")), X, np.eye(3)[Y]),
    "places behind a mask": (words, TEXTS, PLACES),
    "heads": (headed, X, {"kind": Y, "size": X[:, 0]}),
}


@pytest.mark.parametrize("weights", [None, W], ids=["alike", "weighted"])
@pytest.mark.parametrize("name", LABELLED)
def test_an_array_generator_knows_its_labels_and_weights(name: str, weights: Any) -> None:
    make, x, y = LABELLED[name]
    expected, found = make(), make()
    told = expected.fit(x, y, weights, epochs=2, shuffle=False, mini_batch_size=8, progress=False)["cost"]
    with ArrayGenerator(x, y, weights, mini_batch_size=8, workers=0) as generator:
        assert found.fit(generator, epochs=2, progress=False)["cost"] == told
        assert found.check(generator).figures.looked_at == 40
    same(expected, found)


def test_balanced_weights_of_an_array_generator_need_no_sight_of_what_transforms_change() -> None:
    def smaller(rng: Any, item: Any) -> Any:
        return item[0][:6], np.eye(3)[item[1]]

    net = classes(cost=CrossEntropy(class_weights="balanced"))
    with ArrayGenerator(np.hstack([X, X]), Y, mini_batch_size=8, transforms=[smaller]) as generator:
        net.fit(generator, progress=False)
    expected = classes(cost=CrossEntropy(class_weights="balanced"))
    expected.fit(X, Y, shuffle=False, mini_batch_size=8, progress=False)
    same(expected, net, 1e-6)


def test_a_cost_of_your_own_by_entries_takes_weights_and_lengths() -> None:
    cost = CustomCost(lambda y, t: ((y - t) ** 2).sum(axis=-1), lambda y, t: 2 * (y - t))
    values(cost).fit(X, Y[:, None] * 1.0, W, progress=False)
    net = Network().input((5, 2)).add(FullyConnectedLayer(1)).regression(Adam(), cost, metrics=[])
    data = Sequences(RNG.normal(size=(4, 5, 2)).astype("float32"), [5, 1, 3, 2])
    targets = RNG.normal(size=(4, 5, 1))
    net.fit(data, targets, [1, 2, 0, 1], progress=False)
    other = np.where(np.arange(5)[:, None] < np.array([5, 1, 3, 2])[:, None, None], targets, 7.0)
    costs = [net.evaluate(data, labels, progress=False)["cost"] for labels in (targets, other)]
    assert costs[0] == costs[1]


def test_a_checkup_looks_at_class_maps() -> None:
    net = pixels(CrossEntropy(ignore_label=255))
    found = net.check(PICTURES, HOLES)
    assert found.figures.expected_initial_cost == pytest.approx(np.log(3))
    lonely = np.where(HOLES == 255, 255, 1)
    assert "labels-constant" in {finding.code for finding in net.check(PICTURES, lonely).findings}


ENDS: dict[str, tuple[int, Any]] = {
    "focal": (3, SoftMax()), "multi_margin": (3, None), "categorical_hinge": (3, None), "cross_entropy": (3, SoftMax()),
    "multi_label_margin": (3, None), "binary_focal": (1, Sigmoid()), "squared_hinge": (1, None), "hinge": (1, None),
    "kullback_leibler": (3, SoftMax()), "cosine_distance": (3, None),
    "binary_cross_entropy": (1, Sigmoid()), "gaussian_nll": (2, Sigmoid()),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("ctc", "dice", "tversky")])
def test_every_cost_is_learnt_by_its_name_with_its_metrics_and_weights(name: str, engine: str) -> None:
    units, last = ENDS.get(name, (1, None))
    net = Network(seed=1).input((6,)).add(FullyConnectedLayer(units))
    net = net.add(last) if last else net
    net.regression(Adam(0.02), name, engine=engine)
    labels: Any = Y if units == 3 else (Y > 0)
    labels = np.eye(3)[Y] if name in ("kullback_leibler", "cosine_distance", "multi_label_margin") else labels
    costs = net.fit(X, labels, W, epochs=10, mini_batch_size=8, validation_set=0.2, progress=False)["cost"]
    assert costs[-1] < costs[0] or name == "weighted_mean"
    assert len(net.predict(X)) == 40


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [Dice, Tversky])
def test_dice_learns_regions(kind: type[Dice] | type[Tversky], channels: int) -> None:
    net = Network(seed=1).input((1, 5, 4)).add(ConvolutionLayer(channels, 3, 3, zero_padding="same"))
    net.add(SoftMax() if channels == 3 else Sigmoid()).regression(Adam(0.05), kind(ignore_label=255))
    labels = HOLES if channels == 3 else (PICTURES > 0)
    history = net.fit(PICTURES, labels, W[:30], epochs=8, mini_batch_size=10, progress=False)
    assert history["cost"][-1] < history["cost"][0]
    assert 0 < history["accuracy"][-1] <= 1


def test_several_quantiles_are_in_order_and_where_they_belong() -> None:
    data = RNG.normal(size=(400, 1)).astype("float32")
    net = Network(seed=1).input((1,)).add(FullyConnectedLayer(3)).regression(Adam(0.05), Quantile([0.1, 0.5, 0.9]))
    net.fit(0 * data, data[:, 0], epochs=60, mini_batch_size=100, progress=False)
    np.testing.assert_allclose(net.predict(data[:1] * 0)[0], np.quantile(data, [0.1, 0.5, 0.9]), atol=0.15)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_autoencoder_learns_shares_of_white(engine: str) -> None:
    pictures = RNG.random((20, 1, 4, 4)).astype("float32")
    net = Network(seed=1).input((1, 4, 4)).add(ConvolutionLayer(1, 3, 3, zero_padding="same")).add(Sigmoid())
    net.regression(Adam(0.05), "binary_cross_entropy", engine=engine)
    assert net._plan
    assert bool(net._plan.fused_step) == (engine == "cpu")
    costs = net.fit(pictures, pictures, epochs=5, mini_batch_size=5, progress=False)["cost"]
    assert costs[-1] < costs[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_see_weights_and_only_what_counts(engine: str) -> None:
    net = Network(seed=2).input((1, 5, 4)).add(ConvolutionLayer(3, 3, 3, zero_padding="same")).add(SoftMax())
    net.regression(SGD(0.1), CrossEntropy(ignore_label=255), engine=engine)
    found = net.evaluate(PICTURES, HOLES, W[:30], mini_batch_size=7, progress=False)
    there, right = HOLES != 255, net.predict(PICTURES) == HOLES
    weight = np.broadcast_to(W[:30, None, None], HOLES.shape)[there]
    assert found["accuracy"] == pytest.approx((weight * right[there]).sum() / weight.sum())
