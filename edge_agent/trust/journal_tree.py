"""The Merkle tree over a journal's lines, kept in two files beside it (`docs/journal.md`, «The tree's files»).

`.hashes` holds the final hashes of all leaves and full subtrees, 32 bytes each, in the order in which they become
final; `.places` holds 16 bytes for each line: where it ends, and when it was.  Both are caches: whatever does not fit
the journal is made again from its lines.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_agent.files import hand_over
from edge_agent.trust.merkle import HASH_BYTES, Frontier, consistency_by, inclusion_by, leaf_hash, node_hash, split

_PLACE = struct.Struct("<qq")
_AT_US = re.compile(rb'"at_us":(\d{1,18})\}\Z')
_BATCH = 4096
"""Lines taken in at a time."""
_NEIGHBOURS = 256
"""Lines read at a time."""


class JournalTree:
    """Open on one journal, whose lock the caller holds; `count` lines are in it, the first `end` bytes.

    Methods raise OSError when a disk refuses, IndexError for what the tree never had.
    """

    def __init__(self, journal: Path, journal_fd: int) -> None:
        self._journal_fd = journal_fd
        self._hashes = _side_file(journal.with_suffix(".hashes"), journal_fd)
        try:
            self._places = _side_file(journal.with_suffix(".places"), journal_fd)
        except OSError:
            os.close(self._hashes)
            raise
        self.count = os.fstat(self._places).st_size // _PLACE.size
        while hashes_of(self.count) > os.fstat(self._hashes).st_size // HASH_BYTES:
            self.count = max(0, self.count - 1 - self.count // 1024)
        self.end = self._end_of(self.count)

    def close(self) -> None:
        os.close(self._hashes)
        os.close(self._places)

    def trust(self, size: int, root: bytes) -> None:
        """Keep only the first `size` lines' hashes, none if they don't give `root`: the rest may be a power cut's."""
        self._cut(size if size <= self.count and self.root(size) == root else 0)

    def remake(self) -> None:
        """Believe nothing but the lines."""
        self._cut(0)
        self.catch_up()

    def catch_up(self) -> None:
        """Take in the lines that are not in the tree yet; an unfinished one at the end is none."""
        length = os.fstat(self._journal_fd).st_size
        if self.end > length or (self.end and os.pread(self._journal_fd, 1, self.end - 1) != b"\n"):
            self._cut(0)
        if self.end == length:
            return
        frontier, at_us = self._frontier(), self._at_us_of(self.count)
        hashes, places = bytearray(), bytearray()
        taken, end = self.count, self.end
        for line in lines_between(self._journal_fd, self.end, length):
            hashes += b"".join(frontier.add(leaf_hash(line)))
            end += len(line) + 1
            at_us = time_of(line, at_us)
            places += _PLACE.pack(end, at_us)
            taken += 1
            if taken - self.count >= _BATCH:
                self._take(hashes, places, taken, end)
        self._take(hashes, places, taken, end)

    def sync(self) -> None:
        os.fsync(self._hashes)
        os.fsync(self._places)

    def line(self, index: int) -> bytes:
        """Without its line feed."""
        if not 0 <= index < self.count:
            raise IndexError(f"the journal has {self.count} entries, none with the number {index}")
        start, end = self._end_of(index), self._end_of(index + 1)
        return os.pread(self._journal_fd, end - start - 1, start)

    def lines(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Several lines with their indices, which ascend; neighbours are read together."""
        at = 0
        while at < len(indices):
            first = indices[at]
            after = bisect_left(indices, first + _NEIGHBOURS, at)
            ends = self._ends(first, indices[after - 1] + 1)
            block = os.pread(self._journal_fd, ends[-1] - ends[0], ends[0])
            for index in indices[at:after]:
                start, end = ends[index - first] - ends[0], ends[index - first + 1] - ends[0]
                yield index, block[start : end - 1]
            at = after

    def times(self) -> array[int]:
        """When each line was, in microseconds; that of an unreadable one is its predecessor's."""
        return self._numbers(0, self.count)[1::2]

    def hash_of(self, low: int, high: int) -> bytes:
        """Of the tree over the lines from `low` up to, without, `high`; a range as RFC 6962 divides trees."""
        size = high - low
        if size & (size - 1) == 0 and low % size == 0:
            return self._stored(size.bit_length() - 1, low // size)
        middle = low + split(size)
        return node_hash(self.hash_of(low, middle), self.hash_of(middle, high))

    def root(self, size: int) -> bytes:
        if not 0 <= size <= self.count:
            raise IndexError(f"the journal has {self.count} entries and never had {size}")
        return self.hash_of(0, size) if size else Frontier().root()

    def inclusion(self, size: int, index: int) -> list[bytes]:
        self.root(size)
        return inclusion_by(self.hash_of, size, index)

    def consistency(self, size: int, earlier: int) -> list[bytes]:
        self.root(size)
        return consistency_by(self.hash_of, size, earlier)

    def _take(self, hashes: bytearray, places: bytearray, count: int, end: int) -> None:
        # The hashes first: a place says that they are there.
        _write(self._hashes, hashes, hashes_of(self.count) * HASH_BYTES)
        _write(self._places, places, self.count * _PLACE.size)
        self.count, self.end = count, end
        hashes.clear()
        places.clear()

    def _cut(self, count: int) -> None:
        os.ftruncate(self._places, count * _PLACE.size)
        os.ftruncate(self._hashes, hashes_of(count) * HASH_BYTES)
        self.count, self.end = count, self._end_of(count)

    def _frontier(self) -> Frontier:
        edge, low = [], 0
        for level in range(self.count.bit_length() - 1, -1, -1):
            if self.count >> level & 1:
                edge.append(self._stored(level, low >> level))
                low += 1 << level
        return Frontier(self.count, edge)

    def _stored(self, level: int, number: int) -> bytes:
        at = (hashes_of(((number + 1) << level) - 1) + level) * HASH_BYTES
        found = os.pread(self._hashes, HASH_BYTES, at)
        if len(found) != HASH_BYTES:
            raise IndexError(f"the journal's tree has no subtree {number} of {1 << level} lines")
        return found

    def _ends(self, low: int, high: int) -> list[int]:
        """The byte where each line from `low` to `high`, without, begins, and where the last ends."""
        return [self._end_of(low), *self._numbers(low, high)[::2]]

    def _numbers(self, low: int, high: int) -> array[int]:
        pairs = array("q", os.pread(self._places, (high - low) * _PLACE.size, low * _PLACE.size))
        if sys.byteorder == "big":
            pairs.byteswap()
        return pairs

    def _end_of(self, count: int) -> int:
        return self._place(count)[0]

    def _at_us_of(self, count: int) -> int:
        return self._place(count)[1]

    def _place(self, count: int) -> tuple[int, int]:
        if count == 0:
            return 0, 0
        end, at_us = _PLACE.unpack(os.pread(self._places, _PLACE.size, (count - 1) * _PLACE.size))
        return max(0, end), at_us


def hashes_of(size: int) -> int:
    """How many hashes of a tree of `size` leaves are final."""
    return 2 * size - size.bit_count()


def time_of(line: bytes, otherwise: int) -> int:
    """When a line says that it was; the product writes that last."""
    found = _AT_US.search(line)
    return int(found[1]) if found else otherwise


def lines_between(fd: int, start: int, end: int) -> Iterator[bytes]:
    """The lines that are finished there, without their line feeds."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(start)
        while start < end and (line := file.readline()).endswith(b"\n"):
            start += len(line)
            yield line[:-1]


def _side_file(path: Path, journal_fd: int) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    hand_over(fd, os.fstat(journal_fd))
    return fd


def _write(fd: int, data: bytearray, at: int) -> None:
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(fd, view, at)
            view, at = view[written:], at + written
    finally:
        view.release()
