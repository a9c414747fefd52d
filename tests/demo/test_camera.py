"""The demonstration's camera as users and the agent meet it: a process, seen by libav."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import av.error
import numpy as np
import psutil
import pytest
from av.video.frame import VideoFrame

from edge_agent.clock import US
from edge_agent.demo.camera import parse_login, shots
from edge_agent.demo.scene import StreetScene
from edge_agent.errors import UsageError
from tests.peers.support import ManagedProcess, free_port, wait_until

OPTIONS = {"rtsp_transport": "tcp", "probesize": "200000", "analyzeduration": "500000"}
COMMAND = [sys.executable, "-m", "edge_agent.demo.camera"]


@dataclass
class Running:
    process: ManagedProcess
    main: str
    sub: str
    port: int


@contextmanager
def camera(folder: Path, *arguments: str) -> Iterator[Running]:
    with ManagedProcess([*COMMAND, *arguments], folder / "camera.log", stdout=True) as process:
        line = process.stdout.readline()
        assert line, process.text()
        told = json.loads(line)
        yield Running(process, told["main"], told["sub"], told["port"])


def pictures(url: str, count: int) -> list[VideoFrame]:
    with av.open(url, options=OPTIONS, timeout=8) as container:
        frames: list[VideoFrame] = []
        for frame in container.decode(video=0):
            frames.append(frame)
            if len(frames) == count:
                break
        return frames


def test_both_mounts_show_the_same_street(tmp_path: Path) -> None:
    with camera(tmp_path) as running:
        main, sub = pictures(running.main, 20), pictures(running.sub, 8)
        scene = StreetScene()
        for frames, size, step in ((main, (1280, 720), 6000), (sub, (640, 360), 18000)):
            assert {(frame.width, frame.height) for frame in frames} == {size}
            stamps = [frame.pts for frame in frames if frame.pts is not None]
            # A busy machine may leave pictures out; it never bends their time.
            assert all(later > earlier and (later - earlier) % step == 0 for earlier, later in pairwise(stamps))
        # The picture is the scene: its upper half, where nobody walks, in grey, without the clock.
        seen = main[-1].to_ndarray(format="gray")[60:330].astype(float)
        meant = scene.frame(0).mean(axis=2)[60:330]
        assert np.corrcoef(seen.ravel(), meant.ravel())[0, 1] > 0.95
        running.process.signal(signal.SIGTERM)
        assert running.process.wait(5) == 0


def test_keyframes_come_every_two_seconds(tmp_path: Path) -> None:
    with camera(tmp_path) as running, av.open(running.main, options=OPTIONS, timeout=8) as container:
        stamps: list[int] = []
        for packet in container.demux(video=0):
            if packet.is_keyframe and packet.pts is not None:
                stamps.append(packet.pts)
            if len(stamps) == 3:
                break
    assert [round((later - earlier) / 90_000, 1) for earlier, later in pairwise(stamps)] == [2, 2]


def test_ffprobe_reads_it_and_it_ends_by_itself(tmp_path: Path) -> None:
    with camera(tmp_path, "--seconds", "9") as running:
        asked = "stream=codec_name,width,height,avg_frame_rate"
        command = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", asked, "-of", "csv=p=0"]
        found = subprocess.run([*command, running.main], capture_output=True, text=True, timeout=30, check=True)
        assert found.stdout.split() == ["h264,1280,720,15/1"]
        assert running.process.wait(20) == 0
        assert "Traceback" not in running.process.text()


def test_a_login_keeps_strangers_out(tmp_path: Path) -> None:
    with camera(tmp_path, "--login", "eye:s3cret") as running:
        assert "s3cret" not in running.main
        assert pictures(running.main.replace("//", "//eye:s3cret@"), 2)
        for wrong in (running.main, running.main.replace("//", "//eye:guess@")):
            with pytest.raises(av.error.HTTPUnauthorizedError):
                pictures(wrong, 1)


def test_it_dies_with_whoever_started_it(tmp_path: Path) -> None:
    starter = f"import subprocess, sys; subprocess.Popen({COMMAND!r}).wait()"
    with ManagedProcess([sys.executable, "-c", starter], tmp_path / "starter.log", stdout=True) as parent:
        assert json.loads(parent.stdout.readline())["port"]
        (child,) = psutil.Process(parent.pid).children()
        parent.popen.kill()
        wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 30, "the camera ended")


def test_mistakes_are_said_in_one_line(tmp_path: Path) -> None:
    for text in ("eye", "eye:", ":x", 'a"b:c'):
        with pytest.raises(UsageError, match="user:password expected"):
            parse_login(text)
    wrong = subprocess.run([*COMMAND, "--login", "eye"], capture_output=True, text=True, timeout=30, check=False)
    assert (wrong.returncode, wrong.stderr) == (64, "--login: user:password expected\n")
    with camera(tmp_path) as running:
        command = [*COMMAND, "--port", str(running.port)]
        taken = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert taken.returncode == 75
    assert taken.stderr.startswith(f"cannot listen on 127.0.0.1:{running.port}")
    assert taken.stderr.count("\n") == 1


def test_it_serves_on_the_port_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    with camera(tmp_path, "--port", str(port)) as running:
        assert running.port == port


@dataclass
class SlowMachine:
    """A clock on which every look at the wall clock costs 130 ms, as if each picture took that long to make."""

    now_s: float = 0.0
    cost_s: float = 0.13
    waits: list[float] = field(default_factory=list)

    def utc_us(self) -> int:
        now_us = round(self.now_s * US)
        self.now_s += self.cost_s
        return now_us

    def monotonic(self) -> float:
        return self.now_s

    def synchronised(self) -> bool:
        return True

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_s += seconds
        return event.is_set()


def test_a_slow_machine_makes_fewer_pictures_with_true_times() -> None:
    clock, stop = SlowMachine(), threading.Event()
    made = []
    for shot in shots(StreetScene(), clock, stop):
        made.append(shot)
        if len(made) == 30:
            break
    main = [shot.coded["/main"] for shot in made]
    assert made[-1].number > 50, "frames were left out"
    began_us = main[0].utc_us
    for coded in main[1:]:
        # At most one frame and one picture's making apart.
        assert abs(coded.timestamp / 90_000 - (coded.utc_us - began_us) / US) < 0.2
    keyframes = [coded.timestamp // 180_000 for coded in main if coded.keyframe]
    assert keyframes == list(range(len(keyframes)))
    assert len(keyframes) >= 2
    assert sum("/sub" in shot.coded for shot in made) >= made[-1].number // 3 * 0.7


def test_a_fast_machine_makes_every_picture_and_waits_between() -> None:
    clock, stop = SlowMachine(cost_s=0.001), threading.Event()
    filming = shots(StreetScene(), clock, stop)
    made = [next(filming) for _ in range(31)]
    assert [shot.number for shot in made] == list(range(31))
    assert [shot.number for shot in made if "/sub" in shot.coded] == list(range(0, 31, 3))
    assert [shot.number for shot in made if shot.coded["/main"].keyframe] == [0, 30]
    assert len(clock.waits) >= 29
    stop.set()
    began = time.monotonic()
    assert list(filming) == []
    assert time.monotonic() - began < 1
