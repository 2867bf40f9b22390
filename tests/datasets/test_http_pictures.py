"""Pictures by HTTP, from real servers on this machine."""

import base64
import contextlib
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gedanken.data.generator import runner_of
from gedanken.datasets import downloads
from gedanken.datasets.picture_generators import HTTPImageGenerator, without_password
from gedanken.errors import ArgumentError, DatasetError, GedankenWarning, MissingPackageError
from gedanken.processors import usable_processors
from tests.datasets.web import Server, failure_of, fetching, in_all_modes, joined, levels, serving


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
    "nowhere": "the server answered 302 Found",
    "sent_to/ftp://127.0.0.1/a": "the server redirects to an address that is neither http:// nor https://",
    "sent_to/http://[bad/a": "ValueError: Invalid IPv6 URL",
    "sent_to/http://a:b/c": "LocationParseError: ",
    "escape": r"the server answered 404 \x1b[31mred \x9b0m",
    "no_gzip": "DecodeError: ",
    "bomb": "the answer has more bytes, most_bytes is 100,000",
    "bad/404": "the server answered 404 Not Found",
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


SLOW = ["silent", "trickling_headers", "trickling", "trickling_chunk", "moved/trickling"]


@pytest.mark.parametrize("path", SLOW)
def test_a_slow_answer_is_given_up(path, pictures):
    told = failure_of(pictures(path), timeout=0.1, retries=1, mini_batch_size=1)
    assert told == "no whole answer within timeout=0.1 s (2 tries)"


@pytest.mark.parametrize("path", [*FAILURES, *SLOW, "status/500/0", "flaky/503/30/0"])
def test_no_answer_uses_a_connection_up(path, pictures):
    # A slow answer takes each time limit whole; the good one has two of them.
    patience = {"timeout": 0.5, "retries": 1} if path in SLOW else {"timeout": 5.0, "retries": 2}
    limits = {**patience, "most_bytes": 100_000, "time_limit": 30}
    urls = [pictures(path)] * 3 + [pictures("grey/30")]  # more bad ones than connections
    with fetching(urls, mode="threads", connections=2, **limits) as generator, warnings.catch_warnings():
        warnings.simplefilter("ignore", GedankenWarning)
        _, labels = joined(generator)
    assert labels[-1] == 3


def test_short_bad_answers_keep_their_connection(pictures):
    urls = [pictures("status/404"), pictures("moved/grey/1"), pictures("grey/2")]
    with fetching(urls) as generator, pytest.warns(GedankenWarning, match="404"):
        joined(generator)
    assert len(pictures.connections) == 1


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes no further connections and says nothing about it, as a broken route does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as held:
        for _ in range(8):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        time.sleep(0.05)
        yield full.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def at(port: int) -> tuple[object, ...]:
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)


UNREACHABLE = socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:0:0:1", 80, 0, 0)


@pytest.mark.parametrize(
    "places", [["silent", "good"], ["closed", "good"], ["no route", "good"], ["silent"] * 3 + ["closed", "good"]]
)
def test_a_host_with_dead_addresses(places, pictures, silent_port, monkeypatch):
    known = {"silent": at(silent_port), "closed": at(closed_port()), "good": at(pictures.server_port)}
    addresses = [known.get(place, UNREACHABLE) for place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: addresses)
    with fetching([f"http://many.example:{pictures.server_port}/grey/30"], retries=0, timeout=20) as generator:
        assert levels(joined(generator)[0]) == [30]


def test_a_host_without_a_living_address(silent_port, monkeypatch):
    address = f"http://127.0.0.1:{silent_port}/"
    assert failure_of(address, timeout=0.2, retries=1) == "no whole answer within timeout=0.2 s (2 tries)"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **named: [])
    assert "has no address" in failure_of(address, retries=0)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "nowhere.invalid", "x..y"])
def test_a_host_that_is_none(host):
    assert failure_of(f"http://{host}/", retries=0).partition(":")[0].endswith("Error")


def test_nobody_listens():
    told = failure_of(f"http://127.0.0.1:{closed_port()}/", retries=1)
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
    "sent_as/utf-8/named/grün": 2,
    "sent_as/latin-1/named/grün": 2,
    "named/grün": 1,
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

    monkeypatch.setattr(downloads._Line, "pause", lambda line, seconds: made.append(seconds))
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


def test_a_closed_generator_asks_no_more(pictures):
    urls = [pictures("grey/1"), pictures("status/503/1")]
    options = {"mode": "threads", "workers": 2, "connections": 2, "mini_batch_size": 1}
    with fetching(urls, **options) as generator:
        stream = iter(generator)
        assert next(stream)
        while len(pictures.asked) < 2:
            time.sleep(0.01)
    time.sleep(1.3)
    assert len(pictures.asked) == 2
    with fetching(urls[:1], **options) as generator:  # which can be begun again
        assert levels(joined(generator)[0]) == levels(joined(generator)[0]) == [1]
        generator.close()
        assert levels(joined(generator)[0]) == [1]


@pytest.mark.parametrize("asked", ["9" * 5000, "Thu, 01 Jan 99999 00:00:00 GMT", "-1", "soon", "1e9"])
def test_nonsense_about_when_to_come_again(asked, pictures, pauses):
    assert failure_of(pictures(f"status/503/{asked}")).startswith("the server answered 503")


# Redirects


