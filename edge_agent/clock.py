"""The clock that is passed in: wall time as integer UTC microseconds, monotonic time for intervals."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from edge_agent import kernel_clock

US = 1_000_000


class Clock(Protocol):
    """What a component may know of time; tests pass one that they move by hand."""

    def utc_us(self) -> int:
        """Wall clock, microseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps."""
        ...

    def synchronised(self) -> bool:
        """Whether the wall clock follows a time server now; false where that cannot be known (`docs/time.md`)."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have passed; true when it was set."""
        ...


class SystemClock:
    """The machine's own clock."""

    def utc_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    def synchronised(self) -> bool:
        told = kernel_clock.read()
        return told is not None and told.synchronised

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)
