"""From the name of an engine to the engine."""

import importlib
from collections.abc import Callable

from gedanken.checks import one_of, require, whole
from gedanken.engine.cuda import cuda_engine
from gedanken.engine.plan import Engine
from gedanken.errors import EngineError
from gedanken.ops import Ops
from gedanken.process import UNCUT

ENGINES = ("auto", "cpu", "numpy", "cuda")
PRECISIONS = ("full", "bf16")
MOST_THREADS = 1024


def select_engine(name: str, dtype: str, threads: int | None = None, precision: str = "full") -> Engine:
    """Return the engine called `name`; its `reason` says why it was chosen.

    Args:
        name: "cpu", "numpy", "cuda", or "auto" for the fastest that always works here.
        dtype: "float32" or "float64".
        threads: how many threads the engine "cpu" uses; None is one for each processor that this process may use.
        precision: of products: "full" is the dtype, "bf16" wants a processor with AMX, and "auto" is "cpu" then.

    Raises:
        ArgumentError: unknown name, dtype or precision, or threads or bf16 with an engine or dtype that has no such.
        EngineError: the engine cannot run on this machine.
    """
    one_of("engine", name, ENGINES)
    one_of("dtype", dtype, ("float32", "float64"))
    if threads is not None:
        whole("threads", threads, at_most=MOST_THREADS)
        require(name in ("auto", "cpu"), "threads", f'be None with engine "{name}", which has none of its own', threads)
    one_of("precision", precision, PRECISIONS)
    if precision == "bf16":
        require(name in ("auto", "cpu"), "engine", 'be "cpu" or "auto" with precision "bf16"', name)
        require(dtype == "float32", "dtype", 'be "float32" with precision "bf16", whose sums are float32', dtype)
    if name == "cuda":
        return cuda_engine(dtype)
    if name == "numpy":
        return Engine("numpy", Ops(dtype=dtype), "asked for")
    try:
        return _cpu_engine()("asked for" if name == "cpu" else "auto", dtype, threads, precision)
    except EngineError as error:
        if name == "cpu" or precision == "bf16":
            raise
        return Engine("numpy", Ops(dtype=dtype), f"auto: {error}")


def _cpu_engine() -> Callable[[str, str, int | None, str], Engine]:
    """Return the engine's class; its compiler is loaded when a network is first compiled, not with the library."""
    try:
        with UNCUT:  # a fork during an import would leave the module locked
            module = importlib.import_module("gedanken.engine.cpu.engine")
    except (ImportError, OSError) as error:
        raise EngineError(f'engine "cpu" needs llvmlite ({error}); install it, or use engine="numpy"') from error
    found: Callable[[str, str, int | None, str], Engine] = module.CpuEngine
    return found
