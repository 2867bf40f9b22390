"""The black box: faults of every kind are put in, and the error names the layer, the pass, the sample and the cause."""

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
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
    Callback,
    Checkpoint,
    Constant,
    ConstantRate,
    ConvolutionLayer,
    CustomCost,
    DataError,
    DataParallel,
    Dropout,
    Embedding,
    Flatten,
    FullyConnectedLayer,
    Generator,
    Hogwild,
    Layer,
    MaxPoolLayer,
    Momentum,
    Network,
    NonFiniteError,
    OnNonFinite,
    Optimizer,
    Param,
    ReLU,
    Residual,
    Sequential,
    SetRate,
    SoftMax,
    SparseFullyConnectedLayer,
    SparseRows,
    Stop,
    TanH,
)
from tests.explosions import history_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
PICTURES = RNG.random((48, 1, 8, 8)).astype(np.float32)
HOW: dict[str, Any] = {"mini_batch_size": 8, "shuffle": False, "epochs": 2, "progress": False}
ENGINES = pytest.mark.parametrize("engine", ["cpu", "numpy"])


@dataclass(frozen=True, eq=False, repr=False)
class Trips(Layer):
    """Hands on what it gets but for one mini-batch, where it makes something of another value.

    Args:
        kind: "row" of the output, its "whole", its "gradient" or that of its "parameter".
        value: what is made.
        epoch, position: of the mini-batch.
    """

    kind: str
    value: float = math.nan
    epoch: int = 0
    position: int = 16
    exact_gradient = False

    def output_shape(self, shape: Any) -> Any:
        return shape

    def params(self, shape: Any) -> Any:
        return {"w": Param((5,), Constant(1.0))}

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        y = x.copy()
        if self._trips(ctx):
            y[{"row": slice(3, 4), "whole": slice(None)}.get(self.kind, slice(0))] = self.value
        return y, None

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        g["w"][...] = 0
        dx = dy.copy()
        if self._trips(ctx):
            g["w"][2] = self.value if self.kind == "parameter" else 0
            dx[:] = self.value if self.kind == "gradient" else dx
        return dx

    def _trips(self, ctx: Any) -> bool:
        return bool(ctx.train and (ctx.epoch, ctx.position) == (self.epoch, self.position))


def network(
    *layers: Layer, shape: Any = (6,), cost: Any = "cross_entropy", rule: Any = "sgd", engine: str = "cpu"
) -> Any:
    net = Network(1).input(shape)
    for layer in layers:
        net.add(layer)
    return net.regression(rule, cost, engine=engine)


def fault_of(net: Network, *given: Any, **options: Any) -> Any:
    with pytest.raises(NonFiniteError) as caught:
        net.fit(*given, **{**HOW, **options})
    assert all(np.isfinite(view).all() for view in net._compiled_plan("see").arrays().values())
    return caught.value.fault


PLACES: dict[str, Callable[[Layer], tuple[str, Any, list[Layer]]]] = {
    "first": lambda trips: ("layer 0", (6,), [trips, FullyConnectedLayer(3), SoftMax()]),
    "between": lambda trips: (
        "layer 2", (6,), [FullyConnectedLayer(5), TanH(), trips, FullyConnectedLayer(3), SoftMax()],
    ),
    "behind BatchNorm and dropout": lambda trips: (
        "layer 3", (6,),
        [FullyConnectedLayer(5), BatchNorm(), Dropout(0.2), trips, FullyConnectedLayer(3), SoftMax()],
    ),
    "scores": lambda trips: ("layer 1", (6,), [FullyConnectedLayer(3), trips, SoftMax()]),
    "in a residual block": lambda trips: (
        "layer 1.layers.1", (6,),
        [FullyConnectedLayer(5), Residual([TanH(), trips]), FullyConnectedLayer(3), SoftMax()],
    ),
    "in a branch": lambda trips: (
        "layer 1.1.0", (6,),
        [FullyConnectedLayer(5), Branches(TanH(), trips), FullyConnectedLayer(3), SoftMax()],
    ),
    "of pictures": lambda trips: (
        "layer 3", (1, 8, 8),
        [ConvolutionLayer(4, 3, 3), ReLU(), MaxPoolLayer(2, 2), trips, Flatten(), FullyConnectedLayer(3), SoftMax()],
    ),
}  # fmt: skip
KINDS = {
    "row": ("forward", 19, ""),
    "whole": ("forward", None, ""),
    "gradient": ("backward", None, ""),
    "parameter": ("backward", None, "w"),
}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
@ENGINES
def test_the_layer_that_first_gave_it_is_named(place: str, kind: str, value: float, engine: str) -> None:
    name, shape, layers = PLACES[place](Trips(kind, value))
    if (place, kind) == ("first", "gradient"):
        pytest.skip("nobody reads it")
    fault = fault_of(network(*layers, shape=shape, engine=engine), PICTURES if len(shape) > 1 else X, Y)
    where, sample, parameter = KINDS[kind]
    assert (fault.epoch, fault.step, fault.samples) == (1, 3, tuple(range(16, 24)))
    assert fault.layer.startswith(f"{name} Trips(")
    assert (fault.place, fault.sample) == (where, sample)
    assert fault.parameter == (f"{name.split()[1]}.{parameter}" if parameter else "")
    assert fault.input.not_finite == 0
    assert f"the {where} of {fault.layer} itself" in fault.cause
    assert str(fault).startswith(("the cost became", "the gradient's length became"))


