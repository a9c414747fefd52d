"""Tables on the terminal, as CSV and as PDF; the PDF is read by poppler."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge_agent.desk import paper_pdf
from edge_agent.desk.paper import Column, Remark, Table, form_of, plain, save, to_csv, to_pdf, to_terminal
from edge_agent.desk.paper_pdf import find_fonts, wrap
from edge_agent.desk.rows import Level
from edge_agent.errors import ConfigError, UsageError

MADE_US = 1_795_356_309_123_456
FORMULA = tuple("=+-@＝＋－＠")
ALPHABET = "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя АБВГҐДЕЄЖЗИІЇЙКЛМНОПРСТУФХЦЧШЩЬЮЯ «№7/2026» ’ – …"


def table(rows: Sequence[Sequence[str]], *remarks: Remark) -> Table:
    columns = (Column("Прізвище"), Column("Час"), Column("Дія", 3))
    return Table("Журнал доступу", columns, rows, MADE_US, ZoneInfo("Europe/Kyiv"), remarks)


def pdf_text(content: bytes, folder: Path) -> str:
    """What poppler reads, page after page, each ended by a form feed."""
    path = folder / "read.pdf"
    path.write_bytes(content)
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True).stdout.decode()


def read_csv(content: bytes, delimiter: str = ";") -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter))


texts = st.text(st.characters(codec="utf-8") | st.sampled_from(",;|\"'\n\r\t=+-@ "), max_size=40)


@given(st.lists(st.tuples(texts, texts, texts), max_size=5))
def test_csv_reads_back_and_differs_by_apostrophes_before_formulas_only(rows: list[tuple[str, str, str]]) -> None:
    content = to_csv(table(rows))
    assert content.startswith(b"\xef\xbb\xbf")
    head, *found = read_csv(content)[3:]
    assert head == ["Прізвище", "Час", "Дія"]
    assert [[cell.replace("'", "") for cell in row] for row in found] == [
        [plain(cell).replace("'", "") for cell in row] for row in rows
    ]


@given(texts)
@pytest.mark.parametrize("delimiter", [",", ";", "|"])
def test_no_cell_is_a_formula_whatever_the_spreadsheet_takes_for_a_separator(delimiter: str, text: str) -> None:
    inner = read_csv(to_csv(table([(text, "", "")])), ";")[4][0]
    for part in (piece for line in inner.split("\n") for piece in line.split(delimiter)):
        assert not part.lstrip().startswith(FORMULA)
        assert not part.lstrip().lstrip('"').lstrip().startswith(FORMULA)


def test_english_csv_is_separated_by_commas() -> None:
    english = replace(table([("a", "b", "c")]), language="en")
    assert read_csv(to_csv(english), ",")[-1] == ["a", "b", "c"]
    assert read_csv(to_csv(english), ",")[1] == ["Made 2026-11-22 16:05:09 +02:00"]


@given(texts, st.integers(1, 30))
def test_wrapped_lines_fit_and_lose_no_sign(text: str, room: int) -> None:
    lines = wrap(text, room, lambda _: 1.0)
    assert all(len(line) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_ukrainian_letters_are_on_the_paper_and_can_be_searched(tmp_path: Path) -> None:
    found = pdf_text(to_pdf(table([("Ґалаґан", "10:15", ALPHABET)])), tmp_path)
    assert "Журнал доступу" in found
    assert "Ґалаґан" in found
    assert " ".join(ALPHABET.split()) in " ".join(found.split())
    assert "Сторінка 1 з 1" in found


def test_every_page_has_the_head_and_its_number_of_all(tmp_path: Path) -> None:
    rows = [(f"особа-{number}", "10:15", "дивився " * 40) for number in range(100)]
    pages = pdf_text(to_pdf(table(rows)), tmp_path).split("\f")[:-1]
    assert len(pages) > 3
    for number, page in enumerate(pages, 1):
        assert "Прізвище" in page
        assert f"Сторінка {number} з {len(pages)}" in page
    assert re.findall(r"особа-(\d+)", "".join(pages)) == [str(number) for number in range(100)]


def test_a_cell_longer_than_a_page_goes_on_on_the_next(tmp_path: Path) -> None:
    words = [f"слово{number}" for number in range(3000)]
    pages = pdf_text(to_pdf(table([("a", "b", " ".join(words)), ("z", "", "")])), tmp_path).split("\f")[:-1]
    assert len(pages) > 2
    assert re.findall(r"слово\d+", "".join(pages)) == words


def test_the_worst_remark_stands_first_and_red(tmp_path: Path) -> None:
    remarks = Remark("Період: листопад"), Remark("Журнал вузла НЕ перевірено", Level.BAD)
    content = to_pdf(table([("a", "b", "c")], *remarks))
    found = pdf_text(content, tmp_path)
    assert found.index("НЕ перевірено") < found.index("Період")
    picture = subprocess.run(
        ["pdftoppm", "-r", "60", "-singlefile", tmp_path / "read.pdf"], capture_output=True, check=True
    ).stdout
    pixels = picture.split(b"\n", 3)[3]
    red = sum(1 for at in range(0, len(pixels), 3) if pixels[at] > 180 and pixels[at + 1] < 80)
    assert red > 100
    assert read_csv(to_csv(table([], *remarks)))[1] == ["Журнал вузла НЕ перевірено"]


def test_the_same_table_gives_the_same_bytes_in_another_process_at_another_time() -> None:
    ask = (
        "import sys; from tests.desk.test_paper import *; "
        "sys.stdout.buffer.write(to_pdf(table([('Ґалаґан', '10:15', ALPHABET)])))"
    )
    (faketime,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    later = {**os.environ, "LD_PRELOAD": str(faketime), "FAKETIME": "+1000d"}
    other = subprocess.run([sys.executable, "-c", ask], env=later, capture_output=True, check=True, timeout=60).stdout
    assert other == to_pdf(table([("Ґалаґан", "10:15", ALPHABET)]))


def test_nothing_that_people_wrote_is_a_placeholder_or_steers(tmp_path: Path) -> None:
    evil = table([("{nb}", "**жирно**", "\x1b[31mчерв\u202eоний [bold]x[/]")])
    found = pdf_text(to_pdf(evil), tmp_path)
    assert "{nb}" in found
    assert "**жирно**" in found
    screen = Console(file=io.StringIO(), width=200, force_terminal=True)
    screen.print(to_terminal(evil))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    assert "[bold]x[/]" in shown


def test_terminal_shows_all_cells_and_what_is_wrong() -> None:
    screen = Console(file=io.StringIO(), width=60)
    screen.print(to_terminal(table([("Коваленко", "10:15", "дивився архів")], Remark("погано", Level.BAD))))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert [word in shown for word in ("Журнал доступу", "погано", "Коваленко", "дивився архів")] == [True] * 4


def test_file_is_of_its_ending_private_and_whole(tmp_path: Path) -> None:
    for name, begins in (("a.pdf", b"%PDF-"), ("a.CSV", b"\xef\xbb\xbf")):
        save(table([("a", "b", "c")]), tmp_path / name)
        save(table([("a", "b", "c")]), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.CSV", "a.pdf"]


def test_what_can_not_be_made_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv or \.pdf"):
        form_of(tmp_path / "report.docx")
    with pytest.raises(UsageError, match="there is no folder"):
        form_of(tmp_path / "nowhere" / "report.csv")
    with pytest.raises(ConfigError, match="apt-get install fonts-dejavu-core"):
        find_fonts([tmp_path])
    with pytest.raises(ValueError, match="a cell for each"):
        table([("too", "few")])


def test_a_library_of_paper_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_pdf, "MAX_PAGES", 3)
    with pytest.raises(UsageError, match="more than 3 pages"):
        to_pdf(table([("a", "b", "слово " * 5000)]))
