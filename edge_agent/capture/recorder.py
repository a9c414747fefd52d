"""The recorder process: `python -m edge_agent.capture.recorder`, a RecorderJob on standard input, messages on standard
output (`edge_agent.child`, `docs/archive.md`)."""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path

from edge_agent.capture.camera_recorder import CameraRecorder
from edge_agent.capture.job import RECORDER_JOB, RecorderJob
from edge_agent.capture.segment_writer import ArchivePlace
from edge_agent.capture.sources import make_source
from edge_agent.child import Outlet, run_child
from edge_agent.clock import Clock, SystemClock
from edge_agent.messages import Progress
from edge_agent.trust.age import Recipient

_log = logging.getLogger(__name__)

PROGRESS_S = 1.0
STATS_EVERY = 5
"""In beats of PROGRESS_S."""
CLOSE_S = 3.5
"""Closing a file is quick unless the disk hangs; then what is not closed is recovered as torn."""


def record(job: RecorderJob, clock: Clock, outlet: Outlet, stop: threading.Event) -> None:
    """Record all cameras of the job until `stop` is set, then close their files; BadKeyError for a wrong recipient."""
    place = ArchivePlace(
        Path(job.archive_dir), [Recipient.parse(text) for text in job.recipients], job.segment_s, job.flush_s
    )
    cameras = [
        CameraRecorder(camera, place, clock, stop, partial(make_source, camera, clock), outlet.send)
        for camera in job.cameras
    ]
    threads = [
        threading.Thread(target=recorder.run, name=f"write-{camera.id}", daemon=True)
        for recorder, camera in zip(cameras, job.cameras, strict=True)
    ]
    for thread in threads:
        thread.start()
    beat = 0
    while not clock.wait(stop, PROGRESS_S):
        beat += 1
        if beat % STATS_EVERY == 0:
            for camera in cameras:
                outlet.send(camera.stats())
        outlet.send(Progress(clock.utc_us(), outlet.dropped))
    deadline = clock.monotonic() + CLOSE_S
    for thread in threads:
        thread.join(max(0.0, deadline - clock.monotonic()))
        if thread.is_alive():
            _log.error("%s could not close its file in time: the disk hangs", thread.name)


def main() -> None:
    clock = SystemClock()
    run_child("recorder", RECORDER_JOB.parse, lambda job, outlet, stop: record(job, clock, outlet, stop))


if __name__ == "__main__":
    main()