def spiked(value: float, at: int = 30) -> np.ndarray[Any, Any]:
    x = X.copy()
    x[at, 2] = value
    return x


class Gives(Generator):
    """Gives one sample that is another."""

    def __init__(self, value: float) -> None:
        super().__init__(mini_batch_size=8, mode="serial")
        self.value = value

    def __len__(self) -> int:
        return len(X)

    def get_mini_batches(self, index: int) -> Any:
        return [(np.full(6, self.value, np.float32) if index == 30 else X[index], Y[index])]


class Logarithm(Layer):
    """y = log(|x|): of 0 it has none."""

    def output_shape(self, shape: Any) -> Any:
        return shape

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return ctx.ops.xp.log(abs(x)), x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy / cache


class Root(Logarithm):
    """y = sqrt(|x|), which is steep at 0."""

    def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
        return ctx.ops.xp.sqrt(abs(x)), x

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy * ctx.ops.xp.sign(cache) * 0.5 / ctx.ops.xp.sqrt(abs(cache))


class SteepRoot(Root):
    """The same, whose slope at 0 is infinite."""

    def backward(self, ctx: Any, p: Any, g: Any, cache: Any, dy: Any) -> Any:
        return dy * ctx.ops.xp.where(cache < 0, -0.5, 0.5) / ctx.ops.xp.sqrt(abs(cache))


class Bursts(Optimizer):
    """A rule that is right twice and then gives nan."""

    def update(self, ops: Any, rate: float, step: int, p: Any, g: Any, slots: Any) -> None:
        p -= rate * g if step < 2 else np.nan


def log_cost(guard: float = 0.0) -> CustomCost:
    """Return -log(y) without a guard: ReLU gives 0 often."""
    return CustomCost(
        lambda y, target: -np.log(y + guard)[:, 0] * target[:, 0], lambda y, target: -target / (y + guard)
    )


def weighted_cost() -> CustomCost:
    """Return a squared error whose weights are the labels' second column."""
    return CustomCost(
        lambda y, t: (y[:, 0] - t[:, 0]) ** 2 * t[:, 1],
        lambda y, t: np.stack([2 * (y[:, 0] - t[:, 0]) * t[:, 1], 0 * y[:, 0]], axis=1),
    )


def dense(*more: Layer) -> list[Layer]:
    return [*more, FullyConnectedLayer(3), SoftMax()]


def wide() -> list[Layer]:
    """Return layers whose weights of 2 take what is large out of range."""
    return [FullyConnectedLayer(4, init=Constant(2.0)), ReLU(), *dense()]


@dataclass(frozen=True)
class Injected:
    """A fault, and what has to be said of it.

    Args:
        name: of the case.
        layers: of the network.
        data, labels: to train on.
        layer, place: what is named.
        cause: words of the likely cause.
        rest: further entries of the Fault.
        net: for `regression`.
        how: for `fit`.
    """

    name: str
    layers: list[Layer]
    data: Any
    labels: Any
    layer: str
    place: str
    cause: str
    rest: dict[str, Any] = field(default_factory=dict)
    net: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)


