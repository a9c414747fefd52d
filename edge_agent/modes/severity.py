"""How loudly a mode has an alarm told, by camera, zone and nature (`docs/modes.md`, "Severity").  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.model import AlarmNature, CameraId, Severity
from edge_agent.modes.programme import ModeId, Programme


@dataclass(frozen=True, slots=True)
class Rule:
    """An exception to a mode's severity; what is empty fits everything."""

    severity: Severity
    cameras: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    natures: frozenset[AlarmNature] = frozenset()

    def fits(self, camera: CameraId, zone: str | None, nature: AlarmNature) -> bool:
        return (
            (not self.cameras or camera in self.cameras)
            and (not self.zones or zone in self.zones)
            and (not self.natures or nature in self.natures)
        )


@dataclass(frozen=True, slots=True)
class Mode:
    mode_id: ModeId
    name: str
    severity: Severity = Severity.WARNING
    rules: tuple[Rule, ...] = ()
    """The first that fits an alarm goes before `severity`."""
    record: bool = True

    def severity_of(self, camera: CameraId, zone: str | None, nature: AlarmNature) -> Severity:
        found = next((rule.severity for rule in self.rules if rule.fits(camera, zone, nature)), self.severity)
        return louder(found, Severity.WARNING) if nature.of_the_camera else found


def louder(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=lambda severity: severity.rank)


@dataclass(frozen=True, slots=True)
class Plan:
    """A node's modes and programmes, as configured."""

    modes: Mapping[ModeId, Mode]
    programme: Programme
    """The node's, and that of cameras without one of their own."""
    of_cameras: Mapping[CameraId, Programme | None] = field(default_factory=dict)
    """All cameras; None for those that follow the node's."""

    def of(self, camera: CameraId | None) -> Programme:
        own = self.of_cameras.get(camera) if camera is not None else None
        return own or self.programme
