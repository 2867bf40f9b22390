"""A recurrent layer that begins with a state that it is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.by_name import ByName
from gedanken.checks import require, truth
from gedanken.errors import ShapeError
from gedanken.layers.base import Context, Layer, Param
from gedanken.layers.conv1d import require_sequence
from gedanken.layers.recurrent import Recurrent
from gedanken.types import AnyShape, Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class FromState(Layer):
    """Read a sequence by a recurrent layer whose first state is another input, and not 0.

        y = layer(x[sequence]),   with h[-1] = x[first_state] and, of an LSTM, c[-1] = x[first_cell]

    It takes inputs by name: those of the network, or what Branches(..., merge="names") or Heads give. Where the layer
    reads in reverse, the state stands behind the last real place.

    Args:
        layer: a SimpleRNN, a GRU, or an LSTM without projection.
        sequence: name of the sequence.
        first_state: name of the state before the first place, n_units numbers of each sample.
        first_cell: of an LSTM, name of its cell state there; None for 0.
        names: whether all inputs but the states go on by their names, with y in the place of the sequence; else y goes
            on alone.

    Shapes:
        x[sequence]: (N, T, F).   x[first_state], x[first_cell]: (N, n_units).   y and parameters: as of the layer.

    Raises:
        ShapeError: an input has another shape, or would be left aside (at compile time).

    Source:
        Sutskever, Vinyals & Le 2014, arXiv:1409.3215, section 2: the state of the reader is that of the writer.
    """

    layer: Recurrent
    sequence: str
    first_state: str
    first_cell: str | None = None
    names: bool = False

    def __post_init__(self) -> None:
        plain = isinstance(self.layer, Recurrent) and not getattr(self.layer, "projection", None)
        require(plain, "FromState layer", "be a SimpleRNN, a GRU, or an LSTM without projection", self.layer)
        for field in ("sequence", "first_state", "first_cell"):
            name = getattr(self, field)
            right = (isinstance(name, str) and name.isidentifier()) or (field == "first_cell" and name is None)
            require(right, f"FromState {field}", "be a name that is a word such as text", name)
        require(
            self.first_cell is None or len(self.layer.sizes) > 1,
            "FromState first_cell",
            f"be None for {self.layer}",
            self.first_cell,
        )
        require(
            len(set(self.input_names)) == len(self.input_names),
            "FromState first_state",
            "be another input",
            self.first_state,
        )
        truth("FromState names", self.names)

    @property
    def starts(self) -> tuple[str, ...]:
        """The names of the first states."""
        return (self.first_state,) if self.first_cell is None else (self.first_state, self.first_cell)

    @property
    def input_names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.sequence, *self.starts)

    @property
    def gives_names(self) -> bool:  # type: ignore[override]
        return self.names

    def output_shape(self, shape: AnyShape) -> AnyShape:
        try:
            require_sequence(shape[self.sequence])
        except ShapeError as error:
            raise ShapeError(f"{error.rule} of {self.sequence!r}", error.hint) from None
        for name in self.starts:
            if shape[name] != (self.layer.n_units,):
                raise ShapeError(f"takes states ({self.layer.n_units},), and {name!r} is {shape[name]}")
        made = self.layer.output_shape(shape[self.sequence])
        left = [name for name in shape if name not in self.input_names]
        if left and not self.names:
            raise ShapeError(f"leaves the input {left[0]!r} aside", "hand it on with names=True, or merge it before")
        return self.passed(shape, made) if self.names else made

    def passed(self, given: Mapping[str, Any], made: Any) -> dict[str, Any]:
        """Return what goes on by name."""
        return {name: one for name, one in {**given, self.sequence: made}.items() if name not in self.starts}

    def output_lengths(self, shape: AnyShape, lengths: Any) -> Any:
        own = lengths.get(self.sequence)
        made = None if own is None else self.layer.output_lengths(shape[self.sequence], own)
        return self.passed(lengths, made) if self.names else made

    def may_be_cut(self, shape: AnyShape, places: Any) -> bool:
        return self.layer.may_be_cut(shape[self.sequence], places[self.sequence])

    def params(self, shape: AnyShape) -> dict[str, Param]:
        return self.layer.params(shape[self.sequence])

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Any) -> tuple[Any, Any]:
        starts = [x.parts[name] for name in self.starts]
        y, cache = self.layer.read(ctx, self._lengths(ctx), p, x.parts[self.sequence], starts)
        return ByName(self.passed(x.parts, y)) if self.names else y, cache

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Any) -> Any:
        passed = dy.parts if self.names else {self.sequence: dy}
        dx, starts = self.layer.read_back(ctx, p, g, cache, passed[self.sequence])
        return ByName({**passed, self.sequence: dx, **dict(zip(self.starts, starts, strict=False))})

    def _lengths(self, ctx: Context) -> Array | None:
        told: Any = ctx.lengths or {}
        found: Array | None = told.get(self.sequence)
        return found

    def multiply_adds(self, shape: AnyShape) -> int:
        return self.layer.multiply_adds(shape[self.sequence])

    def activations(self, shape: AnyShape) -> int:
        return self.layer.activations(shape[self.sequence])
