"""Power cut under a whole agent on ext4, told by the blocks: what the disk's cache held is lost, reordered or torn.

The file system's image lies on a disk that remembers each write and each flush.  At many moments a disk is made that
such a cut may leave, ext4 recovers it as it would, and an agent's start looks at it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.clock import US, SystemClock
from edge_agent.files import fsync_folder
from edge_agent.model import Segment
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.keys import write_secret_file
from tests.faults.node import indexed, node_on, stated_loss_s
from tests.faults.power_cut import cuts
from tests.faults.restart import restart
from tests.peers.loop_disk import LoopDisk
from tests.peers.support import wait_until
from tests.peers.traced_disk import TracedDisk

pytestmark = pytest.mark.root
CAMERAS = ("gate", "yard")


def test_at_every_moment_ext4_gives_back_an_archive_that_keeps_its_promises(
    tmp_path: Path, scratch: Path, street_h264: Path
) -> None:
    write_secret_file(tmp_path / "node.age", f"{Identity.generate()}\n".encode())
    identities, clock = load_identities(tmp_path / "node.age"), SystemClock()
    with TracedDisk(tmp_path) as traced, LoopDisk(tmp_path / "loop", 24, image=traced.folder / "image") as disk:
        agent = node_on(tmp_path, disk.folder, dict.fromkeys(CAMERAS, f"file://{street_h264}"), segment_s=2)
        fsync_folder(traced.folder)
        traced.mark("mounted")
        with agent, telling(lambda: indexed(agent, CAMERAS), traced):
            wait_until(lambda: all(len(agent.segments(c)) >= 2 for c in CAMERAS), 40, "two closed files of each")
            assert agent.stop() == 0
        steps = traced.steps()
    promised: dict[str, str] = {}
    seen, tried, worst_s = 0, 0, 0.0
    ended = max(step.at_us for step in steps if step.op == "mark")
    for cut in cuts(steps, scratch, seed=11, every=16, after="mounted"):
        for step in steps[seen : cut.after]:
            promised |= json.loads(step.path) if step.op == "mark" and step.path.startswith("{") else {}
        seen = cut.after
        with LoopDisk(scratch / "again", image=cut.folder / "image") as again:
            found = restart(again.folder, identities, clock)
            found.close()
        tried += 1
        assert found.set_aside == [], cut.words
        assert found.wrong == [], cut.words
        assert found.bad_lines == [], cut.words
        assert {path: found.segments[path].sha256 for path in promised} == promised, cut.words
        if cut.at_us <= ended:
            for camera in {path.partition("/")[0] for path in promised}:
                mine = [segment for segment in found.segments.values() if segment.camera == camera]
                loss_s = (cut.at_us - max(segment.end_us for segment in mine)) / US
                worst_s = max(worst_s, loss_s)
                assert loss_s <= stated_loss_s(pace(mine)), (camera, cut.words)
    print(f"{tried} ext4 disks after a cut: nothing closed lost, at most {worst_s:.2f} s of what was open")
    assert tried > 15
    assert promised


def pace(segments: list[Segment]) -> float:
    """Sealed bytes a second."""
    return sum(s.size_bytes for s in segments) / sum(s.interval.seconds for s in segments)


@contextmanager
def telling(entered: Callable[[], dict[str, Segment]], disk: TracedDisk) -> Iterator[None]:
    """The trace hears of each recording that the index has, soon after it has it."""
    over = threading.Event()

    def tell() -> None:
        told: set[str] = set()
        while not over.wait(0.05):
            fresh = {path: segment.sha256 for path, segment in entered().items() if path not in told}
            if fresh:
                told |= set(fresh)
                disk.mark(json.dumps(fresh))

    thread = threading.Thread(target=tell, name="telling")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
