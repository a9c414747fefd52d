"""A mode as messages, replies and the journal tell it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from edge_agent.clock import US
from edge_agent.modes.standing import Scope, Standing
from edge_agent.uplink.payloads import ModeMessage, ModeReport, Words, shown
from edge_agent.when import from_us

_DAYS_UK = ("пн", "вт", "ср", "чт", "пт", "сб", "нд")
_DAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def mode_report(standing: Standing) -> ModeReport:
    override = standing.override
    return ModeReport(
        mode=standing.mode.mode_id,
        name=shown(standing.mode.name),
        severity=standing.mode.severity,
        record=standing.mode.record,
        since_us=standing.since_us,
        until_us=standing.until_us,
        set_by=shown(override.who) if override else "",
        reason=shown(override.reason) if override else "",
    )


def mode_message(camera: Scope, standing: Standing, at_us: int, zone: ZoneInfo) -> ModeMessage:
    return ModeMessage(
        at_us=at_us, camera=camera, report=mode_report(standing), text=mode_words(camera, standing, at_us, zone)
    )


def mode_words(camera: Scope, standing: Standing, now_us: int, zone: ZoneInfo) -> Words:
    """`gate: mode “Night” until 06:15, set by …`."""
    uk, en = f"режим «{standing.mode.name}»", f"mode “{standing.mode.name}”"
    if standing.until_us is not None:
        until = spoken_until(standing.until_us, now_us, zone)
        uk, en = f"{uk} до {until.uk}", f"{en} until {until.en}"
    if standing.override is not None:
        uk, en = f"{uk}, встановлено: {standing.override.who}", f"{en}, set by {standing.override.who}"
    else:
        uk, en = f"{uk}, за програмою", f"{en}, by the programme"
    if camera is not None:
        return Words(uk=shown(f"{camera}: {uk}"), en=shown(f"{camera}: {en}"))
    return Words(uk=shown(uk[0].upper() + uk[1:]), en=shown(en[0].upper() + en[1:]))


def spoken_until(us: int, now_us: int, zone: ZoneInfo) -> Words:
    """The time of day alone when it is less than 18 hours off; the date before it else."""
    try:
        at = from_us(us, zone)
    except OverflowError:
        return Words(uk="9999", en="9999")
    if 0 <= us - now_us < 18 * 3600 * US:
        return Words(uk=f"{at:%H:%M}", en=f"{at:%H:%M}")
    day = at.isoweekday() - 1
    return Words(uk=f"{_DAYS_UK[day]} {at:%d.%m.%Y %H:%M}", en=f"{_DAYS_EN[day]} {at:%d.%m.%Y %H:%M}")
