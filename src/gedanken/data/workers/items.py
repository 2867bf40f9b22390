"""What one call of `get_mini_batches` gives: items of arrays that can be laid under each other in a mini-batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gedanken.data.conversion import NUMBERS, as_array
from gedanken.errors import DataError
from gedanken.sequences import Sequences
from gedanken.types import Array, Shape

Key: TypeAlias = int | str | tuple[int, str]
PLAIN = {"i8": int, "f8": float, "b1": bool}


class Samples:
    """An item that carries several samples: each of its arrays has a first axis of them, of one length, also 0.

    Args:
        item: a tuple or dict of arrays, or one array.

    Shapes:
        each array: (n, *shape of one sample).

    Example:
        >>> Samples(([[0.0, 1.0], [2.0, 3.0]], [0, 1]))
        Samples(([[0.0, 1.0], [2.0, 3.0]], [0, 1]))
    """

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __repr__(self) -> str:
        return f"Samples({self.item!r})"


class ArraySpec(NamedTuple):
    """One array of every sample: its key in the item, the shape of one sample, and its number type.

    In a dict that is the entry of a tuple the key is (entry, key of the dict).

    Args:
        lengths: whether these are the lengths of the sequences in the array before it, which has the same key.
    """

    key: Key
    shape: Shape
    dtype: Any
    lengths: bool = False

    @property
    def size(self) -> int:
        """Bytes of one sample."""
        return int(np.prod(self.shape, dtype=np.int64)) * int(self.dtype.itemsize)

    @property
    def plain(self) -> type | None:
        """Python's own type whose numbers may stand for a sample as they are, where there is one."""
        return PLAIN.get(self.dtype.str[1:]) if self.shape == () else None

    @property
    def scalar(self) -> type | None:
        """NumPy's type whose numbers may stand for a sample as they are, where there is one."""
        return self.dtype.type if self.shape == () else None


class ItemSpec(NamedTuple):
    """How all items of a Generator look, as its first one does.

    Args:
        kind: "tuple", "dict", "array", or "nested" for a tuple with a dict in it.
        arrays: what is in it.
    """

    kind: str
    arrays: tuple[ArraySpec, ...]

    @classmethod
    def of(cls, item: Any, where: str) -> "ItemSpec":
        """Return the form of a first item."""
        several = isinstance(item, Samples)
        kind, entries = entries_of(item.item if several else item, where)
        arrays = []
        for key, value in entries:
            if isinstance(value, Sequences):
                rule = f"{where}: {named(key)} is Sequences, which are several samples: put the item into Samples(...)"
                if not several:
                    raise DataError(rule)
                arrays.append(ArraySpec(key, value.shape[1:], value.dtype))
                arrays.append(ArraySpec(key, (), value.lengths.dtype, lengths=True))
                continue
            array = _as_array(value, where, key)
            if several and array.ndim == 0:
                raise DataError(f"{where}: {named(key)} of Samples must have a first axis of samples, got {value!r}")
            arrays.append(ArraySpec(key, array.shape[1:] if several else array.shape, array.dtype))
        return cls(kind, tuple(arrays))

    def values(self, item: Any, where: str) -> Sequence[Any]:
        """Return an item's entries in the order of the arrays, or raise DataError."""
        keys = self._keys
        if self.kind == "tuple" and isinstance(item, tuple) and len(item) == len(keys):
            return item
        kind, entries = entries_of(item, where)
        got = dict(entries)
        if kind != self.kind or got.keys() != set(keys):
            wanted = _described(self.kind, keys)
            raise DataError(f"{where} must be {wanted} as the first item is, got {_described(kind, list(got))}")
        return [got[key] for key in keys]

    @property
    def opened(self) -> Callable[[Any], tuple[Any, ...] | None] | None:
        """The quick way from an item to its entries, which gives None for one that needs a closer look.

        None itself where an item is the tuple of its entries.
        """
        if self.kind == "tuple":
            return None
        if self.kind == "array":
            return lambda item: (item,) if type(item) is np.ndarray else None
        if self.kind == "nested":
            return _opener(self._keys, length_of(self._keys))
        keys = self._keys
        known = dict.fromkeys(keys).keys()
        return lambda item: tuple([item[k] for k in keys]) if type(item) is dict and item.keys() == known else None

    @property
    def has_sequences(self) -> bool:
        """Whether some arrays are sequences, which have lengths."""
        return any(spec.lengths for spec in self.arrays)

    @property
    def _keys(self) -> list[Key]:
        return [spec.key for spec in self.arrays if not spec.lengths]

    def arrays_of(self, item: Any, where: str) -> list[Array]:
        """Return the arrays of an item, each (n, *shape) with n = 1 but for Samples, or raise DataError."""
        if isinstance(item, Samples):
            return self._several(item.item, where)
        if self.has_sequences:
            raise DataError(f"{where} must be Samples with Sequences as the first item is, got one sample")
        values = self.values(item, where)
        return [_sample(spec, value, where)[None] for spec, value in zip(self.arrays, values, strict=True)]

    def _several(self, item: Any, where: str) -> list[Array]:
        given, arrays = dict(zip(self._keys, self.values(item, where), strict=True)), list[Array]()
        sequences = {spec.key for spec in self.arrays if spec.lengths}
        for spec in self.arrays:
            value = given[spec.key]
            if isinstance(value, Sequences) != (spec.key in sequences):
                wanted = "Sequences" if spec.key in sequences else "an array"
                raise DataError(f"{where}: {named(spec.key)} must be {wanted} as in the first item, got {value!r}")
            if isinstance(value, Sequences):
                arrays.append(value.lengths if spec.lengths else value.values)
            else:
                arrays.append(_as_array(value, where, spec.key))
        for spec, array in zip(self.arrays, arrays, strict=True):
            if array.ndim == 0 or len(array) != len(arrays[0]):
                rule = "must have as many samples as the first entry of Samples"
                raise DataError(f"{where}: {named(spec.key)} {rule}, got shape {array.shape}")
            _check(spec, array, where, array.shape[1:])
        return arrays

    def join(self, arrays: Sequence[Array]) -> Any:
        """Return a mini-batch in the form of the items."""
        found = dict[Key, Any]()
        for spec, array in zip(self.arrays, arrays, strict=True):
            found[spec.key] = Sequences(found[spec.key], array) if spec.lengths else array
        return in_form(self.kind, found)

    def sample(self, arrays: Sequence[Array], row: int) -> Any:
        """Return one of several samples in the form of the items; a sequence has its own length there."""
        found = dict[Key, Any]()
        for spec, array in zip(self.arrays, arrays, strict=True):
            found[spec.key] = found[spec.key][: array[row]] if spec.lengths else array[row, ...]
        return in_form(self.kind, found)

    def empty(self, samples: int) -> list[Array]:
        """Return new arrays for so many samples."""
        return [np.empty((samples, *spec.shape), spec.dtype) for spec in self.arrays]


