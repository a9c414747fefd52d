"""Questions from afar: what is answered is what was asked for, and nothing that was changed on the way is believed."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_agent.model import PersonId
from edge_agent.trust.audit import TYPE, AuditPage, AuditQuery, answer, open_page, sign_page
from edge_agent.trust.checkpoint import Checkpoint, Verdict, open_checkpoint
from edge_agent.trust.journal import BadLine, Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.note import BadNoteError
from edge_agent.trust.policy import Access
from tests.simulators.clock import HandClock
from tests.trust.rfc6962 import root_from_path
from tests.trust.support import NOW_US

ORIGIN = "edge-agent/melitopol/node-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
EVERYTHING = AuditQuery()


def entry(number: int) -> JournalEntry:
    """A varied life: two people, two cameras, orders, the node's own entries."""
    if number % 5 == 4:
        return JournalEntry(JournalKind.SEGMENTS, Outcome.DONE, args={"count": number}, at_us=NOW_US + number)
    people = [("o-shevchenko", "Шевченко Оксана Іванівна"), ("j-doe", 'Doe "Джо" John')]
    person_id, who = people[number % 2]
    args: dict[str, object] = {"camera": ["gate", "yard"][number % 3 % 2]}
    if number % 7 == 0:
        args = {"cameras": ["gate", "park"], "order_number": f"{number}/2026-р"}
    return JournalEntry(
        JournalKind.ACCESS, Outcome.DONE, who=who, person_id=PersonId(person_id), access=Access.REMOTE,
        action=["export", "hold", "status"][number % 3], args=args, ref=f"nonce{number:016}", at_us=NOW_US + number,
    )  # fmt: skip


def cameras_of(one: JournalEntry) -> list[str]:
    return one.args.get("cameras") or [one.args.get("camera", "")]


ALL = [(number, entry(number)) for number in range(300)]


class Node:
    def __init__(self, folder: Path, count: int) -> None:
        self.path = folder / "journal.jsonl"
        self.journal = Journal(self.path, HandClock())
        self.log = JournalLog(self.journal, folder / "journal.checkpoint", ORIGIN, KEY)
        self.journal.append_all([one for _, one in ALL[:count]])

    def page(self, query: AuditQuery) -> AuditPage:
        with self.journal.tree() as tree:
            return answer(tree, self.log.checkpoint_of(tree), query)

    def ask(self, query: AuditQuery, seen: Checkpoint | None = None) -> list[int]:
        """Every page of the answer, verified: the entries' indices."""
        found: list[int] = []
        while True:
            audited = open_page(self.log.audit(query), self.log.key, query, seen)
            found += [index for index, _ in audited.entries]
            if audited.page.next is None:
                return found
            query = query.model_copy(update={"after": audited.page.next})


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("audit"), 300)


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        (EVERYTHING, [n for n, e in ALL]),
        (AuditQuery(limit=7), [n for n, e in ALL]),
        (AuditQuery(start_us=NOW_US + 20, end_us=NOW_US + 90), [n for n, e in ALL if 20 <= n < 90]),
        (AuditQuery(person="o-shevchenko"), [n for n, e in ALL if e.person_id == "o-shevchenko"]),
        (AuditQuery(person="шевченко"), [n for n, e in ALL if e.person_id == "o-shevchenko"]),
        (AuditQuery(person='"джо"'), [n for n, e in ALL if e.person_id == "j-doe"]),
        (AuditQuery(action="export", limit=9), [n for n, e in ALL if e.action == "export"]),
        (AuditQuery(action="segments"), [n for n, e in ALL if e.kind == "segments"]),
        (AuditQuery(camera="park"), [n for n, e in ALL if "park" in cameras_of(e)]),
        (AuditQuery(camera="gate"), [n for n, e in ALL if "gate" in cameras_of(e)]),
        (AuditQuery(number="21/2026-р"), [n for n, e in ALL if n == 21]),
        (AuditQuery(number="nonce0000000000000010"), [n for n, e in ALL if n == 10]),
        (AuditQuery(person="j-doe", action="hold", camera="yard", end_us=NOW_US + 200),
         [n for n, e in ALL if e.person_id == "j-doe" and e.action == "hold" and "yard" in cameras_of(e) and n < 200]),
        (AuditQuery(person="nobody"), []),
        (AuditQuery(start_us=NOW_US + 1000), []),
        (AuditQuery(after=250), [n for n, e in ALL if n >= 250]),
    ],
)  # fmt: skip
def test_the_answer_is_what_was_asked_for_page_by_page(node: Node, query: AuditQuery, meant: list[int]) -> None:
    assert node.ask(query) == meant


def test_each_entry_proves_itself_to_another_verifier(node: Node) -> None:
    page = node.page(AuditQuery(camera="park"))
    checkpoint = open_checkpoint(page.checkpoint, node.log.key)
    for one in page.entries:
        path = [base64.b64decode(text) for text in one.path]
        assert root_from_path(base64.b64decode(one.line), one.index, checkpoint.size, path) == checkpoint.root


