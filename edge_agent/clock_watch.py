"""Whether the node's clock is trusted, over restarts of the agent within one boot too (`docs/time.md`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_agent.buffer.documents import Documents
from edge_agent.clock import US, Clock
from edge_agent.clock_trust import ClockStep, ClockTrustKeeper
from edge_agent.errors import ArchiveError

_log = logging.getLogger(__name__)
TABLE = "clock"
KEPT = "trust"
ENOUGH_US = US
"""A clock that a server follows drifts against the monotonic one; less is not worth a write."""


class ClockWatch:
    """Owned by the agent's main thread; `stepped` hears of every setting of the clock."""

    def __init__(self, documents: Documents, clock: Clock, boot: str, stepped: Callable[[ClockStep], None]) -> None:
        self._documents = documents
        self._clock = clock
        self._boot = boot
        self._stepped = stepped
        known = documents.get(TABLE, KEPT) or {}
        line_us = known.get("line_us")
        same = boot and known.get("boot") == boot and isinstance(line_us, int)
        self._kept: int | None = line_us if same else None
        self._keeper = ClockTrustKeeper(self._kept)

    @property
    def trusted(self) -> bool:
        return self._keeper.trusted

    @property
    def reason(self) -> str:
        return self._keeper.reason

    def look(self) -> None:
        """At least once a minute."""
        before = self._keeper.trusted
        step = self._keeper.observe(self._clock)
        if step is not None:
            self._stepped(step)
        if self._keeper.trusted != before:
            _log.warning("%s", self._keeper.reason)
        self._keep(self._keeper.line_us)

    def _keep(self, line_us: int | None) -> None:
        kept = self._kept
        if line_us == kept or (line_us is not None and kept is not None and abs(line_us - kept) < ENOUGH_US):
            return
        try:
            if line_us is None:
                self._documents.remove(TABLE, KEPT)
            else:
                self._documents.put(TABLE, {"id": KEPT, "boot": self._boot, "line_us": line_us})
            self._kept = line_us
        except ArchiveError as error:
            _log.error("after a restart the clock has to be confirmed anew: %s", error)
