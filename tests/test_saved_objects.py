"""What a saved object gives back: the same object, or a refusal when it is saved that names layer and argument."""

import enum
import functools
import inspect
import math
import tracemalloc
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pytest

from gedanken import (
    SGD,
    Accuracy,
    Adam,
    ArgumentError,
    BatchNorm,
    Branches,
    Callback,
    ConfusionMatrix,
    ConvolutionLayer,
    Dropout,
    Flatten,
    FullyConnectedLayer,
    Initializer,
    Layer,
    MeanSquared,
    Metric,
    Momentum,
    Network,
    OneCycle,
    OnPlateau,
    Optimizer,
    Precision,
    ReLU,
    Residual,
    Schedule,
    Sequential,
    SoftMax,
    StateError,
    TopKAccuracy,
)

X = np.random.default_rng(3).standard_normal((12, 4)).astype(np.float32)
Y = np.arange(12) % 3


class Pass(Layer):
    """Passes its input on."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return x, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy


@dataclass(frozen=True)
class Holds(Pass):
    value: Any = 1


@dataclass(frozen=True)
class HoldsMore(Holds):
    more: Any = 2


@dataclass(frozen=True)
class Factory(Pass):
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slots(Pass):
    value: Any = 1


class Plain(Pass):
    """No dataclass, with its argument under its name."""

    def __init__(self, factor: float = 1.0, *, other: int = 0) -> None:
        self.factor, self._other = factor, other


class Renames(Pass):
    def __init__(self, factor: float = 1.0) -> None:
        self.f = factor


class Many(Pass):
    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes


@dataclass(frozen=True)
class Called(Pass):
    """Its arguments are called as what a method has first is."""

    cls: Any = 1
    self: Any = 2
    options: Any = 3
    args: Any = 4


class Options(Pass):
    def __init__(self, **options: int) -> None:
        self.options = options


class KeepsMore(Dropout):
    """A library's layer with an argument more."""

    def __init__(self, keep: float, more: int = 0) -> None:
        super().__init__(keep)
        object.__setattr__(self, "more", more)


class KeepsHalf(Dropout):
    """Its argument is not what it keeps."""

    def __init__(self, keep: float) -> None:
        super().__init__(keep / 2)


@dataclass(frozen=True)
class Init(Pass):
    start: InitVar[float] = 1.0

    def __post_init__(self, start: float) -> None:
        object.__setattr__(self, "begun", start)


@dataclass(frozen=True)
class Needs(Pass):
    start: InitVar[float]
    twice: float = field(init=False, default=0.0)

    def __post_init__(self, start: float) -> None:
        object.__setattr__(self, "twice", 2 * start)


@dataclass(frozen=True)
class Derived(Pass):
    start: float = 1.0
    twice: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.start)


@dataclass(frozen=True)
class Typed(Pass):
    type: str = "a"


@dataclass(frozen=True)
class Remembers(Pass):
    """Computes something when it is first looked at."""

    value: int = 3

    @functools.cached_property
    def square(self) -> int:
        return self.value**2

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        object.__setattr__(self, "_seen", len(x))
        assert self.square
        return x, None


class Mode(enum.Enum):
    FAST = 1


class Word(enum.StrEnum):
    SLOW = "slow"


class Point(NamedTuple):
    x: int
    y: Any


class Identity(Initializer):
    def __call__(self, rng: Any, shape: Any, fan_in: int, fan_out: int) -> Any:
        return np.eye(*shape)


CLASSES = [
    *(Holds, HoldsMore, Factory, Slots, Plain, Renames, Many, KeepsMore, Init, Derived, Typed, Remembers, Called),
    *(Mode, Word, Point, Identity, Options),
]

LARGE = tuple(map(tuple, (np.arange(490_000).reshape(700, 700) % 7 > 2).tolist()))  # too large for a list in a file
VALUES = [
    *(LARGE, (LARGE[0], LARGE[1][:-1]), ((0.1, -0.0, math.nan, math.inf, -math.inf),) * 60, (1.0,) * 300 + (True,)),
    *(None, True, False, 0, 1, 1.0, 0.1, -0.0, math.inf, -math.inf, math.nan, 10**400, -(2**70)),
    *("", "text", 'quote " and \\', "ünï", "\ud800", "\x00"),
    *((), (1, 2), [], [1, 2], [[1], (2, [3.5])], {}, {"a": 1, 2: (3,), (4,): None, "type": "x"}),
    *(np.float32(0.1), np.float64(0.1), np.float16("inf"), np.int64(4), np.uint8(4), np.bool_(True)),
    *(Mode.FAST, Word.SLOW, Point(1, [2]), ReLU(), Holds(Holds([ReLU()])), Identity(), Adam(0.5), MeanSquared()),
]


