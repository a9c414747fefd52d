"""How long after the deciding picture was received an alarm is at a subscriber: camera, agent, mosquitto over TLS.

The agent's own `at_us` of a START is when it received the picture that decided (node and subscriber share a clock
here); the rest is decoding, deciding, drawing, the outbox on disk, the broker and the subscriber.  All cameras show
the same at the same time, so that their alarms come at once, which is the hardest for 16 of them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from bench.report import Figure
from bench.scenes.catalogue import scene
from bench.scenes.clips import clip
from edge_agent.clock import US, SystemClock
from edge_agent.model import AlarmPhase
from edge_agent.uplink.payloads import AlarmMessage, decode
from tests.peers.agent import Dispatcher, RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

SCENE = "vehicles"
"""Two alarms in half a minute."""


def delays_s(seed: int, cameras: int, seconds: float, folder: Path) -> list[float]:
    """Of every START that came, in order of arrival."""
    folder.mkdir()
    path = clip(scene(SCENE, seed), seed)
    with CameraServer({"/street": path}, folder=folder / "server") as server, Mosquitto(folder) as broker:
        url = server.url("/street")
        urls = {f"cam{number}": url for number in range(cameras)}
        agent = RunningAgent(folder, urls, broker=broker, camera_lines=f'sub_url = "{url}"')
        with Dispatcher(broker) as dispatcher, agent:
            heard = [dispatcher.topics.alarm(name) for name in urls]
            wait_until(lambda: any(dispatcher.on(topic) for topic in heard), 120, "a first alarm")
            SystemClock().wait(threading.Event(), seconds)
            came = [entry for topic in heard for entry in dispatcher.on(topic)]
    messages = [(at_us, decode(AlarmMessage, received.payload)) for at_us, received in came]
    return [
        (at_us - message.at_us) / US
        for at_us, message in sorted(messages, key=lambda entry: entry[0])
        if message.phase is AlarmPhase.START
    ]


def percentile(values: Sequence[float], part: float) -> float:
    """The least value that so much of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def latency(seed: int, seconds: float, folder: Path) -> list[Figure]:
    found = []
    for cameras in (1, 16):
        delays = delays_s(seed, cameras, seconds, folder / f"latency{cameras}")
        middle, late = (round(percentile(delays, part), 3) for part in (0.5, 0.99))
        found += [
            Figure(f"alarm at the subscriber, {cameras} cameras, p50", middle, "s", "<= 0.5", middle <= 0.5),
            Figure(f"… p99 of {len(delays)}", late, "s", "<= 1", late <= 1),
        ]
    return found
