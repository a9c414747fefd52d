"""A journal that answers for itself: whatever is done to its files is noticed, whatever power cuts leave is mended."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.errors import ArchiveError, ConfigError, NotFoundError
from edge_agent.trust.checkpoint import Checkpoint, Verdict, open_checkpoint, sign_checkpoint
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_check import check_journal
from edge_agent.trust.journal_log import BrokenJournalError, JournalLog
from edge_agent.trust.journal_tree import hashes_of
from edge_agent.trust.keys import create_key, public_key_of
from edge_agent.trust.node_key import node_key_path, node_signing_key
from edge_agent.trust.note import Note, parse_note
from tests.peers.support import wait_until
from tests.simulators.clock import HandClock
from tests.trust.rfc6962 import heads_from_consistency, proved, tree_head

ORIGIN = "edge-agent/melitopol/node-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIDE_FILES = (".hashes", ".places")


@dataclass(frozen=True)
class Node:
    """A node's journal, of numbered entries."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def log(self) -> JournalLog:
        return JournalLog(Journal(self.path, HandClock()), self.folder / "journal.checkpoint", ORIGIN, KEY)

    @property
    def lines(self) -> list[bytes]:
        return self.path.read_bytes().split(b"\n")[:-1]

    def grow(self, count: int, what: str = "entry") -> None:
        journal = Journal(self.path, HandClock())
        journal.append_all(
            [JournalEntry(JournalKind.ACCESS, Outcome.DONE, reason=f"{what} {number}") for number in range(count)]
        )

    def signed(self) -> tuple[Note, Checkpoint]:
        note = self.log.checkpoint()
        return note, open_checkpoint(note, self.log.key)

    def rewrite(self, lines: list[bytes]) -> None:
        self.path.write_bytes(b"".join(line + b"\n" for line in lines))

    def forget_caches(self) -> None:
        for suffix in SIDE_FILES:
            self.path.with_suffix(suffix).unlink()

    def root_now(self) -> bytes:
        with self.log.journal.tree() as tree:
            return tree.root(tree.count)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_every_checkpoint_and_proof_of_a_growing_journal_holds_by_another_verifier(node: Node) -> None:
    earlier: list[tuple[int, bytes]] = []
    for size in range(1, 40):
        node.grow(1)
        _, checkpoint = node.signed()
        assert (checkpoint.size, checkpoint.root) == (size, tree_head(node.lines))
        with node.log.journal.tree() as tree:
            for before, head in earlier:
                proof = tree.consistency(size, before)
                assert heads_from_consistency(before, size, proof, head) == (head, checkpoint.root)
        earlier.append((size, checkpoint.root))
    for index in (0, 7, 31, 32, 38):
        assert proved(str(node.log.prove(index)), ORIGIN, node.log.key.public.raw) == (index, node.lines[index])
    with pytest.raises(NotFoundError, match="none with the number 39"):
        node.log.prove(39)


def test_append_tells_the_entrys_index(node: Node) -> None:
    journal = Journal(node.path, HandClock())
    entry = JournalEntry(JournalKind.START, Outcome.DONE)
    assert [journal.append(entry), journal.append_all([entry] * 5), journal.append(entry)] == [0, 5, 6]


def test_an_older_plain_journal_goes_on_its_lines_are_leaves(node: Node) -> None:
    node.rewrite([b'{"kind":"start","outcome":"done","at_us":5}', b"torn", b"", b"\xff\x00"])
    node.grow(2)
    assert len(node.lines) == 6
    assert node.signed()[1] == Checkpoint(ORIGIN, 6, tree_head(node.lines))


def test_a_torn_tail_is_no_leaf_until_it_is_closed_off_and_then_one_as_it_stands(node: Node) -> None:
    node.grow(3)
    with node.path.open("ab") as file:
        file.write(b'{"kind":"acc')
    _, before = node.signed()
    assert before.size == 3
    assert check_journal(node.path, [before]).torn_bytes == 12
    node.grow(1)
    _, after = node.signed()
    assert node.lines[3] == b'{"kind":"acc'
    assert after == Checkpoint(ORIGIN, 5, tree_head(node.lines))
    found = check_journal(node.path, [before, after])
    assert (found.verdicts, found.unreadable) == ((Verdict.GROWN, Verdict.SAME), (3,))


