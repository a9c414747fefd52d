"""Modes at a whole agent: what is silent, who may change it, what is published, journalled and remembered."""

from __future__ import annotations

import itertools
import json
import secrets
import signal
from pathlib import Path
from typing import Any

from edge_agent.clock import US, SystemClock
from edge_agent.model import AlarmNature, AlarmPhase, CameraState, GapCause, Severity
from edge_agent.trust.command import ModeArgs
from edge_agent.trust.policy import Role
from edge_agent.uplink.payloads import AlarmMessage, ModeMessage, Reply, ReplyState, decode
from tests.desk.world import Worker, worker
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until

NOW = SystemClock().utc_us
DISARMED = '[programme]\nmode = "disarmed"\n[[mode]]\nid = "night"\nname = "Ніч"\nseverity = "critical"\n'
FULL_NAME = "Коваленко Олена Петрівна"


def mode(dispatcher: Dispatcher, camera: str | None = None) -> ModeMessage | None:
    found = dispatcher.on(dispatcher.topics.mode(camera))
    return decode(ModeMessage, found[-1][1].payload) if found else None


def is_in(dispatcher: Dispatcher, name: str, camera: str | None = None) -> bool:
    told = mode(dispatcher, camera)
    return told is not None and told.report.mode == name


def silent_alarms(dispatcher: Dispatcher) -> int:
    health = dispatcher.health()
    return health.cameras["gate"].silent_alarms if health else 0


def alarms(dispatcher: Dispatcher, nature: AlarmNature) -> list[AlarmMessage]:
    told = [decode(AlarmMessage, received.payload) for _, received in dispatcher.on(dispatcher.topics.alarm("gate"))]
    return [alarm for alarm in told if alarm.nature is nature]


def ask(dispatcher: Dispatcher, who: TestPerson, key_of: TestPerson | None = None, **args: Any) -> Reply:
    nonce = secrets.token_hex(16)
    signer = TestPerson(who.id, who.role, (key_of or who).key)
    return dispatcher.command(signer.sign(ModeArgs(**args), nonce=nonce), nonce, 60)


def entries(agent: RunningAgent, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in agent.journal() if entry["kind"] == kind]


def test_what_is_disarmed_is_silent_until_a_person_arms_it_and_until_that_ends(
    tmp_path: Path, broker: Mosquitto, mayor: TestPerson, camera_server: CameraServer
) -> None:
    operator = TestPerson("operator", Role.OPERATOR)
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(
            tmp_path,
            {"gate": camera_server.url("/main")},
            broker=broker,
            people=(mayor, operator),
            camera_lines=f'sub_url = "{camera_server.url("/main")}"',
            more=DISARMED,
        ) as agent,
    ):
        wait_until(lambda: is_in(dispatcher, "disarmed", "gate"), 40, "the mode is published")
        wait_until(lambda: silent_alarms(dispatcher), 60, "a silent alarm")
        assert alarms(dispatcher, AlarmNature.MOTION) == []
        assert dispatcher.under(f"{dispatcher.topics.alarm('gate')}/") == [], "no picture either"

        forged = ask(dispatcher, operator, key_of=mayor, mode="night")
        assert (forged.state, forged.code) == (ReplyState.REFUSED, "bad_signature")
        unpermitted = ask(dispatcher, mayor, mode="night")
        assert (unpermitted.state, unpermitted.code) == (ReplyState.REFUSED, "not_permitted")
        assert is_in(dispatcher, "disarmed", "gate")

        until_us = NOW() + 15 * US
        done = ask(dispatcher, operator, mode="night", until_us=until_us, reason="Свято міста")
        assert done.state is ReplyState.DONE, done.words
        assert done.result is not None
        wait_until(lambda: is_in(dispatcher, "night", "gate"), 20, "night")
        told = mode(dispatcher, "gate")
        assert told is not None
        assert (told.report.set_by, told.report.reason, told.report.until_us) == (FULL_NAME, "Свято міста", until_us)
        first = wait_until(lambda: alarms(dispatcher, AlarmNature.MOTION), 60, "an alarm")[0]
        assert (first.phase, first.severity) == (AlarmPhase.START, Severity.CRITICAL)

        wait_until(lambda: is_in(dispatcher, "disarmed", "gate"), 60, "the override's end")
        back = mode(dispatcher, "gate")
        assert back is not None
        assert until_us <= back.report.since_us
        assert back.report.set_by == ""
        wait_until(lambda: (h := dispatcher.health()) and h.mode == back.report, 20, "the same in health")

        to_night, to_programme = entries(agent, "mode")
        assert (to_night["who"], to_night["person_id"]) == (FULL_NAME, "operator")
        assert to_night["reason"] == f"disarmed to night set by {FULL_NAME}, the node, gate: Свято міста"
        assert to_night["args"]["before"] == "disarmed"
        assert to_night["args"]["mode"] == "night"
        assert to_night["args"]["cameras"] == ["gate"]
        assert to_night["args"]["silent"]["gate"] >= 1
        accepted = [entry for entry in entries(agent, "access") if entry["ref"] == to_night["ref"]]
        assert [entry["outcome"] for entry in accepted] == ["accepted", "done"]
        assert (to_programme["who"], to_programme["args"]["mode"]) == ("", "disarmed")

        camera_server.kill()
        (lost, *_) = wait_until(lambda: alarms(dispatcher, AlarmNature.LOST), 60, "the lost camera")
        assert lost.severity is Severity.WARNING


