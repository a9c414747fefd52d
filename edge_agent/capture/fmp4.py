"""Fragmented MP4 as it is recorded: a header, then fragments of about a second (ISO/IEC 14496-12 §8.8, -15).

Pure: values in, bytes out.  The first picture of a file is presented at time 0, which is the file's start in UTC; a
picture shown before it was decoded has a negative offset (`trun` version 1), so no edit list is needed.  Every
fragment carries its UTC in a `prft` box (§8.16.5).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from edge_agent.buffer.mp4_boxes import HEADER_BYTES, box, full_box
from edge_agent.capture.jpeg import JpegSize
from edge_agent.capture.nal import ParameterSets, picture, unescaped
from edge_agent.capture.pictures import Sets
from edge_agent.clock import US

_SYNC, _NON_SYNC = 0x0200_0000, 0x0101_0000
_MP4_EPOCH_S = 2_082_844_800
"""Seconds from 1904, where MP4 counts from, to 1970."""
_NTP_EPOCH_S = 2_208_988_800
_ROW = struct.Struct(">IIII").pack
_PRFT = struct.Struct(">I4sIIQQ")
_MOOF = struct.Struct(">I4s I4sII")
"""With its `mfhd`, without its `traf` boxes."""
_TRAF = struct.Struct(">I4s I4sII I4sIQ I4sIIi")
"""With `tfhd`, `tfdt` and `trun`, less the table."""
_TRUN_BYTES = 20
"""Of these, those of the `trun`."""
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@dataclass(frozen=True, slots=True)
class TrackFormat:
    """One track of the file: `entry` is its sample entry box; width and height are 0 for sound."""

    timescale: int
    entry: bytes
    width: int = 0
    height: int = 0

    @property
    def video(self) -> bool:
        return self.width > 0


class Sample(NamedTuple):
    """One frame in the form MP4 keeps it; times in ticks of its track, from the start of the file."""

    data: bytes
    dts: int
    pts: int
    sync: bool


def picture_format(sets: Sets, timescale: int, width: int, height: int) -> TrackFormat:
    """The track of a camera's pictures; the size is used where they do not tell theirs."""
    if isinstance(sets, JpegSize):
        return jpeg_format(timescale, sets.width or width, sets.height or height)
    return video_format(sets, timescale, width, height)


def video_format(sets: ParameterSets, timescale: int, width: int, height: int) -> TrackFormat:
    """`avc1` or `hev1`, which leave parameter sets in the stream as the camera sent them; the size is taken from the
    parameter set, and from the arguments when that can't be read."""
    chroma, luma_bits, chroma_bits = 1, 8, 8
    try:
        seen = picture(sets.codec, sets.sps[0])
        width, height = seen.width, seen.height
        chroma, luma_bits, chroma_bits = seen.chroma_format, seen.luma_bits, seen.chroma_bits
    except ValueError:
        width, height = width or 1, height or 1
    visual = _visual(width, height)
    if sets.codec == "h264":
        return TrackFormat(
            timescale, box("avc1", visual, box("avcC", _avcc(sets, chroma, luma_bits, chroma_bits))), width, height
        )
    return TrackFormat(
        timescale, box("hev1", visual, box("hvcC", _hvcc(sets, chroma, luma_bits, chroma_bits))), width, height
    )


def jpeg_format(timescale: int, width: int, height: int) -> TrackFormat:
    """`mp4v` that names JPEG (objectTypeIndication 0x6C of ISO/IEC 14496-1 §7.2.6.6), as other writers do."""
    decoder = _descriptor(4, struct.pack(">BB3xII", 0x6C, 0x11, 0, 0))
    stream = _descriptor(3, struct.pack(">HB", 1, 0) + decoder + _descriptor(6, b"\x02"))
    return TrackFormat(timescale, box("mp4v", _visual(width, height), full_box("esds", 0, 0, stream)), width, height)


def _visual(width: int, height: int) -> bytes:
    """What all sample entries of pictures begin with (ISO/IEC 14496-12 §12.1.3)."""
    return struct.pack(">6xH16xHHII4xH32xHh", 1, width & 0xFFFF, height & 0xFFFF, 0x480000, 0x480000, 1, 0x18, -1)


