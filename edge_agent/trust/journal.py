"""Who did what at this node and what became of it: one JSON object a line, only ever added to (`docs/journal.md`).

The lines are the leaves of a Merkle tree (`journal_tree.py`); `journal_log.py` signs it.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import mmap
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.model import PersonId
from edge_agent.trust.journal_tree import JournalTree
from edge_agent.trust.policy import Access

_log = logging.getLogger(__name__)

LOCK_PATIENCE_S = 5.0
"""Another process of the node holds the lock for one write and fsync; longer means that it hangs."""


class JournalKind(StrEnum):
    ACCESS = "access"
    START = "start"
    STOP = "stop"
    UPDATE = "update"
    """Another version of the agent than the last time."""
    CONFIGURATION = "configuration"
    """Another configuration than the last time."""
    GAPS = "gaps"
    """Gaps of a camera that ended."""
    DELETION = "deletion"
    ROSTER = "roster"
    """A roster was installed, or refused (`docs/roster.md`)."""
    MODE = "mode"
    """Another mode began (`docs/modes.md`)."""
    CLOCK = "clock"
    """Somebody set the node's clock."""
    SEGMENTS = "segments"
    """The Merkle root of an hour's recordings."""
    REWRAPPED = "rewrapped"
    """A recording got other recipients, and so another hash."""
    KEYS = "keys"
    """The node's age keys changed."""
    LOST = "lost"
    """Entries could not be written for a time."""


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    """Permitted and journalled, about to be done."""
    REFUSED = "refused"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: JournalKind
    outcome: Outcome
    who: str = ""
    """Surname, name, patronymic; or the operating system's user at the node; empty when nobody was recognised."""
    person_id: PersonId | None = None
    action: str = ""
    access: Access | None = None
    reason: str = ""
    """Why it was asked, refused or failed, in words."""
    args: dict[str, Any] = field(default_factory=dict)
    ref: str = ""
    """The command's nonce: the same in the entry that accepts it and in the one that tells its end."""
    count: int = 1
    """More than 1: so many alike, told in one entry."""
    at_us: int | None = None
    """None: when it is appended."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no entry: torn by a power cut, or damaged."""

    number: int
    """From 1."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Unwritten:
    """Entries that could not be written since the last time that this was made good."""

    count: int
    since_us: int
    words: str
    """Why, the last time."""


@cache
def _entries() -> TypeAdapter[JournalEntry]:
    return TypeAdapter(JournalEntry)


class Journal:
    """One file, mode 0600, that several processes of one node may append to and read."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self.unwritten: Unwritten | None = None
        """By this process; `make_good` tells the journal of it."""

    def append(self, entry: JournalEntry) -> int | None:
        """Add one entry; it is on the disk at return.  ArchiveError when it can't be: then it is not in the file.

        Returns its index (from 0), or None where the tree's files can't be written now: they catch up later.
        """
        return self.append_all([entry])

    def append_all(self, entries: Sequence[JournalEntry]) -> int | None:
        """Add several entries with one write and one fsync, all or none; the index of the last, as `append`."""
        try:
            return self._append(entries)
        except ArchiveError as error:
            before = self.unwritten or Unwritten(0, self._clock.utc_us(), "")
            self.unwritten = Unwritten(before.count + len(entries), before.since_us, str(error))
            raise

    def make_good(self) -> None:
        """Enter that entries are missing, where any are; ArchiveError when that can't be written either."""
        lost = self.unwritten
        if lost is not None:
            words = f"{lost.count} entries could not be written: {lost.words}"
            args = {"since_us": lost.since_us}
            entry = JournalEntry(JournalKind.LOST, Outcome.FAILED, reason=words, args=args, count=lost.count)
            self._append([entry])
            self.unwritten = None

    def _append(self, entries: Sequence[JournalEntry]) -> int | None:
        data = b"".join(self._line(entry) for entry in entries)
        with self._locked(os.O_RDWR | os.O_APPEND | os.O_CREAT, fcntl.LOCK_EX) as fd:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            if torn:
                data = b"\n" + data
            try:
                written = os.write(fd, data)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
            if written != len(data):
                os.ftruncate(fd, size)
                raise ArchiveError(f"the journal {self._path} can't grow: the disk is full")
            if size == 0:
                fsync_folder(self._path.parent)
            return self._index_of_the_last(fd)

    @contextmanager
    def tree(self) -> Iterator[JournalTree]:
        """The tree over all lines that are there; nobody appends meanwhile.  ArchiveError when a disk refuses."""
        with self._locked(os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as fd:
            tree = JournalTree(self._path, fd)
            try:
                tree.catch_up()
                yield tree
            finally:
                tree.close()

    def settle(self, size: int, root: bytes) -> None:
        """At a start: believe the tree's files only as far as a checkpoint that was signed; read the rest again."""
        with self._locked(os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as fd:
            tree = JournalTree(self._path, fd)
            try:
                tree.trust(size, root)
                tree.catch_up()
            finally:
                tree.close()

    def last(self, kind: JournalKind) -> JournalEntry | None:
        """The newest entry of a kind."""
        if not self._path.exists() or not self._path.stat().st_size:
            return None
        needle = b'{"kind":"%s",' % kind.encode()
        with self._locked(os.O_RDONLY, fcntl.LOCK_SH) as fd, mmap.mmap(fd, 0, prot=mmap.PROT_READ) as text:
            at = len(text)
            while (at := text.rfind(needle, 0, at)) >= 0:
                if at == 0 or text[at - 1] == 0x0A:
                    text.seek(at)
                    found = parse_line(0, text.readline())
                    if isinstance(found, JournalEntry):
                        return found
        return None

    def read(self) -> Iterator[JournalEntry | BadLine]:
        """Everything that is there now, oldest first; nothing when there is no journal yet."""
        if not self._path.exists():
            return
        with self._locked(os.O_RDONLY, fcntl.LOCK_SH) as fd:
            left = os.fstat(fd).st_size
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    left -= len(line)
                    if left < 0:
                        return
                    yield parse_line(number, line)
        except OSError as error:
            raise ArchiveError(f"the journal {self._path} can't be read: {error.strerror}") from error

    def _line(self, entry: JournalEntry) -> bytes:
        stamped = entry if entry.at_us is not None else dataclasses.replace(entry, at_us=self._clock.utc_us())
        try:
            return _entries().dump_json(stamped) + b"\n"
        except ValueError as error:
            raise ArchiveError(f"an entry can't be written to the journal {self._path}: {error}") from error

    def _index_of_the_last(self, fd: int) -> int | None:
        """The entry stands already: that its hash can't be kept now must not look as if it did not."""
        try:
            tree = JournalTree(self._path, fd)
            try:
                tree.catch_up()
            finally:
                tree.close()
        except (OSError, IndexError) as error:
            _log.error("the journal's tree can't be kept now, it catches up later: %s", error)
            return None
        return tree.count - 1

    @contextmanager
    def _locked(self, flags: int, lock: int) -> Iterator[int]:
        try:
            fd = os.open(self._path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                self._lock(fd, lock)
                yield fd
            finally:
                os.close(fd)
        except OSError as error:
            raise ArchiveError(f"the journal {self._path} can't be used: {error.strerror}") from error

    def _lock(self, fd: int, lock: int) -> None:
        deadline = self._clock.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(fd, lock | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if self._clock.monotonic() >= deadline:
                    raise ArchiveError(f"the journal {self._path} is held by another process that hangs") from error
                self._clock.wait(threading.Event(), 0.01)
            else:
                return


def parse_line(number: int, line: bytes) -> JournalEntry | BadLine:
    """What one line says; `number`: for people, from 1."""
    try:
        entry = _entries().validate_json(line)
    except ValidationError:
        return BadLine(number, line.rstrip(b"\n"))
    return entry if entry.at_us is not None else BadLine(number, line.rstrip(b"\n"))
