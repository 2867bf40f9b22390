"""Layers made of layers."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from gedanken.by_name import ByName
from gedanken.checks import require, whole
from gedanken.errors import ArgumentError, ShapeError
from gedanken.geometry import NEEDS_IMAGES, NEEDS_SEQUENCES
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.layers.declared import checked_shape
from gedanken.layers.merges import merge_of, merged_shape
from gedanken.layers.names import check_names
from gedanken.layers.shape import channels_first_shape, each_shape
from gedanken.layers.stages import ContainerStage, LayerStage
from gedanken.state import part, prefixed
from gedanken.types import AnyShape, Array, Arrays, Shape

DEEPEST = 50  # containers around a layer: copies and files take many of Python's calls within calls for each


class Placed(NamedTuple):
    """A layer where it stands.

    Args:
        path: its place, such as "5" or "5.layers.0".
        layer: the layer.
        shape, output_shape: one sample that goes in and comes out; where that has names, a mapping of them to shapes.
        rows: of a container, the layers of each of its rows; None for every other layer.
    """

    path: str
    layer: Layer
    shape: AnyShape
    output_shape: AnyShape
    rows: "Mapping[str, Sequence[Placed]] | None" = None

    @property
    def name(self) -> str:
        """The layer by its place, for errors."""
        return f"layer {self.path} {self.layer}"


class _Before(NamedTuple):
    """A layer that gives its results to the next one: `shape` goes in and `made` comes out."""

    path: str
    layer: Layer
    shape: AnyShape
    made: AnyShape
    earlier: "_Before | None"

    @property
    def name(self) -> str:
        return f"layer {self.path} {self.layer}"


def placed(layers: Sequence[Layer], shape: AnyShape, prefix: str = "", before: _Before | None = None) -> list[Placed]:
    """Return layers in a row with their shapes, and what is in them: one walk through everything.

    A Sequential, and Branches of one branch, are taken apart, so that their layers stand in the row.

    Args:
        layers: the layers.
        shape: one sample that goes in or, where inputs have names, a mapping of them to shapes.
        prefix: what stands before the layers' places.
        before: what gives the input, for errors.

    Raises:
        ShapeError: a layer does not fit what comes before it; the message names the layer by its place, both shapes,
            what produced the input, and the likely fix.
    """
    if prefix.count(".") > 2 * DEEPEST:
        raise ArgumentError(f"layers must not stand in more than {DEEPEST} others, got more around {prefix[:20]}...")
    found: list[Placed] = []
    for position, layer in enumerate(layers):
        path = f"{prefix}{position}"
        if alone := _only_row(layer):
            name, row = alone
            found += placed(row, shape, f"{path}.{name}." if name else f"{path}.", before)
        else:
            found.append(_placed(path, layer, shape, before))
        made = found[-1].output_shape
        shape, before = made, _Before(path, layer, shape, made, before)
    return found


def _only_row(layer: Layer) -> tuple[str, Sequence[Layer]] | None:
    """Return name and layers of a container's row that has nothing beside it, and so nothing to be joined with."""
    if not (isinstance(layer, Container) and vars(type(layer)).get("dissolves")) or layer.input_names:
        return None
    (name, row), *others = layer.rows.items()
    return None if others or not row else (name, row)


