"""Deletes what is due: by age, then for want of space, never what is held (`docs/retention.md`).

`buffer/promise.py` decides over values; `Deleter` carries it out in the order that `docs/archive.md` gives: row doomed,
unlink, fsync of the folder, receipt.  A crash anywhere in between leaves a doomed row, which is finished later.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path

from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.day_log import remove_with_folder
from edge_agent.buffer.disks import FIRST as FIRST_DISK
from edge_agent.buffer.disks import Disk, Disks, Shelf, in_turn
from edge_agent.buffer.holds import Held, Holds
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.index_marks import FIRST, LAST, place_of
from edge_agent.buffer.promise import Aged, OnFull, Rule, Space, first_to_lose, until_it_fits
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.model import CameraId, Interval, Segment

_log = logging.getLogger(__name__)
BATCH = 40
"""Files deleted between two transactions."""
SWEEP_S = 0.15
"""After so long a sweep gives way to the agent's other work."""
AHEAD_US = 3600 * US
"""A recording marked further ahead of a trusted clock was recorded while the clock was wrong."""
HOUR_US = 3600 * US


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    by_age: int = 0
    by_space: int = 0
    freed_bytes: int = 0
    holds: tuple[str, ...] = ()
    """Holds that had kept some of it beyond its time."""
    more: bool = False
    """There is more to do; sweep again soon."""

    def __add__(self, later: Swept) -> Swept:
        holds = tuple(sorted({*self.holds, *later.holds}))
        by_age, by_space = self.by_age + later.by_age, self.by_space + later.by_space
        return Swept(by_age, by_space, self.freed_bytes + later.freed_bytes, holds, later.more)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the archive keeps its promise just now."""

    waiting: bool
    """Recording waits for room (`on_full = "stop"`)."""
    stuck: bool
    """Something has to go, and nothing may."""
    taken: bool
    """Others fill the disk, and the archive gives no more."""
    holds_known: bool
    free: int
    """Bytes free on the disk that others filled, where one did; else on all."""
    reserve: int = 0
    """Of that disk."""
    disk: str = ""
    """Its id."""
    short: tuple[CameraId, ...] = ()
    """Cameras of which something is gone that was promised."""
    oldest_us: int | None = None
    """Age mark of the oldest unheld recording of those."""


class Deleter:
    """Keeps the archive within its rule; the agent's loop owns it."""

    def __init__(
        self, archive: Path | Disks, index: Index, holds: Holds, rule: Rule, clock: Clock, ballast: Ballast
    ) -> None:
        """`rule` says what room an archive of one folder has; several disks each say it themselves."""
        if isinstance(archive, Path):
            archive = Disks([Disk(FIRST_DISK, archive, rule.max_size, rule.min_free)])
        self._disks = archive
        self._now_on = ""
        self._index = index
        self._holds = holds
        self._rule = rule
        self._clock = clock
        self._ballast = ballast
        self._waiting = self._stuck = False
        ballast.take_on(self._free_beside(0))

    def finish(self) -> None:
        """Finish the deletions that a crash left, or call them back where a hold came in between."""
        spared: list[Segment] = []
        going: list[tuple[Segment, str]] = []
        absent = self._absent()
        for segment, reason in self._index.doomed():
            if segment.disk in absent:
                continue
            if self._holds.held.keeps(Aged(segment, segment.end_us)) and self._disks.path(segment).exists():
                spared.append(segment)
            else:
                going.append((segment, reason))
        if spared:
            self._index.spare(spared)
        self._delete(going)

    def sweep(self, *, clock_trusted: bool) -> Swept:
        """Delete what is due, for a short while; on a full disk the ballast makes the room that this needs."""
        if not self._holds.known:
            return Swept()
        try:
            swept = self._sweep(clock_trusted)
        except ArchiveError:
            if not self._ballast.drop():
                raise
            swept = self._sweep(clock_trusted)
        self._ballast.take_on(self._free_beside(self._rule.min_free))
        return swept

    def must_wait(self) -> bool:
        """Whether recording has to wait for room (`on_full = "stop"`)."""
        spaces = self._spaces()
        self._waiting = bool(spaces) and all(
            self._rule_of(disk, spaces).must_wait(space, self._waiting) for disk, space in spaces.items()
        )
        return self._waiting

    def in_turn(self, *, clock_trusted: bool) -> tuple[str, ...]:
        """The disks that are there, in the order in which they are to be recorded to."""
        spaces, now_us = self._spaces(), self._now(clock_trusted)
        if len(spaces) > 1:
            order = in_turn([self._shelf(disk, spaces, now_us) for disk in spaces], self._now_on)
            self._now_on = order[0]
            return order
        return tuple(spaces)

    def standing(self, *, clock_trusted: bool) -> Standing:
        """How the promise is kept; cheap, for a look every half minute."""
        now_us = self._now(clock_trusted)
        spaces = {disk: self._with_last_hour(space, disk) for disk, space in self._spaces().items()}
        taken = [disk for disk, space in spaces.items() if self._rule_of(disk, spaces).taken_by_others(space)]
        short = [
            camera
            for camera in self._index.recorded_cameras()
            if now_us and self._index.went_early(camera, Interval(max(now_us - self._rule.keep(camera), 0), now_us))
        ]
        oldest = [aged.mark_us for camera in short for aged in islice(self._unheld(camera, self._holds.held, None), 1)]
        return Standing(
            waiting=self._waiting,
            stuck=self._stuck,
            taken=bool(taken),
            holds_known=self._holds.known,
            free=sum(space.free for disk, space in spaces.items() if not taken or disk == taken[0]),
            reserve=self._disks.get(taken[0]).min_free if taken else self._rule.min_free,
            disk=taken[0] if taken else "",
            short=tuple(short),
            oldest_us=min((mark for mark in oldest if mark <= now_us), default=None),
        )

    def _sweep(self, clock_trusted: bool) -> Swept:
        self.finish()
        if clock_trusted:
            now_us = self._clock.utc_us()
            dated = self._index.date_from(now_us + AHEAD_US, now_us)
            if dated:
                _log.info("%d recordings of doubtful date count as recorded now", dated)
        deadline = self._clock.monotonic() + SWEEP_S
        spaces = self._spaces()
        by_age = by_space = freed = 0
        holds: set[str] = set()
        while chosen := self._choose(spaces, clock_trusted):
            for reason in sorted({reason for _, reason in chosen}):
                self._index.doom((segment for segment, why in chosen if why == reason), reason)
            self._delete(chosen)
            size = sum(segment.size_bytes for segment, _ in chosen)
            for segment, _ in chosen:
                space, went = spaces[segment.disk], segment.size_bytes
                spaces[segment.disk] = Space(space.held - went, space.free + went)
            freed += size
            aged = sum(1 for _, reason in chosen if reason.startswith(DeleteReason.AGE))
            by_age, by_space = by_age + aged, by_space + len(chosen) - aged
            holds |= {reason.partition(" ")[2] for _, reason in chosen} - {""}
            if self._clock.monotonic() >= deadline:
                return Swept(by_age, by_space, freed, tuple(sorted(holds)), more=True)
        return Swept(by_age, by_space, freed, tuple(sorted(holds)))

    def _choose(self, spaces: Mapping[str, Space], clock_trusted: bool) -> list[tuple[Segment, str]]:
        """The next few that go, each with its reason."""
        held, now_us = self._holds.held, self._now(clock_trusted)
        cameras = self._index.recorded_cameras()
        self._stuck = False
        if clock_trusted:
            there = self._reach(spaces)
            due = list(islice((aged for camera in cameras for aged in self._due(camera, held, now_us, there)), BATCH))
            if due:
                return [(aged.segment, self._reason(aged, held)) for aged in due]
        if self._rule.on_full is not OnFull.OVERWRITE:
            return []
        stuck = 0
        for disk, space in spaces.items():
            rule = self._rule_of(disk, spaces)
            if rule.excess(space) == 0:
                continue
            excess = rule.excess(self._with_last_hour(space, disk))
            chosen = list(islice(until_it_fits(self._first_to_lose(disk, now_us), excess), BATCH))
            if chosen:
                return [(aged.segment, str(DeleteReason.SPACE)) for aged in chosen]
            stuck += excess > 0
        self._stuck = stuck > 0 and stuck == len(spaces)
        return []

    def _first_to_lose(self, disk: str, now_us: int) -> Iterator[Aged]:
        """What goes of a disk for want of space, in order."""
        held, on = self._holds.held, self._reach([disk])
        unheld = {camera: self._unheld(camera, held, on) for camera in self._index.recorded_cameras()}
        return first_to_lose(unheld, self._rule, now_us)

    def _reach(self, disks: Collection[str]) -> Collection[str] | None:
        """These disks as the index is to be asked for them; None where nothing is on any other."""
        return None if set(self._index.held_on()) <= set(disks) else tuple(disks)

    def _due(self, camera: CameraId, held: Held, now_us: int, there: Collection[str] | None) -> Iterable[Aged]:
        before_us = now_us - self._rule.keep(camera)
        return takewhile(lambda aged: aged.mark_us <= before_us, self._unheld(camera, held, there))

    def _unheld(self, camera: CameraId, held: Held, disks: Collection[str] | None) -> Iterator[Aged]:
        """A camera's recordings that may go, by age mark; a held stretch is stepped over in one."""
        after = FIRST
        while found := self._index.by_age(camera, after, BATCH, disks):
            for aged in found:
                after = place_of(aged)
                beyond = held.beyond(camera, aged.mark_us)
                if beyond is not None:
                    after = (beyond - 1, LAST, LAST)
                    break
                if not held.keeps(aged):
                    yield aged

    def _reason(self, aged: Aged, held: Held) -> str:
        hold = held.kept_by(aged.segment, aged.mark_us + self._rule.keep(aged.segment.camera))
        return f"{DeleteReason.AGE} {hold}".rstrip()

    def _now(self, clock_trusted: bool) -> int:
        return self._clock.utc_us() if clock_trusted else self._index.last_dated_us()

    def _absent(self) -> Collection[str]:
        """Disks that hold something and are not there: nothing of them is touched."""
        if len(self._disks) == 1:
            return set(self._index.held_on()) - {disk.id for disk in self._disks}
        return set(self._index.held_on()) - {disk.id for disk in self._disks.there()}

    def _spaces(self) -> dict[str, Space]:
        """Of each disk that is there; ArchiveError when an archive's only one is not."""
        held = self._index.held_on()
        spaces = {}
        for disk in self._disks:
            try:
                free = disk.free()
            except ArchiveError:
                if len(self._disks) == 1:
                    raise
                continue
            if len(self._disks) == 1 or not disk.fault():
                missing = self._ballast.missing if disk.id == FIRST_DISK else 0
                spaces[disk.id] = Space(held=held.get(disk.id, (0, 0))[1], free=free - missing)
        return spaces

    def _rule_of(self, disk: str, spaces: Mapping[str, Space]) -> Rule:
        """The rule with the disk's own room; what others hold counts for the size that the archive never goes below."""
        found = self._disks.get(disk)
        elsewhere = sum(space.held for other, space in spaces.items() if other != disk)
        min_size = max(self._rule.min_size - elsewhere, 0)
        return replace(self._rule, max_size=found.max_size, min_free=found.min_free, min_size=min_size)

    def _shelf(self, disk: str, spaces: Mapping[str, Space], now_us: int) -> Shelf:
        rule, space = self._rule_of(disk, spaces), spaces[disk]
        room = space.free - rule.min_free
        if rule.max_size is not None:
            room = min(room, rule.max_size - space.held)
        shelf = Shelf(disk, room, space.held + room, LAST)
        if not shelf.full:
            return shelf
        first = next(self._first_to_lose(disk, now_us), None)
        return replace(shelf, loses_us=first.mark_us) if first else shelf

    def _free_beside(self, reserve: int) -> int:
        """What is free beside it on the first disk, which is taken to be the data folder's."""
        first = self._spaces().get(FIRST_DISK)
        return first.free - reserve if first else 0

    def _with_last_hour(self, space: Space, disk: str) -> Space:
        now_us = self._clock.utc_us()
        recorded, freed = self._index.came_and_went(now_us - HOUR_US, now_us, disk)
        return Space(space.held, space.free, recorded, freed)

    def _delete(self, doomed: Sequence[tuple[Segment, str]]) -> None:
        if not doomed:
            return
        folders: set[Path] = set()
        for segment, _ in doomed:
            path = self._disks.path(segment)
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
