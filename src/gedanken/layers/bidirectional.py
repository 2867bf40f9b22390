"""A sequence that is read in both directions."""

from dataclasses import dataclass, replace

from gedanken.checks import require
from gedanken.layers.base import Layer
from gedanken.layers.containers import Container
from gedanken.layers.merges import checked_merge
from gedanken.layers.recurrent import Recurrent

KNOWN = ("concatenate", "sum", "average", "multiply")


@dataclass(frozen=True, eq=False, repr=False)
class Bidirectional(Container):
    """Read sequences from the first place to the last, and by a second layer from the last real place to the first.

        y = forwards(x) beside backwards(x)     merge="concatenate"
        y = forwards(x) + backwards(x)          merge="sum"; "average" halves it
        y = forwards(x) * backwards(x)          merge="multiply"

    Args:
        layer: a SimpleRNN, LSTM or GRU. Each direction has parameters of its own.
        merge: "concatenate", "sum", "average" or "multiply".

    Shapes:
        x: (N, T, F).   y: (N, T, 2 * n_units), merged otherwise (N, T, n_units); without T where the layer says `last`.

    Raises:
        ShapeError: the input is no sequence (T, F) (at compile time).

    Source:
        Schuster & Paliwal 1997, "Bidirectional recurrent neural networks".
    """

    layer: Recurrent
    merge: str = "concatenate"

    def __post_init__(self) -> None:
        require(isinstance(self.layer, Recurrent), "Bidirectional layer", "be a SimpleRNN, LSTM or GRU", self.layer)
        checked_merge("Bidirectional merge", self.merge, 2, KNOWN)

    @property
    def rows(self) -> dict[str, tuple[Layer, ...]]:
        other = replace(self.layer, reverse=not self.layer.reverse)  # type: ignore[call-arg]
        return {"forwards": (self.layer,), "backwards": (other,)}
