"""The modes of a node as they stand: what persons set, kept on the disk, and what the programme says now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from edge_agent.buffer.documents import Documents
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import Alarm, CameraId, Severity
from edge_agent.modes.programme import HORIZON_US, Override, Ruling, Stretch, mode_at, next_change, timeline
from edge_agent.modes.severity import Mode, Plan

_log = logging.getLogger(__name__)
OVERRIDES, STANDING = "mode_override", "mode"
NODE = "*"
"""The node among cameras' ids."""
Scope = CameraId | None
"""A camera, or the node: what cameras without a programme or an override of their own follow."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The mode of a camera or of the node."""

    mode: Mode
    override: Override | None
    since_us: int
    until_us: int | None
    """The next change; None when none is in sight."""


@dataclass(frozen=True, slots=True)
class ModeChange:
    camera: Scope
    before: str
    """The mode's id."""
    now: Standing


@cache
def _adapter() -> TypeAdapter[Override]:
    return TypeAdapter(Override)


class Modes:
    """Owned by the agent's main thread; `changed` gets what changes, all at once, the agent's start included."""

    def __init__(
        self,
        plan: Plan,
        zone: ZoneInfo,
        documents: Documents,
        clock: Clock,
        changed: Callable[[Sequence[ModeChange]], None] = lambda _: None,
    ) -> None:
        self._plan, self._zone = plan, zone
        self._documents, self._clock, self._changed = documents, clock, changed
        self._overrides = {one.camera or NODE: one for one in known_overrides(documents, plan)}
        found = documents.get(STANDING, STANDING) or {}
        self._told: dict[str, Any] = found.get("scopes") or {}
        """What was last written down of each: mode, the override's command, since when."""
        self._standings: dict[Scope, Standing] = {}
        self._sure = range(0)
        """[from, to) in which nothing changes."""
        self._recompute(clock.utc_us())

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return (None, *self._plan.of_cameras)

    def standing(self, camera: Scope) -> Standing:
        return self._standings[camera]

    @property
    def plan(self) -> Plan:
        return self._plan

    def severity_of(self, alarm: Alarm) -> Severity:
        """What the camera's mode says of an alarm now."""
        return self._standings[alarm.camera].mode.severity_of(alarm.camera, alarm.zone, alarm.nature)

    def look(self) -> None:
        """Once a second: tell what has changed.  A clock that was set back is looked at anew, too."""
        now_us = self._clock.utc_us()
        if now_us not in self._sure:
            self._recompute(now_us)
        self._tell()

    def override_of(self, camera: Scope) -> Override | None:
        """The camera's own or the node's own, be it over or not."""
        return self._overrides.get(camera or NODE)

    def set(self, override: Override) -> None:
        """In the place of the one of the same camera, or of the node; on the disk when it returns, or ArchiveError."""
        key = override.camera or NODE
        self._documents.put(OVERRIDES, {"id": key, **_adapter().dump_python(override, mode="json")})
        self._overrides[key] = override
        self._sure = range(0)
        self.look()

    def clear(self, camera: Scope) -> list[Override]:
        """End a camera's own override; those of the node and of all its cameras without one.  The ones that lasted.

        What was set aside goes, too: it must not come back with a later configuration.
        """
        now_us = self._clock.utc_us()
        keys = [camera] if camera is not None else [str(found["id"]) for found in self._documents.all(OVERRIDES)]
        ended = [self._overrides[key] for key in keys if key in self._overrides]
        self._sure = range(0)
        for key in keys:
            self._documents.remove(OVERRIDES, key)
            self._overrides.pop(key, None)
        self.look()
        return [one for one in ended if one.lasts(now_us)]

    def next_number(self) -> int:
        return max((one.number for one in self._overrides.values()), default=0) + 1

    def timeline(self, camera: Scope, start_us: int, end_us: int) -> list[Stretch]:
        return timeline(self._plan.of(camera), self._of(camera), start_us, end_us, self._zone)

    def _of(self, camera: Scope) -> list[Override]:
        return [one for key, one in self._overrides.items() if key in (NODE, camera)]

    def _recompute(self, now_us: int) -> None:
        sure_until_us = now_us + HORIZON_US
        for camera in self.scopes:
            programme, overrides = self._plan.of(camera), self._of(camera)
            ruling = mode_at(programme, overrides, now_us, self._zone)
            until_us = next_change(programme, overrides, now_us, self._zone)
            since_us = min(self._since_us(camera, ruling, now_us), now_us)
            self._standings[camera] = Standing(self._plan.modes[ruling.mode], ruling.override, since_us, until_us)
            sure_until_us = min(sure_until_us, until_us or sure_until_us)
        self._sure = range(now_us, sure_until_us)

    def _since_us(self, camera: Scope, ruling: Ruling, now_us: int) -> int:
        told = self._told.get(camera or NODE)
        same = told is not None and _same(told, ruling.mode, ruling.override)
        since_us = told.get("since_us") if same and told is not None else None
        return since_us if isinstance(since_us, int) else now_us

    def _tell(self) -> None:
        changes = []
        for camera, now in self._standings.items():
            told = self._told.get(camera or NODE)
            if isinstance(told, dict) and not _same(told, now.mode.mode_id, now.override):
                changes.append(ModeChange(camera, str(told.get("mode")), now))
        if changes or self._told.keys() != {camera or NODE for camera in self.scopes}:
            self._told = {camera or NODE: _written(now) for camera, now in self._standings.items()}
            try:
                self._documents.put(STANDING, {"id": STANDING, "scopes": self._told})
            except ArchiveError as error:
                _log.error("after a restart the change of mode may be told again: %s", error)
        if changes:
            self._changed(changes)


def known_overrides(documents: Documents, plan: Plan) -> list[Override]:
    """Those on the disk; what the configuration no longer knows, or nobody can read, is left alone and told."""
    found = []
    for document in documents.all(OVERRIDES):
        try:
            override = _adapter().validate_python({name: value for name, value in document.items() if name != "id"})
        except ValidationError as error:
            _log.error("an override in the documents can't be understood and is left alone: %s", error)
            continue
        if override.mode not in plan.modes or (override.camera is not None and override.camera not in plan.of_cameras):
            place = override.camera or "the node"
            _log.error("the override of %s to %s is set aside: the configuration has no such", place, override.mode)
            continue
        found.append(override)
    return found


def grouped(changes: Iterable[ModeChange]) -> Mapping[tuple[str, str, str], list[ModeChange]]:
    """Those from one mode to another by the same word, for one line each."""
    groups: dict[tuple[str, str, str], list[ModeChange]] = {}
    for change in changes:
        ref = change.now.override.ref if change.now.override else ""
        groups.setdefault((change.before, change.now.mode.mode_id, ref), []).append(change)
    return groups


def _written(now: Standing) -> dict[str, Any]:
    return {
        "mode": now.mode.mode_id,
        "ref": now.override.ref if now.override else "",
        "since_us": now.since_us,
    }


def _same(told: Any, mode: str, override: Override | None) -> bool:
    return isinstance(told, dict) and (told.get("mode"), told.get("ref")) == (mode, override.ref if override else "")
