"""Several disks in the configuration, and the command that marks one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.archive_disks import disks_of
from edge_agent.buffer.disks import MARKER
from edge_agent.cli import app
from edge_agent.config import load
from edge_agent.errors import ConfigError, NotFoundError, UsageError

HEAD = 'site = "town"\nnode = "n1"\ndata = "data"\n'
CAMERA = '[[camera]]\nid = "gate"\nurl = "rtsp://192.0.2.1/main"\n'


def written(folder: Path, *disks: str) -> Path:
    path = folder / "edge-agent.toml"
    more = "".join(f"[[disk]]\n{disk}\n" for disk in disks)
    path.write_text(f'{HEAD}[retention]\nmin_free = "3 GB"\nmax_size = "9 GB"\n{CAMERA}{more}')
    return path


def add(path: Path, disk: str) -> None:
    result = CliRunner().invoke(app, ["archive", "add-disk", disk, "--config", str(path)])
    if result.exception is not None:
        raise result.exception


def test_each_disk_has_its_own_room_or_that_of_retention(tmp_path: Path) -> None:
    path = written(tmp_path, 'id = "b"\npath = "/mnt/b"\nmin_free = "1 GB"', 'id = "c"\npath = "c"\nmax_size = "5 GB"')
    first, second, third = disks_of(load(path))
    assert (first.id, first.folder) == ("", tmp_path / "data" / "archive")
    assert (second.folder, second.min_free, second.max_size) == (Path("/mnt/b"), 10**9, 9 * 10**9)
    assert (third.folder, third.min_free, third.max_size) == (tmp_path / "c", 3 * 10**9, 5 * 10**9)


@pytest.mark.parametrize("path", ["data/archive", "data/archive/more", "data", "/mnt/b", "/mnt/b/x"])
def test_folders_that_are_the_same_or_one_in_the_other_are_refused(tmp_path: Path, path: str) -> None:
    config = written(tmp_path, 'id = "b"\npath = "/mnt/b"', f'id = "c"\npath = "{path}"')
    with pytest.raises(ConfigError, match=r"disk 2 \(c\)\.path.*a folder of its own"):
        load(config)


def test_two_disks_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        load(written(tmp_path, 'id = "b"\npath = "/mnt/b"', 'id = "b"\npath = "/mnt/c"'))


def test_a_folder_on_the_disk_of_another_is_not_marked_for_its_own_disk_may_not_be_mounted(tmp_path: Path) -> None:
    path = written(tmp_path, 'id = "b"\npath = "b"')
    with pytest.raises(NotFoundError, match="mount the disk"):
        add(path, "b")
    (tmp_path / "b").mkdir()
    (tmp_path / "data").mkdir()
    with pytest.raises(UsageError, match="is its own disk mounted"):
        add(path, "b")
    with pytest.raises(NotFoundError, match="no \\[\\[disk\\]\\]"):
        add(path, "x")
    assert not (tmp_path / "b" / MARKER).exists()
