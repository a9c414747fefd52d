"""What the desk prints for scripts and how it tells of a request under way."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from edge_agent.desk.board import printable
from edge_agent.desk.proof import UnprovenError
from edge_agent.desk.texts import Texts
from edge_agent.errors import EdgeError, RefusedError
from edge_agent.uplink.link import LinkState, Phase
from edge_agent.uplink.payloads import Reply, ReplyState, Words


def json_line(value: Any) -> str:
    """Readable JSON in one line; what could steer a terminal is escaped, which only ever concerns texts."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def say_json(value: Any) -> None:
    print(json_line(value), flush=True)


def final_json(reply: Reply) -> dict[str, Any]:
    """The final reply as one object: its result, and how it ended."""
    ended = {
        "ok": reply.state is ReplyState.DONE,
        "state": str(reply.state),
        "code": reply.code,
        "request_id": reply.request_id,
        "words": reply.words.model_dump(),
    }
    return {**(reply.result or {}), **ended}


def unreachable_json(request_id: str, error: EdgeError) -> dict[str, Any]:
    """The same where no final reply came."""
    state = "unproven" if isinstance(error, UnprovenError) else "unreachable"
    return {"ok": False, "state": state, "code": state, "request_id": request_id, "error": str(error)}


def in_language(words: Words, texts: Texts) -> str:
    return printable(words.uk if texts.language == "uk" else words.en, 500)


def raise_unless_done(reply: Reply, texts: Texts) -> None:
    """RefusedError or EdgeError in the node's own words, for the exit code."""
    if reply.state is ReplyState.REFUSED:
        raise RefusedError(in_language(reply.words, texts))
    if reply.state is not ReplyState.DONE:
        raise EdgeError(in_language(reply.words, texts))


class Told:
    """How a request fares, on standard error: a moving bar on a terminal, a line for each new stage elsewhere."""

    def __init__(self, console: Console, texts: Texts, where: str) -> None:
        self._console, self._texts, self._where = console, texts, where
        self._awaited = ""
        self._last = ""
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)
        self.under_way = False
        """The broker was reached: the node may have the request."""

    def link(self, state: LinkState) -> None:
        match state.phase:
            case Phase.ONLINE:
                self.under_way = True
                self._say(self._awaited)
            case Phase.CONNECTING:
                self._say(self._texts.connecting_to.format(where=self._where))
            case _:
                self._say(printable(state.reason, 200))

    def waiting(self, words: str, *, at_once: bool) -> None:
        """What is awaited: said at once, or when the broker is reached."""
        self._awaited = words
        if at_once:
            self._say(words)

    def reply(self, reply: Reply) -> None:
        self.under_way = True
        if reply.state.final:
            return
        words = in_language(reply.words, self._texts)
        self._say(words)
        part = reply.progress if reply.state is ReplyState.RUNNING and reply.code in ("cut", "upload") else None
        self._bar.update(self._task, total=None if part is None else 1.0, completed=part or 0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _say(self, words: str) -> None:
        if words == self._last:
            return
        self._last = words
        self._bar.update(self._task, description=words)
        if not self._console.is_terminal:
            self._console.print(words, markup=False, soft_wrap=True)
