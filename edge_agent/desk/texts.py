"""What operators read, in Ukrainian and English; one frozen value a language, so that none can lack a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.config import Language
from edge_agent.model import CameraFault, CameraState
from edge_agent.trust.journal import Outcome


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of one language; those with `{…}` are formats."""

    language: Language
    nodes: str
    node: str
    camera: str
    cameras: str
    state: str
    since: str
    heard: str
    fps: str
    bitrate: str
    gaps: str
    gaps_short: str
    last_frame: str
    watcher: str
    unwatched: str
    disk_free: str
    temperature: str
    outbox: str
    alarms: str
    time: str
    what: str
    no_nodes: str
    no_alarms: str
    online: str
    offline: str
    stopped: str
    unknown: str
    stale: str
    stale_line: str
    fresh_line: str
    going_on: str
    lasted: str
    acknowledged_by: str
    false_by: str
    waiting: str
    hidden: str
    malformed: str
    over_limit: str
    dropped: str
    pictures_failed: str
    picture: str
    broker_online: str
    broker_away: str
    broker_connecting: str
    connecting_to: str
    waiting_for: str
    cut: str
    upload: str
    sent: str
    goes_on: str
    look: str
    follow: str
    cpu: str
    memory: str
    uptime: str
    archive: str
    oldest: str
    kept: str
    broker: str
    mode: str
    silent: str
    none: str
    of: str
    visit: str
    units: tuple[str, str, str, str]
    """Day, hour, minute, second."""
    mbit: str
    sizes: tuple[str, str, str, str]
    """MB, GB, TB and bytes."""
    journal_columns: tuple[str, str, str, str]
    """Who, action, outcome, reason."""
    witnessed: str
    unwitnessed: str
    outcomes: Mapping[Outcome, str]
    unreadable: str
    reading_journals: str
    camera_states: Mapping[CameraState, str]
    faults: Mapping[CameraFault, str]

    def duration(self, seconds: float) -> str:
        """The two largest parts: `2 д 3 год`, `5 хв 7 с`."""
        left = max(0, round(seconds))
        parts: list[str] = []
        for size, unit in zip((86400, 3600, 60, 1), self.units, strict=True):
            amount, left = divmod(left, size)
            if amount or (size == 1 and not parts):
                parts.append(f"{amount} {unit}")
            elif parts:
                break
        return " ".join(parts[:2])

    def size(self, amount: int) -> str:
        """`812 GB`."""
        for unit, word in zip((10**12, 10**9, 10**6), reversed(self.sizes[:3]), strict=True):
            if amount >= unit:
                return f"{amount / unit:.{0 if amount >= 100 * unit else 1}f} {word}"
        return f"{amount} {self.sizes[3]}"


_UK = Texts(
    language="uk",
    nodes="Вузли",
    node="вузол",
    camera="камера",
    cameras="Камери",
    state="стан",
    since="відколи",
    heard="чути",
    fps="к/с",
    bitrate="потік",
    gaps="прогалини за добу",
    gaps_short="прогалини",
    last_frame="останній кадр",
    watcher="спостереження",
    unwatched="без нагляду",
    disk_free="вільно",
    temperature="темп.",
    outbox="черга",
    alarms="Тривоги",
    time="час",
    what="що сталося",
    no_nodes="про жоден вузол ще не чути",
    no_alarms="тривог не було",
    online="на зв'язку",
    offline="зв'язку немає",
    stopped="зупинено",
    unknown="невідомо",
    stale="мовчить {age}",
    stale_line="не повідомляє про стан уже {age}",
    fresh_line="знову повідомляє про стан",
    going_on="триває",
    lasted="тривало {age}",
    acknowledged_by="✓ {who}",
    false_by="хибна: {who}",
    waiting="тривог за добу не підтверджено: {count}",
    hidden="… і ще {count}",
    malformed="незрозумілих повідомлень: {count}",
    over_limit="понад межу не показано: {count}",
    dropped="не встигли прочитати: {count}",
    pictures_failed="знімків не збережено: {count}",
    picture="знімок {path}",
    broker_online="брокер {where}: є зв'язок",
    broker_away="брокер {where}: немає зв'язку",
    broker_connecting="брокер {where}: з'єднання…",
    connecting_to="З'єднання з {where}",
    waiting_for="Чекаємо на відповідь {node}",
    cut="Вирізається й запечатується",
    upload="Передається",
    sent="Надіслано, запит {request}",
    goes_on="Вузол працює далі над запитом {request}.",
    look="Надалі: {command}",
    follow="Чекаємо на новини про запит {request}",
    cpu="процесор",
    memory="пам'ять",
    uptime="працює",
    archive="архів",
    oldest="найдавніший запис",
    kept="діб збережено",
    broker="MQTT",
    mode="режим",
    silent="тихих тривог",
    none="–",
    of="з",
    visit="на вузлі {who} від {since}: {why}",
    units=("д", "год", "хв", "с"),
    mbit="Мбіт/с",
    sizes=("МБ", "ГБ", "ТБ", "Б"),
    journal_columns=("хто", "дія", "наслідок", "підстава"),
    witnessed="перші {size} засвідчив {who} {when}",
    unwitnessed="свідки його не засвідчили",
    outcomes={
        Outcome.ACCEPTED: "дозволено",
        Outcome.REFUSED: "відмовлено",
        Outcome.DONE: "виконано",
        Outcome.FAILED: "не вдалося",
    },
    unreadable="не розібрати",
    reading_journals="Прочитано {count} записів з {of} (вузлів: {nodes})",
    camera_states={
        CameraState.CONNECTING: "з'єднується",
        CameraState.RECORDING: "записує",
        CameraState.RESTING: "без запису",
        CameraState.LOST: "втрачено",
    },
    faults={
        CameraFault.UNREACHABLE: "немає в мережі",
        CameraFault.LOGIN: "логін не підходить",
        CameraFault.NOT_FOUND: "такого потоку немає",
        CameraFault.NO_VIDEO: "не дає відео",
        CameraFault.STALLED: "відео зупинилося",
        CameraFault.CLOSED: "розірвала з'єднання",
        CameraFault.BROKEN: "потік не розібрати",
        CameraFault.DISK: "диск не приймає запис",
    },
)

