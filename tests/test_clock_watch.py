"""The trust in the clock outlives the agent within a boot, and no longer."""

from __future__ import annotations

from pathlib import Path

from edge_agent.buffer.documents import Documents
from edge_agent.clock_trust import ClockStep
from edge_agent.clock_watch import ClockWatch
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
