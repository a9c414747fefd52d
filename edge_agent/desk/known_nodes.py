"""Which nodes there are: those that the broker has a retained status of, and those that the desk remembers.

A hostile broker can hide nodes, but none that was ever asked: they are remembered, and then do not answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge_agent.clock import Clock
from edge_agent.desk.retained import retained
from edge_agent.uplink.link import LinkSettings
from edge_agent.uplink.topics import TopicKind, Topics, parse, subscription

MOST_NODES = 1000


def known_nodes(settings: LinkSettings, clock: Clock, remembered: Iterable[Topics]) -> list[Topics]:
    """In order of their names; UplinkError when the broker can't be reached."""
    found = {(node.site, node.node) for node in remembered}
    for topic in retained(settings, clock, [subscription(TopicKind.STATUS)]):
        try:
            address = parse(topic)
        except ValueError:
            continue
        if len(found) < MOST_NODES:
            found.add((address.site, address.node))
    return [Topics(site, node) for site, node in sorted(found)]
