"""Weights that come from elsewhere: arrays by name, checked before any of them is written."""

from collections.abc import Mapping
from typing import Any

from gedanken.checks import require
from gedanken.data.conversion import as_array, finite_in
from gedanken.types import Array, Shape

LISTED = 12  # names in an error


def checked_arrays(given: Any, shapes: Mapping[str, Shape], dtype: Any) -> dict[str, Array]:
    """Return arrays in a number type, or raise ArgumentError or DataError: by name, of these shapes, and finite.

    Args:
        given: what the user gave; some of the names are enough.
        shapes: those of all arrays that there are, by name.
        dtype: the number type.
    """
    right = isinstance(given, Mapping) and len(given) > 0
    require(right, "arrays", "be a dict of arrays by their names, as `Network.arrays` gives them", given)
    found = {}
    for name, values in given.items():
        require(name in shapes, "arrays", f"have names of this network, {_some(name, shapes)}", name)
        label, shape = f"arrays[{name!r}]", shapes[name]
        array = as_array(label, values)
        require(array.shape == shape, label, f"have shape {shape}{_hint(array.shape, shape)}", array.shape)
        found[name] = finite_in(label, array, dtype)
    return found


def _some(name: Any, shapes: Mapping[str, Shape]) -> str:
    """Return names that may have been meant: those of the same layer, or the first ones."""
    place = f"{name}".partition(".")[0]
    near = [other for other in shapes if other.partition(".")[0] == place] or [*shapes]
    return ", ".join(near[:LISTED]) + (" ..." if len(near) > LISTED else "")


def _hint(got: Shape, shape: Shape) -> str:
    if len(shape) > 1 and got != shape and sorted(got) == sorted(shape):
        return ", whose axes other libraries have in another order, see docs/coming-from.md"
    return ""
