"""Files: written so that a reader finds the old one or the new one, never a part; opened without surprises."""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

PARTIAL = re.compile(r"\.gedanken-[0-9a-f]{16}\.partial")
ATTEMPTS = 1000  # at making a partial file while others sweep or remove folders


def at_home(path: str) -> str:
    """Return a path with the user's folder in place of `~`, and another user's in place of `~name`.

    Raises:
        OSError: there is no such user; a file whose name begins with `~` is called `./~...`.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        user = expanded.split(os.sep)[0]
        raise OSError(errno.ENOENT, f"{user} is no user's folder; a name that begins with ~ is written ./{user}", path)
    return expanded


# ---------------------------------------------------------------------------------------------- writing


def replace_file(path: str, content: bytes) -> None:
    """Write `content` to `path` as `replacing` does.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Give a new file to write to, which becomes `path` when the block ends: whole, or not at all.

    It is a file with an unforeseeable name beside the old one; synced, then renamed over it. On any error, and if the
    program is killed, the old file stays as it was; what a killed program left behind goes with the next writing into
    this folder. Missing folders are made. `~` is the user's folder. A symbolic link stays, and what it points to is
    replaced. Mode, extended attributes and, as far as the user may, owner and group are those of the old file; other
    hard links to it keep the old content.

    Raises:
        OSError: the file cannot be written: see `check_writable`. It names `path`.
    """
    with _named(path):
        target, old = _target(path)
        folder = os.path.dirname(target)
        with _folders(folder) as made:
            _sweep(folder)
            with _partial_file(folder, 0o600 if old else 0o666, made) as (file, partial):
                yield file
                if old:
                    _take_after(target, old, file.fileno())
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:  # Windows renames no open file; elsewhere the lock keeps it from being swept
                    file.close()
                os.replace(partial, target)
            made.clear()
        _sync_folder(folder)


def check_writable(path: str) -> None:
    """Find out, before the work whose result it is to hold, whether a file can be written. Nothing is left behind.

    Raises:
        OSError: `path` is a folder, a device, a pipe or a socket, or is read-only; its folder takes no new file or
            cannot be made; its name cannot be that of a file. It names `path`.
    """
    with _named(path):
        target, _ = _target(path)
        folder = os.path.dirname(target)
        with _folders(folder) as made, _partial_file(folder, 0o600, made):
            _stat(target)  # a name that is too long shows where its folder exists


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Let errors name the path that the user gave, not one that was made of it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, path) from error
    except ValueError as error:
        if "\0" in path or isinstance(error, UnicodeEncodeError):
            raise OSError(errno.EINVAL, "this cannot be the name of a file", path) from error
        raise


def _target(path: str) -> tuple[str, os.stat_result | None]:
    """Return the file that is to be replaced, links followed, and what it is now, None for nothing yet."""
    if not path:
        raise OSError(errno.ENOENT, "no name was given")
    given = at_home(path)
    old = _stat(given)
    if old and stat.S_ISDIR(old.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.path.basename(given):
        raise OSError(errno.EISDIR, "is the name of a folder; the name of a file is missing")
    if old and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, f"is {_kind(old)}, which is not written to; give the name of a file")
    target = os.path.realpath(given)
    if old:
        _check_replaceable(target, old)
    return target, old


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _kind(found: os.stat_result) -> str:
    return {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(found.st_mode), "a device")


def _check_replaceable(target: str, old: os.stat_result) -> None:
    if not os.access(target, os.W_OK) or not old.st_mode & 0o222:
        raise OSError(errno.EACCES, "is read-only")
    if os.name == "posix":
        folder, user = os.stat(os.path.dirname(target)), os.geteuid()
        if folder.st_mode & stat.S_ISVTX and user not in (0, old.st_uid, folder.st_uid):
            raise OSError(errno.EPERM, "belongs to another user, and its folder keeps it for him")


@contextlib.contextmanager
def _folders(folder: str) -> Iterator[list[str]]:
    """Make a folder with its parents; those that are still in the list at the end are removed again, if empty."""
    made: list[str] = []
    try:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):  # another program's check has removed a parent meanwhile
                _make_folders(folder, made)
                break
        yield made
    finally:
        for name in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(name)


def _make_folders(folder: str, made: list[str]) -> None:
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for name in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name)
            made.append(name)


@contextlib.contextmanager
def _partial_file(folder: str, mode: int, made: list[str]) -> Iterator[tuple[BinaryIO, str]]:
    """Give a new file, locked for as long as it is open, and its path; it is removed at the end unless it was renamed.

    Args:
        mode: its permissions, of which the user's umask is taken.
        made: where folders are noted that have to be made for it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    for _ in range(ATTEMPTS):
        partial = os.path.join(folder, f".gedanken-{secrets.token_hex(8)}.partial")
        try:
            file = open(partial, "w+b", opener=lambda name, _: os.open(name, flags, mode))  # noqa: SIM115
        except FileExistsError:  # planted: nobody meets it by chance
            continue
        except FileNotFoundError:  # another program's check has removed the folder meanwhile
            with contextlib.suppress(FileNotFoundError):
                _make_folders(folder, made)
            continue
        try:
            with file:
                if _locked(file.fileno(), partial):
                    yield file, partial
                    return
        finally:
            with contextlib.suppress(OSError):
                os.remove(partial)
    raise OSError(errno.EACCES, "its folder takes no new file")


