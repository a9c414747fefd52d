"""The writer's tables, byte for byte where a player would not notice a mistake until a file is large."""

from __future__ import annotations

import io
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.mp4 import Edit, OutTrack, Piece, Samples, TrackKind, decodable, join, rescale
from edge_agent.buffer.mp4_boxes import Box, box
from edge_agent.buffer.mp4_write import Layout, progressive
from edge_agent.clock import US

ENTRY = box("avc1", bytes(78))


def track(sizes: list[int], entry: bytes = b"", kind: TrackKind = TrackKind.VIDEO, timescale: int = 25) -> OutTrack:
    count = len(sizes)
    return OutTrack(
        kind, timescale, (ENTRY, ENTRY), 64, 48, (Edit(count, 0),), array("I", sizes), array("I", [1]) * count,
        array("I", [0]) * count, bytearray([1]) * count, bytearray(entry or bytes(count)),
    )  # fmt: skip


def find(layout: Layout, *path: str) -> list[Box]:
    found = [Box("", "", 0, memoryview(layout.header[: layout.header.rindex(b"mdat") - 4]), 0)]
    for name in path:
        found = [child for parent in found for child in parent.children() if child.name == name]
    return found


def stbl(layout: Layout, name: str) -> list[Box]:
    return find(layout, "moov", "trak", "mdia", "minf", "stbl", name)


def test_a_small_file_has_32_bit_offsets_that_point_behind_the_header() -> None:
    layout = progressive([track([10] * 60)], 0)
    (stco,) = stbl(layout, "stco")
    stco.take(4)
    head = len(layout.header)
    assert list(stco.words(stco.u32())) == [head, head + 250, head + 500]
    assert layout.header.endswith(struct.pack(">I4s", 608, b"mdat"))
    assert layout.size_bytes == head + 600


@pytest.mark.parametrize(
    ("sizes", "wide_mdat"), [([1 << 31, (1 << 31) - 128] + [1] * 60, False), ([1 << 31] * 3, True)]
)
def test_a_file_beyond_4_gib_has_64_bit_offsets(sizes: list[int], wide_mdat: bool) -> None:
    layout = progressive([track(sizes)], 0)
    (co64,) = stbl(layout, "co64")
    co64.take(8)
    assert co64.u64() == len(layout.header)
    assert layout.size_bytes == len(layout.header) + sum(sizes)
    if wide_mdat:
        assert layout.header.endswith(struct.pack(">I4sQ", 1, b"mdat", sum(sizes) + 16))
    else:
        assert layout.header.endswith(struct.pack(">I4s", sum(sizes) + 8, b"mdat"))


def test_a_chunk_holds_one_sample_entry() -> None:
    layout = progressive([track([7] * 40, entry=bytes(10) + b"\1" * 30)], 0)
    assert [(chunk.first, chunk.count) for chunk in layout.chunks] == [(0, 10), (10, 25), (35, 5)]
    (stsc,) = stbl(layout, "stsc")
    stsc.take(4)
    assert list(stsc.words(3 * stsc.u32())) == [1, 10, 1, 2, 25, 2, 3, 5, 2]


def test_chunks_of_picture_and_sound_alternate() -> None:
    layout = progressive([track([9] * 75), track([2] * 150, kind=TrackKind.AUDIO, timescale=50)], 0)
    assert [chunk.track for chunk in layout.chunks] == [0, 1] * 3


@pytest.mark.parametrize(("created_s", "version"), [(1_795_000_000, 0), (2_300_000_000, 1)])
def test_the_creation_time_counts_from_1904_also_after_2040(created_s: int, version: int) -> None:
    (mvhd,) = find(progressive([track([1])], created_s * US), "moov", "mvhd")
    assert mvhd.version_and_flags() == (version, 0)
    assert (mvhd.u64() if version else mvhd.u32()) == created_s + 2_082_844_800


# -- the timeline ------------------------------------------------------------------------------------------------------


def samples(times: list[tuple[int, int]], sync: list[int] | None = None) -> Samples:
    """From (dts, cts) of each."""
    count = len(times)
    return Samples(
        array("Q", range(count)), array("I", [1]) * count, array("q", [d for d, _ in times]),
        array("i", [c for _, c in times]), array("I", [1]) * count, bytearray(sync or [1] * count), bytearray(count),
    )  # fmt: skip


time_tables = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-500, 500)), min_size=1, max_size=20)


@given(st.lists(st.tuples(time_tables, st.integers(0, 100 * US), st.sampled_from([25, 1000, 90_000])), min_size=1))
def test_decode_times_increase_and_shown_times_stay_whatever_the_segments_say(
    made: list[tuple[list[tuple[int, int]], int, int]],
) -> None:
    pieces = [Piece(samples(times), (ENTRY,), scale, zero_us, 0) for times, zero_us, scale in made]
    out = OutTrack(TrackKind.VIDEO, 90_000, (ENTRY,), 1, 1)
    origin = join(out, pieces, 0)
    assert all(duration > 0 for duration in out.duration)
    assert min(out.cts) == 0
    decoded, shown = 0, []
    for duration, offset in zip(out.duration, out.cts, strict=True):
        shown.append(origin + decoded + offset)
        decoded += duration
    assert shown == [piece.tick(piece.samples.pts(i), 90_000, 0) for piece in pieces for i in range(len(piece.samples))]


def test_decoding_resumes_at_a_keyframe_without_the_pictures_before_it() -> None:
    """Shown: 0 1 2 | 3 4 (leading) 5 6; the second sample is lost."""
    table = samples([(0, 0), (1, 0), (2, 0), (3, 2), (4, -1), (5, -1), (6, 0)], sync=[1, 0, 0, 1, 0, 0, 0])
    assert decodable(table, lambda index: index != 1, lost=False) == [0, 3, 6]
    assert decodable(table, lambda _: True, lost=False) == list(range(7))


@given(st.integers(-(1 << 62), 1 << 62), st.integers(1, 1 << 32), st.integers(1, 1 << 32))
def test_rescaling_rounds_to_the_nearest(value: int, to: int, of: int) -> None:
    assert abs(rescale(value, to, of) * of - value * to) * 2 <= of


def test_a_header_can_be_walked_to_its_end() -> None:
    layout = progressive([track([10] * 60), track([2] * 150, kind=TrackKind.AUDIO, timescale=50)], 0)
    assert [child.name for child in find(layout, "moov")[0].children()] == ["mvhd", "trak", "trak"]
    assert io.BytesIO(layout.header).read(8) == b"\0\0\0\x20ftyp"
