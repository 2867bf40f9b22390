"""The flat vectors of a network: all parameters, all gradients, all state of layers, and their parts by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np

from gedanken.checks import require
from gedanken.data.conversion import finite_in
from gedanken.engine.tuning import ALIKE, Tuning
from gedanken.errors import ArgumentError, ShapeError
from gedanken.layers.base import Param
from gedanken.layers.border import taken
from gedanken.layers.containers import Placed, leaves
from gedanken.layers.declared import check_sizes, declared_params, declared_state
from gedanken.layers.shape import each_of
from gedanken.ops import Ops
from gedanken.optimizer_state import Piece, Updated
from gedanken.optimizers import Optimizer
from gedanken.random import Purpose, generator
from gedanken.sparse import RowGradient, RowPart
from gedanken.state import prefixed
from gedanken.types import Array, Arrays, Shape

Memory: TypeAlias = Callable[[str, int], Array | None]  # (a vector's name, its length) -> where it lies


class Vectors:
    """All parameters in one vector, first those with weight decay, last those of which a step touches few rows.

    Args:
        row: the layers.
        ops: the device's primitives.
        memory: gives the vectors "params", "grads" and "layer_state" their place; see Plan.

    Attributes:
        params, grads, layer_state: the vectors.
        parameters, gradients, state: their parts by name, such as "0.kernel".

    Raises:
        ArgumentError, ShapeError: what a layer declares is none, or too large.
    """

    def __init__(self, row: Sequence[Placed], ops: Ops, memory: Memory | None = None) -> None:
        self.ops = ops
        params = {one.path: declared_params(one.name, one.layer, one.shape) for one in leaves(row)}
        state = {one.path: declared_state(one.name, one.layer, one.shape) for one in leaves(row)}
        for one in leaves(row):
            if both := params[one.path].keys() & state[one.path].keys():
                raise ArgumentError(
                    f"{one.name} must have different names for parameters and state, got {min(both)!r} twice"
                )
            declared = [found.shape for arrays in (params, state) for found in arrays[one.path].values()]
            check_sizes(one.name, [*each_of(one.shape), *each_of(one.output_shape), *declared], one.shape)
        self._declared = {k: v for path, found in params.items() for k, v in prefixed(path, found).items()}
        values = {k: v for path, found in state.items() for k, v in prefixed(path, found).items()}
        order = sorted(self._declared, key=lambda name: (not self._declared[name].decay, self._declared[name].rows))
        sizes = {name: self._declared[name].shape for name in order}
        self.params, self.parameters = self._vector(sizes, "params", memory)
        self.grads, self.gradients = self._vector(sizes, "grads", memory)
        held = {name: value.shape for name, value in values.items()}
        self.layer_state, self.state = self._vector(held, "layer_state", memory)
        self.decayed = sum(self.parameters[name].size for name in order if self._declared[name].decay)
        self._first_state = {name: value.value for name, value in values.items()}
        self._of_layers: dict[str, Any] = {
            name: RowGradient(view, self.ops.xp) if self._declared[name].rows else view
            for name, view in self.gradients.items()
        }
        self._names = {path: ([*params[path]], [*state[path]]) for path in params}

    def initialise(self, seed: int) -> None:
        """Set parameters and state to their first values, a function of seed and name."""
        for name, declared in self._declared.items():
            rng = generator(seed, Purpose.WEIGHTS, name)
            assert declared.fan_in and declared.fan_out
            first = declared.init(rng, declared.shape, declared.fan_in, declared.fan_out)
            rule = f"return the values of {name}, of shape {{}}"
            first = first if isinstance(first, np.ndarray) else np.asarray(first)
            if first.dtype.kind == "f":
                finite_in(f"values of {name} by {declared.init}", first, self.ops.dtype)
            values = taken(str(declared.init), rule, first, declared.shape, first, self.ops)
            self.parameters[name][...] = self.ops.asarray(values)
        for name, value in self._first_state.items():
            finite_in(f"first value of {name}", np.asarray(value), self.ops.dtype)
            self.state[name][...] = value

    def views(self, one: Placed) -> tuple[Arrays, Arrays, Arrays]:
        """Return a layer's views of the vectors: parameters, gradients and state."""
        parameters, state = self._names[one.path]
        p = {name: self.parameters[f"{one.path}.{name}"] for name in parameters}
        g = {name: self._of_layers[f"{one.path}.{name}"] for name in parameters}
        return p, g, {name: self.state[f"{one.path}.{name}"] for name in state}

    def updated(self, tuning: Tuning, rule: Optimizer) -> Updated:
        """Return what an optimizer updates; a lazy one only the touched rows of matrices that have such.

        Raises:
            ArgumentError: the optimizer names parameters that there are not.
        """
        self._check_names(rule)
        pieces, rows = list[Piece](), list[RowPart]()
        start, size = 0, self.params.size
        first = size  # of the matrices whose rows are updated
        for name, view in self.parameters.items():
            declared, factor, stop = self._declared[name], tuning.of_array(name), start + view.size
            if declared.rows:
                first = min(first, start) if rule.lazy else first
                rows.append(RowPart(start, self._of_layers[name], declared.simplex, factor))
            if factor and stop <= first:
                _append(
                    pieces, Piece(start, stop, rule.decays(name, declared.decay), factor, _matrix(rule, name, declared))
                )
            start = stop
        learning = [part for part in rows if part.factor]
        simplexes = [part for part in learning if part.simplex]
        decayed = pieces[0].stop if pieces and pieces[0].decay else 0
        alike = tuning == ALIKE and [piece.decay for piece in pieces] in ([], [True], [False], [True, False])
        plain = alike and not any(piece.matrix for piece in pieces)
        return Updated(size, decayed, learning if rule.lazy else (), simplexes, None if plain else pieces)

    def _check_names(self, rule: Optimizer) -> None:
        """Raise ArgumentError for a pattern of names that none of the parameters has."""
        for argument, patterns in rule.patterns.items():
            for pattern in patterns:
                found = any(fnmatchcase(name, pattern) for name in self.parameters)
                known = f"such as {', '.join([*self.parameters][:4])}" if self.parameters else "which has none"
                require(found, f"{type(rule).__name__} {argument}", f"name parameters of the network, {known}", pattern)

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


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece to others; one that goes on where the last one ends, and learns as it does, makes it longer."""
    last = pieces[-1] if pieces else None
    if last and not piece.matrix and last[1:] == (piece.start, *piece[2:]):
        pieces[-1] = last._replace(stop=piece.stop)
    else:
        pieces.append(piece)


def _matrix(rule: Optimizer, name: str, declared: Param) -> Shape | None:
    """Return the shape of a parameter that a rule takes by itself, or None."""
    shape = declared.shape
    if rule.by_array:
        return (math.prod(shape[:-1]), shape[-1]) if len(shape) > 1 else (math.prod(shape),)
    if len(shape) < 2 or declared.rows or not rule.takes_matrix(name, shape):
        return None
    return math.prod(shape[:-1]), shape[-1]
