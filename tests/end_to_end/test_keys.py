"""Who can open what was recorded: a node that only writes, a key that is changed, other recipients."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.model import CameraId, Hold, Segment
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.policy import Role
from tests.peers.agent import RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.support import wait_until

OFFICER = TestPerson("officer", Role.ARCHIVE_OFFICER)


def key_of(path: Path) -> str:
    """Made with the standard tool; its public half."""
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    return str(load_identities(path)[0].recipient)


def opens(key: Path, file: Path) -> bool:
    """With the standard tool; a torn file's beginning counts."""
    done = subprocess.run(["age", "-d", "-i", str(key), str(file)], capture_output=True, timeout=60, check=False)
    return done.stdout[4:8] == b"ftyp"


def test_a_node_that_only_writes_records_accounts_and_rebuilds_and_the_citys_key_opens(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    city = tmp_path / "city.key"
    lines = f'recipients = ["{key_of(city)}"]\nnode_reads = false'
    agent = RunningAgent(
        tmp_path, {"gate": camera_server.url("/main")}, people=(OFFICER,), archive_lines=lines, segment_s=3
    )
    with agent:
        wait_until(lambda: len(agent.segments("gate")) >= 1, 30, "footage")
        wait_until(lambda: agent.recording("gate"), 20, "a file is open")
        agent.kill_child("recorder")
        torn = wait_until(lambda: [one for one in agent.segments("gate") if one.torn], 20, "the torn file is entered")[
            0
        ]
        assert torn.start_us < torn.end_us <= torn.start_us + 5_000_000
        after = wait_until(
            lambda: [one for one in agent.segments("gate") if one.start_us >= torn.end_us], 30, "it goes on recording"
        )[0]
        assert after.sha256
        assert not (agent.data / "keys" / "node.age").exists()
        told = json.loads(agent.cli("archive", "coverage", "gate", "--for", "1m", "--json").stdout)
        assert told["seconds"]["recorded"] > 3
        refused = agent.by(OFFICER, "archive", "export", "gate", "-o", str(tmp_path / "clip.mp4"))
        assert (refused.returncode, b"age -d -i KEY FILE" in refused.stderr) == (64, True)
        assert not (tmp_path / "clip.mp4").exists()
        assert agent.stop() == 0
        held = agent.segments("gate")
        assert all(one.sha256 for one in held)
        assert agent.cli("archive", "check", "--deep").returncode == 0
        made = json.loads(agent.cli("archive", "rebuild", "--json").stdout)
        assert (made["recordings"], made["without_hash"]) == (len(held), 0)
        assert agent.segments("gate") == held
        assert all(opens(city, agent.archive / one.path) for one in held)
        refused = agent.cli("archive", "rewrap", "--from", "1h ago")
        assert (refused.returncode, b"--identity" in refused.stderr) == (64, True)


def test_a_rotated_key_is_kept_until_nothing_needs_it(tmp_path: Path, camera_server: CameraServer) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, people=(OFFICER,), segment_s=2)
    key, old = agent.data / "keys" / "node.age", tmp_path / "old.key"
    with agent:
        wait_until(lambda: len(agent.segments("gate")) >= 1, 30, "footage")
        (first,) = load_identities(key)
        old.touch(mode=0o600)
        old.write_text(str(first))
        assert agent.cli("keys", "rotate").returncode == 0
        assert agent.stop() == 0
        sealed_to_old = agent.segments("gate")
        agent.start()
        wait_until(lambda: len(agent.segments("gate")) >= len(sealed_to_old) + 1, 30, "footage under the new key")

        clip = tmp_path / "clip.mp4"
        done = json.loads(
            agent.by(OFFICER, "archive", "export", "gate", "--for", "5m", "-o", str(clip), "--json").stdout
        )
        assert done["frames"] >= sum(one.frames or 0 for one in agent.segments("gate"))
        fresh = [one for one in agent.segments("gate") if one not in sealed_to_old]
        assert not any(opens(old, agent.archive / one.path) for one in fresh)
        listed = json.loads(agent.cli("keys", "list", "--json").stdout)
        assert listed["kept"] == [str(first.recipient)]
        assert listed["recipients"] == [str(load_identities(key)[0].recipient)]
        assert agent.cli("keys", "drop", str(first.recipient)).returncode == 75, "the agent runs"

        # beside the running agent, to whom new recordings are sealed
        moved = agent.cli("archive", "rewrap", "--from", "1h ago", "--reason", "rotation", "--json")
        assert json.loads(moved.stdout)["problems"] == []
        changed = {entry["args"]["path"]: entry["args"] for entry in agent.journal() if entry["kind"] == "rewrapped"}
        for one in sealed_to_old:
            assert not opens(old, agent.archive / one.path)
            assert opens(key, agent.archive / one.path)
            assert (changed[one.path]["sha256_before"], changed[one.path]["sha256"]) == (one.sha256, now(agent, one))
        assert agent.stop() == 0
        assert agent.cli("archive", "check", "--deep").returncode == 0
        present = agent.cli("keys", "drop", listed["recipients"][0])
        assert (present.returncode, b"present key" in present.stderr) == (64, True)
        assert agent.cli("keys", "drop", str(first.recipient)).returncode == 0
        assert [str(one.recipient) for one in load_identities(key)] == listed["recipients"]
        again = agent.by(
            OFFICER, "archive", "export", "gate", "--for", "5m", "-o", str(tmp_path / "again.mp4"), "--json"
        )
        assert json.loads(again.stdout)["frames"] >= done["frames"], "old and new, with the new key alone"


