"""The journal of a whole agent: what it enters, what health tells of it, what people can check and prove."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import __version__
from edge_agent.trust.checkpoint import Checkpoint, Verdict, judge, open_checkpoint
from edge_agent.trust.command import StatusArgs
from edge_agent.trust.journal import Journal
from edge_agent.trust.note import NoteKey, parse_note_key
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import ManagedProcess, wait_until
from tests.simulators.clock import HandClock
from tests.trust.rfc6962 import proved, tree_head

AWAY = {"gate": "rtsp://127.0.0.1:9/x"}


def signed(agent: RunningAgent) -> bool:
    return (agent.data / "journal.checkpoint").exists()


def lines(agent: RunningAgent) -> list[bytes]:
    return (agent.data / "journal.jsonl").read_bytes().split(b"\n")[:-1]


def said(agent: RunningAgent, *arguments: str) -> str:
    """What `edge-agent journal …` prints when all is well."""
    done = agent.cli("journal", *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent that has run once."""
    with RunningAgent(tmp_path, AWAY) as agent:
        wait_until(lambda: signed(agent), 30, "the first checkpoint")
        assert agent.stop() == 0
        yield agent


def test_a_node_proves_its_entries_and_every_tampering_shows(stopped: RunningAgent, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text(said(stopped, "checkpoint"))
    key = said(stopped, "checkpoint", "--key").strip()
    raw = parse_note_key(key).public.raw
    proof = tmp_path / "first.tlog-proof"
    proof.write_text(said(stopped, "proof", "0"))
    assert proved(proof.read_text(), parse_note_key(key).name, raw) == (0, lines(stopped)[0])
    # On another machine: no configuration, no key file.
    elsewhere = stopped.cli("journal", "verify", "--config", "/nonexistent", "--proof", str(proof), "--key", key)
    assert b'"kind":"start"' in elsewhere.stdout
    assert json.loads(said(stopped, "verify", "--checkpoint", str(kept), "--json"))["honest"]

    copy = tmp_path / "copy"
    shutil.copytree(stopped.data, copy)
    journal = copy / "journal.jsonl"
    whole = journal.read_bytes()

    def verdict() -> dict[str, object]:
        done = stopped.cli(
            "journal", "verify", "--journal", str(journal), "--key", key, "--checkpoint", str(kept), "--json"
        )
        assert done.returncode == 1, done.stderr.decode()
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found | {"verdict": found["checkpoints"][0]["verdict"]}

    journal.write_bytes(whole.replace(b"stopped in order", b"stopped at night"))
    assert (verdict()["verdict"], verdict()["changed"]) == ("rewritten", len(lines(stopped)) - 1)
    journal.write_bytes(b"".join(line + b"\n" for line in lines(stopped)[:-1]))
    assert verdict()["verdict"] == "shortened"
    proof.write_text(proof.read_text().replace("index 0", "index 1"))
    assert stopped.cli("journal", "verify", "--proof", str(proof)).returncode == 77


def test_starts_stops_and_what_changed_in_between_are_entered(stopped: RunningAgent) -> None:
    before = len(lines(stopped))
    text = stopped.config.read_text()
    for config in ("# a remark\n" + text, text.replace("health_every_s = 1", "health_every_s = 2")):
        stopped.config.write_text(config)
        stopped.start()
        wait_until(lambda: b'"stop"' not in lines(stopped)[-1], 30, "the start is entered")
        assert stopped.stop() == 0
    shown = [json.loads(line) for line in said(stopped, "show", "--json").splitlines()]
    fresh = [entry for entry in shown[before:] if entry["kind"] != "gaps"]
    assert [entry["kind"] for entry in fresh] == ["start", "stop", "start", "configuration", "stop"]
    starts = [entry["args"] for entry in fresh if entry["kind"] == "start"]
    assert fresh[3]["args"] == {"old": starts[0]["configuration"], "new": starts[1]["configuration"]}
    assert starts[0] == {"version": __version__, "configuration": shown[0]["args"]["configuration"]}
    only = said(stopped, "show", "--action", "configuration", "--from", "1h ago", "--json")
    assert [json.loads(line)["index"] for line in only.splitlines()] == [fresh[3]["index"]]
    assert "configuration" in said(stopped, "show", "--action", "configuration")


def test_gaps_that_ended_and_an_update_are_entered(tmp_path: Path, camera_server: CameraServer) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=2)
    with agent:
        wait_until(lambda: agent.recording("gate"), 40, "it records")
        agent.kill_child("recorder")
        wait_until(lambda: agent.gaps("gate"), 60, "it records again, after a gap")
        assert agent.stop() == 0
    (gap,) = [entry for entry in agent.journal() if entry["kind"] == "gaps"]
    assert (gap["args"]["camera"], gap["args"]["count"]) == ("gate", len(agent.gaps("gate")))
    assert sum(gap["args"]["causes"].values()) == gap["args"]["count"]
    newer = "import edge_agent; edge_agent.__version__ = '99.0'; from edge_agent.cli import main; main()"
    command = [sys.executable, "-c", newer, "run", "--config", str(agent.config)]
    with ManagedProcess(command, tmp_path / "newer.log", grace_s=20) as process:
        wait_until(lambda: agent.journal()[-1]["kind"] != "stop", 40, "the newer version has started")
        process.signal(signal.SIGTERM)
        assert process.wait(30) == 0
    (update,) = [entry for entry in agent.journal() if entry["kind"] == "update"]
    assert update["args"] == {"old": __version__, "new": "99.0"}


