"""Power cut under a whole agent, told by the trace of its disk: what was closed stays, the loss is bounded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent.buffer.segments import WHOLE_MODE
from edge_agent.clock import US, SystemClock
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.keys import write_secret_file
from tests.faults.node import camera_of, node_on, stated_loss_s
from tests.faults.power_cut import cuts
from tests.faults.restart import restart
from tests.peers.support import wait_until
from tests.peers.traced_disk import Step, TracedDisk

pytestmark = pytest.mark.root
CAMERAS = ("gate", "yard")


@dataclass
class Told:
    """What the trace alone says, up to a step: which recordings were closed durably, and of whom there are any."""

    closed: dict[str, str] = field(default_factory=dict)
    """SHA-256 by path, of those whose name, bytes and marks are on the disk, until their deletion begins."""
    recorded: set[str] = field(default_factory=set)
    """Cameras that have pictures on the disk."""
    _content: dict[int, bytearray] = field(default_factory=dict)
    _marked: set[int] = field(default_factory=set)
    """Files whose mode says that they are closed."""
    _synced: dict[str, int] = field(default_factory=dict)
    """Files, by path, that were synced after that."""

    def take(self, step: Step) -> None:
        camera = camera_of(step.path)
        if step.op == "fsyncdir":
            for path in [path for path in self._synced if path.rpartition("/")[0] == step.path]:
                self.closed[path] = hashlib.sha256(self._content[self._synced.pop(path)]).hexdigest()
        if camera is None:
            return
        match step.op:
            case "create":
                self._content[step.file] = bytearray()
            case "write":
                assert step.offset == len(self._content[step.file]), "a recording is only appended to (invariant 2)"
                assert step.file not in self._marked, "a closed recording never changes (invariant 3)"
                self._content[step.file] += step.data
            case "truncate":
                raise AssertionError(f"{step.path} was truncated (invariant 2)")
            case "chmod" if step.value == WHOLE_MODE:
                self._marked.add(step.file)
            case "fsync" if step.file in self._marked:
                self._synced[step.path] = step.file
            case "fsync":
                self.recorded.add(camera)
            case "unlink":
                self.closed.pop(step.path, None)


def test_a_power_cut_costs_a_recording_agent_what_the_documentation_says_and_nothing_that_was_closed(
    tmp_path: Path, scratch: Path, street_h264: Path
) -> None:
    write_secret_file(tmp_path / "node.age", f"{Identity.generate()}\n".encode())
    clock = SystemClock()
    with TracedDisk(tmp_path) as disk:
        agent = node_on(tmp_path, disk.folder, dict.fromkeys(CAMERAS, f"file://{street_h264}"))
        with agent:
            wait_until(lambda: all(len(agent.segments(c)) >= 2 for c in CAMERAS), 40, "two closed files of each")
            agent.process.kill()
        steps = disk.steps()
    bitrate = sum(len(step.data) for step in steps if camera_of(step.path) == "gate") / span_s(steps, "gate")
    bound_s = stated_loss_s(bitrate)
    identities = load_identities(tmp_path / "node.age")
    told, seen, tried, worst_s = Told(), 0, 0, 0.0
    began = next(step.at_us for step in steps if camera_of(step.path))
    ended = max(step.at_us for step in steps if camera_of(step.path))
    for cut in cuts(steps, scratch, seed=7, every=2):
        for step in steps[seen : cut.after]:
            told.take(step)
        seen = cut.after
        if not began <= cut.at_us <= ended:
            continue
        found = restart(cut.folder, identities, clock)
        found.close()
        tried += 1
        assert found.set_aside == [], cut.words
        assert found.wrong == [], cut.words
        for path, digest in told.closed.items():
            file = cut.folder / path
            assert file.stat().st_mode & 0o777 == WHOLE_MODE, (path, cut.words)
            assert hashlib.sha256(file.read_bytes()).hexdigest() == digest, (path, cut.words)
        for camera in told.recorded:
            ends = [s.end_us for s in found.segments.values() if s.camera == camera]
            assert ends, (camera, cut.words)
            loss_s = (cut.at_us - max(ends)) / US
            worst_s = max(worst_s, loss_s)
            assert loss_s <= bound_s, (camera, cut.words)
    print(f"{tried} disks after a cut: nothing closed lost, at most {worst_s:.2f} s of {bound_s:.2f} s stated")
    assert tried > 60


def span_s(steps: list[Step], camera: str) -> float:
    times = [step.at_us for step in steps if step.op == "write" and camera_of(step.path) == camera]
    return (times[-1] - times[0]) / US
