"""What a broker keeps of some topics, read once."""

from __future__ import annotations

import queue
from collections.abc import Iterable

from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.uplink.link import LinkSettings, LinkState, Phase, Received
from edge_agent.uplink.mqtt import Link

MOST_MESSAGES = 4000
CONNECT_S = 15.0
QUIET_S = 1.0
"""Retained messages come at once; after so long without one they have all come."""
LONGEST_S = 10.0
_LEAVE_S = 1.0
_QUEUED = 5000


def retained(settings: LinkSettings, clock: Clock, filters: Iterable[str]) -> dict[str, bytes]:
    """By topic; UplinkError when the broker can't be reached."""
    found: dict[str, bytes] = {}
    events: queue.Queue[Received | LinkState] = queue.Queue(_QUEUED)

    def put(event: Received | LinkState) -> None:
        try:
            events.put_nowait(event)
        except queue.Full:
            return  # a flood: the broker may be hostile, this memory is ours

    link = Link(settings, clock, put, put)
    for topics in filters:
        link.subscribe(topics)
    began = clock.monotonic()
    connected, reason = False, f"{settings.where}: the broker does not answer"
    link.start()
    try:
        while clock.monotonic() - began < (LONGEST_S if connected else CONNECT_S):
            try:
                event = events.get(timeout=QUIET_S)
            except queue.Empty:
                if connected:
                    break
                continue
            match event:
                case LinkState(phase=Phase.ONLINE) if not connected:
                    connected, began = True, clock.monotonic()
                case LinkState(phase=Phase.OFFLINE):
                    reason = event.reason or reason
                case Received(topic=topic, payload=payload) if topic in found or len(found) < MOST_MESSAGES:
                    found[topic] = payload
    finally:
        link.stop(_LEAVE_S)
    if not connected:
        raise UplinkError(reason)
    return found
