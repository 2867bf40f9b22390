"""What the user's code raises: it gets a note, and comes from a worker process as what it was.

An exception is made again without its constructor, which may want other arguments than `args` or do something; only
where its class says how it is pickled, that way is tried first. What comes out must have the type, text and
arguments that went in, else a WorkerError tells of it in words. Nothing here raises what the user's class raises.
"""

import contextlib
import copyreg
import io
import pickle
import re
import sys
import traceback
from collections.abc import Callable
from functools import reduce
from types import FunctionType
from typing import Any, NamedTuple

from gedanken.errors import WorkerError

LINKS = ("__cause__", "__context__", "__suppress_context__")
OWN = {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__"}
ADDRESS = re.compile(r"0x[0-9a-fA-F]+")  # the same object lies elsewhere in another process
DEEPEST = 50  # exceptions in exceptions that are told of


class RemoteError(Exception):
    """The traceback of an exception in a worker process; shown as its first cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Words(str):
    """Stands for a value that cannot be sent: its text, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def words(value: object, form: Callable[[Any], str] = repr) -> str:
    """Return a text of a value of the user's, whatever its methods do."""
    try:
        return str.__str__(form(value))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also a text that is no string
        return f"<{type(value).__name__} whose {form.__name__}() raises {type(error).__name__}>"


def noted(error: BaseException, note: str) -> BaseException:
    """Return an exception with a note, where its class allows that at all."""
    with contextlib.suppress(Exception):
        object.__setattr__(error, "__notes__", [*notes_of(error), note])  # a frozen class refuses add_note
    return error


def notes_of(error: BaseException) -> list[str]:
    """Return the notes of an exception, whatever its class or user made of them."""
    try:
        notes = getattr(error, "__notes__", [])
        return list(notes) if isinstance(notes, (list, tuple)) else [words(notes, str)]
    except Exception:  # a property of the user's
        return []


def as_raised(error: BaseException) -> BaseException:
    """Return what to raise for what was raised in a call: that itself, unless it would end loop or program."""
    if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    wrapped = WorkerError(f"get_mini_batches raised {type(error).__name__}({words(error, str)})")
    for note in notes_of(error):
        noted(wrapped, note)
    wrapped.__cause__ = error
    return wrapped


# ---------------------------------------------------------------------------------------------- to another process


class Sent(NamedTuple):
    """An exception on its way, in forms that are tried one after the other.

    Args:
        forms: pickles.
        kind, text, args: of the exception, in words.
        trace: its traceback.
        notes: of it.
    """

    forms: tuple[bytes, ...]
    kind: str
    text: str
    args: str
    trace: str
    notes: list[str]


def pack_error(error: BaseException) -> Sent:
    """Return an exception in forms that another process can try one after the other, the last as words."""
    trace = words(error, lambda e: "".join(traceback.format_exception(e)))
    notes = [words(note, str) for note in notes_of(error)]
    sent = Sent((), type(error).__qualname__, words(error, str), words(error.args), trace, notes)
    for linked, own in ((True, True), (False, True), (False, False)):
        sent = sent._replace(forms=(*sent.forms, _form(error, linked, own)))
        if _tried(sent.forms[-1], sent):  # the owner will most likely not need another, and each may be large
            break
    return sent


def unpack_error(sent: Sent, where: str = "get_mini_batches") -> BaseException:
    """Return the exception that a worker met: its own type with its attributes where possible, else a WorkerError.

    Args:
        sent: what `pack_error` returned.
        where: what raised it, for the WorkerError.
    """
    error = next(filter(None, (_tried(form, sent) for form in sent.forms)), None)
    if error is None:
        error = WorkerError(f"{where} raised {sent.kind}({sent.text}), which cannot be sent from its process")
    _set(error, "__notes__", sent.notes)
    first, seen = error, {id(error)}
    while (cause := first.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        first = cause
    if first.__cause__ is None:
        _set(first, "__cause__", RemoteError(sent.trace))
    return error


def _tried(form: bytes, sent: Sent) -> BaseException | None:
    try:
        error = pickle.loads(form) if form else None  # noqa: S301 - from our own process
    except KeyboardInterrupt:
        raise
    except BaseException:  # the class's own methods
        return None
    if not isinstance(error, BaseException) or type(error).__qualname__ != sent.kind:
        return None
    return error if _same(words(error, str), sent.text) and _same(words(error.args), sent.args) else None


def _same(ours: str, theirs: str) -> bool:
    """Return whether texts are the same but for addresses and the order of sets, which are a process's own."""
    ours, theirs = ADDRESS.sub("", ours), ADDRESS.sub("", theirs)
    return ours == theirs or (len(ours) == len(theirs) and sorted(ours) == sorted(theirs))


def _form(error: BaseException, linked: bool, own: bool) -> bytes:
    """Return a pickle, with the exceptions that led to this one or without, by the class's own way or without."""
    stream = io.BytesIO()
    try:
        _Pickler(stream, linked, own).dump(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # what it holds decides what is raised
        return b""
    return stream.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles exceptions without their constructors, wherever they stand."""

    def __init__(self, stream: io.BytesIO, linked: bool, own: bool) -> None:
        super().__init__(stream, protocol=5)
        self._linked, self._own, self._depth = linked, own, 0

    def reducer_override(self, value: Any) -> Any:
        """Return how an exception is made again, and a class or function of the program's that came by value."""
        if not isinstance(value, BaseException):
            return _by_value(value)
        self._depth += 1
        if self._depth > DEEPEST:
            return WorkerError, (words(value),)
        links = {name: getattr(value, name) for name in LINKS} if self._linked else {}
        if notes := notes_of(value):
            links["__notes__"] = [words(note, str) for note in notes]
        own = self._own and not OWN.isdisjoint(_names(type(value)))
        if own and (pickled := _dumped(value)):
            return _loaded, (pickled,), links, None, None, _fill
        kind = (type(value).__module__, type(value).__qualname__)
        by_value = b""
        if _class(*kind) is not type(value) and not (by_value := _class_by_value(type(value))):
            return WorkerError, (f"{kind[1]}({words(value, str)}), which cannot be sent from its process",)
        args, state = _reduced(value)
        return _made, (*kind, args, by_value), {**state, **links}, None, None, _fill


def _names(kind: type) -> set[str]:
    """Return the names that classes of Python's own do not give an exception."""
    return {name for c in kind.__mro__ if c.__module__ != "builtins" for name in vars(c)}


def _base(kind: type) -> type:
    """Return the class of Python's own that lays out an exception's memory."""
    return next(c for c in kind.__mro__ if c.__module__ == "builtins")


def _reduced(error: BaseException) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what Python's own class is made of, and the attributes; what cannot be sent in words or not."""
    base: Any = _base(type(error))
    _, args, *more = base.__reduce__(error)
    state = dict(more[0]) if more and isinstance(more[0], dict) else {}
    slots = copyreg._slotnames(type(error))  # type: ignore[attr-defined]
    state |= {name: getattr(error, name) for name in slots if hasattr(error, name)}
    state.pop("__notes__", None)
    args = tuple([value if _sendable(value) else _Words(words(value)) for value in args])
    return args, {name: value for name, value in state.items() if _sendable(value)}


def _sendable(value: Any) -> bool:
    if isinstance(value, BaseException):
        return True
    try:
        _Trial(io.BytesIO(), protocol=5).dump(value)
    except KeyboardInterrupt:
        raise
    except BaseException:  # the class's own methods
        return False
    return True


class _Trial(pickle.Pickler):
    """Finds out what can be pickled; exceptions always can."""

    def reducer_override(self, value: Any) -> Any:
        """Leave exceptions out."""
        return (int, ()) if isinstance(value, BaseException) else _by_value(value)


def _dumped(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # the class's own method
        return b""


def _loaded(pickled: bytes) -> Any:
    return pickle.loads(pickled)  # noqa: S301 - from our own process


def _class(module: str, name: str) -> Any:
    """Return a class by its place, or None; a module is not imported for it where it is there already."""
    with contextlib.suppress(Exception):
        if module not in sys.modules:
            __import__(module)
        return reduce(getattr, name.split("."), sys.modules[module])
    return None


def _by_value(value: Any) -> Any:
    """Return how a class or function that cannot be found by its name is made again, or NotImplemented."""
    if isinstance(value, (type, FunctionType)) and _class(value.__module__, value.__qualname__) is not value:
        pickled = _class_by_value(value)
        return (_loaded, (pickled,)) if pickled else NotImplemented
    return NotImplemented


def _class_by_value(kind: Any) -> bytes:
    """Return a class that came by value, with the Generator; cloudpickle knows it again where it came from."""
    cloudpickle: Any = sys.modules.get("cloudpickle")
    try:
        found: bytes = cloudpickle.dumps(kind) if cloudpickle else b""
    except Exception:  # what the class holds decides what is raised
        return b""
    return found


def _made(module: str, name: str, args: tuple[Any, ...], by_value: bytes) -> BaseException:
    kind = _loaded(by_value) if by_value else _class(module, name)
    base = _base(kind)
    error: BaseException = base.__new__(kind, *args)
    base.__init__(error, *args)  # type: ignore[misc]
    return error


def _fill(error: BaseException, state: dict[str, Any]) -> None:
    for name, value in state.items():
        _set(error, name, value)


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute, past whatever the class does to forbid it."""
    try:
        object.__setattr__(error, name, value)
    except Exception:  # a property without a setter
        with contextlib.suppress(Exception):
            error.__dict__[name] = value
