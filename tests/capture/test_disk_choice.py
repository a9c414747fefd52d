"""Which disk a file goes to: the agent's order, less those that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.buffer.disks import Disk, Disks
from edge_agent.capture.disk_choice import ASIDE_MOST_S, ASIDE_S, DiskChoice
from edge_agent.capture.gate import ORDER, Gate, Order
from edge_agent.messages import DiskChanged
from tests.simulators.clock import HandClock


class Choice:
    def __init__(self, folder: Path) -> None:
        self.disks = Disks([Disk("", folder / "a"), Disk("b", folder / "b")])
        for disk in self.disks:
            disk.folder.mkdir()
        self.disks.get("b").mark()
        self.clock, self.gate = HandClock(), Gate()
        self.told: list[DiskChanged] = []
        self.choice = DiskChoice(self.disks, self.gate, self.clock, self.told.append)

    def usable(self) -> list[str]:
        return [disk.id for disk in self.choice.usable()]


@pytest.fixture
def made(tmp_path: Path) -> Choice:
    return Choice(tmp_path)


def test_files_go_where_the_agent_says(made: Choice) -> None:
    assert made.usable() == ["", "b"]
    made.gate.hear(ORDER.encode(Order("", ("b", ""))))
    assert made.usable() == ["b", ""]


def test_a_disk_that_failed_is_set_aside_and_used_again_when_it_takes_bytes(made: Choice) -> None:
    made.choice.failed("", "broken")
    assert made.usable() == ["b"]
    assert made.choice.others("")
    assert not made.choice.others("b")
    made.clock.move(ASIDE_S)
    assert made.usable() == ["", "b"]
    assert made.told == [DiskChanged("", "broken"), DiskChanged("", "")]
    assert list((made.disks.get("").folder).iterdir()) == [], "the probe leaves nothing"


def test_a_disk_that_fails_again_and_again_is_tried_ever_more_rarely(made: Choice) -> None:
    waited = ASIDE_S
    for _ in range(6):
        made.choice.failed("", "broken")
        made.clock.move(waited - 0.1)
        assert made.usable() == ["b"]
        made.clock.move(0.2)
        assert made.usable() == ["", "b"]
        waited = min(2 * waited, ASIDE_MOST_S)
    made.choice.wrote("")
    made.choice.failed("", "broken")
    made.clock.move(ASIDE_S)
    assert made.usable() == ["", "b"]


def test_a_disk_that_is_pulled_is_not_recorded_beside(made: Choice) -> None:
    folder = made.disks.get("b").folder
    folder.rename(folder.with_name("pulled"))
    folder.mkdir()
    assert made.usable() == [""]
    assert [changed.disk for changed in made.told] == ["b"]
    made.clock.move(ASIDE_S)
    assert made.usable() == [""]
    assert len(made.told) == 1, "told once"
    assert list(folder.iterdir()) == []


def test_the_only_disk_is_always_tried(tmp_path: Path) -> None:
    told: list[DiskChanged] = []
    choice = DiskChoice(Disks.of(tmp_path), Gate(), HandClock(), told.append)
    choice.failed("", "broken")
    assert [disk.folder for disk in choice.usable()] == [tmp_path]
    assert not choice.others("")
    assert told == []
