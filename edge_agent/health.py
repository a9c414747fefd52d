"""What health is made of: the machine, by psutil, and the archive, by its index."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_agent.buffer.disks import Disks
from edge_agent.buffer.index import Holdings, Index
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval
from edge_agent.uplink.payloads import Gaps

_log = logging.getLogger(__name__)
DAY_US = 86400 * US


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """One look at the machine."""

    uptime_s: float
    """Of the agent."""
    cpu_percent: float
    """Of all cores, since the last look."""
    load_1m: float
    memory_used_bytes: int
    memory_total_bytes: int
    temperature_c: float | None
    """The hottest sensor; None where there is none."""
    disk_total_bytes: int
    disk_free_bytes: int


class NodeProbe:
    """Looks at the machine whenever asked; one thread owns it."""

    def __init__(self, archive: Path | Disks, clock: Clock) -> None:
        self._disks = Disks.of(archive)
        self._clock = clock
        self._started = clock.monotonic()
        psutil.cpu_percent()

    def look(self) -> NodeHealth:
        memory = psutil.virtual_memory()
        total, free = self._space()
        return NodeHealth(
            uptime_s=round(self._clock.monotonic() - self._started, 1),
            cpu_percent=psutil.cpu_percent(),
            load_1m=os.getloadavg()[0],
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            temperature_c=_hottest(),
            disk_total_bytes=total,
            disk_free_bytes=free,
        )

    def _space(self) -> tuple[int, int]:
        """In all and free, of the archive's disks that are there."""
        total = free = 0
        for disk in self._disks if len(self._disks) == 1 else self._disks.there():
            try:
                found = psutil.disk_usage(str(disk.folder))
            except OSError as error:
                raise ArchiveError(f"the disk of {disk.folder} cannot be looked at: {error.strerror}") from error
            total, free = total + found.total, free + found.free
        return total, free


class ArchiveProbe:
    """What the index says, or said last: a disk that fails must not silence the message that tells of it."""

    def __init__(self, index: Index, clock: Clock) -> None:
        self._index = index
        self._clock = clock
        self._holdings = Holdings(0, 0, None, None)
        self._gaps: dict[CameraId, Gaps] = {}

    def holdings(self) -> Holdings:
        try:
            self._holdings = self._index.holdings()
        except ArchiveError as error:
            _log.error("%s", error)
        return self._holdings

    def gaps_of_a_day(self, camera: CameraId) -> Gaps:
        """What is missing of the last 24 hours."""
        now_us = self._clock.utc_us()
        day = Interval(now_us - DAY_US, now_us)
        try:
            missing = [gap.interval.clipped(day) for gap in self._index.gaps(camera, day)]
        except ArchiveError as error:
            _log.error("%s", error)
        else:
            self._gaps[camera] = Gaps(count=len(missing), seconds=round(sum(gap.seconds for gap in missing), 3))
        return self._gaps.get(camera, Gaps())


def _hottest() -> float | None:
    sensors = psutil.sensors_temperatures()
    return max((reading.current for group in sensors.values() for reading in group), default=None)