def _placed(path: str, layer: Layer, shape: AnyShape, before: _Before | None) -> Placed:
    apart = isinstance(layer, Container) and layer.is_plain
    names = layer.input_names if apart or not isinstance(layer, Container) else ()
    if names or isinstance(shape, Mapping):
        check_names(f"layer {path} {layer}", names, shape, before.name if before else "", apart)
    for tokens in layer.tokens if isinstance(layer.tokens, tuple) else (layer.tokens,):
        if tokens is not None:
            whole(f"layer {path} {layer} tokens", tokens)
    if before and not apart and (layer.tokens is not None or layer.sparse):
        taken = "sparse rows" if layer.sparse else "whole numbers"
        raise ShapeError(f"layer {path} {layer} takes {taken}", "it can only be the first layer")
    rows = layer.parts(shape, f"{path}.", before) if isinstance(layer, Container) and apart else None
    for row in (rows or {}).values():
        if row and isinstance(row[-1].output_shape, Mapping):
            rule = f"{row[-1].name} gives results by name at the end of a row of layer {path}"
            raise ShapeError(rule, "have a layer behind it that takes them, such as Branches")
    try:
        made = layer.output_shape(shape) if rows is None else layer.joined_shape(_outputs(rows, shape))  # type: ignore[attr-defined]
    except ShapeError as error:
        came = before.name if before else "the input"
        rule = f"layer {path} {layer} {error.rule}, but {came} gives {each_shape(channels_first_shape, shape)}"
        hint = _towards_images(before, shape) if error.rule == NEEDS_IMAGES else error.hint
        if error.rule == NEEDS_SEQUENCES and (ended := _loses(before, 2)):
            hint = _keeping_sequences(ended)
        raise ShapeError(rule, hint) from None
    if not layer.gives_names:
        made = checked_shape(lambda: f"output_shape of layer {path} {layer}", made)
    return Placed(path, layer, shape, made, rows)


def check_end(row: Sequence[Placed]) -> None:
    """Raise ShapeError unless a network may end so: with one output, or with named ones of Heads or Branches."""
    last = row[-1]
    if not isinstance(last.output_shape, Mapping):
        return
    if last.rows is None or "." in last.path:
        rule = f"{last.name} gives results by name at the end of a network"
        raise ShapeError(rule, "end with Heads or Branches, in no other layer")
    for name in last.output_shape:
        check_head_name(f"{type(last.layer).__name__} names", name)


def check_head_name(argument: str, name: str) -> None:
    """Raise ArgumentError where the name of an output is one that records have for other figures."""
    free = name != "validation" and not name.startswith("validation_")
    require(free, argument, "not begin with validation, as figures of a validation set do", name)


def _towards_images(before: _Before | None, shape: Shape) -> str:
    """Return how the next layer gets images: `shape`, which these layers give, is none."""
    if lost := _loses(before, 3):
        return f"it must come before {lost.name}, which gives no images"
    if len(shape) == 2:
        rows, columns = shape
        grey = "" if before else f"for grey images say input((1, {rows}, {columns})); "
        return f"{grey}for {rows} steps of {columns} features add Reshape((1, {rows}, {columns})) before it"
    return "say input((C, H, W))" + (" or add Reshape((C, H, W)) before it" if shape else "")


def _loses(before: _Before | None, axes: int) -> _Before | None:
    """Return the first layer that was given so many axes and gave fewer, or None."""
    lost = None
    while before:
        had = not isinstance(before.shape, Mapping) and len(before.shape) == axes
        lost = before if had and len(before.made) < axes else lost
        before = before.earlier
    return lost


def _keeping_sequences(ended: _Before) -> str:
    """Return how the layers behind one that ends a sequence get a sequence."""
    inner = getattr(ended.layer, "layer", ended.layer)  # of Bidirectional
    if getattr(inner, "last", False) is True:
        return f"leave out last=True of layer {ended.path}, which gives its last state only"
    return f"it must come before {ended.name}, which gives no sequences"


def _outputs(rows: Mapping[str, Sequence[Placed]], shape: AnyShape) -> list[Shape]:
    """Return what each row gives; an empty one gives its input."""
    return [row[-1].output_shape if row else shape_of_row(shape, name) for name, row in rows.items()]


def shape_of_row(shape: AnyShape, name: str) -> Shape:
    """Return one sample that goes into a row of a container that gets a sample of `shape`."""
    found: Shape = shape[name] if isinstance(shape, Mapping) else shape
    return found


def leaves(row: Sequence[Placed]) -> Iterator[Placed]:
    """Yield the layers of a row that are not taken apart, those inside of containers too."""
    for one in row:
        if one.rows is None:
            yield one
        else:
            for inner in one.rows.values():
                yield from leaves(inner)


