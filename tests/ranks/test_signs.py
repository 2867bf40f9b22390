"""Signs of life between ranks and their launcher, and what becomes of strangers that connect to it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gedanken.ranks.signs import ALIVE, ENDED, FAILED, LEFT, PATIENCE, STRANGERS, Signs, Watch

ADDRESSES = ["127.0.0.1", "::1"]
RANK = """
import sys, time
from gedanken.ranks.signs import Signs
signs = Signs(sys.argv[1], lambda: sys.exit)
signs.rank_is(int(sys.argv[2]))
time.sleep(60)
"""


@pytest.fixture(params=ADDRESSES, ids=["v4", "v6"])
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    before = {*threading.enumerate()}
    watch = Watch(request.param, 1)
    yield watch
    watch.close()
    for thread in {*threading.enumerate()} - before:
        thread.join(30)  # a rank's side closes its end


def look_until(watch: Watch, holds: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        watch.look(0.05)


def rank_of(watch: Watch, number: int = 0, deadline: float = 30.0) -> tuple[Signs, threading.Event]:
    """Sign on, as a rank of another process would, and return its side, and whether it has lost the launcher."""
    made, lost = list[Signs](), threading.Event()
    told = watch.told(deadline)
    thread = threading.Thread(target=lambda: made.append(Signs(told, lost.set)))
    thread.start()
    look_until(watch, lambda: made)
    thread.join()
    made[0].rank_is(number)
    return made[0], lost


def connected(watch: Watch) -> socket.socket:
    address, port, *_ = watch.told(1.0).split()
    return socket.create_connection((address, int(port)), timeout=30)


@pytest.mark.parametrize("state", [ENDED, FAILED, LEFT])
def test_a_rank_says_what_becomes_of_it(watch: Watch, state: int) -> None:
    rank, _ = rank_of(watch)
    assert watch.begun and watch.complete and watch.said(state) == 0
    rank.tell(state)
    look_until(watch, lambda: watch.said(state) == 1)
    time.sleep(0.6)  # signs that follow take nothing back
    watch.look(0.1)
    assert watch.said(state) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_is_gone_and_one_that_stands_still_is_silent(watch: Watch, number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", RANK, watch.told(30.0), "3"]) as process:
        look_until(watch, lambda: watch.complete)
        look_until(watch, lambda: not watch.silent(0.01))
        for _ in range(20):
            watch.look(0.1)
        assert watch.silent(1.0) == [] == watch.gone(ALIVE)
        os.kill(process.pid, number)
        lost = (lambda: watch.gone(ALIVE)) if number == signal.SIGKILL else (lambda: watch.silent(1.0))
        look_until(watch, lost)
        assert lost() == [3]
        process.kill()


def test_who_was_stopped_itself_blames_nobody(watch: Watch) -> None:
    rank_of(watch)
    watch.look(0.1)
    time.sleep(2.0)
    watch._lines[0].socket.recv(4096)  # what came in between is lost
    watch.look(0)
    assert watch.silent(1.5) == []


@pytest.mark.parametrize("how", ["closed", "silent"])
def test_a_rank_sees_that_its_launcher_is_lost(watch: Watch, how: str) -> None:
    _, lost = rank_of(watch, deadline=1.0)
    look_until(watch, lambda: watch.complete)
    assert not lost.is_set()
    if how == "closed":
        watch.close()
    assert lost.wait(30)


STRANGE = {
    "wrong token": bytes(32),
    "half a token": b"x" * 16,
    "web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "megabytes": bytes(4 << 20),
    "nothing": b"",
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_stranger_is_dropped(watch: Watch, what: str) -> None:
    rank, lost = rank_of(watch)
    stranger = connected(watch)
    sending = threading.Thread(target=lambda: _send(stranger, STRANGE[what]))
    sending.start()
    watch.look(0.1)
    for line in watch._lines:
        line.silence = 0.0 if line.known else PATIENCE + 1  # as if that time had passed
    look_until(watch, lambda: len(watch._lines) == 1)
    sending.join()
    with stranger:
        try:
            heard = stranger.recv(1)
        except ConnectionError:  # it had said more than was read
            heard = b""
    assert heard == b"", "it is told nothing"
    assert not watch.gone(ALIVE) and not lost.is_set()
    rank.tell(ENDED)
    look_until(watch, lambda: watch.said(ENDED) == 1)


def _send(stranger: socket.socket, what: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        stranger.sendall(what)


def test_many_strangers_keep_no_rank_out(watch: Watch) -> None:
    strangers = list[socket.socket]()
    for _ in range(3 * STRANGERS):
        strangers.append(connected(watch))
        watch.look(0.01)
    assert len(watch._lines) <= STRANGERS
    rank_of(watch)
    assert watch.complete
    for stranger in strangers:
        stranger.close()


def test_a_wrong_token_is_told_to_the_process(watch: Watch) -> None:
    address, port, *_ = watch.told(1.0).split()
    failed = list[OSError]()

    def sign_on() -> None:
        try:
            Signs(f"{address} {port} {'0' * 64} 1.0", lambda: None)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=sign_on)
    thread.start()
    look_until(watch, lambda: failed)
    thread.join()
    assert not watch.begun
