"""What systemd is told: ready, still making progress, stopping (sd_notify(3)); nothing without systemd."""

from __future__ import annotations

import logging
import os
import socket

from edge_agent.clock import Clock

_log = logging.getLogger(__name__)


class Watchdog:
    """`progress` may be called at every turn of a loop; systemd hears of it often enough and no oftener."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        period_us = int(os.environ.get("WATCHDOG_USEC", "0"))
        self._every_s = period_us / 1e6 / 4 if period_us else None
        self._last = float("-inf")

    def ready(self, status: str) -> None:
        self._notify(f"READY=1\nSTATUS=recording {status}")

    def progress(self) -> None:
        now = self._clock.monotonic()
        if self._every_s is not None and now - self._last >= self._every_s:
            self._last = now
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    def _notify(self, message: str) -> None:
        if not self._address:
            return
        # A leading '@' means the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("systemd could not be told %r: %s", message, error)
