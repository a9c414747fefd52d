"""The exporter: a child process for one release, of low priority.  Cut, seal to the recipient, hand to the target.

The sealed clip and a note of what it holds are kept in the staging folder until the release has ended, so that another
try goes straight to the upload.  Nothing unsealed ever touches the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from edge_agent.buffer.disks import Disks
from edge_agent.buffer.export import ClipReport, plan_clip, write_clip
from edge_agent.buffer.library import SealedSegment
from edge_agent.child import Outlet, run_child
from edge_agent.clock import Clock, SystemClock
from edge_agent.config import Target
from edge_agent.errors import ArchiveError, EdgeError, UplinkError
from edge_agent.files import fsync_folder
from edge_agent.jobs import JobForm
from edge_agent.messages import ExportStep
from edge_agent.model import Interval, Segment
from edge_agent.trust.age import AgeWriter, Identity, Recipient
from edge_agent.uplink.targets import upload

_TELL_EVERY_S = 0.5
_LARGEST_BLOCK = 8 << 20


@dataclass(frozen=True, slots=True)
class ExporterJob:
    """All that one release needs; identities are secrets and pass through a pipe only."""

    job_id: str
    archive_dir: str
    """Of the first disk."""
    segments: tuple[Segment, ...]
    interval: Interval
    identities: tuple[str, ...] = field(repr=False)
    recipient: str
    target: Target
    staging_dir: str
    name: str
    """Of the clip at the target."""
    more_disks: tuple[tuple[str, str], ...] = ()
    """Ids and folders of the archive's disks but the first."""


EXPORTER_JOB = JobForm(ExporterJob, "exporter")


class _Steps:
    """Tells the agent how far the release is, a few times a second at most."""

    def __init__(self, job_id: str, outlet: Outlet, stop: threading.Event, clock: Clock) -> None:
        self._job_id = job_id
        self._outlet = outlet
        self._stop = stop
        self._clock = clock
        self._told = float("-inf")

    def cutting(self, part: float) -> None:
        self._running("cut", part)

    def uploading(self, sent: int, whole: int) -> None:
        self._running("upload", sent / whole if whole else 1.0)

    def _running(self, stage: Any, part: float) -> None:
        if self._stop.is_set():
            raise UplinkError("the agent stops; the release goes on when it is back")
        now = self._clock.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._outlet.send(ExportStep(self._job_id, "running", stage, part))


def work(job: ExporterJob, outlet: Outlet, stop: threading.Event) -> None:
    """Do the release and say how it ended."""
    _step_back()
    steps = _Steps(job.job_id, outlet, stop, SystemClock())
    try:
        staging = Path(job.staging_dir)
        clip, note = staging / f"{job.job_id}.mp4.age", staging / f"{job.job_id}.json"
        if not note.is_file():
            held = cut(job, clip, steps.cutting)
            _write_note(note, held)
        held = json.loads(note.read_bytes())
        receipt = upload(job.target, clip, job.name, steps.uploading)
        result = {**held, "location": receipt.location, "sealed_bytes": receipt.size_bytes, "sha256": receipt.sha256}
        outlet.send(ExportStep(job.job_id, "done", "upload", 1.0, result))
    except UplinkError as error:
        outlet.send(ExportStep(job.job_id, "failed", error=str(error), again=True))
    except EdgeError as error:
        outlet.send(ExportStep(job.job_id, "failed", error=str(error)))
    except OSError as error:
        outlet.send(
            ExportStep(job.job_id, "failed", error=f"{error.filename or job.name}: {error.strerror}", again=True)
        )


def cut(job: ExporterJob, clip: Path, progress: Callable[[float], None]) -> dict[str, Any]:
    """Make the sealed clip, whole or not at all; what it holds, as the note tells it.

    Damage in a recording is rare: pictures are read twice, to leave out what can't be read, only once that was met.
    """
    identities = tuple(Identity.parse(text) for text in job.identities)
    disks = Disks.first_and(job.archive_dir, job.more_disks)
    sources = [SealedSegment(segment, disks, identities) for segment in job.segments]
    part = clip.with_suffix(".part")
    # once freed, blocks as large as those that come now are kept by malloc rather than mapped anew, page by page
    bytearray(_LARGEST_BLOCK)
    try:
        with part.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            try:
                report = _sealed(job, sources, file, progress, verify=False)
            except ArchiveError:
                file.seek(0)
                file.truncate()
                report = _sealed(job, sources, file, progress, verify=True)
            file.flush()
            os.fsync(file.fileno())
        part.rename(clip)
        fsync_folder(clip.parent)
    except OSError as error:
        raise ArchiveError(f"the clip cannot be kept in {clip.parent}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return {
        "name": job.name,
        "seconds": round(report.footage_s, 3),
        "missing_s": round(sum(gap.interval.seconds for gap in report.gaps), 3),
        "start_us": report.covered.start_us,
        "end_us": report.covered.end_us,
        "frames": report.video_samples,
        "clip_bytes": report.size_bytes,
        "clip_sha256": report.sha256,
        "notes": list(report.notes),
    }


def _sealed(
    job: ExporterJob,
    sources: Sequence[SealedSegment],
    file: BinaryIO,
    progress: Callable[[float], None],
    *,
    verify: bool,
) -> ClipReport:
    sink = AgeWriter(file, [Recipient.parse(job.recipient)])
    report = write_clip(plan_clip(sources, job.interval, verify=verify), sink, progress)
    sink.finish()
    return report


def _write_note(note: Path, held: dict[str, Any]) -> None:
    fresh = note.with_suffix(".part")
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(held, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(note)
    fsync_folder(note.parent)


def _step_back() -> None:
    """Recording comes first."""
    os.nice(10)
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


if __name__ == "__main__":
    run_child("exporter", EXPORTER_JOB.parse, work)
