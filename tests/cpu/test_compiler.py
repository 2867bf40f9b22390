"""Compiling kernels and keeping them: an empty cache, a good one, a damaged one, one that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gedanken.caches import cache_folder
from gedanken.engine.cpu import kernels
from gedanken.engine.cpu.compiler import FOLDER, Library
from gedanken.engine.cpu.machine import Machine, this_machine
from gedanken.errors import KernelError
from gedanken.processors import usable_processors

KERNELS = [
    f"{path.stem}.{line[4:].partition('(')[0]}"
    for path in sorted(Path(kernels.__file__).parent.glob("*.py"))
    for before, line in zip(["", *path.read_text().splitlines()], path.read_text().splitlines(), strict=False)
    if line.startswith("def ") and before not in ("@inline", "@noinline")
]
TILED = [name for name in KERNELS if name.startswith("bf16")]  # for machines with a tile unit
PLAIN = [name for name in KERNELS if name not in TILED]
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


def simple() -> Machine:
    """Return this machine with a tile of one vector: its micro-kernel, the largest piece of code, is soon compiled."""
    return this_machine()._replace(rows=2, vectors=1)


@pytest.mark.parametrize(
    ("names", "dtype", "tiles"),
    [(PLAIN, "float32", ""), (PLAIN, "float64", ""), (TILED, "float32", "emulated")],
    ids=["float32", "float64", "bf16"],
)
def test_every_kernel_compiles_and_is_kept(names: list[str], dtype: str, tiles: str) -> None:
    machine = this_machine()._replace(tiles=tiles) if tiles else this_machine()
    made, found = Library(machine, dtype), Library(machine, dtype)
    for name in names:  # in the usual cache, where other tests find what this one compiled, and the other way round
        parameters = made.kernel(name).parameters
        assert (cache_folder() / FOLDER / made._file(name)).is_file()
        assert found.kernel(name).parameters == parameters


def written(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written, and not when it is read, as the time of the last reading does."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def test_what_was_compiled_is_kept(cache: Path) -> None:
    made, found = Library(simple(), "float32"), Library(simple(), "float32")
    names = ["dense.add", "update.adam"]
    parameters = [made.kernel(name).parameters for name in names]
    files = {path: written(path) for path in cache.iterdir()}
    assert sorted(path.name.split("-")[0] for path in files) == sorted([*names, "gemm_tile"])
    assert [found.kernel(name).parameters for name in names] == parameters
    assert {path: written(path) for path in cache.iterdir()} == files


@pytest.mark.parametrize("name", TILED)
def test_a_machine_without_a_tile_unit_has_no_kernels_for_it(cache: Path, name: str) -> None:
    library = Library(simple()._replace(tiles=""), "float32")
    if name in ("bf16.multiply", "bf16_conv.correlate", "bf16_conv.kernel_gradient", "bf16_conv.spread"):
        with pytest.raises(KernelError, match="no tile unit"):
            library.kernel(name)
    else:
        assert library.kernel(name).parameters


def test_a_damaged_file_is_compiled_again(cache: Path) -> None:
    Library(simple(), "float32").kernel("dense.add")
    (path,) = cache.glob("dense.add-*")
    good = path.read_bytes()
    for damaged in (good[:-1], good[:40] + b"x" + good[41:], b""):
        path.write_bytes(damaged)
        Library(simple(), "float32").kernel("dense.add")
        assert path.read_bytes() == good


SIMPLE = """
from gedanken.engine.cpu import engine
machine = engine.this_machine()._replace(rows=2, vectors=1)
engine.this_machine = lambda: machine
"""
SCRIPT = """
import numpy as np
from gedanken import FullyConnectedLayer, Network
net = Network().input((3,)).add(FullyConnectedLayer(2)).regression(cost="mean_squared", engine="cpu")
print(net.feedforward(np.ones((1, 3))).shape)
"""


UNUSABLE = {
    "a file in the way": (lambda folder: folder.write_text(""), "", "Not a directory"),
    "no folder can be made": (lambda folder: folder.symlink_to("/proc"), "", "No such file or directory"),
    "a disk that takes nothing": (
        lambda folder: folder.mkdir(),
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))",
        "File too large",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_cache_that_takes_no_files_is_told_once(case: str, tmp_path: Path) -> None:
    prepare, begin, reason = UNUSABLE[case]
    folder = tmp_path / "cache"
    prepare(folder)
    script = SIMPLE + begin + SCRIPT + SCRIPT
    done = run_script(script, XDG_CACHE_HOME=str(folder))
    assert (done.returncode, done.stdout) == (0, "(1, 2)\n(1, 2)\n")
    assert done.stderr.count("GedankenWarning") == 1
    assert f"compiled kernels cannot be kept in {folder}/gedanken/kernels: {reason}; each start" in done.stderr
    assert "let XDG_CACHE_HOME name a folder" in done.stderr


def run_script(script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script]
    given = {**os.environ, **environment}
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=300)


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
        Library(simple(), "float32").kernel("dense.no_such_kernel")
