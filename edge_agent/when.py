"""Times as people say them, in the site's zone or in UTC, to integer UTC microseconds and back."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from edge_agent.clock import US
from edge_agent.errors import UsageError

_DAYS = {"today": 0, "сьогодні": 0, "yesterday": -1, "вчора": -1, "tomorrow": 1, "завтра": 1}
_NOW = {"now", "зараз"}
_UNITS = {
    "d": 86400,
    "д": 86400,
    "h": 3600,
    "г": 3600,
    "год": 3600,
    "m": 60,
    "min": 60,
    "х": 60,
    "хв": 60,
    "s": 1,
    "с": 1,
}
_DATE = (
    r"(?P<y>\d{4})-(?P<mo>\d{1,2})-(?P<d>\d{1,2})|(?P<d2>\d{1,2})\.(?P<mo2>\d{1,2})\.(?P<y2>\d{4})|(?P<day>[^\W\d]+)"
)
_TIME = r"(?P<h>\d{1,2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?P<f>\.\d{1,6})?)?"
_ZONE = r"(?P<z>Z|UTC|[+-]\d{2}:?\d{2})"
_WHEN = re.compile(rf"(?:(?:{_DATE})(?:[ T]+|$))?(?:{_TIME})?\s*{_ZONE}?", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d_]+)")
_EXAMPLES = (
    '"2026-11-22 10:15", "22.11.2026 10:15", "yesterday 22:30", "10:15", "2026-11-22T08:15:00Z", "15m ago", "now"'
)
_LONGEST_S = 10 * 365 * 86400
_END_US = 253_370_764_800 * US
"""The year 9999: later times can't be shown in every zone."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str) -> int:
    """Microseconds from "90s", "5m", "1h30m", "2d"; UsageError for anything else, zero included."""
    compact = text.strip().lower()
    parts = _PART.findall(compact)
    if not parts or _PART.sub("", compact).strip() or any(unit not in _UNITS for _, unit in parts):
        raise UsageError(f'"{text}" is not a length of time; say for example "90s", "5m", "1h30m" or "2d"')
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    us = round(min(seconds, _LONGEST_S + 1) * US)
    if not 0 < us <= _LONGEST_S * US:
        raise UsageError(f'"{text}" is no useful length of time: more than nothing, at most ten years')
    return us


def parse_when(text: str, zone: ZoneInfo, now_us: int) -> int:
    """UTC microseconds from a plainly spoken time; local in `zone` unless it ends in Z, UTC or an offset."""
    said = text.strip()
    if said.lower() in _NOW:
        return now_us
    ago = re.fullmatch(r"-\s*(.+)|(.+?)\s+(?:ago|тому)", said, re.IGNORECASE)
    if ago:
        return now_us - parse_duration(ago[1] or ago[2])
    found = _WHEN.fullmatch(said)
    if not said or found is None:
        raise UsageError(f'"{text}" is not a time; say for example {_EXAMPLES}')
    fields = found.groupdict()
    try:
        offset = _offset(fields["z"])
        day = _day(fields, from_us(now_us, offset or zone).date(), text)
        second = int(fields["s"] or 0)
        clock = time(int(fields["h"] or 0), int(fields["mi"] or 0), second, round(float(fields["f"] or 0) * US))
        naive = datetime.combine(day, clock)
        at_us = to_us(naive.replace(tzinfo=offset)) if offset is not None else _local(naive, zone)
    except (ValueError, OverflowError) as error:
        raise UsageError(f'"{text}" is not a time: {error}') from error
    if not 0 <= at_us < _END_US:
        raise UsageError(f'"{text}" is not a time of recordings: they are from 1970 to 9998')
    return at_us


def parse_until(text: str, zone: ZoneInfo, now_us: int) -> int:
    """As `parse_when`, but in the future: "08:00" is the next time it is 08:00."""
    at_us = parse_when(text, zone, now_us)
    if at_us <= now_us and re.fullmatch(_TIME, text.strip()):
        tomorrow = from_us(now_us, zone).date() + timedelta(days=1)
        at_us = parse_when(f"{tomorrow} {text.strip()}", zone, now_us)
    if at_us <= now_us:
        raise UsageError(f'"{text}" is over: say an end that is still to come')
    return at_us


def to_us(moment: datetime) -> int:
    """Exact UTC microseconds of an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int, zone: tzinfo = UTC) -> datetime:
    """The aware datetime of a UTC instant, in `zone`."""
    return (_EPOCH + timedelta(microseconds=us)).astimezone(zone)


def spoken(us: int, zone: tzinfo, *, seconds: bool = True) -> str:
    """An instant for people: local, with its offset, so that the hour that comes twice stays clear."""
    moment = from_us(us, zone)
    offset = moment.strftime("%z")
    return moment.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M") + f" {offset[:3]}:{offset[3:5]}"


def iso_utc(us: int) -> str:
    """ISO 8601 in UTC with microseconds, for machines."""
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _local(naive: datetime, zone: ZoneInfo) -> int:
    first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    back = from_us(to_us(first), zone).replace(tzinfo=None)
    if back != naive:
        raise UsageError(f"{naive} does not exist in {zone.key}: the clock went forward then; {back} is its neighbour")
    if first.utcoffset() != second.utcoffset():
        shown = " or ".join(f'"{naive} {moment.strftime("%z")}"' for moment in (first, second))
        raise UsageError(f"{naive} came twice in {zone.key}, for the clock went back then: say {shown}")
    return to_us(first)


def _offset(text: str | None) -> tzinfo | None:
    if text is None:
        return None
    if text.upper() in ("Z", "UTC"):
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    return timezone((1 if text[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def _day(fields: dict[str, str | None], today: date, text: str) -> date:
    if fields["y"]:
        return date(int(fields["y"]), int(fields["mo"] or 0), int(fields["d"] or 0))
    if fields["y2"]:
        return date(int(fields["y2"]), int(fields["mo2"] or 0), int(fields["d2"] or 0))
    word = fields["day"]
    if word is None:
        if fields["h"] is None:
            raise UsageError(f'"{text}" is not a time; say for example {_EXAMPLES}')
        return today
    if word.lower() not in _DAYS:
        raise UsageError(f'"{word}" is not a day; say a date, today, yesterday or tomorrow')
    return today + timedelta(days=_DAYS[word.lower()])
