"""Servers of pictures on this machine, which answer in every good and bad way, and Generators that ask them."""

import gzip
import http.server
import io
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from gedanken.data.generator import Generator
from gedanken.datasets.picture_generators import HTTPImageGenerator, without_password
from gedanken.errors import DatasetError, GedankenWarning

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
    disable_nagle_algorithm = True  # which would hold a body back for 40 ms, until the headers are acknowledged

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

    def sent_as(self, encoding: str, *path: str) -> None:
        """Name the new place in bytes that are no ASCII."""
        self.answer(b"", 302, Location=("/" + "/".join(path)).encode(encoding).decode("latin-1"))

    def sent_to(self, *address: str) -> None:
        self.answer(b"", 302, Location="/".join(address))

    def nowhere(self) -> None:
        self.answer(b"no", 302)

    def named(self, name: str) -> None:
        if name == "grün":
            self.grey("30")
        else:
            self.status("404")

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

    def no_gzip(self) -> None:
        self.answer(b"no gzip at all", Content_Encoding="gzip")

    def bomb(self) -> None:
        self.answer(gzip.compress(bytes(1 << 20)), Content_Encoding="gzip")

    def bad(self, number: str) -> None:
        """Refuse with a body that has no end."""
        self.endless(int(number))

    def escape(self) -> None:
        self.send_response(404, "\x1b[31mred \x9b0m")
        self.end_headers()
        self.close_connection = True

    def huge(self) -> None:
        self.answer(b"", length=10**12)

    def endless(self, status: int = 200) -> None:
        self.send_response(status)
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
    start = f"{url if '@' not in url else without_password(url)} cannot be read as a picture: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)
