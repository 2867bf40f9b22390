"""How a convolution slides over images, forward and backward, in rows, columns and phases."""

from typing import NamedTuple

import numpy as np

from gedanken.types import Array, Shape


class Line(NamedTuple):
    """Outputs of one phase along one axis, all of which see the same window.

    Args:
        amount, first: how many they are, and the first of them.
        taps: the window's places that they see.
        places: where, in the padded image, the first output sees each; in order.
    """

    amount: int
    first: int
    taps: list[int]
    places: list[int]

    def limits(self, step: int, before: int, length: int) -> tuple[Array, Array]:
        """Return for each output the first tap that lies inside the image, and the one after the last."""
        at = np.arange(self.amount) * step
        first, last = (np.searchsorted(self.places, edge - at) for edge in (before, before + length))
        return first, last


class Plan(NamedTuple):
    """How a packed kernel slides over images.

    Args:
        source, target: (height, width, channels) of one image.
        before: rows and columns of zeros before the image.
        padded_width: of the image with its zeros.
        step: of the window between two outputs of a phase, (rows, columns).
        out_step: between two outputs of a phase.
        rows, columns: the phases along both axes.
        groups: of channels.
        across: columns of the window.
        joined: whether a window's row is one run of memory.
    """

    source: Shape
    target: Shape
    before: tuple[int, int]
    padded_width: int
    step: tuple[int, int]
    out_step: tuple[int, int]
    rows: list[Line]
    columns: list[Line]
    groups: int
    across: int
    joined: bool

    @property
    def unit(self) -> int:
        """Numbers that one tap sums over."""
        return self.source[2] // self.groups

    @property
    def depth(self) -> int:
        """Numbers that one listed tap sums over: the window's place, or its row."""
        return self.unit * (len(self.columns[0].taps) if self.joined else 1)

    @property
    def reach(self) -> int:
        """Rows that an output row sees."""
        return max((line.places[-1] for line in self.rows if line.places), default=0) + 1

    def limits(self, axis: int) -> list[tuple[Line, Array, Array]]:
        """Return the phases along an axis (0 or 1) with their limits."""
        lines = (self.rows, self.columns)[axis]
        return [(line, *line.limits(self.step[axis], self.before[axis], self.source[axis])) for line in lines]

    def cut_off(self, axis: int) -> bool:
        """Return whether some output sees less than its whole window along an axis."""
        return any(first.any() or (last < len(line.taps)).any() for line, first, last in self.limits(axis))
