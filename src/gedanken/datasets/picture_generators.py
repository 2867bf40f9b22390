"""Generators of pictures that are read while a network trains: from class folders, or by HTTP."""

import copy
import os
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from gedanken.checks import is_list, one_of, path, printable, refuse_masked, require, warn, whole
from gedanken.data.conversion import NUMBERS
from gedanken.data.generator import AUTO, Generator
from gedanken.datasets.decoding import MOST_PIXELS, Decoder
from gedanken.datasets.folders import Reasons, class_files, report
from gedanken.datasets.labels import held_out
from gedanken.datasets.pictures import SIZE, PathLike
from gedanken.errors import DatasetError
from gedanken.processes.possible import processes_possible
from gedanken.processors import usable_processors
from gedanken.types import Array

UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # no part of an address
# A name and password before the host; or, with a slash in it, what only its writer takes for one
SECRET: Final = re.compile(
    r"^(\s*(?:\w+:[/\\]*|[/\\]+))(?:[^/?#\\]*@|[^/?#\\@\[]*:(?!\d*(?:[/?#\\]|$))[^@]*@(?:.*@)?)", re.DOTALL
)
PER_PROCESS: Final = 8  # threads: more of them wait for Python's lock when pictures are large


class PictureGenerator(Generator):
    """One call, one picture. A further one says where pictures are, and gives their content."""

    def __init__(self, decoder: Decoder, on_error: str, options: Mapping[str, Any]) -> None:
        self._decoder = decoder
        self._fatal = one_of("on_error", on_error, ("raise", "warn")) == "raise"
        self._options = dict(options)
        super().__init__(**options)

    @abstractmethod
    def place(self, index: int) -> str:
        """Return what a report of a failure names."""

    @abstractmethod
    def file(self, index: int) -> Path | bytes:
        """Return the path of a picture, or its content, or raise DatasetError."""

    @abstractmethod
    def label(self, index: int) -> Any:
        """Return the label of a picture."""

    def get_mini_batches(self, index: int) -> list[Any]:
        """Return one picture with its label, or nothing where it cannot be read."""
        try:
            picture = self._decoder.picture(self.file(index))
        except DatasetError as error:
            message = f"{printable(self.place(index))} cannot be read as a picture: {error}"
            if self._fatal:
                raise DatasetError(message) from error
            warn(message)
            return []
        return [(picture, self.label(index))]


