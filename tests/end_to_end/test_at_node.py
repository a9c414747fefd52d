"""People at the node: everything they see, take out or do there is theirs by name, permitted first and journalled."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_agent.trust.age import Identity
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from edge_agent.uplink.payloads import Health, VisitReport
from edge_agent.when import iso_utc
from tests.desk.world import worker
from tests.end_to_end.media import decoded_frames, opened, probe_errors
from tests.end_to_end.test_roster import City
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

CONTRACTOR = TestPerson("contractor", Role.CONTRACTOR)
OPERATOR = TestPerson("operator", Role.OPERATOR)
AWAY = {"gate": "rtsp://127.0.0.1:9/x"}
LAST = ("--from", "6s ago", "--for", "3s")


def accesses(agent: RunningAgent, action: str) -> list[dict[str, Any]]:
    return [entry for entry in agent.journal() if entry["kind"] == "access" and entry["action"] == action]


def outcomes(agent: RunningAgent, action: str) -> list[tuple[str, str]]:
    return [(entry["who"], entry["outcome"]) for entry in accesses(agent, action)]


def visits_of(health: Health | None) -> tuple[VisitReport, ...]:
    return health.visits if health else ()


def told(ended: subprocess.CompletedProcess[bytes]) -> Any:
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)


def test_people_at_the_node_find_and_export_under_their_own_names(
    tmp_path: Path, officer: TestPerson, camera_server: CameraServer
) -> None:
    identity, key = Identity.generate(), tmp_path / "recipient.age"
    write_secret_file(key, f"{identity}\n".encode())
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, people=(officer, OPERATOR), segment_s=3)
    with agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 40, "footage")
        listed = told(agent.by(officer, "archive", "list", "--json"))
        assert listed[0]["camera"] == "gate"
        of_gate = told(agent.by(officer, "archive", "list", "gate", "--json"))
        assert {segment.path for segment in agent.segments("gate")} <= {one["path"] for one in of_gate}
        assert "gate" in agent.by(officer, "archive", "list", "--for", "1m").stdout.decode()
        counted = told(agent.cli("archive", "coverage", "gate", "--for", "1m", "--json"))
        assert counted["seconds"]["recorded"] > 4
        assert abs(sum(counted["seconds"].values()) - 60) < 0.01

        out = tmp_path / "clip.mp4"
        made = told(agent.by(officer, "archive", "export", "gate", *LAST, "-o", str(out), "--json"))
        assert abs(made["seconds"] - 3) < 0.2
        assert abs(decoded_frames(out) - 45) <= 2
        again = agent.by(officer, "archive", "export", "gate", *LAST, "-o", str(out))
        assert (again.returncode, b"exists already" in again.stderr) == (64, True)
        sealed, why = tmp_path / "sealed.mp4.age", ("--recipient", str(identity.recipient), "--reason", "перевірка")
        assert agent.by(officer, "archive", "export", "gate", *LAST, "-o", str(sealed), *why).returncode == 0
        assert probe_errors(opened(sealed, key, tmp_path)) == ""

        nobody = agent.by(officer, "archive", "export", "nowhere", "--for", "1m", "-o", str(tmp_path / "x"))
        assert (nobody.returncode, b"gate" in nobody.stderr) == (66, True)
        refused = agent.by(OPERATOR, "archive", "export", "gate", *LAST, "-o", str(tmp_path / "x"))
        assert refused.returncode == 77
        anonymous = agent.cli("archive", "export", "gate", *LAST, "-o", str(tmp_path / "x"))
        assert (anonymous.returncode, b"--as" in anonymous.stderr) == (2, True)
        assert not (tmp_path / "x").exists()
        assert agent.stop() == 0
    me = "Коваленко Олена Петрівна"
    done, failed = [(me, "accepted"), (me, "done")], [(me, "accepted"), (me, "failed")]
    assert outcomes(agent, "search") == done * 3
    assert outcomes(agent, "export") == [*done, *failed, *done, *failed, (me, "refused")]
    entries = accesses(agent, "export")
    assert entries[0]["ref"] == entries[1]["ref"]
    assert {entry["access"] for entry in entries} == {"direct"}
    assert made["sha256"] in entries[1]["reason"]
    assert str(out) in entries[1]["reason"]
    assert entries[4]["args"] | {"camera": "gate", "reason": "перевірка"} == entries[4]["args"]
    without = told(agent.by(officer, "archive", "list", "--json"))
    assert without[0]["recordings"] >= listed[0]["recordings"], "while no agent runs, too"
    assert agent.by(OPERATOR, "archive", "list").returncode == 77


def test_playing_opens_a_window_and_is_no_way_to_take_recordings_out(
    tmp_path: Path, officer: TestPerson, camera_server: CameraServer
) -> None:
    with RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, people=(officer,), segment_s=2) as agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 40, "footage")
        first = agent.segments("gate")[0]
        asked = agent.command("archive", "play", "gate", "--from", iso_utc(first.start_us), "--for", "1s")
        asked += ["--as", officer.id, "--key", officer.key_file(tmp_path)]
        blind = {
            name: value for name, value in agent.environment().items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
        }
        refused = subprocess.run(asked, env=blind, capture_output=True, timeout=60, check=False)
        assert (refused.returncode, b"archive export" in refused.stderr, refused.stdout) == (64, True, b"")
        assert outcomes(agent, "play") == []
        # SDL without a screen: ffplay decodes and shows every picture, to nobody.
        seeing = {**blind, "DISPLAY": ":none", "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
        played = subprocess.run(asked, env=seeing, capture_output=True, timeout=90, check=False)
        assert played.returncode == 0, played.stderr
        assert [outcome for _, outcome in outcomes(agent, "play")] == ["accepted", "done"]
        assert accesses(agent, "play")[1]["reason"] == "played"


def test_without_a_journal_nobody_gets_anything(
    tmp_path: Path, officer: TestPerson, camera_server: CameraServer
) -> None:
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, people=(officer,), segment_s=2)
    with agent:
        wait_until(lambda: agent.segments("gate"), 40, "footage")
        assert agent.stop() == 0
    journal = agent.data / "journal.jsonl"
    journal.rename(tmp_path / "aside")
    journal.mkdir()  # nobody, root included, can write to that
    for command in (["list"], ["export", "gate", "-o", str(tmp_path / "x")]):
        refused = agent.by(officer, "archive", *command)
        assert (refused.returncode, b"journal" in refused.stderr) == (77, True)
    assert not (tmp_path / "x").exists()


def test_under_an_authority_an_export_at_the_node_goes_to_the_orders_recipient_alone(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    city = City(tmp_path)
    officer, mayor = worker(tmp_path, "o-officer", "archive_officer", None), worker(tmp_path, "o-mayor", "mayor", None)
    for someone, role in ((officer, "archive_officer"), (mayor, "mayor")):
        city.person(someone, role)
    identity, key = Identity.generate(), tmp_path / "court.age"
    write_secret_file(key, f"{identity}\n".encode())
    court = str(identity.recipient)
    city.roster("add", "recipient", city.draft, "--id", "court", "--name", "Суд", "--kind", "court", "--age-key", court)
    trust = f'[trust]\nauthority = "{city.authority}"\n'
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, more=trust, segment_s=2)
    agent.data.mkdir()
    assert agent.cli("roster", "install", str(city.sign(1))).returncode == 0
    with agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 40, "footage")
        first, last = agent.segments("gate")[0], agent.segments("gate")[-1]
        span = ["--from", iso_utc(first.start_us), "--to", iso_utc(last.end_us)]
        basis = ["--basis", "official_request", "--basis-number", "5", "--basis-date", "2026-11-22", "--number", "7"]
        order = tmp_path / "release.jws"
        order.write_text(mayor.desk("order", "release", "--node", "town/n1", *span, "--recipient", court, *basis).out)
        me = ["--as", officer.id, "--key", str(officer.folder / "keys" / "person.key")]
        clip = tmp_path / "clip.mp4.age"
        export = ["archive", "export", "gate", *span, *me, "-o", str(clip)]

        def refusal(*more: str) -> str:
            refused = agent.cli(*export, *more)
            assert refused.returncode == 77, refused.stderr
            assert not clip.exists()
            return str(accesses(agent, "export")[-1]["reason"]).partition(":")[0]

        assert refusal() == "order_needed"
        assert refusal("--order-file", str(order)) == "beyond_order", "plain goes to nobody"
        done = agent.cli(*export, "--order-file", str(order), "--recipient", court)
        assert done.returncode == 0, done.stderr
        assert probe_errors(opened(clip, key, tmp_path)) == ""
        assert agent.cli("archive", "list", *me).returncode == 0, "looking what there is needs no order"


def test_a_visit_is_registered_shown_in_health_and_closed(tmp_path: Path, broker: Mosquitto) -> None:
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(tmp_path, AWAY, broker=broker, people=(CONTRACTOR, OPERATOR)) as agent,
    ):
        wait_until(lambda: dispatcher.health(), 40, "health")
        assert agent.by(CONTRACTOR, "visit", "open", "--reason", " ").returncode == 64
        assert agent.by(OPERATOR, "visit", "open", "--reason", "цікаво").returncode == 77
        begun = told(agent.by(CONTRACTOR, "visit", "open", "--reason", "заміна диска", "--json"))
        visits = wait_until(lambda: visits_of(dispatcher.health()), 30, "health tells of the visit")
        assert [(visit.who, visit.why, visit.since_us) for visit in visits] == [
            ("Коваленко Олена Петрівна", "заміна диска", begun["since_us"])
        ]
        twice = agent.by(CONTRACTOR, "visit", "open", "--reason", "знову")
        assert (twice.returncode, b"open already" in twice.stderr) == (64, True)
        assert told(agent.cli("visit", "list", "--json"))[0]["why"] == "заміна диска"
        assert agent.stop() == 0
        told(agent.by(CONTRACTOR, "visit", "close", "--reason", "замінено", "--json"))
        assert agent.by(CONTRACTOR, "visit", "close").returncode == 66
        assert told(agent.cli("visit", "list", "--json")) == []
    done = [entry["args"]["work"] for entry in accesses(agent, "maintain") if entry["outcome"] == "done"]
    assert done == ["visit_open", "visit_close"]
    shown = agent.cli("journal", "show", "--action", "maintain").stdout.decode()
    assert "visit_open" in shown


def test_work_on_keys_and_archive_is_journalled_with_the_person_or_the_machines_user(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, AWAY, people=(CONTRACTOR, OPERATOR))
    with agent:
        wait_until(agent.listens, 40, "it listens")
        assert agent.by(CONTRACTOR, "keys", "rotate").returncode == 0
        assert agent.by(OPERATOR, "keys", "rotate").returncode == 77
        assert len(agent.identities()) == 2
        busy = agent.by(CONTRACTOR, "archive", "rebuild")
        assert busy.returncode == 75
        assert agent.stop() == 0
    assert agent.by(CONTRACTOR, "archive", "rebuild").returncode == 0
    assert agent.by(CONTRACTOR, "archive", "check").returncode == 0
    assert agent.cli("archive", "check").returncode == 0
    assert agent.cli("archive", "rebuild").returncode == 0
    me, user = "Коваленко Олена Петрівна", "user "
    found = [(e["who"], e["args"]["work"], e["outcome"]) for e in accesses(agent, "maintain")]
    assert found[:-2] == [
        (me, "keys_rotate", "accepted"),
        (me, "keys_rotate", "done"),
        (me, "keys_rotate", "refused"),
        (me, "rebuild", "accepted"),
        (me, "rebuild", "failed"),
        (me, "rebuild", "accepted"),
        (me, "rebuild", "done"),
        (me, "check", "accepted"),
        (me, "check", "done"),
    ]
    assert [who.startswith(user) for who, _, _ in found[-2:]] == [True, True]


def test_an_officer_asks_from_afar_what_a_node_has(
    tmp_path: Path, broker: Mosquitto, camera_server: CameraServer
) -> None:
    officer = worker(tmp_path, "o-officer", "archive_officer", broker, language="en")
    auditor = worker(tmp_path, "o-auditor", "auditor", broker)
    more = officer.block + "\n" + auditor.block
    with RunningAgent(
        tmp_path, {"gate": camera_server.url("/main"), "yard": "rtsp://127.0.0.1:9/x"}, broker=broker, more=more
    ) as agent:
        wait_until(lambda: agent.segments("gate"), 60, "footage")
        sums = officer.desk("search", "n1", "--json").json
        assert set(sums["holdings"]) == {"gate", "yard"}
        assert sums["holdings"]["gate"]["recordings"] >= 1
        since = iso_utc(agent.segments("gate")[0].start_us)
        all_cameras = officer.desk("search", "n1", "--from", since, "--json").json["cameras"]
        assert all_cameras["gate"]["recorded_s"] > 1
        assert all_cameras["yard"]["missing"]
        one = officer.desk("search", "n1", "gate", "--from", since)
        assert one.code == 0, one.err
        assert "gate" in one.out
        assert auditor.desk("search", "n1", "--json").json["code"] == "not_permitted"
        assert officer.desk("search", "n1", "--from", "30d ago", "--json").code == 64
    assert [entry["outcome"] for entry in accesses(agent, "search")][:2] == ["accepted", "done"]


@pytest.mark.root
def test_who_may_only_knock_at_the_socket_searches_and_registers_and_opens_no_recording(
    tmp_path: Path, officer: TestPerson, camera_server: CameraServer
) -> None:
    people = (officer, CONTRACTOR)
    agent = RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, people=people, segment_s=2)
    text = agent.config.read_text()
    agent.config.write_text(text.replace('data = "data"', f'data = "data"\nsocket = "{tmp_path}/s"'))
    with agent:
        wait_until(lambda: agent.segments("gate"), 40, "footage")
        os.chown(agent.data, 1, 1)
        key, secret = CONTRACTOR.key_file(tmp_path), officer.key_file(tmp_path)

        def outsider(*arguments: str) -> subprocess.CompletedProcess[bytes]:
            """Root without the right to pass over a folder's mode: as a member of the group, but for the name."""
            drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]
            command = [*drop, *agent.command(*arguments)]
            return subprocess.run(command, env=agent.environment(), capture_output=True, timeout=60, check=False)

        told(outsider("visit", "open", "--reason", "огляд", "--as", CONTRACTOR.id, "--key", key, "--json"))
        assert told(outsider("archive", "list", "--json", "--as", officer.id, "--key", secret))[0]["recordings"] > 0
        clip = tmp_path / "clip.mp4"
        refused = outsider("archive", "export", "gate", "-o", str(clip), "--as", officer.id, "--key", secret)
        assert refused.returncode != 0
        assert not clip.exists()
        os.chown(agent.data, 0, 0)
