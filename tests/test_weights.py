"""Weights of samples and of classes, and labels to ignore, from `fit` and `evaluate` to the last update."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    ArrayGenerator,
    BinaryCrossEntropy,
    BinaryFocal,
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
    Hogwild,
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
from gedanken.data.batches import hold_out

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


def test_a_mini_batch_in_which_nothing_counts_teaches_nothing() -> None:
    net, labels = pixels(CrossEntropy(ignore_label=255)), np.full_like(HOLES, 255)
    before = weights_of(net)
    assert net.fit(PICTURES, labels, progress=False)["cost"] == [0.0]
    for name, array in weights_of(net).items():
        np.testing.assert_array_equal(array, before[name])
    assert net.evaluate(PICTURES, labels, progress=False)["cost"] == 0


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
    "a region beside a label to ignore": (
        lambda: Network().input((1, 5, 4)).add(Sigmoid()).regression(SGD(0.1), Dice(ignore_label=0)), ShapeError,
        "needs outputs of two classes or more for its ignore_label",
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


TEXTS = np.where(np.arange(7) < RNG.integers(1, 8, (40, 1)), RNG.integers(1, 9, (40, 7)), 0)
PLACES = np.where(TEXTS == 0, -1, (TEXTS > 4).astype(int) + (TEXTS > 7))


def words() -> Network:
    net = Network(seed=2).input((7,)).add(Embedding(9, 4, mask=0)).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(SGD(0.1), CrossEntropy(class_weights="balanced"), metrics=[])


def headed() -> Network:
    net = Network(seed=2).input((6,)).add(FullyConnectedLayer(5))
    heads = Heads(kind=[FullyConnectedLayer(3), SoftMax()], size=[FullyConnectedLayer(1)])
    cost = {"kind": CrossEntropy(class_weights="balanced"), "size": "mean_squared"}
    return net.add(heads).regression(SGD(0.1), cost, metrics={"kind": [], "size": []})


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
    net.add(SoftMax() if channels == 3 else Sigmoid()).regression(
        Adam(0.05), kind(ignore_label=255 if channels == 3 else None)
    )
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
