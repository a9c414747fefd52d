"""The archive's files: their names, how one is made, sealed and closed, and what the folders hold (`docs/archive.md`).

A closed file carries its end outside: its modification time is the recording's end in UTC, and its mode says that it is
closed (0440 whole, 0400 torn).  So the index can be rebuilt without a key and without opening anything.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from edge_agent.buffer import day_log
from edge_agent.buffer.mp4 import TrackKind
from edge_agent.buffer.mp4_read import read_fragments
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.model import CameraId, ClockTrust, Segment
from edge_agent.trust.age import AgeReader, AgeWriter, Identity, NoIdentityError, Recipient

_log = logging.getLogger(__name__)

WHOLE_MODE, TORN_MODE, OPEN_MODE = 0o440, 0o400, 0o600
DAY_US = 24 * 3600 * US
MAX_SEGMENT_US = DAY_US
"""No segment is longer; an end farther from its start is somebody else's modification time."""
_BUFFER_BYTES = 1 << 20
_MAX_START_US = 253_402_300_800 * US
"""The year 10000, where dates get longer."""
_FILE = re.compile(r"(0|[1-9][0-9]{0,17})_([0-9]{6,12})\.mp4\.age", re.ASCII)
_CAMERA = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """What a segment's path says; `str()` is the path relative to the archive's folder."""

    camera: CameraId
    start_us: int
    sequence: int
    """Grows with each file of a camera while the recorder lives."""

    @property
    def folder(self) -> str:
        """`<camera>/<UTC date of the start>`."""
        return f"{self.camera}/{_date(self.start_us // DAY_US)}"

    def __str__(self) -> str:
        return f"{self.folder}/{self.start_us}_{self.sequence:06d}.mp4.age"

    @classmethod
    def parse(cls, path: str) -> SegmentName | None:
        """From a relative path; None for anything that `str()` of a name would not give."""
        parts = path.split("/")
        if len(parts) != 3 or not _CAMERA.fullmatch(parts[0]):
            return None
        found = _FILE.fullmatch(parts[2])
        if found is None or int(found[1]) >= _MAX_START_US:
            return None
        name = cls(CameraId(parts[0]), int(found[1]), int(found[2]))
        return name if str(name) == path else None


@dataclass(frozen=True, slots=True)
class FoundSegment:
    """A file of the archive, looked at from outside."""

    camera: CameraId
    path: str
    """Relative to the archive's folder."""
    start_us: int
    closed: bool
    end_us: int | None
    """None for a file that was not closed, and when its modification time can't be its end."""
    size_bytes: int
    torn: bool
    """Closed, but without its last part; an open file may be torn too."""
    modified_us: int
    """Of a file that was not closed, about when the last bytes came."""
    line: day_log.Line | None = None
    """What the day log says of it, where that is about this very file."""
    disk: str = ""

    def segment(self) -> Segment | None:
        """A closed file whose end is known, with all that is known of it without opening it."""
        line = self.line
        if line is not None:
            frames, digest, torn = line.frames, line.sha256, line.torn or self.torn
            facts = (frames, digest, torn, line.damaged, line.clock, self.disk)
            return Segment(self.camera, self.path, self.start_us, line.end_us, self.size_bytes, *facts)
        if self.end_us is None:
            return None
        facts = (None, None, self.torn, None, None, self.disk)
        return Segment(self.camera, self.path, self.start_us, self.end_us, self.size_bytes, *facts)


