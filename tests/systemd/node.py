"""A node in the booted machine, and what the tests ask of it."""

from __future__ import annotations

import json
from typing import Any

from tests.peers.nspawn import PREFIX, Machine
from tests.peers.support import wait_until

UNIT, RETRY = "edge-agent.service", "edge-agent-retry.timer"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
CONFIG_FILE = "/etc/edge-agent/edge-agent.toml"
SECRET_FILE = "/etc/edge-agent/secrets/gate.password"
STATE = "/var/lib/edge-agent"
SOCKET = "/run/edge-agent/agent.sock"
CAMERA_PORT = 8554
CAMERA_LOGIN = "agent:a camera's password"
CONFIG = f"""
site = "melitopol"
node = "node-001"
data = "{STATE}"
socket = "{SOCKET}"

[archive]
segment_s = 5

[[camera]]
id = "gate"
url = "rtsp://127.0.0.1:{CAMERA_PORT}/main"
sub_url = "rtsp://127.0.0.1:{CAMERA_PORT}/sub"
username = "agent"
password_file = "$CREDENTIALS_DIRECTORY/secret_gate.password"
"""
_PATIENCE_S = 30.0


class Node:
    """The service with its configuration and secrets; `machine` is where it lives."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._mark = ""

    def install(self) -> None:
        self.machine.write(SECRET_FILE, CAMERA_LOGIN.partition(":")[2] + "\n", 0o600)
        self.configure(CONFIG)
        self._mark = self.machine.mark_log()

    def configure(self, text: str) -> None:
        self.machine.write(CONFIG_FILE, text, 0o640)
        self.machine.run("systemd-tmpfiles", "--create", "edge-agent.conf")

    def drop_in(self, unit: str, text: str) -> None:
        """What a site changes of a unit."""
        self.machine.write(f"/run/systemd/system/{unit}.d/50-test.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    def remove(self) -> None:
        """Stopped, without what it kept, its drop-ins gone."""
        self.machine.run("systemctl", "stop", RETRY, UNIT, check=False)
        self.machine.run("systemctl", "reset-failed", UNIT, check=False)
        self.machine.run("rm", "-rf", STATE, *(f"/run/systemd/system/{unit}.d" for unit in (UNIT, RETRY)))
        self.machine.run("systemctl", "daemon-reload")

    def start(self) -> None:
        """AssertionError unless systemd calls it active."""
        started = self.machine.run("systemctl", "start", UNIT, check=False)
        assert started.code == 0, self.log()

    def start_recording(self) -> None:
        """Start, and wait for pictures."""
        self.start()
        self.wait_for_log("camera gate: recording")

    def wait_for_log(self, text: str, seconds: float = _PATIENCE_S) -> str:
        return wait_until(lambda: log if text in (log := self.log()) else "", seconds, f"{text!r} in\n{self.log()}")

    def log(self) -> str:
        return self.machine.log(UNIT, self._mark)

    def forget_log(self) -> None:
        """`log` and `wait_for_log` speak of what comes from now on."""
        self._mark = self.machine.mark_log()

    def show(self, name: str) -> str:
        return self.machine.show(UNIT, name)

    @property
    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    def children(self) -> dict[int, str]:
        """The agent's child processes that run, by their numbers in the machine."""
        listing = self.machine.run("bash", "-c", _LIST_CHILDREN, check=False).out
        return {int(pid): module for pid, module in (line.split() for line in listing.splitlines())}

    def segments(self) -> dict[str, str]:
        """The archive's recordings by path, with their modes in octal."""
        found = ("-type", "f", "-name", "*.age", "-printf", "%m %p\\n")
        listing = self.machine.run("find", f"{STATE}/archive", *found).out
        return {path: mode for mode, path in (line.split() for line in listing.splitlines())}

    def journal(self) -> list[dict[str, Any]]:
        """The agent's own journal of accesses."""
        return [json.loads(line) for line in self.machine.run("cat", f"{STATE}/journal.jsonl").out.splitlines()]

    def run_in_sandbox(self, python: str) -> str:
        """Run a Python program once, under all that the unit's [Service] section grants and denies; what it printed."""
        program = f"{STATE}-program.py"
        self.machine.write(program, python)
        dropped = ("ExecStart=", "Type=", "Restart", "WatchdogSec=", "NotifyAccess=")
        unit = self.machine.run("cat", UNIT_FILE).out.partition("[Service]\n")[2].partition("[Install]")[0]
        kept = [line for line in unit.splitlines() if not line.startswith(dropped)]
        service = "\n".join(["[Service]", "Type=oneshot", f"ExecStart={PREFIX}/bin/python {program}", *kept])
        self.machine.write("/run/systemd/system/sandboxed.service", service + "\n")
        self.machine.run("systemctl", "daemon-reload")
        mark = self.machine.mark_log()
        done = self.machine.run("systemctl", "start", "sandboxed.service", check=False)
        said = self.machine.log("sandboxed.service", mark)
        assert done.code == 0, said
        return said


# The brackets keep the search from finding itself.
_LIST_CHILDREN = """
for file in $(grep -lsa 'edge_agent[.]\\(capture\\|uplink\\)' /proc/[0-9]*/cmdline); do
    pid=${file#/proc/}; echo "${pid%/cmdline} $(tr '\\0' ' ' < "$file" | grep -o 'edge_agent[.][a-z_.]*')"
done
"""