@pytest.mark.parametrize("redirects", ["anywhere", "same host", "none"])
def test_redirects_can_be_switched_off(redirects, pictures, other):
    pictures.other = other("")
    urls = [pictures("grey/1"), pictures("moved/grey/2"), pictures("elsewhere/grey/3")]
    with fetching(urls, redirects=redirects) as generator, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert levels(joined(generator)[0]) == {"anywhere": [1, 2, 3], "same host": [1, 2], "none": [1]}[redirects]
    assert len(other.asked) == (redirects == "anywhere")
    told = {"anywhere": [], "same host": ["redirects to another host"], "none": ["answered 302", "answered 302"]}
    for warning, words in zip(warned, told[redirects], strict=True):
        assert words in str(warning.message)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("http://a/b", "http://a/c", True),
        ("http://A/b", "http://a:80/c", True),
        ("http://a/b", "https://a/c", True),
        ("https://a/b", "http://a/c", False),
        ("http://a:8000/b", "https://a/c", False),
        ("http://a/b", "http://a:81/c", False),
        ("http://a/b", "http://a.b/c", False),
        ("http://me:geheim@a/b", "http://a/c", True),
        ("http://a/b", "http://a@b/c", False),
    ],
)
def test_what_the_same_host_is(before, after, same):
    assert downloads.same_host(before, after) == same


# Headers and secrets


def with_password(url: str, password: str = "geh%3Aeim%40") -> str:
    return url.replace("://", f"://me:{password}@")


def test_name_and_password_in_an_address(pictures, other):
    pictures.other = with_password(other(""), "their")
    urls = [with_password(pictures(path)) for path in ("grey/1", "moved/grey/2", "elsewhere/grey/3")]
    with fetching([*urls, pictures("grey/4")], headers={"authorization": "mine"}) as generator:
        assert levels(joined(generator)[0]) == [1, 2, 3, 4]
    own, theirs = (f"Basic {base64.b64encode(text).decode()}" for text in (b"me:geh:eim@", b"me:their"))
    sent = [{name.lower(): value for name, value in got.items()}["authorization"] for got in pictures.headers]
    assert sent == [own, own, own, own, "mine"]
    assert [got["Authorization"] for got in other.headers] == [theirs]
    assert not any("me" in path for path in pictures.asked + other.asked)


@pytest.mark.parametrize(
    "path", ["status/404", "status/500", "hung_up", "page", "loop", "nowhere", "elsewhere/status/404"]
)
def test_no_report_shows_a_password(path, pictures, other, caplog):
    caplog.set_level(0)
    pictures.other = with_password(other(""), "their-geheim")
    urls = [with_password(pictures(path), "geheim"), f"http://me:geheim@127.0.0.1:{closed_port()}/"]
    urls += ["http://me:ge/heim@127.0.0.1/", "http://me:geheim@[bad/", "http://geheim@localhost:x/"]
    for url in urls:
        with fetching([url], retries=1, on_error="raise") as generator, pytest.raises(DatasetError) as caught:
            list(generator)
        told = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(generator)
        assert "heim" not in told
        assert "***@" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.example/b@2x.png", "http://a.example/b@2x.png"),
        ("https://a.example:80/b?c=d@e", "https://a.example:80/b?c=d@e"),
        ("http://[::1]:80/b@2x.png", "http://[::1]:80/b@2x.png"),
        ("http://me:geheim@a.example/b@c", "http://***@a.example/b@c"),
        ("http://token@a.example/", "http://***@a.example/"),
        ("//me:g@a.example/", "//***@a.example/"),
        ("http://\\me:g@a.example/", "http://\\***@a.example/"),
        ("me:g@a.example/", "me:***@a.example/"),
        ("http://me:g@h@a.example/", "http://***@a.example/"),
        ("http://me:g/h@a.example/", "http://***@a.example/"),
    ],
)
def test_addresses_in_reports(url, shown):
    assert without_password(url) == shown


BAD_ADDRESSES = ["http://a/b\n", " http://a/b", "http://a/b\t", "http://a/\r\nb", "http://a/\x1b[m", "http://a/\ud800"]


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_line_breaks_and_control_characters_in_addresses(url):
    rule = r"urls\[1\] must (have no line break, tab or blank around it|be an address)"
    with pytest.raises(ArgumentError, match=rule):
        HTTPImageGenerator(["http://a/", url], [0, 1], 2)


@pytest.mark.parametrize(
    "urls", ["http://me:geheim@a/", [b"http://me:geheim@a/"], ["http://me:geheim@a/\n"], ["ftp://me:geheim@a/"]]
)
def test_rules_show_no_password(urls):
    with pytest.raises(ArgumentError) as caught:
        HTTPImageGenerator(urls, [0], 2)
    assert "geheim" not in str(caught.value)


def test_a_blank_within_an_address(pictures):
    with fetching([pictures("named/gr%C3%BCn?a b")]) as generator, pytest.warns(GedankenWarning, match="404"):
        list(generator)
    assert pictures.asked == ["/named/gr%C3%BCn?a%20b"]


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
        assert generator._downloads._lines
        copy = pickle.loads(pickle.dumps(generator))
    assert not copy._downloads._lines
    assert not generator._downloads._lines
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
        ({"redirects": "all"}, "redirects must be one of anywhere, none, same host, got 'all'"),
        ({"max_pixels": 0}, "max_pixels must be a whole number of at least 1, got 0"),
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
        assert runner_of(generator).time_limit == wanted
    assert runner_of(HTTPImageGenerator(["http://a/"], [0], 2, time_limit=1.5)).time_limit == 1.5
