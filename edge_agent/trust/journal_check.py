"""Whether a journal's lines are those that were signed: read whole, hashed anew, nothing changed or believed."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import ArchiveError
from edge_agent.trust.checkpoint import Checkpoint, Verdict
from edge_agent.trust.journal import BadLine, parse_line
from edge_agent.trust.journal_tree import hashes_of
from edge_agent.trust.merkle import HASH_BYTES, Frontier, leaf_hash

MAX_TOLD = 20


@dataclass(frozen=True, slots=True)
class JournalCheck:
    """What was found."""

    entries: int
    root: bytes
    torn_bytes: int
    """An unfinished line at the end, which a power cut may leave; it is in no checkpoint."""
    unreadable: tuple[int, ...]
    """Indices of lines that are no entries, the first of them."""
    verdicts: tuple[Verdict, ...]
    """For each checkpoint, in order."""
    changed: int | None
    """The first entry that is not the one which was signed, where that can be told."""

    @property
    def honest(self) -> bool:
        return all(verdict.honest for verdict in self.verdicts)


def check_journal(path: Path, signed: Sequence[Checkpoint], own: Checkpoint | None = None) -> JournalCheck:
    """Compare with checkpoints whose signatures were verified.  ArchiveError when the file can't be read.

    `own`: the newest that the node has; where it fits lines that an earlier one contradicts, both were signed.
    """
    wanted = {checkpoint.size for checkpoint in (*signed, *([own] if own else []))}
    lines, stored = Frontier(), Frontier()
    roots = {0: lines.root()} if 0 in wanted else {}
    stored_roots: dict[int, bytes] = {}
    unreadable: list[int] = []
    changed: int | None = None
    torn = 0
    hashes = _stored_leaves(path.with_suffix(".hashes"))
    try:
        with path.open("rb") as file, closing(hashes):
            for line in file:
                if not line.endswith(b"\n"):
                    torn = len(line)
                    break
                leaf, kept = leaf_hash(line[:-1]), next(hashes, None)
                if kept is not None:
                    stored.add(kept)
                    if changed is None and kept != leaf:
                        changed = lines.size
                if len(unreadable) < MAX_TOLD and isinstance(parse_line(0, line), BadLine):
                    unreadable.append(lines.size)
                lines.add(leaf)
                if lines.size in wanted:
                    roots[lines.size] = lines.root()
                    if stored.size == lines.size:
                        stored_roots[lines.size] = stored.root()
    except OSError as error:
        raise ArchiveError(f"the journal {path} can't be read: {error.strerror}") from error
    verdicts = tuple(_verdict(checkpoint, lines.size, roots, own) for checkpoint in signed)
    sure = changed is not None and any(
        changed < one.size and stored_roots.get(one.size) == one.root for one in (*signed, *([own] if own else []))
    )
    return JournalCheck(lines.size, lines.root(), torn, tuple(unreadable), verdicts, changed if sure else None)


def _verdict(checkpoint: Checkpoint, size: int, roots: Mapping[int, bytes], own: Checkpoint | None) -> Verdict:
    if own is not None and own.origin != checkpoint.origin:
        return Verdict.ANOTHER
    if own is not None and own.size == checkpoint.size and own.root != checkpoint.root:
        return Verdict.FORKED
    if checkpoint.size > size:
        return Verdict.SHORTENED
    if roots[checkpoint.size] == checkpoint.root:
        return Verdict.SAME if checkpoint.size == size else Verdict.GROWN
    if own is not None and own.size >= checkpoint.size and roots.get(own.size) == own.root:
        return Verdict.FORKED
    return Verdict.REWRITTEN


def _stored_leaves(path: Path) -> Generator[bytes, None, None]:
    """The hashes that the node kept when it appended; fewer or none where they are gone."""
    try:
        with path.open("rb") as file:
            at = 0
            while True:
                leaf = file.read(HASH_BYTES)
                if len(leaf) < HASH_BYTES:
                    return
                yield leaf
                skip = hashes_of(at + 1) - hashes_of(at) - 1
                file.read(skip * HASH_BYTES)
                at += 1
    except OSError:
        return
