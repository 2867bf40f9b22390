"""Ways beside each other: of one input or of several, into one output or into several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gedanken.checks import require
from gedanken.errors import ShapeError
from gedanken.hyperparameters import changed_fields
from gedanken.keywords import check_keywords
from gedanken.layers.base import Layer
from gedanken.layers.containers import Container, check_head_name, checked_layers
from gedanken.layers.merges import MERGES, NAMES, checked_merge
from gedanken.layers.shape import channels_first_shape
from gedanken.types import Shape


@dataclass(frozen=True, eq=False, repr=False)
class Residual(Container):
    """Add the output of the layers to their input.

        y = layers(x) + shortcut(x)

    Args:
        layers: a layer or a sequence of layers.
        shortcut: a layer or a sequence of layers on the other way, such as a 1x1 convolution where the shape changes;
            empty or None is the input itself.

    Shapes:
        x: what the layers take.   y: what they give; the shortcut gives the same.

    Raises:
        ShapeError: layers and shortcut give different shapes (at compile time).

    Source:
        He et al. 2015, arXiv:1512.03385, equations 1 and 2.
    """

    layers: Layer | Sequence[Layer]
    shortcut: Layer | Sequence[Layer] | None = ()
    merge = "sum"

    def __post_init__(self) -> None:
        shortcut = () if self.shortcut is None else self.shortcut
        object.__setattr__(self, "layers", checked_layers("Residual layers", self.layers))
        object.__setattr__(self, "shortcut", checked_layers("Residual shortcut", shortcut))

    @property
    def rows(self) -> dict[str, tuple[Layer, ...]]:
        return {"layers": self.layers, "shortcut": self.shortcut}  # type: ignore[dict-item]

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        body, shortcut = shapes
        if body != shortcut:
            first, second = channels_first_shape(body), channels_first_shape(shortcut)
            raise ShapeError(
                f"adds {first} from its layers and {second} from its shortcut, not the same",
                "give shortcut= a layer that makes the same shape, such as a 1x1 convolution",
            )
        return body


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Branches(Container):
    """Apply several branches to the same input, or each to an input of its own, and merge their outputs.

        y = branch1(x) beside branch2(x) beside ...     merge="concatenate", along the channels
        y = branch1(x) + branch2(x) + ...               merge="sum"; "average" divides it by their number
        y = branch1(x) - branch2(x)                     merge="subtract"
        y = branch1(x) * branch2(x) * ...               merge="multiply"
        y = sum over the channels of branch1(x) * branch2(x)    merge="dot", one number in their place
        y = dot of both, each divided by max(its length, 1e-8)  merge="cosine"
        y = the largest of branch1(x), branch2(x) ...   merge="maximum", number by number; "minimum" the smallest
        y["a"] = a(x["a"]),   y["b"] = b(x["b"]) ...    merge="names", of branches by name

    The gradient of "maximum" and "minimum" goes to the branch whose number it is, and to equal ones in equal parts: so
    their order does not matter.

    Args:
        branches: each a layer or a sequence of layers, an empty one `[]` the input itself; at least one.
        merge: "concatenate", "sum", "average", "multiply", "maximum", "minimum", of two branches "subtract", "dot" or
            "cosine", or of branches by name "names": the results go on by these names, to a layer that takes them, or
            out.
        named: branches by name, in place of `branches`: each takes the input of its name. These are the inputs of the
            network, see `Network.input`, or what the layer before gives by name.

    Shapes:
        x: what each branch takes.   y: as one branch, with the channels of all beside each other or equal, or one of
        "dot" and "cosine".

    Raises:
        ShapeError: the branches' shapes cannot be merged, or an input has no branch or a branch no input (at compile
            time).

    Source:
        Szegedy et al. 2014, arXiv:1409.4842, section 4 (concatenate); Xie et al. 2016, arXiv:1611.05431 (sum).
    """

    branches: tuple[tuple[Layer, ...], ...]
    merge: str
    by_name: tuple[tuple[str, tuple[Layer, ...]], ...] = ()
    dissolves = True

    def __init__(
        self,
        *branches: Layer | Sequence[Layer],
        merge: str = "concatenate",
        **named: Layer | Sequence[Layer],
    ) -> None:
        if branches:
            words = [name for name, row in named.items() if not isinstance(row, (Layer, list, tuple))]
            check_keywords("Branches", words, ("merge",))
            require(not named, "Branches", "be given branches by place or by name, not both", sorted(named))
        require(bool(branches or named), "Branches", "have at least one branch", branches)
        rows = tuple(checked_layers("Branches branch", branch) for branch in branches)
        object.__setattr__(self, "branches", rows)
        object.__setattr__(self, "merge", _checked(merge, len(branches), len(named)))
        object.__setattr__(self, "by_name", rows_by_name("Branches", named))

    @property
    def gives_names(self) -> bool:  # type: ignore[override]
        return self.merge == NAMES

    @property
    def named(self) -> dict[str, tuple[Layer, ...]]:
        """The branches that take inputs by name, by these."""
        return dict(self.by_name)

    @property
    def input_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.named)

    @property
    def rows(self) -> dict[str, tuple[Layer, ...]]:
        return self.named or {str(i): row for i, row in enumerate(self.branches)}

    def __repr__(self) -> str:
        fields = changed_fields(self) if self.branches else {**self.named, "merge": self.merge}
        return f"{type(self).__name__}({', '.join([f'{name}={value!r}' for name, value in fields.items()])})"


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Heads(Container):
    """Apply several heads to the same input, each of which makes an output of its own: the last layer of a network.

    It may also stand before a layer that takes its results by their names, such as Branches(digit=..., size=...).

        y["digit"] = digit(x),   y["size"] = size(x), ...

    Outputs and labels are dicts by these names, and so are cost and metrics of `regression`, see docs/several.md.

    Args:
        heads: by name, each a layer or a sequence of layers, an empty one `[]` the input itself; at least one.

    Shapes:
        x: what each head takes.   y: what each head gives, by name.

    Raises:
        ShapeError: a layer that takes one input comes after it, or nothing in the row of a layer (at compile time).

    Source:
        Caruana 1997, "Multitask Learning", section 2.
    """

    merge = "names"
    gives_names = True
    by_name: tuple[tuple[str, tuple[Layer, ...]], ...]

    def __init__(self, **heads: Layer | Sequence[Layer]) -> None:
        require(len(heads) > 0, "Heads", "have at least one head, by its name", heads)
        for name in heads:
            check_head_name("Heads names", name)
        object.__setattr__(self, "by_name", rows_by_name("Heads", heads))

    @property
    def heads(self) -> dict[str, tuple[Layer, ...]]:
        """The heads by name."""
        return dict(self.by_name)

    @property
    def rows(self) -> dict[str, tuple[Layer, ...]]:
        return self.heads

    def __repr__(self) -> str:
        return f"Heads({', '.join([f'{name}={row!r}' for name, row in self.by_name])})"


def _checked(merge: Any, by_place: int, named: int) -> str:
    """Return how so many branches are merged, or raise ArgumentError."""
    if named and not by_place:
        return checked_merge("Branches merge", merge, named, (*MERGES, NAMES))
    require(merge != NAMES, "Branches merge", "be another one for branches without names", merge)
    return checked_merge("Branches merge", merge, by_place)


def rows_by_name(owner: str, given: Mapping[str, Any]) -> tuple[tuple[str, tuple[Layer, ...]], ...]:
    """Return layers or sequences of layers by name as pairs, or raise ArgumentError."""
    for name in given:
        require(name.isidentifier(), f"{owner} names", "be words such as image", name)
    return tuple((name, checked_layers(f"{owner} {name}", row)) for name, row in given.items())
