"""The incident register: asked in pages, bounded, and there after a kill, a torn tail and a damaged page."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.buffer.register import KEEP_US, MAX_NOTES, AlarmState, Entry, Note, NoteKind, Register, Wanted
from edge_agent.clock import US
from edge_agent.errors import NotFoundError, UsageError
from tests.simulators.clock import HandClock

WRITER = """
import sys
from pathlib import Path
from edge_agent.buffer.register import Entry, Register
from edge_agent.clock import SystemClock
from tests.buffer.test_register import entry
register = Register(Path(sys.argv[1]), SystemClock())
for number in range(100_000):
    register.enter(entry(number), "{}", number)
    print(number, flush=True)
"""


def entry(number: int, camera: str = "gate", length_s: float | None = 5, alarm_id: str = "") -> Entry:
    started = number * 60 * US
    ended = None if length_s is None else started + round(length_s * US)
    return Entry(
        alarm_id or f"alarm{number:06}", camera, "motion", "yard", None, "Ворота", "Двір", "Рух", "Motion", 90.0,
        started, ended or started, ended, None, 0,
    )  # fmt: skip


def note(kind: NoteKind, text: str = "", at_us: int = 1) -> Note:
    return Note(kind, at_us, "Коваленко Олена", "o-kovalenko", text, "ref")


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register(tmp_path / "incidents.sqlite", HandClock())


def ids(register: Register, wanted: Wanted) -> list[str]:
    return [incident.entry.alarm_id for incident in register.find(wanted)]


def test_alarms_are_found_by_time_camera_and_state(register: Register) -> None:
    for number in range(6):
        register.enter(entry(number, "gate" if number % 2 else "yard", None if number == 5 else 5), "{}", 0)
    register.note("alarm000001", [note(NoteKind.ACKNOWLEDGED)], 0)
    register.note("alarm000002", [note(NoteKind.FALSE)], 0)
    assert ids(register, Wanted(camera="gate")) == ["alarm000001", "alarm000003", "alarm000005"]
    assert ids(register, Wanted(start_us=60 * US, end_us=180 * US)) == ["alarm000001", "alarm000002"]
    assert ids(register, Wanted(start_us=10**15)) == ["alarm000005"], "what is open goes on"
    assert ids(register, Wanted(state=AlarmState.OPEN)) == ["alarm000005"]
    assert ids(register, Wanted(state=AlarmState.ACKNOWLEDGED)) == ["alarm000001"]
    assert ids(register, Wanted(state=AlarmState.FALSE)) == ["alarm000002"]
    assert len(ids(register, Wanted(state=AlarmState.WAITING))) == 5
    assert ids(register, Wanted(after=(120 * US, "alarm000002")))[0] == "alarm000003"


def test_an_alarm_is_named_by_the_beginning_of_its_id(register: Register) -> None:
    for name in ("abcd1", "abcd2", "abcd", "zz_9"):
        register.enter(entry(1, alarm_id=name), "{}", 0)
    assert register.get("abcd").entry.alarm_id == "abcd"
    assert register.get("zz").entry.alarm_id == "zz_9"
    with pytest.raises(UsageError, match="several"):
        register.get("abc")
    with pytest.raises(NotFoundError, match="no alarm y"):
        register.get("y")


def test_a_false_mark_can_be_taken_back_and_both_stand_in_the_register(register: Register) -> None:
    register.enter(entry(1), "{}", 0)
    register.note("alarm000001", [note(NoteKind.FALSE, "кіт")], 0)
    incident = register.note("alarm000001", [note(NoteKind.TRUE, "не кіт")], 0)
    assert incident.false is None
    assert [one.text for one in incident.notes] == ["кіт", "не кіт"]
    assert ids(register, Wanted(state=AlarmState.FALSE)) == []


def test_an_alarm_takes_so_many_notes_and_no_more(register: Register) -> None:
    register.enter(entry(1), "{}", 0)
    register.note("alarm000001", [note(NoteKind.COMMENT, "x")] * MAX_NOTES, 0)
    with pytest.raises(UsageError, match="notes"):
        register.note("alarm000001", [note(NoteKind.COMMENT, "x")], 0)
    assert len(register.get("alarm000001").notes) == MAX_NOTES


def test_what_is_old_or_too_much_goes_the_oldest_first_but_nothing_open(register: Register) -> None:
    for number in range(10):
        register.enter(entry(number, length_s=None if number == 0 else 5), "{}", 0)
    register.note("alarm000002", [note(NoteKind.COMMENT, "x")], 0)
    assert register.complete_from_us == 0
    assert register.prune(0, most=6) == 4
    assert ids(register, Wanted())[:2] == ["alarm000000", "alarm000005"]
    assert register.complete_from_us == entry(4).started_us + 1
    assert register.prune(KEEP_US + 400 * US) == 2
    assert register.prune(KEEP_US + 400 * US) == 0


def test_what_was_not_told_is_known_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "incidents.sqlite"
    first = Register(path, HandClock())
    for number in range(3):
        first.enter(entry(number), f'"{number}"', number)
        first.told(f"alarm{number:06}")
    # Killed: that the last one was told would have been entered with the next.
    assert Register(path, HandClock()).untold() == ['"2"']
    first.close()
    assert Register(path, HandClock()).untold() == []


def test_whatever_was_entered_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "incidents.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 40:
            break
    writer.kill()
    said = 40 + sum(1 for line in writer.stdout if line.endswith("\n"))
    assert writer.wait(20) == -signal.SIGKILL
    assert len(ids(Register(path, HandClock()), Wanted())) >= said + 1


def test_a_torn_tail_costs_the_last_entries_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "incidents.sqlite"
    whole = Register(path, HandClock())
    for number in range(50):
        whole.enter(entry(number), "{}", 0)
    log = path.with_name(path.name + "-wal").read_bytes()
    for cut in range(0, len(log), len(log) // 12):
        torn = tmp_path / f"torn{cut}" / "incidents.sqlite"
        torn.parent.mkdir()
        torn.write_bytes(path.read_bytes())
        torn.with_name(torn.name + "-wal").write_bytes(log[:cut])
        found = ids(Register(torn, HandClock()), Wanted())
        assert found == [f"alarm{number:06}" for number in range(len(found))]
        assert not list(torn.parent.glob("*.damaged-*"))


def test_of_a_damaged_register_what_can_be_read_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "incidents.sqlite"
    register = Register(path, HandClock())
    for number in range(400):
        register.enter(entry(number), "{}", 0)
    register.note("alarm000001", [note(NoteKind.ACKNOWLEDGED)], 0)
    register.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        middle = db.execute("SELECT pageno FROM dbstat WHERE name = 'alarm' AND pagetype = 'leaf'").fetchall()
    with path.open("r+b") as file:
        file.seek((middle[len(middle) // 2][0] - 1) * 4096)
        file.write(os.urandom(4096))
    found = Register(path, HandClock())
    kept = ids(found, Wanted())
    assert 300 < len(kept) < 400
    assert kept[0] == "alarm000000"
    assert kept[-1] == "alarm000399"
    assert found.get("alarm000001").acknowledged
    assert list(tmp_path.glob("incidents.sqlite.damaged-*"))


def test_the_latest_are_those_that_are_open_and_then_the_newest(register: Register) -> None:
    for number in range(20):
        register.enter(entry(number, length_s=None if number == 3 else 5), "{}", 0)
    found = [incident.entry.alarm_id for incident in register.latest(4)]
    assert found == ["alarm000003", "alarm000017", "alarm000018", "alarm000019"]
    assert register.counts(0) == (1, 20)


def test_a_later_message_does_not_take_back_what_was_known(register: Register) -> None:
    register.enter(entry(1, length_s=None), "{}", 0)
    register.enter(replace(entry(1), direction_deg=None), "{}", 1)
    incident = register.get("alarm000001")
    assert incident.entry.direction_deg == 90.0
    assert incident.entry.ended_us == entry(1).ended_us
