"""A real Home Assistant on loopback, without its front end, whose MQTT integration listens to a broker of the test."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.support import ManagedProcess, free_port, wait_until

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".cache/ha-venv/bin/python"
DRIVER = Path(__file__).with_name("home_assistant_driver.py")


@dataclass(frozen=True, slots=True)
class State:
    """What Home Assistant holds of an entity."""

    entity_id: str
    unique_id: str
    device: str
    via: bool
    """The device hangs on another one."""
    state: str
    attributes: dict[str, str]
    picture: str | None
    """SHA-256 of a camera's or an image's picture."""


class HomeAssistant:
    """`with HomeAssistant(tmp_path, broker.port) as home:`; `states` are the newest, by unique id."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._log = folder / "home-assistant.log"
        self._command = [str(PYTHON), str(DRIVER), str(folder / "home-assistant"), str(broker_port), str(free_port())]
        self._process: ManagedProcess | None = None
        self._lock = threading.Lock()
        self._states: dict[str, State] = {}
        self._started = threading.Event()

    @property
    def states(self) -> dict[str, State]:
        with self._lock:
            return dict(self._states)

    def shows(self, unique_id: str, state: str, seconds: float = 30) -> State:
        """Wait until an entity has a state."""

        def right() -> State | None:
            found = self.states.get(unique_id)
            return found if found is not None and found.state == state else None

        return wait_until(right, seconds, f"{unique_id} = {state}: {self.states.get(unique_id)}\n{self.log()[-2000:]}")

    def log(self) -> str:
        """Its warnings and errors."""
        return self._log.read_text() if self._log.exists() else ""

    def __enter__(self) -> Self:
        if not PYTHON.exists():
            raise AssertionError("no Home Assistant: run tests/peers/home_assistant_setup.sh")
        self._process = ManagedProcess(self._command, self._log, stdin=True, stdout=True)
        self._process.hear(self._take)
        wait_until(self._started.is_set, 90, "Home Assistant to start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.end()

    def _take(self, line: bytes) -> None:
        told: dict[str, Any] = json.loads(line)
        if "started" in told:
            self._started.set()
            return
        with self._lock:
            if told["unique_id"]:
                self._states[told["unique_id"]] = State(**told)
