"""The conversation with a camera: OPTIONS, DESCRIBE, SETUP over TCP, PLAY, signs of life, TEARDOWN (RFC 2326).

Pure, as h11 is: bytes in, packets out; what is to be sent lies in `outgoing`; time is passed in.  What a camera refuses
or garbles raises CameraFailed, in words that hold neither path nor login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from edge_agent.capture import rtsp_wire, sdp
from edge_agent.capture.rtsp_login import Challenge, Login, best, challenges
from edge_agent.capture.rtsp_wire import Interleaved, Response, ServerRequest, Wire, WireError
from edge_agent.capture.sdp import Description, Media
from edge_agent.capture.source import CameraFailed
from edge_agent.capture.told import Told, fit, kinds
from edge_agent.model import CameraFault

USER_AGENT = "edge-agent"
SESSION_S = 60.0
"""Of a session whose camera does not say (RFC 2326 §12.37)."""
MAX_WAITING = 16
_PORTS = {"rtsp": 554, "rtsps": 322}
_CHANNELS = re.compile(r"interleaved\s*=\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?", re.IGNORECASE | re.ASCII)
_TIMEOUT = re.compile(r"timeout\s*=\s*(\d{1,6})", re.IGNORECASE | re.ASCII)
_REDIRECTS = (301, 302, 303, 305, 307, 308)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a camera is, without its login."""

    secure: bool
    host: str
    port: int
    uri: str
    """As it stands in requests."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """ValueError when `url` is none of rtsp:// or rtsps://."""
        parts = urlsplit(url)
        host = parts.hostname
        if parts.scheme not in _PORTS or not host or re.search(r"[\x00-\x20\x7f]", parts.netloc):
            raise ValueError("not the URL of an RTSP camera")
        port = parts.port or _PORTS[parts.scheme]
        place = f"[{host}]" if ":" in host else host
        path = quote(parts.path or "/", safe="/%!$&'()*+,;=:@~-._[]")
        query = f"?{quote(parts.query, safe=_QUERY_SAFE)}" if parts.query else ""
        shown = f":{port}" if parts.port else ""
        return cls(parts.scheme == "rtsps", host, port, f"{parts.scheme}://{place}{shown}{path}{query}")

    @property
    def where(self) -> str:
        """Host and port: paths and queries of cameras' URLs may hold secrets."""
        return f"{self.host}:{self.port}"


_QUERY_SAFE = "/%!$&'()*+,;=:@~-._[]?"


def login_of(url: str) -> tuple[str, str] | None:
    """Username and password that stand in the URL itself."""
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


class Redirected(Exception):  # noqa: N818 - it is an answer
    """The camera sends the client to another address."""

    def __init__(self, address: Address) -> None:
        super().__init__("redirected")
        self.address = address


@dataclass(frozen=True, slots=True)
class Track:
    """A track that was set up, and the channels on which it comes."""

    media: Media
    rtp: int
    rtcp: int


@dataclass(slots=True)
class _Asked:
    """A request that waits for its answer."""

    method: str
    uri: str
    headers: tuple[tuple[str, str], ...]
    nonce: str | None = None
    """With which it was signed."""
    attempts: int = 1


class Stage(StrEnum):
    NEW = "new"
    ASKING = "asking"
    DESCRIBING = "describing"
    SETTING_UP = "setting up"
    STARTING = "starting"
    PLAYING = "playing"
    ENDED = "ended"


