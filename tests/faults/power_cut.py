"""The disks that a power cut may leave, made from a trace of what was done (`tests/peers/traced_disk.py`).

What a disk owes, and no more is given here (POSIX, and stricter than ext4 and xfs are):

- An fsync of a file keeps its bytes, size, mode and modification time as they were then.  It does not keep its name.
- An fsync of a folder keeps what happened to the names in it until then, those of its own folder not included.
- Of what was not synced anything may be left: names of one folder in their order and each folder by itself; of a
  file's writes any 512-byte sectors, in any order, with zeros where nothing was before; any size that the file had on
  its way; a prefix of the changes of its mode and time.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.traced_disk import Step

SECTOR = 512
NAMES = ("create", "mkdir", "unlink", "rmdir", "rename")
CHANGES = (*NAMES, "write", "truncate", "chmod", "utime", "fsync", "fsyncdir")


@dataclass(frozen=True, slots=True)
class Outside:
    mode: int = 0o600
    modified_ns: int = 0


@dataclass(slots=True)
class _File:
    """What is on the disk of a file, and what is only on its way."""

    data: bytearray = field(default_factory=bytearray)
    outside: Outside = Outside()
    pending: list[Step] = field(default_factory=list)

    def sync(self) -> None:
        for step in self.pending:
            _apply(self.data, step)
            self.outside = _outside(self.outside, step)
        self.pending.clear()


@dataclass(frozen=True, slots=True)
class Luck:
    """What of the unsynced a cut leaves: `share` of the sectors and names by `dice`; 0 nothing, 1 all of it."""

    share: float
    dice: random.Random

    def kept(self, steps: Sequence[Step]) -> Sequence[Step]:
        """As many of the first as are left."""
        if self.share in (0, 1):
            return steps if self.share else ()
        return steps[: self.dice.randint(0, len(steps))]

    def hits(self) -> bool:
        return self.share == 1 or (self.share > 0 and self.dice.random() < self.share)


class Disk:
    """Steps taken one after another, as far as a cut."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._names: list[Step] = []
        """Changes of names that are on the disk, in order."""
        self._pending: dict[str, list[Step]] = {}
        """By folder, those that are not."""
        self._order: dict[int, int] = {}

    def take(self, step: Step) -> None:
        match step.op:
            case "create":
                self._files[step.file] = _File(outside=Outside(step.value, step.at_us * 1000))
            case "fsync":
                self._files[step.file].sync()
            case "fsyncdir":
                self._names += self._pending.pop(step.path, [])
            case "write" | "truncate" | "chmod" | "utime":
                self._files[step.file].pending.append(step)
        if step.op in NAMES:
            self._order[id(step)] = len(self._order)
            self._pending.setdefault(_parent(step.path), []).append(step)

    def left(self, folder: Path, luck: Luck) -> None:
        """Make in `folder`, which must not exist, what a cut now would leave."""
        names = list(self._names)
        for pending in self._pending.values():
            names += luck.kept(pending)
        folders, files = _tree(sorted(names, key=lambda step: self._order[id(step)]))
        folder.mkdir()
        for path in sorted(folders):
            (folder / path).mkdir(mode=0o700)
        for path, number in files.items():
            file = self._files[number]
            data = _torn(file.data, file.pending, luck)
            outside = file.outside
            for step in luck.kept([step for step in file.pending if step.op in ("chmod", "utime")]):
                outside = _outside(outside, step)
            (folder / path).write_bytes(data)
            (folder / path).chmod(outside.mode)
            os.utime(folder / path, ns=(outside.modified_ns, outside.modified_ns))


@dataclass(frozen=True, slots=True)
class Cut:
    """One disk that a cut may leave."""

    folder: Path
    after: int
    """How many steps were done."""
    at_us: int
    words: str


SHARES = (0.0, 0.5, 1.0, 0.5)


def cuts(
    steps: Sequence[Step], scratch: Path, seed: int, *, every: int = 1, each: int = 1, after: str = ""
) -> Iterator[Cut]:
    """At each `every`th step that changed something `each` disks of those that a cut there may leave: by turns all
    unsynced is lost, anything between, nothing.

    Not before the mark `after`.  Each disk is removed when the next one is asked for.
    """
    disk, dice, shares = Disk(), random.Random(seed), itertools.cycle(SHARES)
    changes, begun = 0, not after
    for count, step in enumerate(steps, 1):
        disk.take(step)
        begun |= step.op == "mark" and step.path == after
        changes += begun and step.op in CHANGES
        if not begun or step.op not in CHANGES or changes % every:
            continue
        for number, share in enumerate(itertools.islice(shares, each)):
            folder = scratch / f"cut-{count}-{number}"
            disk.left(folder, Luck(share, dice))
            words = f"seed {seed}, cut after step {count} ({step.op} {step.path}), {share:.0%} of the unsynced kept"
            yield Cut(folder, count, step.at_us, words)
            shutil.rmtree(folder)


def _tree(names: Sequence[Step]) -> tuple[set[str], dict[str, int]]:
    """Folders, and files by path, after changes of names of which some before may be missing."""
    folders: set[str] = {""}
    files: dict[str, int] = {}
    for step in names:
        if _parent(step.path) not in folders:
            continue
        match step.op:
            case "mkdir":
                folders.add(step.path)
            case "create":
                files[step.path] = step.file
            case "unlink":
                files.pop(step.path, None)
            case "rmdir" if not any(_parent(path) == step.path for path in files):
                folders.discard(step.path)
            case "rename" if step.path in files:
                files[step.to] = files.pop(step.path)
    folders.discard("")
    return folders, files


def _torn(data: bytearray, pending: Sequence[Step], luck: Luck) -> bytes:
    """The file's bytes with what is left of the writes that were on their way."""
    torn, sizes = bytearray(data), [len(data)]
    length = len(data)
    for step in pending:
        if step.op == "truncate":
            length = step.value
            if luck.share == 1:
                _apply(torn, step)
        elif step.op == "write":
            length = max(length, step.offset + len(step.data))
            for start, end in _sectors(step.offset, len(step.data)):
                if luck.hits():
                    piece = step.data[start - step.offset : end - step.offset]
                    _apply(torn, Step("write", 0, offset=start, data=piece))
        sizes.append(length)
    size = length if luck.share == 1 else luck.dice.choice(sizes) if luck.share else sizes[0]
    return bytes(torn[:size].ljust(size, b"\0"))


def _sectors(offset: int, length: int) -> Iterator[tuple[int, int]]:
    end = offset + length
    while offset < end:
        after = min(end, (offset // SECTOR + 1) * SECTOR)
        yield offset, after
        offset = after


def _apply(data: bytearray, step: Step) -> None:
    if step.op == "truncate":
        del data[step.value :]
        data.extend(bytes(step.value - len(data)))
    elif step.op == "write":
        data.extend(bytes(max(0, step.offset - len(data))))
        data[step.offset : step.offset + len(step.data)] = step.data


def _outside(outside: Outside, step: Step) -> Outside:
    match step.op:
        case "chmod":
            return Outside(step.value, outside.modified_ns)
        case "utime":
            return Outside(outside.mode, step.value)
        case "write" | "truncate":
            return Outside(outside.mode, step.at_us * 1000)
    return outside


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
