"""`edge-desk audit` against two live nodes through a real broker, one of them tampered with in every way root can."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.node_key import node_key_path
from edge_agent.uplink.link import LinkSettings, Received
from edge_agent.uplink.mqtt import Link
from edge_agent.uplink.payloads import NodeState, Status, decode
from edge_agent.uplink.topics import TopicKind, parse, subscription
from tests.desk.world import Ended, Worker, worker
from tests.peers.agent import RunningAgent
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

AWAY = {"gate": "rtsp://127.0.0.1:9/x"}
CACHES = ("hashes", "places")


@dataclass
class Town:
    broker: Mosquitto
    heard: Heard
    one: RunningAgent
    two: RunningAgent
    auditor: Worker
    older: Path
    """A copy of the first node's data, before the audit."""
    newer: Path
    """And after it."""

    @property
    def state(self) -> Path:
        return self.auditor.folder / "state"

    def audit(self, *arguments: str) -> Ended:
        return self.auditor.desk("audit", *arguments, "--timeout", "60", seconds=120)

    def both(self, *arguments: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """The exit code, and what is said of each node."""
        ended = self.audit("--all", *arguments, "--json")
        assert len(ended.out.splitlines()) == 2, ended.err
        one, two = (json.loads(line) for line in ended.out.splitlines())
        assert (one["node"], two["node"]) == ("town/n1", "town/n2")
        return ended.code, one, two


class Heard:
    """The nodes' statuses, so that nobody is asked who does not listen yet."""

    def __init__(self, broker: Mosquitto) -> None:
        settings = LinkSettings("127.0.0.1", broker.port, "heard", tls=False, first_delay_s=0.1)
        self.online: dict[str, int] = {}
        self.link = Link(settings, SystemClock(), self._hear, lambda _: None)
        self.link.subscribe(subscription(TopicKind.STATUS))
        self.link.start()

    def _hear(self, received: Received) -> None:
        status = decode(Status, received.payload)
        if status.state is NodeState.ONLINE:
            self.online[parse(received.topic).node] = status.at_us

    def runs(self, agent: RunningAgent, node: str) -> None:
        began = SystemClock().utc_us()
        agent.start()
        wait_until(lambda: self.online.get(node, 0) > began, 90, f"{node} is online")


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def busy(data: Path, count: int) -> None:
    """A day of a node at which people do much; of a node that stands still now."""
    who = "Коваленко Олена Петрівна"
    entry = JournalEntry(JournalKind.ACCESS, Outcome.DONE, who=who, action="status")
    Journal(data / "journal.jsonl", SystemClock()).append_all([entry] * count)


@pytest.fixture(scope="module")
def peopled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("audit")
    with Mosquitto(folder) as broker:
        auditor = worker(folder, "auditor", "auditor", broker)
        agents = []
        for name in ("n1", "n2"):
            (folder / name).mkdir()
            agents.append(RunningAgent(folder / name, AWAY, broker=broker, more=auditor.block, node=name))
        one, two = agents
        heard = Heard(broker)
        town = Town(broker, heard, one, two, auditor, folder / "older", folder / "newer")
        try:
            heard.runs(one, "n1")
            heard.runs(two, "n2")
            first = town.audit("n1", "n2", "--json")
            assert first.code == 0, first.err
            assert one.stop() == 0
            shutil.copytree(one.data, town.older)
            busy(one.data, 30)
            heard.runs(one, "n1")
            assert town.audit("n1").code == 0
            assert one.stop() == 0
            shutil.copytree(one.data, town.newer)
            shutil.copytree(town.state, folder / "kept")
            yield town
        finally:
            heard.link.stop(1)
            one.process.end()
            two.process.end()


@pytest.fixture
def town(peopled: Town) -> Iterator[Town]:
    """The first node stands still, as it was after the last audit; the second lives; the desk remembers both."""
    restore(peopled.newer, peopled.one.data)
    restore(peopled.auditor.folder.parent / "kept", peopled.state)
    yield peopled
    peopled.one.process.end()


def restore(copy: Path, place: Path) -> None:
    shutil.rmtree(place)
    shutil.copytree(copy, place)


def hidden(data: Path) -> None:
    """The node itself is to know nothing of the change."""
    for name in (*CACHES, "checkpoint"):
        (data / f"journal.{name}").unlink()


def edit(data: Path) -> None:
    path = data / "journal.jsonl"
    text = path.read_bytes()
    assert text.count("Коваленко".encode()) > 10
    path.write_bytes(text.replace("Коваленко".encode(), "Ковальчук".encode(), 1))


def edit_and_sign_anew(data: Path) -> None:
    edit(data)
    hidden(data)


def cut(data: Path) -> None:
    path = data / "journal.jsonl"
    path.write_bytes(b"".join(lines(path)[:-20]))


def cut_and_sign_anew(data: Path) -> None:
    cut(data)
    hidden(data)


def forget_everything(data: Path) -> None:
    (data / "journal.jsonl").unlink()
    hidden(data)


TAMPERED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "edited": (edit, "broken", "ПІДРОБЛЕНО"),
    "edited-and-signed-anew": (edit_and_sign_anew, "forked", "РОЗДВОЄНО"),
    "truncated": (cut, "broken", "ПІДРОБЛЕНО"),
    "truncated-and-signed-anew": (cut_and_sign_anew, "shortened", "УКОРОЧЕНО"),
    "begun-anew": (forget_everything, "shortened", "УКОРОЧЕНО"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_journal_is_named_and_the_other_node_is_sound(town: Town, how: str) -> None:
    tamper, kind, word = TAMPERED[how]
    tamper(town.one.data)
    town.heard.runs(town.one, "n1")
    code, one, two = town.both("--verify")
    assert (code, one["ok"], one["trouble"]["kind"]) == (1, False, kind), one
    assert word in one["trouble"]["uk"]
    assert "town/n1.checkpoint" in one["trouble"]["en"]
    assert (two["ok"], two["verdict"], two["trouble"]) == (True, "grown", None)


def test_an_older_copy_of_the_whole_node_is_seen(town: Town) -> None:
    restore(town.older, town.one.data)
    town.heard.runs(town.one, "n1")
    told = town.audit("n1")
    assert told.code == 1
    assert "ЖУРНАЛ УКОРОЧЕНО" in told.out
    assert "давнішу копію" in told.out
    assert list((town.state / "town").glob("n1.shortened-*"))


def test_two_histories_of_one_key_are_a_fork_whatever_their_length(town: Town) -> None:
    """The node's disk was copied, and the copy lives on: longer than what the desk has seen of the first."""
    kept = (town.state / "town" / "n1.checkpoint").read_text()
    restore(town.older, town.one.data)
    busy(town.one.data, 50)
    town.heard.runs(town.one, "n1")
    code, one, _ = town.both()
    assert (code, one["trouble"]["kind"]) == (1, "rewritten")
    code, one, _ = town.both("--verify")
    assert (code, one["trouble"]["kind"]) == (1, "forked")
    assert (town.state / "town" / "n1.checkpoint").read_text() == kept


def test_edited_hashes_are_made_again_and_nothing_is_lost(town: Town) -> None:
    town.heard.runs(town.one, "n1")
    path = town.one.data / "journal.hashes"
    hashes = bytearray(path.read_bytes())
    for at in range(0, len(hashes) - 64, 64):
        hashes[at] ^= 1
    path.write_bytes(hashes)
    code, one, _ = town.both("--verify")
    assert (code, one["trouble"], one["verdict"]) == (0, None, "grown")


def test_a_lost_key_is_said_by_the_node_and_believed_by_no_desk(town: Town) -> None:
    node_key_path(town.one.data).unlink()
    town.heard.runs(town.one, "n1")
    code, one, two = town.both()
    assert (code, one["trouble"]["kind"], two["ok"]) == (77, "unproven", True)
    assert "it is not signed" in one["trouble"]["en"]
    assert "set this file aside" in one["trouble"]["en"]


def test_a_node_that_is_away_is_told_and_the_other_still_answers(town: Town) -> None:
    ended = town.auditor.desk("audit", "--all", "--timeout", "3", "--person", "Коваленко", seconds=120)
    assert ended.code == 69
    assert "✗ town/n1: вузол не відповів" in ended.out
    assert "✓ town/n2: усе підписане раніше на місці" in ended.out
    assert "Коваленко" in ended.out


def test_an_audit_is_told_in_order_filtered_and_journalled_itself(town: Town) -> None:
    town.heard.runs(town.one, "n1")
    _, one, two = town.both("--action", "start", "--from", "1h ago")
    assert {entry["kind"] for node in (one, two) for entry in node["entries"]} == {"start"}
    assert len(one["entries"]) == 3
    assert len(two["entries"]) == 1
    entry = json.loads(lines(town.two.data / "journal.jsonl")[-1])
    assert (entry["outcome"], entry["action"], entry["person_id"]) == ("done", "journal", "auditor")
    plain = town.audit("n1", "--action", "journal", "--to", "now")
    assert plain.code == 0
    assert "journal" in plain.out.splitlines()[1]
    assert [town.audit().code, town.audit("n1", "--all").code, town.audit("n1", "--from", "someday").code] == [64] * 3
