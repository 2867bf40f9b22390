"""From what `fit(parallel=...)` was given to a strategy."""

from gedanken.checks import require
from gedanken.parallel.base import Parallel, Strategy
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.single import Single


def strategy_of(parallel: Parallel | None, recipe: Recipe) -> Strategy:
    """Return what trains a network; None is this process, one step after the other.

    Raises:
        ArgumentError: it is no description, or cannot train this network.
    """
    if parallel is None:
        return Single()
    made = f"an object: {parallel.__name__}()" if isinstance(parallel, type) else "an object such as Hogwild()"
    require(isinstance(parallel, Parallel), "parallel", f"be {made}, or None", parallel)
    return parallel.strategy(recipe)
