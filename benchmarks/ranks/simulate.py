"""Where adding ranks stops paying, on networks that are not here: costs that were measured, links that are modelled.

    python benchmarks/ranks/simulate.py [--networks mlp diary deep] [--latency 50 --gigabits 1] [--turns 5] [--check]
    gedanken launch -n 2 benchmarks/ranks/simulate.py      # a row for the link between these ranks, too

A forward and backward pass with several numbers of samples and the optimizer's update are measured, one thread a rank.
How a pass is divided among layers follows their multiply-adds, backwards twice as long as forwards. Messages follow the
formulas of rank_models.py; --check holds these against ranks that send real messages in a time of their own.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import rank_models as models
import rank_world as world
from rank_costs import NETWORKS, Costs, link_of, measured

from gedanken.ranks.in_process import Link
from gedanken.ranks.joined import joined

SHOWN = 1, 2, 8, 64, 1024
TRIED = tuple(2**power for power in range(11))
NAMES = dict(zip(("mlp", "diary", "deep"), NETWORKS, strict=True))
PERIOD, PUSH, MICRO = 16, 5, 16
GIGABIT = 1e9 / 8  # bytes a second
TOLD = """\
Samples a second are measured for 1 rank, and modelled for more. DataParallel and Pipeline share a mini-batch of one
size; with LocalSGD and ParameterServer each rank has whole ones, which is another training. below 50 %: the fewest
ranks of which each does less than half of what one alone does; fastest: of 1, 2, 4 ... 1024.
"""


class Strategy(NamedTuple):
    """A way of training by ranks.

    Args:
        name: with its options.
        seconds: of a step, by the formulas, for costs, ranks and link; of one rank, alone.
        real: the same by messages in a World.
        samples: of a step, for costs and ranks.
        most: the most ranks, for costs.
    """

    name: str
    seconds: Callable[[Costs, int, Link], float]
    real: Callable[[Costs, int, Link], float]
    samples: Callable[[Costs, int], int]
    most: Callable[[Costs], int] = lambda costs: max(TRIED)


STRATEGIES = [
    Strategy("DataParallel()", models.data_parallel, world.data_parallel, lambda costs, ranks: costs.batch),
    Strategy(
        f"LocalSGD({PERIOD})",
        lambda *given: models.local_sgd(*given, PERIOD),
        lambda *given: world.local_sgd(*given, PERIOD),
        lambda costs, ranks: PERIOD * ranks * costs.batch,
    ),
    Strategy(
        f"ParameterServer({PUSH}, {PUSH})",
        lambda *given: models.server_step(*given, PUSH, PUSH),
        lambda *given: world.server_step(*given, PUSH, PUSH),
        lambda costs, ranks: ranks * costs.batch,
    ),
    Strategy(
        f"Pipeline(micro_batches={MICRO})",
        lambda *given: models.pipeline(*given, MICRO),
        lambda *given: world.pipeline(*given, MICRO),
        lambda costs, ranks: costs.batch,
        models.most_stages,
    ),
]


def rates(strategy: Strategy, costs: Costs, link: Link) -> dict[int, float]:
    """Return the samples a second of each number of ranks that the strategy can use; of one rank, as measured."""
    alone = costs.batch / (costs.seconds(costs.batch) + costs.update)
    several = [ranks for ranks in TRIED if 1 < ranks <= strategy.most(costs)]
    found = {ranks: strategy.samples(costs, ranks) / strategy.seconds(costs, ranks, link) for ranks in several}
    return {1: alone, **found}


def lines(costs: Costs, link: Link) -> Iterator[str]:
    """Yield the rows of a table, one for each strategy."""
    for strategy in STRATEGIES:
        found = rates(strategy, costs, link)
        shown = "".join(f"{_short(found[ranks]) if ranks in found else '-':>9}" for ranks in SHOWN)
        below = models.first_below([*found], [*found.values()])
        best = max(found, key=lambda ranks: found[ranks])
        end = f"{below or '-':>11}{best:>10}"
        yield f"    {strategy.name:<28}{shown}{end}"


def _short(rate: float) -> str:
    return f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.1f} k" if rate >= 1e3 else f"{rate:.0f}"


def disagreement(costs: Costs, link: Link, sizes: tuple[int, ...]) -> dict[str, float]:
    """Return for each strategy how far formulas and messages are apart at most, as a part of the seconds."""
    found = {}
    for strategy in STRATEGIES:
        both = [
            (strategy.seconds(costs, size, link), strategy.real(costs, size, link))
            for size in sizes
            if size <= strategy.most(costs)
        ]
        found[strategy.name] = max((abs(model / real - 1) for model, real in both), default=math.nan)
    return found


def show(name: str, costs: Costs, links: dict[str, Link], check: bool) -> None:
    """Print what a network would do on some links."""
    passes = ", ".join(f"{samples}: {1e3 * seconds:.2f}" for samples, seconds in costs.passes)
    print(f"{name}, {costs.parameters / 1e6:.2f} MB of parameters, mini-batches of {costs.batch}")
    print(f"  measured: ms of a pass by samples {passes}; update {1e3 * costs.update:.2f} ms")
    head = "".join(f"{ranks:>9}" for ranks in SHOWN)
    for told, link in links.items():
        print(f"  modelled: {told}: {1e6 * link.latency:.0f} us, {link.bandwidth / GIGABIT:.3g} Gbit/s")
        print(f"    {'samples a second with ranks':<28}{head}{'below 50 %':>11}{'fastest':>10}")
        print("\n".join(lines(costs, link)), flush=True)
        if check:
            apart = disagreement(costs, link, (2, 4, 8)).values()
            print(f"    formulas and messages are at most {max(one for one in apart if one == one):.2%} apart")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NAMES, default=[*NAMES])
    parser.add_argument("--latency", type=float, metavar="MICROSECONDS", default=50.0, help="(default: %(default)s)")
    parser.add_argument("--gigabits", type=float, nargs="+", metavar="A_SECOND", default=[1.0, 25.0])
    parser.add_argument("--turns", type=int, default=5, help="of which the shortest counts (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="hold the formulas against messages, for 2, 4 and 8 ranks")
    given = parser.parse_args()
    links = {f"a link of {one:g}": Link(1e-6 * given.latency, one * GIGABIT) for one in given.gigabits}
    ranks = joined()
    if ranks.size > 1:
        latency, bandwidth = link_of(ranks, given.turns)
        links["the link between these ranks, measured"] = Link(latency, bandwidth)
    if ranks.rank:
        return
    print(TOLD)
    for short in given.networks:
        show(NAMES[short], measured(NAMES[short], given.turns), links, given.check)


if __name__ == "__main__":
    main()
