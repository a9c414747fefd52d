"""Names and files of the archive."""

from __future__ import annotations

import gc
import hashlib
import os
import stat
import subprocess
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.buffer.segments import TORN_MODE, SegmentFile, SegmentName, examine, mark, scan
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, ClockTrust
from edge_agent.trust.age import AgeReader, Identity, NoIdentityError

START_US = 1_795_366_379_920_531
CAMERAS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)


def name(start_us: int = START_US, sequence: int = 1, camera: str = "gate") -> SegmentName:
    return SegmentName(CameraId(camera), start_us, sequence)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.generate()


@given(CAMERAS, st.integers(0, 253_402_300_799_999_999), st.integers(0, 10**12 - 1))
def test_every_name_is_read_back_from_its_path(camera: str, start_us: int, sequence: int) -> None:
    written = name(start_us, sequence, camera)
    assert SegmentName.parse(str(written)) == written


@given(st.one_of(st.text(), st.from_regex(r"[a-z]+/\d{4}-\d\d-\d\d/\d{1,19}_\d{5,8}\.mp4\.age")))
def test_whatever_is_read_as_a_name_is_written_the_same_way(path: str) -> None:
    found = SegmentName.parse(path)
    assert found is None or str(found) == path


@pytest.mark.parametrize(
    "path",
    [
        "gate/2026-11-22/1795366379920531_000001.mp4",
        "gate/2026-11-22/1795366379920531_1.mp4.age",
        "gate/2026-11-21/1795366379920531_000001.mp4.age",
        "Gate/2026-11-22/1795366379920531_000001.mp4.age",
        "gate/2026-11-22/01795366379920531_000001.mp4.age",
        "gate/2026-11-22/1795366379920531_0000001.mp4.age",
        "gate/2026-11-22/1795366379920531_000001.mp4.age\n",
        "../gate/2026-11-22/1795366379920531_000001.mp4.age",
        "gate/2026-11-22/999999999999999999_000001.mp4.age",
        "gate/2026-11-22/.1795366379920531_000001.mp4.age.partial",
        "",
    ],
)
def test_a_foreign_name_is_no_segment(path: str) -> None:
    assert SegmentName.parse(path) is None


