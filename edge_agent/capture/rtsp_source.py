"""The product's own camera client: one socket around `rtsp.Conversation` and the depacketisers.

Once it is open it never waits: `poll` takes what the socket has gathered.  Polled a few times a second (`rounds`), it
costs few system calls.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

from edge_agent.capture import nal, rtp
from edge_agent.capture.depacketize import AccessUnit, Arrival
from edge_agent.capture.job import CameraJob
from edge_agent.capture.rtsp import Address, Conversation, Redirected, Stage, login_of
from edge_agent.capture.rtsp_login import Login
from edge_agent.capture.rtsp_track import Pictures, Sound, Track
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
READ_BYTES = 512 << 10
"""What gathers between two rounds mostly comes in one piece."""
POLL_BYTES = 4 << 20
"""Taken at once of a camera that sends without end, lest the others wait."""
GATHER_S = 0.1
"""Between two polls of `packets`."""
REPORT_S = 5.0
MAX_REDIRECTS = 3


class RtspSource:
    """One connection to a camera (`rtsp://`, `rtsps://`)."""

    def __init__(self, camera: CameraJob, clock: Clock) -> None:
        self._camera = camera
        self._clock = clock
        self._where = "the camera"
        self._socket: socket.socket | None = None
        self._conversation: Conversation | None = None
        self._unsent = b""
        self._own_ssrc = secrets.randbits(32)
        self._tracks: dict[int, Track] = {}
        self._controls: dict[int, Track] = {}
        self._early: list[Interleaved] = []
        """Packets that came before the camera had said that it plays."""
        self._waiting: list[Packet] = []
        """Complete, and not given out yet."""
        self._opening_bytes = 0
        self._heard_at = 0.0
        self._reported_at = 0.0
        self._polled_at = 0.0
        self._sent_at = 0.0
        """When the socket last took what there was to send."""
        self._failure: CameraFailed | None = None
        """Told when all that came before it has been."""

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
        self._heard_at = self._reported_at = self._polled_at = self._sent_at = self._clock.monotonic()
        pictures = Pictures(codec, media.parameter_sets, media.clock_hz)
        self._add(Track(VIDEO, media.clock_hz, pictures), conversation.video.rtp, conversation.video.rtcp)
        audio = None
        if conversation.audio is not None:
            sound = conversation.audio.media
            audio = AudioTrack(
                "aac", Fraction(1, sound.clock_hz), sound.clock_hz, max(1, sound.channels), sound.audio_config
            )
            self._add(Track(AUDIO, sound.clock_hz, Sound()), conversation.audio.rtp, conversation.audio.rtcp)
        self._sort(self._early)
        self._early = []
        picture = self._picture(codec, media.parameter_sets, deadline)
        track = VideoTrack(codec, Fraction(1, media.clock_hz), picture.width, picture.height, media.parameter_sets)
        assert self._socket is not None
        self._socket.settimeout(0)
        return StreamInfo(track, audio, conversation.note)

    def poll(self) -> list[Packet]:
        """What has come since the last call, without waiting; CameraFailed when the connection is over."""
        if self._failure is not None:
            raise self._failure
        try:
            self._drain()
            self._attend()
        except CameraFailed as failure:
            self._failure = failure
            for track in self._tracks.values():
                self._waiting.extend(self._packet(track, unit) for unit in track.assembler.finish())
        packets, self._waiting = self._waiting, []
        self._polled_at = self._clock.monotonic()
        if not packets and self._failure is not None:
            raise self._failure
        return packets

    def packets(self) -> Iterator[Packet]:
        """What arrives, until the camera fails."""
        while True:
            packets = self.poll()
            yield from packets
            if self._socket is None:
                return
            # the clock that is passed in tells time, but only the kernel's own gathers packets
            if packets:
                time.sleep(GATHER_S)
            select.select([self._socket], [], [], READ_S)

    def close(self) -> None:
        """Say farewell where that can be done without waiting."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        with contextlib.suppress(OSError):
            if self._conversation is not None:
                self._conversation.end()
                connection.send(self._unsent + self._conversation.outgoing())
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

    def _of_kind(self, kind: int) -> Track | None:
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
                self._send(self._clock.monotonic())
                while conversation.stage is not Stage.PLAYING:
                    if self._clock.monotonic() > deadline:
                        raise CameraFailed(
                            CameraFault.UNREACHABLE, f"{self._where} cannot be reached: no answer in time"
                        )
                    self._early += conversation.receive(self._read_opening())
                    self._send(self._clock.monotonic())
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
                units = nal.units(self._waiting[looked].data) if self._waiting[looked].track == VIDEO else []
                looked += 1
                if units and not nal.parameter_sets(codec, units).sps:
                    # nothing can be recorded before the first parameter sets
                    del self._waiting[0]
                    looked = 0
                continue
            if self._clock.monotonic() > deadline:
                raise CameraFailed(CameraFault.NO_VIDEO, f"{self._where} sends no picture that can be understood")
            self._take(self._read_opening())
            self._attend()

    def _add(self, track: Track, data: int, control: int) -> None:
        self._tracks[data] = track
        self._controls[control] = track

    # ---- the socket

    def _read_opening(self) -> bytes:
        """What the socket holds, b"" when that is nothing for READ_S; all of it is kept."""
        assert self._socket is not None
        try:
            chunk = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return b""
        except OSError:
            chunk = b""
        if not chunk:
            raise self._closed()
        self._opening_bytes += len(chunk)
        if self._opening_bytes > OPEN_BYTES:
            raise CameraFailed(CameraFault.BROKEN, f"{self._where} sends very much, but no picture")
        return chunk

    def _drain(self) -> None:
        """Take what the socket has gathered; a TLS socket gives a record at a time."""
        assert self._socket is not None
        secure = isinstance(self._socket, ssl.SSLSocket)
        left = POLL_BYTES
        while left > 0:
            try:
                chunk = self._socket.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                chunk = b""
            if not chunk:
                raise self._closed()
            self._take(chunk)
            left -= len(chunk)
            if len(chunk) < READ_BYTES and not secure:
                return

    def _closed(self) -> CameraFailed:
        return CameraFailed(CameraFault.CLOSED, f"{self._where} closed the connection")

    def _send(self, now: float) -> None:
        """Hand over what is to be sent, as far as the socket takes it."""
        assert self._conversation is not None
        assert self._socket is not None
        data = self._unsent + self._conversation.outgoing()
        if not data:
            self._sent_at = now
            return
        try:
            self._unsent = data[self._socket.send(data) :] if data else b""
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._unsent = data
        except OSError:
            raise self._closed() from None
        if not self._unsent:
            self._sent_at = now
        elif now - self._sent_at > SEND_S:
            raise CameraFailed(CameraFault.STALLED, f"{self._where} takes nothing any more")

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
        self._send(now)

    # ---- packets

    def _take(self, chunk: bytes) -> None:
        """Sort what came, act on what the camera says between packets."""
        assert self._conversation is not None
        if chunk:
            self._sort(self._conversation.receive(chunk), self._conversation.pass_over)

    def _sort(self, packets: Iterable[Interleaved], pass_over: Callable[[int], None] | None = None) -> None:
        """Each packet to its track; what those complete waits to be given out."""
        now = Arrival(self._clock.utc_us(), self._clock.monotonic())
        done: list[tuple[Track, list[AccessUnit], int]] = []
        try:
            for packet in packets:
                if (track := self._tracks.get(packet.channel)) is not None:
                    heard, units = track.put(packet, now)
                    if heard and track.kind == VIDEO:
                        self._heard_at = now.monotonic
                        if pass_over is not None:
                            pass_over(track.carry_on(packet, now, units))
                    if units:
                        done.append((track, units, track.lost_since()))
                elif (control := self._controls.get(packet.channel)) is not None:
                    control.reception.hear(packet.packet, now.utc_us, now.monotonic)
        finally:
            self._give_out(done, now)

    def _give_out(self, done: list[tuple[Track, list[AccessUnit], int]], now: Arrival) -> None:
        """Each with the packets that were lost before the first of its units."""
        newest = max([unit.ticks for track, units, _ in done if track.kind == VIDEO for unit in units], default=0)
        gathered_s = max(0.0, now.monotonic - self._polled_at)
        for track, units, lost in done:
            for unit in units:
                # pictures that were read together did not come together: the earlier came by so much earlier
                early_s = (newest - unit.ticks) / track.clock_hz if track.kind == VIDEO else 0.0
                self._waiting.append(self._packet(track, unit, min(early_s, gathered_s), lost))
                lost = 0

    def _packet(self, track: Track, unit: AccessUnit, early_s: float = 0.0, lost: int = 0) -> Packet:
        data, ticks, keyframe, damaged, (utc_us, monotonic), _ = unit
        return Packet(
            track.kind,
            data,
            ticks,
            track.assembler.decode_time(unit),
            0,
            keyframe,
            utc_us - int(early_s * US),
            monotonic - early_s,
            damaged,
            lost,
            track.report_since() if track.kind == VIDEO else None,
        )
