"""What an hour of recording leaves in the recorder's memory.

`python -m bench.endurance [--cameras 16] [--minutes 60] [--json]`.  The product's recorder takes local cameras
(1080p25, 4 Mb/s); closed files are deleted as retention would.  Memory, threads and open files are looked at every
10 s; growth is what the memory of the last tenth of the time is above that of the second tenth (the first one belongs
to the start).
"""

from __future__ import annotations

import argparse
import stat
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from bench.recording import growing, make_camera_clip, recorder
from bench.report import Figure, print_figures
from edge_agent.clock import Clock, SystemClock
from tests.peers.cameras import CameraServer
from tests.peers.support import wait_until

LOOK_S = 10.0
KEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Look:
    memory_bytes: int
    threads: int
    files: int


def watched(process: psutil.Process, archive: Path, seconds: float, clock: Clock) -> list[Look]:
    """Look at the recorder again and again while it records."""
    looks, deadline, never = [], clock.monotonic() + seconds, threading.Event()
    while clock.monotonic() < deadline:
        clock.wait(never, LOOK_S)
        looks.append(Look(process.memory_info().rss, process.num_threads(), process.num_fds()))
        for path in archive.rglob("*.age"):
            status = path.stat()
            if not status.st_mode & stat.S_IWUSR and clock.utc_us() / 1e6 - status.st_mtime > KEEP_S:
                path.unlink()
    return looks


def figures(looks: Sequence[Look]) -> list[Figure]:
    tenth = max(1, len(looks) // 10)
    early, late = looks[tenth : 2 * tenth], looks[-tenth:]
    before, after = (median(look.memory_bytes for look in part) for part in (early, late))
    growth = 100 * (after / before - 1)
    more = max(look.threads + look.files for look in late) - max(look.threads + look.files for look in early)
    return [
        Figure("recorder memory, early", round(before / 1e6, 2), "MB"),
        Figure("recorder memory, at the end", round(after / 1e6, 2), "MB"),
        Figure("growth", round(growth, 2), "%", "<= 2", growth <= 2),
        Figure("more threads and open files", more, "", "<= 0", more <= 0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as name:
        folder = Path(name)
        clip = make_camera_clip(folder / "clip.mp4")
        mounts = {f"/cam{number}": clip for number in range(options.cameras)}
        with CameraServer(mounts, folder=folder / "server") as server:
            (folder / "product").mkdir()
            with recorder(folder / "product", [server.url(mount) for mount in mounts]) as process:
                wait_until(growing(folder / "product", "*.age", options.cameras), 60, "all cameras recorded")
                looks = watched(process, folder / "product" / "archive", options.minutes * 60, SystemClock())
    print_figures(f"{options.minutes:.0f} minutes, {options.cameras} cameras", figures(looks), as_json=options.json)


if __name__ == "__main__":
    main()
