"""Which nodes there are: those that the broker has a retained status of, and those that the desk remembers.

A hostile broker can hide nodes, but none that was ever asked: they are remembered, and then do not answer.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable

from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.uplink.link import LinkSettings, LinkState, Phase, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.topics import TopicKind, Topics, parse, subscription

MOST_NODES = 1000
CONNECT_S = 15.0
QUIET_S = 1.0
"""Retained messages come at once; after so long without one they have all come."""
LONGEST_S = 10.0
_LEAVE_S = 1.0
_QUEUED = 5000


def known_nodes(settings: LinkSettings, clock: Clock, remembered: Iterable[Topics]) -> list[Topics]:
    """In order of their names; UplinkError when the broker can't be reached."""
    found = {(node.site, node.node) for node in remembered}
    events: queue.Queue[Received | LinkState] = queue.Queue(_QUEUED)

    def put(event: Received | LinkState) -> None:
        try:
            events.put_nowait(event)
        except queue.Full:
            return  # a flood: the broker may be hostile, this memory is ours

    link = Link(settings, clock, put, put)
    link.subscribe(subscription(TopicKind.STATUS))
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
                case Received(topic=topic) if len(found) < MOST_NODES:
                    try:
                        address = parse(topic)
                    except ValueError:
                        continue
                    found.add((address.site, address.node))
    finally:
        link.stop(_LEAVE_S)
    if not connected:
        raise UplinkError(reason)
    return [Topics(site, node) for site, node in sorted(found)]
