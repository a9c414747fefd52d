"""Makes the index again from the files alone; what is in no file is brought over from the old one, as far as that can
be read.  While it is done nobody else may use the index (`docs/archive.md`, «The index»)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent.buffer.disks import Disks
from edge_agent.buffer.index import DeleteReason
from edge_agent.buffer.index_carry import carry_facts, columns_of, copy_table, forget_hours
from edge_agent.buffer.index_rows import key_of, row_of
from edge_agent.buffer.index_schema import CARRIED, SCHEMA, each, fill
from edge_agent.buffer.segments import scan
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError
from edge_agent.files import fsync_folder
from edge_agent.when import from_us

KEPT_BEFORE = 2
"""So many indexes of earlier times stay."""
_OF_SEGMENTS = ("batch", "doomed", "mark_us")
_FROM_LOGS = ("frames", "sha256", "damaged", "clock")
_TELL_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of it."""

    segments: int
    unfinished: int
    """Left by a crash, or without an end; the agent looks at them when it starts."""
    unhashed: int
    """No day log tells their hash; the agent computes it when it has time."""
    vanished: int
    """Known to the old index and in no file any more: they have receipts now."""
    seconds: float
    kept: dict[str, int]
    """Rows brought over from the old index, by table."""
    unknown: tuple[str, ...]
    """What could not be known, in words."""
    before: Path | None
    """The old index."""

    @property
    def per_second(self) -> float:
        return self.segments / max(self.seconds, 1e-6)


