"""A person's signed command: compact JWS (RFC 7515), EdDSA only, for one node, soon over (`docs/commands.md`).

Verifying decides from values only: whether a nonce is fresh and a person permitted is asked at the door.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NoReturn, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from edge_agent.clock import US
from edge_agent.errors import RefusedError
from edge_agent.model import Interval, PersonId
from edge_agent.trust import jws
from edge_agent.trust.age_keys import Recipient
from edge_agent.trust.audit import AuditQuery
from edge_agent.trust.incident_args import AcknowledgeArgs, AlarmId, HoldId, IncidentArgs, IncidentsArgs
from edge_agent.trust.jws import MAX_TIME_S, Closed, plain_text
from edge_agent.trust.keys import PublicKey
from edge_agent.trust.policy import ALL_CAMERAS, Action, Person

TYPE = "edge-command+jwt"
MAX_TOKEN_BYTES = 16 * 1024
MAX_LIFETIME_S = 300
LEEWAY_S = 60
"""How far the clocks of a desk and a node may be apart."""
MAX_EXPORT_S = 24 * 3600
"""One command takes out at most a day of one camera: about 43 GB at 4 Mb/s, hours of an uplink; more is several
decisions, each with its own line in the journal."""
MAX_SEARCH_S = 62 * 86400
MAX_SEARCH_ALL_S = 2 * 86400
"""Of all cameras: what an answer has room for, and the node time for."""


class RefusalCode(StrEnum):
    """Why a command is not carried out, for programs; `docs/commands.md` has the table."""

    MALFORMED = "malformed"
    UNKNOWN_PERSON = "unknown_person"
    BAD_SIGNATURE = "bad_signature"
    OTHER_NODE = "other_node"
    NOT_YET = "not_yet"
    EXPIRED = "expired"
    TOO_LONG_LIVED = "too_long_lived"
    UNKNOWN_ACTION = "unknown_action"
    BAD_ARGUMENTS = "bad_arguments"
    REPLAYED = "replayed"
    NOT_PERMITTED = "not_permitted"
    NO_ROSTER = "no_roster"
    ORDER_NEEDED = "order_needed"
    BAD_ORDER = "bad_order"
    BEYOND_ORDER = "beyond_order"
    JOURNAL_UNAVAILABLE = "journal_unavailable"


class CommandRefusedError(RefusedError):
    """A command is refused: `code` for programs, the text for people.

    `person` is known once the signature was verified, `command` once all of it was.
    """

    def __init__(
        self, code: RefusalCode, words: str, person: Person | None = None, command: SignedCommand | None = None
    ) -> None:
        super().__init__(words)
        self.code = code
        self.person = person
        self.command = command


MAX_ORDER_BYTES = 8 * 1024


def _recipient(text: str) -> str:
    return str(Recipient.parse(text))


AgeKey = Annotated[str, AfterValidator(_recipient)]
"""`age1…`"""
SignedOrder = Annotated[str, Field(min_length=1, max_length=MAX_ORDER_BYTES, pattern=r"^[A-Za-z0-9_.-]+$")]
"""The order that is carried out, signed by the official (`order.py`)."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


Reason = Annotated[str, AfterValidator(plain_text), Field(max_length=500)]
"""Why, in the asker's words; it stands in the journal."""


def _bounded(start_us: int, end_us: int, longest_s: int) -> None:
    if end_us <= start_us:
        raise ValueError("the interval is empty: end_us must be after start_us")
    if end_us - start_us > longest_s * US:
        raise ValueError(f"the interval is longer than {longest_s // 3600} hours: ask for it in parts")


class StatusArgs(Closed):
    """`status` asks nothing more."""

    action: ClassVar[Action] = Action.STATUS


class ExportArgs(Closed):
    """`export`: one camera, one interval [start_us, end_us), sealed to one recipient, put into one named target.

    Without a target, at the node only: leave to take it out there, sealed or (without a recipient) plain.
    """

    action: ClassVar[Action] = Action.EXPORT

    camera: Name
    start_us: int = Field(ge=0, le=MAX_TIME_S * US)
    end_us: int = Field(ge=0, le=MAX_TIME_S * US)
    recipient: AgeKey | None = None
    target: Name | None = None
    reason: Reason = ""
    order: SignedOrder | None = None
    incident: AlarmId | None = None
    """The alarm whose recordings they are: the register ties the release to it once it is done."""

    @model_validator(mode="after")
    def _sensible(self) -> ExportArgs:
        _bounded(self.start_us, self.end_us, MAX_EXPORT_S)
        if self.target is not None and self.recipient is None:
            raise ValueError("recipient: what goes to a target is sealed to somebody")
        if self.target is None and self.incident is not None:
            raise ValueError("incident: only of what goes to a target")
        return self

    @property
    def interval(self) -> Interval:
        return Interval(self.start_us, self.end_us)


