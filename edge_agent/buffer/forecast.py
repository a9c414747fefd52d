"""Whether the archive will keep its promise, until when, and what helps if not (`docs/forecast.md`).  Pure.

Bytes are counted hour by hour: the past as it is kept, the future as each camera's rates foretell it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from zoneinfo import ZoneInfo

from edge_agent.buffer.rates import (
    DAY_US,
    HOUR_US,
    WEEK_HOURS,
    WEEK_US,
    Basis,
    HourVolume,
    Rates,
    WeekHours,
    mean_rates,
    rates,
)
from edge_agent.clock import US
from edge_agent.model import CameraId, Hold, Interval, uncovered

YEAR_US = 366 * DAY_US
_HALVINGS = 24
"""Of the search for the part of the promise that fits: a ten-year promise to less than a minute."""


@dataclass(frozen=True, slots=True)
class CameraPast:
    """What a forecast must know of one camera."""

    camera: CameraId
    promised_us: int
    hours: Sequence[HourVolume]
    """What was recorded, gone or not, oldest first; at least as far back as something is kept."""
    kept_from_us: int | None
    """Start of the oldest recording that no hold keeps; None when there is none."""
    goes_on: bool = True
    """False for a camera that is no longer configured: its recordings only leave."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the archive may grow to."""

    size_bytes: int
    by_quota: bool = False
    """`max_size` is what limits it, not the disk."""
    beyond_quota_bytes: int = 0
    """What the disk would give if `max_size` were raised."""
    stops: bool = False
    """`on_full = "stop"`: nothing goes for want of room, but nothing more is recorded."""


@dataclass(frozen=True, slots=True)
class CameraForecast:
    """Times in microseconds."""

    camera: CameraId
    kept_us: int
    """So far back nothing that was recorded is gone."""
    promised_us: int
    will_keep_us: int
    bytes_per_day: float
    basis: Basis | None
    """None for a camera that brings nothing any more."""


