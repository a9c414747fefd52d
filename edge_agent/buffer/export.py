"""One ordinary MP4 from the segments of an interval, without a temporary file and with little memory (`docs/mp4.md`).

`plan_clip` reads the segments' tables and proves that the pictures are there; `write_clip` then writes the file from
its first byte to its last, reading the pictures again.  Neither decodes nor changes a picture.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import NoReturn, Protocol, Self

from edge_agent.buffer.mp4 import (
    MAX_PIECE_US,
    ByteSource,
    Edit,
    OutTrack,
    Piece,
    Samples,
    Track,
    TrackKind,
    common_timescale,
    decodable,
    join,
    read_exactly,
    rescale,
)
from edge_agent.buffer.mp4_read import read_fragments
from edge_agent.buffer.mp4_write import Layout, progressive
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.model import Interval, Segment, uncovered

GAP_TOLERANCE_US = 500_000
"""Missing time that is not called a gap: a camera's own jitter."""
MAX_OPEN_FILES = 64
"""Segments kept open between plan and writing, safe from retention; further ones are opened again."""
MAX_INTERVAL_US = 20 * 86_400 * US
MAX_ENTRIES = 255
"""Different parameter sets in one clip."""
MAX_WORDS = 3
READ_BYTES = 1 << 20


class SegmentSource(Protocol):
    """A segment of the archive that can be read."""

    @property
    def segment(self) -> Segment: ...

    def open(self) -> ByteSource:
        """A new reader of the segment's plain fragmented MP4; closing it frees all that it holds."""
        ...


class ByteSink(Protocol):
    """Takes all the bytes it is given, in order."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class ClipGap:
    """Time of the interval that the clip does not show, and what is known about it."""

    interval: Interval
    evidence: str


@dataclass(frozen=True, slots=True)
class ClipReport:
    """What a clip holds."""

    covered: Interval
    """From the first picture shown (the one on view when the interval begins) to the clip's end."""
    footage_s: float
    gaps: tuple[ClipGap, ...]
    """Inside the interval asked for, its edges included."""
    notes: tuple[str, ...]
    """What else was left out, and why: overlaps, audio."""
    video_samples: int
    """In the file, hidden ones before the first picture shown included."""
    audio_samples: int
    size_bytes: int
    sha256: str
    """Hex digest of the plain MP4."""


@dataclass(slots=True)
class _Footage:
    """One segment's part in the clip; owns its open file."""

    source: SegmentSource
    reader: ByteSource | None
    track: Track
    video: Piece
    sound: Piece | None
    damage: list[ClipGap] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.source.segment.path

    def blocks(self, offset: int, count: int) -> Iterator[bytes]:
        """`count` bytes of the plain segment, in blocks; what goes wrong is an ArchiveError that names the segment."""
        try:
            if self.reader is None:
                self.reader = self.source.open()
            for at in range(offset, offset + count, READ_BYTES):
                wanted = min(READ_BYTES, offset + count - at)
                data = read_exactly(self.reader, at, wanted)
                if len(data) < wanted:
                    raise ArchiveError(f"it ends at byte {at + len(data)}, earlier than when the clip was planned")
                yield data
        except (FileNotFoundError, NotFoundError) as error:
            raise ArchiveError(f"segment {self.name} was deleted before its turn came; export again") from error
        except (ArchiveError, OSError) as error:
            raise ArchiveError(f"segment {self.name} cannot be read: {error}") from error

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None


@dataclass(slots=True)
class _Spool:
    """One track of the clip, and where its samples' bytes are: piece n holds the samples from `starts[n]` on."""

    track: OutTrack
    pieces: list[Piece]
    starts: list[int]


@dataclass(slots=True)
class ClipPlan:
    """A clip that is ready to be written, once; holds segments open until it is written or closed."""

    covered: Interval
    footage_s: float
    gaps: tuple[ClipGap, ...]
    notes: tuple[str, ...]
    layout: Layout
    _spools: list[_Spool]
    _footage: list[_Footage]

    @property
    def size_bytes(self) -> int:
        return self.layout.size_bytes

    def close(self) -> None:
        for footage in self._footage:
            footage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plan_clip(
    segments: Sequence[SegmentSource], interval: Interval, *, verify: bool = True, max_open: int = MAX_OPEN_FILES
) -> ClipPlan:
    """Decide what a clip of one camera's `segments` shows of `interval`, and lay it out.

    `verify` reads every sample once, so that damage inside the pictures becomes a gap here rather than an ArchiveError
    half-way through `write_clip`.  Raises NotFoundError when nothing was recorded then, ArchiveError when nothing of
    what was recorded can be read, UsageError for an interval of more than 20 days or segments of several cameras.
    """
    if len({source.segment.camera for source in segments}) > 1:
        raise UsageError("a clip shows one camera, these segments are of several; export each camera by itself")
    if interval.end_us - interval.start_us > MAX_INTERVAL_US:
        raise UsageError(f"{interval.seconds / 86_400:.1f} days are more than a clip holds; ask for 20 at most")
    footage: list[_Footage] = []
    try:
        return _plan(segments, interval, verify, max_open, footage)
    except BaseException:
        for item in footage:
            item.close()
        raise