Said = Annotated[str, AfterValidator(plain_text), Field(min_length=1, max_length=200)]
OrderNumber = Annotated[str, AfterValidator(plain_text), Field(min_length=1, max_length=64)]


class PlayArgs(Closed):
    """`play`: leave to watch one camera's interval [start_us, end_us) at the node at once."""

    action: ClassVar[Action] = Action.PLAY

    camera: Name
    start_us: int = Field(ge=0, le=MAX_TIME_S * US)
    end_us: int = Field(ge=0, le=MAX_TIME_S * US)
    reason: Reason = ""
    order: SignedOrder | None = None
    """A release whose purpose it serves, for whoever is limited to some purposes."""

    @model_validator(mode="after")
    def _sensible(self) -> PlayArgs:
        _bounded(self.start_us, self.end_us, MAX_EXPORT_S)
        return self

    @property
    def interval(self) -> Interval:
        return Interval(self.start_us, self.end_us)


class SearchArgs(Closed):
    """`search`: what the archive has: in sum, in an interval of all cameras, or one camera's recordings of it."""

    action: ClassVar[Action] = Action.SEARCH

    camera: Name | None = None
    start_us: int | None = Field(default=None, ge=0, le=MAX_TIME_S * US)
    end_us: int | None = Field(default=None, ge=0, le=MAX_TIME_S * US)
    """Neither or both of them."""
    reason: Reason = ""

    @model_validator(mode="after")
    def _sensible(self) -> SearchArgs:
        if (self.start_us is None) != (self.end_us is None):
            raise ValueError("start_us and end_us: both or neither")
        if self.start_us is not None and self.end_us is not None:
            _bounded(self.start_us, self.end_us, MAX_SEARCH_S if self.camera else MAX_SEARCH_ALL_S)
        return self

    @property
    def interval(self) -> Interval | None:
        return None if self.start_us is None or self.end_us is None else Interval(self.start_us, self.end_us)


class Work(StrEnum):
    """What is done to the node by hand."""

    VISIT_OPEN = "visit_open"
    """Somebody is at the cabinet."""
    VISIT_CLOSE = "visit_close"
    KEYS_ROTATE = "keys_rotate"
    KEYS_DROP = "keys_drop"
    REWRAP = "rewrap"
    REBUILD = "rebuild"
    CHECK = "check"
    REPAIR = "repair"
    TUNE = "tune"
    """Looking at a camera to set its zones."""


class MaintainArgs(Closed):
    """`maintain`: presence at the node, or leave for work on it."""

    action: ClassVar[Action] = Action.MAINTAIN

    work: Annotated[Work, Field(strict=False)]
    reason: Reason = ""
    person: Name | None = None
    """Of `visit_close`: whose visit, when it is not the asker's own."""

    @model_validator(mode="after")
    def _sensible(self) -> MaintainArgs:
        if self.work is Work.VISIT_OPEN and not self.reason.strip():
            raise ValueError("reason: say why you are here")
        if self.person is not None and self.work is not Work.VISIT_CLOSE:
            raise ValueError("person: only of visit_close")
        return self


class HoldArgs(Closed):
    """`hold`: keep an interval of some cameras (or all) until it is let go, by an official's order."""

    action: ClassVar[Action] = Action.HOLD

    cameras: tuple[Name, ...] = Field(default=(), max_length=64, strict=False)
    """None: all of the node's, those of the future included."""
    start_us: int = Field(ge=0, le=MAX_TIME_S * US)
    end_us: int | None = Field(default=None, ge=0, le=MAX_TIME_S * US)
    """None: until it is let go."""
    order_number: OrderNumber
    ordered_by: Said
    """Surname, name and patronymic of the official."""
    reason: Reason = ""
    order: SignedOrder | None = None
    incident: AlarmId | None = None
    """The alarm whose recordings they are: the register ties the hold to it."""

    @model_validator(mode="after")
    def _sensible(self) -> HoldArgs:
        if self.end_us is not None and self.end_us <= self.start_us:
            raise ValueError("the interval is empty: end_us must be after start_us")
        return self


