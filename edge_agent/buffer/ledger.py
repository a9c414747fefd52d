"""Accounts for every second of every camera: what the recorder says and what the files say, into the index.

Owned by the agent's main thread.  `reconcile` at start and `recover` after a recorder's death come before that
recorder's successor speaks, so that a gap always begins where the last readable frame ended.  `begin` then accounts for
the time before this run of the agent.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer import day_log
from edge_agent.buffer.coverage import TOLERANCE_US
from edge_agent.buffer.disks import Disk, Disks
from edge_agent.buffer.index import Index
from edge_agent.buffer.index_facts import Installed, Life, Loss
from edge_agent.buffer.reconcile import START_S, Reconciler
from edge_agent.buffer.segments import (
    MAX_SEGMENT_US,
    TORN_MODE,
    WHOLE_MODE,
    SegmentName,
    enter,
    examine,
    look,
    mark,
)
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.kernel_clock import boot_id
from edge_agent.messages import SegmentOpened
from edge_agent.model import CameraId, Gap, GapCause, Interval, Segment
from edge_agent.trust.age import Identity, NoIdentityError

_log = logging.getLogger(__name__)

EMPTY_BYTES = 128 << 10
"""A larger file without a picture is damaged rather than just begun, and is not removed."""
INSTALL_US = 60 * US
"""A camera whose first picture comes so soon is installed with it."""
LEFT_US = 60 * US
"""A file that nothing was written to for so long, and that nobody said is open, was left by a crash."""
_REBOOTED = "the node was off: it booted anew"
_STOPPED = "the agent was not running"
_AHEAD = Loss(GapCause.CLOCK, "the clock was set ahead over this time")
_ANEW = Loss(GapCause.PROCESS, "the recorder was started anew")


def before_start(camera: CameraId, hole: Interval, before: Life | None, loss: Loss | None, boot: str) -> list[Gap]:
    """The causes of a hole that ends with the agent's start: what was lost while the one before lived, then nothing
    ran; exactly as long as the hole."""
    alive_us = hole.start_us if before is None or loss is None else before.alive_us
    off_us = min(max(alive_us, hole.start_us), hole.end_us)
    if off_us - hole.start_us <= TOLERANCE_US:
        off_us = hole.start_us
    elif hole.end_us - off_us <= TOLERANCE_US:
        off_us = hole.end_us
    gaps = []
    if off_us > hole.start_us and loss is not None:
        gaps.append(Gap(camera, hole.start_us, off_us, loss.cause, loss.evidence))
    if off_us < hole.end_us:
        words = _REBOOTED if before is not None and before.boot != boot else _STOPPED
        gaps.append(Gap(camera, off_us, hole.end_us, GapCause.NODE_OFF, words))
    return gaps


@dataclass(frozen=True, slots=True)
class _Inside:
    """What is known of a file that was not closed; `end_us` None where no picture can be read, `frames` None where
    it can't be told whether there is one."""

    end_us: int | None
    frames: int | None
    torn: bool


