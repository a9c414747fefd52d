"""Looks at an archive on disk for `buffer.check` to judge, and repairs what can be put right.

Reading needs no lock and never writes: what changes under a running agent is looked at twice.  `repair` belongs to
whoever holds the data folder's lock.  No repair deletes footage that can still be read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.buffer import day_log
from edge_agent.buffer.check import Entry, Finding, Kind, Row, Shape, of_contents, recorded_digest, survey
from edge_agent.buffer.disks import MARKER, Disk, Disks
from edge_agent.buffer.index import Index
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.rebuild import rebuild
from edge_agent.buffer.segments import TORN_MODE, WHOLE_MODE, Examined, SegmentName, enter, examine, is_day_folder, mark
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust.age import Identity, NoIdentityError

_INDEX_GONE = (Kind.INDEX_MISSING, Kind.INDEX_DAMAGED)
FOREVER = Interval(0, 2**62)
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at the archive came to."""

    files: int
    size_bytes: int
    read_bytes: int
    """Of the files, by a deep look."""
    findings: tuple[Finding, ...]


class Checkup:
    """One archive and its index, which may be missing; `progress` hears the part done, 0 … 1."""

    def __init__(self, archive: Path | Disks, index_path: Path, identities: Sequence[Identity], clock: Clock) -> None:
        self._disks = Disks.of(archive)
        self._index_path = index_path
        self._identities = identities
        self._clock = clock

    def look(self, *, running: bool, deep: bool, progress: Callable[[float], None]) -> Looked:
        """Everything there is; `deep` reads every file, otherwise only names and outsides are looked at."""
        absent = self._disks.absent() if len(self._disks) > 1 else {}
        if len(absent) == len(self._disks):
            raise ArchiveError("; ".join(absent.values()))
        rows, receipts, findings = self._indexed()
        gone: Counter[str] = Counter()
        for known in rows.values():
            for path, row in list(known.items()):
                if row.segment.disk in absent or not self._disks.has(row.segment.disk):
                    gone[row.segment.disk] += 1
                    del known[path]
        findings += [
            Finding(Kind.DISK_MISSING, disk or "the first disk", f"{gone[disk]} recordings: {self._disks.fault(disk)}")
            for disk in sorted({*absent, *gone})
        ]
        by_camera, foreign = self._walk()
        findings += survey(foreign, {}, (), {}, running=running)
        cameras = sorted({*by_camera, *rows})
        total = sum(entry.size_bytes for entries in by_camera.values() for entry in entries) or 1
        files = size = read = 0
        for camera in cameras:
            entries, known = by_camera.get(camera, []), rows.get(camera, {})
            lines = self._lines(entries)
            findings += survey(entries, known, receipts.get(camera, ()), lines, running=running)
            for entry in entries:
                if entry.shape is not Shape.FILE or SegmentName.parse(entry.path) is None:
                    continue
                files, size = files + 1, size + entry.size_bytes
                if deep and entry.mode in (WHOLE_MODE, TORN_MODE):
                    recorded = recorded_digest(known.get(entry.path), lines.get(entry.path))
                    findings += self._read(entry, recorded)
                    read += entry.size_bytes
                progress(size / total)
        progress(1.0)
        if findings and findings[0].kind in _INDEX_GONE:
            findings = [finding for finding in findings if finding.kind is not Kind.NOT_INDEXED]
        return Looked(files, size, read, tuple(findings))

    def repair(self, findings: Sequence[Finding]) -> None:
        """Put right what `check.RULES` says that a repair does; ArchiveError when the disk refuses."""
        if any(finding.kind in _INDEX_GONE for finding in findings):
            rebuild(self._disks, self._index_path, self._clock)
        index = Index(self._index_path, self._clock)
        try:
            for finding in findings:
                if finding.kind is Kind.MARKS_CHANGED:
                    self._mark_again(finding.path, index)
                elif finding.kind is Kind.NOT_LOGGED:
                    self._log_again(finding.path, index)
            index.gone(
                [(s, reason) for s, reason in index.doomed() if self._is_gone(s)],
                self._clock.utc_us(),
            )
            ledger = Ledger(self._disks, index, self._identities, self._clock)
            ledger.recover(ledger.reconcile())
            while ledger.audit(1.0):
                pass
        finally:
            index.close()

    def _indexed(self) -> tuple[dict[CameraId, dict[str, Row]], dict[CameraId, set[str]], list[Finding]]:
        """Rows and receipts by camera; without any when the index can't be used, which is a finding then."""
        path = self._index_path
        if not path.exists():
            return {}, {}, [Finding(Kind.INDEX_MISSING, path.name)]
        try:
            index = Index(path, self._clock, read_only=True)
            try:
                if damage := index.damage():
                    return {}, {}, [Finding(Kind.INDEX_DAMAGED, path.name, damage)]
                cameras = index.cameras()
                rows = {camera: {s.path: Row(s) for s in index.segments(camera, FOREVER)} for camera in cameras}
                for segment, reason in index.doomed():
                    rows.setdefault(segment.camera, {})[segment.path] = Row(segment, reason)
                receipts = {camera: {r.segment.path for r in index.receipts(camera, FOREVER)} for camera in cameras}
            finally:
                index.close()
        except ArchiveError as error:
            return {}, {}, [Finding(Kind.INDEX_DAMAGED, path.name, str(error))]
        return rows, receipts, []

    def _is_gone(self, segment: Segment) -> bool:
        return not self._disks.fault(segment.disk) and not self._disks.path(segment).exists()

    def _there(self) -> list[Disk]:
        return self._disks.there() if len(self._disks) > 1 else list(self._disks)

    def _walk(self) -> tuple[dict[CameraId, list[Entry]], list[Entry]]:
        """The cameras' files, and what else is there; foreign folders are not gone into."""
        by_camera: dict[CameraId, list[Entry]] = {}
        foreign: list[Entry] = []
        for disk in self._there():
            for camera in self._entries(disk.folder, ""):
                if camera.path == MARKER and disk.id:
                    continue
                if camera.shape is not Shape.FOLDER or not is_day_folder(f"{camera.path}/2000-01-01"):
                    foreign.append(camera)
                    continue
                kept = by_camera.setdefault(CameraId(camera.path), [])
                for day in self._entries(disk.folder, camera.path):
                    if day.shape is Shape.FOLDER and is_day_folder(day.path):
                        kept += self._entries(disk.folder, day.path)
                    else:
                        foreign.append(day)
        return by_camera, foreign

    def _lines(self, entries: Sequence[Entry]) -> dict[str, day_log.Line]:
        """What the day logs of these files' folders say, by path."""
        folders = {entry.path.rpartition("/")[0] for entry in entries}
        return {
            f"{folder}/{name}": line
            for disk in self._there()
            for folder in folders
            for name, line in day_log.read(disk.folder / folder).items()
        }

    def _entries(self, root: Path, folder: str) -> Iterator[Entry]:
        try:
            with os.scandir(root / folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            if not folder:
                raise ArchiveError(f"the archive's folder {root} is not there: is its disk mounted?") from None
            return
        except OSError as error:
            raise ArchiveError(f"{root / folder} cannot be read: {error.strerror}") from error
        for entry in listed:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Entry(
                f"{folder}/{entry.name}" if folder else entry.name,
                _shape(status.st_mode),
                stat.S_IMODE(status.st_mode),
                status.st_mtime_ns // 1000,
                status.st_size,
            )

    def _read(self, entry: Entry, recorded: str | None) -> Iterator[Finding]:
        """What a file's bytes say beside the `recorded` SHA-256; nothing when it was deleted meanwhile."""
        try:
            digest = self._digest(entry.path)
        except FileNotFoundError:
            return
        except OSError as error:
            yield Finding(Kind.UNREADABLE, entry.path, f"the disk does not give it: {error.strerror}")
            return
        inside = None if digest == recorded else self._examined(entry.path)
        for kind in of_contents(recorded, digest, inside, torn=entry.mode == TORN_MODE):
            yield Finding(kind, entry.path, _inside_words(inside))

    def _digest(self, path: str) -> str:
        fd = os.open(self._file(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(_READ_BYTES):
                digest.update(block)
            # an archive is larger than memory: what was read once must not push out what others need
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return digest.hexdigest()

    def _examined(self, path: str) -> Examined | str | None:
        try:
            examined = examine(self._folder_of(path), path, self._identities)
        except NoIdentityError:
            return None
        except ArchiveError as error:
            return str(error)
        return examined if examined.frames else "there is no picture in it"

    def _mark_again(self, path: str, index: Index) -> None:
        for segment in index.by_path([path]):
            if self._is_recorded(segment):  # when it was changed is evidence
                mark(self._disks.path(segment), segment.end_us, TORN_MODE if segment.torn else WHOLE_MODE)

    def _is_recorded(self, segment: Segment) -> bool:
        try:
            return segment.sha256 is None or self._digest(segment.path) == segment.sha256
        except OSError as error:
            raise ArchiveError(f"{self._disks.path(segment)} cannot be read: {error.strerror}") from error

    def _log_again(self, path: str, index: Index) -> None:
        for segment in index.by_path([path]):
            enter(self._disks.path(segment), segment)

    def _folder_of(self, path: str) -> Path:
        """Of the archive, on the disk where the file is; the first one's where it is on none."""
        return (self._disks.find(path) or next(iter(self._disks))).folder

    def _file(self, path: str) -> Path:
        return self._folder_of(path) / path


def still_there(first: Looked, second: Looked) -> Looked:
    """What was found twice: beside a running agent the rest was only in the middle of being done."""
    again = {(finding.kind, finding.path) for finding in second.findings}
    lasting = (Kind.CONTENT_CHANGED, Kind.UNREADABLE, Kind.CLOSED_BUT_TORN, Kind.HELD_DAMAGED)
    kept = [f for f in first.findings if f.kind in lasting or (f.kind, f.path) in again]
    return replace(first, findings=tuple(kept))


def _shape(mode: int) -> Shape:
    if stat.S_ISREG(mode):
        return Shape.FILE
    if stat.S_ISDIR(mode):
        return Shape.FOLDER
    return Shape.LINK if stat.S_ISLNK(mode) else Shape.OTHER


def _inside_words(inside: Examined | str | None) -> str:
    if inside is None:
        return "this node has no key to look inside"
    if isinstance(inside, str):
        return inside
    return f"{inside.frames} pictures can be read{' up to the tear' if inside.torn else ''}"
