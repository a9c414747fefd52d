"""An official's order that an archive officer's command carries: to hold, to let go, to release (`docs/commands.md`).

Pure: whose it is, whether it is good here and now, and whether a command stays within it.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, model_validator

from edge_agent.clock import US
from edge_agent.errors import RefusedError
from edge_agent.model import PersonId
from edge_agent.trust import jws
from edge_agent.trust.command import (
    LEEWAY_S,
    MAX_ORDER_BYTES,
    AgeKey,
    CommandArgs,
    ExportArgs,
    HoldArgs,
    HoldEndArgs,
    Name,
    OrderNumber,
    PlayArgs,
)
from edge_agent.trust.jws import MAX_TIME_S, BadTokenError, Closed
from edge_agent.trust.keys import PublicKey
from edge_agent.trust.policy import ALL_CAMERAS, Access, Action, Person, Purpose, Wanted, decide

TYPE = "edge-order+jwt"
MAX_LIFETIME_S = 31 * 86400
"""Time to carry it out, holidays included; a request is answered within five working days (clause 4.10)."""


class OrderRefusedError(RefusedError):
    """No order of somebody who may give it, or not good here and now; `beyond`: good, but for something else."""

    def __init__(self, words: str, *, beyond: bool = False) -> None:
        super().__init__(words)
        self.beyond = beyond


class OrderKind(StrEnum):
    HOLD = "hold"
    HOLD_END = "hold_end"
    RELEASE = "release"

    @property
    def action(self) -> Action:
        """What its signer does by signing."""
        return _ACTIONS[self]


_ACTIONS = {
    OrderKind.HOLD: Action.ORDER_HOLD,
    OrderKind.HOLD_END: Action.ORDER_HOLD_END,
    OrderKind.RELEASE: Action.DECIDE_RELEASE,
}
_REQUESTS = (Purpose.OFFICIAL_REQUEST, Purpose.REASONED_REQUEST, Purpose.MEMO)


def _date(text: str) -> str:
    if datetime.date.fromisoformat(text).isoformat() != text:
        raise ValueError('a date, "2026-11-22"')
    return text


Us = Annotated[int, Field(ge=0, le=MAX_TIME_S * US)]


class Basis(Closed):
    """What the official decided upon."""

    kind: Annotated[Purpose, Field(strict=False)]
    number: OrderNumber
    date: Annotated[str, AfterValidator(_date), Field(max_length=10)]
    """`2026-11-22`"""


class Terms(Closed):
    """What is ordered, where."""

    kind: Annotated[OrderKind, Field(strict=False)]
    number: OrderNumber
    """The order's own, in the city's books."""
    nodes: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}/([a-z0-9][a-z0-9_-]{0,31}|\*)$")], ...] = (
        Field(min_length=1, max_length=64, strict=False)
    )
    """`<site>/<node>`, or `<site>/*` for all nodes of a site."""
    cameras: tuple[Name, ...] = Field((), max_length=64, strict=False)
    """None: all."""
    start_us: Us | None = None
    end_us: Us | None = None
    hold_id: Annotated[str, Field(pattern=r"^h[0-9a-f]{10}$")] | None = None
    destroy: bool = False
    """Of the end of a hold: what it kept is to be destroyed (clause 4.6)."""
    recipient: AgeKey | None = None
    """Of a release: who alone can open it."""
    basis: Basis

    @model_validator(mode="after")
    def _as_its_kind_asks(self) -> Terms:
        has = {name for name in ("start_us", "end_us", "hold_id", "recipient") if getattr(self, name) is not None}
        needed, may = {
            OrderKind.HOLD: ({"start_us"}, {"end_us"}),
            OrderKind.HOLD_END: ({"hold_id"}, set[str]()),
            OrderKind.RELEASE: ({"start_us", "end_us", "recipient"}, set[str]()),
        }[self.kind]
        if missing := needed - has:
            raise ValueError(f"an order of this kind needs {', '.join(sorted(missing))}")
        if extra := has - needed - may:
            raise ValueError(f"an order of this kind has no {', '.join(sorted(extra))}")
        if self.start_us is not None and self.end_us is not None and self.end_us <= self.start_us:
            raise ValueError("the interval is empty: end_us must be after start_us")
        if self.kind is OrderKind.HOLD_END and (not self.destroy or self.cameras):
            raise ValueError("the end of a hold lets all of it be destroyed: say destroy, and no cameras")
        if self.kind is not OrderKind.HOLD_END and self.destroy:
            raise ValueError("only the end of a hold destroys")
        if self.kind is OrderKind.RELEASE and self.basis.kind not in _REQUESTS:
            raise ValueError("a release needs a request: official_request, reasoned_request or memo")
        return self


class Claims(Terms):
    iss: Annotated[str, Field(max_length=64)]
    iat: int = Field(ge=0, le=MAX_TIME_S)
    exp: int = Field(ge=0, le=MAX_TIME_S)
    jti: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{15,63}$")]


@dataclass(frozen=True, slots=True)
class Order:
    """What an official ordered, the signature and the right to order verified."""

    order_id: str
    official: Person
    issued_us: int
    expires_us: int
    terms: Terms


def sign(key: Ed25519PrivateKey, person_id: str, terms: Terms, now_us: int, *, lifetime_s: int = 5 * 86400) -> bytes:
    """The token.  ValueError when it would live too long, not at all, or would not fit into a command."""
    if not 0 < lifetime_s <= MAX_LIFETIME_S:
        raise ValueError(f"an order lives at most {MAX_LIFETIME_S // 86400} days")
    issued_s = now_us // US
    content = terms.model_dump(mode="json", exclude_defaults=True)
    claims = Claims(iss=person_id, iat=issued_s, exp=issued_s + lifetime_s, jti=secrets.token_hex(16), **content)
    token = jws.encode(key, TYPE, person_id, claims.model_dump_json(exclude_defaults=True).encode())
    if len(token) > MAX_ORDER_BYTES:
        raise ValueError(f"an order is at most {MAX_ORDER_BYTES} bytes long: order in parts")
    return token


def read(token: str) -> Claims:
    """What an order says, unproven; OrderRefusedError when it is none."""
    try:
        return jws.parse(Claims, jws.unproven(token.encode(), MAX_ORDER_BYTES), "the order")
    except BadTokenError as error:
        raise OrderRefusedError(str(error)) from error


def verify(token: str, people: Mapping[PersonId, Person], here: Wanted, now_us: int) -> Order:
    """The order of a token that an official may give, for this node (`here` says which) and for now.

    OrderRefusedError says what is wrong.  The office must be held at the time of the signature and now.
    """

    def key_of(name: str) -> PublicKey | None:
        person = people.get(PersonId(name))
        return person.public_key if person else None

    try:
        name, payload = jws.decode(token.encode(), TYPE, "an order", MAX_ORDER_BYTES, key_of)
        claims = jws.parse(Claims, payload, "the order")
    except BadTokenError as error:
        raise OrderRefusedError(f"the order: {error}") from error
    official = people[PersonId(name)]
    if claims.iss != name:
        raise OrderRefusedError("the order says it is by another person than the one who signed it")
    if not {here.node, f"{here.node.partition('/')[0]}/*"} & set(claims.nodes):
        raise OrderRefusedError(f"the order is for {', '.join(claims.nodes[:3])}, this node is {here.node}")
    if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_S:
        raise OrderRefusedError(f"the order must live, and at most {MAX_LIFETIME_S // 86400} days")
    if claims.iat * US > now_us + LEEWAY_S * US:
        raise OrderRefusedError("the order is signed ahead of this node's clock: check both clocks")
    if (claims.exp + LEEWAY_S) * US <= now_us:
        raise OrderRefusedError("the order has expired: it must be signed anew")
    cameras = claims.cameras or (ALL_CAMERAS,)
    wanted = Wanted(here.node, here.zone, cameras, claims.basis.kind)
    decision = decide(official, claims.kind.action, Access.ORDER, claims.iat * US, wanted)
    if not decision.allowed:
        raise OrderRefusedError(f"the order: {decision.reason}")
    if not official.from_us <= now_us < official.until_us:
        raise OrderRefusedError(f"the order: {official.person_id} holds the office no more")
    return Order(claims.jti, official, claims.iat * US, claims.exp * US, claims)


def stay_within(order: Order, args: CommandArgs) -> None:
    """OrderRefusedError when the command wants something else than what was ordered.

    A hold is carried out exactly as ordered, a release of what was ordered in as many parts as are wanted.
    """
    terms = order.terms
    match args:
        case ExportArgs():
            kind, faults = OrderKind.RELEASE, _beyond_release(terms, args)
            if args.recipient != terms.recipient:
                faults.append("recipient")
        case PlayArgs():
            kind, faults = OrderKind.RELEASE, _beyond_release(terms, args)
        case HoldArgs():
            kind = OrderKind.HOLD
            faults = [
                *(["cameras"] if set(args.cameras) != set(terms.cameras) else []),
                *(["interval"] if (args.start_us, args.end_us) != (terms.start_us, terms.end_us) else []),
                *_misnamed(order, args),
            ]
        case HoldEndArgs():
            kind = OrderKind.HOLD_END
            faults = [*(["hold"] if args.hold_id != terms.hold_id else []), *_misnamed(order, args)]
        case _:
            raise OrderRefusedError(f"{args.action} is done without an order", beyond=True)
    if terms.kind is not kind:
        raise OrderRefusedError(f"the order is to {terms.kind}, not to {args.action}", beyond=True)
    if faults:
        raise OrderRefusedError(f"the command goes beyond order {terms.number}: {', '.join(faults)}", beyond=True)


def _beyond_release(terms: Terms, args: ExportArgs | PlayArgs) -> list[str]:
    faults = []
    if terms.cameras and args.camera not in terms.cameras:
        faults.append("camera")
    if not (terms.start_us or 0) <= args.start_us <= args.end_us <= (terms.end_us or 0):
        faults.append("interval")
    return faults


def _misnamed(order: Order, args: HoldArgs | HoldEndArgs) -> list[str]:
    number = ["order_number"] if args.order_number != order.terms.number else []
    return number + (["ordered_by"] if args.ordered_by != order.official.full_name else [])
