"""The access journal of a period as the order wants it (clause 4.3): surname, name, patronymic, date, time, deed.

From nodes' answers to a table (`paper.py`), pure.  An access and what became of it are one row.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from edge_agent.clock import US
from edge_agent.config import Language
from edge_agent.desk.access_words import deed, details
from edge_agent.desk.audit import NodeAnswer
from edge_agent.desk.board import printable
from edge_agent.desk.paper import Column, Remark, Table
from edge_agent.desk.rows import Level
from edge_agent.desk.texts import texts
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.journal import BadLine, JournalEntry, JournalKind, Outcome
from edge_agent.when import from_us, spoken

ASIDE = frozenset({JournalKind.START, JournalKind.STOP, JournalKind.GAPS, JournalKind.DELETION, JournalKind.SEGMENTS})
"""What a node does by itself is no access: counted, not listed, unless it was asked for."""


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    columns: tuple[str, ...]
    period: str
    always: str
    now: str
    nodes: str
    only: str
    proved: str
    asked_first: str
    trouble: str
    aside: str
    unreadable: str
    times: str
    date: str


_WORDS = {
    "uk": _Words(
        title="Журнал доступу до відеоспостереження",
        columns=("Вузол", "№", "Прізвище", "Ім'я", "По батькові", "Дата", "Час", "Дія", "Подробиці"),
        period="Період: {start} … {end} ({zone})",
        always="від початку журналу",
        now="дотепер",
        nodes="Вузли: {nodes}",
        only="Лише записи, де {conditions}",
        proved="{node}: журнал перевірено за контрольною точкою, записів {size}, корінь {root}",
        asked_first="; вузол запитано вперше",
        trouble="{node}: ЖУРНАЛ НЕ ПЕРЕВІРЕНО – {trouble}",
        aside="{node}: того, що вузол робить сам (запуски, прогалини, знищення за строком), тут не наведено: {count}",
        unreadable="Запис не читається: {text}",
        times="{count} разів",
        date="%d.%m.%Y",
    ),
    "en": _Words(
        title="Journal of access to the video surveillance",
        columns=("Node", "No.", "Surname", "Name", "Patronymic", "Date", "Time", "Deed", "Particulars"),
        period="Period: {start} … {end} ({zone})",
        always="the journal's beginning",
        now="now",
        nodes="Nodes: {nodes}",
        only="Only entries where {conditions}",
        proved="{node}: the journal is verified under the checkpoint of {size} entries, root {root}",
        asked_first="; asked for the first time",
        trouble="{node}: THE JOURNAL IS NOT VERIFIED – {trouble}",
        aside="{node}: what a node does by itself (starts, gaps, deletions in due time …) is left out: {count}",
        unreadable="The entry can't be read: {text}",
        times="{count} times",
        date="%Y-%m-%d",
    ),
}
_WIDTHS = (1.5, 1.0, 1.5, 1.2, 1.5, 1.1, 1.4, 2.4, 4.2)
_CONDITIONS = {
    "person": ("особа", "the person is"),
    "action": ("дія", "the deed is"),
    "camera": ("камера", "the camera is"),
    "number": ("номер", "the number is"),
}


@dataclass(slots=True)
class _Deed:
    """An entry and, where it came to an end in the period, the entry that tells it."""

    node: str
    index: int
    entry: JournalEntry | BadLine
    at_us: int
    end: JournalEntry | None = None
    end_index: int | None = None


def access_report(
    answers: Sequence[NodeAnswer], query: AuditQuery, zone: ZoneInfo, language: Language, now_us: int
) -> Table:
    """All nodes' accesses in `query`'s period by time; a node whose journal is not proved is told in red."""
    words = _WORDS[language]
    listed: list[_Deed] = []
    remarks = [
        Remark(_period(words, query, zone)),
        Remark(words.nodes.format(nodes=", ".join(a.node for a in answers))),
    ]
    if conditions := _conditions(query, language):
        remarks.append(Remark(words.only.format(conditions=conditions)))
    for answer in answers:
        deeds = _deeds(answer)
        mine = [one for one in deeds if query.action is not None or not _aside(one.entry)]
        listed += mine
        remarks.append(_proof(words, answer, zone, language))
        if len(mine) < len(deeds):
            remarks.append(Remark(words.aside.format(node=answer.node, count=len(deeds) - len(mine))))
    # The sort is stable: a node's own entries stay in their order.
    rows = [_row(words, one, zone, language) for one in sorted(listed, key=lambda one: one.at_us)]
    columns = tuple(Column(title, width) for title, width in zip(words.columns, _WIDTHS, strict=True))
    return Table(words.title, columns, rows, now_us, zone, remarks, language)


def names(who: str) -> tuple[str, str, str]:
    """Surname, name, patronymic; what is not plainly these (a user of the machine, a name of four words) as a whole."""
    parts = who.split()
    if len(parts) not in (2, 3) or parts[0] == "user":
        return who, "", ""
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def _aside(entry: JournalEntry | BadLine) -> bool:
    return isinstance(entry, JournalEntry) and entry.kind in ASIDE and not entry.who


def _deeds(answer: NodeAnswer) -> list[_Deed]:
    """Entries with the same `ref` are one deed: accepted, and then done or failed."""
    found: list[_Deed] = []
    begun: dict[tuple[str, str], _Deed] = {}
    at_us = 0
    for index, entry in answer.entries:
        if isinstance(entry, JournalEntry):
            at_us = entry.at_us or at_us
            key = (entry.ref, entry.action)
            if entry.ref and entry.outcome in (Outcome.DONE, Outcome.FAILED) and key in begun:
                one = begun.pop(key)
                one.end, one.end_index = entry, index
                continue
        one = _Deed(answer.node, index, entry, at_us)
        if isinstance(entry, JournalEntry) and entry.ref and entry.outcome is Outcome.ACCEPTED:
            begun[key] = one
        found.append(one)
    return found


def _row(words: _Words, one: _Deed, zone: ZoneInfo, language: Language) -> tuple[str, ...]:
    number = f"{one.index}" if one.end_index is None else f"{one.index}, {one.end_index}"
    date, time = _moment(words, one.at_us, zone)
    if isinstance(one.entry, BadLine):
        text = printable(one.entry.raw[:200].decode("utf-8", "replace"), 200)
        return one.node, number, "", "", "", date, time, words.unreadable.format(text=""), text
    outcome = one.end.outcome if one.end else one.entry.outcome
    told = details(one.entry, one.end, language, zone)
    if one.entry.count > 1:
        told = f"{words.times.format(count=one.entry.count)}; {told}"
    who = (printable(part, 200) for part in names(one.entry.who))
    return one.node, number, *who, date, time, deed(one.entry, outcome, language), told


def _moment(words: _Words, at_us: int, zone: ZoneInfo) -> tuple[str, str]:
    """With the offset: the hour that comes twice stays clear."""
    try:
        return from_us(at_us, zone).strftime(words.date), spoken(at_us, zone).partition(" ")[2]
    except OverflowError:
        return "–", "–"


def _proof(words: _Words, answer: NodeAnswer, zone: ZoneInfo, language: Language) -> Remark:
    if answer.trouble is not None or answer.checkpoint is None:
        said = answer.trouble.said(language) if answer.trouble else "?"
        return Remark(words.trouble.format(node=answer.node, trouble=said), Level.BAD)
    root = base64.b64encode(answer.checkpoint.root).decode()
    said = words.proved.format(node=answer.node, size=answer.checkpoint.size, root=root)
    if answer.verdict is None:
        said += words.asked_first
    said_of = texts(language)
    told = [
        said_of.witnessed.format(
            size=seen.checkpoint.size, who=printable(seen.by.witness.name, 80), when=spoken(seen.by.time_s * US, zone)
        )
        for seen in answer.witnessed
    ]
    return Remark("; ".join([said, *(told or [said_of.unwitnessed])]))


def _period(words: _Words, query: AuditQuery, zone: ZoneInfo) -> str:
    start = words.always if query.start_us is None else spoken(query.start_us, zone)
    end = words.now if query.end_us is None else spoken(query.end_us, zone)
    return words.period.format(start=start, end=end, zone=zone.key)


def _conditions(query: AuditQuery, language: Language) -> str:
    at = 0 if language == "uk" else 1
    given: Iterable[tuple[str, str | None]] = ((name, getattr(query, name)) for name in _CONDITIONS)
    return ", ".join(f"{_CONDITIONS[name][at]} «{printable(value, 200)}»" for name, value in given if value)
