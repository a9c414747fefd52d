"""What systemd is told: ready, still making progress, stopping (sd_notify(3)); nothing without systemd."""

from __future__ import annotations

import os

from sdnotify import SystemdNotifier

from edge_agent.clock import Clock


class Watchdog:
    """`progress` may be called at every turn of a loop; systemd hears of it often enough and no oftener."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._notifier = SystemdNotifier()
        period_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        self._every_s = period_us / 1e6 / 4 if period_us else None
        self._last = float("-inf")

    def ready(self, status: str) -> None:
        self._notifier.notify(f"READY=1\nSTATUS=recording {status}")

    def progress(self) -> None:
        now = self._clock.monotonic()
        if self._every_s is not None and now - self._last >= self._every_s:
            self._last = now
            self._notifier.notify("WATCHDOG=1")

    def stopping(self) -> None:
        self._notifier.notify("STOPPING=1")
