"""A layer with its arrays, ready to run, and what guards the border to a layer that is not the library's own.

Kernels trust shapes: they read as far as a layer declared. So what a layer of a user's gives is looked at here before
anyone reads it, for every engine and inside of containers too.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from gedanken.checks import is_masked_array
from gedanken.errors import ArgumentError, GedankenError, ShapeError
from gedanken.layers.base import Context, Layer
from gedanken.types import Array, Arrays, Shape

UNWRITTEN = {4: 0x7FC6EDA1, 8: 0x7FF86EDA6EDA6EDA}  # bits of a NaN that no arithmetic makes
PROBES = 500  # numbers of a gradient that are looked at after the first pass


class Stage(Protocol):
    """One layer, or a run of layers that an engine has one kernel for."""

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        """Return the output and what `backward` needs."""

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        """Write the gradients of the parameters and return the gradient with respect to x."""


def through(stages: Sequence[Stage], ctx: Context, x: Array) -> tuple[Array, list[Any]]:
    """Return what comes out of stages in a row, and a tape for `back_through`."""
    tape = []
    for stage in stages:
        x, cache = stage.forward(ctx, x)
        tape.append(cache)
    return x, tape


def back_through(stages: Sequence[Stage], ctx: Context, tape: list[Any], dy: Array) -> Array:
    """Return the input gradient; the tape is used up, so memory goes back layer by layer."""
    for stage in reversed(stages):
        dy = stage.backward(ctx, tape.pop(), dy)
    return dy


@dataclass(frozen=True)
class LayerStage:
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
        ctx = ctx.at(self.path)
        if self._trusted:
            return self.layer.forward(ctx, self.p, self.s, x)
        p, s = {name: sealed(view) for name, view in self.p.items()}, dict(self.s)
        kept = dict(p)
        with noted(self.name):
            given = guarded(self.name, "x, dy and p", self.layer.forward, ctx, p, s, sealed(x))
        if not (isinstance(given, tuple) and len(given) == 2):
            raise ArgumentError(f"{self.name} must return (y, cache) from forward, got {_described(given)}")
        self._unchanged("p", p, kept)
        self._written("s", s, self.s)
        return self._checked("forward", given[0], x, self.output_shape, ctx), given[1]

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        ctx = ctx.at(self.path)
        if self._trusted:
            return self.layer.backward(ctx, self.p, self.g, cache, dy)
        p, g = {name: sealed(view) for name, view in self.p.items()}, dict(self.g)
        kept = dict(p)
        probes = {name: _probe(view, whole=not self._proven) for name, view in self.g.items()}
        for probe in probes.values():
            probe[...] = UNWRITTEN[probe.dtype.itemsize]
        with noted(self.name):
            dx = guarded(self.name, "x, dy and p", self.layer.backward, ctx, p, g, cache, sealed(dy))
        self._unchanged("p", p, kept)
        self._written("g", g, self.g)
        for name, probe in probes.items():
            if (probe == UNWRITTEN[probe.dtype.itemsize]).any():
                rule = f"must write every number of g[{name!r}] in backward, and with = instead of +="
                raise ArgumentError(f"{self.name} {rule}: g[{name!r}][...] = ...")
        if not self._proven:
            self._proven.append(True)
        tokens = self.layer.tokens is not None  # nobody reads a gradient with respect to whole numbers
        return dx if tokens else self._checked("backward", dx, dy, self.shape, ctx)

    @property
    def name(self) -> str:
        """The layer by its place, for errors."""
        return f"layer {self.path} {self.layer}"

    @cached_property
    def _trusted(self) -> bool:
        return type(self.layer).__module__.partition(".")[0] == "gedanken"

    @cached_property
    def _proven(self) -> list[bool]:
        """Whether `backward` was seen to write all gradients, once: filled where it was."""
        return []

    def _unchanged(self, kind: str, handed: Arrays, views: Arrays) -> None:
        changed = sorted(name for name in {*handed, *views} if handed.get(name) is not views.get(name))
        if changed:
            raise ArgumentError(f"{self.name} must leave {kind}[{changed[0]!r}] as it is")

    def _written(self, kind: str, handed: Arrays, views: Arrays) -> None:
        """Take in what was put into the dict where it should have been written into the array."""
        for wrong, what in (
            (views.keys() - handed.keys(), "missing"),
            (handed.keys() - views.keys(), "not one of them"),
        ):
            if wrong:
                name = min(wrong, key=str)
                raise ArgumentError(f"{self.name} must keep the names {sorted(views)} in {kind}, {name!r} is {what}")
        for name, view in views.items():
            value = handed[name]
            if value is view:
                continue
            if getattr(value, "shape", None) != view.shape or value.dtype.kind not in "biuf":
                raise ShapeError(
                    f"{self.name} declares {kind}[{name!r}] with shape {view.shape}, got {_described(value)}"
                )
            view[...] = value

    def _checked(self, call: str, array: Any, like: Array, shape: Shape, ctx: Context) -> Array:
        """Return an array in the network's number type, or raise that it is not what the layer declared."""
        expected = (len(like), *shape)
        kind = type(like)
        if not isinstance(array, kind) or is_masked_array(array) or array.dtype.kind not in "biuf":
            must = f"must return an array of real numbers {expected} from {call}"
            raise ShapeError(f"{self.name} {must}, got {_described(array)}")
        if array.shape != expected:
            declared = f"the declared shape {expected}" if call == "forward" else f"the shape of x {expected}"
            raise ShapeError(f"{self.name} must return {declared} from {call}, got {array.shape}")
        return array if array.dtype == ctx.ops.dtype and type(array) is kind else ctx.ops.asarray(array)


