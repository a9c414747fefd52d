"""What nodes say of holds, for people: tables and lines of a checked answer, in Ukrainian or English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text as Cell

from edge_agent.config import Language
from edge_agent.errors import EdgeError
from edge_agent.uplink.payloads import Amount, Count, Slug, Text, Us
from edge_agent.uplink.words import cause_words
from edge_agent.when import spoken

MAX_LINES = 20
"""Missing pieces that are shown of each camera."""
_WORDS: Mapping[Language, Mapping[str, str]] = {
    "uk": {
        "id": "утримання",
        "cameras": "камери",
        "all": "усі",
        "from": "з",
        "to": "до",
        "open": "до зняття",
        "order": "наказ",
        "by": "хто наказав",
        "state": "стан",
        "active": "діє",
        "ended": "знято {when}, наказ {order}",
        "camera": "  {camera}: є {there:.0f} с, {size:.1f} МБ",
        "missing": "    бракує {start} … {end}: {cause} {evidence}",
        "more": "    … і ще {count}",
        "held": "Утримано: {sizes}",
        "none": "нічого не утримано",
    },
    "en": {
        "id": "hold",
        "cameras": "cameras",
        "all": "all",
        "from": "from",
        "to": "to",
        "open": "until ended",
        "order": "order",
        "by": "ordered by",
        "state": "state",
        "active": "in force",
        "ended": "ended {when}, order {order}",
        "camera": "  {camera}: {there:.0f} s are there, {size:.1f} MB",
        "missing": "    missing {start} … {end}: {cause} {evidence}",
        "more": "    … and {count} more",
        "held": "Held: {sizes}",
        "none": "nothing is held",
    },
}


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


class HoldPart(_Part):
    hold_id: Text
    cameras: Annotated[tuple[Slug, ...], Field(max_length=64)]
    start_us: Us
    end_us: Us | None
    order_number: Text
    ordered_by: Text
    ended_us: Us | None = None
    end_order_number: Text = ""


class MissingPart(_Part):
    start_us: Us
    end_us: Us
    cause: Text
    evidence: Text


class AccountPart(_Part):
    """What is there of an interval of a camera, and what is missing."""

    recorded_s: Amount
    size_bytes: Count
    missing: tuple[MissingPart, ...]
    unlisted: Count = 0


class HoldAnswer(_Part):
    """The result of `hold`, `hold_end`, `holds`."""

    hold: HoldPart | None = None
    holds: tuple[HoldPart, ...] | None = None
    unlisted: Count = 0
    held_bytes: dict[Slug, Count] = Field(default_factory=dict)
    cameras: dict[Slug, AccountPart] = Field(default_factory=dict)


def show_holds(console: Console, result: Mapping[str, Any] | None, language: Language, zone: ZoneInfo) -> None:
    """Print a result; EdgeError when it is none."""
    try:
        answer = HoldAnswer.model_validate(result)
    except ValidationError as error:
        raise EdgeError(f"this is no answer about holds: {error.error_count()} things are wrong with it") from error
    words = _WORDS[language]
    if answer.holds is not None:
        if answer.holds:
            console.print(_table(answer.holds, words, zone))
        if answer.unlisted:
            console.print(words["more"].format(count=answer.unlisted), markup=False)
        sizes = ", ".join(f"{camera} {size / 1e9:.2f} GB" for camera, size in answer.held_bytes.items() if size)
        console.print(words["held"].format(sizes=sizes) if sizes else words["none"], markup=False)
        return
    if answer.hold is not None:
        console.print(_table([answer.hold], words, zone))
    for camera, account in answer.cameras.items():
        print_account(console, camera, account, language, zone)


def _table(holds: Any, words: Mapping[str, str], zone: ZoneInfo) -> Table:
    table = Table()
    for column in ("id", "cameras", "from", "to", "order", "by", "state"):
        table.add_column(words[column], no_wrap=column == "id")
    for hold in holds:
        ended = hold.ended_us is not None
        state = words["active"]
        if ended:
            state = words["ended"].format(when=_spoken(hold.ended_us, zone), order=hold.end_order_number)
        cells = (
            hold.hold_id,
            ", ".join(hold.cameras) or words["all"],
            _spoken(hold.start_us, zone),
            words["open"] if hold.end_us is None else _spoken(hold.end_us, zone),
            hold.order_number,
            hold.ordered_by,
            state,
        )
        table.add_row(*(Cell(cell) for cell in cells), style="dim" if ended else "")
    return table


def print_account(console: Console, camera: str, account: AccountPart, language: Language, zone: ZoneInfo) -> None:
    """One camera's, with its first missing pieces."""
    words = _WORDS[language]

    def say(name: str, **values: Any) -> None:
        console.print(words[name].format(**values).rstrip(), markup=False, soft_wrap=True)

    say("camera", camera=camera, there=account.recorded_s, size=account.size_bytes / 1e6)
    for piece in account.missing[:MAX_LINES]:
        ends = {"start": _spoken(piece.start_us, zone), "end": _spoken(piece.end_us, zone)}
        said = cause_words(piece.cause)
        say("missing", **ends, cause=said.uk if language == "uk" else said.en, evidence=piece.evidence)
    unlisted = account.unlisted + max(0, len(account.missing) - MAX_LINES)
    if unlisted:
        say("more", count=unlisted)


def _spoken(us: int, zone: ZoneInfo) -> str:
    try:
        return spoken(us, zone)
    except OverflowError:
        return "9999-12-31"
