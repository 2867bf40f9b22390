"""Find a published file on this machine, or download it; what comes back has the published md5."""

import hashlib
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gedanken.caches import CacheError, cache_folder, private_folder
from gedanken.checks import printable
from gedanken.errors import DatasetError, MissingPackageError
from gedanken.files import open_regular

TIMEOUT = 30.0  # seconds without a byte from the server
BAR_CELLS = 30
MOST_BYTES = 1 << 29  # of a published file
GZIP = 31  # zlib's window bits for a gzip header


@dataclass(frozen=True)
class Published:
    """A file of a data set.

    Args:
        folder: the data set's folder in $GEDANKEN_DATA and in the cache.
        name: name of the file.
        md5: published checksum, in hexadecimal.
    """

    folder: str
    name: str
    md5: str


@dataclass
class Search:
    """The places where a file was looked for, and why each had none."""

    file: Published
    tried: list[str] = field(default_factory=list)

    def local(self) -> bytes | None:
        """Return the file from $GEDANKEN_DATA or the cache folder."""
        return self.environment() or self._cached()

    def environment(self) -> bytes | None:
        """Return the file from $GEDANKEN_DATA."""
        base = os.environ.get("GEDANKEN_DATA")
        if not base:
            self.tried.append("$GEDANKEN_DATA: not set")
            return None
        return self._read(Path(base) / self.file.folder)

    def _cached(self) -> bytes | None:
        """Return the file from the cache folder; the checksum says whether it is the right one, whoever wrote it."""
        try:
            folder = cache_folder()
        except CacheError as error:
            self.tried.append(f"the cache folder: {error}")
            return None
        return self._read(folder / self.file.folder)

    def download(self, mirrors: Sequence[str]) -> bytes | None:
        """Return the file from the first of `mirrors` that has it, and keep it in the cache folder."""
        for mirror in mirrors:
            url = mirror.rstrip("/") + "/" + self.file.name
            try:
                return _retrieve(url, self.file)
            except MissingPackageError as error:
                self.tried.append(f"{url}: {error}")
            except (OSError, ValueError) as error:
                self.tried.append(f"{url}: {' '.join(str(error).split())}")
        return None

    def failure(self) -> DatasetError:
        """Return the error that names every place."""
        places = "".join(f"\n  - {printable(place)}" for place in self.tried)
        return DatasetError(
            f"no usable {self.file.folder}/{self.file.name}; tried:{places}\n"
            "Set GEDANKEN_DATA to the folder that holds this file, or use "
            "gedanken.datasets.load_drawn_digits(), which needs no file."
        )

    def _read(self, folder: Path) -> bytes | None:
        path = folder / self.file.name
        try:
            with open_regular(str(path)) as file:
                content = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            self.tried.append(f"{path}: file missing")
        except OSError as error:
            self.tried.append(f"{path}: {error.strerror or error}")
        else:
            md5 = _md5(content)
            if md5 == self.file.md5:
                return content
            self.tried.append(f"{path}: wrong md5 {md5}, published is {self.file.md5}")
        return None


def fetch(file: Published, mirrors: Sequence[str]) -> bytes:
    """Return the content of `file` from $GEDANKEN_DATA, the cache folder or a mirror, in this order.

    Raises:
        DatasetError: no place has the file with its checksum; names each place and what was wrong there.
    """
    search = Search(file)
    content = search.local() or search.download(mirrors)
    if content is None:
        raise search.failure()
    return content


def unpacked(packed: bytes, name: str, most_bytes: int) -> bytes:
    """Return the content of a gzip file, of which no more is unpacked than it may have.

    Raises:
        DatasetError: it is damaged, cut off, or has more than `most_bytes`.
    """
    stream = zlib.decompressobj(GZIP)
    try:
        content = stream.decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise DatasetError(f"{name} must be a whole gzip file: {error}") from error
    if len(content) > most_bytes:
        raise DatasetError(f"{name} must hold no more than {most_bytes:,} bytes when it is unpacked")
    if not stream.eof:
        raise DatasetError(f"{name} must be a whole gzip file, got one that is cut off")
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _retrieve(url: str, file: Published) -> bytes:
    try:
        import pooch  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError("downloading needs pooch: pip install gedanken[data]") from error
    downloader = pooch.HTTPDownloader(progressbar=_Bar(file.name), chunk_size=1 << 16, timeout=TIMEOUT)
    # pooch writes under a temporary name and renames once the checksum is right.
    folder = private_folder(file.folder)
    kept = folder / file.name
    if os.path.lexists(kept) and not os.path.isfile(kept):  # pooch would wait for what a pipe gives
        raise DatasetError(f"{kept} is in the way and is not a file")
    path = pooch.retrieve(url, f"md5:{file.md5}", file.name, folder, downloader=downloader)
    return Path(path).read_bytes()


class _Bar:
    """Progress of a download, in the form that pooch expects; silent unless stderr is a terminal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = 0
        self.done = 0

    def update(self, size: int) -> None:
        if self.done + size > MOST_BYTES:
            raise DatasetError(f"the answer has more than {MOST_BYTES:,} bytes")
        self.done += size
        share = min(self.done / self.total, 1.0) if self.total else 1.0
        cells = "#" * int(share * BAR_CELLS)
        self._show(f"\r{self.name} [{cells:<{BAR_CELLS}}] {share:4.0%}")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        self._show("\n")

    def _show(self, text: str) -> None:
        # A stream that is not there, is closed or full is no reason to end a download.
        try:
            if sys.stderr.isatty():
                sys.stderr.write(text)
        except (AttributeError, OSError, ValueError):
            return
