"""What recording costs, beside the peer and the floor, in one run.

`python -m bench.recording [--cameras 8] [--seconds 60] [--json]`.  The same local cameras (1080p25, 4 Mb/s) are
recorded side by side in the same seconds, so that each meets the same machine, by

- the product's recorder: sealed and hashed;
- the peer: one `ffmpeg -rtsp_transport tcp -c copy -f segment` a camera, plain, as other recorders use it;
- the floor: a process that asks for the streams, and writes the bytes it receives to files, nothing else.

CPU is user and system time of all processes of a kind; memory is their resident set at the end.  Video bytes are those
of the pictures as they are encoded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.report import Figure, print_figures
from edge_agent.capture.job import RECORDER_JOB, CameraJob, RecorderJob
from edge_agent.clock import SystemClock
from edge_agent.model import CameraId
from edge_agent.trust.age import Identity
from tests.peers.cameras import CameraServer
from tests.peers.support import ManagedProcess, wait_until

FPS, BITRATE = 25, 4_000_000
SEGMENT_S = 60
"""The product's default, for both."""
TRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of recording, over `seconds`."""

    seconds: float
    cpu_s: float
    memory_bytes: int
    written_bytes: int
    """Handed to the system by write calls, over `seconds`."""


def make_camera_clip(path: Path) -> Path:
    """20 s of moving noise that really needs its 4 Mb/s."""
    source = f"testsrc2=size=1920x1080:rate={FPS}:duration=20,noise=alls=12:allf=t"
    rate = ["-b:v", str(BITRATE), "-minrate", str(BITRATE), "-maxrate", str(BITRATE), "-bufsize", str(BITRATE)]
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(FPS * 2), "-pix_fmt", "yuv420p"]
    coding += ["-x264-params", "nal-hrd=cbr"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *coding, *rate, str(path)], check=True, timeout=300
    )
    return path


def video_bytes_a_second(clip: Path) -> float:
    """Of the pictures in it, as they are encoded."""
    asked = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=size:stream=duration"]
    found = subprocess.run([*asked, "-of", "json", str(clip)], check=True, capture_output=True, text=True, timeout=60)
    told = json.loads(found.stdout)
    return sum(int(packet["size"]) for packet in told["packets"]) / float(told["streams"][0]["duration"])


def measured(kinds: Sequence[Sequence[psutil.Process]], seconds: float) -> list[Cost]:
    """Let them run for `seconds` and look what each kind cost in that time."""
    clock = SystemClock()

    def used() -> list[tuple[float, int]]:
        return [
            (
                sum(sum(process.cpu_times()[:2]) for process in processes),
                sum(process.io_counters().write_chars for process in processes),
            )
            for processes in kinds
        ]

    before, began = used(), clock.monotonic()
    clock.wait(threading.Event(), seconds)
    after, passed = used(), clock.monotonic() - began
    memory = [sum(process.memory_info().rss for process in processes) for processes in kinds]
    return [
        Cost(passed, cpu_after - cpu, rss, written_after - written)
        for (cpu, written), (cpu_after, written_after), rss in zip(before, after, memory, strict=True)
    ]


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def recorder(folder: Path, urls: Sequence[str]) -> Iterator[psutil.Process]:
    """The product's recorder process, as the agent starts it."""
    archive = folder / "archive"
    archive.mkdir()
    job = RecorderJob(
        archive_dir=str(archive),
        recipients=(str(Identity.generate().recipient),),
        cameras=tuple(CameraJob(CameraId(f"cam{number}"), url) for number, url in enumerate(urls)),
        segment_s=SEGMENT_S,
    )
    messages = (folder / "messages").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_agent.capture.recorder"],
        stdin=subprocess.PIPE,
        stdout=messages,
        stderr=(folder / "recorder.log").open("wb"),
    )
    assert process.stdin is not None
    process.stdin.write(RECORDER_JOB.encode(job) + b"\n")
    process.stdin.flush()
    try:
        yield psutil.Process(process.pid)
    finally:
        process.stdin.close()
        process.wait(20)


