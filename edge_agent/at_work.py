"""Maintenance by a person at the node: visits, work on keys and archive, by the door's leave (`docs/commands.md`)."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.at_node import CarryOut, leave
from edge_agent.buffer.documents import Documents
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.desk.hold_cli import told_mistakes
from edge_agent.errors import UsageError
from edge_agent.notes import note
from edge_agent.trust.command import MaintainArgs, Work
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.policy import Access, Action
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.visit_orders import VisitOrders
from edge_agent.visits import Visits

MaybePersonOption = Annotated[
    str | None, typer.Option("--as", envvar="EDGE_AGENT_AS", help="Your id: with --key, this is journalled as yours.")
]
MaybeKeyOption = Annotated[
    Path | None, typer.Option("--key", envvar="EDGE_AGENT_KEY", help="Your signing key, person.key.")
]


@contextmanager
def at_work(
    config: Config,
    clock: Clock,
    work: Work,
    person: str | None,
    key: Path | None,
    passphrase_file: Path | None = None,
    reason: str = "",
) -> Iterator[None]:
    """The work stands in the body: by leave of the door where a person gave a key, else the machine's user's own doing.

    The latter is journalled as far as it can be: whoever repairs a disk can't wait for that disk's journal.
    """
    if (person is None) != (key is None):
        raise UsageError("--as and --key: both or neither")
    if person is not None and key is not None:
        with told_mistakes():
            args = MaintainArgs(work=work, reason=reason)
        with leave(config, clock, args, person, key, passphrase_file, maintenance(clock)) as given:
            yield
            given.ended = f"{work}: done"
        return
    journal, who = Journal(config.journal_path, clock), f"user {os.environ.get('SUDO_USER') or getpass.getuser()}"

    def tell(outcome: Outcome, words: str) -> None:
        content = {"work": str(work)} | ({"reason": reason} if reason else {})
        entry = JournalEntry(JournalKind.ACCESS, outcome, who, None, Action.MAINTAIN, Access.DIRECT, words, content)
        note(journal, entry)

    tell(Outcome.ACCEPTED, "without a person's key")
    try:
        yield
    except BaseException as error:
        tell(Outcome.FAILED, str(error) or type(error).__name__)
        raise
    tell(Outcome.DONE, f"{work}: done")


def maintenance(clock: Clock) -> CarryOut:
    """What the agent does with such an order, for while none runs."""

    def carry_out(admitted: Admitted, documents: Documents, _journal: Journal) -> Done:
        args = admitted.command.args
        if not isinstance(args, MaintainArgs):
            raise UsageError(f"{admitted.command.action} is no maintenance")
        return VisitOrders(Visits(documents, clock), clock).carry_out(admitted, args)

    return carry_out