class Ledger:
    """Writes segments, gaps, losses and the agent's runs as they become known."""

    def __init__(
        self,
        archive: Path | Disks,
        index: Index,
        identities: Sequence[Identity],
        clock: Clock,
        boot: str | None = None,
    ) -> None:
        self._disks = Disks.of(archive)
        self._index = index
        self._identities = identities
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._started_us = clock.utc_us()
        self._started = clock.monotonic()
        self._begun = False
        self.clock_trusted = True
        """Whether what comes in now is told by a clock that can be trusted (`docs/retention.md`)."""
        self._open: dict[CameraId, str] = {}
        self._lost: dict[CameraId, Loss] = {}
        self._resting: dict[CameraId, Loss] = {}
        self._owed_segments: list[Segment] = []
        self._owed_gaps: list[Gap] = []
        self._left: list[str] = []
        there = self._disks.there() if len(self._disks) > 1 else self._disks
        self._reconcilers = {disk.id: self._reconciler(disk) for disk in there}

    def reconcile(self) -> list[str]:
        """Make the index agree with the newest folders; returns the unfinished files there, for `recover`.

        A disk that refuses costs no start: what was found stays owed.
        """
        for reconciler in self._reconcilers.values():
            try:
                reconciler.newest(START_S / len(self._reconcilers))
            except ArchiveError as error:
                _log.error("comparing the archive with its index: %s", error)
        left = self._left.copy()
        self._left.clear()
        return left

    def disk_came(self, disk: Disk) -> None:
        """A disk that was not there is, perhaps changed: it is compared anew, by `audit`."""
        self._reconcilers[disk.id] = self._reconciler(disk)

    def begin(self, cameras: Iterable[CameraId]) -> None:
        """Account for the time before this run, of all cameras; these are configured now.

        ArchiveError when the disk refuses; the gaps then stay owed.
        """
        notes: list[tuple[CameraId, Installed]] = []
        configured, before, losses = set(cameras), self._index.last_life(), self._index.losses()
        for camera in sorted({*self._index.cameras(), *configured}):
            installed = self._index.installed(camera)
            last = self._last_end_us(camera, self._started_us)
            if camera not in configured:
                if installed.until_us is None:
                    ended = max(last or 0, installed.since_us or 0) or self._started_us
                    notes.append((camera, Installed(installed.since_us, ended)))
            elif installed.until_us is not None:
                if self._started_us > installed.until_us:
                    words = "the camera was not in the configuration"
                    self._owed_gaps.append(Gap(camera, installed.until_us, self._started_us, GapCause.MODE, words))
                notes.append((camera, Installed(installed.since_us, None)))
            elif last is None and installed.since_us is None:
                notes.append((camera, Installed(self._started_us, None)))
            else:
                begins = max(last or 0, installed.since_us or 0)
                if self._started_us - begins > TOLERANCE_US:
                    hole = Interval(begins, self._started_us)
                    self._owed_gaps += before_start(camera, hole, before, losses.get(camera), self._boot)
        self._begun = True
        self.settle()
        for camera, installed in notes:
            self._index.note_installed(camera, installed)
        for camera in losses:
            self._index.note_loss(camera, None)
        self.alive()

    def alive(self, *, ended: bool = False) -> None:
        """A sign of life, to be given every now and then; the last one when the agent ends in order."""
        if self._begun:
            self._index.note_life(Life(self._started_us, self._clock.utc_us(), ended, self._boot))

    def opened(self, message: SegmentOpened) -> list[Gap]:
        """A file was begun; the gaps before it, entered and returned."""
        camera, before = message.camera, self._open.get(message.camera)
        self._open[camera] = message.path
        if before is not None and before != message.path:
            self._take_in(before)
        loss = Loss(message.lost, message.evidence) if message.lost else self._lost.get(camera)
        try:
            self._index.trim_gaps(camera, message.start_us)
        except ArchiveError as error:  # a gap that stays too long tells less wrong than one that is never entered
            _log.error("%s", error)
        begins = self._last_end_us(camera, message.start_us)
        if begins is None:
            begins = self._first(camera, message.start_us, loss)
        if begins >= self._started_us and message.start_us - begins > self._lived_us() + INSTALL_US:
            loss = _AHEAD
        gaps = []
        if message.start_us - begins > TOLERANCE_US:
            cause, evidence = (loss or _ANEW).cause, (loss or _ANEW).evidence
            gaps.append(Gap(camera, begins, message.start_us, cause, evidence))
        self._owed_gaps += gaps
        self.settle()
        if self._lost.pop(camera, None) is not None:
            self._index.note_loss(camera, None)
        return gaps

    def closed(self, segment: Segment) -> None:
        if self._open.get(segment.camera) == segment.path:
            del self._open[segment.camera]
        self._owed_segments.append(segment)
        self.settle()

    def lost(self, camera: CameraId, loss: Loss) -> None:
        """Nothing is recorded of a camera any more; of several losses before the next file the first is kept."""
        if camera not in self._lost:
            self._lost[camera] = loss
            try:
                self._index.note_loss(camera, loss)
            except ArchiveError as error:  # it is known until the agent ends; what else is told of it must not wait
                _log.error("%s", error)

    def rest(self, camera: CameraId, why: str | None) -> list[Gap]:
        """From now on a camera is not to be recorded, by the word `why`, or is again; ArchiveError as in `settle`.

        What is missing before this moment has another cause than what will be after it: it is entered and returned.
        """
        before = self._resting.get(camera)
        if (before.evidence if before else None) == why:
            return []
        loss = before or self._lost.get(camera) or _ANEW
        if why is None:
            self._resting.pop(camera, None)
        else:
            self._resting[camera] = Loss(GapCause.MODE, why)
        gaps = [] if camera in self._open else self._missing_until_now(camera, loss)
        self._owed_gaps += gaps
        self.settle()
        # for an agent that starts after this one: why nothing was recorded at its end
        self._index.note_loss(camera, None)
        noted = self._resting.get(camera) or self._lost.get(camera)
        if noted is not None:
            self._index.note_loss(camera, noted)
        return gaps

    def _missing_until_now(self, camera: CameraId, loss: Loss) -> list[Gap]:
        now_us = self._clock.utc_us()
        begins = self._last_end_us(camera, now_us)
        if begins is None:
            begins = max(self._index.installed(camera).since_us or 0, self._started_us)
        known = now_us - begins > TOLERANCE_US
        return [Gap(camera, begins, now_us, loss.cause, loss.evidence)] if known else []

    def settle(self) -> None:
        """Enter what is known but not yet in the index; ArchiveError when the disk refuses, then it stays owed."""
        if self._owed_segments:
            self._index.add(self._owed_segments, clock_trusted=self.clock_trusted)
            self._owed_segments.clear()
        if self._owed_gaps:
            self._index.add_gaps(self._owed_gaps)
            self._owed_gaps.clear()

    def recover_open(self) -> list[Segment]:
        """The recorder died: enter what it left, unfinished files up to their last whole fragment."""
        left = [
            path for path in self._open.values() if (disk := self._disks.find(path)) and (disk.folder / path).is_file()
        ]
        self._open.clear()
        return self.recover(dict.fromkeys([*left, *self.reconcile()]))

    def audit(self, budget_s: float) -> bool:
        """A slice of comparing all of the archive with the index; false when that is done."""
        more = any(reconciler.step(budget_s) for reconciler in self._reconcilers.values())
        if self._left:
            left = [path for path in self._left if self._is_left(path)]
            self._left.clear()
            self.recover(left)
        return more

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

    def _reconciler(self, disk: Disk) -> Reconciler:
        return Reconciler(self._disks, disk, self._index, self._clock, self._found, self._left.extend)

    def _found(self, segments: list[Segment]) -> None:
        """By the reconciler; one that became known meanwhile is known better."""
        try:
            self._index.add(segments, known_stay=True)
        except ArchiveError:
            self._owed_segments += segments
            raise

    def _lived_us(self) -> int:
        return round((self._clock.monotonic() - self._started) * US)

    def _first(self, camera: CameraId, start_us: int, loss: Loss | None) -> int:
        """Where the account of a camera begins that nothing is known of yet."""
        installed = self._index.installed(camera)
        since = installed.since_us
        if since is None or since > start_us or (loss is None and start_us - since <= INSTALL_US):
            since = start_us
            self._index.note_installed(camera, Installed(since, installed.until_us))
        return since

    def _last_end_us(self, camera: CameraId, before_us: int) -> int | None:
        ends = [s.end_us for s in self._owed_segments if s.camera == camera and s.start_us < before_us]
        ends += [gap.end_us for gap in self._owed_gaps if gap.camera == camera and gap.start_us < before_us]
        known = self._index.last_end_us(camera, before_us)
        return max(ends if known is None else [*ends, known], default=None)

    def _take_in(self, path: str) -> None:
        """A file whose end nobody told, for the recorder's messages did not all fit: it says so itself."""
        name, disk = SegmentName.parse(path), self._disks.find(path)
        if name is None or disk is None:
            return
        found = look(disk.folder, name, day_log.read((disk.folder / path).parent), disk.id)
        segment = found.segment() if found else None
        if segment is not None:
            self._owed_segments.append(segment)
            with suppress(ArchiveError):
                self.settle()

    def _is_left(self, path: str) -> bool:
        """Not one that the recorder is writing now."""
        name, disk = SegmentName.parse(path), self._disks.find(path)
        found = look(disk.folder, name, {}) if name and disk and path not in self._open.values() else None
        if found is None:
            return False
        return found.closed or found.modified_us < min(self._started_us, self._clock.utc_us() - LEFT_US)

    def _closed_now(self, path: str) -> Segment | None:
        """Close a file by what its inside says; None for one that held nothing and was removed."""
        name, disk = SegmentName.parse(path), self._disks.find(path)
        if name is None:
            return None
        if disk is None:
            raise ArchiveError(f"{path} is on no disk that is there")
        file = disk.folder / path
        try:
            status = file.stat()
            closed = stat.S_IMODE(status.st_mode) in (WHOLE_MODE, TORN_MODE)
            examined = self._examined(disk, path, name, status)
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
        segment = Segment(name.camera, path, name.start_us, *facts, disk=disk.id)
        enter(file, segment)
        return segment

    def _examined(self, disk: Disk, path: str, name: SegmentName, status: os.stat_result) -> _Inside:
        try:
            examined = examine(disk.folder, path, self._identities)
        except NoIdentityError:
            last_write_us = min(max(status.st_mtime_ns // 1000, name.start_us), name.start_us + MAX_SEGMENT_US)
            return _Inside(last_write_us, None, stat.S_IMODE(status.st_mode) != WHOLE_MODE)
        except ArchiveError as error:
            if isinstance(error.__cause__, OSError):
                raise
            _log.error("nothing of %s can be read: %s", path, error)
            return _Inside(None, None, True)
        return _Inside(examined.end_us, examined.frames, examined.torn)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
