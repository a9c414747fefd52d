"""A real ext4 disk of a few megabytes, whose power can be cut, that fills, and that turns read-only.  Needs root.

with LoopDisk(tmp_path, megabytes=64) as disk:
    record(disk.folder)
    disk.cut()                     # what was not synced never reaches it
    disk.mount()
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN."""
_NO_LOG_FLUSH = 2
"""The file system's own journal is not written out either."""


class LoopDisk:
    """A file system in a file, mounted on `folder` while entered."""

    def __init__(self, folder: Path, megabytes: int = 0, *, image: Path | None = None) -> None:
        """An `image` that exists already is taken as it is, and stays."""
        self.folder = folder / "disk"
        self._image = image or folder / "disk.img"
        self._given = self._image.exists()
        self._megabytes = megabytes

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        if not self._given:
            with self._image.open("wb") as image:
                image.truncate(self._megabytes << 20)
            options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
            subprocess.run(["mkfs.ext4", *options, self._image], check=True, capture_output=True)
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)
        self.folder.rmdir()
        if not self._given:
            self._image.unlink()

    def mount(self) -> None:
        """As after the power came back: the file system's journal is replayed."""
        subprocess.run(["mount", "-o", "loop,nodev,nosuid", self._image, self.folder], check=True)
        self.folder.chmod(0o700)

    def cut(self) -> None:
        """The power goes: from now on nothing reaches the disk, and everybody who tries gets an error."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def unmount(self) -> None:
        """Nobody may use it any more."""
        subprocess.run(["umount", self.folder], check=True)

    def replug(self) -> None:
        """Out and in again."""
        self.unmount()
        self.mount()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """As the kernel does it after an error: nothing may be written, not even by who has a file open."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)

    def fill(self) -> Path:
        """Take every free byte; the file that does."""
        path = self.folder / "somebody-elses"
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 16, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return path
