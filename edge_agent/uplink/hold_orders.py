"""Orders to hold and to let go, carried out at the node (`docs/retention.md`, "Holds")."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edge_agent.buffer.account import Account, account, held_bytes, missing_by_cause
from edge_agent.buffer.holds import Holds, hold_id, span
from edge_agent.buffer.index import Index
from edge_agent.buffer.library import Library
from edge_agent.clock import Clock
from edge_agent.errors import ArchiveError, NotFoundError, UsageError
from edge_agent.model import CameraId, Hold, Interval
from edge_agent.trust.command import HoldArgs, HoldEndArgs, HoldsArgs
from edge_agent.trust.door import Admitted
from edge_agent.trust.journal import BadLine, JournalEntry, JournalKind, Outcome
from edge_agent.trust.order import OrderRefusedError
from edge_agent.trust.order import read as read_order
from edge_agent.trust.policy import Action
from edge_agent.uplink import words
from edge_agent.uplink.payloads import Words

MAX_PIECES = 500
"""Missing pieces that an answer lists; the sums are of all."""

MAX_HOLDS = 60
"""Holds that an answer lists: each may have 2,000 characters of text."""


@dataclass(frozen=True, slots=True)
class Done:
    """What is answered."""

    said: Words
    result: dict[str, Any]
    leave: bool = False
    """The asker's own process does it now, and journals what became of it."""


class HoldOrders:
    """Owned by whoever owns the holds and the index."""

    def __init__(self, cameras: Iterable[CameraId], holds: Holds, index: Index, library: Library, clock: Clock) -> None:
        self._cameras = tuple(cameras)
        self._holds = holds
        self._index = index
        self._library = library
        self._clock = clock

    def carry_out(self, admitted: Admitted) -> Done:
        """EdgeError says why it can't be; then nothing was changed."""
        match admitted.command.args:
            case HoldArgs() as args:
                return self.hold(admitted, args)
            case HoldEndArgs() as args:
                return self.let_go(admitted, args)
            case HoldsArgs() as args:
                return self.tell(args)
        raise UsageError(f"{admitted.command.action} is no order about holds")

    def hold(self, admitted: Admitted, args: HoldArgs) -> Done:
        """Hold from now on, and say what is there and what is missing already."""
        cameras = tuple(dict.fromkeys(CameraId(name) for name in args.cameras))
        unknown = [camera for camera in cameras if camera not in self._known()]
        if unknown:
            raise NotFoundError(f"no camera {', '.join(unknown)} here; there are: {', '.join(self._known())}")
        source = admitted.order.order_id if admitted.order else admitted.command.nonce
        before = next((hold for hold in self._holds.all() if hold.hold_id == hold_id(source)), None)
        if before is not None:
            return self._held_already(before)
        hold = _entered(source, cameras, args, admitted.person.full_name, self._clock.utc_us())
        self._holds.add(hold)
        try:
            accounts = self._accounts(hold)
        except ArchiveError:
            # It holds, whatever the index can't say of it now.
            accounts = []
        return Done(words.hold_entered(hold, accounts), {"hold": hold_json(hold), **accounts_json(accounts)})

    def let_go(self, admitted: Admitted, args: HoldEndArgs) -> Done:
        """End a hold; what it kept follows the normal rule from the next sweep on."""
        found = self._holds.get(args.hold_id)
        who = admitted.person.full_name
        hold = self._holds.end(found, self._clock.utc_us(), who, args.order_number, args.ordered_by)
        return Done(words.hold_ended(hold), {"hold": hold_json(hold)})

    def tell(self, args: HoldsArgs) -> Done:
        """All holds with the bytes they keep, or one with its account."""
        if args.hold_id is not None:
            hold = self._holds.get(args.hold_id)
            accounts = self._accounts(hold)
            result = {"hold": hold_json(hold), **accounts_json(accounts)}
            return Done(words.hold_told(hold, accounts), result)
        holds = self._holds.all()
        held = {camera: held_bytes(self._index, self._holds.held, camera) for camera in self._known()}
        active = sum(1 for hold in holds if hold.ended_us is None)
        # those in force first, then the ended ones, the newest first: an answer has room for some of them only
        listed = sorted(holds, key=lambda hold: (hold.ended_us is not None, -hold.since_us))[:MAX_HOLDS]
        told = [hold_json(hold) for hold in listed]
        result = {"holds": told, "unlisted": len(holds) - len(told), "held_bytes": held}
        return Done(words.holds_told(active, sum(held.values())), result)

    def _held_already(self, hold: Hold) -> Done:
        """An order that comes again changes nothing."""
        if hold.ended_us is not None:
            raise UsageError(f"this order made hold {hold.hold_id}, which has been ended: a new order is needed")
        accounts = self._accounts(hold)
        return Done(words.hold_told(hold, accounts), {"hold": hold_json(hold), **accounts_json(accounts)})

    def _accounts(self, hold: Hold) -> list[Account]:
        """Of each camera, up to now."""
        now_us = self._clock.utc_us()
        past = span(hold).clipped(Interval(0, now_us))
        return [] if past.empty else [account(self._library, camera, past) for camera in hold.cameras or self._known()]

    def _known(self) -> list[CameraId]:
        return sorted({*self._cameras, *self._index.cameras()})


