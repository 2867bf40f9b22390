"""Sending an object to worker processes: once, with large arrays beside the pickle instead of in it."""

import ast
import io
import multiprocessing
import pickle
import sys
from collections.abc import Iterator, Sequence
from types import FunctionType
from typing import Any, NamedTuple

from gedanken.errors import ArgumentError
from gedanken.processes.memory import Descriptor, mapped, places_of, reserved_memory

REMEDY = (
    "open it in get_mini_batches when it is first needed, leave it out in __getstate__, or choose mode='threads'; "
    "start_method='fork' needs no pickle"
)
THREAD_BOUND = ("sqlite3.Connection", "sqlite3.Cursor", "sqlite3.Blob")  # for the thread alone that made them
BOUND_REMEDY = (
    "only the thread that opened it may use it, so threads cannot have it either: open it in get_mini_batches, one for "
    "each thread (threading.local), and leave it out in __getstate__, or choose mode='serial'"
)
LOCAL_REMEDY = "move it to the top of a file, or choose mode='threads'; start_method='fork' needs no pickle"


class UnsendableError(ArgumentError):
    """A Generator cannot be sent to processes.

    Args:
        text: of the error.
        bound: whether threads other than the caller's cannot use it either.
    """

    def __init__(self, text: str, bound: bool = False) -> None:
        super().__init__(text)
        self.bound = bound


def thread_bound(error: ArgumentError) -> bool:
    """Return whether an error says that only the caller's thread can make the calls."""
    return isinstance(error, UnsendableError) and error.bound


class Pickled:
    """A pickled object: `parts[0]` is the pickle, the others are its arrays' memory, not copied."""

    def __init__(self, value: Any) -> None:
        self._arrays: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        pickler = _Pickler(stream, protocol=5, buffer_callback=self._arrays.append)
        try:
            pickler.dump(value)
        except Exception:  # what a class raises that cannot be pickled is its own choice
            if not (is_session() and _by_value()):
                raise
            pickler.unreachable = ["a function of the session"]
        if pickler.unreachable:
            if _by_value() is None:
                raise UnsendableError(_unreachable(type(value).__name__, pickler.unreachable))
            stream = io.BytesIO()
            self._arrays.clear()
            _by_value().CloudPickler(stream, protocol=5, buffer_callback=self._arrays.append).dump(value)
        first = stream.getvalue()
        self.parts = [memoryview(first), *(array.raw() for array in self._arrays)]


class SharedObject(NamedTuple):
    """A pickled object in memory that processes share.

    Args:
        memory: where.
        places: start and size of the parts of the pickle.
    """

    memory: Descriptor
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, pickled: Pickled | None, what: str) -> "SharedObject":
        """Return it; None is nothing, which a forked process inherits instead.

        Raises:
            MemoryError: there is not enough for it, called `what`.
        """
        places, size = places_of(pickled.parts if pickled else ())
        found = cls(reserved_memory(size, what), places)
        if pickled:
            memory = memoryview(mapped(found.memory))
            for (start, length), part in zip(places, pickled.parts, strict=True):
                memory[start : start + length] = part.cast("B")
        return found

    def loaded(self) -> Any:
        """Return the object; what is changed in its arrays stays unseen by others."""
        memory = memoryview(mapped(self.memory, private=True))
        first, *others = [memory[at : at + size] for at, size in self.places]
        return pickle.loads(first, buffers=others)  # noqa: S301 - from our own process


def pickle_for_workers(value: Any) -> Pickled:
    """Return a Generator as it is sent to worker processes.

    Raises:
        ArgumentError: it cannot be sent; says which attribute is the cause and what to do.
    """
    name = type(value).__name__
    try:
        return Pickled(value)
    except UnsendableError:
        raise
    except Exception as error:  # what a class raises that cannot be pickled is its own choice
        path, part, cause = unpicklable_part(value, error)
        if path or not _fault(type(value)):
            kind = f"{type(part).__module__}.{type(part).__qualname__}"
            bound = kind in THREAD_BOUND
            text = f"its attribute {path or '__getstate__'} ({cause}); {BOUND_REMEDY if bound else REMEDY}"
        else:
            bound, text = False, f"its class, which is written inside a function ({cause}); {LOCAL_REMEDY}"
        raise UnsendableError(f"{name} cannot be sent to worker processes because of {text}", bound) from error


