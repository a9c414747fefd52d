"""What is read of the incident register, in Ukrainian and English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.config import Language


@dataclass(frozen=True, slots=True)
class IncidentTexts:
    """The words of one language; those with `{…}` are formats."""

    title: str
    columns: tuple[str, ...]
    node_itself: str
    severity: str
    severities: Mapping[str, str]
    acknowledged: str
    waiting: str
    false: str
    not_false: str
    cut: str
    hold: str
    release: str
    sums: str
    too_many: str
    complete_from: str
    release_with: str


_UK = IncidentTexts(
    title="Реєстр подій",
    columns=(
        "Подія",
        "Вузол і камера",
        "Що сталося",
        "Початок",
        "Кінець",
        "Стан",
        "Підтвердив(ла)",
        "Записи осіб",
        "Відео в архіві",
    ),
    node_itself="сам вузол",
    severity="важливість",
    severities={"info": "довідкова", "warning": "звичайна", "critical": "критична"},
    acknowledged="підтверджено",
    waiting="не підтверджено",
    false="хибна",
    not_false="не хибна",
    cut="кінця не видно",
    hold="утримання",
    release="видача",
    sums="Подій: {count}, ще {merged} тривог приєднано до них; не підтверджено: {waiting}",
    too_many="{node}: показано лише перші {count}, запитайте менший проміжок",
    complete_from="{node}: події до {since} у реєстрі вже не всі",
    release_with="Видати відео",
)
_EN = IncidentTexts(
    title="Incident register",
    columns=(
        "Incident",
        "Node and camera",
        "What happened",
        "Start",
        "End",
        "State",
        "Acknowledged by",
        "Notes",
        "Footage",
    ),
    node_itself="the node itself",
    severity="severity",
    severities={},
    acknowledged="acknowledged",
    waiting="not acknowledged",
    false="false",
    not_false="not false",
    cut="end not seen",
    hold="hold",
    release="release",
    sums="Incidents: {count}, {merged} more alarms were merged into them; not acknowledged: {waiting}",
    too_many="{node}: only the first {count} are shown, ask for a shorter time",
    complete_from="{node}: of what happened before {since} the register no longer has all",
    release_with="To release the footage",
)


def incident_texts(language: Language) -> IncidentTexts:
    return _UK if language == "uk" else _EN
