"""TOML files of the product as typed values: nothing unknown, nothing converted, every mistake told at once."""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from edge_agent.errors import ConfigError
from edge_agent.trust.age_keys import read_secret_file

MAX_CONFIG_BYTES = 1 << 20
_CREDENTIALS = "$CREDENTIALS_DIRECTORY/"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong: where, what was found, what is allowed."""

    place: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}; allowed: {self.allowed}"


class ConfigFileError(ConfigError):
    """Every mistake of one file."""

    def __init__(self, path: Path, mistakes: list[Mistake]) -> None:
        self.path = path
        self.mistakes = mistakes
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n".join([f"{path}: {count}", *(f"  {mistake}" for mistake in mistakes)]))


class HomelessPathError(ConfigError):
    """A path begins with the folder of somebody who has none; the text is the path."""


class Section(BaseModel):
    """A table of a configuration: nothing unknown in it, nothing converted."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", strict=True)


class PathSection(Section):
    """A section that names files; `resolved` makes their paths absolute."""

    def resolved(self, folder: Path) -> Any:
        changed = {
            name: resolve_path(value, folder)
            for name, value in self
            if isinstance(value, str) and (name.endswith("_file") or name == "path")
        }
        return self.model_copy(update=changed)


M = TypeVar("M", bound=BaseModel)


def load_toml(
    model: type[M],
    path: Path,
    resolved: Callable[[M, Path], M],
    more: Callable[[M], Iterable[Mistake]] = lambda _: (),
    *,
    files: bool = True,
) -> M:
    """Any TOML file of the product as its `model`; ConfigFileError lists all that is wrong with it.

    `resolved` makes the model's paths absolute, `more` finds what only the whole shows; without `files` those that it
    names need not be there yet.
    """
    raw = _frozen(_read_toml(path))
    folder = path.resolve().parent
    mistakes = _doubles(raw)
    parsed: M | None = None
    try:
        mistakes += _missing_files(raw, raw, (), folder) if files else []
        parsed = resolved(model.model_validate(raw), folder)
        mistakes += more(parsed)
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistakes[:0] = [_mistake(model, raw, detail) for detail in details if not _follows(detail, details)]
    except HomelessPathError as error:
        mistakes.append(Mistake("a path", f'"{error}", whose folder nobody here has', "a path without ~"))
    if mistakes or parsed is None:
        raise ConfigFileError(path, mistakes)
    return parsed


