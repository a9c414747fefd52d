"""The product's own camera client: one socket around `rtsp.Conversation` and the depacketisers.

Large reads with a pause between them make few wake-ups: a camera's packets are looked at some at a time, as its
socket gathered them.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction

from edge_agent.capture import nal, rtp
from edge_agent.capture.decode_order import DecodeTimes
from edge_agent.capture.depacketize import AccessUnit, Arrival, PictureAssembler, SoundAssembler
from edge_agent.capture.job import CameraJob
from edge_agent.capture.rtsp import Address, Conversation, Redirected, Stage, login_of
from edge_agent.capture.rtsp_login import Login
from edge_agent.capture.rtsp_wire import Interleaved
from edge_agent.capture.source import AUDIO, VIDEO, AudioTrack, CameraFailed, Packet, StreamInfo, VideoCodec, VideoTrack
from edge_agent.capture.tls import judge, reason
from edge_agent.capture.told import Told
from edge_agent.clock import US, Clock
from edge_agent.model import CameraFault

_log = logging.getLogger(__name__)

CONNECT_S = 5.0
OPEN_S = 10.0
SILENCE_S = 10.0
"""The recorder's patience is shorter, but an abandoned reader must end some time."""
READ_S = 1.0
"""How long one read waits: deadlines are looked at in between."""
SEND_S = 5.0
OPEN_BYTES = 32 << 20
"""More than the best of cameras sends in OPEN_S."""
READ_BYTES = 256 << 10
GATHER_S = 0.1
"""How long packets are left to gather in the socket's buffer; a picture is known so much later at most."""
REPORT_S = 5.0
MAX_REDIRECTS = 3
_REORDERED_S = 2
"""Presentation times further apart than this are no reordering but a jump of the camera's clock."""


