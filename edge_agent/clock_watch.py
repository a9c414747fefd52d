"""Whether the node's clock is trusted, over restarts of the agent within one boot too (`docs/time.md`)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.buffer.documents import Documents
from edge_agent.clock import US, Clock
from edge_agent.clock_trust import ClockStep, ClockTrustKeeper
from edge_agent.errors import ArchiveError

_log = logging.getLogger(__name__)
TABLE = "clock"
KEPT = "trust"
ENOUGH_US = US
"""A clock that a server follows drifts against the monotonic one; less is not worth a write."""
STATE = "state"
STATE_S = 900.0
"""How long the clock was not trusted is written down so often while it goes on."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the agent thought of the clock when it last wrote that down."""

    trusted: bool
    reason: str
    distrusted_s: float
    """How long the agent has been running without a trusted clock, over restarts and reboots."""


class ClockWatch:
    """Owned by the agent's main thread; `stepped` hears of every setting of the clock."""

    def __init__(self, documents: Documents, clock: Clock, boot: str, stepped: Callable[[ClockStep], None]) -> None:
        self._documents = documents
        self._clock = clock
        self._boot = boot
        self._stepped = stepped
        self._kept = _kept_line(documents, boot)
        self._keeper = ClockTrustKeeper(self._kept)
        self._told = known_state(documents)
        self._distrusted_s = self._told.distrusted_s if self._told else 0.0
        self._looked: float | None = None

    @property
    def trusted(self) -> bool:
        return self._keeper.trusted

    @property
    def reason(self) -> str:
        return self._keeper.reason

    @property
    def distrusted_s(self) -> float:
        """How long agents have run here since the clock was last trusted; while none ran is not counted."""
        return self._distrusted_s

    def confirm(self) -> bool:
        """A person vouches for the clock as it is now; false when it shows a time that cannot be."""
        self.look()
        self._keeper.confirm()
        self._settle()
        return self._keeper.trusted

    def look(self) -> None:
        """At least once a minute."""
        before = self._keeper.trusted
        step = self._keeper.observe(self._clock)
        if step is not None:
            self._stepped(step)
        if self._keeper.trusted != before:
            _log.warning("%s", self._keeper.reason)
        self._settle()

    def _settle(self) -> None:
        now = self._clock.monotonic()
        passed, self._looked = now - (now if self._looked is None else self._looked), now
        self._distrusted_s = 0.0 if self._keeper.trusted else self._distrusted_s + passed
        self._keep(self._keeper.line_us)
        self._tell()

    def _tell(self) -> None:
        """For `clock show`, and for the next agent's count."""
        state, told = ClockState(self._keeper.trusted, self._keeper.reason, self._distrusted_s), self._told
        alike = told is not None and (told.trusted, told.reason) == (state.trusted, state.reason)
        if alike and told is not None and state.distrusted_s - told.distrusted_s < STATE_S:
            return
        try:
            self._documents.put(TABLE, {"id": STATE, **dataclasses.asdict(state)})
            self._told = state
        except ArchiveError as error:
            _log.error("what is thought of the clock can't be written down: %s", error)

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


def known_state(documents: Documents) -> ClockState | None:
    """What the documents say of it; None when nothing, or nothing that can be understood, is there."""
    found = documents.get(TABLE, STATE) or {}
    trusted, reason, seconds = found.get("trusted"), found.get("reason"), found.get("distrusted_s")
    if not (isinstance(trusted, bool) and isinstance(reason, str) and isinstance(seconds, int | float)):
        return None
    return ClockState(trusted, reason, float(seconds))


def look_only(documents: Documents, clock: Clock, boot: str) -> ClockState:
    """What an agent that starts now would think of the clock; writes nothing."""
    known = known_state(documents)
    keeper = ClockTrustKeeper(_kept_line(documents, boot))
    keeper.observe(clock)
    distrusted_s = known.distrusted_s if known and not keeper.trusted else 0.0
    return ClockState(keeper.trusted, keeper.reason, distrusted_s)


def _kept_line(documents: Documents, boot: str) -> int | None:
    """`ClockTrustKeeper.line_us` of an agent of this boot."""
    known = documents.get(TABLE, KEPT) or {}
    line_us = known.get("line_us")
    return line_us if boot and known.get("boot") == boot and isinstance(line_us, int) else None
