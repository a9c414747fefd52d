"""Cameras and files through libav: RTSP over TCP, and clips played in a loop at their own pace.

The only place of the recorder that knows libav.  Its errors carry the URL, and with it the password, so none of them
is chained or printed: what is passed on are this module's own words.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet as AvPacket
from av.stream import Stream

from edge_agent.capture import nal
from edge_agent.capture.job import CameraJob
from edge_agent.capture.source import AUDIO, VIDEO, AudioTrack, CameraFailed, Packet, StreamInfo, VideoTrack
from edge_agent.clock import US, Clock
from edge_agent.model import CameraFault

OPEN_S = 10.0
READ_S = 10.0
"""libav's own patience; the recorder's is shorter, but an abandoned reader must end some time."""
_RTSP_OPTIONS = {
    "rtsp_transport": "tcp",
    "timeout": str(int(READ_S * US)),
    "analyzeduration": "500000",
    "probesize": "500000",
    "user_agent": "edge-agent",
}
_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}


class PyAvSource:
    """One connection to a camera (`rtsp://`, `rtsps://`), or a clip (`file://`) that begins again at its end."""

    def __init__(self, camera: CameraJob, clock: Clock) -> None:
        self._camera = camera
        self._clock = clock
        self._container: InputContainer | None = None
        self._info: StreamInfo | None = None
        self._is_file = camera.url.startswith("file:")
        self._never = threading.Event()

    def open(self) -> StreamInfo:
        """Connect and learn what is sent; CameraFailed when there is no usable picture within about 10 s."""
        self._container = self._connect()
        video = next(iter(self._container.streams.video), None)
        if video is None:
            raise CameraFailed(CameraFault.NO_VIDEO, f"{self._where} sends no picture")
        codec = video.codec_context.name
        if codec not in ("h264", "hevc"):
            raise CameraFailed(
                CameraFault.NO_VIDEO, f"{self._where} sends {codec}: set the camera to H.264 or H.265 to record it"
            )
        context = video.codec_context
        time_base = video.time_base or Fraction(1, 90_000)
        # a file has them in another form, and its filter puts them into the stream
        extradata = b"" if self._is_file else bytes(context.extradata or b"")
        track = VideoTrack("h264" if codec == "h264" else "hevc", time_base, context.width, context.height, extradata)
        audio, note = self._audio() if self._camera.audio else (None, "")
        self._info = StreamInfo(track, audio, note)
        return self._info

    def packets(self) -> Iterator[Packet]:
        """What arrives, until the camera fails; a file never ends by itself."""
        assert self._container is not None
        assert self._info is not None
        try:
            if self._is_file:
                yield from self._looped(self._container, self._info)
            else:
                yield from self._live(self._container, self._info)
        except av.error.FFmpegError as error:
            raise self._failed(error, opened=True) from None
        raise CameraFailed(CameraFault.CLOSED, f"{self._where} closed the connection")

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()

    @property
    def _where(self) -> str:
        """Host and port: paths and queries of cameras' URLs may hold secrets."""
        parts = urlsplit(self._camera.url)
        return "the file" if self._is_file else f"{parts.hostname}:{parts.port or 554}"

    def _connect(self) -> InputContainer:
        try:
            if self._is_file:
                return av.open(_path(self._camera.url))
            media = "video+audio" if self._camera.audio else "video"
            return av.open(
                _with_login(self._camera),
                options={**_RTSP_OPTIONS, "allowed_media_types": media},
                timeout=(OPEN_S, READ_S),
            )
        except av.error.FFmpegError as error:
            raise self._failed(error, opened=False) from None
        except (OSError, ValueError) as error:
            raise CameraFailed(CameraFault.BROKEN, f"{self._where}: {type(error).__name__} while opening") from None

    def _audio(self) -> tuple[AudioTrack | None, str]:
        assert self._container is not None
        stream = next(iter(self._container.streams.audio), None)
        if stream is None:
            return None, "no sound can be had from it"
        context = stream.codec_context
        if context.name != "aac" or not context.extradata or stream.time_base is None:
            return None, f"its sound is {context.name}, only AAC is recorded"
        return AudioTrack("aac", stream.time_base, context.sample_rate, context.channels, bytes(context.extradata)), ""

    def _live(self, container: InputContainer, info: StreamInfo) -> Iterator[Packet]:
        video = container.streams.video[0]
        wanted = [video, container.streams.audio[0]] if info.audio else [video]
        for packet in container.demux(wanted):
            if packet.size:
                yield self._packet(packet, VIDEO if packet.stream_index == video.index else AUDIO, 0)

    def _looped(self, container: InputContainer, info: StreamInfo) -> Iterator[Packet]:
        """The clip again and again, each packet at its time; timestamps go on growing."""
        began = self._clock.monotonic()
        offset = end = 0
        while True:
            video = container.streams.video[0]
            to_annex_b = BitStreamFilterContext(_ANNEX_B[info.video.codec], video)
            count, first = 0, None
            for packet in container.demux(video):
                if not packet.size:
                    continue
                for part in to_annex_b.filter(packet):
                    first = part.dts or 0 if first is None else first
                    shift = offset - first
                    due_s = float(((part.dts or 0) + shift) * info.video.time_base)
                    self._clock.wait(self._never, max(0.0, began + due_s - self._clock.monotonic()))
                    end = max(end, (part.dts or 0) + shift + max(1, part.duration or 0))
                    count += 1
                    yield self._packet(part, VIDEO, shift)
            if not count:
                raise CameraFailed(CameraFault.NO_VIDEO, "the file holds no picture")
            offset = end
            container.close()
            self._container = container = self._connect()

    def _packet(self, packet: AvPacket[Stream], track: int, shift: int) -> Packet:
        return Packet(
            track=track,
            data=nal.length_prefixed(nal.split(bytes(packet))) if track == VIDEO else bytes(packet),
            pts=None if packet.pts is None else packet.pts + shift,
            dts=None if packet.dts is None else packet.dts + shift,
            duration=packet.duration or 0,
            keyframe=packet.is_keyframe,
            arrival_us=self._clock.utc_us(),
            arrival_monotonic=self._clock.monotonic(),
        )

    def _failed(self, error: av.error.FFmpegError, *, opened: bool) -> CameraFailed:
        match error:
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return CameraFailed(CameraFault.LOGIN, f"{self._where} refuses the login: check username and password")
            case av.error.HTTPNotFoundError():
                return CameraFailed(CameraFault.NOT_FOUND, f"{self._where} has no such stream: check the URL's path")
            case av.error.FileNotFoundError() | av.error.IsADirectoryError() if self._is_file:
                return CameraFailed(CameraFault.NOT_FOUND, "the file does not exist")
            case av.error.EOFError() | av.error.ConnectionResetError() | av.error.BrokenPipeError():
                return CameraFailed(CameraFault.CLOSED, f"{self._where} closed the connection")
            case av.error.HTTPServerError():
                return CameraFailed(
                    CameraFault.BROKEN, f"{self._where} reports an error of its own: restart the camera"
                )
            case av.error.InvalidDataError() | av.error.HTTPError() | av.error.PatchWelcomeError():
                return CameraFailed(
                    CameraFault.BROKEN, f"{self._where} answers with something that is no camera stream"
                )
            case OSError() | av.error.ExitError() if not opened:
                return CameraFailed(CameraFault.UNREACHABLE, f"{self._where} cannot be reached: {_reason(error)}")
            case av.error.TimeoutError() | av.error.ExitError():
                return CameraFailed(CameraFault.STALLED, f"{self._where} sends nothing any more")
        return CameraFailed(CameraFault.BROKEN, f"{self._where}: {_reason(error)}")


def _reason(error: av.error.FFmpegError) -> str:
    """The reason without the URL; an interrupted call is libav's word for a time-out."""
    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    return str(error.strerror or "unknown error").lower()


def _with_login(camera: CameraJob) -> str:
    if camera.username is None:
        return camera.url
    parts = urlsplit(camera.url)
    login = quote(camera.username, safe="")
    if camera.password is not None:
        login += f":{quote(camera.password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))


def _path(url: str) -> str:
    return str(Path(unquote(urlsplit(url).path)))
