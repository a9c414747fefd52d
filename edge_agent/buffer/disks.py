"""The archive's disks: where each is, whether it is there, on which a file is (`docs/archive.md`, «Several disks»)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.model import Segment

MARKER = ".edge-agent-archive"
"""In the archive's folder on each disk but the first: its id.  So an empty mount point is not taken for the disk."""
FIRST = ""
"""The id of the archive's first disk."""
ROOMY = 0.02
"""A disk with this part of its size free for recordings is not full."""
FULLER, LATER_US = 0.05, 600 * US
"""By so much of its size, or of time, another disk must be the better choice: the disks take turns, not each file."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder of the archive, on a disk of its own."""

    id: str
    folder: Path
    max_size: int | None = None
    """The quota in bytes."""
    min_free: int = 0
    """The reserve in bytes."""

    def fault(self) -> str:
        """Why it can't be used, in words; empty when it is there."""
        try:
            if not self.id:
                with os.scandir(self.folder):
                    return ""
            marked = (self.folder / MARKER).read_text("ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            what = f"its mark {MARKER}" if self.id and self.folder.is_dir() else "the archive's folder"
            return f"{what} is not there ({self.folder}): is its disk mounted?"
        except UnicodeDecodeError:
            marked = "something else"
        except OSError as error:
            return f"{self.folder} cannot be read: {error.strerror}"
        return "" if marked == self.id else f"{self.folder} is marked as «{marked[:40]}»: another disk is mounted there"

    def mark(self) -> None:
        """Make the folder, which must exist, this disk's; ArchiveError when it is another's or the disk refuses."""
        marker = self.folder / MARKER
        try:
            with marker.open("x", encoding="ascii") as file:
                file.write(f"{self.id}\n")
                file.flush()
                os.fsync(file.fileno())
            fsync_folder(self.folder)
        except FileExistsError:
            if fault := self.fault():
                raise ArchiveError(fault) from None
        except OSError as error:
            raise ArchiveError(f"{self.folder} cannot be marked as disk {self.id}: {error.strerror}") from error

    def free(self) -> int:
        """Bytes that are free on it."""
        try:
            found = os.statvfs(self.folder)
        except OSError as error:
            raise ArchiveError(f"cannot ask the disk of {self.folder} for its space: {error.strerror}") from error
        return found.f_bavail * found.f_frsize

    @property
    def name(self) -> str:
        """As people call it."""
        return f"disk {self.id}" if self.id else f"the first disk ({self.folder})"


class Disks:
    """All of them, the first one first."""

    def __init__(self, disks: Iterable[Disk]) -> None:
        self._disks = {disk.id: disk for disk in disks}

    @classmethod
    def of(cls, archive: Path | Disks) -> Disks:
        """A folder alone is an archive of one disk."""
        return archive if isinstance(archive, Disks) else cls([Disk(FIRST, archive)])

    @classmethod
    def first_and(cls, folder: str, more: Iterable[tuple[str, str]]) -> Self:
        """As a child's job names them: the first one's folder, ids and folders of the others."""
        return cls([Disk(FIRST, Path(folder)), *(Disk(disk, Path(other)) for disk, other in more)])

    def but_first(self) -> tuple[tuple[str, str], ...]:
        """For a child's job."""
        return tuple((disk.id, str(disk.folder)) for disk in self if disk.id != FIRST)

    def __iter__(self) -> Iterator[Disk]:
        return iter(self._disks.values())

    def __len__(self) -> int:
        return len(self._disks)

    def get(self, disk: str) -> Disk:
        """By its id; ArchiveError for one that the configuration does not have any more."""
        try:
            return self._disks[disk]
        except KeyError:
            raise ArchiveError(f"disk {disk} of the archive is not in the configuration: name it as [[disk]]") from None

    def has(self, disk: str) -> bool:
        """Whether the configuration has it."""
        return disk in self._disks

    def fault(self, disk: str) -> str:
        """Why a disk can't be used, in words; empty when it can."""
        return self._disks[disk].fault() if disk in self._disks else f"disk {disk} is not in the configuration"

    def path(self, segment: Segment) -> Path:
        """Where a recording is, or would be, were its disk there; ArchiveError as `get`."""
        return self.get(segment.disk).folder / segment.path

    def there(self) -> list[Disk]:
        """Those that can be used now."""
        return [disk for disk in self if not disk.fault()]

    def absent(self) -> dict[str, str]:
        """Those that can't, and why."""
        return {disk.id: fault for disk in self if (fault := disk.fault())}

    def find(self, path: str) -> Disk | None:
        """The disk with a file of that path; None when none that is there has it."""
        if len(self) == 1:
            return next(iter(self))
        return next((disk for disk in self if os.path.lexists(disk.folder / path)), None)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a disk has room for."""

    disk: str
    room: int
    """Bytes that can be recorded before its oldest recordings have to go; below 0 when they have to already."""
    size: int
    """Bytes that it can hold in all."""
    loses_us: int
    """Age mark of what it would lose next."""

    @property
    def part(self) -> float:
        return self.room / self.size if self.size > 0 else -1.0

    @property
    def full(self) -> bool:
        return self.part < ROOMY


def in_turn(shelves: Sequence[Shelf], now_on: str) -> tuple[str, ...]:
    """Disks in the order in which they are to be recorded to: while one has room, the emptiest; when all are full, the
    one with the oldest recordings, which are the first to go.  The disk in use stays first while it is nearly as good.
    """

    def order(shelf: Shelf) -> tuple[bool, float]:
        here = shelf.disk == now_on
        if shelf.full:
            return True, shelf.loses_us - (LATER_US if here else 0)
        return False, -shelf.part - (FULLER if here else 0)

    return tuple(shelf.disk for shelf in sorted(shelves, key=order))
