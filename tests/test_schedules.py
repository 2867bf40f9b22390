"""Learning rates at named steps, their shape in between, and the memory of OnPlateau."""

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gedanken.schedules
from gedanken.errors import ArgumentError
from gedanken.schedules import (
    ConstantRate,
    CosineDecay,
    CosineRestarts,
    CyclicRate,
    ExponentialDecay,
    InverseDecay,
    LinearRate,
    MilestoneDecay,
    OneCycle,
    OnPlateau,
    Plateau,
    PolynomialDecay,
    RateProduct,
    RateSequence,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)

quietly = settings(deadline=None, max_examples=50)

RATES: list[tuple[Schedule, int, float]] = [
    (ConstantRate(0.01), 0, 0.01),
    (ConstantRate(0.01), 10**9, 0.01),
    (StepDecay(0.8, every=10, factor=0.5), 0, 0.8),
    (StepDecay(0.8, every=10, factor=0.5), 9, 0.8),
    (StepDecay(0.8, every=10, factor=0.5), 10, 0.4),
    (StepDecay(0.8, every=10, factor=0.5), 39, 0.1),
    (StepDecay(2.0, every=1), 3, 0.002),
    (StepDecay(0.8, every=1), 10**6, 0.0),
    (ExponentialDecay(0.8, steps=10, factor=0.25), 0, 0.8),
    (ExponentialDecay(0.8, steps=10, factor=0.25), 5, 0.4),
    (ExponentialDecay(0.8, steps=10, factor=0.25), 20, 0.05),
    (ExponentialDecay(0.8, steps=10), 10, 0.08),
    (CosineDecay(1.0, steps=12), 0, 1.0),
    (CosineDecay(1.0, steps=12), 4, 0.75),
    (CosineDecay(1.0, steps=12), 6, 0.5),
    (CosineDecay(1.0, steps=12), 12, 0.0),
    (CosineDecay(1.0, steps=12, final=0.2), 8, 0.4),
    (CosineDecay(1.0, steps=12, final=0.2), 10**6, 0.2),
    (WarmUp(0.5, steps=5), 0, 0.1),
    (WarmUp(0.5, steps=5), 3, 0.4),
    (WarmUp(0.5, steps=5), 4, 0.5),
    (WarmUp(0.5, steps=5), 100, 0.5),
    (WarmUp(StepDecay(0.4, every=3, factor=0.5), steps=2), 0, 0.2),
    (WarmUp(StepDecay(0.4, every=3, factor=0.5), steps=2), 2, 0.4),
    (WarmUp(StepDecay(0.4, every=3, factor=0.5), steps=2), 4, 0.4),
    (WarmUp(StepDecay(0.4, every=3, factor=0.5), steps=2), 5, 0.2),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100), 0, 0.1),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100), 2, 0.55),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100), 4, 1.0),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100), 7, 0.5005),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100), 10, 0.001),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100), 500, 0.001),
    (OneCycle(0.5, steps=2), 0, 0.02),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100, linear=True), 3, 0.775),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100, linear=True), 7, 0.5005),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100, three_phases=True), 6, 0.55),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100, three_phases=True), 8, 0.1),
    (OneCycle(1.0, steps=11, rise=0.4, start_factor=10, end_factor=100, three_phases=True), 9, 0.0505),
    (OneCycle(1.0, steps=11, rise=0.5, start_factor=10, end_factor=100, three_phases=True), 10, 0.001),
    (OneCycle(0.5, steps=2), 1, 2e-6),
    (LinearRate(0.2, 1.0, steps=4), 0, 0.2),
    (LinearRate(0.2, 1.0, steps=4), 3, 0.8),
    (LinearRate(0.2, 1.0, steps=4), 10**6, 1.0),
    (LinearRate(0.0, 0.5, steps=2), 1, 0.25),
    (PolynomialDecay(1.0, steps=10), 4, 0.6),
    (PolynomialDecay(1.0, steps=10, power=2, final=0.2), 5, 0.4),
    (PolynomialDecay(1.0, steps=10, power=0.5), 10**6, 0.0),
    (PolynomialDecay(1.0, steps=10, longer=True), 0, 1.0),
    (PolynomialDecay(1.0, steps=10, longer=True), 10, 0.0),
    (PolynomialDecay(1.0, steps=10, longer=True), 11, 0.45),
    (PolynomialDecay(1.0, steps=10, longer=True, final=0.2), 25, 0.2 + 0.8 / 6),
    (InverseDecay(0.8, steps=10), 10, 0.4),
    (InverseDecay(0.8, steps=10, decay=3.0), 5, 0.32),
    (InverseDecay(0.8, steps=10, decay=3.0, stairs=True), 19, 0.2),
    (MilestoneDecay(0.8, (3, 5), factor=0.5), 2, 0.8),
    (MilestoneDecay(0.8, (3, 5), factor=0.5), 3, 0.4),
    (MilestoneDecay(0.8, (3, 5), factor=0.5), 10**6, 0.2),
    (MilestoneDecay(0.1, (3, 5), factor=(3, 0.5)), 4, 0.3),
    (MilestoneDecay(0.1, (3, 5), factor=(3, 0.5)), 5, 0.15),
    (CosineRestarts(1.0, steps=4), 2, 0.5),
    (CosineRestarts(1.0, steps=4), 4, 1.0),
    (CosineRestarts(1.0, steps=4), 4 * 10**6 + 2, 0.5),
    (CosineRestarts(1.0, steps=2, growth=3, final=0.2), 5, 0.6),
    (CosineRestarts(1.0, steps=2, growth=3, final=0.2), 7, 0.2 + 0.4 * (1 - math.cos(math.pi / 6))),
    (CosineRestarts(1.0, steps=2, growth=3), 8, 1.0),
    (CosineRestarts(1.0, steps=2, growth=3, factor=0.5), 26, 0.125),
    (CosineRestarts(1.0, steps=10, growth=1.5, factor=0.5), 10, 0.5),
    (CosineRestarts(1.0, steps=10, growth=1.5, factor=0.5), 25, 0.25),
    (CyclicRate(0.1, 0.5, rise=4), 0, 0.1),
    (CyclicRate(0.1, 0.5, rise=4), 3, 0.4),
    (CyclicRate(0.1, 0.5, rise=4), 4, 0.5),
    (CyclicRate(0.1, 0.5, rise=4), 6, 0.3),
    (CyclicRate(0.1, 0.5, rise=4, fall=1), 5, 0.1),
    (CyclicRate(0.1, 0.5, rise=1, fall=4), 7, 0.4),
    (CyclicRate(0.1, 0.5, rise=4, cycle_factor=0.5), 20, 0.2),
    (CyclicRate(0.1, 0.5, rise=1, step_factor=0.5), 3, 0.15),
    (RateSequence((LinearRate(0.1, 0.5, 4), 0.7, StepDecay(1.0, 2, 0.5)), (4, 6)), 3, 0.4),
    (RateSequence((LinearRate(0.1, 0.5, 4), 0.7, StepDecay(1.0, 2, 0.5)), (4, 6)), 5, 0.7),
    (RateSequence((LinearRate(0.1, 0.5, 4), 0.7, StepDecay(1.0, 2, 0.5)), (4, 6)), 6, 1.0),
    (RateSequence((LinearRate(0.1, 0.5, 4), 0.7, StepDecay(1.0, 2, 0.5)), (4, 6)), 8, 0.5),
    (RateProduct((StepDecay(0.8, 2, 0.5), LinearRate(0.5, 1.0, 4), 3.0)), 0, 1.2),
    (RateProduct((StepDecay(0.8, 2, 0.5), LinearRate(0.5, 1.0, 4), 3.0)), 2, 0.9),
    (OnPlateau(0.3), 7, 0.3),
    (OnPlateau(StepDecay(0.4, every=3, factor=0.5)), 3, 0.2),
]


