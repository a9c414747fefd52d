"""What is wrong with the archive's promise, as alarms of the node (`docs/retention.md`, "Alarms of the node")."""

from __future__ import annotations

from edge_agent.buffer.forecast import Forecast
from edge_agent.buffer.promise import DAY_US, Rule
from edge_agent.buffer.retention import Standing
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.forecaster import in_sight
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.uplink.forecast_words import promise_words
from edge_agent.uplink.payloads import PROMISE_ALARM

SHORT, FULL, TAKEN, UNKNOWN = "archive_short", "archive_full", "disk_taken", "holds_unknown"
CLOCK = "clock_untrusted"
TAKEN_S = 600.0
"""A passing want of space on a shared disk is no alarm."""
CLOCK_S = 86_400.0
"""So long a node may be without a trusted clock before people have to do something about it."""


class ArchiveAlarms:
    """Turns how the archive stands into alarms; the agent's loop owns it."""

    def __init__(self, alarms: NodeAlarms, rule: Rule, clock: Clock) -> None:
        self._alarms = alarms
        self._rule = rule
        self._clock = clock
        self._taken_since: float | None = None

    def look(self, standing: Standing) -> None:
        """Raise, renew or end what this says."""
        self._alarms.set(SHORT, self._short(standing))
        self._alarms.set(FULL, self._full(standing))
        self._alarms.set(TAKEN, self._taken(standing))
        self._alarms.set(UNKNOWN, None if standing.holds_known else _UNKNOWN)

    def look_at_the_clock(self, distrusted_s: float, reason: str) -> None:
        """How long the clock has not been trusted (0: it is), and why."""
        self._alarms.set(CLOCK, _clock_words(distrusted_s, reason) if distrusted_s > CLOCK_S else None)

    def _short(self, standing: Standing) -> Said | None:
        if not standing.short:
            return None
        names = ", ".join(standing.short)
        promised = "/".join(f"{days:g}" for days in sorted({self._rule.keep(c) / DAY_US for c in standing.short}))
        uk = f"Архів не вміщує обіцяних діб ({promised}): {names}"
        en = f"The archive can't keep its {promised} days: {names}"
        if standing.oldest_us is None:
            return Said(uk, en)
        kept = max(self._clock.utc_us() - standing.oldest_us, 0) / DAY_US
        return Said(f"{uk}; найдавнішому запису {kept:.1f} доби", f"{en}; the oldest kept is {kept:.1f} days old")

    def _full(self, standing: Standing) -> Said | None:
        if standing.waiting:
            return Said(
                f"Архів повний (вільно {_gb(standing.free)} ГБ), запис зупинено: on_full = stop."
                " Звільніть або додайте диск",
                f"The archive is full ({_gb(standing.free)} GB free), nothing is recorded: on_full = stop."
                " Free the disk or add one",
            )
        if standing.stuck:
            return Said(
                "В архіві немає місця, а решту записів утримано за наказом: зніміть утримання або додайте диск",
                "The archive has no room, and all that is left is held by order: end holds or add a disk",
            )
        return None

    def _taken(self, standing: Standing) -> Said | None:
        now = self._clock.monotonic()
        if not standing.taken:
            self._taken_since = None
            return None
        self._taken_since = now if self._taken_since is None else self._taken_since
        if now - self._taken_since < TAKEN_S:
            return None
        disk = f" {standing.disk}" if standing.disk else ""
        free, reserve = _gb(standing.free), _gb(standing.reserve)
        return Said(
            f"Диск архіву{disk} заповнили інші: вільно {free} ГБ із {reserve} ГБ запасу; архів більше не поступається."
            " Звільніть диск",
            f"Others filled the archive's disk{disk}: {free} GB of the reserve of {reserve} GB are free; the archive"
            " gives no more. Free the disk",
        )


class PromiseAlarm:
    """Says days ahead that the promise will break (`docs/forecast.md`); the agent's loop owns it."""

    def __init__(self, alarms: NodeAlarms, config: Config) -> None:
        self._alarms = alarms
        self._warn_us = round(config.retention.warn_days * DAY_US)
        self._zone = config.zone

    def look(self, ahead: Forecast | None) -> None:
        """Raise, renew or end it by the newest forecast."""
        told = any(alarm.code == PROMISE_ALARM for alarm in self._alarms.open)
        said = None
        if ahead is not None and in_sight(ahead, self._warn_us, told=told):
            words = promise_words(ahead, self._zone)
            said = Said(words.uk, words.en)
        self._alarms.set(PROMISE_ALARM, said)


_UNKNOWN = Said(
    "Невідомо, що утримано за наказом (документи пошкоджені): нічого не знищується, доки їх не відновлено",
    "It is not known what is held by order (the documents are damaged): nothing is deleted until they are restored",
)


def _clock_words(distrusted_s: float, reason: str) -> Said:
    hours = distrusted_s // 3600
    return Said(
        f"Годинник вузла не підтверджено вже {hours:.0f} год, тому записи не знищуються за строком. Налаштуйте сервер"
        " часу (chrony, systemd-timesyncd, NTP у мережі камер) або підтвердьте час на вузлі: edge-agent clock confirm",
        f"The node's clock has not been trusted for {hours:.0f} h, so no recording goes by age: {reason}. Set up a time"
        " server (chrony, systemd-timesyncd, NTP in the camera network) or vouch for the time at the node:"
        " edge-agent clock confirm",
    )


def _gb(size: int) -> str:
    return f"{max(size, 0) / 1e9:.1f}"