@given(st.integers(1, 20), st.integers(1, 20), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_to_the_lines_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, first: int, more: int, random: random.Random
) -> None:
    node = Node(tmp_path_factory.mktemp("tamper"))
    node.grow(first)
    old = shutil.copytree(node.folder, node.folder / "old")
    _, early = node.signed()
    node.grow(more, "later")
    note, late = node.signed()
    lines = node.lines
    at = random.randrange(first)
    act = random.choice(["edit", "drop", "insert", "swap", "truncate", "older copy"])
    changed = list(lines)
    match act:
        case "edit":
            changed[at] = changed[at].replace(b"entry", b"Entry")
        case "drop":
            del changed[at]
        case "insert":
            changed.insert(at, lines[at])
        case "swap":
            changed[at], changed[-1] = changed[-1], changed[at]
        case "truncate":
            changed = changed[: random.randrange(len(changed))]
    node.rewrite(changed)
    if act == "older copy":
        shutil.copytree(old, node.folder, dirs_exist_ok=True)
    assert not check_journal(node.path, [early, late], late).honest
    with_caches = random.random() < 0.5
    if not with_caches and act != "older copy":
        node.forget_caches()
        # What the node itself would sign next contradicts what it signed before: it refuses.
        with pytest.raises(BrokenJournalError, match=r"shortened|rewritten"):
            node.log.checkpoint()
        node.grow(3)
        with pytest.raises(BrokenJournalError):
            node.log.checkpoint()
    assert parse_note(str(note)) == note


def test_the_first_changed_entry_is_told(node: Node) -> None:
    node.grow(20)
    _, signed = node.signed()
    lines = node.lines
    lines[13] = lines[13].replace(b"13", b"31")
    node.rewrite(lines)
    found = check_journal(node.path, [signed], signed)
    assert (found.verdicts, found.changed) == ((Verdict.REWRITTEN,), 13)
    with pytest.raises(BrokenJournalError, match="entry 13"):
        node.log.prove(13)


def test_a_history_that_was_signed_anew_is_a_fork(node: Node) -> None:
    node.grow(9)
    _, remembered = node.signed()
    lines = node.lines
    lines[4] = lines[4].replace(b"entry", b"other")
    node.rewrite(lines)
    node.forget_caches()
    (node.folder / "journal.checkpoint").unlink()
    node.grow(2)
    _, forged = node.signed()
    assert check_journal(node.path, [forged], forged).honest
    assert check_journal(node.path, [remembered], forged).verdicts == (Verdict.FORKED,)
    same_length = open_checkpoint(sign_checkpoint(Checkpoint(ORIGIN, 9, forged.root), KEY), node.log.key)
    assert check_journal(node.path, [remembered], same_length).verdicts == (Verdict.FORKED,)


def test_an_older_copy_of_everything_is_shorter_than_what_others_remember(node: Node, tmp_path: Path) -> None:
    node.grow(5)
    node.signed()
    older = tmp_path / "older"
    shutil.copytree(node.folder, older)
    node.grow(5)
    _, remembered = node.signed()
    _, own = Node(older).signed()
    assert check_journal(older / "journal.jsonl", [remembered], own).verdicts == (Verdict.SHORTENED,)
    Node(older).grow(10, "another past")
    _, own = Node(older).signed()
    assert check_journal(older / "journal.jsonl", [remembered], own).verdicts == (Verdict.FORKED,)


def test_another_nodes_checkpoint_says_nothing_of_this_one(node: Node) -> None:
    node.grow(2)
    _, own = node.signed()
    assert check_journal(node.path, [Checkpoint("edge-agent/x/y", 2, own.root)], own).verdicts == (Verdict.ANOTHER,)


