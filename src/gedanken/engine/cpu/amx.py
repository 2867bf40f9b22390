"""Whether the tile unit may be used: by the processor, and by the operating system."""

import ctypes
import os
import platform
import sys
from functools import cache
from typing import Any

from gedanken.engine.cpu.machine import Machine, missing_for_tiles
from gedanken.errors import EngineError

ARCH_PRCTL = 158  # the system call's number on x86-64
ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 0x1023, 18  # "this process wants the state of tiles"
OTHERWISE = 'use precision="full"'


def require_tiles(machine: Machine) -> None:
    """Make the tile unit ready for this process and those that it will fork.

    Raises:
        EngineError: the processor has none, or the operating system does not hand it out.
    """
    if machine.tiles == "emulated":
        return
    missing = missing_for_tiles(machine.features)
    if missing:
        needs = 'precision "bf16" needs a processor with amx-tile and amx-bf16'
        raise EngineError(f"{needs}; this one ({machine.cpu}) lacks {' and '.join(missing)}; {OTHERWISE}")
    refusal = _refusal()
    if refusal:
        raise EngineError(f'precision "bf16" needs the tile unit of this processor, but {refusal}; {OTHERWISE}')


@cache
def _refusal() -> str:
    """Ask the operating system for the tile unit, once; return why it refuses, or nothing."""
    if sys.platform != "linux":
        return f"only Linux is known to hand it out, and this is {platform.system()}"
    system: Any = ctypes.CDLL(None, use_errno=True)
    if system.syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0:
        return ""
    return f"Linux refused it: {os.strerror(ctypes.get_errno())} (arch_prctl; since version 5.16 it can be asked)"
