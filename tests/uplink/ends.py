"""What the uplink's tests share: a link that writes down what happens to it, and an embedded 3.1.1-only broker."""

from __future__ import annotations

import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_agent.clock import SystemClock
from edge_agent.uplink.link import LinkSettings, LinkState, Phase, Received
from edge_agent.uplink.mqtt import Link
from tests.peers.mosquitto import Mosquitto, listening
from tests.peers.support import ManagedProcess, free_port, wait_until


class RecordingLink:
    """A link and everything it said; `with` starts and stops it."""

    def __init__(self, settings: LinkSettings) -> None:
        self._lock = threading.Lock()
        self._messages: list[Received] = []
        self.arrivals: list[float] = []
        """When each message came, by `time.perf_counter`."""
        self._states: list[LinkState] = []
        self.link = Link(settings, SystemClock(), self._message, self._state)

    @property
    def messages(self) -> list[Received]:
        with self._lock:
            return list(self._messages)

    @property
    def states(self) -> list[LinkState]:
        with self._lock:
            return list(self._states)

    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def online(self, seconds: float = 15) -> Self:
        wait_until(lambda: self.link.state.phase is Phase.ONLINE, seconds, f"online: {self.states}")
        return self

    def hears(self, topic_filter: str) -> Self:
        """Subscribed, and the broker knows it."""
        self.online().link.subscribe(topic_filter)
        listening(self.link)
        return self

    def received(self, count: int, seconds: float = 10) -> list[Received]:
        wait_until(lambda: len(self.messages) >= count, seconds, f"{count} messages")
        return self.messages

    def says(self, words: str, seconds: float = 15) -> None:
        wait_until(lambda: any(words in state.reason for state in self.states), seconds, f"{words!r}: {self.states}")

    def __enter__(self) -> Self:
        self.link.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.link.stop(1.0)

    def _message(self, message: Received) -> None:
        with self._lock:
            self.arrivals.append(time.perf_counter())
            self._messages.append(message)

    def _state(self, state: LinkState) -> None:
        with self._lock:
            self._states.append(state)


def plain(port: int, client_id: str, **more: Any) -> LinkSettings:
    """A link without TLS to a port of this machine, impatient."""
    settings = LinkSettings("127.0.0.1", port, client_id, tls=False, first_delay_s=0.1, longest_delay_s=0.5)
    return replace(settings, **more)


def secured(broker: Mosquitto, client_id: str, **more: Any) -> LinkSettings:
    """A link with mutual TLS, impatient."""
    own = broker.authority.issue(client_id)
    settings = plain(
        broker.tls_port,
        client_id,
        tls=True,
        ca_file=broker.authority.ca_file,
        cert_file=own.cert_file,
        key_file=own.key_file,
    )
    return replace(settings, **more)


_AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def serve(port):
    await Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }).start()
    await asyncio.Event().wait()
asyncio.run(serve(int(sys.argv[1])))
"""


class Amqtt:
    """amqtt, which speaks MQTT 3.1.1 only."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: ManagedProcess | None = None

    def __enter__(self) -> Self:
        self._process = ManagedProcess(
            [sys.executable, "-c", _AMQTT, str(self.port)], self._folder / "amqtt.log", grace_s=1.0
        )
        wait_until(self._listens, 20, "amqtt")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.end()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
