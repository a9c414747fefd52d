"""Which mode there is at an instant: ordinary weeks, holidays, overrides, and the two nights of summer time."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.model import PersonId
from edge_agent.modes.programme import (
    HOLIDAY,
    HORIZON_US,
    Holidays,
    ModeId,
    Override,
    Programme,
    Span,
    mode_at,
    next_change,
    reached,
    timeline,
)
from edge_agent.when import from_us, parse_when, to_us

KYIV = ZoneInfo("Europe/Kyiv")
DAY, NIGHT, FEAST = ModeId("day"), ModeId("night"), ModeId("feast")
WEEK_US = 7 * 86_400 * US
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
ZONES = [KYIV, ZoneInfo("UTC"), ZoneInfo("America/Havana"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kolkata")]
"""Havana changes at midnight, Lord Howe by half an hour."""


def at(text: str) -> int:
    return parse_when(text, KYIV, 0)


def minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def span(mode: ModeId, start: str, end: str, *days: int) -> Span:
    return Span(mode, minutes(start), minutes(end), frozenset(days) if days else frozenset(range(8)))


def override(mode: ModeId, until_us: int | None, number: int = 1) -> Override:
    return Override(mode, until_us, number, 0, "Коваленко Олена Петрівна", PersonId("officer"))


NIGHTS = Programme(DAY, (span(NIGHT, "22:30", "06:15"),))


@pytest.mark.parametrize(
    ("when", "mode"),
    [
        ("2026-11-22 22:29:59", DAY),
        ("2026-11-22 22:30", NIGHT),
        ("2026-11-23 00:00", NIGHT),
        ("2026-11-23 06:14:59.999999", NIGHT),
        ("2026-11-23 06:15", DAY),
    ],
    ids=lambda value: str(value).replace(" ", "T"),
)
def test_a_night_from_2230_to_0615_is_ordinary(when: str, mode: ModeId) -> None:
    assert mode_at(NIGHTS, (), at(when), KYIV).mode == mode


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 6.75), (AUTUMN, 8.75), (date(2026, 6, 1), 7.75)], ids=str)
def test_the_nights_of_summer_time_hold_one_night_each(day: date, hours: float) -> None:
    noon = to_us(datetime.combine(day, datetime.min.time(), KYIV)) - 12 * 3600 * US
    nights = [one for one in timeline(NIGHTS, (), noon, noon + 86_400 * US, KYIV) if one.ruling.mode == NIGHT]
    assert [(one.end_us - one.start_us) / US / 3600 for one in nights] == [hours]


@pytest.mark.parametrize(
    ("day", "shown"),
    [(SPRING, "2026-03-29 04:00:00+0300"), (AUTUMN, "2026-10-25 03:30:00+0300")],
    ids=["half-past-three-that-is-not-shown", "half-past-three-that-is-shown-twice"],
)
def test_spans_that_meet_on_the_clock_meet_in_time(day: date, shown: str) -> None:
    halves = Programme(FEAST, (span(NIGHT, "22:00", "03:30"), span(DAY, "03:30", "22:00")))
    start = to_us(datetime.combine(day, datetime.min.time(), KYIV))
    found = timeline(halves, (), start, start + 20 * 3600 * US, KYIV)
    assert [one.ruling.mode for one in found] == [NIGHT, DAY]
    assert f"{from_us(found[1].start_us, KYIV):%Y-%m-%d %H:%M:%S%z}" == shown


def test_a_span_inside_the_hour_that_is_never_shown_does_not_come() -> None:
    missing = Programme(DAY, (span(NIGHT, "03:10", "03:50"),))
    start = to_us(datetime.combine(SPRING, datetime.min.time(), KYIV))
    assert len(timeline(missing, (), start, start + 10 * 3600 * US, KYIV)) == 1


def test_a_holiday_has_its_own_spans_and_not_those_of_its_weekday() -> None:
    independence = date(2026, 8, 24)  # a Monday
    week = Programme(
        DAY,
        (span(FEAST, "00:00", "24:00", HOLIDAY), span(NIGHT, "22:00", "06:00", *range(1, 8))),
        Holidays(yearly=frozenset({(independence.month, independence.day)})),
    )
    found = timeline(week, (), at("2026-08-23 12:00"), at("2026-08-25 23:00"), KYIV)
    # FEAST stands first, so it goes before the night that began on Sunday
    assert [(f"{from_us(one.start_us, KYIV):%d %H:%M}", one.ruling.mode) for one in found] == [
        ("23 12:00", DAY),
        ("23 22:00", NIGHT),
        ("24 00:00", FEAST),
        ("25 00:00", DAY),
        ("25 22:00", NIGHT),
    ]
    assert mode_at(week, (), at("2027-08-24 12:00"), KYIV).mode == FEAST


def test_a_night_that_began_before_a_holiday_is_not_cut_by_it() -> None:
    week = Programme(DAY, (span(NIGHT, "22:00", "06:00", *range(1, 8)),), Holidays(frozenset({date(2026, 11, 24)})))
    assert mode_at(week, (), at("2026-11-24 05:00"), KYIV).mode == NIGHT
    assert mode_at(week, (), at("2026-11-24 23:00"), KYIV).mode == DAY


def test_a_span_that_ends_when_it_starts_lasts_a_day() -> None:
    whole = Programme(DAY, (span(NIGHT, "06:00", "06:00", 1),))
    assert next_change(whole, (), at("2026-11-23 06:00"), KYIV) == at("2026-11-24 06:00")


def test_an_override_ends_exactly_and_the_older_one_goes_on() -> None:
    until = at("2026-11-23 08:00")
    both = (override(FEAST, None, 1), override(DAY, until, 2))
    assert mode_at(NIGHTS, both, until - 1, KYIV).mode == DAY
    assert mode_at(NIGHTS, both, until, KYIV).mode == FEAST
    assert next_change(NIGHTS, both, until - US, KYIV) == until


def test_a_programme_that_never_changes_has_no_next_change() -> None:
    assert next_change(Programme(), (), at("2026-11-23 08:00"), KYIV) is None


def test_a_change_at_the_very_end_of_what_is_looked_at_is_found() -> None:
    start, end = at("2026-11-22 22:00"), at("2026-11-22 22:30")
    assert next_change(NIGHTS, (), start, KYIV, end - start) == end
    assert next_change(NIGHTS, (), start, KYIV, end - start - 1) is None


def test_another_zone_moves_the_programme_with_its_clocks() -> None:
    instant = at("2026-11-22 22:30")
    assert mode_at(NIGHTS, (), instant, KYIV).mode == NIGHT
    assert mode_at(NIGHTS, (), instant, ZoneInfo("Europe/Lisbon")).mode == DAY


modes = st.sampled_from([DAY, NIGHT, FEAST])
spans = st.builds(
    Span,
    modes,
    st.integers(0, 1439),
    st.integers(0, 1440),
    st.frozensets(st.integers(0, 7), min_size=1),
)
summer_nights = st.sampled_from([to_us(datetime.combine(day, datetime.min.time(), UTC)) for day in (SPRING, AUTUMN)])
instants = st.integers(0, 4 * 10**15) | st.builds(
    lambda base, off: base + off * US, summer_nights, st.integers(-86400, 86400)
)
programmes = st.builds(
    Programme,
    modes,
    st.lists(spans, max_size=4).map(tuple),
    st.builds(Holidays, st.frozensets(st.dates(date(2026, 3, 25), date(2026, 4, 2)), max_size=3)),
)
overrides = st.lists(st.builds(override, modes, st.none() | instants, st.integers(1, 9)), max_size=2).map(tuple)


@given(programmes, overrides, instants, st.sampled_from(ZONES), st.integers(1, 9 * 86_400))
def test_stretches_tile_any_interval_and_agree_with_every_instant(
    programme: Programme, over: tuple[Override, ...], start_us: int, zone: ZoneInfo, seconds: int
) -> None:
    end_us = start_us + seconds * US
    found = timeline(programme, over, start_us, end_us, zone)
    assert [found[0].start_us, *(one.end_us for one in found)] == [*(one.start_us for one in found), end_us]
    assert all(one.start_us < one.end_us for one in found)
    assert all(before.ruling != after.ruling for before, after in itertools.pairwise(found))
    for one in found:
        for instant in (one.start_us, (one.start_us + one.end_us) // 2, one.end_us - 1):
            assert mode_at(programme, over, instant, zone) == one.ruling


@given(programmes, overrides, instants, st.sampled_from(ZONES), st.floats(0, 1))
def test_nothing_changes_before_the_next_change_and_something_does_then(
    programme: Programme, over: tuple[Override, ...], instant_us: int, zone: ZoneInfo, part: float
) -> None:
    now = mode_at(programme, over, instant_us, zone)
    change = next_change(programme, over, instant_us, zone)
    last = change - 1 if change is not None else instant_us + HORIZON_US
    assert instant_us <= last
    assert mode_at(programme, over, instant_us + round((last - instant_us) * part), zone) == now
    if change is not None:
        assert mode_at(programme, over, change, zone) != now


@given(programmes, st.sampled_from([SPRING, AUTUMN, date(2026, 6, 3)]), st.integers(-24, 26))
@example(NIGHTS, SPRING, 3)
@example(NIGHTS, AUTUMN, 3)
def test_a_wall_clock_that_is_looked_at_each_minute_says_the_same(programme: Programme, day: date, hour: int) -> None:
    """The rule said another way: a time of day has come at the first minute that shows it or a later one."""
    midnight = to_us(datetime.combine(day, datetime.min.time(), KYIV))
    first = midnight - 3 * 86_400 * US
    shown = [from_us(first + minute * 60 * US, KYIV).replace(tzinfo=None) for minute in range(6 * 1440)]
    highest: list[datetime] = []
    for one in shown:
        highest.append(max(one, highest[-1]) if highest else one)
    instant = midnight + hour * 3600 * US
    now = highest[(instant - first) // (60 * US)]
    expected = programme.mode
    for each in reversed(programme.spans):
        for back in (-1, 0, 1, 2):
            start_day = now.date() - timedelta(days=back)
            kind = HOLIDAY if start_day in programme.holidays else start_day.isoweekday()
            start = datetime.combine(start_day, datetime.min.time()) + timedelta(minutes=each.start_min)
            lasts = (
                each.end_min - each.start_min if each.end_min > each.start_min else each.end_min + 1440 - each.start_min
            )
            if kind in each.days and start <= now < start + timedelta(minutes=lasts):
                expected = each.mode
    assert mode_at(programme, (), instant, KYIV).mode == expected


@given(st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1)), st.sampled_from(ZONES))
def test_a_time_of_day_has_come_when_the_clock_first_shows_it_or_a_later_one(naive: datetime, zone: ZoneInfo) -> None:
    instant = reached(naive, zone)
    assert from_us(instant, zone).replace(tzinfo=None) >= naive
    assert from_us(instant - 1, zone).replace(tzinfo=None) < naive
