"""Who may do what: the city's rules (order 362-р, clauses 4.3, 4.4, 4.7–4.11) as a table, and its one question.

Roles are people's, not accounts'; an action that the table does not give to a role is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from edge_agent.model import PersonId
from edge_agent.trust.keys import PublicKey


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
    """See the health of the node and of its cameras."""
    EXPORT = "export"
    """Take an interval out of the archive and hand it to a recipient."""
    HOLD = "hold"
    """Carry out an order that recordings of an interval must not be deleted (clause 4.6)."""
    HOLD_END = "hold_end"
    """Carry out the order that lets them go."""
    HOLDS = "holds"
    """See what is held."""
    CLOCK_CONFIRM = "clock_confirm"
    """Vouch for the node's clock, where no time server does."""


class Access(StrEnum):
    """How somebody reaches the node."""

    REMOTE = "remote"
    """Through the broker."""
    DIRECT = "direct"
    """At the node itself."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody the node knows, by name and role (clause 4.3)."""

    person_id: PersonId
    surname: str
    name: str
    patronymic: str
    role: Role
    public_key: PublicKey

    @property
    def full_name(self) -> str:
        return " ".join(part for part in (self.surname, self.name, self.patronymic) if part)


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str


_REMOTE = frozenset({Access.REMOTE})
_DIRECT = frozenset({Access.DIRECT})
_BOTH = _REMOTE | _DIRECT

POLICY = MappingProxyType(
    {
        Action.STATUS: MappingProxyType(
            {
                Role.MAYOR: _REMOTE,
                Role.DEPUTY: _REMOTE,
                Role.ARCHIVE_OFFICER: _REMOTE,
                Role.CONTRACTOR: _DIRECT,
                Role.OPERATOR: _REMOTE,
            }
        ),
        Action.EXPORT: MappingProxyType(
            {
                Role.ARCHIVE_OFFICER: _BOTH,
                Role.CONTRACTOR: _DIRECT,
            }
        ),
        Action.HOLD: MappingProxyType({Role.ARCHIVE_OFFICER: _BOTH}),
        Action.HOLD_END: MappingProxyType({Role.ARCHIVE_OFFICER: _BOTH}),
        Action.HOLDS: MappingProxyType(
            {
                Role.MAYOR: _REMOTE,
                Role.DEPUTY: _REMOTE,
                Role.ARCHIVE_OFFICER: _BOTH,
            }
        ),
        # Whoever vouches for the clock has to see it, and the time around him.
        Action.CLOCK_CONFIRM: MappingProxyType({Role.ARCHIVE_OFFICER: _DIRECT, Role.CONTRACTOR: _DIRECT}),
    }
)
"""For each action, the roles that have it and by which access."""


def decide(person: Person, action: Action, access: Access) -> Decision:
    """Whether this person may do this, coming this way; the reason in words for the answer and the journal."""
    ways = POLICY[action].get(person.role, frozenset())
    if access in ways:
        return Decision(True, f"{person.role} may {action} by {access} access")
    if ways:
        return Decision(False, f"{person.role} may {action} by {', '.join(sorted(ways))} access only, not {access}")
    return Decision(False, f"{person.role} may not {action}")
