"""Makes the index agree with the folders: names are compared, and only of what is new is a file looked at.

At the agent's start the newest folders, at once; then all of them and the hashes that are missing, in slices between
which the agent does its work.  One for each disk, when it is there.  Owned by the agent's main thread.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from edge_agent.buffer import day_log
from edge_agent.buffer.disks import Disk, Disks
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.segments import (
    DAY_US,
    OPEN_MODE,
    TORN_MODE,
    DayFolder,
    SegmentName,
    day_folders,
    enter,
    look,
    mark,
)
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval, Segment

_log = logging.getLogger(__name__)
NEWEST = 2
"""Folders of each camera in which a recorder that died can have left something, by date and by their own times."""
START_S = 1.0
"""What the comparison at start may take; the rest of it comes later, in slices."""
_STEP = 100
_READ_BYTES = 1 << 20


class Reconciler:
    """`take` gets recordings that the index does not know, `unfinished` the paths of files that were not closed."""

    def __init__(
        self,
        disks: Disks,
        disk: Disk,
        index: Index,
        clock: Clock,
        take: Callable[[list[Segment]], None],
        unfinished: Callable[[list[str]], None],
    ) -> None:
        self._disks = disks
        self._disk = disk
        self._root = disk.folder
        self._index = index
        self._clock = clock
        self._take = take
        self._unfinished = unfinished
        self._device = _device(disk.folder)
        self._work = self._all()
        self._taken = 0

    def newest(self, budget_s: float = START_S) -> None:
        """Compare the newest folders of each camera, as many as the time allows, the newest first."""
        cameras: defaultdict[CameraId, list[DayFolder]] = defaultdict(list)
        for folder in day_folders(self._root):
            cameras[folder.camera].append(folder)
        chosen = {folder for folders in cameras.values() for folder in self._newest(folders)}
        deadline = self._clock.monotonic() + budget_s
        for folder in sorted(chosen, key=lambda folder: folder.day, reverse=True):
            for _ in self._compare(folder):
                pass
            if self._clock.monotonic() > deadline:
                break

    def step(self, budget_s: float) -> bool:
        """A slice of the rest; false when all is done."""
        deadline = self._clock.monotonic() + budget_s
        return any(self._clock.monotonic() >= deadline for _ in self._work)

    def _newest(self, folders: list[DayFolder]) -> list[DayFolder]:
        by_date = sorted(folders)[-NEWEST:]
        return [*by_date, *sorted(folders, key=self._modified_ns)[-NEWEST:]]

    def _modified_ns(self, folder: DayFolder) -> int:
        try:
            return (self._root / str(folder)).stat().st_mtime_ns
        except OSError:
            return 0

    def _all(self) -> Iterator[None]:
        on_disk = set(day_folders(self._root))
        yield
        known: set[DayFolder] = set()
        for camera in self._index.cameras():
            known.update(DayFolder(camera, day) for day in self._index.days(camera))
            yield
        if not on_disk and self._disk.id in self._index.held_on():
            _log.error("%s holds none of the index's recordings: is its disk mounted?", self._root)
            return
        for folder in sorted(on_disk | known, key=lambda folder: folder.day, reverse=True):
            yield from self._guarded(self._compare(folder))
        if self._taken:
            _log.info("the archive held %d recordings that the index did not know: entered", self._taken)
        yield from self._guarded(self._hash())

    def _guarded(self, work: Iterator[None]) -> Iterator[None]:
        try:
            yield from work
        except ArchiveError as error:
            _log.error("comparing the archive with its index: %s", error)

    def _compare(self, folder: DayFolder) -> Iterator[None]:
        names = folder.names(self._root)
        yield
        known = self._index.beginning(folder.camera, Interval(folder.day * DAY_US, (folder.day + 1) * DAY_US))
        fresh = [name for name in names if (name.start_us, name.sequence) not in known]
        mine = {key for key, disk in known.items() if disk == self._disk.id}
        gone = sorted(mine - {(name.start_us, name.sequence) for name in names})
        lines: dict[str, day_log.Line] = {}
        yield from day_log.parsed(day_log.content(self._root / str(folder)) if fresh else b"", lines)
        for some in _some(fresh):
            found = [one for name in some if (one := look(self._root, name, lines, self._disk.id)) is not None]
            segments = [segment for one in found if (segment := one.segment()) is not None]
            if segments:
                self._taken += len(segments)
                self._take(segments)
            closed = {segment.path for segment in segments}
            if left := [one.path for one in found if one.path not in closed]:
                self._unfinished(left)
            yield
        for some in _some([SegmentName(folder.camera, *key) for key in gone]):
            self._vanished(some)
            yield

    def _vanished(self, names: list[SegmentName]) -> None:
        if _device(self._root) != self._device or self._disk.fault():
            raise ArchiveError(f"the disk of {self._root} is not the one that was there: nothing is taken as vanished")
        lost = [str(name) for name in names if _absent(self._root / str(name))]
        for path in lost:
            if (other := self._disks.find(path)) is not None and other.id != self._disk.id:
                _log.info("%s is on %s now", path, other.name)
                self._index.moved([path], other.id)
                lost = [one for one in lost if one != path]
        doomed = {segment.path for segment, _ in self._index.doomed()}
        segments = [segment for segment in self._index.by_path(lost) if segment.path not in doomed]
        if segments:
            _log.error("%d recordings vanished without the agent's doing, %s first", len(segments), segments[0].path)
            self._index.gone([(segment, DeleteReason.MISSING) for segment in segments], self._clock.utc_us())

    def _hash(self) -> Iterator[None]:
        """Compute the hashes that are missing; a file that can't be read keeps none."""
        segment = self._index.unhashed()
        while segment is not None:
            if segment.disk != self._disk.id:
                segment = self._index.unhashed(segment.path)
                continue
            path = self._root / segment.path
            try:
                with path.open("rb") as file:
                    digest, size = hashlib.sha256(), 0
                    while block := file.read(_READ_BYTES):
                        digest.update(block)
                        size += len(block)
                        yield
                is_open = stat.S_IMODE(path.stat().st_mode) == OPEN_MODE
                # a closed one of another size: a new header was begun for it (`buffer/rewrap.py`), and a crash came
                if size == segment.size_bytes or not is_open:
                    if is_open:  # the disk failed before it could be closed
                        mark(path, segment.end_us, TORN_MODE)
                    hashed = replace(segment, sha256=digest.hexdigest(), size_bytes=size)
                    if self._index.note_hash(hashed):
                        enter(path, hashed)
                elif segment.torn:  # it failed, and lost what it had taken
                    self._unfinished([segment.path])
            except OSError as error:
                _log.warning("no hash of %s: %s", path, error.strerror)
            yield
            segment = self._index.unhashed(segment.path)


def _device(folder: Path) -> int | None:
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _absent(path: Path) -> bool:
    """A disk that fails says nothing about what is on it."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _some(names: list[SegmentName]) -> Iterator[list[SegmentName]]:
    remaining = iter(names)
    while some := list(itertools.islice(remaining, _STEP)):
        yield some
