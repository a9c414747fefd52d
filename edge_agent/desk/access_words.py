"""The journal's words on paper, in Ukrainian and English: kinds, actions, outcomes, and what was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from edge_agent.config import Language
from edge_agent.desk.board import printable
from edge_agent.errors import RefusedError
from edge_agent.trust.command import RefusalCode
from edge_agent.trust.journal import JournalEntry, JournalKind, Outcome
from edge_agent.trust.order import read
from edge_agent.uplink.words import refused
from edge_agent.when import spoken

Pair = tuple[str, str]
"""Ukrainian and English."""

KINDS: Mapping[str, Pair] = {
    "access": ("Звернення", "Access"),
    "start": ("Запуск вузла", "Node started"),
    "stop": ("Зупинка вузла", "Node stopped"),
    "update": ("Оновлення програми", "Software updated"),
    "configuration": ("Зміна налаштувань", "Configuration changed"),
    "gaps": ("Прогалини в записі", "Gaps in the recordings"),
    "deletion": ("Знищення записів", "Recordings deleted"),
    "roster": ("Реєстр осіб", "Roster of people"),
    "clock": ("Годинник вузла", "The node's clock"),
    "segments": ("Підсумок записів за годину", "Sum of an hour's recordings"),
    "rewrapped": ("Зміна отримувачів запису", "Recording sealed to others"),
    "keys": ("Ключі вузла", "The node's keys"),
    "mode": ("Зміна режиму", "Mode changed"),
    "lost": ("Записи журналу втрачено", "Journal entries lost"),
}
ACTIONS: Mapping[str, Pair] = {
    "status": ("Перегляд стану вузла", "Looked at the node's state"),
    "live": ("Перегляд наживо", "Live view"),
    "search": ("Пошук в архіві", "Searched the archive"),
    "play": ("Перегляд архіву", "Played from the archive"),
    "export": ("Видача запису", "Release of a recording"),
    "order_hold": ("Розпорядження про утримання", "Order of a hold"),
    "hold": ("Утримання записів", "Recordings held"),
    "order_hold_end": ("Розпорядження про знищення утриманого", "Order to destroy what was held"),
    "hold_end": ("Зняття утримання", "Hold ended"),
    "holds": ("Перегляд утримань", "Looked at the holds"),
    "decide_release": ("Рішення про видачу", "Decision on a release"),
    "mode": ("Зміна режиму", "Mode changed"),
    "acknowledge": ("Підтвердження тривоги", "Alarm acknowledged"),
    "incident": ("Запис до реєстру подій", "Entry in the incident register"),
    "incidents": ("Перегляд реєстру подій", "Looked at the incident register"),
    "journal": ("Перегляд журналу доступу", "Read the access journal"),
    "maintain": ("Обслуговування вузла", "Maintenance of the node"),
    "clock_confirm": ("Підтвердження годинника", "Clock confirmed"),
    "rotate": ("Заміна ключа", "Key replaced"),
    "drop": ("Вилучення ключа", "Key dropped"),
}
OUTCOMES: Mapping[str, Pair] = {
    "accepted": ("дозволено", "permitted"),
    "refused": ("ВІДМОВЛЕНО", "REFUSED"),
    "done": ("виконано", "done"),
    "failed": ("не вдалося", "failed"),
}
ACCESSES: Mapping[str, Pair] = {
    "remote": ("дистанційно", "remotely"),
    "direct": ("на місці", "at the node"),
    "order": ("за розпорядженням", "by order"),
}
ARGUMENTS: Mapping[str, Pair] = {
    "camera": ("камера", "camera"),
    "cameras": ("камери", "cameras"),
    "recipient": ("отримувач", "recipient"),
    "target": ("куди", "target"),
    "reason": ("причина", "reason"),
    "order_number": ("розпорядження №", "order no."),
    "ordered_by": ("розпорядився", "ordered by"),
    "hold_id": ("утримання", "hold"),
    "person": ("особа", "person"),
    "action": ("дія", "action"),
    "number": ("номер", "number"),
    "mode": ("режим", "mode"),
    "work": ("робота", "work"),
    "count": ("кількість", "count"),
    "version": ("версія", "version"),
    "until_us": ("до", "until"),
    "start_us": ("від", "from"),
    "end_us": ("до", "until"),
    "read_us": ("час на вузлі", "the node's time"),
    "before_us": ("було", "before"),
    "after_us": ("стало", "after"),
    "old": ("було", "before"),
    "new": ("стало", "now"),
    "changes": ("зміни", "changes"),
    "query": ("що питали", "query"),
}
PURPOSES: Mapping[str, Pair] = {
    "official_request": ("офіційний запит", "official request"),
    "reasoned_request": ("вмотивований запит", "reasoned request"),
    "memo": ("службова записка", "memo"),
    "own_decision": ("власне рішення", "own decision"),
}
WORKS: Mapping[str, Pair] = {
    "visit_open": ("відкриття візиту", "visit opened"),
    "visit_close": ("закриття візиту", "visit closed"),
    "keys_rotate": ("заміна ключа", "key replaced"),
    "keys_drop": ("вилучення ключа", "key dropped"),
    "rewrap": ("зміна отримувачів записів", "recordings sealed to others"),
    "rebuild": ("відновлення покажчика архіву", "the archive's index rebuilt"),
    "check": ("перевірка архіву", "the archive checked"),
    "repair": ("ремонт архіву", "the archive repaired"),
    "tune": ("налаштування виявлення руху", "motion detection tuned"),
}
LOOKS = frozenset({"status", "search", "holds", "incidents", "journal"})
"""What was only looked at: that it was shown says nothing more."""
_TOLD = frozenset({JournalKind.CONFIGURATION, JournalKind.UPDATE})
"""Their arguments are all there is to say."""
_RELEASED = re.compile(r"released to (.+), sha256 ([0-9a-f]{64})")
_RELEASE: Pair = ("видано: {}, sha256 {}", "released to {}, sha256 {}")
_PAGING = frozenset({"after", "limit", "seen"})
_INTERVAL: Pair = ("період", "interval")
_ORDER: Pair = ("розпорядження № {number} від {who}, підстава: {basis} № {basis_number} від {date}",
                "order no. {number} of {who}, basis: {basis} no. {basis_number} of {date}")  # fmt: skip
_MAX_TEXT = 500


def word(words: Mapping[str, Pair], key: str, language: Language) -> str:
    """One that is not known here, of a newer node, as it stands."""
    found = words.get(key)
    return printable(key, 80) if found is None else found[0 if language == "uk" else 1]


def deed(entry: JournalEntry, outcome: Outcome, language: Language) -> str:
    """What was done and what became of it, in one line."""
    if entry.kind is JournalKind.ACCESS and not entry.action:
        what = {"uk": "Звернення невідомої особи", "en": "Access by somebody unknown"}[language]
    elif entry.action:
        what = word(ACTIONS, entry.action, language)
    else:
        what = word(KINDS, entry.kind, language)
    ended = entry.kind is JournalKind.ACCESS or outcome is not Outcome.DONE
    access = f" ({word(ACCESSES, entry.access, language)})" if entry.access else ""
    return f"{what}{access}" + (f": {word(OUTCOMES, outcome, language)}" if ended else "")


def details(entry: JournalEntry, end: JournalEntry | None, language: Language, zone: tzinfo) -> str:
    """What exactly was asked for, and why it was refused or failed."""
    args, found = dict(entry.args), []
    start_us, end_us = args.pop("start_us", None), args.pop("end_us", None)
    order = args.pop("order", None)
    for name in ("camera", "cameras"):
        if name in args:
            found.append(_told(name, args.pop(name), language, zone))
    if start_us is not None:
        until = "…" if end_us is None else f"… {_time(end_us, zone)}"
        found.append(f"{word({'': _INTERVAL}, '', language)} {_time(start_us, zone)} {until}")
    found += [_told(name, value, language, zone) for name, value in args.items() if value not in (None, "", [], ())]
    if isinstance(order, str):
        found.append(_order(order, language))
    return "; ".join([*filter(None, found), *_why(entry, end, language)])


def _why(entry: JournalEntry, end: JournalEntry | None, language: Language) -> list[str]:
    """A refusal in the reader's language, where its code is known; of what went well, the facts alone."""
    last = end or entry
    if last.outcome is Outcome.REFUSED:
        code, _, rest = last.reason.partition(": ")
        if code in set(RefusalCode):
            said = refused(RefusalCode(code), rest)
            return [printable(said.uk if language == "uk" else said.en, _MAX_TEXT)]
    if found := _RELEASED.fullmatch(last.reason):
        return [printable(word({"": _RELEASE}, "", language).format(*found.groups()), _MAX_TEXT)]
    # By the table of roles, in the node's own words; or that what was asked was shown.
    plain = last.outcome is Outcome.ACCEPTED or last.kind in _TOLD
    plain = plain or (last.outcome is Outcome.DONE and last.action in LOOKS)
    return [] if plain or not last.reason else [printable(last.reason, _MAX_TEXT)]


