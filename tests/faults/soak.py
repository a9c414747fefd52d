"""kill -9 of every process of an agent, at random moments, under four cameras; `scripts/soak-kill` is the long run.

Nothing that was closed may be lost, nothing may be unreadable, the index must equal the disk, and no release forgotten.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge_agent.clock import US, SystemClock
from edge_agent.model import Segment
from edge_agent.trust.age import Identity
from edge_agent.trust.command import ExportArgs
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from tests.faults.node import indexed, node_on
from tests.faults.restart import Restarted, restart
from tests.peers.agent import RunningAgent, TestPerson
from tests.peers.cameras import CameraServer, make_clip
from tests.peers.support import wait_until

VICTIMS = ("recorder", "watcher", "agent", "exporter")
_EXPORTED_S = 8
_PATIENCE_S = 40
"""A child that died often is started again after half a minute at most."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a soak cost."""

    killed: Mapping[str, int]
    files: int
    torn: int
    missing_s: float
    """Gaps of all cameras in the ledger."""
    released: int
    still_waiting: int

    def __str__(self) -> str:
        victims = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        return (
            f"{sum(self.killed.values())} kills ({victims}): {self.files} recordings, all readable, {self.torn} of them"
            f" torn; {self.missing_s:.1f} s of all cameras missing; {self.released} clips released,"
            f" {self.still_waiting} still to be"
        )


class Soak:
    """One agent and those who are after it."""

    def __init__(self, folder: Path, cameras: Mapping[str, str], seed: int) -> None:
        self._cameras, self._dice, self._clock = tuple(cameras), random.Random(seed), SystemClock()
        self._officer, self._recipient = TestPerson("officer", Role.ARCHIVE_OFFICER), Identity.generate()
        identity = Identity.generate()
        self._identities = [identity]
        write_secret_file(folder / "node.age", f"{identity}\n".encode())
        (folder / "usb").mkdir()
        more = f'{self._officer.toml()}\n[[target]]\nkind = "folder"\nname = "usb"\npath = "{folder / "usb"}"\n'
        (folder / "data").mkdir(mode=0o700)
        self._agent: RunningAgent = node_on(folder, folder / "data", cameras, segment_s=2, more=more)
        self._killed: Counter[str] = Counter()
        self._known: dict[str, Segment] = {}
        self._asked = 0

    def run(self, kills: int, say: Callable[[str], None]) -> Account:
        """AssertionError says what was lost."""
        with self._agent:
            wait_until(lambda: self._agent.recording(*self._cameras), 60, "four cameras are recorded")
            for number in range(kills):
                victim = self._dice.choice(VICTIMS)
                self._kill(victim)
                say(f"{number + 1}/{kills} {victim}")
            wait_until(lambda: self._agent.recording(*self._cameras), _PATIENCE_S + 20, "they are recorded again")
            assert self._agent.stop() == 0, self._agent.log()[-2000:]
        return self._account()

    def _kill(self, victim: str) -> None:
        if victim == "exporter":
            self._ask_for_a_clip()
        process = wait_until(lambda: self._process(victim), _PATIENCE_S, f"the {victim} runs")
        # an exporter lives for a moment only
        self._clock.wait(threading.Event(), self._dice.uniform(0, 0.4 if victim == "exporter" else 1.5))
        for path, segment in indexed(self._agent, self._cameras).items():
            before = self._known.setdefault(path, segment)
            assert before.sha256 == segment.sha256, f"{path} changed in the index"
        lost = set(self._known) - set(indexed(self._agent, self._cameras))
        assert not lost, f"gone from the index: {lost}"
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            return
        self._killed[victim] += 1
        if victim == "agent":
            self._agent.process.wait(10)
            self._agent.start()

    def _process(self, victim: str) -> psutil.Process | None:
        return psutil.Process(self._agent.process.pid) if victim == "agent" else self._agent.child(victim)

    def _ask_for_a_clip(self) -> None:
        """Somebody asks at the node's socket and goes away without waiting for the answer."""
        self._asked += 1
        there = wait_until(lambda: indexed(self._agent, self._cameras), _PATIENCE_S, "something was recorded")
        first = there[self._dice.choice(sorted(there))]
        args = ExportArgs(
            camera=first.camera,
            start_us=first.start_us,
            end_us=first.start_us + _EXPORTED_S * US,
            recipient=str(self._recipient.recipient),
            target="usb",
            reason=f"clip {self._asked}",
        )

        def heard() -> bool:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self._agent.folder / "s"))
                    connection.sendall(self._officer.sign(args) + b"\n")
                    return connection.recv(1) != b""
            except OSError:
                return False

        wait_until(heard, 20, "the node hears somebody who wants a clip")

    def _account(self) -> Account:
        found = restart(self._agent.data, self._identities, self._clock)
        found.close()
        assert found.set_aside == [], found.set_aside
        assert found.wrong == [], found.wrong
        assert found.bad_lines == [], found.bad_lines
        for path, segment in self._known.items():
            assert found.segments[path].sha256 == segment.sha256, path
        on_disk = {str(path.relative_to(self._agent.archive)) for path in self._agent.archive.glob("*/*/*.age")}
        assert on_disk == set(found.segments), on_disk ^ set(found.segments)
        assert all(segment.frames for segment in found.segments.values())
        return Account(
            killed=self._killed,
            files=len(found.segments),
            torn=sum(segment.torn for segment in found.segments.values()),
            missing_s=sum(gap.interval.seconds for camera in self._cameras for gap in self._agent.gaps(camera)),
            released=self._released(found),
            still_waiting=len(found.documents),
        )

    def _released(self, found: Restarted) -> int:
        """Every clip that was granted is done, failed for want of footage, or still remembered."""
        exports = [entry for entry in found.journal if entry.action == "export"]
        granted = {entry.ref for entry in exports if entry.outcome == "accepted"}
        done = {entry.ref for entry in exports if entry.outcome == "done"}
        failed = {entry.ref for entry in exports if entry.outcome == "failed"}
        forgotten = granted - done - failed - {document["id"] for document in found.documents}
        assert not forgotten, f"accepted and forgotten: {forgotten}"
        clips = list((self._agent.folder / "usb").rglob("*.mp4.age"))
        assert len(clips) >= len(done)
        return len(done)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/soak-kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        clips = {f"/{c}": make_clip(folder / f"{c}.mp4", seconds=20, seed=n) for n, c in enumerate("abcd")}
        with CameraServer(clips, folder=folder / "cameras") as server:
            soak = Soak(folder, {mount[1:]: server.url(mount) for mount in clips}, options.seed)
            print(soak.run(options.kills, lambda line: print(line, file=sys.stderr)))


if __name__ == "__main__":
    main()
