"""Numbers of NumPy, taken as Python's own."""

import dataclasses
import functools
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from gedanken.keywords import KeywordsChecked


def plain(value: Any) -> Any:
    """Return a number of NumPy, or of another library, as Python's own; likewise those in tuples, lists and dicts.

    A number of NumPy would take part in formulas by its type: two of uint8 overflow in a product, and one of float64
    makes float64 of a float32 array. What is no number, and what holds none of these, comes back as it is.
    """
    if isinstance(value, np.bool_):
        return bool(value)
    if type(value) is tuple or type(value) is list:
        parts = [plain(one) for one in value]
        changed = any(new is not old for new, old in zip(parts, value, strict=True))
        return type(value)(parts) if changed else value
    if type(value) is dict:
        keys, held = plain([*value]), plain([*value.values()])
        return dict(zip(keys, held, strict=True))
    if isinstance(value, (int, np.timedelta64)) or type(value) is float or not isinstance(value, numbers.Real):
        return value
    return _as_python(value)


def _as_python(number: numbers.Real) -> Any:
    try:
        return int(number) if isinstance(number, numbers.Integral) else float(number)
    except OverflowError:  # of one that no float is: whoever checks it refuses it
        return number


class PlainNumbers(KeywordsChecked):
    """Lets the library's dataclasses hold `plain` numbers only, before they check them; a user's keep what they get."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check = cls.__dict__.get("__post_init__")
        if check is not None and cls.__module__.startswith("gedanken."):
            cls.__post_init__ = _of_plain_numbers(check)  # type: ignore[attr-defined]


def _of_plain_numbers(check: Callable[..., None]) -> Callable[..., None]:
    """Return the check of a class, before which all fields hold plain numbers."""

    @functools.wraps(check)
    def checked(self: Any) -> None:
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if (number := plain(given)) is not given:
                object.__setattr__(self, field.name, number)
        check(self)

    return checked
