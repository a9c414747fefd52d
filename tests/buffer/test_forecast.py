"""The forecast against a ring that is really filled, hour by hour; more room never means fewer days."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer.forecast import CameraPast, Forecast, Room, forecast
from edge_agent.buffer.rates import DAY_US, HOUR_US, Basis, HourVolume
from edge_agent.clock import US
from edge_agent.model import CameraId, Hold, Interval
from edge_agent.when import from_us, to_us

KYIV = ZoneInfo("Europe/Kyiv")
NOW_US = to_us(datetime(2026, 11, 22, 14, 30, tzinfo=UTC))
HOUR = NOW_US - NOW_US % HOUR_US
GB = 10**9
NEVER = 2**63


@dataclass(frozen=True)
class Street:
    """A camera's true habits: bytes an hour by day and by night."""

    name: str
    day: int
    night: int
    promised_days: int

    def bytes_in(self, hour_us: int) -> int:
        return self.day if 7 <= from_us(hour_us, KYIV).hour < 22 else self.night


@dataclass
class Ring:
    """An archive of one file an hour and camera, kept as `docs/retention.md` says; brute force."""

    streets: Sequence[Street]
    room: int
    holds: Sequence[Hold] = ()
    now_us: int = 0
    files: dict[str, deque[tuple[int, int]]] = field(default_factory=dict)
    """Start and size of what no hold keeps, oldest first."""
    held: int = 0
    history: dict[str, list[HourVolume]] = field(default_factory=dict)
    first_loss_us: int | None = None
    """When something younger than promised went, since `forget` was called."""

    def run(self, hours: int) -> None:
        for _ in range(hours):
            for street in self.streets:
                size = street.bytes_in(self.now_us)
                self.history.setdefault(street.name, []).append(HourVolume(self.now_us, size, HOUR_US))
                whole = Interval(self.now_us, self.now_us + HOUR_US)
                if any(hold.covers(CameraId(street.name), whole) for hold in self.holds):
                    self.held += size
                else:
                    self.files.setdefault(street.name, deque()).append((self.now_us, size))
            self.now_us += HOUR_US
            self._delete()

    def _delete(self) -> None:
        for street in self.streets:
            files = self.files.get(street.name, deque())
            while files and files[0][0] + HOUR_US <= self.now_us - street.promised_days * DAY_US:
                files.popleft()
        size = self.held + sum(size for files in self.files.values() for _, size in files)
        while size > self.room and any(self.files.values()):
            most = max(
                (street for street in self.streets if self.files.get(street.name)),
                key=lambda street: (self.now_us - self.files[street.name][0][0]) / street.promised_days,
            )
            size -= self.files[most.name].popleft()[1]
            self.first_loss_us = self.first_loss_us or self.now_us

    def kept_parts(self) -> dict[str, float]:
        """Of each promise, kept now."""
        return {
            street.name: (self.now_us - self.files[street.name][0][0]) / (street.promised_days * DAY_US)
            for street in self.streets
            if self.files.get(street.name)
        } or {"": 0.0}

    def foretold(self, room: int | None = None) -> Forecast:
        pasts = [
            CameraPast(
                CameraId(street.name),
                street.promised_days * DAY_US,
                self.history[street.name],
                self.files[street.name][0][0] if self.files.get(street.name) else None,
            )
            for street in self.streets
        ]
        found = forecast(pasts, self.holds, Room(self.room if room is None else room), KYIV, self.now_us)
        assert found is not None
        return found


def hold(start_us: int, end_us: int | None, cameras: tuple[str, ...] = (), name: str = "h1") -> Hold:
    return Hold(name, tuple(map(CameraId, cameras)), start_us, end_us, f"{name}/2026", "", "", "", start_us)


streets = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 5)), min_size=1, max_size=3).map(
    lambda rows: [Street(f"c{number}", day * GB, night * GB, days) for number, (day, night, days) in enumerate(rows)]
)


@settings(max_examples=30, deadline=None)
@given(streets, st.integers(30, 24 * 9), st.floats(0.3, 1.5), st.booleans())
def test_the_forecast_is_what_then_happens_to_a_ring(
    cameras: list[Street], hours_so_far: int, room_part: float, held: bool
) -> None:
    whole = sum((15 * street.day + 9 * street.night) * street.promised_days for street in cameras)
    room = round(whole * room_part)
    begin = HOUR - hours_so_far * HOUR_US
    holds = [hold(begin, begin + 6 * HOUR_US)] if held else []
    ring = Ring(cameras, room, holds, now_us=begin)
    ring.run(hours_so_far)
    ring.first_loss_us = None
    foretold = ring.foretold()
    assert foretold.kept_bytes == pytest.approx(ring.held + sum(s for f in ring.files.values() for _, s in f), abs=1)
    # A file goes as a whole, up to an hour late: the ring needs up to two files of each camera more than the forecast.
    files = 2 * sum(max(street.day, street.night) for street in cameras)
    cautious, bold = ring.foretold(room - files), ring.foretold(room + files)
    longest = max(street.promised_days for street in cameras)
    ring.run((longest + 1) * 24)
    worst = 1.0
    for _ in range(7 * 24):
        ring.run(1)
        worst = min(worst, *ring.kept_parts().values())
    lost_us = ring.first_loss_us or NEVER
    assert (cautious.breaks_us or NEVER) - HOUR_US <= lost_us <= (bold.breaks_us or NEVER) + HOUR_US
    least, most = (min(c.will_keep_us / c.promised_us for c in found.cameras) for found in (cautious, bold))
    an_hour = 1 / 24 / min(street.promised_days for street in cameras)
    assert least - an_hour <= worst <= most + an_hour


