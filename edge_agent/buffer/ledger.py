"""Accounts for every second of every camera: what the recorder says and what the files say, into the index.

Owned by the agent's main thread.  `reconcile` at start and `recover` after a recorder's death come before that
recorder's successor speaks, so that a gap always begins where the last readable frame ended.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.segments import SegmentName, enter, examine, mark_torn, scan
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


class Ledger:
    """Writes segments, gaps and receipts as they become known."""

    def __init__(self, root: Path, index: Index, identities: Sequence[Identity], clock: Clock) -> None:
        self._root = root
        self._index = index
        self._identities = identities
        self._clock = clock
        self._started_us = clock.utc_us()
        self.clock_trusted = True
        """Whether what comes in now is told by a clock that can be trusted (`docs/retention.md`)."""
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
            self._index.add(self._owed_segments, clock_trusted=self.clock_trusted)
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
            if found.path in known:
                del known[found.path]
            elif (segment := found.segment()) is not None:
                fresh.append(segment)
            else:
                unfinished.append(found.path)
        self._index.add(fresh)
        if fresh:
            _log.info("the archive holds %d recordings that the index did not know: entered", len(fresh))
        if known:
            self._vanished(known)
        return unfinished

    def recover(self, paths: Iterable[str]) -> list[Segment]:
        """Enter torn files for what can be read of them; one that can't be read stays as it is, and is told."""
        recovered = []
        for path in paths:
            try:
                segment = self._torn(path)
            except ArchiveError as error:
                _log.error("%s was left unfinished and can't be read: %s", path, error)
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

    def _torn(self, path: str) -> Segment | None:
        name = SegmentName.parse(path)
        file = self._root / path
        if name is None:
            return None
        try:
            size = file.stat().st_size
            last_write_us = file.stat().st_mtime_ns // 1000
            examined = examine(self._root, path, self._identities)
            if examined.end_us is None:
                if size > EMPTY_BYTES:
                    raise ArchiveError(f"{file}: no picture is found in its {size} bytes; it is left as it is")
                _log.warning("%s was left unfinished before its first picture: removed", path)
                file.unlink()
                fsync_folder(file.parent)
                return None
            end_us, frames = examined.end_us, examined.frames
            digest = _sha256(file)
        except NoIdentityError:
            end_us, frames, digest = max(last_write_us, name.start_us), None, _sha256(file)
        except OSError as error:
            raise ArchiveError(f"{file}: {error.strerror}") from error
        mark_torn(file, end_us)
        segment = Segment(name.camera, path, name.start_us, end_us, size, frames, digest, torn=True)
        enter(file, segment)
        return segment

    def _vanished(self, known: Iterable[str]) -> None:
        gone = self._index.by_path(known)
        _log.error("%d recordings vanished without the agent's doing, %s first", len(gone), gone[0].path)
        self._index.gone([(segment, DeleteReason.MISSING) for segment in gone], self._clock.utc_us())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
