"""A node's modes with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

from edge_agent.buffer.documents import Documents
from edge_agent.model import CameraId, PersonId, Severity
from edge_agent.modes.programme import ARMED, DISARMED, ModeId, Override, Programme, Span
from edge_agent.modes.severity import Mode, Plan
from edge_agent.modes.standing import ModeChange, Modes
from edge_agent.when import parse_when
from tests.simulators.clock import HandClock

KYIV = ZoneInfo("Europe/Kyiv")
GATE, YARD = CameraId("gate"), CameraId("yard")
NIGHT, DAY = ModeId("night"), ModeId("day")
PLAN = Plan(
    {
        NIGHT: Mode(NIGHT, "Ніч", Severity.CRITICAL),
        DAY: Mode(DAY, "День", Severity.SILENT),
        ARMED: Mode(ARMED, "Під охороною"),
        DISARMED: Mode(DISARMED, "Без охорони", Severity.SILENT),
    },
    Programme(DAY, (Span(NIGHT, 22 * 60 + 30, 6 * 60 + 15),)),
    {GATE: None, YARD: Programme(DISARMED)},
)


def at(text: str) -> int:
    """A time of the night from the 22nd to the 23rd of November, or with its date."""
    return parse_when(text if "-" in text else f"2026-11-22 {text}", KYIV, 0)


@dataclass
class World:
    folder: Path
    clock: HandClock = field(default_factory=lambda: HandClock(at("22:00")))
    plan: Plan = PLAN
    zone: ZoneInfo = KYIV
    told: list[ModeChange] = field(default_factory=list)
    modes: Modes = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        documents = Documents(self.folder / "documents.json", self.clock)
        self.modes = Modes(self.plan, self.zone, documents, self.clock, self._changed)
        self.modes.look()

    def _changed(self, changes: Sequence[ModeChange]) -> None:
        self.told += changes

    def go_to(self, text: str) -> None:
        self.clock.move((at(text) - self.clock.utc_us()) / 1e6)
        self.modes.look()

    def now(self, camera: CameraId | None = None) -> str:
        return self.modes.standing(camera).mode.mode_id

    def take(self) -> list[tuple[str | None, str, str]]:
        told, self.told = self.told, []
        return [(change.camera, change.before, change.now.mode.mode_id) for change in told]

    def order(self, mode: ModeId, until: str | None, camera: CameraId | None = None) -> Override:
        number = self.modes.next_number()
        until_us = at(until) if until else None
        return Override(
            mode, until_us, number, self.clock.utc_us(), "Коваленко", PersonId("officer"), camera, "", f"nonce-{number}"
        )
