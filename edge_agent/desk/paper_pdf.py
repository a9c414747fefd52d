"""A table on paper: A4 landscape, its head on every page, long texts wrapped, pages numbered n of m; the same bytes
for the same table.

Laid out first, drawn then: only so is m known, and a cell that is longer than a page goes on on the next.  fpdf2 is
imported when it is needed, for it costs half a second and 40 MB, and a node does without.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.desk.paper import Table, plain
from edge_agent.desk.rows import Level
from edge_agent.errors import ConfigError, UsageError
from edge_agent.when import from_us

if TYPE_CHECKING:
    from fpdf import FPDF

MAX_PAGES = 2000
"""Of some 40 lines: more is no paper that anybody reads."""
FONT_FOLDERS = (
    Path("/usr/share/fonts/truetype/dejavu"),
    Path("/usr/share/fonts/dejavu-sans-fonts"),
    Path("/usr/share/fonts/TTF"),
)
"""Of Debian, Fedora and Arch."""

_WIDE_MM, _HIGH_MM, _MARGIN_MM = 297.0, 210.0, 10.0
_PADDING_MM = 1.0
_TEXT_PT, _TITLE_PT, _SMALL_PT = 8.0, 13.0, 7.0
_LINE_MM, _TITLE_LINE_MM = 3.7, 6.5
_BOTTOM_MM = _HIGH_MM - _MARGIN_MM - 6.0
"""The page's number stands below."""
_COLOURS = {Level.GOOD: (0, 0, 0), Level.WARNING: (150, 90, 0), Level.BAD: (200, 0, 0)}
_PAGES = {"uk": "Сторінка {page} з {pages}", "en": "Page {page} of {pages}"}

Width = Callable[[str], float]
"""Of a sign, in millimetres."""


@dataclass(frozen=True, slots=True)
class Fonts:
    """Files of one family with Cyrillic letters."""

    regular: Path
    bold: Path


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    x: float
    y: float
    size: float = _TEXT_PT
    bold: bool = False
    level: Level = Level.GOOD


@dataclass(slots=True)
class _Page:
    lines: list[_Line] = field(default_factory=list)
    rules: list[float] = field(default_factory=list)
    """Heights of thin lines from edge to edge."""
    head: tuple[float, float] | None = None
    """Where the head of the table is shaded: from, to."""


