"""A whole agent with a camera, as a Home Assistant on the same broker shows it."""

from __future__ import annotations

from pathlib import Path

from tests.peers.agent import NODE, SITE, RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.home_assistant import HomeAssistant
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

DEVICE = f"edge-{SITE}-{NODE}"


def test_home_assistant_sees_an_alarm_with_its_picture_and_a_camera_lost_and_back(
    broker: Mosquitto, camera_server: CameraServer, tmp_path: Path
) -> None:
    url = camera_server.url("/main")
    lines, more = f'sub_url = "{url}"', "[mqtt.home_assistant]\n[mqtt.onvif]\n"
    with (
        HomeAssistant(tmp_path, broker.port) as home,
        RunningAgent(tmp_path, {"gate": url}, broker=broker, camera_lines=lines, more=more),
    ):
        home.shows(f"{DEVICE}-online", "on", 60)
        home.shows(f"{DEVICE}-gate-recorded", "on", 60)
        home.shows(f"{DEVICE}-gate-motion", "on", 60)
        pictures = {f"{DEVICE}-gate-still", f"{DEVICE}-gate-picture"}
        wait_until(lambda: all(home.states[one].picture for one in pictures), 60, "the alarm's picture")
        camera_server.kill()
        home.shows(f"{DEVICE}-gate-tamper", "on", 60)
        home.shows(f"{DEVICE}-gate-recorded", "off", 60)
        camera_server.restart()
        home.shows(f"{DEVICE}-gate-tamper", "off", 60)
        assert home.log() == ""
