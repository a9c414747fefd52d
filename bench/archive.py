"""How quick the archive stays: 16 cameras, 30 days, a recording a minute (691,200 rows).

`python -m bench.archive [--rows 691200] [--files 50000] [--json]`.  The index is filled without files, for none of its
searches looks at them; the rebuild is of real, tiny files with their day logs.  Retention deletes real files; an export
is measured by `bench.export_speed`.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from bench.export_speed import export_figures
from bench.report import Figure, print_figures
from edge_agent.buffer import day_log
from edge_agent.buffer.ballast import Ballast
from edge_agent.buffer.documents import Documents
from edge_agent.buffer.holds import Holds
from edge_agent.buffer.index import Index
from edge_agent.buffer.index_rows import row_of
from edge_agent.buffer.index_schema import SCHEMA, fill
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.library import Library
from edge_agent.buffer.promise import Rule
from edge_agent.buffer.rebuild import rebuild
from edge_agent.buffer.retention import Deleter
from edge_agent.buffer.segments import DAY_US, WHOLE_MODE, DayFolder, SegmentName
from edge_agent.clock import US, SystemClock
from edge_agent.database import open_database
from edge_agent.model import CameraId, ClockTrust, Hold, Interval, Segment

MINUTE_US = 60 * US
CAMERAS = [CameraId(f"cam-{number:02}") for number in range(16)]
SEARCHES = 500
DUE = 1000


def segments(first_us: int, minutes: int) -> Iterator[Segment]:
    """Of all cameras, by camera and time."""
    for camera in CAMERAS:
        for minute in range(minutes):
            start = first_us + minute * MINUTE_US
            path = str(SegmentName(camera, start, minute + 1))
            digest = hashlib.sha256(path.encode()).hexdigest()
            yield Segment(camera, path, start, start + MINUTE_US, 30_000_000, 1500, digest, False, 0, ClockTrust.SYNCED)


def filled(path: Path, rows: Iterator[Segment]) -> None:
    """An index with these rows."""
    with closing(open_database(path, SCHEMA, SystemClock())) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        fill(db, (row_of(segment) for segment in rows))
        db.execute("COMMIT")


def timed(work: Callable[[], object]) -> float:
    clock = SystemClock()
    gc.collect()
    began = clock.monotonic()
    work()
    return clock.monotonic() - began


def p99_ms(samples: Sequence[float]) -> float:
    return round(statistics.quantiles(samples, n=100)[98] * 1000, 2)


def search_figures(root: Path, path: Path, first_us: int, minutes: int) -> list[Figure]:
    """Any minute of any camera, and any whole day."""
    chance, clock = random.Random(4), SystemClock()
    with closing(Index(path, clock, read_only=True)) as index:
        library = Library(root, index, [], clock)

        def found() -> None:
            at = first_us + chance.randrange(minutes - 10) * MINUTE_US + 7 * US
            assert len(library.segments(chance.choice(CAMERAS), Interval(at, at + 5 * MINUTE_US))) == 6

        def covered() -> None:
            at = first_us + chance.randrange(max(1, minutes - 1440)) * MINUTE_US
            assert len(library.coverage(chance.choice(CAMERAS), Interval(at, at + DAY_US))) >= 1

        search = p99_ms([timed(found) for _ in range(SEARCHES)])
        day = p99_ms([timed(covered) for _ in range(SEARCHES // 5)])
    return [
        Figure("search by camera and time, p99", search, "ms", "<= 5", search <= 5),
        Figure("coverage of a day, p99", day, "ms", "<= 20", day <= 20),
    ]


def start_figures(root: Path, path: Path) -> list[Figure]:
    """What stands between the agent's start and its recorder's, after it ended in order and after it did not."""
    clock = SystemClock()

    def start(*, in_order: bool) -> float:
        def begin() -> None:
            index = Index(path, clock)
            ledger = Ledger(root, index, [], clock)
            ledger.recover(ledger.reconcile())
            ledger.begin(CAMERAS)
            index.holdings()
            opened.append(index)

        opened: list[Index] = []
        seconds = timed(begin)
        if in_order:
            opened[0].close()
        else:
            opened[0]._db.close()
        return round(seconds, 2)

    start(in_order=True)
    ordered = start(in_order=False)
    crashed = start(in_order=True)
    return [
        Figure("start on that archive, ended in order", ordered, "s", "<= 2", ordered <= 2),
        Figure("start on that archive, after a crash", crashed, "s", "<= 2", crashed <= 2),
    ]


def with_files(root: Path, rows: Iterator[Segment]) -> int:
    """Tiny files that say the same as the rows, with their day logs; how many."""
    lines: dict[Path, list[bytes]] = {}
    count = 0
    for segment in rows:
        path = root / segment.path
        if path.parent not in lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines[path.parent] = []
        path.write_bytes(b"x")
        os.utime(path, ns=(segment.end_us * 1000, segment.end_us * 1000))
        path.chmod(WHOLE_MODE)
        line = day_log.Line(path.name, segment.end_us, 1, 1500, segment.sha256, False, 0, ClockTrust.SYNCED)
        lines[path.parent].append(day_log.encode(line))
        count += 1
    for folder, those in lines.items():
        (folder / day_log.NAME).write_bytes(b"".join(those))
    return count


def rebuild_figures(folder: Path, first_us: int, files: int) -> list[Figure]:
    """Names, outsides and day logs into a new index; then slice by slice, as the agent does it beside its work."""
    root, path, clock = folder / "rebuilt", folder / "rebuilt.sqlite", SystemClock()
    count = with_files(root, segments(first_us, files // len(CAMERAS)))
    result = rebuild(root, path, clock)
    assert (result.segments, result.unfinished, result.unhashed) == (count, 0, 0)
    longest, began = 0.0, clock.monotonic()
    with closing(Index(folder / "audited.sqlite", clock)) as index:
        ledger, more = Ledger(root, index, [], clock), True
        while more:
            before = clock.monotonic()
            more = ledger.audit(0.02)
            longest = max(longest, clock.monotonic() - before)
        assert index.holdings().files == count
    rate = round(count / (clock.monotonic() - began))
    return [
        Figure("rebuild", round(result.per_second), "recordings/s", ">= 20000", result.per_second >= 20_000),
        Figure("the agent's own rebuild beside its work", rate, "recordings/s"),
        Figure("its longest slice", round(longest * 1000, 1), "ms", "<= 50", longest <= 0.05),
    ]


def retention_figures(folder: Path, path: Path, first_us: int) -> list[Figure]:
    """1,000 recordings of that archive are due and there."""
    root, clock = folder / "swept", SystemClock()
    oldest = first_us + -(-DUE // len(CAMERAS)) * MINUTE_US
    with_files(root, segments(first_us, -(-DUE // len(CAMERAS))))
    longest = 0.0
    with closing(Index(path, clock)) as index:
        keep_us = clock.utc_us() - oldest
        holds = Holds(Documents(folder / "documents.json", clock))
        deleter = Deleter(root, index, holds, Rule(keep_us, {}), clock, Ballast(folder / "ballast"))
        began, gone, more = clock.monotonic(), 0, True
        while more:
            before = clock.monotonic()
            swept = deleter.sweep(clock_trusted=True)
            longest = max(longest, clock.monotonic() - before)
            gone, more = gone + swept.by_age, swept.more
        seconds = round(clock.monotonic() - began, 2)
        half_us = first_us + (clock.utc_us() - first_us) // 2
        holds.add(Hold("h0", (), 0, half_us, "1", "", "", "", clock.utc_us()))
        tight = Rule(keep_us, {}, max_size=index.holdings().size_bytes - 1)
        behind = Deleter(root, index, holds, tight, clock, Ballast(folder / "ballast"))
        began = clock.monotonic()
        stepped = behind.sweep(clock_trusted=True)
        stepping = clock.monotonic() - began
    assert gone >= DUE, gone
    assert stepped.by_space == 1, stepped
    return [
        Figure(f"retention sweep, {gone} due", seconds, "s", "<= 1", seconds <= 1),
        Figure("its longest hold of the agent's loop", round(longest * 1000, 1), "ms", "<= 200", longest <= 0.2),
        Figure("a sweep for space behind a hold of half the archive", round(stepping * 1000, 1), "ms"),
    ]


def measure(rows: int, files: int, folder: Path) -> list[Figure]:
    minutes = rows // len(CAMERAS)
    first_us = (SystemClock().utc_us() // MINUTE_US - minutes - 2) * MINUTE_US
    root, path = folder / "archive", folder / "index.sqlite"
    filled(path, segments(first_us, minutes))
    # the newest folders of each camera hold their files, for the agent's start compares them
    newest = (first_us + minutes * MINUTE_US) // DAY_US * DAY_US - DAY_US
    with_files(root, (one for one in segments(first_us, minutes) if one.start_us >= newest))
    for camera in CAMERAS:
        for day in range(first_us // DAY_US, newest // DAY_US):
            folder_of_day = root / str(DayFolder(camera, day))
            folder_of_day.mkdir(parents=True, exist_ok=True)
            os.utime(folder_of_day, ns=((day + 1) * DAY_US * 1000,) * 2)
    size = round(path.stat().st_size / 1e6, 1)
    return [
        Figure("rows", minutes * len(CAMERAS), "recordings"),
        Figure("index", size, "MB"),
        *search_figures(root, path, first_us, minutes),
        *start_figures(root, path),
        *rebuild_figures(folder, first_us, files),
        *retention_figures(folder, path, first_us),
        *export_figures(folder),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16 * 30 * 1440)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edge-agent-bench-") as folder:
        print_figures("archive", measure(options.rows, options.files, Path(folder)), as_json=options.json)


if __name__ == "__main__":
    main()
