"""The recorder process under test: started as the agent starts it, heard, and its recordings opened with real tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import av

from edge_agent.buffer.segments import FoundSegment, scan
from edge_agent.capture.job import RECORDER_JOB, CameraJob, RecorderJob
from edge_agent.messages import Message, SegmentClosed, decode
from edge_agent.model import CameraId
from edge_agent.trust.age import Identity
from tests.peers.cameras import vcl_digest
from tests.peers.support import ManagedProcess, wait_until

M = TypeVar("M")


class RecorderProcess:
    """`with RecorderProcess(job, folder) as recorder:`; `listen=False` leaves its standard output unread."""

    def __init__(
        self, job: RecorderJob, folder: Path, *, listen: bool = True, env: Mapping[str, str] | None = None
    ) -> None:
        self.heard: list[Message] = []
        self._job = job
        self._listen = listen
        self._env = env
        self._folder = folder

    def __enter__(self) -> Self:
        self.process = ManagedProcess(
            [sys.executable, "-m", "edge_agent.capture.recorder"],
            self._folder / "recorder.log",
            env=self._env,
            stdin=True,
            stdout=True,
        )
        self.process.stdin.write(RECORDER_JOB.encode(self._job) + b"\n")
        self.process.stdin.flush()
        if self._listen:
            self.process.hear(self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.end()

    def _take(self, line: bytes) -> None:
        with suppress(ValueError):  # a killed process leaves half a line
            self.heard.append(decode(line))

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    def wait_for(self, kind: type[M], seconds: float, count: int = 1, **fields: object) -> list[M]:
        """The messages of a kind whose fields are as given, once there are `count` of them."""

        def found() -> list[M]:
            return [
                message
                for message in self.of(kind)
                if all(getattr(message, name) == value for name, value in fields.items())
            ]

        try:
            wait_until(lambda: len(found()) >= count, seconds, f"{count} {kind.__name__} {fields}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None
        return found()

    def stop(self, seconds: float = 6) -> int:
        """Close its standard input, as the agent does, and wait; the exit code."""
        self.process.stdin.close()
        return self.process.wait(seconds)

    def log(self) -> str:
        return self.process.text()

    @property
    def closed(self) -> list[SegmentClosed]:
        return self.of(SegmentClosed)


@dataclass(frozen=True, slots=True)
class Lab:
    """A folder with an archive and the keys to it."""

    folder: Path
    identity: Identity

    @classmethod
    def make(cls, folder: Path) -> Lab:
        lab = cls(folder, Identity.generate())
        lab.archive.mkdir(parents=True)
        lab.key_file.write_text(f"{lab.identity}\n")
        lab.key_file.chmod(0o600)
        return lab

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def key_file(self) -> Path:
        return self.folder / "node.age"

    def job(self, *cameras: CameraJob, segment_s: float = 3, flush_s: float = 1) -> RecorderJob:
        return RecorderJob(str(self.archive), (str(self.identity.recipient),), cameras, segment_s, flush_s)

    def segments(self, camera: str) -> list[FoundSegment]:
        return [found for found in scan(self.archive) if found.camera == camera]

    def opened(self, segment: FoundSegment) -> Path:
        """The segment opened by the standard `age` tool; a torn one as far as the tool gives it."""
        out = self.folder / (Path(segment.path).name + ".mp4")
        with out.open("wb") as plain:
            done = subprocess.run(
                ["age", "-d", "-i", self.key_file, self.archive / segment.path],
                stdout=plain,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert segment.torn or not segment.closed or done.returncode == 0, done.stderr.decode()
        return out

    def digests(self, camera: str) -> list[str]:
        """`vcl_digest` of every picture of a camera's archive, in order."""
        return [digest for segment in self.segments(camera) for digest in frame_digests(self.opened(segment))]


def camera(name: str, url: str, **more: object) -> CameraJob:
    return CameraJob(CameraId(name), url, **more)  # type: ignore[arg-type]


def frame_digests(path: Path) -> list[str]:
    """In decoding order."""
    found = []
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context.name
        for packet in container.demux(video=0):
            if packet.size and not packet.is_corrupt:  # as libav marks the picture that a tear goes through
                found.append(vcl_digest(bytes(packet), codec))
    return found


def ffprobe_complaints(path: Path) -> str:
    """What ffprobe says about a file when it decodes all of it; nothing when it is clean."""
    done = subprocess.run(
        ["ffprobe", "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "json", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(json.loads(done.stdout)["streams"][0]["nb_read_frames"]) > 0
    return done.stderr


def fragment_seconds(path: Path) -> list[float]:
    """How long each fragment lasts, from its own tables."""
    from edge_agent.buffer.mp4_boxes import Box

    data = path.read_bytes()
    lengths = []
    scale = 0
    for box in Box("file", "", 0, memoryview(data), 0).children():
        if box.name == "moov":
            with av.open(str(path)) as container:
                scale = (container.streams.video[0].time_base or 1).denominator
        if box.name == "moof":
            for traf in box.children():
                for child in traf.children() if traf.name == "traf" else ():
                    if child.name == "trun":
                        child.version_and_flags()
                        count = child.u32()
                        child.i32()
                        rows = child.words(count * 4)
                        lengths.append(sum(rows[::4]) / scale)
    return lengths


class WallClock:
    """The wall clock of a process started with `env`, set while it runs (Debian's libfaketime)."""

    def __init__(self, folder: Path, ahead_s: int) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        self._file = folder / "wall-clock"
        self.set(ahead_s)
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead_s: int) -> None:
        """It is `ahead_s` ahead of the truth from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+d}")
        fresh.replace(self._file)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


__all__: Sequence[str] = (
    "Lab",
    "RecorderProcess",
    "WallClock",
    "camera",
    "cpu_seconds",
    "ffprobe_complaints",
    "fragment_seconds",
    "frame_digests",
    "rss_bytes",
)
