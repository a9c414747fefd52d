"""An archive on two disks: one fails or is pulled out, recording goes on on the other, and nothing closed is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.disk_watch import DISK_ALARM
from edge_agent.model import GapCause, Segment
from edge_agent.trust.policy import Role
from edge_agent.when import iso_utc
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.loop_disk import LoopDisk
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

pytestmark = pytest.mark.root
OFFICER = TestPerson("officer", Role.ARCHIVE_OFFICER)
DISKS = ("", "b")
FAILOVER_S = 8.0


class Node:
    """An agent with its archive on two disks of its own."""

    def __init__(self, folder: Path, disks: dict[str, LoopDisk], url: str, broker: Mosquitto | None = None) -> None:
        self.disks = disks
        for disk in disks.values():
            (disk.folder / "archive").mkdir()
        more = f'[[disk]]\nid = "b"\npath = "{self.archive("b")}"\n'
        self.agent = RunningAgent(folder, {"gate": url}, broker=broker, people=(OFFICER,), more=more, segment_s=2)
        text = self.agent.config.read_text().replace("[archive]\n", f'[archive]\npath = "{self.archive("")}"\n')
        self.agent.config.write_text(text)
        (folder / "data").mkdir()
        done = self.agent.cli("archive", "add-disk", "b")
        assert done.returncode == 0, done.stderr

    def archive(self, disk: str) -> Path:
        return self.disks[disk].folder / "archive"

    def segments(self) -> list[Segment]:
        return self.agent.segments("gate")

    def file(self, segment: Segment) -> Path:
        return self.archive(segment.disk) / segment.path

    def on(self, disk: str, since_us: int = 0) -> list[Segment]:
        return [s for s in self.segments() if s.disk == disk and s.start_us >= since_us]

    def in_use(self) -> str:
        """The disk of the newest recording."""
        return self.segments()[-1].disk


@pytest.fixture
def disks(scratch: Path) -> Iterator[dict[str, LoopDisk]]:
    with ExitStack() as stack:
        yield {disk: stack.enter_context(LoopDisk(scratch / (disk or "first"), megabytes=40)) for disk in DISKS}


def test_when_a_disk_fails_recording_goes_on_on_the_other_and_the_first_is_used_again_when_it_is_back(
    tmp_path: Path, disks: dict[str, LoopDisk], broker: Mosquitto, camera_server: CameraServer
) -> None:
    clock = SystemClock()
    node = Node(tmp_path, disks, camera_server.url("/main"), broker)
    with node.agent as agent, Dispatcher(broker) as dispatcher:

        def alarmed() -> bool:
            health = dispatcher.health()
            return health is not None and any(trouble.code == DISK_ALARM for trouble in health.troubles)

        wait_until(lambda: len(node.segments()) >= 2, 40, "something is recorded")
        before, failing = node.segments(), node.in_use()
        other = next(disk for disk in DISKS if disk != failing)
        cut_us = clock.utc_us()
        disks[failing].cut()
        wait_until(lambda: node.on(other, cut_us), 20, f"it goes on on the other disk\n{agent.log()}")
        wait_until(alarmed, 30, "health tells of the disk")
        disks[failing].replug()
        wait_until(lambda: not alarmed(), 30, f"the disk works again\n{agent.log()}")
        back_us = clock.utc_us()
        wait_until(lambda: node.segments()[-1].start_us > back_us, 20, "something is recorded since")
        filled, filled_us = node.in_use(), clock.utc_us()
        foreign = disks[filled].fill()
        rest = next(disk for disk in DISKS if disk != filled)
        wait_until(lambda: node.on(rest, filled_us), 20, f"and so it does when others fill the disk\n{agent.log()}")
        foreign.unlink()
        assert agent.stop() == 0
    after = {segment.path: segment for segment in node.segments()}
    assert all(segment.path in after for segment in before)
    assert all(node.file(s).stat().st_size == s.size_bytes for s in before if not s.torn)
    gaps = node.agent.gaps("gate")
    print(f"lost: {[f'{gap.interval.seconds:.1f} s, {gap.cause}' for gap in gaps]}")
    assert {gap.cause for gap in gaps} <= {GapCause.DISK}
    assert sum(gap.interval.seconds for gap in gaps) < 2 * FAILOVER_S
    assert {segment.disk for segment in after.values() if segment.start_us > back_us} == {"", "b"}
    assert node.agent.receipts("gate") == []


def test_a_disk_that_is_pulled_out_keeps_its_recordings_in_the_index_and_gives_them_when_it_is_back(
    tmp_path: Path, disks: dict[str, LoopDisk], camera_server: CameraServer
) -> None:
    node = Node(tmp_path, disks, camera_server.url("/main"))
    with node.agent as agent:
        wait_until(lambda: len(node.segments()) >= 2, 40, "something is recorded")
        assert agent.stop() == 0
    pulled, known = node.in_use(), {segment.path for segment in node.segments()}
    other = next(disk for disk in DISKS if disk != pulled)
    disks[pulled].unmount()
    with node.agent as agent:
        wait_until(lambda: node.on(other), 40, f"it records on the disk that is left\n{agent.log()}")
        assert known <= {segment.path for segment in node.segments()}, "what is not there is not gone"
        assert agent.receipts("gate") == []
        start = min(segment.start_us for segment in node.segments())
        end = max(segment.end_us for segment in node.segments())
        span = ("--from", iso_utc(start), "--to", iso_utc(end))
        part = agent.by(OFFICER, "archive", "export", "gate", *span, "-o", str(tmp_path / "part.mp4"))
        name = "disk b" if pulled else "the first disk"
        assert f"it is on {name}" in (part.stderr + part.stdout).decode(), part
        found = agent.cli("archive", "check", "--json")
        assert found.returncode == 1
        assert [one["kind"] for one in json.loads(found.stdout)["findings"]] == ["disk-missing"], found.stdout
        assert not list(disks[pulled].folder.iterdir()), "nothing is recorded beside the disk"
        disks[pulled].mount()
        wait_until(lambda: "is there again" in agent.log(), 30, "the agent sees it")
        whole = agent.by(OFFICER, "archive", "export", "gate", *span, "-o", str(tmp_path / "whole.mp4"))
        assert whole.returncode == 0, whole.stderr
        assert (tmp_path / "whole.mp4").stat().st_size > (tmp_path / "part.mp4").stat().st_size
        assert agent.stop() == 0
    checked = node.agent.cli("archive", "check", "--deep", "--json")
    assert checked.returncode == 0, checked.stdout
    before = [(s.path, s.disk, s.sha256) for s in node.segments()]
    assert node.agent.cli("archive", "rebuild").returncode == 0
    assert [(s.path, s.disk, s.sha256) for s in node.segments()] == before
    disks[pulled].unmount()
    assert node.agent.cli("archive", "rebuild").returncode == 0
    assert [(s.path, s.disk, s.sha256) for s in node.segments()] == before, "the old index knows what is not there"
    disks[pulled].mount()