@pytest.mark.parametrize(("schedule", "step", "rate"), RATES)
def test_rate_of_a_step(schedule: Schedule, step: int, rate: float) -> None:
    assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-15)


def test_every_public_schedule_has_a_row() -> None:
    public = {
        kind
        for kind in vars(gedanken.schedules).values()
        if inspect.isclass(kind) and issubclass(kind, Schedule) and kind is not Schedule
    }
    assert public == {type(schedule) for schedule, _, _ in RATES}


@pytest.mark.parametrize("schedule", {schedule: None for schedule, _, _ in RATES}, ids=repr)
def test_rates_are_numbers_that_never_turn_negative(schedule: Schedule) -> None:
    rates = [schedule(step) for step in range(100)]
    assert all(isinstance(rate, float) and 0 <= rate < math.inf for rate in rates)
    assert rates == [schedule(step) for step in range(100)]
    np.testing.assert_allclose(schedule.rates(0, 100), rates, rtol=1e-12)
    np.testing.assert_allclose(schedule.rates(37, 20), rates[37:57], rtol=1e-12)


CONTINUOUS: list[tuple[Callable[[int], Schedule], float]] = [
    (lambda steps: ExponentialDecay(1.0, steps), math.log(10)),
    (lambda steps: CosineDecay(1.0, steps), math.pi / 2),
    (lambda steps: InverseDecay(1.0, steps, 3.0), 3.0),
    (lambda steps: WarmUp(CosineDecay(1.0, steps), steps), math.pi / 2),
    (lambda steps: OneCycle(1.0, steps, rise=0.5), math.pi),
    (lambda steps: LinearRate(0.0, 1.0, steps), 1.0),
    (lambda steps: PolynomialDecay(1.0, steps, power=2), 2.0),
    (lambda steps: CyclicRate(0.0, 1.0, steps, cycle_factor=0.5), 1.0),
]


