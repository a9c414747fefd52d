"""Which time is believed for what is recorded: the node's clock, or what it was before somebody set it.  Pure.

A time that a server vouched for is not given up for one that nobody vouches for, and a possible one not for an
impossible one (`docs/time.md`).  Meanwhile the monotonic clock carries the old time on.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.clock import US
from edge_agent.clock_trust import STEP_US, plausible
from edge_agent.model import ClockTrust

_ASK_S = 1.0
"""The two clocks are not read at one moment, so a single reading proves nothing; and a program that sets the clock
vouches for it a moment later."""


class NodeTime:
    """Lives as long as the recorder does; one thread owns it.  `synchronised` is the clock's (`Clock`)."""

    def __init__(self, synchronised: Callable[[], bool]) -> None:
        self._synchronised = synchronised
        self.line_us = 0
        """The believed wall clock less the monotonic clock."""
        self._begun = False
        self._vouched = False
        """A time server vouched for that line."""
        self._asked_at = 0.0
        """When the clock was first, or last asked about, elsewhere than the line."""
        self.carrying = False
        """The node's clock says something else, which is not believed."""

    def believe(self, wall_us: int, monotonic: float) -> int:
        """UTC of a moment for which the node's clocks said this; moments may be told a little out of order."""
        line_us = wall_us - int(monotonic * US)
        known_us = self.line_us
        if -STEP_US <= line_us - known_us <= STEP_US or not self._begun:
            self.line_us, self._begun, self.carrying = line_us, True, False
            return wall_us
        if not self.carrying:
            self._asked_at, self.carrying = monotonic, True
        elif monotonic - self._asked_at >= _ASK_S:
            self._asked_at = monotonic
            if self._believes(wall_us, known_us + int(monotonic * US)):
                self.line_us, self.carrying, self._vouched = line_us, False, False
                return wall_us
        return known_us + int(monotonic * US)

    def trust(self) -> ClockTrust:
        """Of times that are believed now."""
        if self.carrying:
            return ClockTrust.CARRIED
        if not self._synchronised():
            return ClockTrust.FREE
        self._vouched = True
        return ClockTrust.SYNCED

    def _believes(self, wall_us: int, instead_us: int) -> bool:
        if plausible(instead_us) != plausible(wall_us):
            return plausible(wall_us)
        return not self._vouched or self._synchronised()
