"""Gives recordings other recipients: a new header before the same sealed payload (`docs/archive.md`, «Rewrap»).

Works beside the agent.  Whatever is cut short at any step leaves the old file or the new one, whole, under its name,
and an index that knows the file's hash or knows that it has to compute it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from edge_agent.buffer.index import Index
from edge_agent.buffer.index_rows import KEY, key_of
from edge_agent.buffer.segments import TORN_MODE, WHOLE_MODE, enter
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError, BusyError, NotFoundError
from edge_agent.files import fsync_folder
from edge_agent.model import Segment
from edge_agent.trust.age import Identity, NoIdentityError, Recipient, header_for

WORK = ".rewrap"
"""The folder in the archive where new files grow; no camera is named so, and nobody else looks into it."""
_BLOCK_BYTES = 1 << 20


class RewrapIndex(Index):
    """The index, written beside the agent that owns it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock, beside=True)

    def begin(self, after: Segment) -> None:
        """The file is about to be `after`, or a crash leaves it as it is: its hash is not known.  What it was stays
        under the root of its hour."""
        key = key_of(after.path)
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO rewrapped SELECT camera, start_us, sequence, end_us, size_bytes, sha256, batch"
                f" FROM segment WHERE {KEY} AND batch IS NOT NULL AND sha256 IS NOT NULL",
                key,
            )
            db.execute(
                f"UPDATE segment SET sha256 = NULL, batch = NULL, size_bytes = ? WHERE {KEY} AND doomed IS NULL",
                (after.size_bytes, *key),
            )

    @contextmanager
    def replacing(self, after: Segment) -> Iterator[None]:
        """Within, no deletion of the file can begin; what is known of it at the end is `after`.

        NotFoundError when its deletion has begun already.
        """
        assert after.sha256 is not None
        key = key_of(after.path)
        with self._transaction() as db:
            if db.execute(f"SELECT 1 FROM segment WHERE {KEY} AND doomed IS NULL", key).fetchone() is None:
                raise NotFoundError(f"{after.path} was deleted meanwhile")
            yield
            facts = (bytes.fromhex(after.sha256), after.size_bytes, *key)
            db.execute(f"UPDATE segment SET sha256 = ?, size_bytes = ? WHERE {KEY}", facts)


class Rewrapper:
    """For one run over recordings; `with` it, for it keeps a folder of its own.  BusyError when another one runs."""

    def __init__(
        self,
        root: Path,
        index: RewrapIndex,
        identities: Sequence[Identity],
        recipients: Sequence[Recipient],
        tell: Callable[[Segment, Segment], None],
    ) -> None:
        """`root` is the archive's folder on the disk of all that is rewrapped.  `tell` hears of a recording as it was
        and as it is about to be, before it is; what it raises stops that."""
        self._root = root
        self._index = index
        self._identities = identities
        self._recipients = recipients
        self._tell = tell
        self._work = root / WORK
        self._lock = -1

    def rewrap(self, before: Segment) -> Segment:
        """Replace one recording; what it is now.

        NoIdentityError when none of the identities opens it, NotFoundError when it is gone, ArchiveError when it is not
        what was recorded, is still being written, or its disk refuses: it is then as it was.
        """
        path = self._root / before.path
        fresh = self._work / path.name
        try:
            try:
                known, after = self._write(path, fresh, before)
                self._tell(known, after)
                self._index.begin(after)
                enter(path, replace(after, sha256=None))
                with self._index.replacing(after):
                    fresh.rename(path)
                    fsync_folder(path.parent)
                    enter(path, after)
            finally:
                fresh.unlink(missing_ok=True)
        except FileNotFoundError as error:
            raise NotFoundError(f"{before.path} is gone") from error
        except OSError as error:
            raise ArchiveError(f"{path} can't be given other recipients: {error.strerror}") from error
        except NoIdentityError as error:
            raise NoIdentityError(f"{before.path}: {error}") from error
        except ArchiveError as error:
            raise ArchiveError(f"{before.path}: {error}") from error
        return after

    def _write(self, path: Path, fresh: Path, before: Segment) -> tuple[Segment, Segment]:
        """The new file, on the disk, and what the old one and it are."""
        old, new = hashlib.sha256(), hashlib.sha256()
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as source:
            status = os.fstat(source.fileno())
            mode = stat.S_IMODE(status.st_mode)
            if not stat.S_ISREG(status.st_mode) or mode not in (WHOLE_MODE, TORN_MODE):
                raise ArchiveError("it is still being written, or no recording")
            header, size = header_for(source, self._identities, self._recipients)
            source.seek(0)
            old.update(source.read(size))
            with fresh.open("xb") as out:
                os.fchmod(out.fileno(), 0o600)
                out.write(header)
                new.update(header)
                while block := source.read(_BLOCK_BYTES):
                    out.write(block)
                    old.update(block)
                    new.update(block)
                out.flush()
                self._as_old(out.fileno(), status, mode)
                grown = os.fstat(out.fileno()).st_size
        if before.sha256 not in (None, old.hexdigest()):
            raise ArchiveError("it holds other bytes than were recorded, and keeps its hash as the evidence of that")
        known = replace(before, sha256=old.hexdigest(), size_bytes=status.st_size)
        return known, replace(before, sha256=new.hexdigest(), size_bytes=grown)

    def _as_old(self, fd: int, status: os.stat_result, mode: int) -> None:
        """Outside, the new file says what the old one did."""
        os.fsync(fd)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(fd, status.st_uid, status.st_gid)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fchmod(fd, mode)
        os.fsync(fd)

    def __enter__(self) -> Rewrapper:
        try:
            self._work.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self._work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self._work.iterdir():  # by one that was killed
                left.unlink()
        except BlockingIOError as error:
            os.close(self._lock)
            raise BusyError(f"another rewrap already runs on {self._root}") from error
        except OSError as error:
            raise ArchiveError(f"{self._work} cannot be used: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._work.rmdir()
        os.close(self._lock)
