"""What went wrong in a step, as plain values: which number was not finite, where it came from, and the likely cause."""

import math
from typing import NamedTuple

import numpy as np

from gedanken.json_lines import line
from gedanken.types import Array

LISTED = 8  # samples of a mini-batch that a sentence names


class Figures(NamedTuple):
    """What an array holds.

    Args:
        smallest, largest, mean: of its finite numbers; nan where there is none.
        not_finite, size: how many numbers are not finite, and how many there are.
    """

    smallest: float
    largest: float
    mean: float
    not_finite: int
    size: int

    @classmethod
    def of(cls, array: Array) -> "Figures":
        """Return those of an array of the host."""
        numbers = np.asarray(array, "float64").reshape(-1)
        finite = numbers[np.isfinite(numbers)]
        missing = len(numbers) - len(finite)
        if not len(finite):
            return cls(math.nan, math.nan, math.nan, missing, len(numbers))
        return cls(float(finite.min()), float(finite.max()), float(finite.mean()), missing, len(numbers))

    def __str__(self) -> str:
        found = f"in [{self.smallest:.3g}, {self.largest:.3g}], mean {self.mean:.3g}" if self.size else "no numbers"
        if self.not_finite:
            found += f", {self.not_finite:,} of {self.size:,} numbers not finite"
        return found


class Fault(NamedTuple):
    """A step of which nothing was kept, because something was not finite.

    Where it came from is found by doing the step once more, layer by layer and with a look at every array.

    Args:
        what: what was not finite, as the begin of a sentence: "the cost became nan".
        epoch, step: when, both counted from 1; the step is 0 for what was found at the end of an epoch.
        samples: of the mini-batch: numbers of samples in the data or, of a Generator, places in the epoch.
        sample: the one of them that it came from, where it was one.
        layer: "layer 3 ReLU()", or the cost, which first gave it; "" where the second time nothing was wrong.
        place: what of the layer that was: "input", "parameter", "forward", "cost", "backward" or "update".
        parameter: the array of parameters that it came from or whose gradient it was, such as "3.kernel"; or "".
        input: what went into that layer's pass.
        cause: the likely one, and what to do.
    """

    what: str
    epoch: int = 0
    step: int = 0
    samples: tuple[int, ...] = ()
    sample: int | None = None
    layer: str = ""
    place: str = ""
    parameter: str = ""
    input: Figures | None = None
    cause: str = ""

    def __str__(self) -> str:
        where = f" in step {self.step} of epoch {self.epoch}" if self.step else ""
        where = where or (f" at the end of epoch {self.epoch}" if self.epoch else "")
        told = [f"{self.what}{where}", self._origin(), self._samples()]
        cause = f"likely cause: {self.cause}" if self.cause else ""
        return "; ".join(part for part in (*told, cause) if part)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return line({**self._asdict(), "input": self.input and self.input._asdict()})

    def _origin(self) -> str:
        """Say where it came from."""
        given = f" for an input {self.input}" if self.input else ""
        parts = {
            "input": f"the input was not finite: {self.input}",
            "parameter": f"the parameters {self.parameter} were not finite before it: {self.input}",
            "forward": f"the first values that were not finite are the output of {self.layer}{given}",
            "cost": f"the first values that were not finite are those of {self.layer}, for outputs {self.input}",
            "backward": f"the first gradient that was not finite is {self._gradient()}{given}",
            "update": f"the longest gradient is {self._gradient()}: {self.input}",
        }
        return parts.get(self.place, "")

    def _gradient(self) -> str:
        return f"that of {self.parameter} in {self.layer}" if self.parameter else f"that of the input of {self.layer}"

    def _samples(self) -> str:
        if self.sample is not None:
            return f"it comes from sample {self.sample}"
        listed = ", ".join(map(str, self.samples[:LISTED]))
        more = len(self.samples) - LISTED
        return f"the samples were {listed}{f' and {more:,} more' if more > 0 else ''}" if self.samples else ""
