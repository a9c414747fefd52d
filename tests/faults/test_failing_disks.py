"""A disk that fills, turns read-only or gives errors: it is told, nobody dies, and recording resumes by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.clock import US, SystemClock
from edge_agent.model import AlarmPhase, CameraFault, GapCause
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.keys import write_secret_file
from tests.faults.node import Watched, node_on
from tests.faults.restart import restart
from tests.peers.agent import Dispatcher
from tests.peers.cameras import CameraServer
from tests.peers.loop_disk import LoopDisk
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.peers.traced_disk import TracedDisk

pytestmark = pytest.mark.root
CHANGES = "write|create|mkdir|unlink|rmdir|rename|truncate|chmod|utimens|fsync|fsyncdir"
OUTAGE_S = 4.0


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The node's, on a disk that is well."""
    path = tmp_path / "node.age"
    write_secret_file(path, f"{Identity.generate()}\n".encode())
    return path


@pytest.mark.parametrize(("error", "operations"), [("EROFS", CHANGES), ("EIO", f"{CHANGES}|read|open")])
def test_a_disk_that_refuses_is_told_by_alarm_and_health_and_used_again_when_it_is_well(
    tmp_path: Path, key: Path, broker: Mosquitto, camera_server: CameraServer, error: str, operations: str
) -> None:
    clock = SystemClock()
    with TracedDisk(tmp_path) as disk:
        agent = node_on(tmp_path, disk.folder, {"gate": camera_server.url("/main")}, segment_s=2, broker=broker)
        with agent, Dispatcher(broker) as dispatcher:
            seen = Watched(agent, dispatcher)
            wait_until(lambda: seen.records() and agent.segments("gate"), 40, "something is recorded")
            pids, outage = seen.pids(), clock.monotonic() + OUTAGE_S
            disk.fail(error, operations)
            wait_until(lambda: seen.fault() is CameraFault.DISK, 30, f"health says that the disk fails\n{agent.log()}")
            wait_until(lambda: AlarmPhase.START in seen.phases(), 30, "an alarm says it")
            wait_until(lambda: clock.monotonic() > outage, 10, "the disk failed for a while")
            assert seen.fault() is CameraFault.DISK
            disk.heal()
            healed_us = clock.utc_us()
            wait_until(seen.records, 30, "it records again")
            wait_until(lambda: AlarmPhase.END in seen.phases(), 30, "the alarm ends")
            wait_until(
                lambda: any(s.start_us > healed_us and not s.torn for s in agent.segments("gate")), 20, "a new file"
            )
            assert seen.pids() == pids, "nobody died of it"
            assert agent.stop() == 0
        found = restart(disk.folder, load_identities(key), clock)
        found.close()
        assert found.set_aside == []
        assert found.wrong == []
        assert {gap.cause for gap in agent.gaps("gate")} == {GapCause.DISK}
        lost_s = sum(gap.interval.seconds for gap in agent.gaps("gate"))
    print(f"{error} for {OUTAGE_S:.0f} s: {lost_s:.1f} s lost, nobody restarted")
    assert lost_s < OUTAGE_S + 12


def test_a_full_disk_leaves_index_documents_journal_and_outbox_whole_and_the_ring_goes_on(
    tmp_path: Path, scratch: Path, key: Path, broker: Mosquitto, camera_server: CameraServer
) -> None:
    clock = SystemClock()
    with LoopDisk(scratch, megabytes=28) as disk:
        agent = node_on(tmp_path, disk.folder, {"gate": camera_server.url("/main")}, segment_s=2, broker=broker)
        agent.config.write_text(agent.config.read_text().replace("min_free = 0", 'min_free = "500 kB"'))
        with agent:
            wait_until(lambda: sum(s.size_bytes for s in agent.segments("gate")) > 1_000_000, 60, "some files")
            first = agent.segments("gate")[0]
            broker.kill()  # what must be kept meets a full disk
            foreign = disk.fill()
            wait_until(lambda: not (agent.archive / first.path).exists(), 30, "the oldest makes room")
            before = agent.segments("gate")[-1].end_us
            wait_until(lambda: agent.segments("gate")[-1].end_us > before + 3 * US, 40, "recording goes on by the ring")
            foreign.unlink()
            newest = agent.segments("gate")[-1].end_us
            wait_until(lambda: agent.segments("gate")[-1].end_us > newest + 3 * US, 30, "and without pressure")
            assert agent.stop() == 0
        assert {gap.cause for gap in agent.gaps("gate")} <= {GapCause.DISK}
        found = restart(disk.folder, load_identities(key), clock)
        found.close()
    assert found.set_aside == []
    assert found.wrong == []
    assert found.bad_lines == []
    assert found.receipts[first.path] == "space"
    assert {entry.kind for entry in found.journal} >= {"start", "deletion", "stop"}
    assert foreign.name not in {path.rpartition("/")[2] for path in found.receipts}
