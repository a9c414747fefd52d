"""The agent's child processes: started, fed their job, listened to, and started again when they die.

A child's standard input stays open while the agent lives, so that its end tells the child to stop; PR_SET_PDEATHSIG,
which the child sets itself, does the same when the agent is killed.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_agent.clock import Clock
from edge_agent.messages import Message, decode

_log = logging.getLogger(__name__)
MAX_LINE = 4 << 20
_STEADY_S = 20.0
"""A child that lived this long is restarted at once when it dies; sooner deaths are spaced ever wider."""
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A child said something."""

    child: str
    message: Message


@dataclass(frozen=True, slots=True)
class Ended:
    """A child's process is over; `code` as in `subprocess.Popen.returncode`."""

    child: str
    code: int


class Child:
    """One process; all methods belong to the agent's main thread (whose life PR_SET_PDEATHSIG goes by)."""

    def __init__(
        self, name: str, module: str, job: bytes, tell: Callable[[Heard | Ended], None], *, keep_fds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=tuple(keep_fds),
        )
        self.pid = self._process.pid
        self._tell = tell
        threading.Thread(target=self._listen, name=f"hear-{name}", daemon=True).start()
        self._feed(job)

    def order(self, line: bytes) -> None:
        """Send it another line after its job."""
        self._feed(line)

    def stop(self) -> None:
        """Ask it to finish what it writes and end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            return

    def kill(self) -> None:
        self._process.kill()

    def wait(self, seconds: float) -> bool:
        """True when it ended in time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _feed(self, job: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(job + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            _log.error("%s did not take what it was told: %s", self.name, error)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            while line := lines.readline(MAX_LINE):
                try:
                    self._tell(Heard(self.name, decode(line)))
                except ValueError as error:
                    _log.error("%s: %s", self.name, error)
        self._tell(Ended(self.name, self._process.wait()))


class Keeper:
    """Keeps one child alive: back within a second when it dies, later when it keeps dying, killed when it hangs."""

    def __init__(self, start: Callable[[], Child], clock: Clock, hang_s: float = 20.0) -> None:
        self._start = start
        self._clock = clock
        self._hang_s = hang_s
        self._pause_s = 0.0
        self._again_at: float | None = clock.monotonic()
        self._started = self._progress = clock.monotonic()
        self.child: Child | None = None
        self.restarts = -1

    def progressed(self) -> None:
        self._progress = self._clock.monotonic()

    @property
    def alive(self) -> bool:
        """It runs and made progress lately."""
        return self.child is not None and self._clock.monotonic() - self._progress < self._hang_s

    def ended(self) -> None:
        """Plan the next start."""
        now = self._clock.monotonic()
        self.child = None
        steady = now - self._started >= _STEADY_S
        self._pause_s = 0.0 if steady or self.restarts < 1 else min(max(0.5, self._pause_s * 2), _LONGEST_PAUSE_S)
        self._again_at = now + self._pause_s

    def look(self) -> None:
        """Start it when it is time to; kill it when it has hung."""
        now = self._clock.monotonic()
        if self.child is not None:
            if now - self._progress > self._hang_s:
                _log.error(
                    "%s (process %d) made no progress for %.0f s: killed", self.child.name, self.child.pid, self._hang_s
                )
                self.child.kill()
                self._progress = now
        elif self._again_at is not None and now >= self._again_at:
            self._started = self._progress = now
            self._again_at = None
            self.restarts += 1
            try:
                self.child = self._start()
            except OSError as error:
                _log.error("a child process could not be started: %s", error)
                self.ended()
