"""A whole agent for the fault tests, its data on the disk that is about to fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_agent.buffer.segments import SegmentName
from edge_agent.model import CameraId
from tests.peers.agent import RunningAgent

FLUSH_S = 1
CHUNK_BYTES = 64 << 10
FRAGMENT_S = 1.0
IN_FLIGHT_S = 0.7
"""Packets not yet written (0.2 s), and what a busy machine adds."""


def node_on(
    folder: Path, data: Path, cameras: Mapping[str, str], *, segment_s: int = 3, more: str = ""
) -> RunningAgent:
    """Its configuration, log and socket stay in `folder`, off the disk in question."""
    agent = RunningAgent(folder, cameras, segment_s=segment_s, more=more)
    text = agent.config.read_text(encoding="utf-8")
    text = text.replace('data = "data"', f'data = "{data}"\nsocket = "{folder}/s"\nidentity_file = "{folder}/node.age"')
    agent.config.write_text(text, encoding="utf-8")
    agent.data, agent.archive = data, data / "archive"
    return agent


def stated_loss_s(bitrate: float) -> float:
    """What `docs/archive.md` says that a power cut costs, at so many sealed bytes a second."""
    return FLUSH_S + FRAGMENT_S + CHUNK_BYTES / bitrate + IN_FLIGHT_S


def camera_of(path: str) -> CameraId | None:
    """Of a path relative to the data folder, when it is a recording's."""
    name = SegmentName.parse(path.removeprefix("archive/"))
    return name.camera if name else None
