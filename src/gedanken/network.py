"""The network as its user sees it. A facade: it checks arguments and delegates."""

import copy
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gedanken.alone import alone
from gedanken.checks import path as checked_path
from gedanken.checks import real, require, truth, whole
from gedanken.costs import Cost
from gedanken.data.generator import Generator
from gedanken.data.input_spec import AT_ONCE, MINI_BATCH_SIZE
from gedanken.engine.base import Engine
from gedanken.engine.plan import Plan
from gedanken.engine.select import Auto, EngineChoice, engine_choice, former_options
from gedanken.files import at_home
from gedanken.finetuning import FineTuning
from gedanken.hyperparameters import require_normal
from gedanken.io.model_file import Learner
from gedanken.io.vocabulary import check_fits
from gedanken.keywords import keywords_checked
from gedanken.layers.gradient_check import checked_gradients
from gedanken.layers.shape import channels_first_shape, each_shape
from gedanken.metrics import Metric
from gedanken.named import as_optimizer, cost_of
from gedanken.optimizers import Adam, Optimizer
from gedanken.parallel.base import Parallel
from gedanken.parallel.chosen import strategy_of
from gedanken.parallel.over_ranks import Follower, Leader
from gedanken.parallel.recipe import Recipe
from gedanken.summary import Summary, named, summarise
from gedanken.training.callbacks import Callback, checked_callbacks
from gedanken.training.checkpoint import Checkpoint
from gedanken.training.defaults import checked_metrics
from gedanken.training.display import Display
from gedanken.training.dry_run import dry_run_own, warm_up
from gedanken.training.evaluation import evaluate
from gedanken.training.gradual import check_stages
from gedanken.training.loop import Training
from gedanken.training.new_run import new_run
from gedanken.training.non_finite import check_forgiving
from gedanken.training.over_ranks import follow, lead
from gedanken.training.plot import Plot
from gedanken.training.progress import Progress
from gedanken.training.rate_sweep import RateSweep, checked_range, sweep
from gedanken.training.records import Evaluation, History, figure_texts
from gedanken.training.resume import Identity, Resume, folder_of, say, taken_up
from gedanken.training.run_folder import RunFolder
from gedanken.training.tables import table_lines

if TYPE_CHECKING:
    from gedanken.checkup.report import Checkup


