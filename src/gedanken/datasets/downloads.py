"""The content of addresses, by connections that stay open, within limits of time and size (needs urllib3)."""

import base64
import http.client
import io
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes, urljoin

from gedanken.checks import one_of, printable, real, require, whole
from gedanken.datasets.connecting import connected
from gedanken.errors import ArgumentError, DatasetError, MissingPackageError, StateError

if TYPE_CHECKING:
    from types import ModuleType

    from urllib3 import BaseHTTPResponse, PoolManager

PASSING: Final = frozenset((429, 500, 502, 503, 504))  # answers that may be another one soon
LONGEST_PAUSE: Final = 60.0  # seconds before another try; a server that asks for more is given up
REDIRECTS: Final = 5
PART: Final = 1 << 16  # bytes
HARMLESS: Final = frozenset(("accept", "accept-language", "user-agent"))  # headers that another host may see
CREDENTIALS: Final = re.compile(r"^(\w+://)([^/?#\\]*)@")  # name:password before the host

_deadline: ContextVar[float] = ContextVar("_deadline")  # of the running try, by the monotonic clock


class Downloads:
    """Fetches what is at an address. Each process has its own connections; copies that are pickled have none.

    Args:
        connections: of one process to one host that are kept open, at least 1.
        retries: tries after the first one, for failures that may pass, at least 0.
        backoff: seconds before the second try, doubled each time, >= 0. Where the server says when to come again,
            that counts.
        timeout: seconds for one try, from connecting to the last byte, > 0.
        most_bytes: that an answer may have, at least 1.
        headers: sent with each request. Another host that a server redirects to does not get them.
        redirects: "anywhere", "same host" or "none": which are followed.

    Raises:
        ArgumentError: an argument breaks its rule.
        MissingPackageError: urllib3 is not installed.
    """

    def __init__(
        self,
        connections: int,
        retries: int,
        backoff: float,
        timeout: float,
        most_bytes: int,
        headers: Mapping[str, str] | None,
        redirects: str,
    ) -> None:
        self.connections = whole("connections", connections)
        self.retries = whole("retries", retries, 0)
        self.backoff = real("backoff", backoff, "[0, inf)")
        self.timeout = real("timeout", timeout, "(0, inf)")
        self.most_bytes = whole("most_bytes", most_bytes)
        self.headers = _checked_headers({} if headers is None else headers)
        self.redirects = one_of("redirects", redirects, ("anywhere", "none", "same host"))
        _urllib3()
        self._lines: dict[int, _Line] = {}  # by process: a fork must not use its parent's connections

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lines": {}}

    @property
    def longest(self) -> float:
        """Seconds that one address may take."""
        return (self.retries + 1) * self.timeout + self.retries * LONGEST_PAUSE

    def get(self, address: str, jitter: Callable[[], float]) -> bytes:
        """Return the content of an address.

        Args:
            address: http:// or https://. A name and password before the host (http://name:password@host/) is sent as
                Basic authorization.
            jitter: gives the factors of pauses between tries, so that workers do not come back all at once.

        Raises:
            DatasetError: there is none to be had; says why.
            StateError: it was stopped.
        """
        line = self._line()
        # Not by urllib3.Retry: its first pause is none, and its sleep goes on after `close`.
        for number in range(self.retries + 1):
            try:
                return self._try(address, line)
            except _FailureError as failure:
                pause = failure.pause
                if pause is None:
                    pause = min(self.backoff * 2**number, LONGEST_PAUSE) * jitter()
                if not failure.passing or pause > LONGEST_PAUSE or number == self.retries:
                    tries = f" ({number + 1} tries)" if number else ""
                    raise DatasetError(f"{printable(str(failure))}{tries}") from failure.__cause__
            line.pause(pause)
        raise AssertionError

    def stop(self) -> None:
        """Let this process make no more requests, until `close`."""
        self._line().over.set()

    def close(self) -> None:
        """Close this process's connections; what is asked for afterwards makes new ones."""
        if line := self._lines.pop(os.getpid(), None):
            line.over.set()
            line.pools.clear()

    def _line(self) -> "_Line":
        return self._lines.get(os.getpid()) or self._lines.setdefault(os.getpid(), _Line(self.connections))

    def _try(self, address: str, line: "_Line") -> bytes:
        before = _deadline.set(time.monotonic() + self.timeout)
        try:
            return self._followed(address, line)
        except (_urllib3().exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise self._failure(error) from error
        finally:
            _deadline.reset(before)

    def _followed(self, address: str, line: "_Line") -> bytes:
        """Return the content of an address, or of the one that redirects lead to."""
        headers = dict(self.headers)
        for _ in range(REDIRECTS + 1):
            plain, own = _credentials(address)
            _parsed(plain)
            if own:  # they count more than those for all addresses
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            answer = self._answer(plain, headers | own, line)
            if isinstance(answer, bytes):
                return answer
            following = urljoin(plain, answer)
            if not same_host(plain, following):
                if self.redirects == "same host":
                    raise _FailureError("the server redirects to another host, redirects is 'same host'")
                headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS}
            elif own and not _credentials(following)[1]:
                headers |= own
            address = following
        raise _FailureError("ResponseError: too many redirects")

    def _answer(self, address: str, headers: Mapping[str, str], line: "_Line") -> bytes | str:
        """Return the content, or the address that the server redirects to."""
        if line.over.is_set():
            raise StateError("the connections were closed")
        limits = _urllib3().Timeout(connect=self.timeout, read=self.timeout)
        response = line.pools.request(
            "GET",
            address,
            headers=headers,
            timeout=limits,
            retries=False,
            redirect=False,
            preload_content=False,
            pool_timeout=self.timeout,
        )
        try:
            if response.status == http.client.OK:
                return self._content(response)
            if response.length_remaining is not None and response.length_remaining <= PART:
                response.drain_conn()  # so that the connection can be used again
            location = response.get_redirect_location()
            if location and self.redirects != "none":
                return _as_text(location)
            said = f"the server answered {response.status} {response.reason or ''}".rstrip()
            raise _FailureError(said, response.status in PASSING, _asked_pause(response))
        finally:
            # What was not read to its end cannot be used again; and in either case another request has its turn.
            response.close()
            response.release_conn()

    def _content(self, response: "BaseHTTPResponse") -> bytes:
        content, announced = bytearray(), response.length_remaining or 0
        parts = response.stream(PART)
        while announced <= self.most_bytes and len(content) <= self.most_bytes:
            part = next(parts, None)
            if part is None:
                return bytes(content)
            content += part
        size = f"{announced:,}" if announced > self.most_bytes else "more"
        raise _FailureError(f"the answer has {size} bytes, most_bytes is {self.most_bytes:,}")

    def _failure(self, error: Exception) -> "_FailureError":
        errors = _urllib3().exceptions
        late = isinstance(error, (errors.TimeoutError, TimeoutError))
        if late and not isinstance(error, errors.NewConnectionError):  # which was refused
            return _FailureError(f"no whole answer within timeout={self.timeout:g} s", passing=True)
        final = (errors.LocationValueError, errors.ResponseError, errors.SSLError, errors.DecodeError, ValueError)
        return _FailureError(f"{type(error).__name__}: {error}", passing=not isinstance(error, final))


