"""The disk of the journal fills or turns read-only: people are refused and told, the centre hears it, cameras go on."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from edge_agent.journal_watch import ALARM
from edge_agent.trust.age import Identity
from edge_agent.trust.command import StatusArgs
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from edge_agent.uplink.payloads import NodeAlarmMessage, Reply, ReplyState, decode
from tests.faults.node import node_on
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.peers.traced_disk import TracedDisk

pytestmark = pytest.mark.root
CHANGES = "write|create|mkdir|unlink|rmdir|rename|truncate|chmod|utimens|fsync|fsyncdir"
MAYOR, OFFICER = TestPerson("mayor", Role.MAYOR), TestPerson("officer", Role.ARCHIVE_OFFICER)


def asked(dispatcher: Dispatcher) -> Reply:
    nonce = secrets.token_hex(16)
    return dispatcher.command(MAYOR.sign(StatusArgs(), nonce=nonce), nonce, 60)


def phases(dispatcher: Dispatcher) -> list[str]:
    told = [decode(NodeAlarmMessage, received.payload) for _, received in dispatcher.on(dispatcher.topics.node_alarm)]
    return [str(message.phase) for message in told if message.code == ALARM]


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
def test_who_can_t_be_journalled_is_refused_and_an_alarm_lasts_until_the_journal_says_what_it_lacks(
    tmp_path: Path, broker: Mosquitto, camera_server: CameraServer, error: str
) -> None:
    write_secret_file(tmp_path / "node.age", f"{Identity.generate()}\n".encode())
    with TracedDisk(tmp_path) as disk:
        agent = node_on(
            tmp_path, disk.folder, {"gate": camera_server.url("/main")}, segment_s=2, broker=broker,
            people=(MAYOR, OFFICER),
        )  # fmt: skip
        agent.archive = tmp_path / "archive"  # on a disk that is well
        agent.archive.mkdir()
        text = agent.config.read_text(encoding="utf-8")
        agent.config.write_text(text.replace("[archive]\n", f'[archive]\npath = "{agent.archive}"\n'))
        with agent, Dispatcher(broker) as dispatcher:
            wait_until(lambda: agent.recording("gate") and dispatcher.health(), 60, "it records")
            assert asked(dispatcher).state is ReplyState.DONE
            disk.fail(error, CHANGES)
            refused = asked(dispatcher)
            assert (refused.state, refused.code) == (ReplyState.REFUSED, "journal_unavailable")
            wait_until(lambda: phases(dispatcher) == ["start"], 60, f"the alarm\n{agent.log()}")
            wait_until(lambda: ALARM in troubles(dispatcher), 30, "health has it, too")
            clip = tmp_path / "clip.mp4"
            taken = agent.by(OFFICER, "archive", "export", "gate", "--for", "1m", "-o", str(clip))
            assert taken.returncode == 77, taken.stderr
            assert not clip.exists()
            files = len(list(agent.archive.glob("gate/*/*.age")))
            wait_until(lambda: len(list(agent.archive.glob("gate/*/*.age"))) > files + 1, 60, "recording goes on")
            disk.heal()
            wait_until(lambda: phases(dispatcher) == ["start", "end"], 90, f"the alarm ends\n{agent.log()}")
            assert asked(dispatcher).state is ReplyState.DONE
            assert agent.stop() == 0
        lost = [entry for entry in entries(agent) if entry["kind"] == "lost"]
        assert lost
        assert all(entry["count"] >= 1 and entry["args"]["since_us"] < entry["at_us"] for entry in lost)
        assert agent.cli("journal", "verify").returncode == 0


def troubles(dispatcher: Dispatcher) -> set[str]:
    health = dispatcher.health()
    return {trouble.code for trouble in health.troubles} if health else set()


def entries(agent: RunningAgent) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (agent.data / "journal.jsonl").read_bytes().splitlines()]
