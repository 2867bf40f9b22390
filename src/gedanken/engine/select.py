"""From the name of an engine to the engine."""

from gedanken.checks import one_of
from gedanken.engine.cuda import cuda_engine
from gedanken.engine.ops import Ops
from gedanken.engine.plan import Engine

ENGINES = ("auto", "numpy", "cuda")


def select_engine(name: str, dtype: str) -> Engine:
    """Return the engine called `name`; its `reason` says why it was chosen.

    Args:
        name: "numpy", "cuda", or "auto" for the fastest that always works here.
        dtype: "float32" or "float64".

    Raises:
        ArgumentError: unknown name or dtype.
        EngineError: the engine cannot run on this machine.
    """
    one_of("engine", name, ENGINES)
    one_of("dtype", dtype, ("float32", "float64"))
    if name == "cuda":
        return cuda_engine(dtype)
    reason = "asked for" if name == "numpy" else "auto: the only engine for the CPU so far"
    return Engine("numpy", Ops(dtype=dtype), reason)
