"""Where released clips are uploaded to: a mounted folder or an S3 bucket.

`upload` either returns a receipt, and then the whole file is there under its name, or raises UplinkError in plain
words, and then nothing with that name has been changed and a retry may follow.  An upload that is repeated after it
succeeded finds its own file and succeeds again; another file of that name is never overwritten.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import FolderTarget, S3Target
from edge_agent.errors import UplinkError, UsageError
from edge_agent.files import fsync_folder

Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all); what it raises ends the upload."""

CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UploadReceipt:
    """What the target now holds; `etag` as the store names it, "" for a folder."""

    location: str
    size_bytes: int
    sha256: str
    etag: str = ""


def upload(target: FolderTarget | S3Target, source: Path, name: str, progress: Progress) -> UploadReceipt:
    """Put `source` at the target under `name`; UsageError when that could not be a plain file name."""
    if not _NAME.fullmatch(name) or name.endswith(".part"):
        raise UsageError(
            f"not a name for an upload: {name[:80]!r} (letters, digits, '.', '-', '_'; not ending in .part)"
        )
    if isinstance(target, FolderTarget):
        return to_folder(target, source, name, progress)
    # boto3 costs tens of megabytes and half a second: only who uploads to a bucket pays for it.
    from edge_agent.uplink.s3 import to_bucket

    return to_bucket(target, source, name, progress)


def to_folder(target: FolderTarget, source: Path, name: str, progress: Progress) -> UploadReceipt:
    """Copy to `<name>.part`, fsync, give it its name, fsync the folder.  The folder itself is never created.

    A disk that is not mounted must not be taken for an empty folder on the system's own disk.
    """
    folder = Path(target.path)
    final, part = folder / name, folder / f"{name}.part"
    if not folder.is_dir():
        raise UplinkError(f"target {target.name}: the folder {folder} is not there; is the disk mounted?")
    with _words(target.name, folder, source):
        size = source.stat().st_size
        free = os.statvfs(folder)
        if not final.exists() and free.f_bavail * free.f_frsize < size:
            raise UplinkError(f"target {target.name}: {folder} has no room for {size} bytes; free space on it")
        try:
            digest = _copy(source, part, size, progress)
            _give_name(target.name, part, final, digest)
        finally:
            part.unlink(missing_ok=True)
        fsync_folder(folder)
    return UploadReceipt(location=str(final), size_bytes=size, sha256=digest)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _copy(source: Path, part: Path, size: int, progress: Progress) -> str:
    """Copy and fsync; the SHA-256 of what was written."""
    digest = hashlib.sha256()
    done = 0
    # A link left in the folder by somebody else must not lead the copy elsewhere.
    part.unlink(missing_ok=True)
    with source.open("rb") as reader, part.open("xb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            writer.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(done, size)
        writer.flush()
        os.fsync(writer.fileno())
    if done != size:
        raise UplinkError(f"{source} changed while it was copied: {done} bytes instead of {size}")
    return digest.hexdigest()


def _give_name(target_name: str, part: Path, final: Path, digest: str) -> None:
    """Rename without ever replacing: a hard link fails where the name is taken; FAT has none, so there look first."""
    try:
        os.link(part, final)
    except FileExistsError:
        if final.is_file() and file_sha256(final) == digest:
            return
        raise UplinkError(f"target {target_name}: {final} already holds another file; nothing was changed") from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        if os.path.lexists(final):
            if final.is_file() and file_sha256(final) == digest:
                return
            raise UplinkError(
                f"target {target_name}: {final} already holds another file; nothing was changed"
            ) from None
        part.rename(final)


@contextmanager
def _words(target_name: str, folder: Path, source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"target {target_name}"
        if error.filename is not None and str(error.filename) == str(source):
            raise UplinkError(f"{where}: cannot read {source}: {error.strerror}") from error
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                raise UplinkError(f"{where}: {folder} is full; free space on it") from error
            case errno.EACCES | errno.EPERM | errno.EROFS:
                raise UplinkError(f"{where}: not allowed to write to {folder} ({error.strerror})") from error
            case _:
                raise UplinkError(f"{where}: {folder}: {error.strerror or error}; is the disk sound?") from error
