"""`edge-agent` and `edge-desk` as processes of their own, without the half second of importing that each start costs.

One process a test run has imported both and forks for every call: what is called has its own process id, environment,
folder, standard streams and exit code, and ends as any Python does.  The suite calls some hundred commands this way;
where the start is the point (signals, terminals, other users, another clock) tests start them from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import typer

from edge_agent.later import Later, LaterGroup

MAINS = {"edge-agent": "edge_agent.cli", "edge-desk": "edge_agent.desk.cli"}
_CHECKOUT = Path(__file__).parents[2]
_MAX_BYTES = 1 << 17


def run(
    name: str, arguments: Sequence[str], env: Mapping[str, str], *, stdout: IO[bytes] | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """As subprocess.run, standard input empty; TimeoutExpired once it was killed after `seconds`."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as none:
        request = json.dumps(
            {"name": name, "arguments": arguments, "env": dict(env), "folder": str(Path.cwd())}
        ).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(60)
            connection.connect(_server().address)
            socket.send_fds(connection, [request], [none.fileno(), (stdout or out).fileno(), err.fileno()])
            pid = int(connection.recv(64))
            connection.settimeout(seconds)
            try:
                code = int(connection.recv(64))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([name, *arguments], seconds) from None
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess([name, *arguments], code, out.read(), err.read())


def table_of(app: typer.Typer) -> Mapping[str, Later]:
    """The commands that a command line loads when they are called."""
    group = app.info.cls
    assert group is not None
    assert issubclass(group, LaterGroup)
    return group.table


class _Server:
    """The process that forks; it ends with its standard input, and so with the tests."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-quick-")
        self.address = f"{self._folder.name}/socket"
        env = {**os.environ, "PYTHONPATH": str(_CHECKOUT)}
        command = [sys.executable, "-m", "tests.peers.quick", self.address]
        self._process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        self._process.communicate(timeout=60)
        self._folder.cleanup()


@cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.end)
    return server


def _load() -> None:
    """All commands, but none of the libraries that start threads."""
    for module in (*MAINS.values(), "rich.table", "rich.progress", "typer.rich_utils", "edge_agent.uplink.mqtt"):
        importlib.import_module(module)
    for main in MAINS.values():
        for app in (value for value in vars(sys.modules[main]).values() if isinstance(value, typer.Typer)):
            for later in table_of(app).values():
                importlib.import_module(later.place.partition(":")[0])
    gc.collect()
    gc.freeze()


def _serve(listener: socket.socket) -> dict[str, Any] | None:
    """In each forked process, what it is to run; None in this one, when the tests have ended."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], 1)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if sys.stdin in ready:
            return None
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        listener.close()
        return _watched(connection)


def _watched(connection: socket.socket) -> dict[str, Any]:
    """Fork again: the one tells how the other ends, the other goes on to be the command."""
    message, files, _, _ = socket.recv_fds(connection, _MAX_BYTES, 3)
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # nobody waits any more
            connection.send(str(pid).encode())
            connection.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
        os._exit(0)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    request: dict[str, Any] = json.loads(message)
    return request


def main() -> None:
    _load()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        print("ready", flush=True)
        request = _serve(listener)
    if request is None:
        return
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    sys.argv = [request["name"], *request["arguments"]]
    sys.modules[MAINS[request["name"]]].main()


if __name__ == "__main__":
    main()