HUGE = spiked(3e38)
ZERO = spiked(0.0)
TARGETS = np.stack([X[:, 0], np.ones(48)], axis=1).astype(np.float32)
WEIGHTED, LABELLED = TARGETS.copy(), TARGETS[:, :1].copy()
WEIGHTED[30, 1], LABELLED[30] = 3e38, 1e30
INJECTED = [
    Injected("large pixel", wide(), HUGE, Y, "layer 0 Fully", "forward", "sample 30 has values up to 3e+38",
             {"sample": 30, "step": 4}),
    Injected("large pixel before BatchNorm", dense(BatchNorm()), HUGE, Y, "layer 0 BatchNorm", "forward",
             "sample 30 has values up to 3e+38", {"sample": 30}),
    Injected("large pixel behind ReLU", [ReLU(), *wide()], HUGE, Y, "layer 1 Fully", "forward",
             "sample 30 has values up to 3e+38", {"sample": 30}),
    Injected("large pixel, order of its own", wide(), HUGE, Y, "layer 0 Fully", "forward",
             "sample 30 has values up to 3e+38", {"sample": 30}, how={"shuffle": True}),
    Injected("large pixel of a Generator", wide(), Gives(3e38), None, "layer 0 Fully", "forward",
             "sample 30 has values up to 3e+38", {"sample": 30}, how={"mini_batch_size": None, "shuffle": None}),
    Injected("large pixel of an ArrayGenerator", wide(), ArrayGenerator(HUGE, Y, mini_batch_size=8), None,
             "layer 0 Fully", "forward", "has values up to 3e+38", how={"mini_batch_size": None, "shuffle": None}),
    Injected("large pixel in validated data", wide(), HUGE, Y, "layer 0 Fully", "forward", "sample 30 has values",
             {"sample": 30}, how={"validation_set": (X, Y)}),
    Injected("one sample at a time", wide(), HUGE, Y, "layer 0 Fully", "forward", "scale them to about 1",
             {"sample": 30, "samples": (30,), "step": 31}, how={"mini_batch_size": 1}),
    Injected("all data large", wide(), 3e38 * np.sign(X), Y, "layer 0 Fully", "forward", "scale them to about 1"),
    Injected("large data of pictures",
             [ConvolutionLayer(4, 3, 3), BatchNorm(), ReLU(), Flatten(), *dense()], 3e37 * PICTURES, Y,
             "layer 1 BatchNorm", "forward", "scale them", net={"shape": (1, 8, 8)}),
    Injected("large label", [FullyConnectedLayer(1)], X, LABELLED, "the cost MeanSquared",
             "cost", "its label reaches 1e+30",
             {"sample": 30, "step": 4}, net={"cost": "mean_squared"}),
    Injected("large labels", [FullyConnectedLayer(1)], X, LABELLED * 0 + 1e25, "the cost MeanSquared", "cost",
             "its label reaches 1e+25: scale the labels", {"step": 1}, net={"cost": "mean_squared"}),
    Injected("labels whose gradient is too long", [FullyConnectedLayer(1)], 100 * X, TARGETS[:, :1] * 1e18,
             "layer 0 Fully", "update", "targets of values up to", {"parameter": "0.kernel"},
             net={"cost": "mean_squared", "rule": "adam"}),
    Injected("large weight of a label", [FullyConnectedLayer(2)], X, WEIGHTED, "the cost CustomCost", "cost",
             "its label reaches 3e+38", {"sample": 30}, net={"cost": weighted_cost()}),
    Injected("logarithm of zero in a cost", [FullyConnectedLayer(1), ReLU()], X, 0 * LABELLED + 1,
             "the cost CustomCost",
             "cost",
             "a logarithm of zero or a division by zero in the cost CustomCost", {"step": 1}, net={"cost": log_cost()}),
    Injected("a cost's gradient alone", [FullyConnectedLayer(1), ReLU()], X, TARGETS[:, :1], "the cost CustomCost",
             "cost",
             "a logarithm of zero or a division by zero in the cost CustomCost",
             net={"cost": CustomCost(lambda y, t: (y - t)[:, 0] ** 2, lambda y, t: 2 * (y - t) * y / y)}),
    Injected("division by zero in a cost", [FullyConnectedLayer(1)], X, TARGETS[:, :1], "the cost CustomCost", "cost",
             "the cost CustomCost itself", net={"cost": CustomCost(lambda y, t: (y / 0 * 0)[:, 0], lambda y, t: y)}),
    Injected("logarithm of zero in a layer", dense(Logarithm()), ZERO, Y, "layer 0 Logarithm", "forward",
             "the forward of layer 0 Logarithm() itself: look for a division by zero", {"sample": 30}),
    Injected("slope of a root", dense(FullyConnectedLayer(4), ReLU(), SteepRoot()), X, Y, "layer 2 SteepRoot",
             "backward", "the backward of layer 2 SteepRoot() itself"),
    Injected("nan where a root of zero is", dense(FullyConnectedLayer(4), ReLU(), Root()), X, Y, "layer 2 Root",
             "backward", "the backward of layer 2 Root() itself"),
    Injected("rate too high", dense(FullyConnectedLayer(8), BatchNorm(), ReLU()), X, Y, "layer 1 BatchNorm", "forward",
             "the learning rate, 1e+30, is too high: weights have grown to", {"step": 2}, net={"rule": SGD(1e30)}),
    Injected("rate too high, momentum", [FullyConnectedLayer(1)], X, TARGETS[:, :1], "the cost MeanSquared", "cost",
             "the learning rate, 1e+25, is too high", {"step": 2},
             net={"rule": Momentum(1e25), "cost": "mean_squared"}),
    Injected("rate too high for the first gradient", dense(), X, Y, "layer 0 Fully", "update",
             "the learning rate, 1e+38, is too high for such a gradient", {"step": 1}, net={"rule": Adam(1e38)}),
    Injected("rate too high for tokens", [Embedding(9, 4), Flatten(), *dense()], np.arange(96).reshape(48, 2) % 9, Y,
             "layer 2 Fully", "forward", "the learning rate, 1e+38, is too high", {"step": 2},
             net={"shape": (2,), "rule": SGD(1e38)}),
    Injected("rate too high for pictures",
             [ConvolutionLayer(4, 3, 3), ReLU(), Flatten(), *dense()], PICTURES, Y, "layer 3 Fully", "forward",
             "the learning rate, 1e+30, is too high", {"step": 2}, net={"shape": (1, 8, 8), "rule": SGD(1e30)}),
    Injected("a rule of the user's", dense(), X, Y, "", "parameter", "Bursts.update wrote them", {"step": 4},
             net={"rule": Bursts(0.1)}),
    Injected("first weights that are too large", [FullyConnectedLayer(3, init=Constant(3e38)), SoftMax()],
             np.abs(X), Y, "layer 0 Fully", "forward", "no update was made yet", {"step": 1}),
    Injected("gathered over mini-batches", [FullyConnectedLayer(4), Trips("gradient"), *dense()], X, Y, "layer 1 Trips",
             "backward", "the backward of layer 1 Trips", {"step": 3}, net={"rule": SGD(0.1, accumulate=4)}),
    Injected("in the second epoch", [Trips("row", epoch=1), *dense()], X, Y, "layer 0 Trips", "forward",
             "the forward of layer 0 Trips", {"epoch": 2, "step": 3, "sample": 19}),
    Injected("in a container in a container", dense(Sequential([TanH(), Residual([Trips("row")])])), X, Y,
             "layer 0.1.layers.0 Trips", "forward", "itself", {"sample": 19}),
    Injected("shared by threads", dense(Trips("row")), X, Y, "layer 0 Trips", "forward", "itself", {"sample": 19},
             how={"parallel": DataParallel(workers=2)}),
    Injected("in a worker", dense(Trips("row")), X, Y, "layer 0 Trips", "forward", "itself", {"sample": 19},
             how={"parallel": Hogwild(workers=2, backend="threads")}),
    Injected("in a worker process", dense(Trips("row")), X, Y, "layer 0 Trips", "forward", "itself", {"sample": 19},
             how={"parallel": Hogwild(workers=2, backend="processes")}),
]  # fmt: skip


