"""The agent as a contractor runs it: its configuration, its process, and the people and tools around it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.buffer.index import Index, Receipt
from edge_agent.clock import SystemClock
from edge_agent.model import CameraId, Gap, Interval, Segment
from edge_agent.trust.age import AgeReader, Identity, load_identities
from edge_agent.trust.command import CommandArgs, sign
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.policy import Role
from edge_agent.uplink.link import LinkSettings, LinkState, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import Health, Reply, Status, decode
from edge_agent.uplink.topics import Topics
from tests.peers import quick
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import ManagedProcess, wait_until

SITE, NODE = "town", "n1"
T = TypeVar("T")
FOREVER = Interval(0, 4_000_000_000_000_000)


@dataclass(frozen=True)
class TestPerson:
    """Somebody with a key."""

    __test__ = False

    id: str
    role: Role
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def toml(self) -> str:
        return (
            f'[[person]]\nid = "{self.id}"\nsurname = "Коваленко"\nname = "Олена"\npatronymic = "Петрівна"\n'
            f'role = "{self.role}"\npublic_key = "{public_key_of(self.key)}"\n'
        )

    def key_file(self, folder: Path) -> str:
        """Where the key lies unsealed, as from a stick."""
        path = folder / f"{self.id}.key"
        form = serialization.PrivateFormat.PKCS8
        path.touch(mode=0o600)
        path.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return str(path)

    def sign(self, args: CommandArgs, **kwargs: Any) -> bytes:
        kwargs = {"audience": f"{SITE}/{NODE}", "now_us": SystemClock().utc_us(), **kwargs}
        return sign(self.key, self.id, args=args, **kwargs)


class RunningAgent:
    """`with RunningAgent(tmp_path, cameras={"gate": url}) as agent:` – runs when entered, ended in order at the end."""

    def __init__(
        self,
        folder: Path,
        cameras: Mapping[str, str],
        *,
        broker: Mosquitto | None = None,
        people: tuple[TestPerson, ...] = (),
        more: str = "",
        camera_lines: str = "",
        archive_lines: str = "",
        segment_s: int = 5,
        node: str = NODE,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.archive = self.data / "archive"
        self.socket = self.data / "agent.sock"
        self.config = folder / "edge-agent.toml"
        lines = [f'site = "{SITE}"\nnode = "{node}"\ndata = "data"\nhealth_every_s = 1\n']
        lines += [f"[archive]\nsegment_s = {segment_s}\nflush_s = 1\n{archive_lines}\n[retention]\nmin_free = 0\n"]
        lines += [f'[[camera]]\nid = "{name}"\nurl = "{url}"\n{camera_lines}\n' for name, url in cameras.items()]
        if broker is not None:
            own = broker.authority.issue(f"node-{node}")
            lines.append(
                f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.tls_port}\nca_file = "{broker.authority.ca_file}"\n'
                f'cert_file = "{own.cert_file}"\nkey_file = "{own.key_file}"\n'
            )
        lines += [person.toml() for person in people]
        self.config.write_text("\n".join([*lines, more]), encoding="utf-8")
        self._process: ManagedProcess | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "edge_agent", "run", "--config", str(self.config)]
        self._process = ManagedProcess(command, self.folder / "agent.log", grace_s=20)

    @property
    def process(self) -> ManagedProcess:
        assert self._process is not None
        return self._process

    def log(self) -> str:
        return self.process.text()

    def stop(self) -> int:
        """In order."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(20)

    def child(self, name: str) -> psutil.Process | None:
        """The recorder, watcher or exporter, when it runs."""
        try:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                if any(f".{name}" in part for part in process.cmdline()):
                    return process
        except psutil.NoSuchProcess:
            return None
        return None

    def kill_child(self, name: str) -> int:
        """SIGKILL; the pid it had."""
        process = wait_until(lambda: self.child(name), 20, f"the {name} runs")
        process.kill()
        return process.pid

    def listens(self) -> bool:
        """Who speaks to it at the node is heard: it records a moment earlier."""
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.socket)) == 0

    def recording(self, *cameras: str) -> bool:
        """Something of each camera is on disk, in a file that is being written."""
        return all(
            any(
                path.stat().st_mode & 0o200 and path.stat().st_size > 0 for path in self.archive.glob(f"{name}/*/*.age")
            )
            for name in cameras
        )

    def segments(self, camera: str) -> list[Segment]:
        """What the index holds; nothing while the agent has not made it."""
        return self._ask(lambda index: index.segments(CameraId(camera), FOREVER))

    def gaps(self, camera: str) -> list[Gap]:
        return self._ask(lambda index: index.gaps(CameraId(camera), FOREVER))

    def receipts(self, camera: str) -> list[Receipt]:
        return self._ask(lambda index: index.receipts(CameraId(camera), FOREVER))

    def _ask(self, question: Callable[[Index], list[T]]) -> list[T]:
        if not (self.data / "journal.jsonl").exists():
            return []  # the agent makes its index before it journals its start
        index = Index(self.data / "index.sqlite", SystemClock(), read_only=True)
        try:
            return question(index)
        finally:
            index.close()

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.data / "journal.jsonl").read_bytes().splitlines()]

    def identities(self) -> list[Identity]:
        return load_identities(self.data / "keys" / "node.age")

    def unsealed(self, segment: Segment) -> bytes:
        """The plain fragmented MP4, up to a tear."""
        with (self.archive / segment.path).open("rb") as file:
            return AgeReader(file, self.identities()).readall() or b""

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """`edge-agent …` as a person at the node."""
        return quick.run("edge-agent", arguments, self.environment(), seconds=90)

    def by(self, person: TestPerson, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """The same with the person's own key."""
        return self.cli(*arguments, "--as", person.id, "--key", person.key_file(self.folder))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "edge_agent", *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "EDGE_AGENT_CONFIG": str(self.config), "COLUMNS": "120"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.end()
        if error is not None:
            print("the agent's last words:", *self.log().splitlines()[-40:], sep="\n")


class Dispatcher:
    """Somebody at the centre, who hears everything of the node over TLS, and sends commands."""

    def __init__(self, broker: Mosquitto) -> None:
        certificate = broker.authority.issue("dispatcher")
        self.received: list[tuple[int, Received]] = []
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self.settings = LinkSettings(
            "127.0.0.1",
            broker.tls_port,
            "dispatcher",
            ca_file=broker.authority.ca_file,
            cert_file=certificate.cert_file,
            key_file=certificate.key_file,
            first_delay_s=0.1,
        )
        self.topics = Topics(SITE, NODE)
        self.link = Link(self.settings, self._clock, self._hear, self._state)
        self.link.subscribe(f"{self.topics.base}/#")

    def __enter__(self) -> Self:
        self.link.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.link.stop(1)

    def on(self, topic: str) -> list[tuple[int, Received]]:
        """What came on a topic, with the time it came (UTC µs)."""
        with self._lock:
            return [entry for entry in self.received if entry[1].topic == topic]

    def under(self, prefix: str) -> list[tuple[int, Received]]:
        with self._lock:
            return [entry for entry in self.received if entry[1].topic.startswith(prefix)]

    def health(self) -> Health | None:
        found = self.on(self.topics.health)
        return decode(Health, found[-1][1].payload) if found else None

    def status(self) -> Status | None:
        found = self.on(self.topics.status)
        return decode(Status, found[-1][1].payload) if found else None

    def replies(self, request: str) -> list[Reply]:
        return [decode(Reply, received.payload) for _, received in self.on(self.topics.reply(request))]

    def command(self, token: bytes, request: str, seconds: float = 30) -> Reply:
        """Send and wait for the last word."""
        self.link.publish(self.topics.command, token)
        return self.last_word(request, seconds)

    def last_word(self, request: str, seconds: float = 30) -> Reply:
        def final() -> Reply | None:
            return next((reply for reply in self.replies(request) if reply.state.final), None)

        return wait_until(final, seconds, f"a final reply to {request}")

    def _hear(self, received: Received) -> None:
        with self._lock:
            self.received.append((self._clock.utc_us(), received))

    def _state(self, _state: LinkState) -> None:
        pass
