"""Pictures for people who tune the watching: of a live camera, or of recordings, as the watcher would see them."""

from __future__ import annotations

from collections.abc import Iterator
from io import RawIOBase
from typing import BinaryIO

import av
import av.error
from av.video.stream import VideoStream

from edge_agent.capture.decoder import Decoder, Picture
from edge_agent.capture.source import CameraFailed
from edge_agent.capture.sources import make_source
from edge_agent.capture.watch_job import WatchedCamera
from edge_agent.clock import US, Clock
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraFault


def live(camera: WatchedCamera, clock: Clock, seconds: float) -> Iterator[Picture]:
    """What the camera sends for so long from its first picture on; CameraFailed when it can't be had."""
    source = make_source(camera.stream, clock)
    try:
        info = source.open()
        decoder = Decoder(info.video.codec, info.video.extradata, keyframes_only=camera.keyframes_only)
        began: float | None = None
        for packet in source.packets():
            for picture in decoder.decode(packet):
                began = picture.arrival_monotonic if began is None else began
                yield picture
            if began is not None and packet.arrival_monotonic - began >= seconds:
                return
        if began is None:
            raise CameraFailed(CameraFault.NO_VIDEO, "the camera sends no picture that can be decoded")
    finally:
        source.close()


def recorded(file: BinaryIO | RawIOBase, start_us: int, *, keyframes_only: bool = False) -> Iterator[Picture]:
    """The pictures of one recording that begins at `start_us`, as far as it can be decoded; both clocks are its time.

    file: plain fragmented MP4.  ArchiveError when it is none.
    """
    try:
        container = av.open(file, "r", format="mp4")
    except (av.error.FFmpegError, OSError) as error:
        raise ArchiveError(f"a recording can't be read: {error}") from error
    with container:
        stream = next((one for one in container.streams if isinstance(one, VideoStream)), None)
        if stream is None or stream.time_base is None:
            raise ArchiveError("a recording without a picture")
        stream.codec_context.skip_frame = "NONKEY" if keyframes_only else "NONREF"
        stream.codec_context.thread_count = 1
        try:
            for frame in container.decode(stream):
                if frame.pts is not None and not frame.is_corrupt:
                    at_us = start_us + round(frame.pts * stream.time_base * US)
                    yield Picture(frame, at_us, at_us / US)
        except av.error.FFmpegError:
            # torn or damaged: what comes after the tear is no picture
            return
