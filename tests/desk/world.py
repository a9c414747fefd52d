"""A small town for the desk's tests: a broker with mutual TLS, a camera, a real agent, and people with their desks."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import quick
from tests.peers.agent import NODE, SITE
from tests.peers.mosquitto import Mosquitto

NAME = f"{SITE}/{NODE}"
PASSPHRASE = "кінь батарея скріпка"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of `edge-desk` ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its last line on standard output."""
        return json.loads(self.out.splitlines()[-1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from edge_agent.desk.cli import main; main()", *arguments]


def environment(config: Path | None = None) -> dict[str, str]:
    found = {**os.environ, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
    return found if config is None else {**found, "EDGE_DESK_CONFIG": str(config)}


def run(*arguments: str, config: Path | None = None, seconds: float = 60) -> Ended:
    """`edge-desk …` as a person types it, without a terminal and without the start (`tests/peers/quick.py`)."""
    ended = quick.run("edge-desk", arguments, environment(config), seconds=seconds)
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@dataclass(frozen=True, slots=True)
class Worker:
    """Somebody at the centre: keys as `edge-desk keys new` made them, a desk's configuration, and what a node needs."""

    folder: Path
    id: str
    config: Path
    block: str
    """`[[person]]`"""
    recipient: str

    def desk(self, *arguments: str, seconds: float = 60) -> Ended:
        return run(*arguments, config=self.config, seconds=seconds)


def worker(
    folder: Path, id_: str, role: str, broker: Mosquitto | None, *, locked: bool = False, language: str = "uk"
) -> Worker:
    """Make somebody's keys with the product's own command, and the configuration of their desk."""
    home = folder / id_
    home.mkdir(mode=0o700)
    secret = home / "passphrase"
    secret.touch(mode=0o600)
    secret.write_text(PASSPHRASE + "\n", encoding="utf-8")
    lock = ["--passphrase-file", str(secret)] if locked else ["--no-passphrase"]
    names = ["--surname", "Коваленко", "--name", "Олена", "--patronymic", "Петрівна"]
    made = run("keys", "new", str(home / "keys"), "--id", id_, "--role", role, *names, *lock)
    assert made.code == 0, made.err
    lines = [f'person = "{id_}"', 'key_file = "keys/person.key"', 'identity_file = "keys/person.age"']
    lines += [f'site = "{SITE}"', f'language = "{language}"', 'state_dir = "state"', 'timezone = "Europe/Kyiv"']
    if broker is not None:
        own = broker.authority.issue(f"desk-{id_}")
        lines += ["[mqtt]", 'host = "127.0.0.1"', f"port = {broker.tls_port}"]
        lines += [f'ca_file = "{broker.authority.ca_file}"']
        lines += [f'cert_file = "{own.cert_file}"', f'key_file = "{own.key_file}"']
    config = home / "edge-desk.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Worker(home, id_, config, made.out, made.out.rstrip().rpartition(" ")[2])
