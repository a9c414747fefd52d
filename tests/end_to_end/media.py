"""What was recorded, frame by frame, by the standard tools: `age` opens it, PyAV and ffprobe read it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import av

from tests.peers.vcl import vcl_digest


def opened(sealed: Path, identity: Path, folder: Path) -> Path:
    """Unseal with the `age` tool."""
    plain = folder / sealed.name.removesuffix(".age")
    subprocess.run(["age", "-d", "-i", identity, "-o", plain, sealed], check=True, capture_output=True, timeout=60)
    return plain


def probe_errors(movie: Path) -> str:
    """What ffmpeg complains about when it decodes everything; nothing for a clean file."""
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(movie), "-f", "null", "-"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stderr


def digests(movies: Iterable[Path], codec: str) -> list[str]:
    """The digest of each picture's slices, in decode order."""
    found = []
    for movie in movies:
        with av.open(str(movie)) as container:
            stream = container.streams.video[0]
            found += [vcl_digest(bytes(packet), codec) for packet in container.demux(stream) if packet.size]
    return found


def decoded_frames(movie: Path) -> int:
    with av.open(str(movie)) as container:
        return sum(1 for _ in container.decode(video=0))
