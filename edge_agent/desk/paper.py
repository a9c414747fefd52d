"""Tables that leave the desk: on the terminal, as CSV for spreadsheets, as PDF for paper (`docs/desk.md`, «Reports»).

A table is a value; each form is a function of it.  What strangers wrote can steer neither terminal nor spreadsheet.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from edge_agent.config import Language
from edge_agent.desk.rows import Level
from edge_agent.errors import ArchiveError, UsageError
from edge_agent.files import replace_durably
from edge_agent.when import spoken

_FORMULA = re.compile(r"(^|[,;|\"'\n])(\s*)([=+\-@\uFF1D\uFF0B\uFF0D\uFF20])")
"""What a spreadsheet may take for a formula: at a cell's beginning, and behind what it may take for the end of one."""
_STYLES = {Level.GOOD: "", Level.WARNING: "yellow", Level.BAD: "bold red"}
_MADE = {"uk": "Складено {when}", "en": "Made {when}"}


@dataclass(frozen=True, slots=True)
class Column:
    """`width`: its share of the page's; the shares need not come to anything."""

    title: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Remark:
    """A line above the table; one that is BAD is red, and stands first."""

    text: str
    level: Level = Level.GOOD


@dataclass(frozen=True, slots=True)
class Table:
    """What is told, whatever the form.  Texts may be anybody's; a line feed begins a new line within a cell."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    """Each with a cell for each column."""
    made_us: int
    """When it was made; the forms know no other clock, so that the same table gives the same bytes."""
    zone: ZoneInfo
    remarks: Sequence[Remark] = ()
    language: Language = "uk"

    def __post_init__(self) -> None:
        if not self.columns or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a table has columns, and each of its rows a cell for each of them")

    @property
    def lines(self) -> Iterator[Remark]:
        """The remarks, the worst first, and when it was made."""
        yield from sorted(self.remarks, key=lambda remark: -remark.level.value)
        yield Remark(self.made)

    @property
    def made(self) -> str:
        return _MADE[self.language].format(when=spoken(self.made_us, self.zone))


class Form(StrEnum):
    CSV = ".csv"
    PDF = ".pdf"


def form_of(path: Path) -> Form:
    """By the file's ending; to be asked before any work.  UsageError for another, ConfigError where PDF can't be made
    here."""
    try:
        form = Form(path.suffix.lower())
    except ValueError:
        raise UsageError(f"{path}: a report is made as .csv or .pdf; name the file accordingly") from None
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.absolute().parent}")
    if form is Form.PDF:
        from edge_agent.desk.paper_pdf import find_fonts

        find_fonts()
    return form


def save(table: Table, path: Path) -> None:
    """Make the file, mode 0600, whole or not at all, in place of one that was there; errors as `form_of`."""
    content = to_csv(table) if form_of(path) is Form.CSV else to_pdf(table)
    try:
        replace_durably(path, content)
    except OSError as error:
        raise ArchiveError(f"the report {path} can't be written: {error.strerror}") from error


def to_csv(table: Table) -> bytes:
    """UTF-8 with a byte order mark, all cells quoted, CR LF: the title, remarks, an empty line, the head, the rows.

    Separated by what spreadsheets of the language expect: `;` in Ukrainian, `,` in English.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";" if table.language == "uk" else ",", quoting=csv.QUOTE_ALL)
    writer.writerow([_inert(table.title)])
    writer.writerows([_inert(remark.text)] for remark in table.lines)
    writer.writerow([])
    writer.writerow([_inert(column.title) for column in table.columns])
    writer.writerows([_inert(cell) for cell in row] for row in table.rows)
    return text.getvalue().encode("utf-8-sig")


def to_pdf(table: Table) -> bytes:
    """A4 landscape.  ConfigError where the library or the font is missing, UsageError for what is too long."""
    from edge_agent.desk.paper_pdf import find_fonts, pdf_of

    return pdf_of(table, find_fonts())


def to_terminal(table: Table) -> RenderableType:
    """For `rich`; as wide as the terminal, long texts wrapped."""
    shown = RichTable(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in table.columns:
        shown.add_column(Text(plain(column.title)), overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    head = [Text(plain(remark.text), style=_STYLES[remark.level]) for remark in table.lines]
    return Group(Text(plain(table.title), style="bold"), *head, Text(), shown)


def plain(text: str) -> str:
    """What people wrote, without anything that steers: control characters, directions of writing, halves of signs."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("".join(sign if sign.isprintable() else "�" for sign in line) for line in lines)


def _inert(text: str) -> str:
    """With an apostrophe before whatever a spreadsheet could calculate (OWASP, «CSV Injection»)."""
    return _FORMULA.sub(r"\1\2'\3", plain(text))
