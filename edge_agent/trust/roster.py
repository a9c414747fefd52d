"""The roster: the city's people and recipients, signed by its authority (`docs/roster.md`).

Pure: parse, verify, compare; keeping one is `roster_store.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, ValidationError, model_validator

from edge_agent.clock import US
from edge_agent.errors import RefusedError
from edge_agent.model import PersonId
from edge_agent.trust import jws
from edge_agent.trust.age_keys import Recipient
from edge_agent.trust.jws import BadTokenError, Closed, plain_text
from edge_agent.trust.keys import PublicKey, parse_public_key, public_key_of
from edge_agent.trust.policy import Hours, Limits, Person, Purpose, Role

TYPE = "edge-roster+jwt"
SIGNER = "authority"
MAX_ROSTER_BYTES = 256 * 1024
MAX_PEOPLE = 400
MAX_RECIPIENTS = 200
MAX_LIFETIME_S = 400 * 86400
LEEWAY_S = 60
MAX_VERSION = 10**9
LAST_S = 253_370_764_800
"""The year 9999: later times can't be shown in every zone."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CAMERA = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}/[a-z0-9][a-z0-9_-]{0,31}/(?:\*|[a-z0-9][a-z0-9_-]{0,31})", re.ASCII)
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)


class RosterRefusedError(RefusedError):
    """No roster of this authority, or an older one."""


class RecipientKind(StrEnum):
    LAW_ENFORCEMENT = "law_enforcement"
    COURT = "court"
    CITY = "city"
    """A department of the city (clause 4.9)."""
    THIRD_PARTY = "third_party"
    """Whoever else may get a recording (clause 4.8)."""


def _public_key(text: str) -> str:
    parse_public_key(text)
    return text


def _age_key(text: str) -> str:
    return str(Recipient.parse(text))


def _camera(text: str) -> str:
    if not _CAMERA.fullmatch(text):
        raise ValueError('"<site>/<node>/<camera>", or "<site>/<node>/*" for all cameras of a node')
    return text


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError('a time of day, "08:00"')
    return text


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Line = Annotated[str, AfterValidator(plain_text), Field(min_length=1, max_length=100)]
MaybeLine = Annotated[str, AfterValidator(plain_text), Field(max_length=200)]
Seconds = Annotated[int, Field(ge=0, le=LAST_S)]
AgeKey = Annotated[str, AfterValidator(_age_key)]
TimeOfDay = Annotated[str, AfterValidator(_time)]
Word = Annotated[str, Field(max_length=32)]


class HoursEntry(Closed):
    days: tuple[Word, ...] = Field(min_length=1, max_length=7, strict=False)
    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")

    @model_validator(mode="after")
    def _known_days(self) -> HoursEntry:
        if not set(self.days) <= set(DAYS):
            raise ValueError(f"days: {', '.join(DAYS)}")
        return self

    def hours(self) -> Hours:
        def minutes(text: str) -> int:
            return int(text[:2]) * 60 + int(text[3:])

        return Hours(frozenset(DAYS.index(day) + 1 for day in self.days), minutes(self.start), minutes(self.end))


class LimitsEntry(Closed):
    """What one person has less than the role; what is not there takes nothing away."""

    cameras: tuple[Annotated[str, AfterValidator(_camera)], ...] | None = Field(None, max_length=200, strict=False)
    hours: tuple[HoursEntry, ...] | None = Field(None, max_length=14, strict=False)
    purposes: tuple[Annotated[Purpose, Field(strict=False)], ...] | None = Field(None, max_length=8, strict=False)

    def limits(self) -> Limits:
        return Limits(
            cameras=None if self.cameras is None else frozenset(self.cameras),
            hours=None if self.hours is None else tuple(entry.hours() for entry in self.hours),
            purposes=None if self.purposes is None else frozenset(self.purposes),
        )


