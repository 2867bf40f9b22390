"""What is timed, and who is timed on it: the rows of the table, and the processes that the driver asks."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from networks import Task

BENCHMARKS = Path(__file__).parent
ANOTHER = "another checkout"  # a peer whose configuration is the folder of it
LIMIT = ("numpy", "sgemm")
PAUSE = 0.2  # seconds before each turn: threads that wait by spinning have gone to sleep by then
MOST_RUNS = 300  # in a turn
LONG = 1.0  # seconds: a run that takes longer has no uncounted run before it in each turn

RECURRENT = ("lstm", "gru")

# What PyTorch's tuned configuration is called, where images are not what its layout is about; see peer_torch.py.
LAYOUTS = {**dict.fromkeys(RECURRENT, "time-first"), "transformer": "fused"}

# Where torch.compile runs unless told otherwise: it needs a minute or more. It does not look into recurrent layers.
COMPILED = ("diary", "transformer", "conv1d", "unet", "autoencoder")

# name: (title, what is measured, task)
ROWS: dict[str, list[tuple[str, str, Task]]] = {
    "diary": [("diary's network, step, batch 256", "times", Task("diary", "step", 256))],
    "batches": [
        (f"diary's network, step, batch {batch}", "times", Task("diary", "step", batch)) for batch in (1, 7, 32, 1000)
    ],
    "mlp": [("MLP 784-128-10, epoch of 60,000, batch 128", "times", Task("mlp", "epoch", 128))],
    "lenet": [("LeNet-5, step, batch 64", "times", Task("lenet", "step", 64))],
    "vgg": [("VGG-like, step, batch 128", "times", Task("vgg", "step", 128))],
    "resnet": [("ResNet-20, step, batch 128", "times", Task("resnet", "step", 128))],
    "lstm": [("LSTM of 128 units on (64, 128), step, batch 64", "times", Task("lstm", "step", 64))],
    "gru": [("GRU of 128 units on (64, 128), step, batch 64", "times", Task("gru", "step", 64))],
    "transformer": [("transformer block on (128, 128), step, batch 32", "times", Task("transformer", "step", 32))],
    "conv1d": [("1-D convolutions on (256, 16), step, batch 64", "times", Task("conv1d", "step", 64))],
    "unet": [("U-Net on (3, 64, 64), step, batch 32", "times", Task("unet", "step", 32))],
    "autoencoder": [("autoencoder on (1, 28, 28), step, batch 128", "times", Task("autoencoder", "step", 128))],
    "predict": [
        (f"diary's network, prediction, batch {batch}", "times", Task("diary", "predict", batch)) for batch in (1, 256)
    ],
    "memory": [("diary's network, memory of training, batch 256", "memory", Task("diary", "step", 256))],
    "whole": [("whole process: import, one epoch of the MLP", "whole", Task("mlp", "epoch", 128))],
}


def candidates_of(task: Task, measure: str, compiled: bool, beside: Path | None) -> list[tuple[str, str]]:
    """Return the peers and configurations for a task, Gedanken first; `beside` is a checkout to compare with alone."""
    tuned = LAYOUTS.get(task.network, "channels-last")
    ours, torch = [("gedanken", "cpu")], [("torch", "eager"), ("torch", tuned)]
    if beside:
        return [*ours, (ANOTHER, str(beside))]
    if measure == "whole":
        return [*ours, ("torch", "channels-last")]
    if measure == "memory":
        return [*ours, *torch, ("keras", "tensorflow")]
    if compiled:
        torch.append(("torch", "compiled"))
    if task.kind == "predict":
        return [*ours, *torch, ("onnxruntime", "default")]
    unrolled = ["tensorflow-unrolled"] if task.network in RECURRENT else []
    keras = [("keras", name) for name in ("tensorflow", "tensorflow-jit", *unrolled, "jax")]
    return [*ours, *torch, *keras, *([("numpy", "by hand")] if task.kind == "epoch" else [])]


class CandidateError(Exception):
    """A candidate's process ended."""


class Candidate:
    """A worker process. It waits by reading its input, so it takes no time from the others."""

    def __init__(self, peer: str, configuration: str, task: Task) -> None:
        self.peer, self.configuration = peer, configuration
        self.fastest, self.runs, self.word = 0.0, 1, "go"
        pipe = subprocess.PIPE
        command, environment = _command(peer, configuration, task), _environment(peer, configuration)
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=_errors(), text=True)
        if self._read() != "ready":
            raise CandidateError(f"{self} did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()

    def __str__(self) -> str:
        return f"{self.peer} {self.configuration}"

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def ask(self, line: str) -> Any:
        """Return the worker's answer."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self._read())

    def warm_up(self, seconds: float) -> None:
        """Run until it is as fast as it gets, and find out how many runs last so long."""
        self.fastest = min(self.ask("go 3"))
        self.runs = min(max(round(seconds / self.fastest), 1), MOST_RUNS)
        self.word = "all" if self.fastest > LONG else "go"

    def turn(self) -> float:
        """Return the median of one turn's runs."""
        time.sleep(PAUSE)
        seconds = sorted(self.ask(f"{self.word} {self.runs}"))
        return seconds[len(seconds) // 2]

    def _read(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise CandidateError(f"{self} ended with status {self.process.wait()}")
        return line.strip()


class Single:
    """A whole process that does its work once."""

    def __init__(self, peer: str, configuration: str, task: Task) -> None:
        self.command = [*_command(peer, configuration, task), "--once"]
        self.environment = _environment(peer, configuration)

    def turn(self) -> float:
        """Return its wall time."""
        began = time.perf_counter()
        subprocess.run(self.command, check=True, env=self.environment, stderr=_errors())
        return time.perf_counter() - began


def _command(peer: str, configuration: str, task: Task) -> list[str]:
    """Return what starts a worker; another checkout's is that checkout's own."""
    another = peer == ANOTHER
    worker = (Path(configuration) / "benchmarks" if another else BENCHMARKS) / "worker.py"
    who = ["gedanken", "cpu"] if another else [peer, configuration]
    return [sys.executable, str(worker), *who, *map(str, task)]


def _environment(peer: str, configuration: str) -> dict[str, str]:
    """Return a worker's environment, in which another checkout's library is found before the installed one."""
    return os.environ | ({"PYTHONPATH": str(Path(configuration) / "src")} if peer == ANOTHER else {})


def _errors() -> int | None:
    """Return where the workers' messages go: nowhere, or on with BENCH_VERBOSE set."""
    return None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL
