"""A network compiled for one input shape and one engine: flat vectors, named views, steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from gedanken.checks import require, warn
from gedanken.costs import Cost
from gedanken.engine.fuse_cost import activation_place, fuse_cost
from gedanken.engine.learner import Learner
from gedanken.errors import ArgumentError, CheckpointError, ShapeError
from gedanken.hyperparameters import require_normal
from gedanken.layers.base import Context, Layer
from gedanken.layers.border import described, guarded, sealed, taken
from gedanken.layers.containers import Placed, Views, leaves, placed, stages_of
from gedanken.layers.declared import check_sizes, declared_params, declared_state
from gedanken.layers.norm import BatchNorm
from gedanken.layers.shape import channels_last_shape, to_channels_first, to_channels_last
from gedanken.layers.stages import ContainerStage, LayerStage, Stage, back_through, through
from gedanken.ops import Ops
from gedanken.optimizer_state import OptimizerState, Progress, Updated, Updater
from gedanken.optimizers import Optimizer
from gedanken.random import Purpose, generator
from gedanken.sparse import RowGradient, RowPart, SparseRows
from gedanken.state import State, check_state, prefixed
from gedanken.types import Array, Arrays, Shape

TOGETHER = 32  # samples that are brought into order at once


class FusedStep(Protocol):
    """All layers up to the cost, and the cost itself."""

    def run(self, ctx: Context, x: Array, target: Array) -> tuple[Array, Array]:
        """Return the network's outputs and their mean cost; in training also write the gradients."""

    def step_bytes(self, samples: int) -> int:
        """Return the memory that a training pass of so many samples takes."""


Placement: TypeAlias = LayerStage | ContainerStage
Memory: TypeAlias = Callable[[str, int], Array | None]  # (a vector's name, its length) -> where it lies


class Engine:
    """How plans are run: an Ops, and the choice of steps.

    This one runs each layer by its own forward and backward, and containers by what is in them. A faster one overrides
    `stages`.

    Args:
        name: what `regression(engine=...)` calls it.
        ops: the device's primitives.
        reason: why it was chosen, in one sentence.

    Attributes:
        threads: how many share a step, the caller's included.
    """

    threads = 1

    def __init__(self, name: str, ops: Ops, reason: str) -> None:
        self.name = name
        self.ops = ops
        self.reason = reason

    def stages(self, layers: Sequence[Placement], dx: bool = True) -> Sequence[Stage]:
        """Return the steps that do the work of these layers in a row; `dx`: whether the input gradient is read."""
        return layers

    def fused_step(self, layers: Sequence[Placement], cost: Cost) -> "FusedStep | None":
        """Return what runs layers and cost as one program, or None if the engine cannot fuse them."""
        return None

    def learner(self, layers: Sequence[Placement], cost: Cost, rule: Optimizer) -> Learner | None:
        """Return what learns from many mini-batches in one go, or None: then each is a step of its own."""
        return None

    def updater(self, rule: Optimizer, updated: Updated) -> Updater | None:
        """Return what does an optimizer's update and its clipping in one go, or None where the rule does it."""
        return None

    def fallbacks(self, layers: Sequence[Placement]) -> list[str]:
        """Return which of these layers run by their specification for want of a kernel, and why."""
        return []

    def step_bytes(self, stages: Sequence[Stage], samples: int) -> int | None:
        """Return the memory that a training pass of so many samples takes, or None where it is not known before."""
        return None

    def close(self) -> None:
        """End the threads that are the engine's own; what runs after it runs in one."""


