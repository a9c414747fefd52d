"""A whole agent with real cameras: nothing sent is lost, whatever dies."""

from __future__ import annotations

import itertools
import signal
import stat
from pathlib import Path

from edge_agent.model import GapCause
from tests.end_to_end.media import digests, opened, probe_errors
from tests.peers.agent import RunningAgent
from tests.peers.cameras import CameraServer, compare
from tests.peers.support import wait_until


def test_every_frame_of_four_cameras_is_in_the_archive_and_opens_with_age(
    tmp_path: Path, street_h264: Path, street_h265: Path
) -> None:
    mounts = {"/a": street_h264, "/b": street_h265, "/c": street_h264, "/d": street_h265}
    with CameraServer(mounts, folder=tmp_path / "cameras") as server:
        cameras = {mount[1:]: server.url(mount) for mount in mounts}
        with RunningAgent(tmp_path, cameras, segment_s=3) as agent:
            wait_until(lambda: all(len(agent.segments(c)) >= 3 for c in cameras), 30, "three files of each camera")
            assert agent.stop() == 0
        for name in cameras:
            codec = "h264" if name in "ac" else "h265"
            segments = agent.segments(name)
            movies = [opened(agent.archive / s.path, agent.data / "keys" / "node.age", tmp_path) for s in segments]
            result = compare(server.sent(f"/{name}"), digests(movies, codec))
            assert result.foreign == []
            assert result.missing == [], name
            assert [error for movie in movies if (error := probe_errors(movie))] == []
            assert agent.gaps(name) == []
            for earlier, later in itertools.pairwise(segments):
                assert abs(later.start_us - earlier.end_us) < 100_000
            modes = {stat.S_IMODE((agent.archive / s.path).stat().st_mode) for s in segments}
            assert modes == {0o440}


def test_a_killed_recorder_is_back_within_a_second_and_what_it_left_is_kept(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    with RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=60) as agent:
        wait_until(lambda: agent.recording("gate"), 20, "recording")
        wait_until(
            lambda: any(p.stat().st_size > 100_000 for p in agent.archive.glob("gate/*/*.age")), 20, "some footage"
        )
        killed = agent.kill_child("recorder")
        wait_until(lambda: (child := agent.child("recorder")) and child.pid != killed, 2, "a new recorder")
        (torn,) = wait_until(lambda: agent.segments("gate"), 30, "the torn file in the index")
        assert torn.torn
        assert torn.frames
        wait_until(lambda: agent.gaps("gate"), 30, "the gap in the ledger")
        agent.stop()
        (gap,) = agent.gaps("gate")
        assert gap.cause is GapCause.PROCESS
        assert gap.start_us == torn.end_us
        assert agent.segments("gate")[-1].start_us == gap.end_us


def test_a_killed_watcher_costs_no_frame(tmp_path: Path, camera_server: CameraServer) -> None:
    with RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=3) as agent:
        wait_until(lambda: agent.segments("gate"), 20, "a first file")
        killed = agent.kill_child("watcher")
        wait_until(lambda: (child := agent.child("watcher")) and child.pid != killed, 5, "a new watcher")
        count = len(agent.segments("gate"))
        wait_until(lambda: len(agent.segments("gate")) > count + 1, 20, "more files")
        agent.stop()
        segments = agent.segments("gate")
        movies = [opened(agent.archive / s.path, agent.data / "keys" / "node.age", tmp_path) for s in segments]
        assert compare(camera_server.sent("/main"), digests(movies, "h264")).missing == []
        assert agent.gaps("gate") == []


def test_a_killed_agent_leaves_no_orphan_and_its_files_are_closed_by_the_recorder(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    with RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=60) as agent:
        wait_until(lambda: agent.recording("gate"), 20, "recording")
        recorder = agent.child("recorder")
        watcher = agent.child("watcher")
        assert recorder is not None
        assert watcher is not None
        agent.process.signal(signal.SIGKILL)
        wait_until(lambda: not recorder.is_running() and not watcher.is_running(), 30, "the children end")
        agent.start()
        wait_until(lambda: len(agent.segments("gate")) >= 1 and agent.recording("gate"), 20, "recording again")
        agent.stop()
        first, *_ = agent.segments("gate")
        assert not first.torn, "the recorder closed its file in order when the agent died"
        assert {gap.cause for gap in agent.gaps("gate")} <= {GapCause.NODE_OFF, GapCause.PROCESS}
        assert agent.gaps("gate")


def test_an_unreachable_camera_and_a_wrong_password_disturb_nobody(
    tmp_path: Path, street_h264: Path, camera_server: CameraServer
) -> None:
    with CameraServer({"/main": street_h264}, login=("agent", "right"), folder=tmp_path / "locked") as locked:
        secret = tmp_path / "secret"
        secret.touch(mode=0o600)
        secret.write_text("hunter2\n")
        cameras = {"good": camera_server.url("/main"), "away": "rtsp://127.0.0.1:9/main"}
        more = (
            f'[[camera]]\nid = "locked"\nurl = "{locked.url("/main", with_login=False)}"\n'
            f'username = "agent"\npassword_file = "{secret}"\n'
        )
        with RunningAgent(tmp_path, cameras, more=more, segment_s=3) as agent:
            wait_until(lambda: len(agent.segments("good")) >= 2, 30, "the good camera is recorded")
            wait_until(lambda: "camera locked: lost" in agent.log(), 20, "the wrong password is told")
            wait_until(lambda: "camera away: lost" in agent.log(), 20, "the unreachable camera is told")
            agent.stop()
        assert "hunter2" not in agent.log()
        assert agent.gaps("good") == []
