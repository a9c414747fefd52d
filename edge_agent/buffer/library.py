"""The archive as its readers see it: the segments of a camera and an interval, unsealed as they are read.

Beside what the index knows, the file that the recorder is writing now is a segment too: what has reached the disk of it
can be read.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from edge_agent.buffer.coverage import Deleted, Known, Piece, coverage, joined
from edge_agent.buffer.disks import Disk, Disks
from edge_agent.buffer.index import Index
from edge_agent.buffer.segments import DAY_US, OPEN_MODE, SegmentName
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust.age import AgeReader, Identity
from edge_agent.when import from_us

_log = logging.getLogger(__name__)
SETTLE_S = 3.0
"""What a camera sent so long ago is in its file, save for what the sealer holds back (64 KiB)."""


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """One file, to be opened with the node's identities."""

    segment: Segment
    disks: Disks
    identities: tuple[Identity, ...]

    def open(self) -> AgeReader:
        """A seekable reader of the plain fragmented MP4; ArchiveError when it is gone or sealed to others, or its disk
        is not there."""
        disk = self.disks.get(self.segment.disk)
        path = disk.folder / self.segment.path
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if fault := disk.fault():
                raise ArchiveError(f"it is on {disk.name}: {fault}") from error
            raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
        file = os.fdopen(fd, "rb", buffering=0)
        try:
            return _OpenSegment(file, self.identities)
        except BaseException:
            file.close()
            raise


class _OpenSegment(AgeReader):
    """Closes the file with itself."""

    def __init__(self, file: BinaryIO, identities: Sequence[Identity]) -> None:
        super().__init__(file, identities)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


class Library:
    """Finds recordings; reads the index beside the agent that writes it."""

    def __init__(self, archive: Path | Disks, index: Index, identities: Sequence[Identity], clock: Clock) -> None:
        self._disks = Disks.of(archive)
        self._index = index
        self._identities = tuple(identities)
        self._clock = clock

    def segments(self, camera: CameraId, interval: Interval) -> list[Segment]:
        """Everything of a camera that overlaps the interval, in time order, the file being written included."""
        indexed = self._index.segments(camera, interval)
        known = {segment.path for segment in indexed}
        found = [
            segment
            for segment in self._unfinished(camera, interval)
            if segment.path not in known and segment.interval.overlaps(interval)
        ]
        return sorted([*indexed, *found], key=lambda segment: (segment.start_us, segment.path))

    def coverage(self, camera: CameraId, interval: Interval) -> list[Piece]:
        """What became of every moment of the interval; the pieces tile it."""
        index, now_us = self._index, self._clock.utc_us()
        until_now = Interval(interval.start_us, max(interval.end_us, now_us))
        unfinished = [(one.start_us, one.end_us) for one in self._unfinished(camera, until_now)]
        newest = [end_us for _, end_us in unfinished]
        if (last := index.last_end_us(camera, now_us)) is not None:
            newest.append(last)
        deleted = [
            *(
                Deleted(Interval(start_us, end_us), reason, at_us)
                for start_us, end_us, reason, at_us in index.deleted_spans(camera, interval)
            ),
            *(
                Deleted(span, one.reason, one.last_deleted_us)
                for one in index.rolled(camera, interval)
                for span in one.spans
                if span.overlaps(interval)
            ),
            *(Deleted(one.interval, reason, now_us) for one, reason in index.doomed() if one.camera == camera),
        ]
        known = Known(
            now_us,
            joined([*index.spans(camera, interval), *unfinished]),
            deleted,
            index.gaps(camera, interval),
            index.losses().get(camera),
            max(newest, default=None),
            index.installed(camera),
        )
        return coverage(interval, known)

    def sources(self, camera: CameraId, interval: Interval) -> list[SealedSegment]:
        return [SealedSegment(segment, self._disks, self._identities) for segment in self.segments(camera, interval)]

    def _unfinished(self, camera: CameraId, interval: Interval) -> Iterator[Segment]:
        """The file being written, which comes after all that is indexed; it ends with its last write."""
        after_us = (self._index.last_end_us(camera) or 0) - US
        until_us = min(interval.end_us, self._clock.utc_us())
        if until_us < after_us:
            return
        day = from_us(max(interval.start_us - DAY_US, after_us)).date()
        last = from_us(until_us).date()
        while day <= last:
            for disk in self._disks:
                try:
                    yield from _being_written(disk, f"{camera}/{day.isoformat()}", after_us)
                except OSError as error:
                    _log.warning("%s: what is being written there is not known: %s", disk.name, error.strerror)
            day += timedelta(days=1)


def _being_written(disk: Disk, day: str, after_us: int) -> Iterator[Segment]:
    """The files of a day's folder that are open and begin from then on."""
    folder = disk.folder / day
    for entry in os.scandir(folder) if folder.is_dir() else ():
        # most names of a day are older, and need no look
        if (start := entry.name.partition("_")[0]).isdecimal() and int(start) < after_us:
            continue
        name = SegmentName.parse(f"{day}/{entry.name}")
        if name is None or name.start_us < after_us or not entry.is_file(follow_symlinks=False):
            continue
        status = entry.stat(follow_symlinks=False)
        if stat.S_IMODE(status.st_mode) == OPEN_MODE:
            end_us = max(status.st_mtime_ns // 1000, name.start_us)
            yield Segment(name.camera, str(name), name.start_us, end_us, status.st_size, None, None, disk=disk.id)
