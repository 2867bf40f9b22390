"""Texts of your own, read from files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gedanken.checks import path, printable, require
from gedanken.datasets.labels import held_out, one_hot
from gedanken.datasets.pictures import PathLike
from gedanken.errors import DatasetError
from gedanken.files import open_regular
from gedanken.types import Array


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts with the classes that their files say.

    Shapes:
        texts: N of them.   labels: (N, len(classes)), float32, one-hot.
    """

    texts: tuple[str, ...]
    labels: Array
    classes: tuple[str, ...]
    files: tuple[Path, ...]  # of each text

    def split(self, test: float = 0.2, seed: int = 0) -> tuple[tuple[str, ...], Array, tuple[str, ...], Array]:
        """Divide every class at random into a training and a test part, as `LabelledPictures.split` does.

        Args:
            test: fraction of each class to test on, in (0, 1).
            seed: >= 0; the same seed divides the same texts in the same way.

        Returns:
            train_texts, train_labels, test_texts, test_labels.

        Raises:
            ArgumentError: an argument breaks its rule.
        """
        held = held_out(self.labels.argmax(axis=1), self.classes, test, seed)
        parts = [tuple(text for text, here in zip(self.texts, which, strict=True) if here) for which in (~held, held)]
        return parts[0], self.labels[~held], parts[1], self.labels[held]


def load_texts(
    folder: PathLike,
    *,
    separator: str | None = "%",
    suffixes: Sequence[str] = ("", ".txt"),
    encoding: str = "utf-8",
) -> LabelledTexts:
    """Read the texts of a folder; each file in it is a class, or each folder in it with all its files.

    The classes are the names without suffix, in sorted order. A line that is the separator and nothing else ends a
    text, as in the files of `fortune`; a file without one is one text. Blank space around texts is left out, and so are
    empty texts, hidden files and those with other suffixes. A link is read as what it leads to.

    Args:
        folder: holds the files or folders.
        separator: the line between two texts, not empty and without its end; None for one text in each file.
        suffixes: of the files that are read.
        encoding: of the files, by one of Python's names.

    Raises:
        DatasetError: the folder is missing, a file cannot be read or is in another encoding, or a class has no text.
        ArgumentError: an argument breaks its rule.
    """
    one_line = isinstance(separator, str) and separator.splitlines() == [separator]
    rule = "be a line that is not empty, or None for one text in each file"
    require(separator is None or one_line, "separator", rule, separator)
    listed = isinstance(suffixes, (list, tuple)) and all(isinstance(suffix, str) for suffix in suffixes)
    require(listed and len(suffixes) > 0, "suffixes", "be a list such as ['.txt']", suffixes)
    require(_is_encoding(encoding), "encoding", "be one that Python knows", encoding)
    base = Path(os.path.expanduser(path("folder", folder)))
    found: dict[str, list[tuple[Path, str]]] = {}
    for name, files in _classes(base, suffixes).items():
        found[name] = [(file, text) for file in files for text in _texts(_content(file, encoding), separator)]
        if not found[name]:
            raise DatasetError(f"{printable(str(base / name))} must hold a text, got none that is not empty")
    if not found:
        rule = f"folder must hold a file of texts, or a folder of such, with a suffix in {list(suffixes)}"
        raise DatasetError(f"{rule}, got {printable(str(base))!r}, which has none")
    numbers = np.repeat(np.arange(len(found)), [len(members) for members in found.values()])
    all_of_them = [one for members in found.values() for one in members]
    texts, places = tuple(text for _, text in all_of_them), tuple(file for file, _ in all_of_them)
    return LabelledTexts(texts, one_hot(numbers, len(found)), tuple(found), places)


def _classes(base: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Return the files of each class, in the order of names."""
    found: dict[str, list[Path]] = {}
    for entry in _entries(base, "folder"):
        if entry.is_dir():
            inside = [file for file in _entries(entry, "class folder") if _is_text(file, suffixes)]
            found.setdefault(entry.name, []).extend(inside)
        elif _is_text(entry, suffixes):
            found.setdefault(entry.stem, []).append(entry)
    return {name: found[name] for name in sorted(found)}


def _entries(folder: Path, what: str) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{what} must be a readable folder, got {printable(str(folder))!r}: {error}") from error


def _is_text(file: Path, suffixes: Sequence[str]) -> bool:
    return file.suffix in suffixes and not file.is_dir()


def _content(file: Path, encoding: str) -> str:
    shown = printable(str(file))
    try:
        with open_regular(str(file)) as opened:
            return opened.read().decode(encoding)
    except UnicodeError as error:
        raise DatasetError(f"{shown} must be a text in {encoding}, got other bytes: {error}") from error
    except OSError as error:
        raise DatasetError(f"{shown} cannot be read: {error.strerror or error}") from error


def _texts(content: str, separator: str | None) -> list[str]:
    lines = content.removeprefix("\ufeff").splitlines()
    ends = [place for place, line in enumerate(lines) if line == separator]
    parts = [lines[first:end] for first, end in zip([0, *(end + 1 for end in ends)], [*ends, len(lines)], strict=True)]
    return [text for part in parts if (text := "\n".join(part).strip())]


def _is_encoding(name: object) -> bool:
    try:
        return isinstance(name, str) and bool(" ".encode(name))
    except (LookupError, ValueError):
        return False
