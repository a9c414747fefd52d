"""Logging in to a camera: digest (RFC 7616, RFC 2617) and, where nobody can listen, basic (RFC 7617).  Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_TOKEN = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?')
_HASHES: dict[str, Callable[[bytes], str]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that the camera offers."""

    scheme: str
    """In lower case."""
    parameters: dict[str, str]
    """Names in lower case, values without quotes but with their escapes."""

    @property
    def nonce(self) -> str:
        return self.parameters.get("nonce", "")

    @property
    def stale(self) -> bool:
        """The password was right, the nonce is too old."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def algorithm(self) -> str:
        return self.parameters.get("algorithm", "MD5").upper() or "MD5"

    @property
    def kind(self) -> str:
        """For people: `Basic`, `Digest SHA-256`."""
        return f"Digest {self.algorithm}" if self.scheme == "digest" else self.scheme.capitalize()


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """All that stand in `WWW-Authenticate` headers, of which one may hold several."""
    found: list[Challenge] = []
    for header in headers:
        for token in _TOKEN.finditer(header):
            name, quoted, plain = token[1].lower(), token[2], token[3]
            if quoted is None and plain is None:
                found.append(Challenge(name, {}))
            elif found:
                found[-1].parameters.setdefault(name, quoted if quoted is not None else plain)
    return found


def best(offered: Sequence[Challenge], *, basic: bool) -> Challenge | None:
    """The strongest that can be answered; basic only where it is allowed."""
    for algorithm in _HASHES:
        for challenge in offered:
            if (
                challenge.scheme == "digest"
                and challenge.algorithm.removesuffix("-SESS") == algorithm
                and challenge.nonce
                and ("qop" not in challenge.parameters or "auth" in _words(challenge.parameters["qop"]))
            ):
                return challenge
    return next((challenge for challenge in offered if basic and challenge.scheme == "basic"), None)


@dataclass(slots=True)
class Login:
    """Username and password, and the count of their uses with a nonce."""

    username: str
    password: str = field(repr=False)
    new_cnonce: Callable[[], str] = field(default=lambda: secrets.token_hex(16), repr=False)
    _nonce: str = field(default="", repr=False)
    _count: int = field(default=0, repr=False)

    def answer(self, challenge: Challenge, method: str, uri: str) -> str:
        """The value of the `Authorization` header."""
        if challenge.scheme == "basic":
            return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        if challenge.nonce != self._nonce:
            self._nonce, self._count = challenge.nonce, 0
        self._count += 1
        given = challenge.parameters
        realm, nonce, cnonce, count = given.get("realm", ""), challenge.nonce, self.new_cnonce(), f"{self._count:08x}"
        hashed = _HASHES[challenge.algorithm.removesuffix("-SESS")]
        secret = hashed(f"{self.username}:{_unescaped(realm)}:{self.password}".encode())
        if challenge.algorithm.endswith("-SESS"):
            secret = hashed(f"{secret}:{nonce}:{cnonce}".encode())
        asked = hashed(f"{method}:{uri}".encode())
        middle = f"{nonce}:{count}:{cnonce}:auth" if "qop" in given else nonce
        parts = [
            f'username="{_escaped(self.username)}"',
            f'realm="{realm}"',
            f'nonce="{nonce}"',
            f'uri="{uri}"',
            f'response="{hashed(f"{secret}:{middle}:{asked}".encode())}"',
        ]
        if "algorithm" in given:
            parts.append(f"algorithm={given['algorithm']}")
        if "opaque" in given:
            parts.append(f'opaque="{given["opaque"]}"')
        if "qop" in given:
            parts += ["qop=auth", f"nc={count}"]
        if "qop" in given or challenge.algorithm.endswith("-SESS"):
            parts.append(f'cnonce="{cnonce}"')
        return "Digest " + ", ".join(parts)


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}


def _escaped(text: str) -> str:
    return re.sub(r'(["\\])', r"\\\1", text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
