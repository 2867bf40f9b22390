"""What the processor can do."""

import platform
from typing import NamedTuple

from llvmlite import binding as llvm

from gedanken.processes.uncut import UNCUT


class Machine(NamedTuple):
    """A kind of processor, as the kernels see it.

    Args:
        unit: its vector unit: "avx512", "avx2", "neon" or "plain".
        vector_bytes: width of a vector register.
        rows, vectors: the tile of a product that fits the registers: so many rows, each of so many vectors.
        cpu, features: what LLVM calls the processor and its abilities.
        tiles: its tile unit for products in bf16: "amx", "emulated" (for tests, see `tile_unit.py`), or "" for none.
    """

    unit: str
    vector_bytes: int
    rows: int
    vectors: int
    cpu: str
    features: str
    tiles: str = ""

    def most_rows(self, vectors: int) -> int:
        """Return how many rows a tile of fewer vectors may have in the same registers, at least `rows`."""
        return max(self.rows, min(12, self.rows * self.vectors // vectors))

    def lanes(self, itemsize: int) -> int:
        """Return how many numbers a vector holds."""
        return self.vector_bytes // itemsize


def this_machine() -> Machine:
    """Return the processor at hand.

    The tile leaves registers for one row of the right factor and one broadcast value: 12 x 2 + 3 of AVX-512's 32, 6 x
    2 + 3 of AVX2's 16, 8 x 3 + 4 of NEON's 32.
    """
    with UNCUT:
        features = llvm.get_host_cpu_features()
        cpu, flat = llvm.get_host_cpu_name(), features.flatten()
    tiles = "" if missing_for_tiles(flat) else "amx"
    if features.get("avx512f"):
        return Machine("avx512", 64, 12, 2, cpu, flat, tiles)
    if features.get("avx2") and features.get("fma"):
        return Machine("avx2", 32, 6, 2, cpu, flat, tiles)
    if platform.machine().lower() in ("arm64", "aarch64"):
        return Machine("neon", 16, 8, 3, cpu, flat)
    return Machine("plain", 16, 4, 2, cpu, flat, tiles)


def untried(machine: Machine) -> str:
    """Return what of this machine the kernels were never run on, or nothing."""
    system = platform.system()
    new = [machine.unit] if machine.unit in ("neon", "plain") else []
    new += [system] if system != "Linux" else []
    return f"never run on {' and '.join(new)}" if new else ""


def missing_for_tiles(features: str) -> list[str]:
    """Return which abilities a processor lacks for products in bf16 on its tile unit."""
    return [ability for ability in ("amx-tile", "amx-bf16") if f"+{ability}" not in features.split(",")]
