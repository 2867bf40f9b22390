"""A description for ranks that a test has made, where `joined` has those of a launcher."""

from collections.abc import Callable
from functools import partial

from gedanken.parallel.base import Parallel
from gedanken.parallel.over_ranks import Follower, Kind, Leader, of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.shared_batches import SharedBatches
from gedanken.ranks.beside import Readable
from gedanken.ranks.in_process import Threads


class Among(Parallel):
    """What DataParallel, LocalSGD and ParameterServer are for these ranks.

    Args:
        ranks: this one's side of them.
        kind: makes a rank's replica.
        maker: makes a rank's strategy, `made`.
    """

    def __init__(
        self, ranks: Threads, kind: Kind = SharedBatches, maker: Callable[..., Leader | Follower] = of_ranks
    ) -> None:
        self.ranks, self.kind, self.maker = ranks, kind, maker

    def strategy(self, recipe: Recipe) -> Leader | Follower:
        if self.kind is not SharedBatches or self.ranks.local < self.ranks.size:
            self.made = self.maker(recipe, 1, self.ranks, self.kind)
        else:
            readable = Readable()
            self.made = of_ranks(recipe, 1, self.ranks, partial(SharedBatches, readable=readable), readable)
        return self.made
