"""Alarms on their way out: whatever is killed in between, each is told from its START to its END."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.buffer.register import Entry, Note, NoteKind, Register, Wanted
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.incidents import LIST_EVERY_S, Incidents
from edge_agent.model import Alarm, AlarmCut, AlarmNature, AlarmPhase, CameraId, NodeAlarm
from edge_agent.node_alarms import Said
from edge_agent.uplink.incident_payloads import MAX_LISTED, IncidentMessage, RegisterMessage
from edge_agent.uplink.payloads import MAX_JSON_BYTES, alarm_message, decode, encode
from edge_agent.uplink.topics import Topics
from tests.simulators.clock import HandClock

START, UPDATE, END = AlarmPhase.START, AlarmPhase.UPDATE, AlarmPhase.END
TOPICS = Topics("town", "n1")


class PowerCutError(Exception):
    """Nothing after it happens."""


class Disk(Register):
    """A register whose disk can be full."""

    full = False

    def enter(self, entry: Entry, message: str, now_us: int) -> None:
        if self.full:
            raise ArchiveError("database or disk is full")
        super().enter(entry, message, now_us)


class Node:
    """A node's alarms on one folder, and what it told over all its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, HandClock()
        self.told: list[Alarm | NodeAlarm] = []
        self.incidents_told: list[IncidentMessage] = []
        self.lists: list[RegisterMessage] = []
        self.troubles: list[Said | None] = []
        self.cut_before = self.cut_after = -1
        self.outbox_full = False
        self.power_on()

    def power_on(self) -> None:
        self.register = Disk(self.folder / "incidents.sqlite", self.clock)
        self.incidents = Incidents(self.register, self, TOPICS, self.troubles.append, self.clock)

    def tell_alarm(self, alarm: Alarm) -> None:
        self._tell(alarm)

    def tell_node_alarm(self, alarm: NodeAlarm) -> None:
        self._tell(alarm)

    def tell_incident(self, message: IncidentMessage) -> None:
        self.incidents_told.append(decode(IncidentMessage, encode(message)))

    def tell_incidents(self, message: RegisterMessage) -> None:
        assert len(encode(message)) < MAX_JSON_BYTES
        self.lists.append(decode(RegisterMessage, encode(message)))

    def alarm_names(self, alarm: Alarm) -> tuple[str, str]:
        return f"Камера {alarm.camera}", alarm.zone or ""

    def _tell(self, alarm: Alarm | NodeAlarm) -> None:
        if self.outbox_full:
            raise ArchiveError("the outbox's disk is full")
        if len(self.told) == self.cut_before:
            raise PowerCutError
        self.told.append(alarm)
        if len(self.told) == self.cut_after:
            raise PowerCutError

    def alarm(self, id_: str, phase: AlarmPhase, picture: bytes | None = b"jpeg") -> Alarm:
        now_us = self.clock.utc_us()
        return Alarm(id_, CameraId("gate"), AlarmNature.MOTION, phase, now_us, now_us, "yard", picture=picture)

    def live(self, id_: str) -> None:
        """A whole alarm, from its start to its end."""
        for phase in AlarmPhase:
            self.clock.move(3)
            self.incidents.hear(self.alarm(id_, phase))

    def phases(self, id_: str) -> list[AlarmPhase]:
        """Without doubles, which a reader knows by the message's id."""
        ids = dict.fromkeys((one.alarm_id, one.phase, one.at_us) for one in self.told)
        return [phase for alarm_id, phase, _ in ids if alarm_id == id_]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("cut", [("before", n) for n in range(3)] + [("after", n) for n in range(1, 4)], ids=str)
def test_a_power_cut_at_any_step_leaves_no_alarm_open_and_none_untold(node: Node, cut: tuple[str, int]) -> None:
    setattr(node, f"cut_{cut[0]}", cut[1])
    with pytest.raises(PowerCutError):
        node.live("a1")
    node.cut_before = node.cut_after = -1
    node.clock.move(3600)
    node.power_on()
    node.incidents.resume([])
    phases = node.phases("a1")
    assert phases[0] is START
    assert phases[-1] is END
    assert phases.count(START) == phases.count(END) == 1
    entry = node.register.get("a1").entry
    assert entry.ended_us is not None
    last = node.told[-1]
    assert isinstance(last, Alarm)
    if last.cut is AlarmCut.RESTART:
        assert last.seen_us == entry.ended_us == last.at_us - 3600 * US, "it is not said to have lasted an hour"
    node.power_on()
    before = len(node.told)
    node.incidents.resume([])
    assert len(node.phases("a1")) == len(phases), "the next restart tells nothing new"
    assert len(node.told) <= before + 1


