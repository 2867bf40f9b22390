"""The border to code of the user's own: what is lent to it cannot be written to, what it gives is looked at.

Kernels trust shapes: they read as far as a layer declared. So what comes over this border is an array of the library's
own number type and of the declared shape before anyone reads it.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gedanken.checks import is_masked_array
from gedanken.errors import ArgumentError, GedankenError, ShapeError
from gedanken.ops import Ops
from gedanken.types import Array, Shape


def sealed(array: Array) -> Array:
    """Return a view that cannot be written to; an array of a GPU has none and comes back as it is."""
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    view.flags.writeable = False
    return view


@contextlib.contextmanager
def noted(name: str) -> Iterator[None]:
    """Say of what a layer of the user's raises which layer it was."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, GedankenError):
            with contextlib.suppress(Exception):  # of a class that takes no notes
                error.add_note(f"raised by {name}")
        raise


def guarded(name: str, lent: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call of the user's gives, or raise ArgumentError where it writes into what was lent to it."""
    try:
        return call(*arguments)
    except ValueError as error:
        if not any("read-only" in part for part in error.args if isinstance(part, str)):
            raise
        refused = ArgumentError(f"{name} must not change {lent} in place, got: {error}")
        refused.add_note(f"{name}: {lent} belong to others too; change a copy")
        raise refused from error


def taken(name: str, rule: str, given: Any, shape: Shape, like: Array, ops: Ops) -> Array:
    """Return what came over the border as an array of the network's number type, or raise ShapeError.

    Args:
        name: whose it is.
        rule: with {} for the shape, what `name` must do: "return the declared shape {} from forward".
        given: what came.
        shape: what it must have.
        like: an array of the device.
        ops: the device's primitives.
    """
    kind = np.ndarray if isinstance(like, np.ndarray) else type(like)
    if not isinstance(given, kind) or is_masked_array(given) or given.dtype.kind not in "biuf":
        raise ShapeError(f"{name} must {rule.format(shape)}, an array of real numbers, got {described(given)}")
    array = np.asarray(given) if kind is np.ndarray else given  # a class of the user's may say any shape
    if array.shape != shape:
        raise ShapeError(f"{name} must {rule.format(shape)}, got {array.shape}")
    return array if array.dtype == ops.dtype else ops.asarray(array)


def described(value: Any) -> str:
    """Return what a value is, in some words."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return f"a {type(value).__name__}" if dtype is None else f"a {type(value).__name__} {shape} of {dtype}"
