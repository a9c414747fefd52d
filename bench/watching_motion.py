"""Debian's Motion on clips, with its lag behind the live streams measured, so that its times mean something.

Each clip is followed by `STILL_S` of its last picture and then by a mark that nobody can overlook: the whole picture
white and black by turns.  When Motion tells of the mark is its lag at that camera, and its events are moved by that
much.  Where it is more than `MOST_LAG_S` or less than `LEAST_LAG_S`, or the mark was not told of, the clip is played
again in a later batch, and after `TRIES` left out, loudly.  Who still has an event open at the mark (a turned camera,
say) can't tell of it; the worst of its batch stands for it, and each batch has a calm scene besides, so that one tells.
"""

from __future__ import annotations

import fractions
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from bench.scenes.clips import encode
from bench.scenes.labels import Zone
from bench.scenes.stage import FPS, SIZE
from bench.watching_peers import QUIET_S, Watched, mask_of, motion
from bench.watching_score import Told
from edge_agent.clock import US
from tests.peers.cameras import CameraServer, SentFrame
from tests.peers.support import wait_until

AT_ONCE = 8
TRIES = 3
STILL_S, MARK_S = QUIET_S + 1.5, 1.0
MOST_LAG_S, LEAST_LAG_S = 1.0, -0.3
"""A server that stalls goes on at a later picture, and the clip's end comes too early: that is a negative lag."""
LEARNS_S = 4.0
"""Motion tells of an event whenever it begins to look, for up to so long; no scene has one so early."""
MARK_PART = 0.5
"""Of what Motion looks at, the mark changes at least so much."""


@dataclass(frozen=True, slots=True)
class Case:
    """A clip for Motion; its name has no spaces.  Only the zones count, where there are some."""

    name: str
    clip: Path
    seconds: float
    zones: tuple[Zone, ...] = ()
    size: tuple[int, int] = SIZE


@dataclass(frozen=True, slots=True)
class Heard:
    """A line of Motion's hooks: seconds since the clip's first picture, and how many pixels differed at a start."""

    at_s: float
    starts: bool
    pixels: int


def motion_told(
    cases: Sequence[Case], control: Case, folder: Path, say: Callable[[str], None]
) -> dict[str, list[Told]]:  # fmt: skip
    """Motion's events by case, in the clips' time; cases that it never kept up with are missing, and told of."""
    found: dict[str, list[Told]] = {}
    waiting = sorted(cases, key=lambda case: case.seconds)
    for attempt in range(1, TRIES + 1):
        again: list[Case] = []
        for number in range(0, len(waiting), AT_ONCE):
            batch = waiting[number : number + AT_ONCE]
            say(f"Motion looks at clips {number + 1} to {number + len(batch)} of {len(waiting)} (try {attempt})")
            heard = play([*batch, control], folder / f"motion-{attempt}-{number}")
            lags = {case.name: lag_s(heard[case.name], case) for case in [*batch, control]}
            say("… behind by " + ", ".join("?" if lag is None else f"{lag:.2f}" for lag in lags.values()) + " s")
            worst = max((lag for lag in lags.values() if lag is not None), key=abs, default=None)
            for case in batch:
                lag = worst if lags[case.name] is None else lags[case.name]
                if lag is not None and LEAST_LAG_S <= lag <= MOST_LAG_S:
                    found[case.name] = events(heard[case.name], case.seconds, lag)
                else:
                    again.append(case)
        if not again:
            break
        say(f"Motion or its streams did not keep time at {len(again)} clips: {', '.join(one.name for one in again)}")
        waiting = again
    missing = [case.name for case in cases if case.name not in found]
    if missing:
        say(f"MOTION COULD NOT KEEP UP, and is not measured, at {len(missing)} of {len(cases)} clips: {missing}")
    return found