_EN = Texts(
    language="en",
    nodes="Nodes",
    node="node",
    camera="camera",
    cameras="Cameras",
    state="state",
    since="since",
    heard="heard",
    fps="fps",
    bitrate="bitrate",
    gaps="gaps in 24 h",
    gaps_short="gaps/24 h",
    last_frame="last frame",
    watcher="watching",
    unwatched="unwatched",
    disk_free="free",
    temperature="temp",
    outbox="queue",
    alarms="Alarms",
    time="time",
    what="what happened",
    no_nodes="no node has been heard of yet",
    no_alarms="no alarms so far",
    online="online",
    offline="offline",
    stopped="stopped",
    unknown="unknown",
    stale="silent for {age}",
    stale_line="has not told its health for {age}",
    fresh_line="tells its health again",
    going_on="going on",
    lasted="lasted {age}",
    acknowledged_by="✓ {who}",
    false_by="false: {who}",
    waiting="alarms of the last 24 hours that nobody acknowledged: {count}",
    hidden="… and {count} more",
    malformed="messages not understood: {count}",
    over_limit="beyond the limit, not shown: {count}",
    dropped="came too fast, not read: {count}",
    pictures_failed="pictures not saved: {count}",
    picture="picture {path}",
    broker_online="broker {where}: connected",
    broker_away="broker {where}: away",
    broker_connecting="broker {where}: connecting…",
    connecting_to="Connecting to {where}",
    waiting_for="Waiting for {node} to answer",
    cut="Cutting and sealing",
    upload="Uploading",
    sent="Sent, request {request}",
    goes_on="The node goes on with request {request}.",
    look="To look later: {command}",
    follow="Waiting for news of request {request}",
    cpu="CPU",
    memory="memory",
    uptime="running for",
    archive="archive",
    oldest="oldest recording",
    kept="days kept",
    broker="MQTT",
    mode="mode",
    silent="silent alarms",
    none="–",
    of="of",
    visit="at the node {who} since {since}: {why}",
    units=("d", "h", "min", "s"),
    mbit="Mbit/s",
    sizes=("MB", "GB", "TB", "B"),
    journal_columns=("who", "action", "outcome", "reason"),
    witnessed="the first {size} were witnessed by {who} on {when}",
    unwitnessed="no witness has seen it",
    outcomes={outcome: str(outcome) for outcome in Outcome},
    unreadable="unreadable",
    reading_journals="Read {count} of {of} entries ({nodes} nodes)",
    camera_states={
        CameraState.CONNECTING: "connecting",
        CameraState.RECORDING: "recording",
        CameraState.RESTING: "not recorded",
        CameraState.LOST: "lost",
    },
    faults={
        CameraFault.UNREACHABLE: "unreachable",
        CameraFault.LOGIN: "refuses the login",
        CameraFault.NOT_FOUND: "has no such stream",
        CameraFault.NO_VIDEO: "gives no video",
        CameraFault.STALLED: "video has stalled",
        CameraFault.CLOSED: "closed the connection",
        CameraFault.BROKEN: "stream can't be read",
        CameraFault.DISK: "disk takes no recording",
    },
)


def texts(language: Language) -> Texts:
    return _UK if language == "uk" else _EN