class HoldEndArgs(Closed):
    """`hold_end`: let go what a hold keeps, by an official's order."""

    action: ClassVar[Action] = Action.HOLD_END

    hold_id: HoldId
    order_number: OrderNumber
    ordered_by: Said
    reason: Reason = ""
    order: SignedOrder | None = None


class HoldsArgs(Closed):
    """`holds`: all of them, or one with what is there and what is missing of it."""

    action: ClassVar[Action] = Action.HOLDS

    hold_id: HoldId | None = None


_CODES = {
    jws.Fault.MALFORMED: RefusalCode.MALFORMED,
    jws.Fault.UNKNOWN_SIGNER: RefusalCode.UNKNOWN_PERSON,
    jws.Fault.BAD_SIGNATURE: RefusalCode.BAD_SIGNATURE,
}


class ClockConfirmArgs(Closed):
    """`clock_confirm`: the time that the node's clock showed is the right one."""

    action: ClassVar[Action] = Action.CLOCK_CONFIRM

    read_us: int = Field(ge=0, le=MAX_TIME_S * US)
    """What it showed to the person."""


class ModeArgs(Closed):
    """`mode`: set the mode of the node or of one camera, or go back to the programme."""

    action: ClassVar[Action] = Action.MODE

    mode: Name | None = None
    """None: back to the programme."""
    camera: Name | None = None
    """None: the node."""
    until_us: int | None = Field(default=None, ge=0, le=MAX_TIME_S * US)
    """None: until the next such command."""
    reason: Reason = ""

    @model_validator(mode="after")
    def _sensible(self) -> ModeArgs:
        if self.mode is None and self.until_us is not None:
            raise ValueError("until_us: only with a mode, for the programme has no end")
        return self


class JournalArgs(Closed):
    """`journal`: entries of the journal with their proofs."""

    action: ClassVar[Action] = Action.JOURNAL

    query: AuditQuery = Field(default=AuditQuery(), strict=False)


CommandArgs = (
    StatusArgs
    | SearchArgs
    | PlayArgs
    | ExportArgs
    | HoldArgs
    | HoldEndArgs
    | HoldsArgs
    | ClockConfirmArgs
    | MaintainArgs
    | JournalArgs
    | ModeArgs
    | AcknowledgeArgs
    | IncidentArgs
    | IncidentsArgs
)

_ARGS: Mapping[Action, type[CommandArgs]] = {kind.action: kind for kind in get_args(CommandArgs)}


def cameras_of(args: CommandArgs) -> tuple[str, ...]:
    """The cameras that a command concerns, as `policy.Wanted` has them."""
    match args:
        case ExportArgs() | PlayArgs():
            return (args.camera,)
        case SearchArgs():
            return (args.camera or ALL_CAMERAS,)
        case HoldArgs():
            return args.cameras or (ALL_CAMERAS,)
        case ModeArgs():
            return (args.camera or ALL_CAMERAS,)
        case HoldEndArgs():
            return (ALL_CAMERAS,)  # the door does not know which ones the hold keeps
    return ()


class _Claims(Closed):
    """Times are whole seconds since 1970 (NumericDate of RFC 7519, without its fractions)."""

    iss: Annotated[str, Field(max_length=64)]
    aud: Annotated[str, Field(max_length=128)]
    iat: int = Field(ge=0, le=MAX_TIME_S)
    exp: int = Field(ge=0, le=MAX_TIME_S)
    jti: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{15,63}$")]
    """Also a level of the topic that the answer goes to, hence no leading sign."""
    action: Annotated[str, Field(max_length=64)]
    args: dict[str, Any]


def schema() -> dict[str, Any]:
    """JSON Schema of a command's claims; `args` as the `action` asks."""
    whole = _Claims.model_json_schema()
    kinds, named = models_json_schema([(kind, "validation") for kind in _ARGS.values()])
    del whole["properties"]["args"], whole["properties"]["action"], whole["additionalProperties"]
    choices = [
        {"properties": {"action": {"const": str(action)}, "args": kinds[kind, "validation"]}}
        for action, kind in _ARGS.items()
    ]
    return {**whole, "title": "Command", "oneOf": choices, "unevaluatedProperties": False, "$defs": named["$defs"]}


