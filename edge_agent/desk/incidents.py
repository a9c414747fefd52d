"""The incident register at the desk: fetched from nodes page by page, shown as a table (`docs/incidents.md`).

What a node answers is judged like everything from afar: parsed, bounded, and a page that leads nowhere ends the asking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from edge_agent.buffer.register import NoteKind
from edge_agent.clock import US
from edge_agent.desk.incident_texts import IncidentTexts, incident_texts
from edge_agent.desk.paper import Column, Remark, Table
from edge_agent.desk.rows import Level
from edge_agent.desk.talk import mistakes
from edge_agent.desk.texts import Texts, texts
from edge_agent.errors import EdgeError
from edge_agent.trust.incident_args import IncidentsArgs
from edge_agent.uplink.incident_payloads import IncidentRecord, NotePart
from edge_agent.uplink.topics import Topics
from edge_agent.when import from_us, iso_utc, spoken

MAX_RECORDS = 20_000
"""That are fetched from one node."""

Ask = Callable[[IncidentsArgs], Mapping[str, Any]]
"""Sends one question and gives the result of its answer."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one node's register says."""

    node: Topics
    records: tuple[IncidentRecord, ...]
    complete_from_us: int
    """What ended before may have been forgotten."""
    cut: bool = False
    """There is more than was fetched."""

    @property
    def name(self) -> str:
        return f"{self.node.site}/{self.node.node}"


def fetch(node: Topics, wanted: IncidentsArgs, ask: Ask, most: int = MAX_RECORDS) -> Told:
    """All that is wanted; EdgeError for an answer that is none."""
    records: list[IncidentRecord] = []
    complete_from_us = 0
    for page in _pages(node, wanted, ask):
        records += page.records
        complete_from_us = max(complete_from_us, page.complete_from_us)
        if len(records) >= most:
            return Told(node, tuple(records[:most]), complete_from_us, cut=page.cut or len(records) > most)
    return Told(node, tuple(records), complete_from_us)


def _pages(node: Topics, wanted: IncidentsArgs, ask: Ask) -> Iterator[Told]:
    after: tuple[int, str] | None = None
    while True:
        more = {"after_us": after[0], "after_id": after[1]} if after else {}
        page = _page(node, ask(wanted.model_copy(update=more)))
        reached = max(((one.started_us, one.alarm_id) for one in page.records), default=None)
        if page.cut and (reached is None or (after is not None and reached <= after)):
            raise EdgeError(f"{page.name} answers in circles: its pages do not go on")
        yield page
        if not page.cut:
            return
        after = reached


def _page(node: Topics, result: Mapping[str, Any]) -> Told:
    try:
        given, more, complete = result["incidents"], result["more"], result["complete_from_us"]
        if not isinstance(given, list) or not isinstance(more, bool) or not isinstance(complete, int):
            raise TypeError
        return Told(node, tuple(IncidentRecord.model_validate(one) for one in given), complete, cut=more)
    except ValidationError as error:
        raise EdgeError(f"{node.site}/{node.node} answered with what is no alarm: {mistakes(error)}") from error
    except (KeyError, TypeError) as error:
        raise EdgeError(f"{node.site}/{node.node} answered with what is no page of its register") from error


def export_line(node: Topics, record: IncidentRecord) -> str:
    """What to type to have the recordings released; empty for an alarm of the node."""
    footage = record.footage
    if footage is None:
        return ""
    start, end = (iso_utc(us - us % US)[:19] + "Z" for us in (footage.start_us, footage.end_us + US - 1))
    return f"edge-desk export {node.site}/{node.node} {footage.camera} --from {start} --to {end}"


def record_json(node: Topics, record: IncidentRecord) -> dict[str, Any]:
    return {
        "site": node.site,
        "node": node.node,
        **record.model_dump(mode="json"),
        "export": export_line(node, record) or None,
    }


