"""A forecast in plain words, Ukrainian and English, and as the health message tells it (`docs/forecast.md`)."""

from __future__ import annotations

import math
from datetime import tzinfo

from edge_agent.buffer.forecast import CameraForecast, Forecast
from edge_agent.buffer.rates import DAY_US, HOUR_US
from edge_agent.uplink.payloads import Kept, Promise, Words, shown
from edge_agent.when import from_us

MOST_HOLDS = 3
"""Named in a sentence; the largest."""
_HOLD_PART = 100
"""A hold that keeps less than a hundredth of what is missing is no remedy."""


def promise_report(forecast: Forecast, zone: tzinfo) -> Promise:
    """What the health message says of the whole archive."""
    return Promise(
        at_us=forecast.at_us,
        breaks_us=forecast.breaks_us,
        room_bytes=forecast.room.size_bytes,
        need_bytes=forecast.need_bytes,
        held_bytes=forecast.held_bytes,
        bytes_per_day=round(forecast.bytes_per_day),
        add_bytes=round_up(forecast.lack_bytes),
        lower_percent=lower_percent(forecast),
        text=promise_words(forecast, zone),
    )


def kept_report(camera: CameraForecast) -> Kept:
    """What it says of one camera."""
    return Kept(
        days=_days(camera.kept_us),
        promised_days=_days(camera.promised_us),
        will_keep_days=_days(camera.will_keep_us),
    )


def promise_words(forecast: Forecast, zone: tzinfo) -> Words:
    """Whether the promise is kept, from when not, and what helps."""
    uk_promise, en_promise = _promise(forecast)
    if forecast.breaks_us is None:
        need, room = forecast.need_bytes, forecast.room.size_bytes
        return Words(
            uk=f"Записи зберігатимуться, як обіцяно ({uk_promise}): потрібно {size(need, 'uk')} з {size(room, 'uk')}.",
            en=f"Recordings will be kept as promised ({en_promise}): {size(need)} of {size(room)} are needed.",
        )
    uk_will, en_will = _will_keep(forecast)
    if forecast.breaks_us <= forecast.at_us + HOUR_US:
        uk, en = "Місця бракує вже зараз", "There is too little room already"
    else:
        at = from_us(forecast.breaks_us, zone)
        uk, en = f"З {at:%d.%m.%Y} забракне місця", f"From {at:%Y-%m-%d} there will be too little room"
    if forecast.room.stops:
        uk = f"{uk}: запис зупинятиметься, доки старішим записам не мине обіцяне ({uk_promise})."
        en = f"{en}: recording will stop until older recordings have had their time ({en_promise})."
    else:
        uk = f"{uk}: записи зникатимуть раніше обіцяного ({uk_promise}), зберігатиметься близько {uk_will}."
        en = f"{en}: recordings will go before their time ({en_promise}), about {en_will} will be kept."
    uk_help, en_help = _remedies(forecast)
    if uk_help:
        uk, en = f"{uk} Що допоможе: {uk_help}.", f"{en} What helps: {en_help}."
    return Words(uk=shown(uk), en=shown(en))


def size(amount: float, language: str = "en") -> str:
    """`1.3 TB`, `350 GB`, decimal."""
    unit, word = (
        (1e12, "ТБ" if language == "uk" else "TB") if amount >= 1e12 else (1e9, "ГБ" if language == "uk" else "GB")
    )
    value = amount / unit
    text = f"{value:.{1 if value < 100 else 0}f}".removesuffix(".0")
    return f"{text.replace('.', ',') if language == 'uk' else text} {word}"


def round_up(amount: int) -> int:
    """To two figures and whole gigabytes: what one buys is not known to the byte."""
    if amount <= 0:
        return 0
    step: int = max(10**9, 10 ** (len(str(amount)) - 2))
    return math.ceil(amount / step) * step


def lower_percent(forecast: Forecast) -> int | None:
    """Whole per cent, rounded up."""
    return None if forecast.lower_part is None else min(100, math.ceil(forecast.lower_part * 100 - 1e-6))


def _remedies(forecast: Forecast) -> tuple[str, str]:
    lack, percent = round_up(forecast.lack_bytes), lower_percent(forecast)
    remedies: list[tuple[str, str]] = []
    if lack and forecast.room.by_quota:
        disk = round_up(forecast.lack_bytes - forecast.room.beyond_quota_bytes)
        uk, en = f"збільшити max_size на {size(lack, 'uk')}", f"raise max_size by {size(lack)}"
        if disk:
            uk, en = f"{uk} й додати {size(disk, 'uk')} диска", f"{en} and add {size(disk)} of disk"
        remedies.append((uk, en))
    elif lack:
        remedies.append((f"додати {size(lack, 'uk')} диска", f"add {size(lack)} of disk"))
    if percent:
        remedies.append(
            (f"зменшити потік усіх камер на {percent} %", f"lower the bitrate of all cameras by {percent} %")
        )
    worth = [hold for hold in forecast.holds if hold.size_bytes * _HOLD_PART > forecast.lack_bytes]
    if worth:
        some = worth[:MOST_HOLDS]
        uk = ", ".join(f"{_short(hold.order_number)}: {size(hold.size_bytes, 'uk')}" for hold in some)
        en = ", ".join(f"{_short(hold.order_number)}: {size(hold.size_bytes)}" for hold in some)
        more = (
            (f" і ще {len(worth) - len(some)}", f" and {len(worth) - len(some)} more")
            if worth[MOST_HOLDS:]
            else ("", "")
        )
        remedies.append(
            (f"скасувати непотрібні вже утримання ({uk}{more[0]})", f"end holds no longer needed ({en}{more[1]})")
        )
    return "; або ".join(uk for uk, _ in remedies), "; or ".join(en for _, en in remedies)


def _promise(forecast: Forecast) -> tuple[str, str]:
    days = sorted({_days(camera.promised_us) for camera in forecast.cameras})
    if len(days) == 1:
        return _uk_days(days[0]), f"{days[0]:g} days"
    return f"{_uk(days[0])}–{_uk_days(days[-1])}", f"{days[0]:g} to {days[-1]:g} days"


def _will_keep(forecast: Forecast) -> tuple[str, str]:
    """With one promise for all in days, else in parts of each."""
    going_on = [camera for camera in forecast.cameras if camera.basis is not None]
    if len({camera.promised_us for camera in going_on}) == 1:
        days = _days(going_on[0].will_keep_us)
        return f"{_uk(days)} {'діб' if days == int(days) and days != 1 else 'доби'}", f"{days:g} days"
    part = min((camera.will_keep_us / camera.promised_us for camera in going_on), default=0.0)
    return f"{math.floor(part * 100)} % обіцяного", f"{math.floor(part * 100)} % of that"


def _uk_days(days: float) -> str:
    """`10 діб`, `2 доби`, `1 доба`, `10.5 доби`."""
    if days != int(days):
        return f"{_uk(days)} доби"
    ones, teen = int(days) % 10, int(days) % 100 in range(11, 15)
    return f"{days:g} " + ("діб" if teen or ones in (0, *range(5, 10)) else "доба" if ones == 1 else "доби")


def _uk(number: float) -> str:
    return f"{number:g}".replace(".", ",")


def _days(us: int) -> float:
    """Rounded down to a tenth: a promise is not rounded up."""
    return math.floor(us * 10 / DAY_US + 1e-6) / 10


def _short(order: str) -> str:
    return order if len(order) <= 24 else f"{order[:23]}…"
