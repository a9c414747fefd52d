"""What things are called by the city's detector, and which happenings ask for a kind.  Pure.

A thing's kind is asked for once it matters, not too often, and never twice once it is known.  In a zone that wants only
some kinds nothing is told before the thing is known to be one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge_agent.capture.natures import Happening
from edge_agent.capture.tracks import Track
from edge_agent.model import AlarmNature, Kind

EVERY_S = 2.0
"""The detector is asked so often at most, …"""
PART = 0.1
"""… and so that it takes no more than this part of a camera's time."""
TRIES, AGAIN_S = 3, 10.0
"""A thing that it did not know so many times is asked for again only after so long."""
WAIT_S = 6.0
"""What happens in a moment (who enters a zone) waits for the thing's kind so long."""
_MOMENTS = {AlarmNature.ENTERED, AlarmNature.LEFT}
GATED = {AlarmNature.MOTION, AlarmNature.LOITERING, AlarmNature.RUNNING, *_MOMENTS}
"""What `only` is about; crowds and things left or taken are told whatever they are, the camera's troubles anyhow."""


@dataclass(slots=True)
class _Asked:
    tries: int = 0
    last_s: float = float("-inf")


@dataclass(slots=True)
class Names:
    """One connection's things; one thread.  Times are monotonic seconds."""

    only: Mapping[str, frozenset[Kind]]
    """Zones that want some kinds only."""
    broken: bool = False
    """The detector fails: nothing is held back any more, rather too many alarms than none."""
    _kinds: dict[int, Kind] = field(default_factory=dict)
    _asked: dict[int, _Asked] = field(default_factory=dict)
    _wanted: list[Track] = field(default_factory=list)
    _waiting: dict[tuple[AlarmNature, str, int], float] = field(default_factory=dict)
    _due_s: float = float("-inf")

    def kind(self, number: int) -> Kind | None:
        return self._kinds.get(number)

    def gate(
        self, now_s: float, happenings: Sequence[Happening], tracks: Sequence[Track], moving: Sequence[Track]
    ) -> list[Happening]:
        """What of this may be told."""
        there = {track.number: track for track in tracks}
        for known in (self._kinds, self._asked):
            for number in known.keys() - there.keys():
                del known[number]
        things = [track for happening in happenings for track in happening.things]
        # before somebody enters a zone is the time to learn what they are
        self._wanted = list(dict.fromkeys([*things, *(moving if self.only else ())]))
        if self.broken:
            return list(happenings)
        told = [passed for happening in happenings if (passed := self._passed(now_s, happening))]
        for (nature, zone, number), since_s in list(self._waiting.items()):
            if now_s - since_s > WAIT_S or number not in there:
                del self._waiting[nature, zone, number]
            elif self._kinds.get(number) in self.only[zone]:
                del self._waiting[nature, zone, number]
                told.append(Happening(nature, zone, (there[number],)))
        return told

    def wanted(self, now_s: float) -> Track | None:
        """Whose kind is to be asked for now: the largest that has been asked for least."""
        if now_s < self._due_s or self.broken:
            return None
        open_ = [track for track in self._wanted if track.number not in self._kinds and self._may_ask(track, now_s)]

        def first(track: Track) -> tuple[int, float]:
            asked = self._asked.get(track.number)
            return asked.tries if asked else 0, -track.box.width * track.box.height

        return min(open_, key=first, default=None)

    def found(self, number: int, kind: Kind | None, now_s: float, took_s: float) -> None:
        """What the detector said; None: it doesn't know the thing."""
        self._due_s = now_s + max(EVERY_S, took_s / PART)
        asked = self._asked.setdefault(number, _Asked())
        asked.tries, asked.last_s = asked.tries + 1, now_s
        if kind is not None:
            self._kinds[number] = kind

    def _may_ask(self, track: Track, now_s: float) -> bool:
        asked = self._asked.get(track.number)
        return asked is None or asked.tries < TRIES or now_s - asked.last_s >= AGAIN_S

    def _passed(self, now_s: float, happening: Happening) -> Happening | None:
        zone = happening.place
        wanted = self.only.get(zone) if zone is not None and happening.nature in GATED else None
        if wanted is None or zone is None:
            return happening
        if happening.nature in _MOMENTS:
            for track in happening.things:
                if track.number not in self._kinds:
                    self._waiting[happening.nature, zone, track.number] = now_s
        things = tuple(track for track in happening.things if self._kinds.get(track.number) in wanted)
        return replace(happening, things=things) if things else None
