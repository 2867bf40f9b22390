"""The few types that every part of the library speaks of."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

# On the GPU an Array is a CuPy array, which has NumPy's interface but no common base class.
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Shape: TypeAlias = tuple[int, ...]
Arrays: TypeAlias = Mapping[str, Array]
# A Shape or, where inputs or outputs have names, a mapping of these to shapes.
AnyShape: TypeAlias = Any
