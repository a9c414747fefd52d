"""Accounts for every second of every camera: what the recorder says and what the files say, into the index.

Owned by the agent's main thread.  `reconcile` at start and `recover` after a recorder's death come before that
recorder's successor speaks, so that a gap always begins where the last readable frame ended.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.segments import (
    MAX_SEGMENT_US,
    TORN_MODE,
    WHOLE_MODE,
    SegmentName,
    enter,
    examine,
    mark,
    scan,
)
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.messages import SegmentOpened
from edge_agent.model import CameraId, Gap, GapCause, Interval, Segment
from edge_agent.trust.age import Identity, NoIdentityError

_log = logging.getLogger(__name__)
TOLERANCE_US = 500_000
"""Less than this between two segments is the camera's own jitter, not a gap."""

EMPTY_BYTES = 128 << 10
"""A larger file without a picture is damaged rather than just begun, and is not removed."""


def split_gap(camera: CameraId, hole: Interval, opened: SegmentOpened, agent_start_us: int) -> list[Gap]:
    """The causes of a hole before a segment: the agent was not there at first, then what the recorder says."""
    cause, evidence = opened.lost or GapCause.PROCESS, opened.evidence or "the recorder was started anew"
    if agent_start_us <= hole.start_us:
        return [Gap(camera, hole.start_us, hole.end_us, cause, evidence)]
    off = Gap(camera, hole.start_us, min(agent_start_us, hole.end_us), GapCause.NODE_OFF, "the agent was not running")
    if hole.end_us - agent_start_us <= TOLERANCE_US:
        return [Gap(camera, off.start_us, hole.end_us, off.cause, off.evidence)]
    return [off, Gap(camera, off.end_us, hole.end_us, cause, evidence)]


@dataclass(frozen=True, slots=True)
class _Inside:
    """What is known of a file that was not closed; `end_us` None where no picture can be read, `frames` None where
    it can't be told whether there is one."""

    end_us: int | None
    frames: int | None
    torn: bool


class Ledger:
    """Writes segments, gaps and receipts as they become known."""

    def __init__(self, root: Path, index: Index, identities: Sequence[Identity], clock: Clock) -> None:
        self._root = root
        self._index = index
        self._identities = identities
        self._clock = clock
        self._started_us = clock.utc_us()
        self._open: dict[CameraId, str] = {}
        self._owed_segments: list[Segment] = []
        self._owed_gaps: list[Gap] = []

    def opened(self, message: SegmentOpened) -> list[Gap]:
        """A file was begun; the gaps before it, entered and returned."""
        self._open[message.camera] = message.path
        last = self._last_end_us(message.camera)
        if last is None or message.start_us - last <= TOLERANCE_US:
            return []
        gaps = split_gap(message.camera, Interval(last, message.start_us), message, self._started_us)
        self._owed_gaps += gaps
        self.settle()
        return gaps

    def closed(self, segment: Segment) -> None:
        if self._open.get(segment.camera) == segment.path:
            del self._open[segment.camera]
        self._owed_segments.append(segment)
        self.settle()

    def settle(self) -> None:
        """Enter what is known but not yet in the index; ArchiveError when the disk refuses, then it stays owed."""
        if self._owed_segments:
            self._index.add(self._owed_segments)
            self._owed_segments.clear()
        while self._owed_gaps:
            self._index.add_gap(self._owed_gaps[0])
            del self._owed_gaps[0]

    def recover_open(self) -> list[Segment]:
        """The recorder died: enter what it left unfinished, up to the last whole fragment."""
        left = [path for path in self._open.values() if (self._root / path).is_file()]
        self._open.clear()
        return self.recover(left)

    def reconcile(self) -> list[str]:
        """Make the index agree with the files' outsides; returns the unfinished ones, for `recover`."""
        known = self._index.paths()
        fresh: list[Segment] = []
        unfinished: list[str] = []
        for found in scan(self._root):
            row, segment = known.pop(found.path, None), found.segment()
            if segment is None and (row is None or not found.closed):
                # known, perhaps: a disk that failed may have kept the recorder from closing what it told of
                unfinished.append(found.path)
            elif row is None and segment is not None:
                fresh.append(segment)
        self._index.add(fresh)
        if fresh:
            _log.info("the archive holds %d recordings that the index did not know: entered", len(fresh))
        if known:
            self._vanished(known)
        return unfinished

    def recover(self, paths: Iterable[str]) -> list[Segment]:
        """Enter files that were not closed for what can be read of them; one that the disk refuses is left to the next
        start, and told."""
        recovered = []
        for path in paths:
            try:
                segment = self._closed_now(path)
            except ArchiveError as error:
                _log.error("%s was left unfinished and can't be closed: %s", path, error)
                continue
            if segment is None:
                continue
            self._owed_segments.append(segment)
            recovered.append(segment)
            _log.warning("%s was left unfinished: %.1f s of it are kept", path, segment.interval.seconds)
        self.settle()
        return recovered

    def _last_end_us(self, camera: CameraId) -> int | None:
        ends = [segment.end_us for segment in self._owed_segments if segment.camera == camera]
        ends += [gap.end_us for gap in self._owed_gaps if gap.camera == camera]
        known = self._index.last_end_us(camera)
        return max(ends if known is None else [*ends, known], default=None)

    def _closed_now(self, path: str) -> Segment | None:
        """Close a file by what its inside says; None for one that held nothing and was removed."""
        name = SegmentName.parse(path)
        file = self._root / path
        if name is None:
            return None
        try:
            status = file.stat()
            closed = stat.S_IMODE(status.st_mode) in (WHOLE_MODE, TORN_MODE)
            examined = self._examined(path, name, status)
            if examined.end_us is None and not closed and status.st_size <= EMPTY_BYTES and examined.frames == 0:
                _log.warning("%s was left unfinished before its first picture: removed", path)
                file.unlink()
                fsync_folder(file.parent)
                return None
            digest = _sha256(file)
        except OSError as error:
            raise ArchiveError(f"{file}: {error.strerror}") from error
        # one without a readable picture is kept as a recording of no time, and goes with its age like any other
        end_us = name.start_us if examined.end_us is None else examined.end_us
        mark(file, end_us, TORN_MODE if examined.torn else WHOLE_MODE)
        facts = (end_us, status.st_size, examined.frames, digest, examined.torn)
        segment = Segment(name.camera, path, name.start_us, *facts)
        enter(file, segment)
        return segment

    def _examined(self, path: str, name: SegmentName, status: os.stat_result) -> _Inside:
        try:
            examined = examine(self._root, path, self._identities)
        except NoIdentityError:
            last_write_us = min(max(status.st_mtime_ns // 1000, name.start_us), name.start_us + MAX_SEGMENT_US)
            return _Inside(last_write_us, None, stat.S_IMODE(status.st_mode) != WHOLE_MODE)
        except ArchiveError as error:
            if isinstance(error.__cause__, OSError):
                raise
            _log.error("nothing of %s can be read: %s", path, error)
            return _Inside(None, None, True)
        return _Inside(examined.end_us, examined.frames, examined.torn)

    def _vanished(self, known: Iterable[str]) -> None:
        gone = self._index.by_path(known)
        _log.error("%d recordings vanished without the agent's doing, %s first", len(gone), gone[0].path)
        self._index.gone([(segment, DeleteReason.MISSING) for segment in gone], self._clock.utc_us())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
