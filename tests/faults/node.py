"""A whole agent for the fault tests, its data on the disk that is about to fail."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.model import AlarmPhase, CameraFault, CameraId, CameraState, Segment
from edge_agent.trust.age import load_identities
from edge_agent.uplink.payloads import AlarmMessage, CameraReport, Reply, decode
from tests.faults.restart import Restarted, restart
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

FLUSH_S = 1
CHUNK_BYTES = 64 << 10
FRAGMENT_S = 1.0
"""What gathers in the socket (0.75 s) and in the open fragment (0.25 s)."""
BUSY_S = 0.7
"""What a busy machine adds."""


def node_on(
    folder: Path,
    data: Path,
    cameras: Mapping[str, str],
    *,
    segment_s: int = 3,
    more: str = "",
    broker: Mosquitto | None = None,
    people: tuple[TestPerson, ...] = (),
) -> RunningAgent:
    """Its configuration, log and socket stay in `folder`, off the disk in question."""
    agent = RunningAgent(folder, cameras, segment_s=segment_s, more=more, broker=broker, people=people)
    text = agent.config.read_text(encoding="utf-8")
    text = text.replace('data = "data"', f'data = "{data}"\nsocket = "{folder}/s"\nidentity_file = "{folder}/node.age"')
    agent.config.write_text(text, encoding="utf-8")
    agent.data, agent.archive, agent.socket = data, data / "archive", folder / "s"
    return agent


def stated_loss_s(bitrate: float) -> float:
    """What `docs/archive.md` says that a power cut costs, at so many sealed bytes a second."""
    return FLUSH_S + FRAGMENT_S + CHUNK_BYTES / bitrate + BUSY_S


def camera_of(path: str) -> CameraId | None:
    """Of a path relative to the data folder, when it is a recording's."""
    name = SegmentName.parse(path.removeprefix("archive/"))
    return name.camera if name else None


def command(agent: RunningAgent, token: bytes) -> Reply:
    """The last word of the node's own socket to a signed command."""
    wait_until(agent.listens, 30, "the agent listens")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(agent.socket))
        connection.sendall(token + b"\n")
        with connection.makefile("rb") as lines:
            return [decode(Reply, line) for line in lines][-1]


def end_at_once(agent: RunningAgent) -> None:
    """SIGKILL to the agent and all its children, as a power cut ends them."""
    children = [child for name in ("recorder", "watcher", "exporter") if (child := agent.child(name))]
    agent.process.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):  # it went with its agent
            child.kill()
            child.wait(10)


def restarted_copy(agent: RunningAgent, scratch: Path) -> Restarted:
    """What a start would find and recover, tried on a copy with all names, times and modes."""
    copy = scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(agent.data, copy, ignore=shutil.ignore_patterns("lost+found"))
    return restart(copy, load_identities(agent.folder / "node.age"), SystemClock())


def indexed(agent: RunningAgent, cameras: Iterable[str]) -> dict[str, Segment]:
    """By path, what the agent has entered."""
    return {segment.path: segment for camera in cameras for segment in agent.segments(camera)}


class Watched:
    """What the centre sees of the node, and whether its processes are still the same."""

    def __init__(self, agent: RunningAgent, dispatcher: Dispatcher) -> None:
        self._agent, self._dispatcher, self._clock = agent, dispatcher, SystemClock()

    def report(self) -> CameraReport | None:
        health = self._dispatcher.health()
        fresh = health is not None and health.at_us > self._clock.utc_us() - 3 * US
        return health.cameras["gate"] if health and fresh else None

    def fault(self) -> CameraFault | None:
        report = self.report()
        return report.fault if report and report.state is CameraState.LOST else None

    def records(self) -> bool:
        report = self.report()
        return report is not None and report.state is CameraState.RECORDING

    def phases(self) -> list[AlarmPhase]:
        """Of the camera's alarms that it is lost."""
        heard = self._dispatcher.on(self._dispatcher.topics.alarm("gate"))
        alarms = [decode(AlarmMessage, received.payload) for _, received in heard]
        return [alarm.phase for alarm in alarms if alarm.nature == "lost"]

    def pids(self) -> list[int]:
        recorder = self._agent.child("recorder")
        return [self._agent.process.pid, recorder.pid if recorder else 0]
