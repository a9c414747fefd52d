"""What a desk makes of nodes' journals: nothing that was changed, cut, forked or left out passes, and each is named."""

from __future__ import annotations

import dataclasses
import io
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from edge_agent.desk import audit
from edge_agent.desk.audit import NodeAnswer, gather
from edge_agent.desk.audit_cli import Progress, exit_code, in_time
from edge_agent.desk.audit_words import TroubleKind
from edge_agent.desk.memory import Memory
from edge_agent.desk.rows import journal_row
from edge_agent.desk.texts import texts
from edge_agent.errors import ConfigError, UplinkError
from edge_agent.trust.audit import AuditPage, AuditQuery, answer, sign_page
from edge_agent.trust.checkpoint import Verdict, origin_of
from edge_agent.trust.journal import BadLine, Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import BrokenJournalError, JournalLog
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.note import NoteKey
from edge_agent.uplink.payloads import Reply, ReplyState, Words
from edge_agent.uplink.topics import Topics
from edge_agent.when import spoken
from tests.simulators.clock import HandClock
from tests.trust.support import NOW_US

N1, N2 = Topics("town", "n1"), Topics("town", "n2")
EVERYTHING = AuditQuery()


def entry(number: int, said: str = "as it was") -> JournalEntry:
    who = ["Шевченко Оксана", "Doe John"][number % 2]
    return JournalEntry(JournalKind.ACCESS, Outcome.DONE, who=who, reason=said, at_us=NOW_US + number)


class Node:
    """A journal that answers, honestly unless a test makes it lie."""

    def __init__(self, folder: Path, topics: Topics, count: int) -> None:
        self.folder, self.topics = folder, topics
        folder.mkdir()
        self.key = Ed25519PrivateKey.generate()
        self.path = folder / "journal.jsonl"
        self.grow(0, count)

    @property
    def log(self) -> JournalLog:
        journal = Journal(self.path, HandClock())
        return JournalLog(journal, self.folder / "journal.checkpoint", origin_of(self.name), self.key)

    @property
    def name(self) -> str:
        return f"{self.topics.site}/{self.topics.node}"

    def grow(self, low: int, high: int, said: str = "as it was") -> None:
        self.log.journal.append_all([entry(number, said) for number in range(low, high)])

    def forget(self, *, checkpoint: bool = True) -> None:
        """What hides a change from the node itself."""
        for name in ("hashes", "places", *(["checkpoint"] if checkpoint else [])):
            (self.folder / f"journal.{name}").unlink(missing_ok=True)

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True)

    def lies(self, query: AuditQuery, lie: Callable[[AuditPage], AuditPage]) -> bytes:
        """A page that the holder of the node's key makes up."""
        with self.log.journal.tree() as tree:
            page = answer(tree, self.log.checkpoint_of(tree), query)
        return sign_page(lie(page), self.key)


class Town:
    def __init__(self, folder: Path, count: int = 250) -> None:
        self.one, self.two = Node(folder / "n1", N1, count), Node(folder / "n2", N2, 5)
        self.memory = Memory(folder / "state")
        self.page: Callable[[AuditQuery], bytes] = lambda query: self.one.log.audit(query)
        self.asked: list[AuditQuery] = []

    def ask(self, node: Topics, query: AuditQuery) -> Reply:
        which = self.one if node == N1 else self.two
        self.memory.pin(node, public_key_of(which.key))  # as the client does with a signed reply
        try:
            if node == N1:
                self.asked.append(query)
                return reply(ReplyState.DONE, result=self.page(query).decode())
            return reply(ReplyState.DONE, result=which.log.audit(query).decode())
        except BrokenJournalError as error:
            return reply(ReplyState.FAILED, "journal_broken", str(error))

    def audit(self, query: AuditQuery = EVERYTHING, *, whole: bool = False, keep: bool = True) -> NodeAnswer:
        """What the first node is found to be; the second must always be sound beside it."""
        first, second = gather([N1, N2], query, self.ask, self.memory, whole=whole, keep=keep)
        assert second.trouble is None
        assert second.node == "town/n2"
        return first


