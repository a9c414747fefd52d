"""The archive's disks as the configuration has them."""

from __future__ import annotations

from pathlib import Path

from edge_agent.buffer.disks import FIRST, Disk, Disks
from edge_agent.config import Config


def disks_of(config: Config) -> Disks:
    """The first one is `[archive] path`; what a `[[disk]]` does not say of its room, `[retention]` says."""
    keep = config.retention
    more = [
        Disk(
            disk.id,
            Path(disk.path),
            keep.max_size if disk.max_size is None else disk.max_size,
            keep.min_free if disk.min_free is None else disk.min_free,
        )
        for disk in config.disk
    ]
    return Disks([Disk(FIRST, config.archive_dir, keep.max_size, keep.min_free), *more])