@given(st.sampled_from(SIDE_FILES), st.integers(0, 2000), st.binary(max_size=100), st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_a_power_cut_leaves_of_the_trees_files_a_start_mends_them(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, at: int, garbage: bytes, cut: bool
) -> None:
    node = Node(tmp_path_factory.mktemp("caches"))
    node.grow(11)
    _, signed = node.signed()
    node.grow(12)
    side = node.path.with_suffix(suffix)
    # What was fsynced before the checkpoint stands; of what came after, anything may be there.
    stands = hashes_of(11) * 32 if suffix == ".hashes" else 11 * 16
    content = bytearray(side.read_bytes())
    at = min(stands + at, len(content))
    content[at : at + len(garbage)] = garbage
    side.write_bytes(content[: at + len(garbage)] if cut else content)
    node.log.settle()
    node.grow(1)
    assert node.root_now() == tree_head(node.lines)
    assert node.signed()[1].size == 24
    assert check_journal(node.path, [signed]).honest


@given(st.binary(max_size=3000), st.binary(max_size=500))
@settings(max_examples=40, deadline=None)
def test_garbage_in_the_trees_files_never_becomes_a_checkpoint_after_a_start(
    tmp_path_factory: pytest.TempPathFactory, hashes: bytes, places: bytes
) -> None:
    node = Node(tmp_path_factory.mktemp("garbage"))
    node.grow(6)
    node.path.with_suffix(".hashes").write_bytes(hashes)
    node.path.with_suffix(".places").write_bytes(places)
    node.log.settle()
    node.grow(2)
    assert node.root_now() == tree_head(node.lines)


def test_an_entry_stands_even_when_its_hash_can_not_be_kept(node: Node) -> None:
    node.grow(2)
    hashes = node.path.with_suffix(".hashes")
    hashes.unlink()
    hashes.mkdir()
    journal = Journal(node.path, HandClock())
    assert journal.append(JournalEntry(JournalKind.START, Outcome.DONE)) is None
    assert len(node.lines) == 3
    with pytest.raises(ArchiveError):
        node.log.checkpoint()
    hashes.rmdir()
    assert node.signed()[1] == Checkpoint(ORIGIN, 3, tree_head(node.lines))


def test_a_writer_that_is_killed_at_any_moment_leaves_a_journal_that_goes_on(node: Node) -> None:
    context = multiprocessing.get_context("spawn")
    node.grow(1)
    _, before = node.signed()
    for enough in (5, 40, 90):
        writer = context.Process(target=_append_for_ever, args=(node.path,))
        writer.start()
        assert writer.pid is not None
        wait_until(lambda goal=enough: len(node.lines) > goal, 30, "the writer wrote")  # type: ignore[misc]
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        node.log.settle()
        node.grow(1, "after the kill")
        assert node.root_now() == tree_head(node.lines)
        _, now = node.signed()
        assert check_journal(node.path, [before, now], now).verdicts == (Verdict.GROWN, Verdict.SAME)
        before = now


def test_the_same_checkpoint_is_not_signed_twice(node: Node) -> None:
    node.grow(3)
    note, _ = node.signed()
    assert node.log.checkpoint() == note
    node.grow(1)
    assert node.log.checkpoint() != note


def test_a_checkpoint_file_that_is_damaged_or_of_another_key_stops_signing_and_is_kept(node: Node) -> None:
    node.grow(3)
    node.signed()
    path = node.folder / "journal.checkpoint"
    for content in (b"", b"\xff", path.read_bytes()[:-9], str(sign_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)),
                    Ed25519PrivateKey.generate())).encode()):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(BrokenJournalError, match=r"journal\.checkpoint"):
            node.log.checkpoint()
        assert path.read_bytes() == content


def test_a_new_key_goes_on_with_the_same_journal(node: Node) -> None:
    node.grow(3)
    _, before = node.signed()
    (node.folder / "journal.checkpoint").rename(node.folder / "journal.checkpoint.before")
    fresh = Ed25519PrivateKey.generate()
    log = JournalLog(Journal(node.path, HandClock()), node.folder / "journal.checkpoint", ORIGIN, fresh)
    node.grow(1)
    after = open_checkpoint(log.checkpoint(), log.key)
    assert check_journal(node.path, [before], after).verdicts == (Verdict.GROWN,)


def test_the_nodes_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = node_signing_key(tmp_path)
    path = node_key_path(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public_key_of(node_signing_key(tmp_path)) == public_key_of(key)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        node_signing_key(tmp_path)
    path.unlink()
    create_key(path)
    assert public_key_of(node_signing_key(tmp_path)) != public_key_of(key)


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_a_key_that_is_lost_signs_nothing_more_and_stops_nothing_else(node: Node, loss: str) -> None:
    data, checkpoint = node.folder, node.folder / "journal.checkpoint"
    first = JournalLog(Journal(node.path, HandClock()), checkpoint, ORIGIN, node_signing_key(data))
    node.grow(3)
    signed = str(first.checkpoint())
    path = node_key_path(data)
    path.unlink()
    if loss == "damaged":
        path.touch(mode=0o600)
    node.grow(2)
    lent = node_signing_key(data, signed_before=True)
    with pytest.raises(BrokenJournalError, match="set this file aside"):
        JournalLog(Journal(node.path, HandClock()), checkpoint, ORIGIN, lent).checkpoint()
    assert checkpoint.read_text() == signed
    assert loss == "damaged" or not path.exists()


def test_the_newest_entry_of_a_kind_is_found(node: Node) -> None:
    journal = Journal(node.path, HandClock())
    assert journal.last(JournalKind.START) is None
    journal.append(JournalEntry(JournalKind.START, Outcome.DONE, reason="one"))
    journal.append(JournalEntry(JournalKind.START, Outcome.DONE, reason="two"))
    node.grow(3, '{"kind":"start",')
    with node.path.open("ab") as file:
        file.write(b'{"kind":"start","torn\n')
    found = journal.last(JournalKind.START)
    assert found is not None
    assert found.reason == "two"
    assert journal.last(JournalKind.STOP) is None


def _append_for_ever(path: Path) -> None:
    journal = Journal(path, SystemClock())
    while True:
        journal.append(JournalEntry(JournalKind.ACCESS, Outcome.DONE, reason="x" * 500))