class SegmentFile:
    """One file while it is written: seals what comes, hands it to the system in `push`, to the disk in `sync`.

    Owned by one thread.  Every method may raise ArchiveError; after that only `abandon` makes sense.
    """

    def __init__(self, archive: Path, name: SegmentName, recipients: Sequence[Recipient], disk: str = "") -> None:
        """Create the file, which must not exist, and make its directory entry durable."""
        self.name = name
        self.disk = disk
        """The id of the disk that `archive` is on."""
        self.size_bytes = 0
        """Sealed bytes handed to the system."""
        self.path = archive / str(name)
        self._sealed = _Sealed()
        self._unsynced = False
        try:
            self._fd = _create(self.path)
        except OSError as error:
            raise self._error("cannot be created", error) from error
        self._age = AgeWriter(self._sealed, recipients)

    def write(self, *plain: bytes) -> None:
        """Seal bytes of the recording, which may lie in pieces; up to 64 KiB stay in the sealer until more come."""
        self._age.writelines(plain)
        if self._sealed.size_bytes >= _BUFFER_BYTES:
            self.push()

    def push(self) -> None:
        """Hand what is sealed to the system: it survives the end of this process."""
        try:
            while self._sealed.pieces:
                taken = os.writev(self._fd, self._sealed.pieces)
                self._sealed.drop(taken)
                self.size_bytes += taken
                self._unsynced = True
        except OSError as error:
            raise self._error("cannot be written", error) from error

    def sync(self) -> None:
        """Hand what was pushed to the disk: it survives a power cut."""
        if not self._unsynced:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._error("cannot be written to the disk", error) from error
        self._unsynced = False

    def close(
        self, end_us: int, frames: int | None = None, damaged: int | None = None, clock: ClockTrust | None = None
    ) -> Segment:
        """Finish the file and enter it into its day's log."""
        self._age.finish()
        self.push()
        self.sync()
        facts = (frames, self._sealed.sha256.hexdigest(), False, damaged, clock, self.disk)
        segment = Segment(self.name.camera, str(self.name), self.name.start_us, end_us, self.size_bytes, *facts)
        self._mark(segment, WHOLE_MODE)
        return segment

    def abandon(
        self,
        end_us: int | None,
        frames: int | None = None,
        damaged: int | None = None,
        clock: ClockTrust | None = None,
    ) -> Segment | None:
        """Leave a file whose disk failed: mark it torn, ending at `end_us`, or remove it when that is None.  Does what
        the disk still allows and raises nothing."""
        if end_us is None:
            with suppress(OSError):
                self._end_fd()
                self.path.unlink()
                fsync_folder(self.path.parent)
            return None
        facts = (frames, None, True, damaged, clock, self.disk)
        segment = Segment(self.name.camera, str(self.name), self.name.start_us, end_us, self.size_bytes, *facts)
        with suppress(ArchiveError, OSError):
            self._mark(segment, TORN_MODE)
        return segment

    def _mark(self, segment: Segment, mode: int) -> None:
        try:
            _mark(self._fd, segment.end_us, mode)
            enter(self.path, segment)
            fsync_folder(self.path.parent)
        except OSError as error:
            raise self._error("cannot be closed", error) from error
        finally:
            self._end_fd()

    def _end_fd(self) -> None:
        # another thread may get the same number the moment it is free, so it is never used twice
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _error(self, what: str, error: OSError) -> ArchiveError:
        return ArchiveError(f"camera {self.name.camera}: {self.path} {what}: {error.strerror}")


def mark(path: Path, end_us: int, mode: int) -> None:
    """Close from outside a file that its recorder could not close, with its end and mode (TORN_MODE, WHOLE_MODE), once
    its bytes are on the disk; so it need not be examined again."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
            _mark(fd, end_us, mode)
        finally:
            os.close(fd)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be marked as closed: {error.strerror}") from error


def is_day_folder(path: str) -> bool:
    """Whether a relative path is `<camera>/<date>`."""
    camera, _, day = path.partition("/")
    return _CAMERA.fullmatch(camera) is not None and _day(day) is not None


def enter(path: Path, segment: Segment) -> None:
    """Write a closed file's line into its day's log; a disk that refuses costs the line only, and is logged."""
    facts = (segment.frames, segment.sha256, segment.torn, segment.damaged, segment.clock)
    try:
        day_log.append(path.parent, day_log.Line(path.name, segment.end_us, segment.size_bytes, *facts))
    except ArchiveError as error:
        _log.warning("camera %s: %s", segment.camera, error)


@dataclass(frozen=True, slots=True, order=True)
class DayFolder:
    """One camera's folder of one UTC date."""

    camera: CameraId
    day: int
    """Days since 1970."""

    def __str__(self) -> str:
        return f"{self.camera}/{_date(self.day)}"

    def names(self, archive: Path) -> list[SegmentName]:
        """Of the segments in it, in order; nothing of a file is looked at but its kind."""
        names = []
        for entry in _entries(archive / str(self), folders=False):
            name = self._name(entry.name)
            if name is not None:
                names.append(name)
        return names

    def _name(self, file: str) -> SegmentName | None:
        found = _FILE.fullmatch(file)
        if found is None or int(found[1]) // DAY_US != self.day:
            return None
        name = SegmentName(self.camera, int(found[1]), int(found[2]))
        return name if found[2] == f"{name.sequence:06d}" else None


def day_folders(archive: Path) -> Iterator[DayFolder]:
    """By camera and date.  Symbolic links are not followed; a missing archive is empty."""
    for camera in _entries(archive, folders=True):
        for day in _entries(archive / camera.name, folders=True) if _CAMERA.fullmatch(camera.name) else ():
            number = _day(day.name)
            if number is not None:
                yield DayFolder(CameraId(camera.name), number)


