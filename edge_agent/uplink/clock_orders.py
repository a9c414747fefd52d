"""A person at the node vouches for its clock (`docs/time.md`, "Without a time server")."""

from __future__ import annotations

from edge_agent.clock import US, Clock
from edge_agent.clock_watch import ClockWatch
from edge_agent.errors import UsageError
from edge_agent.trust.command import ClockConfirmArgs
from edge_agent.trust.door import Admitted
from edge_agent.uplink import words
from edge_agent.uplink.hold_orders import Done
from edge_agent.when import iso_utc

READ_WITHIN_US = 180 * US
"""Between reading the clock and its being confirmed."""


class ClockOrders:
    """Owned by whoever owns the watch."""

    def __init__(self, watch: ClockWatch, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock

    def carry_out(self, admitted: Admitted, args: ClockConfirmArgs) -> Done:
        """UsageError when the clock no longer shows what was read, or shows a time that can't be."""
        now_us = self._clock.utc_us()
        now = iso_utc(now_us)
        if not -US <= now_us - args.read_us <= READ_WITHIN_US:
            raise UsageError(f"the clock shows {now}, and {iso_utc(args.read_us)} was read: read it anew")
        if not self._watch.confirm():
            raise UsageError(f"the clock shows {now}, which can't be: set it first (timedatectl set-time)")
        said = words.clock_confirmed(now, self._watch.reason, admitted.person.full_name)
        return Done(said, {"clock_us": now_us, "trusted": True, "reason": self._watch.reason})
