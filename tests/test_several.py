"""Several inputs and outputs, each with a name."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    GRU,
    LSTM,
    SGD,
    Adam,
    ArgumentError,
    ArrayGenerator,
    BatchNorm,
    Branches,
    Callback,
    Checkpoint,
    CheckpointError,
    ConvolutionLayer,
    Cpu,
    CrossEntropy,
    CSVLog,
    CustomCost,
    DataError,
    DataParallel,
    Dropout,
    EarlyStopping,
    Embedding,
    Flatten,
    Flip,
    FullyConnectedLayer,
    Generator,
    GlobalAveragePool1DLayer,
    Heads,
    Hogwild,
    Layer,
    LayerNorm,
    MeanAbsoluteError,
    MeanSquared,
    Metric,
    MovingAverage,
    Network,
    NonFiniteError,
    ReLU,
    Reshape,
    Residual,
    Sequences,
    Sequential,
    ShapeError,
    Sigmoid,
    SoftMax,
    StepRecord,
    TanH,
)
from gedanken.by_name import ByName, each
from gedanken.cli.main import main
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
from gedanken.io.safetensors import read_arrays, read_contents, write_arrays
from gedanken.named import cost_of
from tests.test_sequences import MeanOverTime

N = 24
SHAPES = {"image": (2, 6, 5), "table": (4,)}
IMAGE, TABLE = [ConvolutionLayer(3, 3, 3), ReLU(), Flatten()], [FullyConnectedLayer(6), TanH()]
ENGINES = ["numpy", "cpu"]


def samples(count: int = N, seed: int = 0, dtype: str = "float32") -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(count, *shape)).astype(dtype) for name, shape in SHAPES.items()}


def classes(data: dict[str, Any]) -> np.ndarray:
    return ((data["table"][:, 0] > 0) + (data["image"].mean(axis=(1, 2, 3)) > 0)).astype(int)


DATA = samples()
LABELS = classes(DATA)


def network(*layers: Layer, engine: Any = "cpu", seed: int = 1) -> Network:
    net = Network(seed).input(**SHAPES)
    for layer in layers or (Branches(image=IMAGE, table=TABLE), BatchNorm(), FullyConnectedLayer(3), SoftMax()):
        net.add(layer)
    return net.regression(Adam(0.01), "cross_entropy", engine=engine)


def trained(net: Network, *data: Any, **options: Any) -> list[float]:
    return net.fit(*(data or (DATA, LABELS)), **{"epochs": 3, "mini_batch_size": 8, "progress": False, **options})[
        "cost"
    ]


# ---------------------------------------------------------------------------------------------- inputs


def test_both_engines_learn_the_same_and_kernels_do_all_of_it() -> None:
    costs = [trained(network(engine=engine), epochs=8) for engine in ENGINES]
    assert costs[0][-1] < 0.6 * costs[0][0]
    np.testing.assert_allclose(*costs, rtol=1e-4)
    net = network(engine="cpu")
    assert not net.summary().fallbacks
    assert net._plan is not None and net._plan.fused_step is not None
    rows = {row.path: row for row in net.summary().rows}
    assert [row.path for row in rows["0"].inner] == [
        f"0.{name}.{i}" for name, n in (("image", 3), ("table", 2)) for i in range(n)
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_inputs_that_are_put_beside_each_other_are_one_input(engine: str) -> None:
    rng = np.random.default_rng(2)
    parts = {"a": rng.normal(size=(N, 3)).astype("float32"), "b": rng.normal(size=(N, 2)).astype("float32")}
    told = []
    for shape, first, data in (
        ({"a": (3,), "b": (2,)}, Branches(a=[], b=[]), parts),
        ({"a": (5,)}, Branches(a=[]), {"a": np.hstack([*parts.values()])}),
        ({"shape": (5,)}, Branches([]), np.hstack([*parts.values()])),
    ):
        net = Network(4).input(**shape).add(first).add(FullyConnectedLayer(7)).add(ReLU()).add(Dropout(0.7))
        net.add(FullyConnectedLayer(3)).add(SoftMax()).regression(SGD(0.1), engine=engine)
        told.append([trained(net, data, LABELS, validation_set=0.25), net.feedforward(data).tolist()])
    assert told[0] == told[1] == told[2]


def test_branches_may_come_in_another_order_than_inputs() -> None:
    turned = Branches(table=TABLE, image=IMAGE), BatchNorm(), FullyConnectedLayer(3), SoftMax()
    told = [[trained(net := network(*turned, engine=engine)), net.feedforward(DATA)] for engine in ENGINES]
    np.testing.assert_allclose(told[0][0], told[1][0], rtol=1e-4)
    np.testing.assert_allclose(told[0][1], told[1][1], rtol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_of_the_whole_agree_with_finite_differences(engine: str) -> None:
    layers = [
        Branches(image=[ConvolutionLayer(2, 3, 3), TanH(), Flatten()], table=[LayerNorm(), FullyConnectedLayer(5)])
    ]
    layers += [Residual([FullyConnectedLayer(29), TanH()]), FullyConnectedLayer(3), SoftMax()]
    net = network(*layers, engine=Cpu(dtype="float64") if engine == "cpu" else "numpy")
    check_gradients(net, samples(5, dtype="float64"), classes(samples(5)), engine)


def check_mistake(make: Callable[[], Any], message: str) -> None:
    """Fail unless what is wrong is told in these words."""
    with pytest.raises((ArgumentError, DataError, ShapeError)) as caught:
        make()
    assert message in str(caught.value)


def check_gradients(net: Network, data: dict[str, Any], labels: Any, engine: str) -> None:
    shape, cost = net.input_shape, net._cost
    plan = Plan(net.layers, shape, select_engine(engine, "float64"), 3, cost)
    plan.initialise()
    x, ctx = ByName(data), plan.context(train=True)
    target = ByName(labels) if isinstance(labels, dict) else labels
    plan.cost_and_gradients(ctx, x, target)
    found = plan.grads.copy()
    rng, step = np.random.default_rng(5), 1e-5
    for place in rng.choice(plan.params.size, 40, replace=False):
        value, sides = plan.params[place], []
        for sign in (1, -1):
            plan.params[place] = value + sign * step
            sides.append(float(plan.cost_and_gradients(ctx, x, target).cost))
        plan.params[place] = value
        assert abs((sides[0] - sides[1]) / (2 * step) - found[place]) < 1e-6


def test_any_number_of_threads_makes_the_same_bits() -> None:
    told = {tuple(trained(network(engine=Cpu(threads=threads)))) for threads in (1, 2, 3)}
    told |= {tuple(trained(network(), parallel=DataParallel(workers=2)))}
    assert len(told) == 1


class Made(Generator):
    """The samples of DATA, with weights where these are wanted."""

    def __init__(self, weights: Any = None, **options: Any) -> None:
        self.weights = weights
        super().__init__(**options)

    def __len__(self) -> int:
        return N

    def get_mini_batches(self, index: int) -> list[Any]:
        pair = {name: array[index] for name, array in DATA.items()}, LABELS[index]
        return [pair if self.weights is None else (*pair, self.weights[index])]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_generator_gives_what_arrays_give(workers: int) -> None:
    weights = np.linspace(0, 2, N)
    for given in (None, weights):
        expected = trained(network(), DATA, LABELS, given, shuffle=False)
        with Made(given, mini_batch_size=8, workers=workers) as generator:
            assert trained(network(), generator, mini_batch_size=None) == expected
    for given in (None, weights):
        with ArrayGenerator(DATA, LABELS, given, mini_batch_size=8) as generator:
            expected = trained(network(), DATA, LABELS, given, shuffle=False)
            assert trained(network(), generator, mini_batch_size=None) == expected
    with ArrayGenerator((DATA, LABELS, weights), mini_batch_size=8) as generator:
        assert trained(network(), generator, mini_batch_size=None) == expected


def test_transforms_find_pictures_in_a_dict_in_a_tuple() -> None:
    flip = Flip(1.0, key=(0, "image"))
    with ArrayGenerator(DATA, LABELS, mini_batch_size=N, transforms=[flip]) as generator:
        ((x, labels),) = generator
    assert np.array_equal(x["image"], DATA["image"][..., ::-1]) and np.array_equal(x["table"], DATA["table"])
    assert np.array_equal(labels, LABELS)
    with pytest.raises(
        DataError, match=r"picture at key=\(0, 'x'\), got an item with entries \(0, 'image'\), \(0, 'table'\), 1"
    ):
        list(ArrayGenerator(DATA, LABELS, transforms=[Flip(key=(0, "x"))]))
    with pytest.raises(ArgumentError, match=r"Flip key"):
        Flip(key=("image", 0))
    item = {"image": DATA["image"][0], "map": DATA["image"][0, 0]}, 1
    for masks in ((0, "map"), [(0, "map")]):
        changed = Flip(1.0, key=(0, "image"), masks=masks)(np.random.default_rng(0), item)
        assert np.array_equal(changed[0]["map"], item[0]["map"][:, ::-1])
    with pytest.raises(DataError, match=r"say masks=\(0, 'map'\) to move it"):
        Flip(key=(0, "image"))(np.random.default_rng(0), item)


@pytest.mark.parametrize("data", [(DATA, LABELS), Made], ids=["arrays", "generator"])
@pytest.mark.parametrize("backend", ["threads", "processes"])
def test_workers_that_wait_for_nobody_learn_too(backend: str, data: Any) -> None:
    given = (Made(mini_batch_size=4),) if data is Made else data
    size = {"mini_batch_size": None if data is Made else 4}
    costs = trained(network(), *given, epochs=6, parallel=Hogwild(workers=2, backend=backend), **size)
    assert costs[-1] < costs[0]


def test_copies_and_files_are_the_same_network(tmp_path: Path) -> None:
    net = network()
    trained(net)
    net.save(tmp_path / "net", optimizer=True)
    others = [Network.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    expected = net.feedforward(DATA)
    for other in others:
        assert (other.layers, other.input_shape) == (net.layers, net.input_shape)
        assert np.array_equal(other.feedforward(DATA), expected)
    rest = trained(net)
    assert all(trained(other) == rest for other in others)
    assert repr(net.layers[0]).startswith("Branches(image=(ConvolutionLayer(") and eval(
        repr(Branches(a=[], merge="sum"))
    ) == Branches(a=[], merge="sum")


def test_a_training_goes_on_from_a_checkpoint_and_knows_its_data(tmp_path: Path) -> None:
    whole = trained(network(), epochs=4, callbacks=[Checkpoint()], folder=tmp_path / "whole")
    trained(network(), epochs=2, callbacks=[Checkpoint()], folder=tmp_path / "run")
    net = network()
    assert trained(net, epochs=4, callbacks=[Checkpoint()], resume=tmp_path / "run") == whole
    other = {**DATA, "table": DATA["table"] + 1}
    with pytest.raises(Exception, match="is of another training, its data"):
        trained(network(), other, LABELS, epochs=4, callbacks=[Checkpoint()], resume=tmp_path / "run")


WORDS = Sequences.of([[3, 1, 2], [5], [1, 1, 4, 2], [2, 6]], length=5)
READINGS = Sequences(np.random.default_rng(0).normal(size=(4, 6, 2)).astype("float32"), [6, 2, 3, 1])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_lengths_of_each_input_are_its_own(engine: str) -> None:
    net = Network(2).input(words=(5,), readings=(6, 2))
    net.add(
        Branches(words=[Embedding(7, 4, mask=0), MeanOverTime()], readings=[FullyConnectedLayer(3), MeanOverTime()])
    )
    net.add(FullyConnectedLayer(2)).add(SoftMax()).regression(engine=engine)
    data = {"words": WORDS.padded(), "readings": READINGS}
    filled = {
        **data,
        "readings": Sequences(np.where(READINGS.real()[..., None], READINGS.values, 99), READINGS.lengths),
    }
    outputs = net.feedforward(data)
    assert np.array_equal(outputs, net.feedforward(filled))
    assert not np.allclose(outputs, net.feedforward({**data, "readings": READINGS.values}))
    alone = {
        "words": [[5, 0, 0, 0, 0]],
        "readings": READINGS[1:2].padded()[:, :2].repeat(3, axis=1)[:, [0, 3, 0, 3, 0, 3]],
    }
    np.testing.assert_allclose(net.feedforward(alone)[0], outputs[1], rtol=1e-5)
    trained(net, filled, [0, 1, 1, 0])
    short = Network().input(words=(5,), table=(2,)).add(Branches(words=[Embedding(7, 4), Flatten()], table=[]))
    short.add(FullyConnectedLayer(2)).add(SoftMax()).regression(engine=engine)
    with pytest.raises(ShapeError, match=r"layer 0\.words\.1 Flatten\(\) does not honour the lengths"):
        short.predict({"words": WORDS, "table": np.ones((4, 2))})


@pytest.mark.parametrize("merge", ["concatenate", "sum"])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_input_without_lengths_takes_those_of_the_others(engine: str, merge: str) -> None:
    def joined(length: int) -> Network:
        net = Network(2).input(words=(length,), numbers=(length, 3))
        net.add(Branches(words=[Embedding(7, 3, mask=0)], numbers=[FullyConnectedLayer(3)], merge=merge))
        return net.add(LSTM(3, last=True)).add(FullyConnectedLayer(1)).regression(cost="mean_squared", engine=engine)

    net, numbers = joined(5), np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    noisy = numbers + 9 * ~WORDS.real()[..., None]
    data, filled = ({"words": WORDS.padded(), "numbers": one} for one in (numbers, noisy))
    outputs = net.feedforward(data)
    assert np.array_equal(outputs, net.feedforward(filled))
    assert trained(net, data, np.ones((4, 1))) == trained(joined(5), filled, np.ones((4, 1)))
    for sample, length in enumerate(WORDS.lengths.tolist()):
        alone = joined(length)
        alone.take(net)
        one = {"words": WORDS.padded()[sample : sample + 1, :length], "numbers": numbers[sample : sample + 1, :length]}
        np.testing.assert_allclose(alone.feedforward(one)[0], net.feedforward(data)[sample], rtol=1e-5)
    with pytest.raises(
        ShapeError, match="sequence 1 has 1 places in row 'words' and 2 in row 'numbers'; give the same"
    ):
        net.feedforward({"words": WORDS.padded(), "numbers": Sequences(numbers, [3, 2, 4, 2])})


def test_sequences_of_any_input_run_by_kernels_in_one_program() -> None:
    told, rng = [], np.random.default_rng(1)
    lengths = rng.integers(1, 6, (2, N))
    words = np.where(np.arange(5) < lengths[0, :, None], rng.integers(1, 9, (N, 5)), 0)
    data = {
        "words": words,
        "readings": Sequences(DATA["image"].reshape(N, 12, 5)[:, :5], lengths[1]),
        "table": DATA["table"],
    }
    for engine in ENGINES:
        net = Network(2).input(words=(5,), readings=(5, 5), table=(4,))
        sequences = {
            "words": [Embedding(9, 4, mask=0), GRU(5, last=True)],
            "readings": [LSTM(4), GlobalAveragePool1DLayer()],
        }
        net.add(Branches(**sequences, table=[])).add(FullyConnectedLayer(6)).add(HEADS)
        told.append(trained(net.regression(Adam(0.01), COST, engine=engine), data, TARGETS))
    np.testing.assert_allclose(*told, rtol=1e-5)
    assert net._plan is not None and net._plan.fused_step is not None and not net.summary().fallbacks


def test_a_frozen_branch_stays_as_it_is_and_layers_are_replaced() -> None:
    net = network()
    kept = net.feedforward(DATA)
    other = network(Branches(image=IMAGE, table=TABLE), BatchNorm(), FullyConnectedLayer(3), SoftMax(), seed=9)
    taken = other.take(net, 0)
    assert len(taken.layers) == 1
    net.freeze(0)
    before = net._plan.state()
    trained(net)
    after = net._plan.state()
    assert all(
        np.array_equal(before[name], after[name]) == name.startswith("0.") for name in before if "kernel" in name
    )
    assert not np.allclose(net.feedforward(DATA), kept)
    net.replace(slice(-2, None), FullyConnectedLayer(2), SoftMax()).regression()
    assert net.predict(DATA).shape == (N,)


def test_a_check_tells_of_each_input() -> None:
    sound = network().check(DATA, LABELS)
    assert not [one for one in sound.findings if one.code in ("unscaled-input", "constant-input")]
    found = network().check(
        {"image": DATA["image"], "table": 1000 * DATA["table"]}, LABELS, validation_set=(DATA, LABELS)
    )
    told = {one.code: one.text for one in found.findings}
    assert "of the input 'table'" in told["unscaled-input"]
    twice = {name: np.concatenate([array, array]) for name, array in DATA.items()}
    again = network().check(twice, np.concatenate([LABELS, LABELS]), validation_set=(DATA, LABELS))
    assert "leak" in str([one.code for one in again.findings])


def test_a_fault_names_the_sample_and_its_input() -> None:
    net = network(Branches(image=IMAGE, table=TABLE), FullyConnectedLayer(3), SoftMax())
    wrong = copy.deepcopy(DATA)
    wrong["image"][5] = 3e38
    with pytest.raises(Exception, match=r"sample 5 has values up to 3e\+38"):
        trained(net, wrong, LABELS, shuffle=False)


def first(*layers: Layer, **shapes: Any) -> Any:
    def make() -> None:
        net = Network().input(**shapes)
        for layer in layers:
            net.add(layer)

    return make


def fitted(change: Any, labels: Any = LABELS) -> Any:
    return lambda: network().fit(change(dict(DATA)), labels, progress=False)


MISTAKES = {
    "a shape and names": (
        lambda: Network().input((3,), table=(4,)),
        "input must be given one shape, or shapes by name",
    ),
    "no shape": (lambda: Network().input(), "input shape must be a tuple such as (1, 28, 28), got None"),
    "a name that is no word": (lambda: Network().input(**{"a b": (3,)}), "words such as image"),
    "a name of an argument": (lambda: Network().input(merge=(3,)), "not merge, which is an argument of Branches"),
    "a wrong shape": (lambda: Network().input(image=(3, 0)), "input image must be a whole number of at least 1, got 0"),
    "both kinds of branches": (
        lambda: Branches(ReLU(), image=[]),
        "Branches must be given branches by place or by name, not both",
    ),
    "a branch of no layers": (
        lambda: Branches(image=3),
        "Branches image must be a layer or a sequence of layers, got 3",
    ),
    "a row for several inputs": (
        first(ReLU(), **SHAPES),
        "layer 0 ReLU() takes one input, but the network has 2 with names; begin with Branches(image=[...], table=[",
    ),
    "branches without names": (first(Branches([], []), **SHAPES), "takes one input, but the network has 2 with names"),
    "an input without a branch": (
        first(Branches(image=[]), **SHAPES),
        "must have a branch for each input, and no branch takes the input 'table'",
    ),
    "a branch without an input": (
        first(Branches(image=IMAGE, table=[], more=[]), **SHAPES),
        "must have a branch for each input, and there is not the input 'more'",
    ),
    "branches by name behind others": (
        first(FullyConnectedLayer(3), Branches(a=[], b=[]), shape=(4,)),
        "takes inputs by name, but layer 0 FullyConnectedLayer(n_units=3) has none; begin with input(a=...)",
    ),
    "branches that do not fit": (first(Branches(image=[], table=[]), **SHAPES), "merges [(2, 6, 5), (4,)]"),
    "an array": (
        fitted(lambda data: data["table"]),
        "data must be a dict of arrays by the names 'image', 'table', got",
    ),
    "a missing key": (fitted(lambda data: {"image": data["image"]}), "got none for 'table'"),
    "one key more": (
        fitted(lambda data: {**data, "x": 1}),
        "must have arrays for the names 'image', 'table' only, got 'x'",
    ),
    "a wrong shape in one": (
        fitted(lambda data: {**data, "table": data["table"][:, 1:]}),
        'data["table"] must have shape (N, 4), got (24, 3)',
    ),
    "numbers of samples": (
        fitted(lambda data: {**data, "table": data["table"][1:]}),
        'data["table"] must have one entry for each sample of data["image"], got 23 for 24',
    ),
    "a NaN in one": (
        fitted(lambda data: {**data, "table": np.where(data["table"] < 2, data["table"], np.nan) * np.nan}),
        'data["table"] must be finite, got nan at index (0, 0)',
    ),
    "labels of another number": (
        fitted(dict, LABELS[1:]),
        "labels must have one entry for each sample of data, got 23",
    ),
    "a dict for one input": (
        lambda: Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression().fit(DATA, LABELS),
        "data must be an array of real numbers, got dict",
    ),
    "sliding": (lambda: network().slide(DATA["image"]), "slide needs a network of pictures: input((C, H, W))"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_before_any_work(mistake: str) -> None:
    check_mistake(*MISTAKES[mistake])


def test_an_item_of_another_form_is_told() -> None:
    class Changes(Made):
        def get_mini_batches(self, index: int) -> list[Any]:
            (pair,) = super().get_mini_batches(index)
            return [({"table": pair[0]["table"]}, pair[1]) if index == 3 else pair]

    with pytest.raises(DataError, match=r"entries 0\['image'\], 0\['table'\], 1 as the first item is, got"):
        trained(network(), Changes(mini_batch_size=4), mini_batch_size=None)


def test_commands_refuse_such_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network().save(tmp_path / "net")
    assert main(["evaluate", str(tmp_path / "net"), "drawn-digits", "--limit", "10"]) == 2
    assert "the model must have one input and one output" in capsys.readouterr().err
    assert main(["summary", str(tmp_path / "net")]) == 0


def test_by_name_is_taken_apart_like_arrays() -> None:
    both = ByName({"a": np.arange(6).reshape(3, 2), "b": Sequences.of([[1, 2], [3], [4]])})
    assert len(both) == 3 and both[[2, 0]].parts["b"].lengths.tolist() == [1, 2]
    assert each(len, both.copy()).parts == {"a": 3, "b": 3} and each(len, [1, 2]) == 2


# ---------------------------------------------------------------------------------------------- outputs

TARGETS = {"kind": LABELS, "size": DATA["table"][:, 1] * 2 + 1}
COST = {"kind": "cross_entropy", "size": ("mean_squared", 0.5)}
METRICS = {"kind": ["accuracy"], "size": [MeanAbsoluteError()]}
HEADS = Heads(kind=[FullyConnectedLayer(5), ReLU(), FullyConnectedLayer(3), SoftMax()], size=[FullyConnectedLayer(1)])
TRUNK: list[Layer] = [Branches(image=IMAGE, table=TABLE), BatchNorm(), FullyConnectedLayer(8), ReLU()]


def headed(*layers: Layer, engine: Any = "cpu", cost: Any = COST, metrics: Any = METRICS, seed: int = 1) -> Network:
    net = Network(seed).input(**SHAPES)
    for layer in layers or (*TRUNK, HEADS):
        net.add(layer)
    return net.regression(Adam(0.01), cost, metrics=metrics, engine=engine)


def test_heads_learn_alike_on_both_engines_as_one_program() -> None:
    told = []
    for engine in ENGINES:
        net = headed(engine=engine)
        history = net.fit(DATA, TARGETS, validation_set=(DATA, TARGETS), epochs=25, mini_batch_size=8, progress=False)
        told.append([history[name] for name in ("cost", "kind_cost", "size_cost", "validation_size_cost")])
        total = np.add(history["kind_cost"], 0.5 * np.array(history["size_cost"]))
        np.testing.assert_allclose(history["cost"], total, rtol=1e-5)
        assert history["cost"][-1] < 0.5 * history["cost"][0]
        assert history["validation_kind_accuracy"][-1] > 0.8
        assert history["size_mean_absolute_error"][-1] < history["size_mean_absolute_error"][0]
    np.testing.assert_allclose(*told, rtol=2e-3)
    assert not net.summary().fallbacks and net._plan is not None and net._plan.fused_step is not None
    assert "kind (3,), size (1,)" in str(net.summary())


@pytest.mark.usefixtures("standin_cupy")
def test_on_cupy_arrays_a_training_is_the_same() -> None:
    told = []
    for engine in ("numpy", "cuda"):
        net = headed(*TRUNK, HEADS, engine=engine, metrics=None)
        history = net.fit(DATA, TARGETS, np.linspace(0, 1, N), epochs=2, mini_batch_size=7, progress=False)
        outputs = net.feedforward(DATA)
        told.append([history[name] for name in ("cost", "kind_cost", "kind_accuracy")] + [outputs["size"].tolist()])
    assert told[0] == told[1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weight", [0, 0.25, 3])
def test_gradients_of_all_heads_agree_with_finite_differences(engine: str, weight: float) -> None:
    net = headed(
        *TRUNK[:1], FullyConnectedLayer(6), TanH(), HEADS, cost={**COST, "size": ("huber", weight)}, engine=engine
    )
    data = samples(5, dtype="float64")
    check_gradients(net, data, {"kind": classes(data), "size": data["table"][:, :1]}, engine)


def any_network(rng: np.random.Generator, samples: int) -> tuple[Any, ...]:
    """Return layers, input shapes, a cost, data and labels, all at random."""
    shapes = {name: tuple(rng.integers(2, 6, rng.choice([1, 3]))) for name in "abc"[: rng.integers(1, 4)]}
    branches: dict[str, Any] = {}
    for name, shape in shapes.items():
        first_ones = [ConvolutionLayer(3, 2, 2), ReLU(), Flatten()] if len(shape) == 3 else [BatchNorm()]
        branches[name] = [*first_ones, FullyConnectedLayer(5), TanH()]
    merge = rng.choice(["sum", "concatenate", "average", "multiply", "maximum", "minimum"])
    width = 5 * len(shapes) if merge == "concatenate" else 5
    kinds = {
        "classes": ([FullyConnectedLayer(3), SoftMax()], "cross_entropy", rng.integers(0, 3, samples)),
        "answers": ([FullyConnectedLayer(2), Sigmoid()], "binary_cross_entropy", rng.integers(0, 2, (samples, 2))),
        "values": ([ReLU(), FullyConnectedLayer(2)], "huber", rng.normal(size=(samples, 2))),
        "same": ([], "mean_squared", rng.normal(size=(samples, width))),
        "turned": ([Reshape((width, 1))], "mean_absolute", rng.normal(size=(samples, width, 1))),
    }
    chosen = rng.permutation([*kinds])[: rng.integers(1, 5)].tolist()
    through = {name: [[], TanH(), FullyConnectedLayer(5)][rng.integers(3)] for name in rng.permutation([*shapes])}
    inner = (Branches(merge="names", **branches), Branches(merge=merge, **through))
    joined = inner if rng.random() < 0.5 else (Branches(merge=merge, **branches),)
    layers = *joined, Heads(**{name: kinds[name][0] for name in chosen})
    cost = cost_of({name: (kinds[name][1], 1 + rng.random()) for name in chosen}, layers[-1])
    data = {name: rng.normal(size=(samples, *shape)) for name, shape in shapes.items()}
    return layers, shapes, cost, data, {name: kinds[name][2] for name in chosen}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("seed", range(6))
def test_kernels_agree_with_the_specification_on_any_network(seed: int, dtype: str, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    layers, shapes, cost, data, labels = any_network(rng, samples := int(rng.integers(2, 40)))
    weight = rng.random(samples) if seed % 2 else None
    told = []
    for engine in ENGINES:
        plan = Plan(
            layers,
            {name: tuple(map(int, shape)) for name, shape in shapes.items()},
            select_engine(engine, dtype),
            1,
            cost,
        )
        plan.initialise()
        passed = plan.cost_and_gradients(plan.context(train=True), ByName(data), ByName(labels), weight)
        alone = plan.predict(ByName(data))
        told.append({"cost": passed.cost, "gradients": plan.grads.copy(), **passed.outputs.parts})
        told[-1] |= {f"{name} at prediction": array for name, array in alone.parts.items()}
        assert engine == "numpy" or (plan.fused_step is not None and not plan.fallbacks)
    for name, expected in told[0].items():
        assert np.max(abs(np.asarray(told[1][name]) - expected)) <= tolerance * max(1, np.max(abs(expected))), name


@pytest.mark.parametrize("engine", ENGINES)
def test_one_head_is_a_network_without(engine: str) -> None:
    told = []
    for last, cost, labels in (
        ([Heads(only=[FullyConnectedLayer(3), SoftMax()])], {"only": "cross_entropy"}, {"only": LABELS}),
        ([Sequential([Sequential(), FullyConnectedLayer(3)]), SoftMax()], "cross_entropy", LABELS),
    ):
        net = Network(3).input((4,)).add(FullyConnectedLayer(6)).add(ReLU())
        for layer in last:
            net.add(layer)
        net.regression(Adam(0.01), cost, engine=engine)
        names = {"2.only.0.kernel": "2.1.kernel", "2.only.0.bias": "2.1.bias"}
        state = net._plan.state()
        if told:
            net._plan.restore(
                {name: told[0][2][{new: old for old, new in names.items()}.get(name, name)] for name in state}
            )
        history = net.fit(DATA["table"], labels, epochs=3, mini_batch_size=8, validation_set=0.25, progress=False)
        told.append((history["cost"], net.feedforward(DATA["table"]), state))
    assert told[0][0] == told[1][0]
    assert np.array_equal(told[0][1]["only"], told[1][1])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_heads_answer(engine: str) -> None:
    heads = Heads(kind=[FullyConnectedLayer(3), SoftMax()], fits=[FullyConnectedLayer(1), Sigmoid()], size=[])
    cost = {"kind": CrossEntropy(), "fits": "binary_cross_entropy", "size": "mean_absolute"}
    net = headed(*TRUNK, heads, cost=cost, metrics=None, engine=engine)
    size = np.zeros((N, 8))
    trained(net, DATA, {"kind": LABELS, "fits": LABELS > 0, "size": size})
    outputs, answers, shares = net.feedforward(DATA), net.predict(DATA), net.predict_proba(DATA)
    assert {name: one.shape for name, one in outputs.items()} == {"kind": (N, 3), "fits": (N, 1), "size": (N, 8)}
    np.testing.assert_allclose(outputs["kind"].sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(answers["kind"], outputs["kind"].argmax(axis=1)) and answers["kind"].dtype == np.int64
    assert np.array_equal(answers["fits"], outputs["fits"][:, 0] > 0.5) and np.array_equal(
        answers["size"], outputs["size"]
    )
    assert shares.keys() == {"kind", "fits"} and shares["fits"].shape == (N, 2)
    assert net.predict(DATA, threshold=1.0)["fits"].sum() == 0
    found = net.evaluate(DATA, {"kind": LABELS, "fits": LABELS > 0, "size": size}, progress=False)
    assert [*found] == [
        "cost", "kind_accuracy", "fits_accuracy", "size_mean_absolute_error", "kind_cost", "fits_cost", "size_cost",
    ]  # fmt: skip
    assert found["kind_accuracy"] == (answers["kind"] == LABELS).mean()


def test_a_head_without_weight_teaches_nothing() -> None:
    net, alone = (headed(cost={"kind": ("cross_entropy", weight), "size": "mean_squared"}) for weight in (0, 1))
    before = net._plan.state()
    history = net.fit(DATA, TARGETS, epochs=2, progress=False)
    after = net._plan.state()
    assert all(
        np.array_equal(before[name], after[name]) == name.startswith("4.kind") for name in before if "kernel" in name
    )
    assert history["kind_cost"][0] > 0.5
    np.testing.assert_allclose(history["cost"], history["size_cost"], rtol=1e-6)
    assert alone.fit(DATA, TARGETS, epochs=1, progress=False)["cost"][0] > history["cost"][0]


def test_weights_of_samples_and_labels_to_ignore_are_each_heads() -> None:
    weights = np.linspace(0, 3, N)
    some = np.where(np.arange(N) < 5, LABELS, -1)
    cost = {"kind": CrossEntropy(ignore_label=-1), "size": "mean_squared"}
    told = []
    for engine in ENGINES:
        net = headed(cost=cost, engine=engine)
        found = net.evaluate(DATA, {**TARGETS, "kind": some}, weights, progress=False, mini_batch_size=N)
        outputs = net.feedforward(DATA)
        picked = -np.log(outputs["kind"][np.arange(5), LABELS[:5]])
        assert found["kind_cost"] == pytest.approx((weights[:5] * picked).mean(), rel=1e-5)
        errors = (outputs["size"][:, 0] - TARGETS["size"]) ** 2
        assert found["size_cost"] == pytest.approx((weights * errors).mean(), rel=1e-5)
        apart = net.evaluate(DATA, {**TARGETS, "kind": some}, weights, progress=False, mini_batch_size=4)
        assert apart["kind_cost"] == pytest.approx(found["kind_cost"], rel=1e-5)
        right = (outputs["kind"][:5].argmax(axis=1) == LABELS[:5]) * weights[:5]
        assert found["kind_accuracy"] == pytest.approx(right.sum() / weights[:5].sum())
        told.append(trained(net, DATA, {**TARGETS, "kind": some}, weights))
    np.testing.assert_allclose(*told, rtol=1e-4)
    balanced = headed(cost={"kind": CrossEntropy(class_weights="balanced"), "size": "mean_squared"})
    trained(balanced, DATA, {**TARGETS, "kind": np.arange(N) % 3})
    assert "balanced" not in str(balanced._cost)


class Pairs(Made):
    """The same with labels by name."""

    def get_mini_batches(self, index: int) -> list[Any]:
        x = {name: array[index] for name, array in DATA.items()}
        return [(x, {name: array[index] for name, array in TARGETS.items()})]


def test_a_generator_gives_labels_by_name() -> None:
    expected = trained(headed(), DATA, TARGETS, shuffle=False)
    for workers in (0, 2):
        with Pairs(mini_batch_size=8, workers=workers) as generator:
            assert trained(headed(), generator, mini_batch_size=None) == expected
    with ArrayGenerator(DATA, TARGETS, mini_batch_size=8) as generator:
        net = headed()
        assert trained(net, generator, mini_batch_size=None) == expected
        found, told = net.evaluate(generator, progress=False), net.evaluate(DATA, TARGETS, progress=False)
        np.testing.assert_allclose([*found.values()], [*told.values()], rtol=1e-5)


@pytest.mark.parametrize("backend", ["threads", "processes"])
@pytest.mark.parametrize("given", [(DATA, TARGETS), None], ids=["arrays", "generator"])
def test_workers_know_heads(backend: str, given: Any) -> None:
    size = {"mini_batch_size": None if given is None else 4}
    net = headed()
    history = net.fit(
        *(given or (Pairs(mini_batch_size=4),)),
        epochs=12,
        progress=False,
        parallel=Hogwild(workers=2, backend=backend),
        **size,
    )
    assert history["size_cost"][-1] < history["size_cost"][0] and history["kind_accuracy"][-1] > 0.5
    assert len({tuple(trained(headed(engine=Cpu(threads=n)), DATA, TARGETS)) for n in (1, 2, 3)}) == 1


def test_callbacks_watch_heads_by_name(tmp_path: Path) -> None:
    watch, log = EarlyStopping("validation_size_cost", patience=2), CSVLog(tmp_path / "log.csv")
    wrong = (DATA, {**TARGETS, "size": -5 * TARGETS["size"]})  # the better the network learns, the worse
    history = headed().fit(DATA, TARGETS, validation_set=wrong, epochs=60, progress=False, callbacks=[watch, log])
    assert len(history.epochs) < 60 and history.kept is not None
    assert "validation_kind_accuracy" in (tmp_path / "log.csv").read_text().splitlines()[0]
    averaged = headed()
    averaged.fit(DATA, TARGETS, epochs=2, progress=False, callbacks=[MovingAverage(0.9)])
    assert set(averaged.feedforward(DATA)) == {"kind", "size"}


def test_files_copies_and_a_resume_of_heads(tmp_path: Path) -> None:
    net = headed()
    trained(net, DATA, TARGETS)
    net.save(tmp_path / "net", optimizer=True)
    expected, rest = net.feedforward(DATA), None
    others = [Network.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for other in (*others, net):
        for name, array in other.feedforward(DATA).items():
            assert np.array_equal(array, expected[name])
        costs = other.fit(DATA, TARGETS, epochs=2, mini_batch_size=8, progress=False)
        rest = rest or costs["kind_accuracy"]
        assert costs["kind_accuracy"] == rest
    whole = trained(headed(), DATA, TARGETS, epochs=4, callbacks=[Checkpoint()], folder=tmp_path / "whole")
    trained(headed(), DATA, TARGETS, epochs=2, callbacks=[Checkpoint()], folder=tmp_path / "run")
    assert trained(headed(), DATA, TARGETS, epochs=4, callbacks=[Checkpoint()], resume=tmp_path / "run") == whole
    net.replace(-1, Heads(kind=[FullyConnectedLayer(2), SoftMax()])).regression(cost={"kind": "cross_entropy"})
    assert net.predict(DATA)["kind"].shape == (N,)


@dataclass(frozen=True, eq=False, repr=False)
class Doubled(Layer):
    """A layer of a user's own, which has no kernel."""

    def output_shape(self, shape):
        return shape

    def forward(self, ctx, p, s, x):
        return 2 * x, None

    def backward(self, ctx, p, g, cache, dy):
        return 2 * dy


