"""Fixtures for all tests."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.standin_cupy import StandInCupy

# A busy machine is no failure: nothing here asserts times.
settings.register_profile("suite", deadline=None, max_examples=40)
settings.register_profile("wide", deadline=None, max_examples=1000)  # of `make soak`
settings.load_profile("suite")

# The suite starts some hundred programs, which would compile the library each anew: half of what most of them take.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell's background command is deaf to Ctrl-C, and so is all that it starts: tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def standin_cupy(monkeypatch: pytest.MonkeyPatch) -> StandInCupy:
    """CuPy's stand-in, where the library looks for CuPy."""
    cupy = StandInCupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says how to give it."""
    folder = os.environ.get("GEDANKEN_DATA", "")
    if not (Path(folder) / "mnist").is_dir() or not folder:
        pytest.skip("needs the real data sets: set GEDANKEN_DATA to a folder with mnist/ in it")
    return Path(folder)


@pytest.fixture(scope="session")
def gpu() -> object:
    """CuPy on a real GPU. `make gpu` sets GEDANKEN_GPU=1, and then its absence is a failure."""
    try:
        cupy = pytest.importorskip("cupy", reason="needs CuPy and a GPU: run `make gpu` on such a machine")
        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        if os.environ.get("GEDANKEN_GPU") == "1":
            raise
        pytest.skip(f"needs a usable GPU: {error}")
    return cupy
