"""What a disk gives back: recordings, the clips cut from them, sealed files, and the names of files."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, cast

from edge_agent.buffer.export import plan_clip, write_clip
from edge_agent.buffer.mp4_read import MAX_SAMPLES, read_fragments
from edge_agent.buffer.segments import SegmentName
from edge_agent.capture import fmp4, nal
from edge_agent.capture.fmp4 import Run, Sample
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, NotFoundError
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust.age import AgeReader, AgeWriter, Identity
from edge_agent.trust.age_header import parse_header, unwrap
from fuzz.camera import PPS, SPS
from fuzz.target import Script, Target, pieces, pure, require

START_US = 1_790_000_000 * US
_SETS = nal.parameter_sets("h264", [SPS, PPS])


# ---- MP4 -------------------------------------------------------------------------------------------------------------


@cache
def _recordings() -> tuple[bytes, ...]:
    """Two seconds of picture, one with sound beside it, and one of reordered pictures."""
    video, sound = fmp4.video_format(_SETS, 90_000, 640, 360), fmp4.aac_format(b"\x14\x10", 16_000, 1)
    made = []
    for tracks, reordered in (((video,), 0), ((video, sound), 0), ((video,), 7200)):
        parts = [fmp4.header(tracks, START_US)]
        for second in range(2):
            base = second * 90_000
            pictures = [
                Sample(b"\0\0\0\3\x65\x88" + bytes([n]), base + n * 18_000, base + n * 18_000 + reordered, n == 0)
                for n in range(5)
            ]
            runs = [Run(1, pictures, base + 90_000)]
            if len(tracks) > 1:
                at = second * 16_000
                heard = [Sample(b"ab", at + 1024 * n, at + 1024 * n, True) for n in range(15)]
                runs.append(Run(2, heard, at + 15 * 1024))
            parts += fmp4.fragment(second + 1, runs, START_US + second * US)
        made.append(b"".join(parts))
    return tuple(made)


_BOXES = tuple(
    struct.pack(">I", 8) + name
    for name in b"ftyp moov mvhd trak tkhd mdia mdhd hdlr minf stbl stsd mvex trex moof mfhd traf tfhd tfdt trun mdat "
    b"elst edts stsz prft free".split()
)  # fmt: skip


def _movie(data: bytes) -> None:
    for salvage in (False, True):
        try:
            movie = read_fragments(io.BytesIO(data), salvage=salvage)
        except ArchiveError as error:
            require("\n" not in str(error), "a reason of two lines")
            continue
        require(sum(len(track.samples) for track in movie.tracks) <= MAX_SAMPLES, "more samples than are read")
        held = 0
        for track in movie.tracks:
            samples = track.samples
            require(track.timescale > 0 and bool(track.entries), "a track that cannot be shown")
            for index in range(len(samples)):
                require(samples.offset[index] + samples.size[index] <= len(data), "a sample beyond the end")
                require(samples.entry[index] < len(track.entries), "a sample of no entry")
                held += samples.size[index]
        require(held <= len(data), "samples that overlap")


MP4 = Target("mp4", pure(_movie), _recordings, _BOXES, max_bytes=6000, seconds=20)


@dataclass(frozen=True, slots=True)
class _Held:
    segment: Segment
    data: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def _clip(data: bytes) -> None:
    script = Script(data)
    first_s, length_s, beside_s = (script.number() / 40 for _ in range(3))
    recording = script.rest()
    held = []
    for number, (content, start_s) in enumerate(((recording, 0.0), (_recordings()[0], beside_s))):
        start_us = START_US + round(start_s * US)
        path = f"gate/2026-09-21/{start_us}_{number:06d}.mp4.age"
        held.append(
            _Held(Segment(CameraId("gate"), path, start_us, start_us + 2 * US, len(content), None, None), content)
        )
    start_us = START_US + round(first_s * US)
    sink = io.BytesIO()
    try:
        report = write_clip(plan_clip(held, Interval(start_us, start_us + max(1, round(length_s * US)))), sink)
    except (ArchiveError, NotFoundError):
        return
    require(report.size_bytes == len(sink.getvalue()), "another size than was told")
    require(len(sink.getvalue()) <= 60 * (len(data) + len(_recordings()[0])) + 10_000, "a clip larger than its footage")


CLIP = Target(
    "clip",
    pure(_clip),
    lambda: [bytes(place) + movie for place in ((0, 80, 80), (20, 60, 40), (0, 160, 120)) for movie in _recordings()],
    _BOXES,
    max_bytes=6000,
    seconds=20,
)


# ---- sealed files ----------------------------------------------------------------------------------------------------

_IDENTITY = Identity(bytes(range(32)))
_STRANGER = Identity(bytes(range(1, 33)))
_CHUNK = 65_536


@cache
def _sealed() -> tuple[tuple[bytes, bytes], ...]:
    """(plain, sealed) of an empty, a small, and a long file."""
    made = []
    for plain in (b"", b"small", bytes(range(251)) * 522 + b"the end"):
        sink = io.BytesIO()
        writer = AgeWriter(sink, [_STRANGER.recipient, _IDENTITY.recipient])
        writer.write(plain)
        writer.finish()
        made.append((plain, sink.getvalue()))
    return tuple(made)


def _header(data: bytes) -> None:
    lines = io.BytesIO(data)
    try:
        header = parse_header(lines)
    except ArchiveError:
        return
    require(data.startswith(header.authenticated) and len(header.mac) == 32, "what was read is not what stands there")
    require(lines.tell() > len(header.authenticated) and bool(header.stanzas), "a header without its end")
    try:
        key = unwrap(header, [_IDENTITY])
    except ArchiveError:
        return
    require(len(key) == 16, "no file key")


HEADER = Target(
    "age-header",
    pure(_header),
    lambda: (
        [sealed[:1000] for _, sealed in _sealed()]
        + [b"age-encryption.org/v1\n-> scrypt AAAA 18\nAAAA\n-> X25519 AA\n\n--- " + b"A" * 43 + b"\n"]
    ),
    (b"-> X25519 ", b"-> scrypt ", b"--- ", b"---", b"age-encryption.org/v1\n", b"\n"),
)


class _Pipe(io.RawIOBase):
    """A source that can't seek and gives little at a time."""

    def __init__(self, data: bytes, choice: int) -> None:
        super().__init__()
        self._pieces = pieces(data, choice * 400)
        self._ahead = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._ahead:
            self._ahead = next(self._pieces, b"")
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        return found


