"""What is not RTSP, through libav: streams over HTTP, V4L2 devices, and clips played in a loop at their own pace.

The only place of the recorder that knows libav.  Its errors may carry the URL, so none of them is chained or printed:
what is passed on are this module's own words.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet as AvPacket
from av.video.stream import VideoStream

from edge_agent.capture import jpeg, nal
from edge_agent.capture.http_stream import HttpStream
from edge_agent.capture.job import CameraJob
from edge_agent.capture.place import Place, PlaceKind
from edge_agent.capture.source import (
    AUDIO,
    VIDEO,
    AudioTrack,
    CameraFailed,
    Packet,
    PictureCodec,
    StreamInfo,
    VideoTrack,
)
from edge_agent.capture.told import Told
from edge_agent.clock import Clock
from edge_agent.model import CameraFault

OPEN_S = 10.0
READ_S = 10.0
"""Patience with a stream; the recorder's is shorter, but an abandoned reader must end some time."""
_CODECS: dict[str, PictureCodec] = {"h264": "h264", "hevc": "hevc", "mjpeg": "mjpeg"}
_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
_FORMATS = {"multipart/x-mixed-replace": "mpjpeg", "video/mp2t": "mpegts", "video/mp4": "mp4"}
_STREAMS = "mpegts,mov,matroska,flv,mpjpeg,mjpeg,jpeg_pipe,h264,hevc"
"""What else may come over HTTP; nothing among it that would open further addresses."""
_LOOKED_INTO = {"probesize": "500000", "analyzeduration": "500000"}
_ONE_PICTURE = {"probesize": "2048", "analyzeduration": "0"}
_UNTIMED = "mpjpeg"
"""It has no times: each picture is of when it came."""
_TIMELESS = {"mjpeg", "jpeg_pipe", "h264", "hevc"}
"""Of these not even that is known, for they do not tell where a picture ends."""
_ARRIVAL_BASE = Fraction(1, 90_000)
_DEVICE_FORMATS = ("h264", "hevc", "mjpeg")
"""Asked of a device in this order."""
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class PyAvSource:
    """One connection to a stream or device, or a clip (`file://`) that begins again at its end."""

    def __init__(self, camera: CameraJob, clock: Clock) -> None:
        self._camera = camera
        self._clock = clock
        self._place = Place(PlaceKind.FILE, "", "the camera")
        self._http: HttpStream | None = None
        self._container: InputContainer | None = None
        self._info: StreamInfo | None = None
        self._to_annex_b = False
        self._by_arrival = False
        self._sound = ""
        self._never = threading.Event()

    def open(self) -> StreamInfo:
        """Connect and learn what is sent; CameraFailed when there is no usable picture within about 10 s."""
        try:
            self._place = Place.parse(self._camera.url)
        except ValueError:
            raise CameraFailed(CameraFault.BROKEN, "the URL is not that of a camera: check it") from None
        container = self._container = self._connect()
        video = next(iter(container.streams.video), None)
        if video is None:
            raise self._failure() or CameraFailed(CameraFault.NO_VIDEO, f"{self._where} sends no picture")
        for stream in container.streams.audio[:1]:
            self._sound = f"{stream.codec_context.name}, {stream.codec_context.sample_rate} Hz"
        track = self._picture(container, video)
        audio, note = self._audio(container) if self._camera.audio else (None, "")
        self._info = StreamInfo(track, audio, note)
        return self._info

    def packets(self) -> Iterator[Packet]:
        """What arrives, until the camera fails; a file never ends by itself."""
        assert self._container is not None
        assert self._info is not None
        try:
            if self._place.kind is PlaceKind.FILE:
                yield from self._looped(self._container, self._info)
            else:
                yield from self._live(self._container, self._info)
        except av.error.FFmpegError as error:
            raise self._failure() or self._failed(error) from None
        raise self._failure() or CameraFailed(CameraFault.CLOSED, f"{self._where} closed the connection")

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            container.close()
        if self._http is not None:
            self._http.close()

    @property
    def told(self) -> Told:
        """What the camera told of itself while it was asked for its picture, as far as that went."""
        told = self._http.told if self._http else Told()
        return replace(told, sound=self._sound, sound_kept=self._sound.startswith("aac,"))

    # ---- opening

    @property
    def _where(self) -> str:
        return self._place.where

    def _connect(self) -> InputContainer:
        try:
            match self._place.kind:
                case PlaceKind.FILE:
                    return av.open(self._place.path)
                case PlaceKind.DEVICE:
                    return self._device()
            return self._stream()
        except av.error.FFmpegError as error:
            raise self._failure() or self._failed(error) from None
        except (OSError, ValueError) as error:
            raise CameraFailed(CameraFault.BROKEN, f"{self._where}: {type(error).__name__} while opening") from None

    def _stream(self) -> InputContainer:
        self._http = http = HttpStream(self._camera, self._clock)
        http.open(OPEN_S)
        form = _FORMATS.get(http.content_type)
        looked_into = _ONE_PICTURE if form == "mpjpeg" else _LOOKED_INTO
        return av.open(http, "r", format=form, options={"format_whitelist": _STREAMS, **looked_into})

    def _device(self) -> InputContainer:
        """The first of the forms that the device has; without any, what is wrong with it."""
        device = Path(self._place.path)
        if device.exists() and not device.is_char_device():
            raise CameraFailed(CameraFault.NOT_FOUND, f"{self._where} is no video device")
        for form in _DEVICE_FORMATS:
            try:
                return av.open(
                    self._place.path, "r", format="v4l2", options={"input_format": form}, timeout=(OPEN_S, READ_S)
                )
            except av.error.ArgumentError:
                continue  # it is a device, but has not this form
        raise CameraFailed(
            CameraFault.NO_VIDEO, f"{self._where} gives neither H.264, H.265 nor JPEG pictures: use another camera"
        )

    def _picture(self, container: InputContainer, video: VideoStream) -> VideoTrack:
        context = video.codec_context
        codec = _CODECS.get(context.name)
        if codec is None:
            raise CameraFailed(
                CameraFault.NO_VIDEO,
                f"{self._where} sends {context.name}: set the camera to H.264, H.265 or MJPEG to record it",
            )
        if container.format.name in _TIMELESS and self._place.kind is not PlaceKind.FILE:
            raise CameraFailed(
                CameraFault.NO_VIDEO,
                f"{self._where} sends pictures without times: give the URL of its RTSP, MPEG-TS or multipart stream",
            )
        self._by_arrival = container.format.name == _UNTIMED
        extradata = b"" if codec == "mjpeg" else bytes(context.extradata or b"")
        # as MP4 and its kin have them; a filter puts the sets into the stream
        self._to_annex_b = extradata[:1] == b"\1"
        time_base = _ARRIVAL_BASE if self._by_arrival else video.time_base or _ARRIVAL_BASE
        return VideoTrack(codec, time_base, context.width, context.height, b"" if self._to_annex_b else extradata)

    def _audio(self, container: InputContainer) -> tuple[AudioTrack | None, str]:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return None, "no sound can be had from it"
        context = stream.codec_context
        rate, channels = context.sample_rate, context.channels
        if context.name != "aac" or stream.time_base is None or not (context.extradata or rate in _AAC_RATES):
            return None, f"its sound is {context.name}, only AAC is recorded"
        # what comes in ADTS frames has no description of its own: AAC-LC in ISO/IEC 14496-3 §1.6.2
        made = (2 << 11 | (_AAC_RATES.index(rate) if rate in _AAC_RATES else 0) << 7 | channels << 3).to_bytes(2, "big")
        return AudioTrack("aac", stream.time_base, rate, channels, bytes(context.extradata or made)), ""

    # ---- packets

    def _live(self, container: InputContainer, info: StreamInfo) -> Iterator[Packet]:
        video = container.streams.video[0]
        sound = container.streams.audio[0] if info.audio else None
        pictures = self._filter(video, info)
        plain = BitStreamFilterContext("aac_adtstoasc", sound) if sound and not sound.codec_context.extradata else None
        for packet in container.demux([video, sound] if sound else [video]):
            if not packet.size:
                continue
            if packet.stream_index == video.index:
                if self._http is not None:
                    self._http.expect(READ_S)
                for part in pictures.filter(packet) if pictures else [packet]:
                    yield self._packet(part, VIDEO, 0)
            else:
                for part in plain.filter(packet) if plain else [packet]:
                    yield self._packet(part, AUDIO, 0)

    def _looped(self, container: InputContainer, info: StreamInfo) -> Iterator[Packet]:
        """The clip again and again, each packet at its time; timestamps go on growing."""
        began = self._clock.monotonic()
        offset = end = 0
        while True:
            video = container.streams.video[0]
            pictures = self._filter(video, info)
            count, first = 0, None
            for packet in container.demux(video):
                if not packet.size:
                    continue
                for part in pictures.filter(packet) if pictures else [packet]:
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

    def _filter(self, video: VideoStream, info: StreamInfo) -> BitStreamFilterContext | None:
        """What makes Annex B of the form that MP4 has."""
        return BitStreamFilterContext(_ANNEX_B[info.video.codec], video) if self._to_annex_b else None

    def _packet(self, packet: AvPacket[Any], track: int, shift: int) -> Packet:
        arrival_us, arrival = self._clock.utc_us(), self._clock.monotonic()
        pts, dts, duration = packet.pts, packet.dts, packet.duration or 0
        if self._by_arrival:
            pts = dts = int(arrival * _ARRIVAL_BASE.denominator)
            duration = shift = 0
        return Packet(
            track=track,
            data=self._coded(bytes(packet)) if track == VIDEO else bytes(packet),
            pts=None if pts is None else pts + shift,
            dts=None if dts is None else dts + shift,
            duration=duration,
            keyframe=packet.is_keyframe,
            arrival_us=arrival_us,
            arrival_monotonic=arrival,
        )

    def _coded(self, picture: bytes) -> bytes:
        """A picture in the form of `Packet.data`; b"" for what is none."""
        assert self._info is not None
        if self._info.video.codec == "mjpeg":
            return picture if picture.startswith(jpeg.START) else b""
        return nal.length_prefixed(nal.split(picture))

    # ---- failures

    def _failure(self) -> CameraFailed | None:
        """What the connection under libav failed with, which libav does not pass on."""
        return self._http.failure if self._http else None

    def _failed(self, error: av.error.FFmpegError) -> CameraFailed:
        where = self._where
        match error:
            case av.error.FileNotFoundError() | av.error.IsADirectoryError():
                return CameraFailed(CameraFault.NOT_FOUND, f"{where} does not exist")
            case av.error.FFmpegError(errno=errno.ENOTTY):
                return CameraFailed(CameraFault.NOT_FOUND, f"{where} is no video device")
            case av.error.PermissionError():
                return CameraFailed(CameraFault.BROKEN, f"{where} may not be opened: see who may read it")
            case av.error.EOFError() | av.error.ConnectionResetError() | av.error.BrokenPipeError():
                return CameraFailed(CameraFault.CLOSED, f"{where} closed the connection")
            case av.error.InvalidDataError() | av.error.PatchWelcomeError():
                return CameraFailed(CameraFault.BROKEN, f"{where} answers with something that is no camera stream")
            case av.error.TimeoutError() | av.error.ExitError():
                return CameraFailed(CameraFault.STALLED, f"{where} sends nothing any more")
        return CameraFailed(CameraFault.BROKEN, f"{where}: {str(error.strerror or 'unknown error').lower()}")
