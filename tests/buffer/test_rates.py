"""What a camera brings in each hour of the week: habits in local time, gaps that make nothing smaller, changes seen."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.rates import (
    DAY_US,
    HOUR_US,
    WEEK_HOURS,
    Basis,
    HourVolume,
    WeekHours,
    by_hour,
    mean_rates,
    rates,
)
from edge_agent.clock import US
from edge_agent.when import from_us, to_us

KYIV = ZoneInfo("Europe/Kyiv")
NOW_US = to_us(datetime(2026, 11, 22, 14, tzinfo=UTC))
DAY_RATE, NIGHT_RATE = 500_000, 200_000


def street(hour_us: int) -> int:
    """Bytes per second of a camera over a street whose traffic follows the clock on the wall."""
    local = from_us(hour_us, KYIV)
    busy = 7 <= local.hour < 22
    return (DAY_RATE if busy else NIGHT_RATE) // (2 if local.weekday() == 6 else 1)


def history(days: float, rate=street, recorded: float = 1.0, until_us: int = NOW_US) -> list[HourVolume]:  # type: ignore[no-untyped-def]
    hours = range(until_us - round(days * 24) * HOUR_US, until_us, HOUR_US)
    return [HourVolume(hour, round(rate(hour) * 3600 * recorded), round(HOUR_US * recorded)) for hour in hours]


def test_three_weeks_give_back_the_week_as_it_is() -> None:
    found = rates(history(21), WeekHours(KYIV), NOW_US)
    assert found is not None
    assert found.basis is Basis.WEEK
    week = history(7)
    for volume in week:
        assert found.by_hour[WeekHours(KYIV)(volume.hour_us)] == pytest.approx(volume.rate, rel=0.001)
    assert found.bytes_per_day == pytest.approx(sum(volume.size_bytes for volume in week) / 7, rel=0.001)


@given(st.floats(0.17, 1.0), st.sets(st.integers(0, 20 * 24), max_size=200))
def test_gaps_make_no_rate_smaller(recorded: float, missing: set[int]) -> None:
    whole = rates(history(21), WeekHours(KYIV), NOW_US)
    some = [volume for number, volume in enumerate(history(21, recorded=recorded)) if number not in missing]
    found = rates(some, WeekHours(KYIV), NOW_US)
    assert found is not None
    assert whole is not None
    assert found.by_hour == pytest.approx(whole.by_hour, rel=0.15)


def test_after_three_days_an_unseen_day_is_taken_from_the_same_hours_of_others() -> None:
    tuesday_to_friday = to_us(datetime(2026, 11, 20, tzinfo=KYIV))
    found = rates(history(3, until_us=tuesday_to_friday), WeekHours(KYIV), tuesday_to_friday)
    assert found is not None
    assert found.basis is Basis.DAY
    monday_noon, monday_night = found.by_hour[12], found.by_hour[3]
    assert (monday_noon, monday_night) == pytest.approx((DAY_RATE, NIGHT_RATE), rel=0.01)


def test_after_minutes_there_is_only_a_mean_and_before_nothing() -> None:
    assert rates([], WeekHours(KYIV), NOW_US) is None
    assert rates([HourVolume(NOW_US, 0, 0)], WeekHours(KYIV), NOW_US) is None
    found = rates([HourVolume(NOW_US, 300 * DAY_RATE, 300 * US)], WeekHours(KYIV), NOW_US)
    assert found is not None
    assert (found.basis, set(found.by_hour)) == (Basis.MEAN, {float(DAY_RATE)})
    assert mean_rates([found, found]).by_hour == found.by_hour


@pytest.mark.parametrize("days_since", [1, 2, 4, 7, 10, 16, 20, 28])
@pytest.mark.parametrize("factor", [4, 0.25])
def test_other_settings_of_a_camera_are_noticed_within_two_days(days_since: int, factor: float) -> None:
    changed_us = NOW_US - days_since * DAY_US

    def rate(hour_us: int) -> float:
        return street(hour_us) * (factor if hour_us >= changed_us else 1)

    found = rates(history(35, rate), WeekHours(KYIV), NOW_US)
    truth = statistics.fmean(street(volume.hour_us) for volume in history(7)) * factor * 86400
    assert found is not None
    # One day of two was before the change: half-way is all that can be known.
    assert found.bytes_per_day == pytest.approx(truth, rel=0.05 if days_since >= 2 else 2.0)


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, 12), datetime(2026, 10, 25, 12)], ids=["forward", "back"])
def test_habits_stay_with_the_wall_clock_over_the_nights_of_the_change(change: datetime) -> None:
    after = to_us(change.replace(tzinfo=KYIV))
    found = rates(history(28, until_us=after), WeekHours(KYIV), after)
    week_hour = WeekHours(KYIV)
    assert found is not None
    assert found.basis is Basis.WEEK
    for hour in range(after, after + 7 * DAY_US, HOUR_US):
        assert found.by_hour[week_hour(hour)] == pytest.approx(street(hour), rel=0.02)


def test_an_hour_that_comes_twice_is_the_same_hour_of_the_week_twice() -> None:
    night = to_us(datetime(2026, 10, 25, 0, tzinfo=KYIV))
    week_hour = WeekHours(KYIV)
    seen = [week_hour(night + number * HOUR_US) % 24 for number in range(6)]
    assert seen == [0, 1, 2, 3, 3, 4]
    spring = to_us(datetime(2026, 3, 29, 0, tzinfo=KYIV))
    assert [week_hour(spring + number * HOUR_US) % 24 for number in range(6)] == [0, 1, 2, 4, 5, 6]


@given(st.integers(0, 10**15), st.integers(1, 5 * HOUR_US), st.integers(0, 10**12))
def test_a_recording_is_divided_over_its_hours_without_a_byte_lost(start_us: int, span_us: int, size: int) -> None:
    parts = list(by_hour(start_us, start_us + span_us, size))
    assert sum(part.size_bytes for part in parts) == size
    assert sum(part.recorded_us for part in parts) == span_us
    assert all(part.hour_us % HOUR_US == 0 and 0 < part.recorded_us <= HOUR_US for part in parts)
    assert [part.hour_us for part in parts] == sorted({part.hour_us for part in parts})
    even = span_us and size / span_us
    assert all(abs(part.size_bytes - even * part.recorded_us) <= 2 for part in parts) or size > 2**50


def test_the_week_has_all_its_hours() -> None:
    week_hour = WeekHours(KYIV)
    monday = to_us(datetime(2026, 11, 16, tzinfo=KYIV))
    assert [week_hour(monday + number * HOUR_US) for number in range(WEEK_HOURS)] == list(range(WEEK_HOURS))
