"""`edge-agent probe` against real cameras: what it tells, what it refuses, and that no secret shows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from edge_agent.cli import main
from edge_agent.config import load
from edge_agent.probe_cli import PASSWORD_VARIABLE
from tests.capture.test_rtsp_source import certificate
from tests.peers.cameras import CameraServer, make_clip
from tests.peers.http_camera import HttpCamera, street_jpegs
from tests.peers.support import ManagedProcess, free_port

LOGIN = ("op er", "p@ss w0rd/?#")
CONFIGURATION = 'site = "town"\nnode = "n1"\ndata = "data"\n'


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, password: str | None = None) -> Done:
    """The command line as `edge-agent` runs it, without a terminal, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as around,
        Path(os.devnull).open() as nothing,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        around.setattr(sys, "argv", ["edge-agent", "probe", *arguments])
        around.setattr(sys, "stdin", nothing)
        around.setenv("COLUMNS", "120")
        if password is not None:
            around.setenv(PASSWORD_VARIABLE, password)
        with pytest.raises(SystemExit) as end:
            main()
    return Done(int(end.value.code or 0), out.getvalue(), err.getvalue())


def told(*arguments: str, password: str | None = None, code: int = 0) -> dict[str, Any]:
    done = run(*arguments, "--json", password=password)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def configured(lines: str, folder: Path) -> None:
    """The lines are right as they stand, once the secrets are where they say."""
    path = folder / "edge-agent.toml"
    path.write_text(CONFIGURATION + lines + "\n")
    assert load(path).camera[0].id == tomllib.loads(lines)["camera"][0]["id"]


