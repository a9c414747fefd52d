"""72 hours without the broker, then 10,000 alarms and the live ones at once, through a real mosquitto."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from edge_agent.buffer.outbox import LIVE_S, Losses, Outbox
from edge_agent.clock import US, SystemClock
from edge_agent.config import Mqtt
from edge_agent.model import Alarm, AlarmNature, AlarmPhase, CameraId
from edge_agent.uplink.link import LinkState, Received
from edge_agent.uplink.node import NodeLink
from edge_agent.uplink.payloads import AlarmMessage, Health, decode
from edge_agent.uplink.topics import Topics
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.uplink.ends import RecordingLink, plain

CAMERAS = [CameraId(f"cam-{n}") for n in range(8)]
ALARMS = 10_000
HOURS = 72
TOPICS = Topics("s", "n")


class MovedClock(SystemClock):
    """The machine's clock, whose wall time is `ahead_us` ahead: three days pass in a moment."""

    def __init__(self) -> None:
        self.ahead_us = -HOURS * 3600 * US

    def utc_us(self) -> int:
        return super().utc_us() + self.ahead_us


def step(number: int, phase: AlarmPhase, at_us: int, *, picture: bool = False) -> Alarm:
    camera = CAMERAS[number % len(CAMERAS)]
    return Alarm(
        f"{camera}-{number}",
        camera,
        AlarmNature.MOTION,
        phase,
        at_us,
        at_us,
        picture=b"\xff\xd8" + b"." * 2000 if picture else None,
    )


def node_link(port: int, outbox: Outbox, clock: MovedClock) -> NodeLink:
    mqtt = Mqtt(host="127.0.0.1", port=port, tls=False)

    def ignore(_what: Received | LinkState) -> None: ...

    return NodeLink(mqtt, TOPICS, outbox, clock, ignore, ignore)


@pytest.mark.timeout(600)
def test_three_days_of_alarms_arrive_once_each_and_in_order_and_live_ones_do_not_wait_for_them(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clock = MovedClock()
    outbox = Outbox(tmp_path / "outbox.sqlite", clock=clock)
    with Mosquitto(tmp_path) as broker, RecordingLink(plain(broker.port, "desk", session_s=600)) as desk:
        desk.hears("edge/+/+/alarm/#")
        desk.link.subscribe("edge/+/+/health")
        node = node_link(broker.port, outbox, clock)
        # three days offline, ten thousand alarms
        for number in range(ALARMS):
            node.alarm(step(number, AlarmPhase.START, clock.utc_us(), picture=number % 10 == 0), "", "")
            clock.ahead_us += HOURS * 3600 * US // ALARMS
            node.alarm(step(number, AlarmPhase.END, clock.utc_us()), "", "")
        clock.ahead_us += 2 * LIVE_S * US
        waiting = outbox.depth()
        assert waiting == 2 * ALARMS + ALARMS // 10
        # back: while all that goes out, something happens at every camera
        began = time.perf_counter()
        node.start()
        live: list[tuple[str, int, float]] = []
        behind: list[int] = []
        for number in range(10):
            wait_until(lambda n=number: len(desk.messages) > 200 + 1500 * n, 240, "the backlog")  # type: ignore[misc]
            alarm = step(ALARMS + number, AlarmPhase.START, clock.utc_us())
            seen, put_at = len(desk.messages), time.perf_counter()
            node.alarm(alarm, "", "")
            message_id = f"{alarm.alarm_id}.start.{alarm.at_us}"
            live.append((message_id, seen, put_at))
            node.health(health(clock.utc_us()))
        wait_until(lambda: outbox.depth() == 0, 300, "an empty outbox")
        record_property("messages_a_second", round((waiting + 10) / (time.perf_counter() - began)))
        wait_until(lambda: len(desk.messages) >= waiting + 20, 120, "everything at the desk")
        node.stop()
        messages, arrivals = desk.messages, desk.arrivals
        assert outbox.losses() == Losses()

    pictures = [one for one in messages if one.topic.endswith("/picture")]
    healths = [n for n, one in enumerate(messages) if one.topic == TOPICS.health]
    texts = [
        (n, decode(AlarmMessage, one.payload))
        for n, one in enumerate(messages)
        if "/alarm/" in one.topic and not one.topic.endswith("/picture")
    ]
    place = {text.message_id: n for n, text in texts}
    assert len(place) == len(texts) == 2 * ALARMS + 10, "all of them, once each"
    assert len(pictures) == ALARMS // 10
    assert len(healths) == 10
    assert healths[-1] < len(messages) - 2000, "the backlog held up the state of the node"
    old = sorted(((text.camera, n, text.at_us) for n, text in texts if text.message_id not in ids_of(live)))
    for _, of_camera in groupby(old, key=lambda one: one[0]):
        times = [at_us for _, _, at_us in of_camera]
        assert times == sorted(times), "a camera's backlog comes in its order"
    waits = []
    for message_id, seen, put_at in live:
        overtook = place[message_id] - seen
        assert overtook < 500, "a live alarm stood behind the backlog"
        waits.append(arrivals[place[message_id]] - put_at)
        behind.append(next(text.behind for _, text in texts if text.message_id == message_id))
    assert min(behind) > 0, "each was of a camera that had a backlog, and said so"
    record_property("live_alarm_worst_ms", round(max(waits) * 1000, 1))


def ids_of(live: list[tuple[str, int, float]]) -> set[str]:
    return {message_id for message_id, _, _ in live}


def health(at_us: int) -> Health:
    return Health(
        at_us=at_us,
        version="1",
        uptime_s=1,
        cpu_percent=1,
        load_1m=1,
        memory_used_bytes=1,
        memory_total_bytes=1,
        disk_total_bytes=1,
        disk_free_bytes=1,
        archive_bytes=1,
        cameras={},
    )


@pytest.mark.parametrize("late", [False, True], ids=["alarm over", "alarm goes on"])
def test_an_alarm_that_goes_on_brings_its_beginning_before_the_rest_of_the_backlog(tmp_path: Path, late: bool) -> None:
    clock = MovedClock()
    outbox = Outbox(tmp_path / "outbox.sqlite", clock=clock)
    with Mosquitto(tmp_path) as broker, RecordingLink(plain(broker.port, "desk", session_s=600)) as desk:
        desk.hears("edge/+/+/alarm/+")
        node = node_link(broker.port, outbox, clock)
        for number in range(300):
            node.alarm(step(number, AlarmPhase.START, clock.utc_us()), "", "")
        clock.ahead_us += 2 * LIVE_S * US
        last = 299
        if late:
            node.alarm(step(last, AlarmPhase.UPDATE, clock.utc_us()), "", "")
        node.start()
        wait_until(lambda: outbox.depth() == 0, 60, "an empty outbox")
        total = 300 + late
        told = [decode(AlarmMessage, one.payload) for one in desk.received(total, 30)]
        node.stop()
    order = [int(one.alarm_id.rpartition("-")[2]) for one in told]
    if late:
        assert order == [last, last, *range(last)]
        assert [one.phase for one in told[:2]] == [AlarmPhase.START, AlarmPhase.UPDATE]
    else:
        assert order == list(range(300))
