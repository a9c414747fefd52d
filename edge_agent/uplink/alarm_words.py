"""An alarm of a camera in a sentence: its nature, place, thing and movement, in Ukrainian and English.  Pure."""

from __future__ import annotations

from edge_agent.model import Alarm, AlarmCut, AlarmNature, AlarmPhase, Approach, Kind, Pace, Side

_NATURE = {
    AlarmNature.MOTION: ("Рух", "Motion"),
    AlarmNature.LINE: ("Перетин лінії", "Line crossed"),
    AlarmNature.ENTERED: ("Вхід у зону", "Zone entered"),
    AlarmNature.LEFT: ("Вихід із зони", "Zone left"),
    AlarmNature.LOITERING: ("Тривале перебування", "Loitering"),
    AlarmNature.RUNNING: ("Біг", "Running"),
    AlarmNature.CROWD: ("Скупчення", "Crowd"),
    AlarmNature.OBJECT_LEFT: ("Залишено предмет", "Object left"),
    AlarmNature.OBJECT_TAKEN: ("Зник предмет", "Object taken"),
    AlarmNature.LOST: ("Камеру втрачено", "Camera lost"),
    AlarmNature.COVERED: ("Камеру закрито", "Camera covered"),
    AlarmNature.BLINDED: ("Камеру засліплено", "Camera blinded"),
    AlarmNature.DEFOCUSED: ("Камера не у фокусі", "Camera out of focus"),
    AlarmNature.TURNED: ("Камеру повернуто або зсунуто", "Camera turned away"),
    AlarmNature.FROZEN: ("Зображення камери завмерло", "Camera's picture is frozen"),
    AlarmNature.UNWATCHED: ("За камерою не ведеться спостереження", "Camera is not watched"),
}
_ENDED = {
    AlarmNature.MOTION: ("Рух припинився", "Motion ended"),
    AlarmNature.LOST: ("Камера знову є", "Camera is back"),
    AlarmNature.COVERED: ("Камера знову бачить", "Camera sees again"),
    AlarmNature.BLINDED: ("Камера знову бачить", "Camera sees again"),
    AlarmNature.DEFOCUSED: ("Камера знову у фокусі", "Camera is in focus again"),
    AlarmNature.TURNED: ("Вигляд камери знову сталий", "Camera's view is steady again"),
    AlarmNature.FROZEN: ("Зображення камери знову живе", "Camera's picture is live again"),
    AlarmNature.UNWATCHED: ("Спостереження за камерою відновлено", "Camera is watched again"),
}
_CUT = {
    AlarmCut.RESTART: ("кінця не видно: вузол перезапущено", "its end was not seen: the node was restarted"),
    AlarmCut.STOP: ("кінця не видно: вузол зупинено", "its end was not seen: the node was stopped"),
    AlarmCut.WATCHER: ("кінця не видно: спостереження перервалося", "its end was not seen: watching was interrupted"),
}
_KIND = {
    Kind.PERSON_LIKE: ("людиноподібний об'єкт", "person-like object"),
    Kind.VEHICLE_LIKE: ("об'єкт, схожий на транспорт", "vehicle-like object"),
    Kind.SMALL: ("малий об'єкт", "small object"),
    Kind.PERSON: ("людина", "person"),
    Kind.VEHICLE: ("транспорт", "vehicle"),
    Kind.ANIMAL: ("тварина", "animal"),
}
_DIRECTIONS = (
    ("вгору", "up"),
    ("вгору праворуч", "up and to the right"),
    ("праворуч", "to the right"),
    ("вниз праворуч", "down and to the right"),
    ("вниз", "down"),
    ("вниз ліворуч", "down and to the left"),
    ("ліворуч", "to the left"),
    ("вгору ліворуч", "up and to the left"),
)
_COMPASS = (
    ("північ", "north"),
    ("північний схід", "north-east"),
    ("схід", "east"),
    ("південний схід", "south-east"),
    ("південь", "south"),
    ("південний захід", "south-west"),
    ("захід", "west"),
    ("північний захід", "north-west"),
)
_APPROACH = {Approach.APPROACHING: ("наближається", "approaching"), Approach.LEAVING: ("віддаляється", "leaving")}
_PACE = {
    Pace.SLOW: ("повільно", "slowly"),
    Pace.WALK: ("кроком", "at a walk"),
    Pace.RUN: ("бігом", "at a run"),
    Pace.VEHICLE: ("як транспорт", "as fast as a vehicle"),
}
_SIDE = {
    Side.LEFT: ("на лівий бік лінії", "to the line's left"),
    Side.RIGHT: ("на правий бік лінії", "to the line's right"),
}


def nature_name(nature: AlarmNature) -> tuple[str, str]:
    """In Ukrainian and English."""
    return _NATURE[nature]


def alarm_sentence(alarm: Alarm, camera_name: str, place_name: str) -> tuple[str, str]:
    """(Ukrainian, English); place_name: of the zone or line, empty for the whole picture."""
    ends = alarm.phase is AlarmPhase.END and alarm.cut is None
    nature = alarm.nature
    uk, en = _NATURE[nature]
    if ends:
        uk, en = _ENDED.get(nature, (f"{uk}: завершено", f"{en}: ended"))
    parts = [(f"{uk}: {camera_name}", f"{en}: {camera_name}")]
    if place_name:
        what = ("лінія", "line") if nature is AlarmNature.LINE else ("зона", "zone")
        parts.append((f"{what[0]} «{place_name}»", f"{what[1]} “{place_name}”"))
    if alarm.kind:
        parts.append(_KIND[alarm.kind])
    if alarm.phase is not AlarmPhase.END:
        parts += _movement(alarm)
    if alarm.count > 1:
        parts.append((f"разом: {alarm.count}", f"{alarm.count} in all"))
    uk, en = ", ".join(uk for uk, _ in parts), ", ".join(en for _, en in parts)
    if alarm.merged:
        uk, en = f"{uk} (і ще {alarm.merged})", f"{en} (and {alarm.merged} more)"
    if alarm.cut is not None:
        uk, en = f"{uk} – {_CUT[alarm.cut][0]}", f"{en} – {_CUT[alarm.cut][1]}"
    return uk, en


def _movement(alarm: Alarm) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    if alarm.side:
        parts.append(_SIDE[alarm.side])
    if alarm.bearing_deg is not None:
        uk, en = _COMPASS[round(alarm.bearing_deg / 45) % 8]
        parts.append((f"рух на {uk}", f"moving {en}"))
    elif alarm.direction_deg is not None:
        uk, en = _DIRECTIONS[round(alarm.direction_deg / 45) % 8]
        parts.append((f"рухається {uk}", f"moving {en}"))
    if alarm.approach:
        parts.append(_APPROACH[alarm.approach])
    if alarm.pace:
        parts.append(_PACE[alarm.pace])
    return parts