class ImageFolderGenerator(PictureGenerator):
    """Pictures of a folder that has one folder of pictures per class, read while the network trains.

    The folder is read as by `load_images`, which holds all pictures in memory; this one holds only the names of the
    files. One call is one picture, so `shuffle=True`, which you want here, permutes pictures. What cannot be looked at
    in the folder is named at once, and stands in `unreadable`.

    Args:
        folder: holds the class folders.
        size: (height, width) of the pictures in pixels, >= 1; one number stands for both.
        channels: 3 for red, green, blue; 1 for grey.
        fit: "crop" keeps proportions and cuts off what is too much on two sides; "stretch" keeps every part.
        labels: "one_hot" rows, or "numbers" of the classes.
        on_error: what an unreadable file is: "warn", left out and named in a GedankenWarning; or "raise".
        max_pixels: as of `load_pictures`, for each worker process.
        **options: of `Generator`.

    Shapes:
        mini-batch: pictures (N, C, H, W), float32 in [0, 1], black is 0; and labels (N, classes), float32, or (N,),
        int64.

    Raises:
        DatasetError: the folder is missing, has no class folders, or a class has no file; or a file is unreadable
            and on_error is "raise" (when it is read).
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow is not installed.
    """

    def __init__(
        self,
        folder: PathLike,
        size: int | tuple[int, int] = SIZE,
        *,
        channels: int = 3,
        fit: str = "crop",
        labels: str = "one_hot",
        on_error: str = "warn",
        max_pixels: int = MOST_PIXELS,
        **options: Any,
    ) -> None:
        self._one_hot = one_of("labels", labels, ("numbers", "one_hot")) == "one_hot"
        super().__init__(Decoder(size, channels, fit, max_pixels), on_error, options)
        self.unreadable: Reasons
        found, self.unreadable = class_files(Path(os.path.expanduser(path("folder", folder))))
        report(self.unreadable, self._fatal)
        self.classes: tuple[str, ...] = tuple(found)
        self.files: tuple[Path, ...] = tuple([file for members in found.values() for file in members])
        self._numbers = np.repeat(np.arange(len(found)), [len(members) for members in found.values()])

    def split(self, test: float = 0.2, seed: int = 0, **options: Any) -> tuple[Self, Self]:
        """Divide every class at random into a training and a test part, as `LabelledPictures.split` does.

        Both parts know all classes and number them in the same way. This Generator stays as it is.

        Args:
            test: fraction of each class to test on, in (0, 1). Each part gets at least one file of a class that has
                two or more; a lone file is for training.
            seed: >= 0; the same seed divides the same files in the same way.
            **options: of `Generator`, where those of the test part differ from the ones that this was made with;
                `transforms=[]` where they vary pictures at random.

        Returns:
            two Generators: for training, and for testing.

        Raises:
            ArgumentError: an argument breaks its rule.

        Example:
            >>> training, validation = pictures.split(0.2, transforms=[])  # doctest: +SKIP
            >>> net.fit(training, validation_set=validation)  # doctest: +SKIP
        """
        held = held_out(self._numbers, self.classes, test, seed)
        return self._part(~held, {}), self._part(held, options)

    def _part(self, chosen: Array, options: Mapping[str, Any]) -> Self:
        part = copy.copy(self)
        part._options = {**self._options, **options}
        Generator.__init__(part, **part._options)  # workers and position of its own
        part.files = tuple([file for file, here in zip(self.files, chosen, strict=True) if here])
        part._numbers = self._numbers[chosen]
        return part

    def __len__(self) -> int:
        return len(self.files)

    def place(self, index: int) -> str:
        return str(self.files[index])

    def file(self, index: int) -> Path:
        return self.files[index]

    def label(self, index: int) -> Any:
        number = self._numbers[index]
        if not self._one_hot:
            return number
        row = np.zeros(len(self.classes), np.float32)
        row[number] = 1
        return row