def incident_table(told: list[Told], title: str, made_us: int, zone: ZoneInfo, language: Any) -> Table:
    """All registers' alarms in the order of their starts, as paper has them."""
    rows = Rows(texts(language), incident_texts(language), zone)
    found = sorted(
        ((one.node, record) for one in told for record in one.records),
        key=lambda found: (found[1].started_us, found[1].alarm_id),
    )
    return Table(
        title=title,
        columns=rows.columns,
        rows=[rows.row(node, record) for node, record in found],
        made_us=made_us,
        zone=zone,
        remarks=rows.remarks(told),
        language=language,
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Records in one person's language and time zone."""

    texts: Texts
    words: IncidentTexts
    zone: ZoneInfo

    @property
    def columns(self) -> tuple[Column, ...]:
        widths = (1.4, 1.4, 2.4, 1.4, 1.4, 1.5, 1.8, 2.5, 1.7)
        return tuple(Column(title, width) for title, width in zip(self.words.columns, widths, strict=True))

    def row(self, node: Topics, record: IncidentRecord) -> tuple[str, ...]:
        """Id, place, what, start, end, state, acknowledged, notes, recordings."""
        words = self.words
        place = record.camera_name or record.camera or words.node_itself
        acknowledged = record.acknowledged
        return (
            record.alarm_id[:12],
            f"{node.site}/{node.node}\n{place}",
            self.what(record),
            self.moment(record.started_us),
            self.end(record),
            self.state(record),
            f"{acknowledged.who}\n{self.moment(acknowledged.at_us)}" if acknowledged else "",
            "\n".join(self.notes(record)),
            self.footage(record),
        )

    def what(self, record: IncidentRecord) -> str:
        said = getattr(record.text, self.texts.language)
        loud = self.words.severities.get(record.severity or "", record.severity)
        return f"{said}\n{self.words.severity}: {loud}" if loud else str(said)

    def moment(self, us: int) -> str:
        return from_us(us, self.zone).strftime("%d.%m.%Y %H:%M:%S")

    def end(self, record: IncidentRecord) -> str:
        if record.ended_us is None:
            return self.texts.going_on
        length = self.texts.duration((record.ended_us - record.started_us) / US)
        cut = f"\n{self.words.cut}" if record.cut else ""
        return f"{self.moment(record.ended_us)}\n{length}{cut}"

    def state(self, record: IncidentRecord) -> str:
        if record.false_alarm:
            return self.words.false
        if record.acknowledged:
            return self.words.acknowledged
        return self.words.waiting

    def notes(self, record: IncidentRecord) -> Iterator[str]:
        for note in record.notes:
            said = self._said(note)
            if said:
                yield f"{self.moment(note.at_us)} {note.who}: {said}"

    def _said(self, note: NotePart) -> str:
        words = self.words
        match note.kind:
            case NoteKind.ACKNOWLEDGED | NoteKind.COMMENT:
                return f"«{note.text}»" if note.text else ""
            case NoteKind.FALSE:
                return f"{words.false}{f' «{note.text}»' if note.text else ''}"
            case NoteKind.TRUE:
                return f"{words.not_false}{f' «{note.text}»' if note.text else ''}"
            case NoteKind.HOLD:
                return f"{words.hold} {note.text}"
            case NoteKind.RELEASE:
                return f"{words.release} {note.text}"

    def footage(self, record: IncidentRecord) -> str:
        if record.footage is None:
            return ""
        start, end = self.moment(record.footage.start_us), self.moment(record.footage.end_us)
        day, _, hour = end.partition(" ")
        return f"{record.footage.camera}\n{start} –\n{hour if start.startswith(day) else end}"

    def remarks(self, told: list[Told]) -> list[Remark]:
        """What the reader must know of the whole."""
        records = [record for one in told for record in one.records]
        merged = sum(record.merged for record in records)
        waiting = sum(1 for record in records if not record.acknowledged and not record.false_alarm)
        found = [Remark(self.words.sums.format(count=len(records), merged=merged, waiting=waiting))]
        for one in told:
            if one.cut:
                found.append(Remark(self.words.too_many.format(node=one.name, count=len(one.records)), Level.BAD))
            if one.complete_from_us:
                since = spoken(one.complete_from_us, self.zone)
                found.append(Remark(self.words.complete_from.format(node=one.name, since=since), Level.WARNING))
        return found
