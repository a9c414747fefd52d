"""Which blob continues which thing, picture by picture; several things that are one blob for a while stay several.

Pure: what things look like is asked of `Eyes`.  A thing that was plainly seen to move is *known*.  Where the places at
which known things should be lie in one blob, they share it: each keeps its size and is looked for in it, the nearest to
the camera first, and moves on as it did where it is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Protocol

from edge_agent.capture.tracks import NEAR_X, NEAR_Y, Blob, Sighting, Track
from edge_agent.model import Box

KEEP_S = 1.2
"""A thing not seen for so long is gone (or for two pictures, where they come more slowly)."""
FAST = 0.9
"""Heights of the picture a second that a thing may come in with."""
KNOWN = 3
"""So often a thing must have been a blob of its own, and have moved, to be looked for in a blob with others."""
WITHIN = 0.3
"""It is in the blob that covers so much of the place where it should be."""
OWN_PART = 0.4
"""A part of a blob is somebody's where one of the two covers so much of the other."""
LOST_S = 0.7
"""… and was seen so lately, or a picture ago."""
HIDDEN_S = 3.0
"""Who is not found in a blob with others for so long is not in it any more."""
LOOKED_FOR = 8
"""No more than so many are looked for in one blob and picture; where they are more, they take turns."""
LARGER = 1.4
"""A thing looks at most so many times as wide and as high as it usually does."""
ONE_S, ONE_PART = 1.6, 0.8
"""Two that are in one place for so long, the smaller's box covered so far, were one all the time."""
STEERS = 0.2
"""How much of a new movement counts in a blob with others."""


class Eyes(Protocol):
    """Whoever knows what things look like (`capture/likeness.py`); numbers are the tracks'."""

    def remember(self, number: int, box: Box) -> None: ...
    def forget_all_but(self, numbers: Collection[int]) -> None: ...
    def find(self, number: int, expected: Box) -> Box | None: ...


