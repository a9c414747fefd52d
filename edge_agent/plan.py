"""Of cameras, bitrate, days and disk the fourth from the other three, before an installation (`docs/forecast.md`).

Pure.  Bits and bytes are decimal, as on cameras' pages and disks' labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.errors import UsageError

DAY_S = 86_400
YEAR_DAYS = 365.25
SEALED = 1 + 16 / 65_536
"""age adds 16 bytes to each 64 KiB."""
CONTAINER_BPS = 6_500
"""MP4 beside the pictures, for a camera of 30 pictures and 2 fragments a second; `docs/forecast.md`."""
DISKS = tuple(
    gigabytes * 10**9
    for gigabytes in (32, 64, 128, 256, 512, *(1000 * size for size in (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24)))
)
"""Sizes in which cards and disks are sold."""
LEAST_BPS, MOST_BPS = 10_000, 1_000_000_000
MOST_CAMERAS = 10_000

_BITRATE = re.compile(r"(\d+(?:[.,]\d+)?)\s*([kKmMкКмМ]?)\s*(?:bps|bit/s|bit|b/s|b|біт/с|біт|бит/с)?")
_FACTORS = {"": 1.0, "k": 1e3, "к": 1e3, "m": 1e6, "м": 1e6}


@dataclass(frozen=True, slots=True)
class Group:
    """Cameras that are alike; `bitrate_bps` as the camera's page says it, sound included."""

    count: int
    bitrate_bps: float
    days: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Allowances:
    """What is kept beside the footage; parts are 0 … 1."""

    reserve_bytes: int = 10**9
    filesystem: float = 0.07
    margin: float = 0.10
    holds: float = 0.10

    @property
    def factor(self) -> float:
        return (1 + self.margin) * (1 + self.holds)

    def usable(self, disk_bytes: float) -> float:
        """Of a disk, what footage may take without the allowances."""
        return max(0.0, disk_bytes * (1 - self.filesystem) - self.reserve_bytes) / self.factor

    def disk(self, footage_bytes: float) -> float:
        """The disk on which so much footage is usable."""
        return (footage_bytes * self.factor + self.reserve_bytes) / (1 - self.filesystem)


class Asked(StrEnum):
    """Which of the four was to be found."""

    DISK = "disk"
    DAYS = "days"
    BITRATE = "bitrate"
    CAMERAS = "cameras"


@dataclass(frozen=True, slots=True)
class Plan:
    """All four, and what follows."""

    asked: Asked
    groups: tuple[Group, ...]
    allowances: Allowances
    disk_bytes: float

    @property
    def footage_bytes(self) -> float:
        return sum(written_bytes(group.bitrate_bps, group.days) * group.count for group in self.groups)

    @property
    def bytes_per_day(self) -> float:
        return sum(written_bytes(group.bitrate_bps, 1) * group.count for group in self.groups)

    @property
    def margin_bytes(self) -> float:
        return self.footage_bytes * self.allowances.margin

    @property
    def hold_bytes(self) -> float:
        return (self.footage_bytes + self.margin_bytes) * self.allowances.holds

    @property
    def filesystem_bytes(self) -> float:
        return self.disk_bytes * self.allowances.filesystem

    @property
    def spare_bytes(self) -> float:
        """What the disk has beyond all that."""
        return self.disk_bytes - self.allowances.disk(self.footage_bytes)

    @property
    def sold_as(self) -> tuple[int, int]:
        """How many disks of which size to buy: the smallest that does, or several of the largest."""
        for size in DISKS:
            if size >= self.disk_bytes * (1 - 1e-9):
                return 1, size
        count = math.ceil(self.disk_bytes / DISKS[-1])
        return count, next(size for size in DISKS if size * count >= self.disk_bytes)

    @property
    def bytes_per_year(self) -> float:
        return self.bytes_per_day * YEAR_DAYS

    @property
    def overwrites_per_year(self) -> float:
        """How often the whole disk is written anew."""
        return self.bytes_per_year / self.disk_bytes


