"""Periodic jobs on the `schedule` library, made safe against steps of the wall clock it goes by.

The library reckons in local time: `live_in_utc` must have been called, or the night in which the clock goes back would
hold every job up for an hour.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import schedule

from edge_agent.clock import US, Clock
from edge_agent.errors import EdgeError

_log = logging.getLogger(__name__)
STEP_S = 5.0
"""The wall clock stepped when it and the monotonic clock disagree by more than this since the last look."""


def live_in_utc() -> None:
    """Make this process's local time UTC; what people see is written in the site's zone by its name."""
    os.environ["TZ"] = "UTC"
    time.tzset()


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job and how often it runs, in seconds."""

    name: str
    every_s: int
    run: Callable[[], object]


class Ticker:
    """Runs what is due when asked; a job that fails is logged and comes again at its next time."""

    def __init__(self, jobs: list[Periodic], clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._schedule = self._fresh()
        self._difference = self._wall_less_monotonic()

    def run_due(self) -> None:
        difference = self._wall_less_monotonic()
        if abs(difference - self._difference) > STEP_S:
            _log.warning("the clock stepped by %+.1f s: periodic jobs start anew", difference - self._difference)
            self._schedule = self._fresh()
        self._difference = difference
        self._schedule.run_pending()

    def idle_s(self, most: float) -> float:
        """Seconds until the next job is due, at most `most`."""
        seconds = self._schedule.idle_seconds
        return most if seconds is None else min(max(seconds, 0.0), most)

    def _fresh(self) -> schedule.Scheduler:
        scheduler = schedule.Scheduler()
        for job in self._jobs:
            scheduler.every(job.every_s).seconds.do(self._guarded, job)
        return scheduler

    def _guarded(self, job: Periodic) -> None:
        try:
            job.run()
        except EdgeError as error:
            _log.error("%s: %s", job.name, error)
        except Exception:  # noqa: BLE001 - one job that surprises must not end the others
            _log.exception("%s failed", job.name)

    def _wall_less_monotonic(self) -> float:
        return self._clock.utc_us() / US - self._clock.monotonic()
