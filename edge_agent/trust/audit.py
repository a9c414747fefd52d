"""Questions to a node's journal from afar, and answers that prove themselves (`docs/journal.md`, «Asking a node»).

The node answers with pages; each entry comes with its inclusion proof, the page with the newest checkpoint and the
proof that it continues the one the asker saw last, and the node signs the whole.  Pure but for the tree's files.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from edge_agent.errors import ArchiveError
from edge_agent.trust.checkpoint import Checkpoint, Verdict, judge, open_checkpoint, parse_checkpoint
from edge_agent.trust.journal import BadLine, JournalEntry, parse_line
from edge_agent.trust.journal_tree import JournalTree
from edge_agent.trust.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from edge_agent.trust.note import MAX_NOTE_BYTES, BadNoteError, Note, NoteKey, parse_note, strict_base64
from edge_agent.trust.witnessed import MAX_WITNESSES, Witnessed, judge_witnessed

TYPE = "edge-audit+jwt"
MAX_ENTRIES = 100
MAX_PAGE_BYTES = 150_000
"""Of entries and proofs; a page with its signature stays below what a desk reads of one message."""
SCANNED = 50_000
"""Lines looked at for one page; a page that ends early says where to go on."""
MAX_LINE_BYTES = 64_000
"""Of a journal's line that is sent; the product's own are a few kilobytes long at most."""
_MAX_TOKEN_BYTES = 1 << 20
_ALGORITHM = "EdDSA"

_HEAD = re.compile(
    rb'\{"kind":"([a-z_]+)","outcome":"[a-z]+","who":"([^"\\]*)","person_id":(?:null|"([^"\\]*)"),"action":"([^"\\]*)",'
)
"""How a line of the product begins, where nothing in it is escaped."""

_Text = Annotated[str, Field(max_length=200)]
_Index = Annotated[int, Field(ge=0, lt=1 << 53)]
_Hash = Annotated[str, Field(min_length=44, max_length=44)]
_Path = Annotated[tuple[_Hash, ...], Field(max_length=63)]


class _Strict(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class AuditQuery(_Strict):
    """What is asked; every condition that is given must hold."""

    start_us: _Index | None = None
    end_us: _Index | None = None
    """Not included."""
    person: _Text | None = None
    """A person's id, or a part of the name, in any case."""
    action: _Text | None = None
    """An action, or a kind of entry."""
    camera: _Text | None = None
    number: _Text | None = None
    """Of an order, a hold, a release or a command: whatever of its arguments or its `ref` is exactly this."""
    after: _Index = 0
    """Go on with this entry."""
    limit: Annotated[int, Field(ge=1, le=MAX_ENTRIES)] = MAX_ENTRIES
    seen: _Index | None = None
    """The size of the checkpoint that the asker saw last."""

    @model_validator(mode="after")
    def _sensible(self) -> AuditQuery:
        if self.start_us is not None and self.end_us is not None and self.end_us <= self.start_us:
            raise ValueError("the interval is empty: end_us must be after start_us")
        return self

    def covers(self, at_us: int) -> bool:
        return (self.start_us is None or at_us >= self.start_us) and (self.end_us is None or at_us < self.end_us)

    def matches(self, entry: JournalEntry | BadLine) -> bool:
        """Whether a line of the right time is meant; one that can't be read is told to whoever asks by time alone."""
        if isinstance(entry, BadLine):
            return not (self.person or self.action or self.camera or self.number)
        texts = [value for value in entry.args.values() if isinstance(value, str)]
        return (
            self.concerns(entry.kind, entry.who, entry.person_id or "", entry.action)
            and (self.camera is None or self.camera in (entry.args.get("camera"), *_listed(entry.args.get("cameras"))))
            and (self.number is None or self.number in (entry.ref, *texts))
        )

    def concerns(self, kind: str, who: str, person_id: str, action: str) -> bool:
        """Whether an entry's beginning fits."""
        return (self.person is None or self.person == person_id or self.person.casefold() in who.casefold()) and (
            self.action is None or self.action in (action, kind)
        )


