"""One request of a person at a desk: signed, sent, followed to its end, told on the terminal."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from edge_agent.clock import Clock
from edge_agent.desk.client import DeskClient, Patience
from edge_agent.desk.memory import memory_of
from edge_agent.desk.output import Told, raise_unless_done, say_json, unreachable_json
from edge_agent.desk.proof import UnprovenError
from edge_agent.desk.settings import ANSWER_SESSION_S, DEFAULT_CONFIG, Desk, broker_settings, signer
from edge_agent.desk.texts import Texts, texts
from edge_agent.errors import UplinkError
from edge_agent.terminal import progress_console
from edge_agent.trust.command import CommandArgs, sign
from edge_agent.uplink.commands import claimed_nonce
from edge_agent.uplink.payloads import Reply
from edge_agent.uplink.topics import Topics


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a node; without a token it was asked before."""

    node: Topics
    id: str
    token: bytes | None

    @classmethod
    def signed(cls, desk: Desk, clock: Clock, node: Topics, args: CommandArgs, passphrase_file: Path | None) -> Request:
        person, key = signer(desk, passphrase_file)
        # Signed after the passphrase was typed: the command must not be old when it leaves.
        token = sign(key, person, f"{node.site}/{node.node}", args, clock.utc_us())
        return cls(node, claimed_nonce(token), token)


class Talk:
    """One request as the person at the terminal lives through it."""

    def __init__(self, desk: Desk, clock: Clock, socket: Path | None, patience: Patience, config: Path) -> None:
        self.texts: Texts = texts(desk.language)
        self._socket, self._config = socket, config
        way = socket or broker_settings(desk, desk.person or "follow", session_s=ANSWER_SESSION_S)
        where = str(way) if isinstance(way, Path) else way.where
        self._told = Told(progress_console(), self.texts, where)
        self._client = DeskClient(way, clock, patience, self._told.link, memory_of(desk))

    def hear(self, request: Request, as_json: bool) -> Reply:
        """The final reply; meanwhile standard error shows how it goes."""
        client, node, last = self._client, request.node, None
        said = self.texts.waiting_for if request.token else self.texts.follow
        with self._ended_well(request, as_json), self._told as told:
            words = said.format(node=f"{node.site}/{node.node}", request=request.id)
            told.waiting(words, at_once=self._socket is not None)
            replies = client.ask(node, request.token) if request.token else client.follow(node, request.id)
            for last in replies:
                told.reply(last)
        if last is None or not last.state.final:
            raise UplinkError("the answer ended before its end")
        return last

    def send(self, request: Request, as_json: bool) -> None:
        """Without waiting for more than that it is on its way."""
        assert request.token is not None
        with self._ended_well(request, as_json):
            reply = self._client.send(request.node, request.token)
        if reply is not None and reply.state.final:
            raise_unless_done(reply, self.texts)
        if as_json:
            say_json({"ok": True, "state": "sent", "request_id": request.id})
        else:
            print(request.id)

    @contextlib.contextmanager
    def _ended_well(self, request: Request, as_json: bool) -> Iterator[None]:
        try:
            yield
        except (UplinkError, UnprovenError) as error:
            if as_json:
                say_json(unreachable_json(request.id, error))
            raise
        except KeyboardInterrupt:
            if self._told.under_way:
                self._say_how_to_look(request)
            raise typer.Exit(130) from None

    def _say_how_to_look(self, request: Request) -> None:
        told = progress_console()
        told.print(self.texts.goes_on.format(request=request.id), markup=False)
        if self._socket is None:
            named = [] if self._config == DEFAULT_CONFIG else ["--config", str(self._config)]
            command = ["edge-desk", "follow", f"{request.node.site}/{request.node.node}", request.id, *named]
            told.print(self.texts.look.format(command=shlex.join(command)), markup=False, soft_wrap=True)


def mistakes(error: ValidationError) -> str:
    """What is wrong with a command, in one line."""
    found = error.errors(include_url=False, include_input=False)[:5]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'interval'}: {one['msg']}" for one in found)
