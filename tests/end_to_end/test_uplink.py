"""A whole agent, a broker with TLS, an object store: alarms, health, commands and releases as people meet them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from edge_agent.clock import US, SystemClock
from edge_agent.model import AlarmPhase, CameraState
from edge_agent.trust.age import Identity
from edge_agent.trust.command import ExportArgs, StatusArgs
from edge_agent.trust.keys import write_secret_file
from edge_agent.trust.policy import Role
from edge_agent.uplink.payloads import AlarmMessage, Health, NodeState, ReplyState, decode
from tests.end_to_end.media import decoded_frames, opened, probe_errors
from tests.peers.agent import Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.peers.swift import Swift

NOW = SystemClock().utc_us


def nonce() -> str:
    return secrets.token_hex(16)


def folder_target(tmp_path: Path) -> str:
    (tmp_path / "usb").mkdir()
    return f'[[target]]\nkind = "folder"\nname = "usb"\npath = "{tmp_path / "usb"}"\n'


def recipient(tmp_path: Path) -> tuple[Identity, Path]:
    identity, path = Identity.generate(), tmp_path / "recipient.age"
    write_secret_file(path, f"{identity}\n".encode())
    return identity, path


def _running(health: Health | None) -> Health | None:
    return health if health and health.cameras["gate"].fps > 5 else None


def export_of(identity: Identity, seconds: float = 5, target: str = "usb", camera: str = "gate") -> ExportArgs:
    now = NOW()
    return ExportArgs(
        camera=camera,
        start_us=now - round(seconds * US),
        end_us=now,
        recipient=str(identity.recipient),
        target=target,
        reason="запит № 7",
    )


def test_health_status_and_alarms_with_pictures_arrive_within_a_second(
    tmp_path: Path, broker: Mosquitto, camera_server: CameraServer
) -> None:
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(
            tmp_path,
            {"gate": camera_server.url("/main")},
            broker=broker,
            camera_lines=f'sub_url = "{camera_server.url("/main")}"',
        ) as agent,
    ):
        topic = dispatcher.topics.alarm("gate")
        wait_until(lambda: dispatcher.on(topic), 40, "an alarm")
        arrived_us, received = dispatcher.on(topic)[0]
        alarm = decode(AlarmMessage, received.payload)
        assert alarm.phase is AlarmPhase.START
        assert arrived_us - alarm.at_us < US
        pictures = wait_until(lambda: dispatcher.on(alarm.picture_topic or ""), 30, "its picture")
        assert pictures[0][1].payload.startswith(b"\xff\xd8\xff")
        health = wait_until(lambda: _running(dispatcher.health()), 30, "health with a frame rate")
        assert health.cameras["gate"].state is CameraState.RECORDING
        assert health.mqtt_protocol == "5"
        status = dispatcher.status()
        assert status is not None
        assert status.state is NodeState.ONLINE
        agent.stop()
        wait_until(lambda: (s := dispatcher.status()) and s.state is NodeState.STOPPED, 30, "stopped")
        ids = {decode(AlarmMessage, r.payload).alarm_id for _, r in dispatcher.on(topic)}
        ended = {
            m.alarm_id
            for _, r in dispatcher.on(topic)
            if (m := decode(AlarmMessage, r.payload)).phase is AlarmPhase.END
        }
        assert ended == ids, "what was begun is ended when the agent stops"


def test_the_last_will_tells_of_a_node_that_vanished(tmp_path: Path, broker: Mosquitto) -> None:
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"}, broker=broker) as agent,
    ):
        wait_until(lambda: (s := dispatcher.status()) and s.state is NodeState.ONLINE, 30, "online")
        agent.process.signal(signal.SIGKILL)
        wait_until(lambda: (s := dispatcher.status()) and s.state is NodeState.OFFLINE, 30, "offline by last will")


def test_a_broker_that_was_away_gets_the_alarms_and_obeys_its_people_again(
    tmp_path: Path, broker: Mosquitto, mayor: TestPerson, camera_server: CameraServer
) -> None:
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(tmp_path, {"gate": camera_server.url("/main")}, broker=broker, people=(mayor,)) as agent,
    ):
        wait_until(lambda: dispatcher.status(), 30, "online")
        broker.kill()
        wait_until(lambda: "motion start" in agent.log(), 40, "an alarm while the broker is away")
        broker.restart()
        wait_until(lambda: dispatcher.on(dispatcher.topics.alarm("gate")), 40, "the alarm arrives late")
        request = nonce()
        reply = dispatcher.command(mayor.sign(StatusArgs(), nonce=request), request)
        assert reply.state is ReplyState.DONE
        assert reply.result is not None
        assert "gate" in json.dumps(reply.result)


def test_a_clip_is_released_to_the_cloud_and_only_its_recipient_opens_it(
    tmp_path: Path, broker: Mosquitto, officer: TestPerson, camera_server: CameraServer
) -> None:
    identity, key = recipient(tmp_path)
    with Swift(tmp_path) as store, Dispatcher(broker) as dispatcher:
        store.client().create_bucket(Bucket="clips")
        target = store.target("clips")
        more = (
            f'[[target]]\nkind = "s3"\nname = "cloud"\nendpoint = "{target.endpoint}"\nbucket = "{target.bucket}"\n'
            f'access_key_file = "{target.access_key_file}"\nsecret_key_file = "{target.secret_key_file}"\n'
        )
        with RunningAgent(
            tmp_path, {"gate": camera_server.url("/main")}, broker=broker, people=(officer,), more=more
        ) as agent:
            wait_until(lambda: len(agent.segments("gate")) >= 2, 40, "ten seconds of footage")
            request = nonce()
            args = export_of(identity, 8, "cloud")
            reply = dispatcher.command(officer.sign(args, nonce=request), request)
            assert reply.state is ReplyState.DONE, reply
            result = reply.result or {}
            name = str(result["name"])
            sealed = tmp_path / name
            store.client().download_file(target.bucket, name, str(sealed))
            clip = opened(sealed, key, tmp_path)
            assert probe_errors(clip) == ""
            assert abs(decoded_frames(clip) - 8 * 15) <= 3
            wrong = subprocess.run(
                ["age", "-d", "-i", agent.data / "keys" / "node.age", sealed], capture_output=True, check=False
            )
            assert wrong.returncode != 0
            assert list((agent.data / "exports").iterdir()) == []
        entries = [entry for entry in agent.journal() if entry["ref"] == request]
        assert [entry["outcome"] for entry in entries] == ["accepted", "done"]
        assert entries[0]["who"] == "Коваленко Олена Петрівна"
        assert entries[0]["args"]["reason"] == "запит № 7"


def test_what_is_not_in_order_is_refused_with_a_reason_and_journalled(
    tmp_path: Path, broker: Mosquitto, officer: TestPerson, camera_server: CameraServer
) -> None:
    identity, _ = recipient(tmp_path)
    contractor = TestPerson("contractor", Role.CONTRACTOR)
    stranger = TestPerson("officer", Role.ARCHIVE_OFFICER)
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(
            tmp_path,
            {"gate": camera_server.url("/main")},
            broker=broker,
            people=(officer, contractor),
            more=folder_target(tmp_path),
            segment_s=2,
        ) as agent,
    ):
        wait_until(lambda: agent.segments("gate"), 30, "footage")
        args = export_of(identity, 2)

        def refusal(person: TestPerson, **changes: object) -> str:
            request = nonce()
            reply = dispatcher.command(person.sign(args, nonce=request, **changes), request)
            assert reply.state is ReplyState.REFUSED
            return reply.code

        assert refusal(stranger) == "bad_signature"
        assert refusal(contractor) == "not_permitted"
        assert refusal(officer, audience="town/n2") == "other_node"
        assert refusal(officer, now_us=NOW() - 3600 * US) == "expired"
        assert refusal(officer, now_us=NOW() + 3600 * US) == "not_yet"

        request = nonce()
        token = officer.sign(args, nonce=request)
        assert dispatcher.command(token, request).state is ReplyState.DONE
        dispatcher.link.publish(dispatcher.topics.command, token)
        wait_until(lambda: dispatcher.replies(request)[-1].code == "replayed", 30, "the replay is refused")

        dispatcher.link.publish(dispatcher.topics.command, b"\x00garbage\xff" * 100)
        wait_until(lambda: dispatcher.replies("unreadable"), 30, "garbage is answered")

        for wrong, code in (
            (args.model_copy(update={"camera": "nowhere"}), "not_found"),
            (args.model_copy(update={"target": "nowhere"}), "not_found"),
            (args.model_copy(update={"start_us": 1, "end_us": 2 * US}), "not_found"),
            (args.model_copy(update={"start_us": NOW() + 7200 * US, "end_us": NOW() + 7300 * US}), "bad_request"),
        ):
            request = nonce()
            reply = dispatcher.command(officer.sign(wrong, nonce=request), request)
            assert (reply.state, reply.code) == (ReplyState.FAILED, code)
            assert reply.words.uk
        assert len(list((tmp_path / "usb").iterdir())) == 1
        outcomes = [entry["reason"].split(":")[0] for entry in agent.journal() if entry["outcome"] == "refused"]
        assert outcomes == [
            "bad_signature",
            "not_permitted",
            "other_node",
            "expired",
            "not_yet",
            "replayed",
            "malformed",
        ]


def test_the_local_socket_leads_through_the_same_door(
    tmp_path: Path, officer: TestPerson, camera_server: CameraServer
) -> None:
    identity, key = recipient(tmp_path)
    with RunningAgent(
        tmp_path, {"gate": camera_server.url("/main")}, people=(officer,), more=folder_target(tmp_path), segment_s=2
    ) as agent:
        wait_until(lambda: agent.segments("gate"), 30, "footage")
        replies = local(agent, officer.sign(export_of(identity, 2)))
        assert [reply["state"] for reply in replies if reply["state"] != "running"] == ["accepted", "done"]
        (sealed,) = (tmp_path / "usb").iterdir()
        assert probe_errors(opened(sealed, key, tmp_path)) == ""
        assert local(agent, b"hello")[-1]["code"] == "malformed"
        assert [entry["access"] for entry in agent.journal() if entry["kind"] == "access"] == ["direct"] * 3


def local(agent: RunningAgent, token: bytes) -> list[dict[str, object]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(agent.socket))
        connection.sendall(token + b"\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    return [json.loads(line) for line in received.splitlines()]


def test_a_killed_exporter_is_started_again_and_a_release_outlives_the_agent(
    tmp_path: Path, broker: Mosquitto, officer: TestPerson, camera_server: CameraServer
) -> None:
    identity, key = recipient(tmp_path)
    more = f'[[target]]\nkind = "folder"\nname = "usb"\npath = "{tmp_path / "usb"}"\n'
    with (
        Dispatcher(broker) as dispatcher,
        RunningAgent(
            tmp_path, {"gate": camera_server.url("/main")}, broker=broker, people=(officer,), more=more, segment_s=2
        ) as agent,
    ):
        wait_until(lambda: agent.segments("gate"), 30, "footage")
        request = nonce()
        dispatcher.link.publish(dispatcher.topics.command, officer.sign(export_of(identity, 2), nonce=request))
        waiting = wait_until(
            lambda: next((r for r in dispatcher.replies(request) if "trying again" in r.words.en), None),
            30,
            "the target is not mounted, the release waits",
        )
        assert waiting.state is ReplyState.RUNNING
        agent.process.signal(signal.SIGKILL)
        agent.process.wait(10)
        (tmp_path / "usb").mkdir()
        agent.start()
        assert dispatcher.last_word(request, 40).state is ReplyState.DONE
        (sealed,) = (tmp_path / "usb").iterdir()
        assert probe_errors(opened(sealed, key, tmp_path)) == ""


def test_a_second_agent_on_the_same_folder_is_sent_away(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"}) as agent:
        wait_until(lambda: (agent.data / "journal.jsonl").exists(), 30, "the first agent runs")
        second = agent.cli("run")
        assert second.returncode == 75
        assert b"already runs" in second.stderr


def test_an_unusable_data_folder_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    agent = RunningAgent(tmp_path, {"gate": "rtsp://127.0.0.1:9/x"})
    result = agent.cli("run")
    assert result.returncode == 74
    assert b"cannot be used" in result.stderr


@pytest.mark.parametrize("text", ["", "site = 1", "[[camera]]\nid = 5\n"])
def test_a_wrong_configuration_ends_the_agent_with_its_mistakes(tmp_path: Path, text: str) -> None:
    agent = RunningAgent(tmp_path, {})
    agent.config.write_text(text)
    result = agent.cli("run")
    assert result.returncode == 78
    assert b"mistake" in result.stderr
    assert os.fsencode(agent.config) in result.stderr
