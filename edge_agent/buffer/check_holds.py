"""What `archive check` says of holds: what each wants against what is there (`docs/archive.md`, "Checking")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_agent.buffer.account import account, missing_by_cause
from edge_agent.buffer.check import Finding, Kind
from edge_agent.buffer.holds import span
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.model import CameraId, Hold, Interval
from edge_agent.when import iso_utc

_BROKEN = (Kind.FILE_MISSING, Kind.SIZE_CHANGED, Kind.CONTENT_CHANGED, Kind.UNREADABLE, Kind.CLOSED_BUT_TORN)


def of_holds(
    holds: Iterable[Hold],
    cameras: Iterable[CameraId],
    index: Index,
    library: Library,
    found: Sequence[Finding],
    now_us: int,
) -> list[Finding]:
    """Of the holds in force, up to now; `cameras` are the configured ones, `found` what is wrong with files.

    ArchiveError when the index can't be read.
    """
    known = sorted({*cameras, *index.cameras()})
    broken = {finding.path: finding.kind for finding in found if finding.kind in _BROKEN}
    findings: list[Finding] = []
    for hold in holds:
        if hold.ended_us is not None:
            continue
        for camera in hold.cameras or known:
            if camera not in known:
                findings.append(Finding(Kind.HELD_CAMERA_UNKNOWN, f"{hold.hold_id}/{camera}"))
                continue
            past = span(hold).clipped(Interval(0, now_us))
            if not past.empty:
                findings += _camera(hold, camera, past, index, library, broken)
    return findings


def _camera(
    hold: Hold, camera: CameraId, past: Interval, index: Index, library: Library, broken: Mapping[str, Kind]
) -> Iterator[Finding]:
    by = f"hold {hold.hold_id}"
    for receipt in index.receipts(camera, past):
        if receipt.deleted_us > hold.since_us:
            when = f"{iso_utc(receipt.deleted_us)} ({receipt.reason})"
            yield Finding(Kind.HELD_DELETED, receipt.segment.path, f"{by}; deleted {when}")
    for segment in library.segments(camera, past):
        if kind := broken.get(segment.path):
            yield Finding(Kind.HELD_DAMAGED, segment.path, f"{by}; {kind}")
        elif segment.torn:
            yield Finding(Kind.HELD_TORN, segment.path, f"{by}; {segment.interval.seconds:.1f} s are there")
    there = account(library, camera, past)
    if there.missing:
        causes = ", ".join(f"{cause} {seconds:.1f} s" for cause, seconds in missing_by_cause([there]).items())
        first = there.missing[0].interval
        detail = f"{causes}; the first from {iso_utc(first.start_us)} to {iso_utc(first.end_us)}"
        yield Finding(Kind.HELD_MISSING, f"{hold.hold_id}/{camera}", detail)
