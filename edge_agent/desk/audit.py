"""Asking nodes for their journals and believing nothing that is not proved (`docs/journal.md`, «Asking a node»).

Every page is verified with the node's key, and must continue the checkpoint that this desk kept.  Nothing here knows a
terminal or a broker: `ask` brings the answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from edge_agent.desk.audit_words import Trouble, TroubleKind, kind_of, tampered, trouble
from edge_agent.desk.memory import Memory
from edge_agent.desk.proof import UnprovenError
from edge_agent.errors import EdgeError, UplinkError
from edge_agent.trust.audit import Audited, AuditQuery, ChangedEntryError, open_page
from edge_agent.trust.checkpoint import Checkpoint, Verdict, cosignatures, origin_of, parse_checkpoint
from edge_agent.trust.journal import BadLine, JournalEntry
from edge_agent.trust.merkle import Frontier, leaf_hash
from edge_agent.trust.note import BadNoteError, Note, NoteKey, parse_note
from edge_agent.trust.witnessed import Witnessed
from edge_agent.uplink.payloads import Reply, ReplyState
from edge_agent.uplink.topics import Topics

AT_ONCE = 8
"""Nodes that are asked at the same time: one that is silent must not hold up hundreds."""
MOST_ENTRIES = 100_000
"""Of one node's that are kept for showing; some 100 MB."""
JOURNAL_BROKEN = "journal_broken"
"""The code of a reply by a node that knows its journal to be another than it signed (`docs/commands.md`)."""

Ask = Callable[[Topics, AuditQuery], Reply]
"""The final reply to a `journal` command, proved to be the node's; EdgeError where there is none."""
Heard = Callable[[str, int, int], None]
"""Progress: node, entries that came, entries that there are."""


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What one node's journal says, as far as it is proved."""

    node: str
    """`<site>/<node>`"""
    entries: tuple[tuple[int, JournalEntry | BadLine], ...] = ()
    """Those that were asked for, with their places in the journal, oldest first."""
    checkpoint: Checkpoint | None = None
    """The newest that the node has signed, under which the entries stand; None when it gave none."""
    verdict: Verdict | None = None
    """How it stands to the one that this desk had kept; None where there was none, or it could not be judged."""
    trouble: Trouble | None = None
    """What is wrong, and what to do; None: all is proved."""
    note: Note | None = None
    """The checkpoint as it was signed."""
    witnessed: tuple[Witnessed, ...] = ()
    """What witnesses whom this desk believes have cosigned of it."""


def gather(
    nodes: Sequence[Topics],
    query: AuditQuery,
    ask: Ask,
    memory: Memory,
    *,
    whole: bool = False,
    keep: bool = True,
    heard: Heard = lambda _node, _came, _there: None,
    witnesses: Sequence[NoteKey] = (),
    cosigned: Mapping[str, Sequence[Note]] | None = None,
) -> list[NodeAnswer]:
    """Every node's answer to `query`, in the order of `nodes`; what goes wrong with one disturbs no other.

    `whole`: all of each journal is read, each entry's proof checked, and none may be missing; `query` then only chooses
    what is given back.  `keep` False: nothing is given back.  `ask` and `heard` are called on several threads.
    `witnesses`: whose word counts; `cosigned`: what they say of journals (by their names), whatever the nodes say.
    """
    said = cosigned or {}
    notes = [said.get(origin_of(f"{node.site}/{node.node}"), ()) for node in nodes]
    stop = threading.Event()
    walks = [
        _Walk(node, query, ask, memory, whole, keep, heard, witnesses, note, stop)
        for node, note in zip(nodes, notes, strict=True)
    ]
    with ThreadPoolExecutor(AT_ONCE, "audit") as threads:
        try:
            return list(threads.map(_Walk.run, walks))
        finally:
            stop.set()  # whoever interrupts does not wait for whole journals