class Tracker:
    """Gives each blob to the thing it continues.  aspect: width of the picture divided by its height."""

    def __init__(self, aspect: float, eyes: Eyes | None = None) -> None:
        self._aspect = aspect
        self._eyes = eyes
        self._tracks: list[Track] = []
        self._numbers = 0
        self._at_s: float | None = None

    def update(self, at_s: float, blobs: Sequence[Blob]) -> list[Track]:
        """All things known after a picture, those seen in it with `last.at_s == at_s`; `at_s` must grow."""
        elapsed_s = at_s - self._at_s if self._at_s is not None else 0.0
        self._at_s = at_s
        for track in self._tracks:
            track.pictures += 1
        # who was lost from sight for longer than a picture is hidden by no blob
        before = [(one.box, one.size) for one in self._tracks if _known(one) and not one.last.shared]
        known = [one for one in self._tracks if _known(one) and at_s - one.last.at_s <= max(LOST_S, 2.1 * elapsed_s)]
        free, left = self._shared(at_s, self._parted(at_s, blobs, known), known)
        pairs = self._pairs(at_s, elapsed_s, left, [blob.box for blob in free])
        found = {index: track for track, index in pairs}
        for index, blob in _whole(free, found).items():
            sighting = Sighting(at_s, blob.box, blob.outline, heads=blob.heads)
            if index in found:
                found[index].add(sighting)
            else:
                self._numbers += 1
                track = Track(self._numbers, sighting, self._aspect)
                track.parted = any(_parts_from(blob.box, box, size) for box, size in before)
                self._tracks.append(track)
        keep_s = max(KEEP_S, 2.1 * elapsed_s)
        self._tracks = [track for track in self._tracks if at_s - track.last.at_s <= keep_s]
        self._drop_doubles(at_s)
        self._remember(at_s)
        return list(self._tracks)

    @property
    def tracks(self) -> list[Track]:
        """All things known after the last picture."""
        return list(self._tracks)

    def clear(self) -> None:
        self._tracks.clear()
        self._at_s = None
        if self._eyes:
            self._eyes.forget_all_but(())

    def _remember(self, at_s: float) -> None:
        if not self._eyes:
            return
        for track in self._tracks:
            if track.last.at_s == at_s and not track.last.shared and _known(track):
                self._eyes.remember(track.number, track.box)
        self._eyes.forget_all_but({track.number for track in self._tracks})

    def _parted(self, at_s: float, blobs: Sequence[Blob], known: Sequence[Track]) -> list[Blob]:
        """Blobs that were joined of parts near each other, taken apart where a part is a known thing by itself."""
        found: list[Blob] = []
        others = [one for one in self._tracks if at_s - one.last.at_s <= LOST_S]
        for blob in blobs:
            parts = list(blob.parts)
            for track in known if parts else ():
                if _fits(blob.box, track.size):
                    continue
                expected = track.ahead(at_s)
                own = [part for part in parts if _touch(part, expected) >= OWN_PART]
                if not own or not _fits(_around(own), track.size):
                    continue
                parts = [part for part in parts if part not in own]
                for part in list(parts):  # legs, say, that were not seen before
                    around = _around([*own, part])
                    whose = [one for one in others if one is not track and _touch(part, one.ahead(at_s)) >= OWN_PART]
                    if _over(part, _around(own)) >= 0.5 and (_fits(around, track.size) or not whose):
                        own.append(part)
                        parts.remove(part)
                found.append(Blob(_around(own), blob.outline, tuple(own) if len(own) > 1 else ()))
            if len(parts) == len(blob.parts):
                found.append(blob)
            else:
                found += [
                    Blob(_around(some), blob.outline, tuple(some) if len(some) > 1 else ()) for some in _near(parts)
                ]
        return found

    def _shared(self, at_s: float, blobs: list[Blob], known: Sequence[Track]) -> tuple[list[Blob], list[Track]]:
        """Places those who share a blob; (blobs that nobody shares, tracks that may continue in them)."""
        expected = {track.number: track.ahead(at_s) for track in known if track.hidden_s < HIDDEN_S}
        claims: dict[int, list[Track]] = {}
        for track in known if blobs else ():
            place = expected.get(track.number)
            if place is None:
                continue
            covered, index = max((_covered(place, blob.box), -n) for n, blob in enumerate(blobs))
            if covered >= WITHIN:
                claims.setdefault(-index, []).append(track)
        for index, claimants in claims.items():
            blobs[index], others = _owned(blobs[index], [expected[track.number] for track in claimants])
            blobs += others
        self._settle(at_s, blobs, claims)
        free = [blob for index, blob in enumerate(blobs) if len(claims.get(index, ())) < 2]
        left = list(self._tracks)
        for index, claimants in claims.items():
            if len(claimants) < 2:
                continue
            for track in claimants:
                left.remove(track)
            self._divide(at_s, blobs[index], claimants, expected)
        return free, left

    def _settle(self, at_s: float, blobs: Sequence[Blob], claims: dict[int, list[Track]]) -> None:
        """Where two claim a blob that is no larger than one of them, and nobody the one beside it, they have parted."""
        taken = set(claims)
        for index, claimants in claims.items():
            for other, blob in enumerate(blobs):
                near = [
                    (cost, track.number)
                    for track in claimants
                    if other not in taken
                    and blob.box.height >= 0.5 * track.size[1]
                    and all(_fits(blobs[index].box, one.size, 1.1) for one in claimants if one is not track)
                    and (cost := self._cost(track, blob.box, at_s, 0.0)) < 1
                ]
                if len(claimants) > 1 and near:
                    number = min(near)[1]
                    taken.add(other)
                    claimants[:] = [track for track in claimants if track.number != number]

    def _divide(self, at_s: float, blob: Blob, claimants: list[Track], expected: dict[int, Box]) -> None:
        """Gives each its share of a blob."""
        parts = list(blob.parts or (blob.box,))
        owners = [[track for track in claimants if _touch(part, expected[track.number]) >= OWN_PART] for part in parts]
        alone: dict[int, Box] = {}
        for track in claimants:
            mine = [part for part, by in zip(parts, owners, strict=True) if track in by]
            if mine and all(by == [track] for by in owners if track in by):
                whole = _around(mine)
                if whole.height >= 0.5 * track.box.height:
                    alone[track.number] = whole
        together = [track for track in claimants if track.number not in alone]
        for track in claimants:
            if track.number in alone:
                track.add(Sighting(at_s, alone[track.number], blob.outline))
        # the nearest to the camera hide the others
        turns = math.ceil(len(together) / LOOKED_FOR)
        for track in sorted(together, key=lambda one: -_foot(expected[one.number])):
            self._place(at_s, track, expected[track.number], look=(track.number + track.pictures) % turns == 0)

    def _place(self, at_s: float, track: Track, expected: Box, *, look: bool) -> None:
        after_s = at_s - track.last.at_s
        if track.drift is None:
            vx, vy, _ = track.velocity()
            track.drift = (vx / self._aspect, vy)
        found = self._eyes.find(track.number, expected) if self._eyes and look else None
        if found is not None:
            was = track.box
            vx, vy = track.drift
            now_x = (found.x + found.width / 2 - was.x - was.width / 2) / after_s
            now_y = (_foot(found) - _foot(was)) / after_s
            track.drift = (vx + STEERS * (now_x - vx), vy + STEERS * (now_y - vy))
        if look:
            track.hidden_s = 0.0 if found else track.hidden_s + after_s
        track.add(Sighting(at_s, _inside(found or expected), shared=True))

    def _drop_doubles(self, at_s: float) -> None:
        """Parts of one thing, once taken for two."""
        shared = [one for one in self._tracks if one.shared_s >= ONE_S and one.last.at_s == at_s]
        for one in shared:
            for other in shared:
                if one.number > other.number and _touch(one.box, other.box) >= ONE_PART and one in self._tracks:
                    self._tracks.remove(one)

    def _pairs(
        self, at_s: float, elapsed_s: float, tracks: Sequence[Track], boxes: Sequence[Box]
    ) -> list[tuple[Track, int]]:
        """The nearest first; each track and each box, by its place in `boxes`, once."""
        costs = [
            (cost, number, index)
            for number, track in enumerate(tracks)
            for index, box in enumerate(boxes)
            if (cost := self._cost(track, box, at_s, elapsed_s)) < 1
        ]
        tracks_taken: set[int] = set()
        boxes_taken: set[int] = set()
        pairs: list[tuple[Track, int]] = []
        for _, number, index in sorted(costs):
            if number not in tracks_taken and index not in boxes_taken:
                tracks_taken.add(number)
                boxes_taken.add(index)
                pairs.append((tracks[number], index))
        return pairs

    def _cost(self, track: Track, box: Box, at_s: float, elapsed_s: float) -> float:
        """0 … 1 where `box` may continue `track`: its distance from the expected place, by what is believable."""
        x, y = track.expected(at_s)
        was = track.box
        away = math.hypot((box.x + box.width / 2 - x) * self._aspect, box.y + box.height / 2 - y)
        reach = 0.35 * math.hypot(was.width * self._aspect, was.height) + min(0.5, 0.3 * max(elapsed_s, 0.1))
        small, large = sorted((was.width * was.height, box.width * box.height))
        if track.seen == 1 and small > 0.5 * large:
            # How fast a new thing is, isn't known yet: a cyclist is three times as far as a walker.
            reach += min(0.3, FAST * elapsed_s)
        # Things don't become another size at once: what does is rather another thing, or rain.
        unlike = 0.1 * math.log(max(large, 1e-9) / max(small, 1e-9))
        return away / reach + unlike


