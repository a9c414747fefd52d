"""What an outage cost is told while it lasts, and is over when nothing waits."""

from __future__ import annotations

from pathlib import Path

from edge_agent.buffer.documents import Documents
from edge_agent.model import AlarmPhase, NodeAlarm
from edge_agent.node_alarms import NodeAlarms
from edge_agent.outbox_alarm import CODE, OutboxAlarm
from edge_agent.uplink.payloads import Undelivered
from tests.simulators.clock import HandClock


def test_lost_pictures_raise_an_alarm_that_ends_when_the_outbox_is_empty(tmp_path: Path) -> None:
    told: list[NodeAlarm] = []
    documents = Documents(tmp_path / "documents.json", HandClock())
    alarms = NodeAlarms(documents, HandClock(), told.append)
    mine = OutboxAlarm(alarms)
    mine.look(Undelivered(waiting=3, dropped_pictures=7))
    assert told == [], "what an earlier outage cost is no news"
    mine.look(Undelivered(waiting=9, dropped_pictures=9))
    mine.look(Undelivered(waiting=9, dropped_pictures=12, dropped_alarms=1))
    assert "5 pictures, 1 alarms" in alarms.open[0].en
    after_a_restart = OutboxAlarm(NodeAlarms(documents, HandClock(), told.append))
    after_a_restart.look(Undelivered(waiting=4, dropped_pictures=12, dropped_alarms=1))
    assert [alarm.phase for alarm in told] == [AlarmPhase.START]
    after_a_restart.look(Undelivered(dropped_pictures=12, dropped_alarms=1))
    assert [(alarm.code, alarm.phase) for alarm in told] == [(CODE, AlarmPhase.START), (CODE, AlarmPhase.END)]
