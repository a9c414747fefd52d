"""Packets to pictures: the watcher's decoder, which no stream can kill.

What a broken stream makes libav complain of is counted; decoding goes on at the next keyframe with a fresh decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import av
import av.error
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edge_agent.capture import nal, pictures
from edge_agent.capture.deblocking import Deblocking
from edge_agent.capture.renumber import FrameNumbers, numbered
from edge_agent.capture.source import VIDEO, Packet, PictureCodec

PICTURE_WIDTH = 640
"""Pictures for people are at most so wide."""
_EIGHT_BIT_PLANAR = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "nv21", "gray"}


class Picture:
    """One decoded picture; nothing is converted before it is asked for."""

    def __init__(self, frame: VideoFrame, arrival_us: int, arrival_monotonic: float) -> None:
        self._frame = frame
        self.arrival_us = arrival_us
        self.arrival_monotonic = arrival_monotonic

    @property
    def keyframe(self) -> bool:
        """Whether it was coded anew, without reference to any other."""
        return bool(self._frame.key_frame)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        return self._frame.width, self._frame.height

    def luma(self) -> NDArray[np.uint8]:
        """uint8[h, w]; a view of the decoder's own memory where its format allows."""
        frame = self._frame
        if frame.format.name not in _EIGHT_BIT_PLANAR:
            return cast("NDArray[np.uint8]", frame.to_ndarray(format="gray"))
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: frame.height, : frame.width]

    def bgr(self) -> NDArray[np.uint8]:
        """uint8[h, w, 3], at most 640 wide, writable."""
        width, height = self.size
        scale = min(1.0, PICTURE_WIDTH / width)
        small = self._frame.reformat(
            width=max(2, round(width * scale)), height=max(2, round(height * scale)), format="bgr24"
        )
        return cast("NDArray[np.uint8]", small.to_ndarray())


class Decoder:
    """Decodes one stream on one thread.

    keyframes_only: nothing else is even handed to libav.  Otherwise pictures that no other refers to are passed over:
    the watcher wants fewer than a camera sends anyway.
    """

    def __init__(self, codec: PictureCodec, extradata: bytes = b"", *, keyframes_only: bool = False) -> None:
        self._codec = codec
        self._extradata = extradata
        self._keyframes_only = keyframes_only
        self._context: VideoCodecContext | None = None
        self._deblocking = Deblocking(self._shown)
        self._deblocks = not keyframes_only
        self._held: list[Packet] = []
        """What came since the last picture that was wanted."""
        self.errors = 0
        """Packets that could not be decoded, and pictures that came out damaged."""

    def reset(self) -> None:
        """Packets were lost: go on at the next keyframe."""
        self._context = None
        self._held.clear()
        self._deblocking.lose()

    def decode(self, packet: Packet, *, wanted: bool = True) -> list[Picture]:
        """The pictures that this packet completes, none or one as a rule; never raises for what is in it.

        wanted: otherwise it is decoded when one that builds on it is wanted, and what none is built on, never.  A
        keyframe is always decoded.
        """
        if packet.track != VIDEO or not packet.data:
            return []
        if not packet.keyframe and (self._keyframes_only or self._context is None):
            return []
        if not self._keyframes_only:
            self._deblocking.see(packet)
            if packet.keyframe and self._deblocks != self._deblocking.needed:
                self._deblocks, self._context = self._deblocking.needed, None
        held, self._held = self._held, []
        if not packet.keyframe:
            if not wanted:
                self._held = [*held, packet]
                return []
            for one in held:
                self._decoded(one)
        return self._decoded(packet)

    def _decoded(self, packet: Packet) -> list[Picture]:
        if not packet.keyframe and self._context is None:
            return []
        try:
            if self._context is None:
                self._context = self._opened(self._deblocks)
            frames = self._context.decode(av.Packet(pictures.decodable(self._codec, packet.data)))
            if self._keyframes_only:
                # Without its successors a decoder may keep a picture back for reordering.
                frames += self._context.decode(None)
                self._context.flush_buffers()
        except (av.error.FFmpegError, ValueError, EOFError):
            self.errors += 1
            self._context = None
            return []
        whole = _whole(packet, frames)
        self.errors += len(frames) - len(whole)
        return whole

    def skim(self, packet: Packet, numbers: FrameNumbers, number: int) -> Picture | None:
        """The picture of H.264 as if those since the last one decoded did not exist, `number` being the next one after
        its; None when that can't be had.  Then, and for what is to come out right, decoding begins anew at a keyframe.
        """
        if self._context is None:
            return None
        self._deblocking.lose()
        try:
            units = numbered(nal.units(packet.data), numbers, number)
            frames = self._context.decode(av.Packet(nal.annex_b_of(units)))
        except (av.error.FFmpegError, ValueError, EOFError):
            self._context = None
            return None
        whole = _whole(packet, frames)
        return whole[-1] if whole else None

    def _shown(self, packets: Sequence[Packet], deblocks: bool) -> NDArray[np.uint8] | None:
        """uint8[h, w], the last picture of packets from a keyframe on, decoded apart; None where there is none."""
        context, last = self._opened(deblocks), None
        try:
            for packet in packets:
                for picture in _whole(packet, context.decode(av.Packet(pictures.decodable(self._codec, packet.data)))):
                    last = picture
        except (av.error.FFmpegError, ValueError, EOFError):
            return None
        return None if last is None else last.luma()

    def _opened(self, deblocks: bool) -> VideoCodecContext:
        context = av.CodecContext.create(self._codec, "r")
        context.thread_count = 1
        context.skip_frame = "NONKEY" if self._keyframes_only else "NONREF"
        if not deblocks:
            context.options = {"skip_loop_filter": "all"}
        if self._extradata:
            context.extradata = self._extradata
        return context


