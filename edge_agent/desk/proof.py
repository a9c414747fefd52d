"""Whether a reply is the node's own: by its signature, its request, and for a refusal by what was refused.

A broker can be hostile, and so can whoever may write on a reply's topic: what is not proved is passed over, and told
when nothing better comes (`docs/desk.md`, «Whose answer it is»).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from edge_agent.desk.board import printable
from edge_agent.errors import RefusedError
from edge_agent.trust.jws import BadTokenError
from edge_agent.trust.keys import PublicKey
from edge_agent.trust.note import NoteKey
from edge_agent.trust.reply import opened
from edge_agent.uplink.payloads import Reply, ReplyState, decode
from edge_agent.uplink.topics import Topics


class UnprovenError(RefusedError):
    """An answer came, but not one that the node has signed."""


class Keys(Protocol):
    """Who is believed to be which node (`memory.py`)."""

    def key(self, node: Topics) -> NoteKey | None: ...

    def pin(self, node: Topics, public: PublicKey) -> NoteKey: ...

    def key_path(self, node: Topics) -> Path: ...


class Examiner:
    """Of the replies to one request; without `keys` (at the node's own socket) no signature is asked for."""

    def __init__(self, node: Topics, request_id: str, token: bytes | None, keys: Keys | None) -> None:
        self._node, self._request_id, self._keys = node, request_id, keys
        self._name = f"{node.site}/{node.node}"
        self._command = hashlib.sha256(token).hexdigest() if token is not None else None
        self.doubt: UnprovenError | None = None
        """The last final reply that looked like one but was not proved."""

    def reply(self, message: bytes) -> Reply | None:
        """The reply that a message is; None for what is none, is another's, or is not proved."""
        broken, signer = False, None
        try:
            message, signer = opened(message)
        except BadTokenError:
            broken = True
        try:
            reply = decode(Reply, message)
        except ValueError:
            return None
        if reply.request_id != self._request_id:
            return None
        if self._keys is not None and not self._proved(reply, signer, broken, self._keys):
            return None
        of_another = reply.command_sha256 is not None and reply.command_sha256 != self._command
        if reply.state is ReplyState.REFUSED and self._command is not None and of_another:
            return None  # of something else that was sent under this request's id
        return reply

    def _proved(self, reply: Reply, signer: PublicKey | None, broken: bool, keys: Keys) -> bool:
        known = keys.key(self._node)
        if known is None and signer is not None and reply.node == self._name:
            known = keys.pin(self._node, signer)
        if known is None:
            return not broken and signer is None
        if signer == known.public and reply.node == self._name:
            return True
        if reply.state.final:
            self.doubt = self._doubtful(reply, signer, keys.key_path(self._node))
        return False

    def _doubtful(self, reply: Reply, signer: PublicKey | None, path: Path) -> UnprovenError:
        how = f"signed with another key ({signer})" if signer else "not signed"
        said = printable(reply.words.en, 500)
        return UnprovenError(
            f"an answer in the name of {self._name} came ({reply.state}: {said}), but it is {how}, though the key of "
            f"this node is known: somebody in between may have invented it, so nothing is proved to be done. If the "
            f"node has lost its key or got a new one, compare what `edge-agent journal "
            f"checkpoint --key` says at the node with {path}"
        )
