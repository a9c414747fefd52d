"""The sentences of replies, in Ukrainian and English, by their codes."""

from __future__ import annotations

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
    RefusalCode.JOURNAL_UNAVAILABLE: "журнал недоступний, тому доступ закрито",
}


def refused(code: RefusalCode, reason: str) -> Words:
    return Words(uk=shown(f"Відмовлено: {_REFUSED[code]}"), en=shown(f"Refused: {reason}"))


def status_given() -> Words:
    return Words(uk="Стан вузла", en="The node's state")


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


def failed(reason: str) -> Words:
    return Words(uk=shown(f"Не вдалося: {reason}"), en=shown(f"Failed: {reason}"))