@settings(max_examples=30, deadline=None)
@given(streets, st.integers(10, 24 * 7), st.floats(0.05, 2), st.floats(0, 2), st.booleans())
def test_more_room_never_means_fewer_days(
    cameras: list[Street], hours: int, part: float, more: float, open_hold: bool
) -> None:
    whole = sum((15 * street.day + 9 * street.night) * street.promised_days for street in cameras)
    begin = HOUR - hours * HOUR_US
    ring = Ring(cameras, round(whole * part), [hold(begin, None, ("c0",))] if open_hold else [], now_us=begin)
    ring.run(hours)
    small = ring.foretold()
    ring.room = round(ring.room + whole * more)
    large = ring.foretold()
    assert large.lack_bytes <= small.lack_bytes
    assert (large.breaks_us or 2**63) >= (small.breaks_us or 2**63)
    for few, many in zip(small.cameras, large.cameras, strict=True):
        assert many.will_keep_us >= few.will_keep_us
    assert (large.lower_part or 0) <= (small.lower_part or 1)


@settings(max_examples=30, deadline=None)
@given(streets, st.floats(0.2, 0.95))
def test_the_remedies_help(cameras: list[Street], part: float) -> None:
    whole = sum((15 * street.day + 9 * street.night) * street.promised_days for street in cameras)
    ring = Ring(cameras, round(whole * part), now_us=HOUR - 8 * DAY_US)
    ring.run(8 * 24)
    short = ring.foretold()
    assert short.lack_bytes > 0
    assert short.lower_part is not None
    ring.room += short.lack_bytes
    enough = ring.foretold()
    assert (enough.breaks_us, enough.lack_bytes, enough.lower_part) == (None, 0, None)
    lowered = [
        dataclasses.replace(
            street, day=int(street.day * (1 - short.lower_part)), night=int(street.night * (1 - short.lower_part))
        )
        for street in cameras
    ]
    smaller = Ring(lowered, round(whole * part), now_us=HOUR - 8 * DAY_US)
    smaller.run(8 * 24)
    assert smaller.foretold().need_bytes <= smaller.room * 1.001


def steady(days: int = 15, size: int = GB, promised: int = 10, kept_days: float = 10, name: str = "gate") -> CameraPast:
    hours = [HourVolume(hour, size, HOUR_US) for hour in range(HOUR - days * DAY_US, HOUR, HOUR_US)]
    return CameraPast(CameraId(name), promised * DAY_US, hours, NOW_US - round(kept_days * DAY_US))


def test_an_archive_that_fits_says_so() -> None:
    found = forecast([steady()], [], Room(250 * GB), KYIV, NOW_US)
    assert found is not None
    assert (found.breaks_us, found.lack_bytes, found.lower_part) == (None, 0, None)
    [camera] = found.cameras
    assert (camera.kept_us, camera.will_keep_us) == (10 * DAY_US, 10 * DAY_US)
    assert found.need_bytes == pytest.approx(240 * GB, rel=0.01)


def test_a_new_node_knows_the_day_on_which_its_disk_is_full() -> None:
    new = steady(days=2, kept_days=2)
    found = forecast([new], [], Room(24 * 7 * GB), KYIV, NOW_US)
    assert found is not None
    assert found.breaks_us is not None
    assert (found.breaks_us - NOW_US) / DAY_US == pytest.approx(5, abs=0.1)
    [camera] = found.cameras
    assert camera.will_keep_us / DAY_US == pytest.approx(7, abs=0.1)
    assert found.lower_part == pytest.approx(0.3, abs=0.01)
    assert found.lack_bytes == pytest.approx(72 * GB, rel=0.02)


def test_held_bytes_count_and_ending_the_hold_is_named_as_a_remedy() -> None:
    old = hold(NOW_US - 12 * DAY_US, NOW_US - 10 * DAY_US, name="h1")
    soon_old = hold(NOW_US - 3 * DAY_US, NOW_US - 2 * DAY_US, name="h2")
    found = forecast([steady()], [old, soon_old], Room(300 * GB), KYIV, NOW_US)
    assert found is not None
    assert found.held_bytes == pytest.approx(48 * GB, rel=0.03)
    assert found.need_bytes == pytest.approx((240 + 48 + 24) * GB, rel=0.02)
    assert [(share.order_number, round(share.size_bytes / GB)) for share in found.holds] == [
        ("h1/2026", 48),
        ("h2/2026", 24),
    ]
    assert found.breaks_us is not None
    assert found.breaks_us > NOW_US + 7 * DAY_US
    ended = dataclasses.replace(old, ended_us=NOW_US)
    freed = forecast([steady()], [ended, soon_old], Room(300 * GB), KYIV, NOW_US)
    assert freed is not None
    assert freed.breaks_us is None