class _Timed(Closed):
    valid_from: Seconds = 0
    valid_until: Seconds = LAST_S

    @model_validator(mode="after")
    def _in_order(self) -> Any:
        if self.valid_until <= self.valid_from:
            raise ValueError("valid_until must be after valid_from")
        return self


class PersonRow(_Timed):
    """Somebody, with the roles of `policy.Role`."""

    id: Name
    surname: Line
    name: Line
    patronymic: MaybeLine = ""
    position: MaybeLine = ""
    roles: tuple[Annotated[Role, Field(strict=False)], ...] = Field(min_length=1, max_length=len(Role), strict=False)
    public_key: Annotated[str, AfterValidator(_public_key)]
    age_key: AgeKey | None = None
    limits: LimitsEntry = LimitsEntry()

    def person(self) -> Person:
        return Person(
            PersonId(self.id),
            self.surname,
            self.name,
            self.patronymic,
            self.roles,
            parse_public_key(self.public_key),
            self.position,
            self.valid_from * US,
            self.valid_until * US,
            self.limits.limits(),
        )


class RecipientRow(_Timed):
    """A body or a person that recordings may be released to."""

    id: Name
    name: Annotated[str, AfterValidator(plain_text), Field(min_length=1, max_length=200)]
    kind: Annotated[RecipientKind, Field(strict=False)]
    age_key: AgeKey


class Draft(Closed):
    """What the authority edits: a roster without version and dates."""

    city: Line
    people: tuple[PersonRow, ...] = Field((), max_length=MAX_PEOPLE, strict=False)
    recipients: tuple[RecipientRow, ...] = Field((), max_length=MAX_RECIPIENTS, strict=False)

    @model_validator(mode="after")
    def _each_once(self) -> Draft:
        for what, found in (
            ("people: an id", [row.id for row in self.people]),
            ("people: a public key", [row.public_key for row in self.people]),
            ("recipients: an id", [row.id for row in self.recipients]),
            ("recipients: an age key", [row.age_key for row in self.recipients]),
        ):
            doubles = sorted({one for one in found if found.count(one) > 1})
            if doubles:
                raise ValueError(f"{what} stands twice: {doubles[0]}")
        return self


class Claims(Draft):
    """The payload of the token.  Times are whole seconds since 1970."""

    version: int = Field(ge=1, le=MAX_VERSION)
    iat: Seconds
    exp: Seconds

    @model_validator(mode="after")
    def _lives(self) -> Claims:
        if not 0 < self.exp - self.iat <= MAX_LIFETIME_S:
            raise ValueError(f"exp: after iat, by at most {MAX_LIFETIME_S // 86400} days")
        return self

    def draft(self) -> Draft:
        return Draft(city=self.city, people=self.people, recipients=self.recipients)


@dataclass(frozen=True, slots=True)
class Roster:
    """One version, its signature verified."""

    claims: Claims
    people: Mapping[PersonId, Person]
    token: bytes

    @property
    def version(self) -> int:
        return self.claims.version

    def in_force(self, now_us: int) -> str | None:
        """None while it is; otherwise why not."""
        if now_us < (self.claims.iat - LEEWAY_S) * US:
            return f"roster {self.version} is issued ahead of this node's clock: check the clock"
        if now_us >= self.claims.exp * US:
            return f"roster {self.version} has expired: the authority must sign a new one"
        return None

    def may_receive(self, age_key: str, now_us: int) -> bool:
        """Whether recordings may go to this key now: a recipient's, or a person's own."""
        rows: tuple[RecipientRow | PersonRow, ...] = (*self.claims.recipients, *self.claims.people)
        known = [row for row in rows if row.age_key == age_key]
        return any(row.valid_from * US <= now_us < row.valid_until * US for row in known)


