"""Holds at a real node that records a real camera into a small ring: what is ordered stays, what is let go goes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.model import GapCause
from edge_agent.trust.policy import Role
from edge_agent.when import iso_utc
from tests.peers.agent import RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.support import wait_until

OFFICER = TestPerson("o-officer", Role.ARCHIVE_OFFICER)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def said(ended: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stderr.decode()
    return dict(json.loads(ended.stdout))


def test_a_held_recording_survives_a_ring_that_runs_over_and_goes_when_it_is_let_go(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, people=(OFFICER,), segment_s=2)
    agent.config.write_text(agent.config.read_text().replace("min_free = 0", 'min_free = 0\nmax_size = "1500 kB"'))
    order = [
        "--order",
        "12-р",
        "--ordered-by",
        "Мер Іван",
        "--as",
        OFFICER.id,
        "--key",
        OFFICER.key_file(tmp_path),
        "--json",
    ]
    with agent:
        first = wait_until(lambda: agent.segments("gate")[:1], 40, "a recording")[0]
        start = iso_utc(first.start_us)
        span = ["--from", start, "--for", "1s", "--camera", "gate"]
        held = said(agent.cli("hold", "add", *span, *order))
        hold_id = held["hold"]["hold_id"]
        assert held["cameras"]["gate"]["missing"] == []
        wait_until(lambda: agent.receipts("gate"), 60, "the ring runs over")
        newer = agent.segments("gate")[-1].end_us
        wait_until(lambda: agent.segments("gate")[-1].end_us > newer + 4_000_000, 40, "recording goes on")
        assert agent.segments("gate")[0] == first
        assert (agent.archive / first.path).is_file()
        listed = said(agent.cli("hold", "list", "--json"))
        assert listed["held_bytes"]["gate"] >= first.size_bytes
        assert "12-р" in agent.cli("hold", "show", hold_id[:6]).stdout.decode()
        refused = agent.cli("hold", "end", hold_id, *order[:-5], "--as", "nobody", *order[-3:])
        assert refused.returncode == 77, refused.stderr
        said(agent.cli("hold", "end", hold_id, *order))
        wait_until(lambda: not (agent.archive / first.path).exists(), 60, "what was let go goes")
        assert agent.stop() == 0
    assert {receipt.reason for receipt in agent.receipts("gate")} == {"space"}
    later = said(agent.cli("hold", "add", "--from", start, *order))
    assert (
        later["cameras"]["gate"]["missing"][0] | {"cause": "deleted", "evidence": "space"}
        == (later["cameras"]["gate"]["missing"][0])
    )
    actions = [(entry["action"], entry["outcome"]) for entry in agent.journal() if entry["action"].startswith("hold")]
    assert actions.count(("hold", "done")) == 2
    assert actions.count(("hold_end", "done")) == 1


@pytest.mark.root
def test_a_disk_that_must_not_be_overwritten_stops_the_recording_in_order_and_it_goes_on_by_itself(
    tmp_path: Path, small_disk: Path, camera_server: CameraServer
) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=2)
    agent.config.write_text(
        agent.config.read_text().replace("min_free = 0", 'on_full = "stop"\nmin_free = "10 MB"\ndays = 10')
    )
    foreign = small_disk / "somebody-elses"
    with agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 40, "some files")
        foreign.write_bytes(bytes(10_000_000))
        wait_until(lambda: "recording waits" in agent.log(), 20, "the agent says wait")
        wait_until(lambda: not agent.recording("gate"), 20, "the open file is ended")
        kept = agent.segments("gate")
        foreign.unlink()
        wait_until(lambda: len(agent.segments("gate")) >= len(kept) + 2, 40, "recording goes on")
        assert agent.stop() == 0
    assert agent.segments("gate")[: len(kept)] == kept
    assert not any(segment.torn for segment in kept)
    assert [(gap.cause, "on_full" in gap.evidence) for gap in agent.gaps("gate")] == [(GapCause.DISK, True)]
    assert agent.receipts("gate") == []
