"""Generators of pictures in folders, and behind real HTTP servers on this machine."""

import http.server
import io
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from gedanken.data.generator import Generator
from gedanken.datasets import downloads, load_images
from gedanken.datasets.picture_generators import HTTPImageGenerator, ImageFolderGenerator
from gedanken.errors import ArgumentError, DatasetError, GedankenWarning, MissingPackageError
from gedanken.processors import usable_processors

CREWS = {
    "serial": {"mode": "serial"},
    "threads": {"mode": "threads", "workers": 3},
    "processes": {"mode": "processes", "workers": 2},
}
in_all_modes = pytest.mark.parametrize("crew", CREWS.values(), ids=CREWS)


def png(level: int, size: tuple[int, int] = (6, 4)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(content, "PNG")
    return content.getvalue()


def joined(generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return one epoch as one mini-batch."""
    data, labels = zip(*generator, strict=True)
    return np.concatenate(data), np.concatenate(labels)


def levels(data: np.ndarray) -> list[int]:
    """Return the grey of each picture."""
    return [round(float(picture.mean() * 255)) for picture in data]


# Folders


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Two classes, cat and dog, of three and two pictures, and litter."""
    for name, level in (("dog/a", 40), ("dog/b", 50), ("cat/a", 10), ("cat/deep/c", 30), ("cat/b", 20)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(level, (5 + level, 9)))
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"litter")
    return tmp_path


@in_all_modes
def test_a_folder_gives_what_load_images_gives(crew, classes):
    wanted = load_images(classes, (3, 4))
    with ImageFolderGenerator(classes, (3, 4), mini_batch_size=2, **crew) as generator:
        assert (generator.classes, generator.files) == (wanted.classes, wanted.files)
        for _ in range(2):
            data, labels = joined(generator)
            np.testing.assert_array_equal(data, wanted.data)
            np.testing.assert_array_equal(labels, wanted.labels)
            assert (data.dtype, labels.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA"])
def test_every_form_is_that_of_load_images(channels, fit, mode, tmp_path):
    (tmp_path / "one").mkdir()
    stripes = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12) * 2
    Image.fromarray(stripes).convert(mode).save(tmp_path / "one" / "a.png")
    form = {"size": 5, "channels": channels, "fit": fit}
    data, _ = joined(ImageFolderGenerator(tmp_path, **form, mode="serial"))
    np.testing.assert_array_equal(data, load_images(tmp_path, **form).data)


def test_numbers_of_classes_and_order(classes):
    options = {"labels": "numbers", "shuffle": True, "seed": 3, "mini_batch_size": 2, "mode": "serial"}
    with ImageFolderGenerator(str(classes), 1, **options) as generator:
        orders = []
        for _ in range(2):
            data, labels = joined(generator)
            assert labels.dtype == np.int64
            assert [int(level >= 40) for level in levels(data)] == labels.tolist()
            orders.append(levels(data))
    assert sorted(orders[0]) == sorted(orders[1]) == [10, 20, 30, 40, 50]
    assert orders[0] != orders[1]


@in_all_modes
def test_an_unreadable_file_is_named_and_left_out(crew, classes):
    damaged, cut = classes / "cat" / "b.png", classes / "dog" / "a.png"
    damaged.write_bytes(b"no picture")
    cut.write_bytes(cut.read_bytes()[:40])
    generator = ImageFolderGenerator(classes, 2, mini_batch_size=2, **crew)
    with generator, pytest.warns(GedankenWarning) as warned:
        assert levels(joined(generator)[0]) == [10, 30, 50]
    told = sorted(str(each.message) for each in warned)
    assert told[0] == f"{damaged} cannot be read as a picture: its content is in no format that Pillow knows"
    assert told[1].startswith(f"{cut} cannot be read as a picture: ")
    assert len(told) == 2


@in_all_modes
def test_an_unreadable_file_as_an_error(crew, classes):
    generator = ImageFolderGenerator(classes, 2, on_error="raise", **crew)
    (classes / "cat" / "a.png").unlink()
    message = r"a\.png cannot be read as a picture: FileNotFoundError"
    with generator, pytest.raises(DatasetError, match=message) as caught:
        list(generator)
    assert any("get_mini_batches(0)" in note for note in caught.value.__notes__)


def test_a_folder_without_classes(tmp_path):
    with pytest.raises(DatasetError, match="folder must be an existing folder"):
        ImageFolderGenerator(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="one folder of pictures per class"):
        ImageFolderGenerator(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="must hold at least one picture"):
        ImageFolderGenerator(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": 3}, "folder must be a path, got 3"),
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
        ({"fit": "crp"}, "fit must be one of crop, stretch, got 'crp'; did you mean 'crop'"),
        ({"labels": "onehot"}, "labels must be one of numbers, one_hot, got 'onehot'; did you mean 'one_hot'"),
        ({"on_error": "ignore"}, "on_error must be one of raise, warn"),
        ({"workers": -1}, "workers must be a whole number of at least 0"),
    ],
)
def test_rules_of_folders(arguments, message, classes):
    with pytest.raises(ArgumentError, match=message):
        ImageFolderGenerator(**{"folder": classes} | arguments)


