"""Power cut at every step: what each durable part promises when its call returns, on every disk that a cut may leave.

The parts run as the agent runs them, on a disk that remembers its steps; `power_cut` makes the disks from them.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.index_marks import FIRST
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.outbox import Outbox
from edge_agent.buffer.promise import Rule
from edge_agent.buffer.retention import Deleter
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.model import CameraId, PersonId
from edge_agent.trust.age import Identity
from edge_agent.trust.command import SignedCommand, StatusArgs
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Action
from edge_agent.uplink.exports import TABLE
from tests.faults.power_cut import cuts
from tests.faults.restart import Restarted, restart
from tests.peers.traced_disk import Step, TracedDisk
from tests.simulators.clock import HandClock

pytestmark = pytest.mark.root
CAMERA = CameraId("gate")
ROUNDS = 3
SECONDS = 8
KEPT_FILES = 1


@dataclass
class Promised:
    """What the calls that returned have promised, and what the one on its way may already have done."""

    closed: dict[str, str] = field(default_factory=dict)
    """SHA-256 by path."""
    going: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    journal: list[str] = field(default_factory=list)
    documents: list[dict[str, int]] = field(default_factory=lambda: [{}])
    """Each state in turn: the last that is promised, then the one on its way."""
    waiting: set[str] = field(default_factory=set)
    coming_or_going: set[str] = field(default_factory=set)
    claimed: list[str] = field(default_factory=list)

    def take(self, mark: dict[str, Any]) -> None:
        match mark:
            case {"closed": path, "sha256": digest}:
                self.closed[path] = digest
            case {"deleting": paths}:
                self.going |= set(paths)
            case {"deleted": paths}:
                self.gone |= set(paths)
            case {"journalled": word}:
                self.journal.append(word)
            case {"documents_next": state}:
                self.documents = [self.documents[-1], state]
            case {"documents": state}:
                self.documents = [state]
            case {"putting": payload} | {"striking": payload}:
                self.coming_or_going.add(payload)
                self.waiting.discard(payload)
            case {"put": payload}:
                self.coming_or_going.discard(payload)
                self.waiting.add(payload)
            case {"claimed": nonce}:
                self.claimed.append(nonce)


class Life:
    """A node's durable parts, at work on a disk that remembers."""

    def __init__(self, disk: TracedDisk, identity: Identity, movie: bytes, clock: HandClock, stack: ExitStack) -> None:
        data = disk.folder
        self._disk, self._identity, self._movie, self._clock = disk, identity, movie, clock
        self._root = data / "archive"
        self._root.mkdir(mode=0o700)
        self._index = Index(data / "index.sqlite", clock)
        self._ledger = Ledger(self._root, self._index, [identity], clock)
        size = len(movie) * KEPT_FILES
        holds = Holds(Documents(data / "documents.json", clock))
        rule = Rule(10**15, {}, max_size=size)
        self._deleter = Deleter(self._root, self._index, holds, rule, clock, Ballast(data / "ballast", 4096))
        self._journal = Journal(data / "journal.jsonl", clock)
        self._nonces = NonceStore(data / "nonces.sqlite", clock)
        self._outbox = Outbox(data / "outbox.sqlite", clock=clock)
        self._documents = Documents(data / "documents.json", clock)
        stack.callback(self._index.close)
        stack.callback(self._nonces.close)
        stack.callback(self._outbox.close)
        self._state: dict[str, int] = {}

    def round(self, number: int) -> None:
        self._record(number)
        self._journal.append(JournalEntry(JournalKind.ACCESS, Outcome.DONE, reason=f"entry {number}"))
        self._mark(journalled=f"entry {number}")
        self._document(f"release {number % 2}", number)
        self._message(f"alarm {number}")
        command = SignedCommand(
            PersonId("p"), "a/b", self._clock.utc_us(), 2**60 + number, f"n{number}", Action.STATUS, StatusArgs()
        )
        assert self._nonces.claim(command)
        self._mark(claimed=f"n{number}")
        self._delete()

    def _mark(self, **said: Any) -> None:
        self._disk.mark(json.dumps(said))

    def _record(self, number: int) -> None:
        name = SegmentName(CAMERA, self._clock.utc_us(), number)
        file = SegmentFile(self._root, name, [self._identity.recipient])
        for at in range(0, len(self._movie), 1 << 17):
            file.write(self._movie[at : at + (1 << 17)])
            file.push()
            if at == 1 << 18:
                file.sync()
        self._clock.move(SECONDS)
        end_us = self._clock.utc_us()
        segment = file.close(end_us)
        self._mark(closed=segment.path, sha256=segment.sha256)
        self._ledger.closed(segment)

    def _document(self, name: str, value: int) -> None:
        self._state = {**self._state, name: value}
        self._mark(documents_next=self._state)
        self._documents.put(TABLE, {"id": name, "value": value})
        self._mark(documents=self._state)

    def _message(self, payload: str) -> None:
        self._mark(putting=payload)
        item = self._outbox.put("a/b", payload.encode())
        self._mark(put=payload)
        if payload.endswith(("2", "4")):
            self._mark(striking=payload)
            self._outbox.done(item)

    def _delete(self) -> None:
        oldest = [aged.segment.path for aged in self._index.by_age(CAMERA, FIRST, KEPT_FILES + 2)]
        due = oldest[: max(0, len(oldest) - KEPT_FILES + 1)]
        if due:
            self._mark(deleting=due)
            assert self._deleter.sweep(clock_trusted=True).by_space
            self._mark(deleted=[path for path in due if not (self._root / path).exists()])


