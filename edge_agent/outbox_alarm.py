"""What an outage cost, as an alarm of the node (`docs/mqtt.md`, "The outbox")."""

from __future__ import annotations

from edge_agent.buffer.outbox import Losses
from edge_agent.node_alarms import NodeAlarms, Said
from edge_agent.uplink.payloads import Undelivered

CODE = "outbox_full"


class OutboxAlarm:
    """Raised when something was dropped for want of room, over when nothing waits; the agent's loop owns it."""

    def __init__(self, alarms: NodeAlarms) -> None:
        self._alarms = alarms
        self._told: Losses | None = None
        """What had been lost when the last outage was over."""

    def look(self, outbox: Undelivered) -> None:
        """Raise, renew or end it by what the outbox says of itself."""
        lost = Losses(outbox.dropped_pictures, outbox.dropped_alarms, outbox.dropped_answers)
        begun, self._told = self._told is not None, self._told or lost
        if not outbox.waiting:
            self._told = lost
        elif not begun:
            # One that was raised before this start lasts until nothing waits.
            return
        pictures, alarms, answers = (
            lost.pictures - self._told.pictures,
            lost.alarms - self._told.alarms,
            lost.answers - self._told.answers,
        )
        said = _words(pictures, alarms, answers) if pictures or alarms or answers else None
        self._alarms.set(CODE, said)


def _words(pictures: int, alarms: int, answers: int) -> Said:
    return Said(
        f"Поки немає зв'язку, для сповіщень забракло місця: втрачено знімків {pictures}, тривог {alarms},"
        f" відповідей {answers}; записи в архіві лишилися. Збільште [mqtt] outbox_max або звільніть диск",
        f"There was no room for what waits for the broker: lost are {pictures} pictures, {alarms} alarms, {answers}"
        " answers; the recordings are still there. Raise [mqtt] outbox_max or free the disk",
    )
