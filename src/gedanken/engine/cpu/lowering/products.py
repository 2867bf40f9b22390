"""How the products of a program are computed, chosen once."""

import numpy as np

from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.lowering.base import Products
from gedanken.engine.cpu.lowering.bf16 import Bf16
from gedanken.engine.cpu.lowering.full import Full


def products_of(library: Library) -> Products:
    """Return the products of a library's precision and number type."""
    if library.precision == "bf16":
        return Bf16()
    return Full(library.machine, np.dtype(library.dtype).itemsize)
