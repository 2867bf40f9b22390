"""Messages of worker processes to their owner: each worker has a pipe of its own, so nobody waits for a lock."""

import contextlib
import os
import pickle
import struct
import threading
from typing import Any

LENGTH = struct.Struct("<Q")  # bytes of the pickle that follows
AT_ONCE = 1 << 20  # bytes


def write_all(fd: int, content: bytes) -> None:
    """Write all of it, however little the pipe takes at once."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


class MessageWriter:
    """The end of a pipe where a worker writes objects, from any of its threads."""

    def __init__(self, fd: int) -> None:
        self._fd, self._lock = fd, threading.Lock()

    def send(self, message: Any) -> None:
        """Write one object.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        content = pickle.dumps(message, protocol=5)
        with self._lock:
            write_all(self._fd, LENGTH.pack(len(content)) + content)


class PipeReader:
    """The owner's end: takes in what has come, and never waits."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd, self.got = fd, bytearray()
        self.ended = False  # nobody writes any more

    def fill(self) -> None:
        """Take in the bytes that have come."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.fd, AT_ONCE):
                self.got += part
                if len(part) < AT_ONCE >> 4:
                    return
            self.ended = True


class MessageReader(PipeReader):
    """Reads objects."""

    def read(self) -> list[Any]:
        """Return the objects that have come whole."""
        self.fill()
        found, at = [], 0
        while len(self.got) - at >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self.got, at)
            stop = at + LENGTH.size + length
            if len(self.got) < stop:
                break
            found.append(pickle.loads(memoryview(self.got)[at + LENGTH.size : stop]))  # noqa: S301 - our own process
            at = stop
        if at:
            self.got = self.got[at:]
        return found