def look(archive: Path, name: SegmentName, lines: Mapping[str, day_log.Line], disk: str = "") -> FoundSegment | None:
    """A file from outside, with the line that its day's log has; None when it is gone or no plain file."""
    path = str(name)
    try:
        status = os.lstat(f"{archive}/{path}")
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s/%s cannot be looked at: %s", archive, path, error.strerror)
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    mode = stat.S_IMODE(status.st_mode)
    modified_us = status.st_mtime_ns // 1000
    closed = mode in (WHOLE_MODE, TORN_MODE)
    line = lines.get(path.rpartition("/")[2])
    if line is not None and (line.size_bytes != status.st_size or not _is_end(name, line.end_us)):
        line = None
    return FoundSegment(
        camera=name.camera,
        path=path,
        start_us=name.start_us,
        closed=closed,
        end_us=modified_us if closed and _is_end(name, modified_us) else None,
        size_bytes=status.st_size,
        torn=mode == TORN_MODE,
        modified_us=modified_us,
        line=line,
        disk=disk,
    )


def scan(archive: Path, disk: str = "") -> Iterator[FoundSegment]:
    """Every segment under the archive's folder, by camera, date and name; whatever else is there is passed over.

    Symbolic links are not followed.  What can't be read is logged and left out; a missing archive is empty.
    """
    for folder in day_folders(archive):
        lines = day_log.read(archive / str(folder))
        for name in folder.names(archive):
            found = look(archive, name, lines, disk)
            if found is not None:
                yield found


@dataclass(frozen=True, slots=True)
class Examined:
    """What the inside of a file says; `end_us` is None when there is no picture in it."""

    end_us: int | None
    frames: int
    torn: bool


def examine(archive: Path, path: str, identities: Sequence[Identity]) -> Examined:
    """Read a file's tables up to where it is torn; NoIdentityError when it is sealed to others, else ArchiveError."""
    name = SegmentName.parse(path)
    if name is None:
        raise ArchiveError(f"{path} is no segment of the archive")
    try:
        fd = os.open(archive / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if os.fstat(fd).st_size == 0:
                return Examined(None, 0, True)
            reader = AgeReader(file, identities)
            movie = read_fragments(reader, salvage=True)
            torn = movie.torn or reader.torn
    except NoIdentityError:
        raise
    except ArchiveError as error:
        raise ArchiveError(f"{archive / path}: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{archive / path} cannot be read: {error.strerror}") from error
    video = movie.first(TrackKind.VIDEO)
    if video is None or not len(video.samples):
        return Examined(None, 0, torn)
    samples = video.samples
    end_ticks = max(samples.pts(index) + samples.duration[index] for index in range(len(samples)))
    end_us = name.start_us + max(0, end_ticks - video.shift_ticks) * US // video.timescale
    return Examined(end_us, len(samples), torn)


class _Sealed:
    """What the sealer writes to, until the system has it.

    It knows nothing of its file: a circle of references would keep each closed file's buffers for minutes.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()
        """Of all that was sealed."""

    def write(self, data: bytes, /) -> int:
        self.pieces.append(data)
        self.size_bytes += len(data)
        self.sha256.update(data)  # now, while the processor still has it at hand
        return len(data)

    def drop(self, size: int) -> None:
        """The system has the first `size` bytes."""
        self.size_bytes -= size
        for place, piece in enumerate(self.pieces):
            if size < len(piece):
                self.pieces = [piece[size:], *self.pieces[place + 1 :]]
                return
            size -= len(piece)
        self.pieces = []


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        _make_folders(path.parent)
        try:
            fd = os.open(path, flags, OPEN_MODE)
        except FileNotFoundError:
            # retention removed the folder, empty until now; should the archive itself be gone, making it raises
            continue
        try:
            fsync_folder(path.parent)
        except OSError:
            os.close(fd)
            raise
        return fd


def _make_folders(folder: Path) -> None:
    for step in (folder.parent, folder):
        try:
            step.mkdir(mode=0o700)
        except FileExistsError:
            continue
        fsync_folder(step.parent)


def _mark(fd: int, end_us: int, mode: int) -> None:
    os.utime(fd, ns=(end_us * 1000, end_us * 1000))
    os.fchmod(fd, mode)
    os.fsync(fd)


def _entries(folder: Path, *, folders: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            kept = [
                entry
                for entry in entries
                if (entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False))
            ]
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("%s cannot be read: %s", folder, error.strerror)
        return []
    return sorted(kept, key=lambda entry: entry.name)


def _is_end(name: SegmentName, end_us: int) -> bool:
    return name.start_us <= end_us <= name.start_us + MAX_SEGMENT_US


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(day * 86400, UTC):%Y-%m-%d}"


@lru_cache(maxsize=4096)
def _day(date: str) -> int | None:
    """Days since 1970 of a folder's name; None when it is no date that `_date` writes."""
    try:
        day = int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) // 86400
    except (ValueError, OverflowError):
        return None
    return day if day >= 0 and _date(day) == date else None