def play(cases: Sequence[Case], folder: Path) -> dict[str, list[Heard]]:
    """Each clip once, all at the same time, from live RTSP streams."""
    folder.mkdir()
    clips = {f"/{case.name}": marked(case.clip, case.size, folder / f"{case.name}.mp4") for case in cases}
    with CameraServer(clips, folder=folder / "server") as server:
        masks = [mask_of(case.zones, folder / f"{case.name}.pgm", case.size) for case in cases]
        cameras = [
            Watched(case.name, server.url(f"/{case.name}"), mask, case.size)
            for case, mask in zip(cases, masks, strict=True)
        ]
        with motion(folder, cameras, 2 * FPS):
            # Opening so many streams takes Motion a while; each clip's time begins with its own first picture.
            wait_until(lambda: all(server.sent(path) for path in clips), 60, "Motion has opened all streams")
            longest = max(case.seconds for case in cases) + STILL_S + MARK_S
            wait_until(
                lambda: all(played(server.sent(f"/{case.name}"), case) for case in cases),
                longest + 120,
                "all was played",
            )
            told = (folder / "events").read_text()
        return {case.name: heard_of(told, case.name, server.sent(f"/{case.name}")) for case in cases}


def played(sent: Sequence[SentFrame], case: Case) -> bool:
    """To its end with the mark, and as long again as a lag may be; then it begins anew."""
    return len(sent) >= (case.seconds + STILL_S + MOST_LAG_S + 0.5) * FPS


def marked(clip: Path, size: tuple[int, int], path: Path) -> Path:
    """The clip with a still end and the mark."""
    with av.open(str(clip)) as whole:
        rate = whole.bit_rate
        for frame in whole.decode(video=0):
            last = frame
    still = np.asarray(last.to_ndarray(format="bgr24"), np.uint8)
    black, white = np.zeros_like(still), np.full_like(still, 255)
    flashes = [white if number // 2 % 2 == 0 else black for number in range(round(MARK_S * FPS))]
    end = encode([still] * round(STILL_S * FPS) + flashes, path.with_suffix(".end.mp4"), size, rate)
    with av.open(str(path), "w", format="mp4") as out:
        stream, began = None, 0
        for part in (clip, end):
            with av.open(str(part)) as container:
                video = container.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                assert stream.codec_context.extradata == video.codec_context.extradata
                number = 0
                for packet in container.demux(video):
                    if packet.size:
                        packet.pts = packet.dts = began + number
                        packet.duration = 1
                        packet.time_base = fractions.Fraction(1, FPS)
                        packet.stream = stream
                        out.mux(packet)
                        number += 1
                began += number
    return path


def heard_of(hooks: str, name: str, sent: Sequence[SentFrame]) -> list[Heard]:
    """Out of the hook's lines `unix seconds, start or end, camera, pixels`."""
    began_s = sent[0].utc_us_pushed / US
    lines = [line.split() for line in hooks.splitlines()]
    return [Heard(float(at) - began_s, what == "start", int(pixels)) for at, what, who, pixels in lines if who == name]


def lag_s(heard: Sequence[Heard], case: Case) -> float | None:
    """How long after the mark Motion told of it, negative when before; None when it did not."""
    mark_s = case.seconds + STILL_S
    area = case.size[0] * case.size[1] * part_of(case.zones)
    for line in heard:
        if line.starts and line.at_s >= mark_s - STILL_S / 2 and line.pixels >= MARK_PART * area:
            return line.at_s - mark_s
    return None


def part_of(zones: Sequence[Zone]) -> float:
    """How much of the picture they cover; zones do not overlap."""
    areas = [cv2.contourArea(np.array(zone.polygon, np.float32)) for zone in zones]
    return sum(areas) if areas else 1.0


def events(heard: Sequence[Heard], seconds: float, lag: float) -> list[Told]:
    """Those that begin before the clip's end, from `LEARNS_S` on, without the time that they are kept open for."""
    found: list[Told] = []
    started_s: float | None = None
    for line in heard:
        at_s = line.at_s - lag
        if line.starts and at_s <= seconds:
            started_s = max(LEARNS_S, at_s)
        elif not line.starts and started_s is not None:
            if at_s - QUIET_S >= LEARNS_S:
                found.append(Told(started_s, max(started_s, at_s - QUIET_S)))
            started_s = None
    if started_s is not None:
        found.append(Told(started_s, float("inf")))
    return found
