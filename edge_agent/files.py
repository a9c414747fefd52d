"""What every durable file needs of the operating system."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def fsync_folder(folder: Path) -> None:
    """Make what happened to a folder's names durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_durably(path: Path, content: bytes) -> None:
    """A file of mode 0600 with this content in place of the one before; a crash leaves one or the other, whole."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        hand_over(file.fileno(), path.parent.stat())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    fsync_folder(path.parent)


def hand_over(fd: int, owner: os.stat_result) -> None:
    """Give a file that root makes to the one whose data it is: root at the node must not lock the agent out."""
    if os.geteuid() == 0 and os.fstat(fd).st_uid != owner.st_uid:
        with suppress(OSError):
            os.fchown(fd, owner.st_uid, owner.st_gid)
