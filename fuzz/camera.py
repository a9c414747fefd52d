"""What a camera sends: RTSP, its login, descriptions, RTP, pictures and sound, and the client as a whole."""

from __future__ import annotations

import base64
import contextlib
import errno
import logging
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from edge_agent.capture import nal, rtp, rtsp_wire, sdp
from edge_agent.capture.depacketize import Arrival, PictureAssembler, SoundAssembler
from edge_agent.capture.fmp4 import video_format
from edge_agent.capture.job import CameraJob
from edge_agent.capture.rtsp import Address, Conversation, Redirected
from edge_agent.capture.rtsp_login import Login, best, challenges
from edge_agent.capture.rtsp_source import RtspSource
from edge_agent.capture.rtsp_wire import Interleaved, Message, ServerRequest, Wire, WireError
from edge_agent.capture.source import VIDEO, CameraFailed, VideoCodec
from edge_agent.clock import SystemClock
from edge_agent.demo.rtp import CodedPicture, packetise, sender_report
from edge_agent.model import CameraId
from fuzz.target import Check, Script, Target, pieces, pure, require

SPS = bytes.fromhex("6742c016da0280bfe584000003000400000300783c58ba80")
PPS = bytes.fromhex("68ce0fc8")
HIGH_SPS = bytes.fromhex("674d4016eca05017fcb0800000030080000f078b16cb")
HEVC_VPS = bytes.fromhex("40010c01ffff01600000030090000003000003005dac09")
HEVC_SPS = bytes.fromhex("42010101600000030090000003000003005da00280802d165bae4c2f0168080000030008000003")
HEVC_PPS = bytes.fromhex("4401c172b46240")
PASSWORD = "s3cret-w0rd"
_SETS = ",".join(base64.b64encode(part).decode() for part in (SPS, PPS))
DESCRIPTION = f"""v=0
o=- 1 1 IN IP4 10.0.0.1
a=control:*
m=video 0 RTP/AVP 97 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1;sprop-parameter-sets={_SETS};profile-level-id=42c01e
a=control:trackID=0
m=audio 0 RTP/AVP 104
a=rtpmap:104 mpeg4-generic/16000/2
a=fmtp:104 streamtype=5;mode=AAC-hbr;config=1410;SizeLength=13;IndexLength=3;IndexDeltaLength=3
a=control:trackID=1
""".encode()
HEVC_DESCRIPTION = b"""v=0
m=video 0 RTP/AVP 98
a=rtpmap:98 H265/90000
a=fmtp:98 sprop-vps=%s;sprop-sps=%s;sprop-pps=%s
""" % tuple(base64.b64encode(part) for part in (HEVC_VPS, HEVC_SPS, HEVC_PPS))
_RTSP_WORDS = (
    b"RTSP/1.0 200 OK\r\n", b"RTSP/1.0 401 No\r\n", b"RTSP/1.0 302 X\r\n", b"RTSP/1.0 454 X\r\n", b"CSeq: 1\r\n",
    b"CSeq: 2\r\n", b"CSeq: 3\r\n", b"CSeq: 4\r\n", b"CSeq: 5\r\n", b"Content-Length: ", b"Content-Base: ",
    b"Session: 1;timeout=20\r\n", b"Transport: RTP/AVP/TCP;interleaved=0-1\r\n", b"Location: rtsp://10.0.0.1/\r\n",
    b'WWW-Authenticate: Digest realm="a", nonce="b"\r\n', b"WWW-Authenticate: Basic realm=a\r\n", b"\r\n\r\n",
    b"Public: GET_PARAMETER\r\n", b"TEARDOWN * RTSP/1.0\r\n\r\n", b"REDIRECT * RTSP/1.0\r\n\r\n", b"$\0\0\x0c",
)  # fmt: skip
_SDP_WORDS = (
    b"m=video 0 RTP/AVP 96\n", b"m=audio 0 RTP/AVP 104\n", b"a=rtpmap:96 H264/90000\n", b"a=rtpmap:96 H265/90000\n",
    b"a=fmtp:96 ", b"sprop-parameter-sets=", b"sprop-vps=", b"sprop-sps=", b"sprop-pps=", b"a=control:",
    b"mode=AAC-hbr;", b"config=1410;", b"SizeLength=13;IndexLength=3;IndexDeltaLength=3",
)  # fmt: skip


