"""Movies as values: sample tables as read, pieces anchored to the wall clock, cut, and joined (`docs/mp4.md`)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple, Protocol

from edge_agent.clock import US
from edge_agent.model import Interval

MAX_PIECE_US = 3600 * US
"""How far a segment's time stamps may lie from its start: what is farther is damage."""
_MIXED_TIMESCALE = 90_000
_MAX_TIMESCALE = 200_000
_COARSE_TIMESCALE = 1_000


class ByteSource(Protocol):
    """A seekable reader; may give fewer bytes than asked, and b"" at its end only."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def read(self, size: int = -1, /) -> bytes | None: ...
    def close(self) -> None: ...


class TrackKind(StrEnum):
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(slots=True)
class Samples:
    """Parallel columns in decode order, about 30 bytes a sample; times in ticks of the track."""

    offset: array[int] = field(default_factory=lambda: array("Q"))
    size: array[int] = field(default_factory=lambda: array("I"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    cts: array[int] = field(default_factory=lambda: array("i"))
    """Presentation minus decode time."""
    duration: array[int] = field(default_factory=lambda: array("I"))
    sync: bytearray = field(default_factory=bytearray)
    """1 where decoding may begin."""
    entry: bytearray = field(default_factory=bytearray)
    """Index of the sample entry, from 0."""

    def __len__(self) -> int:
        return len(self.size)

    def pts(self, index: int) -> int:
        return self.dts[index] + self.cts[index]

    def select(self, indices: Iterable[int]) -> Samples:
        """The samples at `indices`, in that order."""
        rows = list(indices)
        return Samples(
            array("Q", (self.offset[i] for i in rows)),
            array("I", (self.size[i] for i in rows)),
            array("q", (self.dts[i] for i in rows)),
            array("i", (self.cts[i] for i in rows)),
            array("I", (self.duration[i] for i in rows)),
            bytearray(self.sync[i] for i in rows),
            bytearray(self.entry[i] for i in rows),
        )


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a fragmented movie and every sample of it that the file wholly holds."""

    track_id: int
    kind: TrackKind
    timescale: int
    """Ticks in a second."""
    entries: tuple[bytes, ...]
    """Sample entry boxes, verbatim from stsd: the codec's parameters."""
    width: int
    height: int
    shift_ticks: int
    """The edit list's: a sample is presented at pts - shift_ticks."""
    samples: Samples


@dataclass(frozen=True, slots=True)
class Movie:
    tracks: tuple[Track, ...]
    torn: bool
    """The file ends in the middle of something (or before its moov); what came before is whole."""
    damage: str | None = None
    """Why reading ended early, when salvaging: the samples before it are here."""

    def first(self, kind: TrackKind) -> Track | None:
        return next((track for track in self.tracks if track.kind is kind), None)


class Edit(NamedTuple):
    """A stretch of the movie: `media_time` in ticks of the track, -1 for nothing to show."""

    duration: int
    """In ticks of the movie."""
    media_time: int


@dataclass(slots=True)
class OutTrack:
    """One track to write: parallel columns in decode order, times in its own ticks, decoding from 0."""

    kind: TrackKind
    timescale: int
    entries: tuple[bytes, ...]
    width: int
    height: int
    edits: tuple[Edit, ...] = ()
    size: array[int] = field(default_factory=lambda: array("I"))
    duration: array[int] = field(default_factory=lambda: array("I"))
    cts: array[int] = field(default_factory=lambda: array("I"))
    """Presentation minus decode time, never negative."""
    sync: bytearray = field(default_factory=bytearray)
    entry: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Piece:
    """Samples of one track of one segment, with the wall-clock time of one of their ticks."""

    samples: Samples
    entries: tuple[bytes, ...]
    timescale: int
    zero_us: int
    """The UTC at which a sample with `zero_pts` is shown."""
    zero_pts: int

    def at_us(self, pts: int) -> int:
        return self.zero_us + rescale(pts - self.zero_pts, US, self.timescale)

    def wall_us(self, index: int) -> int:
        return self.at_us(self.samples.pts(index))

    def end_us(self, index: int) -> int:
        return self.at_us(self.samples.pts(index) + self.samples.duration[index])

    def tick(self, pts: int, timescale: int, from_us: int) -> int:
        """When `pts` is shown, in ticks of `timescale` since `from_us`; exact within a piece of that time scale."""
        return rescale(self.zero_us - from_us, timescale, US) + rescale(pts - self.zero_pts, timescale, self.timescale)

    @property
    def span(self) -> Interval:
        """From the first sample shown to the end of the last."""
        samples = self.samples
        pts = [samples.pts(index) for index in range(len(samples))]
        last = max(range(len(pts)), key=pts.__getitem__)
        return Interval(self.at_us(min(pts)), self.at_us(pts[last] + samples.duration[last]))

    @property
    def plausible(self) -> bool:
        """Whether all times are near the segment's start, so that they fit the tables of an MP4."""
        samples, reach = self.samples, MAX_PIECE_US * self.timescale // US
        return all(
            abs(samples.dts[index] - self.zero_pts) <= reach
            and abs(samples.pts(index) - self.zero_pts) <= reach
            and samples.duration[index] <= reach
            for index in range(len(samples))
        )

    def keyframe_before(self, at_us: int) -> int:
        """Index of the last sync sample shown at or before `at_us`, else of the first sample."""
        found = 0
        for index, sync in enumerate(self.samples.sync):
            if sync and self.wall_us(index) <= at_us:
                found = index
        return found

    def end_before(self, end_us: int, *, whole: bool) -> int:
        """How many samples, in decode order, a movie that ends at `end_us` needs.

        Samples are decoded before others that are shown earlier.  Such are kept when a kept one may refer to them;
        with `whole` nothing at all is shown from `end_us` on, at the cost of a few that are lost with them.
        """
        kept = 0
        for index in range(len(self.samples)):
            if self.wall_us(index) < end_us:
                kept = index + 1
            elif whole:
                break
        return kept