@dataclass(frozen=True, slots=True)
class SignedCommand:
    """What a person ordered, the signature verified."""

    person_id: PersonId
    audience: str
    issued_us: int
    expires_us: int
    nonce: str
    action: Action
    args: CommandArgs


def sign(
    key: Ed25519PrivateKey,
    person_id: str,
    audience: str,
    args: CommandArgs,
    now_us: int,
    *,
    lifetime_s: int = 120,
    nonce: str | None = None,
) -> bytes:
    """The token to send; `audience` is `<site>/<node>`.  ValueError when it would live too long or not at all."""
    if not 0 < lifetime_s <= MAX_LIFETIME_S:
        raise ValueError(f"a command lives from 1 to {MAX_LIFETIME_S} s")
    issued_s = now_us // US
    claims = _Claims(
        iss=person_id,
        aud=audience,
        iat=issued_s,
        exp=issued_s + lifetime_s,
        jti=nonce or secrets.token_hex(16),
        action=args.action,
        args=args.model_dump(exclude_defaults=True),
    )
    return jws.encode(key, TYPE, person_id, claims.model_dump_json().encode())


def verify(
    token: bytes, people: Mapping[PersonId, Person], audience: str, now_us: int, *, leeway_s: int = LEEWAY_S
) -> SignedCommand:
    """The command of a token that a known person signed for this node and for now.

    Every fault is a CommandRefusedError; nothing of the claims is looked at before the signature holds.
    """
    person, payload = _authentic(token, people)
    claims = _claims(payload, person)

    def refuse(code: RefusalCode, words: str) -> NoReturn:
        raise CommandRefusedError(code, words, person)

    if claims.iss != person.person_id:
        refuse(RefusalCode.MALFORMED, "the command says it is by another person than the one who signed it")
    if claims.aud != audience:
        refuse(RefusalCode.OTHER_NODE, f"the command is for {claims.aud!r}, this node is {audience!r}")
    if claims.exp <= claims.iat:
        refuse(RefusalCode.MALFORMED, "the command expires before it was issued")
    if claims.exp - claims.iat > MAX_LIFETIME_S:
        refuse(RefusalCode.TOO_LONG_LIVED, f"the command lives longer than {MAX_LIFETIME_S} s")
    if claims.iat * US > now_us + leeway_s * US:
        ahead_s = claims.iat - now_us // US
        refuse(RefusalCode.NOT_YET, f"issued {ahead_s} s ahead of this node's clock: check both clocks")
    if claims.exp * US + leeway_s * US <= now_us:
        refuse(RefusalCode.EXPIRED, f"expired {now_us // US - claims.exp} s ago by this node's clock: sign it anew")
    if claims.action not in _ARGS:
        known = ", ".join(_ARGS)
        refuse(RefusalCode.UNKNOWN_ACTION, f"this node knows no action {claims.action!r}, only: {known}")
    action = Action(claims.action)
    try:
        args = _ARGS[action].model_validate(claims.args)
    except ValidationError as error:
        refuse(RefusalCode.BAD_ARGUMENTS, f"{action}: {jws.mistakes(error)}")
    return SignedCommand(person.person_id, claims.aud, claims.iat * US, claims.exp * US, claims.jti, action, args)


def _authentic(token: bytes, people: Mapping[PersonId, Person]) -> tuple[Person, bytes]:
    """Who signed, and what."""

    def key_of(name: str) -> PublicKey | None:
        person = people.get(PersonId(name))
        return person.public_key if person else None

    try:
        name, payload = jws.decode(token, TYPE, "a command", MAX_TOKEN_BYTES, key_of)
    except jws.BadTokenError as error:
        raise CommandRefusedError(_CODES[error.fault], str(error)) from error
    return people[PersonId(name)], payload


def _claims(payload: bytes, person: Person) -> _Claims:
    try:
        return jws.parse(_Claims, payload, "the claims")
    except jws.BadTokenError as error:
        raise CommandRefusedError(RefusalCode.MALFORMED, str(error), person) from error
