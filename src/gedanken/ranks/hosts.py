"""The machines on which ranks run: how they are named, how they reach the launcher, and whether they answer."""

import contextlib
import ipaddress
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gedanken.checks import require
from gedanken.errors import ArgumentError
from gedanken.ranks.ending import end

LOOPBACK = "127.0.0.1"
ANSWER = 10.0  # seconds that a host has to answer, at least
LOOK = 0.1  # seconds between two looks


class Host(NamedTuple):
    """A machine, and how many ranks it gets."""

    name: str
    ranks: int


def hosts_of(text: str) -> list[Host]:
    """Return the hosts that a text names, as in "a:2,b:2".

    Raises:
        ArgumentError: it names none.
    """
    hosts = list[Host]()
    for part in text.split(","):
        name, colon, count = part.partition(":")
        count = count if colon else "1"
        sound = name.strip() and count.isdecimal() and int(count) > 0
        require(bool(sound), "--hosts", "be names with a number of ranks each, such as a:2,b:2", text)
        hosts.append(Host(name.strip(), int(count)))
    return hosts


def address_for(hosts: Sequence[Host], told: str = "") -> str:
    """Return the address of this machine by which the ranks of some hosts reach it.

    It is that which this machine has on the way to the first of them that is another machine; where there is none, an
    address that no other machine reaches.

    Args:
        hosts: where ranks run; none: here.
        told: what the user says it is, an address or a name; "": nothing.

    Raises:
        ArgumentError: it is not known, or not this machine's.
    """
    if told:
        return _own(told)
    unknown = ""
    for host in hosts:
        if host.name in ("localhost", socket.gethostname()):
            continue  # known also where the network is gone
        try:
            own, other = _ends(host.name)
        except OSError:
            unknown = unknown or host.name
            continue
        if own != other and not ipaddress.ip_address(other.partition("%")[0]).is_loopback:
            return own
    require(
        not unknown, "--address", f"say by which address {unknown} reaches this machine, which does not know it", told
    )
    return LOOPBACK


def _own(told: str) -> str:
    try:
        family, _, _, _, where = socket.getaddrinfo(told, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as one:
            one.bind(where)
    except OSError as error:
        raise ArgumentError(f"--address must be one of this machine's, got {told!r} ({error})") from None
    return str(where[0])


def _ends(name: str) -> tuple[str, str]:
    """Return this machine's address on the way to another, and the other's; nothing is sent."""
    for family, _, _, _, where in socket.getaddrinfo(name, 9, type=socket.SOCK_DGRAM):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as one:
            one.connect(where)
            return str(one.getsockname()[0]), str(where[0])
    raise OSError(f"no way leads to {name}")


def answering(hosts: Sequence[Host], command: Callable[[Host], list[str]], deadline: float) -> list[Host]:
    """Return those of some hosts that MPI's launcher can run a rank on, which removes what killed ranks have left.

    Args:
        hosts: which are asked, all at the same time.
        command: gives MPI's command for one rank on a host, but for what is run.
        deadline: seconds for an answer; 10 at least.
    """
    asked = list[tuple[Host, subprocess.Popen[bytes]]]()
    nothing = subprocess.DEVNULL
    until = time.monotonic() + max(deadline, ANSWER)
    try:
        for host in hosts:
            words = [*command(host), sys.executable, "-m", "gedanken.ranks.ending", "0"]
            asked.append((host, subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing)))  # noqa: S603
        while any(one.poll() is None for _, one in asked) and time.monotonic() < until:
            time.sleep(LOOK)
        return [host for host, one in asked if one.poll() == 0]
    finally:
        for _, one in asked:
            end(one)
