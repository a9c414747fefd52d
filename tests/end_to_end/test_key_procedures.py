"""Keys that are lost, stolen or changed: what people are told to do then (docs/install.md, «Keys»), done.

The node's age key while it is still there is rotated in `test_keys.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from edge_agent.trust.checkpoint import open_checkpoint
from edge_agent.trust.note import parse_note_key
from edge_agent.trust.policy import Role
from tests.desk.world import worker
from tests.end_to_end.test_keys import key_of, opens
from tests.end_to_end.test_roster import City
from tests.peers.agent import NODE, SITE, Dispatcher, RunningAgent, TestPerson
from tests.peers.cameras import CameraServer
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import wait_until
from tests.trust.rfc6962 import tree_head

AWAY = {"gate": "rtsp://127.0.0.1:9/x"}


def run_once(agent: RunningAgent) -> None:
    """Long enough to sign what there is."""
    entries = len(agent.journal()) if (agent.data / "journal.jsonl").exists() else 0
    agent.start()
    wait_until(lambda: (agent.data / "journal.checkpoint").exists() and len(agent.journal()) > entries, 60, "it runs")
    assert agent.stop() == 0


def test_a_nodes_signing_key_is_replaced_and_the_old_checkpoints_still_prove_the_journal(tmp_path: Path) -> None:
    agent = RunningAgent(tmp_path, AWAY)
    run_once(agent)
    old_key = parse_note_key(agent.cli("journal", "checkpoint", "--key").stdout.decode().strip())
    remembered = tmp_path / "remembered.txt"
    remembered.write_bytes(agent.cli("journal", "checkpoint").stdout)
    aside = tmp_path / "aside"
    aside.mkdir()
    shutil.move(agent.data / "keys" / "node.sign", aside)
    shutil.move(agent.data / "journal.checkpoint", aside)
    run_once(agent)

    new_key = parse_note_key(agent.cli("journal", "checkpoint", "--key").stdout.decode().strip())
    assert new_key.name == old_key.name
    assert new_key.public != old_key.public
    assert agent.cli("journal", "verify").returncode == 0
    lines = (agent.data / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    before = open_checkpoint(remembered.read_bytes(), old_key)
    after = open_checkpoint((agent.data / "journal.checkpoint").read_bytes(), new_key)
    assert (before.root, after.root) == (tree_head(lines[: before.size]), tree_head(lines[: after.size]))
    copy = shutil.copy(agent.data / "journal.jsonl", aside)
    old = ["--journal", str(copy), "--key", str(old_key), "--checkpoint", str(remembered)]
    verdict = json.loads(agent.cli("journal", "verify", *old, "--json").stdout)
    assert "grown" in {one["verdict"] for one in verdict["checkpoints"]}


def test_a_changed_tls_key_lets_the_node_in_and_the_revoked_certificate_nobody(tmp_path: Path) -> None:
    # the broker knows a node by the name its certificate is made out to, and nothing else
    acl = [f"user edge-{SITE}-{NODE}", f"topic readwrite edge/{SITE}/{NODE}/#", "user dispatcher", "topic read edge/#"]
    with Mosquitto(tmp_path, acl=acl) as broker:
        agent = RunningAgent(tmp_path, AWAY, broker=broker)
        keys, cert = agent.data / "keys", tmp_path / "node.pem"
        text = agent.config.read_text()
        for option, path in (("cert_file", cert), ("key_file", keys / "tls.key")):
            text = re.sub(rf'(?m)^{option} = ".*"$', f'{option} = "{path}"', text)
        agent.config.write_text(text)

        def made_and_signed() -> str:
            made = agent.cli("keys", "make", "--json")
            assert made.returncode == 0, made.stderr
            told = json.loads(made.stdout)
            cert.write_bytes(broker.authority.sign(Path(told["tls_request"]).read_bytes()))
            return str(told["tls_sha256"])

        def runs_and_is_heard() -> None:
            agent.start()
            with Dispatcher(broker) as centre:
                wait_until(lambda: (told := centre.status()) is not None and told.state == "online", 60, "it is online")
            assert agent.stop() == 0

        first = made_and_signed()
        runs_and_is_heard()
        aside = tmp_path / "aside"
        aside.mkdir()
        shutil.move(keys / "tls.key", aside)
        old_cert = shutil.copy(cert, aside)
        assert made_and_signed() != first
        broker.authority.revoke(Path(old_cert).read_bytes())
        broker.stop()
        broker.restart()
        runs_and_is_heard()

        # whoever has the old key and its certificate
        shutil.copy(aside / "tls.key", keys)
        shutil.copy(old_cert, cert)
        agent.start()
        wait_until(lambda: "the broker refuses this client's certificate" in agent.log(), 60, "it is not let in")
        assert "CERTIFICATE_REVOKED" in agent.log()
        assert agent.stop() == 0


def test_a_lost_age_key_is_replaced_on_purpose_and_the_citys_key_gives_the_old_recordings_back(
    tmp_path: Path, camera_server: CameraServer
) -> None:
    officer = TestPerson("officer", Role.ARCHIVE_OFFICER)
    city = tmp_path / "city.key"
    agent = RunningAgent(
        tmp_path, {"gate": camera_server.url("/main")}, people=(officer,), segment_s=2,
        archive_lines=f'recipients = ["{key_of(city)}"]',
    )  # fmt: skip
    with agent:
        wait_until(lambda: len(agent.segments("gate")) >= 2, 60, "footage")
        assert agent.stop() == 0
    key = agent.data / "keys" / "node.age"
    assert agent.cli("keys", "rotate", "--lost").returncode == 66, "it is there"
    key.unlink()
    refused = agent.cli("run")
    assert (refused.returncode, b"bring it back" in refused.stderr) == (78, True)
    assert agent.cli("keys", "rotate").returncode == 66
    assert agent.cli("keys", "rotate", "--lost").returncode == 0
    old = agent.segments("gate")
    assert not any(opens(key, agent.archive / one.path) for one in old)
    given = agent.cli("archive", "rewrap", "--from", "1h ago", "--identity", str(city), "--reason", "ключ утрачено")
    assert given.returncode == 0, given.stderr
    assert all(opens(key, agent.archive / one.path) and opens(city, agent.archive / one.path) for one in old)
    clip = tmp_path / "clip.mp4"
    assert agent.by(officer, "archive", "export", "gate", "--for", "1h", "-o", str(clip)).returncode == 0
    kept = [entry["args"] for entry in agent.journal() if entry["kind"] == "keys" and entry["outcome"] == "done"]
    assert kept[-1]["lost"] == "the old key"


def test_a_persons_lost_key_and_a_stolen_authoritys_are_replaced(tmp_path: Path) -> None:
    city = City(tmp_path)
    first = worker(tmp_path, "o-officer", "archive_officer", None)
    city.person(first, "archive_officer")
    agent = RunningAgent(tmp_path, AWAY, more=f'[trust]\nauthority = "{city.authority}"\n')
    agent.data.mkdir()
    assert agent.cli("roster", "install", str(city.sign(1))).returncode == 0
    run_once(agent)

    def listed(key: Path) -> int:
        return agent.cli("archive", "list", "--as", "o-officer", "--key", str(key)).returncode

    lost = first.folder / "keys" / "person.key"
    assert listed(lost) == 0
    # The officer gets a new key, the authority signs it into the next roster.
    (tmp_path / "anew").mkdir()
    again = worker(tmp_path / "anew", "o-officer", "archive_officer", None)
    city.roster("remove", city.draft, "o-officer")
    city.person(again, "archive_officer")
    assert agent.cli("roster", "install", str(city.sign(2))).returncode == 0
    fresh = again.folder / "keys" / "person.key"
    assert [listed(lost), listed(fresh)] == [77, 0]
    assert [entry["reason"].split(":")[0] for entry in agent.journal() if entry["outcome"] == "refused"] == [
        "bad_signature"
    ]
    # The authority's key is stolen: the node is given another one to pin, and its roster.
    (tmp_path / "city").mkdir()
    other = City(tmp_path / "city")
    other.person(again, "archive_officer")
    agent.config.write_text(agent.config.read_text().replace(city.authority, other.authority))
    assert listed(fresh) == 77, "without a roster by the new authority nobody gets in"
    assert agent.journal()[-1]["reason"].startswith("no_roster") or "unknown_person" in agent.journal()[-1]["reason"]
    stolen = agent.cli("roster", "install", str(city.sign(9)))
    assert stolen.returncode == 77, "what the thief signs is no roster"
    assert agent.cli("roster", "install", str(other.sign(1))).returncode == 0
    assert listed(fresh) == 0
