"""A vocabulary in a model file: an array of bytes, a JSON object with the fields of `Vocabulary`."""

import json
from collections.abc import Mapping

import numpy as np

from gedanken.checks import require
from gedanken.data.vocabulary import FIRST, Vocabulary
from gedanken.errors import CheckpointError
from gedanken.io.safetensors import Entry, parsed
from gedanken.layers import Layer
from gedanken.layers.containers import Container
from gedanken.types import Array

NAME = "vocabulary"
LARGEST = 1 << 25  # bytes; what is read from them takes a multiple of that


def check_fits(vocabulary: Vocabulary | None, layer: Layer) -> None:
    """Raise ArgumentError unless a first layer, of the network or of an input, takes a vocabulary's numbers."""
    if vocabulary is not None:
        _check_size(len(vocabulary), vocabulary, layer)


def vocabulary_arrays(vocabulary: Vocabulary | None) -> dict[str, Array]:
    """Return the array of a file that holds a vocabulary, or none.

    Raises:
        ArgumentError: it is larger than files hold.
    """
    if vocabulary is None:
        return {}
    fields = {"tokens": vocabulary.tokens, "level": vocabulary.level, "lower": vocabulary.lower}
    text = json.dumps(fields).encode()
    require(len(text) <= LARGEST, "vocabulary", f"take at most {LARGEST:,} bytes in a file", len(text))
    return {NAME: np.frombuffer(text, np.uint8)}


def check_entry(table: Mapping[str, Entry]) -> None:
    """Raise CheckpointError where a file's vocabulary, of which nothing is read yet, is larger than any written one."""
    if NAME in table and table[NAME].size > LARGEST:
        raise CheckpointError(f"its vocabulary must take at most {LARGEST:,} bytes, got {table[NAME].size:,}")


def vocabulary_of(array: Array | None, layer: Layer) -> Vocabulary | None:
    """Return the vocabulary that an array of a file holds; None where there is none.

    Args:
        array: bytes, that may come from anybody.
        layer: the first of the network, which says how large the vocabulary is.

    Raises:
        ArgumentError, CheckpointError, ValueError: it is not what `vocabulary_arrays` gave.
    """
    if array is None:
        return None
    found = parsed(array.tobytes())
    if not (isinstance(found, dict) and set(found) == {"tokens", "level", "lower"}):
        raise CheckpointError("holds no vocabulary of this version")
    require(isinstance(found["tokens"], list), "vocabulary", "have a list of tokens", type(found["tokens"]).__name__)
    _check_size(FIRST + len(found["tokens"]), f"one of {FIRST + len(found['tokens']):,}", layer)
    return Vocabulary(**found)


def _check_size(size: int, shown: object, layer: Layer) -> None:
    counts = _token_counts(layer)
    require(len(counts) > 0, "vocabulary", f"be None for a network whose first layer, {layer}, takes no tokens", shown)
    told = " or ".join(map(str, sorted(counts)))
    require(size in counts, "vocabulary", f"have {told} numbers, as {layer} has", shown)


def _token_counts(layer: Layer) -> set[int]:
    """Return how many different numbers the first layers of a network's inputs take, where they take such."""
    if isinstance(layer, Container) and layer.input_names:
        return {count for row in layer.rows.values() if row for count in _token_counts(row[0])}
    return {layer.tokens} if isinstance(layer.tokens, int) else set()
