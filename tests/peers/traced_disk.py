"""A disk that remembers every step, and fails when told to: a FUSE file system in a process of its own.

    with TracedDisk(tmp_path) as disk:
        (disk.folder / "file").write_bytes(b"x")
        disk.mark("written")            # a line in the trace, in order with what was done
        disk.fail("EIO", "write|fsync", "archive/")
        disk.heal()
    for step in disk.steps(): ...

The trace holds what reached the file system, in the order of its arrival: writes with their bytes, names, marks and
modes, and each fsync.  `tests/faults/power_cut.py` makes from it the disks that a power cut may leave.  Needs root.
"""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fuse

from tests.peers.support import ManagedProcess, wait_until

_CHECKOUT = Path(__file__).resolve().parents[2]
_MARK = "user.mark"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done and succeeded; fields that an operation has no use for are empty.

    `op` is one of create, mkdir, unlink, rmdir, rename, write, truncate, chmod, utime, fsync, fsyncdir, mark.
    """

    op: str
    at_us: int
    path: str = ""
    """Relative to the disk; the path at that time."""
    file: int = 0
    """Which file, whatever it is called meanwhile."""
    to: str = ""
    offset: int = 0
    data: bytes = b""
    value: int = 0
    """Size, mode, or modification time in nanoseconds."""


class TracedDisk:
    """Mounted while entered; what it holds is kept in memory, what it remembers under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self._trace = folder / "trace"
        self._process: ManagedProcess | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self._trace.mkdir()
        self._memory = tempfile.TemporaryDirectory(prefix="traced-disk-", dir="/dev/shm")
        places = [os.fspath(place) for place in (self.folder, self._memory.name, self._trace)]
        command = [sys.executable, "-m", "tests.peers.traced_disk", *places]
        environment = {"PYTHONPATH": str(_CHECKOUT)}
        self._process = ManagedProcess(command, self._trace / "log", cwd=_CHECKOUT, env=environment)
        process = self._process
        wait_until(lambda: os.path.ismount(self.folder) or not process.running, 30, "the disk is mounted")
        assert process.running, process.text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=False)
        if self._process is not None:
            with suppress(AssertionError):
                self._process.wait(5)
            self._process.end()
        self._memory.cleanup()

    def mark(self, text: str) -> None:
        """A step of its own: `text` was true when all the steps before it were done."""
        os.setxattr(self.folder, _MARK, text.encode())

    def fail(self, error: str, operations: str, path: str = "") -> None:
        """From now on the operations (a regular expression) on paths that begin so end with this errno."""
        rule = self._trace / "fail.new"
        rule.write_text(json.dumps([error, operations, path]))
        rule.rename(self._trace / "fail")

    def heal(self) -> None:
        (self._trace / "fail").unlink(missing_ok=True)

    def steps(self) -> list[Step]:
        """All that was done so far."""
        return list(_read(self._trace))


def _read(trace: Path) -> Iterator[Step]:
    data = (trace / "data").read_bytes()
    for line in (trace / "steps").read_bytes().splitlines():
        fields = json.loads(line)
        start, length = fields.pop("bytes", (0, 0))
        yield Step(**fields, data=data[start : start + length])


