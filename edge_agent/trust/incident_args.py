"""What commands about alarms say (`docs/commands.md`, `docs/incidents.md`)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from edge_agent.clock import US
from edge_agent.trust.jws import MAX_TIME_S, Closed, plain_text
from edge_agent.trust.policy import Action

HoldId = Annotated[str, Field(pattern=r"^h[0-9a-f]{3,63}$")]
"""A hold's id, or as much of its beginning as names it alone."""
AlarmId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{3,63}$")]
"""An alarm's id, or as much of its beginning as names it alone."""
Comment = Annotated[str, AfterValidator(plain_text), Field(max_length=500)]
Instant = Annotated[int, Field(ge=0, le=MAX_TIME_S * US)]
MAX_PAGE = 200


class AcknowledgeArgs(Closed):
    """`acknowledge`: somebody takes care of an alarm."""

    action: ClassVar[Action] = Action.ACKNOWLEDGE

    alarm: AlarmId
    comment: Comment = ""


class IncidentArgs(Closed):
    """`incident`: something is written beside an alarm."""

    action: ClassVar[Action] = Action.INCIDENT

    alarm: AlarmId
    comment: Comment = ""
    false_alarm: bool | None = None
    """True: it was one; False: that is taken back."""
    hold: HoldId | None = None
    """Recordings of it are kept by this hold."""
    release: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{15,63}$")] | None = None
    """They were released upon this request."""

    @model_validator(mode="after")
    def _something(self) -> IncidentArgs:
        if not self.comment and self.false_alarm is None and self.hold is None and self.release is None:
            raise ValueError("nothing to write: a comment, a mark, a hold or a release")
        return self


class IncidentsArgs(Closed):
    """`incidents`: a page of the register, of alarms that went on within [start_us, end_us), by their starts."""

    action: ClassVar[Action] = Action.INCIDENTS

    start_us: Instant = 0
    end_us: Instant = MAX_TIME_S * US
    camera: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")] | None = None
    state: Literal["open", "ended", "waiting", "acknowledged", "false"] | None = None
    alarm: AlarmId | None = None
    """Only this one."""
    after_us: Instant | None = None
    """The start of the last one that is known already, …"""
    after_id: AlarmId | None = None
    """… and its id."""
    most: int = Field(default=MAX_PAGE, ge=1, le=MAX_PAGE)

    @model_validator(mode="after")
    def _sensible(self) -> IncidentsArgs:
        if self.end_us <= self.start_us:
            raise ValueError("the interval is empty: end_us must be after start_us")
        if (self.after_us is None) != (self.after_id is None):
            raise ValueError("after_us and after_id: both or neither")
        return self
