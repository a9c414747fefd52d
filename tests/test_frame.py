"""The frame: one agent to a folder, periodic jobs, databases that survive damage."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.database import open_database
from edge_agent.errors import ArchiveError, BusyError
from edge_agent.lock import DataLock
from edge_agent.ticker import Periodic, Ticker
from tests.simulators.clock import HandClock


def test_a_second_agent_on_the_same_folder_is_told_who_is_there(tmp_path: Path) -> None:
    with DataLock(tmp_path, HandClock()), pytest.raises(BusyError, match=rf"process {os.getpid()}\) already runs"):
        DataLock(tmp_path, HandClock())
    DataLock(tmp_path, HandClock()).close()


def test_a_killed_agents_child_keeps_the_folder_until_it_has_ended(tmp_path: Path) -> None:
    script = "import sys; print(flush=True); sys.stdin.read()"
    lock = DataLock(tmp_path, HandClock())
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(lock.fd,)
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        lock.close()
        with pytest.raises(BusyError):
            DataLock(tmp_path, HandClock())
        child.send_signal(signal.SIGKILL)
        child.wait()
        DataLock(tmp_path, SystemClock()).close()


def test_an_unusable_data_folder_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be used"):
        DataLock(tmp_path / "file", HandClock())


def test_a_damaged_database_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(b"garbage" * 1000)
    database = open_database(path, "CREATE TABLE IF NOT EXISTS t (a)", HandClock())
    database.execute("INSERT INTO t VALUES (1)")
    assert list(tmp_path.glob("x.sqlite.damaged-*"))


def test_a_missing_database_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot open"):
        open_database(tmp_path / "no" / "x.sqlite", "", HandClock(), read_only=True).execute("SELECT 1 FROM t")


def test_every_commit_is_full(tmp_path: Path) -> None:
    database = open_database(tmp_path / "x.sqlite", "", HandClock())
    assert isinstance(database, sqlite3.Connection)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_step_of_the_wall_clock_does_not_stop_periodic_jobs() -> None:
    ran: list[str] = []
    clock = HandClock()
    ticker = Ticker([Periodic("job", 1, lambda: ran.append("job"))], clock)
    clock.step(-86400 * 365)
    ticker.run_due()
    assert ticker.idle_s(60) <= 1.0


def test_the_night_in_which_the_clock_goes_back_holds_no_job_up() -> None:
    script = (
        "from datetime import UTC, datetime; from edge_agent.ticker import live_in_utc; live_in_utc();"
        "print(abs((datetime.now() - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 1)"
    )
    environment = {**os.environ, "TZ": "Europe/Kyiv"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert result.stdout == b"True\n"


def test_a_failing_job_does_not_stop_the_others() -> None:
    ran: list[str] = []

    def fail() -> None:
        ran.append("bad")
        raise ArchiveError("disk")

    clock = SystemClock()
    ticker = Ticker([Periodic("bad", 1, fail), Periodic("good", 1, lambda: ran.append("good"))], clock)
    never = threading.Event()
    while "good" not in ran:
        clock.wait(never, ticker.idle_s(1.0))
        ticker.run_due()
    assert ran == ["bad", "good"]
