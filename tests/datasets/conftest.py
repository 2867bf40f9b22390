import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datasets.web import Server as PictureServer
from tests.datasets.web import serving


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; a value is the content, (content, bytes sent before the line is cut), or a status."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes | tuple[bytes, int] | int] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked.append(name)
        answer = self.server.files.get(name, 404)
        if isinstance(answer, int):
            self.send_error(answer)
            return
        content, sent = answer if isinstance(answer, tuple) else (answer, len(answer))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:sent])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no $GEDANKEN_DATA."""
    monkeypatch.delenv("GEDANKEN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gedanken"


@pytest.fixture
def local(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A $GEDANKEN_DATA folder to fill."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("GEDANKEN_DATA", str(folder))
    return folder


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of $GEDANKEN_DATA; the parameters name the sets that must be there."""
    base = os.environ.get("GEDANKEN_DATA")
    if not base:
        pytest.skip("GEDANKEN_DATA is not set")
    missing = [name for name in getattr(request, "param", ()) if not (Path(base) / name).is_dir()]
    if missing:
        pytest.skip(f"$GEDANKEN_DATA has no {', '.join(missing)}")
    return Path(base)


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    """A server of pictures."""
    yield from serving(PictureServer())


@pytest.fixture
def other() -> Iterator[PictureServer]:
    """A second one."""
    yield from serving(PictureServer())
