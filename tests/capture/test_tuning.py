"""The same pictures through other settings, what would differ, and the film of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import pytest
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.decoder import Picture
from edge_agent.capture.footage import recorded
from edge_agent.capture.regions import Region
from edge_agent.capture.tuning import GAP_S, Episode, Verdict, Watching, compare, episodes
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.capture.zone_check import Shape
from edge_agent.clock import US
from edge_agent.errors import ArchiveError
from edge_agent.model import Alarm, AlarmNature, AlarmPhase
from edge_agent.watch_film import WatchFilm
from tests.capture.watching import watched
from tests.peers.cameras import make_clip

BEGAN_US = 1_795_356_309 * US
KYIV = ZoneInfo("Europe/Kyiv")
ROAD, SKY = (
    Region("road", ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))),
    Region("sky", ((0.0, 0.0), (1.0, 0.0), (1.0, 0.1), (0.0, 0.1))),
)


@pytest.fixture(scope="module")
def clip(clips: Path) -> Path:
    """10 s; somebody crosses from the third second on."""
    return make_clip(clips / "watch-sub.mp4", seconds=10)


def pictures(clip: Path, start_us: int = BEGAN_US) -> Iterator[Picture]:
    with clip.open("rb") as file:
        yield from recorded(file, start_us)


def watch(camera: WatchedCamera, shown: Iterator[Picture]) -> list[Alarm]:
    numbers = itertools.count()
    run = Watching(camera, KYIV, "en", lambda: f"a-{next(numbers)}")
    steps = [step for picture in shown if (step := run.see(picture))]
    last = run.close()
    assert last is not None
    return [alarm for step in [*steps, last] for alarm in step.alarms]


def test_recorded_pictures_have_the_times_of_their_recording(clip: Path) -> None:
    times = [picture.arrival_us - BEGAN_US for picture in pictures(clip)]
    assert len(times) == 150
    assert times[:2] == [0, 66_667]
    assert times == sorted(times)
    with clip.open("rb") as file:
        assert [one.arrival_us - BEGAN_US for one in recorded(file, BEGAN_US, keyframes_only=True)] == times[::15]


def test_garbage_is_no_recording(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(bytes(range(256)) * 100)
    with garbage.open("rb") as file, pytest.raises(ArchiveError, match="can't be read"):
        list(recorded(file, 0))


def test_a_zone_elsewhere_loses_the_alarm_and_the_same_settings_change_nothing(clip: Path) -> None:
    gate = replace(watched("gate", ""), zones=(ROAD,))
    now, again, moved = (
        episodes(watch(one, pictures(clip))) for one in (gate, gate, replace(gate, zones=(ROAD, SKY), fps=3.0))
    )
    assert [(one.nature, one.place) for one in now] == [("motion", "road")]
    assert now[0].direction_deg == pytest.approx(90, abs=30)
    assert {one.verdict for one in compare(now, again)} == {Verdict.SAME}
    assert [one.verdict for one in compare(now, moved)] == [Verdict.SAME]
    nothing = episodes(watch(replace(gate, zones=(SKY,)), pictures(clip)))
    assert [one.verdict for one in compare(now, nothing)] == [Verdict.GONE]
    assert [one.verdict for one in compare(nothing, now)] == [Verdict.NEW]


def test_over_a_hole_in_the_recordings_alarms_end_and_begin_anew(clip: Path) -> None:
    gate = replace(watched("gate", ""), zones=(ROAD,))
    later_us = BEGAN_US + 10 * US + round(GAP_S * 2 * US)
    alarms = watch(gate, itertools.chain(pictures(clip), pictures(clip, later_us)))
    phases = [alarm.phase for alarm in alarms if alarm.phase is not AlarmPhase.UPDATE]
    assert phases == [AlarmPhase.START, AlarmPhase.END] * 2
    ends = [alarm.at_us for alarm in alarms if alarm.phase is AlarmPhase.END]
    assert ends[0] <= BEGAN_US + 10 * US < later_us < ends[1]


_episodes = st.lists(
    st.builds(
        lambda nature, place, start, length: Episode(nature, place, start * US, (start + length) * US),
        st.sampled_from([AlarmNature.MOTION, AlarmNature.LINE]),
        st.sampled_from([None, "a"]),
        st.integers(0, 60),
        st.integers(0, 20),
    ),
    max_size=8,
)


@given(_episodes, _episodes)
def test_every_alarm_of_both_sides_is_told_once(before: list[Episode], after: list[Episode]) -> None:
    found = compare(before, after)
    assert sorted(map(repr, (one.before for one in found if one.before))) == sorted(map(repr, before))
    assert sorted(map(repr, (one.after for one in found if one.after))) == sorted(map(repr, after))
    assert all(one.before.near(one.after) for one in found if one.before and one.after)
    assert [one.start_us for one in found] == sorted(one.start_us for one in found)
    if before == after:
        assert all(one.verdict is Verdict.SAME for one in found)


def test_the_film_shows_every_picture_that_was_looked_at_at_the_speed_of_life(clip: Path) -> None:
    gate = replace(watched("gate", ""), zones=(ROAD,))
    run = Watching(gate, KYIV, "en", lambda: "a")
    with WatchFilm("gate", [Shape("road", ROAD.polygon, True)], KYIV) as film:
        for picture in pictures(clip):
            if (step := run.see(picture)) is not None:
                film.show(picture, step)
    with av.open(BytesIO(film.data), "r") as container:
        frames = [frame for frame in container.decode(video=0) if isinstance(frame, VideoFrame)]
    assert len(frames) == film.pictures == 50
    assert (frames[0].width, frames[0].height) == (640, 440)
    assert float((frames[-1].pts or 0) * (frames[-1].time_base or Fraction(0))) == pytest.approx(9.8, abs=0.2)
    last = frames[-5].to_ndarray(format="rgb24")
    edge = last[181, 300:340].astype(int)
    assert (edge[:, 0] - edge[:, 2]).min() > 60, "the zone's edge is red while it alarms"
    assert last[360:].max() > 200, "the decisions are written below"
