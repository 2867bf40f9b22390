"""Several inputs and outputs, each with a name."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    ArrayGenerator,
    BatchNorm,
    Branches,
    Checkpoint,
    ConvolutionLayer,
    Cpu,
    DataError,
    DataParallel,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Generator,
    Hogwild,
    Layer,
    LayerNorm,
    Network,
    ReLU,
    Residual,
    Sequences,
    ShapeError,
    SoftMax,
    TanH,
)
from gedanken.by_name import ByName, each
from gedanken.cli.main import main
from gedanken.engine.plan import Plan
from gedanken.engine.select import select_engine
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


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_of_the_whole_agree_with_finite_differences(engine: str) -> None:
    layers = [
        Branches(image=[ConvolutionLayer(2, 3, 3), TanH(), Flatten()], table=[LayerNorm(), FullyConnectedLayer(5)])
    ]
    layers += [Residual([FullyConnectedLayer(29), TanH()]), FullyConnectedLayer(3), SoftMax()]
    net = network(*layers, engine=Cpu(dtype="float64") if engine == "cpu" else "numpy")
    check_gradients(net, samples(5, dtype="float64"), classes(samples(5)), engine)


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
    with ArrayGenerator(DATA, LABELS, mini_batch_size=8) as generator:
        assert trained(network(), generator, mini_batch_size=None) == trained(network(), shuffle=False)


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
        "takes inputs by name, but layer 0 FullyConnectedLayer(n_units=3) has none; it must be the first layer, behind",
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
    make, message = MISTAKES[mistake]
    with pytest.raises((ArgumentError, DataError, ShapeError)) as caught:
        make()
    assert message in str(caught.value)


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
