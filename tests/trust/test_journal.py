from __future__ import annotations

import fcntl
import json
import multiprocessing
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SystemClock
from edge_agent.errors import ArchiveError
from edge_agent.model import PersonId
from edge_agent.trust.journal import LOCK_PATIENCE_S, BadLine, Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.policy import Access
from tests.simulators.clock import HandClock
from tests.trust.support import NOW_US

ENTRY = JournalEntry(
    JournalKind.ACCESS,
    Outcome.ACCEPTED,
    who="Шевченко Оксана Іванівна",
    person_id=PersonId("o-shevchenko"),
    action="export",
    access=Access.REMOTE,
    reason="Запит № 7",
    args={"camera": "gate", "start_us": NOW_US},
    ref="n" * 16,
    at_us=NOW_US - 1,
)
START = JournalEntry(JournalKind.START, Outcome.DONE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full at `size` bytes of a file: writes come up short, then fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def append_many(path: Path, name: str, count: int) -> None:
    journal = Journal(path, SystemClock())
    for number in range(count):
        journal.append(JournalEntry(JournalKind.ACCESS, Outcome.DONE, who=name, reason=str(number) + "x" * 3000))


def test_what_is_appended_is_read_in_order(path: Path) -> None:
    journal = Journal(path, HandClock())
    journal.append(ENTRY)
    journal.append(START)
    first, second = journal.read()
    assert first == ENTRY
    assert isinstance(second, JournalEntry)
    assert (second.kind, second.at_us) == (JournalKind.START, NOW_US)


def test_a_line_is_plain_json_in_the_languages_own_letters(path: Path) -> None:
    Journal(path, HandClock()).append(ENTRY)
    (line,) = path.read_bytes().splitlines()
    assert "Шевченко Оксана Іванівна".encode() in line
    assert json.loads(line)["args"] == {"camera": "gate", "start_us": NOW_US}


def test_the_file_is_its_owners_alone(path: Path) -> None:
    Journal(path, HandClock()).append(START)
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_journal_yet_reads_as_empty(path: Path) -> None:
    assert list(Journal(path, HandClock()).read()) == []


def test_line_feeds_and_hostile_text_stay_within_their_line(path: Path) -> None:
    journal = Journal(path, HandClock())
    journal.append(JournalEntry(JournalKind.ACCESS, Outcome.REFUSED, reason='a\nb\r\u2028"}\x00\x1b[2J{'))
    journal.append(START)
    assert len(path.read_bytes().split(b"\n")) == 3
    assert [type(entry) for entry in journal.read()] == [JournalEntry, JournalEntry]


@given(st.integers(0, 400))
def test_wherever_a_power_cut_tore_the_last_line_the_next_entry_is_whole(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    journal = Journal(path, HandClock())
    journal.append(START)
    kept = path.stat().st_size
    journal.append(ENTRY)
    whole = path.read_bytes()
    left = whole[: min(kept + length, len(whole))]
    path.write_bytes(left)
    journal.append(START)
    found = list(journal.read())
    assert found[0] == found[-1]
    torn = left[kept:].rstrip(b"\n")
    if not torn:
        assert len(found) == 2
    elif torn + b"\n" == whole[kept:]:
        assert found[1] == ENTRY
    else:
        assert found[1] == BadLine(2, torn)


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff", b"[]", b"{}", b"null", b'{"kind":"access"}', b'{"kind":"access","outcome":"done","at_us":null}',
     b'{"kind":"access","outcome":"done","at_us":1,"extra":1}', b"{" * 10_000],
)  # fmt: skip
def test_an_unreadable_line_is_told_with_its_number_and_hides_nothing_else(path: Path, line: bytes) -> None:
    journal = Journal(path, HandClock())
    journal.append(ENTRY)
    with path.open("ab") as file:
        file.write(line + b"\n")
    journal.append(ENTRY)
    assert list(journal.read()) == [ENTRY, BadLine(2, line), ENTRY]


def test_a_full_disk_is_told_and_leaves_no_half_line(path: Path) -> None:
    journal = Journal(path, HandClock())
    journal.append(ENTRY)
    size = path.stat().st_size
    for room in (0, 1, 100):
        with files_of_at_most(size + room), pytest.raises(ArchiveError, match=r"journal\.jsonl"):
            journal.append(ENTRY)
        assert path.stat().st_size == size
    journal.append(START)
    assert [type(entry) for entry in journal.read()] == [JournalEntry, JournalEntry]


def test_a_journal_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    for bad in (tmp_path, tmp_path / "absent" / "journal.jsonl"):
        with pytest.raises(ArchiveError, match="can't be used"):
            Journal(bad, HandClock()).append(START)


def test_a_link_in_the_journals_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    path.symlink_to(elsewhere)
    with pytest.raises(ArchiveError):
        Journal(path, HandClock()).append(START)
    assert elsewhere.stat().st_size == 0


def test_arguments_that_are_no_json_are_told_and_nothing_is_written(path: Path) -> None:
    with pytest.raises(ArchiveError, match="can't be written"):
        Journal(path, HandClock()).append(JournalEntry(JournalKind.ACCESS, Outcome.DONE, reason="\ud800"))
    assert not path.exists()


def test_a_process_that_hangs_with_the_lock_does_not_hang_the_agent(path: Path) -> None:
    clock = HandClock()
    journal = Journal(path, clock)
    journal.append(START)
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = clock.monotonic()
        with pytest.raises(ArchiveError, match="hangs"):
            journal.append(START)
    assert LOCK_PATIENCE_S <= clock.monotonic() - began < LOCK_PATIENCE_S + 1
    journal.append(START)


def test_several_processes_append_without_mixing_their_lines(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, f"writer {n}", 25)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    entries = [entry for entry in Journal(path, HandClock()).read() if isinstance(entry, JournalEntry)]
    assert len(entries) == 75
    for n in range(3):
        own = [entry.reason.rstrip("x") for entry in entries if entry.who == f"writer {n}"]
        assert own == [str(number) for number in range(25)]
