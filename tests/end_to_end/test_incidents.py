"""Alarms as dispatchers live with them: a node killed, colleagues, forgers, a desk that was away, the register."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.model import AlarmPhase
from edge_agent.uplink.alarm_pictures import SEALED
from edge_agent.uplink.payloads import AlarmMessage, decode
from edge_agent.when import iso_utc
from tests.desk.world import Ended, Worker, command, environment, worker
from tests.peers.agent import NODE, Dispatcher, RunningAgent
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

SINCE = ["--from", "1h ago"]


@dataclass(frozen=True)
class Town:
    folder: Path
    broker: Mosquitto
    agent: RunningAgent
    dispatcher: Dispatcher
    first: Worker
    second: Worker
    impostor: Worker
    contractor: Worker
    officer: Worker

    def heard(self, *cameras: str) -> list[AlarmMessage]:
        topics = [self.dispatcher.topics.alarm(camera) for camera in cameras or ("gate", "yard")]
        return [decode(AlarmMessage, received.payload) for topic in topics for _, received in self.dispatcher.on(topic)]

    def register(self, *more: str) -> list[dict[str, Any]]:
        ended = self.first.desk("incidents", NODE, *SINCE, "--json", *more)
        assert ended.code == 0, ended.err
        found: list[dict[str, Any]] = ended.json["incidents"]
        return found


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, street_h264: Path) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    (folder / "agent").mkdir()
    with (
        Mosquitto(folder) as broker,
        CameraServer({"/main": street_h264}, folder=folder / "cameras") as cameras,
        Dispatcher(broker) as dispatcher,
    ):
        first, second = (worker(folder, name, "operator", broker) for name in ("first", "second"))
        contractor = worker(folder, "contractor", "contractor", broker, language="en")
        officer = worker(folder, "officer", "archive_officer", broker)
        target = f'[[target]]\nkind = "folder"\nname = "usb"\npath = "{folder / "usb"}"\n'
        (folder / "usb").mkdir()
        impostor = worker(folder, "impostor", "operator", broker, language="en")
        impostor.config.write_text(impostor.config.read_text("utf-8").replace('"impostor"', '"first"'), "utf-8")
        with RunningAgent(
            folder / "agent",
            {"gate": cameras.url("/main"), "yard": "rtsp://127.0.0.1:1/nowhere"},
            broker=broker,
            more="\n".join(
                [
                    first.block,
                    second.block,
                    contractor.block,
                    officer.block,
                    target,
                    f'[alarm]\nseal_pictures_to = ["{first.recipient}"]\n',
                ]
            ),
        ) as agent:
            yield Town(folder, broker, agent, dispatcher, first, second, impostor, contractor, officer)


@pytest.fixture(scope="module")
def killed(town: Town) -> list[AlarmMessage]:
    """The alarms that were open when the whole node was killed; it is back."""

    def open_ones() -> list[AlarmMessage]:
        heard = town.heard()
        ended = {message.alarm_id for message in heard if message.phase is AlarmPhase.END}
        return [one for one in heard if one.phase is AlarmPhase.START and one.alarm_id not in ended]

    wait_until(lambda: {one.camera for one in open_ones()} == {"gate", "yard"}, 60, "an open alarm of each camera")
    town.agent.process.signal(signal.SIGKILL)
    town.agent.process.wait(20)
    left_open = open_ones()
    town.agent.start()
    return left_open


def test_what_was_open_when_the_node_was_killed_is_ended_after_its_restart(
    town: Town, killed: list[AlarmMessage]
) -> None:
    for alarm in killed:
        ends = wait_until(
            lambda alarm=alarm: [  # type: ignore[misc]
                one for one in town.heard() if one.alarm_id == alarm.alarm_id and one.phase is AlarmPhase.END
            ],
            60,
            f"the end of {alarm.nature}",
        )
        assert len({one.message_id for one in ends}) == 1
        if ends[0].cut is None:
            continue  # it ended by itself between the look and the kill
        assert ends[0].cut == "restart"
        assert "вузол перезапущено" in ends[0].text.uk
        assert ends[0].seen_us is not None
        assert ends[0].seen_us <= ends[0].at_us
        assert ends[0].footage is not None
    assert any(one.cut == "restart" for one in town.heard("yard")), "the camera was lost all the time"


@pytest.fixture(scope="module")
def alarm_id(killed: list[AlarmMessage]) -> str:
    """One that the kill cut."""
    return next(one.alarm_id for one in killed if one.camera == "yard")


def at_once(*asked: tuple[Worker, list[str]]) -> list[Ended]:
    """Several desks at the same time."""
    running = [
        subprocess.Popen(
            command(*arguments), env=environment(who.config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for who, arguments in asked
    ]
    return [Ended(process.returncode or 0, *said) for process in running if (said := process.communicate(timeout=60))]


@pytest.fixture(scope="module")
def acknowledged(town: Town, alarm_id: str) -> list[Ended]:
    """By two dispatchers at once."""
    return at_once(
        (town.first, ["ack", NODE, alarm_id[:12], "--comment", "патруль виїхав", "--json"]),
        (town.second, ["ack", NODE, alarm_id[:12], "--json"]),
    )


def test_of_two_who_acknowledge_at_once_one_is_first_and_both_know_who(
    town: Town, acknowledged: list[Ended], alarm_id: str
) -> None:
    assert [ended.code for ended in acknowledged] == [0, 0], [ended.err for ended in acknowledged]
    assert sorted(ended.json["changed"] for ended in acknowledged) == [False, True]
    assert acknowledged[0].json["incident"]["acknowledged"] == acknowledged[1].json["incident"]["acknowledged"]
    entries = [one for one in town.agent.journal() if one.get("action") == "acknowledge"]
    assert {one["person_id"] for one in entries} == {"first", "second"}
    assert all(one["args"]["alarm"] == alarm_id[:12] for one in entries)


def test_nobody_acknowledges_in_anothers_name_nor_without_the_right(town: Town, alarm_id: str) -> None:
    forged = town.impostor.desk("ack", NODE, alarm_id, "--json")
    assert (forged.code, forged.json["code"]) == (77, "bad_signature")
    contractor = town.contractor.desk("ack", NODE, alarm_id, "--json", "--socket", str(town.agent.socket))
    assert (contractor.code, contractor.json["code"]) == (77, "not_permitted")
    unknown = town.first.desk("ack", NODE, "zzzzzzzz")
    assert (unknown.code, unknown.out) == (1, "")
    assert "zzzzzzzz" in unknown.err


def test_a_desk_that_was_away_sees_what_it_missed_and_who_took_care(
    town: Town, acknowledged: list[Ended], alarm_id: str
) -> None:
    def seen() -> list[dict[str, Any]]:
        ended = town.second.desk("watch", "--json", "--seconds", "4", seconds=60)
        assert ended.code == 0, ended.err
        told = [json.loads(line) for line in ended.out.splitlines()]
        found = [one for one in told if one["event"] == "incident" and one["alarm_id"] == alarm_id]
        return [one for one in found if one["acknowledged"]]

    missed = wait_until(seen, 120, "the alarm that was missed")[0]
    assert acknowledged
    assert missed["acknowledged"]["who"] == "Коваленко Олена Петрівна"
    assert missed["ended_us"]
    lines = town.second.desk("watch", "--seconds", "4", seconds=60).out
    assert "тривог за добу" not in lines
    assert "✓" not in lines, "what somebody took care of is no news to whoever comes later"


def test_the_whole_life_of_an_alarm_stands_in_the_register(
    town: Town, acknowledged: list[Ended], alarm_id: str
) -> None:
    assert acknowledged
    assert town.first.desk("comment", NODE, alarm_id, "=кіт, не людина").code == 0
    assert town.second.desk("false", NODE, alarm_id, "--comment", "кіт").code == 0
    release = "7c1e5f0a9b3d4e21aa"
    assert town.first.desk("incident", "link", NODE, alarm_id, "--release", release).code == 0
    (found,) = [one for one in town.register() if one["alarm_id"] == alarm_id]
    assert found["false_alarm"]["who"] == "Коваленко Олена Петрівна"
    kinds = [note["kind"] for note in found["notes"]]
    assert kinds == ["acknowledged", "comment", "false", "release"] or kinds[0] == "acknowledged"
    assert found["releases"] == [release]
    assert found["export"].startswith(f"edge-desk export town/{NODE} yard --from ")
    assert {one["alarm_id"] for one in town.register("--state", "false")} == {alarm_id}
    assert all(one["camera"] == "gate" for one in town.register("--camera", "gate"))
    shown = town.first.desk("incident", "show", NODE, alarm_id).out
    assert "хибна" in shown
    assert release in shown
    assert "edge-desk export" in shown


def test_a_hold_and_a_release_that_name_their_alarm_are_tied_to_it_by_themselves(town: Town) -> None:
    found = wait_until(lambda: town.register("--camera", "gate", "--state", "ended"), 120, "an alarm that is over")[0]
    when = ["--from", "3m ago", "--for", "5s"]
    order = ["--order", "12-р", "--ordered-by", "Мер Іван", "--json"]
    lost = town.officer.desk("hold", "add", NODE, *when, *order, "--incident", "zzzzzzzz")
    assert (lost.code, lost.json["code"]) == (1, "not_found")
    assert town.officer.desk("hold", "list", NODE, "--json").json["holds"] == [], "nothing was held then"
    held = town.officer.desk("hold", "add", NODE, *when, *order, "--incident", found["alarm_id"][:12])
    assert held.code == 0, held.err
    assert held.json["incident"] == found["alarm_id"]
    footage = wait_until(lambda: town.agent.segments("gate"), 60, "a recording")[0]
    span = ["--from", iso_utc(footage.start_us), "--for", "1s"]
    sealed = ["--recipient", town.officer.recipient, "--target", "usb", "--json"]
    released = town.officer.desk(
        "export", NODE, "gate", *span, *sealed, "--incident", found["alarm_id"][:12], seconds=120
    )
    assert released.code == 0, released.err
    (now,) = [one for one in town.register() if one["alarm_id"] == found["alarm_id"]]
    assert now["holds"] == [held.json["hold"]["hold_id"]]
    assert now["releases"] == [released.json["request_id"]]
    assert {note["person_id"] for note in now["notes"] if note["kind"] in ("hold", "release")} == {"officer"}


def test_the_register_is_made_as_a_table_for_spreadsheets_and_as_paper(town: Town, alarm_id: str) -> None:
    sheet, paper = town.folder / "incidents.csv", town.folder / "incidents.pdf"
    ended = town.first.desk("incidents", NODE, *SINCE, "--report", str(sheet))
    assert ended.code == 0, ended.err
    rows = list(csv.reader(io.StringIO(sheet.read_text("utf-8-sig")), delimiter=";"))
    (row,) = [one for one in rows if one and one[0] == alarm_id[:12]]
    assert len(row) == len(rows[rows.index(next(one for one in rows if one and one[0] == "Подія"))])
    ended = town.first.desk("incidents", NODE, *SINCE, "--report", str(paper), "--language", "en")
    assert ended.code == 0, ended.err
    text = subprocess.run(["pdftotext", "-layout", str(paper), "-"], capture_output=True, text=True, check=True).stdout
    assert "Incident register" in text
    assert alarm_id[:12] in text


def test_pictures_are_sealed_on_their_way_and_opened_at_the_dispatchers_desk(town: Town, alarm_id: str) -> None:
    assert alarm_id

    def kept(who: Worker, pattern: str) -> list[Path]:
        folder = town.folder / f"pictures-{who.id}"
        assert who.desk("watch", "--pictures", str(folder), "--seconds", "8", seconds=60).code == 0
        return list(folder.glob(pattern))

    opened = wait_until(lambda: kept(town.first, "town.n1.gate.*.jpg"), 120, "a picture")
    assert opened[0].read_bytes().startswith(b"\xff\xd8\xff")
    assert len(opened[0].name.split(".")) == 6, "its moment is known"
    sealed = wait_until(lambda: kept(town.second, "town.n1.gate.*.jpg.age"), 120, "a picture for somebody else")
    assert not list(sealed[0].parent.glob("*.jpg"))
    pictures = [
        one for _, one in town.dispatcher.under(town.dispatcher.topics.alarm("gate")) if "/picture" in one.topic
    ]
    assert pictures
    assert all(one.payload.startswith(SEALED) for one in pictures)