class HTTPImageGenerator(PictureGenerator):
    """Pictures that are fetched by HTTP or HTTPS while the network trains.

    One call fetches one address. `connections` bounds the requests that are made at the same time, by all workers
    together, and so what a server meets; unless `workers`, `mode` or `threads` say otherwise, as many threads fetch,
    in up to as many processes as there are cores. Connections stay open for the next picture.

    A try that fails in connecting, that is not over in time, or that is answered by 429, 500, 502, 503 or 504 is made
    again. What fails in the end, any other answer than 200, and content that is not a picture is reported with its
    address and the reason. An address takes (retries + 1) * timeout seconds at most, and up to 60 before each retry,
    besides the time in which the system looks for the name of its host. Proxies of the environment are not used.

    Args:
        urls: addresses, http:// or https://.
        labels: one for each address: numbers of classes, one-hot rows, or any array.
        size, channels, fit: as of `ImageFolderGenerator`.
        connections: at the same time, at least 1. Servers of others often allow fewer than 10.
        retries: tries after the first one, at least 0.
        backoff: seconds before the second try, doubled each time, >= 0, less up to a half at random. Where the server
            says when to come again (Retry-After) that counts, up to 60 s.
        timeout: seconds for one try, from connecting to the last byte, > 0.
        most_bytes: that an answer may have, at least 1.
        on_error: what a failure is: "warn", left out and named in a GedankenWarning; or "raise", a DatasetError.
        headers: sent with each request, such as {"Authorization": ...}. A host that a server redirects to does not
            get them, and no report shows them.
        redirects: "anywhere", up to 5 of them; "same host", which is the same scheme, name and port, or https after
            http; or "none". A server of others may redirect to addresses that only your machine can reach.
        max_pixels: as of `load_pictures`, for each worker process.
        **options: of `Generator`.

    Shapes:
        mini-batch: pictures (N, C, H, W), float32 in [0, 1], black is 0; and labels (N, ...).

    Raises:
        DatasetError: an address failed and on_error is "raise" (when it is read).
        ArgumentError: an argument breaks its rule.
        MissingPackageError: Pillow or urllib3 is not installed.
    """

    def __init__(
        self,
        urls: Sequence[str],
        labels: Any,
        size: int | tuple[int, int],
        *,
        channels: int = 3,
        fit: str = "crop",
        connections: int = 32,
        retries: int = 3,
        backoff: float = 0.5,
        timeout: float = 10.0,
        most_bytes: int = 64 << 20,
        on_error: str = "warn",
        headers: Mapping[str, str] | None = None,
        redirects: str = "anywhere",
        max_pixels: int = MOST_PIXELS,
        **options: Any,
    ) -> None:
        from gedanken.datasets.downloads import Downloads  # noqa: PLC0415 - http.client is slow to import

        self.urls, self._labels = _checked_urls(urls), _checked_labels(labels, len(urls))
        self._downloads = Downloads(connections, retries, backoff, timeout, most_bytes, headers, redirects)
        options = _crew_options(self._downloads.connections, options)
        options.setdefault("time_limit", max(300.0, self._downloads.longest + 30))
        super().__init__(Decoder(size, channels, fit, max_pixels), on_error, options)

    def __len__(self) -> int:
        return len(self.urls)

    def place(self, index: int) -> str:
        return without_password(self.urls[index])

    def file(self, index: int) -> bytes:
        def jitter() -> float:
            return float(1 - 0.5 * self.rng(index).random())

        return self._downloads.get(self.urls[index], jitter)

    def label(self, index: int) -> Any:
        return self._labels[index, ...]

    def close(self) -> None:
        """End the workers, and close the connections."""
        self._downloads.stop()  # a worker that waits for its next try is not waited for
        super().close()
        self._downloads.close()


def _checked_urls(urls: Any) -> tuple[str, ...]:
    require(is_list(urls), "urls", "be a list of addresses", _shown(urls))
    for place, url in enumerate(urls):
        known = isinstance(url, str) and url.lower().startswith(("http://", "https://"))
        require(known, f"urls[{place}]", "be an address that begins with http:// or https://", _shown(url))
        clean = url.strip() == url and not UNFIT.search(url)
        require(
            clean, f"urls[{place}]", "have no line break, tab or blank around it, nor control characters", _shown(url)
        )
    return tuple(str(url) for url in urls)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return without_password(value)
    return value if value is None else type(value).__name__


def without_password(url: str) -> str:
    """Return an address as reports show it."""
    return SECRET.sub(r"\1***@", url)


def _checked_labels(labels: Any, count: int) -> Array:
    refuse_masked("labels", labels)
    found = np.asarray(labels)
    require(found.dtype.kind in NUMBERS, "labels", "be an array of numbers", found.dtype)
    require(found.shape[:1] == (count,), "labels", f"have one entry for each of the {count} urls", found.shape)
    return found


def _crew_options(connections: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with as many workers as there may be connections, where they leave that open."""
    mode, workers, threads = (options.get(name, AUTO) for name in ("mode", "workers", "threads"))
    if mode == "serial" or workers == 0:
        return dict(options)
    if mode == AUTO and processes_possible():
        mode = "threads"
    if workers != AUTO:
        workers = whole("workers", workers)
    elif mode == "threads":
        workers = connections
    elif threads != AUTO:
        workers = max(1, min(usable_processors(), connections // whole("threads", threads)))
    else:
        workers = min(usable_processors(), -(-connections // PER_PROCESS))
    if threads == AUTO:
        threads = 1 if mode == "threads" else max(1, connections // workers)
    together = workers if mode == "threads" else workers * whole("threads", threads)
    rule = f"be no more at the same time than connections={connections}"
    require(together <= connections, "workers * threads", rule, together)
    return {**options, "mode": mode, "workers": workers, "threads": threads}
