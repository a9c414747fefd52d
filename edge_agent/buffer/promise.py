"""What the archive promises and what has to go for it: decided over values (`docs/retention.md`)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.clock import US
from edge_agent.model import CameraId, Segment

DAY_US = 86_400 * US
UNDATED = 1 << 61
"""Age marks from here on say only in which order recordings came in; no date reaches so far."""
EARLIEST_US = 1_704_067_200 * US
"""2024: what says it is older comes from a clock that was never set."""
RESUME_PART = 20
RESUME_MOST = 10**9
"""A stopped recording goes on when a twentieth of what was missing is free, at most 1 GB: not at every freed file."""


class OnFull(StrEnum):
    """What gives way when there is no room."""

    OVERWRITE = "overwrite"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Aged:
    """A recording with its age mark: the time (UTC µs) from which its age counts, or UNDATED and its number."""

    segment: Segment
    mark_us: int

    @property
    def dated(self) -> bool:
        return self.mark_us < UNDATED


@dataclass(frozen=True, slots=True)
class Space:
    """The archive's room, in bytes."""

    held: int
    """What the archive's known files take."""
    free: int
    """Free on the disk."""
    recorded: int = 0
    """Came in within the last hour."""
    freed: int = 0
    """Went for want of space within the last hour."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The promise and the room it has."""

    keep_us: int
    keep_us_of: Mapping[CameraId, int]
    """Of the cameras that have a promise of their own."""
    max_size: int | None = None
    min_free: int = 0
    min_size: int = 0
    others_a_day: float = 0.1
    on_full: OnFull = OnFull.OVERWRITE

    def keep(self, camera: CameraId) -> int:
        """What is promised of a camera, in microseconds."""
        return self.keep_us_of.get(camera, self.keep_us)

    def excess(self, space: Space) -> int:
        """Bytes that must go for the archive to fit again, 0 when it does."""
        return max(self._over_quota(space), min(self.short(space), self.gift(space)), 0)

    def short(self, space: Space) -> int:
        """Bytes of the reserve that are not free."""
        return max(self.min_free - space.free, 0)

    def gift(self, space: Space) -> int:
        """What may go for the reserve now: the archive's own growth at once, little for others."""
        share = self.others_a_day / 24 * space.held if space.held > self.min_size else 0
        gift = int(space.recorded - space.freed + share)
        return max(gift, 0 if space.freed else 1)

    def taken_by_others(self, space: Space) -> bool:
        """The reserve is missing, and the archive gives no more for it."""
        return self.short(space) > max(self.gift(space), self._over_quota(space))

    def must_wait(self, space: Space, waiting: bool) -> bool:
        """With `on_full = "stop"`: whether recording has to wait; `waiting` already, it needs some room to go on."""
        if self.on_full is not OnFull.STOP:
            return False
        reserve, quota = self.min_free, self.max_size
        if waiting:
            reserve += min(reserve // RESUME_PART, RESUME_MOST)
            quota = None if quota is None else quota - min(quota // RESUME_PART, RESUME_MOST)
        return space.free < reserve or (quota is not None and space.held >= quota)

    def _over_quota(self, space: Space) -> int:
        return space.held - self.max_size if self.max_size is not None else 0


def first_to_lose(unheld: Mapping[CameraId, Iterable[Aged]], rule: Rule, now_us: int) -> Iterator[Aged]:
    """What goes for want of space, in order: always of the camera that keeps the largest part of its own promise.

    `unheld` gives each camera's recordings by their age marks; `now_us` is the clock where it is trusted, else the
    latest mark that is a date.
    """
    heap = [
        (_rank(aged, rule.keep(camera), now_us), camera, aged, rest)
        for camera, rest in ((camera, iter(recordings)) for camera, recordings in unheld.items())
        if (aged := next(rest, None)) is not None
    ]
    heapq.heapify(heap)
    while heap:
        _, camera, aged, rest = heap[0]
        yield aged
        following = next(rest, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (_rank(following, rule.keep(camera), now_us), camera, following, rest))


def _rank(aged: Aged, keep_us: int, now_us: int) -> tuple[bool, float]:
    """Lower goes earlier."""
    if aged.dated:
        return False, (aged.mark_us - now_us) / keep_us
    return True, float(aged.mark_us - UNDATED)


def until_it_fits(candidates: Iterable[Aged], excess: int) -> Iterator[Aged]:
    """The first of them that together make up for `excess` bytes."""
    for aged in candidates if excess > 0 else ():
        yield aged
        excess -= aged.segment.size_bytes
        if excess <= 0:
            return