def read_secret(path: str) -> str:
    """The first line of a secret's file; ConfigError when it can't be read, is empty, or others may read it."""
    try:
        line = read_secret_file(Path(path)).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} should hold a secret on its first line, but is no text") from error
    if not line:
        raise ConfigError(f"{path} should hold a secret on its first line, but is empty")
    return line


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes: not a configuration")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # among them a number of thousands of digits
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _frozen(value: Any) -> Any:
    """Lists as tuples, for the strict types have no lists."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list) else value


def resolve_path(text: str, folder: Path) -> str:
    """Absolute, from the file's own folder; `$CREDENTIALS_DIRECTORY/…` where systemd put it.

    HomelessPathError for `~somebody` who is not there.
    """
    if text.startswith(_CREDENTIALS):
        given = os.environ.get("CREDENTIALS_DIRECTORY")
        return str(Path(given) / text.removeprefix(_CREDENTIALS)) if given else text
    try:
        return str(folder / Path(text).expanduser())
    except RuntimeError as error:
        raise HomelessPathError(text) from error


def _missing_files(raw: Any, value: Any, at: tuple[int | str, ...], folder: Path) -> list[Mistake]:
    """The files that some `…_file` names and that can't be had (`identity_file` may be made later).

    Where systemd's credentials are not at hand, as for a person at the node, nothing can be said of them.
    """
    if isinstance(value, str) and isinstance(at[-1], str) and at[-1].endswith("_file") and at[-1] != "identity_file":
        path = resolve_path(value, folder)
        trouble = None if path.startswith(_CREDENTIALS) else _trouble(Path(path))
        return [Mistake(_place(raw, at), f'"{path}", {trouble}', "a file that can be read")] if trouble else []
    steps: Iterable[tuple[int | str, Any]] = ()
    if isinstance(value, dict):
        steps = value.items()
    elif isinstance(value, tuple):
        steps = enumerate(value)
    return [mistake for step, inner in steps for mistake in _missing_files(raw, inner, (*at, step), folder)]


def _trouble(path: Path) -> str | None:
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else "which is no file"
    except (OSError, ValueError) as error:
        return f"which can't be had ({getattr(error, 'strerror', error)})"


def _doubles(raw: dict[str, Any]) -> list[Mistake]:
    """Tables of a list that have the same `id`, or the same `name` where they have no id."""
    mistakes = []
    for kind, entries in raw.items():
        seen: set[str] = set()
        for number, entry in enumerate(entries if isinstance(entries, tuple) else (), 1):
            key = "id" if isinstance(entry, dict) and "id" in entry else "name"
            name = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(name, str) and name in seen:
                mistakes.append(Mistake(f"{kind} {number}.{key}", f'"{name}" again', "a name of its own for each"))
            elif isinstance(name, str):
                seen.add(name)
    return mistakes


def _mistake(model: type[BaseModel], raw: dict[str, Any], detail: ErrorDetails) -> Mistake:
    place = _place(raw, detail["loc"])
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return Mistake(place, "an unknown key", _known_keys(model, detail["loc"]))
    if kind == "missing":
        return Mistake(place, "nothing", "a value, it is required")
    if kind == "value_error":
        key, colon, allowed = str(context["error"]).partition(": ")
        if isinstance(detail["input"], dict) and colon:
            return Mistake(place, "settings that contradict each other", f"{key}: {allowed}")
        return Mistake(place, _shown(detail["input"]), str(context["error"]))
    return Mistake(place, _shown(detail["input"]), _allowed(kind, detail["msg"], context))


_WORDS = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a table",
    "union_tag_invalid": 'kind = "folder" or "s3"',
    "union_tag_not_found": 'kind = "folder" or "s3"',
    "too_short": "at least one entry",
}


def _allowed(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        web = "http" in str(context.get("pattern"))
        return "https://host[:port]" if web else "a-z, 0-9, '-' and '_', at most 32, starting with a letter or digit"
    if kind == "string_too_short":
        return f"text of at least {context['min_length']} characters" if context["min_length"] > 1 else "some text"
    return _WORDS.get(kind) or message.replace("Input should be", "").strip()


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """A list is "too short" only because its entries are wrong, which is told already."""
    at = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(at)] == at for other in details if other is not detail
    )


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    text = re.sub(r"//[^/@\s]*@", "//…@", text)  # no password is shown
    return text if len(text) <= 80 else f"{text[:77]}…"


def _place(raw: Any, location: tuple[int | str, ...]) -> str:
    """`camera 2 (gate).url`: tables of a list are counted from 1 and named by their own id."""
    text, node = "", raw
    for step in location:
        if isinstance(step, int):
            node = node[step] if isinstance(node, tuple) and step < len(node) else None
            name = (node.get("id") or node.get("name")) if isinstance(node, dict) else None
            text += f" {step + 1}" + (f" ({name})" if isinstance(name, str) else "")
        elif isinstance(node, dict) and step in ("folder", "s3") and step not in node:
            continue
        else:
            node = node.get(step) if isinstance(node, dict) else None
            text += f".{step}" if text else step
    return text or "the file"


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    known = [field.alias or name for name, field in _section(model, location).model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), known, 1)
    return f"{', '.join(known)}" + (f" (did you mean {near[0]}?)" if near else "")


def _section(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The table that a location of pydantic's stands in; a step of a union is its `kind`."""
    section, choices = model, [model]
    for step in location[:-1]:
        if isinstance(step, int):
            continue
        if step in section.model_fields:
            choices = _models(section.model_fields[step].annotation)
        else:
            choices = [one for one in choices if step in get_args(one.model_fields["kind"].annotation)]
        section = choices[0] if choices else section
    return section


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