def _known(track: Track) -> bool:
    return (track.moved_s is not None or track.parted) and track.alone >= KNOWN


def _parts_from(box: Box, whole: Box, size: tuple[float, float]) -> bool:
    """Whether somebody new was in the blob of a known thing until now: no bag, and no more than a part of it."""
    return _covered(box, whole) >= 0.6 and box.height >= 0.5 * size[1] and box.width <= 0.8 * whole.width


def _owned(blob: Blob, places: Sequence[Box]) -> tuple[Blob, list[Blob]]:
    """What of it is where somebody should be, and the parts that are nobody's."""
    if len(places) < 2:
        return blob, []
    mine = [part for part in blob.parts if any(_touch(part, place) >= OWN_PART for place in places)]
    others = [Blob(part, blob.outline) for part in blob.parts if part not in mine]
    if not mine or not others:
        return blob, []
    return Blob(_around(mine), blob.outline, tuple(mine) if len(mine) > 1 else ()), others


def _whole(blobs: Sequence[Blob], tracks: dict[int, Track]) -> dict[int, Blob]:
    """By their places in `blobs`, those that are left when what is above or below a known thing, and within its size,
    is taken for a part of it: a jacket as bright as the street parts head and legs."""
    left = dict(enumerate(blobs))
    for index, track in tracks.items():
        if not _known(track) or index not in left:
            continue
        for other, blob in list(left.items()):
            if other in tracks and _known(tracks[other]):
                continue
            around = _around([left[index].box, blob.box])
            if _over(blob.box, left[index].box) >= 0.5 and _fits(around, track.size, 1.1):
                left[index] = Blob(around, left[index].outline)
                del left[other]
    return left


def _foot(box: Box) -> float:
    return box.y + box.height


def _common(a: Box, b: Box) -> float:
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return max(0.0, width) * max(0.0, height)


def _covered(box: Box, by: Box) -> float:
    """The part of `box`."""
    return _common(box, by) / max(box.width * box.height, 1e-9)


def _touch(a: Box, b: Box) -> float:
    """How much of the smaller one the other covers."""
    return _common(a, b) / max(min(a.width * a.height, b.width * b.height), 1e-9)


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right, foot = max(box.x + box.width for box in boxes), max(_foot(box) for box in boxes)
    return Box(left, top, right - left, foot - top)


def _fits(box: Box, size: tuple[float, float], larger: float = LARGER) -> bool:
    """Whether it may be of a thing of that (width, height), with its arms spread."""
    return box.width <= larger * size[0] and box.height <= larger * size[1]


def _over(a: Box, b: Box) -> float:
    """The part of the narrower one's width that they have in common."""
    common = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    return common / max(min(a.width, b.width), 1e-9)


def _near(boxes: Sequence[Box]) -> list[list[Box]]:
    """Together are those that the motion detector would have joined, had there been no others."""
    groups: list[list[Box]] = []
    for box in boxes:
        grown = Box(box.x - NEAR_X, box.y - NEAR_Y, box.width + 2 * NEAR_X, box.height + 2 * NEAR_Y)
        beside = [group for group in groups if _common(grown, _around(group)) > 0]
        groups = [group for group in groups if group not in beside]
        groups.append([box, *(one for group in beside for one in group)])
    return groups


def _inside(box: Box) -> Box:
    """What of it is in the picture."""
    left, top = min(max(box.x, 0.0), 0.99), min(max(box.y, 0.0), 0.99)
    right, foot = min(max(box.x + box.width, left + 0.005), 1.0), min(max(_foot(box), top + 0.005), 1.0)
    return Box(left, top, right - left, foot - top)
