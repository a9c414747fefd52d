"""Lays out an ordinary MP4, `moov` before `mdat`, for a writer that never seeks (ISO/IEC 14496-12, `docs/mp4.md`).

Values only: from finished sample tables to the header's bytes and the order in which the samples' bytes follow it.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from edge_agent.buffer.mp4 import Edit, OutTrack, TrackKind
from edge_agent.buffer.mp4_boxes import HEADER_BYTES, LARGE_HEADER_BYTES, U32_MAX, box, full_box, table
from edge_agent.clock import US

EPOCH_1904_S = 2_082_844_800
"""Seconds from 1904-01-01, where MP4 counts from, to 1970-01-01."""
CHUNK_SECONDS = 1.0
_UNITY_MATRIX = struct.pack(">9I", 0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000)
_UNDETERMINED = 0x55C4
_HANDLERS = {
    TrackKind.VIDEO: (b"vide", b"edge-agent video\0", ("vmhd", 1)),
    TrackKind.AUDIO: (b"soun", b"edge-agent audio\0", ("smhd", 0)),
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples of one track that stand together in mdat."""

    track: int
    first: int
    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    header: bytes
    """ftyp, moov and the header of mdat: everything before the samples."""
    chunks: tuple[Chunk, ...]
    """In the order of the file."""
    size_bytes: int
    """Of the whole file."""


def progressive(tracks: Sequence[OutTrack], created_us: int) -> Layout:
    """Plan an MP4 of `tracks`, each with a sample at least; the first one's time scale is the movie's.

    `created_us` is the UTC of the first picture shown: what mvhd, tkhd and mdhd call the creation time.
    """
    chunks = _interleave(tracks)
    payload = sum(chunk.size_bytes for chunk in chunks)
    ftyp = box("ftyp", b"isom", struct.pack(">I", 0x200), b"isom", b"iso2", b"mp41", b"mp42")
    large_mdat = payload + HEADER_BYTES > U32_MAX
    if large_mdat:
        mdat = struct.pack(">I4sQ", 1, b"mdat", payload + LARGE_HEADER_BYTES)
    else:
        mdat = struct.pack(">I4s", payload + HEADER_BYTES, b"mdat")
    offsets = list(accumulate((chunk.size_bytes for chunk in chunks), initial=0))
    created_s = created_us // US + EPOCH_1904_S
    # one size of moov for each width of chunk offsets: the first round only measures
    wide = large_mdat
    moov = _moov(tracks, chunks, offsets, created_s, wide)
    if not wide and len(ftyp) + len(moov) + len(mdat) + payload > U32_MAX:
        wide = True
        moov = _moov(tracks, chunks, offsets, created_s, wide)
    base = len(ftyp) + len(moov) + len(mdat)
    moov = _moov(tracks, chunks, [base + offset for offset in offsets], created_s, wide)
    return Layout(ftyp + moov + mdat, tuple(chunks), base + payload)


def _interleave(tracks: Sequence[OutTrack]) -> list[Chunk]:
    """Cut each track into chunks of about a second and order them by when a player needs them."""
    timed: list[tuple[float, int, Chunk]] = []
    for number, track in enumerate(tracks):
        hidden = sum(edit.media_time for edit in track.edits if edit.media_time >= 0) / track.timescale
        empty = sum(edit.duration for edit in track.edits if edit.media_time < 0) / tracks[0].timescale
        limit = int(CHUNK_SECONDS * track.timescale)
        first, first_dts, size_bytes = 0, 0, 0
        for index, dts in enumerate(accumulate(track.duration, initial=0)):
            last = index == len(track.size)
            if index > first and (last or dts - first_dts >= limit or track.entry[index] != track.entry[first]):
                when = first_dts / track.timescale - hidden + empty
                timed.append((when, number, Chunk(number, first, index - first, size_bytes)))
                first, first_dts, size_bytes = index, dts, 0
            if not last:
                size_bytes += track.size[index]
    timed.sort(key=lambda item: item[:2])
    return [chunk for _, _, chunk in timed]


