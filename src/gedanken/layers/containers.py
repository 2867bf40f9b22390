"""Layers made of layers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from gedanken.checks import one_of, require
from gedanken.engine.geometry import NEEDS_IMAGES
from gedanken.errors import ArgumentError, ShapeError
from gedanken.layers.base import Context, Layer, Param, StateValue
from gedanken.layers.shape import door_shape
from gedanken.types import Array, Arrays, Shape

T = TypeVar("T")


def prefixed(name: str, entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries with `name.` before each key."""
    return {f"{name}.{key}": value for key, value in entries.items()}


def part(name: str, entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries whose key begins with `name.`, without it."""
    return {key[len(name) + 1 :]: entries[key] for key in entries if key.startswith(f"{name}.")}


def shapes_through(layers: Sequence[Layer], shape: Shape) -> list[Shape]:
    """Return the input shape of each layer in a row, and last the output shape.

    Raises:
        ShapeError: a layer does not fit what comes before it; the message names the layer by position, both shapes,
            what produced the input, and the likely fix.
    """
    shapes = [shape]
    for position, layer in enumerate(layers):
        if layer.tokens is not None and position > 0:
            raise ShapeError(f"layer {position} {layer} takes whole numbers", "it can only be the first layer")
        try:
            shapes.append(layer.output_shape(shapes[-1]))
        except ShapeError as error:
            came = f"layer {position - 1} {layers[position - 1]}" if position else "the input"
            rule = f"layer {position} {layer} {error.rule}, but {came} gives {door_shape(shapes[-1])}"
            hint = _towards_images(layers[:position], shapes) if error.rule == NEEDS_IMAGES else error.hint
            raise ShapeError(rule, hint) from None
    return shapes


def _towards_images(before: Sequence[Layer], shapes: Sequence[Shape]) -> str:
    """Return how the next layer gets images: what these layers gave, the last of `shapes`, is none."""
    lost = next((place for place, layer in enumerate(before) if len(shapes[place]) == 3 > len(shapes[place + 1])), None)
    if lost is not None:
        return f"it must come before layer {lost} {before[lost]}, which gives no images"
    if len(shapes[-1]) == 2:
        rows, columns = shapes[-1]
        grey = "" if before else f"for grey images say input((1, {rows}, {columns})); "
        return f"{grey}for {rows} steps of {columns} features add Reshape((1, {rows}, {columns})) before it"
    return "say input((C, H, W))" + (" or add Reshape((C, H, W)) before it" if shapes[-1] else "")


def unchained(layers: Sequence[Layer], path: str = "") -> list[tuple[str, Layer]]:
    """Return the layers with their paths, those of a Chain in its place."""
    found: list[tuple[str, Layer]] = []
    for position, layer in enumerate(layers):
        place = f"{path}{position}"
        found += unchained(layer.layers, f"{place}.") if isinstance(layer, Chain) and layer.layers else [(place, layer)]
    return found


def checked_layers(owner: str, layers: object) -> tuple[Layer, ...]:
    """Return a layer or a sequence of layers as a tuple, or raise ArgumentError."""
    row = (layers,) if isinstance(layers, Layer) else layers
    if isinstance(row, Iterable):
        found = tuple(row)
        if all(isinstance(layer, Layer) for layer in found):
            return found
    raise ArgumentError(f"{owner} must be a layer or a sequence of layers, got {layers!r}")


@dataclass(frozen=True, eq=False, repr=False)
class Chain(Layer):
    """Layers in a row, as one layer.

    Args:
        layers: the layers, first to last; none at all passes its input on.

    Shapes:
        x: what the first layer takes.   y: what the last layer gives.

    Source:
        none, bookkeeping.
    """

    layers: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", checked_layers("Chain layers", self.layers))

    @property
    def tokens(self) -> int | None:
        return self.layers[0].tokens if self.layers else None

    def output_shape(self, shape: Shape) -> Shape:
        return shapes_through(self.layers, shape)[-1]

    def params(self, shape: Shape) -> dict[str, Param]:
        return {
            key: value
            for i, layer, into in self._parts(shape)
            for key, value in prefixed(i, layer.params(into)).items()
        }

    def state(self, shape: Shape) -> dict[str, StateValue]:
        return {
            key: value for i, layer, into in self._parts(shape) for key, value in prefixed(i, layer.state(into)).items()
        }

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        caches = []
        for position, layer in enumerate(self.layers):
            name = str(position)
            x, cache = layer.forward(ctx.at(name), part(name, p), part(name, s), x)
            caches.append(cache)
        return x, caches

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        for position in reversed(range(len(self.layers))):
            name = str(position)
            dy = self.layers[position].backward(ctx.at(name), part(name, p), part(name, g), cache[position], dy)
        return dy

    def multiply_adds(self, shape: Shape) -> int:
        return sum(layer.multiply_adds(into) for _, layer, into in self._parts(shape))

    def activations(self, shape: Shape) -> int:
        return sum(layer.activations(into) for _, layer, into in self._parts(shape))

    def _parts(self, shape: Shape) -> list[tuple[str, Layer, Shape]]:
        shapes = shapes_through(self.layers, shape)[:-1]
        return [(str(i), layer, into) for i, (layer, into) in enumerate(zip(self.layers, shapes, strict=True))]


class _Parallel(Layer):
    """Named parts that all get the same input; a subclass says what they are and joins what they give."""

    _parts: ClassVar[dict[str, Chain]]  # each object has its own; not a field

    @property
    def tokens(self) -> int | None:
        limits = [layer.tokens for layer in self._parts.values() if layer.tokens is not None]
        return min(limits, default=None)

    def params(self, shape: Shape) -> dict[str, Param]:
        return {k: v for name, layer in self._parts.items() for k, v in prefixed(name, layer.params(shape)).items()}

    def state(self, shape: Shape) -> dict[str, StateValue]:
        return {k: v for name, layer in self._parts.items() for k, v in prefixed(name, layer.state(shape)).items()}

    def multiply_adds(self, shape: Shape) -> int:
        return sum(layer.multiply_adds(shape) for layer in self._parts.values())

    def activations(self, shape: Shape) -> int:
        return super().activations(shape) + sum(layer.activations(shape) for layer in self._parts.values())

    def _forward_parts(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[list[Array], list[Any]]:
        results = [layer.forward(ctx.at(name), part(name, p), part(name, s), x) for name, layer in self._parts.items()]
        return [y for y, _ in results], [cache for _, cache in results]

    def _backward_parts(self, ctx: Context, p: Arrays, g: Arrays, caches: list[Any], dys: list[Array]) -> Array:
        parts = zip(self._parts.items(), caches, dys, strict=True)
        dxs = [
            layer.backward(ctx.at(name), part(name, p), part(name, g), cache, dy) for (name, layer), cache, dy in parts
        ]
        return sum(dxs[1:], start=dxs[0])


@dataclass(frozen=True, eq=False, repr=False)
class Residual(_Parallel):
    """Add what the layers make of the input to the input itself.

        y = layers(x) + shortcut(x)

    Args:
        layers: a layer or a sequence of layers.
        shortcut: a layer or a sequence of layers on the other way, such as a 1x1 convolution where the shape changes;
            empty is the input itself.

    Shapes:
        x: what the layers take.   y: what they give; the shortcut gives the same.

    Raises:
        ShapeError: layers and shortcut give different shapes (at compile time).

    Source:
        He et al. 2015, arXiv:1512.03385, equations 1 and 2.
    """

    layers: Layer | Sequence[Layer]
    shortcut: Layer | Sequence[Layer] = ()

    def __post_init__(self) -> None:
        for name in ("layers", "shortcut"):
            object.__setattr__(self, name, checked_layers(f"Residual {name}", getattr(self, name)))
        parts = {name: Chain(getattr(self, name)) for name in ("layers", "shortcut")}
        object.__setattr__(self, "_parts", parts)

    def output_shape(self, shape: Shape) -> Shape:
        body, shortcut = (chain.output_shape(shape) for chain in self._parts.values())
        if body != shortcut:
            raise ShapeError(
                f"adds {door_shape(body)} from its layers and {door_shape(shortcut)} from its shortcut, not the same",
                "give shortcut= a layer that makes the same shape, such as a 1x1 convolution",
            )
        return body

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        (body, shortcut), caches = self._forward_parts(ctx, p, s, x)
        return body + shortcut, caches

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        return self._backward_parts(ctx, p, g, cache, [dy, dy])


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Branches(_Parallel):
    """Give the same input to several branches and merge what they give.

        y = branch1(x) beside branch2(x) beside ...     merge="concatenate", along the channels
        y = branch1(x) + branch2(x) + ...               merge="sum"

    Args:
        branches: each a layer or a sequence of layers; at least one.
        merge: "concatenate" or "sum".

    Shapes:
        x: what each branch takes.   y: as one branch, with the channels of all beside each other or equal.

    Raises:
        ShapeError: the branches' shapes cannot be merged (at compile time).

    Source:
        Szegedy et al. 2014, arXiv:1409.4842, section 4 (concatenate); Xie et al. 2016, arXiv:1611.05431 (sum).
    """

    branches: tuple[tuple[Layer, ...], ...]
    merge: str

    def __init__(self, *branches: Layer | Sequence[Layer], merge: str = "concatenate") -> None:
        require(len(branches) > 0, "Branches", "have at least one branch", branches)
        rows = tuple(checked_layers("Branches branch", branch) for branch in branches)
        object.__setattr__(self, "branches", rows)
        object.__setattr__(self, "merge", one_of("Branches merge", merge, ("concatenate", "sum")))
        object.__setattr__(self, "_parts", {str(i): Chain(row) for i, row in enumerate(rows)})

    def output_shape(self, shape: Shape) -> Shape:
        shapes = [chain.output_shape(shape) for chain in self._parts.values()]
        shared = 0 if self.merge == "sum" else -1
        if len({one[:-1] if shared else one for one in shapes}) > 1:
            need = "be equal" if self.merge == "sum" else "differ in their channels only"
            raise ShapeError(f"merges {[door_shape(one) for one in shapes]}, which must {need}")
        return shapes[0] if self.merge == "sum" else (*shapes[0][:-1], sum(one[-1] for one in shapes))

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Array) -> tuple[Array, Any]:
        ys, caches = self._forward_parts(ctx, p, s, x)
        widths = [y.shape[-1] for y in ys]
        y = sum(ys[1:], start=ys[0]) if self.merge == "sum" else ctx.ops.xp.concatenate(ys, axis=-1)
        return y, (caches, widths)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Array) -> Array:
        caches, widths = cache
        ends = [sum(widths[: i + 1]) for i in range(len(widths))]
        cuts = [dy[..., end - width : end] for end, width in zip(ends, widths, strict=True)]
        return self._backward_parts(ctx, p, g, caches, [dy] * len(widths) if self.merge == "sum" else cuts)
