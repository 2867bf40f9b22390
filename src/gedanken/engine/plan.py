"""A network compiled for one input shape and one engine: flat vectors, named views, steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import warn
from gedanken.costs import Cost
from gedanken.costs.base import Judged, Weighing
from gedanken.engine.base import Engine, FusedStep, Placement
from gedanken.engine.entering import entered, takes_tokens
from gedanken.engine.fuse_cost import activation_place, fuse_cost
from gedanken.engine.judging import judged
from gedanken.engine.learner import Learner
from gedanken.engine.tuning import ALIKE, Tuning, divided, thawed
from gedanken.engine.vectors import Memory, Vectors
from gedanken.errors import ArgumentError, CheckpointError, ShapeError
from gedanken.hyperparameters import require_normal
from gedanken.layers.base import Context, Layer
from gedanken.layers.containers import leaves, placed, stages_of
from gedanken.layers.lengths import lengths_along, masks_of, output_lengths
from gedanken.layers.norm import BatchNorm
from gedanken.layers.shape import channels_last_shape, each_shape, to_channels_first, to_channels_last
from gedanken.layers.stages import Stage, back_through, through
from gedanken.optimizer_state import OptimizerState, Progress, Updated
from gedanken.optimizers import Optimizer
from gedanken.sequences import lengths_of
from gedanken.state import State, check_state
from gedanken.types import AnyShape, Array


class Passes(NamedTuple):
    """What runs the layers up to the cost.

    Args:
        fixed: the first layers, none of which learns, in groups with whether each runs as in training.
        stages: those behind.
        fused_step: what runs those and the cost as one program, or None.
    """

    fixed: Sequence[tuple[Sequence[Stage], bool]]
    stages: Sequence[Stage]
    fused_step: FusedStep | None


class Passed(NamedTuple):
    """What a mini-batch gives: outputs, channels first, and cost, both on the device, and how the cost was made."""

    outputs: Array
    cost: Any
    weighing: Weighing


class Plan:
    """Layers in a row, ready to run.

    All parameters stand in the flat vector `params`: first those with weight decay (`decayed` numbers), last those of
    which a step touches few rows (`row_parts`). All gradients stand in `grads`, in the same order, all state of layers
    in `layer_state`. `arrays()` gives them by name.

    Args:
        layers: the layers.
        input_shape: one sample as users give it: (C, H, W), (F,), (T,) ...; of several inputs a mapping of their names
            to such.
        engine: what runs them.
        seed: seed of initial weights and dropout.
        cost: what training makes small, or None for a plan that only predicts. Its last activation may become a
            part of it, see `fuse_cost`.
        memory: gives "params", "grads" and "layer_state" their place, as workers share it; what it has no place for,
            None, is memory of the plan's own.

    Raises:
        ArgumentError: the cost does not suit the last layer, or the number type would take an epsilon as 0.
        ShapeError: a layer does not fit, or what they all need does not fit into memory.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: AnyShape,
        engine: Engine,
        seed: int,
        cost: Cost | None = None,
        memory: Memory | None = None,
        tuning: Tuning = ALIKE,
    ) -> None:
        self.engine, self.ops, self.seed, self.tuning = engine, engine.ops, seed, tuning
        self.cost: Cost | None = None
        require_normal((*layers, cost), self.ops.dtype)
        fused = False
        row = self._row = placed(layers, each_shape(channels_last_shape, input_shape))
        self.shapes = [row[0].shape, *(one.output_shape for one in row)]
        if cost:
            self.cost, fused = fuse_cost(row, cost)
        self.takes_tokens, self.takes_sparse = takes_tokens(row), row[0].layer.sparse
        for one in leaves(row):
            if one.layer.sparse and one.path != row[0].path:
                raise ShapeError(f"{one.name} takes sparse rows", "it can only be the first layer, beside no other")
        self.mask = masks_of(row)
        masks, shape = self.mask, row[0].shape
        if isinstance(masks, Mapping):
            masked = {name: np.array([shape[name][0]]) for name, mask in masks.items() if mask is not None}
            self.check_lengths(masked)
        elif masks is not None:
            self.check_lengths(np.array([shape[0]]))
        vectors = self._vectors = Vectors(row, self.ops, memory)
        self.params, self.grads, self.layer_state = vectors.params, vectors.grads, vectors.layer_state
        self._activation = activation_place(row) if fused else None
        self._compile()
        self.output_activation = engine.stages(self._last)
        alike = self._activation is None and not tuning.frozen
        self.prediction = self.stages if alike else engine.stages(thawed(self.layers), dx=False)

    def _compile(self) -> None:
        """Make what runs in training, as the tuning wants it."""
        tuning, engine = self.tuning, self.engine
        self.layers = stages_of(self._row, self._vectors.views, lambda path: not tuning.of_array(path))
        norms = [one for one in leaves(self._row) if isinstance(one.layer, BatchNorm) and tuning.of_array(one.path)]
        # A mini-batch of one has nothing to normalise over in these.
        self._by_sample = [one.name for one in norms if math.prod(one.shape[:-1]) == 1]
        place = self._activation
        body, self._last = (self.layers, []) if place is None else self._without_activation(place)
        self.body: Sequence[Placement] = body  # up to what the cost takes
        fixed, learning = divided(body)
        self._passes = Passes(
            [(engine.stages(part, dx=False), train) for part, train in fixed],
            engine.stages(learning, dx=False),
            engine.fused_step(learning, self.cost) if self.cost else None,
        )
        self.fallbacks = [told for part in (*(part for part, _ in fixed), learning) for told in engine.fallbacks(part)]

    def retune(self, tuning: Tuning) -> None:
        """Let other layers learn; parameters and state stay where they are. Others may evaluate meanwhile."""
        self.tuning = tuning
        self._compile()
        self.prediction = self.engine.stages(thawed(self.layers), dx=False)

    def minimise(self, cost: Cost) -> None:
        """Train with another cost, which suits the last layer as the one before does."""
        self.cost, _ = fuse_cost(self._row, cost)
        self._compile()

    @property
    def stages(self) -> Sequence[Stage]:
        """What runs in training from the first layer that learns up to what the cost takes."""
        return self._passes.stages

    @property
    def fused_step(self) -> FusedStep | None:
        """What runs all of that and the cost, where the engine has it."""
        return self._passes.fused_step

    def learner(self, rule: Optimizer) -> Learner | None:
        """Return what learns by a rule from many mini-batches in one go, or None."""
        return self.engine.learner(self.body, self.cost, rule) if self.cost and self.tuning == ALIKE else None

    def judged(self, scores: Array, target: Array) -> Passed:
        """Return outputs and cost of what a Learner gave: without kernels, which each size has anew."""
        assert self.cost
        outputs, _ = through(self._last, self.context(train=False), scores)
        found = self.cost.judged(self.ops, scores, target)
        return Passed(self._outputs(outputs), found.cost, found.weighing)

    def _without_activation(self, place: int) -> tuple[list[Placement], list[Placement]]:
        """Return the layers without the activation there, and it as the last of all."""
        last: Placement = replace(self.layers[place], shape=self.shapes[-1], output_shape=self.shapes[-1])
        return self.layers[:place] + self.layers[place + 1 :], [last]

    # ------------------------------------------------------------------ running

    def forward(self, ctx: Context, x: Array) -> tuple[Array, list[Any]]:
        """Return what the cost takes, and a tape for `backward`.

        Shapes:
            x: (N, *input_shape), an array of the host.
        """
        return self._forward(self._passes, ctx, x)

    def _forward(self, passes: "Passes", ctx: Context, x: Array) -> tuple[Array, list[Any]]:
        return through(passes.stages, ctx, self._prepared(passes, ctx, x))

    def backward(self, ctx: Context, tape: list[Any], dy: Array) -> None:
        """Fill `grads`; the tape is used up, so memory goes back layer by layer."""
        back_through(self.stages, ctx, tape, dy)

    def cost_and_gradients(self, ctx: Context, x: Array, target: Array, weight: Array | None = None) -> Passed:
        """Return the outputs of a mini-batch and their cost; in training also fill `grads`.

        x, target, weight: on the host or, the latter two, on the device; the weight is that of each sample, (N,).
        """
        assert self.cost
        if ctx.train and len(x) == 1:
            self._tell_of_single_values()
        ctx = self.told_of_lengths(ctx, x)
        passes = self._passes  # all that belongs together, whoever changes it meanwhile
        if passes.fused_step:
            given = self._prepared(passes, ctx, x)
            outputs, cost, weighing = passes.fused_step.run(ctx, given, self._wanted(target), weight)
            return Passed(self._outputs(outputs), cost, weighing)
        if ctx.train:
            y, tape = self._forward(passes, ctx, x)
        else:
            y, tape = self._through(passes.stages, ctx, self._prepared(passes, ctx, x)), []
        found = self.judge(y, target, weight, output_lengths(ctx))
        if ctx.train:
            self.backward(ctx, tape, found.dy)
        return Passed(self._activated(y), found.cost, found.weighing)

    def _activated(self, y: Array) -> Array:
        """Return the outputs of what comes before the activation that the cost contains, channels first."""
        for stage in self.output_activation:
            y, _ = stage.forward(self.context(train=False), y)
        return self._outputs(y)

    def _wanted(self, target: Array) -> Array:
        return self.ops.asarray(to_channels_last(target), target.dtype)

    def judge(self, y: Array, target: Array, weight: Array | None = None, lengths: Array | None = None) -> Judged:
        """Return the cost of what `body` gives and its gradient; see `Cost.__call__`."""
        assert self.cost
        return judged(self.cost, self.ops, y, self._wanted(target), weight, lengths)

    def _tell_of_single_values(self) -> None:
        """Warn, once, of each BatchNorm that is about to normalise a single value: it is its own mean."""
        if self._by_sample:
            why = "which normalises over the samples and gives its shift alone"
            warn(
                f"a mini-batch of one sample teaches nothing through {', '.join(self._by_sample)}, {why}; choose a "
                "mini_batch_size that leaves no sample by itself"
            )
        self._by_sample = []

    def predict(self, x: Array) -> Array:
        """Return the network's outputs, channels first and on the host.

        Shapes:
            x: (N, *input_shape), an array of the host.
        """
        ctx = self.told_of_lengths(self.context(train=False), x)
        y = self._through(self.prediction, ctx, self.enter(x))
        y = self.ops.real_places(y, output_lengths(ctx))
        return self.ops.to_host(self._outputs(y))

    def _prepared(self, passes: "Passes", ctx: Context, x: Array) -> Array:
        """Return what the first layer that learns gets: no gradient goes through those before it."""
        y = self.enter(x)
        for stages, train in passes.fixed:
            for stage in stages:
                y, _ = stage.forward(ctx if train else replace(ctx, train=False), y)
        return y

    def _through(self, stages: Sequence[Stage], ctx: Context, y: Array) -> Array:
        """Return what comes out of the steps at prediction: no tape is kept."""
        for stage in stages:
            y, _ = stage.forward(ctx, y)
        return y

    def _outputs(self, y: Array) -> Array:
        """Return outputs channels first, still on the device."""
        return self.ops.xp.ascontiguousarray(to_channels_first(y))

    def context(self, train: bool, epoch: int = 0, position: int = 0) -> Context:
        """Return the context of a pass; see Context."""
        return Context(self.ops, train, self.seed, epoch, position)

    def told_of_lengths(self, ctx: Context, x: Any) -> Context:
        """Return the context of a pass over a mini-batch: with the lengths of its sequences, if it has any."""
        told = lengths_of(x)
        if told is None:
            return ctx
        if isinstance(told, Mapping):  # of several inputs
            given = {name: self.ops.asarray(lengths, np.int64) for name, lengths in told.items()}
            return replace(ctx, lengths_at=lengths_along(self._row, given))
        whole = self.ops.asarray(told, np.int64)
        return replace(ctx, lengths=whole, lengths_at=lengths_along(self._row, whole))

    def check_lengths(self, lengths: Array | Mapping[str, Array]) -> None:
        """Raise ShapeError or DataError unless the layers honour these lengths of sequences."""
        lengths_along(self._row, lengths)

    def enter(self, x: Any) -> Array:
        """Return a host mini-batch on the device, channels-last, in the plan's number type."""
        return entered(self.ops, x, self.takes_tokens, self.takes_sparse)

    def optimizer_state(self, rule: Optimizer, progress: Progress | None = None) -> OptimizerState:
        """Return an optimizer at work on the parameters of this plan; `progress` is that of another plan of them."""
        sums = self.cost is not None and self.cost.sums
        return OptimizerState(self.ops, rule, self.updated(rule), self.engine.updater, progress, sums)

    def updated(self, rule: Optimizer) -> Updated:
        """Return what a rule updates."""
        return self._vectors.updated(self.tuning, rule)

    @property
    def learns(self) -> bool:
        """Whether anything does that could."""
        names = self._vectors.parameters
        return not names or any(map(self.tuning.of_array, names))

    # ------------------------------------------------------------------ memory

    def step_bytes(self, samples: int) -> int | None:
        """Return the memory of a training step: vectors and buffers, without the optimizer's; None: not known
        before."""
        stages = [stage for part, _ in self._passes.fixed for stage in part] + list(
            () if self.fused_step else self.stages
        )
        buffers = self.engine.step_bytes(stages, samples)
        if buffers is None:
            return None
        fused = self.fused_step.step_bytes(samples) if self.fused_step else 0
        return buffers + fused + self.params.nbytes + self.grads.nbytes + self.layer_state.nbytes

    def arrays(self) -> dict[str, Array]:
        """Return the views of all parameters and state by name, such as "0.kernel"."""
        return {**self._vectors.parameters, **self._vectors.state}

    def gradients(self) -> dict[str, Array]:
        """Return the views of all gradients by the names of their parameters."""
        return dict(self._vectors.gradients)

    def state(self) -> State:
        """Return copies of all parameters and state by name, on the host."""
        return {name: np.array(self.ops.to_host(view)) for name, view in self.arrays().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Set all parameters and state.

        Raises:
            CheckpointError: names or shapes differ; nothing was changed.
        """
        views = self.arrays()
        check_state("the network", state, views)
        for name, view in views.items():
            view[...] = self.ops.asarray(state[name])

    def take_over(self, other: "Plan | None") -> None:
        """Set parameters and state to those of another plan of the same layers, or to their first values.

        Raises:
            ArgumentError: a layer declared other arrays for that plan.
        """
        if other is None:
            self.initialise()
            return
        try:
            self.restore(other.state())
        except CheckpointError as error:
            raise ArgumentError(f"a layer declares other arrays than when the network was compiled: {error}") from None

    def initialise(self) -> None:
        """Set parameters and state to their first values, a function of seed and name."""
        self._vectors.initialise(self.seed)