def _moov(tracks: Sequence[OutTrack], chunks: list[Chunk], offsets: list[int], created_s: int, wide: bool) -> bytes:
    traks: list[bytes] = []
    longest = 0
    for number, track in enumerate(tracks):
        own = [(chunk, at) for chunk, at in zip(chunks, offsets, strict=False) if chunk.track == number]
        shown = sum(edit.duration for edit in track.edits)
        longest = max(longest, shown)
        traks.append(_trak(track, number + 1, shown, own, created_s, wide))
    version, times = _times(created_s, tracks[0].timescale, longest)
    mvhd = full_box(
        "mvhd", version, 0, times, struct.pack(">IH10x", 0x1_0000, 0x100), _UNITY_MATRIX, bytes(24),
        struct.pack(">I", len(tracks) + 1),
    )  # fmt: skip
    return box("moov", mvhd, *traks)


def _trak(
    track: OutTrack, track_id: int, shown: int, chunks: list[tuple[Chunk, int]], created_s: int, wide: bool
) -> bytes:
    handler, name, (media_header, media_flags) = _HANDLERS[track.kind]
    audio = track.kind is TrackKind.AUDIO
    version, times = _times(created_s, track_id, shown, reserved=True)
    tkhd = full_box(
        "tkhd", version, 3, times, bytes(8), struct.pack(">HHH2x", 0, int(audio), 0x100 if audio else 0),
        _UNITY_MATRIX, struct.pack(">II", track.width << 16, track.height << 16),
    )  # fmt: skip
    version, times = _times(created_s, track.timescale, sum(track.duration))
    minf = box(
        "minf",
        full_box(media_header, 0, media_flags, bytes(4 if audio else 8)),
        box("dinf", full_box("dref", 0, 0, struct.pack(">I", 1), full_box("url ", 0, 1))),
        _stbl(track, chunks, wide),
    )
    mdia = box(
        "mdia",
        full_box("mdhd", version, 0, times, struct.pack(">HH", _UNDETERMINED, 0)),
        full_box("hdlr", 0, 0, bytes(4), handler, bytes(12), name),
        minf,
    )
    return box("trak", tkhd, box("edts", _elst(track.edits)), mdia)


def _times(created_s: int, middle: int, duration: int, reserved: bool = False) -> tuple[int, bytes]:
    """Version and the fields that mvhd, mdhd and tkhd begin with: created, modified, time scale or id, duration."""
    version = int(max(created_s, duration) > U32_MAX)
    gap = bytes(4) if reserved else b""
    created = struct.pack(">QQI" if version else ">III", created_s, created_s, middle)
    return version, created + gap + struct.pack(">Q" if version else ">I", duration)


def _elst(edits: Sequence[Edit]) -> bytes:
    version = int(any(edit.duration > U32_MAX or edit.media_time > U32_MAX >> 1 for edit in edits))
    layout = ">QqI" if version else ">IiI"
    rows = (struct.pack(layout, edit.duration, edit.media_time, 0x1_0000) for edit in edits)
    return full_box("elst", version, 0, struct.pack(">I", len(edits)), *rows)


def _stbl(track: OutTrack, chunks: list[tuple[Chunk, int]], wide: bool) -> bytes:
    parts = [
        full_box("stsd", 0, 0, struct.pack(">I", len(track.entries)), *track.entries),
        _counted("stts", _run_lengths(track.duration)),
    ]
    if any(track.cts):
        parts.append(_counted("ctts", _run_lengths(track.cts)))
    if not all(track.sync):
        parts.append(_counted("stss", array("I", (i for i, sync in enumerate(track.sync, 1) if sync)), 1))
    samples_to_chunks = array("I")
    before: tuple[int, int] | None = None
    for number, (chunk, _) in enumerate(chunks, 1):
        row = (chunk.count, track.entry[chunk.first] + 1)
        if row != before:
            samples_to_chunks.extend((number, *row))
        before = row
    parts.append(_counted("stsc", samples_to_chunks, 3))
    parts.append(full_box("stsz", 0, 0, struct.pack(">II", 0, len(track.size)), table(track.size)))
    offsets = array("Q" if wide else "I", (at for _, at in chunks))
    parts.append(_counted("co64" if wide else "stco", offsets, 1))
    return box("stbl", *parts)


def _run_lengths(values: array[int]) -> array[int]:
    runs = array("I")
    for value, run in groupby(values):
        runs.extend((sum(1 for _ in run), value))
    return runs


def _counted(name: str, rows: array[int], columns: int = 2) -> bytes:
    """A table that begins with its number of rows."""
    return full_box(name, 0, 0, struct.pack(">I", len(rows) // columns), table(rows))