class Network(FineTuning):
    """Layers in a row that can be trained, evaluated, used and saved.

    Call `input`, then `add` for each layer, then `regression`; then the network can be used.

    Networks can be copied and pickled. The copy is independent and goes on as the first would: weights, optimizer with
    its memory, cost, metrics and epoch come along; the engine is chosen anew. For files use `save`: it is safe to load.

    Args:
        seed: whole number >= 0. Initial weights, shuffling and dropout are functions of it.

    Attributes:
        epoch: epochs trained so far. An epoch counts as soon as something was learnt in it.

    Example:
        >>> net = Network(seed=1)
        >>> net.input((2,)).add(FullyConnectedLayer(8)).add(TanH()).add(FullyConnectedLayer(1)).add(Sigmoid())
        Network of 4 layers, input (2,)
        >>> net.regression(optimizer=Adam(learning_rate=0.1), cost="binary_cross_entropy")
        Network of 4 layers, input (2,)
        >>> xor = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
        >>> history = net.fit(xor, [0, 1, 1, 0], epochs=100, mini_batch_size=4, progress=False)
        >>> net.predict(xor).tolist()
        [0, 1, 1, 0]
    """

    @keywords_checked
    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._mini_batch_size = MINI_BATCH_SIZE  # of the last training

    @former_options
    @alone
    @keywords_checked
    def regression(
        self,
        optimizer: str | Optimizer | None = None,
        cost: str | Cost | Mapping[str, Any] = "cross_entropy",
        *,
        metrics: Sequence[str | Metric] | Mapping[str, Sequence[str | Metric]] | None = None,
        engine: str | EngineChoice = "auto",
    ) -> "Network":
        """Compile the network: say how it learns, and what runs it.

        A second call keeps the weights and starts the optimizer afresh.

        Args:
            optimizer: how parameters change: an Optimizer, or its name for one with its defaults, "adam", "sgd" ...;
                None is Adam(). Names of optimizers, costs and metrics may be written in any case.
            cost: what is minimised: a Cost, or "cross_entropy", "binary_cross_entropy", "mean_squared",
                "mean_absolute", "huber". Where the last layer is Heads, a dict of such by the heads' names, each alone
                or as (cost, weight); weights are at least 0, and 1 where none is told.
            metrics: what is reported beside the cost, each with a name of its own: Metric objects, or their names in
                records, "accuracy", "f1", "roc_auc" ...; None is Accuracy() or MeanAbsoluteError(), as the cost
                is, nothing for a CustomCost. Of several yes-or-no outputs each is judged by itself. Of heads a dict of
                such lists by name; records call them by both names, "digit_accuracy", and tell "digit_cost" too.
            engine: what runs the network: an object, `Cpu(threads=2)`, `Numpy()`, `Cuda()`, or the name of one with
                its defaults, "cpu", "numpy", "cuda", or "auto" for the fastest that always works here. The object
                says dtype, threads and precision; see `Cpu`.

        Returns:
            the network.

        Raises:
            StateError: `input` or `add` was not called, or the network is being trained.
            ArgumentError: an argument breaks its rule, or cost and last layer do not go together.
            ShapeError: a layer or the cost does not fit.
            GradientError: the backward of a layer of your own is not the derivative of its forward.
            EngineError: the engine cannot run here.
        """
        input_shape = self._known_input("regression")
        check_fits(self.vocabulary, self.layers[0])
        self._of_one_output(self.class_names)
        rule = as_optimizer(Adam() if optimizer is None else optimizer)
        minimised = cost_of(cost, self.layers[-1])
        choice = engine_choice(engine)
        started: Any = choice.start()
        require(isinstance(started, Engine), f"{type(choice).__name__}.start", "return an Engine", started)
        plan = Plan(self.layers, input_shape, started, self.seed, minimised, tuning=self._tuning)
        output_shape = each_shape(channels_first_shape, plan.shapes[-1])
        minimised.check_output(output_shape)
        chosen = checked_metrics(metrics, minimised, output_shape)
        require_normal(rule, plan.ops.dtype)
        plan.take_over(self._plan)
        gradients = checked_gradients(plan.layers)
        self._learn_by(plan, Learner(minimised, rule, chosen))
        self._gradients = gradients
        self._engine = choice
        return self

    # ------------------------------------------------------------------ training

    @alone
    @keywords_checked
    def fit(
        self,
        data: Any,
        labels: Any = None,
        weights: Any = None,
        *,
        validation_set: tuple[Any, ...] | Generator | float | None = None,
        epochs: int = 1,
        mini_batch_size: int | None = None,
        shuffle: bool | None = None,
        callbacks: Sequence[Callback] = (),
        plot: bool = False,
        snapshot_step: float = 10.0,
        folder: str | os.PathLike[str] | None = None,
        progress: bool = True,
        parallel: Parallel | None = None,
        resume: str | os.PathLike[str] | Resume | None = None,
    ) -> History:
        """Train the network; a further call goes on where the last one ended.

        Ctrl-C ends the training after the running step, and the history is returned; pressed twice it raises
        KeyboardInterrupt.

        Of a step whose cost, gradient or running mean is not finite nothing is kept, and the training ends with an
        error that says where the number came from (see OnNonFinite for other ways); where the weights before it give
        no finite cost either, the network goes back to some that did.
        While it runs the network can be used, saved and copied, in callbacks and other threads, but not changed;
        nor may the data be.

        Args:
            data: (N, *input shape), the samples; or a Generator, which gives (data, labels) or (data, labels, weights).
                Of several inputs a dict of such by name.
            labels: (N,) class numbers, (N, C) one-hot rows, or (N, ...) target values, as the cost takes them; of Heads
                a dict of such by name.
            weights: (N,), how much each sample counts in cost and metrics, >= 0; (N, T) or (N, H, W) of each place of
                outputs that have places. None is 1 each. See Cost.
            validation_set: (data, labels) or (data, labels, weights), a Generator, of which the first epoch is used, or
                the fraction of the samples, in (0, 1), that is held out. It is evaluated after each epoch, as by
                `evaluate`, and never changes the training.
            epochs: passes over all samples, at least 1. An interrupted one counts.
            mini_batch_size: samples in a step, at least 1; the last step of an epoch may have fewer. None is 128, or
                the Generator's own.
            shuffle: whether each epoch has a new order. None is True, or the Generator's own.
            callbacks: objects that listen to the training; see Callback.
            plot: whether cost and first metric are drawn after each epoch, into `plot.png` of the run's folder. A
                picture that cannot be drawn or written is a warning.
            snapshot_step: a time: every so many seconds of training a snapshot of cost and metrics is recorded, shown
                and drawn, > 0.
            folder: the run's folder, which then holds what the run is and its records (docs/runs.md); None is a new
                one, `runs/` and the time, made only where something is saved in it.
            progress: whether progress is shown, on standard error or below the notebook's cell.
            parallel: who computes the steps: None is this process, one step after the other, on all of the engine's
                threads; `DataParallel(workers=2)` the same by so many, with the same result; `Hogwild()` is several
                workers at the same time, who wait for nobody.
            resume: a run's folder or a checkpoint (see Checkpoint): the training that wrote it goes on. Network, data
                and arguments are those that it began with; `epochs` counts from its begin. See docs/runs.md.

        Returns:
            the History of this call.

        Raises:
            StateError: `regression` was not called, or the network is being trained or compiled.
            ArgumentError, DataError: an argument breaks its rule; nothing was trained.
            CheckpointError: `resume` names nothing that this training could go on from; nothing was trained.
            NonFiniteError: a step, or the cost of a validation, was not finite; `error.history` is the History.
            MissingPackageError: plot=True without Matplotlib.
        """
        shuffled = None if shuffle is None else truth("shuffle", shuffle)
        train_state, inputs = self._learning("fit"), self._input_spec("fit")
        source, validation = inputs.training(
            data, labels, validation_set, mini_batch_size, shuffled, self.seed, weights
        )
        count, listeners = whole("epochs", epochs), checked_callbacks(callbacks)
        every = real("snapshot_step", snapshot_step, "(0, inf)")
        truth("plot", plot)
        truth("progress", progress)
        display = Display(quiet=not progress)
        self._settle_cost(source)
        strategy = strategy_of(parallel, self._recipe())
        check_forgiving(listeners, strategy)
        check_stages(listeners, strategy, self._chosen)
        taken = taken_up(None if isinstance(strategy, Follower) else resume)
        place = folder_of(taken, resume, None if folder is None else at_home(checked_path("folder", folder)))
        if plot:
            listeners.insert(0, Plot(display, train_state.metrics))
        if progress:
            listeners.insert(0, Progress(display))
        self._mini_batch_size = source.mini_batch_size
        span = self.epoch + 1, self.epoch + count
        run = new_run(train_state, self.layers, self._cost, source, validation is not None, span, place)
        if isinstance(strategy, Follower):
            return follow(strategy, self, train_state, source, run)
        about = Identity(train_state, self.layers, strategy, (source, validation), listeners)
        if taken:
            run = taken.of(run, place)
            say(display, progress, run, taken.compare(about, resume))
        if taken or place is not None or any(isinstance(one, Checkpoint) for one in listeners):
            listeners.append(RunFolder(about))
        training = Training(train_state, strategy, source, validation, run, listeners, every, self)
        about.run, training.about = run, about
        if taken:
            training.restore(taken.training.state)
        warm_up(train_state, source, validation, training.epochs_done)
        return lead(training, strategy) if isinstance(strategy, Leader) else training()

    @keywords_checked
    def find_learning_rate(
        self,
        data: Any,
        labels: Any = None,
        weights: Any = None,
        *,
        lowest: float = 1e-6,
        highest: float = 10.0,
        steps: int = 100,
        mini_batch_size: int | None = None,
    ) -> RateSweep:
        """Try learning rates on a copy of the network, and suggest one to begin with; see docs/guide.md.

        The rate grows from update to update by the same factor, in place of the optimizer's own schedule, until the
        smoothed cost has risen above its lowest by more than three times the larger of that and the first cost, or is
        not finite. The suggestion is a tenth of the rate at which the smoothed cost was lowest. Network, optimizer and
        data stay as they are.

        Args:
            data, labels, weights: as for `fit`; of a Generator the first epoch. Where an epoch has fewer mini-batches
                than are needed, there are more.
            lowest, highest: the first rate and the last one, in (1e-30, 1e6].
            steps: updates, 10 to 1,000,000.
            mini_batch_size: as for `fit`.

        Returns:
            a RateSweep: the rate, and what it goes by.

        Raises:
            StateError: `regression` was not called.
            ArgumentError, DataError: an argument breaks its rule.
        """
        self._learning("find_learning_rate")
        inputs = self._input_spec("find_learning_rate")
        source, _ = inputs.training(data, labels, None, mini_batch_size, None, self.seed, weights)
        span, tried = checked_range(lowest, highest, steps), copy.deepcopy(self)
        tried._settle_cost(source)
        return sweep(tried._compiled("find_learning_rate"), source, self.epoch, span)

    @keywords_checked
    def evaluate(
        self,
        data: Any,
        labels: Any = None,
        weights: Any = None,
        *,
        mini_batch_size: int = AT_ONCE,
        progress: bool = True,
    ) -> Evaluation:
        """Return cost and metrics over some samples, and show them.

        Args:
            data, labels, weights: as for `fit`.
            mini_batch_size: samples computed at once, at least 1; it changes the result by rounding at most.
            progress: whether the result is shown.

        Raises:
            StateError: `regression` was not called.
            ArgumentError: class weights are "balanced", and there was no `fit` yet.
            DataError: data or labels break their rule.
        """
        truth("progress", progress)
        train_state = self._compiled("evaluate")
        assert self._cost
        self._cost.check_resolved("evaluate")
        size = whole("mini_batch_size", mini_batch_size)
        source = self._input_spec("evaluate").evaluation(data, labels, weights, size)
        source.look_first(partial(dry_run_own, train_state))
        found = evaluate(train_state, source)
        found.tables = table_lines(train_state.metrics, found, self._class_names)
        if progress:
            samples = f" of {source.samples:,} samples" if source.samples else ""
            head, *more = figure_texts(found)
            display = Display()
            display.line(f"evaluation{samples}: {head}", *more)
            for line in found.tables:
                display.line(line)
            display.end()
        return found

    @keywords_checked
    def check(
        self,
        data: Any,
        labels: Any = None,
        weights: Any = None,
        *,
        validation_set: tuple[Any, ...] | Generator | float | None = None,
        mini_batch_size: int | None = None,
    ) -> "Checkup":
        """Say in seconds, before a long training, what is wrong with network and data; see docs/check.md.

        Neither is changed: what is tried is tried on a copy. Of many samples some are looked at, at random; of a
        Generator the first mini-batches, which it makes for this and gives again to `fit`.

        Args:
            data, labels, weights, validation_set, mini_batch_size: as for `fit`.

        Returns:
            the Checkup: findings, figures, `ok`, and as `str` a report.

        Raises:
            StateError: `regression` was not called.
            ArgumentError, DataError, ShapeError: `fit` would refuse it, too.
        """
        # Here, since most programs never ask for it, and a network is to be there at once.
        from gedanken.checkup.check import checked  # noqa: PLC0415
        from gedanken.checkup.trial import Subject  # noqa: PLC0415

        subject = Subject(self._learning("check"), self._recipe(), self._input_spec("check"), self.epoch)
        return checked(subject, (data, labels, weights), validation_set, mini_batch_size)

    @keywords_checked
    def summary(self, mini_batch_size: int | None = None) -> Summary:
        """Return the network as a table: `str` of it, or its rows.

        Before `regression` it tells the engine that "auto" chooses, and no memory.

        Args:
            mini_batch_size: samples of the training step whose memory is told, at least 1; None is as many as the last
                `fit` took, or 128.

        Raises:
            StateError: `input` or `add` was not called.
        """
        size = self._mini_batch_size if mini_batch_size is None else whole("mini_batch_size", mini_batch_size)
        if self._plan is None:
            shape, engine = self._known_input("summary"), Auto().start()
            engine.reason = f"not compiled yet; {engine.reason}"
            plan = Plan(self.layers, shape, engine, self.seed)
            return named(summarise(plan, size, 0, compiled=False), self._names, self._tuning)
        kept = self._train_state.nbytes if self._train_state else 0
        return named(summarise(self._plan, size, kept), self._names, self._tuning)._replace(
            gradients=self._gradients or ()
        )

    # ------------------------------------------------------------------ inside

    def _recipe(self) -> Recipe:
        assert self._cost and self._train_state
        described = self._known_input("fit"), self.seed, self._cost, self._train_state.optimizer_state.optimizer
        return Recipe(self.layers, *described, tuple(self._train_state.metrics), self._engine, self._tuning)
