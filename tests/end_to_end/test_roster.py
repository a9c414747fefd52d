"""A city's authority, officials and officers with their own tools, a hostile or honest broker, and a real node."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from edge_agent.trust.roster_store import FILE_NAME
from tests.desk.world import Ended, Worker, run, worker
from tests.peers.agent import Dispatcher, RunningAgent
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import free_port, wait_until

HOLD = ["--from", "2026-11-22 10:00", "--for", "1h"]
BASIS = ["--basis", "own_decision", "--basis-number", "5", "--basis-date", "2026-11-22"]


class City:
    """The authority's folder: its key, its draft, its rosters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draft, self.key = str(folder / "roster.json"), str(folder / "authority.key")
        made = self.roster("init", self.draft, "--city", "Місто", "--key", self.key, "--no-passphrase", "--json")
        self.authority = str(made.json["authority"])

    def roster(self, *arguments: str, code: int = 0) -> Ended:
        ended = run("roster", *arguments, config=self.folder / "none.toml")
        assert ended.code == code, ended.err
        return ended

    def person(self, who: Worker, role: str, *more: str) -> None:
        (entry,) = tomllib.loads(who.block)["person"]
        names = ["--surname", entry["surname"], "--name", entry["name"], "--patronymic", entry["patronymic"]]
        self.roster("add", "person", self.draft, "--id", who.id, *names, "--role", role, "--public-key",
                    entry["public_key"], *more)  # fmt: skip

    def sign(self, version: int) -> Path:
        path = self.folder / f"roster-{version}.jws"
        path.write_text(self.roster("sign", self.draft, "--key", self.key, "--version", str(version)).out)
        return path


def journalled(agent: RunningAgent, outcome: str) -> list[dict[str, Any]]:
    return [entry for entry in agent.journal() if entry["kind"] == "roster" and entry["outcome"] == outcome]


def test_rosters_and_orders_rule_a_node(tmp_path: Path, broker: Mosquitto) -> None:
    city = City(tmp_path)
    officer = worker(tmp_path, "o-officer", "archive_officer", broker, language="en")
    mayor = worker(tmp_path, "o-mayor", "mayor", None)
    city.person(officer, "archive_officer")
    city.person(mayor, "mayor")
    one = city.sign(1)
    agent = RunningAgent(
        tmp_path,
        {"gate": f"rtsp://127.0.0.1:{free_port()}/gone"},
        broker=broker,
        more=f'[trust]\nauthority = "{city.authority}"\n',
    )
    with Dispatcher(broker) as hostile:
        sent = run("roster", "send", str(one), "town", config=officer.config)
        assert sent.code == 0, sent.err
        with agent:
            wait_until(lambda: (agent.data / FILE_NAME).exists(), 30, "the retained roster is taken")
            wait_until(lambda: journalled(agent, "done"), 30, "it is journalled")
            assert journalled(agent, "done")[0]["args"]["changes"] == [
                "people o-mayor added", "people o-officer added",
            ]  # fmt: skip
            assert officer.desk("status", "n1").code == 0

            arguments = ["hold", "add", "n1", *HOLD, "--order", "12-р", "--ordered-by", "Коваленко Олена Петрівна"]
            alone = officer.desk(*arguments, "--json")
            assert (alone.code, alone.json["code"]) == (77, "order_needed")
            order = tmp_path / "order.jws"
            terms = ["--node", "town/n1", *HOLD, "--number", "12-р", *BASIS]
            order.write_text(officer.desk("order", "hold", *terms).out)
            own = officer.desk(*arguments, "--order-file", str(order), "--json")
            assert (own.code, own.json["code"]) == (77, "bad_order")
            order.write_text(mayor.desk("order", "hold", *terms).out)
            held = officer.desk(*arguments, "--order-file", str(order), "--json")
            assert held.code == 0, held.err
            again = officer.desk(*arguments, "--order-file", str(order), "--json")
            assert again.json["hold"] == held.json["hold"]

            city.roster("remove", city.draft, officer.id)
            two = city.sign(2)
            installed = agent.cli("roster", "install", str(two), "--json")
            assert json.loads(installed.stdout) == {"ok": True, "version": 2, "new": True}
            wait_until(lambda: len(journalled(agent, "done")) == 2, 30, "the agent notices it")
            assert officer.desk("status", "n1", "--json").json["code"] == "unknown_person"

            hostile.link.publish("edge/town/roster", one.read_bytes().strip(), retain=True)
            wait_until(lambda: journalled(agent, "refused"), 30, "the older roster is refused")
            assert "older than roster 2" in journalled(agent, "refused")[0]["reason"]
        with agent:
            wait_until(lambda: len(journalled(agent, "refused")) == 2, 30, "it is refused after a restart, too")
            assert officer.desk("status", "n1", "--json").json["code"] == "unknown_person"
            back = agent.cli("roster", "install", str(one))
            assert (back.returncode, b"older" in back.stderr) == (77, True)
            assert "Реєстр 2" in agent.cli("roster", "show").stdout.decode()


def test_the_authority_edits_compares_and_verifies(tmp_path: Path) -> None:
    city = City(tmp_path)
    someone = worker(tmp_path, "p-one", "contractor", None)
    city.person(someone, "contractor", "--camera", "town/n1/*", "--hours", "fri-mon 22:00-06:00", "--role", "auditor")
    one = city.sign(1)
    shown = city.roster("show", str(one), "--json").json
    assert shown["people"][0]["limits"] == {
        "cameras": ["town/n1/*"],
        "hours": [{"days": ["fri", "sat", "sun", "mon"], "from": "22:00", "to": "06:00"}],
    }
    assert shown["people"][0]["roles"] == ["contractor", "auditor"]
    court = ["--id", "court", "--name", "Суд", "--kind", "court", "--age-key", someone.recipient]
    city.roster("add", "recipient", city.draft, *court)
    two = tmp_path / "two.jws"
    two.write_text(city.roster("sign", city.draft, "--key", city.key, "--after", str(one)).out)
    assert "додано: одержувач court" in city.roster("diff", str(one), str(two)).out
    assert city.roster("verify", str(two), "--authority", city.authority, "--json").json["version"] == 2
    assert "Коваленко Олена" in city.roster("verify", str(two), "--authority", city.authority).out
    city.roster("verify", str(two), "--authority", tomllib.loads(someone.block)["person"][0]["public_key"], code=77)


def test_mistakes_are_told_and_change_nothing(tmp_path: Path) -> None:
    city = City(tmp_path)
    before = Path(city.draft).read_bytes()
    add = ["add", "person", city.draft, "--id", "A b", "--surname", "x", "--name", "y", "--role", "mayor"]
    for wrong in (
        [*add, "--public-key", "z"],
        ["remove", city.draft, "nobody"],
        ["sign", city.draft, "--key", city.key],
        ["show", city.key],
        ["init", city.draft, "--city", "x", "--key", f"{city.key}2", "--no-passphrase"],
    ):
        ended = run("roster", *wrong)
        assert ended.code in (64, 66, 77)
        assert ended.err.startswith("edge-desk: ")
        assert "Traceback" not in ended.err
    assert Path(city.draft).read_bytes() == before
    assert not Path(f"{city.key}2").exists()