def reply(state: ReplyState, code: str = "journal", words: str = "", result: str | None = None) -> Reply:
    page = {"page": result} if result is not None else None
    said = Words(uk=words, en=words)
    return Reply(at_us=1, request_id="r", state=state, code=code, words=said, result=page)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Two nodes that were asked before."""
    made = Town(tmp_path)
    assert made.audit().trouble is None
    return made


def kind(told: NodeAnswer) -> TroubleKind | None:
    return told.trouble.kind if told.trouble else None


@pytest.mark.parametrize("whole", [False, True], ids=["asked", "verified"])
def test_an_honest_journal_is_given_whole_and_its_checkpoint_kept(tmp_path: Path, whole: bool) -> None:
    town = Town(tmp_path)
    first = town.audit(whole=whole)
    assert (first.trouble, first.verdict, len(first.entries)) == (None, None, 250)
    town.one.grow(250, 260)
    query = AuditQuery(person="doe", start_us=NOW_US + 100)
    second = town.audit(query, whole=whole)
    assert (second.trouble, second.verdict) == (None, Verdict.GROWN)
    assert [index for index, _ in second.entries] == list(range(101, 260, 2))
    assert town.audit(whole=whole).verdict is Verdict.SAME
    assert town.asked[-3].seen == 260
    kept = town.memory.checkpoint(N1)
    assert kept is not None
    assert kept[1] == second.checkpoint
    assert second.note == kept[0]


def test_whoever_only_verifies_is_given_nothing_to_hold(town: Town) -> None:
    told = town.audit(whole=True, keep=False)
    assert (told.trouble, told.entries) == (None, ())


def edited(node: Node) -> None:
    node.path.write_bytes(node.path.read_bytes().replace(b"as it was", b"otherwise", 1))


def cut(node: Node) -> None:
    node.path.write_bytes(b"".join(node.lines()[:200]))


@pytest.mark.parametrize("whole", [False, True], ids=["asked", "verified"])
@pytest.mark.parametrize("tamper", [edited, cut], ids=["edited", "cut"])
def test_a_node_whose_journal_was_changed_behind_its_back_says_so_itself(
    town: Town, tamper: Callable[[Node], None], whole: bool
) -> None:
    tamper(town.one)
    told = town.audit(whole=whole)
    assert kind(told) is TroubleKind.BROKEN
    assert exit_code([told]) == 1


@pytest.mark.parametrize("whole", [False, True], ids=["asked", "verified"])
def test_a_journal_cut_off_and_signed_anew_is_shortened(town: Town, whole: bool) -> None:
    cut(town.one)
    town.one.forget()
    town.one.grow(300, 305)
    told = town.audit(whole=whole)
    assert (kind(told), told.verdict, len(told.entries)) == (TroubleKind.SHORTENED, Verdict.SHORTENED, 205)
    assert told.trouble is not None
    assert "250" in told.trouble.uk
    assert str(town.memory.checkpoint_path(N1)) in told.trouble.en


def test_an_older_copy_of_everything_is_shortened_and_the_copy_kept_as_evidence(tmp_path: Path) -> None:
    town = Town(tmp_path, 20)
    town.one.log.checkpoint()
    shutil.copytree(town.one.folder, tmp_path / "copy")
    town.one.grow(20, 40)
    assert town.audit().trouble is None
    shutil.rmtree(town.one.folder)
    (tmp_path / "copy").rename(town.one.folder)
    for _ in range(2):
        assert kind(town.audit()) is TroubleKind.SHORTENED
    kept = town.memory.checkpoint(N1)
    assert kept is not None
    assert kept[1].size == 40
    evidence = town.memory.checkpoint_path(N1).with_name("n1.shortened-20")
    assert evidence.read_text() == str(town.one.log.checkpoint())


def test_a_journal_rewritten_and_signed_anew_is_seen_and_proved_to_be_forked_when_all_is_read(town: Town) -> None:
    edited(town.one)
    town.one.forget()
    town.one.grow(250, 300)
    told = town.audit(AuditQuery(person="doe"))
    assert (kind(told), told.verdict) == (TroubleKind.REWRITTEN, Verdict.REWRITTEN)
    told = town.audit(whole=True)
    assert (kind(told), told.verdict) == (TroubleKind.FORKED, Verdict.FORKED)
    assert town.memory.checkpoint_path(N1).with_name("n1.forked-300").exists()


@pytest.mark.parametrize("whole", [False, True], ids=["asked", "verified"])
def test_two_histories_of_one_length_are_a_fork(town: Town, whole: bool) -> None:
    edited(town.one)
    town.one.forget()
    assert kind(town.audit(whole=whole)) is TroubleKind.FORKED


@pytest.mark.parametrize("at", [0, 1, 100, 400], ids=["a-leaf", "its-neighbour", "within", "near-the-end"])
def test_damaged_hashes_are_made_again_for_the_lines_are_as_signed(town: Town, at: int) -> None:
    path = town.one.path.with_suffix(".hashes")
    hashes = bytearray(path.read_bytes())
    hashes[at * 32] ^= 1
    path.write_bytes(hashes)
    assert town.audit(whole=True).trouble is None
    assert town.audit().trouble is None


def test_a_node_that_shows_another_entry_than_it_signed_is_told_with_its_number(town: Town) -> None:
    other = "e30="

    def lie(page: AuditPage) -> AuditPage:
        shown = [one.model_copy(update={"line": other}) if one.index == 7 else one for one in page.entries]
        return page.model_copy(update={"entries": tuple(shown)})

    town.page = lambda query: town.one.lies(query, lie)
    told = town.audit()
    assert kind(told) is TroubleKind.CHANGED
    assert told.trouble is not None
    assert "7" in told.trouble.uk


@pytest.mark.parametrize("gone", [0, 3, 150, 249], ids=["first", "early", "on-a-later-page", "last"])
def test_an_entry_that_is_left_out_shows_when_all_is_read(town: Town, gone: int) -> None:
    def lie(page: AuditPage) -> AuditPage:
        return page.model_copy(update={"entries": tuple(one for one in page.entries if one.index != gone)})

    town.page = lambda query: town.one.lies(query, lie)
    told = town.audit(whole=True)
    assert kind(told) is TroubleKind.LEFT_OUT
    assert told.trouble is not None
    assert str(gone) in told.trouble.en


def test_a_node_that_ends_its_journal_early_left_something_out(town: Town) -> None:
    town.page = lambda query: town.one.lies(query, lambda page: page.model_copy(update={"next": None}))
    assert kind(town.audit(whole=True)) is TroubleKind.LEFT_OUT


def test_a_journal_that_is_exchanged_between_two_pages_is_seen(town: Town) -> None:
    def page(query: AuditQuery) -> bytes:
        if query.after == 100:
            edited(town.one)
            town.one.forget()
            town.one.grow(250, 300)
        return town.one.log.audit(query)

    town.page = page
    assert kind(town.audit()) is TroubleKind.REWRITTEN


def test_a_page_of_another_key_is_not_proved_and_ends_like_a_refusal(town: Town) -> None:
    stranger = Node(town.one.folder.with_name("stranger"), N1, 10)
    town.page = lambda query: stranger.log.audit(query)
    told = town.audit()
    assert (kind(told), exit_code([told])) == (TroubleKind.UNPROVEN, 77)
    assert told.checkpoint is None


@pytest.mark.parametrize("page", [b"", b"rubbish", b"a.b.c", "п".encode()])
def test_rubbish_instead_of_a_page_is_not_proved(town: Town, page: bytes) -> None:
    town.page = lambda _query: page
    assert kind(town.audit()) is TroubleKind.UNPROVEN


def test_a_silent_node_and_one_that_refuses_are_told_and_hold_nobody_up(town: Town) -> None:
    def ask(node: Topics, query: AuditQuery) -> Reply:
        if node == N1:
            raise UplinkError("nobody there")
        if node == N2:
            return town.ask(node, query)
        town.memory.pin(node, public_key_of(town.two.key))
        return reply(ReplyState.REFUSED, "not_permitted", "may not [b]journal")

    answers = gather([N1, Topics("town", "n3"), N2], EVERYTHING, ask, town.memory)
    assert [kind(told) for told in answers] == [TroubleKind.SILENT, TroubleKind.REFUSED, None]
    assert [exit_code([told]) for told in answers] == [69, 77, 0]
    assert exit_code(answers) == 69
    assert answers[0].trouble is not None
    assert "nobody there" in answers[0].trouble.uk


def test_more_than_can_be_shown_is_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST_ENTRIES", 120)
    told = town.audit()
    assert (kind(told), len(told.entries), len(town.asked)) == (TroubleKind.TOO_MANY, 120, 5)


def test_the_entries_of_several_nodes_stand_in_the_order_of_time() -> None:
    torn = BadLine(2, b"torn")
    one = NodeAnswer("town/n1", ((0, entry(1)), (1, torn), (2, entry(9))))
    two = NodeAnswer("town/n2", ((0, entry(5)),))
    assert in_time([one, two]) == [
        ("town/n1", entry(1)), ("town/n1", torn), ("town/n2", entry(5)), ("town/n1", entry(9)),
    ]  # fmt: skip


def test_what_was_kept_never_goes_back_and_a_given_key_is_believed_before_a_pinned_one(town: Town) -> None:
    note, checkpoint = town.memory.checkpoint(N1) or pytest.fail("nothing kept")
    town.memory.keep(N1, note, dataclasses.replace(checkpoint, size=3))
    assert town.memory.checkpoint(N1) == (note, checkpoint)
    other = NoteKey(origin_of("town/n1"), public_key_of(Ed25519PrivateKey.generate()))
    state = town.memory.key_path(N1).parent.parent
    assert Memory(state, [other]).key(N1) == other
    assert Memory(state).pin(N1, other.public) == town.memory.key(N1)
    (state / "town" / "ODD name.key").write_text("x")
    assert Memory(state, [NoteKey(origin_of("town/n9"), other.public)]).nodes() == [N1, N2, Topics("town", "n9")]


@pytest.mark.parametrize("ending", ["key", "checkpoint"])
def test_a_damaged_memory_is_told_and_believes_nobody(town: Town, ending: str) -> None:
    path = town.memory.key_path(N1).with_suffix(f".{ending}")
    path.write_bytes(b"\xff damaged")
    with pytest.raises(ConfigError, match="set th"):
        town.memory.key(N1), town.memory.checkpoint(N1)
    first, second = gather([N1, N2], EVERYTHING, town.ask, town.memory)
    assert (kind(first), second.trouble) == (TroubleKind.FAILED, None)


def test_a_node_with_a_new_key_still_has_to_continue_what_was_signed_with_the_old_one(town: Town) -> None:
    town.one.key = Ed25519PrivateKey.generate()
    (town.one.folder / "journal.checkpoint").unlink()
    town.one.grow(250, 260)
    assert kind(town.audit()) is TroubleKind.UNPROVEN
    town.memory.key_path(N1).unlink()
    told = town.audit(whole=True)
    assert (told.trouble, told.verdict) == (None, Verdict.GROWN)
    edited(town.one)
    town.one.forget()
    assert kind(town.audit()) is TroubleKind.FORKED


def test_whoever_interrupts_does_not_wait_for_the_whole_journal(town: Town) -> None:
    asked = threading.Event()

    def page(query: AuditQuery) -> bytes:
        town.one.grow(0, 100)  # this journal has no end
        if query.after >= 300:
            asked.set()
        return town.one.log.audit(query)

    def ask(node: Topics, query: AuditQuery) -> Reply:
        if node == N1:
            return town.ask(node, query)
        assert asked.wait(60)
        raise KeyboardInterrupt

    town.page = page
    with pytest.raises(KeyboardInterrupt):
        gather([N2, N1], EVERYTHING, ask, town.memory, whole=True)


def test_progress_is_shown_once_it_takes_long_and_on_a_terminal_only() -> None:
    for terminal in (True, False):
        screen, clock = io.StringIO(), HandClock()
        with Progress(Console(file=screen, force_terminal=terminal), clock, texts("en")) as progress:
            progress.heard("town/n1", 100, 500)
            assert screen.getvalue() == ""
            clock.move(2.5)
            progress.heard("town/n2", 50, 300)
        assert ("Read 150 of 800 entries (2 nodes)" in screen.getvalue()) is terminal


def test_a_row_is_in_the_persons_language_and_nothing_steers_the_terminal() -> None:
    kyiv = ZoneInfo("Europe/Kyiv")
    told = dataclasses.replace(entry(1, "so\x1b[2J it was"), count=3, args={"camera": "gate"}, action="export")
    when = spoken(NOW_US + 1, kyiv)
    assert journal_row(texts("uk"), kyiv, told) == (when, "Doe John", "export gate", "виконано", "so�[2J it was (×3)")
    assert journal_row(texts("en"), kyiv, BadLine(3, b"\xff\x1b"))[3:] == ("unreadable", "��")


def test_an_audit_that_ends_in_the_middle_has_kept_what_was_proved(town: Town) -> None:
    town.one.grow(250, 500)

    def page(query: AuditQuery) -> bytes:
        if query.after >= 200:
            raise BrokenJournalError("the disk is gone")
        return town.one.log.audit(query)

    town.page = page
    assert kind(town.audit()) is TroubleKind.BROKEN
    kept = town.memory.checkpoint(N1)
    assert kept is not None
    assert kept[1].size == 500
