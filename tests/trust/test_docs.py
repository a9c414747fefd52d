"""The worked examples of the documentation are true."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from edge_agent.clock import US
from edge_agent.model import PersonId
from edge_agent.trust.checkpoint import Verdict, judge, open_checkpoint
from edge_agent.trust.command import ExportArgs, RefusalCode, verify
from edge_agent.trust.journal import Journal, JournalEntry
from edge_agent.trust.keys import parse_public_key
from edge_agent.trust.merkle import leaf_hash
from edge_agent.trust.note import parse_note_key
from edge_agent.trust.policy import POLICY, Access, Action, Person, Role
from edge_agent.trust.witness import parse_request
from tests.simulators.clock import HandClock

DOCS = Path(__file__).parents[2] / "docs"


def fenced(page: str, start: str) -> str:
    """The first block that begins with `start`, and its language line."""
    found = re.search(rf"```[a-z]*\n({re.escape(start)}.*?)\n```", (DOCS / page).read_text(), re.DOTALL)
    assert found, f"{page} has no block that begins with {start}"
    return found[1]


def test_the_example_command_verifies() -> None:
    token = re.sub(r"\s", "", fenced("commands.md", "eyJ")).encode()
    key = parse_public_key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    person = Person(PersonId("o-shevchenko"), "Шевченко", "Оксана", "Іванівна", (Role.ARCHIVE_OFFICER,), key)
    command = verify(token, {person.person_id: person}, "melitopol/node-7", 1795083300 * US)
    assert isinstance(command.args, ExportArgs)
    assert (command.args.camera, command.args.target, command.args.interval.seconds) == ("gate", "usb-disk", 300.0)


def test_every_refusal_code_stands_in_the_table() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| [^|]+ \|$", (DOCS / "commands.md").read_text(), re.MULTILINE)
    assert listed == list(RefusalCode)


def test_the_table_of_who_may_do_what_is_the_policy() -> None:
    lines = [line.strip("|").split("|") for line in fenced_table("roster.md", "| action | mayor")]
    roles = [Role(cell.strip()) for cell in lines[0][1:]]
    listed = {
        (Action(line[0].strip(" `")), role): {Access(way) for way in cell.strip().split(", ") if way != "–"}
        for line in lines[2:]
        for role, cell in zip(roles, line[1:], strict=True)
    }
    assert set(roles) == set(Role)
    assert listed == {(action, role): set(POLICY[action].get(role, ())) for action in Action for role in Role}


def fenced_table(page: str, start: str) -> list[str]:
    lines = (DOCS / page).read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(start))
    return list(itertools.takewhile(lambda line: line.startswith("|"), lines[first:]))


def test_the_example_entry_is_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(fenced("journal.md", '{"kind"') + "\n")
    (entry,) = Journal(path, HandClock()).read()
    assert isinstance(entry, JournalEntry)


def test_the_example_checkpoint_is_that_of_the_example_entry() -> None:
    page = (DOCS / "journal.md").read_text()
    key = re.search(r"`(edge-agent/\S+\+[0-9a-f]{8}\+\S+)`", page)
    assert key is not None
    checkpoint = open_checkpoint(fenced("journal.md", "edge-agent/") + "\n", parse_note_key(key[1]))
    line = fenced("journal.md", '{"kind"').encode()
    assert (checkpoint.size, checkpoint.root) == (1, leaf_hash(line))


def test_the_example_request_to_a_witness_continues_the_example_checkpoint() -> None:
    page = (DOCS / "journal.md").read_text()
    found = re.search(r"`(edge-agent/\S+\+[0-9a-f]{8}\+\S+)`", page)
    assert found is not None
    key = parse_note_key(found[1])
    request = parse_request((fenced("mqtt.md", "old 1") + "\n").encode())
    before = open_checkpoint(fenced("journal.md", "edge-agent/") + "\n", key)
    assert judge(before, open_checkpoint(request.note, key), request.proof) is Verdict.GROWN
