"""Items with sequences that have lengths of their own: what mini-batches of one shape are made of."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gedanken.data.conversion import NUMBERS, as_array
from gedanken.data.ragged import sequences_of
from gedanken.data.workers.items import Key, Samples, entries_of, in_form, named
from gedanken.errors import DataError
from gedanken.sequences import Sequences


def padded(item: Any, pad_to: Mapping[Key, int], where: str) -> Any:
    """Return an item as Samples in which each entry of `pad_to` is Sequences of that many places.

    Args:
        item: of `get_mini_batches`, one sample or Samples.
        pad_to: places by the keys of entries, see ArraySpec; of none the item stays as it is.
        where: what the item is called, for errors.

    Raises:
        DataError: an entry is no sequence, or a longer one.
    """
    if not pad_to:
        return item
    several = isinstance(item, Samples)
    kind, entries = entries_of(item.item if several else item, where)
    found = dict(entries)
    for key in pad_to:
        if key not in found:
            had = ", ".join(map(repr, found))
            raise DataError(f"{where} must have an entry {key!r}, of which pad_to tells, got entries {had}")
    for key, value in entries:
        name = f"{where}: {named(key)}"
        if not several and isinstance(value, Sequences):
            raise DataError(f"{name} is Sequences, which are several samples: put the item into Samples(...)")
        if key in pad_to:
            found[key] = sequences_of(name, value if several else [value], pad_to[key])
        else:
            found[key] = value if several else np.asarray(as_array(name, value, NUMBERS))[None]
    return Samples(in_form(kind, found))
