"""Who may do what: the city's rules (order 362-р, clauses 4.3, 4.4, 4.6–4.11) as a table, and its one question.

Roles are people's, not accounts'; an action that the table does not give to a role is refused.  What a roster says of a
person (`docs/roster.md`) can only take away from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum
from types import MappingProxyType

from edge_agent.clock import US
from edge_agent.model import PersonId
from edge_agent.trust.keys import PublicKey
from edge_agent.when import from_us

FOREVER_US = 253_402_300_800 * US
ALL_CAMERAS = "*"


class Role(StrEnum):
    MAYOR = "mayor"
    DEPUTY = "deputy"
    """The first deputy mayor and the deputies."""
    ARCHIVE_OFFICER = "archive_officer"
    CONTRACTOR = "contractor"
    LAW_ENFORCEMENT = "law_enforcement"
    OPERATOR = "operator"
    """Of the dispatch service 15-80."""
    AUDITOR = "auditor"


class Action(StrEnum):
    STATUS = "status"
    """See the health of the node and of its cameras, alarms with pictures."""
    LIVE = "live"
    """See what a camera sees now."""
    SEARCH = "search"
    """See what the archive has."""
    PLAY = "play"
    """Watch an interval of the archive at once."""
    EXPORT = "export"
    """Take an interval out of the archive and hand it to a recipient."""
    ORDER_HOLD = "order_hold"
    """Order that recordings of an interval must not be deleted (clause 4.6)."""
    HOLD = "hold"
    """Carry out such an order."""
    ORDER_HOLD_END = "order_hold_end"
    """Order that they be let go and destroyed."""
    HOLD_END = "hold_end"
    """Carry out the order that lets them go."""
    HOLDS = "holds"
    """See what is held."""
    DECIDE_RELEASE = "decide_release"
    """Decide that recordings go to somebody (clauses 4.7–4.11)."""
    MODE = "mode"
    """Change the mode: armed, disarmed, night …"""
    ACKNOWLEDGE = "acknowledge"
    """Acknowledge an alarm."""
    INCIDENT = "incident"
    """Write the incident register."""
    INCIDENTS = "incidents"
    """Read it."""
    JOURNAL = "journal"
    """Read the access journal."""
    MAINTAIN = "maintain"
    """Restart, configure, diagnose the node."""
    CLOCK_CONFIRM = "clock_confirm"
    """Vouch for the node's clock, where no time server does."""


class Access(StrEnum):
    """How somebody reaches the node."""

    REMOTE = "remote"
    """Through the broker."""
    DIRECT = "direct"
    """At the node itself."""
    ORDER = "order"
    """By a signed document that somebody else's command carries."""


class Purpose(StrEnum):
    """On which ground the archive is used; the kinds of an order's basis."""

    OFFICIAL_REQUEST = "official_request"
    """Of law enforcement or a court (clause 4.7)."""
    REASONED_REQUEST = "reasoned_request"
    """Of a third party (clause 4.8)."""
    MEMO = "memo"
    """Of a department of the city (clause 4.9)."""
    OWN_DECISION = "own_decision"
    """Of the official who signs (clause 4.6)."""


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of the day in the site's zone, on some days of the week; one that ends before it starts ends the next day,
    one that ends when it starts lasts 24 hours."""

    days: frozenset[int]
    """1 is Monday, as in ISO 8601; the day on which the span starts."""
    start_min: int
    """Minutes since midnight, 0 … 1439."""
    end_min: int

    def hold(self, day: int, minute: int) -> bool:
        if self.start_min < self.end_min:
            return day in self.days and self.start_min <= minute < self.end_min
        yesterday = (day - 2) % 7 + 1
        return (day in self.days and minute >= self.start_min) or (yesterday in self.days and minute < self.end_min)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one person has less than the role; None takes nothing away."""

    cameras: frozenset[str] | None = None
    """`<site>/<node>/<camera>`, or `<site>/<node>/*` for all cameras of a node."""
    hours: tuple[Hours, ...] | None = None
    purposes: frozenset[Purpose] | None = None
    """Concern the archive only."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the node knows, by name and role (clause 4.3)."""

    person_id: PersonId
    surname: str
    name: str
    patronymic: str
    roles: tuple[Role, ...]
    public_key: PublicKey
    position: str = ""
    from_us: int = 0
    until_us: int = FOREVER_US
    limits: Limits = Limits()

    @property
    def full_name(self) -> str:
        return " ".join(part for part in (self.surname, self.name, self.patronymic) if part)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an action concerns, where; the default is a node that nobody's limits name."""

    node: str = ""
    """`<site>/<node>`"""
    zone: tzinfo = UTC
    cameras: tuple[str, ...] = ()
    """The cameras it concerns; ALL_CAMERAS is one of them that stands for all.  Empty: no camera, but the node."""
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str


_REMOTE = frozenset({Access.REMOTE})
_DIRECT = frozenset({Access.DIRECT})
_BOTH = _REMOTE | _DIRECT
_ORDER = frozenset({Access.ORDER})

_OFFICIALS_ORDER = {Role.MAYOR: _ORDER, Role.DEPUTY: _ORDER}
_ARCHIVE = {Role.ARCHIVE_OFFICER: _BOTH, Role.CONTRACTOR: _DIRECT}
_CARRY_OUT = {Role.ARCHIVE_OFFICER: _BOTH}
_OPERATE = {Role.ARCHIVE_OFFICER: _BOTH, Role.OPERATOR: _BOTH}

