"""Looks ahead for the agent: counts what was recorded, asks disk, index and holds, and foretells (`docs/forecast.md`).

Owned by the agent's main thread, which it never keeps for long; `edge-agent archive forecast` uses the same look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from edge_agent.archive_disks import disks_of
from edge_agent.buffer.forecast import CameraPast, Forecast, Room, forecast, held_times
from edge_agent.buffer.index import Index
from edge_agent.buffer.rates import DAY_US, HOUR_US
from edge_agent.buffer.volumes import HISTORY_US, Volumes
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.model import CameraId, Hold, Interval, uncovered

_log = logging.getLogger(__name__)
EVERY_S = 600
"""A forecast; what was recorded is counted at every turn."""
RETRY_S = 60
BUDGET_S = 0.05
"""So long a turn may count, when the table is made anew."""


class Forecaster:
    """`turn` every few seconds; `latest` is what it found last."""

    def __init__(self, config: Config, index: Index, holds: Callable[[], Sequence[Hold]], clock: Clock) -> None:
        self._config, self._index, self._holds, self._clock = config, index, holds, clock
        self._volumes: Volumes | None = None
        self._counting: Iterator[None] | None = None
        self._looked: float | None = None
        self._not_before = 0.0
        self.latest: Forecast | None = None

    def turn(self, *, clock_trusted: bool) -> bool:
        """Count what is new, then look ahead when it is time; true when there is a new forecast.

        With a clock that is not trusted nothing is dropped from the table.  ArchiveError when the disk refuses; a turn
        after a minute tries again.
        """
        now = self._clock.monotonic()
        if now < self._not_before:
            return False
        self._not_before = now + RETRY_S
        done = self._turn(now, clock_trusted)
        self._not_before = now
        return done

    def _turn(self, now: float, clock_trusted: bool) -> bool:
        # Not at the agent's start: no table is worth a recording that does not begin.
        volumes = self._volumes = self._volumes or Volumes.open(self._config.volumes_path, self._clock)
        if not self._counted(volumes):
            return False
        if self._looked is not None and now - self._looked < EVERY_S:
            return False
        now_us, holds = self._clock.utc_us(), self._holds()
        if clock_trusted:
            longest = max(promised_us(self._config, camera.camera_id) for camera in self._config.camera)
            volumes.prune(now_us - max(HISTORY_US, longest + DAY_US), holds)
        self.latest = foresee(self._config, self._index, volumes, holds, now_us)
        self._looked = now if self.latest else None
        return self.latest is not None

    def close(self) -> None:
        if self._volumes is not None:
            self._volumes.close()

    def _counted(self, volumes: Volumes) -> bool:
        """A step at a time, at most the budget; true when all is counted."""
        counting = self._counting or count(self._index, volumes, self._clock.utc_us())
        self._counting = None
        until = self._clock.monotonic() + BUDGET_S
        for _ in counting:
            if self._clock.monotonic() >= until:
                self._counting = counting
                return False
        return True


def count(index: Index, volumes: Volumes, now_us: int) -> Iterator[None]:
    """Bring the table up to the index, in short steps."""
    for camera in index.cameras():
        yield from volumes.catch_up(index, camera, now_us)


def foresee(config: Config, index: Index, volumes: Volumes, holds: Sequence[Hold], now_us: int) -> Forecast | None:
    """What the archive's state leads to; None as long as nothing was recorded."""
    configured = [camera.camera_id for camera in config.camera]
    active = [hold for hold in holds if hold.ended_us is None]
    pasts = []
    for camera in dict.fromkeys([*configured, *index.cameras()]):
        hours = [volume for volume in volumes.hours(camera) if volume.hour_us <= now_us]
        kept_from = _oldest_unheld(index, camera, active)
        goes_on = camera in configured
        if goes_on or kept_from is not None:
            pasts.append(CameraPast(camera, promised_us(config, camera), hours, kept_from, goes_on))
    return forecast(pasts, active, _room(config, index), config.zone, now_us)


def promised_us(config: Config, camera: CameraId) -> int:
    """How long its recordings are to be kept."""
    found = config.camera_named(camera)
    days = found.keep_days if found is not None and found.keep_days is not None else config.retention.days
    return round(days * DAY_US)


def in_sight(found: Forecast | None, warn_us: int, *, told: bool) -> bool:
    """Whether to warn of the promise's break; what was `told` is taken back when it is a day farther off."""
    if found is None or found.breaks_us is None:
        return False
    return found.breaks_us - found.at_us <= warn_us + (DAY_US if told else 0)


def _oldest_unheld(index: Index, camera: CameraId, holds: Sequence[Hold]) -> int | None:
    """Start of a camera's oldest recording that no hold keeps."""
    holdings = index.holdings(camera)
    if holdings.first_us is None or holdings.last_us is None:
        return None
    whole = Interval(holdings.first_us, holdings.last_us)
    held = held_times(camera, holds, whole.end_us)
    for piece in uncovered(whole, held):
        start, step = piece.start_us, HOUR_US
        while start < piece.end_us:
            chunk = Interval(start, min(start + step, piece.end_us))
            for segment in index.segments(camera, chunk):
                if not any(segment.interval.overlaps(time) for time in held):
                    return segment.start_us
            start, step = chunk.end_us, min(2 * step, 32 * DAY_US)
    return None


def _room(config: Config, index: Index) -> Room:
    """Of all disks that are there; one that is not has no room, and is not counted."""
    disks, held = disks_of(config), index.held_on()
    room = beyond = 0
    for disk in disks if len(disks) == 1 else disks.there():
        on_disk = max(0, held.get(disk.id, (0, 0))[1] + disk.free() - disk.min_free)
        most = on_disk if disk.max_size is None else min(on_disk, disk.max_size)
        room, beyond = room + most, beyond + on_disk - most
    return Room(room, by_quota=beyond > 0, beyond_quota_bytes=beyond, stops=config.retention.on_full == "stop")
