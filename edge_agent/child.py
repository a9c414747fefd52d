"""What every child process of the agent is made of: its job, its way to tell, its end.

The job is one JSON line on standard input, which then stays open; its end, SIGTERM and the death of the agent's thread
that started the child (PR_SET_PDEATHSIG) all mean: finish and go.  Messages go to standard output through an `Outlet`
that never waits for the agent; logs go to standard error, one line each.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import NoReturn, TypeVar

from edge_agent.errors import ConfigError, EdgeError
from edge_agent.messages import CameraStats, Message, Progress, WatchStats, encode

_log = logging.getLogger(__name__)
J = TypeVar("J")

MAX_JOB_BYTES = 4 << 20
MAX_ORDER_BYTES = 64 << 10
OUTLET_MESSAGES = 2048
_PR_SET_PDEATHSIG = 1
_FAREWELL_S = 1.0


def give_back_memory() -> None:
    """Return to the system what the C library keeps of freed memory.

    Pictures of all sizes come and go; between those that stay a while the heap grows by a tenth an hour, none of it in
    use.  A C library without `malloc_trim` does that itself.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Outlet:
    """Messages to the agent; `send` never waits.  What the agent does not fetch is dropped, the oldest first, and
    counted; statistics and progress are dropped as soon as half of the queue is in use."""

    def __init__(self, fd: int, limit: int = OUTLET_MESSAGES) -> None:
        """`fd` stays the caller's; nobody else may write to it."""
        self._fd = fd
        self._limit = limit
        self._changed = threading.Condition()
        self._queue: deque[Message] = deque()
        self._closing = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="outlet", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Messages dropped since the start, statistics and progress included."""
        return self._dropped

    def send(self, *messages: Message) -> None:
        with self._changed:
            for message in messages:
                self._put(message)
            self._changed.notify()

    def _put(self, message: Message) -> None:
        if len(self._queue) >= self._limit // 2 and isinstance(message, CameraStats | WatchStats | Progress):
            self._dropped += 1
            return
        if len(self._queue) >= self._limit:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(message)

    def close(self, seconds: float = _FAREWELL_S) -> None:
        """Give what is left to an agent that reads, for so long and no longer."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _write(self) -> None:
        broken = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                message = self._queue.popleft()
            if broken:
                continue
            view = memoryview(encode(message))
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                # the agent is gone; the end of standard input says so, too, to the rest of the process
                broken = True


def run_child(
    name: str,
    parse: Callable[[bytes], J],
    work: Callable[[J, Outlet, threading.Event], None],
    hear: Callable[[bytes], None] | None = None,
) -> NoReturn:
    """The whole life of a child process: read the job, work until told to stop, end.

    `hear` gets each line that the agent sends after the job, on a thread of its own; an EdgeError of it is logged.

    `work(job, outlet, stop)` runs in the main thread and returns soon after `stop` is set.  Exit code 0 after that, the
    error's own for an EdgeError, 78 for a wrong job, 70 for a defect.
    """
    gc.freeze()  # what was imported stays, so there is no need to look through it again and again
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"%(levelname)s {name}: %(message)s", force=True)
    stop = threading.Event()
    _stop_on_signals(stop)
    _stop_with_parent(stop)
    outlet = Outlet(_messages_fd())
    code = 0
    try:
        line, rest = _read_line(0)
        job = None if line is None else parse(line)
        threading.Thread(target=_watch_input, args=(0, rest, stop, hear), name="stdin", daemon=True).start()
        if job is not None:
            work(job, outlet, stop)
    except EdgeError as error:
        _log.error("%s", " ".join(str(error).split()))
        code = error.exit_code
    except Exception:  # noqa: BLE001 - the last frame of the process: log it and end with a code of its own
        _log.exception("%s ended by a defect", name)
        code = 70
    outlet.close()
    sys.stderr.flush()
    # threads abandoned inside of a library's read would keep an ordinary exit waiting or crash it
    os._exit(code)


def _read_line(fd: int) -> tuple[bytes | None, bytes]:
    """The job, and what came behind it; None when the input ended before."""
    data = bytearray()
    while (end := data.find(b"\n")) < 0:
        if len(data) > MAX_JOB_BYTES:
            raise ConfigError(f"the job is longer than {MAX_JOB_BYTES} bytes")
        block = os.read(fd, 65536)
        if not block:
            return None, b""
        data += block
    return bytes(data[:end]), bytes(data[end + 1 :])


def _messages_fd() -> int:
    """Keep standard output for messages alone: what anybody prints goes to standard error."""
    fd = os.dup(1)
    os.dup2(2, 1)
    return fd


def _watch_input(fd: int, rest: bytes, stop: threading.Event, hear: Callable[[bytes], None] | None) -> None:
    try:
        while True:
            *lines, rest = rest.split(b"\n")
            for line in lines if hear else ():
                assert hear is not None
                _heard(hear, line)
            block = os.read(fd, 65536)
            if not block or len(rest) > MAX_ORDER_BYTES:
                break
            rest += block
    except OSError as error:
        _log.warning("standard input: %s", error.strerror)
    stop.set()


def _heard(hear: Callable[[bytes], None], line: bytes) -> None:
    try:
        hear(line)
    except EdgeError as error:
        _log.error("an order that can't be understood: %s", error)


def _stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM is fetched by a thread: a handler could interrupt the main thread inside of the very lock that
    `Event.set` needs.  Ctrl-C in a terminal reaches the agent, who stops its children in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _stop_with_parent(stop: threading.Event) -> None:
    """SIGTERM when the parent's thread dies (prctl(2)); should it have died before the call, stop at once."""
    parent = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        _log.warning("PR_SET_PDEATHSIG: %s", os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        stop.set()
