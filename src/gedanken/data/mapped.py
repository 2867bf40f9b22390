"""Arrays that lie in files, sent to worker processes as what they are: a place in a file."""

import mmap
from typing import Any

import numpy as np

from gedanken.checks import refuse_masked, require
from gedanken.types import Array, Shape


class MappedArray:
    """A NumPy memory map, or a part of one, that reaches worker processes without being copied.

    Pickled it is the file's name, the place in it, shape, strides and number type; where it is unpickled the file is
    mapped again, to be read only. So an attribute of your own Generator can be larger than the memory of the machine,
    and all workers share what the system keeps of the file. The file must stay where it is.

    Args:
        array: `np.memmap`, such as `np.load(path, mmap_mode="r")`, or a view of one. Not one of mode "c": changes
            of that one are in no file.

    Raises:
        ArgumentError: the array lies in no file that has a name.
    """

    def __init__(self, array: Array) -> None:
        refuse_masked("array", array)
        rule = "be a np.memmap of a file, or a part of one, and its mode not 'c'"
        require(_map_of(array) is not None, "array", rule, type(array).__name__)
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.array, dtype, copy=copy)

    def __repr__(self) -> str:
        mapped = _map_of(self.array)
        assert mapped is not None
        return f"MappedArray({mapped.filename}, shape {self.shape}, {self.dtype})"

    @property
    def shape(self) -> Shape:
        """Shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> Any:
        """Number type of the array."""
        return self.array.dtype

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        mapped, array = _map_of(self.array), self.array
        assert mapped is not None
        low, high = np.lib.array_utils.byte_bounds(array)
        inside = low - _address(mapped)
        place = (str(mapped.filename), int(mapped.offset) + inside, high - low, _address(array) - low)
        return _reopened, (*place, array.shape, array.strides, array.dtype)


def mapped_if_possible(array: Any) -> Any:
    """Return an array as a MappedArray where it lies in a file, else as it is."""
    return array if _map_of(array) is None else MappedArray(array)


def _reopened(file: str, start: int, size: int, first: int, shape: Shape, strides: Shape, dtype: Any) -> MappedArray:
    """Map `size` bytes of a file; the array's first element is at byte `first` of them."""
    content = np.memmap(file, np.uint8, "r", start, (size,))
    return MappedArray(np.ndarray(shape, dtype, content, first, strides))


def _map_of(array: Any) -> "np.memmap[Any, Any] | None":
    """Return the map that an array is a view of, if workers can open its file and find the same in it."""
    view = array
    while isinstance(view, np.ndarray) and not isinstance(view.base, mmap.mmap):
        view = view.base
    if isinstance(view, np.memmap) and view.filename is not None and view.mode != "c" and array.size:
        return view
    return None


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
