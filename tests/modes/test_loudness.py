"""Alarms under way while modes change: never quieter, a start before all else, nothing hidden."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Severity
from edge_agent.modes.loudness import Loudness
from tests.modes.world import GATE, YARD

START, UPDATE, END = AlarmPhase.START, AlarmPhase.UPDATE, AlarmPhase.END
SILENT, INFO, WARNING, CRITICAL = Severity


def alarm(phase: AlarmPhase, at_us: int, picture: bytes | None = None, alarm_id: str = "a") -> Alarm:
    return Alarm(alarm_id, GATE, AlarmNature.MOTION, phase, at_us, 1, picture=picture)


@dataclass
class Ears:
    now: Severity = WARNING
    told: list[Alarm] = field(default_factory=list)
    loudness: Loudness = field(init=False)

    def __post_init__(self) -> None:
        self.loudness = Loudness(lambda _: self.now, self.told.append)

    def hear(self, *alarms: Alarm) -> None:
        for one in alarms:
            self.loudness.hear(one)

    def change(self, severity: Severity, at_us: int) -> None:
        self.now = severity
        self.loudness.weigh_again([GATE], at_us)

    def take(self) -> list[tuple[AlarmPhase, Severity, int]]:
        told, self.told[:] = list(self.told), []
        return [(one.phase, one.severity, one.at_us) for one in told]


def test_an_alarm_goes_through_with_the_severity_of_its_start() -> None:
    ears = Ears()
    ears.hear(alarm(START, 1), alarm(UPDATE, 2), alarm(END, 3))
    assert ears.take() == [(START, WARNING, 1), (UPDATE, WARNING, 2), (END, WARNING, 3)]
    assert ears.loudness.silent(GATE) == 0


def test_a_silent_alarm_is_counted_and_never_told() -> None:
    ears = Ears(SILENT)
    ears.hear(alarm(START, 1, b"jpeg"), alarm(UPDATE, 2), alarm(END, 3, b"jpeg"))
    assert ears.take() == []
    assert ears.loudness.silent(GATE) == 1
    assert ears.loudness.take_silent([GATE, YARD]) == {GATE: 1}
    assert ears.loudness.silent(GATE) == 0


def test_a_mode_that_gets_quieter_does_not_quieten_what_is_under_way() -> None:
    ears = Ears(CRITICAL)
    ears.hear(alarm(START, 1))
    ears.change(SILENT, 2)
    ears.hear(alarm(UPDATE, 3), alarm(END, 4))
    assert ears.take() == [(START, CRITICAL, 1), (UPDATE, CRITICAL, 3), (END, CRITICAL, 4)]


def test_a_mode_that_gets_louder_is_told_at_once() -> None:
    ears = Ears(INFO)
    ears.hear(alarm(START, 1))
    ears.change(CRITICAL, 5)
    assert ears.take() == [(START, INFO, 1), (UPDATE, CRITICAL, 5)]
    ears.change(CRITICAL, 6)
    assert ears.take() == []


def test_a_silent_alarm_that_becomes_loud_is_told_as_a_start_with_its_picture() -> None:
    ears = Ears(SILENT)
    ears.hear(alarm(START, 1, b"jpeg"), alarm(UPDATE, 2))
    ears.change(WARNING, 5)
    assert ears.told == [
        Alarm("a", GATE, AlarmNature.MOTION, START, 5, 1, picture=b"jpeg", severity=WARNING),
    ]
    ears.hear(alarm(UPDATE, 6), alarm(END, 7))
    assert ears.take()[1:] == [(UPDATE, WARNING, 6), (END, WARNING, 7)]


def test_other_cameras_alarms_are_left_alone_by_a_change() -> None:
    ears = Ears(SILENT)
    ears.hear(alarm(START, 1))
    ears.now = CRITICAL
    ears.loudness.weigh_again([YARD], 2)
    assert ears.take() == []


def test_a_clock_that_was_set_back_does_not_put_a_message_before_the_one_before_it() -> None:
    ears = Ears(INFO)
    ears.hear(alarm(START, 100))
    ears.change(CRITICAL, 5)
    assert ears.take() == [(START, INFO, 100), (UPDATE, CRITICAL, 100)]


def test_the_end_of_an_alarm_that_nobody_heard_begin_is_no_start() -> None:
    ears = Ears()
    ears.hear(alarm(END, 3))
    assert ears.take() == [(END, WARNING, 3)]


steps = st.lists(st.sampled_from([*Severity, UPDATE]), max_size=8)


@given(st.sampled_from(Severity), steps)
def test_a_reader_hears_a_start_then_ever_louder_updates_then_an_end(first: Severity, course: list[str]) -> None:
    ears = Ears(first)
    ears.hear(alarm(START, 1))
    loudest = first
    for at_us, step in enumerate(course, 2):
        if isinstance(step, Severity):
            ears.change(step, at_us)
        else:
            ears.hear(alarm(UPDATE, at_us))
        loudest = max(loudest, ears.now, key=lambda one: one.rank)
    ears.hear(alarm(END, 99))
    told = ears.take()
    assert bool(told) == (loudest is not SILENT)
    if told:
        assert [phase for phase, _, _ in told] == [START, *[UPDATE] * (len(told) - 2), END]
        ranks = [severity.rank for _, severity, _ in told]
        assert ranks == sorted(ranks)
        assert told[-1][1] is loudest