@pytest.mark.parametrize(("make", "steepest"), CONTINUOUS)
@pytest.mark.parametrize("steps", [20, 200, 2000])
def test_no_jumps(make: Callable[[int], Schedule], steepest: float, steps: int) -> None:
    """Twice as many steps, half as large a change; `steepest` bounds the slope over the whole length."""
    schedule = make(steps)
    changes = [abs(schedule(step + 1) - schedule(step)) for step in range(2 * steps + 5)]
    assert max(changes) <= 1.1 * steepest / (steps - 1)
    assert max(changes) > 0


@quietly
@given(steps=st.integers(2, 500), rise=st.floats(0.01, 0.99), peak=st.floats(1e-6, 10))
def test_one_cycle_rises_then_falls(steps: int, rise: float, peak: float) -> None:
    schedule = OneCycle(peak, steps, rise)
    rates = [schedule(step) for step in range(steps + 2)]
    top = rates.index(max(rates))
    assert abs(top - rise * (steps - 1)) <= 1
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) <= peak * (1 + 1e-12)
    assert rates[0] == pytest.approx(peak / 25)
    assert rates[-1] == rates[steps - 1] == pytest.approx(peak / 25e4)


@quietly
@given(steps=st.integers(1, 50), growth=st.floats(1, 4) | st.integers(1, 4), step=st.integers(0, 10**6))
def test_a_restart_comes_after_each_cycle(steps: int, growth: float, step: int) -> None:
    """The cycles of the rate, laid out one by one, hold the step where the rate says."""
    growth = max(growth, 1.01) if growth != 1 else 1
    schedule, begin, length = CosineRestarts(1.0, steps, growth), 0.0, float(steps)
    step = min(step, 10**4 * steps) if growth == 1 else step
    while begin + length <= step:
        begin, length = begin + length, length * growth
    share = (step - begin) / length
    edge = min(share, 1 - share) < 1e-6  # where a rounding decides whether a cycle is over
    assert edge or schedule(step) == pytest.approx((1 + math.cos(math.pi * share)) / 2, abs=1e-6)


PLATEAUS = [
    (OnPlateau(1.0, patience=0), [5, 5], [1, 0.1]),
    (OnPlateau(1.0, patience=2), [5, 4, 3, 2], [1, 1, 1, 1]),
    (OnPlateau(1.0, patience=2), [5, 6, 6, 6], [1, 1, 1, 0.1]),
    (OnPlateau(1.0, patience=2), [5, 6, 6, 4, 6, 6, 6], [1, 1, 1, 1, 1, 1, 0.1]),
    (OnPlateau(1.0, patience=1), [5] * 7, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001]),
    (OnPlateau(1.0, factor=0.5, patience=0, lowest=0.2), [1] * 5, [1, 0.5, 0.25, 0.2, 0.2]),
    (OnPlateau(1.0, patience=0, threshold=0.1), [100, 91, 89, 80.2, 80], [1, 0.1, 0.1, 0.01, 0.01]),
    (OnPlateau(1.0, patience=0, threshold=0.1), [-100, -109, -111], [1, 0.1, 0.1]),
    (OnPlateau(1.0, patience=0, threshold=2, absolute=True), [9, 8, 6, 5], [1, 0.1, 0.1, 0.01]),
    (OnPlateau(1.0, patience=0, cooldown=2), [5] * 7, [1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]),
    (OnPlateau(1.0, patience=1, cooldown=1), [5, 5, 5, 5, 5, 4, 5, 5], [1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01]),
    (OnPlateau(1.0, patience=0, cooldown=3), [5, 5, 4, 5, 5, 5], [1, 0.1, 0.1, 0.1, 0.1, 0.01]),
    (OnPlateau(1.0, patience=0), [math.nan, 5, math.nan, math.inf, 4], [0.1, 0.1, 0.01, 0.001, 0.001]),
]


