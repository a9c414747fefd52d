"""The access journal as the order wants it: whose, when, what; and what of it is proved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.config import Language
from edge_agent.desk.access_report import access_report, names
from edge_agent.desk.access_words import ACCESSES, ACTIONS, KINDS, OUTCOMES, PURPOSES, WORKS
from edge_agent.desk.audit import NodeAnswer
from edge_agent.desk.audit_words import TroubleKind, trouble
from edge_agent.desk.paper import Table, to_csv, to_pdf
from edge_agent.desk.rows import Level
from edge_agent.model import PersonId
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.checkpoint import Checkpoint, Cosignature, Verdict
from edge_agent.trust.command import Work
from edge_agent.trust.journal import BadLine, JournalEntry, JournalKind, Outcome
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.note import NoteKey, SignatureKind
from edge_agent.trust.order import Basis, OrderKind, Terms, sign
from edge_agent.trust.policy import Access, Action, Purpose
from edge_agent.trust.witnessed import Witnessed
from tests.desk.test_paper import pdf_text

AT_US = 1_795_356_309_000_000
"""2026-11-22 16:05:09 in Kyiv."""
KYIV = ZoneInfo("Europe/Kyiv")
CHECKPOINT = Checkpoint("edge-agent/town/n1", 120, bytes(range(32)))
ASKED = AuditQuery(start_us=AT_US - 86400 * US, end_us=AT_US + 86400 * US)


def entry(action: str, outcome: Outcome, after_s: int = 0, **more: object) -> JournalEntry:
    known = JournalEntry(JournalKind.ACCESS, outcome, who="Коваленко Олена Петрівна", action=action)
    known = replace(known, person_id=PersonId("o-kovalenko"), access=Access.REMOTE, at_us=AT_US + after_s * US)
    return replace(known, **more)  # type: ignore[arg-type]


def answer(*entries: JournalEntry | BadLine, node: str = "town/n1") -> NodeAnswer:
    return NodeAnswer(node, tuple(enumerate(entries, 17)), CHECKPOINT, Verdict.GROWN)


def report(*answers: NodeAnswer, query: AuditQuery = ASKED, language: Language = "uk") -> Table:
    return access_report(answers, query, KYIV, language, AT_US + 3600 * US)


def test_a_release_is_one_row_with_name_date_time_and_what_became_of_it() -> None:
    args = {"camera": "gate", "start_us": AT_US - 600 * US, "end_us": AT_US - 300 * US, "reason": "Запит 7/2026"}
    accepted = entry("export", Outcome.ACCEPTED, args=args, ref="pQ1", reason="archive_officer may export")
    done = entry("export", Outcome.DONE, 20, args=args, ref="pQ1", reason=f"released to usb/x.age, sha256 {'ab' * 32}")
    looked = entry("status", Outcome.DONE, 5, ref="zz")
    first, second = report(answer(accepted, looked, done)).rows
    assert list(first[:8]) == [
        "town/n1", "17, 19", "Коваленко", "Олена", "Петрівна", "22.11.2026", "16:05:09 +02:00",
        "Видача запису (дистанційно): виконано",
    ]  # fmt: skip
    assert first[8] == (
        "камера gate; період 2026-11-22 15:55:09 +02:00 … 2026-11-22 16:00:09 +02:00; причина Запит 7/2026; "
        f"видано: usb/x.age, sha256 {'ab' * 32}"
    )
    assert (second[1], second[7]) == ("18", "Перегляд стану вузла (дистанційно): виконано")


def test_another_configuration_is_told_by_its_hashes_alone() -> None:
    changed = JournalEntry(
        JournalKind.CONFIGURATION, Outcome.DONE, reason="another configuration than at the start before",
        args={"old": "ab12", "new": "cd34"}, at_us=AT_US,
    )  # fmt: skip
    (row,) = report(answer(changed)).rows
    assert row[7:] == ("Зміна налаштувань", "було ab12; стало cd34")


def test_a_refusal_is_told_in_the_readers_language() -> None:
    refused = entry("play", Outcome.REFUSED, reason="not_permitted: contractor may not play", access=Access.DIRECT)
    stranger = JournalEntry(JournalKind.ACCESS, Outcome.REFUSED, reason="flood: malformed 7", count=7, at_us=AT_US)
    (first, second) = report(answer(refused, stranger)).rows
    assert first[7:] == ("Перегляд архіву (на місці): ВІДМОВЛЕНО", "Відмовлено: роль цієї особи такого не дозволяє")
    assert second[2:5] == ("", "", "")
    assert second[7:] == ("Звернення невідомої особи: ВІДМОВЛЕНО", "7 разів; flood: malformed 7")
    (first, _) = report(answer(refused, stranger), language="en").rows
    assert first[5:] == ("2026-11-22", "16:05:09 +02:00", "Played from the archive (at the node): REFUSED",
                         "Refused: contractor may not play")  # fmt: skip


def test_what_was_asked_is_told_in_words_without_the_paging() -> None:
    query = {"person": "Doe", "start_us": AT_US, "after": 7, "limit": 100, "seen": 20}
    looked = entry("journal", Outcome.DONE, args={"query": query}, reason="Entries of the journal")
    worked = entry("maintain", Outcome.DONE, args={"work": "visit_open", "reason": "пил"}, reason="")
    first, second = report(answer(looked, worked)).rows
    assert first[8] == "що питали особа Doe, від 2026-11-22 16:05:09 +02:00"
    assert second[8] == "робота відкриття візиту; причина пил"


def test_the_order_that_was_carried_out_is_read() -> None:
    basis = Basis(kind=Purpose.OFFICIAL_REQUEST, number="5/77", date="2026-11-20")
    terms = Terms(kind=OrderKind.HOLD, number="12-р", nodes=("town/*",), start_us=AT_US, basis=basis)
    token = sign(Ed25519PrivateKey.generate(), "o-mer", terms, AT_US).decode()
    (row,) = report(answer(entry("hold", Outcome.ACCEPTED, args={"start_us": AT_US, "order": token}))).rows
    assert row[8] == (
        "період 2026-11-22 16:05:09 +02:00 …; "
        "розпорядження № 12-р від o-mer, підстава: офіційний запит № 5/77 від 2026-11-20"
    )


def test_nodes_are_merged_by_time_and_what_a_node_does_by_itself_is_counted() -> None:
    start = JournalEntry(JournalKind.START, Outcome.DONE, at_us=AT_US)
    made = report(
        answer(start, entry("status", Outcome.DONE, 9), start),
        answer(entry("holds", Outcome.DONE, 3), BadLine(18, b'{"kind"'), node="town/n2"),
    )
    assert [(row[0], row[1]) for row in made.rows] == [("town/n2", "17"), ("town/n2", "18"), ("town/n1", "18")]
    assert made.rows[1][7:] == ("Запис не читається: ", '{"kind"')
    assert any(remark.text.startswith("town/n1: того, що вузол робить сам") for remark in made.remarks)
    asked_for = report(answer(start), query=AuditQuery(action="start"))
    assert [row[7] for row in asked_for.rows] == ["Запуск вузла"]
    assert any("Лише записи, де дія «start»" in remark.text for remark in asked_for.remarks)


def test_what_is_not_proved_is_said_in_red_at_the_top(tmp_path: Path) -> None:
    bad = replace(answer(entry("status", Outcome.DONE), node="town/n2"), trouble=trouble(TroubleKind.FORKED, kept=9))
    made = report(answer(entry("status", Outcome.DONE)), bad)
    first = next(made.lines)
    assert (first.level, first.text) == (
        Level.BAD,
        "town/n2: ЖУРНАЛ НЕ ПЕРЕВІРЕНО – ЖУРНАЛ РОЗДВОЄНО: ключем вузла підписано дві різні історії з 9 записів",
    )
    assert "ЖУРНАЛ НЕ ПЕРЕВІРЕНО" in to_csv(made).decode().splitlines()[1]
    text = pdf_text(to_pdf(made), tmp_path)
    assert text.index("НЕ ПЕРЕВІРЕНО") < text.index("Період") < text.index("Коваленко")
    silent = report(NodeAnswer("town/n3", trouble=trouble(TroubleKind.SILENT, why="away")))
    assert next(silent.lines).level is Level.BAD


def test_proofs_and_witnesses_are_named() -> None:
    key = NoteKey("witness/desk", public_key_of(Ed25519PrivateKey.generate()), SignatureKind.COSIGNATURE)
    seen = Witnessed(Cosignature(key, AT_US // US), replace(CHECKPOINT, size=100), Verdict.GROWN)
    told = [remark.text for remark in report(replace(answer(), witnessed=(seen,))).remarks]
    assert told == [
        "Період: 2026-11-21 16:05:09 +02:00 … 2026-11-23 16:05:09 +02:00 (Europe/Kyiv)",
        "Вузли: town/n1",
        "town/n1: журнал перевірено за контрольною точкою, записів 120, корінь "
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=; перші 100 засвідчив witness/desk 2026-11-22 16:05:09 +02:00",
    ]
    assert report(answer()).remarks[-1].text.endswith("свідки його не засвідчили")


@pytest.mark.parametrize(
    ("who", "found"),
    [
        ("Шевченко Оксана Іванівна", ("Шевченко", "Оксана", "Іванівна")),
        ("Doe John", ("Doe", "John", "")),
        ("user root", ("user root", "", "")),
        ("Ван дер Берг Ян", ("Ван дер Берг Ян", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_name_is_divided_only_where_that_is_sure(who: str, found: tuple[str, str, str]) -> None:
    assert names(who) == found


def test_every_word_of_a_journal_is_known_in_both_languages() -> None:
    for words, known in ((KINDS, JournalKind), (ACTIONS, Action), (OUTCOMES, Outcome), (ACCESSES, Access),
                         (PURPOSES, Purpose), (WORKS, Work)):  # fmt: skip
        assert set(known) <= set(words)
        assert all(uk and en and uk != en for uk, en in words.values())


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(
    who=st.text(max_size=30),
    action=st.text(max_size=10),
    reason=st.text(max_size=40),
    args=st.dictionaries(st.text(max_size=9) | st.sampled_from(["start_us", "end_us", "order", "until_us"]), values),
    at_us=st.integers(0, 1 << 60),
)
def test_whatever_a_journal_says_becomes_a_row(
    who: str, action: str, reason: str, args: dict[str, object], at_us: int
) -> None:
    odd = entry(action, Outcome.FAILED, who=who, reason=reason, args=args, at_us=at_us)
    made = report(answer(odd, odd))
    assert len(made.rows) == 2
    assert all(part.isprintable() for row in made.rows for part in row)
