"""The board: what messages make of it, and that nothing from a hostile broker makes more of it than is allowed."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from edge_agent.clock import US
from edge_agent.desk import board as boards
from edge_agent.desk.board import Board, Event, apply, turns
from edge_agent.desk.output import json_line
from edge_agent.desk.rows import Level, Wording
from edge_agent.desk.screen import board_screen, health_screen
from edge_agent.desk.texts import texts
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraFault, CameraId, CameraState, Severity
from edge_agent.uplink.payloads import (
    CameraMessage,
    CameraReport,
    Gaps,
    Health,
    ModeMessage,
    ModeReport,
    NodeState,
    Status,
    VisitReport,
    Words,
    alarm_message,
    camera_clock_words,
    encode,
)
from edge_agent.uplink.topics import Topics

NOW_US = 1_795_000_000 * US
TOPICS = Topics("town", "n1")
KEY = ("town", "n1")
WORDINGS = [Wording(texts(language), ZoneInfo("Europe/Kyiv")) for language in ("uk", "en")]


def health(at_us: int = NOW_US, **cameras: CameraReport) -> Health:
    return Health(
        at_us=at_us,
        version="1",
        uptime_s=5,
        cpu_percent=1,
        load_1m=0,
        memory_used_bytes=1,
        memory_total_bytes=2,
        temperature_c=54.2,
        disk_total_bytes=10**12,
        disk_free_bytes=812 * 10**9,
        archive_bytes=3,
        cameras=cameras,
    )


def alarm(phase: AlarmPhase, at_s: float, id_: str = "a1", direction: float | None = None) -> bytes:
    at_us = NOW_US + round(at_s * US)
    fact = Alarm(id_, CameraId("gate"), AlarmNature.MOTION, phase, at_us, NOW_US, direction_deg=direction)
    return encode(alarm_message(fact, TOPICS, "Вхід"))


def after(
    *messages: tuple[str, bytes], board: Board | None = None, retained: bool = False, now_us: int = NOW_US
) -> Board:
    result = board or Board()
    for topic, payload in messages:
        result, _ = apply(result, topic, payload, retained=retained, now_us=now_us)
    return result


def rendered(board: Board, now_us: int = NOW_US, height: int = 40) -> list[str]:
    """What the terminal gets, in each language."""
    pages = []
    for wording in WORDINGS:
        screen = Console(width=100, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: PTH123, SIM115
        notes = wording.counters(board, 0, 0)
        screen.print(board_screen(wording, board, Text("broker"), notes, now_us, height))
        screen.file.close()
        pages.append(screen.export_text(styles=False))
    return pages


def test_a_node_with_its_cameras_is_shown_in_words() -> None:
    lost = CameraReport(state=CameraState.LOST, fault=CameraFault.LOGIN, name="Двір")
    good = CameraReport(
        state=CameraState.RECORDING, fps=25, bitrate_bps=4_100_000, gaps_24h=Gaps(count=2, seconds=75), name="Вхід"
    )
    board = after(
        (TOPICS.status, encode(Status(at_us=NOW_US, state=NodeState.ONLINE))),
        (TOPICS.health, encode(health(gate=good, yard=lost))),
    )
    uk, en = rendered(board)
    for words in (
        "town/n1",
        "на зв'язку",
        "Вхід",
        "записує",
        "25.0",
        "4.1",
        "2: 1 хв",
        "812 ГБ",
        "54°",
        "логін не підходить",
    ):
        assert words in uk
    assert "refuses the login" in en
    assert "recording" in en


def test_a_cameras_wrong_clock_is_a_warning_in_words() -> None:
    warning = camera_clock_words(10_805.0, None)
    off = CameraReport(state=CameraState.RECORDING, name="Вхід", clock_offset_s=10_805.0, clock_warning=warning)
    assert [wording.camera("gate", off).level for wording in WORDINGS] == [Level.WARNING] * len(WORDINGS)
    pages = []
    for wording in WORDINGS:
        screen = Console(width=140, record=True, file=io.StringIO())
        screen.print(health_screen(wording, TOPICS, health(gate=off), NOW_US))
        pages.append(screen.export_text(styles=False))
    assert "gate: Годинник камери поспішає на 3 год проти вузла" in pages[0]
    assert "gate: The camera's clock is 3 hours ahead of the node's" in pages[1]


def test_a_camera_that_nobody_watches_stands_out_though_it_records() -> None:
    alone = CameraReport(state=CameraState.RECORDING, name="Вхід", unwatched_since_us=NOW_US)
    rows = [wording.camera("gate", alone) for wording in WORDINGS]
    assert [(row.level, row.state) for row in rows] == [(Level.BAD, "✗ без нагляду"), (Level.BAD, "✗ unwatched")]


def test_who_is_at_a_node_is_shown_with_the_reason_and_steers_no_terminal() -> None:
    visit = VisitReport(who="Мельник Андрій", why="диск [bold]", since_us=NOW_US)
    told = health().model_copy(update={"visits": (visit,)})
    for wording, words in zip(
        WORDINGS, ("на вузлі Мельник Андрій від ", "at the node Мельник Андрій since "), strict=True
    ):
        screen = Console(width=140, record=True, file=io.StringIO())
        screen.print(health_screen(wording, TOPICS, told, NOW_US))
        page = screen.export_text(styles=False)
        assert words in page
        assert ": диск [bold]" in page


def test_what_is_in_trouble_stands_first_and_what_does_not_fit_is_counted() -> None:
    board = Board()
    for number in range(60):
        state = NodeState.OFFLINE if number == 57 else NodeState.ONLINE
        board = after((Topics("town", f"n{number:02}").status, encode(Status(at_us=NOW_US, state=state))), board=board)
    for number in range(30):
        board = after((TOPICS.alarm("gate"), alarm(AlarmPhase.START, number, f"a{number}")), board=board)
    board = after(("edge/rubbish", b""), board=board)
    page = rendered(board, height=24)[1]
    assert page.rstrip().splitlines()[-1].strip() == "messages not understood: 1"
    names = [line.split()[0] for line in page.splitlines() if line.startswith("town/")]
    assert names[0] == "town/n57"
    assert len(page.rstrip().splitlines()) <= 24
    assert f"and {60 - len(names)} more" in page


def test_where_room_is_short_cameras_that_are_well_are_left_out_first() -> None:
    good, lost = CameraReport(state=CameraState.RECORDING), CameraReport(state=CameraState.LOST)
    board = Board()
    for number in range(8):
        cameras = {"a": good, "b": lost} if number == 3 else {"a": good, "b": good}
        board = after((Topics("town", f"n{number}").health, encode(health(NOW_US, **cameras))), board=board)
    roomy, tight = rendered(board, height=40)[1], rendered(board, height=22)[1]
    assert (roomy.count("recording"), roomy.count("lost")) == (15, 1)
    assert (tight.count("recording"), tight.count("lost"), tight.count("town/n")) == (0, 1, 8)


def test_of_a_node_that_is_away_no_camera_is_said_to_record() -> None:
    good = CameraReport(state=CameraState.RECORDING)
    board = after(
        (TOPICS.health, encode(health(gate=good))),
        (TOPICS.status, encode(Status(at_us=NOW_US, state=NodeState.OFFLINE))),
    )
    assert "recording" not in rendered(board)[1]
    assert "recording" in rendered(after((TOPICS.health, encode(health(gate=good)))))[1]


def test_a_node_is_stale_after_three_of_its_own_periods() -> None:
    board = Board()
    for number in range(4):
        at_us = NOW_US + number * 2 * US
        board = after((TOPICS.health, encode(health(at_us))), board=board, now_us=at_us)
    last_us = NOW_US + 6 * US
    view = board.nodes[KEY]
    assert not view.stale(last_us + 6 * US)
    assert view.stale(last_us + 7 * US)
    stale, events = turns(frozenset(), board, last_us + 7 * US)
    assert [event.kind for event in events] == ["stale"]
    assert "silent for" in rendered(board, last_us + 7 * US)[1]
    board = after((TOPICS.health, encode(health(last_us + 8 * US))), board=board, now_us=last_us + 8 * US)
    board = after(
        (TOPICS.status, encode(Status(at_us=1, state=NodeState.ONLINE))), board=board, now_us=last_us + 8 * US
    )
    assert [event.kind for event in turns(stale, board, last_us + 8 * US)[1]] == ["fresh"]


def test_an_odd_interval_does_not_change_when_a_node_is_stale() -> None:
    board = Board()
    for at_s in (0, 10, 20, 3620, 3622, 3632):
        at_us = NOW_US + at_s * US
        board = after((TOPICS.health, encode(health(at_us))), board=board, now_us=at_us)
    assert board.nodes[KEY].period_s == 10


def test_a_retained_health_is_as_old_as_it_says_and_a_live_one_as_its_arrival() -> None:
    old = encode(health(NOW_US - 3600 * US))
    assert after((TOPICS.health, old), retained=True).nodes[KEY].stale(NOW_US)
    assert not after((TOPICS.health, old)).nodes[KEY].stale(NOW_US)
    ahead = encode(health(NOW_US + 3600 * US))
    assert after((TOPICS.health, ahead), retained=True).nodes[KEY].silent_s(NOW_US) == 0


def test_a_node_that_is_down_is_not_called_stale() -> None:
    board = after(
        (TOPICS.health, encode(health(NOW_US - 3600 * US))),
        (TOPICS.status, encode(Status(at_us=NOW_US - 7200 * US, state=NodeState.OFFLINE))),
        retained=True,
    )
    assert not board.nodes[KEY].stale(NOW_US)
    assert "зв'язку немає" in rendered(board)[0]


def test_the_same_alarm_message_counts_once_and_the_end_stays_the_end() -> None:
    start, update, end = alarm(AlarmPhase.START, 0), alarm(AlarmPhase.UPDATE, 2, direction=90), alarm(AlarmPhase.END, 9)
    topic = TOPICS.alarm("gate")
    board, events = apply(after((topic, start)), topic, start, retained=False, now_us=NOW_US)
    assert not events
    board = after((topic, end), (topic, update), (topic, start), (topic, end), board=board)
    (view,) = board.alarms.values()
    assert view.ended
    assert view.seconds == 9
    page = rendered(board)[0]
    assert "рухається праворуч" in page
    assert "тривало 9 с" in page


def test_a_lost_camera_of_a_retained_health_is_news_once() -> None:
    lost = CameraReport(state=CameraState.LOST, fault=CameraFault.STALLED)
    board, events = apply(Board(), TOPICS.health, encode(health(gate=lost)), retained=True, now_us=NOW_US)
    assert [line for event in events if (line := WORDINGS[0].line(event))] == [
        "town/n1 gate: втрачено: відео зупинилося"
    ]
    message = encode(CameraMessage(at_us=NOW_US + US, camera="gate", report=lost))
    _, events = apply(board, TOPICS.camera("gate"), message, retained=False, now_us=NOW_US)
    assert not any(event.news for event in events)


def test_an_old_retained_camera_message_does_not_overrule_a_newer_health() -> None:
    good, lost = CameraReport(state=CameraState.RECORDING), CameraReport(state=CameraState.LOST)
    old = encode(CameraMessage(at_us=NOW_US - US, camera="gate", report=lost))
    gone = encode(CameraMessage(at_us=NOW_US - US, camera="removed", report=lost))
    board = after(
        (TOPICS.health, encode(health(gate=good))), (TOPICS.camera("gate"), old), (TOPICS.camera("removed"), gone),
        retained=True,
    )  # fmt: skip
    assert board.nodes[KEY].cameras == {"gate": (NOW_US, good)}


def test_one_node_cannot_speak_for_another() -> None:
    board = after((Topics("town", "n2").alarm("gate"), alarm(AlarmPhase.START, 0)))
    assert (board.malformed, len(board.alarms)) == (1, 0)


def test_a_flood_of_nodes_alarms_and_ids_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("MAX_NODES", 5), ("MAX_ALARMS", 6), ("MAX_SEEN_IDS", 7)):
        monkeypatch.setattr(boards, name, limit)
    board = Board()
    for number in range(20):
        status = encode(Status(at_us=NOW_US, state=NodeState.ONLINE))
        board = after((Topics("town", f"n{number}").status, status), board=board)
        board = after((TOPICS.alarm("gate"), alarm(AlarmPhase.START, number, f"a{number}")), board=board)
    assert (len(board.nodes), board.over_limit) == (5, 15)
    assert (len(board.alarms), len(board.seen)) == (6, 7)
    assert WORDINGS[1].counters(board, 3, 0) == ["beyond the limit, not shown: 15", "came too fast, not read: 3"]


def test_markup_and_control_characters_from_afar_do_nothing() -> None:
    report = CameraReport(state=CameraState.RECORDING, name="[red]x[/red] \u200e\u2028 [link=http://x]y")
    message = json.loads(alarm(AlarmPhase.START, 0))
    message["text"] = Words(uk="[blink]стій[/]", en="[bold]stop").model_dump()
    board = after((TOPICS.health, encode(health(g=report))), (TOPICS.alarm("gate"), json.dumps(message).encode()))
    uk, _ = rendered(board)
    assert "[blink]стій[/]" in uk
    assert "[red]x" in uk
    assert "\u2028" not in uk
    steered = after(("edge/town/n1/status\x1b[2J", b"{}"))
    assert steered.malformed == 1


def test_a_time_at_the_end_of_the_calendar_is_shown_as_none() -> None:
    status = Status(at_us=253_402_300_799_999_999, state=NodeState.ONLINE)
    assert "town/n1" in rendered(after((TOPICS.status, encode(status))))[0]


def test_json_lines_hold_nothing_that_steers_a_terminal() -> None:
    line = json_line({"a": "Вхід \x9b2J \u202e \x1b[0m \n", "b": "\U000e0001"})
    assert line.isprintable()
    assert json.loads(line) == {"a": "Вхід \x9b2J \u202e \x1b[0m \n", "b": "\U000e0001"}


def test_pictures_must_be_jpeg_and_of_bounded_size() -> None:
    topic = TOPICS.picture("gate", "a1")
    board, (event,) = apply(Board(), topic, b"\xff\xd8\xff\xe0", retained=False, now_us=NOW_US)
    assert (event.kind, event.picture, board.malformed) == ("picture", b"\xff\xd8\xff\xe0", 0)
    for bad in (b"<svg/>", b"", b"\xff\xd8\xff" + bytes(boards.MAX_PICTURE_BYTES)):
        board, (event,) = apply(board, topic, bad, retained=False, now_us=NOW_US)
        assert event.kind == "malformed"
    assert board.malformed == 3


@pytest.mark.parametrize("language", ["uk", "en"])
def test_every_state_and_fault_has_its_words(language: Any) -> None:
    found = texts(language)
    assert set(found.camera_states) == set(CameraState)
    assert set(found.faults) == set(CameraFault)
    assert all(found.faults.values())


TOPIC_TEXTS = st.sampled_from(
    [TOPICS.status, TOPICS.health, TOPICS.camera("gate"), TOPICS.alarm("gate"), TOPICS.picture("gate", "a1"),
     TOPICS.reply("x"), TOPICS.command, "edge/town/n1", "edge/town/n1/alarm/../x/picture"]
) | st.text(max_size=40)  # fmt: skip
GOOD = [
    encode(Status(at_us=NOW_US, state=NodeState.OFFLINE)),
    encode(health(gate=CameraReport(state=CameraState.LOST, fault=CameraFault.CLOSED))),
    encode(CameraMessage(at_us=NOW_US, camera="gate", report=CameraReport(state=CameraState.CONNECTING))),
    alarm(AlarmPhase.START, 0),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """Rubbish, or a good payload with a value of its own changed."""
    good = draw(st.none() | st.sampled_from(GOOD))
    if good is None:
        return draw(st.binary(max_size=60))
    message = json.loads(good)
    for key in draw(st.lists(st.sampled_from(sorted(message)), max_size=2, unique=True)):
        message[key] = draw(JSON)
    return json.dumps(message).encode()


@given(
    messages=st.lists(st.tuples(TOPIC_TEXTS, payloads(), st.booleans()), max_size=6), now_us=st.integers(0, 2 * NOW_US)
)
def test_no_message_is_ever_a_crash(messages: list[tuple[str, bytes, bool]], now_us: int) -> None:
    board = Board()
    events: list[Event] = []
    for topic, payload, retained in messages:
        board, told = apply(board, topic, payload, retained=retained, now_us=now_us)
        events += told
    events += turns(frozenset(), board, now_us)[1]
    for wording in WORDINGS:
        for event in events:
            line = wording.line(event)
            assert line is None or line.isprintable()
            assert json_line(event.json()).isprintable()
        for rows in wording.nodes(board, now_us):
            assert all(cell.isprintable() for row in rows for cell in row.cells)
            assert rows[0].level in Level
    assert rendered(board, now_us)


def mode_told(mode: str, camera: str | None = None, at_us: int = NOW_US, set_by: str = "") -> tuple[str, bytes]:
    report = ModeReport(mode=mode, name=f"«{mode}»", severity=Severity.WARNING, since_us=at_us, set_by=set_by)
    message = ModeMessage(at_us=at_us, camera=camera, report=report, text=Words(uk=f"Режим {mode}", en=f"Mode {mode}"))
    return TOPICS.mode(camera), encode(message)


def test_the_board_shows_the_nodes_mode_and_that_of_cameras_which_differ() -> None:
    gate, yard = CameraReport(state=CameraState.RECORDING), CameraReport(state=CameraState.RECORDING)
    online = encode(Status(at_us=NOW_US, state=NodeState.ONLINE))
    told = (TOPICS.status, online), (TOPICS.health, encode(health(gate=gate, yard=yard)))
    modes = mode_told("night"), mode_told("night", "gate"), mode_told("disarmed", "yard")
    for page in rendered(after(*told, *modes)):
        lines = {name: next(line for line in page.splitlines() if name in line) for name in ("town/n1", "gate", "yard")}
        assert "«night»" in lines["town/n1"]
        assert "night" not in lines["gate"]
        assert "«disarmed»" in lines["yard"]


def test_another_mode_is_news_and_the_one_there_was_is_none() -> None:
    board, (first,) = apply(Board(), *mode_told("day"), retained=True, now_us=NOW_US)
    assert not first.news
    board, (again,) = apply(board, *mode_told("day", at_us=NOW_US + 1), retained=False, now_us=NOW_US)
    assert not again.news
    _, (changed,) = apply(board, *mode_told("night", at_us=NOW_US + 2), retained=False, now_us=NOW_US)
    assert [wording.line(changed) for wording in WORDINGS] == ["town/n1 Режим night", "town/n1 Mode night"]


def test_a_mode_that_speaks_of_another_camera_than_its_topic_is_malformed() -> None:
    board, _ = apply(Board(), TOPICS.mode("gate"), mode_told("day", "yard")[1], retained=True, now_us=NOW_US)
    assert board.malformed == 1
    assert board.nodes == {}


def test_a_critical_alarm_stands_out_and_one_that_is_only_to_be_known_does_not() -> None:
    fact = Alarm("a1", CameraId("gate"), AlarmNature.MOTION, AlarmPhase.START, NOW_US, NOW_US)
    rows = {}
    for severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL):
        message = encode(alarm_message(dataclasses.replace(fact, severity=severity), TOPICS, "Вхід"))
        (rows[severity],) = WORDINGS[0].alarms(after((TOPICS.alarm("gate"), message)), 5)
    assert [row.level for row in rows.values()] == [Level.WARNING, Level.BAD, Level.BAD]
    assert [row.what.startswith("‼ ") for row in rows.values()] == [False, False, True]


def test_what_a_node_says_when_asked_holds_its_mode_and_how_many_alarms_were_silent() -> None:
    night = ModeReport(mode="night", name="Ніч", severity=Severity.CRITICAL, since_us=1, until_us=NOW_US + 3600 * US)
    gate = CameraReport(state=CameraState.RECORDING, mode=night, silent_alarms=2)
    day = night.model_copy(update={"mode": "day", "name": "День"})
    yard = CameraReport(state=CameraState.RECORDING, mode=day, silent_alarms=3)
    told = health(gate=gate, yard=yard).model_copy(update={"mode": night})
    for wording in WORDINGS:
        screen = Console(width=120, record=True, file=io.StringIO())
        screen.print(health_screen(wording, TOPICS, told, NOW_US))
        page = screen.export_text()
        assert f"Ніч → {wording.moment(NOW_US + 3600 * US, NOW_US)}" in page
        assert "· День" in next(line for line in page.splitlines() if "yard" in line)
        assert next(line for line in page.splitlines() if wording.texts.silent in line).rstrip().endswith("5")
