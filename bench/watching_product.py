"""What the product's watcher makes of a clip or of pictures, faster than the clip's own time.

`alarms_of_clip` drives the very class that the watcher process runs for a camera (`CameraWatch`: decoder, choice of
pictures, model, tracks, rules), with a clock that goes with the clip; only the network is missing.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import cv2
import numpy as np

from bench.scenes.catalogue import CROWD_PART, LOITER_S, REST_S, Rules
from bench.scenes.labels import SPOILT, Kind
from bench.watching_score import Told
from edge_agent.capture.analysis import Analysis, Tampering
from edge_agent.capture.calibration import Measure
from edge_agent.capture.camera_watch import CameraWatch
from edge_agent.capture.decoder import Sampler
from edge_agent.capture.feed import Feed, Rounds
from edge_agent.capture.regions import Line as CameraLine
from edge_agent.capture.regions import Region
from edge_agent.capture.source import VIDEO, Packet, Source, StreamInfo, VideoTrack
from edge_agent.capture.tracks import Instant
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import US
from edge_agent.demo import scenery
from edge_agent.demo.scenery import Picture
from edge_agent.messages import AlarmRaised, Message
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraId
from tests.simulators.clock import HandClock

LATENCY_S = 0.02
"""The network's, in the clip's time."""


def camera_of(
    rules: Rules, url: str = "rtsp://127.0.0.1/scene", measures: tuple[Measure, ...] | None = None
) -> WatchedCamera:
    """A camera configured to tell what the scene asks for; `measures` None: those of the generated street."""
    of_zones = [AlarmNature(kind) for kind in Kind if kind in rules.tells and kind not in (Kind.LINE, Kind.RUNNING)]
    zones = tuple(
        Region(zone.name, zone.polygon, (AlarmNature.MOTION, *of_zones), LOITER_S, REST_S, CROWD_PART)
        for zone in rules.zones
    )
    lines = tuple(CameraLine(line.name, (line.start, line.end)) for line in rules.lines)
    whole = None
    if not zones:
        runs = (AlarmNature.RUNNING,) if Kind.RUNNING in rules.tells else ()
        whole = (AlarmNature.MOTION, *runs)
    return WatchedCamera(
        CameraId("scene"),
        url,
        zones=zones,
        whole=whole,
        lines=lines,
        tampering=tuple(AlarmNature(kind) for kind in sorted(SPOILT)),
        min_area=rules.min_area,
        measures=MEASURES if measures is None else measures,
    )


def _posts() -> tuple[Measure, ...]:
    """A contractor's two measurements: posts of two metres on the far and on the near pavement."""
    posts = []
    for y in (430.0, 664.0):
        top = y - 2 * scenery.pixels_per_metre(y)
        posts.append(Measure((0.5, top / scenery.HEIGHT), (0.5, y / scenery.HEIGHT), 2.0))
    return tuple(posts)


MEASURES = _posts()


class _Replay(CameraWatch):
    """A camera whose packets are handed in."""

    feed: Feed
    info: StreamInfo

    def _connect(self, feed: Feed) -> None:
        self.feed = feed
        feed.opened(self.info)


def _no_source() -> Source:
    raise RuntimeError("a replay connects to nothing")


def alarms_of_clip(path: Path, rules: Rules) -> list[Told]:
    """Times are those of the clip."""
    return told(*raised(path, camera_of(rules)))


def raised(path: Path, camera: WatchedCamera) -> tuple[list[Alarm], int]:
    """(every message of every alarm on a clip of H.264, when the clip began)"""
    clock, heard = HandClock(), list[Message]()
    began_s, began_us = clock.monotonic(), clock.utc_us()
    numbers = itertools.count()
    make = partial(
        Analysis, camera, ZoneInfo("Europe/Kyiv"), "uk", lambda: f"alarm-{next(numbers)}", Tampering(camera.tampering)
    )
    rounds = Rounds(clock, 1.0, lambda: None)
    watch = _Replay(camera, clock, rounds, _no_source, make, heard.append)
    watch.info, packets = _opened(path)
    with contextlib.closing(watch.run()) as steps:
        next(steps)
        for at_s, packet in packets:
            clock.move(began_s + at_s + LATENCY_S - clock.monotonic())
            watch.feed.put([packet._replace(arrival_us=clock.utc_us(), arrival_monotonic=clock.monotonic())])
            next(steps)
    return [message.alarm for message in heard if isinstance(message, AlarmRaised)], began_us