@pytest.mark.parametrize(("schedule", "costs", "factors"), PLATEAUS)
def test_factor_after_every_epoch(schedule: OnPlateau, costs: list[float], factors: list[float]) -> None:
    memory, seen = Plateau(), []
    for cost in costs:
        memory = schedule.watch(memory, cost)
        seen.append(memory.factor)
    assert seen == pytest.approx(factors)


@quietly
@given(st.lists(st.floats(-100, 100), max_size=40), st.integers(0, 5), st.integers(0, 3), st.integers(0, 39))
def test_plateau_goes_on_from_its_stored_numbers(costs: list[float], patience: int, cooldown: int, stop: int) -> None:
    schedule = OnPlateau(1.0, patience=patience, cooldown=cooldown)
    straight = resumed = Plateau()
    for epoch, cost in enumerate(costs):
        straight = schedule.watch(straight, cost)
        resumed = schedule.watch(Plateau(*resumed) if epoch == stop else resumed, cost)
    assert resumed == straight
    assert straight.best == pytest.approx(min(costs, default=math.inf), rel=1e-4, abs=0)
    assert straight.waited <= patience


def test_as_schedule() -> None:
    schedule = StepDecay(0.1, every=3)
    assert as_schedule(schedule) is schedule
    assert as_schedule(0.1) == ConstantRate(0.1)