def _activations(rows: Mapping[str, Sequence[Placed]], output_shape: AnyShape) -> int:
    """Return the numbers that a container makes of one sample: those of its layers, and where it joins, the result."""
    made = math.prod(output_shape) if len(rows) > 1 and not isinstance(output_shape, Mapping) else 0
    for row in rows.values():
        for one in row:
            inner = one.layer.activations(one.shape) if one.rows is None else _activations(one.rows, one.output_shape)
            made += inner
    return made


Views: TypeAlias = Callable[[Placed], tuple[Arrays, Arrays, Arrays]]


def stages_of(
    row: Sequence[Placed], views: Views, frozen: Callable[[str], bool] | None = None
) -> list[LayerStage | ContainerStage]:
    """Return the steps of a row; `views` gives parameters, gradients and state of a layer.

    `frozen` says of a path whether that layer is.
    """
    made: list[LayerStage | ContainerStage] = []
    for one in row:
        head = one.layer, one.path, one.shape, one.output_shape
        if one.rows is None:
            made.append(LayerStage(*head, *views(one), bool(frozen and frozen(one.path))))
            continue
        rows = {}
        for name, inner in one.rows.items():
            rows[name] = stages_of(inner, views, frozen)
        widths = [shape[-1] if shape else 1 for shape in _outputs(one.rows, one.shape)]
        made.append(ContainerStage(*head, rows, widths))
    return made


def checked_layers(owner: str, layers: object) -> tuple[Layer, ...]:
    """Return a layer or a sequence of layers as a tuple, or raise ArgumentError."""
    row = (layers,) if isinstance(layers, Layer) else layers
    several = isinstance(row, Iterable) and getattr(row, "shape", None) != ()  # an array of no axes is none by its type
    found: tuple[Any, ...] = tuple(row) if several else (None,)  # type: ignore[arg-type]
    require(all(isinstance(layer, Layer) for layer in found), owner, "be a layer or a sequence of layers", layers)
    return found


