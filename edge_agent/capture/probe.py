"""What a camera offers and how the agent would take it: the judgement, as values.  Pure.

`probing.py` gathers what is judged here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from edge_agent.capture.certificate import Certificate
from edge_agent.capture.job import CameraJob
from edge_agent.capture.meter import Measured
from edge_agent.capture.source import CameraFailed
from edge_agent.capture.told import Told
from edge_agent.clock import US
from edge_agent.model import CameraFault

RETENTION_DAYS = 10
LONG_INTERVAL_S = 5.0
CLOCK_OFF_S = 5.0
"""As health warns of it (`docs/time.md`)."""
EXPIRES_S = 30 * 86_400
_SECRET = re.compile(r"((?:passw?o?r?d?|passwd|pwd|pw|token|auth|secret|key)\w*=)[^&;/]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Report:
    """All that one look at a camera has shown."""

    job: CameraJob
    seconds: float
    """How long it was looked at, at most."""
    at_us: int
    told: Told = field(default_factory=Told)
    certificate: Certificate | None = None
    measured: Measured | None = None
    clock_offset_us: int | None = None
    """The camera's clock less the node's; None when it did not tell (RTCP sender report)."""
    lost_packets: int = 0
    failure: CameraFailed | None = None
    """Why it cannot be recorded, or no longer could."""

    @property
    def taken(self) -> bool:
        return self.failure is None and self.measured is not None

    @property
    def network(self) -> bool:
        return urlsplit(self.job.url).scheme.lower() not in ("file", "v4l2")

    @property
    def secure(self) -> bool:
        return urlsplit(self.job.url).scheme.lower() in ("rtsps", "https")

    @property
    def client(self) -> str:
        """Who reads it: `rtsp` for the agent's own client, `libav` for all else."""
        return "rtsp" if urlsplit(self.job.url).scheme.lower() in ("rtsp", "rtsps") else "libav"


def without_login(url: str) -> tuple[str, str | None, str | None]:
    """(the URL without it, username, password)"""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    username = unquote(parts.username) if parts.username is not None else None
    return bare, username, unquote(parts.password) if parts.password is not None else None


def shown(url: str) -> str:
    """A URL fit to be shown: what looks like a secret in it is `…`."""
    parts = urlsplit(without_login(url)[0])
    return parts._replace(path=_SECRET.sub(r"\1…", parts.path), query=_SECRET.sub(r"\1…", parts.query)).geturl()


def remedies(report: Report) -> list[str]:
    """What to do so that the camera is recorded, beyond what the failure itself says."""
    failure, certificate = report.failure, report.certificate
    if failure is None:
        return []
    if certificate is not None and not certificate.trusted:
        return [
            "compare the fingerprint with the one that the camera's own page shows",
            "then save its certificate (--save-certificate FILE) and trust just that one: --ca-file FILE here, "
            "`ca_file` in the configuration",
        ]
    match failure.fault:
        case CameraFault.LOGIN if report.job.username is None:
            return ["name the user: --username NAME asks for the password"]
        case CameraFault.LOGIN if "Basic" in report.told.logins and not (report.secure or report.job.basic):
            return ["or, where nobody can listen: --basic-login here, `basic_login = true` in the configuration"]
        case CameraFault.UNREACHABLE:
            return ["see whether the camera has power and network, and check the URL's address and port"]
    return []


def notes(report: Report) -> list[str]:
    """What is worth knowing or better changed, although it is recorded."""
    found: list[str] = []
    measured, told, certificate = report.measured, report.told, report.certificate
    if measured is not None:
        found += _picture_notes(measured, report)
    if told.sound and told.sound_kept:
        found.append("its sound is recorded with `audio = true` only")
    elif told.sound:
        found.append(f"its sound ({told.sound}) can't be kept: set the camera to AAC if sound is wanted")
    if told.login == "Basic" and not report.secure:
        found.append("everybody on the network can read the password: turn on digest login or TLS in the camera")
    if certificate is not None and certificate.valid_until_us is not None:
        left_s = (certificate.valid_until_us - report.at_us) / US
        if 0 < left_s < EXPIRES_S:
            found.append("its certificate ends soon: renew it in the camera")
    if report.clock_offset_us is not None and abs(report.clock_offset_us) > CLOCK_OFF_S * US:
        found.append("its clock is wrong: give it a time server (recordings go by this node's clock)")
    return found


def _picture_notes(measured: Measured, report: Report) -> list[str]:
    found = []
    longest = measured.keyframe_interval_longest_s
    if not measured.keyframes:
        found.append("no keyframe came, and recording begins at one: look longer (--seconds 60)")
    elif longest is not None and longest > LONG_INTERVAL_S:
        found.append(
            f"its keyframes are {longest:.0f} s apart: after a lost connection so much more is missing; set it to 2 s"
        )
    if measured.keyframes and not measured.sets_known:
        found.append("its parameter sets never came: it can't be recorded like that; restart the camera")
    if measured.codec == "MJPEG":
        found.append(
            "MJPEG takes several times the room of H.264 and no browser plays it: use H.264 or H.265 if the camera can"
        )
    if measured.damaged or report.lost_packets:
        found.append(
            f"{report.lost_packets} packets were lost and {measured.damaged} pictures damaged: see to cables and Wi-Fi"
        )
    return found


def disk_bytes(measured: Measured) -> int | None:
    """Room that the promised days of this camera take."""
    return None if measured.bitrate_bps is None else measured.bitrate_bps // 8 * RETENTION_DAYS * 86_400


def toml(report: Report, camera_id: str) -> str:
    """The camera's lines for the configuration, with its secrets where systemd puts them (`docs/install.md`)."""
    job = report.job
    url = shown(job.url)
    lines = ["[[camera]]", f"id = {_quoted(camera_id)}", f"url = {_quoted(url)}"]
    if url != job.url:
        lines[-1] += "    # put the URL's own secret in the place of …"
    if job.username is not None:
        lines.append(f"username = {_quoted(job.username)}")
        lines.append(f"password_file = {_quoted(f'$CREDENTIALS_DIRECTORY/secret_{camera_id}.password')}")
    if job.basic:
        lines.append("basic_login = true")
    if report.secure and job.ca_file is not None:
        lines.append(f"ca_file = {_quoted(f'$CREDENTIALS_DIRECTORY/secret_{camera_id}.pem')}")
    if report.told.sound_kept:
        lines.append("audio = false    # true records its sound, too")
    return "\n".join(lines)


def secrets(report: Report, camera_id: str) -> list[str]:
    """The commands that put the secrets where `toml` names them."""
    folder = "/etc/edge-agent/secrets"
    found = []
    if report.job.username is not None:
        found.append(f"install -m 600 /dev/stdin {folder}/{camera_id}.password    # type the password, Enter, Ctrl-D")
    if report.secure and report.job.ca_file is not None:
        found.append(f"install -m 600 {report.job.ca_file} {folder}/{camera_id}.pem")
    return found


def _quoted(text: str) -> str:
    """As a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
