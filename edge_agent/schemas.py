"""The published JSON Schemas of all that people and programs exchange with a node, made from the types that read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, TypeAdapter

from edge_agent import config
from edge_agent.errors import NotFoundError
from edge_agent.search_screen import SearchAnswer
from edge_agent.trust import command, order, roster
from edge_agent.trust.audit import AuditPage, AuditQuery
from edge_agent.trust.journal import JournalEntry
from edge_agent.uplink import incident_payloads, payloads

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _message(kind: type[BaseModel]) -> dict[str, Any]:
    return kind.model_json_schema(mode="serialization")


_MESSAGES: Mapping[str, type[BaseModel]] = {**payloads.TYPES, **incident_payloads.TYPES}
_MAKERS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "command": command.schema,
    "order": order.Claims.model_json_schema,
    "roster": roster.Claims.model_json_schema,
    "roster-draft": roster.Draft.model_json_schema,
    **{name.replace("_", "-"): partial(_message, kind) for name, kind in _MESSAGES.items()},
    "search-result": SearchAnswer.model_json_schema,
    "journal-entry": TypeAdapter(JournalEntry).json_schema,
    "audit-query": AuditQuery.model_json_schema,
    "audit-page": AuditPage.model_json_schema,
    "config": config.schema,
}
NAMES = tuple(sorted(_MAKERS))


def schema(name: str) -> dict[str, Any]:
    """NotFoundError when nothing is called so."""
    if name not in _MAKERS:
        raise NotFoundError(f"no schema {name}; there are: {', '.join(NAMES)}")
    return {"$schema": _DIALECT, **_MAKERS[name]()}