@pytest.mark.parametrize("real_data", [("photos",)], indirect=True)
def test_real_photos(real_data):
    folder = real_data / "photos" / "objects"
    with ImageFolderGenerator(folder, (24, 32), mini_batch_size=16, **CREWS["processes"]) as generator:
        data, labels = joined(generator)
    wanted = load_images(folder, (24, 32))
    np.testing.assert_array_equal(data, wanted.data)
    np.testing.assert_array_equal(labels, wanted.labels)


# HTTP


class Server(http.server.ThreadingHTTPServer):
    """Answers a path by the method of its first part: /grey/30 by `grey`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        self.active = self.most_active = 0
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.other = ""

    def __call__(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is expected."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.headers.append(dict(self.headers))
            server.connections.add(self.client_address)
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        try:
            kind, *rest = unquote(self.path).strip("/").split("/")
            getattr(self, kind)(*rest)
        finally:
            with server.lock:
                server.active -= 1

    def answer(self, content: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def grey(self, level: str) -> None:
        self.answer(png(int(level)))

    def lingering(self, level: str) -> None:
        time.sleep(0.01)
        self.grey(level)

    def status(self, number: str, retry_after: str = "") -> None:
        self.answer(b"no", int(number), **({"Retry_After": retry_after} if retry_after else {}))

    def flaky(self, number: str, level: str, retry_after: str = "0") -> None:
        """Fail twice, then answer."""
        if self.server.asked.count(self.path) < 3:
            self.status(number, retry_after)
        else:
            self.grey(level)

    def moved(self, *path: str) -> None:
        self.answer(b"", 302, Location="/" + "/".join(path))

    def elsewhere(self, *path: str) -> None:
        self.answer(b"", 302, Location=self.server.other + "/".join(path))

    def loop(self) -> None:
        self.answer(b"", 302, Location=self.path)

    def silent(self) -> None:
        self.server.over.wait()

    def trickling_headers(self) -> None:
        self.trickle(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000)

    def trickling(self) -> None:
        self.answer(b"", length=10_000)
        self.trickle(bytes(10_000))

    def trickling_chunk(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.trickle(b"10000\r\n" + bytes(10_000))

    def trickle(self, content: bytes) -> None:
        for byte in content:
            self.wfile.write(bytes((byte,)))
            if self.server.over.wait(0.01):
                return

    def cut(self, level: str = "0") -> None:
        content = png(int(level))
        self.answer(content[:30], length=len(content))
        self.close_connection = True

    def cut_once(self, level: str) -> None:
        if self.server.asked.count(self.path) == 1:
            self.cut(level)
        else:
            self.grey(level)

    def hung_up(self) -> None:
        self.close_connection = True

    def nonsense(self) -> None:
        self.wfile.write(b"good day\r\n\r\n")
        self.close_connection = True

    def half(self) -> None:
        self.answer(png(7, (64, 64))[:100])

    def page(self) -> None:
        self.answer(b"<html>please log in</html>", Content_Type="text/html")

    def empty(self) -> None:
        self.answer(b"")

    def huge(self) -> None:
        self.answer(b"", length=10**12)

    def endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def serving(server: Server) -> Iterator[Server]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def pictures() -> Iterator[Server]:
    yield from serving(Server())


@pytest.fixture
def other() -> Iterator[Server]:
    yield from serving(Server())


def fetching(urls: list[str], **options: Any) -> HTTPImageGenerator:
    defaults = {"size": 2, "retries": 2, "backoff": 0.001, "mini_batch_size": 4, "mode": "serial"}
    return HTTPImageGenerator(urls, range(len(urls)), **{**defaults, **options})


def failure_of(url: str, **options: Any) -> str:
    """Return what is told of an address that fails, the same in both ways."""
    with fetching([url], on_error="raise", **options) as generator, pytest.raises(DatasetError) as caught:
        list(generator)
    with fetching([url], **options) as generator, pytest.warns(GedankenWarning) as warned:
        assert list(generator) == []
    assert len(warned) == 1
    assert str(caught.value) == str(warned[0].message)
    start = f"{url} cannot be read as a picture: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


@in_all_modes
def test_pictures_come_with_their_labels(crew, pictures):
    urls = [pictures(f"grey/{10 * k}") for k in range(10)]
    with fetching(urls, connections=4, **crew) as generator:
        for _ in range(2):
            data, labels = joined(generator)
            assert levels(data) == [10 * k for k in range(10)]
            assert labels.tolist() == list(range(10))
    assert data.shape == (10, 3, 2, 2)
    assert pictures.most_active <= 4


def test_any_labels(pictures):
    rows = np.eye(2, dtype=np.float32)
    with fetching([pictures("grey/1"), pictures("grey/2")]) as generator:
        assert len(joined(generator)[0]) == 2
    with HTTPImageGenerator([pictures("grey/1")] * 2, rows, (3, 5), channels=1, mode="serial") as generator:
        data, labels = joined(generator)
    assert data.shape == (2, 1, 3, 5)
    np.testing.assert_array_equal(labels, rows)


@pytest.mark.parametrize("crew", [{"mode": "threads"}, {"mode": "auto"}, {"mode": "processes", "workers": 1}])
def test_connections_are_bounded_and_kept(crew, pictures):
    urls = [pictures(f"lingering/{k}") for k in range(24)]
    with fetching(urls, connections=3, **crew) as generator:
        for _ in range(2):
            assert levels(joined(generator)[0]) == list(range(24))
    assert pictures.most_active <= 3
    assert len(pictures.connections) <= 3 + 1  # a few calls are timed in the trainer


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        ({"mode": "threads"}, 12),
        ({"mode": "threads", "workers": 5}, 5),
        ({"mode": "processes", "workers": 3}, 12),
        ({"mode": "processes", "workers": 1, "threads": 2}, 2),
        ({"mode": "processes", "threads": 12}, 12),
    ],
)
def test_as_many_workers_as_connections(options, workers, pictures):
    with fetching([pictures("grey/1")] * 16, connections=12, **options) as generator:
        joined(generator)
        assert len(generator.stats()["each"]) == workers


def test_processes_are_no_more_than_cores(pictures):
    with fetching([pictures("grey/1")], connections=16, mode="processes") as generator:
        joined(generator)
        names = {each["name"].partition("(")[2] for each in generator.stats()["each"]}
    assert len(names) == min(2, usable_processors())


# Answers of all kinds


FAILURES = {
    "status/404": "the server answered 404 Not Found",
    "status/403": "the server answered 403 Forbidden",
    "status/204": "the server answered 204 No Content",
    "status/304": "the server answered 304 Not Modified",
    "status/404/5": "the server answered 404 Not Found",
    "status/500": "the server answered 500 Internal Server Error (3 tries)",
    "status/429": "the server answered 429 Too Many Requests (3 tries)",
    "status/503/soon": "the server answered 503 Service Unavailable (3 tries)",
    "status/503/61": "the server answered 503 Service Unavailable",
    "moved/status/404": "the server answered 404 Not Found",
    "loop": "ResponseError: too many redirects",
    "cut": "ProtocolError: .*IncompleteRead.* (3 tries)",
    "hung_up": "ProtocolError: .*RemoteDisconnected.* (3 tries)",
    "nonsense": "ProtocolError: .*BadStatusLine.* (3 tries)",
    "half": "OSError: ",
    "page": "its content is in no format that Pillow knows",
    "empty": "its content is in no format that Pillow knows",
    "huge": "the answer has 1,000,000,000,000 bytes, most_bytes is 100,000",
    "endless": "the answer has more bytes, most_bytes is 100,000",
}


@pytest.mark.parametrize("path", FAILURES)
def test_failures_are_told(path, pictures):
    told, wanted = failure_of(pictures(path), most_bytes=100_000), FAILURES[path]
    start, _, end = wanted.partition(".*")
    middle, _, last = end.partition(".*")
    assert told.startswith(start)
    assert middle in told
    assert told.endswith(last)
    tries = 3 if "(3 tries)" in wanted else 6 if path == "loop" else 2 if "moved" in path else 1
    assert len(pictures.asked) == 2 * tries


@pytest.mark.parametrize("path", ["silent", "trickling_headers", "trickling", "trickling_chunk", "moved/trickling"])
def test_a_slow_answer_is_given_up(path, pictures):
    told = failure_of(pictures(path), timeout=0.1, retries=1, mini_batch_size=1)
    assert told == "no whole answer within timeout=0.1 s (2 tries)"


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = failure_of(f"http://127.0.0.1:{port}/", retries=1)
    assert told.startswith("NewConnectionError: ")
    assert told.endswith("Connection refused (2 tries)")


@pytest.mark.parametrize("address", ["http://", "http://[::1/", "http://a:b/"])
def test_addresses_that_are_none(address):
    assert failure_of(address).startswith(("LocationParseError: ", "LocationValueError: "))


GOOD = {
    "flaky/503/30": 3,
    "flaky/429/30": 3,
    "flaky/500/30/0": 3,
    "cut_once/30": 2,
    "moved/grey/30": 2,
    "moved/moved/moved/grey/30": 4,
}


@pytest.mark.parametrize("path", GOOD)
def test_what_succeeds_in_the_end(path, pictures):
    with fetching([pictures(path)]) as generator:
        assert levels(joined(generator)[0]) == [30]
    assert len(pictures.asked) == GOOD[path]


@in_all_modes
def test_failures_among_good_ones_as_an_error(crew, pictures):
    urls = [pictures(path) for path in ("grey/1", "grey/2", "status/404", "grey/4")]
    with fetching(urls, on_error="raise", **crew) as generator, pytest.raises(DatasetError, match="404") as caught:
        list(generator)
    assert str(caught.value) == f"{urls[2]} cannot be read as a picture: the server answered 404 Not Found"
    assert any("get_mini_batches(2)" in note for note in caught.value.__notes__)


@in_all_modes
def test_failures_among_good_ones_are_left_out(crew, pictures):
    urls = [pictures(path) for path in ("grey/10", "cut", "grey/20", "status/404", "page", "grey/30")]
    with fetching(urls, **crew) as generator, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        data, labels = joined(generator)
    assert levels(data) == [10, 20, 30]
    assert labels.tolist() == [0, 2, 5]
    told = [str(each.message).partition(" ")[0] for each in warned if each.category is GedankenWarning]
    assert sorted(told) == sorted([urls[1], urls[3], urls[4]])


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are not made."""
    made: list[float] = []

    class Time:
        monotonic = staticmethod(time.monotonic)
        sleep = staticmethod(made.append)

    monkeypatch.setattr(downloads, "time", Time)
    return made


