"""The outbox keeps what must arrive, whatever happens to the process and the disk."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.buffer.outbox import (
    LIVE_S,
    REJECTED_KEPT_BYTES,
    ROW_BYTES,
    SET_ASIDE_KEPT,
    SPARE_BYTES,
    Keep,
    Losses,
    Outbox,
    OutboxItem,
)
from edge_agent.errors import ArchiveError
from tests.peers.loop_disk import LoopDisk
from tests.simulators.clock import HandClock


def payloads(outbox: Outbox, limit: int = 1000) -> list[bytes]:
    """Texts, then pictures, each in their order."""
    return [item.payload for pictures in (False, True) for item in outbox.next(limit, pictures=pictures)]


def told(items: list[OutboxItem]) -> list[str]:
    return [item.payload.decode() for item in items]


def test_messages_leave_in_the_order_they_came_and_only_when_done(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    ids = [outbox.put("edge/a/b/alarm/c", str(n).encode()) for n in range(5)]
    assert ids == sorted(ids)
    assert payloads(outbox) == payloads(outbox) == [b"0", b"1", b"2", b"3", b"4"]
    outbox.done(ids[0], ids[2])
    assert payloads(outbox) == [b"1", b"3", b"4"]
    assert [item.payload for item in outbox.next(2, skip={ids[1]})] == [b"3", b"4"]
    assert outbox.depth() == 3


def test_live_alarms_overtake_the_pictures_of_an_outage_but_not_each_other(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put("t", b"picture 1", keep=Keep.PICTURE)
    outbox.put("t", b"alarm 1")
    outbox.put("t", b"picture 2", keep=Keep.PICTURE)
    outbox.put("t", b"answer", keep=Keep.ANSWER)
    outbox.put("t", b"alarm 2")
    assert payloads(outbox) == [b"alarm 1", b"answer", b"alarm 2", b"picture 1", b"picture 2"]
    assert told(outbox.next(9, pictures=True)) == ["picture 1", "picture 2"]


def test_what_is_live_overtakes_the_backlog_but_an_alarm_keeps_its_own_order(tmp_path: Path) -> None:
    clock = HandClock()
    outbox = Outbox(tmp_path / "outbox.sqlite", clock=clock)
    outbox.put("t", b"gate 1 start", lane="gate", thread="gate 1")
    outbox.put("t", b"yard 1 start", lane="yard", thread="yard 1")
    outbox.put("t", b"gate 1 end", lane="gate", thread="gate 1")
    outbox.put("t", b"an answer", keep=Keep.ANSWER)
    outbox.put("t", b"yard 1 picture", keep=Keep.PICTURE, lane="yard", thread="yard 1")
    clock.move(LIVE_S + 1)
    outbox.put("t", b"yard 1 end", lane="yard", thread="yard 1")
    outbox.put("t", b"gate 2 start", lane="gate", thread="gate 2")
    assert told(outbox.next(9, live=True)) == ["yard 1 start", "yard 1 end", "gate 2 start"]
    assert told(outbox.next(9, live=False)) == ["gate 1 start", "gate 1 end", "an answer"]
    assert told(outbox.next(9, pictures=True, live=True)) == ["yard 1 picture"]
    assert [outbox.waiting(lane) for lane in ("gate", "yard", "porch")] == [3, 2, 0]
    clock.move(LIVE_S + 1)
    assert outbox.next(9, live=True) == []
    assert len(outbox.next(9, live=False)) == 6


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 200), st.booleans()), max_size=30), st.integers(0, 400)
)
@settings(max_examples=40)
def test_live_and_backlog_are_a_partition_that_turns_no_thread_round(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]], later: int
) -> None:
    clock = HandClock()
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "outbox.sqlite", clock=clock)
    for thread, pause, _ in steps:
        outbox.put("t", b"", thread=thread)
        clock.move(pause)
    clock.move(later)
    live, backlog = outbox.next(100, live=True), outbox.next(100, live=False)
    assert sorted(item.item_id for item in live + backlog) == list(range(1, len(steps) + 1))
    assert not {item.thread for item in live} & {item.thread for item in backlog}
    for items in (live, backlog):
        assert [item.item_id for item in items] == sorted(item.item_id for item in items)
    outbox.close()


def test_an_outbox_of_an_older_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, keep INTEGER NOT NULL, at_us INTEGER NOT NULL,"
            " topic TEXT NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL)"
        )
        old.execute("INSERT INTO item (keep, at_us, topic, retain, payload) VALUES (1, 5, 't', 0, X'6f6c64')")
    outbox = Outbox(path)
    outbox.put("t", b"new", lane="gate")
    assert told([item for live in (False, True) for item in outbox.next(9, live=live)]) == ["old", "new"]
    assert outbox.set_aside is None


def test_everything_is_there_after_opening_anew_and_ids_are_never_given_twice(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    last = [outbox.put("t", b"x", retain=True, keep=Keep.ANSWER) for _ in range(3)][-1]
    outbox.done(last)
    outbox.close()
    again = Outbox(tmp_path / "outbox.sqlite")
    assert again.depth() == 2
    assert again.size_bytes() == 2 * (2 + ROW_BYTES)
    assert again.next(1)[0].retain
    assert again.put("t", b"y") > last


WRITER = """
import sys
from pathlib import Path
from edge_agent.buffer.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
number = 0
while True:
    outbox.put("t", b"%d" % number)
    print(number, flush=True)
    number += 1
