"""A detector that the city supplies: what a crop of a picture shows, by an ONNX model through OpenCV.

The only module that touches `cv2.dnn`.  The model is somebody's file: whatever it does wrong is a DetectorError in
plain words, never the end of the watcher.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_agent.capture.watch_job import DetectorJob, DetectorLayout
from edge_agent.errors import ConfigError
from edge_agent.model import Box, Kind

Bgr = NDArray[np.uint8]
_Plane = NDArray[np.float32]
MAX_BYTES = 512 << 20
AROUND = 1.6
"""The crop is so many times as large as the thing: a detector wants to see what is around it."""
LEAST_CROP = 0.2
"""… and no smaller than this part of the picture's height."""
_GREY = 114
_HELP = "docs/watching.md, «A detector», tells what can be used"


class DetectorError(ConfigError):
    """The model can't be used: the text says why and what to do."""


class Found(NamedTuple):
    """One thing that the model sees, in parts of what it was given."""

    number: int
    score: float
    box: Box


class Detector:
    """One model, loaded and tried once; for several threads, one at a time."""

    def __init__(self, job: DetectorJob) -> None:
        """DetectorError when the model can't be used."""
        self._job = job
        self._kinds = {number: kind for kind, numbers in job.kinds for number in numbers}
        self._lock = threading.Lock()
        path = Path(job.model)
        if not path.is_file():
            raise DetectorError(f"{path}: there is no such file: name the ONNX model that the city supplies")
        if path.stat().st_size > MAX_BYTES:
            raise DetectorError(f"{path}: larger than {MAX_BYTES >> 20} MB: choose a smaller model")
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except Exception as error:  # whatever a binding makes of a foreign file
            raise DetectorError(f"{path}: no ONNX model that OpenCV can load ({_short(error)}); {_HELP}") from error
        grey = np.full((job.size[1], job.size[0], 3), _GREY, np.uint8)
        self._run(grey)  # the first time costs more than any other
        began_s = time.perf_counter()
        output = self._run(grey)
        self.took_s = time.perf_counter() - began_s
        """What a picture took."""
        try:
            self.layout = layout_of(output.shape, job.layout)
            classes = classes_of(output.shape, self.layout)
        except ValueError as error:
            raise DetectorError(f"{path}: {error}; {_HELP}") from error
        unknown = [number for number in self._kinds if classes is not None and number >= classes]
        if unknown:
            raise DetectorError(f"{path}: it knows classes 0 … {classes - 1 if classes else 0}, not {min(unknown)}")

    @property
    def busy(self) -> bool:
        """Whether another camera is asking: waiting would make this one's pictures stale."""
        return self._lock.locked()

    def kind(self, picture: Bgr, box: Box) -> Kind | None:
        """What the thing in `box` is; None when the model doesn't know it.

        picture: uint8[h, w, 3].  DetectorError when the model fails.
        """
        crop, place = cropped(picture, box)
        given, part = _fitted(crop, self._job.size)
        try:
            things = read(self._run(given), self.layout, self._job.size)
        except (ValueError, FloatingPointError) as error:
            raise DetectorError(f"{self._job.model}: {error}") from error
        best: tuple[float, Kind] | None = None
        for thing in things:
            kind = self._kinds.get(thing.number)
            if kind is None or thing.score < self._job.threshold or not np.isfinite(thing.score):
                continue
            if _common(_placed(thing.box, part, place), box) and (best is None or thing.score > best[0]):
                best = thing.score, kind
        return best[1] if best else None

    def _run(self, picture: Bgr) -> _Plane:
        """What the model says of a picture in its size."""
        scale, mean = {"0..1": (1 / 255, 0.0), "0..255": (1.0, 0.0), "-1..1": (1 / 127.5, 127.5)}[self._job.pixels]
        blob = cv2.dnn.blobFromImage(picture, scale, self._job.size, (mean, mean, mean), swapRB=self._job.rgb)
        with self._lock:
            try:
                self._net.setInput(blob)
                outputs = self._net.forward(self._net.getUnconnectedOutLayersNames())
            except Exception as error:
                wide, high = self._job.size
                raise DetectorError(
                    f"{self._job.model}: it can't take a picture of {wide}x{high} ({_short(error)}); set `size`"
                ) from error
        if len(outputs) != 1:
            raise DetectorError(f"{self._job.model}: it has {len(outputs)} outputs, one is wanted; {_HELP}")
        return np.asarray(outputs[0], np.float32)


def layout_of(shape: Sequence[int], asked: DetectorLayout | None = None) -> DetectorLayout:
    """How a model's output is to be read; ValueError when its shape doesn't tell, or contradicts what was asked for."""
    if len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7:
        found: DetectorLayout | None = "ssd"
    elif len(shape) == 3 and shape[0] == 1:
        rows, columns = shape[1:]
        if asked in ("yolov5", "yolov8"):
            found = asked if min(rows, columns) > (5 if asked == "yolov5" else 4) else None
        elif columns == 6:
            if asked is None:
                raise ValueError(f'an output of {_by(shape)} has two meanings: set `layout` to "boxes" or "yolov5"')
            found = "boxes"
        elif 4 < rows < columns:
            found = "yolov8"
        else:
            found = "yolov5" if 5 < columns < rows else None
    else:
        found = None
    if found is None or asked not in (None, found):
        wanted = f"not one of {asked}" if asked else "of no kind that is known (YOLO v5, v8, boxes, SSD)"
        raise ValueError(f"its output of {_by(shape)} is {wanted}")
    return found