def sendable(generator: Any, method: str) -> Pickled | None:
    """Return the Generator as it is sent to processes, or None where a fork inherits it.

    Raises:
        ArgumentError: it cannot be sent.
    """
    try:
        return pickle_for_workers(generator)
    except ArgumentError:
        if method == "fork":
            return None
        raise


def unpicklable_part(value: Any, error: Exception) -> tuple[str, Any, str]:
    """Return the path of the attribute or entry that cannot be pickled, that itself, and why."""
    path = ""
    for _ in range(8):  # levels
        for step, part in _parts(value):
            if found := _fault(part):
                path, value, error = path + step, part, found
                break
        else:
            break
    return path.lstrip("."), value, f"{type(value).__name__}: {error}"


class _Pickler(pickle.Pickler):
    """Pickles, and notes which classes and functions of the program lie where a new process cannot import them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.unreachable: list[str] = []

    def reducer_override(self, value: Any) -> Any:
        """Look at classes and functions, which are pickled by their names."""
        if isinstance(value, (type, FunctionType)) and value.__module__ == "__main__":
            name = value.__qualname__.split(".")[0]
            if not _importable(name):
                self.unreachable.append(name)
        return NotImplemented


def is_session() -> bool:
    """Return whether this program is an interactive session, a notebook or `python -c`, which has no file."""
    main = sys.modules.get("__main__")
    if main is None or getattr(main, "__spec__", None) is not None:
        return False
    file = getattr(main, "__file__", None)
    return file is None or file.startswith("<") or "ipykernel" in file


def _importable(name: str) -> bool:
    """Return whether a worker that imports the script finds this name: the script sets it outside of its guard."""
    if is_session():
        return False
    try:
        with open(sys.modules["__main__"].__file__ or "", "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, TypeError, AttributeError, KeyError):
        return True  # no source: nothing is known
    return name in set(_names(tree.body))


def _names(body: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names that statements set, without those under `if __name__ == "__main__":`."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            yield from _names(node.orelse)
        else:
            yield from _names(list(ast.iter_child_nodes(node)))


def _unreachable(name: str, names: Sequence[str]) -> str:
    whose = "its class is" if names[0] == name else f"{', '.join(dict.fromkeys(names))} is"
    if is_session():
        where, remedy = "in an interactive session, which they cannot import", "to a file"
    else:
        where, remedy = 'under `if __name__ == "__main__":`, which they do not run', "before that line"
    return (
        f"{name} cannot be sent to worker processes: {whose} written {where}; move it {remedy}, or install "
        "cloudpickle, or choose mode='threads'"
    )


def _by_value() -> Any:
    try:
        import cloudpickle  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return cloudpickle


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if isinstance(value, (list, tuple, set)):
        return [(f"[{place}]", part) for place, part in enumerate(value)]
    try:
        state = value.__getstate__()
    except Exception:  # the class's own method
        return []
    state = state[1] if isinstance(state, tuple) and len(state) == 2 else state
    return [(f".{key}", part) for key, part in state.items()] if isinstance(state, dict) else []


def _fault(value: Any) -> Exception | None:
    try:
        pickle.dumps(value, protocol=5, buffer_callback=lambda _: None)
    except Exception as error:  # the class's own choice
        return error
    return None


def importing_main() -> bool:
    """Return whether this process is a worker that imports its script because that is where a class stands."""
    return bool(getattr(multiprocessing.process.current_process(), "_inheriting", False))