def write_clip(plan: ClipPlan, sink: ByteSink, progress: Callable[[float], None] | None = None) -> ClipReport:
    """Write the planned MP4 to `sink`, front to back; `progress` is told the part written, 0 … 1, after each
    block.  Closes the plan.  Raises ArchiveError when a segment went away or changed since; then what `sink` got
    is not a clip.  Errors of `sink` pass as they are.
    """
    written = 0
    with plan, _Digest() as digest:
        for data in _bytes(plan):
            digest.update(data)
            sink.write(data)
            written += len(data)
            if progress is not None:
                progress(written / plan.size_bytes)
        sha256 = digest.hexdigest()
    counts = {spool.track.kind: len(spool.track.size) for spool in plan._spools}
    return ClipReport(
        plan.covered,
        plan.footage_s,
        plan.gaps,
        plan.notes,
        counts[TrackKind.VIDEO],
        counts.get(TrackKind.AUDIO, 0),
        written,
        sha256,
    )


class _Digest:
    """SHA-256 on a thread of its own, a little behind: beside unsealing and sealing it costs most."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._last: Future[None] | None = None

    def update(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= READ_BYTES:
            self._hand_over()

    def hexdigest(self) -> str:
        self._hand_over()
        self._settle()
        return self._sha256.hexdigest()

    def _hand_over(self) -> None:
        self._settle()
        self._last = self._thread.submit(self._take, self._pending)
        self._pending, self._pending_bytes = [], 0

    def _take(self, blocks: list[bytes]) -> None:
        for data in blocks:
            self._sha256.update(data)

    def _settle(self) -> None:
        if self._last is not None:
            self._last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()


# -- planning ----------------------------------------------------------------------------------------------------------


def _plan(
    segments: Sequence[SegmentSource], interval: Interval, verify: bool, max_open: int, footage: list[_Footage]
) -> ClipPlan:
    damage: list[ClipGap] = []
    for source in sorted(segments, key=lambda source: source.segment.start_us):
        if interval.overlaps(source.segment.interval):
            try:
                footage.append(_load(source))
            except (ArchiveError, NotFoundError, OSError) as error:
                damage.append(ClipGap(source.segment.interval, f"segment {source.segment.path}: {error}"))
            if len(footage) > max_open:
                footage[-1].close()
    loaded = tuple(footage)
    notes = _without_overlaps(footage)
    _cut(footage, interval)
    if verify:
        for item in footage:
            _verify(item)
        _cut(footage, interval)
    damage += [gap for item in loaded for gap in item.damage]
    if not footage:
        _nothing(segments, interval, damage)
    first = footage[0].video
    pts = (first.samples.pts(index) for index in range(len(first.samples)))
    shown = max((tick for tick in pts if first.at_us(tick) <= interval.start_us), default=first.samples.pts(0))
    covered = Interval(first.at_us(shown), min(interval.end_us, footage[-1].video.span.end_us))
    spools = _spools(footage, covered, shown, notes)
    parts = [part for item in footage for part in uncovered(item.video.span, [gap.interval for gap in item.damage])]
    holes = uncovered(interval, parts, GAP_TOLERANCE_US)
    return ClipPlan(
        covered,
        covered.seconds - sum(hole.seconds for hole in uncovered(covered, parts)),
        tuple(ClipGap(hole, _evidence(hole, damage)) for hole in holes),
        tuple(notes),
        progressive([spool.track for spool in spools], covered.start_us),
        spools,
        footage,
    )


def _load(source: SegmentSource) -> _Footage:
    """Read a segment's tables; the first sample of its video is shown at the segment's start."""
    reader = source.open()
    try:
        movie = read_fragments(reader, salvage=True)
        track = movie.first(TrackKind.VIDEO)
        if track is None or not len(track.samples):
            raise ArchiveError(movie.damage or "it holds no whole picture")
        start_us, zero_pts = source.segment.start_us, track.samples.pts(0)
        video = Piece(track.samples, track.entries, track.timescale, start_us, zero_pts)
        if not video.plausible:
            raise ArchiveError(f"its pictures' times lie more than {MAX_PIECE_US // US // 60} minutes from its start")
    except BaseException:
        reader.close()
        raise
    sound, heard = None, movie.first(TrackKind.AUDIO)
    if heard is not None:
        beside = rescale(zero_pts - track.shift_ticks, heard.timescale, track.timescale) + heard.shift_ticks
        sound = Piece(heard.samples, heard.entries, heard.timescale, start_us, beside)
        if len(sound.entries) > 1 or not sound.plausible:
            sound = None
    footage = _Footage(source, reader, track, video, sound)
    if movie.torn:
        end_us = video.span.end_us
        lost = Interval(end_us, max(end_us, source.segment.end_us))
        footage.damage.append(ClipGap(lost, f"segment {footage.name}: {movie.damage or 'it is torn'}"))
    return footage


def _without_overlaps(footage: list[_Footage]) -> list[str]:
    """Leave each moment to one segment, the later one where two meet; say what was left out."""
    notes: list[str] = []
    kept: list[_Footage] = []
    for item in sorted(footage, key=lambda item: (item.video.span.start_us, -item.video.span.end_us)):
        start_us = item.video.span.start_us
        if kept and item.video.span.end_us <= kept[-1].video.span.end_us:
            notes.append(f"segment {item.name} lies inside {kept[-1].name} in time and was left out")
            item.close()
            continue
        if kept and start_us < kept[-1].video.span.end_us:
            earlier = kept[-1]
            dropped = _keep_until(earlier.video, start_us)
            if earlier.sound is not None:
                _keep_until(earlier.sound, start_us)
            if dropped:
                notes.append(f"the last {dropped} pictures of {earlier.name} overlap {item.name} and were left out")
            if not len(earlier.video.samples):
                earlier.close()
                kept.pop()
        kept.append(item)
    footage[:] = kept
    return notes


def _keep_until(piece: Piece, end_us: int) -> int:
    before = len(piece.samples)
    count = piece.end_before(end_us, whole=True)
    if count < before:
        piece.samples = piece.samples.select(range(count))
    return before - count


def _cut(footage: list[_Footage], interval: Interval) -> None:
    """Keep what the interval needs: from the keyframe that its first picture needs to its end."""
    kept: list[_Footage] = []
    for item in footage:
        video, start_us = item.video, interval.start_us
        for gap in item.damage:
            if gap.interval.start_us <= start_us < gap.interval.end_us:
                start_us = gap.interval.end_us
        if not len(video.samples) or not Interval(start_us, max(start_us, interval.end_us)).overlaps(video.span):
            item.close()
            continue
        samples = video.samples.select(
            range(video.keyframe_before(start_us), video.end_before(interval.end_us, whole=False))
        )
        lost = not kept or video.span.start_us - kept[-1].video.span.end_us > GAP_TOLERANCE_US
        video.samples = samples.select(decodable(samples, lambda _: True, lost=lost))
        if sound := item.sound:
            wanted = Interval(start_us, interval.end_us)
            sound.samples = sound.samples.select(
                index
                for index in range(len(sound.samples))
                if Interval(sound.wall_us(index), sound.end_us(index)).overlaps(wanted)
            )
        if len(video.samples):
            kept.append(item)
        else:
            item.close()
    footage[:] = kept


def _verify(item: _Footage) -> None:
    """Read every sample; drop what can't be read, and the pictures that need it."""
    video = item.video
    span, problem = video.span, ""

    def readable(samples: Samples, index: int) -> bool:
        nonlocal problem
        try:
            for _ in item.blocks(samples.offset[index], samples.size[index]):
                pass
        except ArchiveError as error:
            problem = problem or str(error)
            return False
        return True

    was_open, samples = item.reader is not None, video.samples
    if not _all_readable(item, samples):
        kept = decodable(samples, lambda index: readable(samples, index), lost=False)
        video.samples = samples.select(kept)
        for first, after in _holes(kept, len(samples)):
            start_us = min(video.at_us(samples.pts(index)) for index in range(first, after))
            end_us = video.at_us(samples.pts(after)) if after < len(samples) else span.end_us
            item.damage.append(ClipGap(Interval(start_us, max(start_us, end_us)), problem))
    if sound := item.sound:
        heard = sound.samples
        sound.samples = heard.select(index for index in range(len(heard)) if readable(heard, index))
    if not was_open:
        item.close()