def test_a_closed_file_tells_its_end_and_that_it_is_whole_from_outside(archive: Path, identity: Identity) -> None:
    file = SegmentFile(archive, name(), [identity.recipient])
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.write(b"recording" * 100_000)
    closed = file.close(START_US + 60_000_123, 1500, 2, ClockTrust.SYNCED)
    assert (closed.frames, closed.damaged, closed.clock, closed.torn) == (1500, 2, ClockTrust.SYNCED, False)
    (found,) = scan(archive)
    assert found.segment() == closed
    assert (found.camera, found.path, found.start_us) == ("gate", str(name()), START_US)
    assert (found.closed, found.torn, found.end_us) == (True, False, START_US + 60_000_123)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o440
    content = file.path.read_bytes()
    assert (found.size_bytes, file.size_bytes, closed.sha256) == (
        len(content),
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    with file.path.open("rb") as sealed:
        assert AgeReader(sealed, [identity]).read() == b"recording" * 100_000


def test_what_was_pushed_is_in_the_file_and_what_was_not_costs_no_write(archive: Path, identity: Identity) -> None:
    file = SegmentFile(archive, name(), [identity.recipient])
    file.write(bytes(200_000))
    assert file.path.stat().st_size == 0
    file.push()
    file.sync()
    assert file.path.stat().st_size >= 3 * 65536
    (found,) = scan(archive)
    assert (found.closed, found.end_us) == (False, None)
    file.abandon(START_US + 5_000_000)
    (found,) = scan(archive)
    assert (found.closed, found.torn, found.end_us) == (True, True, START_US + 5_000_000)


def test_an_existing_file_is_never_written_over(archive: Path, identity: Identity) -> None:
    SegmentFile(archive, name(), [identity.recipient]).close(START_US)
    with pytest.raises(ArchiveError, match=r"camera gate: .*000001.mp4.age cannot be created: File exists"):
        SegmentFile(archive, name(), [identity.recipient])


def test_an_abandoned_file_without_a_picture_is_removed(archive: Path, identity: Identity) -> None:
    SegmentFile(archive, name(), [identity.recipient]).abandon(None)
    assert list(scan(archive)) == []
    assert list((archive / "gate").rglob("*.age")) == []


def test_a_file_from_a_crash_can_be_marked_once_it_was_examined(archive: Path) -> None:
    path = archive / str(name())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    mark(path, START_US + 1, TORN_MODE)
    (found,) = scan(archive)
    assert (found.closed, found.torn, found.end_us) == (True, True, START_US + 1)


def test_scanning_passes_over_everything_foreign(archive: Path, tmp_path: Path, identity: Identity) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    SegmentFile(outside, name(camera="elsewhere"), [identity.recipient]).close(START_US + 1)
    SegmentFile(archive, name(), [identity.recipient]).close(START_US + 1)
    SegmentFile(archive, name(START_US + 1, 2), [identity.recipient]).close(START_US + 2)
    SegmentFile(archive, name(camera="yard"), [identity.recipient]).close(START_US - 1)
    day = (archive / str(name())).parent
    (archive / "link").symlink_to(outside / "elsewhere")
    (archive / "gate" / "2026-11-23").symlink_to(outside / "elsewhere" / "2026-11-22")
    (day / f"{START_US + 5}_000003.mp4.age").symlink_to(outside / str(name(camera="elsewhere")))
    (day / f"{START_US + 6}_000004.mp4.age").mkdir()
    (day / "notes.txt").write_text("hello")
    (day / f"{START_US + 7}_000005.mp4.age").touch()
    (archive / "filler").write_bytes(b"x")
    (archive / "Foreign Camera" / "2026-11-22").mkdir(parents=True)
    os.mkfifo(day / f"{START_US + 8}_000006.mp4.age")
    found = list(scan(archive))
    assert [Path(one.path).name for one in found if one.camera == "gate"] == [
        f"{START_US}_000001.mp4.age",
        f"{START_US + 1}_000002.mp4.age",
        f"{START_US + 7}_000005.mp4.age",
    ]
    assert (found[2].size_bytes, found[2].closed) == (0, False)
    assert found[-1].camera == "yard"
    assert found[-1].end_us is None, "a modification time before the start is no end"
    assert len(found) == 4


def test_an_archive_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert list(scan(tmp_path / "nothing")) == []


def test_examining_says_what_is_wrong_with_a_file(archive: Path, identity: Identity) -> None:
    file = SegmentFile(archive, name(), [identity.recipient])
    file.write(b"no movie at all" * 10)
    file.close(START_US)
    with pytest.raises(NoIdentityError):
        examine(archive, str(name()), [Identity.generate()])
    with pytest.raises(ArchiveError, match=r"000001\.mp4\.age"):
        examine(archive, str(name()), [identity])
    with pytest.raises(ArchiveError, match="no segment of the archive"):
        examine(archive, "../../etc/passwd", [identity])
    empty = archive / str(name(sequence=2))
    empty.touch()
    assert examine(archive, str(name(sequence=2)), [identity]).end_us is None


@pytest.mark.root
def test_a_full_or_read_only_disk_is_an_error_that_names_camera_and_file(archive: Path, identity: Identity) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", archive], check=True)
    try:
        file = SegmentFile(archive, name(), [identity.recipient])
        with pytest.raises(ArchiveError, match=r"camera gate: .* cannot be written: No space left on device"):
            file.write(os.urandom(2_000_000))
        file.abandon(START_US + 1)
        (found,) = scan(archive)
        assert (found.closed, found.torn) == (True, True)
        subprocess.run(["mount", "-o", "remount,ro", archive], check=True)
        with pytest.raises(ArchiveError, match=r"camera gate: .* cannot be created: Read-only file system"):
            SegmentFile(archive, name(sequence=2), [identity.recipient])
    finally:
        subprocess.run(["umount", "-l", archive], check=True)


def test_what_a_file_held_is_free_as_soon_as_it_is_closed(archive: Path, identity: Identity) -> None:
    gc.disable()
    try:
        file = SegmentFile(archive, name(), [identity.recipient])
        file.write(b"x" * 200_000)
        file.close(START_US + 1_000_000)
        left = weakref.ref(file)
        del file
        assert left() is None
    finally:
        gc.enable()
