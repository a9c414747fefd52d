"""What ends, kills, starves or ignores the recorder, and what that costs."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.buffer.segments import examine
from edge_agent.capture.job import RECORDER_JOB
from edge_agent.child import Outlet
from edge_agent.messages import CameraChanged, Progress, SegmentClosed, SegmentOpened, decode
from edge_agent.model import CameraFault, CameraId, CameraState, GapCause
from tests.capture.support import Lab, RecorderProcess, camera, ffprobe_complaints, frame_digests
from tests.peers.cameras import CameraServer, compare
from tests.peers.support import wait_until

F_SETPIPE_SZ = 1031


def test_kill_9_costs_about_a_second_of_the_open_file_and_nothing_of_closed_ones(
    lab: Lab, camera_server: CameraServer
) -> None:
    with RecorderProcess(lab.job(camera("gate", camera_server.url("/main"))), lab.folder) as recorder:
        recorder.wait_for(SegmentClosed, 20, count=2)
        recorder.wait_for(SegmentOpened, 10, count=3)
        wait_until(lambda: len(camera_server.sent("/main")) % 15 == 12, 5, "most of a second after a keyframe")
        recorder.process.kill()
        sent = camera_server.sent("/main")
    *closed, last = lab.segments("gate")
    assert len(closed) >= 2
    assert all(found.closed and ffprobe_complaints(lab.opened(found)) == "" for found in closed)
    assert not last.closed
    examined = examine(lab.archive, last.path, [lab.identity])
    assert examined.torn
    recorded = lab.digests("gate")
    result = compare(sent, recorded)
    assert (result.missing, result.foreign, result.first) == ([], [], sent[0].index)
    # one fragment of a second, one chunk of 64 KiB (about as much at this bitrate) and what was in flight
    assert len(sent) - len(recorded) <= 15 + 11 + 4
    inside = len(recorded) - sum(message.segment.frames or 0 for message in recorder.closed)
    assert examined.frames == inside
    assert examined.end_us is not None
    assert abs(examined.end_us - last.start_us - inside * 1_000_000 // 15) < 100_000


@pytest.mark.parametrize("how", ["SIGTERM", "end of input"])
def test_an_ordered_end_closes_every_file(lab: Lab, camera_server: CameraServer, how: str) -> None:
    jobs = [camera("gate", camera_server.url("/main")), camera("yard", camera_server.url("/hevc"))]
    with RecorderProcess(lab.job(*jobs, segment_s=60), lab.folder) as recorder:
        recorder.wait_for(SegmentOpened, 20, count=2)
        if how == "SIGTERM":
            recorder.process.signal(signal.SIGTERM)
            assert recorder.process.wait(5) == 0
        else:
            assert recorder.stop(5) == 0
    for name, mount in (("gate", "/main"), ("yard", "/hevc")):
        (found,) = lab.segments(name)
        assert (found.closed, found.torn) == (True, False)
        result = compare(camera_server.sent(mount), lab.digests(name))
        assert (result.missing, result.foreign) == ([], [])


def test_a_killed_agent_leaves_no_recorder_and_closed_files(lab: Lab, camera_server: CameraServer) -> None:
    job = RECORDER_JOB.encode(lab.job(camera("gate", camera_server.url("/main")), segment_s=60)).decode()
    agent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-m', 'edge_agent.capture.recorder'],\n"
            "                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            "child.stdin.write(sys.argv[1].encode() + b'\\n')\n"
            "child.stdin.flush()\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)\n",
            job,
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert agent.stdout is not None
        recorder_pid = int(agent.stdout.readline())
        wait_until(lambda: any(found.size_bytes for found in lab.segments("gate")), 15, "something is recorded")
    finally:
        agent.kill()
        agent.wait()
        if agent.stdout:
            agent.stdout.close()
    wait_until(lambda: not _runs(recorder_pid), 5, "the recorder ends")
    (found,) = lab.segments("gate")
    assert (found.closed, found.torn) == (True, False)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_an_agent_that_does_not_listen_stops_neither_the_recording_nor_its_end(
    lab: Lab, camera_server: CameraServer
) -> None:
    job = lab.job(camera("gate", camera_server.url("/main")), camera("yard", camera_server.url("/hevc")), segment_s=0.9)
    with RecorderProcess(job, lab.folder, listen=False) as recorder:
        fcntl.fcntl(recorder.process.stdout.fileno(), F_SETPIPE_SZ, 4096)
        wait_until(lambda: len(lab.segments("gate")) >= 12, 30, "twelve files, more than the pipe can tell of")
        assert recorder.stop(6) == 0
    segments = lab.segments("gate")
    assert all(found.closed for found in segments)
    assert all(before.end_us == after.start_us for before, after in pairwise(segments))
    result = compare(camera_server.sent("/main"), lab.digests("gate"))
    assert (result.missing, result.foreign) == ([], [])


def test_messages_nobody_fetches_are_dropped_oldest_first_and_counted() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, 4096)
    outlet = Outlet(writing, limit=8)
    said = [
        CameraChanged(CameraId("gate"), CameraState.LOST, number, CameraFault.CLOSED, "x" * 1000)
        for number in range(100)
    ]
    for message in said:
        outlet.send(message)
    outlet.send(Progress(1))
    dropped = outlet.dropped
    assert dropped > 50
    with os.fdopen(reading, "rb") as lines:

        def finish() -> None:
            outlet.close(5)
            os.close(writing)

        threading.Thread(target=finish, daemon=True).start()
        heard = [decode(line) for line in lines]
    assert len(heard) == 101 - dropped
    assert heard[-8:] == said[-8:]


@pytest.fixture
def small_disk(lab: Lab) -> Iterator[Path]:
    """The lab's archive on a disk of 6 MB of its own."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", lab.archive], check=True)
    try:
        yield lab.archive
    finally:
        subprocess.run(["umount", "-l", lab.archive], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


@pytest.mark.root
def test_a_full_disk_costs_the_time_it_is_full_and_recording_goes_on_by_itself(
    lab: Lab, camera_server: CameraServer, small_disk: Path
) -> None:
    with RecorderProcess(lab.job(camera("gate", camera_server.url("/main")), segment_s=60), lab.folder) as recorder:
        recorder.wait_for(CameraChanged, 15, state=CameraState.RECORDING)
        filler = fill(small_disk)
        (full,) = recorder.wait_for(CameraChanged, 10, fault=CameraFault.DISK, state=CameraState.LOST)
        assert "No space left on device" in full.detail
        (torn,) = recorder.wait_for(SegmentClosed, 2)
        assert torn.segment.torn
        time_of_trouble = time.monotonic()
        wait_until(lambda: time.monotonic() - time_of_trouble > 5, 6, "the disk stayed full for two more attempts")
        filler.unlink()
        recorder.wait_for(CameraChanged, 8, count=2, state=CameraState.RECORDING)
        again = recorder.of(SegmentOpened)[-1]
        assert again.lost is GapCause.DISK
        assert recorder.stop() == 0
        assert camera_server.clients_seen == 1, "the camera stayed connected"
    first, second = lab.segments("gate")
    assert (first.closed, first.torn, first.end_us) == (True, True, torn.segment.end_us)
    assert (second.closed, second.torn) == (True, False)
    assert ffprobe_complaints(lab.opened(second)) == ""
    examined = examine(lab.archive, first.path, [lab.identity])
    assert examined.torn
    assert (torn.segment.frames or 0) - 15 <= examined.frames <= (torn.segment.frames or 0)
    for found in (first, second):
        # each by itself: the outage may last as long as the clip, and then equal pictures stand on both sides of it
        result = compare(camera_server.sent("/main"), frame_digests(lab.opened(found)))
        assert (result.missing, result.foreign) == ([], [])


def test_an_archive_that_is_not_mounted_is_reported_and_recorded_to_once_it_is(
    lab: Lab, camera_server: CameraServer
) -> None:
    away = lab.archive.rename(lab.folder / "away")
    with RecorderProcess(lab.job(camera("gate", camera_server.url("/main"))), lab.folder) as recorder:
        (missing,) = recorder.wait_for(CameraChanged, 15, fault=CameraFault.DISK)
        assert "No such file or directory" in missing.detail
        away.rename(lab.archive)
        recorder.wait_for(CameraChanged, 8, state=CameraState.RECORDING)
        assert recorder.stop() == 0


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (b"", 0, ""),
        (b"{}\n", 78, "archive_dir: Field required"),
        (b"\xff\xfe garbage\n", 78, "not a job for the recorder"),
        (
            b'{"archive_dir": "/", "recipients": ["age1nonsense"], "cameras": []}\n',
            78,
            "age recipient",
        ),
    ],
)
def test_a_wrong_job_ends_the_recorder_with_a_line(line: bytes, code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.capture.recorder"], input=line, capture_output=True, timeout=20, check=False
    )
    assert done.returncode == code
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") <= 1
    assert done.stdout == b""
