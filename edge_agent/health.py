"""What the machine says of itself, by psutil."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError


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

    def __init__(self, archive: Path, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock
        self._started = clock.monotonic()
        psutil.cpu_percent()

    def look(self) -> NodeHealth:
        memory = psutil.virtual_memory()
        try:
            disk = psutil.disk_usage(str(self._archive))
        except OSError as error:
            raise ArchiveError(f"the disk of {self._archive} cannot be looked at: {error.strerror}") from error
        return NodeHealth(
            uptime_s=round(self._clock.monotonic() - self._started, 1),
            cpu_percent=psutil.cpu_percent(),
            load_1m=os.getloadavg()[0],
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            temperature_c=_hottest(),
            disk_total_bytes=disk.total,
            disk_free_bytes=disk.free,
        )


def _hottest() -> float | None:
    sensors = psutil.sensors_temperatures()
    return max((reading.current for group in sensors.values() for reading in group), default=None)