class RtspSource:
    """One connection to a camera (`rtsp://`, `rtsps://`).  `gather_s` 0 hands each packet on at once."""

    def __init__(self, camera: CameraJob, clock: Clock, *, gather_s: float = GATHER_S) -> None:
        self._camera = camera
        self._clock = clock
        self._gather_s = gather_s
        self._where = "the camera"
        self._socket: socket.socket | None = None
        self._conversation: Conversation | None = None
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._own_ssrc = secrets.randbits(32)
        self._tracks: dict[int, _Track] = {}
        self._controls: dict[int, _Track] = {}
        self._early: list[Interleaved] = []
        """Packets that came before the camera had said that it plays."""
        self._waiting: deque[Packet] = deque()
        """What came while the picture's size was looked for."""
        self._opening_bytes = 0
        self._heard_at = 0.0
        self._reported_at = 0.0

    # ---- Source

    def open(self) -> StreamInfo:
        """Connect and learn what is sent; CameraFailed when there is no usable picture within about 10 s."""
        deadline = self._clock.monotonic() + OPEN_S
        self._start(deadline)
        conversation = self._conversation
        assert conversation is not None
        assert conversation.video is not None
        media = conversation.video.media
        codec = media.codec
        assert codec is not None
        self._heard_at = self._reported_at = self._clock.monotonic()
        video = _Track(VIDEO, media.clock_hz, _Pictures(codec, media.parameter_sets, media.clock_hz))
        self._add(video, conversation.video.rtp, conversation.video.rtcp)
        audio = None
        if conversation.audio is not None:
            sound = conversation.audio.media
            audio = AudioTrack(
                "aac", Fraction(1, sound.clock_hz), sound.clock_hz, max(1, sound.channels), sound.audio_config
            )
            self._add(_Track(AUDIO, sound.clock_hz, _Sound()), conversation.audio.rtp, conversation.audio.rtcp)
        self._waiting.extend(self._sorted(self._early, self._now()))
        self._early = []
        picture = self._picture(codec, media.parameter_sets, deadline)
        track = VideoTrack(codec, Fraction(1, media.clock_hz), picture.width, picture.height, media.parameter_sets)
        return StreamInfo(track, audio, conversation.note)

    def packets(self) -> Iterator[Packet]:
        """What arrives, until the camera fails."""
        while self._waiting:
            yield self._waiting.popleft()
        try:
            while True:
                full = False
                chunk = self._read()
                if chunk:
                    full = len(chunk) == READ_BYTES
                    yield from self._sorted(self._receive(chunk), self._now())
                self._attend()
                if self._gather_s and chunk and not full and not isinstance(self._socket, ssl.SSLSocket):
                    # the clock that is passed in tells time, but only the kernel's own gathers packets
                    time.sleep(self._gather_s)
        except CameraFailed:
            for track in self._tracks.values():
                for unit in track.assembler.finish():
                    yield self._packet(track, unit)
            raise

    def close(self) -> None:
        """Say farewell where that can be done without waiting."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        with contextlib.suppress(OSError):
            if self._conversation is not None:
                self._conversation.end()
                connection.settimeout(0.2)
                connection.sendall(self._conversation.outgoing())
        with contextlib.suppress(OSError):
            connection.close()
        if lost := self.lost_packets:
            _log.warning("camera %s: %d packets were lost, %d pictures damaged", self._camera.id, lost, self.damaged)

    # ---- what was learned of the stream

    @property
    def sender_report(self) -> rtp.SenderReport | None:
        """The camera's own clock, as it last told it for the picture; ticks are those of `Packet.pts`."""
        video = self._of_kind(VIDEO)
        return video.reception.report if video else None

    @property
    def lost_packets(self) -> int:
        """Of all tracks, lost before they came here."""
        return sum(track.reception.lost for track in self._tracks.values())

    @property
    def damaged(self) -> int:
        """Pictures and frames of sound of which something is missing."""
        return sum(track.assembler.damaged for track in self._tracks.values())

    @property
    def told(self) -> Told:
        """What the camera told of itself while it was asked for its picture, as far as that went."""
        return self._conversation.told if self._conversation else Told()

    def _of_kind(self, kind: int) -> _Track | None:
        return next((track for track in self._tracks.values() if track.kind == kind), None)

    # ---- opening

    def _start(self, deadline: float) -> None:
        """Connect, follow redirects, and go on until the camera plays."""
        try:
            first = address = Address.parse(self._camera.url)
            login = self._login()
        except ValueError:
            raise CameraFailed(CameraFault.BROKEN, "the URL is not that of an RTSP camera: check it") from None
        for _ in range(MAX_REDIRECTS + 1):
            self._where = address.where
            try:
                self._socket = self._connected(address)
                # a camera that points elsewhere gets digests only
                trusted = address.secure and (address.host, address.port) == (first.host, first.port)
                basic = trusted or self._camera.basic
                conversation = Conversation(address, login, basic=basic, audio=self._camera.audio)
                self._conversation = conversation
                conversation.begin()
                self._send()
                while conversation.stage is not Stage.PLAYING:
                    if self._clock.monotonic() > deadline:
                        raise CameraFailed(
                            CameraFault.UNREACHABLE, f"{self._where} cannot be reached: no answer in time"
                        )
                    self._early += self._receive(self._read_opening())
                    self._send()
                return
            except Redirected as redirected:
                self.close()
                self._early = []
                address = redirected.address
        raise CameraFailed(CameraFault.BROKEN, f"{first.where} sends its viewers round in circles")

    def _login(self) -> Login | None:
        if self._camera.username is not None:
            return Login(self._camera.username, self._camera.password or "")
        found = login_of(self._camera.url)
        return Login(*found) if found else None

    def _connected(self, address: Address) -> socket.socket:
        try:
            connection = socket.create_connection((address.host, address.port), CONNECT_S)
        except (OSError, UnicodeError) as error:
            raise CameraFailed(CameraFault.UNREACHABLE, f"{self._where} cannot be reached: {reason(error)}") from None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.secure:
                connection = judge(self._camera.ca_file).wrap_socket(connection, server_hostname=address.host)
            connection.settimeout(READ_S)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise CameraFailed(
                CameraFault.UNREACHABLE,
                f"{self._where} shows a certificate that is not trusted here: {error.verify_message.lower()}",
            ) from None
        except (OSError, ValueError) as error:
            connection.close()
            raise CameraFailed(
                CameraFault.UNREACHABLE, f"{self._where} cannot be reached securely: {reason(error)}"
            ) from None
        return connection

    def _picture(self, codec: VideoCodec, sets: bytes, deadline: float) -> nal.Picture:
        """The picture's size, by the description or else by the stream itself."""
        looked = 0
        units = nal.split(sets)
        while True:
            for sps in nal.parameter_sets(codec, units).sps:
                with contextlib.suppress(ValueError):
                    return nal.picture(codec, sps)
            if looked < len(self._waiting):
                units = nal.split(self._waiting[looked].data) if self._waiting[looked].track == VIDEO else []
                looked += 1
                if units and not nal.parameter_sets(codec, units).sps:
                    # nothing can be recorded before the first parameter sets
                    self._waiting.popleft()
                    looked = 0
                continue
            if self._clock.monotonic() > deadline:
                raise CameraFailed(CameraFault.NO_VIDEO, f"{self._where} sends no picture that can be understood")
            self._waiting.extend(self._sorted(self._receive(self._read_opening()), self._now()))
            self._attend()

    def _add(self, track: _Track, data: int, control: int) -> None:
        self._tracks[data] = track
        self._controls[control] = track

    # ---- the socket

    def _read(self) -> bytes:
        """What the socket holds, b"" when that is nothing for READ_S."""
        assert self._socket is not None
        try:
            size = self._socket.recv_into(self._buffer)
        except TimeoutError:
            return b""
        except OSError:
            size = 0
        if not size:
            raise CameraFailed(CameraFault.CLOSED, f"{self._where} closed the connection")
        return bytes(self._buffer[:size])

    def _read_opening(self) -> bytes:
        """As `_read`, while what comes must be kept."""
        chunk = self._read()
        self._opening_bytes += len(chunk)
        if self._opening_bytes > OPEN_BYTES:
            raise CameraFailed(CameraFault.BROKEN, f"{self._where} sends very much, but no picture")
        return chunk

    def _receive(self, chunk: bytes) -> list[Interleaved]:
        assert self._conversation is not None
        return self._conversation.receive(chunk) if chunk else []

    def _send(self) -> None:
        assert self._conversation is not None
        assert self._socket is not None
        data = self._conversation.outgoing()
        if not data:
            return
        try:
            self._socket.settimeout(SEND_S)
            self._socket.sendall(data)
            self._socket.settimeout(READ_S)
        except TimeoutError:
            raise CameraFailed(CameraFault.STALLED, f"{self._where} takes nothing any more") from None
        except OSError:
            raise CameraFailed(CameraFault.CLOSED, f"{self._where} closed the connection") from None

    def _attend(self) -> None:
        """Signs of life and reports that are due; a camera that is silent for long has failed."""
        assert self._conversation is not None
        now = self._clock.monotonic()
        if now - self._heard_at > SILENCE_S:
            raise CameraFailed(CameraFault.STALLED, f"{self._where} sends nothing any more")
        self._conversation.keep_alive(now)
        if now - self._reported_at >= REPORT_S:
            self._reported_at = now
            for channel, track in self._controls.items():
                self._conversation.send(channel, track.reception.receiver_report(self._own_ssrc, now))
        self._send()

    # ---- packets

    def _now(self) -> Arrival:
        return Arrival(self._clock.utc_us(), self._clock.monotonic())

    def _sorted(self, packets: list[Interleaved], now: Arrival) -> Iterator[Packet]:
        """Each packet to its track; gives what those complete."""
        done: list[tuple[_Track, AccessUnit]] = []
        for channel, data in packets:
            track = self._tracks.get(channel)
            if track is not None:
                packet = rtp.parse(data)
                lost = track.reception.take(packet) if packet is not None else None
                if packet is None or lost is None:
                    continue
                if track.kind == VIDEO:
                    self._heard_at = now.monotonic
                units = track.assembler.put(packet, track.reception.ticks(packet.timestamp), lost, now)
                done += [(track, unit) for unit in units]
            elif (control := self._controls.get(channel)) is not None:
                control.reception.hear(data, now.utc_us, now.monotonic)
        newest = max((unit.ticks for track, unit in done if track.kind == VIDEO), default=0)
        for track, unit in done:
            # pictures that were read together did not come together: the earlier came by so much earlier
            early_s = (newest - unit.ticks) / track.clock_hz if track.kind == VIDEO else 0.0
            yield self._packet(track, unit, min(early_s, self._gather_s))

    def _packet(self, track: _Track, unit: AccessUnit, early_s: float = 0.0) -> Packet:
        return Packet(
            track=track.kind,
            data=unit.data,
            pts=unit.ticks,
            dts=track.assembler.decode_time(unit),
            duration=0,
            keyframe=unit.keyframe,
            arrival_us=unit.arrival.utc_us - int(early_s * US),
            arrival_monotonic=unit.arrival.monotonic - early_s,
            damaged=unit.damaged,
        )


class _Pictures(PictureAssembler):
    """A picture track with the decode times of its pictures."""

    def __init__(self, codec: VideoCodec, sets: bytes, clock_hz: int) -> None:
        super().__init__(codec)
        self._codec: VideoCodec = codec
        self._times = DecodeTimes(0, _REORDERED_S * clock_hz)
        self._known_sps: bytes | None = None
        for sps in nal.parameter_sets(codec, nal.split(sets)).sps[-1:]:
            self._learn(sps)

    def decode_time(self, unit: AccessUnit) -> int | None:
        if unit.sps is not None and unit.sps != self._known_sps:
            self._learn(unit.sps)
        return self._times.next(unit.ticks)

    def _learn(self, sps: bytes) -> None:
        self._known_sps = sps
        self._times.set_depth(nal.reorder_depth(self._codec, sps) or 0)


class _Sound(SoundAssembler):
    def decode_time(self, unit: AccessUnit) -> int | None:
        return unit.ticks


class _Track:
    """One track of the connection."""

    def __init__(self, kind: int, clock_hz: int, assembler: _Pictures | _Sound) -> None:
        self.kind = kind
        self.clock_hz = clock_hz
        self.assembler = assembler
        self.reception = rtp.Reception()
