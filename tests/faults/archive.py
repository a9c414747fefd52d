"""A small archive with real footage, made without a camera: a clip's packets in sealed files, and the index to them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av

from edge_agent.buffer import day_log
from edge_agent.buffer.check import Finding, Kind
from edge_agent.buffer.checkup import Checkup
from edge_agent.buffer.index import Index
from edge_agent.buffer.segments import TORN_MODE, SegmentFile, SegmentName, mark
from edge_agent.clock import US
from edge_agent.model import CameraId, Segment
from edge_agent.trust.age import Identity
from tests.simulators.clock import HandClock

SECONDS = 8
FRAMES = 120


def footage(clip: Path) -> bytes:
    """The clip's packets as a fragmented MP4, a fragment a second."""
    out = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
    with av.open(str(clip)) as source, av.open(out, "w", format="mp4", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out.getvalue()


@dataclass(frozen=True)
class Recordings:
    """`folder/archive` and `folder/index.sqlite`, as an agent with one key leaves them."""

    folder: Path
    movie: bytes
    identity: Identity
    clock: HandClock

    @classmethod
    def make(cls, folder: Path, movie: bytes) -> Recordings:
        made = cls(folder, movie, Identity.generate(), HandClock())
        made.root.mkdir(parents=True)
        return made

    @property
    def root(self) -> Path:
        return self.folder / "archive"

    def index(self, *, read_only: bool = False) -> Index:
        return Index(self.folder / "index.sqlite", self.clock, read_only=read_only)

    def record(self, camera: str = "gate", count: int = 1) -> list[Segment]:
        """So many files of the camera, one after another, in the index."""
        segments = [self._closed(camera, number) for number in range(1, count + 1)]
        index = self.index()
        index.add(segments)
        index.close()
        return segments

    def left_open(self, camera: str = "gate", sequence: int = 9, part: float = 0.5) -> Path:
        """A file as a crash leaves it, with so much of its bytes."""
        file = SegmentFile(self.root, self.name(camera, sequence), [self.identity.recipient])
        file.write(self.movie[: int(len(self.movie) * part)])
        file.push()
        return file.path

    def torn(self, camera: str = "gate", sequence: int = 8) -> Segment:
        path = self.left_open(camera, sequence)
        name = self.name(camera, sequence)
        mark(path, name.start_us + 3 * US, TORN_MODE)
        segment = Segment(
            name.camera, str(name), name.start_us, name.start_us + 3 * US, path.stat().st_size, 45, None, torn=True
        )
        index = self.index()
        index.add([segment])
        index.close()
        return segment

    def forget_log(self, segment: Segment) -> None:
        """The day's log is gone."""
        (self.root / segment.path).with_name(day_log.NAME).unlink()

    def name(self, camera: str, sequence: int) -> SegmentName:
        return SegmentName(CameraId(camera), self.clock.utc_us() + (sequence - 100) * SECONDS * US, sequence)

    def checkup(self) -> Checkup:
        return Checkup(self.root, self.folder / "index.sqlite", [self.identity], self.clock)

    def findings(self, *, deep: bool = True, running: bool = False) -> list[Finding]:
        return list(self.checkup().look(running=running, deep=deep, progress=lambda _part: None).findings)

    def kinds(self, *, deep: bool = True, running: bool = False) -> list[Kind]:
        return sorted(finding.kind for finding in self.findings(deep=deep, running=running))

    def repaired(self) -> list[Kind]:
        """What is left after a repair."""
        self.checkup().repair(self.findings())
        return self.kinds()

    def _closed(self, camera: str, sequence: int) -> Segment:
        name = self.name(camera, sequence)
        file = SegmentFile(self.root, name, [self.identity.recipient])
        file.write(self.movie)
        return file.close(name.start_us + SECONDS * US, FRAMES)


def without_hash(recordings: Recordings, segment: Segment) -> None:
    """As an index that was made from the files' outsides knows it."""
    index = recordings.index()
    index.add([replace(segment, sha256=None, frames=None)])
    index.close()


def rewrite(path: Path, change: Callable[[bytearray], None]) -> None:
    """Change a closed file behind the agent's back, keeping its marks."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o600)
    path.write_bytes(data)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
