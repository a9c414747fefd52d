"""What became of every second, and what can be proved of it, asked of a real node on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from edge_agent.buffer.hours import journal_hours
from edge_agent.buffer.index import Index
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.model import CameraId, Segment
from edge_agent.trust.journal import Journal
from edge_agent.trust.merkle import leaf_hash, verify_inclusion
from tests.peers.agent import RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.support import wait_until


def test_a_node_that_lost_its_index_and_its_day_log_is_whole_again(tmp_path: Path, camera_server: CameraServer) -> None:
    with RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=2) as agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 30, "footage")
        refused = agent.cli("archive", "rebuild")
        assert refused.returncode == 75
        assert agent.stop() == 0
        recorded = agent.segments("gate")
        gaps = agent.gaps("gate")
        assert all(one.sha256 and one.frames for one in recorded)

        made = json.loads(agent.cli("archive", "rebuild", "--json").stdout)
        assert (made["recordings"], made["without_hash"], made["unknown"]) == (len(recorded), 0, [])
        assert (agent.segments("gate"), agent.gaps("gate")) == (recorded, gaps)

        for lost in [*agent.data.glob("index.sqlite*"), *agent.archive.glob("*/*/segments.jsonl")]:
            lost.unlink()
        made = json.loads(agent.cli("archive", "rebuild", "--json").stdout)
        assert (made["recordings"], made["without_hash"]) == (len(recorded), len(recorded))
        assert len(made["unknown"]) == 1
        agent.start()
        digests = {one.path: one.sha256 for one in recorded}
        wait_until(
            lambda: digests.items() <= {one.path: one.sha256 for one in agent.segments("gate")}.items(),
            20,
            "the agent took in what it found and hashed it, beside its work",
        )


def test_every_second_is_accounted_for_while_it_is_recorded_and_while_it_is_not(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    with RunningAgent(
        tmp_path, {"gate": camera_server.url("/main"), "away": "rtsp://127.0.0.1:9/x"}, segment_s=2
    ) as agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 30, "footage")
        wait_until(lambda: "camera away: lost" in agent.log(), 20, "the other camera is told to be away")
        told = json.loads(agent.cli("archive", "coverage", "gate", "--for", "1m", "--json").stdout)
        assert told["seconds"]["recorded"] > 3
        assert abs(sum(told["seconds"].values()) - 60) < 0.01
        away = json.loads(agent.cli("archive", "coverage", "away", "--for", "1m", "--json").stdout)["pieces"]
        assert (away[-1]["state"], away[-1]["cause"]) == ("gap", "network")


def test_a_recording_is_proved_against_the_root_in_the_journal(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"})
    agent.data.mkdir()
    clock, day_us = SystemClock(), 86400 * US
    start = clock.utc_us() // day_us * day_us - day_us
    index = Index(agent.data / "index.sqlite", clock)
    for minute in range(5):
        name = SegmentName(CameraId("gate"), start + minute * 60 * US, minute + 1)
        end_us = name.start_us + 60 * US
        index.add([Segment(name.camera, str(name), name.start_us, end_us, 9, 1, f"{minute:064x}")])
    journal_hours(index, Journal(agent.data / "journal.jsonl", clock), clock.utc_us())
    index.close()
    proof = json.loads(agent.cli("archive", "proof", str(name), "--json").stdout)
    (entry,) = agent.journal()
    assert (entry["kind"], entry["args"]["root"], entry["args"]["hour"]) == ("segments", proof["root"], proof["hour"])
    assert proof["leaf"] == f"edge-agent.segment/1\n{name}\n{end_us}\n9\n{4:064x}\n"
    path = [bytes.fromhex(node) for node in proof["audit_path"]]
    leaf = leaf_hash(proof["leaf"].encode())
    assert verify_inclusion(leaf, proof["index"], proof["count"], path, bytes.fromhex(proof["root"]))
    assert b"root" in agent.cli("archive", "proof", str(name)).stdout
    assert agent.cli("archive", "proof", str(SegmentName(CameraId("gate"), 1, 1))).returncode == 66
