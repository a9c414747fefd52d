"""A signed order of a person at the node: through the agent's local socket, or, while no agent runs, through the same
door in this process.

What the person's own process then does itself (playing, exporting, rotating a key) needs the door's *leave*: it is
journalled before, by whoever keeps the door, and after, by this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.buffer.documents import Documents
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.settings import unlock
from edge_agent.errors import BusyError, EdgeError, NotFoundError, RefusedError, UplinkError, UsageError
from edge_agent.lock import DataLock, only_its_user
from edge_agent.model import PersonId
from edge_agent.rosters import roster_keeper
from edge_agent.trust.command import CommandArgs, sign
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.journal import Journal, JournalEntry, JournalKind, Outcome
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access
from edge_agent.uplink.commands import claimed_nonce
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.payloads import Reply, ReplyState, Words
from edge_agent.uplink.topics import Topics

PATIENCE = Patience(first_s=30, idle_s=30)

PersonOption = Annotated[
    str, typer.Option("--as", envvar="EDGE_AGENT_AS", help="Your id in the roster or the node's configuration.")
]
KeyOption = Annotated[Path, typer.Option("--key", envvar="EDGE_AGENT_KEY", help="Your signing key, person.key.")]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="The key's passphrase; asked for on the terminal without it.")
]
CarryOut = Callable[[Admitted, Documents, Journal], Done]


@dataclass(slots=True)
class Leave:
    """For something that this process does now."""

    who: str
    """Surname, name, patronymic."""
    ended: str = ""
    """What came of it, for the journal: set it when it is done."""


def order(
    config: Config,
    clock: Clock,
    args: CommandArgs,
    person: str,
    key_file: Path,
    passphrase_file: Path | None,
    carry_out: CarryOut,
) -> Done:
    """Have it carried out, by the agent or, without one, by `carry_out`; EdgeError says why not."""
    return _ordered(config, clock, _signed(config, clock, args, person, key_file, passphrase_file), carry_out)


@contextmanager
def leave(
    config: Config,
    clock: Clock,
    args: CommandArgs,
    person: str,
    key_file: Path,
    passphrase_file: Path | None,
    carry_out: CarryOut,
) -> Iterator[Leave]:
    """The door's leave for what stands in the body; without it, or where it can't be journalled, EdgeError."""
    token = _signed(config, clock, args, person, key_file, passphrase_file)
    given = Leave(str(_ordered(config, clock, token, carry_out).result.get("who", "")))
    journal = Journal(config.journal_path, clock)

    def tell(outcome: Outcome, words: str) -> None:
        journal.append(
            JournalEntry(
                JournalKind.ACCESS,
                outcome,
                who=given.who,
                person_id=PersonId(person),
                action=args.action,
                access=Access.DIRECT,
                reason=words,
                args=args.model_dump(mode="json", exclude_defaults=True),
                ref=claimed_nonce(token),
            )
        )

    try:
        yield given
    except BaseException as error:
        tell(Outcome.FAILED, str(error) or type(error).__name__)
        raise
    tell(Outcome.DONE, given.ended)


def said(words: Words, config: Config) -> str:
    """In the language of the node's people."""
    return words.uk if config.language == "uk" else words.en


def _signed(
    config: Config, clock: Clock, args: CommandArgs, person: str, key_file: Path, passphrase_file: Path | None
) -> bytes:
    return sign(unlock(key_file, passphrase_file), person, config.audience, args, clock.utc_us())


def _ordered(config: Config, clock: Clock, token: bytes, carry_out: CarryOut) -> Done:
    if config.data_dir.exists() and not os.access(config.data_dir, os.R_OK | os.W_OK | os.X_OK):
        return _through_agent(config, clock, token)  # somebody who may only knock
    try:
        with DataLock(config.data_dir, clock, patience_s=0.0):
            only_its_user(config.data_dir, "working without a running agent")
            return _without_agent(config, clock, token, carry_out)
    except BusyError:
        return _through_agent(config, clock, token)


def _through_agent(config: Config, clock: Clock, token: bytes) -> Done:
    replies = DeskClient(config.socket_path, clock, PATIENCE).ask(Topics(config.site, config.node), token)
    reply = next((reply for reply in replies if reply.state.final), None)
    if reply is None:
        raise UplinkError(f"{config.socket_path}: the agent gave no answer; look whether the order was carried out")
    if reply.state is not ReplyState.DONE:
        raise _error_of(reply, config)
    return Done(reply.words, reply.result or {})


def _error_of(reply: Reply, config: Config) -> EdgeError:
    """What the agent's own process would have raised."""
    kinds: dict[str, type[EdgeError]] = {"not_found": NotFoundError, "bad_request": UsageError}
    kind = RefusedError if reply.state is ReplyState.REFUSED else kinds.get(reply.code, EdgeError)
    return kind(said(reply.words, config))


def _without_agent(config: Config, clock: Clock, token: bytes, carry_out: CarryOut) -> Done:
    """The agent's own steps, with its lock: the door, the documents, the journal."""
    journal = Journal(config.journal_path, clock)
    documents = Documents(config.data_dir / "documents.json", clock)
    people = {person.person_id: person for person in (entry.person() for entry in config.person)}
    nonces = NonceStore(config.data_dir / "nonces.sqlite", clock)
    door = Door(people, config.audience, journal, nonces, clock, zone=config.zone)
    roster_keeper(config, door, journal, clock)
    try:
        admitted = door.enter(token, Access.DIRECT)
        try:
            done = carry_out(admitted, documents, journal)
        except EdgeError as error:
            door.outcome(admitted, False, str(error))
            raise
        if not done.leave:
            door.outcome(admitted, True, done.said.en)
        return done
    finally:
        nonces.close()
