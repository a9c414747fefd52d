"""The demonstration's camera: a live street scene over RTSP, `python -m edge_agent.demo.camera --port 0`.

Two mounts, `/main` (1280x720, 15 frames a second) and `/sub` (640x360, 5 a second) of the same pictures.  When it
serves, one JSON line on standard output tells `{"port", "main", "sub"}` (URLs without the login).  It ends on SIGTERM
and SIGINT, after `--seconds`, and with the thread that started it.  On a slow machine it makes fewer pictures; the time
of each one stays true.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import fractions
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.frame import PictureType

from edge_agent.clock import Clock, SystemClock
from edge_agent.demo.rtp import CLOCK_HZ, CodedPicture, VideoFormat, format_of, split_annex_b
from edge_agent.demo.rtsp_message import DigestLogin
from edge_agent.demo.rtsp_server import RtspServer
from edge_agent.demo.scene import StreetScene
from edge_agent.demo.scenery import Picture
from edge_agent.errors import EdgeError, UsageError

FPS = 15
KEYFRAME_EVERY_S = 2
MAIN_SIZE, SUB_SIZE = (1280, 720), (640, 360)
SUB_EVERY = 3
"""Of the scene's frames, every third goes to the sub-stream: five a second."""

_PR_SET_PDEATHSIG = 1


class Encoder:
    """Pictures to H.264 without delay: one picture in, one access unit out; parameter sets at each keyframe."""

    def __init__(self, size: tuple[int, int], fps: float, crf: int = 28) -> None:
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = fractions.Fraction(1, CLOCK_HZ)
        context.framerate = fractions.Fraction(fps)
        context.thread_count = 1
        # Keyframes are asked for by time, so that they keep coming every two seconds when pictures are left out.
        context.gop_size = 100_000
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": str(crf),
            "forced-idr": "1",
            "x264-params": "scenecut=0:repeat-headers=1",
        }
        self._context = context
        self._period = -1

    def encode(self, picture: Picture, timestamp: int, utc_us: int) -> CodedPicture:
        """Encode uint8[h, w, 3] BGR taken at `timestamp` (1/90000 s)."""
        planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = timestamp
        frame.time_base = fractions.Fraction(1, CLOCK_HZ)
        period = timestamp // (KEYFRAME_EVERY_S * CLOCK_HZ)
        if period != self._period:
            frame.pict_type = PictureType.I
            self._period = period
        packets = self._context.encode(frame)
        return CodedPicture(split_annex_b(b"".join(bytes(packet) for packet in packets)), timestamp, utc_us)


@dataclass(frozen=True, slots=True)
class Shot:
    """What the camera made of one frame of the scene: a picture for each mount that gets one."""

    number: int
    coded: dict[str, CodedPicture]


def shots(scene: StreetScene, clock: Clock, stop: threading.Event, fps: int = FPS) -> Iterator[Shot]:
    """Film the scene in real time until `stop`; frames whose time has passed are left out.  Sets the scene's clock."""
    main, sub = Encoder(MAIN_SIZE, fps), Encoder(SUB_SIZE, fps / SUB_EVERY)
    scene.clock_us = clock.utc_us()
    began = clock.monotonic()
    number, sub_due = 0, 0
    while True:
        due_s = number / fps - (clock.monotonic() - began)
        if (due_s > 0 and clock.wait(stop, due_s)) or stop.is_set():
            return
        timestamp, utc_us = number * CLOCK_HZ // fps, clock.utc_us()
        picture = scene.frame(number)
        coded = {"/main": main.encode(picture, timestamp, utc_us)}
        if number >= sub_due:
            small = cv2.resize(picture, SUB_SIZE, interpolation=cv2.INTER_AREA)
            coded["/sub"] = sub.encode(np.asarray(small, np.uint8), timestamp, utc_us)
            sub_due = number - number % SUB_EVERY + SUB_EVERY
        yield Shot(number, coded)
        number = max(number + 1, int((clock.monotonic() - began) * fps))


async def film(
    port: int,
    seconds: float | None,
    login: DigestLogin | None,
    stop: asyncio.Event,
    ready: Callable[[RtspServer], None],
    clock: Clock,
) -> None:
    """Serve the scene until `stop` or for `seconds`; `ready` is called once clients are welcome."""
    loop = asyncio.get_running_loop()
    scene = StreetScene(MAIN_SIZE, FPS)
    halt = threading.Event()
    filming = shots(scene, clock, halt)
    first = await asyncio.to_thread(next, filming)
    formats: dict[str, VideoFormat] = {
        path: format_of(coded, FPS if path == "/main" else FPS / SUB_EVERY) for path, coded in first.coded.items()
    }
    async with RtspServer(formats, port=port, login=login, clock=clock) as server:

        def publish(shot: Shot) -> None:
            for path, coded in shot.coded.items():
                server.publish(path, coded)

        def run() -> None:
            for shot in filming:
                loop.call_soon_threadsafe(publish, shot)

        ready(server)
        work = asyncio.ensure_future(asyncio.to_thread(run))
        ending = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({work, ending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            halt.set()
            ending.cancel()
            await work


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the starting thread ends (prctl(2)); UsageError when it is gone already."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        raise UsageError("whoever started the camera has ended: nothing to do")


def parse_login(text: str) -> DigestLogin:
    """`user:password`; UsageError otherwise."""
    user, colon, password = text.partition(":")
    if not (user and colon and password) or '"' in user:
        raise UsageError("--login: user:password expected")
    return DigestLogin(user, password)


def announce(server: RtspServer) -> None:
    print(json.dumps({"port": server.port, "main": server.url("/main"), "sub": server.url("/sub")}), flush=True)


async def amain(port: int, seconds: float | None, login: DigestLogin | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await film(port, seconds, login, stop, announce, SystemClock())


def main() -> int:
    parser = argparse.ArgumentParser(prog="edge_agent.demo.camera", description="A live street scene over RTSP.")
    parser.add_argument("--port", type=int, default=0, help="TCP port on the loopback interface; 0 takes a free one")
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    parser.add_argument("--login", help="user:password, asked for by digest")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        end_with_parent()
        asyncio.run(amain(given.port, given.seconds, parse_login(given.login) if given.login else None))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
