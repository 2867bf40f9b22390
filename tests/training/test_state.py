"""A training that goes on from its state reaches the same bytes as one that was never stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    Adam,
    ArgumentError,
    BatchNorm,
    Callback,
    Capture,
    Checkpoint,
    CheckpointError,
    ConstantRate,
    CosineDecay,
    CosineRestarts,
    CyclicRate,
    Dropout,
    EarlyStopping,
    EpochRecord,
    ExponentialDecay,
    FullyConnectedLayer,
    GedankenWarning,
    InverseDecay,
    LinearRate,
    MilestoneDecay,
    Momentum,
    Network,
    OneCycle,
    OnPlateau,
    Optimizer,
    PolynomialDecay,
    RateProduct,
    RateSequence,
    ReLU,
    Run,
    Schedule,
    SoftMax,
    StepDecay,
    StepRecord,
    WarmUp,
)
from gedanken.data.batches import ArraySource
from gedanken.io.model_file import Model
from gedanken.parallel.single import Single
from gedanken.training.loop import Training
from gedanken.training.new_run import new_run
from tests.cases import OPTIMIZERS, public_kinds

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 4)).astype("float32"), RNG.integers(0, 3, 40)
EPOCHS, STEPS = 3, 5  # of 8 samples

SCHEDULES: list[Schedule] = [
    ConstantRate(0.01),
    StepDecay(0.01, every=4, factor=0.5),
    ExponentialDecay(0.01, 4, 0.5),
    CosineDecay(0.01, 15),
    InverseDecay(0.01, 4),
    WarmUp(0.01, 6),
    OneCycle(0.01, 15),
    LinearRate(0.001, 0.01, 9),
    PolynomialDecay(0.01, 15, power=2),
    MilestoneDecay(0.01, (4, 9), (0.5, 0.2)),
    CosineRestarts(0.01, 3, growth=2),
    CyclicRate(0.001, 0.01, 2, 3, cycle_factor=0.5),
    RateSequence((LinearRate(0.001, 0.01, 4), CosineDecay(0.01, 8)), (4,)),
    RateProduct((CosineDecay(0.01, 15), StepDecay(1.0, every=4, factor=0.5))),
    OnPlateau(0.01, factor=0.5, patience=0, threshold=0.9, cooldown=1),
]
RULES: list[Optimizer] = [
    *{(type(case.optimizer), case.optimizer.slots()): case.optimizer for case in OPTIMIZERS}.values(),
    *(Adam(schedule) for schedule in SCHEDULES),
    Momentum(0.01, accumulate=2, clip_norm=0.5),
    SGD(OnPlateau(StepDecay(0.1, every=4, factor=0.5), factor=0.5, patience=1, threshold=0.5), accumulate=3),
]


class Keeper(Callback):
    """Keeps the training's state after one step, or after an epoch."""

    def __init__(self, step: tuple[int, int]) -> None:
        self.step = step
        self.kept: Mapping[str, Any] = {}

    def on_step(self, run: Run, record: StepRecord) -> Capture | None:
        return Capture(self._keep) if (record.epoch, record.step) == self.step else None

    def on_epoch(self, run: Run, record: EpochRecord) -> Capture | None:
        return Capture(self._keep) if (record.epoch, 0) == self.step else None

    def _keep(self, model: Model) -> None:
        assert model.training
        self.kept = model.training.state


