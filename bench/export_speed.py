"""What an export costs beside `age -d | age -r` on the same bytes: 15 minutes of 1080p25 at 4 Mb/s, about 450 MB.

Run by `bench.archive`.  One encoded clip, repeated, is sealed by the product's own writer into 15 recordings; a process
like the exporter cuts and seals them, then the `age` tool opens and seals the very clip that came out.  In turns, and
in memory, where there is room (`/dev/shm`), for the disk is the same for both; the quickest of each counts, for they
share the machine.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import Figure
from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.config import FolderTarget
from edge_agent.model import CameraId, Interval, Segment
from edge_agent.trust.age import Identity
from edge_agent.trust.keys import write_secret_file
from edge_agent.uplink.exporter import EXPORTER_JOB, ExporterJob, cut

MINUTES = 15
ROUNDS = 5
ROOM_BYTES = 3 << 30
_START_US = 1_795_366_379_920_531
_PIECE_BYTES = 500_000


def make_archive(root: Path, node: Identity) -> tuple[Segment, ...]:
    """15 recordings of a minute, side by side."""
    from bench.recording import make_camera_clip  # only here: the process that is measured has no use for cameras

    source, minute = make_camera_clip(root.with_name("camera.mp4")), root.with_name("minute.mp4")
    command = ["ffmpeg", "-v", "error", "-stream_loop", "2", "-i", str(source), "-c", "copy", "-t", "60"]
    command += ["-frag_duration", "800000", "-movflags", "empty_moov+default_base_moof", str(minute)]
    subprocess.run(command, check=True, timeout=120)
    plain, segments = minute.read_bytes(), []
    root.mkdir()
    for number in range(MINUTES):
        name = SegmentName(CameraId("gate"), _START_US + number * 60 * US, number + 1)
        file = SegmentFile(root, name, [node.recipient])
        for at in range(0, len(plain), _PIECE_BYTES):
            file.write(plain[at : at + _PIECE_BYTES])
        segments.append(file.close(name.start_us + 60 * US, 1500))
    return tuple(segments)


def cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def exported(job: bytes, clip: Path) -> tuple[float, float, float]:
    """Seconds that cutting and sealing took in a process of its own, those of CPU, and the most memory, in MB."""
    clip.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.export_speed", str(clip)]
    done = subprocess.run(command, input=job, stdout=subprocess.PIPE, check=True, timeout=300)
    seconds, cpu, peak_kb = done.stdout.split()
    return float(seconds), float(cpu), int(peak_kb) * 1024 / 1e6


def piped(key: Path, clip: Path, out: Path, recipient: str) -> tuple[float, float]:
    """Seconds of `age -d | age -r`, and those of CPU."""
    out.unlink(missing_ok=True)
    script = 'age -d -i "$1" "$2" | age -r "$3" -o "$4" && sync "$4"'
    clock = SystemClock()
    began, used = clock.monotonic(), cpu_s(resource.RUSAGE_CHILDREN)
    subprocess.run(["sh", "-c", script, "sh", str(key), str(clip), recipient, str(out)], check=True, timeout=300)
    return clock.monotonic() - began, cpu_s(resource.RUSAGE_CHILDREN) - used


def export_figures(folder: Path) -> list[Figure]:
    memory = Path("/dev/shm")
    room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-", dir=memory if room else folder) as work:
        return _figures(Path(work))


def _figures(work: Path) -> list[Figure]:
    node, officer = Identity.generate(), Identity.generate()
    key, clip, out = work / "officer.key", work / "clip.mp4.age", work / "again.mp4.age"
    write_secret_file(key, f"{officer}\n".encode())
    segments = make_archive(work / "archive", node)
    interval = Interval(segments[0].start_us, segments[-1].end_us)
    target = FolderTarget(kind="folder", name="none", path=str(work))
    recipient, own = str(officer.recipient), (str(node),)
    facts = ("bench", str(work / "archive"), segments, interval, own, recipient, target, str(work), clip.name)
    job = EXPORTER_JOB.encode(ExporterJob(*facts))
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(exported(job, clip))
        theirs.append(piped(key, clip, out, str(node.recipient)))
    size, seconds, peak = clip.stat().st_size / 1e6, min(ours)[0], round(max(one[2] for one in ours))
    share = round(min(theirs)[0] / seconds, 2)
    cpu = round(min(one[1] for one in ours) / min(one[1] for one in theirs), 2)
    return [
        Figure("export of 15 minutes of 1080p", round(size / seconds), "MB/s"),
        Figure("age -d | age -r on the same bytes", round(size / min(theirs)[0]), "MB/s"),
        Figure("the export's part of age's speed", share, "", ">= 0.8", share >= 0.8),
        Figure("its CPU time for one of age's", cpu, ""),
        Figure("memory of the export", peak, "MB", "<= 100", peak <= 100),
    ]


def main() -> None:
    """Do the job on standard input; seconds, those of CPU, and peak memory in kB."""
    job, clock = EXPORTER_JOB.parse(sys.stdin.buffer.read()), SystemClock()
    began, used = clock.monotonic(), cpu_s(resource.RUSAGE_SELF)
    cut(job, Path(sys.argv[1]), lambda _: None)
    seconds, used = clock.monotonic() - began, cpu_s(resource.RUSAGE_SELF) - used
    status = Path("/proc/self/status").read_text("ascii")
    print(seconds, used, next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
