"""Writing files so that a reader finds the old one or the new one, never a part."""

import os
import threading


def replace_file(path: str, content: bytes) -> None:
    """Write `content` to `path`: to a temporary file beside it, synced, then renamed over it.

    Missing folders are made. On any error the old file stays as it was.

    Raises:
        OSError: the file cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f".{name}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the renaming last, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
