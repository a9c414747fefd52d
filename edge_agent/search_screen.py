"""What nodes say of their archives, for people and scripts: a checked answer to `search`, in Ukrainian or English."""

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
from edge_agent.holds_screen import AccountPart, print_account
from edge_agent.uplink.payloads import Count, Slug, Text, Us
from edge_agent.when import iso_utc, spoken

_WORDS: Mapping[Language, Mapping[str, str]] = {
    "uk": {
        "from": "з",
        "to": "до",
        "camera": "камера",
        "recordings": "записів",
        "size": "розмір",
        "seconds": "секунд",
        "torn": "обірвано",
        "open": "пишеться",
        "more": "… і ще {count}",
        "mb": "{size:.1f} МБ",
    },
    "en": {
        "from": "from",
        "to": "to",
        "camera": "camera",
        "recordings": "recordings",
        "size": "size",
        "seconds": "seconds",
        "torn": "torn",
        "open": "being written",
        "more": "… and {count} more",
        "mb": "{size:.1f} MB",
    },
}


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore")


class _Holdings(_Part):
    recordings: Count
    size_bytes: Count
    first_us: Us | None = None
    last_us: Us | None = None


class _Recording(_Part):
    start_us: Us
    end_us: Us
    size_bytes: Count
    frames: Count | None = None
    torn: bool = False
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    path: Text
    disk: Text = ""

    @property
    def seconds(self) -> float:
        return (self.end_us - self.start_us) / 1e6


class SearchAnswer(_Part):
    """The result of `search`."""

    holdings: dict[Slug, _Holdings] | None = None
    """By camera, where no interval was asked for."""
    cameras: dict[Slug, AccountPart] = Field(default_factory=dict)
    recordings: tuple[_Recording, ...] | None = None
    unlisted: Count = 0


def search_json(result: Mapping[str, Any] | None) -> Any:
    """For scripts at the node: a list of cameras, or of one camera's recordings; else the account of each camera."""
    answer = _checked(result)
    if answer.holdings is not None:
        return [
            {
                "camera": camera,
                "recordings": held.recordings,
                "bytes": held.size_bytes,
                "from": None if held.first_us is None else iso_utc(held.first_us),
                "to": None if held.last_us is None else iso_utc(held.last_us),
            }
            for camera, held in answer.holdings.items()
        ]
    if answer.recordings is None:
        return {camera: account.model_dump() for camera, account in answer.cameras.items()}
    return [
        {
            "from": iso_utc(one.start_us),
            "to": iso_utc(one.end_us),
            "seconds": round(one.seconds, 3),
            "bytes": one.size_bytes,
            "frames": one.frames,
            "torn": one.torn,
            "sha256": one.sha256,
            "path": one.path,
            "disk": one.disk,
        }
        for one in answer.recordings
    ]


def unlisted(result: Mapping[str, Any] | None) -> int:
    """Recordings that the answer had no room for."""
    return _checked(result).unlisted


def show_search(console: Console, result: Mapping[str, Any] | None, language: Language, zone: ZoneInfo) -> None:
    """Print a result; EdgeError when it is none."""
    answer, words = _checked(result), _WORDS[language]
    if answer.holdings is not None:
        console.print(_holdings_table(answer.holdings, words, zone))
        return
    if answer.recordings is not None:
        console.print(_recordings_table(answer.recordings, words, zone))
        if answer.unlisted:
            console.print(words["more"].format(count=answer.unlisted), markup=False)
    for camera, account in answer.cameras.items():
        print_account(console, camera, account, language, zone)


def _checked(result: Mapping[str, Any] | None) -> SearchAnswer:
    try:
        return SearchAnswer.model_validate(result)
    except ValidationError as error:
        raise EdgeError(
            f"this is no answer about an archive: {error.error_count()} things are wrong with it"
        ) from error


def _table(words: Mapping[str, str], *columns: str) -> Table:
    table = Table()
    for column in ("from", "to"):
        table.add_column(words[column], no_wrap=True)
    for column in columns:
        table.add_column(words.get(column, ""))
    return table


def _holdings_table(holdings: Mapping[str, _Holdings], words: Mapping[str, str], zone: ZoneInfo) -> Table:
    table = _table(words, "camera", "recordings", "size")
    for camera, held in holdings.items():
        ends = ("–" if us is None else _spoken(us, zone) for us in (held.first_us, held.last_us))
        size = words["mb"].format(size=held.size_bytes / 1e6)
        table.add_row(*ends, camera, str(held.recordings), size)
    return table


def _recordings_table(recordings: tuple[_Recording, ...], words: Mapping[str, str], zone: ZoneInfo) -> Table:
    table = _table(words, "seconds", "size", "")
    for one in recordings:
        mark = words["torn"] if one.torn else "" if one.sha256 else words["open"]
        size = words["mb"].format(size=one.size_bytes / 1e6)
        table.add_row(_spoken(one.start_us, zone), _spoken(one.end_us, zone), f"{one.seconds:.1f}", size, Cell(mark))
    return table


def _spoken(us: int, zone: ZoneInfo) -> str:
    try:
        return spoken(us, zone)
    except OverflowError:
        return "9999-12-31"
