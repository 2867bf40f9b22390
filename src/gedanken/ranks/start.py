"""What a launcher starts as each rank: python -m gedanken.ranks.start SCRIPT [ARGUMENT ...]

The script runs as it would alone. What ranks other than 0 write to standard output goes nowhere, since it would come
several times; their errors come with their number. An exception on one rank ends all of them.
"""

import atexit
import os
import runpy
import sys
import threading
import time
import traceback

from gedanken.ranks.communicator import Communicator, RankError
from gedanken.ranks.joined import END, go_on, join, joined
from gedanken.ranks.launching import PULSES, SIGN, Pulses
from gedanken.ranks.mpi import FORWARDED, world


def main() -> None:
    """Run the script."""
    ranks, script, path = world(), sys.argv[1:], os.environ.pop(PULSES, "")
    join(ranks)
    atexit.register(_leave, ranks)  # before the script's own, so it comes after them
    pulses = Pulses(path, ranks.size) if os.path.exists(path) else None
    over = threading.Event()

    def beat(pulses: Pulses) -> None:
        pulses.beat(ranks.rank)
        while not over.wait(SIGN):
            pulses.beat(ranks.rank)
            for rank in ranks.failed() if ranks.survives else ():
                pulses.set(rank, pulses.ENDED)  # nobody waits for its signs: the others go on, or end themselves

    if pulses:
        threading.Thread(target=beat, args=(pulses,), daemon=True).start()
    if ranks.rank:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    lost = False
    sys.argv = script
    sys.path[0] = os.path.dirname(os.path.abspath(script[0]))
    try:
        runpy.run_path(script[0], run_name="__main__")
        wrong = _ended(joined())
    except SystemExit as error:
        wrong = f"rank {ranks.rank} ended with {error.code}" if error.code else _ended(joined())
    except BaseException as error:
        # Who lost another rank is not to blame: the launcher starts all again.
        lost = isinstance(error, RankError)
        wrong = f"rank {ranks.rank}:\n{traceback.format_exc()}"
    over.set()
    if pulses and not lost:
        pulses.set(ranks.rank, pulses.FAILED if wrong else pulses.ENDED)
    if wrong:
        ranks.abort(wrong)


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
