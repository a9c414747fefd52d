"""What is wrong with an archive: findings over values, without touching a disk (`docs/archive.md`, «Checking»).

`survey` looks at one camera's folder and at what the index says of it; `of_contents` judges one file that was read.
`buffer/checkup.py` gathers the values and carries out what may be repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from edge_agent.buffer import day_log
from edge_agent.buffer.segments import MAX_SEGMENT_US, OPEN_MODE, TORN_MODE, WHOLE_MODE, Examined, SegmentName
from edge_agent.model import Segment

OVERLAP_US = 1000
"""Two files of one life of the recorder meet within a camera's rounding."""


class Shape(StrEnum):
    """What stands in a folder under a name."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    OTHER = "device, pipe or socket"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in the archive, seen from outside."""

    path: str
    """Relative to the archive's folder."""
    shape: Shape
    mode: int
    modified_us: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """What the index says of one file."""

    segment: Segment
    doomed: str | None = None
    """Why it is being deleted, when it is."""


class Weight(StrEnum):
    """How bad a finding is."""

    LOSS = "loss"
    """Something that was recorded is gone or changed; no repair brings it back."""
    FAULT = "fault"
    """Something disagrees; it can be put right."""
    NOTE = "note"
    """Worth knowing, and nothing is wrong with the archive."""


