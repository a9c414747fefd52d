"""How the agent hands a child its job: one JSON line, typed on both ends."""

from __future__ import annotations

from functools import cached_property
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from edge_agent.errors import ConfigError

J = TypeVar("J")


class JobForm(Generic[J]):
    """A job's line, for the child called `child`; `kind` is a dataclass."""

    def __init__(self, kind: type[J], child: str) -> None:
        self._kind = kind
        self._child = child

    @cached_property
    def _adapter(self) -> TypeAdapter[J]:
        return TypeAdapter(self._kind)

    def encode(self, job: J) -> bytes:
        """One line without its end; it may hold secrets."""
        return self._adapter.dump_json(job)

    def parse(self, line: bytes) -> J:
        """ConfigError says what is wrong without repeating what was given."""
        try:
            return self._adapter.validate_json(line)
        except ValidationError as error:
            places = (f"{'.'.join(map(str, one['loc'])) or 'the line'}: {one['msg']}" for one in error.errors())
            raise ConfigError(f"not a job for the {self._child}: {'; '.join(places)}") from None
