"""Programs that end, fork or are interrupted while they compute or compile: further kinds of chaos, see `chaos.py`."""

import contextlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gedanken

HANG = 120  # seconds; a program that takes so long hangs
EMPTY = 3  # of so many caches one is empty at the start, and all is compiled
SOURCES = Path(gedanken.__file__).parent

BEGIN = """
import atexit, os, sys, threading, time
from tests.cpu.chaos import *

def forever(act):
    while True:
        act()

def beside(act):
    threading.Thread(target=forever, args=(act,), daemon=True).start()

def train_more():
    large.fit(x, y, epochs=5, mini_batch_size=64, progress=False)

net, other, last = network(threads=THREADS), network(threads=2, seed=4), network(threads=2, seed=5)
net.feedforward(PICTURES)
large = Network().input((50,)).add(FullyConnectedLayer(500)).add(ReLU()).add(FullyConnectedLayer(10)).add(SoftMax())
large.regression(Adam(), engine="cpu", threads=max(2, THREADS))
x, y = np.ones((256, 50), "float32"), np.zeros(256, int)
large.predict(x)
"""
BESIDE = {  # what daemon threads do when the program ends
    "training": "beside(train_more)",
    "small steps": "beside(lambda: train(net))",
    "predictions": "for _ in range(3): beside(lambda: net.feedforward(PICTURES[:9]))",
    "both": "beside(lambda: train(net)); beside(lambda: other.feedforward(PICTURES)); beside(lambda: train(other, 3))",
    "new networks": "beside(lambda: train(network(seed=7)))",
    "compiling": "beside(lambda: compiled_twice(this_machine()._replace(rows=3), 'dense.add'))",
    "one call": "threading.Thread(target=train, args=(net, 20)).start()",
}
ENDS = {  # how it ends, and its exit status
    "": 0,
    "sys.exit(3)": 3,
    "raise SystemExit": 0,
    "os._exit(5)": 5,
    "raise ValueError('an error of the main thread')": 1,
    "threading.Thread(target=sys.exit, daemon=True).start()": 0,
    "import gedanken; del gedanken, Network; gc.collect()": 0,
    "atexit.register(lambda: net.feedforward(PICTURES))": 0,
    "atexit.register(lambda: train(network(seed=6)))": 0,
    "atexit.register(lambda: train(last)); sys.exit(2)": 2,
    "os.kill(os.getpid(), 15)": -15,
    "os.kill(os.getpid(), 2); time.sleep(1)": -2,
}


def ends(rng: random.Random, rounds: int) -> None:
    """End programs in all ways, while daemon threads compute."""
    for _ in range(rounds):
        threads, doing, end = rng.choice([1, 2, 3, 8]), rng.choice([*BESIDE]), rng.choice([*ENDS])
        text = f"{BEGIN.replace('THREADS', str(threads))}\n{BESIDE[doing]}\ntime.sleep({rng.random() * 0.2})\n{end}"
        done = program(text)
        assert done.returncode == ENDS[end], (doing, end, done)
        quiet = "ValueError" if ENDS[end] == 1 else "KeyboardInterrupt" if ENDS[end] == -2 else ""
        assert (quiet in done.stderr) if quiet else not done.stderr, (doing, end, done)


def program(text: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end; one that does not end is an error."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(SOURCES.parent), str(root)])
    given = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **environment}
    text = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{text}"
    command = [sys.executable, "-W", "error", "-X", "faulthandler", "-c", text]
    return subprocess.run(command, env=given, cwd=root, capture_output=True, text=True, timeout=HANG, check=False)


FORKS = """
import copy, os, sys, threading, time
import numpy as np
from gedanken import *
MORE

x = np.random.default_rng(1).random((5, 9))
net = Network(seed=2).input((9,)).add(FullyConnectedLayer(3)).add(SoftMax())

def outputs(net):
    net.regression(engine="cpu", threads=2)
    return net.feedforward(x).tobytes().hex()

threading.Thread(target=outputs, args=(net,), daemon=True).start()
time.sleep(DELAY)
child = os.fork()
if child == 0:
    signal.alarm(60)
else:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
# A copy: the thread may still be in `regression`, and one call at a time may change a network.
print(outputs(copy.copy(net)), flush=True)
os._exit(0 if child == 0 else status)
"""


@contextlib.contextmanager
def cache(known: dict[str, bytes]) -> Iterator[str]:
    """Make a cache folder with the files that are known already, and learn the micro-kernel: the most to compile."""
    with tempfile.TemporaryDirectory() as folder:
        kernels = Path(folder, "gedanken", "kernels")
        for name, content in known.items():
            kernels.mkdir(parents=True, exist_ok=True)
            (kernels / name).write_bytes(content)
        yield folder
        known.update({path.name: path.read_bytes() for path in kernels.glob("gemm_tile-*")})


def forks(rng: random.Random, rounds: int) -> None:
    """Fork while another thread compiles, or imports what compiles; parent and child both go on and compile."""
    known: dict[str, bytes] = {}
    for number in range(rounds):
        if number % EMPTY == 0:
            known.clear()
        with cache(known) as folder:
            delay = rng.choice([0.0, 0.1, 1.5]) * rng.random()
            more = "" if rng.random() < 0.5 else "import gedanken.engine.cpu.engine"
            text = FORKS.replace("DELAY", str(delay)).replace("MORE", more)
            done = program(text, XDG_CACHE_HOME=folder)
        outputs = done.stdout.split()
        assert (done.returncode, done.stderr, len(outputs), len({*outputs})) == (0, "", 2, 1), (delay, more, done)


STARTS = """
import numpy as np
DELAYS

def first_steps():
    from gedanken import FullyConnectedLayer, Network, ReLU, SGD, SoftMax
    net = Network(seed=2).input((9,)).add(FullyConnectedLayer(5)).add(ReLU()).add(FullyConnectedLayer(3)).add(SoftMax())
    net.regression(SGD(0.1), engine="cpu", threads=2)
    x = np.random.default_rng(1).random((50, 9))
    net.fit(x, x[:, :3].argmax(axis=1), mini_batch_size=8, progress=False)
    return net.feedforward(x).tobytes().hex()

signal.signal(signal.SIGALRM, signal.default_int_handler)
for delay in delays:
    signal.setitimer(signal.ITIMER_REAL, delay)
    try:
        first_steps()
    except KeyboardInterrupt:
        pass
    except RuntimeError as error:  # what Python 3.11 makes of an interrupt while a class is being made
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
    signal.setitimer(signal.ITIMER_REAL, 0)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
print(first_steps())
"""


def starts(rng: random.Random, rounds: int) -> None:
    """Press Ctrl-C in the first start of a process, while it imports, compiles or computes, and start again."""
    results, known = set(), dict[str, bytes]()
    for number in range(rounds):
        if number % EMPTY == 0:
            known.clear()
        with cache(known) as folder:
            delays = [rng.random() ** 2 * (1 if known else 3) + 1e-6 for _ in range(rng.choice([1, 1, 3]))]
            done = program(STARTS.replace("DELAYS", f"delays = {delays}"), XDG_CACHE_HOME=folder)
        assert done.returncode == 0, (delays, done)  # an import that is cut may tell of a file of Python's own
        results.add(done.stdout)
    assert len(results) == 1
