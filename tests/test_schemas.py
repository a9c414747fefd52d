"""The published schemas take what the product writes and the documentation shows, and nothing that readers refuse."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.schemas import NAMES, schema
from edge_agent.trust import command, order, roster
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.command import HoldArgs, MaintainArgs, PlayArgs, SearchArgs, StatusArgs, Work
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.journal_log import JournalLog
from edge_agent.trust.order import Terms
from edge_agent.uplink.topics import parse
from tests.simulators.clock import HandClock
from tests.trust.test_docs import DOCS, fenced
from tests.trust.test_order import HOLD, HOLD_END, RELEASE
from tests.uplink.test_payloads import examples

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW_US = HandClock().utc_us()
COMMAND = {"iss": "a", "aud": "b/c", "iat": 1, "exp": 2, "jti": "n" * 16, "action": "status", "args": {}}


def payload(token: bytes) -> Any:
    part = token.split(b".")[1]
    return json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))


def fits(name: str, value: Any) -> None:
    jsonschema.Draft202012Validator(schema(name)).validate(value)


def test_each_is_a_schema_and_printed_by_its_name() -> None:
    for name in NAMES:
        jsonschema.Draft202012Validator.check_schema(schema(name))
        printed = CliRunner().invoke(app, ["schema", name])
        assert json.loads(printed.stdout) == schema(name)
    assert CliRunner().invoke(app, ["schema"]).stdout.split() == list(NAMES)
    assert CliRunner().invoke(app, ["schema", "nothing"]).exit_code != 0
    listed = re.search(r"prints one: (.*?)\. They", (DOCS / "commands.md").read_text(), re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`([a-z-]+)`", listed[1])) - {"args"} == set(NAMES)


def test_the_documentations_command_and_entry_fit() -> None:
    token = re.sub(r"\s", "", fenced("commands.md", "eyJ"))
    fits("command", payload(token.encode()))
    fits("journal-entry", json.loads(fenced("journal.md", '{"kind"')))


@pytest.mark.parametrize(("topic", "text"), examples(), ids=lambda value: value[:40].split("{")[0] or "json")
def test_the_documentations_messages_fit(topic: str, text: str) -> None:
    fits(parse(topic).kind.value.replace("_", "-"), json.loads(text))


def fitted(name: str, value: Any) -> bool:
    try:
        fits(name, value)
    except jsonschema.ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    "args",
    [
        StatusArgs(),
        SearchArgs(camera="gate", start_us=1, end_us=2),
        PlayArgs(camera="gate", start_us=1, end_us=2, reason="чому"),
        HoldArgs(start_us=1, order_number="1", ordered_by="Мер"),
        MaintainArgs(work=Work.VISIT_OPEN, reason="диск"),
    ],
    ids=lambda args: str(args.action),
)
def test_a_signed_command_fits(args: command.CommandArgs) -> None:
    fits("command", payload(command.sign(KEY, "officer", "town/n1", args, NOW_US)))


@pytest.mark.parametrize(
    "changed",
    [
        {"action": "destroy"},
        {"args": {"extra": 1}},
        {"action": "search", "args": {"camera": "../x"}},
        {"action": "maintain", "args": {"work": "dance"}},
        {"jti": "short"},
        {"admin": True},
        {"iat": 1.5},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_what_no_node_takes_does_not_fit(changed: dict[str, Any]) -> None:
    fits("command", COMMAND)
    assert not fitted("command", COMMAND | changed)


@pytest.mark.parametrize("terms", [HOLD, HOLD_END, RELEASE], ids=lambda terms: str(terms["kind"]))
def test_an_order_fits_in_any_of_its_kinds(terms: dict[str, Any]) -> None:
    fits("order", payload(order.sign(KEY, "mayor", Terms.model_validate(terms), NOW_US)))
    assert not fitted("order", terms | {"iss": "mayor"})


def test_a_roster_and_its_draft_fit() -> None:
    draft = roster.parse_draft(b'{"city": "X", "people": [{"id": "a", "surname": "A", "name": "B", "roles": ["mayor"],'
                               b'"public_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}')  # fmt: skip
    fits("roster-draft", json.loads(roster.draft_json(draft)))
    fits("roster", payload(roster.sign(KEY, draft, 1, NOW_US, 86400)))
    assert not fitted("roster", json.loads(roster.draft_json(draft)))


def test_an_audit_page_and_its_question_fit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", HandClock())
    journal.append(JournalEntry(JournalKind.START, Outcome.DONE))
    query = AuditQuery(person="officer")
    page = payload(JournalLog(journal, tmp_path / "checkpoint", "edge-agent/a/b", KEY).audit(AuditQuery()))
    fits("audit-page", page)
    fits("audit-query", query.model_dump(exclude_none=True))
    fits("journal-entry", json.loads(base64.b64decode(page["entries"][0]["line"])))