@ENGINES
@pytest.mark.parametrize("case", INJECTED, ids=lambda case: case.name)
def test_what_went_wrong_is_told(case: Injected, engine: str) -> None:
    if engine == "numpy" and isinstance(case.how.get("parallel"), DataParallel):
        pytest.skip("its workers are threads of the other engine")
    net = network(*case.layers, **case.net, engine=engine)
    given = (case.data,) if case.labels is None else (case.data, case.labels)
    fault = fault_of(net, *given, **case.how)
    assert (fault.layer[: len(case.layer)], fault.place) == (case.layer, case.place)
    assert case.cause in fault.cause
    assert {name: getattr(fault, name) for name in case.rest} == case.rest
    assert fault.cause in str(fault)


def test_there_are_enough_faults() -> None:
    assert len(INJECTED) + len(PLACES) * len(KINDS) * 2 >= 40


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_are_not_finite_are_told_of_before(value: float) -> None:
    with pytest.raises(DataError, match=r"data must be finite, got (nan|inf) at index \(30, 2\)"):
        network(*dense()).fit(spiked(value), Y, **HOW)
    with pytest.raises(DataError, match=r"must be finite, got (nan|inf)"):
        network(*dense()).fit(Gives(value), epochs=1, progress=False)


@ENGINES
def test_rows_of_which_most_are_zero_are_told_of(engine: str) -> None:
    values = np.ones(96)
    values[61] = 1e38
    rows = SparseRows(np.arange(49) * 2, np.arange(96) % 7, values, 7)
    net = network(SparseFullyConnectedLayer(1), shape=(7,), cost="mean_squared", engine=engine)
    fault = fault_of(net, rows, TARGETS[:, :1])
    assert fault.place in ("cost", "parameter")
    assert "sample 30 has values up to 1e+38" in fault.cause