def rebuild(archive: Path | Disks, path: Path, clock: Clock, tell: Callable[[int], None] = lambda _: None) -> Rebuilt:
    """Put a new index of the archive in the place of the one at `path`; `tell` hears how many files it has.

    Of disks that are not there, what the old index says stays.  ArchiveError leaves the old one as it was: the disk
    fails, or there is not one file where the old index knows some.
    """
    disks = Disks.of(archive)
    if not disks.there():
        raise ArchiveError("; ".join(disks.absent().values()))
    new, began = path.with_name(f"{path.name}.new"), clock.monotonic()
    try:
        new.unlink(missing_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as db:
            new.chmod(0o600)
            work = _Rebuild(disks, db, tell)
            work.fill()
            seconds = clock.monotonic() - began
            kept, unknown = work.carry(_old(path), clock.utc_us())
            (unhashed,) = db.execute("SELECT count(*) FROM segment WHERE sha256 IS NULL").fetchone()
        with new.open("rb") as file:
            os.fsync(file.fileno())
        before = _swap(new, path, clock.utc_us())
    except (sqlite3.Error, OSError) as error:
        raise ArchiveError(f"the index {path} cannot be made again: {error}") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    return Rebuilt(work.segments, work.unfinished, unhashed, work.vanished, seconds, kept, tuple(unknown), before)


class _Rebuild:
    def __init__(self, disks: Disks, db: sqlite3.Connection, tell: Callable[[int], None]) -> None:
        self._there = disks.there()
        self._absent = disks.absent()
        self._db = db
        self._tell = tell
        self._unended: list[tuple[str, int, int, int]] = []
        """Closed files whose end nothing tells but, perhaps, the old index."""
        self._found: dict[str, int] = {}
        """Files by disk."""
        self.segments = self.unfinished = self.vanished = 0

    def fill(self) -> None:
        """The files."""
        # a crash leaves a file that nobody looks at, so nothing needs to be durable before the end
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("BEGIN")
        fill(self._db, self._rows())
        self._db.execute("COMMIT")
        self._db.executescript(SCHEMA.sql)
        self._db.execute(f"PRAGMA user_version = {SCHEMA.version}")
        self._db.execute("INSERT INTO state VALUES ('clean', '1')")
        self._tell(self.segments)

    def carry(self, old: sqlite3.Connection | None, now_us: int) -> tuple[dict[str, int], list[str]]:
        """What only the old index knows."""
        kept: dict[str, int] = {}
        unknown = [
            f"what the old index does not have of {disk or 'the first disk'}: {fault}"
            for disk, fault in self._absent.items()
        ]
        if old is None:
            unknown.append(
                "there was no index that could be read: gaps have no cause, what was deleted before is not known"
            )
        else:
            with closing(old):
                for disk in self._there:
                    if not self._found.get(disk.id) and _any(old, disk.id):
                        raise ArchiveError(f"{disk.folder} holds not one recording: is its disk mounted?")
                self._db.execute("BEGIN")
                if "path" in columns_of(old, "segment"):
                    kept |= self._carry_first(old, unknown)
                else:
                    kept |= carry_facts(self._db, old, unknown)
                self._carry_segments(old, unknown, now_us)
                self._db.execute("COMMIT")
        self._db.execute("BEGIN")
        each(self._db, CARRIED)
        self._db.execute("COMMIT")
        return kept, unknown

    def _rows(self) -> Iterator[tuple[object, ...]]:
        for found in (found for disk in self._there for found in scan(disk.folder, disk.id)):
            segment = found.segment()
            if segment is None:
                self.unfinished += 1
                if found.closed:
                    self._unended.append((*key_of(found.path), found.size_bytes))
                continue
            self.segments += 1
            self._found[found.disk] = self._found.get(found.disk, 0) + 1
            if self.segments % _TELL_EVERY == 0:
                self._tell(self.segments)
            yield row_of(segment)

    def _carry_first(self, old: sqlite3.Connection, unknown: list[str]) -> dict[str, int]:
        """From an index of the first version."""

        def receipts() -> Iterator[tuple[object, ...]]:
            query = "SELECT path, end_us, size_bytes, sha256, reason, deleted_us FROM receipt"
            for path, end_us, size, digest, reason, deleted_us in old.execute(query):
                yield (*key_of(path), end_us, size, bytes.fromhex(digest) if digest else None, reason, deleted_us)

        count = 0
        try:
            for row in receipts():
                self._db.execute("INSERT INTO receipt VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?, '')", row)
                count += 1
        except sqlite3.DatabaseError as error:
            unknown.append(f"receipts of the old index after the first {count} ({error})")
        return {"gap": copy_table(self._db, old, "gap", unknown), "receipt": count}

    def _carry_segments(self, old: sqlite3.Connection, unknown: list[str], now_us: int) -> None:
        """Hashes that no day log has, places under the hours' roots, deletions that were begun; what vanished."""
        there = columns_of(old, "segment")
        first = "path" in there
        facts = [
            name for name in (*_FROM_LOGS, *_OF_SEGMENTS) if name in there and name in columns_of(self._db, "segment")
        ]
        key = "path" if first else "camera, start_us, sequence"
        self._db.execute(
            f"CREATE TEMP TABLE old (camera TEXT, start_us, sequence, end_us, size_bytes, {', '.join(facts)},"
            " disk TEXT, PRIMARY KEY (camera, start_us, sequence)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TEMP TABLE unended (camera TEXT, start_us, sequence, size_bytes,"
            " PRIMARY KEY (camera, start_us, sequence)) WITHOUT ROWID"
        )
        self._db.executemany("INSERT INTO unended VALUES (?, ?, ?, ?)", self._unended)

        def rows() -> Iterator[Sequence[object]]:
            disk = "disk" if "disk" in there else "''"
            for row in old.execute(f"SELECT {key}, end_us, size_bytes, {', '.join(facts)}, {disk} FROM segment"):
                yield row if not first else (*key_of(row[0]), *_with_blob(row[1:], 2 + facts.index("sha256")))

        count, whole = 0, True
        marks = ", ".join("?" * (6 + len(facts)))
        try:
            for row in rows():
                self._db.execute(f"INSERT INTO old VALUES ({marks})", row)
                count += 1
        except sqlite3.DatabaseError as error:
            unknown.append(f"what the old index said of recordings after the first {count} ({error})")
            whole = False
        sets = [f"{name} = coalesce(segment.{name}, old.{name})" for name in facts]
        same = "old.camera = segment.camera AND old.start_us = segment.start_us AND old.sequence = segment.sequence"
        self._db.execute(
            f"UPDATE segment SET {', '.join(sets)} FROM old WHERE {same} AND old.size_bytes = segment.size_bytes"
        )
        names = ("camera", "start_us", "sequence", "end_us", "size_bytes", *facts, "disk")
        if self._absent:
            here, columns = ", ".join("?" * len(self._there)), ", ".join(names)
            self.segments += self._db.execute(
                f"INSERT OR IGNORE INTO segment ({columns}) SELECT {columns} FROM old WHERE disk NOT IN ({here})",
                [disk.id for disk in self._there],
            ).rowcount
        ended = self._db.execute(
            f"INSERT INTO segment ({', '.join(names)}) SELECT {', '.join(f'old.{name}' for name in names)}"
            f" FROM old JOIN unended AS segment ON {same} AND old.size_bytes = segment.size_bytes"
        ).rowcount
        self.segments, self.unfinished = self.segments + ended, self.unfinished - ended
        reason = f"coalesce(doomed, '{DeleteReason.MISSING}')"
        batch = "batch" if "batch" in facts else "NULL"
        self.vanished = self._db.execute(
            "INSERT INTO receipt"
            f" SELECT camera, start_us, sequence, end_us, size_bytes, sha256, {batch}, {reason}, ?, disk"
            f" FROM old WHERE NOT EXISTS (SELECT 1 FROM segment WHERE {same})"
            f" AND NOT EXISTS (SELECT 1 FROM unended AS segment WHERE {same})",
            (now_us,),
        ).rowcount
        if not whole:
            forget_hours(self._db)


def _old(path: Path) -> sqlite3.Connection | None:
    """The old index, or the newest one that was set aside as damaged; None when neither opens."""
    aside = sorted(path.parent.glob(f"{path.name}.damaged-*Z"), reverse=True)
    for candidate in (path, *aside[:1]):
        if not candidate.exists():
            continue
        old = sqlite3.connect(f"{candidate.absolute().as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None)
        try:
            if columns_of(old, "segment"):
                return old
        except sqlite3.DatabaseError:
            pass
        old.close()
    return None


def _any(old: sqlite3.Connection, disk: str) -> bool:
    """Whether it knows recordings on the disk; one of the time of a single disk knows only that."""
    try:
        columns = columns_of(old, "segment")
        if "disk" not in columns and disk:
            return False
        on_disk = " AND disk = ?" if "disk" in columns else ""
        query = f"SELECT 1 FROM segment WHERE doomed IS NULL{on_disk} LIMIT 1"
        return old.execute(query, (disk,) if on_disk else ()).fetchone() is not None
    except sqlite3.DatabaseError:
        return False


def _with_blob(row: Sequence[object], at: int) -> tuple[object, ...]:
    digest = row[at]
    return (*row[:at], bytes.fromhex(digest) if isinstance(digest, str) else None, *row[at + 1 :])


def _swap(new: Path, path: Path, now_us: int) -> Path | None:
    """The new index takes the old one's name in one step; the old one's log must not be taken for the new one's."""
    before = None
    if path.exists():
        before = path.with_name(f"{path.name}.before-{from_us(now_us):%Y%m%dT%H%M%S.%fZ}")
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before.hardlink_to(path)
        for suffix in ("-wal", "-shm"):
            log = path.with_name(path.name + suffix)
            if log.exists():
                log.rename(before.with_name(before.name + suffix))
    new.replace(path)
    fsync_folder(path.parent)
    for past in sorted(path.parent.glob(f"{path.name}.before-*Z"))[:-KEPT_BEFORE]:
        for suffix in ("", "-wal", "-shm"):
            past.with_name(past.name + suffix).unlink(missing_ok=True)
    return before