def written_bytes(bitrate_bps: float, days: float) -> float:
    """What a camera of this bitrate puts on the disk."""
    return (bitrate_bps * SEALED + CONTAINER_BPS) / 8 * DAY_S * days


def plan_disk(groups: Sequence[Group], allowances: Allowances) -> Plan:
    """The disk that keeps all of them as long as promised."""
    plan = Plan(Asked.DISK, tuple(groups), allowances, 0.0)
    return replace(plan, disk_bytes=allowances.disk(plan.footage_bytes))


def plan_days(groups: Sequence[Group], disk_bytes: float, allowances: Allowances) -> Plan:
    """How long a disk keeps them; their own `days` say only in which proportion."""
    at_once = Plan(Asked.DAYS, tuple(groups), allowances, disk_bytes)
    part = allowances.usable(disk_bytes) / at_once.footage_bytes
    kept = tuple(Group(group.count, group.bitrate_bps, group.days * part, group.name) for group in groups)
    return Plan(Asked.DAYS, kept, allowances, disk_bytes)


def plan_bitrate(groups: Sequence[Group], disk_bytes: float, allowances: Allowances) -> Plan:
    """The bitrate that each of these cameras may have, theirs aside; UsageError when there is none."""
    camera_days = sum(group.count * group.days for group in groups)
    written_bps = allowances.usable(disk_bytes) / camera_days / DAY_S * 8
    bitrate = (written_bps - CONTAINER_BPS) / SEALED
    if bitrate < LEAST_BPS:
        raise UsageError("the disk is too small: no bitrate is low enough for so many cameras and days")
    kept = tuple(Group(group.count, bitrate, group.days, group.name) for group in groups)
    return Plan(Asked.BITRATE, kept, allowances, disk_bytes)


def plan_cameras(bitrate_bps: float, days: float, disk_bytes: float, allowances: Allowances) -> Plan:
    """How many cameras a disk is enough for; UsageError when it is not for one."""
    count = int(allowances.usable(disk_bytes) / written_bytes(bitrate_bps, days) + 1e-9)
    if count < 1:
        raise UsageError(
            "the disk is too small for even one such camera: take a larger one, fewer days or a lower bitrate"
        )
    return Plan(Asked.CAMERAS, (Group(count, bitrate_bps, days),), allowances, disk_bytes)


def parse_bitrate(text: str) -> float:
    """Bits per second from "4M", "2500k", "4 Mbit/s"; UsageError for what can't be meant."""
    found = _BITRATE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f'"{text}" is not a bitrate; say for example "4M" or "2500k" (bits per second, decimal)')
    bps = float(found[1].replace(",", ".")) * _FACTORS[found[2].lower()]
    if not LEAST_BPS <= bps <= MOST_BPS:
        raise UsageError(f'"{text}" is {bps:g} bits per second, which is no camera\'s; did you mean "{found[1]}M"?')
    return bps


def parse_groups(texts: Iterable[str], days: float) -> list[Group]:
    """From "8x4M", "4M" (one camera), "2x8M@30" (with days of its own)."""
    groups = []
    for text in texts:
        found = re.fullmatch(r"\s*(?:(\d+)\s*[xX×хХ*]\s*)?([^@]+?)\s*(?:@\s*(\d+(?:\.\d+)?)\s*d?)?\s*", text)
        if found is None:
            raise UsageError(f'"{text}" is no group of cameras; say for example "8x4M", or "2x8M@30" for 30 days')
        count = int(found[1] or 1)
        if not 1 <= count <= MOST_CAMERAS:
            raise UsageError(f'"{text}": from 1 to {MOST_CAMERAS} cameras')
        own = float(found[3]) if found[3] else days
        if not 0 < own <= 3650:
            raise UsageError(f'"{text}": more than 0 days, at most 3650')
        groups.append(Group(count, parse_bitrate(found[2]), own))
    return groups
