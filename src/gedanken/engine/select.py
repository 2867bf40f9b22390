"""From the name of an engine to the engine."""

import importlib
from collections.abc import Callable

from gedanken.checks import one_of, require, whole
from gedanken.engine.cuda import cuda_engine
from gedanken.engine.ops import Ops
from gedanken.engine.plan import Engine
from gedanken.errors import EngineError

ENGINES = ("auto", "cpu", "numpy", "cuda")


def select_engine(name: str, dtype: str, threads: int | None = None) -> Engine:
    """Return the engine called `name`; its `reason` says why it was chosen.

    Args:
        name: "cpu", "numpy", "cuda", or "auto" for the fastest that always works here.
        dtype: "float32" or "float64".
        threads: how many threads the engine "cpu" uses; None is one for each processor that this process may use.

    Raises:
        ArgumentError: unknown name or dtype, or threads with an engine that has none of its own.
        EngineError: the engine cannot run on this machine.
    """
    one_of("engine", name, ENGINES)
    one_of("dtype", dtype, ("float32", "float64"))
    if threads is not None:
        whole("threads", threads)
        require(name in ("auto", "cpu"), "threads", f'be None with engine "{name}", which has none of its own', threads)
    if name == "cuda":
        return cuda_engine(dtype)
    if name == "numpy":
        return Engine("numpy", Ops(dtype=dtype), "asked for")
    try:
        return _cpu_engine()("asked for" if name == "cpu" else "auto", dtype, threads)
    except EngineError as error:
        if name == "cpu":
            raise
        return Engine("numpy", Ops(dtype=dtype), f"auto: {error}")


def _cpu_engine() -> Callable[[str, str, int | None], Engine]:
    """Return the engine's class; its compiler is loaded when a network is first compiled, not with the library."""
    try:
        found: Callable[[str, str, int | None], Engine] = importlib.import_module(
            "gedanken.engine.cpu.engine"
        ).CpuEngine
    except (ImportError, OSError) as error:
        raise EngineError(f'engine "cpu" needs llvmlite ({error}); install it, or use engine="numpy"') from error
    return found
