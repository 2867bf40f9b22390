"""A connection to the first of a host's addresses that answers.

Source:
    Schinazi & Pauly 2017, "Happy Eyeballs Version 2", RFC 8305, section 5. Differs: addresses are tried in the order of
    the system, and come closer after one another where time is short.
"""

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

STAGGER: Final = 0.25  # seconds that an address may take before the next one is tried beside it
UNDER_WAY: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


def connected(host: str, port: int, deadline: float, options: Sequence[tuple[Any, ...]] = ()) -> socket.socket:
    """Return a socket that is connected to the host, with what is left until the deadline as its limit.

    Args:
        host: name or address.
        port: of it.
        deadline: by the monotonic clock.
        options: of the socket, as for `setsockopt`.

    Raises:
        TimeoutError: no address answered before the deadline.
        OSError: the name is unknown, or all addresses refuse; why the last one does.
    """
    addresses = deque(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    stagger = min(STAGGER, (deadline - time.monotonic()) / (2 * max(len(addresses), 1)))
    failure = OSError("the host has no address")
    with selectors.DefaultSelector() as selector:
        try:
            while addresses or selector.get_map():
                if addresses:
                    try:
                        selector.register(_begun(addresses.popleft(), options), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        continue
                for number, found in _answers(selector, deadline, stagger if addresses else None):
                    if not number:
                        return found
                    failure = OSError(number, os.strerror(number))
            raise failure
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def _begun(address: Any, options: Sequence[tuple[Any, ...]]) -> socket.socket:
    family, kind, protocol, _, place = address
    made = socket.socket(family, kind, protocol)
    try:
        for option in options:
            made.setsockopt(*option)
        made.setblocking(False)
        number = made.connect_ex(place)
        if number not in UNDER_WAY:
            raise OSError(number, os.strerror(number))
    except BaseException:
        made.close()
        raise
    return made


def _answers(
    selector: selectors.BaseSelector, deadline: float, longest: float | None
) -> Iterator[tuple[int, socket.socket]]:
    """Yield what is decided: the number of an error, or 0 and the connected socket."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    for key, _ in selector.select(left if longest is None else min(left, longest)):
        found: Any = key.fileobj
        number = found.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        selector.unregister(found)
        if number:
            found.close()
        else:
            found.settimeout(max(deadline - time.monotonic(), 0.001))
        yield number, found
