"""The camera's clock and the node's, as badly as they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture.node_time import NodeTime
from edge_agent.capture.timeline import MAX_AHEAD_US, JumpKind, Start, Timeline
from edge_agent.clock import US
from edge_agent.model import ClockTrust

TICK = Fraction(1, 90_000)
EPOCH_US = 1_790_000_000 * US


def follows_server() -> NodeTime:
    return NodeTime(lambda: True)


def runs_free() -> NodeTime:
    return NodeTime(lambda: False)


@dataclass
class Recording:
    """A camera's pictures put through a timeline, with a segment begun as the recorder does it."""

    timeline: Timeline
    segment_us: int = 60 * US
    segments: list[tuple[int, int]] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    worst_error_us: int = 0
    dts: list[int] = field(default_factory=list)
    trust: list[ClockTrust] = field(default_factory=list)

    def put(self, pts: int, arrival_us: int, monotonic: float, *, dts: int | None = None, keyframe: bool = True) -> int:
        placed = self.timeline.place(pts, pts if dts is None else dts, keyframe, arrival_us, monotonic)
        self.dts.append(placed.dts)
        due = not self.starts or placed.utc_us - self.starts[-1].start_us >= self.segment_us
        if keyframe and (due or self.timeline.pending):
            start = self.timeline.begin(placed)
            if start.previous_end_us is not None:
                self.segments.append((self.starts[-1].start_us, start.previous_end_us))
                self.trust.append(start.previous_trust)
            self.starts.append(start)
        self.worst_error_us = max(self.worst_error_us, abs(arrival_us - placed.utc_us))
        return placed.utc_us

    def finish(self) -> list[tuple[int, int]]:
        self.segments.append((self.starts[-1].start_us, self.timeline.end_us))
        self.trust.append(self.timeline.trust)
        return self.segments

    @property
    def jumps(self) -> list[JumpKind]:
        return [start.jump.kind for start in self.starts if start.jump]


def stretches(recording: Recording) -> list[list[tuple[int, int]]]:
    """The segments, parted where the node's clock was set far back."""
    parted: list[list[tuple[int, int]]] = [[]]
    for start, segment in zip(recording.starts, recording.segments, strict=True):
        if start.previous_end_us is not None and start.start_us < start.previous_end_us:
            assert start.jump is not None
            assert start.jump.kind is JumpKind.NODE_CLOCK
            assert start.previous_end_us - start.start_us > MAX_AHEAD_US
            parted.append([])
        parted[-1].append(segment)
    return parted


def overlaps(segments: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found, reached = [], 0
    for start, end in segments:
        if start < reached or end < start:
            found.append((start, end))
        reached = max(reached, end)
    return found


@settings(max_examples=12, deadline=None)
@given(ppm=st.integers(-200, 200), jitter_us=st.integers(0, 300_000), seed=st.integers(0, 2**32))
def test_a_day_of_drift_is_followed_without_a_hole_or_an_overlap(ppm: int, jitter_us: int, seed: int) -> None:
    random = Random(seed)
    recording = Recording(Timeline(TICK, follows_server()))
    for second in range(0, 86_400, 2):
        camera_s = second * (1 + ppm / 1e6)
        late_us = int(jitter_us * random.random() ** 4)
        arrival_us = EPOCH_US + second * US + late_us
        recording.put(int(camera_s * 90_000) + 12345, arrival_us, second + late_us / US)
    segments = recording.finish()
    assert recording.jumps == []
    assert all(before[1] == after[0] for before, after in pairwise(segments))
    assert recording.worst_error_us < 400_000


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(
        st.tuples(
            st.integers(1, 400),
            st.sampled_from(["camera", "node", "hold", "pause"]),
            st.floats(-4000, 4000, allow_nan=False).filter(lambda seconds: abs(seconds) > 2.5),
        ),
        max_size=6,
    ),
    gop=st.sampled_from([1, 5, 50]),
    jitter_us=st.integers(0, 400_000),
    seed=st.integers(0, 2**32),
    believed=st.booleans(),
)
def test_whatever_the_clocks_do_intervals_overlap_only_after_a_far_setting_back_and_decode_times_grow(
    events: list[tuple[int, str, float]], gop: int, jitter_us: int, seed: int, believed: bool
) -> None:
    random = Random(seed)
    vouched = [True]
    recording = Recording(Timeline(TICK, NodeTime(lambda: vouched[0])), segment_us=10 * US)
    by_frame: dict[int, list[tuple[str, float]]] = {}
    for frame, what, seconds in events:
        by_frame.setdefault(frame, []).append((what, seconds))
    camera_s, wall_us, true_s, held_until = 100.0, EPOCH_US, 0.0, 0.0
    for frame in range(450):
        for what, seconds in by_frame.get(frame, ()):
            if what == "camera":
                camera_s += seconds
            elif what == "node":
                wall_us += int(seconds * US)
                vouched[0] = believed
            elif what == "hold":
                held_until = true_s + min(abs(seconds), 3.9)
            else:
                true_s += min(abs(seconds), 3.9)
        true_s += 0.2
        camera_s += 0.2
        seen_s = max(true_s + jitter_us / US * random.random(), held_until)
        recording.put(int(camera_s * 90_000), wall_us + int(seen_s * US), seen_s, keyframe=frame % gop == 0)
    segments = recording.finish()
    assert [overlaps(stretch) for stretch in stretches(recording) if overlaps(stretch)] == []
    assert believed or overlaps(segments) == []
    assert believed or JumpKind.NODE_CLOCK not in recording.jumps
    assert all(before < after for before, after in pairwise(recording.dts))


