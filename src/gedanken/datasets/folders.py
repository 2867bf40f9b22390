"""Which files of a folder are its pictures, and what in it could not be looked at."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from gedanken.checks import printable, warn
from gedanken.errors import DatasetError

Reasons: TypeAlias = dict[Path, str]  # file or folder -> what is wrong with it
Entry: TypeAlias = tuple[Path, os.stat_result]
NOTES: Final = frozenset(
    (".csv", ".db", ".html", ".ini", ".json", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml")
)  # files that usually lie beside pictures


def class_files(base: Path) -> tuple[dict[str, list[Path]], Reasons]:
    """Return the files of each class folder, by the rules of `load_images`, and what could not be looked at.

    Raises:
        DatasetError: there are no class folders, or one has no file.
    """
    unreadable: Reasons = {}
    folders = _class_folders(base, unreadable)
    return {folder.name: _files_under(folder, status, unreadable) for folder, status in folders}, unreadable


def files_under(folder: Path) -> tuple[list[Path], Reasons]:
    """Return the files of a folder and of those in it, by the rules of `load_images`, and what could not be looked at.

    Raises:
        DatasetError: there is no such folder, or no file in it.
    """
    if not os.path.isdir(folder):
        raise DatasetError(
            f"folder must hold a folder {folder.name!r}, got {printable(str(folder.parent))!r} without it"
        )
    unreadable: Reasons = {}
    return _files_under(folder, folder.stat(), unreadable), unreadable


def report(unreadable: Reasons, fatal: bool, what: str = "pictures") -> None:
    """Name all that could not be read in one warning, or error."""
    if not unreadable:
        return
    message = f"{len(unreadable)} of the files cannot be read as {what}:{_reasons(unreadable)}"
    if fatal:
        raise DatasetError(message)
    warn(message)


def _class_folders(base: Path, unreadable: Reasons) -> list[Entry]:
    if not os.path.isdir(base):
        raise DatasetError(f"folder must be an existing folder, got {str(base)!r}")
    folders = [(path, status) for path, status in _entries(base, unreadable) if stat.S_ISDIR(status.st_mode)]
    if not folders:
        raise DatasetError(
            f"folder must hold one folder of pictures per class, got {str(base)!r}, which has none; "
            f"for a plain list of files use load_pictures{_reasons(unreadable)}"
        )
    return folders


def _files_under(folder: Path, status: os.stat_result, unreadable: Reasons) -> list[Path]:
    """Return the files of a folder and of those in it, also behind links; each folder is entered once."""
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()
    own: Reasons = {}
    waiting = [(folder, status)]
    while waiting:
        path, status = waiting.pop()
        if stat.S_ISREG(status.st_mode):
            files.append(path)
        elif not stat.S_ISDIR(status.st_mode):
            own[path] = "it is no regular file"
        elif (status.st_dev, status.st_ino) not in entered:
            entered.add((status.st_dev, status.st_ino))
            waiting += reversed(list(_entries(path, own)))
    if not files:
        rule = "folder must hold at least one picture"
        raise DatasetError(f"{rule}, got {str(folder)!r}, which has none{_reasons(own)}")
    unreadable |= own
    return files


def _entries(folder: Path, unreadable: Reasons) -> Iterator[Entry]:
    """Yield what may be a folder or a picture, in the order of names, with what a link leads to."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        unreadable[folder] = f"{type(error).__name__}: {error.strerror}"
        return
    for name in names:
        path = folder / name
        if name.startswith(".") or (path.suffix.lower() in NOTES and not os.path.isdir(path)):
            continue
        try:
            status = path.stat()
        except OSError as error:
            reason = f"{type(error).__name__}: {error.strerror}"
            unreadable[path] = f"a link that leads nowhere ({reason})" if os.path.islink(path) else reason
        else:
            yield path, status


def _reasons(unreadable: Reasons) -> str:
    return "".join(f"\n  - {printable(str(path))}: {reason}" for path, reason in unreadable.items())
