"""The state of a training in a model file, beside the network's weights, which stand there under their own names.

Arrays of it have `training.` before their names. All that is no array stands in the entry `training`, bytes of a JSON
object: `state` holds its numbers and texts, `about` what is to be known before a training goes on from it.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gedanken.checks import require
from gedanken.errors import CheckpointError
from gedanken.io.safetensors import TYPES, parsed
from gedanken.state import State, part, prefixed
from gedanken.types import Array

NAME = "training"
WEIGHTS, OPTIMIZER = "strategy.plan", "strategy.optimizer"  # parts of a training's state
KINDS = {np.dtype(code) for code in TYPES.values()}


class TrainingState(NamedTuple):
    """What a file says of a training.

    Args:
        state: as `Training.state` gives it, with or without the network's weights.
        about: what it is the state of, for `training/resume.py`.
    """

    state: State
    about: Mapping[str, Any]


def is_of_training(name: str) -> bool:
    """Say whether an array of a file is one of the training's."""
    return name == NAME or name.startswith(f"{NAME}.")


def training_arrays(training: TrainingState) -> dict[str, Array]:
    """Return the arrays of a file that hold a training, without the network's weights.

    Raises:
        ArgumentError: an array is not of numbers that files hold.
    """
    arrays, rest = dict[str, Array](), State()
    for name, value in training.state.items():
        if name.startswith(f"{WEIGHTS}."):
            continue
        if isinstance(value, np.ndarray):
            rule = "have arrays of whole numbers, floats or truths, with at most 64 bits each"
            require(value.dtype in KINDS, f"the state of {name}", rule, value.dtype)
            arrays[name] = value
        else:
            rest[name] = value
    text = json.dumps({"state": rest, "about": dict(training.about)})
    return {NAME: np.frombuffer(text.encode(), np.uint8), **prefixed(NAME, arrays)}


def training_of(values: Mapping[str, Array]) -> TrainingState | None:
    """Return the training that the arrays of a file hold, with the network's weights; None where they hold none.

    Raises:
        CheckpointError: it is not what `training_arrays` gave.
    """
    if NAME not in values:
        return None
    found = parsed(values[NAME].tobytes())
    if not (isinstance(found, dict) and all(isinstance(found.get(name), dict) for name in ("state", "about"))):
        raise CheckpointError("does not say what its training is")
    weights = {name: value for name, value in values.items() if not is_of_training(name)}
    return TrainingState({**found["state"], **part(NAME, values), **prefixed(WEIGHTS, weights)}, found["about"])
