"""The recorder process: `python -m edge_agent.capture.recorder`, a RecorderJob on standard input, messages on standard
output (`edge_agent.child`, `docs/archive.md`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from functools import partial

from edge_agent.buffer.disks import Disks
from edge_agent.capture.camera_recorder import CameraRecorder
from edge_agent.capture.disk_choice import DiskChoice
from edge_agent.capture.feed import Rounds
from edge_agent.capture.gate import Gate
from edge_agent.capture.job import RECORDER_JOB, RecorderJob
from edge_agent.capture.segment_writer import ArchivePlace
from edge_agent.capture.sources import make_source
from edge_agent.child import Outlet, give_back_memory, run_child
from edge_agent.clock import Clock, SystemClock
from edge_agent.messages import Progress
from edge_agent.trust.age import Recipient

_log = logging.getLogger(__name__)

PROGRESS_S = 1.0
STATS_EVERY = 5
"""In beats of PROGRESS_S."""
TRIM_EVERY = 60
"""In beats."""
ROUND_S = 0.75
"""Between two rounds of reading: how late a picture is known here, and what a kill costs beside the open fragment."""
CLOSE_S = 3.5
"""Closing a file is quick unless the disk hangs; then what is not closed is recovered as torn."""


def record(job: RecorderJob, clock: Clock, outlet: Outlet, stop: threading.Event, gate: Gate) -> None:
    """Record all cameras of the job until `stop` is set, then close their files; BadKeyError for a wrong recipient."""
    recipients = [Recipient.parse(text) for text in job.recipients]
    disks = DiskChoice(Disks.first_and(job.archive_dir, job.more_disks), gate, clock, outlet.send)
    place = ArchivePlace(disks, recipients, job.segment_s, job.flush_s, gate)
    came = threading.Event()
    rounds = Rounds(clock, ROUND_S, came.set)
    cameras = [
        CameraRecorder(camera, place, clock, rounds, partial(make_source, camera, clock), outlet.send)
        for camera in job.cameras
    ]
    steps = [camera.run() for camera in cameras]
    writer = threading.Thread(target=_write, args=(steps, clock, rounds, came), name="write", daemon=True)
    rounds.start()
    writer.start()
    beat = 0
    while not clock.wait(stop, PROGRESS_S):
        beat += 1
        if beat % STATS_EVERY == 0:
            outlet.send(*[camera.stats() for camera in cameras])
        if beat % TRIM_EVERY == 0:
            give_back_memory()
        outlet.send(Progress(clock.utc_us(), outlet.dropped))
        if not writer.is_alive():
            raise RuntimeError("the writer ended")
    rounds.end()
    deadline = clock.monotonic() + CLOSE_S
    writer.join(CLOSE_S)
    # each waits for the disk, so the files are closed side by side
    closers = (
        [threading.Thread(target=step.close, daemon=True) for step in steps] if not writer.is_alive() else [writer]
    )
    for closer in closers:
        if closer is not writer:
            closer.start()
    for closer in closers:
        closer.join(max(0.0, deadline - clock.monotonic()))
    if any(closer.is_alive() for closer in closers):
        _log.error("not all files could be closed in time: the disk hangs")


def _write(steps: Sequence[Generator[float, None, None]], clock: Clock, rounds: Rounds, came: threading.Event) -> None:
    """Drive all cameras, whenever a round of reading has brought something, until there are no more rounds."""
    last = False
    while True:
        for step in steps:
            next(step)
        if last:
            return
        clock.wait(came, ROUND_S)
        came.clear()
        last = rounds.over or not rounds.is_alive()


def main() -> None:
    clock, gate = SystemClock(), Gate()

    def parse(line: bytes) -> RecorderJob:
        job = RECORDER_JOB.parse(line)
        gate.closed, gate.disks, gate.resting = job.wait, job.disks, dict(job.rest)
        return job

    run_child("recorder", parse, lambda job, outlet, stop: record(job, clock, outlet, stop, gate), gate.hear)


if __name__ == "__main__":
    main()
