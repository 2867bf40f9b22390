"""Event files, as TensorBoard reads them: numbers by name at a step, one record after the other.

A record is a length, its check sum, that many bytes and their check sum (TFRecord). The bytes are the message Event in
the encoding of protocol buffers; of its fields these are written:

    Event:      1 wall_time (double), 2 step (int64), 3 file_version (text), 5 summary (Summary), 7 session (SessionLog)
    Summary:    1 value (Value), any number      Value: 1 tag (text), 2 simple_value (float32)
    SessionLog: 1 status, of which 1 is the start of a session: a reader forgets what it has read from that step on

Sources: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto and tensorflow/core/lib/hash/crc32c.h
of TensorFlow; https://protobuf.dev/programming-guides/encoding; RFC 3720, B.4, for the CRC.
"""

import functools
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

POLYNOMIAL, MASK = 0x82F63B78, 0xA282EAD8  # CRC-32C with its bits in reverse; what TensorFlow adds to a turned sum
VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # kinds of fields
SIZES = {DOUBLE: 8, FLOAT: 4}
FRAME = 12  # bytes of a length and its check sum


def event(seconds: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return the record of some numbers at a step; `seconds` since 1970."""
    entries = (
        _field(1, BYTES, _field(1, BYTES, tag.encode(errors="replace")) + _field(2, FLOAT, _float32(value)))
        for tag, value in values.items()
    )
    return _record(_at(seconds, step) + _field(5, BYTES, b"".join(entries)))


def header(seconds: float) -> bytes:
    """Return the records that a file begins with: its version, and that nothing read before it counts."""
    version = _field(1, DOUBLE, struct.pack("<d", seconds)) + _field(3, BYTES, b"brain.Event:2")
    return _record(version) + _record(_at(seconds, 0) + _field(7, BYTES, _field(1, VARINT, _varint(1))))


def events(content: bytes) -> Iterator[tuple[bytes, int, dict[str, float]]]:
    """Yield record, step and numbers of all events with numbers, up to the first record that is not whole."""
    start = 0
    while len(length := content[start : start + FRAME]) == FRAME:
        end = start + FRAME + int.from_bytes(length[:8], "little") + 4
        record = content[start:end]
        data = record[FRAME:-4]
        if record != _record(data):
            return
        try:
            fields = dict(_fields(data))
            pairs = [dict(_fields(value)) for _, value in _fields(fields.get(5, b""))]
            values = {one[1].decode(): struct.unpack("<f", one[2])[0] for one in pairs}
        except (LookupError, TypeError, ValueError, RuntimeError, struct.error):  # it was not written here
            return
        if values:
            yield record, fields.get(2, 0), values
        start = end


def _at(seconds: float, step: int) -> bytes:
    wall_time = _field(1, DOUBLE, struct.pack("<d", seconds))
    return wall_time + _field(2, VARINT, _varint(step)) if step else wall_time  # a field that is missing is 0


def _float32(value: float) -> bytes:
    with np.errstate(over="ignore"):  # what is too large for a float32 is infinite there
        return np.float32(value).astype("<f4").tobytes()


def _field(number: int, kind: int, content: bytes) -> bytes:
    return _varint(number << 3 | kind) + (_varint(len(content)) if kind == BYTES else b"") + content


def _varint(value: int) -> bytes:
    """Return a whole number, 7 bits a byte, the lowest first; all bytes but the last have their highest bit set."""
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and content of the fields of a message that was written here."""
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        size, value = SIZES.get(key & 7, 0), None
        if not size:
            value, place = _number(message, place)
            size = value if key & 7 == BYTES else 0
        yield key >> 3, value if key & 7 == VARINT else message[place : place + size]
        place += size


def _number(message: bytes, place: int) -> tuple[int, int]:
    """Return the varint that begins at a place, and the place behind it."""
    end = next(place for place in range(place, len(message)) if message[place] < 0x80) + 1
    return sum((byte & 0x7F) << 7 * number for number, byte in enumerate(message[place:end])), end


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _check_sum(length) + data + _check_sum(data)


def _check_sum(data: bytes) -> bytes:
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


@functools.cache
def _table() -> list[int]:
    """Return what each value of a byte does to the sum."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (POLYNOMIAL if value & 1 else 0) for value in table]
    return table
