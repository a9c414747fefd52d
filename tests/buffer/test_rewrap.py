"""Other recipients for recordings that are there: who opens them, what is known of them, every cut in between."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.buffer import day_log
from edge_agent.buffer.hours import prove, seal_next
from edge_agent.buffer.index import DeleteReason, Index
from edge_agent.buffer.ledger import Ledger
from edge_agent.buffer.rebuild import rebuild
from edge_agent.buffer.rewrap import WORK, RewrapIndex, Rewrapper
from edge_agent.buffer.segments import TORN_MODE, SegmentFile, SegmentName
from edge_agent.clock import US
from edge_agent.errors import ArchiveError, BusyError, NotFoundError
from edge_agent.model import CameraId, ClockTrust, Segment
from edge_agent.trust.age import AgeReader, Identity, NoIdentityError, Recipient
from tests.simulators.clock import HandClock

CAMERA = CameraId("gate")
NODE, CITY, COURT = Identity.generate(), Identity.generate(), Identity.generate()
PLAIN = bytes(range(256)) * 800  # more than three chunks
CLOCK = HandClock()
START = CLOCK.utc_us() - 7200 * US


def recorded(root: Path, number: int = 0, *recipients: Recipient) -> Segment:
    file = SegmentFile(root, SegmentName(CAMERA, START + number * 60 * US, number + 1), recipients or [NODE.recipient])
    file.write(PLAIN)
    return file.close(START + (number + 1) * 60 * US, 1500, 2, ClockTrust.SYNCED)


def nothing(_before: Segment, _after: Segment) -> None:
    pass


def rewrapped(
    root: Path,
    index: Path,
    segment: Segment,
    *recipients: Recipient,
    tell: Callable[[Segment, Segment], None] = nothing,
    identity: Identity = NODE,
) -> Segment:
    beside = RewrapIndex(index, CLOCK)
    try:
        with Rewrapper(root, beside, [identity], recipients, tell) as work:
            return work.rewrap(segment)
    finally:
        beside.close()


def opened(path: Path, identity: Identity) -> bytes:
    with path.open("rb") as file:
        return AgeReader(file, [identity]).readall() or b""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.mark.parametrize("to", [(CITY.recipient,), (CITY.recipient, COURT.recipient)], ids=["one", "two"])
def test_a_rewrapped_recording_opens_for_the_new_ones_alone_and_is_else_what_it_was(
    root: Path, path: Path, to: tuple[Recipient, ...]
) -> None:
    index = Index(path, CLOCK)
    index.add([before := recorded(root)])
    file = root / before.path
    old, status = file.read_bytes(), file.stat()
    after = rewrapped(root, path, before, *to)
    assert opened(file, CITY) == PLAIN
    with pytest.raises(NoIdentityError):
        opened(file, NODE)
    assert file.read_bytes()[-200_000:] == old[-200_000:], "the payload is the same, byte for byte"
    now = file.stat()
    assert (now.st_mode, now.st_mtime_ns, now.st_uid) == (status.st_mode, status.st_mtime_ns, status.st_uid)
    assert (after.sha256, after.size_bytes) == (sha256(file), now.st_size)
    assert (after.frames, after.damaged, after.clock, after.end_us) == (1500, 2, ClockTrust.SYNCED, before.end_us)
    assert index.by_path([before.path]) == [after]
    assert day_log.read(file.parent)[file.name].sha256 == after.sha256
    assert index.holdings().size_bytes == now.st_size
    assert not (root / WORK).exists()
    index.close()
    assert rebuild(root, path, CLOCK).unhashed == 0
    again = Index(path, CLOCK, read_only=True)
    assert again.by_path([before.path]) == [after]
    again.close()


def test_a_torn_recording_stays_torn(root: Path, path: Path) -> None:
    file = SegmentFile(root, SegmentName(CAMERA, START, 1), [NODE.recipient])
    file.write(PLAIN)
    file.push()
    before = file.abandon(START + US, 1)
    assert before is not None
    index = Index(path, CLOCK)
    index.add([before])
    after = rewrapped(root, path, before, CITY.recipient)
    assert after.torn
    assert (root / before.path).stat().st_mode & 0o777 == TORN_MODE
    assert PLAIN.startswith(opened(root / before.path, CITY))
    index.close()


def test_what_stood_under_a_root_is_proved_still_and_so_is_what_it_became(root: Path, path: Path) -> None:
    index = Index(path, CLOCK)
    index.add(before := [recorded(root, number) for number in range(3)])
    while (hour := seal_next(index, CLOCK.utc_us() + 7200 * US)) is not None:
        assert hour.batch == 0
    was = prove(index, before[1].path)
    after = rewrapped(root, path, before[1], CITY.recipient)
    for one in before:
        assert prove(index, one.path).segment.sha256 == one.sha256, "the root in the journal stands"
    assert prove(index, before[1].path).hour == was.hour
    assert (anew := seal_next(index, CLOCK.utc_us() + 7200 * US)) is not None
    assert (anew.batch, anew.count) == (1, 1)
    assert prove(index, before[1].path).segment.sha256 == after.sha256
    assert prove(index, before[0].path).verified
    index.close()
    rebuild(root, path, CLOCK)
    index = Index(path, CLOCK)
    assert prove(index, before[0].path).verified, "a rebuild brings it over"
    index.close()


def test_changed_bytes_get_no_new_hash(root: Path, path: Path) -> None:
    index = Index(path, CLOCK)
    index.add([before := recorded(root)])
    file = root / before.path
    file.chmod(0o600)
    with file.open("r+b") as raw:
        raw.seek(-5, os.SEEK_END)
        raw.write(b"!")
    os.utime(file, ns=(before.end_us * 1000,) * 2)
    with pytest.raises(ArchiveError, match="still being written"):
        rewrapped(root, path, before, CITY.recipient)
    file.chmod(0o440)
    with pytest.raises(ArchiveError, match="other bytes than were recorded"):
        rewrapped(root, path, before, CITY.recipient)
    assert index.by_path([before.path]) == [before]
    with pytest.raises(NoIdentityError, match=r"gate/.*somebody else"):
        rewrapped(root, path, before, CITY.recipient, identity=CITY)
    index.close()


def test_a_recording_whose_deletion_began_meanwhile_is_not_brought_back(root: Path, path: Path) -> None:
    index = Index(path, CLOCK)
    index.add([before := recorded(root)])
    with pytest.raises(NotFoundError, match="deleted meanwhile"):
        rewrapped(
            root, path, before, CITY.recipient, tell=lambda _before, _after: index.doom([before], DeleteReason.AGE)
        )
    assert sha256(root / before.path) == before.sha256
    assert index.doomed() == [(before, "age")]
    (root / before.path).unlink()
    with pytest.raises(NotFoundError, match="gone"):
        rewrapped(root, path, before, CITY.recipient)
    index.close()


def test_two_do_not_rewrap_at_once(root: Path, path: Path) -> None:
    index = Index(path, CLOCK)
    index.add([before := recorded(root)])

    def second(_before: Segment, _after: Segment) -> None:
        with pytest.raises(BusyError):
            rewrapped(root, path, before, COURT.recipient)

    rewrapped(root, path, before, CITY.recipient, tell=second)
    assert opened(root / before.path, CITY) == PLAIN
    index.close()


def killed_at(event: int, work: Callable[[], object]) -> bool:
    """Do it in a process that ends with its n-th step that Python audits (files, renames, modes); whether it ended."""
    child = os.fork()
    if child == 0:
        left = event

        def hook(_name: str, _args: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)

        sys.addaudithook(hook)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("to", [(CITY.recipient,), (CITY.recipient, COURT.recipient)], ids=["same-size", "longer"])
def test_killed_at_any_step_the_file_is_the_old_or_the_new_and_the_agent_knows_its_hash(
    tmp_path: Path, to: tuple[Recipient, ...]
) -> None:
    event, ended = 0, True
    found = set()
    while ended:
        folder = tmp_path / str(event)
        root, path = folder / "archive", folder / "index.sqlite"
        root.mkdir(parents=True)
        index = Index(path, CLOCK)
        index.add([before := recorded(root)])
        seal_next(index, CLOCK.utc_us() + 7200 * US)
        index.close()
        ended = killed_at(event, lambda root=root, path=path, before=before: rewrapped(root, path, before, *to))  # type: ignore[misc]
        file = root / before.path
        is_old = sha256(file) == before.sha256
        found.add(is_old)
        assert opened(file, NODE if is_old else CITY) == PLAIN
        index = Index(path, CLOCK)
        ledger = Ledger(root, index, [], CLOCK)
        ledger.recover(ledger.reconcile())
        while ledger.audit(1):
            pass
        (row,) = index.by_path([before.path])
        assert (row.sha256, row.size_bytes, row.end_us) == (sha256(file), file.stat().st_size, before.end_us)
        assert row.frames == 1500
        assert day_log.read(file.parent)[file.name].sha256 == row.sha256
        assert prove(index, before.path).verified
        after = rewrapped(root, path, row, COURT.recipient, identity=NODE if is_old else CITY)
        assert opened(file, COURT) == PLAIN
        assert (index.by_path([before.path]), (root / WORK).exists()) == ([after], False)
        index.close()
        event += 1
    assert found == {True, False}
    assert event > 15
