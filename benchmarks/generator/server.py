"""A server of small pictures that waits before each answer: HTTP/1.1 with lasting connections, in one thread.

    python benchmarks/generator/server.py SECONDS

It prints its port and ends when its input does, so it never outlives the program that started it.
"""

import asyncio
import contextlib
import os
import random
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

SIDE = 28
PICTURES = 64


def png(seed: int) -> bytes:
    """Return a grey picture: a bright spot on a dark ground with noise, like a scanned letter."""
    noise = random.Random(seed)
    column, row = noise.uniform(8, 20), noise.uniform(8, 20)
    lines = bytearray()
    for y in range(SIDE):
        lines.append(0)  # this line is not filtered
        lines += bytes(_grey((x - column) ** 2 + (y - row) ** 2, noise) for x in range(SIDE))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(lines))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _grey(distance: float, noise: random.Random) -> int:
    return max(int(255 - 4 * distance), 0) if distance < 60 else noise.randrange(16)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def answer(number: int) -> bytes:
    """Return the whole response with one picture."""
    content = png(number)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


class Connection(asyncio.Protocol):
    """One client: each request is answered after the delay."""

    def __init__(self, delay: float, answers: list[bytes]) -> None:
        self.delay, self.answers = delay, answers
        self.loop = asyncio.get_running_loop()
        self.received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self.received = (self.received + data).split(b"\r\n\r\n")
        for request in requests:
            number = int(request.split(b" ", 2)[1][1:])
            self.loop.call_later(self.delay, self.transport.write, self.answers[number % len(self.answers)])


async def serve(delay: float) -> None:
    """Answer until the process ends."""
    answers = [answer(number) for number in range(PICTURES)]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(delay, answers), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


@contextlib.contextmanager
def running(delay: float) -> Iterator[int]:
    """Start the server in a process of its own, give its port, and end it."""
    command = [sys.executable, str(Path(__file__)), str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(serve(float(sys.argv[1])))