# ---- RTSP on the wire ------------------------------------------------------------------------------------------------


def _answer(cseq: int, *headers: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    lines = (b"RTSP/1.0 " + status, b"CSeq: %d" % cseq, *headers, b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _answers(description: bytes, first: int = 1, tracks: int = 1) -> bytes:
    """All that a camera says until it plays, numbered from the OPTIONS' answer on."""
    said = _answer(first, b"Public: OPTIONS, GET_PARAMETER") + _answer(first + 1, body=description)
    for number in range(tracks):
        transport = b"Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d" % (2 * number, 2 * number + 1)
        said += _answer(first + 2 + number, b"Session: 12ab;timeout=20", transport)
    return said + _answer(first + 2 + tracks)


def _talks() -> list[bytes]:
    digest = b'WWW-Authenticate: Digest realm="cam", nonce="n", qop="auth", algorithm=SHA-256, opaque="o"'
    return [
        _answers(DESCRIPTION),
        _answers(DESCRIPTION, tracks=2),
        _answers(HEVC_DESCRIPTION),
        _answer(1, digest, status=b"401 No") + _answers(DESCRIPTION, 2),
        _answer(1, b"WWW-Authenticate: Basic realm=x", status=b"401 No") + _answers(DESCRIPTION, 2),
        _answer(1) + _answer(2, b"Location: rtsp://10.0.0.2:8554/x?y", status=b"302 Moved"),
        _answer(1)
        + _answer(2, b"Content-Base: rtsp://10.0.0.1/live/", body=DESCRIPTION)
        + _answer(3, b"Transport: TCP"),
        _answers(DESCRIPTION) + b"SET_PARAMETER * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: 2\r\n\r\nab$\0\0\4abcd",
        _answers(DESCRIPTION) + b"REDIRECT * RTSP/1.0\n\nTEARDOWN * RTSP/1.0\r\n\r\n",
    ]


def _heard(stream: bytes, choice: int) -> tuple[list[Message], bool]:
    """The messages of a stream in pieces, and whether it was refused."""
    wire, found = Wire(), list[Message]()
    try:
        for piece in pieces(stream, choice):
            found.extend(wire.receive(piece))
    except WireError:
        return found, True
    return found, False


def _plainly(messages: Sequence[Message]) -> list[object]:
    """Packets without the bytes around them."""
    return [(one.channel, one.packet) if isinstance(one, Interleaved) else one for one in messages]


def _wire(data: bytes) -> None:
    choice, stream = data[:1], data[1:]
    whole, refused = _heard(stream, 0)
    cut, cut_refused = _heard(stream, 1 + (choice[0] if choice else 0))
    require(refused == cut_refused, "how a stream is cut decides whether it is RTSP")
    require(refused or _plainly(whole) == _plainly(cut), "how a stream is cut changes what it says")
    for message in whole:
        if isinstance(message, Interleaved):
            again, _ = _heard(rtsp_wire.interleaved(message.channel, message.packet), 0)
            require(_plainly(again) == _plainly([message]), "a packet changes on its way")
        elif isinstance(message, ServerRequest):
            require(len(rtsp_wire.answer(message)) < 100, "an answer that grows with the question")


WIRE = Target("rtsp-wire", pure(_wire), lambda: [bytes([7]) + talk for talk in _talks()], _RTSP_WORDS, max_bytes=20_000)

_OWN_HEADERS = {"cseq", "user-agent", "accept", "transport", "session", "authorization", "range"}


def _talk(data: bytes) -> None:
    script = Script(data)
    options, choice = script.number(), script.number()
    login = Login("operator", PASSWORD, lambda: "c") if options & 1 else None
    address = Address(bool(options & 4), "cam.example", 554, "rtsp://cam.example/live")
    talk = Conversation(address, login, basic=bool(options & 2), audio=bool(options & 8))
    talk.begin()
    now = 0.0
    try:
        for piece in pieces(script.rest(), choice):
            sum(1 for _ in talk.receive(piece))
            talk.keep_alive(now)
            now += 10.0
            _asked(talk.outgoing(), readable=bool(options & 2))
    except CameraFailed as failed:
        _plain(str(failed))
    except Redirected as to:
        _plain(to.address.where)
    talk.end()
    _asked(talk.outgoing(), readable=bool(options & 2))


def _asked(sent: bytes, *, readable: bool) -> None:
    """What goes to a camera is made of requests of ours, whatever it said, and holds no password that may be read."""
    require(len(sent) < 2_000_000, "much more is sent than was asked for")
    if not readable:
        require(PASSWORD.encode() not in sent and b"Basic " not in sent, "the password goes out readable")
    wire = Wire()
    try:
        messages = list(wire.receive(sent))
    except WireError as error:
        if "too large" in str(error):
            return  # the camera's own base and session make its requests as long as it likes
        raise
    for message in messages:
        if isinstance(message, ServerRequest):
            require({name for name, _ in message.headers.lines} <= _OWN_HEADERS, "a camera puts in headers of its own")
            require(message.body == b"", "a camera puts in a body")


def _plain(words: str) -> None:
    """Words for people's terminals and for the journal."""
    require(words.isprintable() and len(words) < 2000, f"unfit to be shown: {words[:200]!r}")
    require(PASSWORD not in words and "/live" not in words, "a secret is told")


TALK = Target(
    "rtsp-talk",
    pure(_talk),
    lambda: [bytes([options, 0]) + talk for options in (0, 9, 11) for talk in _talks()],
    _RTSP_WORDS + _SDP_WORDS,
    max_bytes=20_000,
)


def _login(data: bytes) -> None:
    headers = data.decode("utf-8", "replace").splitlines()
    login = Login('op"er\\', PASSWORD, lambda: "c")
    offered = challenges(headers)
    for basic in (False, True):
        chosen = best(offered, basic=basic)
        for _ in range(2 if chosen else 0):
            require(chosen is not None, "")
            assert chosen is not None
            said = login.answer(chosen, "DESCRIBE", "rtsp://cam/")
            require("\n" not in said, "an answer of two lines")
            require(basic or (said.startswith("Digest ") and PASSWORD not in said), "the password goes out readable")


LOGIN = Target(
    "rtsp-login",
    pure(_login),
    lambda: [
        b'Digest realm="a, b", nonce="n\\"", qop="auth,auth-int", algorithm=SHA-256-sess, stale=TRUE, opaque=o',
        b'Basic realm="x"\nDigest realm="a",nonce="b"',
        b'Basic realm=x, Digest nonce=1, algorithm="md5", Negotiate, Bearer',
    ],
    (b"Digest ", b"Basic ", b"nonce=", b'realm="', b"qop=auth", b"algorithm=MD5", b"-sess", b"SHA-256", b"stale=true"),
)


def _sdp(data: bytes) -> None:
    try:
        description = sdp.parse(data)
    except ValueError:
        return
    require(0 < len(description.media) <= sdp.MAX_MEDIA, "more tracks than allowed")
    for media in (*description.media, description.video, description.audio):
        if media is not None:
            require(len(media.parameter_sets) <= 8 * len(data), "sets larger than the description")
            require(len(media.audio_config) <= 64 and media.clock_hz > 0, "a track that cannot be")
            require(0 <= media.payload_type <= 999, "no payload type")


SDP = Target(
    "sdp", pure(_sdp), lambda: [DESCRIPTION, HEVC_DESCRIPTION, DESCRIPTION.replace(b"\n", b"\r\n")], _SDP_WORDS
)


# ---- RTP -------------------------------------------------------------------------------------------------------------


def _packets(codec: VideoCodec) -> list[bytes]:
    """RTP packets of a few pictures."""
    if codec == "h264":
        pictures = [
            (SPS, PPS, b"\x65\x88" + b"\x11" * 5000),
            (b"\x41\x9a" + b"\x22" * 90,),
            (b"\x06\x06\x01\xc4\x80", b"\x41\x9a\2"),
        ]
        return [
            packet
            for number, units in enumerate(pictures)
            for packet in packetise(CodedPicture(units, 3600 * number, 0), 10 * number, 7)
        ]
    idr = b"\x26\x01\xaf" + bytes(range(1, 200))
    together = b"\x60\x01" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in (HEVC_VPS, HEVC_SPS, HEVC_PPS))
    payloads = [together, b"\x62\x01\x93" + idr[2:90], b"\x62\x01\x53" + idr[90:], b"\x02\x01\xd0\x11"]
    return [
        struct.pack(">BBHII", 0x80, 96 | (number == 2) << 7, number, 3600 * (number // 3), 7) + payload
        for number, payload in enumerate(payloads)
    ]


def _packets_script(packets: Sequence[bytes]) -> bytes:
    return b"".join(bytes([number % 5 == 4]) + len(one).to_bytes(2, "big") + one for number, one in enumerate(packets))


def _rtp(data: bytes) -> None:
    script, reception, now = Script(data), rtp.Reception(), 0.0
    while script:
        control, raw = script.number(), script.take(script.number(2))
        now += 0.1
        if control & 1:
            reception.hear(raw, int(now * 1e6), now)
            continue
        packet = rtp.parse(b"$" * 4 + raw + b"$", 4, 4 + len(raw))
        if packet is None:
            continue
        require(16 <= packet.start <= packet.end <= 4 + len(raw), "a payload outside of its packet")
        lost = reception.take(packet)
        if lost is not None:
            require(0 <= lost < 0x10000, "no number of packets")
            reception.ticks(packet.timestamp)
    report = reception.receiver_report(1, now)
    require(len(report) % 4 == 0 and len(report) < 200, "no report")
    require(report[1] == 201, "a report that is none")


RTP = Target(
    "rtp",
    pure(_rtp),
    lambda: [
        _packets_script(_packets("h264")),
        _packets_script([_packets("hevc")[1], *([sender_report(7, 1_800_000_000_000_000, 90_000, 1, 1)] * 4)] * 3),
        _packets_script(
            [struct.pack(">BBHII", 0xB2, 0xE0, 65_535, 2**32 - 1, 3) + b"\0" * 8 + b"\xbe\xde\0\1abcdx\0\2"]
        ),
    ],
    max_bytes=8000,
)


def _payloads(data: bytes) -> list[tuple[rtp.RtpPacket, int, int]]:
    """Packets, ticks and losses: a marker, a step of the time, a loss, a size, then the payload, again and again."""
    script, found, ticks, number = Script(data), list[tuple[rtp.RtpPacket, int, int]](), 0, 0
    while script:
        control = script.number()
        payload = script.take(script.number(2) if control & 0x80 else script.number())
        ticks += 3600 * (control >> 1 & 3)
        lost = control >> 3 & 1
        number += 1 + lost
        raw = struct.pack(">BBHII", 0x80, 96 | (control & 1) << 7, number & 0xFFFF, ticks & 0xFFFFFFFF, 7) + payload
        packet = rtp.parse(raw, 0, len(raw))
        assert packet is not None
        found.append((packet, ticks, lost))
    return found


def _payload_script(packets: Sequence[bytes]) -> bytes:
    made, before = b"", 0
    for raw in packets:
        packet = rtp.parse(raw, 0, len(raw))
        assert packet is not None
        control = 0x80 | packet.marker | (2 if packet.timestamp != before else 0)
        before = packet.timestamp
        made += bytes([control]) + (len(raw) - 12).to_bytes(2, "big") + raw[12:]
    return made


_HERE = Arrival(1_000_000, 1.0)


def _pictures(codec: VideoCodec) -> Check:
    def check(data: bytes) -> None:
        assembler = PictureAssembler(codec)
        units = [unit for packet, ticks, lost in _payloads(data) for unit in assembler.put(packet, ticks, lost, _HERE)]
        units += assembler.finish()
        require(sum(len(unit.data) for unit in units) <= 8 * len(data) + 64, "more picture than came")
        require(all(nal.units(unit.data) for unit in units), "a picture that is not made of NAL units")
        require(assembler.damaged <= 2 * len(data) + 2, "more damage than packets")

    return check


H264 = Target("h264", pure(_pictures("h264")), lambda: [_payload_script(_packets("h264"))], max_bytes=8000)
H265 = Target("h265", pure(_pictures("hevc")), lambda: [_payload_script(_packets("hevc"))], max_bytes=8000)


def _sound(data: bytes) -> None:
    assembler = SoundAssembler()
    units = [unit for packet, ticks, lost in _payloads(data) for unit in assembler.put(packet, ticks, lost, _HERE)]
    units += assembler.finish()
    require(sum(len(unit.data) for unit in units) <= len(data), "more sound than came")
    require(all(unit.data for unit in units), "an empty frame")


AAC = Target(
    "aac",
    pure(_sound),
    lambda: [b"\3\x0b\0\x20\0\x18\0\x10abcde\3\7\0\x10\0\x30abc\1\7\0\x10\0\x30def\3\5\0\x10\0\x08x"],
    (b"\0\x10", b"\0\x20", b"\0\x30"),
)


def _nal(data: bytes) -> None:
    codec: VideoCodec = "hevc" if data[:1] > b"\x7f" else "h264"
    units = nal.split(data[1:])
    require(sum(map(len, units)) <= len(data) and all(units), "more units than came")
    sets = nal.updated(nal.parameter_sets(codec, units[:1]), units)
    for sps in sets.sps:
        with contextlib.suppress(ValueError):
            picture = nal.picture(codec, sps)
            require(0 < picture.width <= 16384 and 0 < picture.height <= 16384, "a picture that cannot be")
        depth = nal.reorder_depth(codec, sps)
        require(depth is None or depth >= 0, "a depth below nothing")
    if sets.complete:
        entry = video_format(sets, 90_000, 640, 360).entry
        require(len(entry) <= 2 * len(data) + 200, "an entry larger than its sets")


NAL = Target(
    "nal",
    pure(_nal),
    lambda: [
        head + b"".join(b"\0\0\0\1" + unit for unit in units)
        for head, units in (
            (b"\0", (SPS, PPS, b"\x65\x88")),
            (b"\0", (HIGH_SPS, PPS)),
            (b"\xff", (HEVC_VPS, HEVC_SPS, HEVC_PPS)),
            (b"\0", (SPS, *(PPS + number.to_bytes(2, "little") + b"\1" for number in range(300)))),
        )
    ],
    (b"\0\0\1", b"\0\0\3", b"\x67\x64", b"\x68", b"\x42\1", b"\x44\1", b"\x40\1"),
    max_bytes=6000,
)


# ---- the client ------------------------------------------------------------------------------------------------------


class _Camera:
    """A server on loopback that says one script to each connection, whatever it is asked: its beginning at once, the
    rest in pieces when `go` is set or a moment later."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.go = threading.Event()
        self._script = (b"", b"", 0)
        threading.Thread(target=self._serve, daemon=True).start()

    def prepare(self, script: bytes, choice: int) -> None:
        """What the next connections hear; `choice` other than 0 holds back the first packet and all behind it."""
        self.go.clear()
        cut = script.find(b"$") if choice else -1
        self._script = (script[:cut], script[cut:], choice) if cut >= 0 else (script, b"", 0)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(2)
                beginning, rest, choice = self._script
                connection.sendall(beginning)
                if rest:
                    self.go.wait(0.005)
                    for piece in pieces(rest, 50 * choice):
                        connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    def guard(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook: wherever an input points to, nothing but this camera is ever connected to."""
        if event == "socket.connect" and arguments[1] != self.address:
            raise OSError(errno.ENETUNREACH, "only the camera here can be reached")
        if event == "socket.getaddrinfo" and arguments[0] != self.address[0]:
            raise socket.gaierror(socket.EAI_NONAME, "nobody is known here")


def _client(_: Path) -> Check:
    logging.disable(logging.CRITICAL)
    camera = _Camera()
    sys.addaudithook(camera.guard)
    host, port = camera.address

    def check(data: bytes) -> None:
        options, script = data[0] if data else 0, data[1:]
        url = f"{'rtsps' if options & 4 else 'rtsp'}://{host}:{port}/live"
        camera.prepare(script, options >> 4)
        job = CameraJob(CameraId("gate"), url, "operator", PASSWORD, bool(options & 8), bool(options & 2))
        client, got = RtspSource(job, SystemClock()), list[bytes]()
        try:
            info = client.open()
            require(0 < info.video.width <= 16384, "a picture that cannot be")
            camera.go.set()
            while True:
                got += [packet.data for packet in client.poll() if packet.track == VIDEO]
        except CameraFailed as failed:
            _plain(str(failed))
        finally:
            client.close()
        # a client that could not be opened has given nothing; one that could, all from the first parameter sets on
        pictures = _one_by_one(Address.parse(url), job, script) if got else None
        require(pictures is None or pictures[len(pictures) - len(got) :] == got, "other pictures than were sent")

    return check


def _one_by_one(address: Address, job: CameraJob, stream: bytes) -> list[bytes] | None:
    """The pictures of a stream by the plain way, packet after packet; None when it does not end in order."""
    talk = Conversation(address, Login("operator", PASSWORD), basic=job.basic, audio=job.audio)
    talk.begin()
    try:
        came = list(talk.receive(stream))
    except (CameraFailed, Redirected):
        return None
    video = talk.video
    if video is None or video.media.codec is None:
        return None
    assembler, reception, units = PictureAssembler(video.media.codec), rtp.Reception(), list[bytes]()
    for one in came:
        packet = rtp.parse(one.data, one.start, one.end) if one.channel == video.rtp else None
        lost = reception.take(packet) if packet is not None else None
        if packet is not None and lost is not None:
            done = assembler.put(packet, reception.ticks(packet.timestamp), lost, _HERE)
            units += [unit.data for unit in done]
    return units + [unit.data for unit in assembler.finish()]


def _streams() -> list[bytes]:
    report = sender_report(7, 1_800_000_000_000_000, 90_000, 1, 1)
    made = []
    for description, codec in ((DESCRIPTION, "h264"), (HEVC_DESCRIPTION, "hevc")):
        packets = _packets("h264" if codec == "h264" else "hevc")
        media = b"".join(rtsp_wire.interleaved(0, packet) for packet in packets) + rtsp_wire.interleaved(1, report)
        made += [bytes([options]) + _answers(description) + media for options in (0, 0x10, 0xA0)]
        made.append(b"\0" + _answers(description.replace(b"sprop", b"other")) + media)
    sound = struct.pack(">BBHII", 0x80, 104, 1, 0, 9) + b"\0\x20\0\x18\0\x10abcde"
    made.append(b"\x08" + _answers(DESCRIPTION, tracks=2) + rtsp_wire.interleaved(2, sound))
    return made


CLIENT = Target(
    "client",
    _client,
    lambda: [*_streams(), *(b"\x08" + talk for talk in _talks())],
    _RTSP_WORDS + _SDP_WORDS,
    max_bytes=20_000,
    seconds=10,
)

TARGETS = (WIRE, TALK, LOGIN, SDP, RTP, H264, H265, AAC, NAL, CLIENT)
