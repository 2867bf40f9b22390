"""What a training has recorded so far as a state, so that one that goes on ends with the history of an unbroken one."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gedanken.checks import short
from gedanken.errors import CheckpointError
from gedanken.parallel.fault import Fault, Figures
from gedanken.state import State, check_state
from gedanken.training.records import (
    Answered,
    AverageWeights,
    EpochRecord,
    History,
    KeepWeights,
    RollBack,
    Save,
    SetRate,
    Skip,
    Snapshot,
    Stop,
    Unfreeze,
)

ARRAY = "\0array"  # an object with this entry, which no metric is called, is an array: [number type, shape, numbers]
MOST = 1 << 40  # steps and epochs
ANSWERS = {kind.__name__: kind for kind in (Stop, SetRate, Save, KeepWeights, AverageWeights, Unfreeze, Skip, RollBack)}


class Past:
    """A history that can be put down and taken up.

    Args:
        history: whose epochs, snapshots and answers these are.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def state(self) -> State:
        """Return it as a text."""
        history = self.history
        told: dict[str, Any] = {
            "epochs": [record._asdict() for record in history.epochs],
            "snapshots": [record._asdict() for record in history.snapshots],
            "answers": [
                [one.epoch, one.step, one.callback, type(one.answer).__name__, list(one.answer)]
                for one in history.answers
            ],
            "faults": [fault._asdict() for fault in history.faults],
            "steps": history.steps,
        }
        return {"text": json.dumps(told, default=_as_plain)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have recorded what another one had; a CheckpointError changes nothing."""
        check_state("the history", state, {"text": ""})
        try:
            told = json.loads(state["text"], object_hook=_as_array)
            epochs = [EpochRecord(**entries) for entries in told["epochs"]]
            snapshots = [Snapshot(**entries) for entries in told["snapshots"]]
            answers = [Answered(e, s, by, ANSWERS[kind](*parts)) for e, s, by, kind, parts in told["answers"]]
            faults = [_fault(entries) for entries in told["faults"]]
            steps = told["steps"]
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise CheckpointError(f"the history cannot be read: {short(str(error))}") from error
        counts = [steps, *(record.epoch for record in epochs), *(record.epoch for record in snapshots)]
        figures = [part for record in epochs for part in (record.metrics, record.validation_metrics)]
        figures += [record.metrics for record in snapshots]
        numbers = [record.progress for record in snapshots]
        right = all(type(count) is int and 0 <= count < MOST for count in counts)
        if not (right and all(isinstance(one, dict) for one in figures) and all(type(n) is float for n in numbers)):
            raise CheckpointError("the history cannot be read: its counts, figures or places are none")
        history = self.history
        history.epochs, history.snapshots, history.answers, history.steps = epochs, snapshots, answers, steps
        history.faults = faults


def _fault(entries: dict[str, Any]) -> Fault:
    given = entries["input"]
    fault = Fault(**{**entries, "samples": tuple(entries["samples"]), "input": given and Figures(*given)})
    counts = [fault.epoch, fault.step, *fault.samples, *([] if fault.sample is None else [fault.sample])]
    texts = [fault.what, fault.layer, fault.place, fault.parameter, fault.cause]
    right = all(type(count) is int and 0 <= count < MOST for count in counts)
    if not (right and all(type(text) is str for text in texts) and all(type(n) in (int, float) for n in given or ())):
        raise ValueError("its faults are none")
    return fault


def _as_plain(value: Any) -> Any:
    """Return what JSON has no word for: arrays and numbers of NumPy; anything else as its text."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {ARRAY: [value.dtype.str, list(value.shape), value.reshape(-1).tolist()]}
    return str(value)


def _as_array(entries: dict[str, Any]) -> Any:
    if entries.keys() != {ARRAY}:
        return entries
    kind, shape, numbers = entries[ARRAY]
    dtype = np.dtype(kind)
    if dtype.kind not in "biuf":
        raise ValueError(f"no array of {dtype}")
    return np.array(numbers, dtype).reshape(shape)
