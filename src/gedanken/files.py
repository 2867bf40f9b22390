"""Writing files so that a reader finds the old one or the new one, never a part."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`: to a temporary file beside it, synced, then renamed over it.

    Missing folders are made. On any error the old file stays as it was.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the renaming last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
