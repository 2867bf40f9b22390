"""The content of addresses, by connections that stay open, within limits of time and size (needs urllib3)."""

import http.client
import io
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from gedanken.checks import real, require, whole
from gedanken.errors import ArgumentError, DatasetError, MissingPackageError

if TYPE_CHECKING:
    from types import ModuleType

    from urllib3 import BaseHTTPResponse, PoolManager

PASSING: Final = frozenset((429, 500, 502, 503, 504))  # answers that may be another one soon
LONGEST_PAUSE: Final = 60.0  # seconds before another try; a server that asks for more is given up
REDIRECTS: Final = 5
PART: Final = 1 << 16  # bytes
HARMLESS: Final = frozenset(("accept", "accept-language", "user-agent"))  # headers that another host may see

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
    ) -> None:
        self.connections = whole("connections", connections)
        self.retries = whole("retries", retries, 0)
        self.backoff = real("backoff", backoff, "[0, inf)")
        self.timeout = real("timeout", timeout, "(0, inf)")
        self.most_bytes = whole("most_bytes", most_bytes)
        self.headers = _checked_headers(headers or {})
        _urllib3()
        self._pools: dict[int, PoolManager] = {}  # by process: a fork must not use its parent's connections

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pools": {}}

    @property
    def longest(self) -> float:
        """Seconds that one address may take."""
        return (self.retries + 1) * self.timeout + self.retries * LONGEST_PAUSE

    def get(self, address: str, jitter: Callable[[], float]) -> bytes:
        """Return the content of an address.

        Args:
            address: http:// or https://.
            jitter: gives the factors of pauses between tries, so that workers do not come back all at once.

        Raises:
            DatasetError: there is none to be had; says why.
        """
        for number in range(self.retries + 1):
            try:
                return self._try(address)
            except _FailureError as failure:
                pause = failure.pause
                if pause is None:
                    pause = min(self.backoff * 2**number, LONGEST_PAUSE) * jitter()
                if not failure.passing or pause > LONGEST_PAUSE or number == self.retries:
                    tries = f" ({number + 1} tries)" if number else ""
                    raise DatasetError(f"{failure}{tries}") from failure.__cause__
            time.sleep(pause)
        raise AssertionError

    def close(self) -> None:
        """Close this process's connections."""
        if pool := self._pools.pop(os.getpid(), None):
            pool.clear()

    def _try(self, address: str) -> bytes:
        errors = _urllib3().exceptions
        before = _deadline.set(time.monotonic() + self.timeout)
        try:
            return self._answer(address)
        except errors.MaxRetryError as error:  # of no retries: what happened is its reason
            raise self._failure(error.reason or error) from error
        except (errors.HTTPError, OSError) as error:
            raise self._failure(error) from error
        finally:
            _deadline.reset(before)

    def _answer(self, address: str) -> bytes:
        urllib3, pools = _urllib3(), self._pools
        pool = pools.get(os.getpid()) or pools.setdefault(os.getpid(), _pool(self.connections))
        secret = [name for name in self.headers if name.lower() not in HARMLESS]
        once = urllib3.Retry(
            None, connect=0, read=0, redirect=REDIRECTS, status=0, other=0, remove_headers_on_redirect=secret
        )
        limits = urllib3.Timeout(connect=self.timeout, read=self.timeout)
        response = pool.request(
            "GET", address, headers=self.headers, timeout=limits, retries=once, preload_content=False
        )
        try:
            if response.status != http.client.OK:
                raise _FailureError(
                    f"the server answered {response.status} {response.reason or ''}".rstrip(),
                    response.status in PASSING,
                    _asked_pause(response),
                )
            return self._content(response)
        finally:
            response.close()  # where it was not read to its end its connection cannot be used again

    def _content(self, response: "BaseHTTPResponse") -> bytes:
        content, announced = bytearray(), response.length_remaining or 0
        parts = response.stream(PART)
        while announced <= self.most_bytes and len(content) <= self.most_bytes:
            part = next(parts, None)
            if part is None:
                return bytes(content)
            content += part
        size = f"{announced:,}" if announced else "more"
        raise _FailureError(f"the answer has {size} bytes, most_bytes is {self.most_bytes:,}", passing=False)

    def _failure(self, error: Exception) -> "_FailureError":
        errors = _urllib3().exceptions
        late = isinstance(error, (errors.TimeoutError, TimeoutError))
        if late and not isinstance(error, errors.NewConnectionError):  # which was refused
            return _FailureError(f"no whole answer within timeout={self.timeout:g} s", passing=True)
        final = (errors.LocationValueError, errors.ResponseError, errors.SSLError, errors.DecodeError)
        return _FailureError(f"{type(error).__name__}: {error}", passing=not isinstance(error, final))


class _FailureError(Exception):
    """A try without success.

    Args:
        reason: of it.
        passing: whether another try may have success.
        pause: seconds after which the server wants to be asked again, or None.
    """

    def __init__(self, reason: str, passing: bool, pause: float | None = None) -> None:
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


def _asked_pause(response: "BaseHTTPResponse") -> float | None:
    """Return the seconds after which the server wants to be asked again, if it says so."""
    urllib3 = _urllib3()
    try:
        pause: float | None = urllib3.Retry().get_retry_after(response)
    except urllib3.exceptions.InvalidHeader:
        return None
    return pause


def _pool(connections: int) -> "PoolManager":
    """Return pools, one for each host, whose answers keep to the deadline."""
    urllib3 = _urllib3()
    found: PoolManager = urllib3.PoolManager(num_pools=connections, maxsize=connections, block=True)
    kinds = {"http": urllib3.HTTPConnectionPool, "https": urllib3.HTTPSConnectionPool}
    found.pool_classes_by_scheme = {
        scheme: type(kind.__name__, (kind,), {"ConnectionCls": _connection(kind.ConnectionCls)})
        for scheme, kind in kinds.items()
    }
    return found


def _connection(kind: Any) -> type:
    return type(kind.__name__, (kind,), {"response_class": _Answer})


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
