"""The watcher as the agent runs it: its own process, real RTSP cameras, messages on its standard output."""

from __future__ import annotations

import signal
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.capture.alarms import QUIET_S
from edge_agent.clock import US
from edge_agent.demo.scene import StreetScene
from edge_agent.messages import CameraChanged, Progress
from edge_agent.model import AlarmPhase, CameraFault, CameraState
from tests.capture.watching import WatcherProcess, apart_deg, best_overlap, opened_jpeg, truth_at, watched
from tests.peers.cameras import CameraServer, make_clip
from tests.peers.support import wait_until

FRAMES = 150
SCENE = StreetScene((640, 360), 15, 1)


@pytest.fixture
def cameras(clips: Path, tmp_path: Path) -> Iterator[CameraServer]:
    """`/sub`: 10 s of H.264, somebody crosses from the third second on; `/main`: the same large, in H.265."""
    sub = make_clip(clips / "watch-sub.mp4", seconds=10)
    main = make_clip(clips / "watch-main.mp4", "h265", seconds=10, size=(1280, 720))
    with CameraServer({"/sub": sub, "/main": main}, folder=tmp_path / "cameras") as server:
        yield server


def test_somebody_crossing_arrives_as_an_alarm_with_pictures_a_direction_and_an_end(
    cameras: CameraServer, clips: Path, tmp_path: Path
) -> None:
    quiet = make_clip(clips / "watch-quiet.mp4", seconds=2)
    gate, yard = watched("gate", cameras.url("/sub")), watched("yard", cameras.url("/main"), keyframes_only=True)
    with WatcherProcess(tmp_path, gate, yard) as watcher:
        starts = {name: watcher.wait_alarm(name, AlarmPhase.START, 20) for name in ("gate", "yard")}
        told = watcher.wait_alarm("gate", AlarmPhase.UPDATE, 5)
        for mount, alarm in (("/sub", starts["gate"]), ("/sub", told), ("/main", starts["yard"])):
            assert best_overlap(alarm.box, truth_at(cameras, mount, SCENE, FRAMES, alarm.at_us)) > 0.3
            assert alarm.picture is not None
            assert len(alarm.picture) <= 20_000
            assert opened_jpeg(alarm.picture, tmp_path).shape == (270, 480, 3)
        assert told.alarm_id == starts["gate"].alarm_id
        assert told.direction_deg is not None
        assert apart_deg(told.direction_deg, 90) < 30
        cameras.switch("/sub", quiet)
        switched_us = cameras.sent("/sub")[-1].utc_us_pushed
        end = watcher.wait_alarm("gate", AlarmPhase.END, 12)
        assert end.alarm_id == told.alarm_id
        assert end.picture is not None
        assert (end.at_us - switched_us) / US < QUIET_S + 3
        assert len(watcher.of(Progress)) >= 5
        assert watcher.stop() == 0


def test_a_lost_stream_ends_its_alarm_and_the_camera_is_watched_again_when_it_is_back(
    cameras: CameraServer, tmp_path: Path
) -> None:
    with WatcherProcess(tmp_path, watched("gate", cameras.url("/sub"))) as watcher:
        start = watcher.wait_alarm("gate", AlarmPhase.START, 20)
        cameras.kill()
        end = watcher.wait_alarm("gate", AlarmPhase.END, 5)
        assert end.alarm_id == start.alarm_id
        watcher.wait_for(CameraChanged, 5, state=CameraState.LOST)
        cameras.restart()
        watcher.wait_for(CameraChanged, 15, count=2, state=CameraState.RECORDING)
        again = watcher.wait_alarm("gate", AlarmPhase.START, 20, count=2)
        assert again.alarm_id != start.alarm_id
        cameras.stall("/sub")
        [stalled] = watcher.wait_for(CameraChanged, 6, fault=CameraFault.STALLED)
        assert (stalled.at_us - cameras.sent("/sub")[-1].utc_us_pushed) / US <= 5
        assert watcher.wait_alarm("gate", AlarmPhase.END, 1, count=2).alarm_id == again.alarm_id


def test_told_to_stop_the_watcher_ends_its_open_alarms_first(clips: Path, tmp_path: Path) -> None:
    clip = make_clip(clips / "watch-sub.mp4", seconds=10)
    with WatcherProcess(tmp_path, watched("gate", clip.as_uri())) as watcher:
        start = watcher.wait_alarm("gate", AlarmPhase.START, 15)
        watcher.process.signal(signal.SIGTERM)
        assert watcher.process.wait(6) == 0
        assert watcher.wait_alarm("gate", AlarmPhase.END, 2).alarm_id == start.alarm_id


class _Garbage(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(1000)
        self.request.sendall(bytes(range(256)) * 400)


def test_a_camera_that_sends_garbage_is_reported_and_harms_no_other(clips: Path, tmp_path: Path) -> None:
    clip = make_clip(clips / "watch-sub.mp4", seconds=10)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Garbage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bad = watched("bad", f"rtsp://127.0.0.1:{server.server_address[1]}/x", username="u", password="hush-hush")
        with WatcherProcess(tmp_path, bad, watched("gate", clip.as_uri())) as watcher:
            wait_until(
                lambda: [one for one in watcher.of(CameraChanged) if one.camera == "bad" and one.fault], 20, "a fault"
            )
            watcher.wait_alarm("gate", AlarmPhase.START, 15)
            assert "hush-hush" not in watcher.log() + str(watcher.heard)
        server.shutdown()
