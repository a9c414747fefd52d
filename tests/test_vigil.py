"""When a camera counts as not watched: the agent's rules on reports, and how much the watcher says it watched."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.attention import Attention
from edge_agent.clock import US
from edge_agent.messages import WatchStats
from edge_agent.model import Alarm, AlarmPhase, CameraId
from edge_agent.vigil import BOUND_S, LATE_S, STEADY_S, Vigil

GATE = CameraId("gate")
START, END = AlarmPhase.START, AlarmPhase.END


class Node:
    """A second a step; `watched(at_s)`: how much of the five seconds before it the watcher tells, None: nothing."""

    def __init__(self) -> None:
        self.vigil = Vigil([GATE])
        self.at_s = 1000.0
        self.told: list[Alarm] = []
        self.vigil.expect(GATE, live=True, now_s=self.at_s)

    def go(self, seconds: float, watched: Callable[[float], float | None] = lambda _: None) -> list[tuple[str, float]]:
        """What is told meanwhile, and after how many seconds."""
        began_s, told = self.at_s, []
        for _ in range(round(seconds)):
            self.at_s += 1
            part = watched(self.at_s - began_s) if self.at_s % 5 == 0 else None
            if part is not None:
                self.vigil.hear(WatchStats(GATE, 5.0, 5.0 * part), self.at_s)
            new = self.vigil.look(self.at_s, round(self.at_s * US))
            self.told += new
            told += [(alarm.phase.value, self.at_s - began_s) for alarm in new]
        return told


def well(_: float) -> float:
    return 1.0


def test_a_camera_that_is_watched_raises_nothing_in_an_hour() -> None:
    assert Node().go(3600, well) == []


def test_a_watcher_that_says_no_more_raises_the_alarm_after_the_bound_and_ends_it_when_it_is_back() -> None:
    node = Node()
    node.go(300, well)
    [(phase, after_s)] = node.go(120)
    assert phase == "start"
    assert BOUND_S <= after_s <= BOUND_S + 2
    assert node.told[0].started_us == 1300 * US, "since it was watched last"
    [(phase, after_s)] = node.go(60, well)
    assert phase == "end"
    assert STEADY_S - 4 <= after_s <= STEADY_S + 5
    start, end = node.told
    assert start.alarm_id == end.alarm_id
    assert end.at_us > start.at_us


def test_one_that_never_begins_is_told_of_too() -> None:
    node = Node()
    [(phase, after_s)] = node.go(200)
    assert (phase, BOUND_S <= after_s <= BOUND_S + 1) == ("start", True)
    assert node.told[0].started_us == 1000 * US


def test_a_restart_within_the_bound_is_no_alarm() -> None:
    node = Node()
    node.go(300, well)
    assert node.go(50) == []
    assert node.go(300, well) == []


def test_one_that_dies_again_and_again_is_told_of_once_and_stays_so_until_it_holds_out() -> None:
    node = Node()
    node.go(300, well)
    told = node.go(600, lambda at_s: 1.0 if at_s % 30 < 10 else None)
    assert [phase for phase, _ in told] == ["start"]
    assert [phase for phase, _ in node.go(60, well)] == ["end"]


def test_one_that_looks_at_a_third_of_its_pictures_does_not_watch() -> None:
    node = Node()
    assert [phase for phase, _ in node.go(300, lambda _: 0.33)] == ["start"]


def test_one_that_misses_a_tenth_watches() -> None:
    assert Node().go(600, lambda _: 0.9) == []


def test_while_the_camera_itself_is_lost_nothing_is_said_of_the_watcher() -> None:
    node = Node()
    node.go(100, well)
    node.vigil.expect(GATE, live=False, now_s=node.at_s)
    assert node.go(600) == []
    node.vigil.expect(GATE, live=True, now_s=node.at_s)
    assert node.go(BOUND_S - 5) == [], "it gets its time to connect"
    assert node.go(300, well) == []


def test_an_agent_that_was_held_up_itself_blames_nobody() -> None:
    node = Node()
    node.go(300, well)
    node.at_s += 500
    assert node.go(BOUND_S - 5) == []
    assert node.go(300, well) == []


def test_who_is_not_to_be_watched_is_not_missed() -> None:
    vigil = Vigil([])
    vigil.expect(GATE, live=True, now_s=0)
    vigil.hear(WatchStats(GATE, 5, 0), 5)
    assert [alarm for at_s in range(300) for alarm in vigil.look(at_s, at_s)] == []


@given(
    st.lists(st.tuples(st.sampled_from([1, 5, 20, 70, 200]), st.sampled_from([None, 0.0, 0.4, 0.7, 1.0])), max_size=12)
)
def test_whatever_happens_alarms_begin_and_end_in_turn(phases: list[tuple[int, float | None]]) -> None:
    node = Node()
    for seconds, part in phases:
        node.go(seconds, lambda _, part=part: part)  # type: ignore[misc]
    node.go(STEADY_S + LATE_S + 10, well)
    assert [alarm.phase for alarm in node.told] == [START, END] * (len(node.told) // 2)
    assert all(alarm.at_us >= alarm.started_us for alarm in node.told)


def test_who_takes_everything_in_time_has_watched_all_of_it() -> None:
    span = Attention(10.0, 10.0, taken=75, seen=25)
    for turn in range(1, 26):
        span.turn(10 + turn * 0.2)
    assert span.watched_s(15.0) == 5.0


def test_what_was_passed_over_too_old_or_spent_away_was_not_watched() -> None:
    assert Attention(0, 0, taken=30, passed=60, seen=10).watched_s(6.0) == 2.0
    assert Attention(0, 0, taken=30, seen=1, stale=9).watched_s(5.0) == 0.5
    assert Attention(0, 0).watched_s(5.0) == 0.0, "nothing came"
    stopped = Attention(0.0, 0.0, taken=30, seen=10)
    stopped.turn(4.0)
    stopped.turn(5.0)
    assert stopped.watched_s(5.0) == 1.0
