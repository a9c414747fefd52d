"""One camera's files: begun, filled and closed, whatever the disk does.  Owned by the camera's writer thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.capture.disk_choice import DiskChoice
from edge_agent.capture.fragments import Fragment
from edge_agent.capture.gate import Gate
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.messages import SegmentClosed, SegmentOpened
from edge_agent.model import CameraId, ClockTrust, GapCause
from edge_agent.trust.age import Recipient

_log = logging.getLogger(__name__)

DISK_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Why there is no recording before the next file."""

    cause: GapCause
    evidence: str


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """Where and how all cameras are recorded."""

    disks: DiskChoice
    recipients: Sequence[Recipient]
    segment_s: float
    flush_s: float
    gate: Gate = field(default_factory=Gate)


class _Open:
    """The file being written."""

    def __init__(self, file: SegmentFile, header: bytes, synced_at: float) -> None:
        self.file = file
        self.header = header
        self.frames = 0
        self.end_us: int | None = None
        """Where what was handed to the system ends; None while that is nothing."""
        self.synced_at = synced_at


class SegmentWriter:
    """A disk that fails costs the open file its rest.  The next one begins on another disk at the next keyframe; where
    there is none, it is tried for at a keyframe every 2 s.

    `tell` gets what the agent should know of the files, `disk` what is wrong with the disk, or None once the first
    bytes of a new file are written; `rest` why the camera is not to be recorded now.  None of them may raise.
    """

    def __init__(
        self,
        camera: CameraId,
        place: ArchivePlace,
        clock: Clock,
        tell: Callable[[SegmentOpened | SegmentClosed], None],
        disk: Callable[[ArchiveError | None], None],
        rest: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._camera = camera
        self._place = place
        self._clock = clock
        self._tell = tell
        self._disk = disk
        self._rest = rest
        self._open: _Open | None = None
        self._sequence = 0
        self._retry_at = 0.0
        self._loss: Loss | None = None

    @property
    def is_open(self) -> bool:
        return self._open is not None

    @property
    def may_begin(self) -> bool:
        """False for a while after the disk failed, or the recording had to wait."""
        return self._clock.monotonic() >= self._retry_at

    @property
    def must_end(self) -> bool:
        """The recording has to wait, or the camera's to rest: the file is to be ended in order."""
        return bool(self._place.gate.closed) or self._camera in self._place.gate.resting

    def lost(self, loss: Loss) -> None:
        """Recording stopped; the first cause since the last file is the one that is told.

        A rest is another matter: the agent's ledger tells what is missing before its end, and here only what comes
        after it counts.
        """
        if self._loss is None or self._loss.cause is GapCause.MODE:
            self._loss = loss

    def begin(self, start_us: int, header: bytes) -> None:
        """Begin a file; the one before must have been ended."""
        assert self._open is None
        if self._place.gate.closed:
            self._wait(self._place.gate.closed)
            return
        if (why := self._place.gate.resting.get(self._camera)) is not None:
            self._retry_at = self._clock.monotonic() + DISK_RETRY_S
            self._loss = Loss(GapCause.MODE, why)
            self._rest(why)
            return
        self._sequence += 1
        name = SegmentName(self._camera, start_us, self._sequence)
        failure = ArchiveError("no disk of the archive can be used")
        for disk in self._place.disks.usable():
            try:
                file = SegmentFile(disk.folder, name, self._place.recipients, disk.id)
            except ArchiveError as error:
                self._place.disks.failed(disk.id, str(error))
                failure = error
                continue
            self._open = _Open(file, header, self._clock.monotonic())
            return
        self._failed(failure)

    def append(self, fragment: Fragment) -> None:
        """Write a fragment; nothing happens while there is no file."""
        current = self._open
        if current is None:
            return
        try:
            if current.header:
                current.file.write(current.header)
            current.file.write(*fragment.pieces)
            current.file.push()
        except ArchiveError as error:
            self._failed(error)
            return
        current.frames += fragment.frames
        current.end_us = fragment.end_us
        if current.header:
            current.header = b""
            loss, self._loss = self._loss, None
            name = current.file.name
            told = (loss.cause, loss.evidence) if loss else (None, "")
            self._tell(SegmentOpened(self._camera, str(name), name.start_us, *told))
            self._disk(None)

    def sync_if_due(self) -> None:
        """Bring to the disk what has been waiting for the flush interval."""
        current = self._open
        now = self._clock.monotonic()
        if current is None or now - current.synced_at < self._place.flush_s:
            return
        current.synced_at = now
        try:
            current.file.sync()
        except ArchiveError as error:
            self._failed(error)
            return
        self._place.disks.wrote(current.file.disk)

    def end(self, end_us: int, clock: ClockTrust, damaged: int) -> None:
        """Close the file, which ends at `end_us`; how far its times can be believed, how many pictures were hurt."""
        current = self._open
        if current is None:
            return
        if current.end_us is None:
            self._open = None
            current.file.abandon(None)
            return
        try:
            end_us = max(end_us, current.file.name.start_us)
            segment = current.file.close(end_us, current.frames, damaged, clock)
        except ArchiveError as error:
            self._failed(error)
            return
        self._open = None
        self._tell(SegmentClosed(segment))
        if (why := self._place.gate.resting.get(self._camera)) is not None:
            self._loss = Loss(GapCause.MODE, why)

    def _wait(self, words: str) -> None:
        self._retry_at = self._clock.monotonic() + DISK_RETRY_S
        self.lost(Loss(GapCause.DISK, words))
        self._disk(ArchiveError(words))

    def _failed(self, error: ArchiveError) -> None:
        """Give the open file up: what was written of it stays."""
        _log.error("%s", error)
        current, self._open = self._open, None
        if current is not None:
            self._place.disks.failed(current.file.disk, str(error))
        if current is None or not self._place.disks.others(current.file.disk):
            self._retry_at = self._clock.monotonic() + DISK_RETRY_S
        self.lost(Loss(GapCause.DISK, str(error)))
        if current is not None:
            segment = current.file.abandon(current.end_us, current.frames)
            if segment is not None:
                self._tell(SegmentClosed(segment))
        self._disk(error)
