"""The trust in the clock outlives the agent within a boot, and no longer."""

from __future__ import annotations

from pathlib import Path

from edge_agent.buffer.documents import Documents
from edge_agent.clock_trust import ClockStep
from edge_agent.clock_watch import STATE_S, ClockWatch, known_state, look_only
from tests.simulators.clock import HandClock


def watch(folder: Path, clock: HandClock, boot: str, steps: list[ClockStep]) -> ClockWatch:
    made = ClockWatch(Documents(folder / "documents.json", clock), clock, boot, steps.append)
    made.look()
    return made


def test_trust_outlives_the_agent_within_one_boot_only(tmp_path: Path) -> None:
    clock, steps = HandClock(), list[ClockStep]()
    clock.follows_server = True
    assert watch(tmp_path, clock, "boot-1", steps).trusted
    clock.follows_server = False
    clock.move(3600)
    assert watch(tmp_path, clock, "boot-1", steps).trusted
    assert not watch(tmp_path, clock, "boot-2", steps).trusted
    assert steps == []


def test_a_clock_that_was_set_is_told_and_not_trusted_after_a_restart_either(tmp_path: Path) -> None:
    clock, steps = HandClock(), list[ClockStep]()
    clock.follows_server = True
    running = watch(tmp_path, clock, "boot-1", steps)
    clock.follows_server = False
    clock.step(365 * 86400)
    running.look()
    assert not running.trusted
    assert [round(step.seconds) for step in steps] == [365 * 86400]
    assert not watch(tmp_path, clock, "boot-1", steps).trusted


def test_what_a_person_confirmed_is_trusted_until_the_next_boot(tmp_path: Path) -> None:
    clock, steps = HandClock(follows_server=False), list[ClockStep]()
    running = watch(tmp_path, clock, "boot-1", steps)
    assert not running.trusted
    assert running.confirm()
    assert running.trusted
    clock.move(86_400)
    assert watch(tmp_path, clock, "boot-1", steps).trusted
    assert look_only(Documents(tmp_path / "documents.json", clock, read_only=True), clock, "boot-1").trusted
    assert not look_only(Documents(tmp_path / "documents.json", clock, read_only=True), clock, "boot-2").trusted
    assert not watch(tmp_path, clock, "boot-2", steps).trusted


def test_a_time_that_cannot_be_is_not_confirmed(tmp_path: Path) -> None:
    clock = HandClock(utc_us=0, follows_server=False)
    running = watch(tmp_path, clock, "boot-1", [])
    assert not running.confirm()
    assert not running.trusted


def test_time_without_a_trusted_clock_is_counted_over_restarts_and_reboots(tmp_path: Path) -> None:
    clock = HandClock(follows_server=False)
    for boot in ("boot-1", "boot-1", "boot-2"):
        running = watch(tmp_path, clock, boot, [])
        clock.move(STATE_S)
        running.look()
        clock.move(3600)
    assert running.distrusted_s == 3 * STATE_S
    told = known_state(Documents(tmp_path / "documents.json", clock, read_only=True))
    assert told is not None
    assert (told.trusted, told.reason, told.distrusted_s) == (False, running.reason, 3 * STATE_S)
    assert running.confirm()
    assert running.distrusted_s == 0
    assert watch(tmp_path, clock, "boot-2", []).distrusted_s == 0