def _told(name: str, value: Any, language: Language, zone: tzinfo) -> str:
    if name.endswith("_us"):
        shown = _time(value, zone)
    elif name == "work":
        shown = word(WORKS, str(value), language)
    elif isinstance(value, dict):
        parts = ((key, item) for key, item in value.items() if key not in _PAGING and item not in (None, ""))
        shown = ", ".join(_told(str(key), item, language, zone) for key, item in parts)
    elif isinstance(value, list | tuple):
        shown = ", ".join(map(str, value))
    else:
        shown = str(value)
    return f"{word(ARGUMENTS, name, language)} {printable(shown, _MAX_TEXT)}" if shown else ""


def _time(value: Any, zone: tzinfo) -> str:
    try:
        return spoken(value, zone)
    except (TypeError, ValueError, OverflowError):
        return printable(str(value), 40)


def _order(token: str, language: Language) -> str:
    """What the order says: the node verified it before it let anybody act on it."""
    try:
        said = read(token)
    except RefusedError:
        return ""
    return printable(
        word({"": _ORDER}, "", language).format(
            number=said.number,
            who=said.iss,
            basis=word(PURPOSES, said.basis.kind, language),
            basis_number=said.basis.number,
            date=said.basis.date,
        ),
        _MAX_TEXT,
    )
