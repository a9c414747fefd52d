"""Boxes of ISO/IEC 14496-12: taking them apart with limits, putting them together (`docs/mp4.md`).

Numbers are big-endian.  A reader's error is an `ArchiveError` that names the box's path and its byte in the file.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from edge_agent.errors import ArchiveError

HEADER_BYTES = 8
LARGE_HEADER_BYTES = 16
U32_MAX = 0xFFFF_FFFF


def fail(path: str, offset: int, problem: str) -> NoReturn:
    """Raise the one kind of error that reading an MP4 ends with."""
    raise ArchiveError(f"MP4 box {path} at byte {offset}: {problem}")


def box_name(kind: bytes, path: str, offset: int) -> str:
    """The four characters of a box type; anything unprintable is not a box."""
    if not all(0x20 <= byte <= 0x7E or byte == 0xA9 for byte in kind):
        fail(path or "(top)", offset, f"{kind.hex()} is no box type; the file is damaged or no MP4")
    return kind.decode("latin-1")


@dataclass(slots=True)
class Box:
    """One box held in memory, with a cursor over its body."""

    name: str
    path: str
    offset: int
    """Of its header in the file."""
    body: memoryview
    body_offset: int
    at: int = 0

    def fail(self, problem: str) -> NoReturn:
        fail(self.path, self.offset, problem)

    def take(self, count: int) -> memoryview:
        """The next `count` bytes of the body."""
        if count > len(self.body) - self.at:
            self.fail(f"needs {count} more bytes, holds {len(self.body) - self.at}")
        self.at += count
        return self.body[self.at - count : self.at]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def i32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "big", signed=True)

    def version_and_flags(self) -> tuple[int, int]:
        word = self.u32()
        return word >> 24, word & 0xFF_FFFF

    def words(self, count: int) -> array[int]:
        """The next `count` 32-bit words, unsigned."""
        return host_order(array("I", self.take(4 * count).tobytes()))

    def children(self) -> Iterator[Box]:
        """The boxes in what is left of the body; each must end inside it."""
        while self.at < len(self.body):
            start = self.at
            offset = self.body_offset + start
            size = self.u32()
            name = box_name(bytes(self.take(4)), self.path, offset)
            path = f"{self.path}/{name}"
            if size == 1:
                size = self.u64()
            elif size == 0:
                size = len(self.body) - start
            used = self.at - start
            if size < used or size > len(self.body) - start:
                fail(path, offset, f"says {size} bytes, its parent has {len(self.body) - start} left")
            yield Box(name, path, offset, self.take(size - used), offset + used)


def host_order(words: array[int]) -> array[int]:
    """Swap a freshly read (or soon written) table between big-endian and the machine's order, in place."""
    if sys.byteorder == "little":
        words.byteswap()
    return words


def table(words: array[int]) -> bytes:
    """A table of equal numbers as it stands in a file."""
    return host_order(words[:]).tobytes()


def box(name: str, *parts: bytes) -> bytes:
    """A box of less than 4 GiB."""
    return b"".join((struct.pack(">I4s", HEADER_BYTES + sum(map(len, parts)), name.encode("latin-1")), *parts))


def full_box(name: str, version: int, flags: int, *parts: bytes) -> bytes:
    """A box that begins with a version and 24 flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *parts)
