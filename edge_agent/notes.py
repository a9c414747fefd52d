"""What the node itself enters into the journal, beside what people do (`docs/journal.md`)."""

from __future__ import annotations

import logging

from edge_agent.clock_trust import ClockStep
from edge_agent.errors import ArchiveError
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome

_log = logging.getLogger(__name__)


def note_clock_step(journal: Journal, step: ClockStep) -> None:
    args = {"before_us": step.before_us, "after_us": step.after_us, "synchronised": step.synchronised}
    note(journal, JournalEntry(JournalKind.CLOCK, Outcome.DONE, reason=step.words, args=args))


def note(journal: Journal, entry: JournalEntry) -> None:
    """What is no access: recording goes on when the journal can't."""
    try:
        journal.append(entry)
    except ArchiveError as error:
        _log.critical("not journalled: %s: %s", entry.kind, error)
