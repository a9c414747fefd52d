"""The watcher process: `python -m edge_agent.capture.watcher`, a WatcherJob on standard input, messages on standard
output (`edge_agent.child`, `docs/watching.md`)."""

from __future__ import annotations

import gc
import logging
import math
import os
import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from edge_agent.capture.watch_job import WATCHER_JOB, DetectorJob, WatcherJob
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
CAMERAS_A_THREAD = 8
"""So many wake up together, and stand still together where a decoder hangs."""
NICENESS = 5
"""Recording comes first."""


def watch(job: WatcherJob, clock: Clock, outlet: Outlet, stop: threading.Event) -> None:
    """Watch all cameras of the job until `stop` is set, then end the alarms that are open."""
    # Imported here because numpy and OpenCV start threads: those begun before the child blocks SIGTERM would take it,
    # and the process would die of it instead of ending its alarms.
    from edge_agent.capture.analysis import Analysis, Tampering
    from edge_agent.capture.camera_watch import CameraWatch
    from edge_agent.capture.sources import make_source
    from edge_agent.capture.turns import Turn, Turns

    zone = ZoneInfo(job.timezone)
    detector = _detector(job.detector) if job.detector else None
    turns = [Turn(camera.id, clock) for camera in job.cameras]
    cameras = [
        CameraWatch(
            camera,
            clock,
            turn,
            partial(make_source, camera.stream, clock),
            partial(Analysis, camera, zone, job.language, _new_id, Tampering(camera.tampering), detector),
            outlet.send,
        )
        for camera, turn in zip(job.cameras, turns, strict=True)
    ]
    for turn, camera in zip(turns, cameras, strict=True):
        turn.steps = camera.run()
    # while a model works nothing else is looked at on its thread
    count = math.ceil(len(turns) / (1 if detector else CAMERAS_A_THREAD))
    threads = [Turns(f"watch-{number}", clock, stop, turns[number::count]) for number in range(count)]
    _tidy_rarely()
    for thread in threads:
        thread.start()
    hanging: set[str] = set()
    while not clock.wait(stop, PROGRESS_S):
        now = clock.monotonic()
        stuck = {turn.name for turn, camera in zip(turns, cameras, strict=True) if now - camera.beat > HANG_S}
        if stuck - hanging:
            at = ", ".join(thread.at for thread in threads if thread.at)
            _log.error("cameras %s make no progress any more, at %s", sorted(stuck), at or "nothing")
        hanging = stuck
        if not stuck:
            outlet.send(Progress(clock.utc_us(), outlet.dropped))
    deadline = clock.monotonic() + CLOSE_S
    for thread in threads:
        thread.join(max(0.0, deadline - clock.monotonic()))


def _tidy_rarely() -> None:
    """What was made so far stays, and what is made for a picture ends without the collector, which only costs time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


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