class _Disk(fuse.Operations):  # type: ignore[misc]
    """Passes everything on to a folder in memory; one thread, so that the trace is in order."""

    use_ns = True
    """Times are whole nanoseconds, as fusepy wants to be told."""

    def __init__(self, memory: Path, trace: Path) -> None:
        self._memory = memory
        self._fail = trace / "fail"
        self._steps = (trace / "steps").open("ab", buffering=0)
        self._data = (trace / "data").open("ab", buffering=0)
        self._length = 0
        self._files: dict[str, int] = {}
        self._open: dict[int, int] = {}
        self._last = 0

    def __call__(self, op: str, *args: Any) -> Any:
        if self._fail.exists():
            with suppress(FileNotFoundError):
                error, operations, prefix = json.loads(self._fail.read_text())
                if re.fullmatch(operations, op) and str(args[0] or "/")[1:].startswith(prefix):
                    raise fuse.FuseOSError(getattr(errno, error))
        try:
            return getattr(self, op)(*args)
        except fuse.FuseOSError:
            raise
        except OSError as error:
            raise fuse.FuseOSError(error.errno) from error

    def _at(self, path: str) -> Path:
        return self._memory / path[1:]

    def _tell(self, op: str, path: str = "", data: bytes = b"", **fields: int | str) -> None:
        step: dict[str, Any] = {"op": op, "at_us": time.time_ns() // 1000, "path": path[1:], **fields}
        if data:
            self._data.write(data)
            step["bytes"] = (self._length, len(data))
            self._length += len(data)
        self._steps.write(json.dumps(step).encode() + b"\n")

    # ---- what is looked at

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.fstat(fh) if fh else os.lstat(self._at(path))
        names = ("st_mode", "st_size", "st_nlink", "st_uid", "st_gid", "st_ino", "st_blocks")
        times = {f"st_{time}": getattr(status, f"st_{time}_ns") for time in ("atime", "mtime", "ctime")}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path: str, _fh: int) -> list[str]:
        return [".", "..", *(entry.name for entry in self._at(path).iterdir())]

    def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def statfs(self, path: str) -> dict[str, Any]:
        status = os.statvfs(self._at(path))
        return {name: getattr(status, name) for name in dir(status) if name.startswith("f_") and name != "f_fsid"}

    def open(self, path: str, flags: int) -> int:
        fd = os.open(self._at(path), flags & ~(os.O_CREAT | os.O_EXCL | os.O_APPEND))
        self._open[fd] = self._files.get(path, 0)
        return fd

    def release(self, _path: str, fh: int) -> int:
        self._open.pop(fh, None)
        os.close(fh)
        return 0

    # ---- what is done

    def create(self, path: str, mode: int, _fi: Any = None) -> int:
        fd = os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        self._last += 1
        self._files[path] = self._open[fd] = self._last
        self._tell("create", path, file=self._last, value=mode & 0o7777)
        return fd

    def mkdir(self, path: str, mode: int) -> None:
        self._at(path).mkdir(mode)
        self._tell("mkdir", path, value=mode & 0o7777)

    def unlink(self, path: str) -> None:
        self._at(path).unlink()
        self._files.pop(path, None)
        self._tell("unlink", path)

    def rmdir(self, path: str) -> None:
        self._at(path).rmdir()
        self._tell("rmdir", path)

    def rename(self, old: str, new: str) -> None:
        self._at(old).rename(self._at(new))
        self._files[new] = self._files.pop(old, 0)
        self._tell("rename", old, to=new[1:])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        written = os.pwrite(fh, data, offset)
        self._tell("write", path, data[:written], file=self._open[fh], offset=offset)
        return written

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(fh if fh else self._at(path), length)
        self._tell("truncate", path, file=self._open[fh] if fh else self._files.get(path, 0), value=length)

    def chmod(self, path: str, mode: int) -> None:
        self._at(path).chmod(mode & 0o7777)
        if path in self._files:
            self._tell("chmod", path, file=self._files[path], value=mode & 0o7777)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        now = time.time_ns()
        ns = times or (now, now)
        os.utime(self._at(path), ns=ns)
        if path in self._files:
            self._tell("utime", path, file=self._files[path], value=ns[1])

    def fsync(self, path: str, _datasync: int, fh: int) -> int:
        self._tell("fsync", path, file=self._open[fh])
        return 0

    def fsyncdir(self, path: str, _datasync: int, _fh: int) -> int:
        self._tell("fsyncdir", path)
        return 0

    def flush(self, _path: str, _fh: int) -> int:
        return 0

    def setxattr(self, _path: str, name: str, value: bytes, _options: int, _position: int = 0) -> int:
        if name != _MARK:
            raise fuse.FuseOSError(errno.ENOTSUP)
        self._tell("mark", "/" + value.decode())
        return 0


def main(mount: str, memory: str, trace: str) -> None:
    serve: Callable[..., object] = fuse.FUSE
    options = {"foreground": True, "nothreads": True, "big_writes": True, "hard_remove": True, "use_ino": True}
    serve(_Disk(Path(memory), Path(trace)), mount, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
