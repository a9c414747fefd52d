"""Reads the sample tables of a fragmented MP4 without reading its pictures (ISO/IEC 14496-12 §8.8, `docs/mp4.md`).

Only boxes' headers, `moov` and `moof` are read; `mdat` is seeked over.  The input may end anywhere and may be hostile.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from edge_agent.buffer.mp4 import ByteSource, Movie, Samples, Track, TrackKind, read_exactly
from edge_agent.buffer.mp4_boxes import HEADER_BYTES, LARGE_HEADER_BYTES, Box, box_name, fail
from edge_agent.errors import ArchiveError

MAX_HEADER_BYTES = 4 << 20
"""Of one moov or moof, the only boxes held in memory."""
MAX_FILE_BYTES = 1 << 40
MAX_BOXES = 100_000
"""At the top level: an hour of 10 fragments a second and some."""
MAX_SAMPLES = 1_000_000
MAX_TRACKS = 16
MAX_ENTRIES = 16
MAX_TICKS = 1 << 62

_KINDS = {b"vide": TrackKind.VIDEO, b"soun": TrackKind.AUDIO}
_PARENTS = {"mdia": "trak", "edts": "trak", "minf": "mdia", "stbl": "minf"}
_TRAF_ORDER = {"tfhd": 0, "tfdt": 1}
_NON_SYNC = 0x1_0000
_DURATION, _SIZE, _FLAGS, _CTS = 0x100, 0x200, 0x400, 0x800


@dataclass(slots=True)
class _Defaults:
    """What a sample is unless its run says otherwise: from trex, narrowed by tfhd."""

    entry: int = 1
    duration: int = 0
    size: int = 0
    flags: int = 0


@dataclass(slots=True)
class _Track:
    """A track while it is being read."""

    track_id: int = 0
    kind: TrackKind | None = None
    timescale: int = 0
    entries: list[bytes] = field(default_factory=list)
    width: int = 0
    height: int = 0
    empty_edit: int = 0
    """In ticks of the movie."""
    media_time: int = 0
    defaults: _Defaults = field(default_factory=_Defaults)
    samples: Samples = field(default_factory=Samples)
    next_dts: int = 0


def read_fragments(source: ByteSource, *, salvage: bool = False) -> Movie:
    """The tracks and whole samples of a fragmented MP4, wherever it is torn.

    Raises ArchiveError, with box path and byte, for what is no fragmented MP4; with `salvage`, damage after a good moov
    (and the source's own ArchiveError or OSError) ends the reading instead and stands in `Movie.damage`.
    """
    return _Reader(source).read(salvage)


class _Reader:
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._movie_timescale = 0
        self._tracks: dict[int, _Track] | None = None
        self._mdats: list[tuple[int, int]] = []
        self._at = 0
        """Of the top-level box being read."""
        self._size = 0
        """How far the file goes, once that is known."""
        self._count = 0
        self._beyond = False
        """A sample lies beyond the end of the file."""

    def read(self, salvage: bool) -> Movie:
        damage = None
        try:
            torn = self._walk()
        except (ArchiveError, OSError) as error:
            if not (salvage and self._tracks):
                raise (
                    error
                    if isinstance(error, ArchiveError)
                    else ArchiveError(f"MP4 at byte {self._at}: the disk does not give it: {error}")
                ) from error
            torn, damage, self._size = True, str(error), self._at
        tracks = [self._finish(track) for track in (self._tracks or {}).values() if track.kind]
        self._check_amount(tracks)
        return Movie(tuple(tracks), torn or self._beyond, damage)

    def _walk(self) -> bool:
        """Go over the top-level boxes; true when the file is torn."""
        at, present, number = 0, 0, 0
        while True:
            self._at = at
            header = read_exactly(self._source, at, LARGE_HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                return self._end(at, present, len(header)) or self._tracks is None
            size, start = int.from_bytes(header[:4], "big"), HEADER_BYTES
            name = box_name(header[4:8], "(top)", at)
            if at == 0 and name not in ("ftyp", "styp"):
                fail(name, at, "an MP4 begins with ftyp; this is none")
            if (number := number + 1) > MAX_BOXES:
                fail(name, at, f"more than {MAX_BOXES} boxes")
            if size == 1:
                if len(header) < LARGE_HEADER_BYTES:
                    self._size = at
                    return True
                size, start = int.from_bytes(header[8:16], "big"), LARGE_HEADER_BYTES
            elif size == 0:
                size = self._present(at, MAX_FILE_BYTES) - at
            if size < start or at + size > MAX_FILE_BYTES:
                fail(name, at, f"says {size} bytes")
            present = at + start
            if name == "mdat":
                self._mdats.append((present, at + size))
            elif name in ("moov", "moof"):
                if size > MAX_HEADER_BYTES:
                    fail(name, at, f"says {size} bytes, at most {MAX_HEADER_BYTES} are read")
                body = read_exactly(self._source, present, size - start)
                if len(body) < size - start:
                    self._size = present
                    return True
                self._header(Box(name, name, at, memoryview(body), present))
                present = at + size
            at += size

    def _end(self, at: int, present: int, extra: int) -> bool:
        """The file ended at or before the box that should begin at `at`: shorten the last mdat to what is there."""
        self._size = end = at + extra if extra else self._present(present, at)
        self._mdats = [(first, min(last, end)) for first, last in self._mdats]
        return bool(extra) or end < at

    def _present(self, low: int, high: int) -> int:
        """How far the source goes, between `low` (it goes at least there) and `high`, found by halving.

        A sealed file shows its tear only when it is read there, so its size on disk does not tell.
        """
        if high <= low or read_exactly(self._source, high - 1, 1):
            return max(low, high)
        high -= 1
        while low < high:
            middle = (low + high) // 2
            if read_exactly(self._source, middle, 1):
                low = middle + 1
            else:
                high = middle
        return low

    def _header(self, header: Box) -> None:
        if header.name == "moof":
            if self._tracks is None:
                header.fail("a fragment before the moov")
            self._moof(header, self._tracks)
        elif self._tracks is not None:
            header.fail("a second moov")
        else:
            self._tracks = self._moov(header)

    # -- moov ------------------------------------------------------------------------------------------------------

    def _moov(self, moov: Box) -> dict[int, _Track]:
        tracks: dict[int, _Track] = {}
        defaults: dict[int, _Defaults] = {}
        for child in moov.children():
            if child.name == "mvhd":
                version, _ = child.version_and_flags()
                child.take(16 if version else 8)
                self._movie_timescale = child.u32()
            elif child.name == "trak":
                track = _Track()
                self._trak(child, track)
                if track.track_id in tracks or len(tracks) >= MAX_TRACKS:
                    child.fail(f"track {track.track_id} stands twice, or there are more than {MAX_TRACKS}")
                if track.kind and not (track.timescale and track.entries and self._movie_timescale):
                    child.fail("no time scale or no sample entry")
                tracks[track.track_id] = track
            elif child.name == "mvex":
                for trex in child.children():
                    if trex.name == "trex":
                        trex.version_and_flags()
                        defaults[trex.u32()] = _Defaults(trex.u32(), trex.u32(), trex.u32(), trex.u32())
        if not defaults:
            moov.fail("no mvex/trex: not a fragmented MP4")
        for track_id, track in tracks.items():
            track.defaults = defaults.get(track_id, track.defaults)
        return tracks

    def _trak(self, parent: Box, track: _Track) -> None:
        for child in parent.children():
            match child.name:
                case "mdia" | "minf" | "stbl" | "edts" if _PARENTS[child.name] == parent.name:
                    self._trak(child, track)
                case "tkhd":
                    version, _ = child.version_and_flags()
                    child.take(16 if version else 8)
                    track.track_id = child.u32()
                    child.take((12 if version else 8) + 16 + 36)
                    track.width, track.height = child.u32() >> 16, child.u32() >> 16
                case "mdhd":
                    version, _ = child.version_and_flags()
                    child.take(16 if version else 8)
                    track.timescale = child.u32()
                case "hdlr":
                    child.take(8)
                    track.kind = _KINDS.get(bytes(child.take(4)))
                case "elst":
                    _elst(child, track)
                case "stsd":
                    _stsd(child, track)
                case "stsz" | "stz2":
                    child.take(8)
                    if child.u32():
                        child.fail("samples outside of fragments are not read here")

    # -- moof ------------------------------------------------------------------------------------------------------

    def _moof(self, moof: Box, tracks: dict[int, _Track]) -> None:
        data_end = moof.offset
        for traf in moof.children():
            if traf.name == "traf":
                data_end = self._traf(traf, tracks, moof.offset, data_end)

    def _traf(self, traf: Box, tracks: dict[int, _Track], moof_offset: int, data_end: int) -> int:
        """Read one track's runs; the byte after its data, where the next traf's may begin (§8.8.7)."""
        track: _Track | None = None
        defaults, base, run_start = _Defaults(), 0, 0
        # tfdt governs every run of its traf, but only convention puts it before them
        for child in sorted(traf.children(), key=lambda child: _TRAF_ORDER.get(child.name, 2)):
            if child.name == "tfhd":
                if track is not None:
                    child.fail("a second tfhd")
                _, flags = child.version_and_flags()
                track = tracks.get(track_id := child.u32())
                if track is None:
                    child.fail(f"track {track_id} is not in the moov")
                base = child.u64() if flags & 0x1 else moof_offset if flags & 0x2_0000 else data_end
                run_start = base
                outer = track.defaults
                defaults = _Defaults(
                    child.u32() if flags & 0x2 else outer.entry,
                    child.u32() if flags & 0x8 else outer.duration,
                    child.u32() if flags & 0x10 else outer.size,
                    child.u32() if flags & 0x20 else outer.flags,
                )
            elif track is None:
                child.fail("no tfhd before it")
            elif child.name == "tfdt":
                version, _ = child.version_and_flags()
                track.next_dts = child.u64() if version else child.u32()
            elif child.name == "trun":
                run_start = self._trun(child, track, defaults, base, run_start)
        return run_start

    def _trun(self, trun: Box, track: _Track, defaults: _Defaults, base: int, run_start: int) -> int:
        """Append one run's samples; the byte after its data."""
        _, flags = trun.version_and_flags()
        count = trun.u32()
        self._count += count
        if self._count > MAX_SAMPLES:
            trun.fail(f"{self._count} samples, at most {MAX_SAMPLES} are read")
        start = base + trun.i32() if flags & 0x1 else run_start
        first_flags = trun.u32() if flags & 0x4 else None
        present = [bit for bit in (_DURATION, _SIZE, _FLAGS, _CTS) if flags & bit]
        words = trun.words(count * len(present))
        column = {bit: words[place :: len(present)] for place, bit in enumerate(present)}
        durations = column.get(_DURATION) or array("I", [defaults.duration]) * count
        sizes = column.get(_SIZE) or array("I", [defaults.size]) * count
        sample_flags = column.get(_FLAGS) or array("I", [defaults.flags]) * count
        if first_flags is not None and count:
            sample_flags[0] = first_flags
        # version 0 says unsigned, but writers of negative offsets have long used it: no real offset needs bit 31
        offsets = array("i", column[_CTS].tobytes()) if _CTS in column else array("i", [0]) * count
        *data, end = accumulate(sizes, initial=start)
        *times, next_dts = accumulate(durations, initial=track.next_dts)
        if start < 0 or end > MAX_FILE_BYTES or next_dts > MAX_TICKS:
            trun.fail(f"data from byte {start} to {end}, time up to {next_dts} ticks")
        if not 1 <= defaults.entry <= len(track.entries) and track.kind:
            trun.fail(f"sample entry {defaults.entry} of {len(track.entries)}")
        track.next_dts = next_dts
        if track.kind:
            samples = track.samples
            samples.offset.extend(data)
            samples.size.extend(sizes)
            samples.dts.extend(times)
            samples.cts.extend(offsets)
            samples.duration.extend(durations)
            samples.sync.extend(0 if word & _NON_SYNC else 1 for word in sample_flags)
            samples.entry.extend(bytes([defaults.entry - 1]) * count)
        return end

    # -- the end ---------------------------------------------------------------------------------------------------

    def _check_amount(self, tracks: list[Track]) -> None:
        """Samples that share bytes would let a small file make an export of any size."""
        held = sum(last - first for first, last in self._mdats)
        if sum(sum(track.samples.size) for track in tracks) > held:
            fail("(top)", 0, "the samples are larger than the data: they overlap")

    def _finish(self, track: _Track) -> Track:
        """Keep the samples that lie wholly in data that is there."""
        assert track.kind
        starts = [first for first, _ in self._mdats]
        samples = track.samples
        whole: list[int] = []
        for index, (offset, size) in enumerate(zip(samples.offset, samples.size, strict=True)):
            place = bisect_right(starts, offset) - 1
            if place >= 0 and offset + size <= self._mdats[place][1]:
                whole.append(index)
            elif offset + size > self._size:
                self._beyond = True
            else:
                fail("moof/traf/trun", offset, f"sample {index} of track {track.track_id} lies outside of every mdat")
        shift = track.media_time
        if track.empty_edit:
            shift -= track.empty_edit * track.timescale // self._movie_timescale
        return Track(
            track.track_id,
            track.kind,
            track.timescale,
            tuple(track.entries),
            track.width,
            track.height,
            shift,
            samples if len(whole) == len(samples) else samples.select(whole),
        )


def _elst(elst: Box, track: _Track) -> None:
    """Only the edits that say where the media begins: leading empty ones and the first real one."""
    version, _ = elst.version_and_flags()
    for _ in range(elst.u32()):
        duration, media_time = (elst.u64(), elst.i64()) if version else (elst.u32(), elst.i32())
        elst.take(4)
        if media_time >= 0:
            track.media_time = media_time
            break
        track.empty_edit += duration
    if max(track.media_time, track.empty_edit) > MAX_TICKS:
        elst.fail(f"begins at tick {track.media_time} after {track.empty_edit} empty ones")


def _stsd(stsd: Box, track: _Track) -> None:
    stsd.version_and_flags()
    count = stsd.u32()
    for entry in stsd.children():
        start = entry.offset - stsd.body_offset
        track.entries.append(bytes(stsd.body[start : entry.body_offset - stsd.body_offset + len(entry.body)]))
        entry.take(6)
        if (reference := entry.u16()) != 1:
            entry.fail(f"data reference {reference}: its samples are in another file")
    if len(track.entries) != count or count > MAX_ENTRIES:
        stsd.fail(f"says {count} sample entries, holds {len(track.entries)}; at most {MAX_ENTRIES} are read")
