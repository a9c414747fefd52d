"""Further ways of saying the same on the broker, for consumers that people already run (Home Assistant, ONVIF).

A companion turns what the node says anyway into publications; the node's link sends them.  All of it is owned by the
agent's main thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from edge_agent.model import AlarmPhase
from edge_agent.uplink.link import Received
from edge_agent.uplink.payloads import AlarmMessage


@dataclass(frozen=True, slots=True)
class Publication:
    """One message; `kept` says that it must arrive and waits in the outbox until it has, among those of `lane`."""

    topic: str
    payload: bytes
    retain: bool = False
    kept: bool = False
    lane: str = ""


class Companion(Protocol):
    """One such way."""

    filters: tuple[str, ...]
    """What it wants to hear."""

    def online(self) -> Iterable[Publication]:
        """After every connect: all that is retained, as it is now."""
        ...

    def alarm(self, message: AlarmMessage) -> Iterable[Publication]:
        """One step of an alarm."""
        ...

    def heard(self, message: Received) -> Iterable[Publication] | None:
        """What to answer; None when the message is not for this companion."""
        ...


class OpenAlarms:
    """Which alarms of which camera go on, by their last message."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, AlarmMessage]] = {}

    def hear(self, message: AlarmMessage) -> None:
        of_camera = self._open.setdefault(message.camera, {})
        if message.phase is AlarmPhase.END:
            of_camera.pop(message.alarm_id, None)
        else:
            of_camera[message.alarm_id] = message

    def of(self, camera: str) -> list[AlarmMessage]:
        """Oldest first."""
        return sorted(self._open.get(camera, {}).values(), key=lambda message: message.started_us)
