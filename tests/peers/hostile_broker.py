"""A broker that can't be trusted: people talk to one mosquitto, nodes to another, and what stands between them carries
their messages as it likes: drops, doubles, reorders, changes or invents them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.clock import SystemClock
from edge_agent.uplink.link import LinkSettings, LinkState, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.topics import Topics
from tests.peers.mosquitto import Mosquitto, listening

Carry = Callable[[bytes], Iterable[bytes]]
"""What becomes of a message: nothing, itself, several …"""


def honestly(payload: bytes) -> list[bytes]:
    return [payload]


class HostileBroker:
    """`with HostileBroker(folder, [node, …]) as broker:` – `broker.people` and `broker.nodes` are its two faces.

    `command` and `reply` decide what becomes of each; `commands` and `replies` are what came.  `say` invents a reply.
    """

    def __init__(self, folder: Path, nodes: Iterable[Topics]) -> None:
        self.people, self.nodes = Mosquitto(folder / "people"), Mosquitto(folder / "nodes")
        self._topics = list(nodes)
        self.command: Carry = honestly
        self.reply: Carry = honestly
        self.commands: list[bytes] = []
        self.replies: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()

    def behave(self) -> None:
        """From now on, and forget what came."""
        self.command = self.reply = honestly
        with self._lock:
            self.commands, self.replies = [], []

    def say(self, topic: str, payload: bytes) -> None:
        self._up.publish(topic, payload)

    def send(self, node: Topics, token: bytes) -> None:
        self._down.publish(node.command, token)

    def __enter__(self) -> Self:
        self.people.start()
        self.nodes.start()
        self._up = self._link(self.people, self._from_people)
        self._down = self._link(self.nodes, self._from_nodes)
        for node in self._topics:
            self._up.subscribe(node.command)
            for below in ("status", "health", "reply/+"):
                self._down.subscribe(f"{node.base}/{below}")
        self._up.start()
        self._down.start()
        listening(self._up)
        listening(self._down)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._up.stop(1)
        self._down.stop(1)
        self.people.stop()
        self.nodes.stop()

    def _from_people(self, received: Received) -> None:
        with self._lock:
            self.commands.append(received.payload)
        for payload in self.command(received.payload):
            self._down.publish(received.topic, payload)

    def _from_nodes(self, received: Received) -> None:
        if "/reply/" not in received.topic:
            self._up.publish(received.topic, received.payload, retain=True)
            return
        with self._lock:
            self.replies.append((received.topic, received.payload))
        for payload in self.reply(received.payload):
            self._up.publish(received.topic, payload)

    def _link(self, broker: Mosquitto, hear: Callable[[Received], None]) -> Link:
        settings = LinkSettings("127.0.0.1", broker.port, "between", tls=False, first_delay_s=0.1)
        return Link(settings, SystemClock(), hear, _nothing)


def _nothing(_state: LinkState) -> None:
    pass
