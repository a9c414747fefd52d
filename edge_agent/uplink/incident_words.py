"""The sentences of replies about alarms, in Ukrainian and English."""

from __future__ import annotations

from datetime import tzinfo

from edge_agent.buffer.register import Note, NoteKind
from edge_agent.uplink.payloads import Words, shown
from edge_agent.when import spoken

_DONE = {
    NoteKind.ACKNOWLEDGED: ("підтверджено", "is acknowledged"),
    NoteKind.COMMENT: ("доповнено", "has the comment"),
    NoteKind.FALSE: ("позначено хибною", "is marked false"),
    NoteKind.TRUE: ("більше не позначено хибною", "is no longer marked false"),
    NoteKind.HOLD: ("пов'язано з утриманням", "is tied to the hold"),
    NoteKind.RELEASE: ("пов'язано з видачею", "is tied to the release"),
}


def noted(alarm_id: str, kinds: list[NoteKind]) -> Words:
    uk, en = (", ".join(_DONE[kind][number] for kind in kinds) for number in (0, 1))
    return Words(uk=shown(f"Тривогу {alarm_id[:8]} {uk}"), en=shown(f"Alarm {alarm_id[:8]} {en}"))


def both(one: Words, other: Words) -> Words:
    return Words(uk=shown(f"{one.uk}. {other.uk}"), en=shown(f"{one.en}. {other.en}"))


def already(alarm_id: str, note: Note, zone: tzinfo) -> Words:
    """Nothing was changed, for it is so already."""
    when = spoken(note.at_us, zone)
    uk, en = {
        NoteKind.ACKNOWLEDGED: ("вже підтверджено", "was acknowledged already"),
        NoteKind.FALSE: ("вже позначено хибною", "was marked false already"),
    }[note.kind]
    return Words(
        uk=shown(f"Тривогу {alarm_id[:8]} {uk}: {note.who}, {when}"),
        en=shown(f"Alarm {alarm_id[:8]} {en}: {note.who}, {when}"),
    )


def unchanged(alarm_id: str) -> Words:
    return Words(
        uk=shown(f"Тривога {alarm_id[:8]}: нічого не змінилося, це вже записано"),
        en=shown(f"Alarm {alarm_id[:8]}: nothing changed, this is written down already"),
    )


def page_told(count: int, *, more: bool) -> Words:
    uk, en = f"Тривог: {count}", f"Alarms: {count}"
    return Words(uk=f"{uk}, далі ще", en=f"{en}, and more follow") if more else Words(uk=uk, en=en)