def with_layer(layer: Layer) -> Network:
    net = Network().input((4,)).add(layer).add(FullyConnectedLayer(3)).add(SoftMax()).regression(engine="numpy")
    net.fit(X, Y, progress=False)
    return net


def back(layer: Layer, folder: Path) -> Layer:
    with_layer(layer).save(folder / "net")
    return Network.load(folder / "net", classes=CLASSES, engine="numpy").layers[0]


def same(a: Any, b: Any) -> bool:
    """Say whether two values are the same, type by type."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same([*a.items()], [*b.items()])
    if isinstance(a, Holds):
        return same(a.value, b.value)
    return repr(a) == repr(b)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:30])
def test_every_value_comes_back_as_it_was(value: Any, tmp_path: Path) -> None:
    assert same(back(Holds(value), tmp_path), Holds(value))


class Made(Layer):
    """Takes its argument where it is made, as some classes of users do."""

    def __new__(cls, units: int) -> Self:
        made = super().__new__(cls)
        made.units = units
        return made


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Flatten, []),
        (Sequential, ["layers"]),
        (Dropout, ["keep"]),
        (Plain, ["factor", "other"]),
        (Called, ["cls", "self"]),
        (Adam, ["learning_rate", "beta1"]),
        (Made, ["units"]),
    ],
)
def test_a_class_tells_what_it_takes(kind: type[Any], arguments: list[str]) -> None:
    assert list(inspect.signature(kind).parameters)[: len(arguments)] == arguments
    assert bool(inspect.signature(kind).parameters) == bool(arguments)


@pytest.mark.parametrize(
    "layer",
    [
        Plain(5.0),
        Plain(),
        Plain(2.0, other=3),
        Renames(),
        Many(),
        Many(1, 2),
        KeepsMore(0.5, 3),
        KeepsMore(0.5),
        HoldsMore((1,), [2]),
        Factory([1, 2]),
        Factory(),
        Slots(3),
        Called(cls=5, self=6, options=7, args=8),
        Options(a=1, b=Options(c=2)),
        Called(),
        Init(),
        Derived(4.0),
        Typed(),
        Remembers(5),
        FullyConnectedLayer(4, init=Identity()),
        Residual([Plain(2.0), Sequential([KeepsMore(0.5, 1)])]),
        Branches(Plain(3.0), [Plain(2.0), ReLU()], merge="sum"),
    ],
    ids=repr,
)
def test_layers_of_any_making_come_back(layer: Layer, tmp_path: Path) -> None:
    found = back(layer, tmp_path)
    assert type(found) is type(layer)
    assert attributes(found) == {
        name: value for name, value in attributes(layer).items() if name not in ("_seen", "square")
    }


def attributes(value: Any) -> Any:
    """Return an object as its class and attributes, so that equality that a class defines is not what is compared."""
    if isinstance(value, (tuple, list)):
        return type(value), [attributes(part) for part in value]
    if isinstance(value, dict):
        return {name: attributes(part) for name, part in value.items()}
    if isinstance(value, Slots):
        return {"value": value.value}
    return {name: attributes(part) for name, part in vars(value).items()} if hasattr(value, "__dict__") else value


def added(layer: Layer) -> Layer:
    object.__setattr__(layer, "extra", 7)
    return layer


class Local:
    """A class in a class, so that there is another one of its name."""

    class Holds(Pass):
        """Has the name of another class."""


REFUSED = {
    "no attribute": (Renames(5.0), "Renames f: 5.0 comes back as 1.0"),
    "other meaning": (KeepsHalf(0.5), "KeepsHalf keep: 0.25 comes back as 0.125"),
    "InitVar": (Init(5.0), "Init begun: 5.0 comes back as 1.0"),
    "InitVar without default": (Needs(5.0), "Needs.*: it has no attribute start for its argument start"),
    "argument type": (Typed("b"), "no argument can be called type in a file"),
    "attribute by other code": (added(Holds(5)), "Holds extra is set to 7 by other code"),
    "inside": (Residual([Sequential([Renames(5.0)])]), "Renames f: 5.0 comes back as 1.0"),
    "two of a name": (Residual([Holds(1), Local.Holds()]), "its class has the name of another one, Holds"),
    "deep": (functools.reduce(lambda inner, _: Holds(inner), range(200), ReLU()), "nested deeper than"),
    **{
        ascii(value)[:20]: (Holds(value), "Holds value: .* cannot be saved: only numbers, strings, layers")
        for value in ({1}, frozenset(), b"x", 1j, np.ones(3), len, lambda: 0, int, range(3), ..., np.longdouble(1))
    },
}


@pytest.mark.parametrize(("layer", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_not_come_back_is_refused(layer: Layer, message: str, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"before")
    net = with_layer(layer)
    with pytest.raises(ArgumentError, match=f"(?s)^layer 0: .*{message}"):
        net.save(tmp_path / "net")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("net", b"before")]


# ------------------------------------------------------------------ how it learns


class OwnCost(MeanSquared):
    pass


@dataclass(frozen=True, repr=False)
class OwnRate(Schedule):
    rate: float = 0.5

    def __call__(self, step: int) -> float:
        return self.rate / (step + 1)


class OwnRule(SGD):
    pass


class OwnMetric(Metric):
    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def measure(self, y: Any, target: Any) -> Any:
        return np.array([self.scale * len(y), 1.0])

    def value(self, total: Any) -> float:
        return float(total[0])


METRICS = [[], [Accuracy()], [TopKAccuracy(2), Precision(average="macro"), ConfusionMatrix()], [OwnMetric(2.0)]]


@pytest.mark.parametrize("metrics", METRICS, ids=repr)
def test_metrics_come_back(metrics: list[Metric], tmp_path: Path) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(3)).add(SoftMax()).regression(metrics=metrics)
    net.fit(X, Y, progress=False)
    net.save(tmp_path / "net")
    there, here = (
        one.evaluate(X, Y, progress=False) for one in (net, Network.load(tmp_path / "net", classes=[OwnMetric]))
    )
    assert there.keys() == here.keys() == {"cost", *(metric.name for metric in metrics)}
    assert all(np.array_equal(there[name], here[name]) for name in there)


LEARNERS = [
    (SGD(0.1), OwnCost(), None),
    (SGD(OwnRate(0.25)), "mean_squared", None),
    (OwnRule(0.1), "mean_squared", None),
    (SGD(0.1), "mean_squared", [OwnMetric(3.0)]),
]


@pytest.mark.parametrize(("optimizer", "cost", "metrics"), LEARNERS, ids=repr)
def test_a_learner_of_ones_own_comes_back_where_it_is_named(
    optimizer: Optimizer, cost: Any, metrics: Any, tmp_path: Path
) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(3)).regression(optimizer, cost, metrics=metrics)
    net.fit(X, X[:, :3], progress=False)
    net.save(tmp_path / "net")
    bare = Network.load(tmp_path / "net")
    assert np.array_equal(bare.feedforward(X), net.feedforward(X))
    with pytest.raises(StateError):  # and never learns by another rule than the one it was given
        bare.fit(X, X[:, :3])
    loaded = Network.load(tmp_path / "net", classes=[OwnCost, OwnRate, OwnRule, OwnMetric])
    histories = [one.fit(X, X[:, :3], epochs=2, progress=False) for one in (net, loaded)]
    assert histories[0].epochs[-1].values() == histories[1].epochs[-1].values()
    assert histories[0]["rate"] == histories[1]["rate"]


@pytest.mark.parametrize("optimizer", [Adam, SGD, Momentum])
@pytest.mark.parametrize("schedule", [OneCycle(0.1, 60), OwnRate(0.25)], ids=repr)
def test_a_schedule_goes_on_and_the_rule_begins_its_means(schedule: Schedule, optimizer: Any, tmp_path: Path) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(3)).regression(optimizer(schedule), "mean_squared")
    whole = net.fit(X, X[:, :3], epochs=4, mini_batch_size=5, progress=False)
    for _ in range(2):  # a network that was loaded is saved again
        net.save(tmp_path / "net")
        net = Network.load(tmp_path / "net", classes=[OwnRate])
    rest = net.fit(X, X[:, :3], epochs=3, mini_batch_size=5, progress=False)
    steps = 3  # of an epoch; a record tells the rate of the next one
    assert whole["rate"] == [schedule(steps * epoch) for epoch in range(1, 5)]
    assert rest["rate"] == [schedule(steps * epoch) for epoch in range(5, 8)]
    assert rest["epoch"] == [5, 6, 7]


def test_a_network_that_a_callback_saved_knows_how_far_it_was(tmp_path: Path) -> None:
    class Keep(Callback):
        def on_epoch(self, run: Any, record: Any) -> None:
            net.save(tmp_path / f"{record.epoch}")

    schedule = OneCycle(0.1, 60)
    net = Network().input((4,)).add(FullyConnectedLayer(3)).regression(SGD(schedule), "mean_squared")
    whole = net.fit(X, X[:, :3], epochs=5, mini_batch_size=5, callbacks=[Keep()], progress=False)
    loaded = Network.load(tmp_path / "2")
    assert loaded.epoch == 2
    rest = loaded.fit(X, X[:, :3], epochs=3, mini_batch_size=5, progress=False)
    assert (rest["epoch"], rest["rate"], rest["cost"]) == ([3, 4, 5], whole["rate"][2:], whole["cost"][2:])


def test_a_first_step_after_loading_has_the_size_of_the_rate(tmp_path: Path) -> None:
    """Moving means that start at zero are corrected as such: a late step would be three times too long."""
    net = Network().input((4,)).add(FullyConnectedLayer(3)).regression(Adam(0.01), "mean_squared")
    net.fit(X, X[:, :3], epochs=200, progress=False)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    before = loaded._plan.params.copy()  # type: ignore[union-attr]
    loaded.fit(X, -X[:, :3], progress=False)
    assert abs(loaded._plan.params - before).max() < 0.0101  # type: ignore[union-attr]


def test_what_a_plateau_remembers_comes_back(tmp_path: Path) -> None:
    rate = OnPlateau(0.125, factor=0.5, patience=0, threshold=0.999, cooldown=1)
    net = Network().input((4,)).add(FullyConnectedLayer(3)).regression(SGD(rate), "mean_squared")
    net.fit(X, X[:, :3], epochs=3, progress=False)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    there, here = (one.fit(X, X[:, :3], epochs=3, progress=False)["rate"] for one in (net, loaded))
    assert there == here
    assert here[0] < 0.125 / 2  # a fresh one would begin at 0.125


# ------------------------------------------------------------------ names of classes, weights


def test_names_of_classes_come_back(tmp_path: Path) -> None:
    net = with_layer(ReLU())
    assert net.class_names is None
    net.class_names = ["cat", "dög", "\udcff \x1b[31m"]
    net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net").class_names == ("cat", "dög", "\udcff \x1b[31m")


@pytest.mark.parametrize("names", ["cat", [1, 2], ["a", "a"], {"a": 1}], ids=repr)
def test_names_of_classes_are_different_texts(names: Any) -> None:
    with pytest.raises(ArgumentError, match="class_names must be"):
        Network().class_names = names


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["0.kernel", "1.var"])
def test_weights_that_are_not_finite_are_not_saved(name: str, wrong: float, tmp_path: Path) -> None:
    net = Network().input((4,)).add(FullyConnectedLayer(3)).add(BatchNorm()).regression(cost="mean_squared")
    net.save(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    net._plan.arrays()[name][..., 1] = wrong  # type: ignore[union-attr]
    with pytest.raises(StateError, match=f"save needs finite weights, got {wrong} in {name}"):
        net.save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == before


def test_a_large_network_is_saved_and_loaded_without_copies_of_it(tmp_path: Path) -> None:
    net = Network().input((1000,)).add(FullyConnectedLayer(4000)).regression(SGD(), "mean_squared")
    tracemalloc.start()
    net.save(tmp_path / "net")
    saving = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    loaded = Network.load(tmp_path / "net")
    loading = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = 16e6
    assert saving < size / 2
    assert loading < 3.5 * size  # weights and gradients of the network, and the file's arrays once
    assert loaded.layers == net.layers


def test_a_picture_network_with_lists_for_pairs_comes_back(tmp_path: Path) -> None:
    net = Network().input((1, 8, 8)).add(ConvolutionLayer(2, 3, 3, stride=[2, 1])).add(Flatten())  # type: ignore[arg-type]
    net.add(FullyConnectedLayer(2)).regression(cost="mean_squared").save(tmp_path / "net")
    assert Network.load(tmp_path / "net").layers == net.layers