@dataclass(frozen=True)
class ContainerStage:
    """A container that is taken apart: the stages of each of its rows, which all get the same input.

    Args:
        layer: the container.
        path: its place in the network.
        shape, output_shape: one sample that goes in and comes out.
        rows: the stages of each row.
        widths: the channels that each row gives.
        dx: whether the input gradient is read.
    """

    layer: Any
    path: str
    shape: Shape
    output_shape: Shape
    rows: Mapping[str, Sequence[Any]]
    widths: Sequence[int]
    dx: bool = True

    @property
    def _own(self) -> bool:
        """Whether the container is of a class of the user's."""
        return not type(self.layer).__module__.startswith("gedanken.")

    @property
    def p(self) -> Arrays:
        """The parameters of all layers inside, by their names in the container."""
        return self._gathered("p")

    @property
    def g(self) -> Arrays:
        """The gradients of these."""
        return self._gathered("g")

    @property
    def s(self) -> Arrays:
        """The state of all layers inside."""
        return self._gathered("s")

    def _gathered(self, kind: str) -> Arrays:
        inner = (stage for row in self.rows.values() for stage in row)
        start = len(self.path) + 1
        return {f"{one.path[start:]}.{name}": view for one in inner for name, view in getattr(one, kind).items()}

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        ys, tapes = [], []
        for row in self.rows.values():
            y, tape = through(row, ctx, x)
            ys.append(y)
            tapes.append(tape)
        y = self.layer.join(ctx, ys)
        if self._own and getattr(y, "shape", None) != (len(x), *self.output_shape):
            wanted = f"the declared shape {(len(x), *self.output_shape)}"
            raise ShapeError(f"layer {self.path} {self.layer} must return {wanted} from join, got {_described(y)}")
        return y, tapes

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        dys = self.layer.split(ctx, sealed(dy) if self._own else dy, self.widths)
        if self._own:
            shapes = [getattr(part, "shape", None) for part in dys]
            wanted = [(*dy.shape[:-1], width) for width in self.widths]
            if shapes != wanted:
                rule = f"must return gradients of the shapes {wanted} from split, got {shapes}"
                raise ShapeError(f"layer {self.path} {self.layer} {rule}")
        dxs = [
            back_through(row, ctx, list(tape), dy_of_row)
            for row, tape, dy_of_row in zip(self.rows.values(), cache, dys, strict=True)
        ]
        return ctx.ops.total(dxs) if self.dx else ctx.ops.xp.zeros((0, *self.shape), dy.dtype)


def sealed(array: Array) -> Array:
    """Return a view that cannot be written to; an array of a GPU has none and comes back as it is."""
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view


@contextlib.contextmanager
def noted(name: str) -> Iterator[None]:
    """Say of what a layer of the user's raises which layer it was."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, GedankenError):
            with contextlib.suppress(Exception):  # of a class that takes no notes
                error.add_note(f"raised by {name}")
        raise


def guarded(name: str, lent: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call of the user's gives, or raise ArgumentError where it writes into what was lent to it."""
    try:
        return call(*arguments)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        refused = ArgumentError(f"{name} must not change {lent} in place, got: {error}")
        refused.add_note(f"{name}: {lent} belong to others too; change a copy")
        raise refused from error


def _probe(view: Array, whole: bool) -> Array:
    """Return the bits of an array's numbers: of all, or of some hundred that lie all over it."""
    bits = view.reshape(-1).view(f"uint{8 * view.dtype.itemsize}")
    return bits if whole else bits[:: max(1, bits.size // PROBES)]


def _described(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return f"a {type(value).__name__}" if dtype is None else f"a {type(value).__name__} {shape} of {dtype}"