def _sample(spec: ArraySpec, value: Any, where: str) -> Array:
    """Return one sample's entry, which has the shape and a type that fits in that of the spec, or raise DataError."""
    if type(value) is np.ndarray and value.dtype == spec.dtype and value.shape == spec.shape:
        return value
    array = _as_array(value, where, spec.key)
    _check(spec, array, where, array.shape)
    return array


def _check(spec: ArraySpec, array: Array, where: str, shape: Shape) -> None:
    """Raise DataError unless `shape` and number type are those of the spec."""
    if shape != spec.shape:
        rule = f"must have shape {spec.shape} as in the first item"
        longer = len(shape) == len(spec.shape) > 0 and shape[1:] == spec.shape[1:]
        hint = "; for sequences of different length give the Generator pad_to=T" if longer else ""
        raise DataError(f"{where}: {named(spec.key)} {rule}, got {shape}{hint}")
    if not np.can_cast(array.dtype, spec.dtype, "safe"):
        rule = f"must be {spec.dtype} as in the first item"
        raise DataError(f"{where}: {named(spec.key)} {rule}, got {array.dtype}")


def _opener(keys: list[Key], length: int) -> Callable[[Any], tuple[Any, ...] | None]:
    """Return the quick way from a tuple of so many entries, with dicts in it, to the arrays with these keys."""

    def opened(item: Any) -> tuple[Any, ...] | None:
        if type(item) is not tuple or len(item) != length:
            return None
        try:
            found = [item[k[0]][k[1]] if type(k) is tuple else item[k] for k in keys]  # type: ignore[index]
        except (TypeError, LookupError):
            return None
        inner = sum(len(part) if type(part) is dict else 1 for part in item)
        return tuple(found) if inner == len(keys) else None

    return opened


def in_form(kind: str, found: dict[Key, Any]) -> Any:
    """Return an item of this kind with these entries, in their order."""
    if kind == "array":
        return found[0]
    if kind == "tuple":
        return tuple(found.values())
    return found if kind == "dict" else tuple(entry_of(found, place) for place in range(length_of([*found])))


def length_of(keys: Sequence[Key]) -> int:
    """Return how many entries a tuple with these keys has."""
    return 1 + max(key[0] if isinstance(key, tuple) else int(key) for key in keys)


def entry_of(found: Mapping[Any, Any], place: int) -> Any:
    """Return an entry of a tuple: an array, or a dict of such."""
    if place in found:
        return found[place]
    return {key[1]: array for key, array in found.items() if isinstance(key, tuple) and key[0] == place}


def entries_of(item: Any, where: str) -> tuple[str, list[tuple[Key, Any]]]:
    if isinstance(item, tuple) and item:
        found = entries_of_tuple(item)
        return "nested" if any(isinstance(key, tuple) for key, _ in found) else "tuple", found
    if isinstance(item, dict) and item and all(isinstance(key, str) for key in item):
        return "dict", list(item.items())
    if isinstance(item, (np.ndarray, Sequences)):
        return "array", [(0, item)]
    rule = (
        "must be a tuple of arrays or dicts of them such as (input, label), a dict of arrays with names, or one array"
    )
    raise DataError(f"{where} {rule}, got {type(item).__name__}")


def entries_of_tuple(item: tuple[Any, ...]) -> list[tuple[Key, Any]]:
    """Return what is in a tuple, and in dicts that are entries of it, with the keys of ArraySpec."""
    found = list[tuple[Key, Any]]()
    for place, part in enumerate(item):
        if isinstance(part, dict) and part and all(isinstance(key, str) for key in part):
            found += (((place, key), value) for key, value in part.items())
        else:
            found.append((place, part))
    return found


def _as_array(value: Any, where: str, key: Key) -> Array:
    return as_array(f"{where}: {named(key)}", value, NUMBERS)


def _described(kind: str, keys: Sequence[Key]) -> str:
    if kind == "array":
        return "one array"
    if kind == "nested":
        return f"a tuple with the entries {', '.join(_place(key) for key in keys)}"
    return f"a tuple of {len(keys)}" if kind == "tuple" else f"a dict of {', '.join(map(repr, keys))}"


def named(key: Key) -> str:
    """Return what an entry is called in errors."""
    return f"entry {_place(key)}"


def _place(key: Key) -> str:
    return f"{key[0]}[{key[1]!r}]" if isinstance(key, tuple) else repr(key)
