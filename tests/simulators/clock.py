"""A clock that tests move by hand."""

from __future__ import annotations

import threading

from edge_agent.clock import US


class HandClock:
    """Both of its times stand still until moved; waiting moves them.  `follows_server` is set at will."""

    def __init__(self, utc_us: int = 1_790_000_000 * US, *, follows_server: bool = True) -> None:
        self._utc_us = utc_us
        self._monotonic = 1000.0
        self.follows_server = follows_server

    def utc_us(self) -> int:
        return self._utc_us

    def monotonic(self) -> float:
        return self._monotonic

    def synchronised(self) -> bool:
        return self.follows_server

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self.move(seconds)
        return event.is_set()

    def move(self, seconds: float) -> None:
        """Time passes."""
        self._monotonic += seconds
        self._utc_us += round(seconds * US)

    def step(self, seconds: float, *, follows_server: bool | None = None) -> None:
        """Somebody sets the wall clock; the kernel forgets its time server then, until that speaks again."""
        self._utc_us += round(seconds * US)
        if follows_server is not None:
            self.follows_server = follows_server
