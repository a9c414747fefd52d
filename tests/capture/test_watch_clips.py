"""Each nature in a generated scene, through real H.264: told where and when it happens, and nothing else is."""

from __future__ import annotations

import itertools
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from bench.scenes.catalogue import Scene, scene
from bench.scenes.stage import FPS
from edge_agent.capture.analysis import Analysis, Tampering
from edge_agent.capture.regions import Line, Region
from edge_agent.capture.tracks import Instant
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import US
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraId
from tests.capture.test_watch_tamper import TAMPERING, through_h264

LATE_S = 3.0
EVERY = 2
"""Of the scene's pictures every second one is sent."""


def camera_of(one: Scene, natures: tuple[AlarmNature, ...]) -> WatchedCamera:
    zones = tuple(Region(zone.name, zone.polygon, natures, loiter_s=15, object_s=10) for zone in one.rules.zones)
    lines = tuple(Line(line.name, (line.start, line.end)) for line in one.rules.lines)
    whole = None if zones or lines else natures
    return WatchedCamera(CameraId("scene"), "rtsp://x/y", zones=zones, lines=lines, whole=whole if not lines else ())


def told(one: Scene, natures: tuple[AlarmNature, ...]) -> list[Alarm]:
    numbers = itertools.count()
    analysis = Analysis(
        camera_of(one, natures), ZoneInfo("UTC"), "en", lambda: f"id-{next(numbers)}", Tampering(TAMPERING)
    )
    frames = (one.stage.frame(n) for n in range(0, round(one.seconds * FPS), EVERY))
    alarms: list[Alarm] = []
    for number, luma in enumerate(through_h264(frames, 10)):
        at_s = number * EVERY / FPS
        bgr = lambda luma=luma: np.repeat(luma[:, :, None], 3, 2)  # noqa: E731
        alarms += analysis.see(luma, bgr, Instant(round(at_s * US), at_s))
    return [*alarms, *analysis.close(Instant(round(one.seconds * US), one.seconds))]


@pytest.mark.parametrize(
    ("name", "nature"),
    [
        ("enters the zone", AlarmNature.ENTERED),
        ("leaves the zone", AlarmNature.LEFT),
        ("crosses the line to the left", AlarmNature.LINE),
        ("loiters", AlarmNature.LOITERING),
        ("object left", AlarmNature.OBJECT_LEFT),
        ("object taken", AlarmNature.OBJECT_TAKEN),
        ("crowd", AlarmNature.CROWD),
        ("runs", AlarmNature.RUNNING),
    ],
)
def test_what_happens_in_a_scene_is_told_by_its_nature_where_and_when_it_does(name: str, nature: AlarmNature) -> None:
    one = scene(name, 3)
    alarms = told(one, (nature,))
    starts = [alarm for alarm in alarms if alarm.phase is AlarmPhase.START]
    labels = [label for label in one.labels if label.kind.value == nature.value]
    assert len(starts) >= 1
    for start in starts:
        assert start.nature is nature
        assert start.picture
        near = [
            label
            for label in labels
            if label.start_s - 1 <= start.at_us / US <= max(label.end_s, label.start_s) + LATE_S
        ]
        assert near, f"at {start.at_us / US} s"
        assert {label.zone for label in near} == {start.zone}
    ended = {alarm.alarm_id for alarm in alarms if alarm.phase is AlarmPhase.END}
    assert ended == {start.alarm_id for start in starts}