def test_layers_and_costs_without_kernels_stand_in_heads_too() -> None:
    own = CustomCost(lambda y, t: abs(y - t).sum(axis=1), lambda y, t: np.sign(y - t))
    labels = {**TARGETS, "size": TARGETS["size"][:, None]}
    layer, alone = "layer 4.size.1 Doubled() (no kernel)", "cost CustomCost of head 'size' (no kernel)"
    rows = (([Doubled()], "huber", (layer,)), ([], own, (alone,)), ([Doubled()], own, (layer, alone)))
    for layers, cost, fallbacks in rows:
        told = []
        for engine in ENGINES:
            heads = Heads(kind=[FullyConnectedLayer(3), SoftMax()], size=[FullyConnectedLayer(1), *layers])
            net = headed(*TRUNK, heads, cost={"kind": "cross_entropy", "size": (cost, 0.5)}, metrics={}, engine=engine)
            told.append(trained(net, DATA, labels))
        np.testing.assert_allclose(*told, rtol=1e-4)
        assert net.summary().fallbacks == fallbacks
        assert net._plan is not None and net._plan.fused_step is None


@pytest.mark.parametrize("engine", ENGINES)
def test_lengths_reach_the_cost_of_a_head(engine: str) -> None:
    net = Network(2).input((5,)).add(Embedding(7, 4, mask=0)).add(FullyConnectedLayer(4))
    net.add(Heads(each=[FullyConnectedLayer(3), SoftMax()], whole=[MeanOverTime(), FullyConnectedLayer(1)]))
    net.regression(cost={"each": "cross_entropy", "whole": "mean_squared"}, engine=engine)
    words, each = WORDS.padded(), np.arange(20).reshape(4, 5) % 3
    other = np.where(WORDS.real(), each, 0)
    told = [net.evaluate(words, {"each": one, "whole": np.ones(4)}, progress=False) for one in (each, other)]
    assert told[0] == told[1]
    outputs = net.feedforward(words)
    assert not outputs["each"][~WORDS.real()].any()
    picked = np.take_along_axis(outputs["each"], each[..., None], 2)[..., 0][WORDS.real()]
    assert told[0]["each_cost"] == pytest.approx(-np.log(picked).mean(), rel=1e-5)
    trained(net, words, {"each": each, "whole": np.ones(4)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data["learner"]["cost"].update(heads=[["kind", {"type": "MeanSquared"}, 1.0]]),
            "be for the heads",
        ),
        (lambda data: data["learner"]["cost"]["heads"][0].__setitem__(2, -1.0), r"must be a number in \[0, inf\)"),
        (lambda data: data["learner"].update(cost={"type": "MeanSquared"}), "cost must be for the heads"),
        (lambda data: data["learner"].update(metrics=[{"type": "Accuracy"}]), "metrics must be of the heads"),
        (lambda data: data["learner"]["metrics"][0].update(head="none"), "metrics must be of the heads"),
        (lambda data: data["input_shape"].update(more=[3]), "no branch takes the input 'more'"),
        (lambda data: data.update(input_shape={}), "input shapes must be at least one"),
        (lambda data: data["layers"][0]["named"].update(items=[["a b", []]]), "be words such as image"),
        (lambda data: data["layers"][0]["named"].update(items=[[5, []]]), "Branches"),
        (lambda data: data["layers"][-1].update(heads=3), "holds no architecture|Heads"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net"
    headed().save(path)
    with path.open("rb") as file:
        contents = read_contents(file)
        arrays = read_arrays(file, contents)
    data = json.loads(contents.metadata["architecture"])
    change(data)
    metadata = {key: contents.metadata[key] for key in ("format", "version")}
    with path.open("wb") as file:
        write_arrays(file, arrays, {**metadata, "architecture": json.dumps(data)})
    with pytest.raises(CheckpointError, match=message):
        Network.load(tmp_path / "net")


def test_a_check_and_a_fault_name_the_head() -> None:
    rare = {**TARGETS, "kind": np.where(np.arange(N) == 3, 1, 0), "size": 1e4 + TARGETS["size"]}
    told = " ".join(one.text for one in headed(metrics=None).check(DATA, rare).findings)
    assert "Head 'kind': " in told and "Head 'size': " in told
    twice = {name: np.concatenate([one, one]) for name, one in DATA.items()}
    conflict = {name: np.concatenate([one, one + (name == "size")]) for name, one in TARGETS.items()}
    assert "label-conflict" in [one.code for one in headed().check(twice, conflict).findings]
    wrong = {**TARGETS, "size": np.where(np.arange(N) == 7, 1e30, TARGETS["size"])}
    with pytest.raises(NonFiniteError, match="the cost MeanSquared of the head 'size'") as caught:
        headed().fit(DATA, wrong, epochs=2, mini_batch_size=8, shuffle=False, progress=False)
    assert caught.value.fault.sample == 7


class Best(Metric):
    """A metric of a user's own that does not judge samples by themselves."""

    def measure(self, y, target):
        return np.array([y.mean() * len(y), len(y)]) if len(y) > 1 else np.array([7.0, 1.0])

    def value(self, total):
        return total[0] / total[1]


def wrong_labels(**change: Any) -> Any:
    return lambda: headed().fit(DATA, {**TARGETS, **change}, progress=False)


WRONG = {
    "no head": (Heads, "Heads must have at least one head, by its name, got {}"),
    "a head of no layers": (lambda: Heads(a=3), "Heads a must be a layer or a sequence of layers, got 3"),
    "a name of records": (lambda: Heads(validation_a=[]), "Heads names must not begin with validation"),
    "a layer behind": (
        first(Heads(a=[]), ReLU(), shape=(4,)),
        "layer 1 ReLU() takes one input, but layer 0 Heads(a=()) gives 1 with names; go on with Branches(a=[...])",
    ),
    "heads in branches": (
        first(Branches([Heads(a=[])], []), shape=(4,)),
        "layer 0.0.0 Heads(a=()) gives results by name at the end of",
    ),
    "one cost for all": (
        lambda: headed(cost="cross_entropy"),
        "cost must be a dict with a cost for each of the heads ['kind', 'size'], got 'cross_entropy'",
    ),
    "costs without heads": (
        lambda: network().regression(cost=COST),
        "cost must be one cost where the last layer is not",
    ),
    "a head without a cost": (lambda: headed(cost={"kind": "cross_entropy"}), "and not none for 'size'"),
    "a cost without a head": (
        lambda: headed(cost={**COST, "more": "huber"}),
        "cost must be of the heads ['kind', 'size'] alone, and not of 'more'",
    ),
    "a weight below 0": (
        lambda: headed(cost={**COST, "size": ("huber", -1)}),
        "the weight of cost['size'] must be a number in [0, inf), got -1",
    ),
    "a weight that is none": (lambda: headed(cost={**COST, "size": ("huber", np.nan)}), "in [0, inf), got nan"),
    "no weight": (
        lambda: headed(cost={"kind": ("cross_entropy", 0), "size": ("huber", 0.0)}),
        "cost must have a head whose weight is not 0",
    ),
    "three of a cost": (
        lambda: headed(cost={**COST, "size": ("huber", 1, 1)}),
        "cost['size'] must be a cost or a pair",
    ),
    "a cost that does not fit": (
        lambda: headed(cost={"kind": "cross_entropy", "size": "cross_entropy"}),
        "head 'size': cost cross_entropy needs probabilities, but the last layer is FullyConnectedLayer(n_units=1)",
    ),
    "sums and means": (
        lambda: headed(cost={"kind": "cross_entropy", "size": MeanSquared(reduction="sum")}),
        'cost must have reduction="sum" for all heads or for none',
    ),
    "metrics in a list": (
        lambda: headed(metrics=["accuracy"]),
        "metrics must be a dict of lists by names of the heads",
    ),
    "metrics of no head": (
        lambda: headed(metrics={"x": []}),
        "dict of lists by names of the heads ['kind', 'size'], got",
    ),
    "a metric twice": (
        lambda: headed(metrics={"kind": ["f1", "f1"]}),
        "head 'kind': metrics must have different names",
    ),
    "labels in an array": (
        lambda: headed().fit(DATA, LABELS),
        "labels must be a dict of arrays by the names 'kind', 'size', got a ndarray",
    ),
    "labels of one head": (lambda: headed().fit(DATA, {"kind": LABELS}), "got none for 'size'"),
    "labels of another head": (wrong_labels(more=LABELS), "labels must have arrays for the names 'kind', 'size' only"),
    "too few labels": (
        wrong_labels(size=LABELS[1:]),
        'labels["size"] must have one entry for each sample of data, got 23 for 24',
    ),
    "labels that are none": (wrong_labels(kind=LABELS + 7), 'labels["kind"] must'),
    "NaN as label": (wrong_labels(size=LABELS * np.nan), 'labels["size"] must be finite'),
    "labels by name for one output": (
        lambda: network().fit(DATA, TARGETS),
        "labels must be an array of real numbers, got",
    ),
    "a threshold for nothing": (lambda: headed().predict(DATA, threshold=0.5), "no output is the probability of a yes"),
    "sliding heads": (
        lambda: (
            Network()
            .input((1, 3, 3))
            .add(Heads(a=[Flatten()]))
            .regression(cost={"a": "huber"})
            .slide(np.ones((1, 4, 4)))
        ),
        "slide needs a network of one output, got the heads ['a']",
    ),
    "a metric that mixes samples": (
        lambda: headed(metrics={"size": [Best()]}).fit(DATA, TARGETS),
        "Best of the head 'size' must judge each sample by itself",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_with_heads_are_told_before_any_work(mistake: str) -> None:
    check_mistake(*WRONG[mistake])


# ---------------------------------------------------------------------------------------------- heads that count apart

EACH_PLACE = {"place": CrossEntropy(ignore_label=2), "one": ("mean_squared", 0.5)}


def counted_apart(size: int, **options: Any) -> tuple[Network, Any, Any]:
    """Return a network whose heads judge each place and each sequence, with data and labels."""
    rng = np.random.default_rng(3)
    x = Sequences(rng.normal(size=(size, 9, 3)).astype("float32"), rng.integers(1, 10, size))
    net = Network(1).input((9, 3)).add(FullyConnectedLayer(4)).add(TanH())
    one = [GlobalAveragePool1DLayer(), FullyConnectedLayer(1)]
    net.add(Heads(place=[FullyConnectedLayer(3), SoftMax()], one=one))
    net.regression(SGD(1e-30), EACH_PLACE, **options)
    return net, x, {"place": rng.integers(0, 3, (size, 9)), "one": 3 * x.lengths - 9.0}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_cost_of_heads_does_not_depend_on_how_data_are_cut(engine: str, weighted: bool) -> None:
    net, x, labels = counted_apart(N, engine=engine)
    weights = np.linspace(0.2, 2, N) if weighted else None
    told, counts = [], labels["place"][x.real()] != 2
    for size in (1, 5, N):
        told.append(net.evaluate(x, labels, weights, mini_batch_size=size, progress=False))
        options = {"mini_batch_size": size, "validation_set": (x, labels, weights), "progress": False}
        record = net.fit(x, labels, weights, **options).epochs[0]
        told += [record.values(), {"cost": record.validation_cost}]
    alone = {"mini_batch_size": 1, "parallel": Hogwild(workers=1), "progress": False}
    told.append(net.fit(x, labels, weights, **alone).epochs[0].values())
    outputs = net.feedforward(x)
    each = np.repeat(np.ones(N) if weights is None else weights, x.lengths)[counts]
    own = {
        "place": -(each * np.log(outputs["place"][x.real()][counts, labels["place"][x.real()][counts]])).mean(),
        "one": ((1 if weights is None else weights) * (outputs["one"][:, 0] - labels["one"]) ** 2).mean(),
    }
    np.testing.assert_allclose([one["cost"] for one in told], own["place"] + 0.5 * own["one"], rtol=1e-6)


def test_sweeps_checks_and_workers_tell_that_cost_of_heads_too() -> None:
    net, x, labels = counted_apart(200)
    whole = net.evaluate(x, labels, progress=False)["cost"]
    assert net.check(x, labels).figures.initial_cost == pytest.approx(whole, rel=1e-6)
    swept = counted_apart(200)[0].regression(SGD(1e-30, accumulate=8), EACH_PLACE)
    options = {"mini_batch_size": 25, "lowest": 1e-20, "highest": 1e-19, "steps": 10}
    np.testing.assert_allclose(swept.find_learning_rate(x, labels, **options).costs, whole, rtol=1e-6)
    steps = Steps()
    net.fit(x, labels, mini_batch_size=1, parallel=Hogwild(workers=1), callbacks=[steps], progress=False)
    for record in steps.records:
        place, one = (record.statistics[i] for i in (-2, -1))
        assert record.cost == pytest.approx(place[0] / place[1] + 0.5 * one[0] / one[1])
    assert len(steps.records) < 100  # several mini-batches each


class Steps(Callback):
    def __init__(self) -> None:
        self.records: list[StepRecord] = []

    def on_step(self, run: Any, record: StepRecord) -> None:
        self.records.append(record)
