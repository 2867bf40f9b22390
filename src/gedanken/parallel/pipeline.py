"""Ranks that each have a row of a network's layers, through which parts of each mini-batch travel."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from gedanken.checks import is_list, one_of, require, whole
from gedanken.engine.select import Cpu
from gedanken.hyperparameters import Hyperparameters
from gedanken.parallel.base import Parallel, Strategy
from gedanken.parallel.over_ranks import Follower, Leader, of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.staged import Staged
from gedanken.processors import usable_processors
from gedanken.ranks.communicator import Communicator
from gedanken.ranks.joined import joined

SCHEDULES = ("1f1b", "gpipe")
MOST = 1 << 20  # micro-batches of a mini-batch, or layers


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pipeline(Hyperparameters, Parallel):
    """Ranks that each have some layers of the network, for `fit(parallel=...)`.

    The layers are cut into a row of stages, one for each rank of `gedanken launch`. Each mini-batch is cut into
    micro-batches, which go forward from stage to stage, and their gradients back; while one stage works on one, others
    work on others. The gradient is that of the mini-batch, sum_k(c_k * g_k) / sum_k(c_k) of the micro-batches'
    gradients g_k, which count for c_k samples, added in their order. A rank updates its own layers. In a script that
    was not launched one process does the same with all layers: weights and history are the same to the last bit.

    With n stages and m micro-batches a rank works m / (m + n - 1) of the time, where stages take equally long.
    `BatchNorm` normalises each micro-batch, and its running means see one after the other. See docs/distributed.md.

    Args:
        stages: "auto": the time that each layer takes is measured on the first micro-batch, and the slowest stage is
            made as fast as it can be; a number does the same for so many ranks, and refuses others. A list has the
            positions of the layers with which the second, third ... stage begins, as `Network.freeze` counts them:
            [3, 6] makes stages of layers 0 to 2, 3 to 5, and 6 to the last.
        micro_batches: of each mini-batch, 1 to 1,048,576 and at most its samples; where they do not come out even, some
            have a sample more.
        schedule: "1f1b" goes back with a micro-batch as soon as it can, so that stage s of n, counted from 0, keeps the
            activations of at most n - s of them. "gpipe" goes forward with all, then back: it keeps those of all.

    Raises:
        ArgumentError: an argument breaks its rule; when `fit` begins: the network cannot be cut there, or has fewer
            layers with weights than there are ranks; it has frozen layers; the optimizer has `accumulate`.

    Source:
        Huang et al., "GPipe: efficient training of giant neural networks using pipeline parallelism", 2019;
        Narayanan et al., "PipeDream: generalized pipeline parallelism for DNN training", 2019 ("1f1b").
    """

    stages: "str | int | Sequence[int]" = "auto"
    micro_batches: int = 16
    schedule: str = "1f1b"

    def __post_init__(self) -> None:
        given = self.stages
        if is_list(given):
            positions = [whole("Pipeline stages", one, at_most=MOST) for one in given]
            rule = "be positions of layers in growing order"
            require(all(a < b for a, b in pairwise(positions)), "Pipeline stages", rule, given)
            object.__setattr__(self, "stages", tuple(positions))
        elif not (isinstance(given, str) and given == "auto"):
            rule = 'be "auto", a number of stages, or a list of positions of layers'
            require(not isinstance(given, str) and given is not None, "Pipeline stages", rule, given)
            whole("Pipeline stages", given, at_most=MOST)
        whole("Pipeline micro_batches", self.micro_batches, at_most=MOST)
        one_of("Pipeline schedule", self.schedule, SCHEDULES)

    def strategy(self, recipe: Recipe) -> Strategy:
        """Return what trains a network in this way.

        Raises:
            ArgumentError: the stages are not as many as ranks.
        """
        ranks, given = joined(), self.stages
        wanted = ranks.size if isinstance(given, str) else given if isinstance(given, int) else len(given) + 1
        require(ranks.size in (1, wanted), "Pipeline stages", f"be as many as ranks, {ranks.size}", given)
        threads = 1
        if isinstance(recipe.engine, Cpu):
            threads = recipe.engine.threads or max(1, usable_processors() // ranks.local)
            recipe = recipe.with_threads(threads)
        return of_stages(recipe, threads, ranks, self)


def of_stages(recipe: Recipe, threads: int, ranks: Communicator, how: Pipeline) -> Leader | Follower:
    """Return this rank's strategy; the other arguments are those of OfRanks."""
    cuts = None if isinstance(how.stages, str | int) else how.stages
    kind = partial(Staged, cuts=cuts, micro_batches=how.micro_batches, schedule=how.schedule)
    made = of_ranks(recipe, threads, ranks, kind)
    made.in_plan = ranks.size == 1
    return made
