"""The engine for NVIDIA GPUs: the specification, run on CuPy arrays."""

import importlib
from typing import Any

from gedanken.engine.base import Engine
from gedanken.errors import EngineError
from gedanken.ops import Ops


def cuda_engine(dtype: str, device: int = 0) -> Engine:
    """Return the engine that runs every layer on the GPU of this number.

    Raises:
        EngineError: CuPy is not installed or finds no such GPU.
    """
    cupy = _cupy(device)
    # A GPU has no cache to spare but memory enough for a whole batch of windows.
    ops = Ops(cupy, dtype, column_limit=1 << 27)
    return Engine("cuda", ops, "asked for; every layer runs by its specification on CuPy arrays")


def _cupy(device: int) -> Any:
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
    if device >= count:
        raise EngineError(f'engine "cuda" found {count} GPUs, numbered from 0 on; there is no device {device}')
    cupy.cuda.Device(device).use()
    return cupy