# ---------------------------------------------------------------------- what is done about it


@ENGINES
def test_a_step_can_be_left_out(engine: str) -> None:
    without = np.delete(np.arange(48), np.s_[16:24])
    nets = [network(FullyConnectedLayer(4), Trips(kind), *dense(), engine=engine) for kind in ("whole", "none")]
    history = nets[0].fit(X, Y, callbacks=[OnNonFinite("skip")], **{**HOW, "epochs": 1})
    nets[1].fit(X[without], Y[without], **{**HOW, "epochs": 1})
    assert [(fault.epoch, fault.step) for fault in history.faults] == [(1, 3)]
    assert history.reason == "all epochs done"
    assert (history.epochs[0].samples, history.epochs[0].finished) == (40, True)
    assert np.isfinite(history["cost"]).all()
    for (name, one), other in zip(nets[0]._plan.arrays().items(), nets[1]._plan.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_a_step_can_be_undone_with_a_lower_rate() -> None:
    net = network(FullyConnectedLayer(4), Trips("whole"), *dense(), rule=Adam(0.1))
    history = net.fit(X, Y, callbacks=[OnNonFinite("rollback", factor=0.25)], **HOW)
    assert history["rate"] == pytest.approx([0.025, 0.025])
    assert [type(one.answer).__name__ for one in history.answers] == ["RollBack", "SetRate"]
    assert len(history.faults) == 1


def test_an_explosion_is_undone_until_the_rate_is_low_enough() -> None:
    net = network(FullyConnectedLayer(8), TanH(), FullyConnectedLayer(1), cost="mean_squared", rule=SGD(1e30))
    history = net.fit(X, TARGETS[:, :1], callbacks=[OnNonFinite("rollback", factor=1e-8)], **{**HOW, "epochs": 9})
    assert history.reason == "all epochs done"
    assert 0 < len(history.faults) < 10
    assert history["cost"][-1] < 1


@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_what_goes_wrong_again_and_again_ends_it(action: str) -> None:
    net = network(*dense(Trips("whole", position=0), Trips("whole", position=8), Trips("whole")))
    history = history_of(net, X, Y, callbacks=[OnNonFinite(action, at_most=2)], **HOW)
    assert len(history.faults) == 3
    assert history.diverged


def test_it_raises_where_nobody_says_otherwise_and_a_file_remembers_it(tmp_path: Path) -> None:
    net = network(*dense(Trips("row")))
    with pytest.raises(NonFiniteError) as caught:
        net.fit(X, Y, callbacks=[OnNonFinite()], folder=tmp_path, **HOW)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.fault) == (str(caught.value), caught.value.fault)
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    faults = [record for record in records if record["kind"] == "fault"]
    assert [(one["epoch"], one["step"], one["sample"]) for one in faults] == [(1, 3, 19)]
    assert caught.value.history.to_json().count('"place": "forward"') == 1


