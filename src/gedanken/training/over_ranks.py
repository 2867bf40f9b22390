"""A training of several ranks: rank 0 has the loop, and tells all others of its end."""

import contextlib

from gedanken.data.batches import Source
from gedanken.errors import NonFiniteError
from gedanken.parallel.base import TrainState
from gedanken.parallel.over_ranks import Ending, Follower, Leader
from gedanken.ranks.communicator import RankError
from gedanken.training.loop import Training
from gedanken.training.past import Past
from gedanken.training.records import History, Run, Unfreeze
from gedanken.training.trained import Trained


def lead(training: Training, leader: Leader) -> History:
    """Train as the leader, and let the others have what came of it."""
    try:
        history = training()
    except NonFiniteError as error:
        leader.end(_ending(error.history, training))
        raise
    except RankError:
        raise  # the others know, or are lost
    except BaseException as error:
        with contextlib.suppress(RankError):  # they may have found the same, and be gone
            leader.end(Ending("", f"{type(error).__name__}: {error}"))
        raise
    leader.end(_ending(history, training))
    return history


def _ending(history: History, training: Training) -> Ending:
    told = Past(history).state()["text"]
    return Ending(told, history.reason, history.diverged, history.kept, training.network.epoch)


def follow(follower: Follower, network: Trained, train_state: TrainState, source: Source, run: Run) -> History:
    """Do as the leader says; return the training's history, as the leader has it.

    Raises:
        NonFiniteError: as on the leader.
        RankError: another rank failed.
    """
    follower.start(train_state)
    try:
        ending = follower.follow(source)
    finally:
        follower.stop()
    if not ending.history:
        raise RankError(f"the training ended on rank 0: {ending.reason}", [0])
    network.epoch = ending.epoch
    history = History(run=run, reason=ending.reason, diverged=ending.diverged, kept=ending.kept)
    Past(history).restore({"text": ending.history})
    for answer in (one.answer for one in history.answers):
        if isinstance(answer, Unfreeze) and answer.layers:
            tuning = network.thaw(Unfreeze(tuple(answer.layers)))
            train_state.retune(tuning, afresh=False)  # they did when these layers were thawed
    if history.diverged:
        raise NonFiniteError(history.reason, history.faults[-1], history)
    return history
