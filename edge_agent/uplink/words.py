"""The sentences of replies, in Ukrainian and English, by their codes."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.buffer.account import Account, missing_by_cause
from edge_agent.model import Hold
from edge_agent.trust.command import RefusalCode
from edge_agent.uplink.payloads import Words, shown

_REFUSED = {
    RefusalCode.MALFORMED: "це не підписана команда",
    RefusalCode.UNKNOWN_PERSON: "вузол не знає такої особи",
    RefusalCode.BAD_SIGNATURE: "підпис не належить цій особі",
    RefusalCode.OTHER_NODE: "команда призначена іншому вузлу",
    RefusalCode.NOT_YET: "команда підписана в майбутньому: перевірте годинники",
    RefusalCode.EXPIRED: "строк команди минув: підпишіть її знову",
    RefusalCode.TOO_LONG_LIVED: "строк дії команди надто довгий",
    RefusalCode.UNKNOWN_ACTION: "вузол не знає такої дії",
    RefusalCode.BAD_ARGUMENTS: "дані команди хибні",
    RefusalCode.REPLAYED: "цю команду вже було подано",
    RefusalCode.NOT_PERMITTED: "роль цієї особи такого не дозволяє",
    RefusalCode.NO_ROSTER: "немає чинного реєстру осіб",
    RefusalCode.ORDER_NEEDED: "потрібне підписане розпорядження посадової особи",
    RefusalCode.BAD_ORDER: "розпорядження недійсне",
    RefusalCode.BEYOND_ORDER: "команда виходить за межі розпорядження",
    RefusalCode.JOURNAL_UNAVAILABLE: "журнал недоступний, тому доступ закрито",
}


def refused(code: RefusalCode, reason: str) -> Words:
    return Words(uk=shown(f"Відмовлено: {_REFUSED[code]}"), en=shown(f"Refused: {reason}"))


def status_given() -> Words:
    return Words(uk="Стан вузла", en="The node's state")


def journal_told() -> Words:
    return Words(uk="Записи журналу з доказами", en="Entries of the journal, with their proofs")


def release_accepted(ahead: int) -> Words:
    if ahead:
        return Words(uk=f"Прийнято, у черзі попереду: {ahead}", en=f"Accepted; {ahead} before it in the queue")
    return Words(uk="Прийнято", en="Accepted")


def release_step(stage: str, trouble: str) -> Words:
    if trouble:
        return Words(uk=shown(f"Повторна спроба згодом: {trouble}"), en=shown(trouble))
    if stage == "upload":
        return Words(uk="Запис передається", en="Uploading")
    return Words(uk="Запис вирізається й запечатується", en="Cutting and sealing")


def release_done(location: str, seconds: float, missing_s: float) -> Words:
    uk, en = f"Передано {seconds:.0f} с запису: {location}", f"Released {seconds:.0f} s of footage: {location}"
    if missing_s >= 1:
        uk, en = f"{uk}; бракує {missing_s:.0f} с", f"{en}; {missing_s:.0f} s are missing"
    return Words(uk=shown(uk), en=shown(en))


_CAUSES = {
    "deleted": ("знищено", "deleted"),
    "unknown": ("невідомо чому", "nobody knows why"),
    "outside": ("камери ще не було", "camera not installed"),
    "camera": ("камера", "camera"),
    "network": ("мережа", "network"),
    "node_off": ("вузол вимкнено", "node off"),
    "process": ("перезапуск запису", "recorder restarted"),
    "disk": ("диск", "disk"),
    "clock": ("годинник", "clock"),
    "mode": ("за програмою", "by programme"),
}


def cause_words(cause: str) -> Words:
    """Why footage is missing; a cause that is not known here as it stands."""
    uk, en = _CAUSES.get(cause, (cause, cause))
    return Words(uk=shown(uk), en=shown(en))


def hold_entered(hold: Hold, accounts: Sequence[Account]) -> Words:
    found = _accounted(accounts)
    return Words(
        uk=shown(f"Утримання {hold.hold_id} діє за наказом {hold.order_number}: {_cameras(hold).uk}. {found.uk}"),
        en=shown(f"Hold {hold.hold_id} is in force by order {hold.order_number}: {_cameras(hold).en}. {found.en}"),
    )


def hold_ended(hold: Hold) -> Words:
    uk = f"Утримання {hold.hold_id} знято за наказом {hold.end_order_number}: далі діє звичайний строк зберігання"
    en = f"Hold {hold.hold_id} is ended by order {hold.end_order_number}: the normal rule applies from now on"
    return Words(uk=shown(uk), en=shown(en))


def hold_told(hold: Hold, accounts: Sequence[Account]) -> Words:
    found = _accounted(accounts)
    uk, en = ("діє", "is in force") if hold.ended_us is None else ("знято", "has ended")
    return Words(
        uk=shown(f"Утримання {hold.hold_id} {uk}: {_cameras(hold).uk}. {found.uk}"),
        en=shown(f"Hold {hold.hold_id} {en}: {_cameras(hold).en}. {found.en}"),
    )


def holds_told(active: int, size_bytes: int) -> Words:
    return Words(
        uk=f"Утримань діє: {active}, займають {size_bytes / 1e9:.1f} ГБ",
        en=f"Holds in force: {active}, keeping {size_bytes / 1e9:.1f} GB",
    )


def _cameras(hold: Hold) -> Words:
    names = ", ".join(hold.cameras)
    return Words(uk=shown(names or "усі камери"), en=shown(names or "all cameras"))


def _accounted(accounts: Sequence[Account]) -> Words:
    """What is there of the past part of a hold, in sum, and what is missing."""
    if not accounts:
        return Words(uk="Інтервал ще попереду", en="The interval lies ahead")
    there, missing = sum(one.recorded_s for one in accounts), missing_by_cause(accounts)
    uk, en = f"Є {_long(there, _UK)} запису", f"There are {_long(there, _EN)} of footage"
    if not missing:
        return Words(uk=f"{uk}, нічого не бракує", en=f"{en}, nothing is missing")
    parts = [(_CAUSES.get(cause, (cause, cause)), seconds) for cause, seconds in missing.items()]
    lacks_uk = ", ".join(f"{cause[0]} {_long(seconds, _UK)}" for cause, seconds in parts)
    lacks_en = ", ".join(f"{cause[1]} {_long(seconds, _EN)}" for cause, seconds in parts)
    return Words(uk=shown(f"{uk}; бракує: {lacks_uk}"), en=shown(f"{en}; missing: {lacks_en}"))


_UK, _EN = ("д", "год", "хв", "с"), ("d", "h", "min", "s")


def _long(seconds: float, units: tuple[str, str, str, str]) -> str:
    """The two largest parts: `2 д 3 год`."""
    left, parts = round(seconds), list[str]()
    for size, unit in zip((86400, 3600, 60, 1), units, strict=True):
        amount, left = divmod(left, size)
        if amount or (size == 1 and not parts):
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2])


def archive_told(cameras: int, size_bytes: int) -> Words:
    size, uk, en = (size_bytes / 1e9, "ГБ", "GB") if size_bytes >= 10**9 else (size_bytes / 1e6, "МБ", "MB")
    return Words(
        uk=f"Камер: {cameras}, записів на {size:.1f} {uk}",
        en=f"Cameras: {cameras}, {size:.1f} {en} of recordings",
    )


def interval_told(accounts: Sequence[Account]) -> Words:
    return _accounted(accounts)


def leave_given(who: str) -> Words:
    return Words(uk=shown(f"Дозволено: {who}"), en=shown(f"Permitted: {who}"))


def visit_opened(who: str) -> Words:
    return Words(uk=shown(f"Відвідування почато: {who}"), en=shown(f"The visit has begun: {who}"))


def visit_closed(who: str, seconds: float) -> Words:
    return Words(
        uk=shown(f"Відвідування закінчено: {who}, {_long(seconds, _UK)}"),
        en=shown(f"The visit is over: {who}, {_long(seconds, _EN)}"),
    )


def clock_confirmed(time: str, reason: str, who: str) -> Words:
    return Words(
        uk=shown(f"Годинник вузла підтверджено: {time}, {who}. Записи знову знищуються за строком"),
        en=shown(f"The node's clock is vouched for: {time}, by {who}; {reason}. Recordings go by age again"),
    )


def failed(reason: str) -> Words:
    return Words(uk=shown(f"Не вдалося: {reason}"), en=shown(f"Failed: {reason}"))
