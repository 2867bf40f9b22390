"""How a run shares what it changes with other workers, as kernels are told."""

from typing import Any

import numpy as np

from gedanken.engine.cpu.kernels.runs import ATOMIC, EACH, LOCKED, RACY, TURNS
from gedanken.engine.learner import Sharing

MODES = {"racy": RACY, "atomic": ATOMIC, "locked": LOCKED, "per-coordinate": EACH, "round-robin": TURNS}


def fields_of(sharing: Sharing | None) -> dict[str, Any]:
    """Return the fields of a Run; None is a worker with nobody beside it."""
    mode, me, lock, each = sharing or Sharing("racy", 1, np.zeros(3, np.int64), np.zeros(1, np.int64))
    return {"mode": MODES[mode], "me": me, "lock": lock, "each": each}
