"""The power of a real disk is cut under a whole agent, again and again: ext4's own shutdown, then its own recovery."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest

from edge_agent.clock import US, SystemClock
from edge_agent.model import AlarmPhase, CameraFault
from edge_agent.trust.age import Identity
from edge_agent.trust.command import StatusArgs
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from tests.faults.node import (
    Watched,
    command,
    end_at_once,
    indexed,
    node_on,
    restarted_copy,
    stated_loss_s,
)
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.loop_disk import LoopDisk
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

pytestmark = pytest.mark.root
CUTS = 2
CAMERAS = ("gate", "yard", "bridge", "square")


def test_power_cuts_under_four_cameras_lose_what_is_stated_and_nothing_that_was_closed(
    tmp_path: Path,
    scratch: Path,
    camera_server: CameraServer,
    broker: Mosquitto,
    street_h264: Path,
    street_h265: Path,
) -> None:
    write_secret_file(tmp_path / "node.age", f"{Identity.generate()}\n".encode())
    installer, clock, dice = TestPerson("installer", Role.CONTRACTOR), SystemClock(), random.Random(4)
    files = {"gate": street_h264, "yard": street_h265, "bridge": street_h264}
    cameras = {name: f"file://{clip}" for name, clip in files.items()} | {"square": camera_server.url("/main")}
    worst: dict[str, float] = dict.fromkeys(CAMERAS, 0.0)
    with LoopDisk(scratch, megabytes=64) as disk:
        agent = node_on(tmp_path, disk.folder, cameras, segment_s=2, more=installer.toml(), broker=broker)
        for number in range(1, CUTS + 1):
            with agent, Dispatcher(broker) as dispatcher:
                wait_until(partial(closed_since, agent, clock.utc_us()), 30, "a closed file of each camera")
                assert command(agent, installer.sign(StatusArgs(), nonce=f"nonce-of-cut-{number:06d}")).state == "done"
                clock.wait(threading.Event(), dice.uniform(0, 2))
                before = indexed(agent, CAMERAS)
                disk.cut()
                cut_us = clock.utc_us()
                if number == CUTS:
                    outlived(Watched(agent, dispatcher))
                end_at_once(agent)
            disk.replug()
            found = restarted_copy(agent, scratch)
            assert found.set_aside == []
            assert found.wrong == []
            for path, segment in before.items():
                assert found.segments[path].sha256 == segment.sha256, path
            for camera in CAMERAS:
                mine = [segment for segment in found.segments.values() if segment.camera == camera]
                bitrate = sum(s.size_bytes for s in mine) / sum(s.interval.seconds for s in mine)
                loss_s = (cut_us - max(segment.end_us for segment in mine)) / US
                worst[camera] = max(worst[camera], loss_s)
                assert loss_s <= stated_loss_s(bitrate), (camera, number)
            starts = [entry for entry in found.journal if entry.kind == "start"]
            accepted = [entry.ref for entry in found.journal if entry.outcome == "accepted"]
            assert len(starts) == number
            assert accepted == [f"nonce-of-cut-{one:06d}" for one in range(1, number + 1)]
            assert found.bad_lines == []
            found.close()
        with agent:
            wait_until(lambda: agent.recording(*CAMERAS), 30, "all cameras are recorded again")
            replayed = command(agent, installer.sign(StatusArgs(), nonce="nonce-of-cut-000001"))
            assert replayed.state == "refused"
            assert agent.stop() == 0
        checked = agent.cli("archive", "check", "--deep")
    assert checked.returncode == 0, checked.stdout.decode()
    words = ", ".join(f"{camera} {seconds:.2f} s" for camera, seconds in worst.items())
    print(f"{CUTS} power cuts: nothing closed lost; of the open files at most: {words}")


def outlived(seen: Watched) -> None:
    """Had only the disk died, the agent would say so and go on trying."""
    pids = seen.pids()
    wait_until(lambda: seen.fault() is CameraFault.DISK, 30, "health says that the disk is dead")
    wait_until(lambda: AlarmPhase.START in seen.phases(), 30, "an alarm says it")
    assert seen.pids() == pids


def closed_since(agent: RunningAgent, since_us: int) -> bool:
    """Each camera has a recording of this life that is closed: only then is what is missing after it a cut's doing."""
    return all(any(segment.start_us >= since_us for segment in agent.segments(camera)) for camera in CAMERAS)