@contextlib.contextmanager
def ffmpegs(folder: Path, urls: Sequence[str]) -> Iterator[list[psutil.Process]]:
    """The peer: a process a camera."""
    with contextlib.ExitStack() as stack:
        found = []
        for number, url in enumerate(urls):
            target = folder / f"cam{number}-%03d.mp4"
            command = ["ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url, "-c", "copy", "-f", "segment"]
            command += ["-segment_time", str(SEGMENT_S), "-segment_format", "mp4", str(target)]
            process = stack.enter_context(ManagedProcess(command, folder / f"ffmpeg{number}.log"))
            found.append(psutil.Process(process.pid))
        yield found


def floor(folder: Path, urls: Sequence[str]) -> None:
    """Ask each camera for its stream and write what comes; one thread a camera, large reads."""
    threads = [
        threading.Thread(target=_receive, args=(url, folder / f"floor{number}"), daemon=True)
        for number, url in enumerate(urls)
    ]
    for thread in threads:
        thread.start()
    signal.sigwait({signal.SIGTERM})


def _receive(url: str, path: Path) -> None:
    host, port = re.findall(r"rtsp://([^:/]+):(\d+)", url)[0]
    with socket.create_connection((host, int(port))) as connection, path.open("wb", buffering=0) as file:
        sequence = 0

        def ask(method: str, target: str, *more: str) -> str:
            nonlocal sequence
            sequence += 1
            lines = [f"{method} {target} RTSP/1.0", f"CSeq: {sequence}", *more, "", ""]
            connection.sendall("\r\n".join(lines).encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            head, _, body = answer.partition(b"\r\n\r\n")
            length = int((re.findall(rb"(?i)content-length: (\d+)", head) or [b"0"])[0])
            while len(body) < length:
                body += connection.recv(65536)
            return (head + b"\r\n" + body[:length]).decode()

        described = ask("DESCRIBE", url, "Accept: application/sdp")
        control = re.findall(r"a=control:(\S+)", described)[-1]
        track = control if control.startswith("rtsp") else f"{url}/{control}"
        session = re.findall(
            r"(?i)session: ([^;\r]+)", ask("SETUP", track, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        )[0]
        ask("PLAY", url, f"Session: {session}")
        buffer = bytearray(1 << 18)
        view = memoryview(buffer)
        while received := connection.recv_into(buffer):
            file.write(view[:received])
            # As the recorder does: a wake-up for a good bite, not for every packet.
            threading.Event().wait(0.05)


@contextlib.contextmanager
def floors(folder: Path, urls: Sequence[str]) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "bench.recording", "--floor", str(folder), *urls]
    with ManagedProcess(command, folder / "floor.log") as process:
        yield psutil.Process(process.pid)


def syncs(process: psutil.Process) -> float | None:
    """fsync and fdatasync calls a second of all its threads, by strace; None where that is not installed."""
    if shutil.which("strace") is None:
        return None
    command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-p", str(process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    SystemClock().wait(threading.Event(), TRACE_S)
    tracer.send_signal(signal.SIGINT)
    _, report = tracer.communicate(timeout=10)
    return sum(int(calls) for calls in re.findall(r"^\s*\S+\s+\S+\s+\S+\s+(\d+)\s.*sync$", report, re.M)) / TRACE_S


def growing(folder: Path, pattern: str, count: int) -> Callable[[], bool]:
    return lambda: sum(path.stat().st_size > 100_000 for path in folder.rglob(pattern)) >= count


def measure(cameras: int, seconds: float, folder: Path) -> list[Figure]:
    clip = make_camera_clip(folder / "clip.mp4")
    clock = SystemClock()
    mounts = {f"/cam{number}": clip for number in range(cameras)}
    with CameraServer(mounts, folder=folder / "server") as server:
        urls = [server.url(mount) for mount in mounts]
        places = {name: folder / name for name in ("product", "peer", "floor")}
        for place in places.values():
            place.mkdir()
        began = clock.monotonic()
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(recorder(places["product"], urls))
            wait_until(growing(places["product"], "*.age", 1), 30, "a first file")
            first_s = clock.monotonic() - began
            wait_until(growing(places["product"], "*.age", cameras), 60, "all cameras recorded")
            peers = stack.enter_context(ffmpegs(places["peer"], urls))
            wait_until(growing(places["peer"], "*.mp4", cameras), 60, "all ffmpegs record")
            least_process = stack.enter_context(floors(places["floor"], urls))
            wait_until(growing(places["floor"], "floor?*", cameras), 60, "the floor receives")
            size_before = size_of(places["product"] / "archive")
            product, peer, least = measured(([process], peers, [least_process]), seconds)
            sealed_bytes = size_of(places["product"] / "archive") - size_before
            synced = syncs(process)
    video_bytes = cameras * video_bytes_a_second(clip) * product.seconds
    return figures(cameras, product, peer, least, sealed_bytes, video_bytes, first_s, synced)


def figures(
    cameras: int,
    product: Cost,
    peer: Cost,
    least: Cost,
    sealed_bytes: int,
    video_bytes: float,
    first_s: float,
    synced: float | None,
) -> list[Figure]:
    def percent(cost: Cost) -> float:
        return round(100 * cost.cpu_s / cost.seconds / cameras, 3)

    ratio, memory = product.cpu_s / peer.cpu_s, product.memory_bytes / peer.memory_bytes
    amplification = product.written_bytes / video_bytes
    told = [
        Figure("recorder CPU, sealed and hashed / peer's plain", round(ratio, 3), "ratio", "<= 0.30", ratio <= 0.3),
        Figure("recorder CPU of a camera", percent(product), "% of a core"),
        Figure("peer CPU of a camera", percent(peer), "% of a core"),
        Figure("floor CPU of a camera", percent(least), "% of a core"),
        Figure("recorder memory / peer's sum", round(memory, 3), "ratio", "<= 0.125 at 16 cameras", memory <= 0.125),
        Figure("recorder memory", round(product.memory_bytes / 1e6, 1), "MB"),
        Figure("peer memory", round(peer.memory_bytes / 1e6, 1), "MB"),
        Figure("bytes written / video bytes", round(amplification, 3), "ratio", "<= 1.02", amplification <= 1.02),
        Figure("bytes in files / video bytes", round(sealed_bytes / video_bytes, 3), "ratio"),
        Figure("first picture on disk after start", round(first_s, 2), "s", "<= 2", first_s <= 2),
    ]
    if synced is not None:
        each = synced / cameras
        told.append(Figure("fsyncs of a camera", round(each, 2), "a second", "<= 1", each <= 1))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--floor", nargs="+", metavar=("FOLDER", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        floor(Path(options.floor[0]), options.floor[1:])
        os._exit(0)
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as folder:
        found = measure(options.cameras, options.seconds, Path(folder))
    print_figures(f"recording, {options.cameras} cameras", found, as_json=options.json)


if __name__ == "__main__":
    main()
