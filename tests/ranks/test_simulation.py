"""The simulation of many ranks: its formulas are those of real messages, and what they say is plausible."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from gedanken.ranks.in_process import Link

sys.path.append(str(Path(__file__).parents[2] / "benchmarks/ranks"))

import rank_models as models
import rank_world as world
import simulate
from rank_costs import Costs, LayerCosts

PASSES = ((1, 1e-4), (4, 1.5e-4), (16, 4e-4), (64, 1e-3), (256, 3.5e-3))
SMALL = (LayerCosts(0.0, 0, 3136), LayerCosts(0.9, 401_920, 512), LayerCosts(0.0, 0, 512), LayerCosts(0.1, 5_160, 40))
DEEP = tuple(LayerCosts(1 / 8, 400_000, 4096) for _ in range(8))  # 3.2 MB: several buckets
NORMED = (
    LayerCosts(0.1, 1_280, 86_528),
    LayerCosts(0.0, 256, 86_528, 32),
    LayerCosts(0.6, 73_984, 147_456),
    LayerCosts(0.0, 512, 147_456, 64),
    LayerCosts(0.3, 2_000_000, 512),
)
NETWORKS = {
    name: Costs(256, PASSES, 2e-4, layers, 5e9)
    for name, layers in {"small": SMALL, "deep": DEEP, "normed": NORMED}.items()
}
LINKS = {"slow": Link(50e-6, 1e9 / 8), "fast": Link(50e-6, 25e9 / 8), "far": Link(5e-3, 1e9 / 8)}
STRATEGIES = {strategy.name.partition("(")[0]: strategy for strategy in simulate.STRATEGIES}
every = pytest.mark.parametrize("costs", NETWORKS.values(), ids=NETWORKS)
ways = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@ways
@every
def test_formulas_say_what_messages_take(costs: Costs, strategy: simulate.Strategy, link: Link, size: int) -> None:
    if size > strategy.most(costs):
        pytest.skip(f"it has no {size} layers with weights")
    assert strategy.seconds(costs, size, link) == pytest.approx(strategy.real(costs, size, link), rel=2e-3)


@every
@ways
def test_one_rank_is_what_was_measured(costs: Costs, strategy: simulate.Strategy) -> None:
    alone = 256 / (PASSES[-1][1] + costs.update)
    assert simulate.rates(strategy, costs, LINKS["slow"])[1] == pytest.approx(alone)
    if not strategy.name.startswith("Pipeline"):
        formula = strategy.samples(costs, 1) / strategy.seconds(costs, 1, LINKS["slow"])
        assert formula == pytest.approx(alone), "a single rank says nothing to anybody"


@every
@ways
@pytest.mark.parametrize("better", [Link(50e-6, 25e9 / 8), Link(5e-6, 1e9 / 8)], ids=["wider", "quicker"])
def test_a_better_link_is_never_slower(costs: Costs, strategy: simulate.Strategy, better: Link) -> None:
    slow, fast = (simulate.rates(strategy, costs, link) for link in (LINKS["slow"], better))
    assert all(fast[ranks] >= slow[ranks] for ranks in slow)
    assert any(fast[ranks] > slow[ranks] for ranks in slow if ranks > 1)


@every
@ways
def test_no_link_makes_ranks_faster_than_their_own_work(costs: Costs, strategy: simulate.Strategy) -> None:
    found = simulate.rates(strategy, costs, Link(0.0, math.inf))
    best = 256 / PASSES[0][1] if strategy.name.startswith(("Data", "Pipe")) else math.inf
    assert all(rate <= min(ranks * found[1] * 1.001 * 4, best) for ranks, rate in found.items())


def test_buckets_that_are_hidden_cost_nothing() -> None:
    costs = NETWORKS["deep"]
    longer = costs._replace(passes=tuple((count, 100 * seconds) for count, seconds in costs.passes))
    step = models.data_parallel(longer, 2, LINKS["slow"])
    last = costs.parameters - 3 * models.BUCKET if costs.parameters % models.BUCKET else models.BUCKET
    at_least = longer.seconds(128) + costs.update
    whole = models.all_reduce(costs.parameters, 2, LINKS["slow"], costs.adding)
    bucket = models.all_reduce(models.BUCKET, 2, LINKS["slow"], costs.adding)
    assert last < models.BUCKET
    assert at_least < step < at_least + bucket + 1e-3 < at_least + whole


@every
def test_buckets_are_the_gradient(costs: Costs) -> None:
    handed = [amount for kind, amount in models.shared_step(costs, 4) if kind == "bucket"]
    assert sum(handed) == costs.parameters
    assert max(handed) <= models.BUCKET


def test_stages_are_cut_where_the_slowest_is_fastest() -> None:
    for count in (1, 2, 4, 8):
        stages = models.stages_of(NETWORKS["deep"], count)
        assert [stage.share for stage in stages] == pytest.approx([1 / count] * count)
        assert stages[-1].output == 0
    assert [round(stage.share, 3) for stage in models.stages_of(NETWORKS["normed"], 2)] == [0.7, 0.3]


@pytest.mark.parametrize("micro_batches", [1, 4, 16, 64])
def test_a_pipeline_without_a_link_has_the_known_bubble(micro_batches: int) -> None:
    """Of n stages that take equally long each works m / (m + n - 1) of the time."""
    costs = NETWORKS["deep"]._replace(update=0.0)
    _, whole = models.micro(costs, micro_batches)
    for ranks in (2, 4, 8):
        slots = micro_batches + ranks - 1
        found = models.pipeline(costs, ranks, Link(0.0, math.inf), micro_batches)
        assert found == pytest.approx(slots * whole / ranks)


def test_where_ranks_stop_paying() -> None:
    assert models.first_below([1, 2, 4, 8], [10.0, 18.0, 30.0, 39.0]) == 8
    assert models.first_below([1, 2, 4], [10.0, 18.0, 30.0]) is None


def test_the_table_names_all_strategies(capsys: pytest.CaptureFixture[str]) -> None:
    simulate.show("a network", NETWORKS["small"], {"a link of 1": LINKS["slow"]}, check=True)
    told = capsys.readouterr().out
    assert all(strategy.name in told for strategy in STRATEGIES.values())
    assert "measured: ms of a pass" in told
    assert "modelled: a link of 1: 50 us, 1 Gbit/s" in told
    assert "formulas and messages are at most" in told


def test_costs_are_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words: list[Any] = ["simulate.py", "--networks", "mlp", "--turns", "1", "--gigabits", "1"]
    monkeypatch.setattr(sys, "argv", words)
    simulate.main()
    assert "MLP 784-128-10, 0.41 MB of parameters, mini-batches of 512" in capsys.readouterr().out
    assert world.NOTHING.nbytes == 0
