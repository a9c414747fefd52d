"""How quick a sweep is on a large index: `python -m bench.retention`.

16 cameras × 30 days of one-minute recordings (691,200 rows), of which about 1,000 are due; the files of those that are
due are there, small.  A second sweep finds nothing to do; a third steps over a hold of 20 days.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.promise import DAY_US, Rule
from edge_agent.buffer.retention import Ballast, Deleter
from edge_agent.buffer.segments import SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.model import CameraId, Hold, Segment

MINUTE_US = 60 * US


def recordings(cameras: int, days: int, now_us: int) -> Iterator[Segment]:
    for number in range(cameras):
        camera = CameraId(f"cam{number:02}")
        for minute in range(days * 24 * 60, 0, -1):
            start_us = now_us - minute * MINUTE_US
            path = str(SegmentName(camera, start_us, 1))
            yield Segment(camera, path, start_us, start_us + MINUTE_US, 30_000_000, 1500, "ab" * 32, damaged=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--due", type=int, default=1000)
    asked = parser.parse_args()
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="retention-") as folder:
        root = Path(folder) / "archive"
        root.mkdir()
        index = Index(Path(folder) / "index.sqlite", clock)
        now_us = clock.utc_us()
        index.add(recordings(asked.cameras, asked.days, now_us))
        print(f"rows                 {index.holdings().files}")
        each = asked.due // asked.cameras
        keep_us = asked.days * DAY_US - each * MINUTE_US
        for camera in index.recorded_cameras():
            for aged in index.by_age(camera, (-1, -1, -1), each):
                path = root / aged.segment.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
        holds = Holds(Documents(Path(folder) / "documents.json", clock))
        deleter = Deleter(root, index, holds, Rule(keep_us, {}), clock, Ballast(Path(folder) / "ballast"))
        went, longest, began = 0, 0.0, time.perf_counter()
        while True:
            slice_began = time.perf_counter()
            swept = deleter.sweep(clock_trusted=True)
            longest = max(longest, time.perf_counter() - slice_began)
            went += swept.by_age
            if not swept.more:
                break
        print(f"{went} due             {time.perf_counter() - began:.3f} s, longest slice {longest * 1e3:.0f} ms")
        began = time.perf_counter()
        deleter.sweep(clock_trusted=True)
        print(f"nothing due          {(time.perf_counter() - began) * 1e3:.1f} ms")
        held = Hold("h0000000000", (), 0, now_us - 10 * DAY_US, "1", "", "", "", now_us)
        holds.add(held)
        tight = Rule(keep_us, {}, max_size=index.holdings().size_bytes - 1)
        deleter = Deleter(root, index, holds, tight, clock, Ballast(Path(folder) / "ballast"))
        began = time.perf_counter()
        swept = deleter.sweep(clock_trusted=True)
        print(f"{swept.by_space} behind a hold       {(time.perf_counter() - began) * 1e3:.1f} ms")
        began = time.perf_counter()
        deleter.standing(clock_trusted=True)
        print(f"standing             {(time.perf_counter() - began) * 1e3:.1f} ms")
        index.close()


if __name__ == "__main__":
    main()