class Kind(StrEnum):
    """What can be found."""

    INDEX_MISSING = "index-missing"
    INDEX_DAMAGED = "index-damaged"
    DISK_MISSING = "disk-missing"
    FILE_MISSING = "file-missing"
    SIZE_CHANGED = "size-changed"
    CONTENT_CHANGED = "content-changed"
    UNREADABLE = "unreadable"
    CLOSED_BUT_TORN = "closed-but-torn"
    NOT_INDEXED = "not-indexed"
    NOT_LOGGED = "not-logged"
    LOG_DIFFERS = "log-differs"
    LEFT_OPEN = "left-open"
    MARKS_CHANGED = "marks-changed"
    END_LOST = "end-lost"
    OVERLAP = "overlap"
    HALF_DELETED = "half-deleted"
    DELETED_BUT_THERE = "deleted-but-there"
    FOREIGN = "foreign"
    HOUR_DIFFERS = "hour-differs"
    HOLDS_UNKNOWN = "holds-unknown"
    HELD_DELETED = "held-deleted"
    HELD_DAMAGED = "held-damaged"
    HELD_CAMERA_UNKNOWN = "held-camera-unknown"
    HELD_TORN = "held-torn"
    HELD_MISSING = "held-missing"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a kind of finding means."""

    weight: Weight
    means: str
    repair: str
    """What `--repair` does about it; empty when it leaves it alone."""
    invariant: int | None = None
    """The invariant of `docs/archive.md` that it breaks."""


RULES: Mapping[Kind, Rule] = {
    Kind.INDEX_MISSING: Rule(
        Weight.FAULT,
        "the index is gone: nothing can be found, though the recordings are there",
        "makes it again from the files (`archive rebuild`); gaps and receipts that stood in it are lost",
    ),
    Kind.INDEX_DAMAGED: Rule(
        Weight.FAULT,
        "the index is damaged: what it says can't be relied on",
        "makes it again from the files and what can still be read of it (`archive rebuild`); the old one stays beside",
    ),
    Kind.DISK_MISSING: Rule(
        Weight.FAULT,
        "a disk of the archive is not there: nothing on it can be read, nothing of it is deleted, until it is back",
        "",
        9,
    ),
    Kind.FILE_MISSING: Rule(
        Weight.LOSS,
        "a recording was removed without the agent's doing",
        "makes its row in the index a receipt that says «missing»",
        3,
    ),
    Kind.SIZE_CHANGED: Rule(Weight.LOSS, "a closed recording was cut off or added to since it was closed", "", 3),
    Kind.CONTENT_CHANGED: Rule(
        Weight.LOSS,
        "a closed recording holds other bytes than were recorded: a failing disk, or somebody's hand",
        "",
        3,
    ),
    Kind.UNREADABLE: Rule(Weight.LOSS, "nothing of a recording can be read", ""),
    Kind.CLOSED_BUT_TORN: Rule(Weight.LOSS, "a recording that is marked as whole ends too early", "", 4),
    Kind.NOT_INDEXED: Rule(Weight.FAULT, "the index does not know a closed recording: it is not found", "enters it"),
    Kind.NOT_LOGGED: Rule(
        Weight.FAULT,
        "the day log does not have a recording's line: were the index lost, its hash would be, too",
        "writes the line from the index",
        8,
    ),
    Kind.LOG_DIFFERS: Rule(
        Weight.LOSS, "the day log says something else of a recording than the index: one of them was changed", ""
    ),
    Kind.LEFT_OPEN: Rule(
        Weight.FAULT,
        "a crash left a file that was being written",
        "marks it as torn, ending at its last readable picture, and enters it; without any picture it is removed",
        6,
    ),
    Kind.MARKS_CHANGED: Rule(
        Weight.FAULT,
        "a closed recording's mode or modification time is not what was set when it was closed",
        "sets them as the index has them, where the bytes are the recorded ones",
        3,
    ),
    Kind.END_LOST: Rule(
        Weight.FAULT,
        "a closed recording does not say its end: its modification time was changed (copy archives with cp -a)",
        "opens it and sets the end that is found",
        3,
    ),
    Kind.OVERLAP: Rule(Weight.NOTE, "two recordings of the camera are of the same time: the clock was set back", "", 5),
    Kind.HALF_DELETED: Rule(
        Weight.NOTE,
        "a deletion was begun and not finished; the agent finishes it when it runs",
        "writes the receipt where the file is gone already; deletes nothing",
    ),
    Kind.DELETED_BUT_THERE: Rule(
        Weight.NOTE, "a file stands where the index has a receipt of its deletion: it was brought back", ""
    ),
    Kind.HOUR_DIFFERS: Rule(
        Weight.LOSS,
        "the index does not give the root that the journal has of an hour's recordings: what it says of them was"
        " changed or removed, or it was made anew without its receipts",
        "",
    ),
    Kind.HOLDS_UNKNOWN: Rule(
        Weight.FAULT,
        "what is held by order can't be known in full: the documents are damaged or lost. Start the agent: it makes the"
        " holds again from the journal, and deletes nothing until it could",
        "",
    ),
    Kind.HELD_DELETED: Rule(Weight.LOSS, "a recording is gone although a hold was in force that wants it", ""),
    Kind.HELD_DAMAGED: Rule(Weight.LOSS, "a recording that a hold wants is missing or damaged", ""),
    Kind.HELD_CAMERA_UNKNOWN: Rule(
        Weight.FAULT,
        "a hold names a camera that is neither configured nor recorded here: it keeps nothing: order it anew",
        "",
    ),
    Kind.HELD_TORN: Rule(Weight.NOTE, "a recording that a hold wants was torn by a crash: what is there is kept", ""),
    Kind.HELD_MISSING: Rule(
        Weight.NOTE, "not all of a hold's time was recorded, or was still there when the hold came; by cause", ""
    ),
    Kind.FOREIGN: Rule(Weight.NOTE, "it is not of the archive's layout: never read, changed or deleted", "", 7),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found."""

    kind: Kind
    path: str
    """Relative to the archive's folder; the index's own path for the index; `<hold>/<camera>` for what a hold wants,
    `<hour>/<batch>` for an hour."""
    detail: str = ""

    @property
    def rule(self) -> Rule:
        return RULES[self.kind]


def survey(
    entries: Sequence[Entry],
    rows: Mapping[str, Row],
    deleted: Iterable[str],
    lines: Mapping[str, day_log.Line],
    *,
    running: bool,
) -> list[Finding]:
    """One camera: its folder against the index's rows, the paths of its receipts and the lines of its day logs.

    While the recorder is `running`, the newest file may be open.
    """
    found = []
    files: dict[str, Entry] = {}
    for entry in entries:
        if entry.shape is Shape.FILE and SegmentName.parse(entry.path) is not None:
            files[entry.path] = entry
        elif not _is_log(entry):
            found.append(Finding(Kind.FOREIGN, entry.path, _foreign_words(entry)))
    open_now = max((path for path in files if files[path].mode == OPEN_MODE), key=_age, default="") if running else ""
    receipts = set(deleted)
    for path in sorted({*files, *rows}, key=_age):
        file, row = files.get(path), rows.get(path)
        if file is None and row is not None:
            kind = Kind.HALF_DELETED if row.doomed else Kind.FILE_MISSING
            found.append(Finding(kind, path, row.doomed or f"{row.segment.interval.seconds:.1f} s"))
        elif file is not None and row is None and path != open_now:
            found.append(_unindexed(file, lines.get(path)))
        elif file is not None and row is not None:
            found += _compared(file, row, lines.get(path))
        if file is not None and path in receipts:
            found.append(Finding(Kind.DELETED_BUT_THERE, path))
    return [*found, *_overlaps(row.segment for path, row in rows.items() if path in files)]


