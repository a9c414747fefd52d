"""`edge-agent plan`: the same sum in all directions, honest about what the product itself adds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge_agent.capture.fmp4 import TrackFormat, header
from edge_agent.capture.fragments import Fragments
from edge_agent.cli import app
from edge_agent.errors import UsageError
from edge_agent.plan import (
    CONTAINER_BPS,
    DISKS,
    Allowances,
    Group,
    parse_bitrate,
    parse_groups,
    plan_bitrate,
    plan_cameras,
    plan_days,
    plan_disk,
    written_bytes,
)
from edge_agent.trust.age import AgeWriter, Identity

TB = 10**12
groups = st.lists(st.builds(Group, st.integers(1, 64), st.floats(1e5, 5e7), st.floats(0.5, 60)), min_size=1, max_size=4)
allowances = st.builds(Allowances, st.integers(0, 10**10), st.floats(0, 0.3), st.floats(0, 1), st.floats(0, 1))


@pytest.mark.parametrize(("bitrate", "fps", "keyframe_every"), [(400_000, 15, 30), (4_000_000, 25, 50), (8e6, 30, 15)])
def test_what_is_written_beside_the_pictures_is_measured_on_real_files(
    bitrate: float, fps: int, keyframe_every: int
) -> None:
    """A minute as the recorder writes it, sealed; only the camera is made up."""
    scale, seconds = 90_000, 60
    track = TrackFormat(scale, b"\0" * 150, 1920, 1080)
    size = round(bitrate / 8 / fps)
    sealed = io.BytesIO()
    writer = AgeWriter(sealed, [Identity.generate().recipient])
    writer.write(header([track], 1_790_000_000_000_000))
    fragments = Fragments([track], 1_790_000_000_000_000)
    for number in range(seconds * fps):
        ticks = number * scale // fps
        done = fragments.add(0, b"\0" * size, ticks, ticks, number % keyframe_every == 0)
        if done:
            writer.writelines(done.pieces)
    last = fragments.finish(scale // fps)
    assert last is not None
    writer.writelines(last.pieces)
    writer.finish()
    pictures = size * fps * seconds
    planned = written_bytes(pictures * 8 / seconds, seconds / 86_400)
    assert len(sealed.getvalue()) <= planned
    assert len(sealed.getvalue()) == pytest.approx(planned, abs=CONTAINER_BPS / 8 * seconds * 0.8)


@given(groups, allowances)
def test_the_disk_that_is_planned_keeps_what_it_was_planned_for(some: list[Group], allowed: Allowances) -> None:
    disk = plan_disk(some, allowed)
    kept = plan_days(some, disk.disk_bytes, allowed)
    assert [group.days for group in kept.groups] == pytest.approx([group.days for group in some])
    assert disk.spare_bytes == pytest.approx(0, abs=disk.disk_bytes * 1e-9)
    parts = disk.footage_bytes + disk.margin_bytes + disk.hold_bytes + allowed.reserve_bytes + disk.filesystem_bytes
    assert parts == pytest.approx(disk.disk_bytes)
    count, size = disk.sold_as
    assert size in DISKS
    assert count * size >= disk.disk_bytes * (1 - 1e-6)


@given(st.integers(1, 64), st.floats(0.5, 60), st.floats(1e5, 5e7), allowances)
def test_bitrate_and_cameras_are_the_same_sum_backwards(
    count: int, days: float, bitrate: float, allowed: Allowances
) -> None:
    disk = plan_disk([Group(count, bitrate, days)], allowed).disk_bytes
    assert plan_bitrate([Group(count, 0, days)], disk, allowed).groups[0].bitrate_bps == pytest.approx(
        bitrate, rel=1e-6
    )
    found = plan_cameras(bitrate, days, disk * (1 + 1e-9), allowed)
    assert found.groups[0].count == count
    assert plan_cameras(bitrate, days, disk * 2, allowed).groups[0].count >= count


@given(groups, st.floats(1e11, 1e14), st.floats(1, 10), allowances)
def test_a_larger_disk_never_keeps_fewer_days(some: list[Group], disk: float, more: float, allowed: Allowances) -> None:
    small, large = plan_days(some, disk, allowed), plan_days(some, disk * more, allowed)
    assert all(few.days <= many.days for few, many in zip(small.groups, large.groups, strict=True))


@pytest.mark.parametrize(
    ("text", "bps"),
    [
        ("4M", 4e6),
        ("2500k", 2.5e6),
        ("4 Mbit/s", 4e6),
        ("1.5m", 1.5e6),
        ("1,5 М", 1.5e6),
        ("6000000", 6e6),
        ("4Mbps", 4e6),
    ],
)
def test_bitrates_are_said_as_cameras_say_them(text: str, bps: float) -> None:
    assert parse_bitrate(text) == bps


@pytest.mark.parametrize("text", ["4", "", "fast", "4G", "-4M", "4MM", "0", "inf"])
def test_what_is_no_bitrate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"4M|did you mean"):
        parse_bitrate(text)


def test_groups_of_cameras_have_their_own_days() -> None:
    assert parse_groups(["8x4M", "2X8M@30", " 3 х 2500k @ 5d", "1M"], 10) == [
        Group(8, 4e6, 10),
        Group(2, 8e6, 30),
        Group(3, 2.5e6, 5),
        Group(1, 1e6, 10),
    ]
    for bad in ("0x4M", "4Mx8", "8x", "8x4M@0", "8x4M@9999", "99999x4M", "@3"):
        with pytest.raises(UsageError):
            parse_groups([bad], 10)


def run(*arguments: str, lang: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120", "LC_ALL": lang}
    command = [sys.executable, "-m", "edge_agent", "plan", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def answer(*arguments: str) -> dict[str, Any]:
    ended = run(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_sixteen_cameras_for_ten_days_need_nine_terabytes() -> None:
    found = answer("--cameras", "16", "--bitrate", "4M", "--days", "10")
    # By hand: 16 · 4 Mbit/s · 10 days = 6.912 TB, and 0.19 % of age and MP4 around it.
    assert found["footage_bytes"] == pytest.approx(6.912e12 * 1.00187, rel=1e-4)
    assert found["disk_bytes"] == pytest.approx((found["footage_bytes"] * 1.21 + 1e9) / 0.93, rel=1e-6)
    assert found["buy"] == {"count": 1, "bytes": 10 * TB}
    people = run("--cameras", "16", "--bitrate", "4M", "--days", "10")
    assert "9.01 TB" in people.stdout
    assert "8.2 TiB" in people.stdout
    assert "1 × 10 TB" in people.stdout
    uk = run("--cameras", "16", "--bitrate", "4M", "--days", "10", lang="uk_UA.UTF-8")
    assert "Потрібен диск: 9,01 ТБ" in uk.stdout


def test_a_disk_that_is_too_small_is_said_to_be_with_what_helps() -> None:
    arguments = ("--cameras", "16", "--bitrate", "4M", "--days", "10", "--disk", "8TB")
    found = answer(*arguments)
    assert (found["asked"], found["enough"], found["cameras"][0]["days"]) == ("days", False, 8.88)
    assert "not enough for 10 days: take 10 TB, or at most 3.55 Mbit/s" in run(*arguments, "--lang", "en").stdout
    assert answer("--cameras", "16", "--bitrate", "3.55M", "--days", "10", "--disk", "8TB")["enough"]
    assert answer("--cameras", "16", "--bitrate", "4M", "--disk", "8TB")["enough"] is None


def test_a_configuration_says_cameras_days_and_reserve(tmp_path: Path) -> None:
    config = tmp_path / "edge-agent.toml"
    cameras = "".join(f'[[camera]]\nid = "c{n}"\nurl = "rtsp://192.0.2.1/{n}"\n' for n in range(3))
    text = 'site = "town"\nnode = "n1"\ndata = "data"\n[retention]\ndays = 12\nmin_free = "5 GB"\n'
    config.write_text(f"{text}{cameras}keep_days = 30\n", encoding="utf-8")
    found = answer("--config", str(config), "--bitrate", "2M")
    assert [(group["count"], group["days"]) for group in found["cameras"]] == [(2, 12), (1, 30)]
    assert found["reserve_bytes"] == 5 * 10**9
    assert "Потрібен диск" in run("--config", str(config), "--bitrate", "2M").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--cameras", "4"],
        ["--bitrate", "4M"],
        ["--disk", "8TB"],
        ["--camera", "8x4M", "--bitrate", "4M"],
        ["--cameras", "4", "--bitrate", "4M", "--disk", "huge"],
        ["--cameras", "4", "--bitrate", "4M", "--disk", "8"],
        ["--cameras", "4", "--bitrate", "4M", "--days", "0"],
        ["--cameras", "4", "--bitrate", "4M", "--days", "nan"],
        ["--cameras", "4", "--bitrate", "4M", "--lang", "fr"],
        ["--cameras", "9999", "--days", "3650", "--disk", "32GB"],
        ["--bitrate", "100M", "--days", "3650", "--disk", "32GB"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_what_makes_no_sense_is_one_plain_line(arguments: list[str]) -> None:
    ended = CliRunner().invoke(app, ["plan", *arguments])
    assert isinstance(ended.exception, UsageError)
    assert ended.exception.exit_code == 64
    assert len(str(ended.exception).splitlines()) == 1


def test_a_mistake_ends_with_its_exit_code_and_no_traceback() -> None:
    ended = run("--cameras", "4", "--bitrate", "4")
    assert ended.returncode == 64
    assert ended.stderr == 'edge-agent: "4" is 4 bits per second, which is no camera\'s; did you mean "4M"?\n'
