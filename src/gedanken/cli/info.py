"""`gedanken info`."""

import os
import platform
from argparse import Namespace
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from gedanken import __version__
from gedanken.caches import REMEDY, CacheError, cache_folder
from gedanken.checks import printable
from gedanken.cli.output import show
from gedanken.engine.select import ENGINES, select_engine
from gedanken.errors import EngineError
from gedanken.processors import usable_processors

OPTIONAL = {
    "matplotlib": ("plot", ["matplotlib"]),
    "pillow": ("images", ["pillow"]),
    "pooch": ("data", ["pooch"]),
    "urllib3": ("http", ["urllib3"]),
    "autograd": ("autograd", ["autograd"]),
    "cupy": ("cuda13", ["cupy-cuda13x", "cupy-cuda12x", "cupy"]),
}
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def run(_: Namespace) -> int:
    """Print what runs here, and return the exit status."""
    rows = list(_rows())
    width = max(len(name) for name, _ in rows)
    show("\n".join(f"{name:<{width}}  {printable(text)}" for name, text in rows))
    return 0


def _rows() -> Iterator[tuple[str, str]]:
    yield "gedanken", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "numpy", np.__version__
    yield "llvmlite", _version(["llvmlite"]) or "not installed"
    for name, (extra, distributions) in OPTIONAL.items():
        yield name, _version(distributions) or f"not installed: pip install 'gedanken[{extra}]'"
    for engine in ENGINES:
        yield f"engine {engine}", _engine(engine)
    yield "precision bf16", _engine("cpu", "bf16")
    yield "processors", f"{usable_processors()} usable of {os.cpu_count()}"
    yield "BLAS", _blas()
    base = os.environ.get("GEDANKEN_DATA")
    yield "data folder", _folder(Path(base)) if base else "none: set GEDANKEN_DATA to one"
    yield "cache folder", _cache()


def _version(distributions: list[str]) -> str | None:
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _engine(name: str, precision: str = "full") -> str:
    try:
        engine = select_engine(name, "float32", precision=precision)
    except EngineError as error:
        return f"no: {error}"
    return f"yes: {engine.name} ({engine.reason})"


def _blas() -> str:
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    threads = next((f"{name}={os.environ[name]}" for name in BLAS_VARIABLES if name in os.environ), "its own choice")
    return f"{found['name']} {found['version']}, threads: {threads}"


def _cache() -> str:
    try:
        return _folder(cache_folder())
    except CacheError as error:
        return f"none: {error}; {REMEDY}"


def _folder(path: Path) -> str:
    if not path.is_dir():
        return f"{path} (missing)"
    try:
        inside = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        return f"{path} (cannot be read: {error.strerror})"
    return f"{path} (has {', '.join(inside) or 'nothing'})"
