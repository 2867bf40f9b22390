"""Values as lines of JSON."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return arrays and numbers of NumPy as those of Python, and anything else as it is."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def line(value: Any) -> str:
    """Return a value as one line of JSON; numbers that are not finite are null, as it has none."""
    return json.dumps(_as_json(value), allow_nan=False)


def json_object(**lines: str) -> str:
    """Return an object of JSON whose entries are JSON already."""
    return f"{{{', '.join(f'{json.dumps(name)}: {line}' for name, line in lines.items())}}}"


def _as_json(value: Any) -> Any:
    """Return a value as JSON has it: mappings, lists, texts and finite numbers; anything else as its text."""
    value = plain(value)
    if isinstance(value, Mapping):
        return {str(name): _as_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)
