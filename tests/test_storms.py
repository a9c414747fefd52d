"""Storms of alarms: told as few, counted in full, each with its start and its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.model import Alarm, AlarmCut, AlarmNature, AlarmPhase, CameraId, Moment
from edge_agent.storms import BURST, QUIET_S, REFILL_S, Storms

START, UPDATE, END = AlarmPhase.START, AlarmPhase.UPDATE, AlarmPhase.END


def alarm(number: int, phase: AlarmPhase, at_s: float, zone: str = "yard", camera: str = "gate") -> Alarm:
    at_us = round(at_s * US)
    return Alarm(f"a{number}", CameraId(camera), AlarmNature.MOTION, phase, at_us, at_us, zone, picture=b"jpeg")


class Heard:
    """What a desk would see, with the instants."""

    def __init__(self) -> None:
        self.storms = Storms()
        self.told: list[tuple[float, Alarm]] = []

    def hear(self, said: Alarm, at_s: float) -> None:
        self.told += [(at_s, one) for one in self.storms.hear(said, at_s)]

    def tick(self, at_s: float) -> None:
        self.told += [(at_s, one) for one in self.storms.tick(at_s)]

    def close(self, at_s: float) -> None:
        self.told += [(at_s, one) for one in self.storms.close(round(at_s * US), AlarmCut.STOP)]

    def of(self, phase: AlarmPhase) -> list[Alarm]:
        return [one for _, one in self.told if one.phase is phase]


def test_what_comes_now_and_then_is_told_as_it_is() -> None:
    heard = Heard()
    for number in range(100):
        for phase, later in ((START, 0), (UPDATE, 5), (END, 9)):
            heard.hear(alarm(number, phase, number * 120 + later), number * 120 + later)
    assert [one.phase for _, one in heard.told] == [START, UPDATE, END] * 100
    assert {one.merged for _, one in heard.told} == {0}
    assert all(one.picture for _, one in heard.told)


def test_a_storm_of_thousands_an_hour_is_a_handful_of_messages_that_count_them_all() -> None:
    heard = Heard()
    for number in range(3600):
        heard.hear(alarm(number, START, number), number)
        heard.hear(alarm(number, END, number + 0.5), number + 0.5)
        heard.tick(number + 0.9)
    heard.tick(3600 + QUIET_S)
    assert sum(1 + one.merged for one in heard.of(END)) == 3600
    assert len(heard.of(START)) == BURST + 1
    assert len(heard.told) < 150, "a hundredth of what was heard"
    last = heard.of(END)[-1]
    assert last.merged == 3600 - BURST - 1
    assert last.at_us == round(3599.5 * US), "it ended when the last of them did"


def test_a_storm_in_one_zone_hides_nobody_in_another() -> None:
    heard = Heard()
    for number in range(500):
        heard.hear(alarm(number, START, number), number)
        heard.hear(alarm(number, END, number + 0.5), number + 0.5)
    heard.hear(alarm(1000, START, 500, zone="door"), 500)
    assert heard.told[-1][1].alarm_id == "a1000"
    assert heard.told[-1][1].merged == 0


def test_an_alarm_after_a_storm_is_told_by_itself_again() -> None:
    heard = Heard()
    for number in range(50):
        heard.hear(alarm(number, START, number), number)
        heard.hear(alarm(number, END, number + 0.5), number + 0.5)
    heard.tick(50 + QUIET_S)
    heard.hear(alarm(99, START, 51 + REFILL_S), 51 + REFILL_S)
    assert heard.told[-1][1].alarm_id == "a99"


def test_an_update_of_a_storm_shows_the_newest_of_them() -> None:
    heard = Heard()
    for number in range(BURST + 1):
        heard.hear(alarm(number, START, 0), 0)
    heard.hear(replace(alarm(BURST + 1, START, 11), direction_deg=float(BURST + 1)), 11)
    newest = heard.told[-1][1]
    assert (newest.phase, newest.alarm_id, newest.merged) == (UPDATE, f"a{BURST}", 1)
    assert newest.direction_deg == BURST + 1
    assert newest.picture


def test_a_storm_keeps_its_own_best_picture_and_ends_with_the_last_that_was_seen() -> None:
    heard = Heard()
    for number in range(BURST + 1):
        heard.hear(alarm(number, START, 0), 0)
    own, other = f"a{BURST}", BURST + 1
    heard.hear(replace(alarm(other, START, 1), moment=Moment.START), 1)
    heard.hear(replace(alarm(other, UPDATE, 2), moment=Moment.BEST), 2)
    heard.hear(replace(alarm(BURST, UPDATE, 3), moment=Moment.BEST, picture=b"best"), 3)
    heard.hear(replace(alarm(BURST, END, 3), moment=Moment.END, picture=b"its own last"), 3)
    heard.hear(replace(alarm(other, UPDATE, 20), moment=Moment.BEST, picture=b"of another"), 20)
    heard.hear(replace(alarm(other, END, 21), moment=Moment.END, picture=b"the last"), 21)
    heard.tick(21 + QUIET_S)
    told = [(one.phase, one.moment, one.picture) for _, one in heard.told if one.alarm_id == own][1:]
    assert told == [
        (UPDATE, Moment.BEST, b"best"),
        (UPDATE, Moment.UPDATE, b"of another"),
        (END, Moment.END, b"the last"),
    ]


def test_the_end_of_what_nobody_knows_begins_with_its_start() -> None:
    heard = Heard()
    heard.hear(alarm(1, END, 5), 5)
    heard.hear(alarm(2, UPDATE, 6), 6)
    assert [(one.alarm_id, one.phase) for _, one in heard.told] == [("a1", START), ("a1", END), ("a2", START)]


steps = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(AlarmPhase),
        st.sampled_from([0.1, 1.0, 20.0, 61.0]),
        st.sampled_from(["yard", "door"]),
    ),
    max_size=200,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_whatever_is_heard_lives_begin_and_end_once_and_nothing_is_uncounted(
    said: list[tuple[int, AlarmPhase, float, str]],
) -> None:
    heard, at_s, ended, begun = Heard(), 0.0, set[str](), dict[str, int]()
    for number, phase, wait_s, zone in said:
        at_s += wait_s
        one = replace(alarm(number, phase, at_s, zone), alarm_id=f"{zone}{number}")
        if one.alarm_id in ended:
            continue  # the watcher never gives an id twice
        one = replace(one, started_us=begun.setdefault(one.alarm_id, one.at_us))
        if phase is END:
            ended.add(one.alarm_id)
        heard.hear(one, at_s)
        heard.tick(at_s)
    heard.close(at_s + 1)
    lives: dict[str, list[Alarm]] = {}
    for _, one in heard.told:
        lives.setdefault(one.alarm_id, []).append(one)
    for life in lives.values():
        assert [one.phase for one in life] == [START, *[UPDATE] * (len(life) - 2), END]
        assert len({(one.phase, one.at_us) for one in life}) == len(life), "each message has an id of its own"
        assert [one.merged for one in life] == sorted(one.merged for one in life)
        assert len({one.started_us for one in life}) == 1
    assert sum(1 + life[-1].merged for life in lives.values()) == len(begun)
    starts = Counter((one.zone, round(at // 3600)) for at, one in heard.told if one.phase is START)
    assert all(count <= BURST + 3600 / REFILL_S + 3600 / QUIET_S + 2 for count in starts.values())
