"""Files in the svmlight format: a sample a line, its label and those of its features that are not 0."""

import codecs
import gzip
import math
import os
import re
import zlib

import numpy as np

from gedanken.checks import path as checked_path
from gedanken.checks import short, truth, whole
from gedanken.errors import DatasetError
from gedanken.keywords import keywords_checked
from gedanken.sparse import SparseRows
from gedanken.types import Array

GZIP = b"\x1f\x8b"
COLON = ord(":")
MOST_FEATURES = (1 << 31) - 1  # numbers of columns take 32 bits
WIDEST = 2.0**63  # no int64 is as large
LABEL = re.compile(rb"\s*[^\s:]+(\s|$)")
PAIR = re.compile(rb"(?=[0-9])0*([0-9]*):([^\s:]+)")
FORM = "must be a label and feature:value pairs"
FINITE = "numbers must be finite"


@keywords_checked
def load_svmlight(
    path: str | os.PathLike[str], *, features: int | None = None, zero_based: bool | None = None
) -> tuple[SparseRows, Array]:
    """Return the samples and labels of a file in the svmlight or libsvm format, which may be gzipped.

        label feature:value feature:value ...   # a comment

    Args:
        path: the file.
        features: columns of the rows, at least as many as the file has; None is as many. Give it where a second file,
            such as test samples, may have others.
        zero_based: whether the first feature is called 0; None is yes where the file has a feature 0, else no.

    Shapes:
        first result: (N, F), values of float64.   second: (N,), int64 where all labels are whole numbers, else float64.

    Raises:
        DatasetError: the file is missing or damaged, a line breaks the format (the message has its number), or a
            feature is not in [0, features).

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "two.svm")
        >>> _ = file.write_text("+1 1:0.5 4:2\\n-1 2:1\\n")
        >>> x, labels = load_svmlight(file)
        >>> x.toarray(), labels > 0
        (array([[0.5, 0. , 0. , 2. ],
               [0. , 1. , 0. , 0. ]]), array([ True, False]))

    Source:
        Joachims 1999, "Making large-scale SVM learning practical" (the format).
    """
    name = checked_path("path", path)
    wanted = None if features is None else whole("features", features)
    first = None if zero_based is None else truth("zero_based", zero_based)
    lines = _lines(name, _content(name))
    _check_form(name, lines)
    counts = np.array([line.count(b":") for _, line in lines], np.int64)
    values = _numbers(name, lines)
    if len(values) != len(lines) + 2 * int(counts.sum()):
        raise _at_fault(name, lines)
    starts = np.cumsum(counts) - counts
    places = 2 * starts + np.arange(len(counts))
    labels, rest = values[places], np.delete(values, places).reshape(-1, 2)
    columns = rest[:, 0]
    fine = np.isfinite(values).all() and (columns < MOST_FEATURES).all() and (columns == np.floor(columns)).all()
    if not fine:
        raise _at_fault(name, lines)
    low = int(columns.min(initial=1))
    base = 0 if (low == 0 if first is None else first) else 1
    most = int(columns.max(initial=base)) + 1 - base
    if low < base or (wanted is not None and most > wanted):
        found = low if low < base else int(columns.max())
        allowed = f"in [{base}, {'...' if wanted is None else wanted + base})"
        hint = "; with zero_based they count from 0" if found == 0 else ""
        raise DatasetError(f"{name}: features must be {allowed}, got {found}{hint}")
    rows = SparseRows(
        [*starts.tolist(), int(counts.sum())], columns.astype(np.int64) - base, rest[:, 1], wanted or most
    )
    whole_numbers = (labels == np.floor(labels)) & (abs(labels) < WIDEST)
    return rows, labels.astype(np.int64) if whole_numbers.all() else labels


def _content(name: str) -> bytes:
    try:
        with open(name, "rb") as file:
            content = file.read()
        content = gzip.decompress(content) if content.startswith(GZIP) else content
        return content.removeprefix(codecs.BOM_UTF8)
    except (OSError, EOFError, zlib.error) as error:  # gzip's own error is an OSError
        raise DatasetError(f"{name} cannot be read: {error}") from error


def _lines(name: str, content: bytes) -> list[tuple[int, bytes]]:
    """Return the lines that have a sample, without comments, each with its number in the file."""
    if b"#" in content:
        content = re.sub(rb"#[^\n]*", b"", content)
    if b"qid:" in content:
        content = re.sub(rb"\bqid:\d+", b"", content)
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    if not lines:
        raise DatasetError(f"{name} has no samples")
    return lines


def _check_form(name: str, lines: list[tuple[int, bytes]]) -> None:
    """Raise DatasetError unless each line is a label and pairs: colons stand between two words, blanks elsewhere."""
    text = np.frombuffer(b"\n".join([b"", *(line for _, line in lines), b""]), np.uint8)
    places = np.flatnonzero((text <= ord(" ")) | (text == COLON))
    colons = np.flatnonzero(text[places] == COLON)
    before, after = places[colons] - places[colons - 1], places[colons + 1] - places[colons]
    beside = (text[places[colons - 1]] == COLON) | (text[places[colons + 1]] == COLON)
    blanks = places[text[places] != COLON]
    words = int((np.diff(blanks) > 1).sum())
    labelled = all(LABEL.match(line) for _, line in lines)
    if not labelled or beside.any() or (before == 1).any() or (after == 1).any() or words != len(lines) + len(colons):
        raise _at_fault(name, lines)


def _numbers(name: str, lines: list[tuple[int, bytes]]) -> Array:
    joined = b" ".join(line for _, line in lines).replace(b":", b" ")
    if b"_" in joined:  # Python reads 1_000 as a number
        raise _at_fault(name, lines)
    try:
        return np.array(joined.split(), np.float64)
    except ValueError:
        raise _at_fault(name, lines) from None


def _at_fault(name: str, lines: list[tuple[int, bytes]]) -> DatasetError:
    """Return the error of the first line that breaks the format."""
    for number, line in lines:
        label, *pairs = line.split()
        wrong, rule = next(((word, rule) for word in pairs if (rule := _broken_rule(word))), (b"", ""))
        if b":" in label or not _is_number(label):
            wrong, rule = label, FORM
        elif not math.isfinite(float(label)):
            wrong, rule = label, FINITE
        if rule:
            return DatasetError(f"{name}, line {number}: {rule}, got {short(wrong.decode(errors='replace'))}")
    return DatasetError(f"{name} is not in the svmlight format")


def _broken_rule(word: bytes) -> str:
    """Return the rule that a pair of feature and value breaks, or nothing."""
    pair = PAIR.fullmatch(word)
    if not pair or not _is_number(pair[2]):
        return FORM
    if not math.isfinite(float(pair[2])):
        return FINITE
    # Python refuses to make a number of thousands of digits.
    large = len(pair[1]) > 10 or int(pair[1] or b"0") >= MOST_FEATURES
    return f"features must be below {MOST_FEATURES:,}" if large else ""


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word
