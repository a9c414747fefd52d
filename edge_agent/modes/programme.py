"""Which mode there is at an instant: a function of the programme, the overrides, the instant and the zone.  No I/O.

Instants are UTC microseconds.  A time of day has come when the wall clock first shows it or a later one, which makes
the nights of summer time ordinary (`docs/modes.md`, "Which mode there is").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NewType
from zoneinfo import ZoneInfo

from edge_agent.clock import US
from edge_agent.model import CameraId, PersonId
from edge_agent.when import from_us, to_us

ModeId = NewType("ModeId", str)
ARMED, DISARMED = ModeId("armed"), ModeId("disarmed")
HOLIDAY = 0
"""A day of a span's `days` beside Monday, 1, to Sunday, 7."""
EVERY_DAY = frozenset(range(8))
MIDNIGHT_MIN = 24 * 60
HORIZON_US = 8 * 86_400 * US
"""As far as `next_change` looks: a week, and a day for what begins in its last night."""
_LAST_DAY = date.max - timedelta(days=16)


@dataclass(frozen=True, slots=True)
class Span:
    """A mode from one time of day to another; one whose end is not later than its start ends the next day."""

    mode: ModeId
    start_min: int
    """Minutes since midnight, 0 … 1439."""
    end_min: int
    """0 … 1440."""
    days: frozenset[int] = EVERY_DAY
    """On which it starts."""


@dataclass(frozen=True, slots=True)
class Holidays:
    dates: frozenset[date] = frozenset()
    yearly: frozenset[tuple[int, int]] = frozenset()
    """Month and day."""

    def __contains__(self, day: date) -> bool:
        return day in self.dates or (day.month, day.day) in self.yearly


@dataclass(frozen=True, slots=True)
class Programme:
    """A week of modes."""

    mode: ModeId = ARMED
    """Where no span says otherwise."""
    spans: tuple[Span, ...] = ()
    """The first one that holds an instant decides."""
    holidays: Holidays = Holidays()


@dataclass(frozen=True, slots=True)
class Override:
    """A person's word that goes before the programme."""

    mode: ModeId
    until_us: int | None
    """None: until it is cleared."""
    number: int
    """Higher for a newer one."""
    since_us: int
    who: str
    person_id: PersonId
    camera: CameraId | None = None
    """None: the node."""
    reason: str = ""
    ref: str = ""
    """The command that set it."""

    def lasts(self, instant_us: int) -> bool:
        return self.until_us is None or instant_us < self.until_us


@dataclass(frozen=True, slots=True)
class Ruling:
    """Which mode there is, and by whom: the programme where there is no override."""

    mode: ModeId
    override: Override | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """[start_us, end_us) under one ruling."""

    start_us: int
    end_us: int
    ruling: Ruling


def mode_at(programme: Programme, overrides: Sequence[Override], instant_us: int, zone: ZoneInfo) -> Ruling:
    """The newest override that lasts, else the first span that holds the instant, else the programme's own mode."""
    lasting = [override for override in overrides if override.lasts(instant_us)]
    if lasting:
        newest = max(lasting, key=lambda override: override.number)
        return Ruling(newest.mode, newest)
    for span in programme.spans:
        if any(start <= instant_us < end for start, end in _around(programme, span, instant_us, 0, zone)):
            return Ruling(span.mode)
    return Ruling(programme.mode)


def next_change(
    programme: Programme,
    overrides: Sequence[Override],
    instant_us: int,
    zone: ZoneInfo,
    within_us: int = HORIZON_US,
) -> int | None:
    """When the ruling is another one for the first time after an instant; None when it lasts for `within_us`."""
    last_us = instant_us + within_us
    now = mode_at(programme, overrides, instant_us, zone)
    edges = {override.until_us for override in overrides if override.until_us is not None}
    for span in programme.spans:
        for start_us, end_us in _around(programme, span, instant_us, within_us, zone):
            edges |= {start_us, end_us}
    for edge_us in sorted(edge for edge in edges if instant_us < edge <= last_us):
        if mode_at(programme, overrides, edge_us, zone) != now:
            return edge_us
    return None


def timeline(
    programme: Programme, overrides: Sequence[Override], start_us: int, end_us: int, zone: ZoneInfo
) -> list[Stretch]:
    """[start_us, end_us) as stretches of one ruling each, in order and without gap or overlap."""
    found: list[Stretch] = []
    at_us = start_us
    while at_us < end_us:
        until_us = next_change(programme, overrides, at_us, zone, end_us - at_us)
        until_us = end_us if until_us is None else min(until_us, end_us)
        found.append(Stretch(at_us, until_us, mode_at(programme, overrides, at_us, zone)))
        at_us = until_us
    return found


def reached(naive: datetime, zone: ZoneInfo) -> int:
    """The first instant at which the zone's wall clock shows `naive` or something later."""
    early, late = (to_us(naive.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if early <= late:  # shown once, or twice and this is the first time
        return early
    below_s, above_s = late // US, early // US  # never shown: the clock goes forward between these
    while above_s - below_s > 1:
        middle_s = (below_s + above_s) // 2
        if from_us(middle_s * US, zone).replace(tzinfo=None) >= naive:
            above_s = middle_s
        else:
            below_s = middle_s
    return above_s * US


def _around(
    programme: Programme, span: Span, instant_us: int, within_us: int, zone: ZoneInfo
) -> Iterator[tuple[int, int]]:
    """[start, end) of each time the span comes that may touch [instant_us, instant_us + within_us]."""
    day = min(from_us(instant_us, zone).date(), _LAST_DAY) - timedelta(days=2)
    last = min(from_us(instant_us + within_us, zone).date(), _LAST_DAY) + timedelta(days=1)
    while day <= last:
        kind = HOLIDAY if day in programme.holidays else day.isoweekday()
        if kind in span.days:
            yield _moment(day, span.start_min, zone), _moment(day, _end_min(span), zone)
        day += timedelta(days=1)


def _end_min(span: Span) -> int:
    return span.end_min if span.end_min > span.start_min else span.end_min + MIDNIGHT_MIN


def _moment(day: date, minute: int, zone: ZoneInfo) -> int:
    return reached(datetime.combine(day, time()) + timedelta(minutes=minute), zone)