@dataclass(frozen=True, slots=True)
class HoldShare:
    """What one hold keeps beyond the promise once the forecast's span has passed."""

    hold_id: str
    order_number: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is foretold at `at_us`."""

    at_us: int
    cameras: tuple[CameraForecast, ...]
    room: Room
    kept_bytes: int
    held_bytes: int
    """Of these, beyond the promise: kept by holds alone."""
    need_bytes: int
    """The most that the promise and the holds need within the span."""
    breaks_us: int | None
    """The hour in which something younger than promised must go; None when none is in sight."""
    lower_part: float | None
    """0 … 1: by how much all bitrates must fall; None when that is not needed or does not help."""
    holds: tuple[HoldShare, ...]
    """Largest first."""

    @property
    def lack_bytes(self) -> int:
        return max(0, self.need_bytes - self.room.size_bytes)

    @property
    def bytes_per_day(self) -> float:
        return sum(camera.bytes_per_day for camera in self.cameras)

    def camera(self, camera: CameraId) -> CameraForecast | None:
        return next((known for known in self.cameras if known.camera == camera), None)


def forecast(
    cameras: Sequence[CameraPast], holds: Sequence[Hold], room: Room, zone: ZoneInfo, now_us: int
) -> Forecast | None:
    """None as long as nothing was recorded: there is nothing to foretell from."""
    week_hour = WeekHours(zone)
    found = {past.camera: rates(past.hours, week_hour, now_us) for past in cameras if past.goes_on}
    known = [one for one in found.values() if one is not None]
    if not known and not any(past.hours for past in cameras):
        return None
    others = mean_rates(known) if known else None
    expected = {camera: one or others for camera, one in found.items()}

    active = [hold for hold in holds if hold.ended_us is None]
    span_us = max((past.promised_us for past in cameras), default=0) + DAY_US + WEEK_US
    open_ended = any(hold.end_us is None for hold in active)
    end_us = now_us + (max(span_us, YEAR_US) if open_ended else span_us)
    ledgers = _ledgers(cameras, expected, active, week_hour, now_us, end_us)

    grid = range(now_us - now_us % HOUR_US + HOUR_US, end_us + 1, HOUR_US)
    span = [at for at in grid if at <= now_us + span_us]
    week = span[-WEEK_HOURS:]
    now_need = sum(ledger.need(now_us) for ledger in ledgers)
    need = max([now_need, *(sum(ledger.need(at) for ledger in ledgers) for at in span)])
    part = _part_that_fits(ledgers, room.size_bytes, week)
    return Forecast(
        at_us=now_us,
        cameras=tuple(_camera(past, expected.get(past.camera), active, part, now_us) for past in cameras),
        room=room,
        kept_bytes=round(now_need),
        held_bytes=round(sum(ledger.held(now_us - ledger.promised_us) for ledger in ledgers)),
        need_bytes=math.ceil(need),
        breaks_us=_breaks(ledgers, room.size_bytes, [now_us, *grid]),
        lower_part=_lower(ledgers, room.size_bytes, week) if need > room.size_bytes else None,
        holds=_shares(cameras, expected, active, week_hour, now_us, now_us + span_us) if active else (),
    )


class _Ledger:
    """Bytes by the hour, past and future, of cameras that share a promise and their holds; summed up from the left."""

    def __init__(self, promised_us: int, sizes: Mapping[int, float], held: Mapping[int, float]) -> None:
        self.promised_us = promised_us
        self._hours = sorted(sizes)
        self._sizes = [0.0, *accumulate(sizes[hour] for hour in self._hours)]
        self._held = [0.0, *accumulate(held[hour] for hour in self._hours)]

    def need(self, at_us: int, part: float = 1.0) -> float:
        """Bytes that must be kept at a moment for this part of the promise, and for the holds."""
        since = at_us - round(part * self.promised_us)
        return self.window(at_us, part) + self.held(since)

    def window(self, at_us: int, part: float = 1.0) -> float:
        since = at_us - round(part * self.promised_us)
        return self._upto(self._sizes, at_us) - self._upto(self._sizes, since)

    def held(self, before_us: int) -> float:
        """What holds keep of the time before."""
        return self._upto(self._held, before_us)

    def _upto(self, sums: Sequence[float], at_us: int) -> float:
        """The sum of all hours before a moment, its own in proportion."""
        place = bisect_right(self._hours, at_us) - 1
        if place < 0:
            return 0.0
        passed = min(at_us - self._hours[place], HOUR_US) / HOUR_US
        return sums[place] + (sums[place + 1] - sums[place]) * passed


def _ledgers(
    cameras: Iterable[CameraPast],
    expected: Mapping[CameraId, Rates | None],
    holds: Sequence[Hold],
    week_hour: WeekHours,
    now_us: int,
    end_us: int,
) -> list[_Ledger]:
    groups: dict[tuple[int, tuple[Interval, ...]], list[CameraPast]] = defaultdict(list)
    for past in cameras:
        groups[past.promised_us, held_times(past.camera, holds, end_us)].append(past)
    ledgers = []
    for (promised_us, times), members in groups.items():
        sizes: dict[int, float] = defaultdict(float)
        held: dict[int, float] = defaultdict(float)
        for past in members:
            for volume in past.hours:
                share = _share(volume.hour_us, times) if times else 0.0
                kept = max(share, _kept_part(volume.hour_us, past.kept_from_us))
                if kept:
                    sizes[volume.hour_us] += volume.size_bytes * kept
                    held[volume.hour_us] += volume.size_bytes * share
        coming = [found.by_hour for past in members if (found := expected.get(past.camera)) is not None]
        rate = [sum(hours) for hours in zip(*coming, strict=True)] if coming else [0.0] * WEEK_HOURS
        for hour in range(now_us - now_us % HOUR_US, end_us, HOUR_US):
            size = rate[week_hour(hour)] * (hour + HOUR_US - max(hour, now_us)) / US
            sizes[hour] += size
            held[hour] += size * _share(hour, times)
        ledgers.append(_Ledger(promised_us, sizes, held))
    return ledgers


def held_times(camera: CameraId, holds: Iterable[Hold], end_us: int) -> tuple[Interval, ...]:
    """When holds keep everything of a camera; apart from each other, in order."""
    times = sorted(
        Interval(hold.start_us, max(hold.start_us, end_us if hold.end_us is None else hold.end_us))
        for hold in holds
        if not hold.cameras or camera in hold.cameras
    )
    joined: list[Interval] = []
    for time in times:
        if joined and time.start_us <= joined[-1].end_us:
            joined[-1] = Interval(joined[-1].start_us, max(joined[-1].end_us, time.end_us))
        else:
            joined.append(time)
    return tuple(joined)


def _kept_part(hour_us: int, from_us: int | None) -> float:
    """The part of an hour that is not gone yet."""
    if from_us is None:
        return 0.0
    return min(max(hour_us + HOUR_US - from_us, 0), HOUR_US) / HOUR_US


def _share(hour_us: int, times: Iterable[Interval]) -> float:
    """The part of an hour that lies within `times`, which are apart from each other."""
    hour = Interval(hour_us, hour_us + HOUR_US)
    return sum(time.end_us - time.start_us for time in (hour.clipped(one) for one in times)) / HOUR_US


def _breaks(ledgers: Sequence[_Ledger], room: int, moments: Iterable[int]) -> int | None:
    return next((at for at in moments if sum(ledger.need(at) for ledger in ledgers) > room), None)


def _part_that_fits(ledgers: Sequence[_Ledger], room: int, week: Sequence[int]) -> float:
    """The largest part of every promise that fits in all of a week; 0 … 1."""

    def fits(part: float) -> bool:
        return all(sum(ledger.need(at, part) for ledger in ledgers) <= room for at in week)

    if fits(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _lower(ledgers: Sequence[_Ledger], room: int, week: Sequence[int]) -> float | None:
    """Holds are counted as they will be: an order is not made smaller by a camera's settings."""
    part = 0.0
    for at in week:
        window = sum(ledger.window(at) for ledger in ledgers)
        left = room - sum(ledger.held(at - ledger.promised_us) for ledger in ledgers)
        if left <= 0:
            return None
        part = max(part, 1 - left / window if window else 0.0)
    return part or None


