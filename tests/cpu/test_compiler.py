"""Compiling kernels and keeping them: an empty cache, a good one, a damaged one, one that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gedanken.engine.cpu import kernels
from gedanken.engine.cpu.compiler import Library
from gedanken.engine.cpu.machine import Machine, this_machine
from gedanken.processors import usable_processors

KERNELS = [
    f"{path.stem}.{line[4:].partition('(')[0]}"
    for path in sorted(Path(kernels.__file__).parent.glob("*.py"))
    for before, line in zip(["", *path.read_text().splitlines()], path.read_text().splitlines(), strict=False)
    if line.startswith("def ") and before not in ("@helper", "@apart")
]
TILED = [name for name in KERNELS if name.startswith("bf16")]  # for machines with a tile unit
# Other processors' tiles: LLVM splits vectors that are too long here, so their kernels run on any machine.
TILES = {
    "avx512": (64, 12, 2),
    "neon": (16, 8, 3),
    "plain": (16, 4, 2),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gedanken" / "kernels"


def machine_like(unit: str) -> Machine:
    size, rows, vectors = TILES[unit]
    return this_machine()._replace(unit=unit, vector_bytes=size, rows=rows, vectors=vectors)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_compiles_and_is_kept(cache: Path, dtype: str) -> None:
    machine = this_machine()._replace(tiles="emulated")
    made, found = Library(machine, dtype), Library(machine, dtype)
    names = [name for name in KERNELS if dtype == "float32" or name not in TILED]
    for name in names:
        parameters = made.kernel(name).parameters
        assert found.kernel(name).parameters == parameters
    assert len(list(cache.iterdir())) == len(names) + 1


@pytest.mark.parametrize("name", TILED)
def test_a_machine_without_a_tile_unit_has_no_kernels_for_it(cache: Path, name: str) -> None:
    library = Library(this_machine()._replace(tiles=""), "float32")
    if name in ("bf16.multiply", "bf16_conv.correlate", "bf16_conv.kernel_gradient", "bf16_conv.spread"):
        with pytest.raises(AssertionError, match="no tile unit"):
            library.kernel(name)
    else:
        assert library.kernel(name).parameters


def test_a_damaged_file_is_compiled_again(cache: Path) -> None:
    Library(this_machine(), "float32").kernel("dense.add")
    (path,) = cache.glob("dense.add-*")
    good = path.read_bytes()
    for damaged in (good[:-1], good[:40] + b"x" + good[41:], b""):
        path.write_bytes(damaged)
        Library(this_machine(), "float32").kernel("dense.add")
        assert path.read_bytes() == good


SCRIPT = """
import numpy as np
from gedanken import FullyConnectedLayer, Network
net = Network().input((3,)).add(FullyConnectedLayer(2)).regression(cost="mean_squared", engine="cpu")
print(net.feedforward(np.ones((1, 3))).shape)
"""


@pytest.mark.parametrize("place", ["a file in the way", "a folder that takes no files"])
def test_a_cache_that_cannot_be_used_is_no_error(place: str, tmp_path: Path) -> None:
    folder = Path("/proc") if place == "a folder that takes no files" else tmp_path / "cache"
    if not folder.exists():
        folder.write_text("")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 2)\n", "")


def test_the_processors_are_those_that_this_process_may_use() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to processors")
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    script += "from gedanken.processors import usable_processors; print(usable_processors())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert 1 <= usable_processors() <= len(os.sched_getaffinity(0))


def test_a_kernels_mistake_is_found_when_it_is_translated(cache: Path) -> None:
    with pytest.raises(AttributeError):
        Library(this_machine(), "float32").kernel("dense.no_such_kernel")