def test_the_end_after_a_restart_says_so(node: Node) -> None:
    node.incidents.hear(node.alarm("a1", START))
    node.power_on()
    node.incidents.resume([])
    told = node.told[-1]
    assert isinstance(told, Alarm)
    message = alarm_message(told, TOPICS, "Ворота", "Двір")
    assert message.cut is AlarmCut.RESTART
    assert message.text.uk == "Рух: Ворота, зона «Двір» – кінця не видно: вузол перезапущено"
    assert "припинився" not in message.text.uk, "nobody saw that"


def test_an_orderly_stop_ends_what_is_open(node: Node) -> None:
    node.incidents.hear(node.alarm("a1", START))
    node.incidents.close()
    told = node.told[-1]
    assert isinstance(told, Alarm)
    assert (told.phase, told.cut) == (END, AlarmCut.STOP)


def test_an_alarm_of_the_node_that_lasts_is_not_ended_by_a_restart_and_one_that_does_not_is(node: Node) -> None:
    lasting, gone = (NodeAlarm(f"n{n}", "disk_taken", START, 1, 1, "диск", "disk") for n in (1, 2))
    node.incidents.hear_node(lasting)
    node.incidents.hear_node(gone)
    node.power_on()
    node.incidents.resume([lasting])
    assert node.phases("n1") == [START]
    assert node.phases("n2") == [START, END]


def test_what_the_outbox_does_not_take_is_told_after_the_next_start(node: Node) -> None:
    node.outbox_full = True
    node.incidents.hear_node(NodeAlarm("n1", "disk_taken", START, 1, 1, "диск", "disk"))
    assert node.told == []
    node.outbox_full = False
    node.power_on()
    node.incidents.resume([NodeAlarm("n1", "disk_taken", START, 1, 1, "диск", "disk")])
    assert node.phases("n1") == [START]


def test_an_end_is_the_last_word(node: Node) -> None:
    for phase in (START, END, END, START):
        node.incidents.hear(node.alarm("a1", phase))
    assert node.phases("a1") == [START, END]


def test_a_storm_that_the_power_cut_is_ended_once_with_its_count(node: Node) -> None:
    for number in range(100):
        node.clock.move(1)
        for phase in (START, END):
            node.incidents.hear(node.alarm(f"a{number}", phase))
        node.incidents.look()
    node.power_on()
    node.incidents.resume([])
    ends = [one for one in node.told if one.phase is END and isinstance(one, Alarm)]
    assert ends[-1].cut is AlarmCut.RESTART
    assert sum(1 + one.merged for one in ends) > 90, "what was counted since the last update is all that can be lost"
    assert not list(node.register.find(Wanted(state=None, start_us=2**61)))


def test_the_newest_alarms_are_listed_at_once_and_then_now_and_then(node: Node) -> None:
    node.incidents.look()
    for number in range(300):
        node.clock.move(1)
        node.incidents.hear(node.alarm(f"a{number}", START))
        node.incidents.look()
    assert len(node.lists) <= 2 + 300 / LIST_EVERY_S
    last = node.lists[-1]
    assert last.open == len(last.incidents) == len({one.alarm_id for one in last.incidents})
    many = [node.alarm(f"b{number}", START) for number in range(90)]
    for one in many:
        node.register.enter(node.incidents._entry(one), "{}", 0)
    node.incidents.tell_list()
    assert len(node.lists[-1].incidents) == MAX_LISTED
    assert node.lists[-1].open > MAX_LISTED, "it says how many there are"


def test_what_somebody_wrote_is_told_to_everybody(node: Node) -> None:
    node.incidents.hear(node.alarm("a1", START))
    note = Note(NoteKind.ACKNOWLEDGED, node.clock.utc_us(), "Коваленко Олена", "o-kovalenko", "їду")
    node.incidents.written(node.register.note("a1", [note], 0))
    told = node.incidents_told[-1].incident
    assert told.acknowledged
    assert (told.acknowledged.who, told.last_comment and told.last_comment.text) == ("Коваленко Олена", "їду")


def test_a_register_that_cannot_be_written_keeps_no_alarm_back(node: Node) -> None:
    node.register.full = True
    node.incidents.hear(node.alarm("a1", START))
    assert node.phases("a1") == [START]
    assert node.troubles[-1] is not None
    node.register.full = False
    node.incidents.hear(node.alarm("a1", END))
    assert node.troubles[-1] is None
    assert node.register.get("a1").entry.ended_us is not None
