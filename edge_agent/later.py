"""Command lines whose parts are loaded when they are called: help, a version or one command needs none of the others.

A group is a table: each command's name, where it is, and its line in the help.  The line is said twice, here and in the
command's own docstring, so that help need not load everything; `tests/test_later.py` holds the two together.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """What is imported stays: looking through it for garbage was a sixth of the time of a start."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Later:
    """A command that is not loaded yet."""

    place: str
    """`module:name` of its function, or of a Typer when it has commands of its own."""
    line: str
    """What the help of its group says of it."""

    def load(self, name: str) -> Any:
        """The command itself (click's), called `name`."""
        module, _, attribute = self.place.partition(":")
        with _nothing_to_collect():
            found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(found)
        return get_command(alone)


class LaterGroup(TyperGroup):
    """A group that knows its commands by name and line, and loads the one that is called."""

    table: ClassVar[Mapping[str, Later]] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, later in self.table.items():
            self.add_command(TyperCommand(name, help=later.line), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        later = self.table.get(name or "")
        return name, later.load(args[0]) if later else command, rest


def group_of(table: Mapping[str, Later]) -> type[LaterGroup]:
    """The `cls` of a Typer whose commands are those of the table; what is registered with it stands before them."""
    return type("TableGroup", (LaterGroup,), {"table": table})
