"""A really booted Debian 12 with systemd, in a container of systemd-nspawn, for what only a real init can show.

Needs root, Debian 12 and `apt-get install debootstrap systemd-container python3-venv`.  The bare system and the agent's
environment are made once, under the checkout's `.cache/nspawn` (two minutes); later boots take seconds.  Everything
that a test changes lives in an overlay in memory and is gone with the container; its network has a loopback only.

The agent is installed as docs/install.md says, at /opt/edge-agent, with the checkout's present code.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.peers.support import ManagedProcess, wait_until

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "nspawn"
PREFIX = "/opt/edge-agent"
SYSTEM_PYTHON = Path("/usr/bin/python3")
HOW_TO = "as root on Debian 12, after: apt-get install debootstrap systemd-container python3-venv"
PACKAGES = "systemd,systemd-sysv,dbus,python3-minimal,libpython3-stdlib,tzdata"
UNIT_FILES = {
    "edge-agent.service": "/etc/systemd/system/edge-agent.service",
    "edge-agent-retry.timer": "/etc/systemd/system/edge-agent-retry.timer",
    "edge-agent.sysusers": "/usr/lib/sysusers.d/edge-agent.conf",
    "edge-agent.tmpfiles": "/usr/lib/tmpfiles.d/edge-agent.conf",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command in the container said."""

    code: int
    out: str
    err: str


class Machine:
    """`with Machine(tmp_path) as machine:` – booted when entered, ended and forgotten at the end, whatever happened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leader = 0
        self._boot: ManagedProcess | None = None
        self._turn = -1

    def run(self, *command: str, check: bool = True, seconds: float = 30, stdin: str = "") -> Answer:
        """Run as root inside; AssertionError with all it said when it fails and `check`."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", *command]
        try:
            done = subprocess.run(
                enter, capture_output=True, text=True, check=False, timeout=seconds, input=stdin, env=_ENVIRONMENT
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"in the container, not done within {seconds:g} s: {command}") from error
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if check and answer.code:
            raise AssertionError(f"in the container, exit code {answer.code}: {command}\n{answer.out}{answer.err}")
        return answer

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Make a file inside, its folder included."""
        self.run("install", "-D", "-m", f"{mode:o}", "/dev/stdin", path, stdin=content)

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).out.strip()

    def log(self, unit: str, after: str = "") -> str:
        """What the unit, and systemd about it, have logged since the boot or since a `mark_log`."""
        since = [f"--after-cursor={after}"] if after else []
        return self.run("journalctl", "--no-pager", "-o", "short-precise", "-u", unit, *since).out

    def mark_log(self) -> str:
        """The log's present end."""
        return self.run("journalctl", "-n", "0", "--show-cursor").out.partition("cursor: ")[2].strip()

    def start(self) -> None:
        ensure_possible()
        self._folder.mkdir(parents=True, exist_ok=True)
        code = _readable_copy(ROOT / "edge_agent", self._folder / "code")
        self._turn = _only_one()
        command: list[str | Path] = [
            # A PID namespace around it, for a killed systemd-nspawn would leave the container running.
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
            "systemd-nspawn",
            *("--directory", base_system()),
            *("--volatile=overlay", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe"),
            # as on a real machine the kernel can be asked about its clock, which no container may set
            *("--quiet", "--settings=no", "--system-call-filter=adjtimex clock_adjtime"),
            f"--bind-ro={environment()}:{PREFIX}",
            f"--bind-ro={code}:{PREFIX}/lib/python3.11/site-packages/edge_agent",
        ]
        self._boot = ManagedProcess(command, self._folder / "boot.log")
        self._leader = wait_until(self._find_leader, 30, f"the container's first process\n{self._boot.text()}")
        wait_until(self._is_up, 30, f"systemd in the container; see {self._boot.log}")
        self.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        for name, path in UNIT_FILES.items():
            self.write(path, (ROOT / "systemd" / name).read_text())
        self.run("systemd-sysusers")
        self.run("systemd-tmpfiles", "--create", "edge-agent.conf")
        self.run("systemctl", "daemon-reload")

    def end(self) -> None:
        if self._boot is not None:
            # A power cut of the container, for nothing in it is worth an orderly shutdown: with the first process of
            # its PID namespace all others are gone, too.
            with contextlib.suppress(StopIteration, ProcessLookupError):
                os.kill(next(_descendants(self._boot.pid)), signal.SIGKILL)
                self._boot.wait(5)
            self._boot.end()
        if self._turn >= 0:
            os.close(self._turn)
            self._turn = -1

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _find_leader(self) -> int:
        assert self._boot is not None
        if not self._boot.running:
            raise AssertionError(f"systemd-nspawn ended ({HOW_TO}): {self._boot.text()}")
        return next((pid for pid in _descendants(self._boot.pid) if _is_init(pid)), 0)

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-system-running", check=False).out.strip() in ("running", "degraded")


_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}


def ensure_possible() -> None:
    """AssertionError with the one line that helps where the container can't run."""
    missing = [tool for tool in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing or not SYSTEM_PYTHON.exists():
        why = f"{', '.join(missing)} not installed" if missing else "not root" if os.geteuid() else "no Debian Python"
        raise AssertionError(f"no container can be booted ({why}); run these tests {HOW_TO}")


def base_system() -> Path:
    """A bare Debian 12 with systemd and Python, made at the first call."""
    return _made_once("debian-12", PACKAGES, _bootstrap)


def environment() -> Path:
    """A virtual environment of Debian's Python with the agent's dependencies, meant to be mounted at PREFIX."""
    version = _said([SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]).strip()
    if version != "3.11":
        raise AssertionError(f"the container's Python is 3.11, this system's is {version}; run these tests {HOW_TO}")
    recipe = (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[0]
    return _made_once("venv", recipe, _install)


def _bootstrap(folder: Path) -> None:
    # In a mount namespace of its own, so that what it mounts inside is gone with it.
    _said(["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder])
    shutil.rmtree(folder / "var/cache/apt", ignore_errors=True)


def _install(folder: Path) -> None:
    source = folder.with_name("source")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "edge_agent", source / "edge_agent")
    _said([SYSTEM_PYTHON, "-m", "venv", folder])
    _said([folder / "bin/python", "-m", "pip", "install", "--quiet", source])
    shutil.rmtree(source)
    for script in ("edge-agent", "edge-desk"):
        path = folder / "bin" / script
        path.write_text(f"#!{PREFIX}/bin/python\n" + path.read_text().partition("\n")[2])


def _made_once(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """`.cache/nspawn/<name>-<hash of the recipe>`: complete or not there at all; older recipes' results go."""
    done = CACHE / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for old in CACHE.glob(f"{name}-*"):
                shutil.rmtree(old)
            partial = CACHE / f"{name}-partial"
            make(partial)
            partial.rename(done)
    return done


def _readable_copy(source: Path, target: Path) -> Path:
    """The code as it is now, readable for every user of the container whatever the checkout's modes are."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    _said(["chmod", "-R", "a+rX,go-w", target])
    return target


def _only_one() -> int:
    """Wait for the turn to boot: two containers without a unit of their own would share their control groups."""
    turn = os.open("/run/lock/edge-agent-test-machine", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(turn, fcntl.LOCK_EX)
    return turn


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _is_init(pid: int) -> bool:
    """The container's systemd: process 1 of the inner of two PID namespaces, with its own program running."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        program = Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return False
    return program.name == "systemd" and re.search(r"^NSpid:.*\b1$", status, re.MULTILINE) is not None


def _said(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}: {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
