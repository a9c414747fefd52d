"""Home Assistant finds the node on the broker and shows what it says: tried against Home Assistant itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.buffer.outbox import Outbox
from edge_agent.clock import SystemClock
from edge_agent.config import Mqtt
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraId, CameraState, Severity
from edge_agent.uplink.home_assistant import HomeAssistant as Companion
from edge_agent.uplink.link import LinkState, Phase, Received
from edge_agent.uplink.node import NodeLink
from edge_agent.uplink.payloads import CameraReport, Health, Kept, ModeMessage, ModeReport, Trouble, Words
from edge_agent.uplink.topics import Topics
from tests.peers.home_assistant import HomeAssistant
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.uplink.ends import RecordingLink, plain

TOPICS = Topics("melitopol", "node-17")
CAMERAS = {"gate": "Вхід", "yard-2": "Двір"}
DEVICE = "edge-melitopol-node-17"
GATE = CameraId("gate")


class Node:
    """The node's side, its messages handed on as the agent's loop does."""

    def __init__(self, folder: Path, port: int, cameras: dict[str, str]) -> None:
        self.clock = SystemClock()
        self.outbox = Outbox(folder / f"outbox-{len(cameras)}.sqlite", clock=self.clock)
        self.heard: list[Received] = []
        companions = [Companion(TOPICS, cameras, "homeassistant", "uk")]
        mqtt = Mqtt(host="127.0.0.1", port=port, tls=False)
        self.link = NodeLink(mqtt, TOPICS, self.outbox, self.clock, self._message, self._state, companions=companions)
        self.link.start()
        wait_until(lambda: self.link.protocol, 30, "the node online")

    def _message(self, message: Received) -> None:
        if not self.link.heard(message):
            self.heard.append(message)

    def _state(self, state: LinkState) -> None:
        if state.phase is Phase.ONLINE:
            self.link.online()

    def alarm(
        self, alarm_id: str, phase: AlarmPhase, nature: AlarmNature = AlarmNature.MOTION, picture: bytes = b""
    ) -> None:
        now = self.clock.utc_us()
        self.link.alarm(Alarm(alarm_id, GATE, nature, phase, now, now, picture=picture or None), "Вхід", "")


def health(at_us: int, *, troubles: tuple[Trouble, ...] = ()) -> Health:
    day = ModeReport(mode="day", severity=Severity.INFO, since_us=1)
    kept = Kept(days=6.5, promised_days=10, will_keep_days=9)
    return Health(
        at_us=at_us,
        version="1",
        uptime_s=1,
        cpu_percent=12.5,
        load_1m=1,
        memory_used_bytes=1,
        memory_total_bytes=2,
        disk_total_bytes=10,
        disk_free_bytes=4_000_000,
        archive_bytes=5,
        oldest_footage_us=at_us - 5 * 43_200_000_000,
        troubles=troubles,
        cameras={
            "gate": CameraReport(state=CameraState.RECORDING, fps=25, bitrate_bps=4e6, kept=kept, mode=day),
            "yard-2": CameraReport(state=CameraState.LOST),
        },
    )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


def test_home_assistant_shows_the_node_its_cameras_alarms_and_pictures(broker: Mosquitto, tmp_path: Path) -> None:
    node = Node(tmp_path, broker.port, CAMERAS)
    try:
        with HomeAssistant(tmp_path, broker.port) as home:
            home.shows(f"{DEVICE}-online", "on")
            trouble = Trouble(code="disk_taken", since_us=1, text=Words(uk="Диск", en="Disk"))
            node.link.health(health(node.clock.utc_us(), troubles=(trouble,)))
            node.link.camera(GATE, CameraReport(state=CameraState.LOST, detail="no answer"))

            assert home.shows(f"{DEVICE}-cpu", "12.5").device == "melitopol node-17"
            assert "Диск" in home.shows(f"{DEVICE}-troubles", "on").attributes["troubles"]
            assert home.shows(f"{DEVICE}-temperature", "unknown").attributes["unit_of_measurement"] == "°C"
            home.shows(f"{DEVICE}-oldest", "2.5")
            home.shows(f"{DEVICE}-gate-kept", "6.5")
            night = ModeReport(mode="night", name="Ніч", severity=Severity.CRITICAL, since_us=1)
            said = Words(uk="Ніч", en="Night")
            node.link.mode(ModeMessage(at_us=node.clock.utc_us(), report=night, text=said))
            assert home.shows(f"{DEVICE}-mode", "Ніч").attributes["severity"] == "critical"
            home.shows(f"{DEVICE}-gate-mode", "day")
            home.shows(f"{DEVICE}-yard-2-kept", "unknown")
            recorded = home.shows(f"{DEVICE}-gate-recorded", "off")
            assert (recorded.device, recorded.via) == ("Вхід", True)
            assert recorded.attributes["detail"] == "no answer"

            home.shows(f"{DEVICE}-gate-motion", "off")
            jpeg = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20
            node.alarm("one", AlarmPhase.START, picture=jpeg)
            assert home.shows(f"{DEVICE}-gate-motion", "on").attributes["device_class"] == "motion"
            assert home.shows(f"{DEVICE}-gate-alarm", "Рух: Вхід")
            digest = hashlib.sha256(jpeg).hexdigest()
            both = (f"{DEVICE}-gate-still", f"{DEVICE}-gate-picture")
            wait_until(lambda: all(home.states[one].picture == digest for one in both), 30, "the picture, twice")
            node.alarm("two", AlarmPhase.START, AlarmNature.LOST)
            home.shows(f"{DEVICE}-gate-tamper", "on")
            node.alarm("one", AlarmPhase.END)
            home.shows(f"{DEVICE}-gate-motion", "off")
            node.alarm("two", AlarmPhase.END, AlarmNature.LOST)
            home.shows(f"{DEVICE}-gate-tamper", "off")
            assert home.states[f"{DEVICE}-yard-2-motion"].state == "off"

            node.link.stop()
            home.shows(f"{DEVICE}-online", "off")
            home.shows(f"{DEVICE}-gate-motion", "unavailable")
            assert home.log() == "", "Home Assistant has nothing to complain of"
            assert len(home.states) == 9 + 2 * 10
    finally:
        node.link.stop()


def test_sealed_pictures_have_no_entities() -> None:
    kinds = {
        pictures: [one.topic.split("/")[1] for one in Companion(TOPICS, CAMERAS, "p", "uk", pictures=pictures).online()]
        for pictures in (True, False)
    }
    assert [kinds[True].count(kind) for kind in ("camera", "image", "binary_sensor")] == [2, 2, 8]
    assert [kinds[False].count(kind) for kind in ("camera", "image", "binary_sensor")] == [0, 0, 8]


def test_entities_of_a_camera_that_is_gone_are_withdrawn_and_a_newborn_is_told_all(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path) as broker,
        RecordingLink(plain(broker.port, "there")) as there,
        RecordingLink(plain(broker.port, "ear")) as ear,
    ):
        there.hears("homeassistant/#")
        first = Node(tmp_path, broker.port, CAMERAS)
        wait_until(lambda: len(there.messages) == 9 + 2 * 10, 30, "both cameras told")
        first.link.stop()
        ear.hears("homeassistant/#")
        wait_until(lambda: len(ear.messages) == 9 + 2 * 10, 30, "both cameras, of the broker's memory")
        assert all(json.loads(one.payload)["unique_id"].startswith(DEVICE) and one.retain for one in ear.messages)
        node = Node(tmp_path, broker.port, {"gate": "Вхід"})
        try:
            wait_until(lambda: sum(not one.payload for one in ear.messages) == 10, 30, "the yard's entities withdrawn")
            assert {one.topic for one in ear.messages if not one.payload} == {
                one.topic for one in ear.messages if "/yard-2-" in one.topic
            }
            before = len(ear.messages)
            ear.link.publish("homeassistant/status", b"online").wait(10)
            wait_until(lambda: len(ear.messages) >= before + 1 + 9 + 10, 30, "all anew")
            ear.link.publish("homeassistant/status", b"offline").wait(10)
            ear.link.publish(TOPICS.command, b"for the agent").wait(10)
            wait_until(lambda: node.heard, 30, "the command")
            assert [one.payload for one in node.heard] == [b"for the agent"]
        finally:
            node.link.stop()