def _age(data: bytes) -> None:
    """A good file, edited: whatever is given of it is what was sealed, from its start on."""
    script = Script(data)
    options = script.number()
    plain, sealed = _sealed()[options % 3]
    file = bytearray(sealed)
    while script:
        kind, at, size = script.number() % 4, script.number(3) % (len(file) + 1), script.number()
        match kind:
            case 0:
                file[at : at + size] = script.take(size)
            case 1:
                del file[at:]
            case 2:
                file[at:at] = bytes(size)
            case _:
                del file[at : at + size * 256]
    for source in (io.BytesIO(bytes(file)), cast(BinaryIO, _Pipe(bytes(file), 1 + options % 5))):
        got = bytearray()
        try:
            reader = AgeReader(source, [_IDENTITY])
            if source.seekable():
                size = reader.payload_size()
                reader.seek(max(0, size - 10))
                require(plain[max(0, size - 10) :].startswith(reader.read(10) or b""), "other bytes than were sealed")
                reader.seek(0)
            while piece := reader.read(_CHUNK):
                got += piece
            require(reader.torn or bytes(got) == plain, "a file that is torn but is not called so")
        except ArchiveError:
            pass
        require(plain.startswith(bytes(got)), "other bytes than were sealed")


AGE = Target(
    "age",
    pure(_age),
    lambda: [
        bytes([number]) + edit
        for number in range(6)
        for edit in (
            b"",
            b"\0\0\0\x10\1x",
            b"\1\0\x40\0\0",
            b"\2\1\0\0\x20",
            b"\3\0\0\xff\1",
            b"\1\1\0\0\0\2\1\0\0\xff",
        )
    ],
    max_bytes=200,
)


# ---- names -----------------------------------------------------------------------------------------------------------


def _name(data: bytes) -> None:
    path = data.decode("utf-8", "surrogateescape")
    name = SegmentName.parse(path)
    if name is not None:
        require(str(name) == path and SegmentName.parse(str(name)) == name, "another name than its own")
        require("/" not in name.camera and ".." not in path and name.start_us >= 0, "a name that leads elsewhere")


def _names() -> Sequence[bytes]:
    names = (SegmentName(CameraId("gate"), START_US, 1), SegmentName(CameraId("a-1_b"), 0, 123_456_789))
    return [*(str(name).encode() for name in names), b"gate/9999-12-31/253402300799999999_000001.mp4.age"]


NAMES = Target("segment-names", pure(_name), _names, (b".mp4.age", b"_000001", b"2026-09-21/", b"../"), max_bytes=200)

TARGETS = (MP4, CLIP, HEADER, AGE, NAMES)
