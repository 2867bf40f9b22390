"""A vocabulary in a model file: an array of bytes, a JSON object with the fields of `Vocabulary`."""

import json
from collections.abc import Mapping

import numpy as np

from gedanken.checks import require
from gedanken.data.vocabulary import Vocabulary
from gedanken.errors import CheckpointError
from gedanken.io.safetensors import Entry, parsed
from gedanken.types import Array

NAME = "vocabulary"
LARGEST = 1 << 26  # bytes; what is read from them takes a multiple of that


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


def vocabulary_of(array: Array | None) -> Vocabulary | None:
    """Return the vocabulary that an array of a file holds; None where there is none.

    Raises:
        ArgumentError, CheckpointError, ValueError: it is not what `vocabulary_arrays` gave.
    """
    if array is None:
        return None
    found = parsed(array.tobytes())
    if not (isinstance(found, dict) and set(found) == {"tokens", "level", "lower"}):
        raise CheckpointError("holds no vocabulary of this version")
    return Vocabulary(**found)
