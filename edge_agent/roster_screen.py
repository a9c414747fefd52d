"""A roster for people to read, in Ukrainian or English, and for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_agent.clock import US
from edge_agent.config import Language
from edge_agent.trust.roster import LAST_S, Change, Claims, Draft, PersonRow, RecipientRow, draft_json
from edge_agent.when import from_us

_UK: Mapping[str, str] = MappingProxyType(
    {
        "roster": "Реєстр {version}, {city}: підписано {signed}, чинний до {until}",
        "draft": "Чернетка реєстру, {city}",
        "person": "особа", "position": "посада", "roles": "ролі", "valid": "чинність", "limits": "обмеження",
        "recipient": "одержувач", "kind": "хто це", "age_key": "ключ age", "ever": "безстроково", "none": "–",
        "added": "додано", "removed": "вилучено", "changed": "змінено", "same": "відмінностей немає",
        "people": "особа", "recipients": "одержувач", "public_key": "ключ підпису",
        "mayor": "міський голова", "deputy": "заступник міського голови", "archive_officer": "архіваріус",
        "contractor": "підрядник", "law_enforcement": "правоохоронець", "operator": "оператор 15-80",
        "auditor": "аудитор", "court": "суд", "city": "підрозділ міста", "third_party": "інша особа",
        "cameras": "камери", "hours": "години", "purposes": "підстави",
    }
)  # fmt: skip
_EN: Mapping[str, str] = MappingProxyType(
    {
        "roster": "Roster {version}, {city}: signed {signed}, in force until {until}",
        "draft": "Draft of a roster, {city}",
        "person": "person", "position": "position", "roles": "roles", "valid": "valid", "limits": "limits",
        "recipient": "recipient", "kind": "kind", "age_key": "age key", "ever": "without end", "none": "–",
        "added": "added", "removed": "removed", "changed": "changed", "same": "no difference",
        "people": "person", "recipients": "recipient", "public_key": "signing key",
        "mayor": "mayor", "deputy": "deputy mayor", "archive_officer": "archive officer", "contractor": "contractor",
        "law_enforcement": "law enforcement", "operator": "operator 15-80", "auditor": "auditor", "court": "court",
        "city": "city department", "third_party": "third party",
        "cameras": "cameras", "hours": "hours", "purposes": "purposes",
    }
)  # fmt: skip


def roster_json(draft: Draft) -> dict[str, Any]:
    """A draft or a signed roster as `--json` has it."""
    return dict(json.loads(draft_json(draft)))


def show_roster(screen: Console, draft: Draft, language: Language, zone: ZoneInfo, trouble: str | None = None) -> None:
    """Its people and recipients as tables; `trouble`: why it is not in force."""
    words = _UK if language == "uk" else _EN
    if isinstance(draft, Claims):
        dates = {"signed": _day(draft.iat, zone), "until": _day(draft.exp, zone)}
        screen.print(Text(words["roster"].format(version=draft.version, city=draft.city, **dates), "bold"))
    else:
        screen.print(Text(words["draft"].format(city=draft.city), "bold"))
    if trouble:
        screen.print(Text(trouble, "bold red"))
    people = Table("id", *(words[name] for name in ("person", "position", "roles", "valid", "limits")))
    for row in draft.people:
        name = " ".join(part for part in (row.surname, row.name, row.patronymic) if part)
        roles = ", ".join(words[role] for role in row.roles)
        cells = (row.id, name, row.position, roles, _valid(row, words, zone), _limits(row, words))
        people.add_row(*(Text(cell) for cell in cells))
    screen.print(people)
    if draft.recipients:
        recipients = Table("id", *(words[name] for name in ("recipient", "kind", "valid", "age_key")))
        for body in draft.recipients:
            named = (body.id, body.name, words[body.kind], _valid(body, words, zone), body.age_key)
            recipients.add_row(*(Text(cell) for cell in named))
        screen.print(recipients)


def show_diff(screen: Console, changes: list[Change], language: Language) -> None:
    """A line for each difference, and one for each field that changed."""
    words = _UK if language == "uk" else _EN
    if not changes:
        screen.print(words["same"])
    for change in changes:
        screen.print(Text(f"{words[change.kind]}: {words[change.what]} {change.id}", "bold"))
        for name, (old, new) in change.fields.items():
            said = f"  {words.get(name, name)}: {_short(old)} → {_short(new)}"
            screen.print(Text(said), soft_wrap=True)


def _short(value: Any) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False)


def _valid(row: PersonRow | RecipientRow, words: Mapping[str, str], zone: ZoneInfo) -> str:
    start = _day(row.valid_from, zone) if row.valid_from else ""
    end = _day(row.valid_until, zone) if row.valid_until < LAST_S else ""
    return f"{start} … {end}" if start or end else words["ever"]


def _limits(row: PersonRow, words: Mapping[str, str]) -> str:
    limits = row.limits.model_dump(mode="json", by_alias=True, exclude_none=True)
    return "; ".join(f"{words[name]}: {_span(value)}" for name, value in limits.items()) or words["none"]


def _span(values: list[Any]) -> str:
    said = [
        f"{','.join(one['days'])} {one['from']}–{one['to']}" if isinstance(one, dict) else str(one) for one in values
    ]
    return ", ".join(said) or "–"


def _day(at_s: int, zone: ZoneInfo) -> str:
    return f"{from_us(at_s * US, zone):%Y-%m-%d %H:%M}"
