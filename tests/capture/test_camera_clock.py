"""A camera's own clock, out of sender reports that networks delay, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.camera_clock import MAX_PPM, CameraClock
from edge_agent.capture.camera_times import CameraTimes, Damage
from edge_agent.capture.node_time import NodeTime
from edge_agent.capture.rtp import SenderReport
from edge_agent.capture.source import VIDEO, Packet
from edge_agent.clock import US

TICK = Fraction(1, 90_000)
EPOCH_US = 1_790_000_000 * US


@dataclass
class Camera:
    """Tells its clock every 5 s over a network that delays by up to `delay_s`."""

    offset_s: float = 0.0
    clock_ppm: float = 0.0
    ticks_ppm: float = 0.0
    """By how much a tick is longer than it says, by the camera's own clock."""
    delay_s: float = 0.1
    now_s: float = 0.0
    clock: CameraClock = field(default_factory=CameraClock)
    random: Random = field(default_factory=lambda: Random(3))

    def __post_init__(self) -> None:
        self.clock.connected(TICK)

    def report(self, held_up_s: float = 0.0) -> None:
        camera_s = self.now_s * (1 + self.clock_ppm / 1e6)
        ticks = round(camera_s / (1 + self.ticks_ppm / 1e6) * 90_000)
        arrival_s = self.now_s + self.delay_s * self.random.random() + held_up_s
        utc_us = EPOCH_US + round((camera_s + self.offset_s) * US)
        arrival_us = EPOCH_US + round(arrival_s * US)
        self.clock.hear(SenderReport(utc_us, ticks, arrival_us, arrival_s), arrival_us, arrival_s)
        self.now_s += 5

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 5)):
            self.report()


def test_the_offset_is_that_of_the_least_delayed_report() -> None:
    camera = Camera(offset_s=3600, delay_s=0.4)
    camera.run(60)
    assert camera.clock.state.offset_s == pytest.approx(3600, abs=0.15)


@pytest.mark.parametrize("ppm", [-80, 0, 35])
def test_drift_is_told_after_half_an_hour(ppm: int) -> None:
    camera = Camera(clock_ppm=ppm)
    camera.run(1500)
    assert camera.clock.state.drift_ppm is None
    camera.run(7200)
    assert camera.clock.state.drift_ppm == pytest.approx(ppm, abs=3)


@pytest.mark.parametrize("ppm", [-120, 0, 60])
def test_how_the_ticks_go_is_known_after_half_a_minute_whatever_the_network_does(ppm: int) -> None:
    camera = Camera(ticks_ppm=ppm, delay_s=1.0)
    camera.report()
    assert camera.clock.tick_ppm is None
    camera.run(40)
    assert camera.clock.tick_ppm == pytest.approx(ppm, abs=0.5)


def test_ticks_are_measured_against_the_node_once_the_camera_clocks_own_drift_is_known() -> None:
    camera = Camera(clock_ppm=100, ticks_ppm=20)
    camera.run(9000)
    assert camera.clock.tick_ppm == pytest.approx(20 - 100, abs=4)


def test_a_rate_that_no_quartz_has_is_not_believed() -> None:
    camera = Camera(ticks_ppm=2000)
    camera.run(600)
    assert camera.clock.tick_ppm is None


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, 3.0, -3.0])
def test_a_clock_that_was_set_is_told_within_three_reports_and_measured_anew(by_s: float) -> None:
    camera = Camera(offset_s=0.5)
    camera.run(300)
    camera.offset_s += by_s
    camera.run(15)
    assert camera.clock.state.jump_s == pytest.approx(by_s, abs=0.2)
    camera.run(30)
    assert camera.clock.state.offset_s == pytest.approx(0.5 + by_s, abs=0.2)
    assert camera.clock.tick_ppm is None or abs(camera.clock.tick_ppm) < 1


def test_reports_that_the_network_held_up_are_no_jump() -> None:
    camera = Camera()
    camera.run(60)
    for held_up_s in (9.0, 4.0):
        camera.report(held_up_s)
    camera.run(60)
    assert camera.clock.state.jump_s is None
    assert camera.clock.state.offset_s == pytest.approx(0, abs=0.1)


def test_a_camera_that_lives_in_2000_or_2040_is_measured_and_moves_nothing() -> None:
    for offset_s in (-26 * 365 * 86_400.0, 14 * 365 * 86_400.0):
        camera = Camera(offset_s=offset_s)
        camera.run(60)
        assert camera.clock.state.offset_s == pytest.approx(offset_s, abs=0.1)
        assert camera.clock.tick_ppm == pytest.approx(0, abs=0.5)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**62), st.integers(-(2**40), 2**40), st.integers(0, 2**62), st.floats(0, 1e6), st.booleans()
        ),
        max_size=80,
    )
)
def test_whatever_a_camera_says_its_rate_stays_within_that_of_a_quartz(
    reports: list[tuple[int, int, int, float, bool]],
) -> None:
    clock = CameraClock()
    clock.connected(TICK)
    for utc_us, ticks, node_us, monotonic, again in reports:
        if again:
            clock.connected(TICK)
        clock.hear(SenderReport(utc_us, ticks, node_us, monotonic), node_us, monotonic)
        assert clock.tick_ppm is None or abs(clock.tick_ppm) <= MAX_PPM
        assert clock.state.offset_s is not None


def test_a_camera_is_measured_against_the_time_that_is_believed() -> None:
    vouched = [True]
    times = CameraTimes(NodeTime(lambda: vouched[0]), CameraClock())
    times.camera.connected(TICK)
    times.node.believe(EPOCH_US, 0.0)
    times.node.trust()
    vouched[0] = False
    for second in range(5, 60, 5):
        wall_us = EPOCH_US + (second + 3600) * US
        times.hear(SenderReport(EPOCH_US + second * US, second * 90_000, wall_us, float(second)))
    assert times.camera.state.offset_s == 0


def picture(*, lost_packets: int = 0, damaged: bool = False) -> Packet:
    return Packet(VIDEO, b"", 0, 0, 0, False, 0, 0.0, damaged, lost_packets)


def test_damage_counts_hurt_pictures_and_those_missing_where_packets_were_lost() -> None:
    damage = Damage()
    for number in range(10):
        damage.see(number * 3600, 3600, picture())
    assert damage.taken() == 0
    damage.see(10 * 3600, 3600, picture(lost_packets=3, damaged=True))
    damage.see(14 * 3600, 3600, picture())
    assert damage.taken() == 4
    damage.see(20 * 3600, 3600, picture())
    assert damage.taken() == 0, "a camera that pauses loses nothing"
    damage.see(2000 * 3600, 3600, picture(lost_packets=1))
    assert damage.taken() == 0, "so long a hole is a jump"
