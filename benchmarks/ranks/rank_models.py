"""How long a step of n ranks takes, by formulas: what is computed was measured, what is sent is modelled.

A message takes latency + bytes / bandwidth; a rank sends and receives at the same time; nobody is slower than others.
What adds up arrays over n ranks takes the shortest of the ways that MPI chooses from (Thakur, Rabenseifner and Gropp,
"Optimization of collective communication operations in MPICH", 2005), for n a power of 2, with latency a, seconds a
byte b, seconds to add a byte c, and N bytes:

    recursive doubling          log2(n) * (a + N * b + N * c)
    halving and doubling        2 * log2(n) * a + 2 * (n - 1) / n * N * b + (n - 1) / n * N * c
    ring                        2 * (n - 1) * a + 2 * (n - 1) / n * N * b + (n - 1) / n * N * c

The third never beats the second here, and is what some networks are better at.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rank_costs import FORWARD, NUMBER, Costs

from gedanken.ranks.in_process import Link

BUCKET = 1 << 20  # bytes of gradients that are added up at once, as in parallel/gradient_sums.py
TOLD = 256  # bytes that a rank tells of its share
MOVED = 3, 2  # times that all parameters go over the network: for a push (H, back h_all, W), for a fetch (w_all, h_all)


def doubling(nbytes: float, ranks: int, link: Link, adding: float) -> float:
    """Return the seconds of recursive doubling."""
    return math.log2(ranks) * (link.seconds(nbytes) + nbytes / adding)


def halving(nbytes: float, ranks: int, link: Link, adding: float) -> float:
    """Return the seconds of halving, which adds up, and doubling, which hands out."""
    moved = (ranks - 1) / ranks * nbytes
    return 2 * (math.log2(ranks) * link.latency + moved / link.bandwidth) + moved / adding


def all_reduce(nbytes: float, ranks: int, link: Link, adding: float) -> float:
    """Return the seconds in which all ranks have the sum of their arrays."""
    return min(way(nbytes, ranks, link, adding) for way in (doubling, halving)) if ranks > 1 else 0.0


def telling(ranks: int, link: Link) -> float:
    """Return the seconds in which all ranks know what each tells."""
    return math.log2(ranks) * link.latency + (ranks - 1) * TOLD / link.bandwidth if ranks > 1 else 0.0


class Event(NamedTuple):
    """What a rank does next: "work" for so many seconds, "meet" for a sum of so many bytes, hand over a "bucket"."""

    kind: str
    amount: float


def shared_step(costs: Costs, ranks: int) -> Iterator[Event]:
    """Yield what a rank of DataParallel does in a step, up to where its gradients are handed over."""
    whole = costs.seconds(math.ceil(costs.batch / ranks))
    for layer in costs.layers:
        yield Event("work", FORWARD * layer.share * whole)
        if layer.norm and ranks > 1:
            yield Event("meet", NUMBER * ranks * (2 * layer.norm + 1))
    behind = before = costs.parameters
    sizes = BUCKET if costs.parameters > BUCKET else costs.parameters + 1
    for layer in reversed(costs.layers):
        if layer.norm and ranks > 1:
            yield Event("meet", NUMBER * (2 * layer.norm + 1))
        yield Event("work", (1 - FORWARD) * layer.share * whole)
        before -= layer.parameters
        while behind and (begin := (behind - 1) // sizes * sizes) >= before:
            yield Event("bucket", behind - begin)
            behind = begin


def data_parallel(costs: Costs, ranks: int, link: Link) -> float:
    """Return the seconds of a step: each rank has its share of the mini-batch, buckets go beside the backward pass."""
    computed = added = 0.0
    for kind, amount in shared_step(costs, ranks):
        if kind == "work":
            computed += amount
        elif kind == "meet":
            computed += all_reduce(amount, ranks, link, costs.adding)
        else:
            added = max(added, computed) + all_reduce(amount, ranks, link, costs.adding)
    return max(computed, added) + telling(ranks, link) + costs.update


def local_sgd(costs: Costs, ranks: int, link: Link, period: int) -> float:
    """Return the seconds of a round: `period` whole mini-batches of each rank's own, then the mean of the weights."""
    alone = period * (costs.seconds(costs.batch) + costs.update)
    return alone + all_reduce(costs.parameters, ranks, link, costs.adding) + telling(ranks, link)