def test_whatever_a_power_cut_leaves_every_promise_that_was_given_is_kept(
    tmp_path: Path, scratch: Path, movie: bytes
) -> None:
    identity, clock = Identity.generate(), HandClock()
    with TracedDisk(tmp_path) as disk, ExitStack() as stack:
        life = Life(disk, identity, movie, clock, stack)
        for number in range(1, ROUNDS + 1):
            life.round(number)
        steps = disk.steps()
    tried = recovered = 0
    promised, seen = Promised(), 0
    for cut in cuts(steps, scratch, seed=4):
        seen = promise_until(promised, steps, seen, cut.after)
        found = restart(cut.folder, [identity], clock)
        try:
            hold(promised, found, cut.folder)
        except AssertionError as error:
            raise AssertionError(f"{cut.words}: {error}") from error
        finally:
            found.close()
        tried, recovered = tried + 1, recovered + len(found.recovered)
    print(f"{tried} disks after a cut: every promise kept, {recovered} unfinished files recovered")
    assert tried > 200
    assert recovered > 10


def promise_until(promised: Promised, steps: list[Step], seen: int, until: int) -> int:
    for step in steps[seen:until]:
        if step.op == "mark":
            promised.take(json.loads(step.path))
    return until


def hold(promised: Promised, found: Restarted, data: Path) -> None:
    assert found.set_aside == []
    assert found.wrong == []
    for path, digest in promised.closed.items():
        if path in promised.gone:
            assert found.receipts[path] == "space"
            assert path not in found.segments, "what was deleted does not come back"
        elif path in found.segments:
            assert found.segments[path].sha256 == digest
            assert not found.segments[path].torn
        else:
            assert path in promised.going
    on_disk = {str(path.relative_to(data / "archive")) for path in (data / "archive").glob("*/*/*.age")}
    assert set(found.segments) <= on_disk
    assert on_disk - set(found.segments) <= promised.going, "begun deletions only"
    words = [entry.reason for entry in found.journal]
    assert words[: len(promised.journal)] == promised.journal
    assert len(words) + len(found.bad_lines) <= len(promised.journal) + 1
    assert {document["id"]: document["value"] for document in found.documents} in promised.documents
    waiting = {payload.decode() for payload in found.waiting}
    assert promised.waiting <= waiting <= promised.waiting | promised.coming_or_going
    for nonce in promised.claimed:
        assert not found.nonces.claim(
            SignedCommand(PersonId("p"), "a/b", 0, 2**60 + int(nonce[1:]), nonce, Action.STATUS, StatusArgs())
        )