def _opened(path: Path) -> tuple[StreamInfo, Iterator[tuple[float, Packet]]]:
    container = av.open(str(path))
    video = container.streams.video[0]
    context = video.codec_context
    track = VideoTrack("h264", video.time_base or Fraction(1, 90_000), context.width, context.height, b"")
    return StreamInfo(track), _packets(container)


def _packets(container: av.container.InputContainer) -> Iterator[tuple[float, Packet]]:
    """(seconds since the first, access unit with its parameter sets as a camera sends them)."""
    with container:
        video = container.streams.video[0]
        sets = _parameter_sets(bytes(video.codec_context.extradata or b""))
        base = float(video.time_base or 0)
        for packet in container.demux(video):
            if packet.size and packet.pts is not None:
                data = (sets if packet.is_keyframe else b"") + bytes(packet)
                yield packet.pts * base, Packet(VIDEO, data, packet.pts, packet.dts, 0, packet.is_keyframe, 0, 0.0)


def _parameter_sets(avcc: bytes) -> bytes:
    """Those of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1), each behind four bytes of its length."""
    found, at = b"", 5
    for mask in (0x1F, 0xFF):
        count, at = avcc[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(avcc[at : at + 2], "big")
            found += size.to_bytes(4, "big") + avcc[at + 2 : at + 2 + size]
            at += 2 + size
    return found


def alarms_of_pictures(picture: Callable[[int], Picture], count: int, fps: float, rules: Rules) -> list[Told]:
    """The same without H.264: pictures 0 … as they are painted, those that the product's own choice would look at."""
    numbers = itertools.count()
    camera = camera_of(rules)
    make = partial(Analysis, camera, ZoneInfo("Europe/Kyiv"), "uk")
    analysis = make(lambda: f"alarm-{next(numbers)}", Tampering(camera.tampering))
    sampler = Sampler(camera.fps)
    alarms: list[Alarm] = []
    for number in range(count):
        now = Instant(round(number * US / fps), number / fps)
        if sampler.wants(now.s):
            painted = picture(number)
            luma = np.asarray(cv2.cvtColor(painted, cv2.COLOR_BGR2GRAY), np.uint8)
            alarms += analysis.see(luma, painted.copy, now)
            sampler.fewer = analysis.idle or analysis.told
    return told(alarms, 0)


def told(alarms: Iterable[Alarm], began_us: int) -> list[Told]:
    """Whole alarms from their messages; one that is open at the end lasts until then."""
    by_id: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        by_id.setdefault(alarm.alarm_id, []).append(alarm)
    found = []
    for messages in by_id.values():
        last = messages[-1]
        end_s = (last.at_us - began_us) / US if last.phase is AlarmPhase.END else float("inf")
        directions = [message.direction_deg for message in messages if message.direction_deg is not None]
        found.append(
            Told(
                (messages[0].started_us - began_us) / US,
                end_s,
                Kind(last.nature.value),
                last.zone,
                directions[0] if directions else None,
                tuple(crossings(messages, began_us)),
            )
        )
    return found


def crossings(alarms: Iterable[Alarm], began_us: int) -> list[tuple[float, str | None]]:
    """Each that an alarm counted, when it was told; of several in one message only the last one's side is known."""
    found: list[tuple[float, str | None]] = []
    counted: dict[str, int] = {}
    for alarm in alarms:
        more = alarm.count - counted.get(alarm.alarm_id, 0)
        if alarm.nature is AlarmNature.LINE and more > 0:
            at_s = (alarm.at_us - began_us) / US
            found += [(at_s, None)] * (more - 1) + [(at_s, alarm.side.value if alarm.side else None)]
            counted[alarm.alarm_id] = alarm.count
    return found
