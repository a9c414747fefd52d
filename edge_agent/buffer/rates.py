"""How much a camera brings in each hour of the week, from what it brought (`docs/forecast.md`).  Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

from edge_agent.clock import US
from edge_agent.when import from_us

HOUR_US = 3600 * US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US
WEEK_HOURS = 7 * 24
SAMPLE_US = 600 * US
"""An hour with less recorded says too little of the hour."""
LEVEL_US = 48 * HOUR_US
"""Recorded time that sets today's level."""


@dataclass(frozen=True, slots=True)
class HourVolume:
    """What was recorded of a camera in one UTC hour."""

    hour_us: int
    size_bytes: int
    recorded_us: int

    @property
    def rate(self) -> float:
        """Bytes per recorded second."""
        return self.size_bytes * US / self.recorded_us


class Basis(StrEnum):
    """What a camera's rates rest on, best first."""

    WEEK = "week"
    """Every hour of the week was seen."""
    DAY = "day"
    """Some hours of the week are taken from the same hour of other days, or from the mean."""
    MEAN = "mean"
    """Only a mean is known."""
    OTHERS = "others"
    """Nothing was recorded of it yet: the mean of the other cameras."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes per second of one camera by local hour of the week; hour 0 is Monday 00:00."""

    by_hour: tuple[float, ...]
    basis: Basis

    @property
    def bytes_per_day(self) -> float:
        return statistics.fmean(self.by_hour) * 86400


class WeekHours:
    """The local hour of the week of each UTC hour; remembers, for many cameras ask for the same hours."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._known: dict[int, int] = {}

    def __call__(self, hour_us: int) -> int:
        """0 … 167.  Where a zone is off by part of an hour, the hour's middle decides."""
        found = self._known.get(hour_us)
        if found is None:
            local = from_us(hour_us + HOUR_US // 2, self._zone)
            found = self._known[hour_us] = local.weekday() * 24 + local.hour
        return found


def by_hour(start_us: int, end_us: int, size_bytes: int) -> Iterator[HourVolume]:
    """A recording divided over its hours by time; the sizes add up to the whole."""
    span, given = end_us - start_us, 0
    hour = start_us - start_us % HOUR_US
    while hour < end_us:
        inside = min(end_us, hour + HOUR_US) - max(start_us, hour)
        upto = size_bytes * (min(end_us, hour + HOUR_US) - start_us) // span
        yield HourVolume(hour, upto - given, inside)
        given = upto
        hour += HOUR_US


def rates(history: Sequence[HourVolume], week_hour: WeekHours, now_us: int) -> Rates | None:
    """None when nothing is known of the camera."""
    seen = [volume for volume in history if volume.recorded_us > 0]
    if not seen:
        return None
    mean = _mean_rate(seen)
    samples = [volume for volume in seen if volume.recorded_us >= SAMPLE_US]
    if not samples or mean <= 0:
        return Rates((mean,) * WEEK_HOURS, Basis.MEAN)
    shape, basis = _shape(samples, week_hour, now_us)
    level = _level(samples, shape, week_hour)
    return Rates(tuple(level * part for part in shape), basis)


def mean_rates(known: Sequence[Rates]) -> Rates:
    """For a camera that nothing is known of; there must be others."""
    return Rates(
        tuple(statistics.fmean(hours) for hours in zip(*(one.by_hour for one in known), strict=True)), Basis.OTHERS
    )


def _shape(samples: Iterable[HourVolume], week_hour: WeekHours, now_us: int) -> tuple[list[float], Basis]:
    """The week in parts of its mean: medians, with each sample measured by its own week."""
    hours: dict[int, list[float]] = defaultdict(list)
    for week in _weeks(samples, now_us):
        level = _mean_rate(week)
        for sample in week if level > 0 else ():
            hours[week_hour(sample.hour_us)].append(sample.rate / level)
    of_day: dict[int, list[float]] = defaultdict(list)
    for hour, parts in hours.items():
        of_day[hour % 24] += parts
    by_day = {hour: statistics.median(parts) for hour, parts in of_day.items()}
    shape = [
        statistics.median(hours[hour]) if hour in hours else by_day.get(hour % 24, 1.0) for hour in range(WEEK_HOURS)
    ]
    basis = Basis.WEEK if len(hours) == WEEK_HOURS else Basis.DAY if len(of_day) == 24 else Basis.MEAN
    return shape, basis


def _weeks(samples: Iterable[HourVolume], now_us: int) -> list[list[HourVolume]]:
    """Weeks counted back from now; one of which less than half was recorded goes with its neighbour."""
    by_age: dict[int, list[HourVolume]] = defaultdict(list)
    for sample in samples:
        by_age[max(0, now_us - sample.hour_us - HOUR_US) // WEEK_US].append(sample)
    weeks: list[list[HourVolume]] = [[]]
    for age in sorted(by_age):
        if len(weeks[-1]) >= WEEK_HOURS // 2:
            weeks.append([])
        weeks[-1] += by_age[age]
    if len(weeks) > 1 and len(weeks[-1]) < WEEK_HOURS // 2:
        thin = weeks.pop()
        weeks[-1] += thin
    return weeks


def _level(samples: Sequence[HourVolume], shape: Sequence[float], week_hour: WeekHours) -> float:
    """Bytes per second that the latest recorded hours stand for, their habits taken out."""
    recorded = size = expected = 0.0
    for sample in sorted(samples, key=lambda sample: -sample.hour_us):
        recorded += sample.recorded_us
        size += sample.size_bytes
        expected += sample.recorded_us / US * shape[week_hour(sample.hour_us)]
        if recorded >= LEVEL_US:
            break
    return size / expected if expected > 0 else _mean_rate(samples)


def _mean_rate(volumes: Iterable[HourVolume]) -> float:
    size = recorded = 0
    for volume in volumes:
        size += volume.size_bytes
        recorded += volume.recorded_us
    return size * US / recorded