def server_step(costs: Costs, ranks: int, link: Link, push: int, fetch: int) -> float:
    """Return the seconds of a whole mini-batch of a rank's own, with its part of pushes and fetches.

    A rank comes to one shard after the other, and waits for its answer. That others come to the same shard at the same
    time is left out, so it is the best that can be.
    """
    one = costs.parameters / ranks / link.bandwidth + 2 * link.latency
    moved = (ranks - 1) * one * (MOVED[0] / push + MOVED[1] / fetch)
    return costs.seconds(costs.batch) + costs.update + moved


class Stage(NamedTuple):
    """Layers in a row.

    Args:
        share: of the time of a pass.
        parameters: bytes.
        output: bytes of a sample that go to the next one; 0 of the last.
    """

    share: float
    parameters: int
    output: int


def most_stages(costs: Costs) -> int:
    """Return how many stages a network can be cut into, with weights in each."""
    return sum(layer.parameters > 0 for layer in costs.layers)


def stages_of(costs: Costs, count: int) -> list[Stage]:
    """Cut a network into stages, so that the slowest is as fast as it can be."""
    groups: list[list] = []  # a layer without weights stays with the one before it
    for layer in costs.layers:
        if layer.parameters and groups and any(one.parameters for one in groups[-1]):
            groups.append([layer])
        elif groups:
            groups[-1].append(layer)
        else:
            groups = [[layer]]
    shares = [sum(layer.share for layer in group) for group in groups]
    best = {0: (0.0, ())}
    for number in range(1, count + 1):
        ways = {}
        for end in range(number, len(groups) + 1):
            ways[end] = min(
                (max(best[cut][0], sum(shares[cut:end])), (*best[cut][1], cut)) for cut in best if cut < end
            )
        best = ways
    cuts = [*best[len(groups)][1], len(groups)]
    stages = []
    for begin, end in itertools.pairwise(cuts):
        row = [layer for group in groups[begin:end] for layer in group]
        output = row[-1].output if end < len(groups) else 0
        stages.append(Stage(sum(one.share for one in row), sum(one.parameters for one in row), output))
    return stages


def order_of(stage: int, stages: int, micro_batches: int) -> list[tuple[str, int]]:
    """Return the passes of a stage in the order of 1F1B: ("F" or "B", number of the micro-batch)."""
    ahead = min(stages - stage - 1, micro_batches)
    order = [("F", number) for number in range(ahead)]
    for number in range(micro_batches - ahead):
        order += [("F", ahead + number), ("B", number)]
    return order + [("B", number) for number in range(micro_batches - ahead, micro_batches)]


def micro(costs: Costs, micro_batches: int) -> tuple[int, float]:
    """Return the samples of a micro-batch, and the seconds of a pass with them through all layers."""
    samples = math.ceil(costs.batch / micro_batches)
    return samples, costs.seconds(samples)


def pipeline(costs: Costs, ranks: int, link: Link, micro_batches: int) -> float:
    """Return the seconds of a step: each rank has a stage, micro-batches go through them by 1F1B."""
    stages, (samples, whole) = stages_of(costs, ranks), micro(costs, micro_batches)
    left = [order_of(stage, ranks, micro_batches) for stage in range(ranks)]
    clocks, sent = [0.0] * ranks, {}  # when what a stage waits for is there
    while any(left):
        for stage, order in enumerate(left):
            while order:
                kind, number = order[0]
                source = {"F": stage - 1, "B": stage + 1}[kind]
                if 0 <= source < ranks:
                    if (kind, source, number) not in sent:
                        break
                    clocks[stage] = max(clocks[stage], sent[kind, source, number])
                order.pop(0)
                clocks[stage] += (FORWARD if kind == "F" else 1 - FORWARD) * stages[stage].share * whole
                nbytes = samples * (stages[stage].output if kind == "F" else stages[stage - 1].output)
                sent[kind, stage, number] = clocks[stage] + link.seconds(nbytes)
    slowest = max(stage.parameters for stage in stages) / costs.parameters
    return max(clocks) + telling(ranks, link) + slowest * costs.update


def first_below(ranks: Sequence[int], rates: Sequence[float], efficiency: float = 0.5) -> int | None:
    """Return the fewest ranks whose rate is below this part of so many times a single rank's; None: there are none."""
    return next((n for n, rate in zip(ranks, rates, strict=True) if rate < efficiency * n * rates[0]), None)