"""


def test_what_put_returned_for_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(200):
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split(b"\n")
        told = max([told, *(int(line) for line in rest[:-1] if line)])
    kept = payloads(Outbox(path), 100_000)
    assert kept[: told + 1] == [b"%d" % n for n in range(told + 1)]
    assert len(kept) <= told + 2


def test_a_full_outbox_drops_pictures_then_alarms_then_answers_and_counts_them(tmp_path: Path) -> None:
    size = 1 + 1000 + ROW_BYTES
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=4 * size)
    outbox.put("t", b"a" * 1000, keep=Keep.ANSWER)
    outbox.put("t", b"b" * 1000, keep=Keep.ALARM)
    outbox.put("t", b"c" * 1000, keep=Keep.PICTURE)
    outbox.put("t", b"d" * 1000, keep=Keep.PICTURE)
    kept = []
    for sign in (b"e", b"f", b"g", b"h"):
        outbox.put("t", sign * 1000, keep=Keep.ANSWER)
        kept.append("".join(sorted(chr(payload[0]) for payload in payloads(outbox))))
    assert kept == ["abde", "abef", "aefg", "efgh"]
    assert outbox.losses() == Losses(pictures=2, alarms=1, answers=1)
    outbox.close()
    assert Outbox(tmp_path / "outbox.sqlite", max_bytes=4 * size).losses().alarms == 1


def test_a_picture_never_drives_out_an_alarm_nor_an_alarm_an_answer(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=2 * (1 + 1000 + ROW_BYTES))
    outbox.put("t", b"a" * 1000, keep=Keep.ANSWER)
    outbox.put("t", b"b" * 1000, keep=Keep.ALARM)
    assert outbox.put("t", b"c" * 1000, keep=Keep.PICTURE) == 0
    assert outbox.put("t", b"d" * 1000, keep=Keep.ANSWER) > 0
    assert outbox.put("t", b"e" * 1000, keep=Keep.ALARM) == 0
    assert {payload[:1] for payload in payloads(outbox)} == {b"a", b"d"}
    assert outbox.losses() == Losses(pictures=1, alarms=2)


def test_pictures_leave_the_last_of_the_disk_to_the_texts(tmp_path: Path) -> None:
    free = SPARE_BYTES + 150_000
    outbox = Outbox(tmp_path / "outbox.sqlite", free_bytes=lambda _folder: free)
    for sign in (b"1", b"2"):
        outbox.put("t", sign * 100_000, keep=Keep.PICTURE)
    free = SPARE_BYTES
    outbox.put("t", b"3" * 90_000, keep=Keep.PICTURE)
    outbox.put("t", b"alarm", keep=Keep.ALARM)
    assert [payload[:1] for payload in payloads(outbox)] == [b"a", b"2", b"3"]
    assert outbox.losses() == Losses(pictures=1)


@pytest.mark.root
def test_on_a_full_disk_alarms_take_the_place_of_the_oldest_pictures(tmp_path: Path) -> None:
    with LoopDisk(tmp_path, megabytes=40) as disk:
        outbox = Outbox(disk.folder / "outbox.sqlite", free_bytes=lambda _folder: 1 << 40)
        for number in range(100):
            outbox.put("t", b"%03d" % number + os.urandom(60_000), keep=Keep.PICTURE)
        disk.fill()
        for number in range(1000):
            outbox.put("t", b"alarm %d" % number + b"." * 800)
        losses = outbox.losses()
        assert losses.pictures > 0
        assert losses.alarms == 0
        pictures = [int(item.payload[:3]) for item in outbox.next(1000, pictures=True)]
        assert pictures == list(range(losses.pictures, 100))
        outbox.close()
        again = Outbox(disk.folder / "outbox.sqlite")
        assert [item.payload.split(b".")[0] for item in again.next(9999)] == [b"alarm %d" % n for n in range(1000)]
        again.close()


def test_a_message_larger_than_the_outbox_is_refused_and_drives_nothing_out(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=5000)
    outbox.put("t", b"small")
    with pytest.raises(ArchiveError, match="larger than the outbox"):
        outbox.put("t", b"x" * 5000)
    assert payloads(outbox) == [b"small"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(Keep), st.booleans()), max_size=40))
def test_the_bound_holds_and_nothing_vanishes_uncounted(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, Keep, bool]]
) -> None:
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "outbox.sqlite", max_bytes=10_000)
    finished = 0
    for size, keep, finish in steps:
        outbox.put("topic", b"x" * size, keep=keep)
        first = [*outbox.next(1), *outbox.next(1, pictures=True)][:1]
        if finish and first:
            outbox.done(first[0].item_id)
            finished += 1
        assert outbox.size_bytes() <= 10_000
    losses = outbox.losses()
    assert outbox.depth() == len(payloads(outbox))
    assert outbox.depth() + finished + losses.pictures + losses.alarms + losses.answers == len(steps)
    outbox.close()


def test_the_file_gives_its_space_back_when_the_backlog_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    ids = [outbox.put("t", os.urandom(100_000), keep=Keep.PICTURE) for _ in range(50)]
    outbox.done(*ids)
    outbox.close()
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize("damage", ["garbage", "cut", "middle"])
def test_a_corrupt_file_is_set_aside_and_a_new_outbox_begun(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    for _ in range(50):
        outbox.put("t", os.urandom(2000))
    outbox.close()
    content = path.read_bytes()
    match damage:
        case "garbage":
            path.write_bytes(os.urandom(len(content)))
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case _:
            path.write_bytes(content[:4096] + os.urandom(len(content) - 8192) + content[-4096:])
    again = Outbox(path)
    assert again.set_aside is not None
    assert again.set_aside.name.startswith("outbox.sqlite.corrupt-")
    assert again.set_aside.exists()
    again.put("t", b"new")
    assert payloads(again) == [b"new"]


def test_corruption_that_shows_while_running_costs_no_new_message(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    for _ in range(50):
        outbox.put("t", os.urandom(100_000))
    outbox.close()
    outbox = Outbox(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(os.urandom(size))
    outbox.next(1000)
    assert outbox.set_aside is not None
    outbox.put("t", b"new")
    assert payloads(outbox) == [b"new"]
    assert outbox.depth() == 1


def test_corrupt_files_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    for _ in range(SET_ASIDE_KEPT + 2):
        path.write_bytes(b"not a database, " * 1000)
        Outbox(path).close()
    assert len(list(tmp_path.glob("*.corrupt-*Z"))) == SET_ASIDE_KEPT


def test_a_torn_log_beside_a_sound_file_costs_at_most_the_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            writer.stdout.readline()
        writer.kill()
    wal = path.with_name(path.name + "-wal")
    wal.write_bytes(wal.read_bytes()[:-3000])
    outbox = Outbox(path)
    kept = payloads(outbox)
    assert kept == [b"%d" % n for n in range(len(kept))]
    assert len(kept) >= 40
    outbox.put("t", b"goes on")


def test_a_full_disk_raises_and_the_next_put_works_once_there_is_room(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.put("t", b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
        with pytest.raises(ArchiveError, match="check the disk"):
            outbox.put("t", b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    outbox.put("t", b"after")
    assert payloads(outbox) == [b"before", b"after"]
    assert outbox.depth() == 2


def test_a_folder_that_cannot_be_written_is_an_archive_error_at_use_not_at_start(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where the folder should be")
    outbox = Outbox(tmp_path / "blocked" / "outbox.sqlite")
    with pytest.raises(ArchiveError):
        outbox.put("t", b"x")
    (tmp_path / "blocked").unlink()
    outbox.put("t", b"x")
    assert outbox.depth() == 1


def test_refused_messages_are_kept_with_the_reason_within_a_bound(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for number in range(20):
        outbox.reject(outbox.put("t", b"%d" % number + b"x" * 1_000_000), "too large")
    kept = outbox.rejected()
    assert outbox.depth() == 0
    assert outbox.losses().rejected == 20
    assert sum(len(one.item.payload) for one in kept) <= REJECTED_KEPT_BYTES
    assert kept[-1].item.payload.startswith(b"19")
    assert {one.reason for one in kept} == {"too large"}


def test_putting_and_sending_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    woken = threading.Event()
    outbox.watch(woken.set)
    seen: list[bytes] = []

    def send() -> None:
        while len(seen) < 200:
            woken.wait(5)
            woken.clear()
            while items := outbox.next(20):
                seen.extend(item.payload for item in items)
                outbox.done(*(item.item_id for item in items))

    sender = threading.Thread(target=send)
    sender.start()
    for number in range(200):
        outbox.put("t", b"%d" % number)
    sender.join(20)
    assert seen == [b"%d" % n for n in range(200)]


def test_the_settings_that_durability_rests_on_are_in_force(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    assert outbox._db is not None
    assert outbox._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert outbox._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    with sqlite3.connect(tmp_path / "outbox.sqlite") as beside:
        assert beside.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
