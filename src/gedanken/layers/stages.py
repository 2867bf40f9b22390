"""A layer with its arrays, ready to run; a layer of a user's own is run behind the border, on every engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from gedanken.by_name import ByName
from gedanken.errors import ArgumentError, ShapeError
from gedanken.layers.base import Context, Layer
from gedanken.layers.border import described, guarded, noted, sealed, taken
from gedanken.sparse import RowGradient
from gedanken.types import AnyShape, Array, Arrays, Shape

UNWRITTEN = {4: 0x7FC6EDA1, 8: 0x7FF86EDA6EDA6EDA}  # bits of a NaN that no arithmetic makes
PROBES = 500  # numbers of a gradient that are looked at after the first pass


class Stage(Protocol):
    """One layer, or a run of layers that an engine has one kernel for."""

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        """Return the output and what `backward` needs."""

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        """Write the gradients of the parameters and return the gradient with respect to x."""


def own(part: object) -> bool:
    """Say whether a layer, cost or rule is of a class of the user's, or made of functions of theirs."""
    return getattr(part, "of_functions", False) or type(part).__module__.partition(".")[0] != "gedanken"


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
        frozen: whether it does not learn: it then runs as at prediction in a training pass too.
        uncut: one sample that goes in where sequences are not cut; None where they are not. See Layer.may_be_cut.
    """

    layer: Layer
    path: str
    shape: Shape
    output_shape: Shape
    p: Arrays
    g: Arrays
    s: Arrays
    frozen: bool = False
    uncut: Shape | None = None

    @property
    def whole(self) -> Shape:
        """One sample that goes in uncut."""
        return self.shape if self.uncut is None else self.uncut

    def forward(self, ctx: Context, x: Array) -> tuple[Array, Any]:
        ctx = self._here(ctx)
        if self._trusted:
            return self.layer.forward(ctx, self.p, self.s, x)
        p, s = {name: sealed(view) for name, view in self.p.items()}, _views(self.s)
        kept, given_s = dict(p), dict(s)
        with noted(self.name):
            given = guarded(self.name, "x, dy and p", self.layer.forward, ctx, p, s, sealed(x))
        if not (isinstance(given, tuple) and len(given) == 2):
            raise ArgumentError(f"{self.name} must return (y, cache) from forward, got {described(given)}")
        self._unchanged("p", p, kept)
        self._written("s", s, given_s, ctx)
        rule = "return the declared shape {} from forward"
        return taken(self.name, rule, given[0], (len(x), *self.output_shape), x, ctx.ops), given[1]

    def backward(self, ctx: Context, cache: Any, dy: Array) -> Array:
        ctx = self._here(ctx)
        if self._trusted:
            return self.layer.backward(ctx, self.p, self.g, cache, dy)
        p, g = {name: sealed(view) for name, view in self.p.items()}, _views(self.g)
        kept, given_g = dict(p), dict(g)
        arrays = {name: view for name, view in self.g.items() if not isinstance(view, RowGradient)}
        probes = {name: _probe(view, whole=not self._proven) for name, view in arrays.items()}
        for probe in probes.values():
            probe[...] = UNWRITTEN[probe.dtype.itemsize]
        with noted(self.name):
            dx = guarded(self.name, "x, dy and p", self.layer.backward, ctx, p, g, cache, sealed(dy))
        self._unchanged("p", p, kept)
        self._written("g", g, given_g, ctx)
        for name, probe in probes.items():
            if (probe == UNWRITTEN[probe.dtype.itemsize]).any():
                rule = f"must write every number of g[{name!r}] in backward, and with = instead of +="
                raise ArgumentError(f"{self.name} {rule}: g[{name!r}][...] = ...")
        if not self._proven:
            self._proven.append(True)
        tokens = self.layer.tokens is not None  # nobody reads a gradient with respect to whole numbers
        rule = "return the shape of x {} from backward"
        return dx if tokens else taken(self.name, rule, dx, (len(dy), *self.shape), dy, ctx.ops)

    @property
    def name(self) -> str:
        """The layer by its place, for errors."""
        return f"layer {self.path} {self.layer}"

    def _here(self, ctx: Context) -> Context:
        ctx = ctx.at(self.path)
        named = isinstance(self.uncut, Mapping)  # of a layer that draws nothing where it is cut
        ctx = ctx if self.uncut is None or named else replace(ctx, places=self.uncut[0])
        return replace(ctx, train=False) if self.frozen else ctx

    @cached_property
    def _trusted(self) -> bool:
        return not own(self.layer)

    @cached_property
    def _proven(self) -> list[bool]:
        """Whether `backward` was seen to write all gradients, once: filled where it was."""
        return []

    def _unchanged(self, kind: str, handed: Arrays, views: Arrays) -> None:
        changed = sorted(name for name in {*handed, *views} if handed.get(name) is not views.get(name))
        if changed:
            raise ArgumentError(f"{self.name} must leave {kind}[{changed[0]!r}] as it is")

    def _written(self, kind: str, handed: Arrays, views: Arrays, ctx: Context) -> None:
        """Take in what was put into the dict where it should have been written into the array.

        Args:
            kind: the dict's name.
            handed: it, as it came back.
            views: what was in it.
            ctx: the pass.
        """
        own = {"g": self.g, "s": self.s}[kind]
        for wrong, what in (
            (views.keys() - handed.keys(), "missing"),
            (handed.keys() - views.keys(), "not one of them"),
        ):
            if wrong:
                name = min(wrong, key=str)
                raise ArgumentError(f"{self.name} must keep the names {sorted(views)} in {kind}, {name!r} is {what}")
        for name, view in views.items():
            if handed[name] is not view:
                rule = f"give {kind}[{name!r}] the declared shape {{}}"
                own[name][...] = taken(self.name, rule, handed[name], own[name].shape, own[name], ctx.ops)


@dataclass(frozen=True)
class ContainerStage:
    """A container that is taken apart: the stages of each of its rows, which all get the same input.

    What comes in as ByName has an input for each row, by its name, and so has the gradient with respect to it.

    Args:
        layer: the container.
        path: its place in the network.
        shape, output_shape: one sample that goes in and comes out, by name where it has names.
        rows: the stages of each row.
        widths: the channels that each row gives.
        dx: whether the input gradient is read.
    """

    layer: Any
    path: str
    shape: AnyShape
    output_shape: AnyShape
    rows: Mapping[str, Sequence[Any]]
    widths: Sequence[int]
    dx: bool = True

    @property
    def _own(self) -> bool:
        """Whether the container is of a class of the user's."""
        return own(self.layer)

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

    def forward(self, ctx: Context, x: Any) -> tuple[Any, Any]:
        ys, tapes = [], []
        for name, row in self.rows.items():
            y, tape = through(row, ctx, x.parts[name] if isinstance(x, ByName) else x)
            ys.append(y)
            tapes.append(tape)
        y = self.layer.join(ctx, ys)
        if self._own and not self.layer.gives_names:
            wanted = (len(x), *self.output_shape)
            y = taken(self.name, "return the declared shape {} from join", y, wanted, ys[0], ctx.ops)
        return y, (tapes, ys if self.layer.needs_results else ())

    def backward(self, ctx: Context, cache: Any, dy: Any) -> Any:
        tapes, ys = cache
        dys = self._split(ctx, dy, ys)
        dxs = [
            back_through(row, ctx, list(tape), dy_of_row)
            for row, tape, dy_of_row in zip(self.rows.values(), tapes, dys, strict=True)
        ]
        if isinstance(self.shape, Mapping):
            return ByName(dict(zip(self.rows, dxs, strict=True)))
        return ctx.ops.total(dxs) if self.dx else ctx.ops.xp.zeros((0, *self.shape), dxs[0].dtype)

    def _split(self, ctx: Context, dy: Any, ys: Sequence[Array]) -> list[Array]:
        """Return the gradient of each row's output; what a container of the user's own gives is checked."""
        given = self.widths, *([ys] if ys else [])
        if not self._own or self.layer.gives_names:
            parts: list[Array] = self.layer.split(ctx, dy, *given)
            return parts
        wanted = [(*dy.shape[:-1], width) for width in self.widths]
        parts = self.layer.split(ctx, sealed(dy), *given)
        if not (isinstance(parts, (list, tuple)) and len(parts) == len(wanted)):
            got = f"a {type(parts).__name__}" + (f" of {len(parts)}" if isinstance(parts, (list, tuple)) else "")
            raise ShapeError(f"{self.name} must return gradients of the shapes {wanted} from split, got {got}")
        rule = "return gradients of the shapes of the rows, here {}, from split"
        return [taken(self.name, rule, one, shape, dy, ctx.ops) for one, shape in zip(parts, wanted, strict=True)]

    @property
    def name(self) -> str:
        return f"layer {self.path} {self.layer}"


def leaf_stages(stages: Sequence[LayerStage | ContainerStage]) -> Iterator[LayerStage]:
    """Yield the layers that are not taken apart, those inside of containers too."""
    for stage in stages:
        if isinstance(stage, ContainerStage):
            for row in stage.rows.values():
                yield from leaf_stages(row)
        else:
            yield stage


def with_leaves(stages: Sequence[LayerStage | ContainerStage], change: Callable[[LayerStage], Any]) -> list[Any]:
    """Return stages in which something stands in the place of each layer that is not taken apart."""
    return [
        replace(stage, rows={name: with_leaves(row, change) for name, row in stage.rows.items()})
        if isinstance(stage, ContainerStage)
        else change(stage)
        for stage in stages
    ]


def _views(arrays: Arrays) -> Arrays:
    """Return other views of the same memory: what is done to their shape and type is done to them alone."""
    return {name: array if isinstance(array, RowGradient) else array.view() for name, array in arrays.items()}


def _probe(view: Array, whole: bool) -> Array:
    """Return the bits of an array's numbers: of all, or of some hundred that lie all over it."""
    bits = view.reshape(-1).view(f"uint{8 * view.dtype.itemsize}")
    return bits if whole else bits[:: max(1, bits.size // PROBES)]
