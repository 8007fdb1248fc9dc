"""Numbers and checked sections in a byte string that may hold anything."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from paring.errors import CorruptFileError

LARGEST = 2**31  # protobuf's own limit on one file
LONG = 4096  # bytes: from here on a section has the whole checksum


class Reader:
    """Reads from the front of `data`; every method raises CorruptFileError where the bytes are not there."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.data, self.at = memoryview(data), 0

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if count < 0 or count > len(self.data) - self.at:
            raise CorruptFileError(f"it ends after {len(self.data)} bytes, in the middle of a section")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        """One byte as a number."""
        return self.take(1)[0]

    def number(self, largest: int = LARGEST) -> int:
        """An unsigned LEB128 number of at most `largest`."""
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 63:
                raise CorruptFileError("a number in it never ends")
        if value > largest:
            raise CorruptFileError(f"it holds the number {value} where at most {largest} makes sense")
        return value

    def signed(self, largest: int = LARGEST) -> int:
        """A zigzag number of at most `largest` in size."""
        value = self.number(2 * largest + 1)
        return (value >> 1) ^ -(value & 1)

    def rest(self) -> memoryview:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def section(self) -> memoryview:
        """What `section` wrote, its checksum verified."""
        size = self.number()
        checksum = bytes(self.take(_checksum_bytes(size)))
        body = self.take(size)
        if _checksum(body) != checksum:
            raise CorruptFileError("a section does not match its checksum")
        return body


def number(value: int) -> bytes:
    """`value` >= 0 as unsigned LEB128."""
    assert value >= 0
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Any `value`, zigzag."""
    return number(2 * value if value >= 0 else -2 * value - 1)


def section(body: bytes) -> bytes:
    """Length, checksum, bytes."""
    return number(len(body)) + _checksum(body) + body


def _checksum(body: bytes | memoryview) -> bytes:
    """The lowest bytes of its CRC-32: two where the body is short, else four."""
    return zlib.crc32(body).to_bytes(4, "little")[: _checksum_bytes(len(body))]


def _checksum_bytes(size: int) -> int:
    return 2 if size < LONG else 4


def product(sizes: Sequence[int]) -> int:
    """As a Python integer, which does not overflow."""
    total = 1
    for size in sizes:
        total *= size
    return total