def test_a_mode_that_records_nothing_is_a_gap_with_its_cause_and_the_next_one_records_again(
    tmp_path: Path, broker: Mosquitto, camera_server: CameraServer
) -> None:
    officer = TestPerson("officer", Role.ARCHIVE_OFFICER)
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(
            tmp_path,
            {"gate": camera_server.url("/main"), "yard": camera_server.url("/hevc")},
            broker=broker,
            people=(officer,),
            camera_lines="[camera.watch]\nenabled = false",
            more='[[mode]]\nid = "private"\nrecord = false\n',
        ) as agent,
    ):

        def is_(state: CameraState, camera: str) -> bool:
            health = dispatcher.health()
            return health is not None and health.cameras[camera].state is state

        wait_until(lambda: agent.recording("gate", "yard"), 60, "both are recorded")
        done = ask(dispatcher, officer, mode="private", camera="gate")
        assert done.state is ReplyState.DONE, done.words
        wait_until(lambda: is_(CameraState.RESTING, "gate"), 60, "gate rests")
        assert not agent.recording("gate"), "its file was ended in order"
        assert is_(CameraState.RECORDING, "yard")
        cleared_us = NOW()
        done = ask(dispatcher, officer, camera="gate")
        assert done.state is ReplyState.DONE, done.words
        wait_until(lambda: agent.recording("gate"), 60, "gate is recorded again")
        rest = wait_until(lambda: [gap for gap in agent.gaps("gate") if gap.cause is GapCause.MODE], 30, "the gap")
        assert {gap.evidence for gap in rest} == {"mode private"}
        last = max(segment.end_us for segment in agent.segments("gate") if segment.end_us <= rest[0].start_us)
        assert rest[0].start_us == last, "it begins where the recording ended"
        assert rest[-1].end_us >= cleared_us
        assert all(one.end_us == other.start_us for one, other in itertools.pairwise(rest))
        wait_until(lambda: is_(CameraState.RECORDING, "gate"), 20, "health says so")
        assert alarms(dispatcher, AlarmNature.LOST) == []
        assert agent.gaps("yard") == []


def test_an_override_from_the_desk_outlives_a_power_cut_and_is_cleared_at_the_node(
    tmp_path: Path, broker: Mosquitto
) -> None:
    operator = worker(tmp_path, "operator", "operator", broker, language="en")
    officer = TestPerson("officer", Role.ARCHIVE_OFFICER)
    home = tmp_path / "node"
    home.mkdir()
    key = ("--as", "officer", "--key", officer.key_file(tmp_path))
    agent = RunningAgent(
        home,
        {"gate": "rtsp://127.0.0.1:1/x", "yard": "rtsp://127.0.0.1:1/y"},
        broker=broker,
        people=(officer,),
        more=DISARMED + operator.block,
    )
    with Dispatcher(broker) as dispatcher:
        with agent:
            wait_until(lambda: is_in(dispatcher, "disarmed", "yard"), 40, "the mode is published")
            _desk_sets_a_mode(operator)
            assert is_in(dispatcher, "disarmed", "gate")
            agent.process.signal(signal.SIGKILL)
            agent.process.wait(30)
        at_rest = shown(agent)
        assert (at_rest["cameras"]["yard"]["mode"], at_rest["cameras"]["gate"]["mode"]) == ("night", "disarmed")
        seen = len(dispatcher.on(dispatcher.topics.mode("yard")))
        with agent:
            topic = dispatcher.topics.mode("yard")
            wait_until(lambda: len(dispatcher.on(topic)) > seen, 40, "published after the restart")
            assert is_in(dispatcher, "night", "yard")
            ended = agent.cli("modes", "clear", "--camera", "yard", *key)
            assert ended.returncode == 0, ended.stderr.decode()
            assert "Повернено. yard: режим «Без охорони», за програмою" in ended.stdout.decode()
            wait_until(lambda: is_in(dispatcher, "disarmed", "yard"), 20, "back to the programme")
            agent.stop()
        quiet = agent.cli("modes", "set", "armed", "--until", "tomorrow 08:00", *key)
        assert quiet.returncode == 0, quiet.stderr.decode()
        assert shown(agent)["node"]["set_by"] == FULL_NAME
        week = agent.cli("modes", "show", "--week").stdout.decode()
        assert "вузол, gate, yard" in week
        assert "Під охороною" in week
        assert "Без охорони" in week


def _desk_sets_a_mode(operator: Worker) -> None:
    wrong = operator.desk("mode", "n1", "yard", "fiesta", seconds=60)
    assert wrong.code != 0
    assert "no mode fiesta here; there are: armed, disarmed, night" in wrong.err
    late = operator.desk("mode", "n1", "armed", "--until", "2026-01-01 08:00")
    assert late.code == 64
    assert "is over" in late.err
    done = operator.desk("mode", "n1", "yard", "night", "--until", "08:00", "--reason", "Свято", seconds=60)
    assert done.code == 0, done.err
    assert "yard: mode “Ніч” until" in done.out
    assert f"set by {FULL_NAME}" in done.out


def shown(agent: RunningAgent) -> Any:
    told = agent.cli("modes", "show", "--json")
    assert told.returncode == 0, told.stderr.decode()
    return json.loads(told.stdout)
