"""The network, as far as the training loop knows it."""

import os
from collections.abc import Mapping
from typing import Protocol

from gedanken.checks import require, warn
from gedanken.engine.tuning import Tuning
from gedanken.io.model_file import Model
from gedanken.io.training_state import TrainingState
from gedanken.training.records import Unfreeze
from gedanken.types import Array


class Trained(Protocol):
    """What is told of a training, and writes files."""

    epoch: int

    def save(self, path: str) -> None:
        """Write it into a file."""

    def written(self, values: Mapping[str, Array], training: TrainingState | None) -> Model:
        """Return what a file holds of it, with these arrays of its layers."""

    def thaw(self, answer: Unfreeze) -> Tuning:
        """Note that layers learn again, and return who learns now; or raise ArgumentError."""


def save_as(network: Trained, folder: str, callback: str, name: str) -> None:
    """Write a network into a run's folder under a name that a callback gave; a warning where that fails."""
    plain = isinstance(name, str) and name not in ("", ".", "..") and name == os.path.basename(name)
    require(plain and "\0" not in name, f"{callback}: Save name", "be a file's name without folders", name)
    path = os.path.join(folder, f"{name.removesuffix('.safetensors')}.safetensors")
    try:
        os.makedirs(folder, exist_ok=True)
        network.save(path)
    except OSError as error:
        warn(f"the network could not be saved as {path}, the training goes on: {error}")
