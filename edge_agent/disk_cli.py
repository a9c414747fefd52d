"""`edge-agent archive add-disk`: marks the archive's folder on a further disk, so that it can be told from its empty
mount point (`docs/archive.md`, «Several disks»)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_agent.archive_disks import disks_of
from edge_agent.buffer.disks import Disks
from edge_agent.config import load
from edge_agent.errors import NotFoundError, UsageError
from edge_agent.terminal import DEFAULT_CONFIG, ConfigOption, console


def add_disk(
    disk: Annotated[str, typer.Argument(help="The id of a [[disk]] in the configuration.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Mark the archive's folder on a further disk; the agent uses it from then on."""
    settings = load(config)
    disks = disks_of(settings)
    if not disk or not disks.has(disk):
        raise NotFoundError(f"the configuration has no [[disk]] with the id «{disk}»")
    chosen = disks.get(disk)
    if not chosen.folder.is_dir():
        raise NotFoundError(f"{chosen.folder} is not there: mount the disk and make the folder first")
    if chosen.fault() and (beside := _on_the_same_disk(chosen.folder, disks, settings.data_dir)):
        raise UsageError(f"{chosen.folder} is on the same disk as {beside}: is its own disk mounted?")
    chosen.mark()
    console().print(f"{chosen.folder} is disk {disk} of the archive", soft_wrap=True)


def _on_the_same_disk(folder: Path, disks: Disks, data: Path) -> Path | None:
    device = folder.stat().st_dev
    others = [data, *(disk.folder for disk in disks if disk.folder != folder)]
    return next((other for other in others if other.is_dir() and other.stat().st_dev == device), None)
