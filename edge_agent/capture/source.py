"""What a camera is to the recorder: something that opens, says what it sends, and gives packets until it fails.

`RtspSource` is the product's own client; `PyAvSource` takes what that one does not speak (`sources.make_source`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from edge_agent.capture.rtp import SenderReport
from edge_agent.errors import CameraError
from edge_agent.model import CameraFault

VideoCodec = Literal["h264", "hevc"]
"""Those of NAL units."""
PictureCodec = Literal["h264", "hevc", "mjpeg"]
AudioCodec = Literal["aac"]


class CameraFailed(CameraError):  # noqa: N818 - it is a fact to report, then to retry
    """The camera cannot be had now; `fault` says what is wrong in one word, the message in a line without secrets."""

    def __init__(self, fault: CameraFault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The picture; `extradata` are the parameter sets as Annex B, b"" when they come with the pictures only."""

    codec: PictureCodec
    time_base: Fraction
    width: int
    height: int
    extradata: bytes


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """The sound; `extradata` is the AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2)."""

    codec: AudioCodec
    time_base: Fraction
    sample_rate: int
    channels: int
    extradata: bytes


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the camera sends; packets name a track by its place in `tracks`, the picture is always the first."""

    video: VideoTrack
    audio: AudioTrack | None = None
    note: str = ""
    """What of the camera is not recorded although it was asked for."""


VIDEO = 0
AUDIO = 1


class Packet(NamedTuple):
    """One access unit as the camera encoded it: of H.264 and H.265 each NAL unit behind four bytes of its length, of
    MJPEG a whole JPEG, of AAC a raw frame."""

    track: int
    """VIDEO or AUDIO."""
    data: bytes
    pts: int | None
    """Presentation time in ticks of the track's time base, from an arbitrary start; it may jump."""
    dts: int | None
    duration: int
    """Ticks; 0 when the camera does not tell."""
    keyframe: bool
    arrival_us: int
    """Wall clock when it was complete."""
    arrival_monotonic: float
    damaged: bool = False
    """Something of it was lost on its way."""
    lost_packets: int = 0
    """RTP packets of its track that were lost since the access unit before."""
    report: SenderReport | None = None
    """What the camera said of its clock since the picture before."""


class Source(Protocol):
    """Owned by one thread, which calls `open`, `packets` and `close` in this order; each but `close` may raise
    CameraFailed, and nothing else."""

    def open(self) -> StreamInfo: ...

    def packets(self) -> Iterator[Packet]: ...

    def close(self) -> None: ...


@runtime_checkable
class PolledSource(Source, Protocol):
    """One that need not be waited for, once it is open: one thread can read many of them (`rounds`)."""

    def poll(self) -> list[Packet]:
        """What has come since the last call; CameraFailed when the connection is over."""
        ...
