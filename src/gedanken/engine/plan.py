"""A network compiled for one input shape and one engine: flat vectors, named views, steps."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gedanken.costs import Cost
from gedanken.engine.fold import fold
from gedanken.engine.ops import Ops
from gedanken.errors import CheckpointError
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.layers.containers import part, prefixed, shapes_through, unchained
from gedanken.layers.shape import from_door, inner_shape, to_door
from gedanken.random import Purpose, generator
from gedanken.types import Array, Arrays, Shape


class Step(Protocol):
    """One layer, or a run of layers that an engine has one kernel for."""

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        """Return the output and what `backward` needs."""

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        """Write the gradients of the parameters and return the gradient by x."""


@dataclass(frozen=True)
class LayerStep:
    """One layer with its views of the flat vectors, run by its own forward and backward.

    Args:
        layer: the layer.
        path: its place in the network, as in Context.
        shape, output_shape: one sample that goes in and comes out.
        p, g, s: views of its parameters, their gradients and its state.
    """

    layer: Layer
    path: str
    shape: Shape
    output_shape: Shape
    p: Arrays
    g: Arrays
    s: Arrays

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        return self.layer.forward(ctx.at(self.path), self.p, self.s, x)

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        return self.layer.backward(ctx.at(self.path), self.p, self.g, cache, dy)


class Whole(Protocol):
    """All layers up to the cost, and the cost itself."""

    def judge(self, ctx: Context, x: Array, target: Array) -> tuple[Array, Array]:
        """Return the network's outputs and their mean cost; in training also write the gradients."""

    def step_bytes(self, samples: int) -> int:
        """Return the memory that a training pass of so many samples takes."""


class Engine:
    """How plans are run: an Ops, and the choice of steps.

    This one runs each layer by its own forward and backward. A faster one overrides `steps`.

    Args:
        name: what `regression(engine=...)` calls it.
        ops: the device's primitives.
        reason: why it was chosen, in one sentence.
    """

    def __init__(self, name: str, ops: Ops, reason: str) -> None:
        self.name = name
        self.ops = ops
        self.reason = reason

    def steps(self, layers: Sequence[LayerStep], dx: bool = True) -> Sequence[Step]:
        """Return the steps that do the work of these layers in a row; `dx`: whether anyone reads the gradient by x."""
        return layers

    def whole(self, layers: Sequence[LayerStep], cost: Cost) -> "Whole | None":
        """Return what passes through layers and cost in one go, or None where there is no such thing."""
        return None

    def fallbacks(self, layers: Sequence[LayerStep]) -> list[str]:
        """Return which of these layers run by their specification for want of a kernel, and why."""
        return []

    def step_bytes(self, steps: Sequence[Step], samples: int) -> int | None:
        """Return the memory that a training pass of so many samples takes, or None where it is not known before."""
        return None


