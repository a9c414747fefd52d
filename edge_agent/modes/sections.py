"""Modes and programmes in the configuration, and what they mean (`docs/modes.md`, "Configuration")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field

from edge_agent.model import AlarmNature, CameraId, Severity
from edge_agent.modes.programme import (
    ARMED,
    DISARMED,
    EVERY_DAY,
    HOLIDAY,
    MIDNIGHT_MIN,
    Holidays,
    ModeId,
    Programme,
    Span,
)
from edge_agent.modes.severity import Mode, Plan, Rule
from edge_agent.toml_file import Mistake, Section

BY_PROGRAMME = "programme"
"""The word that ends an override where a mode would begin one; so no mode's id."""
_DAYS = ("holiday", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_YEARLY = re.compile(r"(\d\d)-(\d\d)")


def _mode_id(text: str) -> str:
    if text == BY_PROGRAMME:
        raise ValueError(f'another id: "{BY_PROGRAMME}" is what ends an override')
    return text


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError('a time of day, "22:30"')
    return text


def _start(text: str) -> str:
    if text == "24:00":
        raise ValueError('a time of day from "00:00" to "23:59"')
    return text


def _days(text: str) -> str:
    _numbers(text)
    return text


def _holiday(text: str) -> str:
    _date(text)
    return text


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
OwnId = Annotated[Slug, AfterValidator(_mode_id)]
TimeOfDay = Annotated[str, AfterValidator(_time)]
Days = Annotated[str, AfterValidator(_days)]
HolidayDate = Annotated[str, AfterValidator(_holiday)]
Loudness = Annotated[Severity, Field(strict=False)]


class RuleEntry(Section):
    """An exception to a mode's severity; the first that fits counts."""

    severity: Loudness
    cameras: tuple[Slug, ...] = Field((), description="all when none is named")
    zones: tuple[Slug, ...] = Field((), description="all, and what has no zone, when none is named")
    natures: tuple[Annotated[AlarmNature, Field(strict=False)], ...] = Field((), description="all when none is named")


class ModeEntry(Section):
    """How loudly alarms are told in a mode."""

    id: OwnId
    name: str = Field("", max_length=60)
    severity: Loudness = Severity.WARNING
    record: bool = Field(True, description="false: nothing is recorded in this mode")
    rule: tuple[RuleEntry, ...] = Field((), max_length=64)


class SpanEntry(Section):
    """A mode from one time of day to another."""

    mode: Slug
    days: tuple[Days, ...] = Field((), description='"mon-fri", "sat", "holiday"; every day when none is named')
    start: Annotated[TimeOfDay, AfterValidator(_start)] = Field(alias="from")
    end: TimeOfDay = Field(alias="to")

    def span(self) -> Span:
        days = frozenset(number for text in self.days for number in _numbers(text))
        return Span(ModeId(self.mode), _minutes(self.start), _minutes(self.end), days or EVERY_DAY)


class ProgrammeEntry(Section):
    """A week of modes."""

    mode: Slug = Field(ARMED, description="where no span says otherwise")
    holidays: tuple[HolidayDate, ...] | None = Field(None, max_length=400, description='"01-01" of every year, or one')
    span: tuple[SpanEntry, ...] = Field((), max_length=64)

    def programme(self, holidays: Holidays) -> Programme:
        """`holidays` where it names none."""
        own = holidays if self.holidays is None else holidays_of(self.holidays)
        return Programme(ModeId(self.mode), tuple(entry.span() for entry in self.span), own)


def holidays_of(dates: Iterable[str]) -> Holidays:
    found = [_date(text) for text in dates]
    return Holidays(
        frozenset(day for day in found if isinstance(day, date)),
        frozenset(day for day in found if not isinstance(day, date)),
    )


def plan_of(
    modes: Iterable[ModeEntry],
    programme: ProgrammeEntry,
    cameras: Mapping[CameraId, ProgrammeEntry | None],
    language: str,
) -> Plan:
    """What a configuration says, the two modes that need no saying included."""
    names = ("Під охороною", "Без охорони") if language == "uk" else ("Armed", "Disarmed")
    known = {ARMED: Mode(ARMED, names[0]), DISARMED: Mode(DISARMED, names[1], Severity.SILENT)}
    for entry in modes:
        rules = (
            Rule(one.severity, frozenset(one.cameras), frozenset(one.zones), frozenset(one.natures))
            for one in entry.rule
        )
        mode_id = ModeId(entry.id)
        known[mode_id] = Mode(mode_id, entry.name or entry.id, entry.severity, tuple(rules), entry.record)
    node = programme.programme(Holidays())
    of_cameras = {name: own.programme(node.holidays) if own else None for name, own in cameras.items()}
    return Plan(known, node, of_cameras)


def mistakes_of(
    modes: Iterable[ModeEntry],
    programme: ProgrammeEntry,
    cameras: Mapping[CameraId, ProgrammeEntry | None],
    zones: Mapping[CameraId, Iterable[str]],
) -> Iterator[Mistake]:
    """Names that stand for nothing."""
    modes = tuple(modes)
    known = [ARMED, DISARMED, *(entry.id for entry in modes)]
    for number, entry in enumerate(modes, 1):
        for rule_number, rule in enumerate(entry.rule, 1):
            place = f"mode {number} ({entry.id}).rule {rule_number}"
            yield from _unknown(f"{place}.cameras", rule.cameras, cameras, "a camera")
            of = [name for name in rule.cameras if name in zones] or list(zones)
            there = [zone for name in of for zone in zones[CameraId(name)]]
            yield from _unknown(f"{place}.zones", rule.zones, there, "a zone of these cameras")
    yield from _unknown_modes("programme", programme, known)
    for number, (name, own) in enumerate(cameras.items(), 1):
        if own is not None:
            yield from _unknown_modes(f"camera {number} ({name}).programme", own, known)


def _unknown_modes(place: str, entry: ProgrammeEntry, known: Iterable[str]) -> Iterator[Mistake]:
    yield from _unknown(f"{place}.mode", (entry.mode,), known, "a mode")
    for number, span in enumerate(entry.span, 1):
        yield from _unknown(f"{place}.span {number}.mode", (span.mode,), known, "a mode")


def _unknown(place: str, names: Iterable[str], known: Iterable[str], what: str) -> Iterator[Mistake]:
    there = list(dict.fromkeys(known))
    for name in names:
        if name not in there:
            yield Mistake(place, f'"{name}"', f"{what}: {', '.join(there) or 'there is none'}")


def _numbers(text: str) -> frozenset[int]:
    """Of `mon`, `mon-fri`, `holiday`."""
    first, dash, last = text.lower().partition("-")
    ends = (first, last) if dash else (first, first)
    if any(end not in _DAYS for end in ends) or (dash and _DAYS[HOLIDAY] in ends):
        raise ValueError(f'{", ".join(_DAYS[1:])}, holiday, or "mon-fri"')
    start, end = (_DAYS.index(name) for name in ends)
    if start == HOLIDAY:
        return frozenset({HOLIDAY})
    return frozenset((start + step - 1) % 7 + 1 for step in range((end - start) % 7 + 1))


def _date(text: str) -> date | tuple[int, int]:
    yearly = _YEARLY.fullmatch(text)
    try:
        if yearly:
            day = date(2024, int(yearly[1]), int(yearly[2]))  # a leap year: 02-29 is a day
            return day.month, day.day
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError('a day of every year, "08-24", or of one, "2027-05-02"') from None


def _minutes(text: str) -> int:
    return MIDNIGHT_MIN if text == "24:00" else int(text[:2]) * 60 + int(text[3:])
