"""A description for ranks that a test has made, where `joined` has those of a launcher."""

from gedanken.parallel.base import Parallel
from gedanken.parallel.over_ranks import Follower, Kind, Leader, of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.shared_batches import SharedBatches
from gedanken.ranks.in_process import Threads


class Among(Parallel):
    """What DataParallel and LocalSGD are for these ranks.

    Args:
        ranks: this one's side of them.
        kind: makes a rank's replica.
    """

    def __init__(self, ranks: Threads, kind: Kind = SharedBatches) -> None:
        self.ranks, self.kind = ranks, kind

    def strategy(self, recipe: Recipe) -> Leader | Follower:
        self.made = of_ranks(recipe, 1, self.ranks, self.kind)
        return self.made
