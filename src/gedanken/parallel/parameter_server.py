"""Ranks that learn from parameters which all of them hold in parts, and wait for nobody: Downpour SGD.

Each rank is a server, since a part of the parameters and of the rule's sums lies in a window of it, and a worker. What
all do together is at the begin and at the end of an epoch alone.
"""

import contextlib
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from gedanken.checks import require, whole
from gedanken.data.batches import Source
from gedanken.hyperparameters import Hyperparameters
from gedanken.optimizers import AdaGrad
from gedanken.parallel.base import Parallel, Results, StepResult, Strategy
from gedanken.parallel.over_ranks import Follower, Kind, Leader
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.served import Served
from gedanken.parallel.single import Single
from gedanken.parallel.told import Told
from gedanken.processors import usable_processors
from gedanken.ranks.communicator import Communicator, RankError
from gedanken.ranks.joined import joined
from gedanken.state import State

LONGEST = 1 << 20  # mini-batches between two pushes, or two fetches
MERGED = 64  # results of mini-batches that are made one


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ParameterServer(Hyperparameters, Parallel):
    """Ranks that learn from one set of parameters and wait for nobody, for `fit(parallel=...)`.

    Parameters w and AdaGrad's sums of squares h lie in parts on all ranks. Rank r of n learns from mini-batches r,
    r + n, r + 2 n ... of the epoch's order, by a copy of w and h of its own:

        h += g**2
        w -= rate * g / (sqrt(h) + epsilon)

    After `push` mini-batches, and at the end of the epoch, it adds what it has changed since its last push, W of w and
    H of h, to those of all, whose steps the sums of all make shorter:

        h_all += H
        w_all += W * (sqrt(h) + epsilon) / (sqrt(h_all) + epsilon)

    After `fetch` mini-batches it takes over w_all and h_all. So a gradient may be stale, and the result is another one
    each time. The network's optimizer has to be AdaGrad; its schedule counts the updates of all ranks. After an epoch
    all ranks have the same weights, and the mean of running means of layers, weighted by mini-batches. A script that
    was not launched as several ranks is trained serially. See docs/distributed.md.

    Args:
        push: mini-batches of a rank between two times that it gives, 1 to 1,048,576.
        fetch: and between two times that it takes, likewise.

    Raises:
        ArgumentError: an argument breaks its rule.

    Source:
        Dean et al. 2012, "Large scale distributed deep networks", section 4.1. Differs: nothing runs where parameters
        lie, so workers make AdaGrad's steps, and add those in place of gradients.
    """

    push: int = 5
    fetch: int = 5

    def __post_init__(self) -> None:
        whole("ParameterServer push", self.push, at_most=LONGEST)
        whole("ParameterServer fetch", self.fetch, at_most=LONGEST)

    def strategy(self, recipe: Recipe) -> Strategy:
        """Return what trains a network in this way.

        Raises:
            ArgumentError: the optimizer is not AdaGrad, or the network's engine has its numbers on a device.
        """
        require(recipe.engine.name != "cuda", "parallel", 'be None with engine "cuda": ranks read memory', self)
        rule = "be AdaGrad with ParameterServer: ranks add up its sums of squares"
        require(type(recipe.optimizer) is AdaGrad, "optimizer", rule, recipe.optimizer)
        ranks = joined()
        if ranks.size == 1:
            return Single()
        threads = getattr(recipe.engine, "threads", None) or max(1, usable_processors() // ranks.local)
        recipe = recipe.with_threads(threads)
        return serving(recipe, threads, ranks, partial(Served, push=self.push, fetch=self.fetch))


class ServingLeader(Leader):
    """Rank 0: it yields its own mini-batches as it learns from them, and at the end what all others learnt from."""

    exact = in_plan = False
    forgives = False

    @property
    def _served(self) -> Served:
        assert isinstance(self._replica, Served)
        return self._replica

    def _rest(self, source: Source, epoch: int) -> Results:
        served = self._served
        served.keep = self._refuge.keep
        with self._talk():
            served.open()
        self._shown = 0  # mini-batches of others that results have counted
        with self._refuge:
            yield from self._draw(source, epoch)
            with self._talk():
                every = served.finish(Told())
            whole = not served.fault
            if others := served.as_one([one.result(1.0) for one in every[1:] if one.samples]):
                yield others._replace(batches=max(others.batches - self._shown, 0), share=1.0 if whole else 1 - 1e-9)
            if served.fault:
                if self._refuge.last:
                    self._refuge.seek(self._refuge.last)
                yield StepResult(0, 1 - 1e-9, math.nan, (), served.fault)

    def _draw(self, source: Source, epoch: int) -> Results:
        """Learn from this rank's mini-batches, as long as nobody asks for the end."""
        served = self._served
        with contextlib.closing(served.pieces(source, epoch, self._next)) as batches:
            for batch in batches:
                assert served.shards
                if served.shards.stopped:
                    return
                self._refuge.last = batch
                served.shards.set_factor(self.train_state.optimizer_state.plateau.factor)
                told = served.tell(batch, epoch)
                if served.fault:
                    return
                count, self._shown = 1 + served.others - self._shown, served.others
                self._next += count
                yield told.result(min(batch.share, 1 - 1e-9))._replace(batches=count)

    def _end_epoch(self, source: Source, epoch: int) -> None:
        served = self._served
        if served.shards:  # the epoch is broken off
            try:
                with self._talk():
                    served.stop()
                    served.finish(Told())
            except RankError as error:
                self._survive(error)

    def show(self) -> None:
        if self._served.shards:
            self._served.fetch()

    def state(self) -> State:
        self.show()
        return super().state()


class ServingFollower(Follower):
    """Any other rank."""

    def _epoch(self, source: Source, order: dict[str, Any]) -> None:
        """Learn from this rank's mini-batches, as long as nobody asks for the end."""
        served, learnt = self._replica, list[StepResult]()
        assert isinstance(served, Served)
        served.open()
        with contextlib.closing(served.pieces(source, order["epoch"], order["start"])) as batches:
            for batch in batches:
                assert served.shards
                if served.shards.stopped:
                    break
                told = served.tell(batch, order["epoch"])
                if served.fault:
                    break
                learnt.append(told.result(1.0))
                if len(learnt) == MERGED:
                    learnt = [one for one in [served.as_one(learnt)] if one]
        served.finish(Told().of(served.as_one(learnt)))


def serving(recipe: Recipe, threads: int, ranks: Communicator, kind: Kind) -> ServingLeader | ServingFollower:
    """Return this rank's strategy; the arguments are those of OfRanks, and `kind` makes a Served."""
    return (ServingFollower if ranks.rank else ServingLeader)(recipe, threads, ranks, kind)
