"""Former names, for programs that were written with them; docs and examples use the new ones."""

from typing import Any

from gedanken.costs import CustomCost as UserCost
from gedanken.data.transforms import Cutout as CutOut
from gedanken.data.transforms import Translate as Shift
from gedanken.layers import Sequential as Chain
from gedanken.training.callbacks import EarlyStopping
from gedanken.training.watched import MODES

__all__ = ["Chain", "CutOut", "EarlyStop", "Shift", "UserCost"]


class EarlyStop(EarlyStopping):
    """EarlyStopping with the former words: `figure` is its `monitor`, and `better` "lower" or "higher" its `mode`."""

    def __init__(
        self, figure: str = "validation_cost", patience: int = 3, better: Any = None, threshold: float = 0.0
    ) -> None:
        known = isinstance(better, str) and better in MODES
        super().__init__(figure, patience, MODES[better] if known else better, threshold)
