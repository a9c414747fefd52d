"""The watcher process: `python -m edge_agent.capture.watcher`, a WatcherJob on standard input, messages on standard
output (`edge_agent.child`, `docs/watching.md`)."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from edge_agent.capture.watch_job import WATCHER_JOB, DetectorJob, WatcherJob
from edge_agent.capture.worker import CameraWorker
from edge_agent.child import Outlet, run_child
from edge_agent.clock import Clock, SystemClock
from edge_agent.messages import Progress

if TYPE_CHECKING:
    from edge_agent.capture.detector import Detector

_log = logging.getLogger(__name__)

PROGRESS_S = 1.0
HANG_S = 30.0
"""A camera's thread that has not moved for so long is stuck in a decoder: the agent must start the process anew."""
CLOSE_S = 3.0
ROUND_S = 0.2
"""Between two rounds of reading: how late a picture is known here."""
NICENESS = 5
"""Recording comes first."""


def watch(job: WatcherJob, clock: Clock, outlet: Outlet, stop: threading.Event) -> None:
    """Watch all cameras of the job until `stop` is set, then end the alarms that are open."""
    # Imported here because numpy and OpenCV start threads: those begun before the child blocks SIGTERM would take it,
    # and the process would die of it instead of ending its alarms.
    from edge_agent.capture.analysis import Analysis, Tampering
    from edge_agent.capture.camera_watch import CameraWatch
    from edge_agent.capture.feed import Rounds
    from edge_agent.capture.sources import make_source

    zone = ZoneInfo(job.timezone)
    detector = _detector(job.detector) if job.detector else None
    rounds = Rounds(clock, ROUND_S, lambda: None)
    cameras = [
        CameraWatch(
            camera,
            clock,
            rounds,
            partial(make_source, camera.stream, clock),
            partial(Analysis, camera, zone, job.language, _new_id, Tampering(camera.tampering), detector),
            outlet.send,
        )
        for camera in job.cameras
    ]
    threads = [
        threading.Thread(target=_drive, args=(watcher, clock, stop), name=f"watch-{camera.id}", daemon=True)
        for watcher, camera in zip(cameras, job.cameras, strict=True)
    ]
    for thread in (rounds, *threads):
        thread.start()
    hanging: set[str] = set()
    while not clock.wait(stop, PROGRESS_S):
        now = clock.monotonic()
        stuck = {
            thread.name
            for thread, camera in zip(threads, cameras, strict=True)
            if now - camera.beat > HANG_S or not thread.is_alive()
        }
        for name in stuck - hanging:
            _log.error("%s makes no progress any more", name)
        hanging = stuck
        if not stuck:
            outlet.send(Progress(clock.utc_us(), outlet.dropped))
    rounds.end()
    deadline = clock.monotonic() + CLOSE_S
    for thread in threads:
        thread.join(max(0.0, deadline - clock.monotonic()))


def _drive(camera: CameraWorker, clock: Clock, stop: threading.Event) -> None:
    with contextlib.closing(camera.run()) as steps:
        for pause_s in steps:
            if clock.wait(stop, pause_s):
                return


def _detector(job: DetectorJob) -> Detector | None:
    """The city's model; without it alarms are told all the same."""
    from edge_agent.capture.detector import Detector, DetectorError

    try:
        return Detector(job)
    except DetectorError as error:
        _log.error("the detector can't be used, alarms are told without it: %s", error)
        return None


def _new_id() -> str:
    return uuid.uuid4().hex


def main() -> None:
    os.nice(NICENESS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    clock = SystemClock()
    run_child("watcher", WATCHER_JOB.parse, lambda job, outlet, stop: watch(job, clock, outlet, stop))


if __name__ == "__main__":
    main()