def test_an_agent_whose_journal_was_rewritten_says_so_signs_no_more_and_goes_on(stopped: RunningAgent) -> None:
    path = stopped.data / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"kind":"start"', b'"kind":"stop"', 1))
    for cache in ("hashes", "places"):
        (stopped.data / f"journal.{cache}").unlink()
    checkpoint = (stopped.data / "journal.checkpoint").read_bytes()
    stopped.start()
    wait_until(lambda: "the journal was rewritten" in stopped.log(), 30, "it says so")
    assert stopped.stop() == 0
    assert lines(stopped)[-1].startswith(b'{"kind":"stop"')
    assert (stopped.data / "journal.checkpoint").read_bytes() == checkpoint
    assert stopped.cli("journal", "verify").returncode == 1
    assert b"was rewritten" in stopped.cli("journal", "proof", "0").stderr


def test_without_a_journal_or_a_key_the_commands_say_what_is_missing(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, AWAY)
    for command in (["show"], ["verify"], ["proof", "0"], ["checkpoint"]):
        done = agent.cli("journal", *command)
        assert done.returncode == 66, done.stderr
        assert b"first start" in done.stderr


def test_health_carries_checkpoints_that_continue_one_another_over_a_kill(
    tmp_path: Path, broker: Mosquitto, mayor: TestPerson
) -> None:
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(tmp_path, AWAY, broker=broker, people=(mayor,)) as agent,
    ):

        def told(longer_than: int) -> Checkpoint:
            return wait_until(lambda: newest(dispatcher, key, longer_than), 30, "a longer checkpoint")

        wait_until(lambda: signed(agent), 30, "the first checkpoint")
        key = parse_note_key(said(agent, "checkpoint", "--key").strip())
        first = told(0)
        dispatcher.command(mayor.sign(StatusArgs(), nonce="n" * 32), "n" * 32)
        second = told(first.size)
        agent.process.signal(signal.SIGKILL)
        agent.process.wait(10)
        agent.start()
        third = told(second.size)
        assert agent.stop() == 0
        assert third.root == tree_head(lines(agent)[: third.size])
        with Journal(agent.data / "journal.jsonl", HandClock()).tree() as tree:
            for earlier, later in ((first, second), (second, third), (first, third)):
                assert judge(earlier, later, tree.consistency(later.size, earlier.size)) is Verdict.GROWN


def newest(dispatcher: Dispatcher, key: NoteKey, longer_than: int) -> Checkpoint | None:
    health = dispatcher.health()
    if health is None or health.checkpoint is None:
        return None
    checkpoint = open_checkpoint(health.checkpoint, key)
    return checkpoint if checkpoint.size > longer_than else None