def aac_format(config: bytes, sample_rate: int, channels: int) -> TrackFormat:
    """`mp4a` around an AudioSpecificConfig; the timescale is the sample rate."""
    specific = _descriptor(5, config)
    decoder = _descriptor(4, struct.pack(">BB3xII", 0x40, 0x15, 0, 0) + specific)
    stream = _descriptor(3, struct.pack(">HB", 1, 0) + decoder + _descriptor(6, b"\x02"))
    audio = struct.pack(">6xH8xHHHHI", 1, channels, 16, 0, 0, min(sample_rate, 0xFFFF) << 16)
    return TrackFormat(sample_rate, box("mp4a", audio, full_box("esds", 0, 0, stream)))


def _descriptor(tag: int, body: bytes) -> bytes:
    """MPEG-4 descriptor with the four-byte length that every reader knows (ISO/IEC 14496-1 §8.3.3)."""
    size = len(body)
    return bytes((tag, size >> 21 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size & 0x7F)) + body


def _sets(units: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(unit)) + unit for unit in units)


def _avcc(sets: ParameterSets, chroma: int, luma_bits: int, chroma_bits: int) -> bytes:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3)."""
    sps = sets.sps[0].ljust(4, b"\0")
    record = b"".join(
        (
            bytes((1, sps[1], sps[2], sps[3], 0xFF, 0xE0 | min(len(sets.sps), 31))),
            _sets(sets.sps[:31]),
            bytes((min(len(sets.pps), 255),)),
            _sets(sets.pps[:255]),
        )
    )
    if sps[1] in (100, 110, 122, 144, 244):
        record += bytes((0xFC | chroma, 0xF8 | (luma_bits - 8) & 7, 0xF8 | (chroma_bits - 8) & 7, 0))
    return record


def _hvcc(sets: ParameterSets, chroma: int, luma_bits: int, chroma_bits: int) -> bytes:
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 §8.3.3); sets may stand in the stream, too (`hev1`)."""
    sps = unescaped(sets.sps[0][:64]).ljust(16, b"\0")
    layers = (sps[2] >> 1 & 7) + 1
    nested = sps[2] & 1
    arrays = b"".join(
        struct.pack(">BH", nal_type, len(units)) + _sets(units)
        for nal_type, units in ((32, sets.vps), (33, sets.sps), (34, sets.pps))
    )
    return b"".join(
        (
            b"\x01",
            sps[3:15],
            struct.pack(">HBBBBHBB", 0xF000, 0xFC, 0xFC | chroma, 0xF8 | (luma_bits - 8) & 7,
                        0xF8 | (chroma_bits - 8) & 7, 0, (layers & 7) << 3 | nested << 2 | 3, 3),
            arrays,
        )
    )  # fmt: skip


