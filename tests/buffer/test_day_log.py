"""The day log: what is said of a file outlives the index, whatever else is in the log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.day_log import MAX_BYTES, NAME, Line, append, encode, parse, read, remove_with_folder
from edge_agent.errors import ArchiveError
from edge_agent.model import ClockTrust

COUNTS = st.integers(0, 2**62 - 1)
LINES = st.builds(
    Line,
    st.from_regex(r"[0-9]{1,18}_[0-9]{6,12}\.mp4\.age", fullmatch=True).filter(str.isascii),
    COUNTS,
    COUNTS,
    st.none() | COUNTS,
    st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.booleans(),
    st.none() | COUNTS,
    st.none() | st.sampled_from(ClockTrust),
)
GARBAGE = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"{}", b"[]", b"null", b"[" * 2000, b'{"name":1}', b'{"name":"1_000001.mp4.age","end_us":true}']),
).map(lambda raw: raw.replace(b"\n", b"") + b"\n")


@given(LINES)
def test_every_line_is_read_back(line: Line) -> None:
    assert parse(encode(line)) == {line.name: line}


@given(st.lists(LINES | GARBAGE, max_size=8), st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")))
def test_garbage_and_a_torn_tail_hide_nothing_and_the_last_line_of_a_name_wins(
    parts: list[Line | bytes], tail: bytes
) -> None:
    data = b"".join(encode(part) if isinstance(part, Line) else part for part in parts) + tail
    assert parse(data) == {part.name: part for part in parts if isinstance(part, Line)}


@given(LINES, LINES, st.data())
def test_what_is_appended_after_a_torn_line_is_read(first: Line, second: Line, data: st.DataObject) -> None:
    whole = encode(first)
    kept = data.draw(st.integers(0, len(whole) - 1))
    assert parse(whole[:kept] + b"\n" * (kept > 0) + encode(second)) == {second.name: second} | (
        {first.name: first} if kept == len(whole) - 1 and first.name != second.name else {}
    )


def line(number: int) -> Line:
    return Line(f"{number}_000001.mp4.age", number + 60, 1000, 1500, "ab" * 32, False, 0, ClockTrust.SYNCED)


def test_an_appended_line_ends_what_a_crash_left_torn(tmp_path: Path) -> None:
    append(tmp_path, line(1))
    with (tmp_path / NAME).open("ab") as file:
        file.write(encode(line(2))[:-20])
    append(tmp_path, line(3))
    assert read(tmp_path) == {one.name: one for one in (line(1), line(3))}
    assert (tmp_path / NAME).read_bytes().count(b"\n") == 3


def test_two_processes_append_at_once_and_no_line_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.buffer.test_day_log import append, line\n"
        "for n in range(int(sys.argv[2]), int(sys.argv[2]) + 100): append(Path(sys.argv[1]), line(n))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)]) for first in (1000, 2000)]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    assert len(read(tmp_path)) == 200


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_no_log(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / NAME)
    assert read(tmp_path) == {}
    if not (tmp_path / NAME).is_fifo():
        with pytest.raises(ArchiveError, match=NAME):
            append(tmp_path, line(1))


def test_a_log_that_was_blown_up_is_read_up_to_its_limit(tmp_path: Path) -> None:
    append(tmp_path, line(1))
    with (tmp_path / NAME).open("r+b") as file:
        file.truncate(MAX_BYTES + 4096)
    assert read(tmp_path) == {line(1).name: line(1)}


def test_a_folder_goes_with_its_log_only_when_nothing_else_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "2026-11-22"
    folder.mkdir()
    append(folder, line(1))
    (folder / "notes.txt").touch()
    assert not remove_with_folder(folder)
    assert read(folder)
    (folder / "notes.txt").unlink()
    assert remove_with_folder(folder)
    assert not folder.exists()
    assert not remove_with_folder(folder)


def fill(folder: Path) -> None:
    for _ in range(100):
        append(folder, line(9))


@pytest.mark.root
def test_a_full_disk_costs_the_line_and_is_told(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        append(tmp_path, line(1))
        (tmp_path / "filler").write_bytes(b"x" * (60 << 10))
        with pytest.raises(ArchiveError, match=r"9_000001\.mp4\.age cannot be entered"):
            fill(tmp_path)
        (tmp_path / "filler").unlink()
        append(tmp_path, line(3))
        assert {line(1).name, line(3).name} <= read(tmp_path).keys()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