class _Sieve:
    """Keeps most lines that are not meant from being parsed, none that is."""

    def __init__(self, query: AuditQuery) -> None:
        self._query = query
        self._by_head = query.person is not None or query.action is not None
        self._heads: dict[bytes, bool] = {}
        words = [word for word in (query.camera, query.number) if word]
        # What JSON would escape can't be looked for in the raw line.
        self._needles = [word.encode() for word in words if word.isprintable() and not set(word) & {'"', "\\"}]

    def passes(self, line: bytes) -> bool:
        if not all(needle in line for needle in self._needles):
            return False
        head = _HEAD.match(line) if self._by_head else None
        if head is None:
            return True
        known = self._heads.get(head[0])
        if known is None:
            texts = [(part or b"").decode("utf-8", "replace") for part in head.groups()]
            known = self._heads[head[0]] = self._query.concerns(*texts)
        return known


class ChangedEntryError(BadNoteError):
    """An entry that the node shows is not the one that it signed."""

    def __init__(self, index: int) -> None:
        super().__init__(f"entry {index} is not in the journal that was signed: it was changed")
        self.index = index


class AuditedEntry(_Strict):
    """One line with its place in the tree."""

    index: _Index
    line: Annotated[str, Field(max_length=MAX_PAGE_BYTES * 2)]
    """base64 of its bytes, without the line feed."""
    path: _Path

    @property
    def raw(self) -> bytes:
        return strict_base64(self.line)


class WitnessedNote(_Strict):
    """A checkpoint that witnesses have cosigned, and the proof that the page's continues it."""

    note: Annotated[str, Field(max_length=MAX_NOTE_BYTES)]
    consistency: _Path = ()


class AuditPage(_Strict):
    """An answer, or a part of one."""

    v: Literal[1] = 1
    query: AuditQuery
    checkpoint: Annotated[str, Field(max_length=MAX_NOTE_BYTES)]
    """The signed note under which all entries stand."""
    consistency: _Path = ()
    """From the checkpoint of size `query.seen`."""
    entries: Annotated[tuple[AuditedEntry, ...], Field(max_length=MAX_ENTRIES)] = ()
    next: _Index | None = None
    """`after` of the next page; None when this is the last."""
    witnessed: Annotated[tuple[WitnessedNote, ...], Field(max_length=MAX_WITNESSES)] = ()
    """For each of the node's witnesses what it cosigned last."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A page whose every claim was verified, except that nothing was left out between its entries: that is the node's
    word, which it has signed (`AuditPage.query`)."""

    page: AuditPage
    checkpoint: Checkpoint
    verdict: Verdict | None
    """About the checkpoint that was seen last; None where there is none."""
    entries: tuple[tuple[int, JournalEntry | BadLine], ...]
    witnessed: tuple[Witnessed, ...] = ()
    """By witnesses that the asker believes."""


@cache
def _pages() -> TypeAdapter[AuditPage]:
    return TypeAdapter(AuditPage)


def answer(tree: JournalTree, note: Note, query: AuditQuery, witnessed: Sequence[Note] = ()) -> AuditPage:
    """The page; `note` is the checkpoint over all of `tree`, `witnessed` are cosigned ones.  IndexError where the
    tree's files are not its own, ArchiveError where a line is too long to be sent."""
    size, sieve = tree.count, _Sieve(query)
    found: list[AuditedEntry] = []
    room, following = MAX_PAGE_BYTES, None
    low = query.start_us if query.start_us is not None else -1
    high = query.end_us if query.end_us is not None else 1 << 62
    times = tree.times()[query.after :]
    asked = [index for index, at_us in enumerate(times, query.after) if low <= at_us < high]
    for scanned, (index, line) in enumerate(tree.lines(asked)):
        if len(found) >= query.limit or scanned >= SCANNED:
            following = index
            break
        if sieve.passes(line) and query.matches(parse_line(index + 1, line)):
            if len(line) > MAX_LINE_BYTES:
                raise ArchiveError(f"entry {index} has {len(line)} bytes, too many to be sent: look at it at the node")
            entry = AuditedEntry(index=index, line=_base64(line), path=_texts(tree.inclusion(size, index)))
            room -= len(entry.line) + 47 * len(entry.path)
            if room < 0 and found:
                following = index
                break
            found.append(entry)
    seen = query.seen if query.seen is not None and query.seen <= size else None
    consistency = _texts(tree.consistency(size, seen)) if seen else ()
    return AuditPage(
        query=query,
        checkpoint=str(note),
        consistency=consistency,
        entries=tuple(found),
        next=following,
        witnessed=tuple(_witnessed(tree, size, one) for one in witnessed[:MAX_WITNESSES]),
    )