def _whole(packet: Packet, frames: list[VideoFrame]) -> list[Picture]:
    return [
        Picture(frame, packet.arrival_us, packet.arrival_monotonic)
        for frame in frames
        if not frame.is_corrupt and frame.width >= 16 and frame.height >= 16
    ]


class Sampler:
    """Which pictures to look at, so that there are at most `fps` a second, evenly spread."""

    def __init__(self, fps: float) -> None:
        self.fewer = False
        """Half as many suffice now, where that is still two a second."""
        self._every_s = 1 / fps
        self._taken: float | None = None
        """When the last picture was due."""
        self._began_s = float("-inf")

    def begin(self, at_s: float) -> None:
        """A group of pictures begins: its keyframe is due in any case and the others count from it, so that less is
        decoded for them.  Not where groups are so short that this would be many more.
        """
        if at_s - self._began_s >= 3.75 * self._step_s:
            self._taken = None
        self._began_s = at_s

    def due(self, at_s: float) -> bool:
        """Whether a picture of this monotonic time would be wanted; a quarter of the interval is forgiven to jitter."""
        return self._taken is None or at_s >= self._taken + self._step_s - 0.25 * self._every_s

    def wants(self, at_s: float) -> bool:
        """Whether the picture of this monotonic time is due; then it counts as taken."""
        if not self.due(at_s):
            return False
        if self._taken is None:
            self._taken = at_s
        else:
            self._taken = max(self._taken + self._step_s, at_s - 0.5 * self._every_s)
        return True

    @property
    def _step_s(self) -> float:
        return 2 * self._every_s if self.fewer and self._every_s <= 0.25 else self._every_s


def fresh(batch: list[tuple[Packet, int]], now_s: float, lag_s: float) -> tuple[list[tuple[Packet, int]], int]:
    """(what to decode of a batch, pictures skipped): whole groups of pictures older than `lag_s` go, oldest first.

    batch: packets, each with the number of pictures lost before it, as `Feed.take` gives them.
    """
    begin = 0
    for index, (packet, _) in enumerate(batch):
        if packet.track == VIDEO and packet.keyframe and now_s - batch[begin][0].arrival_monotonic > lag_s:
            begin = index
    skipped = sum(1 for packet, _ in batch[:begin] if packet.track == VIDEO)
    return batch[begin:], skipped
