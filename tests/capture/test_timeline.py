"""The camera's clock and the node's, as badly as they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture.timeline import JumpKind, Start, Timeline
from edge_agent.clock import US

TICK = Fraction(1, 90_000)
EPOCH_US = 1_790_000_000 * US


@dataclass
class Recording:
    """A camera's pictures put through a timeline, with a segment begun as the recorder does it."""

    timeline: Timeline
    segment_us: int = 60 * US
    segments: list[tuple[int, int]] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    worst_error_us: int = 0
    dts: list[int] = field(default_factory=list)

    def put(self, pts: int, arrival_us: int, monotonic: float, *, dts: int | None = None, keyframe: bool = True) -> int:
        placed = self.timeline.place(pts, pts if dts is None else dts, keyframe, arrival_us, monotonic)
        self.dts.append(placed.dts)
        due = not self.starts or placed.utc_us - self.starts[-1].start_us >= self.segment_us
        if keyframe and (due or self.timeline.pending):
            start = self.timeline.begin(placed)
            if start.previous_end_us is not None:
                self.segments.append((self.starts[-1].start_us, start.previous_end_us))
            self.starts.append(start)
        self.worst_error_us = max(self.worst_error_us, abs(arrival_us - placed.utc_us))
        return placed.utc_us

    def finish(self) -> list[tuple[int, int]]:
        self.segments.append((self.starts[-1].start_us, self.timeline.end_us))
        return self.segments

    @property
    def jumps(self) -> list[JumpKind]:
        return [start.jump.kind for start in self.starts if start.jump]


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
    recording = Recording(Timeline(TICK))
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
)
def test_whatever_the_clocks_do_intervals_never_overlap_and_decode_times_grow(
    events: list[tuple[int, str, float]], gop: int, jitter_us: int, seed: int
) -> None:
    random = Random(seed)
    recording = Recording(Timeline(TICK), segment_us=10 * US)
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
            elif what == "hold":
                held_until = true_s + min(abs(seconds), 3.9)
            else:
                true_s += min(abs(seconds), 3.9)
        true_s += 0.2
        camera_s += 0.2
        seen_s = max(true_s + jitter_us / US * random.random(), held_until)
        recording.put(int(camera_s * 90_000), wall_us + int(seen_s * US), seen_s, keyframe=frame % gop == 0)
    segments = recording.finish()
    assert overlaps(segments) == []
    assert all(before < after for before, after in pairwise(recording.dts))


def steady(recording: Recording, seconds: int, *, camera_s: float, wall_us: int, monotonic: float) -> None:
    for frame in range(seconds * 5):
        passed = frame / 5
        recording.put(int((camera_s + passed) * 90_000), wall_us + int(passed * US), monotonic + passed)


def test_the_camera_jumping_back_begins_a_segment_and_loses_nothing() -> None:
    recording = Recording(Timeline(TICK))
    steady(recording, 10, camera_s=5000, wall_us=EPOCH_US, monotonic=7)
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US + 10 * US, monotonic=17)
    first, second = recording.finish()
    assert recording.jumps == [JumpKind.CAMERA_CLOCK]
    assert first == (EPOCH_US, EPOCH_US + 10 * US)
    assert second == (EPOCH_US + 10 * US, EPOCH_US + 20 * US)


def test_the_nodes_clock_set_forward_leaves_a_gap_that_says_so() -> None:
    recording = Recording(Timeline(TICK))
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 10, camera_s=10, wall_us=EPOCH_US + 3610 * US, monotonic=10)
    first, second = recording.finish()
    assert recording.jumps == [JumpKind.NODE_CLOCK]
    assert (first[1] - EPOCH_US, second[0] - EPOCH_US) == (10 * US, 3610 * US)
    assert recording.starts[1].jump is not None
    assert recording.starts[1].jump.words == "the node's clock was set by +3600.0 s"


def test_the_nodes_clock_set_back_goes_on_without_overlap_and_is_caught_up() -> None:
    recording = Recording(Timeline(TICK), segment_us=10 * US)
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 400, camera_s=10, wall_us=EPOCH_US, monotonic=10)
    segments = recording.finish()
    assert overlaps(segments) == []
    assert recording.jumps == [JumpKind.NODE_CLOCK]
    assert abs(segments[-1][1] - (EPOCH_US + 400 * US)) < US // 2


def test_pictures_held_up_by_the_network_keep_their_time() -> None:
    recording = Recording(Timeline(TICK))
    for frame in range(200):
        true_s = frame / 5
        seen_s = 13.5 if 10 < true_s < 13.5 else true_s
        recording.put(frame * 18_000, EPOCH_US + int(seen_s * US), seen_s)
    assert recording.jumps == []
    assert recording.finish() == [(EPOCH_US, EPOCH_US + 40 * US)]


def test_a_camera_whose_clock_stood_still_is_noticed() -> None:
    recording = Recording(Timeline(TICK))
    steady(recording, 10, camera_s=0, wall_us=EPOCH_US, monotonic=0)
    steady(recording, 20, camera_s=10, wall_us=EPOCH_US + 13 * US, monotonic=13)
    assert recording.jumps == [JumpKind.PAUSE]
    assert overlaps(recording.finish()) == []


def test_reordered_pictures_do_not_move_the_segments_edges() -> None:
    recording = Recording(Timeline(TICK), segment_us=US)
    for group in range(10):
        for place, shown in enumerate((0, 3, 1, 2, 6, 4, 5, 9, 7, 8)):
            decode = group * 10 + place
            pts = (group * 10 + shown + 2) * 9000
            recording.put(pts, EPOCH_US + decode * US // 10, decode / 10, dts=decode * 9000, keyframe=place == 0)
    segments = recording.finish()
    assert [end - start for start, end in segments] == [US] * 10
    assert recording.jumps == []


def test_missing_decode_times_are_made_up_and_grow() -> None:
    timeline = Timeline(TICK)
    times = [
        timeline.place(pts * 3600, None, pts % 8 == 0, EPOCH_US + number * 40_000, number / 25).dts
        for number, pts in enumerate((0, 3, 1, 2, 6, 4, 5, 7, 8, 11, 9, 10))
    ]
    assert times == sorted(set(times))


def test_a_new_connection_begins_where_the_last_interval_ended_at_the_earliest() -> None:
    timeline = Timeline(TICK, floor_us=EPOCH_US + US)
    placed = timeline.place(0, 0, True, EPOCH_US, 0.0)
    assert timeline.begin(placed).start_us == EPOCH_US + US