def test_a_training_that_left_steps_out_goes_on_as_it_would_have(tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        net = network(FullyConnectedLayer(4), Trips("whole"), *dense(), rule=Adam(0.1))
        callbacks = [OnNonFinite("rollback"), *options.pop("callbacks", [])]
        return net, net.fit(X, Y, callbacks=callbacks, **{**HOW, **options})

    whole, told = run(epochs=3)
    run(epochs=1, callbacks=[Checkpoint()], folder=tmp_path)
    again, history = run(epochs=3, callbacks=[Checkpoint()], resume=tmp_path)
    assert history.faults == told.faults
    assert history["cost"] == told["cost"]
    for one, other in zip(whole._plan.arrays().values(), again._plan.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_workers_that_wait_for_nobody_leave_no_steps_out() -> None:
    with pytest.raises(ArgumentError, match='OnNonFinite action must be "raise" with this parallel='):
        network(*dense()).fit(X, Y, callbacks=[OnNonFinite("skip")], parallel=Hogwild(workers=2), **HOW)


def test_a_validation_that_is_not_finite_ends_it() -> None:
    with pytest.raises(NonFiniteError, match="the validation cost became") as caught:
        network(*wide()).fit(X, Y, validation_set=(HUGE, Y), **HOW)
    assert caught.value.fault.cause == "look at the samples of the validation set"
    assert len(caught.value.history.epochs) == 1


def test_weights_that_only_a_validation_shows_to_be_useless_are_gone_back_from() -> None:
    class Late(ConstantRate):
        """A rate that is far too high once, in the last update of the first epoch."""

        def __call__(self, step: int) -> float:
            return 1e38 if step == 5 else 0.1

    for action in ("raise", "skip", "rollback"):
        net = network(FullyConnectedLayer(8), BatchNorm(), ReLU(), *dense(), rule=SGD(Late(0.1)))
        history = history_of(net, X, Y, validation_set=(X, Y), callbacks=[OnNonFinite(action)], **HOW)
        assert history.diverged == (action == "raise")
        assert history.faults[0].what == "the validation cost became nan"
        assert np.isfinite(net.evaluate(X, Y, progress=False)["cost"])


def test_a_layer_that_raises_the_second_time_hides_nothing() -> None:
    class Once(Trips):
        def forward(self, ctx: Any, p: Any, s: Any, x: Any) -> Any:
            y, cache = Trips.forward(self, ctx, p, s, x)
            if self._trips(ctx):
                if seen:
                    raise KeyError("gone")
                seen.append(1)
            return y, cache

    seen: list[int] = []
    fault = fault_of(network(*dense(Once("whole"))), X, Y)
    assert "the second time the step raised KeyError: 'gone'" in fault.cause


def test_nothing_that_a_training_has_is_changed_by_looking(tmp_path: Path) -> None:
    """What is left is what a training that ended before the step has."""
    nets = [network(BatchNorm(), FullyConnectedLayer(4), Trips(kind), *dense()) for kind in ("whole", "none")]
    history_of(nets[0], X, Y, **HOW)
    nets[1].fit(X[:16], Y[:16], **{**HOW, "epochs": 1})
    for (name, one), other in zip(nets[0]._plan.arrays().items(), nets[1]._plan.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_an_epoch_whose_steps_were_all_left_out_is_over(action: str) -> None:
    layers = [Trips("whole", position=0, epoch=epoch) for epoch in (1, 2)]
    net = network(*layers, *dense())
    history = net.fit(
        X, Y, callbacks=[OnNonFinite(action)], validation_set=(X, Y), **{**HOW, "epochs": 5, "mini_batch_size": 48}
    )
    assert [(record.epoch, record.samples, record.finished) for record in history.epochs] == [
        (1, 48, True), (2, 0, True), (3, 0, True), (4, 48, True), (5, 48, True),
    ]  # fmt: skip
    assert math.isnan(history["cost"][1])
    assert np.isfinite(history["validation_cost"]).all()
    assert net.epoch == 5


def test_only_the_bad_mini_batch_is_left_out_where_many_are_learnt_from_at_once() -> None:
    values = np.ones(96)
    values[61] = 1e38
    rows = SparseRows(np.arange(49) * 2, np.arange(96) % 7, values, 7)
    net = network(SparseFullyConnectedLayer(1), shape=(7,), cost="mean_squared")
    history = net.fit(rows, TARGETS[:, :1], callbacks=[OnNonFinite("skip")], **{**HOW, "mini_batch_size": 1})
    left_out = len(history.faults)
    assert 0 < left_out <= 4
    assert sum(history["samples"]) == 96 - left_out
    assert history["finished"] == [True, True]


@ENGINES
def test_of_gathered_mini_batches_the_one_is_blamed_that_is_too_long(engine: str) -> None:
    net = network(FullyConnectedLayer(1), cost="mean_squared", rule=Adam(0.01, accumulate=4), engine=engine)
    fault = fault_of(net, spiked(1e15, at=12), TARGETS[:, :1])
    assert (fault.step, fault.sample) == (2, 12)
    assert "sample 12 has values up to 1e+15" in fault.cause


def test_weights_from_before_an_explosion_come_back_though_its_costs_are_finite() -> None:
    class Throws(Callback):
        def on_epoch(self, run: Any, record: Any) -> Any:
            return SetRate(1e13) if record.epoch == 3 else None

    net = network(FullyConnectedLayer(8), ReLU(), FullyConnectedLayer(1), cost="mean_squared", rule=SGD(0.05))
    history = history_of(net, X, TARGETS[:, :1], callbacks=[Throws()], **{**HOW, "epochs": 40})
    assert history.diverged
    assert net.evaluate(X, TARGETS[:, :1], progress=False)["cost"] < 10


def test_a_reason_to_stop_does_not_hide_the_fault() -> None:
    class Stops(Callback):
        def on_fault(self, run: Any, fault: Any) -> Any:
            return Stop("me")

    with pytest.raises(NonFiniteError, match=r"the cost became nan in step 3 .*layer 0 Trips"):
        network(*dense(Trips("whole"))).fit(X, Y, callbacks=[Stops()], **HOW)


@pytest.mark.parametrize("hook", ["on_start", "on_step", "on_epoch", "on_stop", "on_fault"])
def test_what_a_callback_raises_says_whose_it_was(hook: str) -> None:
    def fails(*given: Any) -> None:
        raise ZeroDivisionError

    careless = type("Careless", (Callback,), {hook: fails})()
    with pytest.raises(ZeroDivisionError) as caught:
        network(*dense(Trips("whole", epoch=1))).fit(X, Y, callbacks=[careless], **HOW)
    assert f"raised by the callback Careless in {hook}" in caught.value.__notes__


@pytest.mark.parametrize("action", ["skip", "rollback"])
@pytest.mark.parametrize("bad", [1, 20, 40, 47])
def test_a_sample_that_is_always_bad_costs_its_mini_batches_alone(bad: int, action: str) -> None:
    net = network(*wide(), rule=SGD(0.01))
    history = net.fit(spiked(3e38, at=bad), Y, callbacks=[OnNonFinite(action, factor=1.0)], **{**HOW, "epochs": 4})
    assert [fault.sample for fault in history.faults] == [bad] * 4
    assert history["cost"][-1] < history["cost"][0]


def test_a_training_that_ended_can_go_on_and_leave_the_step_out(tmp_path: Path) -> None:
    def run(*callbacks: Any, **how: Any) -> Any:
        net = network(FullyConnectedLayer(4), Trips("whole", epoch=1), *dense())
        return net, net.fit(X, Y, callbacks=[Checkpoint(1), *callbacks], **{**HOW, "epochs": 3, **how})

    whole, _ = run(OnNonFinite("skip"), folder=tmp_path / "whole")
    with pytest.raises(NonFiniteError):
        run(folder=tmp_path / "part")
    again, history = run(OnNonFinite("skip"), resume=tmp_path / "part")
    assert len(history.faults) == 1
    for one, other in zip(whole._plan.arrays().values(), again._plan.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other)
