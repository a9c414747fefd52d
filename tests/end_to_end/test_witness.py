"""A desk as the second witness of a live node, over a real broker; and the report of who had access."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.trust.checkpoint import cosignatures, parse_checkpoint
from edge_agent.trust.note import NoteKey, parse_note, parse_note_key
from tests.desk.world import Worker, command, environment, worker
from tests.peers.agent import RunningAgent
from tests.peers.mosquitto import Mosquitto
from tests.peers.support import ManagedProcess, wait_until

AWAY = {"gate": "rtsp://127.0.0.1:9/x"}


@dataclass
class Town:
    folder: Path
    agent: RunningAgent
    auditor: Worker
    """Who is the witness, too."""
    second: Worker
    """An auditor elsewhere, who believes the witness."""
    witness: NoteKey

    def watching(self) -> ManagedProcess:
        """The witness at work."""
        env = environment(self.auditor.config)
        return ManagedProcess(command("witness", "run"), self.folder / "witness.log", env=env)

    def kept(self) -> int:
        """How many entries the node can show a cosignature for."""
        path = self.agent.data / "journal.witnessed" / self.witness.key_id.hex()
        return parse_checkpoint(parse_note(path.read_bytes()).text).size if path.exists() else 0

    def entries(self) -> int:
        return (self.agent.data / "journal.jsonl").read_bytes().count(b"\n")

    def witnessed(self) -> bool:
        return self.kept() == self.entries() > 0


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("witness")
    with Mosquitto(folder) as broker:
        auditor = worker(folder, "auditor", "auditor", broker)
        second = worker(folder, "second", "auditor", broker, language="en")
        made = auditor.desk("witness", "new", str(auditor.folder / "keys/witness.key"), "--name", "witness/archive")
        assert made.code == 0, made.err
        auditor.config.write_text(auditor.config.read_text() + made.out)
        key = auditor.desk("witness", "key").out.strip()
        second.config.write_text(f'witnesses = ["{key}"]\n' + second.config.read_text())
        more = f'{auditor.block}\n{second.block}\n[[witness]]\nkey = "{key}"\n'
        (folder / "agent").mkdir()
        with RunningAgent(folder / "agent", AWAY, broker=broker, more=more) as agent:
            town = Town(folder, agent, auditor, second, parse_note_key(key))

            def asked() -> bool:
                return auditor.desk("audit", "n1", "--timeout", "20", seconds=60).code == 0

            wait_until(asked, 90, "the node answers, and its key is known")
            yield town


def test_a_witness_follows_a_live_node_and_auditors_see_how_far(town: Town) -> None:
    with town.watching() as process:
        wait_until(town.witnessed, 60, "all entries are witnessed")
        assert process.running
        wait_until(lambda: "засвідчено вперше" in process.text(), 30, "it is told")
        told = town.second.desk("audit", "n1", "--timeout", "60", "--json", seconds=90)
        assert told.code == 0, told.err
        (seen,) = told.json["witnessed"]
        assert (seen["witness"], seen["verdict"]) == ("witness/archive", "grown")
        # That question is an entry, too, and is witnessed in its turn.
        wait_until(lambda: town.kept() > seen["size"] and town.witnessed(), 60, "the audit's own entries are witnessed")
        process.kill()
    shown = town.auditor.desk("witness", "show", "--json").json
    note = parse_note(shown["note"])
    assert cosignatures(note, [town.witness])
    assert (shown["node"], shown["size"]) == ("town/n1", town.kept())
    listed = json.loads(town.agent.cli("journal", "witnesses", "--json").stdout)
    assert (listed["witness"], listed["size"], listed["entries"]) == ("witness/archive", town.kept(), town.entries())


def test_the_report_is_made_as_pdf_and_csv_in_both_languages(town: Town) -> None:
    pdf, sheet = town.folder / "access.pdf", town.folder / "access.csv"
    for path, language in ((pdf, "uk"), (sheet, "en")):
        options = ["--report", str(path), "--language", language, "--timeout", "60"]
        told = town.second.desk("audit", "n1", *options, seconds=90)
        assert told.code == 0, told.err
    text = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, check=True).stdout.decode()
    for words in ("Журнал доступу до відеоспостереження", "Коваленко", "Олена", "Петрівна", "Перегляд журналу",
                  "журнал перевірено", "засвідчив witness/archive", "Сторінка 1 з 1"):  # fmt: skip
        assert words in text
    assert "Read the access journal (remotely): done" in sheet.read_text("utf-8-sig")
    refused = town.second.desk("audit", "n1", "--report", str(town.folder / "access.docx"))
    assert (refused.code, "name the file accordingly" in refused.err) == (64, True)


def test_a_rewritten_history_is_told_by_the_witness_by_the_node_and_to_an_auditor_who_never_asked_before(
    town: Town,
) -> None:
    with town.watching():
        wait_until(town.witnessed, 60, "all entries are witnessed")
    assert town.agent.stop() == 0
    cosigned = town.folder / "cosigned.txt"
    shutil.copy(town.agent.data / "journal.witnessed" / town.witness.key_id.hex(), cosigned)
    verify = ["journal", "verify", "--checkpoint", str(cosigned), "--witness", str(town.witness)]
    assert town.agent.cli(*verify).returncode == 0
    journal = town.agent.data / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace("Олена".encode(), "Ольга".encode()))
    for name in ("hashes", "places", "checkpoint"):
        (town.agent.data / f"journal.{name}").unlink()
    shutil.rmtree(town.agent.data / "journal.witnessed")
    shutil.rmtree(town.second.folder / "state", ignore_errors=True)
    said = town.agent.cli(*verify)
    assert (said.returncode, b"REWRITTEN" in said.stdout) == (1, True)
    town.agent.start()
    with town.watching() as process:
        wait_until(lambda: "НЕ ДОВЕДЕНО" in process.text(), 60, "the witness tells it")
        process.end()
    wait_until(lambda: "journal_contradicted" in town.agent.log(), 60, "the node tells it")
    report = town.folder / "bad.csv"
    told = town.second.desk("audit", "n1", "--report", str(report), "--timeout", "60", "--json", seconds=90)
    assert told.code == 1, told.err
    assert told.json["trouble"]["kind"] == "contradicted"
    assert "THE JOURNAL IS NOT VERIFIED" in report.read_text("utf-8-sig").splitlines()[1]
