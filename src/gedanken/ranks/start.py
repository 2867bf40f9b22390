"""What a launcher starts as each rank: python -m gedanken.ranks.start SCRIPT [ARGUMENT ...]

The script runs as it would alone. What ranks other than 0 write to standard output goes nowhere, since it would come
several times; their errors come with their number. An exception on one rank ends all of them.
"""

import os
import runpy
import sys
import threading
import traceback

from gedanken.ranks.communicator import RankError
from gedanken.ranks.joined import joined
from gedanken.ranks.launching import PULSES, SIGN, Pulses


def main() -> None:
    """Run the script."""
    ranks, script = joined(), sys.argv[1:]
    pulses = Pulses(os.environ[PULSES], ranks.size) if os.path.exists(os.environ.get(PULSES, "")) else None
    over = threading.Event()

    def beat(pulses: Pulses) -> None:
        pulses.beat(ranks.rank)
        while not over.wait(SIGN):
            pulses.beat(ranks.rank)

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
        wrong = ""
    except SystemExit as error:
        wrong = f"rank {ranks.rank} ended with {error.code}" if error.code else ""
    except BaseException as error:
        # Who lost another rank is not to blame: the launcher starts all again.
        lost = isinstance(error, RankError)
        wrong = f"rank {ranks.rank}:\n{traceback.format_exc()}"
    over.set()
    if pulses and not lost:
        pulses.set(ranks.rank, pulses.FAILED if wrong else pulses.ENDED)
    if wrong:
        ranks.abort(wrong)


if __name__ == "__main__":
    main()
