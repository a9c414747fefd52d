"""One agent to a data folder: a lock that the agent's children share, so that it lasts until the last of them ends."""

from __future__ import annotations

import fcntl
import os
import pwd
import threading
from pathlib import Path
from types import TracebackType

from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError, BusyError, UsageError

_LOOK_AGAIN_S = 0.2


class DataLock:
    """Held from construction; BusyError when somebody else keeps it longer than `patience_s`.

    The patience covers the children of an agent that was killed: they close their files first.
    """

    def __init__(self, folder: Path, clock: Clock, patience_s: float = 8.0) -> None:
        path = folder / "agent.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ArchiveError(f"the data folder {folder} cannot be used: {error.strerror}") from error
        deadline, never = clock.monotonic() + patience_s, threading.Event()
        while not self._taken():
            if clock.monotonic() >= deadline:
                owner = os.pread(self.fd, 32, 0).decode("ascii", "replace").strip()
                os.close(self.fd)
                raise BusyError(f"another edge-agent (process {owner or 'unknown'}) already runs on {folder}")
            clock.wait(never, _LOOK_AGAIN_S)
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> DataLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_held(folder: Path) -> bool:
    """Whether an agent, or a child of one, runs on a data folder now; makes and changes nothing."""
    try:
        fd = os.open(folder / "agent.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ArchiveError(f"the data folder {folder} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def only_its_user(folder: Path, what: str) -> None:
    """UsageError unless the data folder is ours: what somebody else made new in it the agent could not write to."""
    owner = folder.stat().st_uid
    if os.geteuid() != owner:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise UsageError(f"{folder} belongs to user {name}: {what} is for that user alone (sudo -u {name} …)")
