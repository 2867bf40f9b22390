"""Signs of life: each rank has a connection to its launcher, and on both ends silence means that the other is lost.

A rank presents the launcher's token first. Then both send a byte every 0.5 s, and the rank tells what becomes of it in
records of one size. Nothing else is understood, and whoever does not know the token is dropped.
"""

import contextlib
import hmac
import os
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable

LAUNCHER = "GEDANKEN_LAUNCHER"  # in the environment of each rank: address, port, token and deadline
SIGN = 0.5  # seconds between two signs
ALIVE, ENDED, FAILED, LEFT = b".EFL"  # LEFT: the rank cannot go on, and is not to blame
RECORD = struct.Struct("!BI")  # one of these, and which rank it is
NOBODY = 2**32 - 1  # the number of a rank until MPI has told it
TOKEN = 32  # bytes
STRANGERS = 64  # connections at a time that may not have presented the token yet
PATIENCE = 5.0  # seconds for it
MOST = 1024  # ranks


class _Line:
    """The launcher's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.received = connection, b""
        self.known = self.closed = False
        self.rank, self.state, self.silence = NOBODY, ALIVE, 0.0


class Watch:
    """The launcher's side: what ranks say of themselves, and how long each has been silent.

    Args:
        address: of this machine, by which ranks reach it.
        ranks: how many there are.
    """

    def __init__(self, address: str, ranks: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family, backlog=MOST)
        self._listening.setblocking(False)
        self._selector, self._token = selectors.DefaultSelector(), secrets.token_bytes(TOKEN)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._address, self._ranks, self._lines = address, ranks, list[_Line]()
        self._looked = self._signed = time.monotonic()

    def told(self, deadline: float) -> str:
        """Return what ranks are told, in the environment; they may be without the launcher for `deadline` seconds."""
        return f"{self._address} {self._listening.getsockname()[1]} {self._token.hex()} {deadline!r}"

    def look(self, seconds: float) -> None:
        """Take what comes within some time, and give ranks their signs."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._accept()
            else:
                self._receive(key.data)
        # Only what this process has lived through is silence: it, or the machine, may have been stopped.
        passed = min(time.monotonic() - self._looked, 2 * SIGN)
        self._looked = time.monotonic()
        for line in self._lines:
            line.silence += passed
            if not line.known and line.silence > PATIENCE:
                self._drop(line)
        self._lines = [line for line in self._lines if line.known or not line.closed]
        if self._looked >= self._signed + SIGN:
            self._signed = self._looked
            for line in self._lines:
                self._sign(line)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the other end has gone, or there are too many files
            connection, _ = self._listening.accept()
            connection.setblocking(False)
            strangers = [line for line in self._lines if not line.known and not line.closed]
            if len(strangers) >= STRANGERS:
                self._drop(strangers[0])
            self._lines.append(_Line(connection))
            self._selector.register(connection, selectors.EVENT_READ, self._lines[-1])

    def _receive(self, line: _Line) -> None:
        try:
            received = line.socket.recv(4096 if line.known else TOKEN - len(line.received))
        except BlockingIOError:
            return
        except OSError:
            received = b""
        line.received += received
        if not received:
            self._drop(line)
        elif line.known:
            self._understand(line)
        elif len(line.received) == TOKEN:
            line.known = hmac.compare_digest(line.received, self._token)
            line.received, line.silence = b"", 0.0
            self._sign(line) if line.known else self._drop(line)

    def _understand(self, line: _Line) -> None:
        line.silence = 0.0
        whole = len(line.received) // RECORD.size * RECORD.size
        for state, rank in RECORD.iter_unpack(line.received[:whole]):
            line.rank = rank
            line.state = line.state if state == ALIVE else state
        line.received = line.received[whole:]

    def _sign(self, line: _Line) -> None:
        if line.known and not line.closed:
            with contextlib.suppress(OSError):  # what is wrong with it, reading tells
                line.socket.send(b".")

    def _drop(self, line: _Line) -> None:
        if not line.closed:
            self._selector.unregister(line.socket)
            line.socket.close()
            line.closed = True

    @property
    def begun(self) -> bool:
        """Whether a rank has signed on."""
        return any(line.known for line in self._lines)

    @property
    def complete(self) -> bool:
        """Whether all ranks have signed on."""
        return sum(line.known for line in self._lines) >= self._ranks

    def silent(self, deadline: float) -> list[int]:
        """Return the ranks that are there and have given no sign for longer than the deadline."""
        known = [line for line in self._lines if line.known and not line.closed and line.state != ENDED]
        return sorted(line.rank for line in known if line.silence > deadline)

    def gone(self, *states: int) -> list[int]:
        """Return the ranks that are gone and whose last word was one of `states`."""
        return sorted(line.rank for line in self._lines if line.known and line.closed and line.state in states)

    def said(self, state: int) -> int:
        """Return how many ranks have said what became of them to be `state`."""
        return sum(line.known and line.state == state for line in self._lines)

    def close(self) -> None:
        """Let go of all ranks, which end themselves where they still are."""
        for line in self._lines:
            self._drop(line)
        self._selector.close()
        self._listening.close()


class Signs:
    """A rank's side.

    Args:
        told: what the launcher tells its ranks.
        lost: is called, in a thread, when the launcher is gone, or silent for the deadline.

    Raises:
        OSError: the launcher is not reached within the deadline, or drops this process.
    """

    def __init__(self, told: str, lost: Callable[[], None]) -> None:
        address, port, token, deadline = told.split()
        self._deadline, self._lost, self._rank = float(deadline), lost, NOBODY
        self._socket = _signed_on((address, int(port)), bytes.fromhex(token), self._deadline)
        os.register_at_fork(after_in_child=self._socket.close)  # or the launcher would wait for the child's end too
        threading.Thread(target=self._exchange, daemon=True).start()

    def rank_is(self, rank: int) -> None:
        """Tell which rank this is."""
        self._rank = rank
        self.tell(ALIVE)

    def tell(self, state: int) -> None:
        """Tell what becomes of this rank."""
        with contextlib.suppress(OSError):  # that the launcher is lost, reading tells
            self._socket.send(RECORD.pack(state, self._rank))

    def _exchange(self) -> None:
        silence = 0.0
        while silence < self._deadline:
            self.tell(ALIVE)
            try:
                if not self._socket.recv(4096):
                    break
                silence = 0.0
            except TimeoutError:
                silence += SIGN
            except OSError:
                break
        self._socket.close()
        self._lost()


def _signed_on(where: tuple[str, int], token: bytes, deadline: float) -> socket.socket:
    """Connect to the launcher, and wait for its first sign; it may drop who comes with many strangers."""
    until = time.monotonic() + deadline
    while True:
        try:
            return _tried(where, token, deadline)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(SIGN / 5)


def _tried(where: tuple[str, int], token: bytes, deadline: float) -> socket.socket:
    connection = socket.create_connection(where, timeout=deadline)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(token)
        if not connection.recv(1):
            raise ConnectionResetError(f"the launcher at {where[0]}, port {where[1]} does not take this rank")
        connection.settimeout(SIGN)
    except OSError:
        connection.close()
        raise
    return connection
