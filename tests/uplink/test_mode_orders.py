"""Setting a mode by a person's command: only what is there, only into the future, told in both languages."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from edge_agent.errors import EdgeError, NotFoundError, UsageError
from edge_agent.trust.command import ModeArgs, SignedCommand
from edge_agent.trust.door import Admitted
from edge_agent.trust.policy import Access, Action, Role
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.mode_orders import ModeOrders
from tests.modes.world import GATE, KYIV, World, at
from tests.trust.support import somebody


def carried_out(world: World, **args: object) -> Done:
    person = somebody("operator", Role.OPERATOR, Ed25519PrivateKey.generate())
    given = ModeArgs.model_validate(args)
    command = SignedCommand(person.person_id, "town/n1", 0, 0, "n" * 16, Action.MODE, given)
    orders = ModeOrders(world.modes, KYIV, world.clock)
    return orders.carry_out(Admitted(command, person, Access.REMOTE), given)


def test_a_mode_is_set_for_a_camera_until_a_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    done = carried_out(world, mode="armed", camera="gate", until_us=at("2026-11-23 08:00"), reason="Ремонт")
    assert done.said.en == "gate: mode “Під охороною” until 08:00, set by Шевченко Оксана Іванівна"
    assert done.said.uk == "gate: режим «Під охороною» до 08:00, встановлено: Шевченко Оксана Іванівна"
    assert done.result["cameras"]["gate"]["mode"] == "armed"
    assert done.result["node"]["mode"] == "day"
    override = world.modes.standing(GATE).override
    assert override is not None
    assert (override.person_id, override.reason, override.ref) == ("operator", "Ремонт", "n" * 16)


def test_going_back_to_the_programme_says_what_there_is_then(tmp_path: Path) -> None:
    world = World(tmp_path)
    carried_out(world, mode="night")
    assert carried_out(world).said.en == "Set back. Mode “День” until 22:30, by the programme"
    assert carried_out(world).said.en == "Nothing was set. Mode “День” until 22:30, by the programme"


def test_a_camera_under_the_nodes_override_stays_there_and_the_answer_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    carried_out(world, mode="night")
    carried_out(world, mode="armed", camera="gate")
    assert "set by Шевченко" in carried_out(world, camera="gate").said.en
    assert world.now(GATE) == "night"


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ({"mode": "fiesta"}, NotFoundError, "no mode fiesta here; there are: night, day, armed, disarmed"),
        ({"mode": "armed", "camera": "roof"}, NotFoundError, "no camera roof here; there are: gate, yard"),
        ({"mode": "armed", "until_us": at("21:00")}, UsageError, "is over: say a later end"),
    ],
    ids=["mode", "camera", "past"],
)
def test_what_is_not_there_or_over_changes_nothing(
    tmp_path: Path, args: dict[str, object], error: type[EdgeError], words: str
) -> None:
    world = World(tmp_path)
    with pytest.raises(error, match=words):
        carried_out(world, **args)
    assert world.take() == []


@pytest.mark.parametrize("args", [{"until_us": 5}, {"mode": "A"}, {"mode": "armed", "until_us": "8"}, {"mood": "x"}])
def test_arguments_of_another_form_are_none(args: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModeArgs.model_validate(args)
