"""A signed order of a person at the node: through the agent's local socket, or, while no agent runs, through the same
door in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from edge_agent.buffer.documents import Documents
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.settings import unlock
from edge_agent.errors import BusyError, EdgeError, RefusedError, UplinkError
from edge_agent.lock import DataLock
from edge_agent.rosters import roster_keeper
from edge_agent.trust.command import CommandArgs, sign
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.journal import Journal
from edge_agent.trust.nonces import NonceStore
from edge_agent.trust.policy import Access
from edge_agent.uplink.hold_orders import Done
from edge_agent.uplink.payloads import ReplyState, Words
from edge_agent.uplink.topics import Topics

PATIENCE = Patience(first_s=30, idle_s=30)

PersonOption = Annotated[str, typer.Option("--as", help="Your id in the node's configuration.")]
KeyOption = Annotated[Path, typer.Option("--key", help="Your signing key, person.key.")]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="The key's passphrase; asked for on the terminal without it.")
]
CarryOut = Callable[[Admitted, Documents, Journal], Done]


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
    token = sign(unlock(key_file, passphrase_file), person, config.audience, args, clock.utc_us())
    try:
        with DataLock(config.data_dir, clock, patience_s=0.0):
            return _without_agent(config, clock, token, carry_out)
    except BusyError:
        return _through_agent(config, clock, token)


def said(words: Words, config: Config) -> str:
    """In the language of the node's people."""
    return words.uk if config.language == "uk" else words.en


def _through_agent(config: Config, clock: Clock, token: bytes) -> Done:
    replies = DeskClient(config.socket_path, clock, PATIENCE).ask(Topics(config.site, config.node), token)
    reply = next((reply for reply in replies if reply.state.final), None)
    if reply is None:
        raise UplinkError(f"{config.socket_path}: the agent gave no answer; look whether the order was carried out")
    if reply.state is ReplyState.REFUSED:
        raise RefusedError(said(reply.words, config))
    if reply.state is not ReplyState.DONE:
        raise EdgeError(said(reply.words, config))
    return Done(reply.words, reply.result or {})


def _without_agent(config: Config, clock: Clock, token: bytes, carry_out: CarryOut) -> Done:
    """The agent's own steps, with its lock: the door, the documents, the journal."""
    journal = Journal(config.journal_path, clock)
    documents = Documents(config.data_dir / "documents.json", clock)
    people = {person.person_id: person for person in (entry.person() for entry in config.person)}
    nonces = NonceStore(config.data_dir / "nonces.sqlite", clock)
    door = Door(people, config.audience, journal, nonces, clock, zone=config.zone)
    roster_keeper(config, door, journal, clock)
    admitted = door.enter(token, Access.DIRECT)
    try:
        done = carry_out(admitted, documents, journal)
    except EdgeError as error:
        door.outcome(admitted, False, str(error))
        raise
    door.outcome(admitted, True, done.said.en)
    return done
