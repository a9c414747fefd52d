"""The promise's break is foretold by a whole agent: in health, as an alarm of the node, and to who asks."""

from __future__ import annotations

from pathlib import Path

from edge_agent.model import AlarmPhase
from edge_agent.uplink.payloads import PROMISE_ALARM, NodeAlarmMessage, decode
from tests.peers.agent import Dispatcher, RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until


def test_a_disk_too_small_raises_one_alarm_that_a_larger_one_ends(
    tmp_path: Path, broker: Mosquitto, camera_server: CameraServer
) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, broker=broker, segment_s=2)
    small = agent.config.read_text().replace("min_free = 0", 'min_free = 0\nmax_size = "40 MB"')
    large = small.replace("40 MB", "100 TB").replace("[retention]", "[retention]\ndays = 0.01")
    agent.config.write_text(small)
    with Dispatcher(broker) as dispatcher:

        def alarms() -> list[NodeAlarmMessage]:
            heard = [decode(NodeAlarmMessage, r.payload) for _, r in dispatcher.on(dispatcher.topics.node_alarm)]
            return [alarm for alarm in heard if alarm.code == PROMISE_ALARM]

        with agent:
            wait_until(alarms, 40, "the alarm is raised")
            wait_until(lambda: (h := dispatcher.health()) is not None and bool(h.troubles), 20, "it is in health, too")
            health = dispatcher.health()
            assert health is not None
            assert health.promise is not None
            assert health.promise.breaks_us is not None
            assert health.promise.add_bytes >= 10**9
            assert PROMISE_ALARM in {trouble.code for trouble in health.troubles}
            kept = health.cameras["gate"].kept
            assert kept is not None
            assert kept.will_keep_days < kept.promised_days == 10
            told = agent.cli("archive", "forecast", "--lang", "en")
            assert told.returncode == 0, told.stderr
            assert "What helps: raise max_size" in " ".join(told.stdout.decode().split())
            assert agent.stop() == 0
        agent.config.write_text(large)
        with agent:
            wait_until(lambda: len(alarms()) >= 2, 40, "the alarm is ended")
            assert agent.stop() == 0
        assert [alarm.phase for alarm in alarms()] == [AlarmPhase.START, AlarmPhase.END]
        assert len({alarm.alarm_id for alarm in alarms()}) == 1