def test_a_key_that_a_recording_needs_is_not_dropped(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"}, people=(OFFICER,))
    key = agent.data / "keys" / "node.age"
    key.parent.mkdir(parents=True)
    key_of(key)
    (first,) = load_identities(key)
    clock = SystemClock()
    agent.archive.mkdir()
    index = Index(agent.data / "index.sqlite", clock)
    for minute in (10, 9):
        start_us = clock.utc_us() - minute * 60 * US
        file = SegmentFile(agent.archive, SegmentName(CameraId("gate"), start_us, 1), [first.recipient])
        file.write(b"\0\0\0\x18ftyp" + bytes(16))
        index.add([file.close(start_us + 60 * US)])
    index.close()
    Journal(agent.data / "journal.jsonl", clock).append(JournalEntry(JournalKind.START, Outcome.DONE))
    assert agent.cli("keys", "rotate").returncode == 0
    refused = agent.cli("keys", "drop", str(first.recipient))
    assert (refused.returncode, b"opens with this key alone" in refused.stderr) == (64, True)
    assert first in load_identities(key)
    assert agent.cli("keys", "drop", str(Identity.generate().recipient)).returncode == 66
    kinds = [(entry["args"]["recipient"], entry["outcome"]) for entry in agent.journal() if entry["kind"] == "keys"]
    new = str(load_identities(key)[0].recipient)
    assert kinds == [(new, "accepted"), (new, "done")]

    # what a hold keeps, to a key more
    held, other = agent.segments("gate")
    hold = Hold("h1", (), held.start_us, held.end_us, "7/2026", "theft", "Шевченко О. І.", "Коваленко О. П.", 1)
    Holds(Documents(agent.data / "documents.json", clock)).add(hold)
    more = tmp_path / "more.key"
    both = ["-r", key_of(more), "-r", str(first.recipient)]
    assert agent.cli("archive", "rewrap", "--hold", "h1", *both).returncode == 0
    assert [opens(more, agent.archive / one.path) for one in (held, other)] == [True, False]
    assert opens(key, agent.archive / held.path)

    # to the court alone: the node can't open it any more, and says so
    court = tmp_path / "court.key"
    recipients = tmp_path / "court.txt"
    recipients.write_text(f"# the court\n{key_of(court)}\n")
    assert agent.cli("archive", "rewrap", "--from", "1h ago", "-R", str(recipients)).returncode == 0
    rewrapped = agent.segments("gate")
    assert all(opens(court, agent.archive / one.path) and not opens(key, agent.archive / one.path) for one in rewrapped)
    gone = agent.by(OFFICER, "archive", "export", "gate", "-o", str(tmp_path / "clip.mp4"))
    assert (gone.returncode, b"sealed to somebody else" in gone.stderr) == (74, True)
    assert agent.cli("archive", "rewrap", "--hold", "nothing").returncode == 66
    assert agent.cli("archive", "rewrap").returncode == 64
    assert agent.cli("keys", "drop", str(first.recipient)).returncode == 0


def now(agent: RunningAgent, segment: Segment) -> str | None:
    return next(one.sha256 for one in agent.segments("gate") if one.path == segment.path)
