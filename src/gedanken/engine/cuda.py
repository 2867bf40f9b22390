"""The engine for NVIDIA GPUs: the specification, run on CuPy arrays."""

import importlib
from typing import Any

from gedanken.engine.plan import Engine
from gedanken.errors import EngineError
from gedanken.ops import Ops


def cuda_engine(dtype: str) -> Engine:
    """Return the engine that runs every layer on the first GPU.

    Raises:
        EngineError: CuPy is not installed or finds no GPU.
    """
    cupy = _cupy()
    # A GPU has no cache to spare but memory enough for a whole batch of windows.
    ops = Ops(cupy, dtype, column_limit=1 << 27)
    return Engine("cuda", ops, "asked for; every layer runs by its specification on CuPy arrays")


def _cupy() -> Any:
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise EngineError(
            f'engine "cuda" needs CuPy ({error}); install gedanken[cuda13] or gedanken[cuda12], or use engine="numpy"'
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise EngineError(f'engine "cuda" found no usable GPU ({error}); use engine="numpy"') from error
    if not count:
        raise EngineError('engine "cuda" found no GPU; use engine="numpy"')
    return cupy
