"""What a command does once the door has let it in, and what is answered when it has not.

One function for both ways in: whoever came through the broker is answered on the request's topic, whoever came through
the local socket on that connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import re
from collections.abc import Callable
from typing import Any, Literal

from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import ArchiveError, EdgeError, NotFoundError, UsageError
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.command import (
    MAX_TOKEN_BYTES,
    ClockConfirmArgs,
    CommandRefusedError,
    ExportArgs,
    HoldArgs,
    HoldEndArgs,
    HoldsArgs,
    JournalArgs,
    MaintainArgs,
    ModeArgs,
    PlayArgs,
    SearchArgs,
)
from edge_agent.trust.door import Admitted, Door
from edge_agent.trust.incident_args import AcknowledgeArgs, IncidentArgs, IncidentsArgs
from edge_agent.trust.journal_log import BrokenJournalError
from edge_agent.trust.policy import Access
from edge_agent.uplink import words
from edge_agent.uplink.archive_orders import ArchiveOrders
from edge_agent.uplink.clock_orders import ClockOrders
from edge_agent.uplink.exports import Exports, ReleaseNews
from edge_agent.uplink.hold_orders import Done, HoldOrders
from edge_agent.uplink.incident_orders import IncidentOrders
from edge_agent.uplink.mode_orders import ModeOrders
from edge_agent.uplink.payloads import Health, Reply, ReplyState, Words
from edge_agent.uplink.visit_orders import VisitOrders

_log = logging.getLogger(__name__)
Answer = Callable[[Reply], None]
UNREADABLE = "unreadable"
"""The request id of replies to what is no command at all."""
STRANGER_REPLIES = 30
STRANGER_WINDOW_S = 60.0
"""Nobody can make the node flood its own link with refusals."""


class Commands:
    """Owned by the agent's main thread."""

    def __init__(
        self,
        config: Config,
        door: Door,
        exports: Exports,
        holds: HoldOrders,
        clock_orders: ClockOrders,
        archive: ArchiveOrders,
        visits: VisitOrders,
        incidents: IncidentOrders,
        modes: ModeOrders,
        health: Callable[[], Health],
        audit: Callable[[AuditQuery], bytes],
        broadcast: Answer,
        clock: Clock,
    ) -> None:
        self._config = config
        self._door = door
        self._exports = exports
        self._holds = holds
        self._clock_orders = clock_orders
        self._archive = archive
        self._visits = visits
        self._incidents = incidents
        self._modes = modes
        self._health = health
        self._audit = audit
        self._broadcast = broadcast
        self._clock = clock
        self._listening: dict[str, Answer] = {}
        self._window_began = clock.monotonic()
        self._refused = 0

    def take(self, token: bytes, access: Access, answer: Answer) -> None:
        """Carry out a command, or say why not."""
        try:
            admitted = self._door.enter(token, access)
        except CommandRefusedError as refusal:
            if refusal.command is not None or self._may_answer_stranger():
                request = refusal.command.nonce if refusal.command else claimed_nonce(token)
                reply = self._reply(request, "refused", refusal.code, words.refused(refusal.code, str(refusal)))
                answer(reply.model_copy(update={"command_sha256": hashlib.sha256(token).hexdigest()}))
            return
        nonce = admitted.command.nonce
        try:
            match admitted.command.args:
                case ExportArgs(target=str()) as args:
                    self._export(admitted, args, answer)
                case ExportArgs() | PlayArgs() as args:
                    self._carried_out(admitted, self._archive.leave(admitted, args), answer)
                case SearchArgs() as args:
                    self._carried_out(admitted, self._archive.search(args), answer)
                case MaintainArgs() as args:
                    self._carried_out(admitted, self._visits.carry_out(admitted, args), answer)
                case HoldArgs(incident=str() as alarm):
                    incident = self._incidents.found(admitted, alarm)
                    done = self._holds.carry_out(admitted)
                    self._carried_out(admitted, self._incidents.with_hold(admitted, incident, done), answer)
                case HoldArgs() | HoldEndArgs() | HoldsArgs():
                    self._carried_out(admitted, self._holds.carry_out(admitted), answer)
                case ClockConfirmArgs() as args:
                    self._carried_out(admitted, self._clock_orders.carry_out(admitted, args), answer)
                case AcknowledgeArgs() as args:
                    self._carried_out(admitted, self._incidents.acknowledge(admitted, args), answer)
                case IncidentArgs() as args:
                    self._carried_out(admitted, self._incidents.write(admitted, args), answer)
                case IncidentsArgs() as args:
                    self._carried_out(admitted, self._incidents.tell(admitted, args), answer)
                case ModeArgs() as args:
                    self._carried_out(admitted, self._modes.carry_out(admitted, args), answer)
                case JournalArgs(query=query):
                    self._carried_out(admitted, self._told_journal(query), answer)
                case _:
                    self._status(admitted, answer)
        except CommandRefusedError as refusal:
            self._note(admitted, False, f"{refusal.code}: {refusal}")
            answer(self._reply(nonce, "refused", refusal.code, words.refused(refusal.code, str(refusal))))
        except EdgeError as error:
            self._note(admitted, False, str(error))
            answer(self._reply(nonce, "failed", _code(error), words.failed(str(error))))

    def release_news(self, news: ReleaseNews) -> None:
        """Tell whoever asked for a release how it fares; after a restart that is the broker."""
        answer = self._listening.get(news.release.id, self._broadcast)
        step, result = news.step, news.step.result or {}
        if step.state == "running":
            reply = self._reply(
                news.release.id, "running", step.stage or "waiting", words.release_step(step.stage, step.error)
            )
            answer(reply.model_copy(update={"progress": round(step.part, 3)}))
            return
        self._listening.pop(news.release.id, None)
        if step.state == "done":
            said = words.release_done(str(result["location"]), float(result["seconds"]), float(result["missing_s"]))
            if tied := self._incidents.with_release(news.release):
                result = {**result, "incident": tied}
            answer(self._reply(news.release.id, "done", "released", said, result))
        else:
            answer(self._reply(news.release.id, "failed", "release_failed", words.failed(step.error)))

    def _status(self, admitted: Admitted, answer: Answer) -> None:
        health = self._health()
        self._note(admitted, True, "told")
        result = health.model_dump(mode="json")
        answer(self._reply(admitted.command.nonce, "done", "status", words.status_given(), result))

    def _told_journal(self, query: AuditQuery) -> Done:
        """The page as it was signed: who asked verifies it himself, and can hand it on."""
        return Done(words.journal_told(), {"page": self._audit(query).decode()})

    def _carried_out(self, admitted: Admitted, done: Done, answer: Answer) -> None:
        if not done.leave:
            self._note(admitted, True, done.said.en)
        command = admitted.command
        answer(self._reply(command.nonce, "done", str(command.action), done.said, done.result))

    def _export(self, admitted: Admitted, args: ExportArgs, answer: Answer) -> None:
        self._check(args)
        if args.incident is not None:
            incident = self._incidents.found(admitted, args.incident)
            args = args.model_copy(update={"incident": incident.entry.alarm_id})
        ahead = self._exports.waiting
        release = self._exports.add(admitted, args)
        self._listening[release.id] = answer
        answer(self._reply(release.id, "accepted", "accepted", words.release_accepted(ahead)))

    def _check(self, args: ExportArgs) -> None:
        if self._config.target_named(args.target) is None:
            known = ", ".join(target.name for target in self._config.target) or "none"
            raise NotFoundError(f"no target {args.target} here; there are: {known}")
        self._archive.look_for(args.camera, args.interval)

    def _note(self, admitted: Admitted, ok: bool, reason: str) -> None:
        try:
            self._door.outcome(admitted, ok, reason)
        except ArchiveError as error:
            _log.critical("the outcome of a command could not be journalled: %s", error)

    def _may_answer_stranger(self) -> bool:
        now = self._clock.monotonic()
        if now - self._window_began > STRANGER_WINDOW_S:
            self._window_began, self._refused = now, 0
        self._refused += 1
        return self._refused <= STRANGER_REPLIES

    def _reply(
        self,
        request: str,
        state: Literal["accepted", "running", "done", "failed", "refused"],
        code: str,
        said: Words,
        result: dict[str, Any] | None = None,
    ) -> Reply:
        return Reply(
            at_us=self._clock.utc_us(),
            request_id=request,
            node=self._config.audience,
            state=ReplyState(state),
            code=code,
            words=said,
            result=result,
        )


def claimed_nonce(token: bytes) -> str:
    """Where a refusal is sent to: the nonce that an unproven token claims, or `unreadable`."""
    if len(token) > MAX_TOKEN_BYTES:
        return UNREADABLE
    try:
        payload = token.split(b".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError, binascii.Error):
        return UNREADABLE
    nonce = claims.get("jti") if isinstance(claims, dict) else None
    readable = isinstance(nonce, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{15,63}", nonce, re.ASCII)
    return str(nonce) if readable else UNREADABLE


def _code(error: EdgeError) -> str:
    match error:
        case NotFoundError():
            return "not_found"
        case BrokenJournalError():
            return "journal_broken"
        case UsageError():
            return "bad_request"
        case _:
            return "failed"
