"""HOGWILD!: workers learn at the same time from different mini-batches, and write to the same parameters without locks.

Source:
    Niu, Recht, Re, Wright 2011, "HOGWILD!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent".
"""

from dataclasses import dataclass

from gedanken.checks import one_of, real, require, whole
from gedanken.data.workers.planning import METHODS
from gedanken.errors import EngineError
from gedanken.hyperparameters import Hyperparameters
from gedanken.parallel.asynchronous import Asynchronous, Options
from gedanken.parallel.base import Parallel, Strategy
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.worker import merger
from gedanken.processors import usable_processors

MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Hogwild(Hyperparameters, Parallel):
    """Parallel training without locks, for `fit(parallel=...)`.

    Each worker computes a gradient with the parameters as it finds them and writes its update to the same memory, while
    others read and write there. A number is never torn, but an addition may be lost or come late; the more parameters,
    the rarer. The learning rate is that of all updates together. Gradients, moments of the optimizer and running
    means of layers are each worker's own; after an epoch the network has their means, weighted by updates.

    Args:
        workers: how many, 1 to 1,024; "auto" is one for each processor that this process may use.
        backend: "processes", "threads" (of this process: no start-up, but Python's own lock), or "auto".
        update: "racy": as the paper, fastest; "atomic": nothing is lost, several times slower to write; "locked": one
            worker at a time writes.
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

    workers: int | str = "auto"
    backend: str = "auto"
    update: str = "racy"
    schedule: str = "dynamic"
    on_worker_loss: str = "raise"
    start_method: str = "auto"
    time_limit: float | None = 60.0

    def __post_init__(self) -> None:
        if not (isinstance(self.workers, str) and self.workers == "auto"):
            whole("workers", self.workers, at_most=MOST_WORKERS)
        one_of("backend", self.backend, ("auto", "threads", "processes"))
        one_of("update", self.update, ("racy", "atomic", "locked"))
        one_of("schedule", self.schedule, ("dynamic", "static"))
        one_of("on_worker_loss", self.on_worker_loss, ("raise", "continue", "respawn"))
        one_of("start_method", self.start_method, ("auto", *METHODS))
        if self.time_limit is not None:
            real("time_limit", self.time_limit, "(0, inf)")

    def strategy(self, recipe: Recipe) -> Strategy:
        """Return what trains a network in this way.

        Raises:
            ArgumentError: the network's engine has its numbers on a device.
            EngineError: update="atomic" where there are no kernels.
        """
        require(recipe.engine.name != "cuda", "parallel", 'be None with engine "cuda": workers share memory', self)
        if self.update == "atomic" and merger(recipe.engine.dtype) is None:
            raise EngineError('update="atomic" needs llvmlite; install it, or choose "racy" or "locked"')
        told = {name: value for name, value in vars(self).items() if name != "workers"}
        return Asynchronous(Options(self.count, **told), recipe)

    @property
    def count(self) -> int:
        """How many workers there will be."""
        return usable_processors() if isinstance(self.workers, str) else self.workers
