"""What holds for every optimizer, checked on every row of the table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gedanken import (
    SGD,
    AdaDelta,
    Adafactor,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    ArgumentError,
    BatchNorm,
    FullyConnectedLayer,
    GroupNorm,
    Huber,
    LayerNorm,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    Network,
    OnPlateau,
    Optimizer,
    RAdam,
    Residual,
    RMSProp,
    Rprop,
    StepDecay,
)
from gedanken.engine.base import Engine
from gedanken.engine.select import select_engine
from gedanken.io.architecture import known_classes
from gedanken.io.data import from_data, to_data
from gedanken.ops import Ops
from gedanken.optimizer_state import OptimizerState, Updated
from gedanken.types import Array
from tests.cases import OPTIMIZERS, PUBLIC, RATE, OptimizerCase, name_of, public_kinds
from tests.optimizer_cases import updated
from tests.standin_cupy import StandInCupy

every_optimizer = pytest.mark.parametrize("case", OPTIMIZERS, ids=name_of)
OPS = Ops(dtype="float64")
SIZE, DECAYED = 6, 4


def gradients(steps: int = 10) -> Array:
    return np.random.default_rng(0).normal(size=(steps, SIZE))


def first() -> Array:
    return np.linspace(-1.0, 2.0, SIZE)


def of_single_numbers(optimizer: Optimizer) -> Updated:
    return updated(optimizer, range(1, SIZE + 1), DECAYED)


def descended(optimizer: Optimizer, gs: Array, ops: Ops = OPS) -> Array:
    p = ops.asarray(first())
    optimizer_state = OptimizerState(ops, optimizer, of_single_numbers(optimizer))
    for g in gs:
        optimizer_state.apply(p, ops.asarray(g), samples=1)
    return ops.to_host(p)


@every_optimizer
def test_ten_steps_follow_the_paper(case: OptimizerCase) -> None:
    decays = [case.decay] * DECAYED + [0.0] * (SIZE - DECAYED)
    columns = gradients().T.tolist()
    expected = [case.rule(p, gs, RATE, decay) for p, gs, decay in zip(first(), columns, decays, strict=True)]
    np.testing.assert_allclose(descended(case.optimizer, gradients()), expected, rtol=1e-12)


@every_optimizer
def test_a_quadratic_is_descended(case: OptimizerCase) -> None:
    optimizer = replace(case.optimizer, learning_rate=case.quick)
    p = first()
    optimizer_state = OptimizerState(OPS, optimizer, Updated(SIZE, DECAYED))
    start = float((p * p).sum())
    for _ in range(100):
        optimizer_state.apply(p, 2 * p, samples=1)
    assert (p * p).sum() < 0.6 * start


@every_optimizer
def test_everything_happens_in_place_and_in_one_type(case: OptimizerCase) -> None:
    ops = Ops(dtype="float32")
    p, g = ops.asarray(first()), ops.asarray(gradients(1)[0])
    optimizer_state = OptimizerState(ops, case.optimizer, Updated(SIZE, DECAYED))
    slots = dict(optimizer_state.slots)
    optimizer_state.apply(p, g, samples=1)
    assert p.dtype == "float32"
    assert tuple(optimizer_state.slots) == case.optimizer.slots()
    for name, slot in optimizer_state.slots.items():
        assert slot is slots[name]
        assert (slot.dtype, slot.shape) == ("float32", (SIZE,))
        assert slot.any()


@every_optimizer
def test_on_cupy_arrays_it_gives_the_same(case: OptimizerCase, standin_cupy: StandInCupy) -> None:
    optimizer = replace(case.optimizer, clip_value=1.5, clip_norm=2.0, accumulate=2)
    got = descended(optimizer, gradients(), Ops(standin_cupy, "float64"))
    np.testing.assert_allclose(got, descended(optimizer, gradients()), rtol=1e-12)


@pytest.mark.gpu
@every_optimizer
def test_on_a_gpu_it_gives_the_same(case: OptimizerCase, gpu: Any) -> None:
    optimizer = replace(case.optimizer, clip_value=1.5, clip_norm=2.0, accumulate=2)
    got = descended(optimizer, gradients(), Ops(gpu, "float64"))
    np.testing.assert_allclose(got, descended(optimizer, gradients()), rtol=1e-10)


@every_optimizer
def test_one_result_however_gradients_lie_in_memory(case: OptimizerCase) -> None:
    spread = np.repeat(gradients(), 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(descended(case.optimizer, spread), descended(case.optimizer, gradients()))


@every_optimizer
def test_saved_and_loaded_it_is_the_same_optimizer(case: OptimizerCase, tmp_path: Path) -> None:
    net = Network().input((2,)).add(FullyConnectedLayer(1)).regression(case.optimizer, "mean_squared")
    net.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    for one in (net, again):
        one.fit([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0], epochs=3, progress=False)
    np.testing.assert_array_equal(again.feedforward([[1.0, 1.0]]), net.feedforward([[1.0, 1.0]]))


def test_large_gradients_are_clipped_without_overflow() -> None:
    ops = Ops(dtype="float32")
    p = ops.asarray([0.0, 0.0])
    OptimizerState(ops, SGD(1.0, clip_norm=1.0), Updated(2, 2)).apply(p, ops.asarray([3e20, 4e20]), samples=1)
    np.testing.assert_allclose(p, [-0.6, -0.8], rtol=1e-6)


@every_optimizer
def test_as_data_and_as_text_it_is_the_same_optimizer(case: OptimizerCase) -> None:
    assert from_data(to_data(case.optimizer), known_classes()) == case.optimizer
    assert eval(repr(case.optimizer), dict(PUBLIC)) == case.optimizer


@every_optimizer
def test_gathered_gradients_are_one_large_mini_batch(case: OptimizerCase) -> None:
    parts, sizes = gradients(4), [3, 3, 3, 1]
    large = [(3 * parts[0] + 3 * parts[1]) / 6, (3 * parts[2] + parts[3]) / 4]
    p = first()
    rule = replace(case.optimizer, accumulate=2)
    optimizer_state = OptimizerState(OPS, rule, of_single_numbers(rule))
    for g, samples in zip(parts, sizes, strict=True):
        optimizer_state.apply(p, g, samples)
    np.testing.assert_allclose(p, descended(case.optimizer, np.array(large)), rtol=1e-12)


def test_what_is_left_of_an_epoch_makes_an_update() -> None:
    p = first()
    optimizer_state = OptimizerState(OPS, SGD(RATE, accumulate=4), Updated(SIZE, DECAYED))
    optimizer_state.apply(p, np.ones(SIZE), samples=2)
    np.testing.assert_array_equal(p, first())
    optimizer_state.flush(p)
    np.testing.assert_allclose(p, first() - RATE)
    optimizer_state.flush(p)
    assert optimizer_state.step == 1


@pytest.mark.parametrize(
    ("options", "g", "expected"),
    [
        ({"clip_value": 1.0}, [3.0, -2.0, 0.5], [1.0, -1.0, 0.5]),
        ({"clip_norm": 2.5}, [3.0, 4.0, 0.0], [1.5, 2.0, 0.0]),
        ({"clip_norm": 10.0}, [3.0, 4.0, 0.0], [3.0, 4.0, 0.0]),
        ({"clip_value": 3.0, "clip_norm": 2.0}, [9.0, 0.0, 0.0], [2.0, 0.0, 0.0]),
    ],
)
def test_gradients_are_clipped(options: dict[str, float], g: list[float], expected: list[float]) -> None:
    p = np.zeros(3)
    OptimizerState(OPS, SGD(1.0, **options), Updated(3, 3)).apply(p, np.array(g), samples=1)
    np.testing.assert_allclose(p, np.negative(expected))


def test_the_rate_follows_its_schedule() -> None:
    p, optimizer_state = np.zeros(1), OptimizerState(OPS, SGD(StepDecay(1.0, every=2, factor=0.5)), Updated(1, 1))
    moves = []
    for _ in range(5):
        before = p.copy()
        optimizer_state.apply(p, np.ones(1), samples=1)
        moves.append(float((before - p)[0]))
    assert moves == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_plateau_lowers_the_rate() -> None:
    optimizer_state = OptimizerState(OPS, SGD(OnPlateau(1.0, factor=0.5, patience=1)), Updated(1, 1))
    rates = []
    for cost in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        optimizer_state.watch(cost)
        rates.append(optimizer_state.rate)
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_constant_rate_does_not_see_the_cost() -> None:
    optimizer_state = OptimizerState(OPS, SGD(1.0), Updated(1, 1))
    for _ in range(30):
        optimizer_state.watch(1.0)
    assert optimizer_state.rate == 1.0


PATTERNS = 'a list of patterns of names such as ("*.kernel",)'
NEAR_1 = [0.9, 0.999, 0.99999, 0.9999999, 0.99999999, 1 - 1e-12]
# A penalty in the gradient is left out: where it nearly cancels the rest, digits are lost in any type.
RULES = {
    case.optimizer if case.optimizer.decoupled else replace(case.optimizer, weight_decay=0.0): None
    for case in OPTIMIZERS
}
SHARES = {
    replace(rule, **{name: share}): None
    for rule in RULES
    for name in ("momentum", "decay", "beta1", "beta2")
    if hasattr(rule, name)
    for share in [0.0, 0.3, *NEAR_1]
}


def at_work(engine: Engine, optimizer: Optimizer, size: int) -> OptimizerState:
    return OptimizerState(engine.ops, optimizer, Updated(size, size), engine.updater)


def stages_of(optimizer: Optimizer, engine: Engine, steps: int) -> Array:
    ops = engine.ops
    p, gs = ops.asarray(np.zeros(SIZE)), np.float32([[1.0, -0.3, 2e-3, 0.7, -5.0, 1e-4]])
    optimizer_state = at_work(engine, optimizer, SIZE)
    for step in range(steps):
        optimizer_state.apply(p, ops.asarray(gs[0] * (1 + 0.1 * (step % 3))), samples=1)
    return ops.to_host(p)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("optimizer", SHARES, ids=repr)
def test_shares_near_1_keep_their_digits_in_float32(optimizer: Optimizer, engine: str) -> None:
    exact = select_engine("numpy", "float64")
    for steps in (1, 7):
        expected = stages_of(optimizer, exact, steps)
        np.testing.assert_allclose(stages_of(optimizer, select_engine(engine, "float32"), steps), expected, rtol=3e-6)


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
def test_a_first_step_of_adam_is_the_rate(engine: str) -> None:
    chosen = select_engine(engine, "float32")
    for beta2 in NEAR_1:
        p = chosen.ops.asarray([0.0])
        at_work(chosen, Adam(1.0, beta2=beta2), 1).apply(p, chosen.ops.asarray([1.0]), samples=1)
        assert float(p[0]) == pytest.approx(-1.0, rel=2e-7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(0), "Adam learning_rate must be a number in (0, inf), got 0"),
        (lambda: Adam("fast"), "Adam learning_rate must be a number in (0, inf), got 'fast'"),  # type: ignore[arg-type]
        (lambda: Adam(beta1=1.0), "Adam beta1 must be a number in [0, 1), got 1.0"),
        (lambda: Adam(epsilon=0.0), "Adam epsilon must be a number in (0, inf), got 0.0"),
        (lambda: Momentum(momentum=-0.1), "Momentum momentum must be a number in [0, 1), got -0.1"),
        (lambda: SGD(weight_decay=-1.0), "SGD weight_decay must be a number in [0, inf), got -1.0"),
        (lambda: SGD(clip_norm=0.0), "SGD clip_norm must be a number in (0, inf), got 0.0"),
        (lambda: SGD(clip_value=-2.0), "SGD clip_value must be a number in (0, inf), got -2.0"),
        (lambda: SGD(decayed="kernel"), f'SGD decayed must be "kernels", "all" or {PATTERNS}, got \'kernel\''),
        (lambda: SGD(decayed=[]), f'SGD decayed must be "kernels", "all" or {PATTERNS}, got []'),
        (lambda: SGD(decayed=[3]), f"SGD decayed must be {PATTERNS}, got [3]"),  # type: ignore[list-item]
        (lambda: Adam(weight_decay=-1.0), "Adam weight_decay must be a number in [0, inf), got -1.0"),
        (lambda: Adam(amsgrad=1), "Adam amsgrad must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: AdaGrad(start=-1.0), "AdaGrad start must be a number in [0, inf), got -1.0"),
        (lambda: AdaGrad(rate_decay=-1.0), "AdaGrad rate_decay must be a number in [0, inf), got -1.0"),
        (lambda: RMSProp(momentum=1), "RMSProp momentum must be a number in [0, 1), got 1"),
        (lambda: RMSProp(centred="yes"), "RMSProp centred must be True or False, got 'yes'"),  # type: ignore[arg-type]
        (lambda: AdaDelta(decay=1), "AdaDelta decay must be a number in [0, 1), got 1"),
        (lambda: AdaMax(beta2=1), "AdaMax beta2 must be a number in [0, 1), got 1"),
        (lambda: NAdam(momentum_decay=-1), "NAdam momentum_decay must be a number in [0, inf), got -1"),
        (lambda: RAdam(decoupled=None), "RAdam decoupled must be True or False, got None"),  # type: ignore[arg-type]
        (lambda: Momentum(dampening=1), "Momentum dampening must be a number in [0, 1), got 1"),
        (lambda: Nesterov(dampening=0.5), "Nesterov dampening must be 0, got 0.5"),
        (
            lambda: Momentum(dampening=0.5, decoupled=True),
            "Momentum dampening must be 0 with decoupled weight decay, got 0.5",
        ),
        (lambda: RMSProp(decoupled=1), "RMSProp decoupled must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: Muon(steps=0), "Muon steps must be a whole number of at least 1, got 0"),
        (lambda: Muon(scale="root"), "Muon scale must be one of rms, shape, got 'root'"),
        (lambda: Muon(by_adam="3.*"), f"Muon by_adam must be {PATTERNS}, got '3.*'"),
        (lambda: Adafactor(least=0), "Adafactor least must be a number in (0, inf), got 0"),
        (lambda: Rprop(grow=1), "Rprop grow must be a number in (1, inf), got 1"),
        (lambda: Rprop(shrink=1), "Rprop shrink must be a number in (0, 1), got 1"),
        (lambda: Rprop(lowest=3, highest=2), "Rprop lowest must be at most highest=2, got 3"),
        (lambda: SGD(accumulate=0), "SGD accumulate must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_named(make: type, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("engine", ["numpy", "cpu"])
@pytest.mark.parametrize("epsilon", [1e-39, 1e-46, 1e39])
def test_an_epsilon_that_the_number_type_does_not_know_is_refused(epsilon: float, engine: str) -> None:
    net = Network().input((2,)).add(FullyConnectedLayer(1)).add(BatchNorm()).regression(cost="mean_squared")
    before = net.feedforward([[1.0, 2.0]])
    for rule in (Adam, AdamW, AdaMax, NAdam, RAdam, Muon, RMSProp, AdaDelta, AdaGrad):
        with pytest.raises(ArgumentError, match=rf"{rule.__name__} epsilon must lie in \[1.18e-38, 3.4e.* in float32"):
            net.regression(rule(epsilon=epsilon), "mean_squared", engine=engine)
    for layer in (
        BatchNorm(epsilon=epsilon),
        LayerNorm(epsilon=epsilon),
        GroupNorm(1, epsilon),
        Residual(LayerNorm(epsilon=epsilon)),
    ):
        with pytest.raises(ArgumentError, match="epsilon must lie in"):
            Network().input((2,)).add(layer).regression(cost="mean_squared", engine=engine)
    with pytest.raises(ArgumentError, match="Huber delta must lie in"):
        net.regression(cost=Huber(epsilon), engine=engine)
    np.testing.assert_array_equal(net.feedforward([[1.0, 2.0]]), before)
    net.fit([[1.0, 2.0], [2.0, 1.0]], [1.0, 2.0], progress=False)
    net.regression(Adam(epsilon=epsilon), "mean_squared", engine=engine, dtype="float64")


def test_every_public_optimizer_has_a_row() -> None:
    public = public_kinds(Optimizer)
    assert public - {Optimizer} == {type(case.optimizer) for case in OPTIMIZERS}
