"""LIVE555's media server, out of which many cameras' firmware is made (`debian_setup.sh` unpacks it).

It plays files as they stand in its folder, from the first picture on for everyone who asks, and at the end says BYE and
falls silent.  It listens on all addresses, so it runs inside a `private_network` only.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import av

from tests.peers.support import ManagedProcess, wait_until

_ROOT = Path(__file__).resolve().parents[2] / ".cache" / "live555"
PORT = 554


class Live555:
    """`with Live555(folder) as server:`, once the folder has its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Live555:
        # with the C library that it was made for
        loader: list[str | Path] = [
            _ROOT / "usr/lib64/ld-linux-x86-64.so.2",
            "--library-path",
            _ROOT / "usr/lib/x86_64-linux-gnu",
        ]
        self._process = ManagedProcess(
            [*loader, _ROOT / "usr/bin/live555MediaServer"], self._folder / "live555.log", cwd=self._folder
        )
        wait_until(lambda: _listens() or not self._process.running, 30, "LIVE555 listens")
        assert self._process.running, self._process.text()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()

    def url(self, name: str) -> str:
        return f"rtsp://127.0.0.1:{PORT}/{name}"


def elementary_stream(clip: Path, place: Path) -> Path:
    """The pictures of an MP4 as LIVE555 wants them (Annex B, `.264` or `.265`)."""
    with av.open(str(clip)) as container:
        codec = container.streams.video[0].codec_context.name
    path = place / f"{clip.stem}.{'264' if codec == 'h264' else '265'}"
    unwrap = f"{codec}_mp4toannexb"
    command: list[str | Path] = ["ffmpeg", "-v", "error", "-y", "-i", clip, "-c", "copy", "-bsf:v", unwrap, path]
    subprocess.run(command, check=True, timeout=60)
    return path


def _listens() -> bool:
    found = subprocess.run(["ss", "-Hltn", f"sport = :{PORT}"], capture_output=True, text=True, check=True)
    return bool(found.stdout.strip())
