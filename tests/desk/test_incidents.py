"""The register at the desk: what was missed is on the board, pages are followed to their end, answers are judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_agent.buffer.register import Entry, Incident, Note, NoteKind
from edge_agent.clock import US
from edge_agent.desk.board import Board, Event, apply
from edge_agent.desk.incidents import Told, export_line, fetch, incident_table
from edge_agent.desk.paper import Table, to_csv
from edge_agent.desk.rows import Level, Wording
from edge_agent.desk.texts import texts
from edge_agent.errors import EdgeError
from edge_agent.model import Alarm, AlarmCut, AlarmNature, AlarmPhase, CameraId
from edge_agent.trust.incident_args import IncidentsArgs
from edge_agent.uplink.incident_payloads import (
    IncidentState,
    RegisterMessage,
    incident_message,
    incident_record,
    incident_state,
)
from edge_agent.uplink.payloads import alarm_message, encode
from edge_agent.uplink.topics import Topics

NOW_US = 1_795_000_000 * US
NODE = Topics("town", "n1")
KYIV = ZoneInfo("Europe/Kyiv")
WORDING = Wording(texts("uk"), KYIV)
WHO = "Коваленко Олена Петрівна"


def incident(number: int, *notes: Note, lasts: bool = False, cut: str | None = None, merged: int = 0) -> Incident:
    start_us = NOW_US + number * 60 * US
    entry = Entry(
        f"alarm{number:04}", "gate", "motion", "yard", "warning", "Вхід", "Двір", f"Рух {number}", f"Motion {number}",
        None, start_us, start_us + 5 * US, None if lasts else start_us + 5 * US, cut, merged,
    )  # fmt: skip
    return Incident(entry, notes)


def note(kind: NoteKind, text: str = "") -> Note:
    return Note(kind, NOW_US, WHO, "o-kovalenko", text, "ref")


def listed(*incidents: Incident, at_us: int = NOW_US) -> bytes:
    states: list[IncidentState] = [incident_state(one) for one in incidents]
    return encode(RegisterMessage(at_us=at_us, site="town", node="n1", open=1, waiting=7, incidents=tuple(states)))


def heard(board: Board, topic: str, payload: bytes) -> tuple[Board, list[Event]]:
    board, events = apply(board, topic, payload, retained=True, now_us=NOW_US)
    return board, list(events)


def test_what_was_missed_is_on_the_board_and_told_unless_somebody_took_care() -> None:
    taken = incident(2, note(NoteKind.ACKNOWLEDGED))
    board, events = heard(Board(), NODE.incidents, listed(incident(1, lasts=True), taken, incident(3)))
    assert [view.ended for view in board.alarms.values()] == [False, True, True]
    lines = [line for event in events if (line := WORDING.line(event))]
    assert len(lines) == 2
    assert "Рух 1 · триває" in lines[0]
    assert "Рух 3 · тривало 5 с" in lines[1]
    assert WORDING.counters(board, 0, 0) == ["тривог за добу не підтверджено: 7"]
    assert "✓ Коваленко" in WORDING.alarms(board, 5)[1].state
    assert heard(board, NODE.incidents, listed(incident(1, lasts=True), taken, incident(3)))[1] == []


def test_an_acknowledgement_shows_on_every_board_at_once_and_an_older_list_does_not_take_it_back() -> None:
    start = Alarm("alarm0001", CameraId("gate"), AlarmNature.MOTION, AlarmPhase.START, NOW_US, NOW_US)
    board, _ = heard(Board(), NODE.alarm("gate"), encode(alarm_message(start, NODE, "Вхід")))
    assert WORDING.alarms(board, 1)[0].level is Level.BAD
    told = incident_message(incident(1, note(NoteKind.ACKNOWLEDGED, "їду"), lasts=True), NODE, NOW_US + US)
    board, events = heard(board, NODE.incident, encode(told))
    row = WORDING.alarms(board, 1)[0]
    assert (row.level, row.what) == (Level.GOOD, "Рух: Вхід"), "its own words stay"
    assert "✓ Коваленко Олена Петрівна, «їду»" in row.state
    assert events[0].news
    board, events = heard(board, NODE.incidents, listed(incident(1, lasts=True), at_us=NOW_US))
    assert events == []
    assert "✓" in WORDING.alarms(board, 1)[0].state


def test_the_end_that_was_missed_is_taken_from_the_register() -> None:
    start = Alarm("alarm0001", CameraId("gate"), AlarmNature.MOTION, AlarmPhase.START, NOW_US, NOW_US)
    board, _ = heard(Board(), NODE.alarm("gate"), encode(alarm_message(start, NODE, "Вхід")))
    board, _ = heard(board, NODE.incidents, listed(incident(1, cut=AlarmCut.RESTART)))
    (view,) = board.alarms.values()
    assert view.ended
    board, _ = heard(board, NODE.alarm("gate"), encode(alarm_message(start, NODE, "Вхід")))
    assert next(iter(board.alarms.values())).ended


@pytest.mark.parametrize("topic", [Topics("town", "n2").incidents, Topics("town", "n2").incident])
def test_no_node_speaks_of_anothers_alarms(topic: str) -> None:
    payload = listed(incident(1)) if topic.endswith("s") else encode(incident_message(incident(1), NODE, NOW_US))
    board, events = heard(Board(), topic, payload)
    assert (board.malformed, len(board.alarms), events[0].kind) == (1, 0, "malformed")


def page(*numbers: int, more: bool) -> dict[str, Any]:
    records = [incident_record(incident(number)).model_dump(mode="json") for number in numbers]
    return {"incidents": records, "more": more, "complete_from_us": 0}


def test_pages_are_followed_to_their_end() -> None:
    asked: list[IncidentsArgs] = []

    def ask(args: IncidentsArgs) -> Mapping[str, Any]:
        asked.append(args)
        return page(*([1, 2], [3], [4])[len(asked) - 1], more=len(asked) < 3)

    told = fetch(NODE, IncidentsArgs(), ask)
    assert [record.alarm_id for record in told.records] == [f"alarm{number:04}" for number in (1, 2, 3, 4)]
    assert [args.after_id for args in asked] == [None, "alarm0002", "alarm0003"]
    assert fetch(NODE, IncidentsArgs(), lambda _: page(1, 2, more=True), most=2).cut


@pytest.mark.parametrize(
    "answer",
    [{}, {"incidents": 5, "more": False, "complete_from_us": 0}, {**page(1, more=False), "incidents": [{"x": 1}]}],
    ids=["nothing", "no list", "no alarms"],
)
def test_an_answer_that_is_no_page_is_said_to_be_none(answer: dict[str, Any]) -> None:
    with pytest.raises(EdgeError, match="town/n1 answered with what is no"):
        fetch(NODE, IncidentsArgs(), lambda _: answer)


def test_a_node_that_answers_in_circles_is_not_asked_for_ever() -> None:
    with pytest.raises(EdgeError, match="in circles"):
        fetch(NODE, IncidentsArgs(), lambda _: page(1, more=True))
    with pytest.raises(EdgeError, match="in circles"):
        fetch(NODE, IncidentsArgs(), lambda _: page(more=True))


def table(*incidents: Incident, language: str = "uk") -> Table:
    told = Told(NODE, tuple(incident_record(one) for one in incidents), NOW_US, cut=True)
    return incident_table([told], "Реєстр", NOW_US, KYIV, language)


def test_the_table_says_what_happened_who_did_what_and_what_is_not_in_it() -> None:
    notes = [note(NoteKind.ACKNOWLEDGED, "їду"), note(NoteKind.FALSE, "кіт"), note(NoteKind.HOLD, "h0123")]
    made = table(incident(1, *notes), incident(2, lasts=True, merged=41), incident(3, cut="restart"))
    first, second, third = made.rows
    assert first[5] == "хибна"
    assert first[6].startswith(WHO)
    assert all(said in first[7] for said in ("«їду»", "хибна «кіт»", "утримання h0123"))
    assert (second[4], second[5]) == ("триває", "не підтверджено")
    assert "кінця не видно" in third[4]
    remarks = "\n".join(remark.text for remark in made.lines)
    assert "Подій: 3, ще 41 тривог приєднано до них; не підтверджено: 2" in remarks
    assert "показано лише перші 3" in remarks
    assert "вже не всі" in remarks


def test_a_comment_that_is_a_formula_does_not_reach_a_spreadsheet() -> None:
    sheet = to_csv(table(incident(1, note(NoteKind.COMMENT, "=1+1")), language="en")).decode("utf-8-sig")
    assert "«=1+1»" in sheet
    assert '"=1+1' not in sheet


def test_the_recordings_of_an_alarm_are_asked_for_with_what_was_before_and_after_it() -> None:
    line = export_line(NODE, incident_record(incident(0)))
    assert line == "edge-desk export town/n1 gate --from 2026-11-18T11:06:30Z --to 2026-11-18T11:06:55Z"
