"""A person at a node without a time server reads its clock and vouches for it, with an agent and without one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_agent.buffer.promise import DAY_US
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.model import CameraId, ClockTrust
from edge_agent.trust.age import Identity
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from edge_agent.when import iso_utc
from tests.peers.agent import RunningAgent, TestPerson
from tests.peers.support import wait_until

CONTRACTOR, OFFICER = TestPerson("m-petrenko", Role.CONTRACTOR), TestPerson("o-officer", Role.ARCHIVE_OFFICER)
MAYOR = TestPerson("o-mayor", Role.MAYOR)


@pytest.fixture
def node(tmp_path: Path) -> RunningAgent:
    people = (CONTRACTOR, OFFICER, MAYOR)
    return RunningAgent(tmp_path, {"gate": "rtsp://127.0.0.1:9/none"}, people=people)


def shown(agent: RunningAgent) -> dict[str, Any]:
    ended = agent.cli("clock", "show", "--json")
    assert ended.returncode == 0, ended.stderr.decode()
    return dict(json.loads(ended.stdout))


def confirm(agent: RunningAgent, person: TestPerson, *more: str) -> subprocess.CompletedProcess[bytes]:
    key = person.key_file(agent.folder)
    return agent.cli("clock", "confirm", "--as", person.id, "--key", key, *more)


def confirmations(agent: RunningAgent) -> list[tuple[str, str]]:
    found = [entry for entry in agent.journal() if entry["action"] == "clock_confirm"]
    return [(entry["person_id"], entry["outcome"]) for entry in found]


def test_a_person_at_the_node_vouches_for_its_clock_through_the_agent(node: RunningAgent) -> None:
    with node:
        wait_until(node.listens, 20, "the agent listens")
        before = shown(node)
        assert before["agent_running"]
        assert before["trusted"] == before["follows_server"]
        told = node.cli("clock", "show").stdout.decode()
        assert "Europe/Kyiv" in told
        assert before["trusted"] or "edge-agent clock confirm" in told
        assert confirm(node, MAYOR, "--yes").returncode == 77
        nobody = confirm(node, CONTRACTOR)
        assert nobody.returncode == 64
        assert b"--yes" in nobody.stderr
        done = confirm(node, CONTRACTOR, "--yes", "--json")
        assert done.returncode == 0, done.stderr.decode()
        clock_us = json.loads(done.stdout)["clock_us"]
        after = shown(node)
        assert after["trusted"]
        assert after["distrusted_s"] == 0
    assert confirmations(node) == [("o-mayor", "refused"), ("m-petrenko", "accepted"), ("m-petrenko", "done")]
    done_entry = next(entry for entry in reversed(node.journal()) if entry["action"] == "clock_confirm")
    assert iso_utc(clock_us) in done_entry["reason"]
    assert "Коваленко Олена Петрівна" in done_entry["who"]
    assert 0 <= clock_us - done_entry["args"]["read_us"] < 60_000_000


def test_what_is_older_than_promised_goes_by_itself_as_soon_as_the_clock_is_vouched_for(node: RunningAgent) -> None:
    """A running agent's deletion by age, from the sweep to the receipt."""
    start_us = SystemClock().utc_us() - 11 * DAY_US
    own = Identity.generate()
    node.archive.mkdir(parents=True)
    node.data.joinpath("keys").mkdir(mode=0o700)
    write_secret_file(node.data / "keys" / "node.age", f"{own}\n".encode())
    for name, begins_us in (("old", start_us), ("younger", start_us + 2 * DAY_US)):
        file = SegmentFile(node.archive, SegmentName(CameraId("gate"), begins_us, 1), [own.recipient])
        file.write(name.encode())
        file.close(begins_us + US, 1, 0, ClockTrust.SYNCED)
    with node:
        wait_until(lambda: len(node.segments("gate")) == 2, 20, "both are in the index")
        trusted = shown(node)["trusted"]
        assert confirm(node, CONTRACTOR, "--yes").returncode == 0
        wait_until(lambda: len(node.segments("gate")) == 1, 60, "the old one goes")
        told = node.cli("archive", "coverage", "gate", "--from", "12d ago", "--to", "10d ago", "--json")
        assert node.stop() == 0
    assert [one.start_us for one in node.segments("gate")] == [start_us + 2 * DAY_US]
    assert [path.stat().st_size > 0 for path in node.archive.rglob("*.age")] == [True]
    (gone,) = [piece for piece in json.loads(told.stdout)["pieces"] if piece["state"] == "deleted"]
    (receipt,) = node.receipts("gate")
    assert (receipt.segment.start_us, receipt.reason) == (start_us, "age")
    assert "age" in str(gone)
    (entry,) = [entry for entry in node.journal() if entry["kind"] == "deletion"]
    assert entry["args"]["by_age"] == 1
    confirmed = next(entry for entry in node.journal() if entry["action"] == "clock_confirm")
    assert trusted or confirmed["at_us"] <= entry["at_us"]


def test_without_an_agent_the_clock_is_read_aloud_and_confirmed_through_the_same_door(node: RunningAgent) -> None:
    assert at_a_terminal(node, OFFICER, b"n\n") == 64
    assert not node.data.joinpath("journal.jsonl").exists()
    assert at_a_terminal(node, OFFICER, b"y\n") == 0
    assert confirmations(node) == [("o-officer", "accepted"), ("o-officer", "done")]
    assert shown(node)["trusted"]
    with node:
        wait_until(node.listens, 20, "the agent listens")
        assert shown(node)["trusted"]


def at_a_terminal(agent: RunningAgent, person: TestPerson, answer: bytes) -> int:
    """`clock confirm` by somebody who sits there and answers; its exit code."""
    ours, theirs = os.openpty()
    command = agent.command("clock", "confirm", "--as", person.id, "--key", person.key_file(agent.folder))
    with os.fdopen(theirs, "rb", buffering=0) as terminal:
        process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=agent.environment())
    said = b""
    with os.fdopen(ours, "r+b", buffering=0) as person_side:
        while b"[y/N]" not in said:
            said += person_side.read(1024)
        assert b"Europe/Kyiv" in said
        person_side.write(answer)
        return process.wait(30)
