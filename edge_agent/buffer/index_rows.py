"""Segments as the index's rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_agent.buffer.segments import SegmentName
from edge_agent.errors import ArchiveError
from edge_agent.model import ClockTrust, Segment

COLUMNS = "camera, start_us, sequence, end_us, size_bytes, frames, sha256, torn, damaged, clock, disk"
"""Of a segment's row, as `segment_of` reads it."""
KEY = "camera = ? AND start_us = ? AND sequence = ?"


def segment_of(row: Sequence[Any]) -> Segment:
    """From a row of `COLUMNS`; more columns after them do not matter."""
    camera, start_us, sequence, end_us, size_bytes, frames, sha256, torn, damaged, clock, disk = row[:11]
    return Segment(
        camera,
        str(SegmentName(camera, start_us, sequence)),
        start_us,
        end_us,
        size_bytes,
        frames,
        None if sha256 is None else sha256.hex(),
        bool(torn),
        damaged,
        None if clock is None else ClockTrust(clock),
        disk,
    )


def row_of(segment: Segment) -> tuple[object, ...]:
    """A row of `COLUMNS`."""
    digest = None if segment.sha256 is None else bytes.fromhex(segment.sha256)
    facts = (segment.frames, digest, int(segment.torn), segment.damaged, segment.clock, segment.disk)
    return (*key_of(segment.path), segment.end_us, segment.size_bytes, *facts)


def key_of(path: str) -> tuple[str, int, int]:
    """What `KEY` asks for; ArchiveError when the path is none of the archive's."""
    name = SegmentName.parse(path)
    if name is None:
        raise ArchiveError(f"{path} is no segment of the archive")
    return name.camera, name.start_us, name.sequence
