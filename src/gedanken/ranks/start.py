"""What a launcher starts as each rank: python -m gedanken.ranks.start SCRIPT [ARGUMENT ...]

The script runs as it would alone. What ranks other than 0 write to standard output goes nowhere, since it would come
several times; their errors come with their number. An exception on one rank ends all of them, and so does the loss of
the launcher.
"""

import atexit
import functools
import os
import runpy
import sys
import time
import traceback

from gedanken.ranks.communicator import Communicator, RankError
from gedanken.ranks.ending import Process, beside, end_rank, sweep
from gedanken.ranks.joined import END, go_on, join, joined
from gedanken.ranks.mpi import FORWARDED, world
from gedanken.ranks.signs import ENDED, FAILED, LAUNCHER, LEFT, Signs


def main() -> None:
    """Run the script."""
    told, script = os.environ.pop(LAUNCHER, ""), sys.argv[1:]
    parent, known = os.getppid(), set[Process]()
    signs = Signs(told, functools.partial(end_rank, parent, known)) if told else None
    sweep()
    try:
        ranks = world()
    except BaseException:
        if signs:
            signs.tell(FAILED)
        raise
    if signs:
        known |= beside(parent)
        signs.rank_is(ranks.rank)
    join(ranks)
    atexit.register(_leave, ranks)  # before the script's own, so it comes after them
    if ranks.rank:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    wrong, left = _run(script, ranks.rank)
    if signs:
        # Who lost another rank is not to blame: the launcher starts all again.
        signs.tell((LEFT if left else FAILED) if wrong else ENDED)
    if wrong:
        ranks.abort(wrong)


def _run(script: list[str], rank: int) -> tuple[str, bool]:
    """Run a script; return what is wrong with it, and whether that is the loss of another rank."""
    sys.argv = script
    sys.path[0] = os.path.dirname(os.path.abspath(script[0]))
    try:
        try:
            runpy.run_path(script[0], run_name="__main__")
        except SystemExit as error:
            if error.code:
                return f"rank {rank} ended with {error.code}", False
        return _ended(joined()), False
    except BaseException as error:
        return f"rank {rank}:\n{traceback.format_exc()}", isinstance(error, RankError)


def _ended(ranks: Communicator) -> str:
    """Wait for the others at the end of the script; return what is wrong where one of them is in the middle of it."""
    while True:
        try:
            others = [rank for rank, said in enumerate(ranks.gather(END)) if said != END]
            if others:
                return f"rank {ranks.rank} came to the end of the script, and rank {others[0]} trains with it"
            left = ranks.shrink(well=True) if ranks.survives else ranks
        except RankError as error:
            if not error.survivable:
                raise
            left = ranks.shrink()
        if left is ranks:
            return ""
        go_on(left, ranks)
        ranks = left
        if ranks.numbers[0]:
            raise RankError("rank 0 is lost before the end of its script", [0])


def _leave(ranks: Communicator) -> None:
    """End this process without MPI's own end where a rank was lost: it may wait for that one for good."""
    if joined() is not ranks:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(FORWARDED)
        os._exit(0)


if __name__ == "__main__":
    main()
