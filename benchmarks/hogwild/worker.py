"""A process that trains when it is told to: `worker.py PEER CONFIGURATION NETWORK DATA SAMPLES BATCH`.

It answers each line of its input by what one training gave, as JSON.
"""

import importlib
import json
import os
import sys

from tasks import Task


def main() -> None:
    """Get ready, then listen."""
    peer, configuration, network, data, samples, batch = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = Task(network, data, int(samples), int(batch))
    found = importlib.import_module(f"peer_{peer}").Peer(configuration, task)
    out.write('"ready"\n')
    out.flush()
    for _ in sys.stdin:
        out.write(json.dumps(found.run()) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