def sign(key: Ed25519PrivateKey, draft: Draft, version: int, now_us: int, lifetime_s: int) -> bytes:
    """The token; RosterRefusedError when it would be none that nodes take."""
    issued_s = now_us // US
    content = {**json.loads(draft_json(draft)), "version": version, "iat": issued_s, "exp": issued_s + lifetime_s}
    try:
        claims = Claims.model_validate(content)
    except ValidationError as error:
        raise RosterRefusedError(f"no roster: {jws.mistakes(error)}") from error
    token = jws.encode(key, TYPE, SIGNER, _json(claims))
    verify(token, public_key_of(key))
    return token


def verify(token: bytes, authority: PublicKey) -> Roster:
    """The roster of a token by this authority; RosterRefusedError says what is wrong.

    Whether it is in force is another question: its dates need a clock.
    """
    try:
        _, payload = jws.decode(
            token, TYPE, "a roster", MAX_ROSTER_BYTES, lambda name: authority if name == SIGNER else None
        )
        claims = jws.parse(Claims, payload, "the roster")
    except BadTokenError as error:
        raise RosterRefusedError(str(error)) from error
    if any(row.public_key == str(authority) for row in claims.people):
        raise RosterRefusedError("the authority's own key is no person's: whoever signs the roster needs another one")
    people = {person.person_id: person for person in (row.person() for row in claims.people)}
    return Roster(claims, MappingProxyType(people), token)


def read_claims(token: bytes) -> Claims:
    """What a roster says, unproven; RosterRefusedError when it is none."""
    try:
        return jws.parse(Claims, jws.unproven(token, MAX_ROSTER_BYTES), "the roster")
    except BadTokenError as error:
        raise RosterRefusedError(str(error)) from error


def newer(current: Roster | None, offered: Roster) -> bool:
    """Whether the offered one is to be installed; false when it is the current one.

    RosterRefusedError when it is older, or another one under the same number.
    """
    if current is None or offered.version > current.version:
        return True
    if offered.version < current.version:
        raise RosterRefusedError(
            f"roster {offered.version} is older than roster {current.version}, which is here: never taken back"
        )
    if offered.claims != current.claims:
        raise RosterRefusedError(f"another roster {offered.version} is here already: sign it with a higher number")
    return False


def parse_draft(raw: bytes) -> Draft:
    """From its JSON; RosterRefusedError says what is wrong."""
    if len(raw) > MAX_ROSTER_BYTES:
        raise RosterRefusedError(f"a roster is at most {MAX_ROSTER_BYTES} bytes long")
    try:
        return jws.parse(Draft, raw, "the draft")
    except BadTokenError as error:
        raise RosterRefusedError(str(error)) from error


def draft_json(draft: Draft) -> bytes:
    """For people to read and edit, and `parse_draft` to read."""
    return json.dumps(_plain(draft), ensure_ascii=False, indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference of two rosters."""

    what: str
    """`people` or `recipients`."""
    id: str
    kind: str
    """`added`, `removed` or `changed`."""
    fields: Mapping[str, tuple[Any, Any]]
    """Old and new, of what is changed."""


def diff(old: Draft, new: Draft) -> list[Change]:
    """From old to new, people first, by id."""
    return [*_changes("people", old.people, new.people), *_changes("recipients", old.recipients, new.recipients)]


def _changes(
    what: str, old: Iterable[PersonRow | RecipientRow], new: Iterable[PersonRow | RecipientRow]
) -> Iterator[Change]:
    before, after = ({row.id: _plain(row) for row in rows} for rows in (old, new))
    for name in sorted({*before, *after}):
        if name not in before:
            yield Change(what, name, "added", {})
        elif name not in after:
            yield Change(what, name, "removed", {})
        elif before[name] != after[name]:
            keys = sorted({*before[name], *after[name]})
            pairs = {key: (before[name].get(key), after[name].get(key)) for key in keys}
            yield Change(what, name, "changed", {key: pair for key, pair in pairs.items() if pair[0] != pair[1]})


def _plain(model: Closed) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _json(model: Closed) -> bytes:
    return json.dumps(_plain(model), ensure_ascii=False, separators=(",", ":")).encode()