def test_a_camera_with_login_and_sound_is_told_in_full(clips: Path, tmp_path: Path) -> None:
    clip = make_clip(clips / "probed-h264.mp4", bframes=2, seconds=4, gop=30)
    with CameraServer({"/main": clip}, LOGIN, audio="aac", folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        found = told(url, "--username", LOGIN[0], "--seconds", "5", "--id", "gate", password=LOGIN[1])
    picture = found["picture"]
    assert (picture["codec"], picture["profile"], picture["width"], picture["height"]) == ("H.264", "Main", 640, 360)
    assert re.fullmatch(r"\d\.\d", picture["level"])
    assert abs(picture["fps"] - 15) < 0.5
    assert (picture["keyframe_interval_s"], picture["keyframe_interval_frames"]) == (pytest.approx(2, abs=0.05), 30)
    assert (picture["b_frames"], picture["sets_in_band"], found["sets_in_description"]) == (True, True, True)
    expected = clip.stat().st_size * 8 / 4
    assert 0.7 * expected < picture["bitrate_bps"] < 1.3 * expected
    assert (found["client"], found["taken"], found["fault"]) == ("rtsp", True, None)
    assert found["sound"] == {"codec": "aac, 16000 Hz", "kept": True}
    assert found["clock_offset_s"] is None or abs(found["clock_offset_s"]) < 1
    assert found["login"] == {"offered": ["Digest MD5"], "used": "Digest MD5"}
    assert found["tls"] is None
    assert "GStreamer" in found["server"]
    assert found["keep_alive"] == {"method": "GET_PARAMETER", "session_s": 60}
    assert tomllib.loads(found["config"])["camera"][0] == {
        "id": "gate",
        "url": url,
        "username": LOGIN[0],
        "password_file": "$CREDENTIALS_DIRECTORY/secret_gate.password",
        "audio": False,
    }
    configured(found["config"], tmp_path)


def test_a_certificate_is_shown_saved_and_then_trusted(tmp_path: Path, street_h265: Path) -> None:
    tls = certificate(tmp_path)
    saved = tmp_path / "saved.pem"
    with CameraServer({"/main": street_h265}, LOGIN, tls=tls, folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        refused = run(url, "-u", LOGIN[0], "--save-certificate", str(saved), password=LOGIN[1])
        found = told(url, "-u", LOGIN[0], "--seconds", "3", "--ca-file", str(saved), password=LOGIN[1])
    digest = x509.load_pem_x509_certificate(tls[0].read_bytes()).fingerprint(hashes.SHA256())
    fingerprint = digest.hex(":").upper()
    assert refused.returncode == 69
    assert fingerprint in re.sub(r"\s", "", refused.stdout)
    for words in ("not trusted: self-signed certificate", "CN=camera", "--save-certificate", "`ca_file`"):
        assert words in refused.stdout
    assert saved.read_text() == tls[0].read_text()
    assert (found["tls"]["trusted"], found["tls"]["sha256"], found["tls"]["version"]) == (True, fingerprint, "TLSv1.3")
    assert found["picture"]["codec"] == "H.265"
    assert found["picture"]["profile"] == "Main"
    assert "ca_file" in found["config"]
    configured(found["config"], tmp_path)


def test_the_cameras_clock_is_compared_with_the_nodes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_agent.demo.camera", "--seconds", "30"]
    with ManagedProcess(command, tmp_path / "camera.log", stdout=True) as made_up:
        url = json.loads(made_up.stdout.readline())["main"]
        shown = run(url, "--seconds", "2").stdout
    assert re.search(r"clock +0\.\d{3} s (ahead of|behind) this node's", shown)


def test_the_table_for_people_says_it_in_words(camera_server: CameraServer) -> None:
    done = run(camera_server.url("/hevc"), "--seconds", "3")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "H.265 Main, level 2.1, 640 x 360, 15 pictures a second",
        "every 1.00 s (15 pictures)",
        "none asked for",
        "none, the way is not encrypted",
        "GET_PARAMETER, ends after 60 s",
        "records it as it comes, through its own client",
        "[[camera]]",
    ):
        assert words in done.stdout


def test_a_jpeg_camera_over_http_is_taken_by_libav_and_its_price_told() -> None:
    with HttpCamera(street_jpegs(10), login=LOGIN, kinds=["SHA-256", "MD5"]) as served:
        found = told(served.url, "-u", LOGIN[0], "--seconds", "2", password=LOGIN[1])
    assert (found["client"], found["picture"]["codec"], found["picture"]["keyframe_interval_frames"]) == (
        "libav",
        "MJPEG",
        1,
    )
    assert (found["login"]["used"], found["server"]) == ("Digest SHA-256", "StreetCam/2.1")
    assert any("several times the room" in note for note in found["notes"])


def test_each_refusal_has_its_remedy_and_exit_code(street_h264: Path, tmp_path: Path) -> None:
    with CameraServer({"/main": street_h264}, LOGIN, folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        anonymous = told(url, code=69)
        guessed = told(url, "-u", "me", password="wr0ng", code=69)
        lost = told(url.replace("main", "none"), "-u", LOGIN[0], password=LOGIN[1], code=69)
    assert (anonymous["fault"], anonymous["login"]["offered"]) == ("login", ["Digest MD5"])
    assert "--username" in anonymous["remedies"][0]
    assert (guessed["fault"], guessed["remedies"], guessed["config"]) == ("login", [], "")
    assert lost["fault"] == "not_found"
    away = told(f"rtsp://127.0.0.1:{free_port()}/main", code=69)
    assert (away["fault"], away["picture"]) == ("unreachable", None)
    assert "power and network" in away["remedies"][0]
    with HttpCamera(street_jpegs(2), login=LOGIN, kinds=["basic"]) as served:
        readable = told(served.url, "-u", LOGIN[0], password=LOGIN[1], code=69)
        assert (readable["login"]["offered"], served.heard) == (["Basic"], [])
        allowed = told(served.url, "-u", LOGIN[0], "--basic-login", "--seconds", "1", password=LOGIN[1])
    assert "--basic-login" in readable["remedies"][0]
    assert any("can read the password" in note for note in allowed["notes"])
    assert "basic_login = true" in allowed["config"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["ftp://127.0.0.1/"],
        ["rtsp://me:pa/s3cret@127.0.0.1/"],
        ["rtsp://me:s3cret@[/"],
        ["rtsp://127.0.0.1/", "--id", "Not Good"],
        ["rtsp://127.0.0.1/", "-u", "me"],
        ["rtsps://127.0.0.1/", "--ca-file", "/nowhere.pem"],
        ["rtsps://127.0.0.1/", "--ca-file", "/etc/hostname"],
        ["rtsp://127.0.0.1/", "--password-file", "/nowhere"],
    ],
)
def test_what_makes_no_sense_is_told_in_a_line(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)
    assert "s3cret" not in done.stderr


def test_no_password_is_shown_whichever_way_it_came(tmp_path: Path, street_h264: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(LOGIN[1] + "\n")
    secret.chmod(0o600)
    with CameraServer({"/main": street_h264}, LOGIN, folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        inside = url.replace("//", "//op%20er:p%40ss%20w0rd%2F%3F%23@")
        by_file = run(url, "-u", LOGIN[0], "--password-file", str(secret), "--seconds", "1")
        in_url = run(inside, "--seconds", "1", "--json")
        in_query = run(url + "?user=me&password=p@ss w0rd", "-u", LOGIN[0], "--seconds", "1", password=LOGIN[1])
    assert (by_file.returncode, in_url.returncode) == (0, 0)
    assert "leave it out of the URL" in in_url.stderr
    assert "password=…" in in_query.stdout
    for done in (by_file, in_url, in_query):
        assert "w0rd" not in done.stdout + done.stderr
        assert "p%40ss" not in done.stdout + done.stderr


def test_at_a_terminal_the_password_is_asked_for_and_progress_shown(street_h264: Path, tmp_path: Path) -> None:
    with CameraServer({"/main": street_h264}, LOGIN, folder=tmp_path) as server:
        url = server.url("/main", with_login=False)
        terminal, inner = pty.openpty()
        command = [sys.executable, "-m", "edge_agent", "probe", url, "-u", LOGIN[0], "--seconds", "3"]
        asked = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(inner)
        shown = ""
        with contextlib.closing(os.fdopen(terminal, "r+b", buffering=0)) as screen:
            while select.select([screen], [], [], 30)[0]:
                try:
                    shown += screen.read(4096).decode(errors="replace")
                except OSError:
                    break  # how a terminal tells that its last user is gone
                if shown.endswith("Password of op er: "):
                    screen.write(LOGIN[1].encode() + b"\n")
        asked.kill()
        asked.wait(10)
    assert asked.returncode == 0, shown
    assert "pictures came" in shown
    assert "w0rd" not in shown