def decodable(samples: Samples, usable: Callable[[int], bool], *, lost: bool) -> list[int]:
    """Indices of the samples that decode without any that is not `usable`.

    After a loss (`lost`: there is one before the first sample) decoding resumes at a sync sample, without the pictures
    shown before it that follow it: they refer to what was lost.
    """
    kept: list[int] = []
    resumed_pts: int | None = None
    for index, sync in enumerate(samples.sync):
        if sync:
            resumed_pts, lost = (samples.pts(index) if lost else None), False
        leading = resumed_pts is not None and samples.pts(index) < resumed_pts
        if lost or leading:
            continue
        if usable(index):
            kept.append(index)
        else:
            lost = True
    return kept


def common_timescale(pieces: Sequence[Piece]) -> int:
    """One time scale for all (plausible) pieces, in which nothing lasts 2³¹ ticks, the gaps between them included."""
    scales = {piece.timescale for piece in pieces}
    scale = scales.pop() if len(scales) == 1 else _MIXED_TIMESCALE
    steps = (later.zero_us - earlier.zero_us for earlier, later in pairwise(pieces))
    longest = max(steps, default=0) + 2 * MAX_PIECE_US
    for candidate in (scale, _MIXED_TIMESCALE):
        if candidate <= _MAX_TIMESCALE and longest * candidate // US < 1 << 31:
            return candidate
    return _COARSE_TIMESCALE


def join(track: OutTrack, pieces: Iterable[Piece], zero_us: int) -> int:
    """Append the pieces' samples to an empty `track` so that the player's time is the wall clock's.

    Each sample is shown where its own piece says; decode times strictly increase, moved where pieces meet badly.
    Gives the tick, counted from `zero_us`, at which the track's own time begins.
    """
    scale, entries = track.timescale, {entry: index for index, entry in enumerate(track.entries)}
    dts = array("q")
    cts = array("q")
    last_duration = 1
    for piece in pieces:
        samples = piece.samples
        for index in range(len(samples)):
            shown = piece.tick(samples.pts(index), scale, zero_us)
            decoded = shown - rescale(samples.cts[index], scale, piece.timescale)
            if dts and decoded <= dts[-1]:
                decoded = dts[-1] + 1
            dts.append(decoded)
            cts.append(shown - decoded)
        track.size.extend(samples.size)
        track.sync.extend(samples.sync)
        track.entry.extend(entries[piece.entries[entry]] for entry in samples.entry)
        if len(samples):
            last_duration = max(1, rescale(samples.duration[-1], scale, piece.timescale))
    track.duration.extend(later - earlier for earlier, later in pairwise(dts))
    track.duration.append(last_duration)
    lowest = min(cts)
    track.cts.extend(offset - lowest for offset in cts)
    return dts[0] + lowest


def rescale(value: int, to: int, of: int) -> int:
    """`value` in units of 1/`of` as units of 1/`to`, rounded to the nearest."""
    return value if to == of else (2 * value * to + of) // (2 * of)


def read_exactly(source: ByteSource, offset: int, count: int) -> bytes:
    """`count` bytes from `offset`; fewer only at the end of the source."""
    source.seek(offset)
    first = source.read(count) or b""
    if len(first) == count or not first:
        return first
    parts, missing = [first], count - len(first)
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