def holds(page: AuditPage) -> bool:
    """Whether each entry's proof does, whoever signed the checkpoint."""
    checkpoint = parse_checkpoint(parse_note(page.checkpoint).text)
    return all(_stands(entry, checkpoint) for entry in page.entries)


def _stands(entry: AuditedEntry, under: Checkpoint) -> bool:
    return verify_inclusion(leaf_hash(entry.raw), entry.index, under.size, _hashes(entry.path), under.root)


def sign_page(page: AuditPage, key: Ed25519PrivateKey) -> bytes:
    """A compact JWS."""
    return (
        jwt.PyJWS(algorithms=[_ALGORITHM])
        .encode(page.model_dump_json(exclude_defaults=True).encode(), key, _ALGORITHM, {"typ": TYPE})
        .encode()
    )


def open_page(
    token: bytes,
    key: NoteKey,
    asked: AuditQuery,
    seen: Checkpoint | None = None,
    witnesses: Sequence[NoteKey] = (),
) -> Audited:
    """What a node answered to `asked`, verified: its signature, its checkpoint, each entry's proof, and against the
    checkpoint that was `seen` last and those that `witnesses` have cosigned.  BadNoteError when something is not as it
    says; a `verdict` that is not honest is no error, for it is what an auditor is looking for."""
    page = _authentic(token, key)
    if page.query != asked:
        raise BadNoteError("the node answers another question than the one that was asked")
    checkpoint = open_checkpoint(page.checkpoint, key)
    try:
        verdict = None if seen is None else judge(seen, checkpoint, _hashes(page.consistency))
        witnessed = [
            found
            for one in page.witnessed
            for found in judge_witnessed(parse_note(one.note), _hashes(one.consistency), witnesses, checkpoint)
        ]
        entries = []
        before = asked.after - 1
        for entry in page.entries:
            if not _stands(entry, checkpoint):
                raise ChangedEntryError(entry.index)
            if entry.index <= before:
                raise BadNoteError("the entries are not in order")
            before = entry.index
            entries.append((entry.index, parse_line(entry.index + 1, entry.raw)))
    except ValueError as error:
        raise BadNoteError(f"the answer: {error}") from error
    if page.next is not None and page.next <= before:
        raise BadNoteError("the answer goes in circles")
    return Audited(page, checkpoint, verdict, tuple(entries), tuple(witnessed))


def _witnessed(tree: JournalTree, size: int, note: Note) -> WitnessedNote:
    """Of a journal that contradicts the note there is no proof: who reads the page sees it."""
    seen = parse_checkpoint(note.text).size
    proof = tree.consistency(size, seen) if 0 < seen <= size else []
    return WitnessedNote(note=str(note), consistency=_texts(proof))


def _authentic(token: bytes, key: NoteKey) -> AuditPage:
    if len(token) > _MAX_TOKEN_BYTES:
        raise BadNoteError(f"an answer is at most {_MAX_TOKEN_BYTES} bytes long")
    try:
        jws = jwt.PyJWS(algorithms=[_ALGORITHM])
        found = jws.decode_complete(token, key.public.verifier(), algorithms=[_ALGORITHM])
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise BadNoteError(f"the answer is not signed by {key.name} with the key that is known here") from error
    if found["header"].get("typ") != TYPE:
        raise BadNoteError(f'the answer is none: its header must say "typ": "{TYPE}"')
    try:
        return _pages().validate_json(bytes(found["payload"]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step)[:40] for step in first["loc"])
        raise BadNoteError(f"the answer is malformed at {place or 'its beginning'}: {first['msg'][:200]}") from error


def _listed(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else ()


def _texts(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(_base64(node) for node in hashes)


def _hashes(texts: tuple[str, ...]) -> list[bytes]:
    found = [strict_base64(text) for text in texts]
    if any(len(node) != HASH_BYTES for node in found):
        raise ValueError(f"a hash is not {HASH_BYTES} bytes long")
    return found


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