def steady(recording: Recording, seconds: int, *, camera_s: float, wall_us: int, monotonic: float) -> None:
    for frame in range(seconds * 5):
        passed = frame / 5
        recording.put(round((camera_s + passed) * 90_000), wall_us + round(passed * US), monotonic + passed)


def test_the_camera_jumping_back_begins_a_segment_and_loses_nothing() -> None:
    recording = Recording(Timeline(TICK, follows_server()))
    steady(recording, 10, camera_s=5000, wall_us=EPOCH_US, monotonic=7)
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US + 10 * US, monotonic=17)
    first, second = recording.finish()
    assert recording.jumps == [JumpKind.CAMERA_CLOCK]
    assert first == (EPOCH_US, EPOCH_US + 10 * US)
    assert second == (EPOCH_US + 10 * US, EPOCH_US + 20 * US)


def test_the_nodes_clock_set_forward_leaves_a_gap_that_says_so() -> None:
    recording = Recording(Timeline(TICK, follows_server()))
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 10, camera_s=10, wall_us=EPOCH_US + 3610 * US, monotonic=10)
    first, second = recording.finish()
    assert recording.jumps == [JumpKind.NODE_CLOCK]
    assert (first[1] - EPOCH_US, second[0] - EPOCH_US) == (11 * US, 3611 * US)
    assert recording.trust == [ClockTrust.CARRIED, ClockTrust.SYNCED]
    assert recording.starts[1].jump is not None
    assert recording.starts[1].jump.words == "the node's clock was set by +3600.0 s"


def test_the_nodes_clock_set_back_goes_on_without_overlap_and_is_caught_up() -> None:
    recording = Recording(Timeline(TICK, follows_server()), segment_us=10 * US)
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 400, camera_s=10, wall_us=EPOCH_US, monotonic=10)
    segments = recording.finish()
    assert overlaps(segments) == []
    assert recording.jumps == [JumpKind.NODE_CLOCK]
    assert abs(segments[-1][1] - (EPOCH_US + 400 * US)) < US // 2
    assert set(recording.trust[1:15]) == {ClockTrust.CARRIED}
    assert recording.trust[-1] is ClockTrust.SYNCED


def test_pictures_held_up_by_the_network_keep_their_time() -> None:
    recording = Recording(Timeline(TICK, follows_server()))
    for frame in range(200):
        true_s = frame / 5
        seen_s = 13.5 if 10 < true_s < 13.5 else true_s
        recording.put(frame * 18_000, EPOCH_US + int(seen_s * US), seen_s)
    assert recording.jumps == []
    assert recording.finish() == [(EPOCH_US, EPOCH_US + 40 * US)]


def test_a_camera_whose_clock_stood_still_is_noticed() -> None:
    recording = Recording(Timeline(TICK, follows_server()))
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 20, camera_s=10, wall_us=EPOCH_US + 13 * US, monotonic=13)
    assert recording.jumps == [JumpKind.PAUSE]
    assert overlaps(recording.finish()) == []


