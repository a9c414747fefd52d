"""One camera's pictures in, alarms with their JPEG out: motion, tracks, zones and drawing put together."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from edge_agent.capture.alarms import Alarms, Decision
from edge_agent.capture.calibration import Ground, View
from edge_agent.capture.detector import Detector, DetectorError
from edge_agent.capture.frozen import Keyframes
from edge_agent.capture.likeness import Likeness
from edge_agent.capture.look import Looker
from edge_agent.capture.motion import MotionDetector, reduced, render
from edge_agent.capture.naming import Names
from edge_agent.capture.tamper import LOOK_S, TamperWatch
from edge_agent.capture.tracks import Blob, Instant, Track
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import US
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraId, Moment

_log = logging.getLogger(__name__)
Bgr = NDArray[np.uint8]
IDLE_S = 5.0
"""After so long without anything unusual half as many pictures are looked at."""
LARGE = 640
"""Pictures wider than this take more memory than what is sent of them."""
_OBJECTS = {AlarmNature.OBJECT_LEFT, AlarmNature.OBJECT_TAKEN}
_DATES = {"uk": "%d.%m.%Y %H:%M:%S", "en": "%Y-%m-%d %H:%M:%S"}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is written at a picture's foot: the camera and the local time."""

    camera: CameraId
    timezone: ZoneInfo
    language: Literal["uk", "en"]

    def at(self, utc_us: int) -> str:
        local = dt.datetime.fromtimestamp(utc_us // US, self.timezone)
        offset = local.strftime("%z")
        return f"{self.camera}  {local.strftime(_DATES[self.language])} {offset[:3]}:{offset[3:]}"


@dataclass(frozen=True, slots=True)
class Insight:
    """What is behind the decisions, for whoever tunes them."""

    ready: bool
    """False while the model learns."""
    mask: NDArray[np.uint8] | None
    """uint8[h, w], 255 where the picture differs, in the size that is analysed."""
    tracks: tuple[Track, ...]


class Tampering:
    """Whether a camera still shows its usual view; kept over connections, as it may be turned while it is cut off."""

    def __init__(self, natures: tuple[AlarmNature, ...]) -> None:
        self._natures = frozenset(natures)
        self._looker = Looker()
        self._watch = TamperWatch()
        self._keyframes = Keyframes()
        self._due_s = 0.0

    def keyframe(self, luma: NDArray[np.uint8], at_s: float) -> None:
        """A picture that was coded anew."""
        if AlarmNature.FROZEN in self._natures:
            self._keyframes.see(luma, at_s)

    def see(self, luma: NDArray[np.uint8], at_s: float, *, moving: bool = False) -> frozenset[AlarmNature]:
        """What is wrong with the camera; a picture is looked at about every second."""
        if self._natures and at_s >= self._due_s:
            self._due_s = at_s + 0.9 * LOOK_S
            self._looker.learn(self._watch.update(at_s, self._looker.look(luma)))
        freeze = self._keyframes.watch
        if moving or self._watch.troubles:
            freeze.disturbed()
        return (self._watch.troubles | ({AlarmNature.FROZEN} if freeze.frozen else set())) & self._natures

    def reconnected(self) -> None:
        self._watch.reconnected()
        self._keyframes.reconnected()
        self._due_s = 0.0


class Analysis:
    """Sees one connection's pictures, in order, on one thread; a new connection wants a new one, which learns anew.

    `tampering` outlives connections; None: what is usual is learnt anew, too.
    """

    def __init__(
        self,
        camera: WatchedCamera,
        timezone: ZoneInfo,
        language: Literal["uk", "en"],
        new_id: Callable[[], str],
        tampering: Tampering | None = None,
        detector: Detector | None = None,
    ) -> None:
        self._camera = camera
        self._caption = Caption(camera.id, timezone, language)
        self._new_id = new_id
        self._tampering = tampering or Tampering(camera.tampering)
        self._tampering.reconnected()
        self._detects = detector
        self._names: Names | None = None
        self._detector: MotionDetector | None = None
        self._alarms: Alarms | None = None
        self._eyes = Likeness()
        self._blobs: list[Blob] = []
        self._stirred_s = 0.0
        self._before_s = 0.0
        self._kept: dict[tuple[str, Moment], _Frame] = {}
        """Of open alarms, at most two each: when the thing was seen best, and last."""
        self._latest: tuple[Callable[[], Bgr], int] | None = None
        """The picture before, not yet converted; only while an alarm is open."""

    def see(self, luma: NDArray[np.uint8], bgr: Callable[[], Bgr], now: Instant) -> list[Alarm]:
        """What a picture leads to.

        luma: uint8[h, w]; bgr: gives the same picture as uint8[h, w, 3], at most 640 wide; called only when needed.
        """
        ended: list[Alarm] = []
        size = (luma.shape[1], luma.shape[0])
        if self._detector is None or self._alarms is None or self._detector.size != size:
            ended = self.close(now)
            outlines = any(_OBJECTS & set(zone.natures) for zone in self._camera.regions)
            heads = bool(self._camera.lines)
            self._detector = MotionDetector(size, self._camera.min_area, outlines=outlines, heads=heads)
            view = _view(self._camera, size[0] / size[1])
            self._names = _names(self._camera) if self._detects else None
            self._eyes = Likeness()
            self._alarms = Alarms(
                self._camera.id, self._camera.regions, view, self._new_id, self._camera.lines, self._names, self._eyes
            )
            self._before_s = now.s
        elapsed_s = max(0.0, now.s - self._before_s)
        self._before_s = now.s
        blobs = self._blobs = self._detector.detect(luma, elapsed_s, self._alarms.following)
        self._eyes.see(self._detector.picture, self._detector.mask)
        if blobs or not self._detector.ready:
            self._stirred_s = now.s
        troubles = self._tampering.see(luma, now.s, moving=self._alarms.moving)
        outcome = self._alarms.update(now, blobs, troubles)
        self._detector.excuse(self._alarms.proven)
        if outcome.vanished and self._latest is not None:
            self._keep(outcome.vanished, Moment.END, _frame(*self._latest, size))
        for alarm_id in outcome.seen:
            self._kept.pop((alarm_id, Moment.END), None)
        self._latest = (bgr, now.utc_us)
        if outcome.best or any(decision.alarm.moment for decision in outcome.decisions):
            frame = _frame(bgr, now.utc_us, size)
            self._keep(outcome.best, Moment.BEST, frame)
        else:
            frame = None
        if not outcome.decisions:  # what there is to tell doesn't wait for the detector
            self._name(bgr, now)
        alarms = ended + [self._finished(decision, frame) for decision in outcome.decisions]
        if not self._alarms.open_ids:
            self._latest = None
        return alarms

    def keyframe(self, luma: NDArray[np.uint8], at_s: float) -> None:
        """A picture that was coded anew, whether it is looked at otherwise or not; before it is."""
        self._tampering.keyframe(luma, at_s)

    @property
    def stirs(self) -> bool:
        """Whether the last picture showed anything unusual, or an alarm is open."""
        return bool(self._blobs) or (self._alarms is not None and bool(self._alarms.open_ids))

    @property
    def idle(self) -> bool:
        """Whether nothing has stirred for a while: the model knows the view, and fewer pictures suffice."""
        return self._before_s - self._stirred_s > IDLE_S and self._detector is not None and self._detector.ready

    @property
    def told(self) -> bool:
        """Whether all that is watched for is under way and told: fewer pictures suffice to see when it ends."""
        return self._alarms is not None and self._alarms.told(self._before_s)

    @property
    def moving(self) -> bool:
        """Whether something moved in the last picture."""
        return self._alarms is not None and self._alarms.moving

    @property
    def insight(self) -> Insight:
        """What the last picture was taken for."""
        if self._detector is None or self._alarms is None:
            return Insight(False, None, ())
        return Insight(self._detector.ready, self._detector.mask, tuple(self._alarms.tracks))

    def close(self, now: Instant) -> list[Alarm]:
        """The END of whatever is open."""
        decisions = self._alarms.close(now) if self._alarms else ()
        frame = _Frame(*self._latest) if decisions and self._latest else None
        self._latest = None
        return [self._finished(decision, frame) for decision in decisions]

    def _name(self, bgr: Callable[[], Bgr], now: Instant) -> None:
        """Ask the detector for the kind of one thing, when that is due."""
        track = self._names.wanted(now.s) if self._names else None
        if track is None or self._names is None or self._detects is None or self._detects.busy:
            return
        began_s = time.thread_time()
        try:
            kind = self._detects.kind(bgr(), track.box)
        except DetectorError as error:
            _log.error("camera %s: the detector fails, alarms are told without it: %s", self._camera.id, error)
            self._names.broken = True
            return
        self._names.found(track.number, kind, now.s, time.thread_time() - began_s)

    def _keep(self, alarm_ids: Iterable[str], moment: Moment, frame: _Frame) -> None:
        self._kept |= {(alarm_id, moment): frame for alarm_id in alarm_ids}

    def _finished(self, decision: Decision, frame: _Frame | None) -> Alarm:
        """The alarm with its picture drawn, where it gets one: of the frame that was kept for it, else of `frame`."""
        alarm, moment = decision.alarm, decision.alarm.moment
        if moment in (Moment.BEST, Moment.END):
            frame = self._kept.pop((alarm.alarm_id, moment), frame)
        if alarm.phase is AlarmPhase.END:
            self._kept.pop((alarm.alarm_id, Moment.BEST), None)
        if moment is None or frame is None:
            return alarm
        caption = self._caption.at(frame.utc_us)
        return replace(alarm, picture=render(frame.bgr.copy(), caption, alarm.box, decision.others, decision.path))


def _frame(bgr: Callable[[], Bgr], utc_us: int, size: tuple[int, int]) -> _Frame:
    """A large picture is made small at once, another only when it is sent: most give way to better ones."""
    if size[0] <= LARGE:
        return _Frame(bgr, utc_us)
    small = reduced(bgr())
    return _Frame(lambda: small, utc_us)


@dataclass(frozen=True)
class _Frame:
    """A picture that may be sent."""

    given: Callable[[], Bgr]
    utc_us: int

    @cached_property
    def bgr(self) -> Bgr:
        """As small as it is sent."""
        return reduced(self.given())


def _names(camera: WatchedCamera) -> Names:
    return Names({zone.zone: frozenset(zone.only) for zone in camera.regions if zone.zone and zone.only})


def _view(camera: WatchedCamera, aspect: float) -> View:
    ground = None
    if camera.measures:
        try:
            ground = Ground.fitted(camera.measures, aspect, camera.view_deg)
        except ValueError as error:
            _log.warning("camera %s is not calibrated: %s", camera.id, error)
    return View(aspect, ground, camera.bearing_deg)
