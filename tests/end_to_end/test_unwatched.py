"""A watcher that hangs, dies again and again, is starved or cut off is told of, and no recorded frame is lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from edge_agent.model import AlarmNature, AlarmPhase, Severity
from edge_agent.uplink.payloads import AlarmMessage, decode
from tests.end_to_end.media import digests, opened
from tests.peers.agent import Dispatcher, RunningAgent
from tests.peers.cameras import CameraServer, compare
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

CAMERAS = ("gate", "yard")
LONG_S = 90
DISARMED = '[programme]\nmode = "disarmed"\n[alarm]\nunwatched_after_s = 10\n'


@dataclass
class Town:
    """A node with two cameras, its modes all silent, and what a dispatcher hears of it."""

    mains: CameraServer
    subs: CameraServer
    agent: RunningAgent
    dispatcher: Dispatcher

    def told(self, camera: str) -> list[AlarmMessage]:
        """Of cameras that are not watched."""
        heard = self.dispatcher.on(self.dispatcher.topics.alarm(camera))
        messages = [decode(AlarmMessage, received.payload) for _, received in heard]
        return [one for one in messages if one.nature is AlarmNature.UNWATCHED]

    def wait(self, camera: str, phase: AlarmPhase, count: int) -> AlarmMessage:
        def found() -> list[AlarmMessage]:
            return [one for one in self.told(camera) if one.phase is phase]

        wait_until(lambda: len(found()) >= count, LONG_S, f"{phase} number {count} of {camera}: {self.told(camera)}")
        return found()[count - 1]

    def health_says(self, camera: str) -> int | None:
        health = self.dispatcher.health()
        return health.cameras[camera].unwatched_since_us if health else None

    def check_the_archive(self, folder: Path) -> None:
        """Every frame that the cameras sent is in it, bit for bit."""
        assert self.agent.stop() == 0
        for camera, mount, codec in (("gate", "/main", "h264"), ("yard", "/yard", "h265")):
            key = self.agent.data / "keys" / "node.age"
            movies = [opened(self.agent.archive / one.path, key, folder) for one in self.agent.segments(camera)]
            result = compare(self.mains.sent(mount), digests(movies, codec))
            assert (result.missing, result.foreign) == ([], []), camera
            assert self.agent.gaps(camera) == []


@contextmanager
def disturbed(agent: RunningAgent, disturb: Callable[[psutil.Process, threading.Event], None]) -> Iterator[None]:
    """Whatever watcher the agent has meanwhile suffers; in the end it goes on."""
    stop = threading.Event()

    def suffer() -> None:
        while not stop.is_set():
            with contextlib.suppress(psutil.NoSuchProcess):
                if watcher := agent.child("watcher"):
                    disturb(watcher, stop)
            stop.wait(0.1)

    thread = threading.Thread(target=suffer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with contextlib.suppress(psutil.NoSuchProcess):
            if watcher := agent.child("watcher"):
                watcher.send_signal(signal.SIGCONT)


def stopped(watcher: psutil.Process, _: threading.Event) -> None:
    watcher.send_signal(signal.SIGSTOP)


def starved(watcher: psutil.Process, stop: threading.Event) -> None:
    """A twentieth of a processor's time."""
    watcher.send_signal(signal.SIGSTOP)
    stop.wait(3.8)
    watcher.send_signal(signal.SIGCONT)
    stop.wait(0.2)


@pytest.fixture
def town(tmp_path: Path, broker: Mosquitto, street_h264: Path, street_h265: Path) -> Iterator[Town]:
    with (
        CameraServer({"/main": street_h264, "/yard": street_h265}, folder=tmp_path / "mains") as mains,
        CameraServer({"/sub": street_h264}, folder=tmp_path / "subs") as subs,
        Dispatcher(broker) as dispatcher,
        RunningAgent(
            tmp_path,
            {"gate": mains.url("/main"), "yard": mains.url("/yard")},
            broker=broker,
            camera_lines=f'sub_url = "{subs.url("/sub")}"',
            more=DISARMED,
        ) as agent,
    ):
        wait_until(lambda: all(agent.segments(camera) for camera in CAMERAS), LONG_S, "a file of each camera")
        yield Town(mains, subs, agent, dispatcher)


def test_a_watcher_that_hangs_or_dies_again_and_again_is_told_of_in_every_mode_and_costs_no_recorded_frame(
    town: Town, tmp_path: Path
) -> None:
    with disturbed(town.agent, stopped):
        starts = {camera: town.wait(camera, AlarmPhase.START, 1) for camera in CAMERAS}
        wait_until(lambda: town.health_says("gate"), LONG_S, "health tells it too")
    start = starts["gate"]
    assert start.severity is Severity.WARNING, "no mode silences it"
    assert start.text.uk == "За камерою не ведеться спостереження: gate"
    assert start.at_us - start.started_us >= 9_000_000
    assert start.footage is not None
    assert start.footage.start_us < start.started_us, "what of the archive nobody has seen yet"
    deaths: list[int] = []

    def killed(watcher: psutil.Process, stop: threading.Event) -> None:
        stop.wait(2)
        watcher.kill()
        watcher.wait(10)
        deaths.append(watcher.pid)

    with disturbed(town.agent, killed):
        wait_until(lambda: len(deaths) >= 3, LONG_S, "three deaths")
        assert [one.phase for one in town.told("gate")] == [AlarmPhase.START], "the same alarm goes on"
    for camera in CAMERAS:
        end = town.wait(camera, AlarmPhase.END, 1)
        assert end.alarm_id == starts[camera].alarm_id
        assert end.cut is None
    wait_until(lambda: town.health_says("gate") is None, LONG_S, "health is content again")
    town.check_the_archive(tmp_path)


def test_a_watcher_that_is_starved_is_told_of_and_costs_no_recorded_frame(town: Town, tmp_path: Path) -> None:
    with disturbed(town.agent, starved):
        start = town.wait("yard", AlarmPhase.START, 1)
    assert town.wait("yard", AlarmPhase.END, 1).alarm_id == start.alarm_id
    town.check_the_archive(tmp_path)


def test_a_lost_sub_stream_is_told_of_while_the_main_one_is_recorded(town: Town, tmp_path: Path) -> None:
    town.subs.kill()
    start = town.wait("gate", AlarmPhase.START, 1)
    town.subs.restart()
    assert town.wait("gate", AlarmPhase.END, 1).alarm_id == start.alarm_id
    town.check_the_archive(tmp_path)