@pytest.mark.parametrize(
    ("asked", "wanted"), [("7", [7, 7]), ("60", [60, 60]), ("Thu, 01 Jan 1970 00:00:00 GMT", [0, 0])]
)
def test_the_server_says_when_to_come_again(asked, wanted, pictures, pauses):
    with fetching([pictures(f"flaky/503/30/{asked}")]) as generator:
        assert levels(joined(generator)[0]) == [30]
    assert pauses == wanted


def test_pauses_are_doubled_less_up_to_a_half(pictures, pauses):
    with (
        pytest.warns(GedankenWarning, match="503"),
        fetching([pictures("status/503")], retries=9, backoff=2.0) as generator,
    ):
        assert list(generator) == []
    longest = [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert len(pauses) == 9
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


# Headers and secrets


def test_headers_stay_with_their_host(pictures, other):
    pictures.other = other("")
    headers = {"Authorization": "secret", "X-Key": "secret", "User-Agent": "me"}
    with fetching([pictures("moved/grey/1"), pictures("elsewhere/grey/2")], headers=headers) as generator:
        assert levels(joined(generator)[0]) == [1, 2]
    assert [headers.items() <= got.items() for got in pictures.headers] == [True] * 3
    (got,) = other.headers
    assert got["User-Agent"] == "me"
    assert "secret" not in got.values()


@pytest.mark.parametrize("path", ["status/500", "hung_up", "page", "loop"])
def test_no_report_shows_headers(path, pictures):
    assert "secret" not in failure_of(pictures(path), headers={"Authorization": "secret"})


def test_connections_are_not_pickled(pictures):
    with fetching([pictures("grey/1")]) as generator:
        joined(generator)
        assert generator._downloads._pools
        copy = pickle.loads(pickle.dumps(generator))
    assert not copy._downloads._pools
    assert not generator._downloads._pools
    assert levels(copy.get_mini_batches(0)[0][0][None]) == [1]
    copy.close()


# HTTPS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("needs the command openssl")
    made = tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", made, "-out", tmp_path / "a"], check=True, capture_output=True)
    made.write_bytes(made.read_bytes() + (tmp_path / "a").read_bytes())
    return made


@pytest.fixture
def secure(certificate: Path) -> Iterator[Server]:
    server = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.scheme = "https"
    yield from serving(server)


def test_https(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with fetching([secure(f"grey/{k}") for k in range(8)], mode="threads", connections=2) as generator:
        assert levels(joined(generator)[0]) == list(range(8))
    told = failure_of(secure("trickling"), timeout=0.2, retries=0)
    assert told == "no whole answer within timeout=0.2 s"


def test_an_unknown_certificate_is_a_failure(secure):
    told = failure_of(secure("grey/1"))
    assert told.startswith("SSLError: ")
    assert "certificate verify failed" in told
    assert not secure.asked


# Rules


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"urls": "http://a/"}, "urls must be a list of addresses, got 'http://a/'"),
        (
            {"urls": ["http://a/", "ftp://a/"]},
            r"urls\[1\] must be an address that begins with http:// or https://, got",
        ),
        ({"urls": ["http://a/", None]}, r"urls\[1\] must be an address .* got None"),
        ({"labels": [1]}, r"labels must have one entry for each of the 2 urls, got \(1,\)"),
        ({"labels": ["cat", "dog"]}, "labels must be an array of numbers"),
        ({"size": (1, 2, 3)}, "size must be a number or a pair"),
        ({"channels": 4}, "channels must be 1 or 3, got 4"),
        ({"fit": "cut"}, "fit must be one of crop, stretch"),
        ({"on_error": "skip"}, "on_error must be one of raise, warn"),
        ({"connections": 0}, "connections must be a whole number of at least 1, got 0"),
        ({"retries": -1}, "retries must be a whole number of at least 0, got -1"),
        ({"backoff": -1}, r"backoff must be a number in \[0, inf\), got -1"),
        ({"timeout": 0}, r"timeout must be a number in \(0, inf\), got 0"),
        ({"most_bytes": 0}, "most_bytes must be a whole number of at least 1, got 0"),
        ({"headers": ["a"]}, "headers must be a dict of strings, got 'list'"),
        ({"headers": {1: "a"}}, "headers must have names that are strings of one line, got 1"),
        ({"headers": {"a": "x\r\nsecret: 1"}}, r"headers\['a'\] must be a string of one line in Latin-1$"),
        ({"headers": {"a": b"secret"}}, r"headers\['a'\] must be a string of one line in Latin-1$"),
        ({"workers": "many"}, "workers must be a whole number"),
        (
            {"mode": "threads", "workers": 33},
            r"workers \* threads must be no more at the same time than connections=32, got 33",
        ),
        (
            {"workers": 8, "threads": 8},
            r"workers \* threads must be no more at the same time than connections=32, got 64",
        ),
        ({"mode": "thread"}, "mode must be one of"),
    ],
)
def test_rules_of_addresses(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        HTTPImageGenerator(**{"urls": ["http://a/", "http://b/"], "labels": [0, 1], "size": 2} | arguments)


@pytest.mark.parametrize(("package", "extra"), [("urllib3", "http"), ("PIL", "images")])
def test_without_an_optional_package(package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install gedanken\[{extra}\]"):
        HTTPImageGenerator(["http://a/"], [0], 2)


def test_there_is_time_for_all_tries():
    for retries, wanted in ((3, 300), (9, 10 * 10 + 9 * 60 + 30)):
        generator = HTTPImageGenerator(["http://a/"], [0], 2, retries=retries)
        assert generator._stream._limit == wanted
    assert HTTPImageGenerator(["http://a/"], [0], 2, time_limit=1.5)._stream._limit == 1.5