class _FailureError(Exception):
    """A try without success.

    Args:
        reason: of it.
        passing: whether another try may have success.
        pause: seconds after which the server wants to be asked again, or None.
    """

    def __init__(self, reason: str, passing: bool = False, pause: float | None = None) -> None:
        super().__init__(reason)
        self.passing, self.pause = passing, pause


class _Answer(http.client.HTTPResponse):
    """An answer that must be there before the deadline: the usual limit begins anew with each byte that comes."""

    def __init__(self, sock: Any, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = io.BufferedReader(_Punctual(sock, self.fp.detach()))


class _Punctual(io.RawIOBase):
    """What comes from a socket, until the deadline."""

    def __init__(self, sock: Any, raw: Any) -> None:
        self._sock, self._raw = sock, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _deadline.get() - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Line:
    """One process's connections.

    Args:
        connections: to one host.
    """

    def __init__(self, connections: int) -> None:
        self.pools = _pools(connections)
        self.over = threading.Event()

    def pause(self, seconds: float) -> None:
        """Wait, unless it is over."""
        self.over.wait(seconds)


def _credentials(address: str) -> tuple[str, dict[str, str]]:
    """Return the address without name and password, and the header that they become."""
    found = CREDENTIALS.match(address)
    if not found:
        return address, {}
    if not found[2]:
        return found[1] + address[found.end() :], {}
    secret = base64.b64encode(unquote_to_bytes(found[2])).decode("ascii")
    return found[1] + address[found.end() :], {"Authorization": f"Basic {secret}"}


def same_host(before: str, after: str) -> bool:
    """Return whether scheme, host and port are the same, or https where it was http, on the usual ports."""
    (old, host, port), (new, other, its_port) = _place(before), _place(after)
    return host == other and (
        (old, port) == (new, its_port) or (old, port, new, its_port) == ("http", 80, "https", 443)
    )


def _place(address: str) -> tuple[str, str, int]:
    if not address.lower().startswith(("http://", "https://")):
        raise _FailureError("the server redirects to an address that is neither http:// nor https://")
    url = _parsed(_credentials(address)[0])
    return url.scheme, url.host or "", url.port or {"http": 80, "https": 443}[url.scheme]


def _parsed(address: str) -> Any:
    urllib3 = _urllib3()
    try:
        return urllib3.util.parse_url(address)
    except urllib3.exceptions.LocationParseError as error:
        # Its words show the address; what looks like a password is not shown, nor are they as the cause.
        reason = "it is no address" if "@" in address else error
        raise _FailureError(f"LocationParseError: {reason}") from None


def _as_text(location: str) -> str:
    """Return a Location that was read as Latin-1 but sent as UTF-8, as many servers do."""
    try:
        return location.strip().encode("latin-1").decode()
    except UnicodeError:
        return location.strip()


def _asked_pause(response: "BaseHTTPResponse") -> float | None:
    """Return the seconds after which the server wants to be asked again, if it says so."""
    urllib3 = _urllib3()
    try:
        pause: float | None = urllib3.Retry().get_retry_after(response)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None
    return pause


def _pools(connections: int) -> "PoolManager":
    """Return pools, one for each host, whose connections and answers keep to the deadline."""
    urllib3 = _urllib3()
    found: PoolManager = urllib3.PoolManager(num_pools=connections, maxsize=connections, block=True)
    kinds = {"http": urllib3.HTTPConnectionPool, "https": urllib3.HTTPSConnectionPool}
    found.pool_classes_by_scheme = {
        scheme: type(kind.__name__, (kind,), {"ConnectionCls": _connection(kind.ConnectionCls)})
        for scheme, kind in kinds.items()
    }
    return found


def _connection(kind: Any) -> type:
    own = {"response_class": _Answer, "_new_conn": _new_connection, "__repr__": _called}
    return type(kind.__name__, (kind,), own)


def _called(self: Any) -> str:
    """Return the connection's text in errors: before urllib3 2.6 its place in memory."""
    return f"{type(self).__name__}(host={self.host!r}, port={self.port})"


def _new_connection(self: Any) -> socket.socket:
    errors = _urllib3().exceptions
    try:
        return connected(self._dns_host.strip("[]"), self.port, _deadline.get(), self.socket_options or ())
    except socket.gaierror as error:
        raise errors.NameResolutionError(self.host, self, error) from error
    except TimeoutError as error:
        raise errors.ConnectTimeoutError(self, "no address answered") from error
    except OSError as error:
        raise errors.NewConnectionError(self, f"Failed to establish a new connection: {error}") from error


def _checked_headers(headers: Any) -> dict[str, str]:
    require(isinstance(headers, Mapping), "headers", "be a dict of strings", type(headers).__name__)
    for name, value in headers.items():
        require(_is_line(name), "headers", "have names that are strings of one line", name)
        if not _is_line(value):  # which is not shown: it may be a secret
            raise ArgumentError(f"headers[{name!r}] must be a string of one line in Latin-1")
    return dict(headers)


def _is_line(text: Any) -> bool:
    return isinstance(text, str) and not set("\r\n\0") & set(text) and max(text, default="") <= "\xff"


def _urllib3() -> "ModuleType":
    try:
        import urllib3  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError("fetching pictures needs urllib3: pip install gedanken[http]") from error
    return urllib3
