"""A process that does one candidate's work when it is told to: the driver `bench.py` starts it and asks.

    python benchmarks/worker.py PEER CONFIGURATION NETWORK KIND BATCH [--once]

It reads a word a line from its input and answers in JSON: "check" the losses of a few steps; "go N" the seconds of N
runs after one that is not counted; "all N" the same without that one; "memory" the peak in MB; "facts" what the peer
tells of itself. With --once it does the work once and ends.
"""

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

from networks import Task

MODULES = {
    "gedanken": "peer_gedanken",
    "torch": "peer_torch",
    "keras": "peer_keras",
    "onnxruntime": "peer_onnx",
    "numpy": "peer_numpy",
}


def timed(run: Any, count: int) -> list[float]:
    """Return the seconds of each run."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


def answer(peer: Any, line: str) -> Any:
    """Return what the driver asked for."""
    word, *rest = line.split()
    if word == "check":
        return peer.check()
    if word == "memory":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if word == "facts":
        return peer.facts()
    if word == "go":
        peer.run()
    return timed(peer.run, int(rest[0]))


def main() -> None:
    """Build the work, then listen."""
    name, configuration, network, kind, batch = sys.argv[1:6]
    out = os.fdopen(os.dup(1), "w")  # what libraries print goes to the errors, not between the answers
    os.dup2(2, 1)
    peer = importlib.import_module(MODULES[name]).Peer(configuration, Task(network, kind, int(batch)))
    if "--once" in sys.argv:
        peer.run()
        return
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        out.write(json.dumps(answer(peer, line)) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
