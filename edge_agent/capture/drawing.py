"""Pictures that people tune zones by: a still with a grid, a film of what the watcher sees.

OpenCV draws here, and PyAV encodes; the watcher's own process never comes here.  Labels are ids, for OpenCV's letters
are ASCII.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.capture.analysis import Insight
from edge_agent.capture.regions import Point
from edge_agent.capture.zone_check import Shape
from edge_agent.clock import US
from edge_agent.errors import EdgeError
from edge_agent.model import Box

Bgr = NDArray[np.uint8]
"""uint8[h, w, 3]"""
Colour = tuple[int, int, int]

_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (170, 170, 170)
_YELLOW, _GREEN, _AMBER, _RED, _BLUE = (0, 230, 255), (60, 220, 60), (0, 170, 255), (50, 50, 240), (240, 160, 40)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FOOT = 20
_TIME_BASE = Fraction(1, 1000)


def still(picture: Bgr, shapes: Iterable[Shape], faults: Iterable[Point], caption: str) -> bytes:
    """A JPEG with a grid in tenths, the shapes, and a cross where something is wrong.

    picture: uint8[h, w, 3]; it is drawn on.
    """
    _grid(picture)
    for shape in shapes:
        _shape(picture, shape, _YELLOW, filled=True)
    for point in faults:
        x, y = _at(picture, point)
        cv2.drawMarker(picture, (x, y), _RED, cv2.MARKER_TILTED_CROSS, 18, 3, cv2.LINE_AA)
    done, jpeg = cv2.imencode(".jpg", _footed(picture, [(caption, _WHITE)]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise EdgeError("the picture could not be encoded")
    return jpeg.tobytes()


@dataclass(frozen=True, slots=True)
class Scene:
    """What is told of one picture of the film."""

    caption: str
    insight: Insight
    alarmed: frozenset[str | None]
    """Places where an alarm is open; None: the whole picture."""
    boxes: tuple[Box, ...]
    """That alarms were just told with."""
    news: tuple[str, ...]
    """The last decisions, oldest first."""


NEWS_LINES = 3


def scene(picture: Bgr, shapes: Iterable[Shape], shown: Scene) -> Bgr:
    """One picture of the film, uint8[h, w, 3]: what differs in red, what is followed in amber with number and way,
    zones in yellow and red while they alarm, and the decisions below.

    picture is drawn on.
    """
    insight = shown.insight
    if insight.mask is not None:
        mask = cv2.resize(insight.mask, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_NEAREST)
        tint = np.zeros_like(picture)
        tint[:] = _RED
        picture[mask > 0] = cv2.addWeighted(picture, 0.45, tint, 0.55, 0)[mask > 0]
    for shape in shapes:
        _shape(picture, shape, _RED if shape.place in shown.alarmed else _YELLOW)
    if None in shown.alarmed:
        cv2.rectangle(picture, (0, 0), (picture.shape[1] - 1, picture.shape[0] - 1), _RED, 3)
    for track in insight.tracks:
        _box(picture, track.box, _AMBER, 1)
        _way(picture, track.path)
        x, y = _at(picture, (track.box.x, track.box.y))
        _label(picture, f"#{track.number}", (x, y - 4), _AMBER)
    for box in shown.boxes:
        _box(picture, box, _GREEN, 2)
    status = shown.caption if insight.ready else f"{shown.caption}  (learning)"
    news = [(line, _GREEN) for line in shown.news[-NEWS_LINES:]]
    return _footed(picture, [(status, _WHITE), *news, *[("", _WHITE)] * (NEWS_LINES - len(news))])


class Film:
    """An MP4 (H.264) in memory that is written picture by picture and plays at the speed of life.

    `with Film() as film:` – then `film.data`.  It never touches a disk: what it shows may have to be sealed first.
    """

    def __init__(self) -> None:
        self._sink = BytesIO()
        self._stream: av.VideoStream | None = None
        self._began_us = 0
        self._last = -1
        self.pictures = 0

    @property
    def data(self) -> bytes:
        """The file, once it is finished."""
        return self._sink.getvalue()

    def __enter__(self) -> Self:
        self._container = av.open(self._sink, "w", format="mp4")
        return self

    def add(self, picture: Bgr, at_us: int) -> None:
        """picture: uint8[h, w, 3] of the same size each time; at_us: its time, not before the last one's."""
        height, width = (side // 2 * 2 for side in picture.shape[:2])
        if self._stream is None:
            self._began_us = at_us
            self._stream = self._container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._stream.codec_context.time_base = _TIME_BASE
        elif (self._stream.width, self._stream.height) != (width, height):
            return
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="bgr24")
        self._last = max(self._last + 1, (at_us - self._began_us) * 1000 // US)
        frame.pts, frame.time_base = self._last, _TIME_BASE
        self._container.mux(self._stream.encode(frame))
        self.pictures += 1

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _grid(picture: Bgr) -> None:
    height, width = picture.shape[:2]
    for tenth in range(1, 10):
        x, y = round(width * tenth / 10), round(height * tenth / 10)
        cv2.line(picture, (x, 0), (x, height), _GREY, 1)
        cv2.line(picture, (0, y), (width, y), _GREY, 1)
        _label(picture, f".{tenth}", (x + 2, 12), _WHITE)
        _label(picture, f".{tenth}", (2, y - 3), _WHITE)


def _shape(picture: Bgr, shape: Shape, colour: Colour, *, filled: bool = False) -> None:
    corners = np.array([_at(picture, point) for point in shape.points], np.int32)
    if filled and shape.closed:
        tint = picture.copy()
        cv2.fillPoly(tint, [corners], colour)
        cv2.addWeighted(tint, 0.2, picture, 0.8, 0, picture)
    cv2.polylines(picture, [corners], shape.closed, colour, 2, cv2.LINE_AA)
    if not shape.closed and len(corners) > 1:
        tip = min(1.0, 12 / max(1.0, math.dist(corners[-2], corners[-1])))
        cv2.arrowedLine(picture, corners[-2].tolist(), corners[-1].tolist(), colour, 2, cv2.LINE_AA, tipLength=tip)
    x, y = corners.min(axis=0).tolist() if shape.closed else corners[0].tolist()
    _label(picture, shape.place, (x + 4, y + 16), _WHITE if colour == _RED else colour)


def _box(picture: Bgr, box: Box, colour: Colour, thick: int) -> None:
    corner = _at(picture, (box.x + box.width, box.y + box.height))
    cv2.rectangle(picture, _at(picture, (box.x, box.y)), corner, colour, thick)


def _way(picture: Bgr, path: Sequence[Point]) -> None:
    points = np.array([_at(picture, point) for point in path], np.int32)
    if len(points) > 1:
        cv2.polylines(picture, [points], False, _BLUE, 1, cv2.LINE_AA)


def _label(picture: Bgr, text: str, foot: tuple[int, int], colour: Colour) -> None:
    x, y = max(1, foot[0]), max(11, foot[1])
    cv2.putText(picture, text, (x, y), _FONT, 0.42, _BLACK, 3, cv2.LINE_AA)
    cv2.putText(picture, text, (x, y), _FONT, 0.42, colour, 1, cv2.LINE_AA)


def _footed(picture: Bgr, lines: Sequence[tuple[str, Colour]]) -> Bgr:
    """With a black foot that has a line of text for each."""
    foot = np.zeros((_FOOT * len(lines), picture.shape[1], 3), np.uint8)
    for number, (text, colour) in enumerate(lines):
        cv2.putText(foot, text, (6, _FOOT * number + 14), _FONT, 0.42, colour, 1, cv2.LINE_AA)
    return np.vstack([picture, foot])


def _at(picture: Bgr, point: Point) -> tuple[int, int]:
    return round(point[0] * (picture.shape[1] - 1)), round(point[1] * (picture.shape[0] - 1))