def hold_json(hold: Hold) -> dict[str, Any]:
    """A hold as replies and `--json` have it."""
    return {
        "hold_id": hold.hold_id,
        "cameras": list(hold.cameras),
        "start_us": hold.start_us,
        "end_us": hold.end_us,
        "order_number": hold.order_number,
        "ordered_by": hold.ordered_by,
        "reason": hold.reason,
        "carried_out_by": hold.carried_out_by,
        "since_us": hold.since_us,
        "ended_us": hold.ended_us,
        "ended_by": hold.ended_by,
        "end_order_number": hold.end_order_number,
        "end_ordered_by": hold.end_ordered_by,
    }


def restored(entries: Iterable[JournalEntry | BadLine]) -> list[Hold]:
    """The holds that the journal knows of, ended ones included.

    An order that was accepted and not told as failed counts as carried out; an end only when it is told as done.
    """
    found: dict[str, Hold] = {}
    for entry in entries:
        if isinstance(entry, BadLine) or entry.kind is not JournalKind.ACCESS:
            continue
        try:
            match entry.action, entry.outcome:
                case Action.HOLD, Outcome.ACCEPTED:
                    args = HoldArgs.model_validate(entry.args)
                    cameras = tuple(CameraId(name) for name in args.cameras)
                    source = read_order(args.order).jti if args.order else entry.ref
                    hold = _entered(source, cameras, args, entry.who, entry.at_us or 0)
                    if all(hold.hold_id != other.hold_id for other in found.values()):  # an order may come again
                        found[entry.ref] = hold
                case Action.HOLD, Outcome.FAILED:
                    found.pop(entry.ref, None)
                case Action.HOLD_END, Outcome.DONE:
                    _end(found, HoldEndArgs.model_validate(entry.args), entry)
        except (ValidationError, OrderRefusedError) as error:
            raise ArchiveError(f"an order in the journal can't be understood: {error}") from error
    return list(found.values())


def _end(found: dict[str, Hold], args: HoldEndArgs, entry: JournalEntry) -> None:
    for nonce, hold in found.items():
        if hold.hold_id.startswith(args.hold_id) and hold.ended_us is None:
            found[nonce] = dataclasses.replace(
                hold,
                ended_us=entry.at_us,
                ended_by=entry.who,
                end_order_number=args.order_number,
                end_ordered_by=args.ordered_by,
            )


def _entered(source: str, cameras: tuple[CameraId, ...], args: HoldArgs, who: str, at_us: int) -> Hold:
    return Hold(
        hold_id=hold_id(source),
        cameras=cameras,
        start_us=args.start_us,
        end_us=args.end_us,
        order_number=args.order_number,
        reason=args.reason,
        ordered_by=args.ordered_by,
        carried_out_by=who,
        since_us=at_us,
    )


def accounts_json(accounts: Iterable[Account], left: int = MAX_PIECES) -> dict[str, Any]:
    """By camera, with at most `left` missing pieces in all."""
    cameras = {}
    for one in accounts:
        pieces = one.missing[:left]
        left -= len(pieces)
        cameras[one.camera] = {
            "recorded_s": round(one.recorded_s, 3),
            "size_bytes": one.size_bytes,
            "missing_s": {cause: round(seconds, 3) for cause, seconds in missing_by_cause([one]).items()},
            "missing": [
                {
                    "start_us": piece.interval.start_us,
                    "end_us": piece.interval.end_us,
                    "cause": piece.cause,
                    "evidence": piece.evidence[:200],
                }
                for piece in pieces
            ],
            "unlisted": len(one.missing) - len(pieces),
        }
    return {"cameras": cameras}


def restore(holds: Holds, entries: Iterable[JournalEntry | BadLine]) -> list[Hold]:
    """Enter the journal's holds that the documents have lost; EdgeError when it can't be known: then nothing is
    deleted."""
    holds.known = False
    found = holds.restore(restored(entries))
    holds.known = True
    return found
