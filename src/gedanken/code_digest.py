"""A digest of what functions do, as far as they say so."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def code_digest(functions: Iterable[FunctionType]) -> str:
    """Return a digest of functions: of their code, what it names, and plain values that they hold."""
    texts = [text for function in functions for text in _code(function, set())]
    return hashlib.blake2b(ADDRESS.sub("", "".join(texts)).encode(), digest_size=8).hexdigest()


def methods_of(kind: type) -> list[FunctionType]:
    """Return the functions that a class and those above it have, but for the library's and Python's own."""
    above = [one for one in kind.__mro__ if one.__module__.partition(".")[0] not in ("gedanken", "builtins", "abc")]
    found = [getattr(value, "fget", None) or value for one in above for value in vars(one).values()]
    return [one for one in found if isinstance(one, FunctionType)]


def _code(what: Any, seen: set[int]) -> Iterator[str]:
    """Yield what a function does: its code, what that names, and plain values that it holds."""
    if isinstance(what, (FunctionType, CodeType)):
        if id(what) in seen:  # it calls itself
            return
        seen.add(id(what))
    if isinstance(what, FunctionType):
        yield f"{what.__defaults__} {what.__kwdefaults__}"
        yield from _code(what.__code__, seen)
        for cell in what.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is not filled yet
                yield from _code(cell.cell_contents, seen)
    elif isinstance(what, CodeType):
        yield f"{what.co_code.hex()} {what.co_names}"
        for part in what.co_consts:
            yield from _code(part, seen)
    elif isinstance(what, frozenset):
        yield f"{sorted(map(repr, what))}"
    elif isinstance(what, (int, float, complex, str, bytes, tuple, type(None))):  # not what may change, as a cache
        yield repr(what)
