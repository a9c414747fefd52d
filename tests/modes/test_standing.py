"""The modes of a node over time, over restarts and over steps of its clock."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge_agent.modes.programme import ARMED, DISARMED
from edge_agent.modes.severity import Plan
from tests.modes.world import DAY, GATE, NIGHT, PLAN, YARD, World, at


def test_the_first_start_is_no_change_and_each_change_is_told_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert (world.now(), world.now(GATE), world.now(YARD)) == (DAY, DAY, DISARMED)
    assert world.take() == []
    world.go_to("22:29:59")
    assert world.take() == []
    world.go_to("22:30")
    assert world.take() == [(None, DAY, NIGHT), (GATE, DAY, NIGHT)]
    world.modes.look()
    assert world.take() == []


def test_a_standing_says_since_when_and_until_when(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go_to("22:30")
    world.go_to("23:00")
    world.restart()
    standing = world.modes.standing(GATE)
    assert (standing.since_us, standing.until_us) == (at("22:30"), at("2026-11-23 06:15"))
    assert world.modes.standing(YARD).until_us is None


def test_an_override_of_the_node_goes_before_every_programme_until_it_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(ARMED, "23:00"))
    assert world.take() == [(None, DAY, ARMED), (GATE, DAY, ARMED), (YARD, DISARMED, ARMED)]
    world.go_to("22:59:59")
    assert world.take() == []
    world.go_to("23:00")
    assert world.take() == [(None, ARMED, NIGHT), (GATE, ARMED, NIGHT), (YARD, ARMED, DISARMED)]


def test_an_override_survives_a_restart_and_ends_on_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(ARMED, "2026-11-23 08:00", YARD))
    world.take()
    world.restart()
    assert world.now(YARD) == ARMED
    override = world.modes.standing(YARD).override
    assert override is not None
    assert override.who == "Коваленко"
    assert world.take() == []
    world.go_to("2026-11-23 08:00")
    assert world.now(YARD) == DISARMED


def test_what_changed_while_the_agent_was_not_running_is_told_at_its_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock.move(3600)
    world.restart()
    assert world.take() == [(None, DAY, NIGHT), (GATE, DAY, NIGHT)]


def test_of_two_overrides_the_newer_one_counts_and_then_the_older_one_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(ARMED, None, GATE))
    world.modes.set(world.order(DISARMED, "22:20"))
    assert (world.now(GATE), world.now(YARD)) == (DISARMED, DISARMED)
    world.go_to("22:20")
    assert (world.now(GATE), world.now()) == (ARMED, DAY)


def test_a_cameras_new_override_takes_the_place_of_its_old_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(ARMED, None, GATE))
    world.modes.set(world.order(NIGHT, "22:20", GATE))
    world.go_to("22:20")
    assert world.now(GATE) == DAY


def test_a_cameras_override_is_cleared_alone_and_the_nodes_with_all(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(ARMED, None))
    world.modes.set(world.order(NIGHT, None, GATE))
    assert [one.mode for one in world.modes.clear(GATE)] == [NIGHT]
    assert (world.now(GATE), world.now(YARD)) == (ARMED, ARMED)
    world.modes.set(world.order(NIGHT, None, YARD))
    assert len(world.modes.clear(None)) == 2
    world.restart()
    assert (world.now(), world.now(GATE), world.now(YARD)) == (DAY, DAY, DISARMED)
    assert world.modes.clear(None) == []


def test_a_clock_that_jumps_ahead_and_back_finds_the_override_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(ARMED, "23:00"))
    world.take()
    world.clock.step(5 * 365 * 86400)
    world.modes.look()
    assert world.modes.standing(None).override is None
    world.clock.step(-5 * 365 * 86400)
    world.modes.look()
    assert world.now() == ARMED


@pytest.mark.parametrize(("step_s", "mode"), [(3600, NIGHT), (-12 * 3600, DAY), (-18 * 3600, NIGHT)], ids=str)
def test_a_step_of_the_clock_is_followed_at_once(tmp_path: Path, step_s: float, mode: str) -> None:
    world = World(tmp_path)
    world.clock.step(step_s)
    world.modes.look()
    assert world.now() == mode


def test_another_zone_in_the_configuration_moves_the_programme(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.go_to("22:45")
    assert world.now() == NIGHT
    world.take()
    world.zone = ZoneInfo("Europe/Lisbon")
    world.restart()
    assert world.now() == DAY
    assert world.take() == [(None, NIGHT, DAY), (GATE, NIGHT, DAY)]
    assert world.modes.standing(None).until_us == at("2026-11-23 00:30")


def test_an_override_to_a_mode_that_is_gone_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    world.modes.set(world.order(NIGHT, None, YARD))
    without = {mode_id: mode for mode_id, mode in PLAN.modes.items() if mode_id != NIGHT}
    world.plan = Plan(without, dataclasses.replace(PLAN.programme, spans=()), PLAN.of_cameras)
    world.restart()
    assert world.now(YARD) == DISARMED
    assert "yard to night is set aside" in caplog.text
    world.modes.clear(None)
    world.plan = PLAN
    world.restart()
    assert world.now(YARD) == DISARMED, "what was cleared does not come back with the mode"


def test_garbage_among_the_documents_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    path = tmp_path / "documents.json"
    rubbish = '{"mode_override": {"1": {"id": "gate", "mode": 5}}, "mode": {"1": {"id": "mode", "scopes": {"*": 7}}}}'
    path.write_text(rubbish)
    world.restart()
    assert world.now(GATE) == DAY
    assert "can't be understood" in caplog.text