class Plan:
    """Layers in a row, ready to run.

    All parameters stand in the flat vector `params`: first those with weight decay (`decayed` numbers), last those of
    which a step touches few rows (`row_parts`). All gradients stand in `grads`, in the same order, all state of layers
    in `layer_state`. `arrays()` gives them by name.

    Args:
        layers: the layers.
        input_shape: one sample as users give it: (C, H, W), (F,), (T,) ...
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
        input_shape: Shape,
        engine: Engine,
        seed: int,
        cost: Cost | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.engine, self.ops, self.seed = engine, engine.ops, seed
        self.cost: Cost | None = None
        require_normal((*layers, cost), self.ops.dtype)
        fused = False
        row = placed(layers, channels_last_shape(input_shape))
        self.shapes = [row[0].shape, *(one.output_shape for one in row)]
        if cost:
            self.cost, fused = fuse_cost(row, cost)
        self.takes_tokens, self.takes_sparse = layers[0].tokens is not None, row[0].layer.sparse
        for one in leaves(row):
            if one.layer.sparse and one.path != row[0].path:
                raise ShapeError(f"{one.name} takes sparse rows", "it can only be the first layer, beside no other")
        self.layers = stages_of(row, self._allocate(row, memory))
        norms = (one for one in leaves(row) if isinstance(one.layer, BatchNorm))
        self._by_sample = [
            one.name for one in norms if math.prod(one.shape[:-1]) == 1
        ]  # nothing else to normalise over
        body, self._last = self._without_activation(activation_place(row)) if fused else (self.layers, [])
        self.body: Sequence[Placement] = body  # up to what the cost takes
        self.stages = engine.stages(body, dx=False)
        self.output_activation = engine.stages(self._last)
        self.prediction = engine.stages(self.layers, dx=False) if fused else self.stages
        self.fused_step = engine.fused_step(body, self.cost) if self.cost else None
        self.fallbacks = engine.fallbacks(body)

    def learner(self, rule: Optimizer) -> Learner | None:
        """Return what learns by a rule from many mini-batches in one go, or None."""
        return self.engine.learner(self.body, self.cost, rule) if self.cost else None

    def judged(self, scores: Array, target: Array) -> tuple[Array, Array]:
        """Return the outputs and the mean cost of what a Learner gave: without kernels, which each size has anew."""
        assert self.cost
        outputs, _ = through(self._last, self.context(train=False), scores)
        return self._outputs(outputs), self.cost(self.ops, scores, target)[0]

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
        return through(self.stages, ctx, self.enter(x))

    def backward(self, ctx: Context, tape: list[Any], dy: Array) -> None:
        """Fill `grads`; the tape is used up, so memory goes back layer by layer."""
        back_through(self.stages, ctx, tape, dy)

    def cost_and_gradients(self, ctx: Context, x: Array, target: Array) -> tuple[Array, Array]:
        """Return the outputs of a mini-batch and their mean cost, both on the device; in training also fill `grads`.

        Shapes:
            x: (N, *input_shape), on the host.   target: as the cost takes it.   first result: channels first.
        """
        assert self.cost
        if ctx.train and len(x) == 1:
            self._tell_of_single_values()
        if self.fused_step:
            outputs, cost = self.fused_step.run(ctx, self.enter(x), self._wanted(target))
            return self._outputs(outputs), cost
        y, tape = self.forward(ctx, x) if ctx.train else (self._through(self.stages, x), [])
        cost, dy = self.judge(y, target)
        if ctx.train:
            self.backward(ctx, tape, dy)
        return self._activated(y), cost

    def _activated(self, y: Array) -> Array:
        """Return the outputs of what comes before the activation that the cost contains, channels first."""
        for stage in self.output_activation:
            y, _ = stage.forward(self.context(train=False), y)
        return self._outputs(y)

    def _wanted(self, target: Array) -> Array:
        return self.ops.asarray(to_channels_last(target), target.dtype)

    def judge(self, y: Array, target: Array) -> tuple[Array, Array]:
        """Return the cost of what `body` gives and its gradient; a cost of the user's own may give anything."""
        assert self.cost
        target = self._wanted(target)
        given: Any = guarded(str(self.cost), "outputs and labels", self.cost, self.ops, sealed(y), sealed(target))
        if not (isinstance(given, tuple) and len(given) == 2):
            raise ArgumentError(f"{self.cost} must return (cost, gradient), got {described(given)}")
        number = given[0]
        real = isinstance(number, (int, float)) or getattr(number, "dtype", np.dtype("O")).kind in "fiub"
        require(real and getattr(number, "shape", ()) == (), f"the cost of {self.cost}", "be a real number", number)
        return number, taken(str(self.cost), "give a gradient of the outputs' shape {}", given[1], y.shape, y, self.ops)

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
        return self.ops.to_host(self._outputs(self._through(self.prediction, x)))

    def _through(self, stages: Sequence[Stage], x: Array) -> Array:
        """Return what comes out of the steps at prediction: no tape is kept."""
        ctx, y = self.context(train=False), self.enter(x)
        for stage in stages:
            y, _ = stage.forward(ctx, y)
        return y

    def _outputs(self, y: Array) -> Array:
        """Return outputs channels first, still on the device."""
        return self.ops.xp.ascontiguousarray(to_channels_first(y))

    def context(self, train: bool, epoch: int = 0, position: int = 0) -> Context:
        """Return the context of a pass; see Context."""
        return Context(self.ops, train, self.seed, epoch, position)

    def enter(self, x: Array) -> Array:
        """Return a host mini-batch on the device, channels-last, in the plan's number type."""
        if self.takes_sparse:
            return SparseRows.of(x).astype(self.ops.dtype)  # type: ignore[return-value]
        return self.ops.asarray(to_channels_last(_sample_by_sample(x)), np.int64 if self.takes_tokens else None)

    def optimizer_state(self, rule: Optimizer, progress: Progress | None = None) -> OptimizerState:
        """Return an optimizer at work on the parameters of this plan; `progress` is that of another plan of them."""
        simplexes = [part for part in self.row_parts if part.simplex]
        updated = Updated(self.params.size, self.decayed, self.row_parts if rule.lazy else (), simplexes)
        return OptimizerState(self.ops, rule, updated, self.engine.updater(rule, updated), progress)

    # ------------------------------------------------------------------ memory

    def step_bytes(self, samples: int) -> int | None:
        """Return the memory of a training step: vectors and buffers, without the optimizer's; None: not known
        before."""
        buffers = (
            self.fused_step.step_bytes(samples) if self.fused_step else self.engine.step_bytes(self.stages, samples)
        )
        return None if buffers is None else buffers + self.params.nbytes + self.grads.nbytes + self.layer_state.nbytes

    def arrays(self) -> dict[str, Array]:
        """Return the views of all parameters and state by name, such as "0.kernel"."""
        return {**self._params, **self._state}

    def gradients(self) -> dict[str, Array]:
        """Return the views of all gradients by the names of their parameters."""
        return dict(self._grads)

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
        for name, declared in self._declared.items():
            rng = generator(self.seed, Purpose.WEIGHTS, name)
            assert declared.fan_in and declared.fan_out
            first = declared.init(rng, declared.shape, declared.fan_in, declared.fan_out)
            rule = f"return the values of {name}, of shape {{}}"
            first = first if isinstance(first, np.ndarray) else np.asarray(first)
            values = taken(str(declared.init), rule, first, declared.shape, first, self.ops)
            self._params[name][...] = self.ops.asarray(values)
        for name, value in self._first_state.items():
            self._state[name][...] = value

    def _allocate(self, row: Sequence[Placed], memory: Memory | None) -> Views:
        """Lay out the vectors, and return what gives a layer its views of them."""
        params = {one.path: declared_params(one.name, one.layer, one.shape) for one in leaves(row)}
        state = {one.path: declared_state(one.name, one.layer, one.shape) for one in leaves(row)}
        for one in leaves(row):
            if both := params[one.path].keys() & state[one.path].keys():
                raise ArgumentError(
                    f"{one.name} must have different names for parameters and state, got {min(both)!r} twice"
                )
            declared = [found.shape for arrays in (params, state) for found in arrays[one.path].values()]
            check_sizes(one.name, [one.shape, one.output_shape, *declared], one.shape)
        self._declared = {k: v for path, found in params.items() for k, v in prefixed(path, found).items()}
        values = {k: v for path, found in state.items() for k, v in prefixed(path, found).items()}
        order = sorted(self._declared, key=lambda name: (not self._declared[name].decay, self._declared[name].rows))
        sizes = {name: self._declared[name].shape for name in order}
        self.params, self._params = self._vector(sizes, "params", memory)
        self.grads, self._grads = self._vector(sizes, "grads", memory)
        held = {name: value.shape for name, value in values.items()}
        self.layer_state, self._state = self._vector(held, "layer_state", memory)
        self._first_state = {name: value.value for name, value in values.items()}
        gradients = {
            name: RowGradient(view, self.ops.xp) if self._declared[name].rows else view
            for name, view in self._grads.items()
        }
        ends = dict(zip(order, np.cumsum([self._params[name].size for name in order]).tolist(), strict=True))
        self.row_parts = [
            RowPart(ends[name] - self._params[name].size, gradient, self._declared[name].simplex)
            for name, gradient in gradients.items()
            if isinstance(gradient, RowGradient)
        ]
        self.decayed = sum(self._params[name].size for name in order if self._declared[name].decay)

        def views(one: Placed) -> tuple[Arrays, Arrays, Arrays]:
            p = {k: self._params[f"{one.path}.{k}"] for k in params[one.path]}
            g: dict[str, Any] = {k: gradients[f"{one.path}.{k}"] for k in params[one.path]}
            return p, g, {k: self._state[f"{one.path}.{k}"] for k in state[one.path]}

        return views

    def _vector(self, shapes: Mapping[str, Shape], name: str, memory: Memory | None) -> tuple[Array, dict[str, Array]]:
        """Return a vector, of zeros where it has no place yet, and its views, one after the other."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()], dtype=int).tolist()
        size = ends[-1] if ends else 0
        try:
            given = memory(name, size) if memory else None
            vector = self.ops.xp.zeros(size, self.ops.dtype) if given is None else given
        except (MemoryError, ValueError):  # ValueError: NumPy's, for more bytes than it counts
            raise ShapeError(f"the layers must fit into memory, got {size:,} parameters of {self.ops.dtype}") from None
        if vector.size != size:
            raise ArgumentError(
                f"a layer declares other arrays than before: {name} had {vector.size:,} numbers, got {size:,}"
            )
        starts = [0, *ends[:-1]]
        cuts = zip(shapes.items(), starts, ends, strict=False)
        return vector, {path: vector[start:end].reshape(shape) for (path, shape), start, end in cuts}


def _sample_by_sample(x: Array) -> Array:
    """Return samples that lie beside each other, number by number (Fortran's order), one after the other.

    Some at a time are brought together first: numbers far apart, often by a power of two, share few places of a cache.
    """
    if x.ndim < 2 or x.strides[0] != x.itemsize or len(x) <= TOGETHER:
        return x
    apart = np.empty(to_channels_last(x).shape, x.dtype)
    for start in range(0, len(x), TOGETHER):
        apart[start : start + TOGETHER] = to_channels_last(x[start : start + TOGETHER].copy(order="K"))
    return to_channels_first(apart)
