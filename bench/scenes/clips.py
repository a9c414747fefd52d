"""Scenes as a camera would send them: H.264, kept in `.cache/watching` so that only a first run encodes them."""

from __future__ import annotations

import fractions
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import av
from av.video.stream import VideoStream

from bench.scenes.catalogue import Scene, scene
from bench.scenes.stage import FPS, SIZE
from edge_agent.demo.scenery import Picture

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "watching"
BITRATE = 512_000
GROUP = 2 * FPS
"""A keyframe every two seconds."""


def _makers() -> bytes:
    """What a clip depends on beside its name and seed."""
    sources = [*Path(__file__).parent.glob("*.py"), *(ROOT / "edge_agent" / "demo").glob("scene*.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).digest()


def clip_path(name: str, seed: int) -> Path:
    key = hashlib.sha256(_makers() + f"{name} {seed}".encode()).hexdigest()[:12]
    return CACHE / f"{name.replace(' ', '-').replace(',', '')}-{seed}-{key}.mp4"


def encode(
    pictures: Iterable[Picture], path: Path, size: tuple[int, int] = SIZE, bitrate: int = BITRATE
) -> Path:  # fmt: skip
    """An MP4 as the sub-stream of a camera: baseline, constant bitrate, whole or not there at all."""
    unfinished = path.with_suffix(f".{os.getpid()}.part.mp4")
    options = {"preset": "superfast", "tune": "zerolatency", "profile": "baseline"}
    options["x264-params"] = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:sliced-threads=0:threads=1"
    with av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", bitrate
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, fractions.Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return unfinished.rename(path)


def clip(one: Scene, seed: int) -> Path:
    """The scene's clip, encoded when it is not kept already."""
    path = clip_path(one.name, seed)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        encode((one.stage.frame(number) for number in range(round(one.seconds * FPS))), path)
    return path


def make(name: str, seed: int) -> None:
    """Have the clip of a scene ready."""
    clip(scene(name, seed), seed)
