"""Ranks that learn apart and take the mean of their weights from time to time."""

from dataclasses import dataclass, replace
from functools import partial

from gedanken.checks import require, whole
from gedanken.hyperparameters import Hyperparameters
from gedanken.parallel.base import Parallel, Strategy
from gedanken.parallel.hogwild import Hogwild
from gedanken.parallel.over_ranks import of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.rounds import Rounds
from gedanken.parallel.single import Single
from gedanken.parallel.wild_rounds import WildRounds
from gedanken.processors import usable_processors
from gedanken.ranks.joined import joined

LONGEST = 1 << 20  # mini-batches between two means


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LocalSGD(Hyperparameters, Parallel):
    """Ranks that learn by themselves and meet from time to time, for `fit(parallel=...)`.

    Rank r of n learns from mini-batches r, r + n, r + 2 n ... of the epoch's order. After `period` of its own the
    weights of all ranks, and running means of layers, become their mean, sum_r(b_r * w_r) / sum_r(b_r), where rank r
    learnt from b_r mini-batches since the last time. It talks `period` times less than `DataParallel`, and the result
    is another one than the serial one. Moments of the optimizer are each rank's own within an epoch, and rank 0's after
    it. Schedules count the updates of a rank, so they pass n times slower. A script that was not launched as several
    ranks is trained serially. See docs/distributed.md.

    Args:
        period: mini-batches of each rank between two means, 1 to 1,048,576.
        inside: Hogwild(), for several workers in each rank, which share its weights and learn between two means from
            mini-batches that lie in a row in the order; its workers="auto" shares the processors of a machine among its
            ranks. It takes data in arrays.

    Raises:
        ArgumentError: an argument breaks its rule.

    Source:
        Stich, "Local SGD converges fast and communicates little", 2019.
    """

    period: int = 16
    inside: Hogwild | None = None

    def __post_init__(self) -> None:
        whole("LocalSGD period", self.period, at_most=LONGEST)
        is_one = self.inside is None or isinstance(self.inside, Hogwild)
        require(is_one, "LocalSGD inside", "be an object such as Hogwild(), or None", self.inside)

    def strategy(self, recipe: Recipe) -> Strategy:
        """Return what trains a network in this way.

        Raises:
            ArgumentError, EngineError: as of `Hogwild.strategy`.
        """
        ranks = joined()
        if ranks.size == 1:
            return self.inside.strategy(recipe) if self.inside else Single()
        threads = max(1, usable_processors() // ranks.local)
        recipe = recipe.with_threads(threads)
        if self.inside is None:
            return of_ranks(recipe, threads, ranks, partial(Rounds, period=self.period))
        inside = replace(self.inside, workers=threads) if isinstance(self.inside.workers, str) else self.inside
        workers = inside.strategy(recipe)
        made = of_ranks(recipe, threads, ranks, partial(WildRounds, period=self.period, inside=workers))
        made.exact = False
        return made
