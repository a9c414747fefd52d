"""People at a real node: the installed service, the stick with their key, and what their own login may and may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_agent.trust.policy import Role
from tests.peers.agent import TestPerson
from tests.peers.nspawn import PREFIX
from tests.peers.support import wait_until
from tests.systemd.node import CONFIG, STATE, Node

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
INSTALL = Path(__file__).parents[2] / "docs" / "install.md"
STICK = "/media/stick/person.key"
AGENT = f"{PREFIX}/bin/edge-agent"


def test_a_contractor_works_with_the_key_on_the_stick_as_the_documentation_says(node: Node, tmp_path: Path) -> None:
    person = TestPerson("contractor", Role.CONTRACTOR)
    secret = Path(person.key_file(tmp_path)).read_text()
    node.configure(CONFIG + person.toml())
    node.machine.write(STICK, secret, 0o600)
    node.start_recording()
    node.wait_for_log("sealed gate/")
    documented = re.search(r"people have names.*?```sh\n(.*?)\n```", INSTALL.read_text(), re.DOTALL)
    assert documented is not None
    recipe = documented[1].replace("--as ID", f"--as {person.id}")
    begun = node.machine.run("bash", "-c", recipe, check=False)
    assert begun.code == 0, begun.err
    clip = f"{STATE}/clip.mp4"
    taken = recipe.replace('visit open --reason "installation"', f"archive export gate --for 1m -o {clip}")
    done = node.machine.run("bash", "-c", taken, check=False)
    assert done.code == 0, done.err
    assert int(node.machine.run("stat", "-c", "%s", clip).out) > 10_000

    # A login of the group knocks with a copy of the key of its own.
    node.machine.run("useradd", "--create-home", "--groups", "edge-agent", "worker")
    node.machine.write("/home/worker/person.key", secret, 0o600)
    node.machine.run("chown", "worker:", "/home/worker/person.key")
    mine = ("--as", person.id, "--key", "/home/worker/person.key")
    try:
        asked = node.machine.run(
            "runuser", "-u", "worker", "--", AGENT, "archive", "list", "--json", *mine, check=False
        )
        assert asked.code == 0, asked.err
        assert '"camera": "gate"' in asked.out
        left = node.machine.run("runuser", "-u", "worker", "--", AGENT, "visit", "close", *mine, check=False)
        assert left.code == 0, left.err
        export = ("archive", "export", "gate", "-o", "/home/worker/clip.mp4", *mine)
        closed = node.machine.run("runuser", "-u", "worker", "--", AGENT, *export, check=False)
        assert closed.code != 0
        assert "Traceback" not in closed.err
        assert node.machine.run("test", "-e", "/home/worker/clip.mp4", check=False).code == 1
    finally:
        node.machine.run("userdel", "--remove", "worker", check=False)
    entries = [entry for entry in node.journal() if entry["person_id"] == person.id]
    told = [(entry["action"], entry["outcome"]) for entry in entries]
    ended = [
        (action, outcome) for action in ("maintain", "export", "search", "maintain") for outcome in ("accepted", "done")
    ]
    assert told[:8] == ended
    owner = node.machine.run("stat", "-c", "%U", f"{STATE}/journal.jsonl", f"{STATE}/documents.json").out.split()
    assert owner == ["edge-agent", "edge-agent"]
    wait_until(lambda: node.show("ActiveState") == "active", 30, "the service goes on")