def test_what_two_holds_keep_is_freed_by_ending_neither_alone() -> None:
    one = hold(NOW_US - 12 * DAY_US, NOW_US - 10 * DAY_US, name="h1")
    both = hold(NOW_US - 11 * DAY_US, NOW_US - 10 * DAY_US, name="h2")
    found = forecast([steady()], [one, both], Room(300 * GB), KYIV, NOW_US)
    assert found is not None
    assert [(share.hold_id, round(share.size_bytes / GB)) for share in found.holds] == [("h1", 24), ("h2", 0)]


def test_a_hold_without_an_end_breaks_every_promise_some_day() -> None:
    found = forecast([steady()], [hold(NOW_US, None)], Room(24 * 100 * GB), KYIV, NOW_US)
    assert found is not None
    assert found.breaks_us is not None
    # What was recorded before the hold is gone by then.
    assert (found.breaks_us - NOW_US) / DAY_US == pytest.approx(100, abs=0.1)


def test_holds_that_fill_the_room_leave_nothing_that_lower_bitrates_could_save() -> None:
    found = forecast([steady()], [hold(NOW_US - 15 * DAY_US, NOW_US)], Room(100 * GB), KYIV, NOW_US)
    assert found is not None
    assert (found.lower_part, found.cameras[0].will_keep_us) == (None, 0)


def test_each_camera_keeps_the_same_part_of_its_own_promise() -> None:
    short, long = steady(days=35, promised=10, name="a"), steady(days=35, promised=30, kept_days=30, name="b")
    found = forecast([short, long], [], Room(24 * 20 * GB), KYIV, NOW_US)
    assert found is not None
    assert [round(camera.will_keep_us / DAY_US, 1) for camera in found.cameras] == [5.0, 15.0]


def test_a_camera_never_seen_counts_as_the_mean_of_the_others() -> None:
    unseen = CameraPast(CameraId("yard"), 10 * DAY_US, [], None)
    found = forecast([steady(), unseen], [], Room(300 * GB), KYIV, NOW_US)
    assert found is not None
    assert found.camera(CameraId("yard")) is not None
    assert [camera.basis for camera in found.cameras] == [Basis.WEEK, Basis.OTHERS]
    assert found.need_bytes == pytest.approx(480 * GB, rel=0.02)


def test_a_camera_that_was_taken_away_only_leaves() -> None:
    gone = dataclasses.replace(steady(name="old"), goes_on=False)
    found = forecast([steady(), gone], [], Room(490 * GB), KYIV, NOW_US)
    assert found is not None
    assert found.breaks_us is None
    assert (found.cameras[1].bytes_per_day, found.cameras[1].basis) == (0, None)


def test_nothing_is_foretold_from_nothing() -> None:
    assert forecast([], [], Room(GB), KYIV, NOW_US) is None
    assert forecast([CameraPast(CameraId("yard"), DAY_US, [], None)], [], Room(GB), KYIV, NOW_US) is None


def test_kept_days_reach_back_to_the_first_thing_that_is_gone() -> None:
    """What a hold keeps from long ago makes no promise kept; what it keeps next to the rest does."""
    past = dataclasses.replace(steady(), kept_from_us=NOW_US - 4 * DAY_US)

    def kept(holds: Mapping[str, tuple[float, float]]) -> float:
        some = [
            hold(NOW_US - round(a * DAY_US), NOW_US - round(b * DAY_US), name=name) for name, (a, b) in holds.items()
        ]
        found = forecast([past], some, Room(GB), KYIV, NOW_US)
        assert found is not None
        return found.cameras[0].kept_us / DAY_US

    assert kept({}) == 4
    assert kept({"h1": (14, 12)}) == 4
    assert kept({"h1": (6, 4)}) == pytest.approx(6, abs=0.05)
    assert kept({"h1": (20, 4)}) == pytest.approx(15, abs=0.05)


@pytest.mark.parametrize("change", [datetime(2026, 3, 27, 12), datetime(2026, 10, 23, 12)], ids=["forward", "back"])
def test_the_nights_of_the_change_cost_no_hour(change: datetime) -> None:
    now_us = to_us(change.replace(tzinfo=KYIV))
    street = Street("gate", 2 * GB, GB, 4)
    ring = Ring([street], 100 * GB, now_us=now_us - 10 * DAY_US)
    ring.run(240)
    ring.first_loss_us = None
    foretold = ring.foretold()
    need_a_day = 15 * 2 * GB + 9 * GB
    # 25 real hours of the long day, of which the one more is at night: a promise of days is one of 24 hours each.
    assert foretold.need_bytes == pytest.approx(4 * need_a_day, abs=GB * 1.1)
    assert ring.room < foretold.need_bytes
    assert foretold.breaks_us is not None
    assert foretold.breaks_us <= now_us + US * 3600