def find_fonts(folders: Sequence[Path] = FONT_FOLDERS) -> Fonts:
    """ConfigError says what to install where PDF can't be made."""
    if importlib.util.find_spec("fpdf") is None:
        raise ConfigError("PDF needs fpdf2: install edge-agent[report], or ask for .csv")
    for folder in folders:
        fonts = Fonts(folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf")
        if fonts.regular.is_file() and fonts.bold.is_file():
            return fonts
    raise ConfigError(
        f"PDF needs the font DejaVu Sans, which is not in {folders[0]}: "
        "apt-get install fonts-dejavu-core, or ask for .csv"
    )


def pdf_of(table: Table, fonts: Fonts) -> bytes:
    """UsageError when it would have more than MAX_PAGES pages."""
    from fpdf import FPDF
    from fpdf.errors import FPDFException

    try:
        pdf = FPDF("landscape", "mm", "A4")
        # Nothing in a text may be taken for the number of pages.
        pdf.str_alias_nb_pages = None  # type: ignore[assignment]
        pdf.set_auto_page_break(False)
        pdf.set_creation_date(from_us(table.made_us, table.zone).replace(microsecond=0))
        pdf.set_title(plain(table.title))
        pdf.set_lang(table.language)
        pdf.add_font("paper", "", fonts.regular)
        pdf.add_font("paper", "B", fonts.bold)
        pages = list(_layout(table, _widths(pdf, ""), _widths(pdf, "B")))
        for number, page in enumerate(pages, 1):
            _draw(pdf, page, f"{plain(table.title)} · {table.made}", _PAGES[table.language], number, len(pages))
        return bytes(pdf.output())
    except (OSError, FPDFException) as error:
        raise ConfigError(f"the PDF can't be made with the font {fonts.regular}: {error}") from error


def wrap(text: str, room: float, width: Width) -> list[str]:
    """In lines of at most `room`, broken at blanks; a word that is longer, anywhere; a line has a sign at least."""
    lines = []
    for part in text.split("\n"):
        line, used = "", 0.0
        for word in part.split(" "):
            wide = sum(map(width, word))
            if line and used + width(" ") + wide > room:
                lines.append(line)
                line, used = "", 0.0
            if line:
                line, used = line + " ", used + width(" ")
            if used + wide <= room:
                line, used = line + word, used + wide
                continue
            for sign in word:
                if line and used + width(sign) > room:
                    lines.append(line)
                    line, used = "", 0.0
                line, used = line + sign, used + width(sign)
        lines.append(line)
    return lines


def _layout(table: Table, width: Width, bold: Width) -> Iterator[_Page]:
    columns = _columns(table)
    heads = [wrap(plain(column.title), room, bold) for column, (_, room) in zip(table.columns, columns, strict=True)]
    whole = _WIDE_MM - 2 * _MARGIN_MM
    page, y = _Page(), _MARGIN_MM
    for text in wrap(plain(table.title), whole, lambda sign: bold(sign) * _TITLE_PT / _TEXT_PT):
        page.lines.append(_Line(text, _MARGIN_MM, y, _TITLE_PT, True))
        y += _TITLE_LINE_MM
    count = 0

    def next_page() -> _Page:
        nonlocal count, y
        count += 1
        if count >= MAX_PAGES:
            raise UsageError(f"the PDF would have more than {MAX_PAGES} pages: take a shorter period, or .csv")
        y = _MARGIN_MM
        return _Page()

    for remark in table.lines:
        worst = remark.level is Level.BAD
        for text in wrap(plain(remark.text), whole, bold if worst else width):
            if y + _LINE_MM > _BOTTOM_MM:
                yield page
                page = next_page()
            page.lines.append(_Line(text, _MARGIN_MM, y, bold=worst, level=remark.level))
            y += _LINE_MM
    y += _LINE_MM / 2
    if y + (max(map(len, heads)) + 2) * _LINE_MM > _BOTTOM_MM:
        yield page
        page = next_page()
    y = _head(page, heads, columns, y)
    for row in table.rows:
        cells = [wrap(plain(cell), room, width) for cell, (_, room) in zip(row, columns, strict=True)]
        high = max(map(len, cells))
        # A row that fits on a page stays whole.
        if y + high * _LINE_MM > _BOTTOM_MM and high * _LINE_MM < _BOTTOM_MM / 2:
            yield page
            page = next_page()
            y = _head(page, heads, columns, y)
        for at in range(high):
            if y + _LINE_MM > _BOTTOM_MM:
                yield page
                page = next_page()
                y = _head(page, heads, columns, y)
            for cell, (x, _) in zip(cells, columns, strict=True):
                if at < len(cell) and cell[at]:
                    page.lines.append(_Line(cell[at], x, y))
            y += _LINE_MM
        y += _PADDING_MM
        page.rules.append(y)
        y += _PADDING_MM
    yield page


def _head(page: _Page, heads: Sequence[Sequence[str]], columns: Sequence[tuple[float, float]], y: float) -> float:
    """The titles of the columns; the height where the rows begin."""
    end = y + max(map(len, heads)) * _LINE_MM + 2 * _PADDING_MM
    for lines, (x, _) in zip(heads, columns, strict=True):
        page.lines += [
            _Line(text, x, y + _PADDING_MM + at * _LINE_MM, bold=True) for at, text in enumerate(lines) if text
        ]
    page.head = (y, end)
    return end + _PADDING_MM


def _columns(table: Table) -> list[tuple[float, float]]:
    """For each its left edge and the room for its text."""
    whole = _WIDE_MM - 2 * _MARGIN_MM
    share = whole / sum(column.width for column in table.columns)
    found, x = [], _MARGIN_MM
    for column in table.columns:
        found.append((x + _PADDING_MM, column.width * share - 2 * _PADDING_MM))
        x += column.width * share
    return found


def _widths(pdf: FPDF, style: str) -> Width:
    known: dict[str, float] = {}

    def width(sign: str) -> float:
        found = known.get(sign)
        if found is None:
            pdf.set_font("paper", style, _TEXT_PT)
            found = known[sign] = pdf.get_string_width(sign)
        return found

    return width


def _draw(pdf: FPDF, page: _Page, told: str, words: str, number: int, of: int) -> None:
    pdf.add_page()
    pdf.set_line_width(0.1)
    if page.head is not None:
        top, bottom = page.head
        pdf.set_fill_color(230, 230, 230)
        pdf.rect(_MARGIN_MM, top, _WIDE_MM - 2 * _MARGIN_MM, bottom - top, style="F")
    pdf.set_draw_color(190, 190, 190)
    for y in page.rules:
        pdf.line(_MARGIN_MM, y, _WIDE_MM - _MARGIN_MM, y)
    for line in page.lines:
        pdf.set_font("paper", "B" if line.bold else "", line.size)
        pdf.set_text_color(*_COLOURS[line.level])
        pdf.text(line.x, line.y + line.size * 0.32, line.text)
    pdf.set_font("paper", "", _SMALL_PT)
    pdf.set_text_color(90, 90, 90)
    foot = _HIGH_MM - _MARGIN_MM
    page_of = words.format(page=number, pages=of)
    room = _WIDE_MM - 2 * _MARGIN_MM - pdf.get_string_width(page_of) - 5
    pdf.text(_MARGIN_MM, foot, wrap(told, room, pdf.get_string_width)[0])
    pdf.text(_WIDE_MM - _MARGIN_MM - pdf.get_string_width(page_of), foot, page_of)
