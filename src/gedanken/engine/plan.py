"""A network compiled for one input shape and one engine: flat vectors, named views, steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from gedanken.by_name import ByName, each
from gedanken.checks import warn
from gedanken.costs import Cost
from gedanken.costs.base import Judged, Weighing
from gedanken.costs.heads import HeadsCost
from gedanken.data.conversion import finite_in
from gedanken.engine.base import Engine, FusedStep, Placement
from gedanken.engine.cuts import Cuts, cut_targets, uncut
from gedanken.engine.entering import entered, takes_tokens
from gedanken.engine.fuse_cost import fuse, speaking_layer
from gedanken.engine.judging import judged
from gedanken.engine.learner import Learner
from gedanken.engine.passes import Passes, Place, cut_passes, ending_of, passes_of
from gedanken.engine.tuning import ALIKE, Tuning, divided
from gedanken.engine.vectors import Memory, Vectors
from gedanken.errors import ArgumentError, CheckpointError, ShapeError
from gedanken.hyperparameters import require_normal
from gedanken.layers.base import Context, Layer
from gedanken.layers.containers import check_end, leaves, placed, stages_of
from gedanken.layers.lengths import OUTPUT, lengths_along, masks_of, output_lengths
from gedanken.layers.norm import BatchNorm
from gedanken.layers.shape import (
    channels_first_shape,
    channels_last_shape,
    each_shape,
    to_channels_first,
    to_channels_last,
)
from gedanken.layers.stages import Stage, back_through, through
from gedanken.optimizer_state import OptimizerState, Progress, Updated
from gedanken.optimizers import Optimizer
from gedanken.sequences import lengths_of
from gedanken.state import State, check_state
from gedanken.types import AnyShape, Array


class Passed(NamedTuple):
    """What a mini-batch gives: outputs, channels first, and cost, both on the device, and how the cost was made.

    Several outputs are ByName.
    """

    outputs: Any
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
        self._activation: Place = None
        row = self._row = placed(layers, each_shape(channels_last_shape, input_shape))
        check_end(row)
        self.shapes = [row[0].shape, *(one.output_shape for one in row)]
        if cost:
            self.cost, self._activation = fuse(row, cost)
        self.takes_tokens, self.takes_sparse = takes_tokens(row), row[0].layer.sparse
        for one in leaves(row):
            if one.layer.sparse and one.path != row[0].path:
                raise ShapeError(f"{one.name} takes sparse rows", "it can only be the first layer, beside no other")
        self.mask = masks_of(row)
        masks, shape = self.mask, row[0].shape
        if isinstance(masks, Mapping):
            masked = {name: np.array([shape[name][0]]) for name, mask in masks.items() if mask is not None}
            self.lengths_behind(masked)
        elif masks is not None:
            self.lengths_behind(np.array([shape[0]]))
        vectors = self._vectors = Vectors(row, self.ops, memory)
        self.params, self.grads, self.layer_state = vectors.params, vectors.grads, vectors.layer_state
        self.decayed = vectors.decayed
        self._cuts = Cuts(layers, row, self.cost)
        self._compile()

    def _compile(self) -> None:
        """Make what runs in training, as the tuning wants it."""
        tuning = self.tuning
        layers = stages_of(self._row, self._vectors.views, lambda path: not tuning.of_array(path))
        provisional = self.cost and self.cost.provisional()
        passes = passes_of(self.engine, layers, provisional, self._activation)
        self.layers, self.body, self._last = passes.layers, passes.body, passes.last
        norms = [one for one in leaves(self._row) if isinstance(one.layer, BatchNorm) and tuning.of_array(one.path)]
        # A mini-batch of one has nothing to normalise over in these.
        self._by_sample = [one.name for one in norms if math.prod(one.shape[:-1]) == 1]
        fixed, learning = divided(self.body)
        parts = *(part for part, _ in fixed), learning
        self.fallbacks = [told for part in parts for told in self.engine.fallbacks(part)]
        self.fallbacks += self.engine.cost_fallbacks(self.cost) if self.cost else []
        self._passes = passes

    def _passes_for(self, x: Any) -> Passes:
        """Return what runs a mini-batch: all that belongs together, whoever changes the plan meanwhile."""
        passes, key = self._passes, self._cuts.key(x)
        if key is not None and key not in passes.cut and (row := self._cuts.row_of(x)):
            passes.cut[key] = cut_passes(self.engine, passes, stages_of(row, self._vectors.views))
        return passes.cut.get(key, passes)

    def retune(self, tuning: Tuning) -> None:
        """Let other layers learn; parameters and state stay where they are. Others may evaluate meanwhile."""
        self.tuning = tuning
        self._compile()

    def minimise(self, cost: Cost) -> None:
        """Train with another cost, which suits the last layer as the one before does."""
        self.cost, _ = fuse(self._row, cost)
        self._cuts = Cuts(self._cuts.layers, self._row, self.cost)
        self._compile()

    @property
    def speaking(self) -> dict[str, Layer]:
        """Of each head, by its name, the layer that says what its outputs mean; of one output by ""."""
        last = self._row[-1]
        if not isinstance(last.output_shape, Mapping):
            return {"": speaking_layer(self._row)}
        return {name: speaking_layer(row) if row else last.layer for name, row in (last.rows or {}).items()}

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

    # ------------------------------------------------------------------ running

    def forward(self, ctx: Context, x: Any) -> tuple[Any, list[Any]]:
        """Return what the cost takes, and a tape for `backward`.

        Shapes:
            x: (N, *input_shape), an array of the host.
        """
        return through(self.stages, ctx, self._prepared(self._passes, ctx, x))

    def backward(self, ctx: Context, tape: list[Any], dy: Any) -> None:
        """Fill `grads`; the tape is used up, so memory goes back layer by layer."""
        back_through(self.stages, ctx, tape, dy)

    def cost_and_gradients(self, ctx: Context, x: Any, target: Any, weight: Array | None = None) -> Passed:
        """Return the outputs of a mini-batch and their cost; in training also fill `grads`.

        x, target, weight: on the host or, the latter two, on the device; the weight is that of each sample, (N,).
        """
        assert self.cost and not self.cost.unresolved
        if ctx.train and len(x) == 1 and not ctx.together:
            self._tell_of_single_values()
        ctx = self.told_of_lengths(ctx, x)
        passes = self._passes_for(x)
        passed, _ = self.end(passes, ctx, self._prepared(passes, ctx, x), target, weight)
        return passed._replace(weighing=self._as_uncut(passes, passed.weighing, len(x)))

    def end(self, passes: Passes, ctx: Context, given: Any, target: Any, weight: Array | None) -> tuple[Passed, Any]:
        """Run the layers that learn and the cost; return what they give, and in training the gradient of what goes in.

        Args:
            passes: the plan's, or of its last layers alone, see `ending`.
            ctx: the pass, told of lengths.
            given: what goes into the layers, on the device.
            target, weight: as of `cost_and_gradients`.
        """
        if passes.fused_step:
            outputs, cost, weighing, dx = passes.fused_step.run(ctx, given, self._wanted(target), weight)
            return Passed(self._outputs(outputs), cost, weighing), dx
        y, tape = through(passes.stages, ctx, given) if ctx.train else (self._through(passes.stages, ctx, given), [])
        assert self.cost
        found = judged(
            self.cost, self.ops, y, self._wanted(target), weight, output_lengths(ctx), ctx.together
        )  # fmt: skip
        dx = back_through(passes.stages, ctx, tape, found.dy) if ctx.train else None
        y = self._through(passes.output_activation, self.context(train=False), y)
        return Passed(self._outputs(y), found.cost, found.weighing), dx

    def ending(self, layers: Sequence[Placement], dx: bool) -> Passes:
        """Return what runs some last layers of `body` and the cost; `dx`: whether their input gradient is read."""
        return ending_of(self.engine, self._passes, layers, dx)

    def _as_uncut(self, passes: Passes, weighing: Weighing, samples: int) -> Weighing:
        assert self.cost
        if passes.share is None:
            return weighing
        return self.cost.as_uncut(weighing, passes.share, samples)

    def cut(self, x: Any, target: Any) -> tuple[Any, Any]:
        """Return a mini-batch and its targets without places that are padding in all of its sequences, see `Cuts`."""
        x = self._cuts.shortened(x)
        row = None if self._cuts.key(x) is None else self._cuts.row_of(x)
        return x, cut_targets(target, self.shapes[-1], row[-1].output_shape) if row else target

    def _wanted(self, target: Any) -> Any:
        return each(lambda one: self.ops.asarray(to_channels_last(one), one.dtype), target)

    def judge(self, y: Any, target: Any, weight: Array | None = None, lengths: Any = None, head: str = "") -> Judged:
        """Return the cost of what `body` gives and its gradient, or those of one head; see `Cost.__call__`."""
        cost = self.cost.costs[head] if isinstance(self.cost, HeadsCost) and head else self.cost
        assert cost
        return judged(cost, self.ops, y, self._wanted(target), weight, lengths)

    def _tell_of_single_values(self) -> None:
        """Warn, once, of each BatchNorm that is about to normalise a single value: it is its own mean."""
        if self._by_sample:
            why = "which normalises over the samples and gives its shift alone"
            warn(
                f"a mini-batch of one sample teaches nothing through {', '.join(self._by_sample)}, {why}; choose a "
                "mini_batch_size that leaves no sample by itself"
            )
        self._by_sample = []

    def predict(self, x: Any) -> Any:
        """Return the network's outputs, channels first and on the host.

        Shapes:
            x: (N, *input_shape), an array of the host.
        """
        x = self._cuts.shortened(x)
        ctx = self.told_of_lengths(self.context(train=False), x)
        passes = self._passes_for(x)
        y = self._through(passes.prediction, ctx, self.enter(x))
        lengths = output_lengths(ctx)
        if isinstance(y, ByName):
            own = lengths or {}
            y = ByName({name: self.ops.real_places(part, own.get(name)) for name, part in y.parts.items()})
        else:
            y = self.ops.real_places(y, lengths)
        y = each(self.ops.to_host, self._outputs(y))
        return y if passes.share is None else uncut(y, each_shape(channels_first_shape, self.shapes[-1]))

    def _prepared(self, passes: "Passes", ctx: Context, x: Any) -> Any:
        """Return what the first layer that learns gets: no gradient goes through those before it."""
        y = self.enter(x)
        for stages, train in passes.fixed:
            for stage in stages:
                y, _ = stage.forward(ctx if train else replace(ctx, train=False), y)
        return y

    def _through(self, stages: Sequence[Stage], ctx: Context, y: Any) -> Any:
        """Return what comes out of the steps at prediction: no tape is kept."""
        for stage in stages:
            y, _ = stage.forward(ctx, y)
        return y

    def _outputs(self, y: Any) -> Any:
        """Return outputs channels first, still on the device."""
        return each(lambda one: self.ops.xp.ascontiguousarray(to_channels_first(one)), y)

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

    def lengths_behind(self, lengths: Array | Mapping[str, Array]) -> Any:
        """Return the lengths of what comes out for these lengths of sequences, of several outputs by name.

        None where outputs have no places.

        Raises:
            ShapeError, DataError: the layers do not honour such lengths.
        """
        return lengths_along(self._row, lengths).get(OUTPUT)

    def enter(self, x: Any) -> Any:
        """Return a host mini-batch on the device, channels-last, in the plan's number type."""
        return entered(self.ops, x, self.takes_tokens, self.takes_sparse)

    def optimizer_state(self, rule: Optimizer, progress: Progress | None = None) -> OptimizerState:
        """Return an optimizer at work on the parameters of this plan; `progress` is that of another plan of them."""
        sums = self.cost is not None and self.cost.sums
        return OptimizerState(self.ops, rule, self.updated(rule), self.engine.updater, progress, sums)

    def updated(self, rule: Optimizer, tuning: Tuning | None = None) -> Updated:
        """Return what a rule updates, as the plan is tuned or as it would be tuned otherwise."""
        return self._vectors.updated(tuning or self.tuning, rule)

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
            ArgumentError: a layer declared other arrays for that plan, or this number type does not hold their numbers.
        """
        if other is None:
            self.initialise()
            return
        if self.ops.dtype != other.ops.dtype:
            for name, array in other.state().items():
                finite_in(f"the network's {name}", array, self.ops.dtype)
        try:
            self.restore(other.state())
        except CheckpointError as error:
            raise ArgumentError(f"a layer declares other arrays than when the network was compiled: {error}") from None

    def initialise(self) -> None:
        """Set parameters and state to their first values, a function of seed and name."""
        self._vectors.initialise(self.seed)
