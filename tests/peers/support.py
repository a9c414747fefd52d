"""Small helpers of all tests that have real peers: a free port, waiting for a fact, a process that surely ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

T = TypeVar("T")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago; prefer asking a server for port 0 where it can tell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(predicate: Callable[[], T | None], seconds: float, what: str) -> T:
    """Ask `predicate` every 20 ms until it is true and return what it said; AssertionError names `what` was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (last answer: {answer!r})")
        time.sleep(0.02)


class ManagedProcess:
    """A child process with its own process group, whose output goes to a log file, and that ends with the test.

    `with ManagedProcess([...], log=tmp_path / "x.log") as process:`; at the end SIGTERM, after `grace_s` SIGKILL to the
    whole group.  Should the tests themselves be killed, the kernel kills the child: it is started through `setpriv
    --pdeathsig`, so start it from a thread that lives as long as it should.  `stdin` / `stdout` True give pipes.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        stdout: bool = False,
        grace_s: float = 5.0,
    ) -> None:
        """`env` is added to this process's environment."""
        self.command = [os.fspath(part) for part in command]
        self.log = log
        self._grace_s = grace_s
        self._reader: threading.Thread | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.command],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout else sink,
                stderr=sink,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def stdin(self) -> IO[bytes]:
        if self.popen.stdin is None:
            raise ValueError("started without a pipe on its standard input")
        return self.popen.stdin

    @property
    def stdout(self) -> IO[bytes]:
        if self.popen.stdout is None:
            raise ValueError("started without a pipe on its standard output")
        return self.popen.stdout

    def hear(self, take: Callable[[bytes], None]) -> None:
        """Give each line of its standard output to `take`, in a thread of its own, until there is no more.

        The last line of one that was killed may be half a line.
        """

        def read() -> None:
            for line in self.stdout:
                take(line)

        self._reader = threading.Thread(target=read, name="hear", daemon=True)
        self._reader.start()

    def text(self) -> str:
        """What it has written to its log so far."""
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        """The exit code, when all it said has been heard; AssertionError with the log's end when it does not come."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s: {self.command}\n{self.text()[-2000:]}") from None
        if self._reader is not None:
            self._reader.join(5)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send to the process alone, not to its group."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.popen.kill()
        self.popen.wait()

    def end(self) -> None:
        """End it and whatever it started; nothing happens when it has ended already."""
        if self.running:
            self.popen.terminate()
            # A stopped process hears SIGTERM only once it goes on.
            self.popen.send_signal(signal.SIGCONT)
            try:
                self.popen.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        if self._reader is not None:
            self._reader.join(10)
            assert not self._reader.is_alive(), f"somebody else holds the standard output of {self.command}"
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
