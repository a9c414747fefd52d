"""The exporter's cut: recordings are read once where they are whole, and once more where one is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.buffer.segments import SegmentFile, SegmentName
from edge_agent.clock import US
from edge_agent.config import FolderTarget
from edge_agent.errors import ArchiveError
from edge_agent.model import CameraId, Interval
from edge_agent.trust.age import Identity, open_file
from edge_agent.uplink.exporter import ExporterJob, cut
from tests.buffer.test_export import BEGIN_US, recorded
from tests.end_to_end.media import decoded_frames, probe_errors

NODE, OFFICER = Identity.generate(), Identity.generate()


@pytest.fixture
def job(tmp_path: Path) -> ExporterJob:
    """A release of 12 s in three recordings."""
    archive = tmp_path / "archive"
    archive.mkdir()
    segments = []
    for number, plain in enumerate(recorded("H.264")[1]):
        name = SegmentName(CameraId("gate"), BEGIN_US + number * 4 * US, number + 1)
        file = SegmentFile(archive, name, [NODE.recipient])
        file.write(plain)
        segments.append(file.close(name.start_us + 4 * US))
    return ExporterJob(
        job_id="job",
        archive_dir=str(archive),
        segments=tuple(segments),
        interval=Interval(BEGIN_US, BEGIN_US + 12 * US),
        identities=(str(NODE),),
        recipient=str(OFFICER.recipient),
        target=FolderTarget(kind="folder", name="none", path=str(tmp_path)),
        staging_dir=str(tmp_path),
        name="clip.mp4.age",
    )


def frames(clip: Path) -> int:
    plain = clip.with_suffix("")
    open_file(clip, plain, [OFFICER])
    assert probe_errors(plain) == ""
    return decoded_frames(plain)


def test_a_whole_interval_is_cut_and_progress_ends_at_its_end(job: ExporterJob, tmp_path: Path) -> None:
    told: list[float] = []
    held = cut(job, tmp_path / "job.mp4.age", told.append)
    assert (held["missing_s"], held["frames"], told[-1]) == (0, 300, 1.0)
    assert frames(tmp_path / "job.mp4.age") == 300
    assert not list(tmp_path.glob("*.part"))


def test_damage_within_the_pictures_is_left_out_and_told(job: ExporterJob, tmp_path: Path) -> None:
    damaged = tmp_path / "archive" / job.segments[1].path
    damaged.chmod(0o600)
    content = bytearray(damaged.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    damaged.write_bytes(content)
    held = cut(job, tmp_path / "job.mp4.age", lambda _: None)
    assert held["missing_s"] > 0
    assert 200 <= held["frames"] < 300
    assert frames(tmp_path / "job.mp4.age") == held["frames"]


def test_what_is_sealed_to_others_is_refused_in_words_and_leaves_nothing(job: ExporterJob, tmp_path: Path) -> None:
    locked = ExporterJob(**{name: getattr(job, name) for name in job.__slots__} | {"identities": (str(OFFICER),)})
    with pytest.raises(ArchiveError, match="sealed to somebody else"):
        cut(locked, tmp_path / "job.mp4.age", lambda _: None)
    assert not list(tmp_path.glob("job.*"))
