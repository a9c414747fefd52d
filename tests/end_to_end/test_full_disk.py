"""A disk that others fill: the ring makes room by itself, and nothing that is known is forgotten."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.model import GapCause
from tests.peers.agent import RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.support import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take every free byte."""
    path = folder / "somebody-elses"
    result = subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=64k"], capture_output=True, check=False)
    assert b"No space left" in result.stderr
    return path


def test_a_full_disk_is_survived_by_the_ring_and_recovers_by_itself(
    tmp_path: Path, small_disk: Path, camera_server: CameraServer
) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, segment_s=2)
    agent.config.write_text(agent.config.read_text().replace("min_free = 0", 'min_free = "500 kB"'))
    with agent:
        wait_until(lambda: sum(s.size_bytes for s in agent.segments("gate")) > 1_500_000, 60, "some files")
        first = agent.segments("gate")[0]
        foreign = fill(small_disk)
        wait_until(lambda: not (agent.archive / first.path).exists(), 20, "the oldest recording makes room")
        before = agent.segments("gate")[-1].end_us
        wait_until(lambda: agent.segments("gate")[-1].end_us > before + 4_000_000, 40, "recording goes on by the ring")
        foreign.unlink()
        newest = agent.segments("gate")[-1].end_us
        wait_until(lambda: agent.segments("gate")[-1].end_us > newest + 4_000_000, 30, "and without pressure")
        assert agent.stop() == 0
    on_disk = {str(path.relative_to(agent.archive)) for path in agent.archive.glob("*/*/*.age")}
    assert {segment.path for segment in agent.segments("gate")} == on_disk
    assert {gap.cause for gap in agent.gaps("gate")} <= {GapCause.DISK}
    assert any(entry["kind"] == "deletion" for entry in agent.journal())
