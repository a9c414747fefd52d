"""What `archive check` says of hours: the roots that the journal has against what the index gives (`docs/archive.md`,
"Checking").  Whoever edits the index as root can't edit the journal, whose checkpoints others remember."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from edge_agent.buffer.check import Finding, Kind
from edge_agent.buffer.hours import KEEP_RECEIPTS_US, leaf_of
from edge_agent.buffer.index import Index
from edge_agent.clock import US
from edge_agent.trust.journal import BadLine, JournalEntry, JournalKind
from edge_agent.trust.merkle import leaf_hash, root
from edge_agent.when import iso_utc, to_us

_DAY_US = 86400 * US


def of_hours(entries: Iterable[JournalEntry | BadLine], index: Index, now_us: int) -> list[Finding]:
    """Of the journal's `entries`; hours whose receipts may have been rolled up are past proving.

    ArchiveError when the index can't be read.
    """
    journalled: dict[tuple[int, int], set[str]] = {}
    for entry in entries:
        if isinstance(entry, JournalEntry) and entry.kind is JournalKind.SEGMENTS:
            key, made = _of(entry)
            if key is not None and key[0] > now_us - KEEP_RECEIPTS_US + _DAY_US:
                journalled.setdefault(key, set()).add(made)
    findings = []
    for (hour_us, batch), roots in sorted(journalled.items()):
        given = root([leaf_hash(leaf_of(segment)) for segment in index.batch(hour_us, batch)]).hex()
        if roots != {given}:
            said = "another root" if given not in roots else "two roots, for it was made and entered twice"
            findings.append(Finding(Kind.HOUR_DIFFERS, f"{iso_utc(hour_us)}/{batch}", f"the journal has {said}"))
    return findings


def _of(entry: JournalEntry) -> tuple[tuple[int, int] | None, str]:
    """Hour and batch, and the root; None for an entry that says none."""
    hour, batch, made = (entry.args.get(name) for name in ("hour", "batch", "root"))
    if not isinstance(hour, str) or not isinstance(batch, int) or not isinstance(made, str):
        return None, ""
    try:
        return (to_us(datetime.fromisoformat(hour)), batch), made
    except (ValueError, TypeError):
        return None, ""
