"""Each mini-batch is shared among workers, and the result is the serial one to the last bit.

A worker is a thread of the engine `cpu`: its tasks and the parts of its sums do not depend on how many threads there
are. Processes that each take a part of a mini-batch add up in another order, and would normalise over a part of it.
They do so only where a launcher started several ranks (`over_ranks.py`), because one machine is not enough.
"""

from dataclasses import dataclass
from functools import partial

from gedanken.checks import require
from gedanken.engine.select import Cpu
from gedanken.parallel.base import ByWorkers, Strategy
from gedanken.parallel.over_ranks import of_ranks
from gedanken.parallel.recipe import Recipe
from gedanken.parallel.shared import Shared
from gedanken.parallel.shared_batches import SharedBatches
from gedanken.processors import usable_processors
from gedanken.ranks.beside import Readable
from gedanken.ranks.joined import joined


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DataParallel(ByWorkers):
    """Parallel training with the result of the serial one, for `fit(parallel=...)`.

    The workers are threads of the engine "cpu" and share every mini-batch; parameters, optimizer, costs and metrics
    are those of a `fit` without `parallel`, byte for byte. It is what `Cpu(threads=...)` does, for one training:
    evaluation and prediction stay with the threads that the network has. Layers without kernels, layers of your own
    among them, run in one thread, and so does a linear model on sparse rows; `summary` names such layers.

    In a script that `gedanken launch` started as several ranks, each mini-batch is shared among the ranks, and a rank's
    share among its workers: sum_r(c_r * g_r) / sum_r(c_r) of the ranks' gradients g_r, which count for c_r samples.
    All ranks keep the same bits, and differ from the serial training by rounding alone. See docs/distributed.md.

    Args:
        workers: how many, of each rank, 1 to 1,024; "auto" is one for each processor that this process may use, shared
            among the ranks of the machine.

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
        ranks = joined()
        threads = max(1, usable_processors() // ranks.local) if isinstance(self.workers, str) else self.workers
        recipe = recipe.with_threads(threads)
        if isinstance(recipe.engine, Cpu):
            started = recipe.engine.start()
            name, why = started.name, f" ({started.reason})"
        rule = f'be None with engine "{name}"{why}: the workers are threads of engine "cpu"; choose that one'
        require(name == "cpu", "parallel", rule, self)
        if ranks.size == 1:
            return Shared(recipe, threads)
        readable = Readable() if ranks.local == ranks.size else None
        return of_ranks(recipe, threads, ranks, partial(SharedBatches, readable=readable), readable)