def _camera(past: CameraPast, found: Rates | None, holds: Sequence[Hold], part: float, now_us: int) -> CameraForecast:
    return CameraForecast(
        camera=past.camera,
        kept_us=max(0, now_us - _whole_since(past, held_times(past.camera, holds, now_us), now_us)),
        promised_us=past.promised_us,
        will_keep_us=round(part * past.promised_us) if past.goes_on else 0,
        bytes_per_day=found.bytes_per_day if found else 0.0,
        basis=found.basis if found else None,
    )


def _whole_since(past: CameraPast, held: Sequence[Interval], now_us: int) -> int:
    """From when on nothing that was recorded is gone, kept by holds or not."""
    kept = [] if past.kept_from_us is None else [Interval(past.kept_from_us, max(past.kept_from_us, now_us) + HOUR_US)]
    times, since = [*held, *kept], now_us
    for volume in reversed(past.hours):
        gone = uncovered(Interval(volume.hour_us, max(volume.hour_us, min(volume.hour_us + HOUR_US, now_us))), times)
        if gone:
            return min(gone[-1].end_us, since)
        since = volume.hour_us
    return since


def _shares(
    cameras: Sequence[CameraPast],
    expected: Mapping[CameraId, Rates | None],
    holds: Sequence[Hold],
    week_hour: WeekHours,
    now_us: int,
    at_us: int,
) -> tuple[HoldShare, ...]:
    """What would go if one hold alone were ended: what another keeps as well is nobody's."""
    sums = dict.fromkeys((hold.hold_id for hold in holds), 0.0)
    for past in cameras:
        before_us = at_us - past.promised_us
        sizes = {volume.hour_us: float(volume.size_bytes) for volume in past.hours}
        found = expected.get(past.camera)
        if found is not None:
            for hour in range(now_us - now_us % HOUR_US, before_us, HOUR_US):
                coming_s = (hour + HOUR_US - max(hour, now_us)) / US
                sizes[hour] = sizes.get(hour, 0.0) + found.by_hour[week_hour(hour)] * coming_s
        for hold in holds:
            mine = held_times(past.camera, [hold], before_us)
            others = held_times(past.camera, [one for one in holds if one is not hold], before_us)
            for time in (piece for whole in mine for piece in uncovered(whole, others)):
                first = max(time.start_us, min(sizes, default=before_us))
                for hour in range(first - first % HOUR_US, min(time.end_us, before_us), HOUR_US):
                    sums[hold.hold_id] += sizes.get(hour, 0.0) * _share(hour, (time,))
    shares = [HoldShare(hold.hold_id, hold.order_number, round(sums[hold.hold_id])) for hold in holds]
    return tuple(sorted(shares, key=lambda share: (-share.size_bytes, share.hold_id)))