class Copier(Callback):
    """Copies what another one keeps at once."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.copies = keeper, dict[str, Any]()

    def on_step(self, run: Run, record: StepRecord) -> None:
        if self.keeper.kept and not self.copies:
            self.copies = {name: np.array(value) for name, value in self.keeper.kept.items()}


def network(rule: Optimizer, engine: str = "auto", units: int = 6) -> Network:
    net = Network(seed=5).input((4,)).add(FullyConnectedLayer(units)).add(BatchNorm()).add(ReLU())
    net.add(Dropout(0.7)).add(FullyConnectedLayer(3)).add(SoftMax())
    return net.regression(rule, metrics=["accuracy", "roc_auc", "confusion_matrix"], engine=engine)


def training(net: Network, keeper: Keeper) -> Training:
    """Return a training of the network that has not begun."""
    train_state, source = net._train_state, ArraySource(X, Y, 8, shuffle=True, seed=5)
    assert train_state
    run = new_run(train_state, net.layers, net._cost, source, True, (1, EPOCHS), None)
    stop = EarlyStopping("validation_cost", patience=1, threshold=0.02)
    return Training(train_state, Single(), source, ArraySource(X[:9], Y[:9], 4), run, [keeper, stop], 1e-9, net)


def outcome(net: Network, done: Training) -> tuple[dict[str, Any], list[Any]]:
    """Return all that the training has become, and what its last epochs said, but for times."""
    train_state, history = net._train_state, done.history
    assert train_state
    told: list[Any] = [(r.epoch, r.samples, r.cost, r.metrics, r.validation_cost, r.rate) for r in history.epochs]
    told += [(s.epoch, s.progress, s.cost, s.metrics, s.rate) for s in history.snapshots]
    return {**train_state.plan.state(), **train_state.optimizer_state.state()}, [*told, history.answers, history.reason]


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.asarray(value).tobytes() == np.asarray(other[name]).tobytes(), name


@pytest.mark.parametrize("step", [(1, 1), (2, 3), (2, 0), (2, STEPS)], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_it_goes_on_as_if_it_had_never_stopped(rule: Optimizer, step: tuple[int, int]) -> None:
    net, keeper = network(rule), Keeper(step)
    unbroken = training(net, keeper)
    unbroken()
    expected, told = outcome(net, unbroken)
    assert keeper.kept
    again = network(rule)
    resumed = training(again, Keeper((0, 0)))
    resumed.restore(keeper.kept)
    resumed()
    found, told_again = outcome(again, resumed)
    assert_same(expected, found)
    np.testing.assert_equal(told_again, told)
    assert again.epoch == net.epoch


def test_every_optimizer_and_schedule_is_in_the_table() -> None:
    assert {type(rule) for rule in RULES} == public_kinds(Optimizer) - {Optimizer}
    assert {type(schedule) for schedule in SCHEDULES} == public_kinds(Schedule) - {Schedule}


def kept(rule: Optimizer | None = None, **options: Any) -> dict[str, Any]:
    """Return the state of a training in its middle."""
    keeper = Keeper((2, 3))
    training(network(rule or Momentum(0.01, accumulate=2), **options), keeper)()
    return keeper.kept


def test_a_state_is_plain_data_of_its_own() -> None:
    state = kept()
    assert {type(value) for value in state.values()} <= {np.ndarray, bool, int, float, str}
    assert state["strategy.plan.0.kernel"].any()
    assert state["strategy.optimizer.batches"] == 1
    assert (state["place.epoch"], state["place.step"]) == (2, 3)
    net, keeper = network(Momentum(0.01, accumulate=2)), Keeper((1, 2))
    first = training(net, keeper)
    first.callbacks = [*first.callbacks, copier := Copier(keeper)]
    first()
    for name, value in copier.copies.items():  # the steps that followed have not changed it
        np.testing.assert_array_equal(keeper.kept[name], value)


DAMAGE: dict[str, dict[str, Any]] = {
    "no weights": {"strategy.plan.0.kernel": None},
    "weights of another shape": {"strategy.plan.0.kernel": np.zeros((3, 3))},
    "weights of text": {"strategy.plan.0.kernel": "weights"},
    "a slot too much": {"strategy.optimizer.slots.m": np.zeros(3)},
    "half a step": {"strategy.optimizer.step": 2.5},
    "no place": {"place.step": None},
    "statistics of more steps": {"meter.0.steps": 64},
    "a callback's number as text": {"callbacks.1.waited": "3"},
    "a callback that keeps nothing": {"callbacks.0.more": 1},
    "a step before the first": {"place.step": -1},
    "no epoch": {"place.epoch": 0},
    "an epoch that no computer counts": {"place.epoch": 2**70},
    "time that is no number": {"place.seconds": float("nan")},
    "a part of nobody's": {"plan.0.kernel": np.zeros(3)},
    "an entry of nobody's": {"else": 1},
    "statistics as text": {"meter.0.0": "many"},
    "statistics as a list": {"meter.1.0": [1, 2]},
    "statistics of another metric": {"meter.2.0": np.zeros((7, 2))},
    "samples before the first": {"meter.samples": -1},
    "a cost that is no number": {"meter.cost": float("nan")},
    "a rate of another sign": {"strategy.optimizer.plateau.factor": -1.0},
    "a rate of nothing": {"strategy.optimizer.plateau.factor": 0.0},
    "mini-batches before the first": {"strategy.optimizer.batches": -1},
    "a best value that is no number": {"callbacks.1.best": float("nan")},
    "waiting before it began": {"callbacks.1.waited": -1},
    "masked weights": {"strategy.plan.0.bias": np.ma.masked_array(np.zeros(6), np.ones(6, bool))},
    "complex weights": {"strategy.plan.0.bias": np.zeros(6, complex)},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_does_not_fit_is_refused_and_changes_nothing(damage: dict[str, Any]) -> None:
    rule = Momentum(0.01, accumulate=2)
    state = {name: value for name, value in {**kept(rule), **damage}.items() if value is not None}
    net = network(rule)
    resumed = training(net, Keeper((0, 0)))
    assert net._train_state
    before = {**net._train_state.plan.state(), **net._train_state.optimizer_state.state()}
    resumed.restore(state)
    with pytest.raises(CheckpointError):
        resumed()
    assert_same(before, {**net._train_state.plan.state(), **net._train_state.optimizer_state.state()})


def begin(one: Any, state: Any) -> None:
    """Restore; a training looks at most of a state when it is called."""
    one.restore(state)
    if isinstance(one, Training):
        one()


@pytest.mark.parametrize("state", [None, [], "abc", 3, {1: 2}, {}], ids=repr)
def test_what_is_no_state_is_refused(state: Any) -> None:
    resumed = training(network(SGD(0.1)), Keeper((0, 0)))
    train_state = resumed.train_state
    for one in (train_state.plan, train_state.optimizer_state, EarlyStopping(), resumed):
        with pytest.raises(CheckpointError, match="must have"):
            begin(one, state)


@pytest.mark.parametrize("state", [None, [1], {"set": {1}}, {3: 1}], ids=repr)
def test_a_callback_whose_state_is_no_plain_data_is_named(state: Any, tmp_path: Path) -> None:
    class Own(Callback):
        def state(self) -> Any:
            return state

    made = training(network(SGD(0.1)), keeper := Keeper((1, 1)))
    made.callbacks = [keeper, Own()]
    told = r"Own.state must return a dict of arrays, numbers and texts by name"
    with pytest.warns(GedankenWarning, match=rf"could not be written down, it goes on: {told}"):
        made()
    net = network(SGD(0.1))
    with pytest.raises(ArgumentError, match=told):
        net.fit(X, Y, callbacks=[Own(), Checkpoint()], folder=tmp_path, progress=False)
    assert net.epoch == 0


def test_a_state_of_another_network_or_optimizer_is_refused() -> None:
    for other in (kept(Adam(0.01)), kept(units=7)):
        resumed = training(network(Momentum(0.01, accumulate=2)), Keeper((0, 0)))
        resumed.restore(other)
        with pytest.raises(CheckpointError, match="must have"):
            resumed()
