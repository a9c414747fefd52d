"""The watcher's decoder: what it gives, and what cannot kill it."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.capture.deblocking import LONG_GROUP
from edge_agent.capture.decoder import Decoder, Picture, Sampler, fresh
from edge_agent.capture.job import CameraJob
from edge_agent.capture.pyav_source import PyAvSource
from edge_agent.capture.source import VIDEO, Packet, VideoTrack
from edge_agent.capture.watch_job import WATCHER_JOB, WatcherJob
from edge_agent.clock import SystemClock
from edge_agent.errors import ConfigError
from edge_agent.model import CameraId
from tests.capture.watching import watched
from tests.peers.cameras import Codec, make_clip


class Hurried(SystemClock):
    """Its waits take no time: a clip is read as fast as it can be."""

    def wait(self, event: object, seconds: float) -> bool:  # noqa: ARG002
        return False


def stream(clip: Path, count: int) -> tuple[VideoTrack, list[Packet]]:
    source = PyAvSource(CameraJob(CameraId("x"), clip.as_uri()), Hurried())
    try:
        info = source.open()
        return info.video, [packet for packet, _ in zip(source.packets(), range(count), strict=False)]
    finally:
        source.close()


def decoded(decoder: Decoder, packets: list[Packet]) -> list[Picture]:
    return [picture for packet in packets for picture in decoder.decode(packet)]


@pytest.fixture(scope="module")
def h264(clips: Path) -> tuple[VideoTrack, list[Packet]]:
    return stream(make_clip(clips / "decode-h264.mp4", seconds=2, size=(320, 180)), 30)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_every_picture_comes_out_with_the_luma_that_libav_shows_but_for_deblocking(clips: Path, codec: Codec) -> None:
    clip = make_clip(clips / f"decode-{codec}.mp4", codec, seconds=2, size=(320, 180))
    track, packets = stream(clip, 30)
    pictures = decoded(Decoder(track.codec, track.extradata), packets)
    assert len(pictures) >= 28
    with av.open(str(clip)) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="yuv420p")[:180]
    assert np.abs(pictures[0].luma().astype(int) - shown).mean() < 1
    assert pictures[0].bgr().shape == (180, 320, 3)


def test_after_a_long_group_of_pictures_nothing_is_left_out_of_decoding(clips: Path) -> None:
    long = make_clip(clips / "decode-long.mp4", seconds=2, size=(320, 180))
    track, packets = stream(long, 50)
    first = [packet for packet in packets if packet.track == VIDEO]
    first = first[: next((n for n, packet in enumerate(first) if n and packet.keyframe), len(first))]
    group = [first[0], *(first[1:] * (LONG_GROUP // max(1, len(first) - 1) + 1))]
    decoder = Decoder(track.codec, track.extradata)
    decoded(decoder, group)
    again = decoded(decoder, first)
    with av.open(str(long)) as container:
        frames = itertools.islice(container.decode(video=0), len(first))
        shown = [frame.to_ndarray(format="yuv420p")[:180] for frame in frames]
    assert len(again) == len(first)
    assert all(np.array_equal(picture.luma(), luma) for picture, luma in zip(again, shown, strict=True))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_wanted_shows_the_same_whatever_else_is_wanted(
    h264: tuple[VideoTrack, list[Packet]], data: st.DataObject
) -> None:
    track, packets = h264
    plain, decoder = Decoder(track.codec, track.extradata), Decoder(track.codec, track.extradata)
    for packet in packets:
        [whole] = plain.decode(packet)
        wanted = data.draw(st.booleans())
        pictures = decoder.decode(packet, wanted=wanted)
        assert len(pictures) == int(wanted or packet.keyframe)
        assert all(np.array_equal(picture.luma(), whole.luma()) for picture in pictures)


def test_what_nothing_wanted_builds_on_is_never_decoded(h264: tuple[VideoTrack, list[Packet]]) -> None:
    track, packets = h264
    second = next(number for number, packet in enumerate(packets) if number and packet.keyframe)
    decoder = Decoder(track.codec, track.extradata)
    decoder.decode(packets[0])
    for packet in packets[1:second]:
        decoder.decode(_with(packet, b"\0\0\0\1garbage"), wanted=False)
    assert len(decoder.decode(packets[second])) == 1
    assert len(decoder.decode(packets[second + 1])) == 1
    assert decoder.errors == 0


def test_of_a_main_stream_only_keyframes_are_decoded_each_at_once(h264: tuple[VideoTrack, list[Packet]]) -> None:
    track, packets = h264
    decoder = Decoder(track.codec, track.extradata, keyframes_only=True)
    assert [len(decoder.decode(packet)) for packet in packets] == [int(packet.keyframe) for packet in packets]


def test_large_pictures_are_made_small_for_people(clips: Path) -> None:
    track, packets = stream(make_clip(clips / "decode-large.mp4", seconds=0.2, size=(1280, 720)), 1)
    [picture] = decoded(Decoder(track.codec, track.extradata, keyframes_only=True), packets)
    assert picture.luma().shape == (720, 1280)
    assert picture.bgr().shape == (360, 640, 3)


def test_pictures_begin_at_a_keyframe_and_again_after_a_loss(h264: tuple[VideoTrack, list[Packet]]) -> None:
    track, packets = h264
    decoder = Decoder(track.codec, track.extradata)
    assert decoded(decoder, packets[5:15]) == []
    assert decoded(decoder, packets[15:20])
    decoder.reset()
    assert decoded(decoder, packets[21:30]) == []
    assert decoder.errors == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_counted_and_the_next_keyframe_is_decoded_again(
    h264: tuple[VideoTrack, list[Packet]], data: st.DataObject
) -> None:
    track, packets = h264
    decoder = Decoder(track.codec, track.extradata)
    for packet in packets[:10]:
        content = bytearray(packet.data)
        for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
            content[at] = value
        cut = data.draw(st.integers(0, len(content)))
        decoder.decode(_with(packet, bytes(content[:cut])))
    decoder.reset()
    assert decoded(decoder, packets[15:])


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
@settings(deadline=None)
def test_garbage_never_raises(chunks: list[bytes], keyframes_only: bool) -> None:
    decoder = Decoder("h264", keyframes_only=keyframes_only)
    for number, chunk in enumerate(chunks):
        assert decoder.decode(Packet(VIDEO, chunk, None, None, 0, number % 2 == 0, 0, 0.0)) == []


def _with(packet: Packet, content: bytes) -> Packet:
    return Packet(
        packet.track, content, packet.pts, packet.dts, packet.duration, packet.keyframe, packet.arrival_us, 0.0
    )


@given(st.floats(1, 30), st.lists(st.floats(0.001, 0.5), min_size=1, max_size=300))
def test_no_more_pictures_are_wanted_than_asked_for(fps: float, steps: list[float]) -> None:
    sampler = Sampler(fps)
    at_s = 50.0
    taken = 0
    for step in steps:
        at_s += step
        taken += sampler.wants(at_s)
    assert taken <= (at_s - 50.0) * fps + 2


def test_of_15_pictures_a_second_with_jitter_every_third_is_wanted() -> None:
    jitter = np.random.default_rng(1).uniform(-0.01, 0.01, 150)
    sampler = Sampler(5)
    assert sum(sampler.wants(100 + number / 15 + float(late)) for number, late in enumerate(jitter)) == 50


@pytest.mark.parametrize(("fps", "wanted"), [(5, 25), (4, 20), (3, 30)])
def test_where_fewer_suffice_every_second_is_wanted_but_two_a_second_at_least(fps: float, wanted: int) -> None:
    sampler = Sampler(fps)
    sampler.fewer = True
    assert sum(sampler.wants(100 + number / fps) for number in range(round(10 * fps))) == wanted


def test_a_keyframe_is_wanted_and_the_others_count_from_it() -> None:
    sampler, taken = Sampler(5), []
    for number in range(9, 80):
        sampler.fewer = number >= 43
        if number % 20 == 0:
            sampler.begin(number / 10)
        if sampler.wants(number / 10):
            taken.append(number)
    assert taken == [*range(9, 20, 2), *range(20, 43, 2), 46, 50, 54, 58, 60, 64, 68, 72, 76]


def test_where_keyframes_come_often_no_more_is_looked_at_for_their_sake() -> None:
    for fewer, most in ((False, 50), (True, 25)):
        sampler, taken = Sampler(5), 0
        sampler.fewer = fewer
        for number in range(100):
            if number % 7 == 0:
                sampler.begin(number / 10)
            taken += sampler.wants(number / 10)
        assert taken == most


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 20))
def test_only_whole_groups_of_stale_pictures_are_skipped(keys: list[bool], now_s: float) -> None:
    batch = [(Packet(VIDEO, b"x", None, None, 0, key, 0, number * 0.2), 0) for number, key in enumerate(keys)]
    kept, skipped = fresh(batch, now_s, 1.5)
    assert len(kept) + skipped == len(batch)
    if skipped:
        assert kept[0][0].keyframe
        assert now_s - batch[0][0].arrival_monotonic > 1.5


def test_a_job_survives_its_way_to_the_watcher() -> None:
    job = WatcherJob((watched("gate", "rtsp://h/x", username="u", password="secret", fps=4.0),), "Europe/Kyiv", "en")
    assert WATCHER_JOB.parse(WATCHER_JOB.encode(job)) == job
    assert "secret" not in repr(job)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"cameras":[{"id":"A B","url":"secret"}]}', b'{"cameras":[],"timezone":"X/Y"}']
)
def test_a_wrong_job_is_refused_without_repeating_it(line: bytes) -> None:
    with pytest.raises(ConfigError, match="not a job for the watcher") as caught:
        WATCHER_JOB.parse(line)
    assert "secret" not in str(caught.value)
