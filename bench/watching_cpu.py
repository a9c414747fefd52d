"""What watching costs: the product's watcher process and Motion on the same live streams, in the same seconds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.report import Figure
from bench.scenes.catalogue import scene
from bench.scenes.clips import clip
from bench.watching_peers import Watched, motion
from edge_agent.capture.watch_job import WATCHER_JOB, WatchedCamera, WatcherJob
from edge_agent.clock import SystemClock
from edge_agent.model import CameraId
from tests.peers.cameras import CameraServer
from tests.peers.support import wait_until

IDLE, BUSY = "calm day", "crowd"
SETTLES_S = 16.0
"""Opening, probing and learning are not watching, and a scene is idle after some seconds only."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Percent of a core for a camera."""

    product: float
    motion: float


@contextlib.contextmanager
def watcher(folder: Path, urls: Sequence[str], fps: float) -> Iterator[psutil.Process]:
    """The product's watcher process, as the agent starts it; what it tells goes to `folder/messages`."""
    cameras = tuple(WatchedCamera(CameraId(f"cam{number}"), url, fps=fps) for number, url in enumerate(urls))
    with (folder / "messages").open("wb") as messages, (folder / "watcher.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent.capture.watcher"], stdin=subprocess.PIPE, stdout=messages, stderr=log
        )
    assert process.stdin is not None
    process.stdin.write(WATCHER_JOB.encode(WatcherJob(cameras)) + b"\n")
    process.stdin.flush()
    try:
        yield psutil.Process(process.pid)
    finally:
        process.stdin.close()
        process.wait(20)


def costs(name: str, seed: int, cameras: int, seconds: float, fps: float, folder: Path) -> Costs:
    """Both at once on streams of their own kind: the machine's other load is the same for both."""
    path = clip(scene(name, seed), seed)
    mounts = {f"/cam{number}": path for number in range(cameras)}
    folder.mkdir()
    with CameraServer(mounts, folder=folder / "server") as server:
        urls = [server.url(mount) for mount in mounts]
        peers = [Watched(f"cam{number}", url) for number, url in enumerate(urls)]
        with watcher(folder, urls, fps) as product, motion(folder, peers) as peer:
            wait_until(lambda: server.clients_seen >= 2 * cameras, 60, "both watch")
            never, clock = threading.Event(), SystemClock()
            clock.wait(never, SETTLES_S)
            before, began = [sum(one.cpu_times()[:2]) for one in (product, peer)], clock.monotonic()
            clock.wait(never, seconds)
            after, passed = [sum(one.cpu_times()[:2]) for one in (product, peer)], clock.monotonic() - began
            ours, theirs = (100 * (b - a) / passed / cameras for a, b in zip(before, after, strict=True))
    return Costs(ours, theirs)


def measure(seed: int, cameras: int, seconds: float, fps: float, folder: Path) -> list[Figure]:
    found = []
    for what, name, goal in (("busy", BUSY, 0.5), ("idle", IDLE, 0.25)):
        cost = costs(name, seed, cameras, seconds, fps, folder / what)
        ratio = round(cost.product / cost.motion, 3)
        found += [
            Figure(f"watcher / Motion CPU, {what}", ratio, "ratio", f"<= {goal:g}", ratio <= goal),
            Figure(f"watcher CPU of a camera, {what}", round(cost.product, 2), "% of a core"),
            Figure(f"Motion CPU of a camera, {what}", round(cost.motion, 2), "% of a core"),
        ]
    return found