class Conversation:
    """One connection.  `basic` allows a login that a listener could read; `audio` asks for AAC besides the picture."""

    def __init__(self, address: Address, login: Login | None, *, basic: bool = False, audio: bool = False) -> None:
        self._address = address
        self._login = login
        self._basic = basic
        self._wants_audio = audio
        self._wire = Wire()
        self._out: list[bytes] = []
        self._cseq = 0
        self._waiting: dict[int, _Asked] = {}
        self._challenge: Challenge | None = None
        self._admitted = False
        """A request with the login has succeeded."""
        self._public: set[str] = set()
        self._base = address.uri
        self._control = address.uri
        self._to_set_up: list[Media] = []
        self._session = ""
        self._session_s = SESSION_S
        self._server = ""
        self._offered: list[Challenge] = []
        self._description: Description | None = None
        self._alive_at: float | None = None
        self.stage = Stage.NEW
        self.video: Track | None = None
        self.audio: Track | None = None
        self.note = ""
        """What of the camera is not taken although it was asked for."""

    # ---- what the connection does

    def begin(self) -> None:
        self.stage = Stage.ASKING
        self._ask("OPTIONS", self._address.uri)

    def receive(self, chunk: bytes) -> Iterator[Interleaved]:
        """Act on what came; gives the packets among it, which are to be asked for to the end.  CameraFailed and
        Redirected end the conversation."""
        try:
            for message in self._wire.receive(chunk):
                if isinstance(message, Interleaved):
                    yield message
                elif isinstance(message, Response):
                    self._answered(message)
                else:
                    self._asked(message)
        except WireError as error:
            raise self._broken(str(error)) from None

    def pass_over(self, at: int) -> None:
        """As `Wire.pass_over`."""
        self._wire.pass_over(at)

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def send(self, channel: int, data: bytes) -> None:
        """Queue an RTCP packet."""
        self._out.append(rtsp_wire.interleaved(channel, data))

    def keep_alive(self, now: float) -> None:
        """Queue a sign of life when half of the session's time has passed since the last."""
        if self._alive_at is None:
            self._alive_at = now
        if self.stage is Stage.PLAYING and now - self._alive_at >= self._session_s / 2:
            self._alive_at = now
            self._ask(self._sign_of_life, self._control)

    @property
    def _sign_of_life(self) -> str:
        return "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"

    def end(self) -> None:
        """Queue the farewell."""
        if self._session and self.stage is not Stage.ENDED:
            self._ask("TEARDOWN", self._control)
        self.stage = Stage.ENDED

    @property
    def told(self) -> Told:
        """What is known of the camera now; it stays after a failure."""
        playing = self.stage is Stage.PLAYING
        video = self._description.video if self._description else None
        audio = self._description.audio if self._description else None
        return Told(
            server=self._server,
            logins=kinds(self._offered),
            login=self._challenge.kind if self._challenge and self._admitted else "",
            keep_alive=self._sign_of_life if playing else "",
            session_s=self._session_s if playing else None,
            picture=_word(video.encoding) if video else "",
            sound=f"{'aac' if audio.audio_config else _word(audio.encoding)}, {audio.clock_hz} Hz" if audio else "",
            sound_kept=bool(audio and audio.audio_config),
            parameter_sets=bool(video and video.parameter_sets),
        )

    # ---- requests

    def _ask(self, method: str, uri: str, *headers: tuple[str, str]) -> None:
        self._send(_Asked(method, uri, headers))

    def _send(self, asked: _Asked) -> None:
        self._cseq += 1
        headers = [("User-Agent", USER_AGENT), *asked.headers]
        if self._session:
            headers.append(("Session", self._session))
        if self._challenge is not None and self._login is not None:
            asked.nonce = self._challenge.nonce
            headers.append(("Authorization", self._login.answer(self._challenge, asked.method, asked.uri)))
        self._waiting[self._cseq] = asked
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._out.append(rtsp_wire.request(asked.method, asked.uri, self._cseq, headers))

    # ---- answers

    def _answered(self, response: Response) -> None:
        cseq = response.headers.cseq
        if cseq is None and len(self._waiting) == 1:
            cseq = next(iter(self._waiting))
        asked = self._waiting.get(cseq) if cseq is not None else None
        if asked is None or cseq is None or response.status < 200:
            return
        del self._waiting[cseq]
        self._server = self._server or fit(response.headers.get("server"))
        if response.status == 401:
            self._log_in(asked, response)
            return
        if asked.nonce is not None:
            self._admitted = True
        if response.status in _REDIRECTS and self.stage in (Stage.ASKING, Stage.DESCRIBING, Stage.SETTING_UP):
            self._redirect(response)
        match self.stage, asked.method:
            case Stage.ASKING, "OPTIONS":
                # a camera that knows no OPTIONS may well be able to show its picture
                self._learn_methods(response)
                self.stage = Stage.DESCRIBING
                self._ask("DESCRIBE", self._address.uri, ("Accept", "application/sdp"))
            case Stage.DESCRIBING, "DESCRIBE":
                self._succeeded(response)
                self._described(response)
            case Stage.SETTING_UP, "SETUP":
                self._set_up(response)
            case Stage.STARTING, "PLAY":
                self._succeeded(response)
                self.stage = Stage.PLAYING
            case Stage.PLAYING, "GET_PARAMETER" if response.status in (404, 405, 451, 501, 551):
                self._public.discard("GET_PARAMETER")
            case Stage.PLAYING, _ if response.status == 454:
                raise CameraFailed(CameraFault.CLOSED, f"{self._where} has ended the session")

    def _learn_methods(self, response: Response) -> None:
        self._public = {word.strip().upper() for word in (response.headers.get("public") or "").split(",")}

    def _described(self, response: Response) -> None:
        try:
            description = sdp.parse(response.body)
        except ValueError as error:
            raise self._broken(str(error)) from None
        self._description = description
        video = description.video
        if video is None:
            raise CameraFailed(CameraFault.NO_VIDEO, f"{self._where} sends no picture")
        if video.codec is None:
            raise CameraFailed(
                CameraFault.NO_VIDEO,
                f"{self._where} sends {_word(video.encoding)}: set the camera to H.264 or H.265 to record it",
            )
        self._to_set_up = [video]
        if self._wants_audio:
            audio = description.audio
            if audio is None:
                self.note = "no sound can be had from it"
            elif not audio.audio_config:
                self.note = f"its sound is {_word(audio.encoding)}, only AAC is recorded"
            else:
                self._to_set_up.append(audio)
        for name in ("content-base", "content-location"):
            given = response.headers.get(name) or ""
            if _is_url(given):
                self._base = given
                break
        self._control = self._resolved(description.control)
        self.stage = Stage.SETTING_UP
        self._set_up_next()

    def _set_up_next(self) -> None:
        media = self._to_set_up[0]
        first = 0 if self.video is None else 2
        self._ask(
            "SETUP",
            self._resolved(media.control),
            ("Transport", f"RTP/AVP/TCP;unicast;interleaved={first}-{first + 1}"),
        )

    def _set_up(self, response: Response) -> None:
        media = self._to_set_up.pop(0)
        is_video = self.video is None
        if is_video:
            self._succeeded(response)
        elif not 200 <= response.status < 300:
            self.note = "it refuses to send its sound"
            self._play()
            return
        session, _, parameters = (response.headers.get("session") or "").partition(";")
        self._session = session.strip() or self._session
        if timeout := _TIMEOUT.search(parameters):
            self._session_s = max(2.0, float(timeout[1]))
        transport = response.headers.get("transport") or ""
        first = 0 if is_video else 2
        channels = _CHANNELS.search(transport)
        if channels is None and "tcp" not in transport.lower():
            raise self._broken("it cannot send over TCP")
        rtp = int(channels[1]) if channels else first
        rtcp = int(channels[2] or rtp + 1) if channels else first + 1
        taken = (self.video.rtp, self.video.rtcp) if self.video else ()
        if rtp == rtcp or max(rtp, rtcp) > 255 or rtp in taken or rtcp in taken:
            raise self._broken("it names channels that cannot be")
        track = Track(media, rtp, rtcp)
        if is_video:
            self.video = track
        else:
            self.audio = track
        if self._to_set_up:
            self._set_up_next()
        else:
            self._play()

    def _play(self) -> None:
        self.stage = Stage.STARTING
        self._ask("PLAY", self._control, ("Range", "npt=0.000-"))

    def _log_in(self, asked: _Asked, response: Response) -> None:
        """Sign a request and send it again, unless the camera refused this very login."""
        refused = CameraFailed(CameraFault.LOGIN, f"{self._where} refuses the login: check username and password")
        self._offered = offered = challenges(response.headers.all("www-authenticate"))
        if self._login is None:
            raise refused
        challenge = best(offered, basic=self._basic)
        if challenge is None:
            if any(one.scheme == "basic" for one in offered):
                raise CameraFailed(
                    CameraFault.LOGIN,
                    f"{self._where} wants the password readable for everybody: "
                    "turn on its digest login, or use rtsps://",
                )
            raise CameraFailed(CameraFault.LOGIN, f"{self._where} wants a login of a kind that is not known here")
        signed = asked.nonce is not None
        if (signed and not (challenge.stale or (self._admitted and challenge.nonce != asked.nonce))) or (
            asked.attempts >= 3
        ):
            raise refused
        self._challenge = challenge
        asked.attempts += 1
        self._send(asked)

    def _redirect(self, response: Response) -> None:
        try:
            address = Address.parse(response.headers.get("location") or "")
        except ValueError:
            raise self._broken("it points to an address that is none") from None
        if self._address.secure and not address.secure:
            raise self._broken("it points to an address without encryption")
        raise Redirected(address)

    def _succeeded(self, response: Response) -> None:
        """CameraFailed for any other status than success."""
        status = response.status
        if 200 <= status < 300:
            return
        if status == 403:
            raise CameraFailed(CameraFault.LOGIN, f"{self._where} refuses the login: check username and password")
        if status in (404, 410):
            raise CameraFailed(CameraFault.NOT_FOUND, f"{self._where} has no such stream: check the URL's path")
        if status == 461:
            raise self._broken("it cannot send over TCP")
        if status in (453, 503):
            raise CameraFailed(CameraFault.BROKEN, f"{self._where} serves too many viewers already ({status})")
        if status >= 500:
            raise CameraFailed(
                CameraFault.BROKEN, f"{self._where} reports an error of its own ({status}): restart the camera"
            )
        raise self._broken(f"it refuses with status {status}")

    def _asked(self, request: ServerRequest) -> None:
        if request.method == "REDIRECT" and self._session:
            raise CameraFailed(CameraFault.CLOSED, f"{self._where} has ended the session")
        self._out.append(rtsp_wire.answer(request))
        if request.method == "TEARDOWN":
            raise CameraFailed(CameraFault.CLOSED, f"{self._where} has ended the session")

    # ---- words and addresses

    @property
    def _where(self) -> str:
        return self._address.where

    def _broken(self, words: str) -> CameraFailed:
        return CameraFailed(
            CameraFault.BROKEN, f"{self._where} answers with something that is no camera stream: {words}"
        )

    def _resolved(self, control: str) -> str:
        """As cameras mean it, not as RFC 1808 does: what is relative goes behind the base, whatever its query."""
        if not control or control == "*":
            return self._base
        if _is_url(control):
            return control
        return f"{self._base.rstrip('/')}/{quote(control.lstrip('/'), safe=_QUERY_SAFE)}"


def _is_url(text: str) -> bool:
    return re.fullmatch(r"rtsps?://[\x21-\x7e]+", text, re.IGNORECASE) is not None


def _word(encoding: str) -> str:
    """A codec's name as far as it is fit to be shown."""
    return re.sub(r"[^a-z0-9-]", "", encoding.lower())[:20] or "something unknown"