def of_contents(recorded: str | None, digest: str, examined: Examined | str | None, *, torn: bool) -> list[Kind]:
    """What reading a closed file says: its SHA-256, and its inside (or why that can't be read; None: no key to it).

    A file whose digest is the `recorded` one is what was recorded, whatever its inside; `torn` says how it is marked.
    """
    if recorded is not None:
        return [] if digest == recorded else [Kind.CONTENT_CHANGED]
    if isinstance(examined, str):
        return [Kind.UNREADABLE]
    return [Kind.CLOSED_BUT_TORN] if examined is not None and examined.torn and not torn else []


def recorded_digest(row: Row | None, line: day_log.Line | None) -> str | None:
    """The index's word, then the day log's."""
    return (row.segment.sha256 if row else None) or (line.sha256 if line else None)


def _unindexed(entry: Entry, line: day_log.Line | None) -> Finding:
    if line is not None and line.size_bytes == entry.size_bytes:
        return Finding(Kind.NOT_INDEXED, entry.path, f"{entry.size_bytes} bytes")
    if entry.mode not in (WHOLE_MODE, TORN_MODE):
        return Finding(Kind.LEFT_OPEN, entry.path, f"mode {entry.mode:04o}, {entry.size_bytes} bytes")
    if not _says_its_end(entry):
        return Finding(Kind.END_LOST, entry.path)
    return Finding(Kind.NOT_INDEXED, entry.path, f"{entry.size_bytes} bytes")


def _compared(entry: Entry, row: Row, line: day_log.Line | None) -> Iterator[Finding]:
    segment = row.segment
    if row.doomed:
        yield Finding(Kind.HALF_DELETED, entry.path, row.doomed)
        return
    if entry.size_bytes != segment.size_bytes:
        yield Finding(Kind.SIZE_CHANGED, entry.path, f"{entry.size_bytes} bytes, {segment.size_bytes} were recorded")
    mode = TORN_MODE if segment.torn else WHOLE_MODE
    if segment.torn and entry.mode == OPEN_MODE:
        yield Finding(Kind.LEFT_OPEN, entry.path, "the disk failed before it could be closed")
    elif entry.mode != mode:
        yield Finding(Kind.MARKS_CHANGED, entry.path, f"mode {entry.mode:04o}, {mode:04o} was set")
    elif entry.modified_us != segment.end_us:
        off_s = (entry.modified_us - segment.end_us) / 1e6
        yield Finding(Kind.MARKS_CHANGED, entry.path, f"modified {off_s:+.3f} s from the recording's end")
    if segment.sha256 is not None and (line is None or line.sha256 is None):
        yield Finding(Kind.NOT_LOGGED, entry.path)
    elif line is not None and _differs(line, segment):
        yield Finding(Kind.LOG_DIFFERS, entry.path)


def _differs(line: day_log.Line, segment: Segment) -> bool:
    other_hash = None not in (line.sha256, segment.sha256) and line.sha256 != segment.sha256
    return other_hash or (line.end_us, line.size_bytes) != (segment.end_us, segment.size_bytes)


def _overlaps(segments: Iterable[Segment]) -> Iterator[Finding]:
    for earlier, later in pairwise(sorted(segments, key=lambda segment: segment.start_us)):
        both_s = (min(earlier.end_us, later.end_us) - later.start_us) / 1e6
        if both_s * 1e6 > OVERLAP_US:
            yield Finding(Kind.OVERLAP, later.path, f"{both_s:.3f} s of it are in {earlier.path} too")


def _is_log(entry: Entry) -> bool:
    return entry.shape is Shape.FILE and entry.path.count("/") == 2 and entry.path.endswith(f"/{day_log.NAME}")


def _age(path: str) -> tuple[int, int]:
    name = SegmentName.parse(path)
    return (name.start_us, name.sequence) if name else (0, 0)


def _says_its_end(entry: Entry) -> bool:
    name = SegmentName.parse(entry.path)
    return name is not None and name.start_us <= entry.modified_us <= name.start_us + MAX_SEGMENT_US


def _foreign_words(entry: Entry) -> str:
    return f"a {entry.shape}" if entry.shape is not Shape.FILE else f"a file of {entry.size_bytes} bytes"
