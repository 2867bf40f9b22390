"""HOGWILD!: workers learn at the same time from different mini-batches, and write to the same parameters without locks.

Source:
    Niu, Recht, Re, Wright 2011, "HOGWILD!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent".
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gedanken.checks import one_of, real, require, warn
from gedanken.engine.learner import OF_RUNS
from gedanken.errors import EngineError
from gedanken.parallel.asynchronous import Asynchronous, Options
from gedanken.parallel.base import ByWorkers
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.worker import merger
from gedanken.processes.possible import METHODS

MOST_MOMENTUM = 0.95  # up to which sixteen workers were seen to learn as well as one, see docs/hogwild.md


class Comparison(NamedTuple):
    """A serial training and one by workers, from the same weights and with the same samples.

    Args:
        workers: how many there were.
        serial, parallel: cost and metrics after the training, by name.
        serial_seconds, parallel_seconds: of the epochs.
    """

    workers: int
    serial: Mapping[str, Any]
    parallel: Mapping[str, Any]
    serial_seconds: float
    parallel_seconds: float

    @property
    def speedup(self) -> float:
        """How many times as fast the workers were."""
        return self.serial_seconds / self.parallel_seconds

    def __str__(self) -> str:
        figures = [name for name, value in self.serial.items() if isinstance(value, float)]
        rows = [(name, f"{self.serial[name]:.4f}", f"{self.parallel[name]:.4f}") for name in figures]
        rows.append(("seconds", f"{self.serial_seconds:.2f}", f"{self.parallel_seconds:.2f}"))
        head = ("", "serial", f"{self.workers} workers")
        return "\n".join(f"{name:<12}{one:>12}{other:>12}" for name, one, other in [head, *rows])


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Hogwild(ByWorkers):
    """Parallel training without locks, for `fit(parallel=...)`.

    Each worker computes a gradient with the parameters as it finds them and writes its update to the same memory, while
    others read and write there. A number is never torn, but an addition may be lost or come late; the more parameters,
    the rarer. The learning rate is that of all updates together. Gradients, moments of the optimizer and running
    means of layers are each worker's own; after an epoch the network has their means, weighted by updates.

    Args:
        workers: how many, 1 to 1,024; "auto" is one for each processor that this process may use.
        backend: "processes", "threads" (of this process: no start-up, but Python's own lock), or "auto".
        update: "racy": as the paper, fastest; "atomic": nothing is lost, several times slower to write; "locked": one
            worker at a time writes. For sparse models that learn in runs also what the paper compares with:
            "per-coordinate": each row of a matrix is written under a lock of its own; "round-robin": workers write one
            after the other, in the order in which they began, so none may be lost.
        schedule: "dynamic": whoever is free takes the next mini-batches; "static": in turn, each as many.
        on_worker_loss: what to do about a process that was killed, has ended or does not answer: "raise" a WorkerError;
            "continue" with the others; "respawn" it. Its mini-batches are learnt from by others.
        start_method: of processes: "forkserver", "spawn", "fork", or "auto".
        time_limit: seconds that a worker may take for one mini-batch before it counts as lost; None is for ever.

    Raises:
        ArgumentError: an argument breaks its rule.

    Example:
        >>> x, y = np.random.default_rng(0).random((64, 4)), np.arange(64) % 2
        >>> net = Network(seed=1).input((4,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression("sgd")
        >>> history = net.fit(x, y, mini_batch_size=8, parallel=Hogwild(workers=2, backend="threads"), progress=False)
        >>> history.epochs[0].samples
        64
    """

    backend: str = "auto"
    update: str = "racy"
    schedule: str = "dynamic"
    on_worker_loss: str = "raise"
    start_method: str = "auto"
    time_limit: float | None = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("backend", self.backend, ("auto", "threads", "processes"))
        one_of("update", self.update, ("racy", "atomic", "locked", *OF_RUNS))
        one_of("schedule", self.schedule, ("dynamic", "static"))
        one_of("on_worker_loss", self.on_worker_loss, ("raise", "continue", "respawn"))
        waited_for = self.update == "round-robin" and self.on_worker_loss != "raise"
        rule = 'be "raise" with update="round-robin": all wait for a worker whose turn it is'
        require(not waited_for, "on_worker_loss", rule, self.on_worker_loss)
        one_of("start_method", self.start_method, ("auto", *METHODS))
        if self.time_limit is not None:
            real("time_limit", self.time_limit, "(0, inf)")

    def strategy(self, recipe: Recipe) -> Asynchronous:
        """Return what trains a network in this way.

        Raises:
            ArgumentError: the network's engine has its numbers on a device.
            EngineError: update="atomic" where there are no kernels.
        """
        require(recipe.engine.name != "cuda", "parallel", 'be None with engine "cuda": workers share memory', self)
        if self.update == "atomic" and merger(recipe.engine.dtype) is None:
            raise EngineError('update="atomic" needs llvmlite; install it, or choose "racy" or "locked"')
        rule = recipe.optimizer
        momentum = getattr(rule, "momentum", getattr(rule, "beta1", 0.0))
        if momentum > MOST_MOMENTUM and self.count > 1:
            warn(
                f"a momentum of {momentum} with {self.count} workers may learn worse than with one: late updates act "
                f"as more momentum; stay at {MOST_MOMENTUM} or below, or see what check() says"
            )
        told = {name: value for name, value in vars(self).items() if name != "workers"}
        return Asynchronous(Options(self.count, **told), recipe)

    def check(self, net: Any, data: Any, labels: Any, *, validation_set: Any = None, **options: Any) -> Comparison:
        """Train two copies of a network, one serially and one by these workers, and return how they compare.

        The network itself stays as it is.

        Args:
            net: a Network after `regression`.
            data, labels: as for `fit`.
            validation_set: a pair (data, labels) that both are evaluated on; None is the samples trained on.
            options: what else `fit` takes, such as epochs and mini_batch_size.

        Raises:
            what `fit` and `evaluate` raise.
        """
        require(hasattr(net, "fit") and hasattr(net, "evaluate"), "net", "be a Network after regression", net)
        require("parallel" not in options, "check", "be called without parallel=", options.get("parallel"))
        pair = (data, labels) if validation_set is None else validation_set
        found, seconds = [], []
        for parallel in (None, self):
            one = copy.deepcopy(net)
            history = one.fit(data, labels, parallel=parallel, **{"progress": False, **options})
            found.append(one.evaluate(*pair, progress=False))
            seconds.append(sum(record.seconds for record in history.epochs))
        return Comparison(self.count, *found, *seconds)
