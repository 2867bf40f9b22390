"""Where the library keeps what it can make or fetch again, and what it believes of what it finds there.

A compiled kernel from the cache runs with all that its user may do. So it is taken only from a file that nobody else
could have written: the folders from `gedanken` on and the file itself belong to the user of this process or to the
system's administrator, nobody else may write to them, and none is a link. All are looked at through the handles that
they are read by. What this module makes is for its user alone, whatever the umask.

On Windows the folder of a user's local data belongs to that user; owners and modes are not looked at there.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from gedanken.errors import GedankenError
from gedanken.files import replacing

try:
    import pwd  # here and not where it is used: a thread should import nothing, see `start_thread`
except ImportError:  # Windows
    pwd = None  # type: ignore[assignment]

POSIX = os.name == "posix"
LARGEST = 1 << 26  # bytes of an entry; the largest kernel has less than one hundredth of it
REMEDY = "let XDG_CACHE_HOME name a folder that you alone can write to"


class CacheError(GedankenError, OSError):
    """There is no cache folder, or what is in it is not to be believed; who asks does without, and says so."""


def cache_folder() -> Path:
    """Return the folder for downloads and compiled kernels: gedanken in the user's cache folder.

    That is the first of these which is an absolute path: $XDG_CACHE_HOME, $LOCALAPPDATA, $HOME/.cache, and .cache in
    the home folder that the system knows for this user.

    Raises:
        CacheError: there is none.
    """
    home = os.environ.get("HOME", "")
    places = [os.environ.get("XDG_CACHE_HOME"), os.environ.get("LOCALAPPDATA"), home and os.path.join(home, ".cache")]
    for place in [*places, _system_home()]:
        if place and os.path.isabs(place):
            return Path(place) / "gedanken"
    raise CacheError("this user has no home folder")


def _system_home() -> str:
    try:
        return os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".cache") if pwd else ""
    except KeyError:
        return ""


def private_folder(*inner: str) -> Path:
    """Return a folder of the cache, made for its user alone where it is missing.

    Args:
        inner: names of folders in `cache_folder()`, each in the one before.

    Raises:
        CacheError: it is another user's, or others can write to it.
        OSError: it cannot be made.
    """
    folder = cache_folder().joinpath(*inner)
    _require_no_guest(cache_folder())
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.mkdir(0o700)
    with contextlib.ExitStack() as opened:
        _opened(inner, opened)
    return folder


def read_entry(name: str, *inner: str) -> bytes:
    """Return the content of a file in a folder of the cache.

    Raises:
        CacheError: somebody else could have written it.
        OSError: there is none, or it cannot be read.
    """
    path = cache_folder().joinpath(*inner, name)
    with contextlib.ExitStack() as opened:
        place = _opened(inner, opened)
        handle = _handle(path, place, getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = opened.enter_context(open(handle, "rb"))
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise CacheError(f"{path} in the cache is not a regular file")
        _require_own(path, found)
        return file.read(LARGEST)


def write_entry(name: str, content: bytes, *inner: str) -> None:
    """Keep a file in a folder of the cache, in place of whatever is there under its name.

    Raises:
        CacheError: see `private_folder`.
        OSError: it cannot be written.
    """
    path = private_folder(*inner) / name
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or _foreign(found):
            path.unlink()  # its owner and mode shall not pass to the new one, nor shall a link be followed
    with replacing(str(path)) as file:
        file.write(content)
        if POSIX:
            os.fchmod(file.fileno(), 0o600)


def _opened(inner: Iterable[str], opened: contextlib.ExitStack) -> int | None:
    """Return a handle of a folder of the cache, once it and those around it were looked at; None without owners."""
    if not POSIX:
        return None
    folder = cache_folder()
    _require_no_guest(folder)
    place = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
    opened.callback(os.close, place)
    path = folder.parent
    for name in (folder.name, *inner):
        path /= name
        place = _handle(path, place, os.O_DIRECTORY)
        opened.callback(os.close, place)
        _require_own(path, os.fstat(place))
    return place


def _handle(path: Path, place: int | None, flags: int) -> int:
    """Open a file in a folder that is open, unless it is a link."""
    try:
        if place is None:
            return os.open(path, os.O_RDONLY | flags)
        return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=place)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
            raise CacheError(f"{path} in the cache is a link, and others may have made it") from error
        raise


def _require_own(path: Path, found: os.stat_result) -> None:
    if reason := _foreign(found):
        raise CacheError(f"{path} in the cache {reason}")


def _foreign(found: os.stat_result) -> str:
    """Return why a file could be somebody else's work, or nothing."""
    if not POSIX:
        return ""
    if found.st_uid not in (0, os.geteuid()):
        return f"belongs to user {found.st_uid}, who could have changed it"
    return f"can be written by others ({stat.filemode(found.st_mode)})" if found.st_mode & 0o022 else ""


def _require_no_guest(folder: Path) -> None:
    """Keep the administrator, who may still have another user's HOME, from leaving folders that shut that user out."""
    if POSIX and os.geteuid() == 0:
        nearest = next(path for path in folder.parents if path.exists())
        owner = nearest.stat().st_uid
        if owner != 0:
            raise CacheError(f"{nearest} belongs to user {owner}, and this is the administrator")
