"""Holds: which recordings nothing may delete, by order, until they are let go (`docs/retention.md`).

`Held` decides over values; `Holds` keeps them as documents, and makes lost ones again from the journal.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.promise import Aged
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.model import CameraId, Hold, Interval, Segment

_log = logging.getLogger(__name__)
TABLE = "hold"
OPEN_END_US = 2**63 - 1
"""Where a hold without an end ends: after every age mark."""
MIN_PREFIX = 4
"""So many characters of an id are enough to name a hold, where they name one only."""


def hold_id(source: str) -> str:
    """The id of the hold that an order of this id makes, or a command of this nonce: short, the same when restored."""
    return "h" + hashlib.sha256(source.encode()).hexdigest()[:10]


class Held:
    """What is held by some holds, asked by recording."""

    def __init__(self, holds: Iterable[Hold]) -> None:
        self._all = tuple(holds)
        self._active = tuple(hold for hold in self._all if hold.ended_us is None)
        self._of: dict[CameraId, tuple[Interval, ...]] = {}

    def intervals(self, camera: CameraId) -> tuple[Interval, ...]:
        """What is held of a camera: apart from each other, in order."""
        if camera not in self._of:
            mine = [hold for hold in self._active if not hold.cameras or camera in hold.cameras]
            self._of[camera] = merged(span(hold) for hold in mine)
        return self._of[camera]

    def keeps(self, aged: Aged) -> bool:
        """Whether a part of the recording, or its age mark, lies in what is held."""
        segment = aged.segment
        if self.beyond(segment.camera, aged.mark_us) is not None:
            return True
        stretch = self._ending_after(segment.camera, segment.start_us)
        return stretch is not None and stretch.start_us < max(segment.end_us, segment.start_us + 1)

    def beyond(self, camera: CameraId, mark_us: int) -> int | None:
        """Where the held stretch ends that this time lies in; None when it lies in none."""
        stretch = self._ending_after(camera, mark_us)
        return stretch.end_us if stretch is not None and stretch.start_us <= mark_us else None

    def kept_by(self, segment: Segment, due_us: int) -> str:
        """The id of the hold that had kept a recording beyond the time it was due; empty when none had."""
        late = [
            hold
            for hold in self._all
            if hold.ended_us is not None
            and hold.ended_us > due_us
            and dataclasses.replace(hold, ended_us=None).covers(segment.camera, segment.interval)
        ]
        return max(late, key=lambda hold: hold.ended_us or 0).hold_id if late else ""

    def _ending_after(self, camera: CameraId, at_us: int) -> Interval | None:
        stretches = self.intervals(camera)
        place = bisect.bisect_right(stretches, at_us, key=lambda stretch: stretch.end_us)
        return stretches[place] if place < len(stretches) else None


def span(hold: Hold) -> Interval:
    return Interval(hold.start_us, OPEN_END_US if hold.end_us is None else hold.end_us)


def merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same time without overlaps, in order."""
    found: list[Interval] = []
    for interval in sorted(intervals):
        if found and interval.start_us <= found[-1].end_us:
            found[-1] = Interval(found[-1].start_us, max(found[-1].end_us, interval.end_us))
        else:
            found.append(interval)
    return tuple(found)


@cache
def _adapter() -> TypeAdapter[Hold]:
    return TypeAdapter(Hold)


class Holds:
    """The holds of a node, ended ones included; the thread that owns the documents owns it."""

    def __init__(self, documents: Documents) -> None:
        """A hold that can't be understood makes the whole list unknown: then nothing may be deleted."""
        self._documents = documents
        self._holds: dict[str, Hold] = {}
        self.known = True
        for document in documents.all(TABLE):
            try:
                hold = _parsed(document)
            except ValidationError as error:
                _log.critical("hold %s can't be understood, so nothing is deleted: %s", document.get("id"), error)
                self.known = False
            else:
                self._holds[hold.hold_id] = hold
        self._held = Held(self._holds.values())

    @property
    def held(self) -> Held:
        return self._held

    def all(self) -> list[Hold]:
        """In the order in which they were entered."""
        return sorted(self._holds.values(), key=lambda hold: (hold.since_us, hold.hold_id))

    def get(self, name: str) -> Hold:
        """The hold of this id, or the only one whose id begins so; NotFoundError, UsageError."""
        if name in self._holds:
            return self._holds[name]
        found = [hold for id_, hold in self._holds.items() if len(name) >= MIN_PREFIX and id_.startswith(name)]
        if len(found) > 1:
            raise UsageError(f"{len(found)} holds begin with {name}: say more of the id")
        if not found:
            raise NotFoundError(f"there is no hold {name} here")
        return found[0]

    def add(self, hold: Hold) -> None:
        """Hold from now on: on the disk when it returns.  ArchiveError when it can't be."""
        self._put(hold)

    def end(self, hold: Hold, at_us: int, ended_by: str, order_number: str, ordered_by: str) -> Hold:
        """Let go what a hold kept, unless others keep it too; UsageError when it has ended already."""
        if hold.ended_us is not None:
            raise UsageError(f"hold {hold.hold_id} has ended already, by {hold.ended_by}")
        ended = dataclasses.replace(
            hold, ended_us=at_us, ended_by=ended_by, end_order_number=order_number, end_ordered_by=ordered_by
        )
        self._put(ended)
        return ended

    def restore(self, holds: Sequence[Hold]) -> list[Hold]:
        """Enter those of other knowledge (the journal's) that are not here; returns them."""
        missing = [hold for hold in holds if hold.hold_id not in self._holds]
        for hold in missing:
            self._put(hold)
        return missing

    def _put(self, hold: Hold) -> None:
        self._documents.put(TABLE, {"id": hold.hold_id, **_adapter().dump_python(hold, mode="json")})
        self._holds[hold.hold_id] = hold
        self._held = Held(self._holds.values())


def _parsed(document: dict[str, Any]) -> Hold:
    return _adapter().validate_python({name: value for name, value in document.items() if name != "id"})