def classes_of(shape: Sequence[int], layout: DetectorLayout) -> int | None:
    """How many classes the model knows, where its output's shape tells."""
    if layout == "yolov8":
        return min(shape[1:]) - 4
    return min(shape[1:]) - 5 if layout == "yolov5" else None


def read(output: _Plane, layout: DetectorLayout, size: tuple[int, int]) -> list[Found]:
    """The things in an output; boxes in parts of the picture given, the best 100.  ValueError on another shape.

    yolov8: [1, 4 + classes, things] or turned; centre, size, score of each class.  yolov5: [1, things, 5 + classes] or
    turned; centre, size, how surely a thing, score of each class.  boxes: [1, things, 6]; corners, score, class.
    All in pixels of what was given.  ssd: [1, 1, things, 7]; picture, class, score, corners as parts.
    """
    if layout_of(output.shape, layout) != layout:  # a model may answer otherwise than it did at first
        raise ValueError(f"an output of {_by(output.shape)} is not one of {layout}")
    rows = output.reshape(-1, output.shape[-1]) if output.ndim == 4 else output[0]
    if layout in ("yolov5", "yolov8") and rows.shape[0] < rows.shape[1]:
        rows = rows.T
    wide, high = size
    if layout == "ssd":
        numbers, scores, corners = rows[:, 1], rows[:, 2], rows[:, 3:7]
    elif layout == "boxes":
        numbers, scores, corners = rows[:, 5], rows[:, 4], rows[:, :4] / (wide, high, wide, high)
    else:
        classes = rows[:, 4:] if layout == "yolov8" else rows[:, 5:] * rows[:, 4:5]
        numbers, scores = classes.argmax(1), classes.max(1)
        half = rows[:, 2:4] / 2
        corners = np.hstack([rows[:, :2] - half, rows[:, :2] + half]) / (wide, high, wide, high)
    whole = np.isfinite(scores) & np.isfinite(corners).all(1) & np.isfinite(numbers)
    best = [n for n in np.argsort(-np.where(whole, scores, -np.inf))[:100] if whole[n]]
    return [_found(float(numbers[n]), float(scores[n]), cast("_Plane", corners[n])) for n in best]


def cropped(picture: Bgr, box: Box) -> tuple[Bgr, Box]:
    """(what is around the thing, where that is in the picture)"""
    high, wide = picture.shape[:2]
    side = max(AROUND * box.width * wide, AROUND * box.height * high, LEAST_CROP * high)
    x, y = (box.x + box.width / 2) * wide, (box.y + box.height / 2) * high
    x0, x1 = (round(min(max(x + part * side / 2, 0), wide)) for part in (-1, 1))
    y0, y1 = (round(min(max(y + part * side / 2, 0), high)) for part in (-1, 1))
    if x1 - x0 < 2 or y1 - y0 < 2:
        x0, y0, x1, y1 = 0, 0, wide, high
    return picture[y0:y1, x0:x1], Box(x0 / wide, y0 / high, (x1 - x0) / wide, (y1 - y0) / high)


def _fitted(crop: Bgr, size: tuple[int, int]) -> tuple[Bgr, Box]:
    """The crop in the model's size, its shape kept, on grey; and where it is in there."""
    high, wide = crop.shape[:2]
    scale = min(size[0] / wide, size[1] / high)
    new = (max(1, round(wide * scale)), max(1, round(high * scale)))
    given = np.full((size[1], size[0], 3), _GREY, np.uint8)
    given[: new[1], : new[0]] = cv2.resize(crop, new)
    return given, Box(0, 0, new[0] / size[0], new[1] / size[1])


def _found(number: float, score: float, corners: _Plane) -> Found:
    x0, y0, x1, y1 = (float(value) for value in corners)
    return Found(int(number), score, Box(x0, y0, x1 - x0, y1 - y0))


def _placed(box: Box, part: Box, place: Box) -> Box:
    """From parts of what the model was given to parts of the picture."""
    across, down = place.width / part.width, place.height / part.height
    return Box(place.x + box.x * across, place.y + box.y * down, box.width * across, box.height * down)


def _common(found: Box, thing: Box) -> bool:
    """Whether it is this thing and not its neighbour: one holds the other's middle."""

    def holds(a: Box, b: Box) -> bool:
        x, y = b.x + b.width / 2, b.y + b.height / 2
        return a.x <= x <= a.x + a.width and a.y <= y <= a.y + a.height

    return holds(found, thing) or holds(thing, found)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _short(error: Exception) -> str:
    """A foreign library's complaint in a line."""
    words = " ".join(str(error).split())
    return words if len(words) <= 160 else f"{words[:160]}…"
