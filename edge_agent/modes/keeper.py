"""What a change of mode sets going: the journal, what is published, alarms under way (`docs/modes.md`, "Changes")."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from edge_agent.clock import Clock
from edge_agent.model import CameraId
from edge_agent.modes.loudness import Loudness
from edge_agent.modes.standing import ModeChange, Modes, Standing, grouped
from edge_agent.notes import note
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome

_log = logging.getLogger(__name__)


class ModeKeeper:
    """Owned by the agent's main thread.

    tell: publishes the modes of now; rest: gets the cameras that are not to be recorded now, each with why.
    """

    def __init__(
        self,
        loudness: Loudness,
        journal: Journal,
        clock: Clock,
        tell: Callable[[], None],
        rest: Callable[[Mapping[CameraId, str]], None],
    ) -> None:
        self._loudness, self._journal, self._clock = loudness, journal, clock
        self._tell, self._rest = tell, rest
        self._resting: dict[CameraId, str] = {}

    def begin(self, modes: Modes) -> None:
        """At the agent's start: what the modes of then say of recording."""
        self._let_rest({scope: modes.standing(scope) for scope in modes.scopes if scope is not None})

    def changed(self, changes: Sequence[ModeChange]) -> None:
        for group in grouped(changes).values():
            note(self._journal, self._entry(group))
        self._let_rest({change.camera: change.now for change in changes if change.camera is not None})
        self._tell()
        self._loudness.weigh_again(_cameras(changes), self._clock.utc_us())

    def _let_rest(self, standings: Mapping[CameraId, Standing]) -> None:
        for camera, now in standings.items():
            self._resting.pop(camera, None)
            if not now.mode.record:
                self._resting[camera] = f"mode {now.mode.mode_id}"
        self._rest(dict(sorted(self._resting.items())))

    def last_words(self, cameras: Sequence[CameraId]) -> None:
        """At the agent's stop: what was silent and is not yet journalled."""
        silent = self._loudness.take_silent(cameras)
        if silent:
            reason = f"{sum(silent.values())} alarms were silent"
            note(self._journal, JournalEntry(JournalKind.MODE, Outcome.DONE, reason=reason, args={"silent": silent}))

    def _entry(self, group: Sequence[ModeChange]) -> JournalEntry:
        """Of changes from one mode to one other by the same word."""
        before, now = group[0].before, group[0].now
        override, cameras = now.override, _cameras(group)
        by = f"set by {override.who}" if override else "by the programme"
        places = [*(["the node"] if any(change.camera is None for change in group) else []), *cameras]
        reason = f"{before} to {now.mode.mode_id} {by}, {', '.join(places)}"
        _log.info("mode %s", reason)
        args = {
            "before": before,
            "mode": now.mode.mode_id,
            "node": any(change.camera is None for change in group),
            "cameras": cameras,
            "until_us": override.until_us if override else None,
            "silent": self._loudness.take_silent(cameras),
        }
        return JournalEntry(
            JournalKind.MODE,
            Outcome.DONE,
            who=override.who if override else "",
            person_id=override.person_id if override else None,
            reason=reason + (f": {override.reason}" if override and override.reason else ""),
            args=args,
            ref=override.ref if override else "",
        )


def _cameras(changes: Sequence[ModeChange]) -> list[CameraId]:
    return [change.camera for change in changes if change.camera is not None]