class Plan:
    """Layers in a row, ready to run.

    All parameters stand in the flat vector `params`, those with weight decay first (`decayed` numbers); all gradients
    in `grads`, in the same order; all state in `state`. `arrays()` gives them by name.

    Args:
        layers: the layers.
        input_shape: one sample at the door: (C, H, W), (F,), (T,) ...
        engine: what runs them.
        seed: seed of initial weights and dropout.
        cost: what the outputs are judged by, or None for a plan that only predicts. The last layer may become a part of
            it, see `fold`.

    Raises:
        ArgumentError: the cost does not suit the last layer.
        ShapeError: a layer does not fit.
    """

    def __init__(
        self, layers: Sequence[Layer], input_shape: Shape, engine: Engine, seed: int, cost: Cost | None = None
    ) -> None:
        self.engine, self.ops, self.seed = engine, engine.ops, seed
        self.cost: Cost | None = None
        folded = False
        if cost:
            self.cost, folded = fold(layers, cost)
        shapes_through(layers, inner_shape(input_shape))  # a misfit is named by its place in these layers
        rows = unchained(layers)
        self.shapes = shapes_through([layer for _, layer in rows], inner_shape(input_shape))
        self.takes_tokens = layers[0].tokens is not None
        pairs = zip(rows, itertools.pairwise(self.shapes), strict=True)
        placed = [(path, layer, shape, output) for (path, layer), (shape, output) in pairs]
        self._allocate(placed)
        self.layers = [self._layer_step(*row) for row in placed]
        body = self.layers[:-1] if folded else self.layers
        self.steps = engine.steps(body, dx=False)
        self.head = engine.steps(self.layers[len(body) :])
        self.prediction = engine.steps(self.layers, dx=False) if folded else self.steps
        self.whole = engine.whole(body, self.cost) if self.cost else None
        self.fallbacks = engine.fallbacks(body)

    # ------------------------------------------------------------------ running

    def forward(self, ctx: Context, x: Array) -> tuple[Array, list[Any]]:
        """Return what the cost takes, and a tape for `backward`.

        Shapes:
            x: (N, *input_shape), an array of the host.
        """
        y, tape = self.enter(x), []
        for step in self.steps:
            y, cache = step.forward(ctx, y)
            tape.append(cache)
        return y, tape

    def backward(self, ctx: Context, tape: list[Any], dy: Array) -> None:
        """Fill `grads`; the tape is used up, so memory goes back layer by layer."""
        for step in reversed(self.steps):
            dy = step.backward(ctx, tape.pop(), dy)

    def judge(self, ctx: Context, x: Array, target: Array) -> tuple[Array, float]:
        """Return the outputs of a mini-batch and their mean cost; in training also fill `grads`.

        Shapes:
            x: (N, *input_shape).   target: as the cost takes it.   first result: as at the door. All on the host.
        """
        assert self.cost
        wanted = self.ops.asarray(from_door(target), target.dtype)
        if self.whole:
            outputs, cost = self.whole.judge(ctx, self.enter(x), wanted)
            return self._leave(outputs), float(cost)
        y, tape = self.forward(ctx, x) if ctx.train else (self._through(self.steps, x), [])
        cost, dy = self.cost(self.ops, y, wanted)
        if ctx.train:
            self.backward(ctx, tape, dy)
        for step in self.head:
            y, _ = step.forward(self.context(train=False), y)
        return self._leave(y), float(cost)

    def predict(self, x: Array) -> Array:
        """Return the network's outputs, as at the door and on the host.

        Shapes:
            x: (N, *input_shape), an array of the host.
        """
        return self._leave(self._through(self.prediction, x))

    def _through(self, steps: Sequence[Step], x: Array) -> Array:
        """Return what comes out of the steps at prediction: no tape is kept."""
        ctx, y = self.context(train=False), self.enter(x)
        for step in steps:
            y, _ = step.forward(ctx, y)
        return y

    def _leave(self, y: Array) -> Array:
        return np.ascontiguousarray(self.ops.to_host(to_door(y)))

    def context(self, train: bool, epoch: int = 0, position: int = 0) -> Context:
        """Return the context of a pass; see Context."""
        return Context(self.ops, train, self.seed, epoch, position)

    def enter(self, x: Array) -> Array:
        """Return a host mini-batch on the device, channels-last, in the plan's number type."""
        return self.ops.asarray(from_door(x), np.int64 if self.takes_tokens else None)

    # ------------------------------------------------------------------ memory

    def step_bytes(self, samples: int) -> int | None:
        """Return the memory of a training step: vectors and buffers, without the optimizer's; None: not known
        before."""
        buffers = self.whole.step_bytes(samples) if self.whole else self.engine.step_bytes(self.steps, samples)
        return None if buffers is None else buffers + self.params.nbytes + self.grads.nbytes + self.state.nbytes

    def arrays(self) -> dict[str, Array]:
        """Return the views of all parameters and state by name, such as "0.kernel"."""
        return {**self._params, **self._state}

    def values(self) -> dict[str, Array]:
        """Return copies of all parameters and state by name, on the host."""
        return {name: np.array(self.ops.to_host(view)) for name, view in self.arrays().items()}

    def assign(self, values: Mapping[str, Array]) -> None:
        """Set all parameters and state.

        Raises:
            CheckpointError: names or shapes differ; nothing was changed.
        """
        views = self.arrays()
        if missing := sorted(views.keys() ^ values.keys()):
            raise CheckpointError(f"the arrays {missing} are not in both the file and the network")
        for name, view in views.items():
            if values[name].shape != view.shape:
                raise CheckpointError(f"{name} must have shape {view.shape}, got {values[name].shape}")
        for name, view in views.items():
            view[...] = self.ops.asarray(values[name])

    def initialise(self) -> None:
        """Set parameters and state to their first values, a function of seed and name."""
        for name, declared in self._declared.items():
            rng = generator(self.seed, Purpose.WEIGHTS, name)
            first = declared.init(rng, declared.shape, declared.fan_in, declared.fan_out)
            self._params[name][...] = self.ops.asarray(first)
        for name, value in self._first_state.items():
            self._state[name][...] = value

    def _allocate(self, placed: Sequence[tuple[str, Layer, Shape, Shape]]) -> None:
        self._declared: dict[str, Param] = {}
        state: dict[str, StateValue] = {}
        for path, layer, shape, _ in placed:
            self._declared |= prefixed(path, layer.params(shape))
            state |= prefixed(path, layer.state(shape))
        order = sorted(self._declared, key=lambda name: not self._declared[name].decay)
        sizes = {name: self._declared[name].shape for name in order}
        self.params, self._params = self._vector(sizes)
        self.grads, self._grads = self._vector(sizes)
        self.state, self._state = self._vector({name: value.shape for name, value in state.items()})
        self._first_state = {name: value.value for name, value in state.items()}
        self.decayed = sum(self._params[name].size for name in order if self._declared[name].decay)

    def _vector(self, shapes: Mapping[str, Shape]) -> tuple[Array, dict[str, Array]]:
        """Return a vector of zeros and its views, one after the other."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()], dtype=int).tolist()
        vector = self.ops.xp.zeros(ends[-1] if ends else 0, self.ops.dtype)
        starts = [0, *ends[:-1]]
        cuts = zip(shapes.items(), starts, ends, strict=False)
        return vector, {name: vector[start:end].reshape(shape) for (name, shape), start, end in cuts}

    def _layer_step(self, path: str, layer: Layer, shape: Shape, output_shape: Shape) -> LayerStep:
        p, g, s = (part(path, views) for views in (self._params, self._grads, self._state))
        return LayerStep(layer, path, shape, output_shape, p, g, s)