def test_an_unreadable_line_is_in_its_time_and_in_no_persons_answer(tmp_path: Path) -> None:
    node = Node(tmp_path, 5)
    with node.path.open("ab") as file:
        file.write(b"\xff torn\n")
    node.journal.append(entry(6))
    query = AuditQuery(start_us=NOW_US + 4)
    found = open_page(sign_page(node.page(query), KEY), node.log.key, query).entries
    assert found[1] == (5, BadLine(6, b"\xff torn"))
    assert len(node.ask(AuditQuery(person="j-doe"))) == 2


def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path, 10)
    node.journal.append(dataclasses.replace(entry(3), at_us=NOW_US - 5_000_000))
    assert node.ask(AuditQuery(end_us=NOW_US)) == [10]


def test_what_was_seen_last_must_be_continued(tmp_path: Path) -> None:
    node = Node(tmp_path, 20)
    seen = open_checkpoint(node.log.checkpoint(), node.log.key)
    query = AuditQuery(seen=20, limit=1)

    def verdict(about: Checkpoint, asked: AuditQuery = query) -> Verdict | None:
        return open_page(sign_page(node.page(asked), KEY), node.log.key, asked, about).verdict

    assert verdict(seen) is Verdict.SAME
    node.journal.append_all([entry(n) for n in range(20, 33)])
    assert verdict(seen) is Verdict.GROWN
    assert verdict(dataclasses.replace(seen, root=bytes(32))) is Verdict.REWRITTEN
    assert verdict(Checkpoint(ORIGIN, 33, bytes(32)), AuditQuery(seen=33)) is Verdict.FORKED
    assert verdict(Checkpoint(ORIGIN, 40, bytes(32)), AuditQuery(seen=40)) is Verdict.SHORTENED


def test_an_entry_that_was_edited_on_the_disk_is_not_believed(tmp_path: Path) -> None:
    node = Node(tmp_path, 20)
    node.log.checkpoint()
    node.path.write_bytes(node.path.read_bytes().replace(b"Doe", b"Ode"))
    with pytest.raises(BadNoteError, match="entry 1 is not in the journal that was signed"):
        open_page(sign_page(node.page(EVERYTHING), KEY), node.log.key, EVERYTHING)


def test_an_answer_of_another_key_question_or_kind_is_refused(node: Node) -> None:
    page = node.page(EVERYTHING)
    with pytest.raises(BadNoteError, match="not signed by"):
        open_page(sign_page(page, Ed25519PrivateKey.generate()), node.log.key, EVERYTHING)
    with pytest.raises(BadNoteError, match="another question"):
        open_page(sign_page(page, KEY), node.log.key, AuditQuery(person="j-doe"))
    other = jwt.PyJWS(algorithms=["EdDSA"]).encode(b"{}", KEY, "EdDSA", {"typ": "edge-command+jwt"}).encode()
    with pytest.raises(BadNoteError, match=TYPE.replace("+", r"\+")):
        open_page(other, node.log.key, EVERYTHING)


@given(
    st.sampled_from(["line", "path", "index", "order", "next", "checkpoint"]), st.integers(0, 99), st.binary(min_size=1)
)
@settings(deadline=None)
def test_even_the_nodes_own_signature_makes_no_false_entry_true(
    node: Node, what: str, which: int, other: bytes
) -> None:
    content = json.loads(node.page(EVERYTHING).model_dump_json())
    one = content["entries"][which]
    match what:
        case "line":
            one["line"] = base64.b64encode(other).decode()
        case "path":
            one["path"][which % len(one["path"])] = base64.b64encode(other.ljust(32)[:32]).decode()
        case "index":
            one["index"] += 1 + other[0]
        case "order":
            content["entries"].insert(0, content["entries"].pop(which or 1))
        case "next":
            content["next"] = which
        case "checkpoint":
            content["checkpoint"] = content["checkpoint"].replace("\n300\n", f"\n{which + 301}\n")
    with pytest.raises(BadNoteError):
        open_page(sign_page(AuditPage.model_validate(content), KEY), node.log.key, EVERYTHING)


@given(st.binary(max_size=400) | st.text("abcXYZ_-.012{}", max_size=200).map(str.encode))
def test_garbage_is_no_answer(node: Node, garbage: bytes) -> None:
    signed = jwt.PyJWS(algorithms=["EdDSA"]).encode(garbage, KEY, "EdDSA", {"typ": TYPE}).encode()
    for token in (garbage, signed):
        with pytest.raises(BadNoteError):
            open_page(token, node.log.key, EVERYTHING)


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 101}, {"after": -1}, {"start_us": 5, "end_us": 5},
                                   {"person": "x" * 201}, {"anything": 1}])  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AuditQuery.model_validate(wrong)
