"""Times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.errors import UsageError
from edge_agent.when import from_us, iso_utc, parse_duration, parse_until, parse_when, spoken, to_us

KYIV = ZoneInfo("Europe/Kyiv")
NOW = to_us(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("said", "utc"),
    [
        ("2026-11-22 10:15", "2026-11-22T08:15:00.000000Z"),
        ("2026-07-01 10:15:30", "2026-07-01T07:15:30.000000Z"),
        ("22.11.2026 10:15", "2026-11-22T08:15:00.000000Z"),
        ("2026-11-22T08:15:00.25Z", "2026-11-22T08:15:00.250000Z"),
        ("2026-11-22 10:15 +03:00", "2026-11-22T07:15:00.000000Z"),
        ("2026-11-22 08:15 UTC", "2026-11-22T08:15:00.000000Z"),
        ("yesterday 22:30", "2026-11-21T20:30:00.000000Z"),
        ("вчора 22:30", "2026-11-21T20:30:00.000000Z"),
        ("сьогодні", "2026-11-21T22:00:00.000000Z"),
        ("10:15", "2026-11-22T08:15:00.000000Z"),
        ("2026-11-22", "2026-11-21T22:00:00.000000Z"),
        ("15m ago", "2026-11-22T11:45:00.000000Z"),
        ("15 хв тому", "2026-11-22T11:45:00.000000Z"),
        ("-1h30m", "2026-11-22T10:30:00.000000Z"),
        ("tomorrow 08:00", "2026-11-23T06:00:00.000000Z"),
        ("завтра", "2026-11-22T22:00:00.000000Z"),
        ("now", "2026-11-22T12:00:00.000000Z"),
        ("2026-10-25 03:30 +0300", "2026-10-25T00:30:00.000000Z"),
    ],
)
def test_plainly_spoken_times_are_understood(said: str, utc: str) -> None:
    assert iso_utc(parse_when(said, KYIV, NOW)) == utc


def test_the_hour_that_comes_twice_asks_which_one_is_meant() -> None:
    with pytest.raises(UsageError, match=r"came twice.*\+0300.*\+0200"):
        parse_when("2026-10-25 03:30", KYIV, NOW)


def test_the_hour_that_never_was_is_refused() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        parse_when("2026-03-29 03:30", KYIV, NOW)


@given(st.text(max_size=30))
def test_anything_else_is_a_usage_error_or_a_time(said: str) -> None:
    try:
        parse_when(said, KYIV, NOW)
    except UsageError:
        return


@given(st.text(max_size=20))
def test_a_length_is_positive_or_refused(said: str) -> None:
    try:
        assert parse_duration(said) > 0
    except UsageError:
        return


def test_lengths_add_up() -> None:
    assert parse_duration("1h30m") == 5400 * US
    assert parse_duration("1.5 h") == 5400 * US
    assert parse_duration("2d") == 172_800 * US


@given(st.integers(0, 4_000_000_000 * US).map(lambda us: us - us % US))
def test_what_is_spoken_is_understood_again(moment: int) -> None:
    assert parse_when(spoken(moment, KYIV), KYIV, NOW) == moment
    assert parse_when(iso_utc(moment), KYIV, NOW) == moment
    assert to_us(from_us(moment, KYIV)) == moment


@pytest.mark.parametrize("said", ["9" * 400 + "d", "9" * 400 + ".5 h"])
def test_a_length_beyond_all_numbers_is_a_usage_error(said: str) -> None:
    with pytest.raises(UsageError, match="at most ten years"):
        parse_duration(said)
    with pytest.raises(UsageError, match="at most ten years"):
        parse_when(f"{said} ago", KYIV, NOW)


@pytest.mark.parametrize("said", ["0001-01-01 00:00Z", "31.12.1969 12:00", "9999-12-31 23:59:59 -23:59", "9999-06-01"])
def test_times_that_no_calendar_here_can_show_are_refused(said: str) -> None:
    with pytest.raises(UsageError, match="from 1970 to 9998"):
        parse_when(said, KYIV, NOW)


@pytest.mark.parametrize(
    ("said", "utc"),
    [
        ("08:00", "2026-11-23T06:00:00.000000Z"),
        ("14:00", "2026-11-23T12:00:00.000000Z"),
        ("14:01", "2026-11-22T12:01:00.000000Z"),
        ("tomorrow 16:00", "2026-11-23T14:00:00.000000Z"),
    ],
)
def test_an_end_is_the_next_time_it_is_so(said: str, utc: str) -> None:
    assert iso_utc(parse_until(said, KYIV, NOW)) == utc


@pytest.mark.parametrize("said", ["now", "yesterday 22:00", "2026-11-22 10:00", "5m ago"])
def test_an_end_that_is_over_is_none(said: str) -> None:
    with pytest.raises(UsageError, match="over"):
        parse_until(said, KYIV, NOW)