def _locked(handle: int, path: str) -> bool:
    """Lock a new file, and say whether it is still there: one that is not locked yet may be swept."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # who sweeps has it, and is about to remove it
    except OSError:
        pass  # a file system without locks: nobody sweeps there
    found = _stat(path)
    return found is not None and os.path.samestat(found, os.fstat(handle))


def _sweep(folder: str) -> None:
    """Remove the partial files that killed programs left: nobody holds their lock any more."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        left = [entry.path for entry in entries if PARTIAL.fullmatch(entry.name) and not entry.is_symlink()]
        for path in left:
            with contextlib.suppress(OSError), open_regular(path) as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.remove(path)
            if fcntl is None:
                with contextlib.suppress(OSError):
                    os.remove(path)


def _take_after(path: str, old: os.stat_result, handle: int) -> None:
    """Give an open file owner, attributes and mode of the one at `path`; nobody can read more than before."""
    if os.name != "posix":
        return
    mode = stat.S_IMODE(old.st_mode)
    with contextlib.suppress(OSError):
        os.fchown(handle, -1, old.st_gid)
    with contextlib.suppress(OSError):
        os.fchown(handle, old.st_uid, -1)
    if os.fstat(handle).st_gid != old.st_gid:
        mode = mode & ~0o070 | (mode & 0o007) << 3  # the group is another one: it gets what all others get
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(path):
                with contextlib.suppress(OSError):
                    os.setxattr(handle, name, os.getxattr(path, name))
    os.fchmod(handle, mode)


def _sync_folder(folder: str) -> None:
    """Make the renaming last, where the system can."""
    if os.name == "posix":
        with contextlib.suppress(OSError):  # the file is written; a folder may be one that can be written to, not read
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


# ---------------------------------------------------------------------------------------------- reading


def open_regular(path: str) -> BinaryIO:
    """Open a file for reading that may come from anybody: one with content and an end, so no device, pipe or socket.

    Raises:
        OSError: it cannot be read, or is no such file.
    """
    with _named(path):
        given = at_home(path)
        _check_regular(os.stat(given))  # to open a device can do something
        file = open(given, "rb", opener=_open_without_waiting)  # noqa: SIM115
        try:
            _check_regular(os.fstat(file.fileno()))
        except OSError:
            file.close()
            raise
        return file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _check_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"is {_kind(found)}, not a file")