def _all_readable(item: _Footage, samples: Samples) -> bool:
    """Read all samples in as few, long reads as they allow."""
    try:
        for offset, size in _runs(samples, 0, len(samples)):
            for _ in item.blocks(offset, size):
                pass
    except ArchiveError:
        return False
    return True


def _runs(samples: Samples, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Offset and size of the samples from `at` to `end`, those that lie side by side in one."""
    while at < end:
        offset, size = samples.offset[at], 0
        while at < end and samples.offset[at] == offset + size:
            size += samples.size[at]
            at += 1
        yield offset, size


def _holes(kept: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    """Runs [first, after) of 0 … count that `kept`, in order, leaves out."""
    expected = 0
    for index in (*kept, count):
        if index > expected:
            yield expected, index
        expected = index + 1


# -- the tracks --------------------------------------------------------------------------------------------------------


def _spools(footage: list[_Footage], covered: Interval, shown: int, notes: list[str]) -> list[_Spool]:
    """Video, and audio where every segment has the same; `shown` is the pts of the first picture on view."""
    first = footage[0]
    videos = [item.video for item in footage]
    scale = common_timescale(videos)
    entries = dict.fromkeys(piece.entries[entry] for piece in videos for entry in sorted(set(piece.samples.entry)))
    if len(entries) > MAX_ENTRIES:
        raise UsageError(f"the camera changed its parameters {len(entries)} times; ask for a shorter interval")
    track = OutTrack(TrackKind.VIDEO, scale, tuple(entries), first.track.width, first.track.height)
    origin = join(track, videos, covered.start_us)
    begin = first.video.tick(shown, scale, covered.start_us)
    last = videos[-1]
    hidden = (index for index in range(len(last.samples)) if last.wall_us(index) >= covered.end_us)
    end = min(
        (last.tick(last.samples.pts(index), scale, covered.start_us) for index in hidden),
        default=rescale(covered.end_us - covered.start_us, scale, US),
    )
    track.edits = (Edit(max(1, end - begin), begin - origin),)
    spools = [_Spool(track, videos, _starts(videos))]
    sounds = [item.sound for item in footage if item.sound is not None]
    if not any(len(piece.samples) for piece in sounds):
        return spools
    if len(sounds) < len(footage) or len({(piece.timescale, piece.entries) for piece in sounds}) > 1:
        notes.append("audio was left out: not every segment has it with the same parameters")
        return spools
    heard = OutTrack(TrackKind.AUDIO, common_timescale(sounds), sounds[0].entries, 0, 0)
    origin = join(heard, sounds, covered.start_us)
    late = max(0, rescale(origin, scale, heard.timescale))
    held = rescale(sum(heard.duration) + min(0, origin), scale, heard.timescale)
    edit = Edit(max(1, min(track.edits[0].duration - late, held)), max(0, -origin))
    heard.edits = (Edit(late, -1), edit) if late else (edit,)
    return [*spools, _Spool(heard, sounds, _starts(sounds))]


def _starts(pieces: Sequence[Piece]) -> list[int]:
    return list(accumulate((len(piece.samples) for piece in pieces), initial=0))


# -- writing -----------------------------------------------------------------------------------------------------------


def _bytes(plan: ClipPlan) -> Iterator[bytes]:
    """The file in order.  Chunks go by time, so a segment is done with when the next but one begins."""
    yield plan.layout.header
    done = 0
    for chunk in plan.layout.chunks:
        spool = plan._spools[chunk.track]
        at, end = chunk.first, chunk.first + chunk.count
        while at < end:
            number = bisect_right(spool.starts, at) - 1
            samples, start = spool.pieces[number].samples, spool.starts[number]
            stop = min(end, spool.starts[number + 1])
            for offset, size in _runs(samples, at - start, stop - start):
                yield from plan._footage[number].blocks(offset, size)
            at = stop
            while done < number - 1:
                plan._footage[done].close()
                done += 1


# -- words -------------------------------------------------------------------------------------------------------------


def _evidence(hole: Interval, damage: Sequence[ClipGap]) -> str:
    return _listed(gap.evidence for gap in damage if gap.interval.overlaps(hole)) or "the archive holds no recording"


def _listed(evidence: Iterable[str]) -> str:
    """The first few; a failing disk has the same to say of a thousand segments."""
    different = list(dict.fromkeys(evidence))
    more = [f"and {len(different) - MAX_WORDS} more like these"] if len(different) > MAX_WORDS else []
    return "; ".join(different[:MAX_WORDS] + more)


def _nothing(segments: Sequence[SegmentSource], interval: Interval, damage: Sequence[ClipGap]) -> NoReturn:
    asked = f"{_utc(interval.start_us)} to {_utc(interval.end_us)}"
    if interval.start_us < interval.end_us and damage:
        raise ArchiveError(f"nothing from {asked} can be read: {_listed(gap.evidence for gap in damage)}")
    before = max((s.segment.end_us for s in segments if s.segment.end_us <= interval.start_us), default=None)
    after = min((s.segment.start_us for s in segments if s.segment.start_us >= interval.end_us), default=None)
    nearest = [f"the last before it ends at {_utc(before)}"] if before is not None else []
    nearest += [f"the next after it begins at {_utc(after)}"] if after is not None else []
    words = "; ".join(nearest) or "there is none near it either"
    raise NotFoundError(f"no footage from {asked}: {words}")


def _utc(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // US, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