class Container(Layer):
    """Rows of layers that all get the same input; what they give is joined. An empty row gives its input.

    Attributes:
        merge: how, see `merges.py`.
        dissolves: of a class, not of those that derive from it: whether a single row may stand in its place.
        input_names: of one whose rows get the inputs of their names, each another one, these; else ().
        gives_names: whether what the rows make is not joined, but goes out by their names.
    """

    merge: str
    dissolves = False

    @property
    @abstractmethod
    def rows(self) -> dict[str, tuple[Layer, ...]]:
        """The rows by name. Layer i of row "a" is called "a.i"; of a row without a name, "i"."""

    @property
    def is_plain(self) -> bool:
        """Whether the rows may be run one by one: a subclass with formulas of its own is a layer like any other."""
        formulas = ("output_shape", "params", "state", "forward", "backward")
        return all(getattr(type(self), name) is getattr(Container, name) for name in formulas)

    @property
    def tokens(self) -> int | tuple[int, ...] | None:
        if self.input_names:
            return None
        limits = [row[0].tokens for row in self.rows.values() if row and row[0].tokens is not None]
        wide = max((len(limit) for limit in limits if isinstance(limit, tuple)), default=0)
        if not wide:
            return min(limits, default=None)
        return tuple(map(min, zip(*((n,) * wide if isinstance(n, int) else n for n in limits), strict=True)))

    def joined_shape(self, shapes: Sequence[Shape]) -> AnyShape:
        """Return what comes out where the rows give these shapes, or raise ShapeError."""
        if self.gives_names:
            return dict(zip(self.rows, shapes, strict=True))
        return merged_shape(self.merge, shapes)

    def join(self, ctx: Context, ys: Sequence[Array]) -> Any:
        """Return the results of the rows as one, or by their names."""
        if self.gives_names:
            return ByName(dict(zip(self.rows, ys, strict=True)))
        return merge_of(self.merge).join(ctx.ops, ys)

    def split(self, ctx: Context, dy: Any, widths: Sequence[int], ys: Sequence[Array] = ()) -> list[Array]:
        """Return the gradient with respect to the result of each row, which has so many channels.

        Args:
            ctx: the pass.
            dy: the gradient with respect to what `join` gave.
            widths: the channels of each row's result.
            ys: these results, where `needs_results` says so; a container of a user's own need not know of them.
        """
        if self.gives_names:
            return [dy.parts[name] for name in self.rows]
        merge = merge_of(self.merge)
        if merge.needs_results and not ys:
            rule = f"leave split as it is, as merge={self.merge!r} needs what the rows gave"
            raise ArgumentError(f"{type(self).__name__} must {rule}")
        return merge.split(ctx.ops, dy, widths, ys)

    @property
    def needs_results(self) -> bool:
        """Whether `split` is handed what the rows gave."""
        return type(self).split is Container.split and not self.gives_names and merge_of(self.merge).needs_results

    def output_shape(self, shape: Shape) -> Shape:
        return self.joined_shape(_outputs(self.parts(shape), shape))

    def params(self, shape: Shape) -> dict[str, Param]:
        return {k: v for one in self._leaves(shape) for k, v in prefixed(one.path, one.layer.params(one.shape)).items()}

    def state(self, shape: Shape) -> dict[str, StateValue]:
        return {k: v for one in self._leaves(shape) for k, v in prefixed(one.path, one.layer.state(one.shape)).items()}

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        y, tapes = self._step(x.shape[1:], p, {}, s).forward(ctx, x)
        return y, (x.shape[1:], tapes)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        shape, tapes = cache
        return self._step(shape, p, g, {}).backward(ctx, tapes, dy)

    def multiply_adds(self, shape: Shape) -> int:
        return sum(one.layer.multiply_adds(one.shape) for one in self._leaves(shape))

    def activations(self, shape: Shape) -> int:
        parts = self.parts(shape)
        return _activations(parts, self.joined_shape(_outputs(parts, shape)))

    def parts(self, shape: AnyShape, prefix: str = "", before: _Before | None = None) -> dict[str, list[Placed]]:
        """Return the layers of each row where they stand, all that is in them too.

        Every walk through what is inside goes along these: kernels, the sliding window, the summary, model files.

        Args:
            shape: one sample that goes in.
            prefix: the container's place with a dot behind it; "" tells places within it.
            before: what gives the input, for errors.
        """
        found = {}
        for name, row in self.rows.items():  # no comprehension: before Python 3.12 it is one more call within calls
            given = shape_of_row(shape, name)
            found[name] = placed(row, given, f"{prefix}{name}." if name else prefix, before)
        return found

    def _leaves(self, shape: Shape) -> Iterator[Placed]:
        for row in self.parts(shape).values():
            yield from leaves(row)

    def _step(self, shape: Shape, p: Arrays, g: Arrays, s: Arrays) -> ContainerStage:
        """Return this container's rows with views of its arrays, for a layer that it is inside of."""
        parts = self.parts(shape)
        outputs = _outputs(parts, shape)
        rows = {}
        for name, row in parts.items():
            rows[name] = stages_of(row, lambda one: (part(one.path, p), part(one.path, g), part(one.path, s)))
        widths = [one[-1] if one else 1 for one in outputs]
        return ContainerStage(self, "", shape, self.joined_shape(outputs), rows, widths)


@dataclass(frozen=True, eq=False, repr=False)
class Sequential(Container):
    """Layers in a row, as one layer.

    Args:
        layers: the layers, first to last; none at all passes its input on.

    Shapes:
        x: what the first layer takes.   y: what the last layer gives.

    Source:
        none, bookkeeping.
    """

    layers: Sequence[Layer] = ()
    merge = "sum"
    dissolves = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked_layers("Sequential layers", self.layers))

    @property
    def rows(self) -> dict[str, tuple[Layer, ...]]:
        return {"": tuple(self.layers)}
