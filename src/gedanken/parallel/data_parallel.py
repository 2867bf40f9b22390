"""Each mini-batch is shared among workers, and the result is the serial one to the last bit.

A worker is a thread of the engine `cpu`: its tasks and the parts of its sums do not depend on how many threads there
are. Processes that each take a part of a mini-batch would add up in another order, and normalise over a part of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gedanken.checks import require
from gedanken.engine.base import Engine
from gedanken.engine.select import Cpu
from gedanken.parallel.base import ByWorkers, Strategy, TrainState
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.single import Single


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DataParallel(ByWorkers):
    """Parallel training with the result of the serial one, byte for byte, for `fit(parallel=...)`.

    The workers are threads of the engine "cpu" and share every mini-batch; parameters, optimizer, costs and metrics
    are those of a `fit` without `parallel`. It is what `Cpu(threads=...)` does, for one training: evaluation and
    prediction stay with the threads that the network has. Layers without kernels, layers of your own among them, run
    in one thread, and so does a linear model on sparse rows; `summary` names such layers.

    Args:
        workers: how many, 1 to 1,024; "auto" is one for each processor that this process may use.

    Raises:
        ArgumentError: the argument breaks its rule.

    Example:
        >>> x, y = np.random.default_rng(0).random((64, 4)), np.arange(64) % 2
        >>> net = Network(seed=1).input((4,)).add(FullyConnectedLayer(2)).add(SoftMax()).regression("sgd", engine="cpu")
        >>> history = net.fit(x, y, mini_batch_size=8, parallel=DataParallel(workers=2), progress=False)
        >>> history.epochs[0].parallel["workers"]
        '2 threads of the engine cpu, which share each mini-batch: the result is the serial one'
    """

    def strategy(self, recipe: Recipe) -> Strategy:
        """Return what trains a network in this way.

        Raises:
            ArgumentError: the network's engine is not "cpu".
        """
        name, why = recipe.engine.name, ""
        if isinstance(recipe.engine, Cpu):
            threads = None if isinstance(self.workers, str) else self.workers
            recipe = recipe._replace(engine=replace(recipe.engine, threads=threads))
            started = recipe.engine.start()
            name, why = started.name, f" ({started.reason})"
        rule = f'be None with engine "{name}"{why}: the workers are threads of engine "cpu"; choose that one'
        require(name == "cpu", "parallel", rule, self)
        return Shared(recipe, self.count)


class Shared(Single):
    """Compute every step here, by a number of threads.

    Where the network's engine has another number of them, a plan of its own works on the network's parameters, state
    and optimizer. Gradients are each plan's own, since each knows which rows of them are not 0.

    Args:
        recipe: of the network, with an engine of so many threads.
        workers: the number of threads.
    """

    def __init__(self, recipe: Recipe, workers: int) -> None:
        self._recipe, self._workers = recipe, workers
        self._own: Engine | None = None

    def start(self, train_state: TrainState) -> None:
        if train_state.plan.engine.threads != self._workers:
            plan, progress = train_state.plan, train_state.optimizer_state.progress
            places = {"params": plan.params, "layer_state": plan.layer_state}
            train_state = self._recipe.train_state(lambda name, _: places.get(name), progress)
            self._own = train_state.plan.engine
        super().start(train_state)

    def report(self) -> Mapping[str, Any]:
        threads = "1 thread" if self._workers == 1 else f"{self._workers} threads"
        return {"workers": f"{threads} of the engine cpu, which share each mini-batch: the result is the serial one"}

    def stop(self) -> None:
        if self._own:
            self._own.close()
        for name in ("train_state", "_refuge"):  # who holds an error of the training does not hold the plan
            vars(self).pop(name, None)
