"""What others make of the same clips: Debian's Motion from a live stream, and a plain frame difference.

Motion runs with the configuration that its package installs (/etc/motion/motion.conf: despeckle EedDl, noise level
32), except that

- its threshold is the product's own smallest thing, 0.2 % of the picture, and `noise_tune` is off: with its defaults
  (1500 changed pixels, tuned noise level), and with the lower threshold alone, it did not notice the walker by day in
  the scene «walker» of seed 1; of six settings tried there this notices soonest, and is quiet again when he is gone;
- it gets each camera's size, rate and address, and, where the scene has zones, a mask of them;
- an event ends after 4 s without motion (`event_gap`, 60 s by default), as the product's do, or else a second event
  in a scene could never be told;
- streams are probed shortly, and for the quality table (not for CPU) it takes up to 20 pictures a second: what gathers
  while it opens a stream or has no processor would otherwise keep it seconds behind for ever;
- it writes neither pictures nor films and serves none, so that its CPU is that of watching;
- `on_event_start` and `on_event_end` write the time into a file, which is how events are told of.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import psutil

from bench.scenes.labels import Zone
from bench.scenes.stage import FPS, SIZE
from bench.watching_score import Told
from tests.peers.support import ManagedProcess

QUIET_S = 4.0
LEAST_PART = 0.002
"""Part of the picture that must differ, as in the product."""
_PLAIN = Path("/etc/motion/motion.conf")
_OURS = {
    "daemon": "off", "setup_mode": "off", "log_level": "6", "event_gap": round(QUIET_S),
    "noise_tune": "off", "picture_output": "off", "movie_output": "off", "webcontrol_port": 0,
    "stream_port": 0,
}  # fmt: skip
_GONE = ("video_device", "log_file", "target_dir", "width", "height", "threshold")


@dataclass(frozen=True, slots=True)
class Watched:
    """One camera of Motion's."""

    name: str
    url: str
    mask: Path | None = None
    size: tuple[int, int] = SIZE


def mask_of(zones: Sequence[Zone], path: Path, size: tuple[int, int] = SIZE) -> Path | None:
    """A picture (PGM) of the zones, white, as `mask_file` wants it; without zones None: everything counts."""
    if not zones:
        return None
    mask = np.zeros(size[::-1], np.uint8)
    for zone in zones:
        cv2.fillPoly(mask, [np.round(np.array(zone.polygon) * np.array(size)).astype(np.int32)], 255)
    path.write_bytes(b"P5\n%d %d\n255\n" % size + mask.tobytes())
    return path


@contextlib.contextmanager
def motion(folder: Path, cameras: Sequence[Watched], framerate: int = FPS) -> Iterator[psutil.Process]:
    """One process for all cameras; its events go to `folder/events`."""
    hook = folder / "hook"
    hook.write_text(f'#!/bin/sh\necho "$(date +%s.%N) $1 $2 $3" >> {folder}/events\n')
    hook.chmod(0o755)
    ours = {**_OURS, "target_dir": folder, "framerate": framerate}
    lines = [
        line
        for line in _PLAIN.read_text().splitlines()
        if line and line[0] not in ";#" and line.split()[0] not in (*ours, *_GONE)
    ]
    lines += [f"{name} {value}" for name, value in ours.items()]
    for number, camera in enumerate(cameras, start=1):
        own = [
            f"camera_id {number}",
            f"netcam_url {camera.url}",
            f"width {camera.size[0]}",
            f"height {camera.size[1]}",
            f"threshold {round(LEAST_PART * camera.size[0] * camera.size[1])}",
            "netcam_params rtsp_transport=tcp,probesize=32768,analyzeduration=0",
        ]
        own += [f"on_event_start {hook} start {camera.name} %D", f"on_event_end {hook} end {camera.name} 0"]
        own += [f"mask_file {camera.mask}"] if camera.mask else []
        path = folder / f"camera{number}.conf"
        path.write_text("\n".join(own) + "\n")
        lines.append(f"camera {path}")
    (folder / "motion.conf").write_text("\n".join(lines) + "\n")
    (folder / "events").touch()
    with ManagedProcess(["motion", "-n", "-c", folder / "motion.conf"], folder / "motion.log") as process:
        yield psutil.Process(process.pid)


DIFFERS, STEADY = 20, 3
"""Grey levels that count as another, pictures in a row."""


def difference_told(clip: Path, zones: Sequence[Zone], min_area: float = LEAST_PART) -> list[Told]:
    """A plain frame difference, 5 pictures a second at 320 columns: what differs from the picture before."""
    before: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None = None
    inside = np.full((180, 320), 255, np.uint8)
    if zones:
        inside[:] = 0
        for zone in zones:
            cv2.fillPoly(inside, [np.round(np.array(zone.polygon) * np.array((320, 180))).astype(np.int32)], 255)
    found: list[Told] = []
    moving, started_s, moved_s, at_s = 0, None, 0.0, 0.0
    with av.open(str(clip)) as container:
        for number, frame in enumerate(itertools.islice(container.decode(video=0), 0, None, 2)):
            at_s = number * 2 / FPS
            plane = frame.to_ndarray(format="gray")
            now = cv2.GaussianBlur(cv2.resize(plane, (320, 180), interpolation=cv2.INTER_AREA), (5, 5), 0)
            if before is not None:
                differs = np.asarray(cv2.absdiff(now, before) > DIFFERS, np.uint8)
                mask = cv2.bitwise_and(differs, inside)
                moving = moving + 1 if cv2.countNonZero(mask) > min_area * mask.size else 0
            before = now  # type: ignore[assignment]
            if moving >= STEADY:
                moved_s = at_s
                started_s = at_s if started_s is None else started_s
            elif started_s is not None and at_s - moved_s >= QUIET_S:
                found.append(Told(started_s, moved_s))
                started_s = None
    if started_s is not None:
        found.append(Told(started_s, moved_s))
    return found
