"""A network with what `regression` made of it, and how it becomes a file, a copy, and a network again."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

from gedanken.building import Builder
from gedanken.checks import path as checked_path
from gedanken.checks import require, truth
from gedanken.copies import held, rebuilt
from gedanken.costs import Cost
from gedanken.data.batches import Source
from gedanken.data.input_spec import InputSpec
from gedanken.data.vocabulary import Vocabulary
from gedanken.engine.plan import Plan
from gedanken.engine.select import Auto, EngineChoice
from gedanken.engine.tuning import ALIKE
from gedanken.errors import StateError
from gedanken.io.model_file import (
    Architecture,
    Learner,
    Model,
    checked_names,
    former_names,
    read_model,
    told_of,
    write_model,
)
from gedanken.io.training_state import OPTIMIZER, TrainingState
from gedanken.io.vocabulary import check_fits
from gedanken.keywords import keywords_checked
from gedanken.layers.gradient_check import checked_gradients
from gedanken.layers.shape import channels_first_shape, each_shape
from gedanken.parallel.base import TrainState
from gedanken.parallel.counting import ignored_alone, ignores, places_weighed, settled, unweighted
from gedanken.prediction import Predictor, not_compiled
from gedanken.state import part, prefixed
from gedanken.types import Array

MADE_ANEW = ("_plan", "_train_state", "_spec", "_changing")  # in a copy


class Compiled(Builder, Predictor):
    """The part of a Network that is kept: layers with their arrays, and how they learn."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._train_state: TrainState | None = None
        self._spec: InputSpec | None = None
        self._cost: Cost | None = None
        self._class_names: tuple[str, ...] | None = None
        self._vocabulary: Vocabulary | None = None
        self._engine: EngineChoice = Auto()
        self._tuning = ALIKE
        self._gradients: tuple[str, ...] | None = None  # what is known of those of the user's layers, once looked at

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, all different, saved with the network; None if not set. Heads have none in common."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        self._class_names = self._of_one_output(checked_names(names))

    def _of_one_output(self, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return names of classes, or raise ArgumentError where a network that ends in Heads is given some."""
        rule = "be None where the network ends in Heads, each with classes of its own; name those that predict gives"
        require(not (names and self.layers and self.layers[-1].gives_names), "class_names", rule, names)
        return names

    @property
    def vocabulary(self) -> Vocabulary | None:
        """What makes numbers of texts for a first layer, saved with the network; None if not set."""
        return self._vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary | None) -> None:
        require(isinstance(vocabulary, Vocabulary | None), "vocabulary", "be a Vocabulary or None", vocabulary)
        if self.layers:
            check_fits(vocabulary, self.layers[0])
        self._vocabulary = vocabulary

    @keywords_checked
    def save(self, path: str | os.PathLike[str], *, optimizer: bool = False) -> None:
        """Write architecture and weights to one safetensors file, whole or not at all; see docs/guide.md.

        Args:
            path: the file.
            optimizer: whether the optimizer's memory is kept, its moving means and what it has gathered, so that a
                further `fit` of the loaded network goes on with it.

        Raises:
            StateError: the network is not compiled, or a weight is not finite; with `optimizer=True`, `regression` was
                not called.
            ArgumentError: a layer of your own would not be the same when loaded.
            OSError: the file cannot be written; an older one stays as it was.
        """
        plan, name = self._compiled_plan("save"), checked_path("path", path)
        training = None
        if truth("optimizer", optimizer):
            kept = self._compiled("save(optimizer=True)").optimizer_state.state()
            training = TrainingState(prefixed(OPTIMIZER, kept), {})
        values = {key: plan.ops.to_host(view) for key, view in plan.arrays().items()}
        write_model(name, self.written(values, training))

    def written(self, values: Mapping[str, Array], training: TrainingState | None) -> Model:
        """Return what a model file holds, with these arrays of the layers."""
        return Model(self.architecture(), values, training, self.vocabulary)

    def architecture(self) -> Architecture:
        """Return all that a model file says of the network beside its arrays."""
        plan, learner = self._compiled_plan("save"), None
        if self._train_state and self._cost:
            rule, metrics = self._train_state.optimizer_state, tuple(self._train_state.metrics)
            learner = Learner(self._cost, rule.optimizer, metrics, rule.updates, rule.plateau)
        shape, dtype = self._known_input("save"), str(plan.ops.dtype)
        told = self.epoch, self.class_names, learner, self._names, self._tuning
        return Architecture(shape, self.layers, self.seed, dtype, *told)

    @classmethod
    @keywords_checked
    def load(
        cls, path: str | os.PathLike[str], *, classes: Sequence[type[Any]] = (), engine: str | EngineChoice = "auto"
    ) -> Self:
        """Return the network that `save` or a Checkpoint wrote. The file may come from anybody: none of it is run.

        Cost, optimizer and metrics come back too, and its schedule goes on; the optimizer's memory where the file has
        it. Where they hold a lambda, or a class or function that is not among `classes`, call `regression` before
        `fit` or `evaluate`.

        Args:
            path: the file.
            classes: classes and functions of your own that the file names: layers, costs, metrics and their parts.
            engine: as for `regression`; an object must be of the dtype that the file has.

        Raises:
            CheckpointError: the file is missing, damaged, foreign or of a newer version.
        """
        name = checked_path("path", path)
        model, plan, choice = read_model(name, classes, engine)
        saved = model.architecture
        net = cls(saved.seed)
        net._layers, net.input_shape, net.epoch = saved.layers, saved.input_shape, saved.epoch
        net._class_names, net._engine, net._tuning = saved.class_names, choice, saved.tuning
        net._vocabulary = model.vocabulary
        net._names = saved.layer_names or (None,) * len(saved.layers)
        if saved.class_names is None:
            net._class_names = former_names(name)
        if saved.learner:
            net._learn_by(plan, saved.learner)
            if kept := part(OPTIMIZER, model.training.state if model.training else {}):
                with told_of(name):
                    net._compiled("load").optimizer_state.restore(kept)
        else:
            net._take(plan, None, None)
        return net

    # ------------------------------------------------------------------ inside

    def _compiled(self, call: str) -> TrainState:
        if self._train_state is None:
            raise not_compiled(call)
        return self._train_state

    def _learning(self, call: str) -> TrainState:
        """Return what there is to train, or raise StateError where nothing of it learns."""
        train_state = self._compiled(call)
        if not train_state.plan.learns:
            raise StateError(f"{call} needs a layer that learns, all that could are frozen: call unfreeze before it")
        if self._gradients is None:
            self._gradients = checked_gradients(train_state.plan.layers)
        return train_state

    def _settle_cost(self, source: Source) -> None:
        """Let a cost that goes by the labels see those that are trained on."""
        train_state = self._compiled("fit")
        if self._cost and self._cost.unresolved:
            cost = settled(self._cost, source, train_state.plan)
            train_state.plan.minimise(cost)
            self._take(train_state.plan, cost, train_state)

    def _learn_by(self, plan: Plan, learner: Learner) -> None:
        """Take a plan, a cost, metrics and an optimizer, whose moving means start afresh."""
        optimizer_state = plan.optimizer_state(learner.optimizer)
        optimizer_state.before, optimizer_state.plateau = learner.updates, learner.plateau
        self._take(plan, learner.cost, TrainState(plan, optimizer_state, learner.metrics))

    def _take(self, plan: Plan, cost: Cost | None, train_state: TrainState | None) -> None:
        """Be compiled, which also says what data the network takes."""
        shapes = self._known_input("regression"), each_shape(channels_first_shape, plan.shapes[-1])
        targets, why = (
            cost.checked_target if cost else None,
            unweighted(cost, train_state.metrics if train_state else ()),
        )
        spec = InputSpec(*shapes, plan.ops.dtype, self.layers[0].tokens, targets, plan.takes_sparse, why)
        alone = partial(ignored_alone, cost) if cost and ignores(cost) else None
        spec = spec._replace(mask=plan.mask, lengths_behind=plan.lengths_behind, ignored_alone=alone)
        spec = spec._replace(places=places_weighed(cost, shapes[1]), named=self._named_inputs(plan))
        spec = spec._replace(aligned=cost.aligned if cost else ())
        # The plan last: a fork or copy in another thread takes what is there for whole once it sees one.
        self._cost, self._train_state, self._spec, self._plan = cost, train_state, spec, plan

    def _named_inputs(self, plan: Plan) -> dict[str, InputSpec] | None:
        """Return what each of several inputs is, by name; None where there is one."""
        first = plan.layers[0]
        if not isinstance(first.shape, Mapping):
            return None
        rows, found = getattr(first, "rows", {}), dict[str, InputSpec]()
        for name, shape in self._known_input("regression").items():
            tokens = rows[name][0].layer.tokens if rows.get(name) else None
            mask = plan.mask[name] if isinstance(plan.mask, Mapping) else None
            found[name] = InputSpec(shape, (), plan.ops.dtype, tokens, None, mask=mask)
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of."""
        state = {name: value for name, value in vars(self).items() if name not in MADE_ANEW}
        return {**state, "_held": held(self._plan, self._train_state) if self._plan else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {name: value for name, value in state.items() if name != "_held"}
        self._plan, self._train_state, self._spec, self._changing = None, None, None, {}
        if state["_held"]:
            parts = (self.layers, self._known_input("copy"), self.seed, self._cost, self._engine)
            plan, train_state = rebuilt(state["_held"], *parts)
            self._take(plan, self._cost, train_state)
