"""First values of what has a part for each gate."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gedanken.init import Initializer
from gedanken.types import Array, Shape


@dataclass(frozen=True, eq=False, repr=False)
class ByGate(Initializer):
    """First values of an array whose last axis is that of gates: each gate's by a rule of its own.

    Args:
        rules: one for each gate.
    """

    rules: tuple[Initializer, ...]

    def __call__(self, rng: Any, shape: Shape, fan_in: int, fan_out: int) -> Array:
        each = (*shape[:-1], shape[-1] // len(self.rules))
        return np.concatenate([rule(rng, each, fan_in, fan_out) for rule in self.rules], axis=-1)