POLICY: Mapping[Action, Mapping[Role, frozenset[Access]]] = MappingProxyType(
    {
        action: MappingProxyType(roles)
        for action, roles in {
            Action.STATUS: {
                Role.MAYOR: _REMOTE,
                Role.DEPUTY: _REMOTE,
                Role.ARCHIVE_OFFICER: _REMOTE,
                Role.CONTRACTOR: _DIRECT,
                Role.OPERATOR: _REMOTE,
            },
            Action.LIVE: {
                Role.MAYOR: _REMOTE,
                Role.DEPUTY: _REMOTE,
                Role.ARCHIVE_OFFICER: _BOTH,
                Role.CONTRACTOR: _DIRECT,
                Role.LAW_ENFORCEMENT: _REMOTE,
                Role.OPERATOR: _REMOTE,
            },
            Action.SEARCH: _ARCHIVE,
            Action.PLAY: _ARCHIVE,
            Action.EXPORT: _ARCHIVE,
            Action.ORDER_HOLD: _OFFICIALS_ORDER,
            Action.HOLD: _CARRY_OUT,
            Action.ORDER_HOLD_END: _OFFICIALS_ORDER,
            Action.HOLD_END: _CARRY_OUT,
            Action.HOLDS: {Role.MAYOR: _REMOTE, Role.DEPUTY: _REMOTE, Role.ARCHIVE_OFFICER: _BOTH},
            Action.DECIDE_RELEASE: {Role.MAYOR: _ORDER},
            Action.MODE: _OPERATE,
            Action.ACKNOWLEDGE: _OPERATE,
            Action.INCIDENT: _OPERATE,
            Action.INCIDENTS: {Role.MAYOR: _REMOTE, Role.DEPUTY: _REMOTE, **_OPERATE},
            Action.JOURNAL: {
                Role.MAYOR: _REMOTE,
                Role.DEPUTY: _REMOTE,
                Role.ARCHIVE_OFFICER: _BOTH,
                Role.AUDITOR: _REMOTE,
            },
            Action.MAINTAIN: {Role.CONTRACTOR: _DIRECT},
            # Whoever vouches for the clock has to see it, and the time around him.
            Action.CLOCK_CONFIRM: {Role.ARCHIVE_OFFICER: _DIRECT, Role.CONTRACTOR: _DIRECT},
        }.items()
    }
)
"""For each action, the roles that have it and by which access."""

OF_THE_ARCHIVE = frozenset(
    {
        Action.SEARCH,
        Action.PLAY,
        Action.EXPORT,
        Action.HOLD,
        Action.HOLD_END,
        Action.ORDER_HOLD,
        Action.ORDER_HOLD_END,
        Action.DECIDE_RELEASE,
    }
)
"""What a person's purposes are asked for."""


_ANYWHERE = Wanted()


def decide(person: Person, action: Action, access: Access, now_us: int, wanted: Wanted = _ANYWHERE) -> Decision:
    """Whether this person may do this, coming this way, now; the reason in words for the answer and the journal."""
    decision = _by_role(person, action, access)
    if not decision.allowed:
        return decision
    if now_us < person.from_us:
        return Decision(False, f"{person.person_id} may do nothing before {_day(person.from_us)}")
    if now_us >= person.until_us:
        return Decision(False, f"{person.person_id} may do nothing since {_day(person.until_us)}")
    trouble = _beyond(person.limits, action, now_us, wanted)
    return Decision(False, f"{person.person_id} {trouble}") if trouble else decision


def _by_role(person: Person, action: Action, access: Access) -> Decision:
    table = POLICY[action]
    for role in person.roles:
        if access in table.get(role, ()):
            return Decision(True, f"{role} may {action} by {access} access")
    for role in person.roles:
        if ways := table.get(role):
            return Decision(False, f"{role} may {action} by {', '.join(sorted(ways))} access only, not {access}")
    return Decision(False, f"{' and '.join(person.roles) or 'nobody without a role'} may not {action}")


def _beyond(limits: Limits, action: Action, now_us: int, wanted: Wanted) -> str | None:
    """What the person lacks, in words."""
    if limits.cameras is not None:
        whole_node = f"{wanted.node}/{ALL_CAMERAS}"
        if not wanted.cameras and not any(name.rpartition("/")[0] == wanted.node for name in limits.cameras):
            return "is limited to cameras of other nodes"
        others = [name for name in wanted.cameras if f"{wanted.node}/{name}" not in limits.cameras]
        if others and whole_node not in limits.cameras:
            said = "all cameras" if ALL_CAMERAS in others else f"camera {', '.join(others)}"
            return f"is limited to some cameras, and {said} is not among them"
    if limits.hours is not None:
        local = from_us(now_us).astimezone(wanted.zone)
        if not any(span.hold(local.isoweekday(), local.hour * 60 + local.minute) for span in limits.hours):
            return f"is limited to some hours, and {local:%a %H:%M} is not in them"
    if limits.purposes is not None and action in OF_THE_ARCHIVE and wanted.purpose not in limits.purposes:
        known = ", ".join(sorted(limits.purposes)) or "none"
        return f"is limited to the purposes {known}, not {wanted.purpose or 'an unnamed one'}"
    return None


def _day(at_us: int) -> str:
    return f"{from_us(at_us):%Y-%m-%d %H:%M} UTC"
