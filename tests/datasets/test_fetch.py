"""Where a published file is looked for, and what is said when it is nowhere."""

import hashlib
import io
import os
import sys
from pathlib import Path

import pytest

from gedanken.datasets.fetch import Published, cache_folder, fetch
from gedanken.errors import DatasetError

CONTENT = bytes(range(256)) * 1000
FILE = Published("toys", "toys.gz", hashlib.md5(CONTENT).hexdigest())
NOWHERE = "http://127.0.0.1:9/"  # the discard port, where nothing listens


def put(base: Path, content: bytes) -> Path:
    path = base / FILE.folder / FILE.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_environment_comes_before_cache_and_network(local, cache, server):
    put(local, CONTENT)
    put(cache, b"other")
    assert fetch(FILE, [server.address]) == CONTENT
    assert server.asked == []


def test_cache_comes_before_network(cache, server):
    put(cache, CONTENT)
    assert fetch(FILE, [server.address]) == CONTENT
    assert server.asked == []


def test_download_is_kept_in_the_cache(cache, server):
    server.files[FILE.name] = CONTENT
    assert fetch(FILE, [server.address]) == CONTENT
    assert fetch(FILE, [server.address]) == CONTENT
    assert server.asked == [FILE.name]
    assert left_in(cache) == [FILE.name]


def test_address_without_a_final_slash(cache, server):
    server.files[FILE.name] = CONTENT
    assert fetch(FILE, [server.address.rstrip("/")]) == CONTENT


def test_second_mirror_is_used_when_the_first_fails(cache, server):
    server.files[f"b/{FILE.name}"] = CONTENT
    assert fetch(FILE, [server.address + "a/", server.address + "b/"]) == CONTENT
    assert server.asked == [f"a/{FILE.name}", f"b/{FILE.name}"]


@pytest.mark.parametrize("place", ["local", "cache"])
def test_damaged_local_file_is_not_used(place, request, local, cache, server):
    put(request.getfixturevalue(place), b"damaged")
    server.files[FILE.name] = CONTENT
    assert fetch(FILE, [server.address]) == CONTENT


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (404, "404"),
        (503, "503"),
        (b"another file", "toys.gz"),
        ((CONTENT, len(CONTENT) // 2), "IncompleteRead"),
        ((CONTENT, 0), "IncompleteRead"),
    ],
    ids=["404", "503", "wrong checksum", "cut in the middle", "cut at the start"],
)
def test_failed_download_says_why_and_leaves_nothing(cache, server, answer, reason):
    server.files[FILE.name] = answer
    with pytest.raises(DatasetError) as caught:
        fetch(FILE, [server.address])
    line = next(line for line in str(caught.value).splitlines() if server.address in line)
    assert reason in line
    assert left_in(cache) == []


def test_failed_download_keeps_the_old_file(cache, server):
    old = put(cache, b"damaged")
    server.files[FILE.name] = (CONTENT, 1000)
    with pytest.raises(DatasetError, match="wrong md5"):
        fetch(FILE, [server.address])
    assert left_in(cache) == [FILE.name]
    assert old.read_bytes() == b"damaged"


def test_interrupt_leaves_nothing(cache, server, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            raise KeyboardInterrupt

    server.files[FILE.name] = CONTENT
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt):
        fetch(FILE, [server.address])
    assert left_in(cache) == []


def test_error_names_every_place_and_the_embedded_set(local, cache):
    damaged = put(local, b"damaged")
    with pytest.raises(DatasetError) as caught:
        fetch(FILE, [NOWHERE, NOWHERE + "b"])
    message = str(caught.value)
    assert f"{damaged}: wrong md5 {hashlib.md5(b'damaged').hexdigest()}" in message
    assert f"{cache / 'toys' / 'toys.gz'}: file missing" in message
    assert f"{NOWHERE}toys.gz: " in message
    assert f"{NOWHERE}b/toys.gz: " in message
    assert "load_drawn_digits()" in message


def test_error_says_that_the_variable_is_not_set(cache):
    with pytest.raises(DatasetError, match=r"\$GEDANKEN_DATA: not set"):
        fetch(FILE, [])


def test_error_says_that_a_place_is_not_readable(local):
    (local / FILE.folder / FILE.name).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"toys\.gz: (Is a directory|Permission denied)"):
        fetch(FILE, [])


@pytest.mark.skipif(os.name != "posix", reason="makes a pipe")
@pytest.mark.parametrize("place", ["local", "cache"])
def test_a_pipe_in_a_files_place_is_not_waited_for(place, request, server):
    server.files[FILE.name] = CONTENT
    folder = request.getfixturevalue(place) / FILE.folder
    folder.mkdir(parents=True)
    os.mkfifo(folder / FILE.name)
    with pytest.raises(DatasetError, match=r"toys\.gz: is a pipe, not a file"):
        fetch(FILE, [server.address] if place == "cache" else [])


def test_an_answer_without_an_end_is_given_up(cache, server, monkeypatch):
    monkeypatch.setattr("gedanken.datasets.fetch.MOST_BYTES", len(CONTENT) - 1)
    server.files[FILE.name] = CONTENT
    with pytest.raises(DatasetError, match="the answer has more than 255,999 bytes"):
        fetch(FILE, [server.address])
    assert left_in(cache) == []


class Full(io.StringIO):
    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


CLOSED = io.StringIO()
CLOSED.close()


@pytest.mark.parametrize("stream", [None, CLOSED, object(), Full()], ids=["none", "closed", "no stream", "full"])
def test_a_stream_that_takes_nothing_does_not_end_a_download(cache, server, monkeypatch, stream):
    server.files[FILE.name] = CONTENT
    monkeypatch.setattr(sys, "stderr", stream)
    assert fetch(FILE, [server.address]) == CONTENT


def test_error_says_that_pooch_is_missing(cache, server, monkeypatch):
    server.files[FILE.name] = CONTENT
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DatasetError, match=r"pip install gedanken\[data\]"):
        fetch(FILE, [server.address])


def test_cache_that_cannot_be_written(cache, server):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    server.files[FILE.name] = CONTENT
    with pytest.raises(DatasetError) as caught:
        fetch(FILE, [server.address])
    assert server.address in str(caught.value)


@pytest.mark.parametrize("content", [CONTENT, b""], ids=["some bytes", "no bytes"])
def test_progress_is_drawn_on_a_terminal_only(cache, server, monkeypatch, content):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Published("toys", "toys.gz", hashlib.md5(content).hexdigest())
    server.files[file.name] = content
    terminal, plain = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    fetch(file, [server.address])
    os.remove(cache / file.folder / file.name)
    monkeypatch.setattr(sys, "stderr", terminal)
    fetch(file, [server.address])
    assert "toys.gz [" not in plain.getvalue()
    assert terminal.getvalue().endswith(f"\rtoys.gz [{'#' * 30}] 100%\n")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x", "LOCALAPPDATA": "/y"}, "/x/gedanken"),
        ({"LOCALAPPDATA": "/y"}, "/y/gedanken"),
        ({"HOME": "/home/me"}, "/home/me/.cache/gedanken"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="paths are written the POSIX way")
def test_cache_folder_follows_the_system(monkeypatch, variables, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
