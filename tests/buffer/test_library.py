"""What readers of the archive find: the indexed files and the one being written, nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval
from edge_agent.trust.age import Identity
from tests.simulators.clock import HandClock

CAMERA = CameraId("gate")
ME = Identity.generate()


def begun(root: Path, start_us: int, sequence: int, content: bytes = b"x") -> SegmentFile:
    file = SegmentFile(root, SegmentName(CAMERA, start_us, sequence), [ME.recipient])
    file.write(content)
    file.push()
    return file


def touched(file: SegmentFile, at_us: int) -> None:
    os.utime(file.path, ns=(at_us * 1000, at_us * 1000))


def test_the_file_being_written_is_found_up_to_its_last_write_and_a_stray_one_is_not(tmp_path: Path) -> None:
    clock = HandClock()
    now = clock.utc_us()
    index = Index(tmp_path / "index.sqlite", clock)
    closed = begun(tmp_path, now - 120 * US, 1)
    segment = closed.close(now - 60 * US, 1)
    index.add([segment])
    stray, live = begun(tmp_path, now - 3000 * US, 1), begun(tmp_path, now - 60 * US, 2)
    touched(stray, now)
    touched(live, now - US)
    found = Library(tmp_path, index, [ME], clock).segments(CAMERA, Interval(now - 3600 * US, now))
    assert found[0] == segment
    assert [(s.path, s.end_us) for s in found[1:]] == [(str(live.name), now - US)]


def test_a_segment_opens_with_the_nodes_key_and_a_vanished_one_is_told(tmp_path: Path) -> None:
    clock = HandClock()
    index = Index(tmp_path / "index.sqlite", clock)
    file = begun(tmp_path, clock.utc_us(), 1, b"the picture")
    index.add([file.close(clock.utc_us() + US, 1)])
    (source,) = Library(tmp_path, index, [ME], clock).sources(CAMERA, Interval(0, 2 * clock.utc_us()))
    with source.open() as reader:
        assert reader.read() == b"the picture"
    file.path.unlink()
    with pytest.raises(ArchiveError, match="cannot be read"):
        source.open()