def test_reordered_pictures_do_not_move_the_segments_edges() -> None:
    recording = Recording(Timeline(TICK, follows_server()), segment_us=US)
    for group in range(10):
        for place, shown in enumerate((0, 3, 1, 2, 6, 4, 5, 9, 7, 8)):
            decode = group * 10 + place
            pts = (group * 10 + shown + 2) * 9000
            recording.put(pts, EPOCH_US + decode * US // 10, decode / 10, dts=decode * 9000, keyframe=place == 0)
    segments = recording.finish()
    assert [end - start for start, end in segments] == [US] * 10
    assert recording.jumps == []


def test_missing_decode_times_are_made_up_and_grow() -> None:
    timeline = Timeline(TICK, follows_server())
    times = [
        timeline.place(pts * 3600, None, pts % 8 == 0, EPOCH_US + number * 40_000, number / 25).dts
        for number, pts in enumerate((0, 3, 1, 2, 6, 4, 5, 7, 8, 11, 9, 10))
    ]
    assert times == sorted(set(times))


def test_a_new_connection_begins_where_the_last_interval_ended_at_the_earliest() -> None:
    timeline = Timeline(TICK, follows_server(), floor_us=EPOCH_US + US)
    placed = timeline.place(0, 0, True, EPOCH_US, 0.0)
    assert timeline.begin(placed).start_us == EPOCH_US + US


YEAR_S = 365 * 86_400


def test_a_boot_a_year_ahead_ends_with_the_next_keyframe_after_a_server_put_the_clock_right() -> None:
    vouched = [False]
    recording = Recording(Timeline(TICK, NodeTime(lambda: vouched[0])), segment_us=10 * US)
    steady(recording, 20, camera_s=0, wall_us=EPOCH_US + YEAR_S * US, monotonic=0)
    vouched[0] = True
    steady(recording, 60, camera_s=20, wall_us=EPOCH_US + 20 * US, monotonic=20)
    recording.finish()
    ahead, right = stretches(recording)
    assert recording.jumps == [JumpKind.NODE_CLOCK]
    assert [start - EPOCH_US for start, _ in ahead] == [YEAR_S * US, (YEAR_S + 10) * US, (YEAR_S + 20) * US]
    assert [start - EPOCH_US for start, _ in right] == [second * US for second in (21, 31, 41, 51, 61, 71)]
    assert set(recording.trust[:2]) == {ClockTrust.FREE}
    assert set(recording.trust[3:]) == {ClockTrust.SYNCED}


def test_a_camera_that_returns_after_the_clock_was_put_right_is_placed_at_the_present() -> None:
    timeline = Timeline(TICK, follows_server(), floor_us=EPOCH_US + YEAR_S * US)
    placed = timeline.place(0, 0, True, EPOCH_US, 0.0)
    assert timeline.begin(placed).start_us == EPOCH_US


def test_a_jump_of_a_year_that_no_server_confirms_moves_no_recording() -> None:
    vouched = [True]
    recording = Recording(Timeline(TICK, NodeTime(lambda: vouched[0])), segment_us=10 * US)
    steady(recording, 25, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    vouched[0] = False
    steady(recording, 100, camera_s=25, wall_us=EPOCH_US + (YEAR_S + 25) * US, monotonic=25)
    vouched[0] = True
    steady(recording, 25, camera_s=125, wall_us=EPOCH_US + 125 * US, monotonic=125)
    segments = recording.finish()
    assert recording.jumps == []
    assert [start - EPOCH_US for start, _ in segments] == pytest.approx([at * US for at in range(0, 150, 10)], abs=5)
    assert recording.trust == [ClockTrust.SYNCED] * 2 + [ClockTrust.CARRIED] * 11 + [ClockTrust.SYNCED] * 2


def test_a_clock_set_before_2000_is_not_believed_whoever_says_so() -> None:
    for node in (follows_server(), runs_free()):
        recording = Recording(Timeline(TICK, node), segment_us=10 * US)
        steady(recording, 20, camera_s=0, wall_us=EPOCH_US, monotonic=0)
        steady(recording, 20, camera_s=20, wall_us=900_000_000 * US, monotonic=20)
        assert recording.finish()[-1] == pytest.approx((EPOCH_US + 30 * US, EPOCH_US + 40 * US), abs=5)


def test_a_node_that_booted_in_1970_records_and_takes_the_first_possible_time() -> None:
    recording = Recording(Timeline(TICK, runs_free()), segment_us=10 * US)
    steady(recording, 20, camera_s=0, wall_us=30 * US, monotonic=30)
    steady(recording, 20, camera_s=20, wall_us=EPOCH_US, monotonic=50)
    segments = recording.finish()
    assert segments[0] == (30 * US, 40 * US)
    assert segments[-1][1] == EPOCH_US + 20 * US
    assert recording.trust[0] is ClockTrust.FREE


def test_no_server_after_boot_is_written_on_every_segment() -> None:
    recording = Recording(Timeline(TICK, runs_free()), segment_us=10 * US)
    steady(recording, 30, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    recording.finish()
    assert recording.trust == [ClockTrust.FREE] * 3


def test_a_leap_second_is_absorbed_without_a_cut_or_an_overlap() -> None:
    recording = Recording(Timeline(TICK, follows_server()), segment_us=60 * US)
    steady(recording, 300, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 3600, camera_s=300, wall_us=EPOCH_US + 299 * US, monotonic=300)
    segments = recording.finish()
    assert recording.jumps == []
    assert all(before[1] == after[0] for before, after in pairwise(segments))
    assert abs(segments[-1][1] - (EPOCH_US + 3899 * US)) < 20_000
    assert set(recording.trust) == {ClockTrust.SYNCED}


def test_a_camera_jumping_inside_a_file_is_carried_in_that_file_only() -> None:
    recording = Recording(Timeline(TICK, follows_server()), segment_us=10 * US)
    for frame in range(150):
        camera_s = frame / 5 + (1000 if frame > 60 else 0)
        recording.put(int(camera_s * 90_000), EPOCH_US + frame * US // 5, frame / 5, keyframe=frame % 50 == 0)
    recording.finish()
    assert recording.jumps == [JumpKind.CAMERA_CLOCK]
    assert recording.trust == [ClockTrust.SYNCED, ClockTrust.CARRIED, ClockTrust.SYNCED]


def test_ticks_that_run_away_between_keyframes_take_no_recording_into_the_future() -> None:
    recording = Recording(Timeline(TICK, follows_server()), segment_us=10 * US)
    for frame in range(300):
        camera_s = frame / 5 + max(0, min(frame, 200) - 100) * 1.5
        recording.put(round(camera_s * 90_000), EPOCH_US + frame * US // 5, frame / 5, keyframe=frame % 100 == 0)
    segments = recording.finish()
    assert overlaps(segments) == []
    assert set(recording.jumps) == {JumpKind.CAMERA_CLOCK}
    assert abs(segments[-1][1] - (EPOCH_US + 60 * US)) < 2 * US


def test_a_process_held_up_between_reading_the_two_clocks_cuts_nothing() -> None:
    recording = Recording(Timeline(TICK, follows_server()))
    for frame in range(100):
        held_up_us = 30 * US if frame == 50 else 0
        recording.put(frame * 18_000, EPOCH_US + frame * US // 5 - held_up_us, frame / 5)
    assert recording.finish() == [(EPOCH_US, EPOCH_US + 20 * US)]
    assert recording.jumps == []


def wobble_us(*, tick_ppm: float | None, ppm: int = 80) -> int:
    """How far apart the errors of a day's cuts lie, on a network that delays by up to 0.4 s."""
    random = Random(4)
    timeline = Timeline(TICK, follows_server())
    timeline.tick_ppm = tick_ppm
    recording = Recording(timeline)
    errors = []
    for second in range(0, 86_400, 2):
        late_us = int(400_000 * random.random() ** 2)
        ticks = int(second * (1 - ppm / 1e6) * 90_000)
        arrival_us = EPOCH_US + second * US + late_us
        cuts = len(recording.starts)
        recording.put(ticks, arrival_us, second + late_us / US)
        if len(recording.starts) > cuts and second > 3600:
            errors.append(recording.starts[-1].start_us - EPOCH_US - second * US)
    return max(errors) - min(errors)


def test_ticks_whose_rate_the_camera_tells_are_followed_more_evenly() -> None:
    assert wobble_us(tick_ppm=80) < 0.6 * wobble_us(tick_ppm=None)
