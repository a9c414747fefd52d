"""What an agent finds when it starts again on a data folder, by the parts it is made of and in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.buffer.check import Finding, Weight
from edge_agent.buffer.checkup import FOREVER, Checkup
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.index import Index
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.outbox import Outbox
from edge_agent.clock import Clock
from edge_agent.model import Segment
from edge_agent.trust.age import Identity
from edge_agent.trust.journal import BadLine, Journal, JournalEntry
from edge_agent.trust.nonces import NonceStore
from edge_agent.uplink.exports import TABLE


@dataclass(frozen=True, slots=True)
class Restarted:
    """Everything durable, as it was found."""

    segments: dict[str, Segment]
    recovered: list[Segment]
    """Those that a crash left unfinished."""
    receipts: dict[str, str]
    journal: list[JournalEntry]
    bad_lines: list[BadLine]
    documents: list[dict[str, Any]]
    waiting: list[bytes]
    """The outbox's payloads, in sending order."""
    set_aside: list[str]
    """Damaged databases and documents: must be none."""
    wrong: list[Finding]
    """What a deep check of the archive says after the start, notes left out."""
    nonces: NonceStore

    def close(self) -> None:
        self.nonces.close()


def restart(data: Path, identities: Sequence[Identity], clock: Clock) -> Restarted:
    """Open all that an agent opens, and recover."""
    root, index_path = data / "archive", data / "index.sqlite"
    root.mkdir(exist_ok=True, mode=0o700)
    index = Index(index_path, clock)
    ledger = Ledger(root, index, identities, clock)
    journal = list(Journal(data / "journal.jsonl", clock).read())
    nonces = NonceStore(data / "nonces.sqlite", clock)
    outbox = Outbox(data / "outbox.sqlite", clock=clock)
    documents = Documents(data / "documents.json", clock)
    recovered = ledger.recover(ledger.reconcile())
    while ledger.audit(1.0):
        pass
    cameras = index.cameras()
    segments = {s.path: s for camera in cameras for s in index.segments(camera, FOREVER)}
    receipts = {r.segment.path: r.reason for camera in cameras for r in index.receipts(camera, FOREVER)}
    index.close()
    waiting = [item.payload for item in outbox.next(10_000)]
    outbox.close()
    looked = Checkup(root, index_path, identities, clock).look(running=False, deep=True, progress=lambda _part: None)
    return Restarted(
        segments=segments,
        recovered=recovered,
        receipts=receipts,
        journal=[line for line in journal if isinstance(line, JournalEntry)],
        bad_lines=[line for line in journal if isinstance(line, BadLine)],
        documents=documents.all(TABLE),
        waiting=waiting,
        set_aside=[path.name for path in data.iterdir() if "damaged" in path.name or "corrupt" in path.name],
        wrong=[finding for finding in looked.findings if finding.rule.weight is not Weight.NOTE],
        nonces=nonces,
    )
