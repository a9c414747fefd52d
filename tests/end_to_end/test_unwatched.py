"""A watcher that is stopped, killed again and again, starved, or cut off from its stream: told of, and no frame lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

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


class Desk:
    """What a dispatcher hears of cameras that are not watched."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def told(self, camera: str) -> list[AlarmMessage]:
        heard = self._dispatcher.on(self._dispatcher.topics.alarm(camera))
        messages = [decode(AlarmMessage, received.payload) for _, received in heard]
        return [one for one in messages if one.nature is AlarmNature.UNWATCHED]

    def wait(self, camera: str, phase: AlarmPhase, count: int) -> AlarmMessage:
        def found() -> list[AlarmMessage]:
            return [one for one in self.told(camera) if one.phase is phase]

        wait_until(lambda: len(found()) >= count, LONG_S, f"{phase} number {count} of {camera}: {self.told(camera)}")
        return found()[count - 1]

    def health_says(self, camera: str) -> int | None:
        health = self._dispatcher.health()
        return health.cameras[camera].unwatched_since_us if health else None


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


def killed(watcher: psutil.Process, stop: threading.Event) -> None:
    stop.wait(2)
    watcher.kill()
    watcher.wait(10)


def starved(watcher: psutil.Process, stop: threading.Event) -> None:
    """A twentieth of a processor's time."""
    watcher.send_signal(signal.SIGSTOP)
    stop.wait(3.8)
    watcher.send_signal(signal.SIGCONT)
    stop.wait(0.2)


def test_a_watcher_that_does_not_watch_is_told_of_in_every_mode_and_costs_no_recorded_frame(
    tmp_path: Path, broker: Mosquitto, street_h264: Path, street_h265: Path
) -> None:
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
        desk = Desk(dispatcher)
        wait_until(lambda: all(agent.segments(camera) for camera in CAMERAS), LONG_S, "a file of each camera")

        with disturbed(agent, stopped):
            starts = {camera: desk.wait(camera, AlarmPhase.START, 1) for camera in CAMERAS}
            wait_until(lambda: desk.health_says("gate"), LONG_S, "health tells it too")
        start = starts["gate"]
        assert start.severity is Severity.WARNING, "no mode silences it"
        assert start.text.uk == "За камерою не ведеться спостереження: gate"
        assert start.at_us - start.started_us >= 9_000_000
        assert start.footage is not None
        assert start.footage.start_us < start.started_us, "what of the archive nobody has seen yet"
        with disturbed(agent, killed):
            wait_until(lambda: "watcher" in agent.log() and agent.child("watcher"), LONG_S, "it is started again")
            threading.Event().wait(15)
            assert [one.phase for one in desk.told("gate")] == [AlarmPhase.START], "the same alarm goes on"
        for camera in CAMERAS:
            end = desk.wait(camera, AlarmPhase.END, 1)
            assert end.alarm_id == starts[camera].alarm_id
            assert end.cut is None
        wait_until(lambda: desk.health_says("gate") is None, LONG_S, "health is content again")

        with disturbed(agent, starved):
            again = desk.wait("yard", AlarmPhase.START, 2)
        assert again.alarm_id != starts["yard"].alarm_id
        desk.wait("yard", AlarmPhase.END, 2)

        before = len(desk.told("gate"))
        subs.kill()
        wait_until(lambda: len(desk.told("gate")) > before, LONG_S, "the sub-stream's loss is told, too")
        subs.restart()
        wait_until(lambda: desk.told("gate")[-1].phase is AlarmPhase.END, LONG_S, "and its return")

        assert agent.stop() == 0
        for camera, mount, codec in (("gate", "/main", "h264"), ("yard", "/yard", "h265")):
            movies = [
                opened(agent.archive / segment.path, agent.data / "keys" / "node.age", tmp_path)
                for segment in agent.segments(camera)
            ]
            result = compare(mains.sent(mount), digests(movies, codec))
            assert (result.missing, result.foreign) == ([], []), f"every frame of {camera}, bit for bit"
            assert agent.gaps(camera) == []
