"""An alarm while the journal can't be written, for then everybody is refused (`docs/journal.md`)."""

from __future__ import annotations

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.trust.journal import Journal
from edge_agent.trust.nonces import NonceStore

ALARM = "journal_unwritable"
TRY_S = 10.0
"""Between two attempts to make good what was lost."""


class JournalWatch:
    """Owned by the agent's main thread, which calls `look` every few seconds."""

    def __init__(self, journal: Journal, nonces: NonceStore, alarms: NodeAlarms, clock: Clock) -> None:
        self._journal, self._nonces, self._alarms, self._clock = journal, nonces, alarms, clock
        self._tried: float | None = None

    def look(self) -> None:
        """Raise the alarm for what could not be written; end it once that stands in the journal itself."""
        if not self._trouble():
            self._tried = None
            self._alarms.set(ALARM, None)
            return
        now = self._clock.monotonic()
        if self._tried is None:
            self._tried = now
        elif now - self._tried >= TRY_S:
            self._tried = now
            self._make_good()
        trouble = self._trouble()
        self._alarms.set(ALARM, _said(trouble) if trouble else None)

    def _trouble(self) -> str:
        lost = self._journal.unwritten
        return lost.words if lost else self._nonces.trouble

    def _make_good(self) -> None:
        try:
            self._journal.make_good()
            if self._nonces.trouble:
                self._nonces.probe()
        except ArchiveError:
            return  # still so: the alarm goes on


def _said(trouble: str) -> Said:
    return Said(
        f"Журнал вузла не записується, тому в доступі відмовлено всім (запис камер триває): {trouble}",
        f"The node's journal cannot be written, so all access is refused (recording goes on): {trouble}",
    )
