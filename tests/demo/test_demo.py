"""The demonstration as a newcomer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.media import decoded_frames
from tests.peers.cameras import CameraServer


def demo(*options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "edge_agent.demo", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return result.returncode, result.stdout, result.stderr


def test_the_whole_way_of_a_recording_is_shown(tmp_path: Path) -> None:
    code, out, err = demo("--seconds", "22", "--data", str(tmp_path / "demo"), "--json", "--language", "uk")
    assert code == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert summary["recorded_s"] >= 20
    assert summary["gap_s"] < 1
    assert summary["alarms"] >= 1
    assert summary["clip"]["opened"]
    assert 10 <= summary["clip"]["seconds"] <= 16
    assert decoded_frames(Path(summary["clip"]["path"])) >= 100
    assert list((tmp_path / "demo" / "pictures").glob("*.jpg"))
    assert "Рух" in out


def test_a_newcomers_own_camera_is_recorded_and_its_password_goes_nowhere(tmp_path: Path, street_h264: Path) -> None:
    with CameraServer({"/main": street_h264}, login=("agent", "hunter2"), folder=tmp_path / "camera") as server:
        code, out, err = demo(
            "--seconds", "8", "--data", str(tmp_path / "demo"), "--camera", server.url("/main"), "--json"
        )
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["recorded_s"] >= 6
    kept = [path for path in (tmp_path / "demo").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert [path.name for path in kept] == ["camera.password"]
    assert "hunter2" not in out + err


def test_a_wrong_camera_or_broker_is_told_in_words(tmp_path: Path) -> None:
    for option, value in (
        ("--camera", "http://x"),
        ("--camera", "nonsense"),
        ("--broker", "a b"),
        ("--broker", "x:99999"),
    ):
        code, _, err = demo("--seconds", "5", "--data", str(tmp_path), option, value)
        assert code == 64
        assert option in err
