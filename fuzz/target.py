"""What a fuzz target is: a check that any bytes must pass, and where a search may begin."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Check = Callable[[bytes], None]
"""Returns when the product did what its documentation says; any exception is a finding."""


@dataclass(frozen=True, slots=True)
class Target:
    """One door of the product, and what may come out of it."""

    name: str
    start: Callable[[Path], Check]
    """Gets an empty folder that belongs to the target alone."""
    seeds: Callable[[], Sequence[bytes]]
    """Inputs that reach deep, made by code; the search mutates them."""
    words: tuple[bytes, ...] = ()
    """Of the format's language: the search puts them in."""
    max_bytes: int = 4096
    mutate: Callable[[bytes, random.Random], bytes | None] | None = None
    """A change that keeps the form, used in turn with libFuzzer's own; None where the input has no such form."""
    seconds: int = 5
    """No input may take longer: a hang is a finding, too."""


def pure(check: Check) -> Callable[[Path], Check]:
    """For a check that keeps nothing between inputs."""
    return lambda _: check


def require(held: bool, words: str) -> None:
    """As `assert`, which an optimised Python would leave out."""
    if not held:
        raise AssertionError(words)


class Script:
    """An input read as numbers that steer a check and the bytes that it feeds; beyond the end all is 0 or empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, count: int = 1) -> int:
        """Of `count` bytes."""
        return int.from_bytes(self.take(count), "big")

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def rest(self) -> bytes:
        return self.take(len(self._data))


def pieces(data: bytes, choice: int) -> Iterator[bytes]:
    """`data` in one piece (`choice` 0) or in pieces of uneven sizes that depend on `choice`."""
    sizes = random.Random(choice)
    at = 0
    while at < len(data):
        size = sizes.randint(1, 4 * choice) if choice else len(data)
        yield data[at : at + size]
        at += size
