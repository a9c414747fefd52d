"""Alarms of the node: told once at the start and once at the end, over restarts too; and what the archive raises."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_agent.archive_alarms import CLOCK, CLOCK_S, FULL, SHORT, TAKEN, TAKEN_S, UNKNOWN, ArchiveAlarms
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.promise import DAY_US, Rule
from edge_agent.buffer.retention import Standing
from edge_agent.model import AlarmPhase, CameraId, NodeAlarm
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.uplink.payloads import NodeAlarmMessage, decode, encode, node_alarm_message, trouble
from edge_agent.uplink.topics import Topics
from tests.simulators.clock import HandClock

GOOD = Standing(waiting=False, stuck=False, taken=False, holds_known=True, free=5 * 10**9, reserve=10**9)


class Told:
    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.messages: list[NodeAlarm] = []
        documents = Documents(folder / "documents.json", self.clock)
        self.alarms = NodeAlarms(documents, self.clock, self.messages.append)

    @property
    def steps(self) -> list[tuple[str, AlarmPhase]]:
        return [(message.code, message.phase) for message in self.messages]


def test_an_alarm_is_told_at_its_start_and_at_its_end_and_renewed_in_between(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.alarms.set("disk_taken", Said("раз", "one"))
    told.clock.move(60)
    told.alarms.set("disk_taken", Said("два", "two"))
    assert [alarm.en for alarm in told.alarms.open] == ["two"]
    told.alarms.set("disk_taken", None)
    told.alarms.set("disk_taken", None)
    assert told.steps == [("disk_taken", AlarmPhase.START), ("disk_taken", AlarmPhase.END)]
    assert told.messages[0].alarm_id == told.messages[1].alarm_id
    assert told.messages[1].at_us - told.messages[1].started_us == 60_000_000


def test_an_alarm_goes_on_after_a_restart_and_ends_with_the_same_id(tmp_path: Path) -> None:
    first, second = Told(tmp_path), None
    first.alarms.set("archive_full", Said("а", "a"))
    second = Told(tmp_path)
    second.alarms.set("archive_full", Said("б", "b"))
    second.alarms.set("archive_full", None)
    assert second.steps == [("archive_full", AlarmPhase.END)]
    assert second.messages[0].alarm_id == first.messages[0].alarm_id
    assert Told(tmp_path).alarms.open == []


def test_any_words_make_a_valid_message_and_a_valid_trouble(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.alarms.set("x", Said("\x1b[2J" * 400, "ok"))
    message = node_alarm_message(told.messages[0], Topics("s", "n"))
    assert decode(NodeAlarmMessage, encode(message)) == message
    assert trouble(told.alarms.open[0]).code == "x"


def test_the_archive_raises_what_stands_badly_and_ends_what_is_well_again(tmp_path: Path) -> None:
    told = Told(tmp_path)
    rule = Rule(10 * DAY_US, {CameraId("yard"): 30 * DAY_US}, min_free=10**9)
    alarms = ArchiveAlarms(told.alarms, rule, told.clock)
    alarms.look(GOOD)
    assert told.alarms.open == []
    short = (CameraId("gate"), CameraId("yard"))
    oldest = told.clock.utc_us() - round(6.2 * DAY_US)
    bad = dataclasses.replace(GOOD, short=short, oldest_us=oldest, stuck=True, holds_known=False)
    alarms.look(bad)
    assert {alarm.code for alarm in told.alarms.open} == {SHORT, FULL, UNKNOWN}
    words = {alarm.code: alarm.en for alarm in told.alarms.open}
    assert words[SHORT] == "The archive can't keep its 10/30 days: gate, yard; the oldest kept is 6.2 days old"
    alarms.look(dataclasses.replace(GOOD, waiting=True))
    assert "on_full = stop" in told.alarms.open[0].uk
    alarms.look(GOOD)
    assert told.alarms.open == []
    assert [step for step in told.steps if step[0] == FULL] == [(FULL, AlarmPhase.START), (FULL, AlarmPhase.END)]


def test_a_passing_want_of_space_on_a_shared_disk_is_no_alarm(tmp_path: Path) -> None:
    told = Told(tmp_path)
    alarms = ArchiveAlarms(told.alarms, Rule(10 * DAY_US, {}, min_free=10**9), told.clock)
    taken = dataclasses.replace(GOOD, taken=True, free=10**8)
    alarms.look(taken)
    told.clock.move(TAKEN_S - 1)
    alarms.look(GOOD)
    alarms.look(taken)
    told.clock.move(TAKEN_S - 1)
    alarms.look(taken)
    assert told.steps == []
    told.clock.move(1)
    alarms.look(taken)
    assert told.steps == [(TAKEN, AlarmPhase.START)]
    assert "0.1 GB of the reserve of 1.0 GB" in told.messages[0].en


def test_a_day_without_a_trusted_clock_is_an_alarm_with_its_remedy(tmp_path: Path) -> None:
    told = Told(tmp_path)
    alarms = ArchiveAlarms(told.alarms, Rule(10 * DAY_US, {}, min_free=10**9), told.clock)
    alarms.look_at_the_clock(CLOCK_S, "nobody knows")
    assert told.alarms.open == []
    alarms.look_at_the_clock(30 * 3600, "no time server has confirmed the node's clock since the node started")
    (alarm,) = told.alarms.open
    assert "for 30 h, so no recording goes by age: no time server" in alarm.en
    assert "edge-agent clock confirm" in alarm.en
    assert "вже 30 год" in alarm.uk
    assert "edge-agent clock confirm" in trouble(alarm).text.uk
    alarms.look_at_the_clock(0, "")
    assert told.steps == [(CLOCK, AlarmPhase.START), (CLOCK, AlarmPhase.END)]
