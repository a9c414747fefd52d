"""The watcher under test: its process, started as the agent starts it, and what a scene knows of the truth."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Self, cast

import av
import numpy as np
from numpy.typing import NDArray

from edge_agent.capture import nal
from edge_agent.capture.source import VIDEO, Packet
from edge_agent.capture.watch_job import WATCHER_JOB, WatchedCamera, WatcherJob
from edge_agent.clock import US
from edge_agent.demo.scene import Actor, Crossing, StreetScene
from edge_agent.messages import AlarmRaised
from edge_agent.model import Alarm, AlarmPhase, Box, CameraId
from tests.capture.support import RecorderProcess
from tests.peers.cameras import CameraServer
from tests.peers.support import ManagedProcess, wait_until

__all__ = [
    "EmptyStreet",
    "WatcherProcess",
    "apart_deg",
    "best_overlap",
    "coded",
    "opened_jpeg",
    "overlap",
    "truth_at",
    "watched",
]


class WatcherProcess(RecorderProcess):
    """`with WatcherProcess(folder, camera, …) as watcher:`"""

    def __init__(self, folder: Path, *cameras: WatchedCamera) -> None:
        self.heard = []
        self._cameras = cameras
        self._folder = folder

    def __enter__(self) -> Self:
        self.process = ManagedProcess(
            [sys.executable, "-m", "edge_agent.capture.watcher"], self._folder / "watcher.log", stdin=True, stdout=True
        )
        self.process.stdin.write(WATCHER_JOB.encode(WatcherJob(self._cameras)) + b"\n")
        self.process.stdin.flush()
        self.process.hear(self._take)
        return self

    def alarms(self, camera: str, phase: AlarmPhase | None = None) -> list[Alarm]:
        """So far, in the order of arrival."""
        return [
            message.alarm
            for message in self.of(AlarmRaised)
            if message.alarm.camera == camera and phase in (None, message.alarm.phase)
        ]

    def wait_alarm(self, camera: str, phase: AlarmPhase, seconds: float, count: int = 1) -> Alarm:
        """The `count`-th alarm message of this phase."""
        wait_until(
            lambda: len(self.alarms(camera, phase)) >= count, seconds, f"alarm {phase} of {camera}; log: {self.log()}"
        )
        return self.alarms(camera, phase)[count - 1]


class EmptyStreet(StreetScene):
    """The same street and weather, but nobody comes."""

    def _present(self, _at_s: float) -> list[Crossing]:
        return []


def coded(
    pictures: Iterable[NDArray[np.uint8]], fps: int, group: int, bit_rate: int = 512_000, **options: str
) -> list[Packet]:
    """H.264 at constant bitrate, a keyframe every `group` pictures, as if it came in its own time from 0 s on.

    pictures: uint8[360, 640, 3], BGR.
    """
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.bit_rate = 640, 360, "yuv420p", bit_rate
    encoder.framerate, encoder.time_base = Fraction(fps), Fraction(1, fps)
    encoder.options = {"preset": "superfast", "g": str(group), "keyint_min": str(group), "sc_threshold": "0"}
    encoder.options |= {"x264-params": "rc-lookahead=0:sliced-threads=0", "profile": "baseline", **options}
    frames = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = number
        frames += encoder.encode(frame)
    frames += encoder.encode(None)
    return [
        Packet(
            VIDEO, nal.length_prefixed(nal.split(bytes(one))), 0, 0, 0, one.is_keyframe, round(n * US / fps), n / fps
        )
        for n, one in enumerate(frames)
    ]


def watched(name: str, url: str, **more: object) -> WatchedCamera:
    return WatchedCamera(CameraId(name), url, **more)  # type: ignore[arg-type]


def truth_at(server: CameraServer, mount: str, scene: StreetScene, clip_frames: int, at_us: int) -> list[Actor]:
    """Who was to be seen in the last picture that the mount sent before `at_us`."""
    sent = [frame for frame in server.sent(mount) if frame.utc_us_pushed <= at_us]
    return scene.truth(sent[-1].index % clip_frames)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    common = max(0.0, width) * max(0.0, height)
    return common / (a.width * a.height + b.width * b.height - common)


def best_overlap(box: Box | None, actors: list[Actor]) -> float:
    return max((overlap(box, actor.box) for actor in actors if box), default=0.0)


def apart_deg(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def opened_jpeg(data: bytes, folder: Path) -> NDArray[np.uint8]:
    """uint8[h, w, 3] RGB, by a decoder that did not make it."""
    path = folder / "alarm.jpg"
    path.write_bytes(data)
    with av.open(str(path)) as container:
        return cast("NDArray[np.uint8]", next(container.decode(video=0)).to_ndarray(format="rgb24"))
