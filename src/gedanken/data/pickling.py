"""Sending a Generator to worker processes: once, with large arrays beside the pickle instead of in it."""

import multiprocessing
import pickle
import sys
from typing import Any

from gedanken.errors import ArgumentError

REMEDY = (
    "open it in get_mini_batches when it is first needed, leave it out in __getstate__, or choose mode='threads'; "
    "start_method='fork' needs no pickle"
)


class Packed:
    """A pickled object: `parts[0]` is the pickle, the others are its arrays' memory, not copied."""

    def __init__(self, value: Any) -> None:
        self._arrays: list[pickle.PickleBuffer] = []
        pickler = _by_value() if needs_value(value) else pickle
        first = pickler.dumps(value, protocol=5, buffer_callback=self._arrays.append)
        self.parts = [memoryview(first), *(array.raw() for array in self._arrays)]


def packed(value: Any) -> Packed:
    """Return a Generator as it is sent to worker processes.

    Raises:
        ArgumentError: it cannot be sent; says which attribute is the cause and what to do.
    """
    name = type(value).__name__
    if needs_value(value) and _by_value() is None:
        raise ArgumentError(
            f"{name} cannot be sent to worker processes: its class is written in an interactive session, which they "
            "cannot import; move it to a file, or install cloudpickle, or choose mode='threads'"
        )
    try:
        return Packed(value)
    except Exception as error:  # what a class raises that cannot be pickled is its own choice
        path, cause = culprit(value, error)
        raise ArgumentError(
            f"{name} cannot be sent to worker processes because of its attribute {path} ({cause}); {REMEDY}"
        ) from error


def culprit(value: Any, error: Exception) -> tuple[str, str]:
    """Return the path of the attribute or entry that cannot be pickled, and why."""
    path = ""
    for _ in range(8):  # levels
        for step, part in _parts(value):
            if found := _fault(part):
                path, value, error = path + step, part, found
                break
        else:
            break
    return path.lstrip(".") or "__getstate__", f"{type(value).__name__}: {error}"


def needs_value(value: Any) -> bool:
    """Return whether the class lies where a new process cannot import it from."""
    main = sys.modules.get("__main__")
    if type(value).__module__ != "__main__" or main is None:
        return False
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is None and (file is None or file.startswith("<") or "ipykernel" in file)


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
