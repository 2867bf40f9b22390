"""A recurrent layer that begins with a state that it is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gedanken.by_name import ByName
from gedanken.checks import require, truth
from gedanken.errors import ShapeError
from gedanken.layers.base import Context, Layer, Param
from gedanken.layers.bidirectional import Bidirectional
from gedanken.layers.conv1d import require_sequence
from gedanken.layers.recurrent import Recurrent
from gedanken.state import part
from gedanken.types import AnyShape, Array, Arrays


@dataclass(frozen=True, eq=False, repr=False)
class FromState(Layer):
    """Read a sequence by a recurrent layer whose first state is another input, and not 0.

        y = layer(x[sequence]),   with h[-1] = x[first_state] and, of an LSTM, c[-1] = x[first_cell]

    It takes inputs by name: those of the network, or what Branches(..., merge="names") or Heads give. Where the layer
    reads in reverse, the state stands behind the last real place. A Bidirectional one has two states, that of the first
    direction beside that of the second, as Bidirectional(..., last=True) of layers with as many units gives them.

    Args:
        layer: a SimpleRNN, a GRU, or an LSTM without projection, or a Bidirectional of such.
        sequence: name of the sequence.
        first_state: name of the state before the first place, n_units numbers of each sample, 2 * n_units if
            Bidirectional.
        first_cell: of an LSTM, name of its cell state there, likewise; None for 0.
        names: whether all inputs but the states go on by their names, with y in the place of the sequence; else y goes
            on alone.

    Shapes:
        x[sequence]: (N, T, F).   y and parameters: as of the layer.
        x[first_state], x[first_cell]: (N, n_units), of a Bidirectional (N, 2 * n_units).

    Raises:
        ShapeError: an input has another shape, or would be left aside (at compile time).

    Source:
        Sutskever, Vinyals & Le 2014, arXiv:1409.3215, section 2: the state of the reader is that of the writer.
    """

    layer: Recurrent | Bidirectional
    sequence: str
    first_state: str
    first_cell: str | None = None
    names: bool = False

    def __post_init__(self) -> None:
        inner = self.layer.layer if type(self.layer) is Bidirectional else self.layer
        plain = isinstance(inner, Recurrent) and not getattr(inner, "projection", None)
        rule = "be a SimpleRNN, a GRU, or an LSTM without projection, or a Bidirectional of one"
        require(plain, "FromState layer", rule, self.layer)
        for field in ("sequence", "first_state", "first_cell"):
            name = getattr(self, field)
            right = (isinstance(name, str) and name.isidentifier()) or (field == "first_cell" and name is None)
            require(right, f"FromState {field}", "be a name that is a word such as text", name)
        require(
            self.first_cell is None or len(self._reader.sizes) > 1,
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
    def readers(self) -> dict[str, Recurrent]:
        """What reads: one layer, or two by what begins the names of their parameters."""
        if isinstance(self.layer, Recurrent):
            return {"": self.layer}
        return {f"{name}.0": row[0] for name, row in self.layer.rows.items()}  # type: ignore[misc]

    @property
    def _reader(self) -> Recurrent:
        """The first of them, which both are like."""
        return next(iter(self.readers.values()))

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
        wanted = (len(self.readers) * self._reader.n_units,)
        for name in self.starts:
            if shape[name] != wanted:
                raise ShapeError(f"takes states {wanted}, and {name!r} is {shape[name]}")
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
        made = None if own is None else self._reader.output_lengths(shape[self.sequence], own)
        return self.passed(lengths, made) if self.names else made

    def may_be_cut(self, shape: AnyShape, places: Any) -> bool:
        return self._reader.may_be_cut(shape[self.sequence], places[self.sequence])

    def params(self, shape: AnyShape) -> dict[str, Param]:
        return self.layer.params(shape[self.sequence])

    def forward(self, ctx: Context, p: Arrays, s: Arrays, x: Any) -> tuple[Any, Any]:
        ys, caches, lengths = [], [], self._lengths(ctx)
        for number, (name, reader) in enumerate(self.readers.items()):
            own = slice(number * reader.n_units, (number + 1) * reader.n_units)
            starts = [x.parts[start][:, own] for start in self.starts]
            y, cache = reader.read(ctx, lengths, of_reader(name, p), x.parts[self.sequence], starts)
            ys.append(y)
            caches.append(cache)
        y = self.layer.join(ctx, ys) if isinstance(self.layer, Bidirectional) else ys[0]
        return ByName(self.passed(x.parts, y)) if self.names else y, (ys, caches)

    def backward(self, ctx: Context, p: Arrays, g: Arrays, cache: Any, dy: Any) -> Any:
        passed, (ys, caches) = dy.parts if self.names else {self.sequence: dy}, cache
        dys, dxs, starts = [passed[self.sequence]], [], []
        if isinstance(self.layer, Bidirectional):
            dys = self.layer.split(ctx, dys[0], [y.shape[-1] for y in ys], ys)
        for (name, reader), own, d in zip(self.readers.items(), caches, dys, strict=True):
            dx, before = reader.read_back(ctx, of_reader(name, p), of_reader(name, g), own, d)
            dxs.append(dx)
            starts.append(before)
        whole = [ctx.ops.concatenate(list(each)) for each in zip(*starts, strict=True)]
        return ByName({**passed, self.sequence: ctx.ops.total(dxs), **dict(zip(self.starts, whole, strict=False))})

    def _lengths(self, ctx: Context) -> Array | None:
        told: Any = ctx.lengths or {}
        found: Array | None = told.get(self.sequence)
        return found

    def multiply_adds(self, shape: AnyShape) -> int:
        return self.layer.multiply_adds(shape[self.sequence])

    def activations(self, shape: AnyShape) -> int:
        return self.layer.activations(shape[self.sequence])


def of_reader(name: str, views: Arrays) -> Arrays:
    """Return parameters, or their gradients, of one of the layers that read."""
    return part(name, views) if name else views