WRONG = [
    (lambda: ConstantRate(0.0), "learning rate must be a number in (0, inf), got 0.0"),
    (lambda: ConstantRate(math.inf), "learning rate must"),
    (lambda: ConstantRate(math.nan), "learning rate must"),
    (lambda: ConstantRate("0.1"), "learning rate must"),  # type: ignore[arg-type]
    (lambda: StepDecay(-1.0, 5), "StepDecay rate must be a number in (0, inf), got -1.0"),
    (lambda: StepDecay(0.1, 0), "StepDecay every must be a whole number of at least 1, got 0"),
    (lambda: StepDecay(0.1, 2.5), "StepDecay every must"),  # type: ignore[arg-type]
    (lambda: StepDecay(0.1, 5, 0.0), "StepDecay factor must be a number in (0, 1], got 0.0"),
    (lambda: StepDecay(0.1, 5, 1.1), "StepDecay factor must"),
    (lambda: ExponentialDecay(0, 5), "ExponentialDecay rate must"),
    (lambda: ExponentialDecay(0.1, 0), "ExponentialDecay steps must"),
    (lambda: ExponentialDecay(0.1, 5, 2), "ExponentialDecay factor must"),
    (lambda: CosineDecay(0, 5), "CosineDecay rate must"),
    (lambda: CosineDecay(0.1, True), "CosineDecay steps must be a whole number of at least 1, got True"),
    (lambda: CosineDecay(0.1, 5, -0.1), "CosineDecay final must be a number in [0, inf), got -0.1"),
    (lambda: WarmUp(0.1, 0), "WarmUp steps must"),
    (lambda: WarmUp(-0.1, 5), "learning rate must"),
    (lambda: OneCycle(0, 5), "OneCycle peak must"),
    (lambda: OneCycle(0.1, 1), "OneCycle steps must be a whole number of at least 2, got 1"),
    (lambda: OneCycle(0.1, 5, rise=0), "OneCycle rise must be a number in (0, 1), got 0"),
    (lambda: OneCycle(0.1, 5, rise=1), "OneCycle rise must"),
    (
        lambda: OneCycle(0.1, 5, start_factor=0.5),
        "OneCycle start_factor must be a number in [1, inf), got 0.5",
    ),
    (lambda: OneCycle(0.1, 5, end_factor=0.5), "OneCycle end_factor must"),
    (lambda: OneCycle(0.1, 5, linear=1), "OneCycle linear must be True or False, got 1"),  # type: ignore[arg-type]
    (lambda: OneCycle(0.1, 5, 0.6, three_phases=True), "OneCycle rise must be a number in (0, 0.5], got 0.6"),
    (lambda: InverseDecay(0, 5), "InverseDecay rate must"),
    (lambda: InverseDecay(0.1, 0), "InverseDecay steps must"),
    (lambda: InverseDecay(0.1, 5, 0), "InverseDecay decay must be a number in (0, inf), got 0"),
    (lambda: InverseDecay(0.1, 5, stairs=None), "InverseDecay stairs must be True or False, got None"),  # type: ignore[arg-type]
    (lambda: PolynomialDecay(0.1, 5, longer=2), "PolynomialDecay longer must be True or False, got 2"),  # type: ignore[arg-type]
    (lambda: LinearRate(-1, 1, 5), "LinearRate first must be a number in [0, inf), got -1"),
    (lambda: LinearRate(0, 0, 5), "LinearRate last must be a number in (0, inf), got 0"),
    (lambda: LinearRate(0.1, 1, 0), "LinearRate steps must"),
    (lambda: PolynomialDecay(0.1, 5, 0), "PolynomialDecay power must be a number in (0, inf), got 0"),
    (lambda: MilestoneDecay(0.1, 5), "MilestoneDecay milestones must be a list of at least one"),  # type: ignore[arg-type]
    (lambda: MilestoneDecay(0.1, ()), "MilestoneDecay milestones must be a list of at least one"),
    (lambda: MilestoneDecay(0.1, (0, 5)), "MilestoneDecay milestones must be a whole number of at least 1, got 0"),
    (lambda: MilestoneDecay(0.1, (5, 5)), "MilestoneDecay milestones must rise, got (5, 5)"),
    (lambda: MilestoneDecay(0.1, (5,), 0), "MilestoneDecay factor must be a number in (0, inf), got 0"),
    (lambda: MilestoneDecay(0.1, (5, 6), (0.1,)), "MilestoneDecay factor must have one number for each of the 2"),
    (lambda: MilestoneDecay(0.1, (5, 6), 1e200), "MilestoneDecay factor must leave the rate finite, got 1e+200"),
    (lambda: CosineRestarts(0.1, 0), "CosineRestarts steps must"),
    (lambda: CosineRestarts(0.1, 5, 0.5), "CosineRestarts growth must be a number in [1, 1000], got 0.5"),
    (lambda: CosineRestarts(0.1, 5, factor=2), "CosineRestarts factor must be a number in (0, 1], got 2"),
    (lambda: CyclicRate(0.5, 0.1, 5), "CyclicRate high must be at least low=0.5, got 0.1"),
    (lambda: CyclicRate(0.1, 0.5, 5, 0), "CyclicRate fall must be a whole number of at least 1, got 0"),
    (lambda: CyclicRate(0.1, 0.5, 5, step_factor=1.1), "CyclicRate step_factor must be a number in (0, 1], got 1.1"),
    (lambda: RateSequence((0.1,), (5,)), "RateSequence schedules must be a list of at least two schedules"),
    (lambda: RateSequence((0.1, 0.2), (5, 6)), "RateSequence milestones must be one fewer than the 2 schedules"),
    (lambda: RateSequence((0.1, OnPlateau(0.2)), (5,)), "RateSequence schedules must not have OnPlateau inside"),
    (lambda: RateSequence((0.1, -0.2), (5,)), "learning rate must be a number in (0, inf), got -0.2"),
    (lambda: OnPlateau(OnPlateau(0.2)), "OnPlateau rate must be a number or a schedule that watches no costs"),
    (lambda: RateProduct((0.1, OnPlateau(0.2))), "RateProduct schedules must not have OnPlateau inside"),
    (lambda: OnPlateau(0.1, cooldown=-1), "OnPlateau cooldown must be a whole number of at least 0, got -1"),
    (lambda: OnPlateau(0), "learning rate must"),
    (lambda: OnPlateau(0.1, factor=1), "OnPlateau factor must be a number in (0, 1), got 1"),
    (lambda: OnPlateau(0.1, patience=-1), "OnPlateau patience must be a whole number of at least 0, got -1"),
    (lambda: OnPlateau(0.1, threshold=1), "OnPlateau threshold must be a number in [0, 1), got 1"),
    (lambda: OnPlateau(0.1, lowest=1.5), "OnPlateau lowest must be a number in [0, 1], got 1.5"),
]


@pytest.mark.parametrize(("make", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments(make: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value).startswith(message)