def header(tracks: Sequence[TrackFormat], start_us: int) -> bytes:
    """`ftyp` and `moov` without samples; the creation time is the start, whole seconds being all it can say."""
    created = max(0, start_us // US + _MP4_EPOCH_S)
    movie = struct.pack(">QQIQIH10x", created, created, 1000, 0, 0x10000, 0x100) + _MATRIX + bytes(24)
    return box("ftyp", b"iso6", struct.pack(">I", 0), b"iso6iso5mp41") + box(
        "moov",
        full_box("mvhd", 1, 0, movie, struct.pack(">I", len(tracks) + 1)),
        *(_trak(number, track, created) for number, track in enumerate(tracks, 1)),
        box(
            "mvex",
            *(full_box("trex", 0, 0, struct.pack(">5I", number, 1, 0, 0, 0)) for number in range(1, len(tracks) + 1)),
        ),
    )


def _trak(number: int, track: TrackFormat, created: int) -> bytes:
    volume = 0 if track.video else 0x100
    head = struct.pack(">QQI4xQ8xHHH2x", created, created, number, 0, 0, 0, volume)
    size = struct.pack(">II", track.width << 16, track.height << 16)
    handler, name = (b"vide", b"picture\0") if track.video else (b"soun", b"sound\0")
    media = full_box("vmhd", 0, 1, bytes(8)) if track.video else full_box("smhd", 0, 0, bytes(4))
    tables = (
        full_box("stsd", 0, 0, struct.pack(">I", 1), track.entry),
        full_box("stts", 0, 0, bytes(4)),
        full_box("stsc", 0, 0, bytes(4)),
        full_box("stsz", 0, 0, bytes(8)),
        full_box("stco", 0, 0, bytes(4)),
    )
    return box(
        "trak",
        full_box("tkhd", 1, 3, head, _MATRIX, size),
        box(
            "mdia",
            full_box("mdhd", 1, 0, struct.pack(">QQIQHH", created, created, track.timescale, 0, 0x55C4, 0)),
            full_box("hdlr", 0, 0, bytes(4), handler, bytes(12), name),
            box(
                "minf",
                media,
                box("dinf", full_box("dref", 0, 0, struct.pack(">I", 1), full_box("url ", 0, 1))),
                box("stbl", *tables),
            ),
        ),
    )


@dataclass(frozen=True)
class Run:
    """Samples of one track that follow each other; not empty."""

    track: int
    """Its number in the file, from 1."""
    samples: Sequence[Sample]
    end: int
    """The decode time at which the last of them ends."""

    @cached_property
    def durations(self) -> list[int]:
        times = [sample.dts for sample in self.samples]
        return [max(0, end - begin) for begin, end in zip(times, [*times[1:], self.end], strict=True)]

    @property
    def shown_until(self) -> int:
        """The presentation time at which the last of them ends."""
        return max([sample.pts + duration for sample, duration in zip(self.samples, self.durations, strict=True)])

    def rows(self) -> bytes:
        """The `trun` box's table: duration, size, flags, composition offset of each."""
        return b"".join(
            [
                _ROW(duration, len(data), _SYNC if sync else _NON_SYNC, pts - dts & 0xFFFF_FFFF)
                for (data, dts, pts, sync), duration in zip(self.samples, self.durations, strict=True)
            ]
        )


def fragment(sequence: int, runs: Sequence[Run], reference_us: int) -> list[bytes]:
    """`prft`, `moof` and `mdat`, in pieces, for the samples are the largest part by far and stay where they are;
    `reference_us` is the UTC at which the first sample of the first run is presented."""
    samples = runs[0].samples
    seconds, rest = divmod(reference_us, US)
    ntp = (seconds + _NTP_EPOCH_S) << 32 | (rest << 32) // US
    ntp &= 0xFFFF_FFFF_FFFF_FFFF
    producer = _PRFT.pack(_PRFT.size, b"prft", 1 << 24 | 8, runs[0].track, ntp, samples[0].dts)
    data = [sample.data for run in runs for sample in run.samples]
    head = struct.pack(">I4s", HEADER_BYTES + sum(map(len, data)), b"mdat")
    return [producer + _moof(sequence, runs, [run.rows() for run in runs]) + head, *data]


def _moof(sequence: int, runs: Sequence[Run], rows: Sequence[bytes]) -> bytes:
    """The samples' bytes begin right behind it and the head of their `mdat`."""
    size = _MOOF.size + sum([_TRAF.size + len(table) for table in rows])
    parts = [_MOOF.pack(size, b"moof", 16, b"mfhd", 0, sequence)]
    data_offset = size + HEADER_BYTES
    for run, table in zip(runs, rows, strict=True):
        base = (16, b"tfhd", 0x2_0000, run.track)
        begins = (20, b"tfdt", 1 << 24, run.samples[0].dts)
        follow = (_TRUN_BYTES + len(table), b"trun", 1 << 24 | 0xF01, len(run.samples), data_offset)
        parts += (_TRAF.pack(_TRAF.size + len(table), b"traf", *base, *begins, *follow), table)
        data_offset += sum([len(sample.data) for sample in run.samples])
    return b"".join(parts)
