"""Which recordings go: first those older than the promise, then, when space runs short, the oldest of all.

`choose` decides over values; `Deleter` carries it out in the order that `docs/archive.md` gives: row doomed → unlink →
fsync of the folder → receipt.  A crash anywhere in between leaves a doomed row, which the next sweep finishes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer.day_log import remove_with_folder
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.model import Segment

_log = logging.getLogger(__name__)
BATCH = 200
"""Files deleted between two looks at the disk: a big backlog never holds the agent's loop for long."""


@dataclass(frozen=True, slots=True)
class Space:
    """The archive's room, in bytes."""

    held: int
    """What the archive's known files take."""
    free: int
    """Free on the disk."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The promise and the room it has."""

    keep_us: int
    max_size: int | None
    min_free: int

    def excess(self, space: Space) -> int:
        """Bytes that must go for the archive to fit again."""
        over = space.held - self.max_size if self.max_size is not None else 0
        return max(over, self.min_free - space.free, 0)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    by_age: int = 0
    by_space: int = 0
    freed_bytes: int = 0
    more: bool = False
    """There is more to do; sweep again soon."""


def choose(oldest: Sequence[Segment], rule: Rule, space: Space, now_us: int) -> list[tuple[Segment, DeleteReason]]:
    """What goes, of segments given oldest first; space counts only what age has not freed already."""
    excess = rule.excess(space)
    chosen: list[tuple[Segment, DeleteReason]] = []
    for segment in oldest:
        if segment.end_us <= now_us - rule.keep_us:
            chosen.append((segment, DeleteReason.AGE))
        elif excess > 0:
            chosen.append((segment, DeleteReason.SPACE))
        else:
            break
        excess -= segment.size_bytes
    return chosen


class Ballast:
    """Room that is kept for the index: on a disk that others filled, deleting needs some bytes first."""

    def __init__(self, path: Path, size: int = 4 << 20) -> None:
        self._path = path
        self._size = size

    @property
    def missing(self) -> int:
        """Bytes that are to be kept and are not."""
        return 0 if self._path.exists() else self._size

    def take_on(self, free: int) -> None:
        """Keep the room when there is that much."""
        if not self.missing or free < self._size:
            return
        try:
            with self._path.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError as error:
            _log.warning("no room could be kept for the index: %s", error.strerror)
            self.drop()

    def drop(self) -> bool:
        """Give the room to whoever writes next; false when there was none."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


class Deleter:
    """Keeps the archive within its rule; the agent's loop owns it."""

    def __init__(self, root: Path, index: Index, rule: Rule, clock: Clock, ballast: Ballast) -> None:
        self._root = root
        self._index = index
        self._rule = rule
        self._clock = clock
        self._ballast = ballast
        ballast.take_on(self._space().free)

    def sweep(self) -> Swept:
        """Delete what is due, at most a batch; on a full disk the ballast makes the room that this needs."""
        try:
            swept = self._sweep()
        except ArchiveError:
            if not self._ballast.drop():
                raise
            swept = self._sweep()
        self._ballast.take_on(self._space().free - self._rule.min_free)
        return swept

    def _sweep(self) -> Swept:
        """Finish deletions that a crash left, then delete what is due."""
        self._finish(self._index.doomed())
        space = self._space()
        space = Space(space.held, space.free - self._ballast.missing)
        chosen = choose(self._index.oldest(BATCH), self._rule, space, self._clock.utc_us())
        for reason in DeleteReason:
            self._index.doom([segment for segment, why in chosen if why is reason], reason)
        self._finish([(segment, str(reason)) for segment, reason in chosen])
        by_age = sum(1 for _, reason in chosen if reason is DeleteReason.AGE)
        return Swept(
            by_age=by_age,
            by_space=len(chosen) - by_age,
            freed_bytes=sum(segment.size_bytes for segment, _ in chosen),
            more=len(chosen) == BATCH,
        )

    def _space(self) -> Space:
        try:
            disk = os.statvfs(self._root)
        except OSError as error:
            raise ArchiveError(f"cannot ask the disk of {self._root} for its space: {error.strerror}") from error
        return Space(held=self._index.holdings().size_bytes, free=disk.f_bavail * disk.f_frsize)

    def _finish(self, doomed: Sequence[tuple[Segment, str]]) -> None:
        if not doomed:
            return
        folders: set[Path] = set()
        for segment, _ in doomed:
            path = self._root / segment.path
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise ArchiveError(f"cannot delete {path}: {error.strerror}") from error
            folders.add(path.parent)
        for folder in folders:
            _sync_or_remove(folder)
        self._index.gone(doomed, self._clock.utc_us())
        _log.info("deleted %d recordings, the oldest of %s", len(doomed), doomed[0][0].camera)


def _sync_or_remove(folder: Path) -> None:
    """Make the unlinks durable; a day's folder goes with its last recording, its log too."""
    with suppress(FileNotFoundError):
        fsync_folder(folder)
    remove_with_folder(folder)


def rule_of(days: float, max_size: int | None, min_free: int) -> Rule:
    return Rule(keep_us=round(days * 86400 * US), max_size=max_size, min_free=min_free)