@dataclass(slots=True)
class _Walk:
    """Through one node's journal, page by page."""

    node: Topics
    query: AuditQuery
    ask: Ask
    memory: Memory
    whole: bool
    keep: bool
    heard: Heard
    witnesses: Sequence[NoteKey]
    cosigned: Sequence[Note]
    stop: threading.Event
    answer: NodeAnswer = field(init=False)
    entries: list[tuple[int, JournalEntry | BadLine]] = field(default_factory=list)
    read: int = 0
    """Entries that came."""
    frontier: Frontier = field(default_factory=Frontier)
    """Of a whole journal's lines, made here."""
    at_us: int = 0

    def __post_init__(self) -> None:
        self.answer = NodeAnswer(f"{self.node.site}/{self.node.node}")

    def run(self) -> NodeAnswer:
        try:
            self._walk()
        except UplinkError as error:
            self._wrong(trouble(TroubleKind.SILENT, why=str(error)))
        except UnprovenError as error:
            self._wrong(trouble(TroubleKind.UNPROVEN, why=str(error)))
        except ChangedEntryError as error:
            self._tampered(TroubleKind.CHANGED, size=error.index)
        except BadNoteError as error:
            self._wrong(trouble(TroubleKind.UNPROVEN, why=str(error)))
        except EdgeError as error:
            self._wrong(trouble(TroubleKind.FAILED, why=str(error)))
        return replace(self.answer, entries=tuple(self.entries))

    def _walk(self) -> None:
        kept = self.memory.checkpoint(self.node)
        first = kept[1] if kept else None
        asked = AuditQuery() if self.whole else self.query
        seen = first
        while True:
            asked = asked.model_copy(update={"seen": seen.size if seen else None})
            page, key = self._page(asked)
            if page is None:
                return
            audited = open_page(page, key, asked, seen, self.witnesses)
            if seen is first:
                self._witnessed(audited.witnessed, audited)
            self._judge(audited, first, again=seen is not first)
            self._take(audited, first)
            seen, following = audited.checkpoint, audited.page.next
            self.heard(self.answer.node, self.read if self.whole else len(self.entries), seen.size)
            if following is None or (self.answer.trouble and self.answer.trouble.kind is TroubleKind.TOO_MANY):
                break
            asked = asked.model_copy(update={"after": following})
        if self.whole and self.read != seen.size and self.answer.trouble is None:
            self._tampered(TroubleKind.LEFT_OUT, size=self.read)

        self._hear_witnesses()

    def _hear_witnesses(self) -> None:
        """What they cosigned must go on in this journal, be the node silent about it or not."""
        proved = {seen.checkpoint for seen in self.answer.witnessed if seen.verdict.honest}
        for note in self.cosigned:
            before = parse_checkpoint(note.text)
            if before not in proved and before.size and self.answer.trouble is None:
                asked = AuditQuery(seen=before.size, limit=1)
                page, key = self._page(asked)
                if page is None:
                    return
                audited = open_page(page, key, asked, before)
                assert audited.verdict is not None
                by = cosignatures(note, self.witnesses)
                self._witnessed([Witnessed(one, before, audited.verdict) for one in by], audited)

    def _witnessed(self, found: Sequence[Witnessed], page: Audited) -> None:
        self.answer = replace(self.answer, witnessed=(*self.answer.witnessed, *found))
        for seen in found:
            if not seen.verdict.honest:
                evidence = self.memory.set_evidence(self.node, parse_note(page.page.checkpoint), seen.verdict)
                facts = {"why": seen.by.witness.name, "kept": seen.checkpoint.size, "size": page.checkpoint.size}
                self._tampered(TroubleKind.CONTRADICTED, evidence=evidence, **facts)

    def _page(self, asked: AuditQuery) -> tuple[bytes | None, NoteKey]:
        """What the node signed, and its key; None where it says why it can't."""
        if self.stop.is_set():
            raise UplinkError("the audit was interrupted")
        reply = self.ask(self.node, asked)
        key = self.memory.key(self.node)
        if key is None:
            raise UnprovenError("the node does not sign its answers, and its key is not known")
        if reply.state is not ReplyState.DONE:
            self._declined(reply)
            return None, key
        page = (reply.result or {}).get("page")
        if not isinstance(page, str):
            raise BadNoteError("the answer holds no page of the journal")
        return page.encode("utf-8", "replace"), key

    def _declined(self, reply: Reply) -> None:
        if reply.code == JOURNAL_BROKEN:
            self._tampered(TroubleKind.BROKEN, why=reply.words.en)
            return
        kind = TroubleKind.REFUSED if reply.state is ReplyState.REFUSED else TroubleKind.FAILED
        told = trouble(kind)
        self._wrong(Trouble(kind, told.uk + reply.words.uk, told.en + reply.words.en))

    def _judge(self, audited: Audited, first: Checkpoint | None, *, again: bool) -> None:
        """By the verdict on this page's checkpoint; `again`: against the page before."""
        note, checkpoint = parse_note(audited.page.checkpoint), audited.checkpoint
        self.answer = replace(self.answer, checkpoint=checkpoint, note=note)
        verdict = audited.verdict
        if verdict is not None and (not again or not verdict.honest):
            self.answer = replace(self.answer, verdict=verdict)
        kind = kind_of(verdict) if verdict else None
        if kind is not None:
            evidence = self.memory.set_evidence(self.node, note, str(verdict))
            self._tampered(kind, evidence=evidence, size=checkpoint.size, kept=first.size if first else 0)
        elif self.answer.trouble is None:
            self.memory.keep(self.node, note, checkpoint)

    def _take(self, audited: Audited, first: Checkpoint | None) -> None:
        for raw, (index, entry) in zip(audited.page.entries, audited.entries, strict=True):
            if self.whole:
                if index != self.read:
                    self._tampered(TroubleKind.LEFT_OUT, size=self.read)
                    self.whole = False  # the rest proves nothing more
                self.frontier.add(leaf_hash(raw.raw))
                if first is not None and index + 1 == first.size and self.frontier.root() != first.root:
                    self._forked(audited, first)
            self.read += 1
            if self._wanted(entry):
                if len(self.entries) >= MOST_ENTRIES:
                    self._wrong(trouble(TroubleKind.TOO_MANY, size=MOST_ENTRIES))
                    return
                self.entries.append((index, entry))

    def _wanted(self, entry: JournalEntry | BadLine) -> bool:
        if isinstance(entry, JournalEntry) and entry.at_us is not None:
            self.at_us = entry.at_us
        return self.keep and self.query.matches(entry) and self.query.covers(self.at_us)

    def _forked(self, audited: Audited, first: Checkpoint) -> None:
        """Now both histories of one length are proved, each by the node's own signature."""
        evidence = self.memory.set_evidence(self.node, parse_note(audited.page.checkpoint), Verdict.FORKED)
        self.answer = replace(self.answer, verdict=Verdict.FORKED, trouble=None)
        self._tampered(TroubleKind.FORKED, evidence=evidence, size=audited.checkpoint.size, kept=first.size)

    def _tampered(self, kind: TroubleKind, **facts: object) -> None:
        self._wrong(tampered(kind, self.memory.checkpoint_path(self.node), **facts))  # type: ignore[arg-type]

    def _wrong(self, told: Trouble) -> None:
        """The first trouble stays: what follows is its consequence."""
        if self.answer.trouble is None:
            self.answer = replace(self.answer, trouble=told)
