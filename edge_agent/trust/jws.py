"""What commands, orders and rosters have in common: compact JWS (RFC 7515) with EdDSA, and JSON with one meaning only.

Nothing is taken from a token but what its signer is called: key, algorithm and type are the reader's own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_agent.errors import RefusedError
from edge_agent.trust.keys import PublicKey

ALGORITHM = "EdDSA"
MAX_TIME_S = 253_402_300_800
"""The year 10000: what calendars can still show."""

_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_MAX_DIGITS = 18
M = TypeVar("M", bound=BaseModel)


class Fault(StrEnum):
    MALFORMED = "malformed"
    UNKNOWN_SIGNER = "unknown_signer"
    BAD_SIGNATURE = "bad_signature"


class BadTokenError(RefusedError):
    """No token of the kind that is read, or not by somebody who is believed."""

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault = fault


class Closed(BaseModel):
    """Nothing unknown, nothing converted."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", strict=True)


class _Header(Closed):
    alg: str
    kid: str = Field(min_length=1, max_length=64)
    typ: str


def encode(key: Ed25519PrivateKey, type_: str, signer: str, payload: bytes) -> bytes:
    """The token of `payload`, signed by whoever readers know as `signer`."""
    return jwt.PyJWS(algorithms=[ALGORITHM]).encode(payload, key, ALGORITHM, {"typ": type_, "kid": signer}).encode()


def decode(
    token: bytes, type_: str, what: str, max_bytes: int, key_of: Callable[[str], PublicKey | None]
) -> tuple[str, bytes]:
    """(signer, payload) once the signature holds under the key that `key_of` has for the signer; BadTokenError.

    `what` is what the token should be, in words ("a command").
    """
    if len(token) > max_bytes:
        raise BadTokenError(Fault.MALFORMED, f"{what} is at most {max_bytes} bytes long")
    parts = _SHAPE.fullmatch(token)
    if parts is None:
        raise BadTokenError(Fault.MALFORMED, "not a compact JWS: three parts in base64url, joined by dots")
    header = parse(_Header, _base64url(parts[1]), "the header")
    if header.alg != ALGORITHM or header.typ != type_:
        raise BadTokenError(Fault.MALFORMED, f'the header must say "alg": "{ALGORITHM}", "typ": "{type_}"')
    _base64url(parts[3])  # one signature, one token: no spare bits in its last character
    key = key_of(header.kid)
    if key is None:
        raise BadTokenError(Fault.UNKNOWN_SIGNER, f"this node knows nobody called {header.kid!r}")
    try:
        jws = jwt.PyJWS(algorithms=[ALGORITHM])
        payload = jws.decode_complete(token, key.verifier(), algorithms=[ALGORITHM])["payload"]
    except jwt.PyJWTError as error:
        words = f"the signature is not by the key this node knows of {header.kid!r}"
        raise BadTokenError(Fault.BAD_SIGNATURE, words) from error
    return header.kid, bytes(payload)


def unproven(token: bytes, max_bytes: int) -> bytes:
    """The payload, whoever may have written it; BadTokenError when it is no token."""
    parts = _SHAPE.fullmatch(token) if len(token) <= max_bytes else None
    if parts is None:
        raise BadTokenError(Fault.MALFORMED, "not a compact JWS: three parts in base64url, joined by dots")
    return _base64url(parts[2])


def parse(model: type[M], raw: bytes, what: str) -> M:
    """Strict JSON as its model; BadTokenError names the first mistakes."""
    try:
        return model.model_validate(strict_json(raw))
    except ValidationError as error:
        raise BadTokenError(Fault.MALFORMED, f"{what}: {mistakes(error)}") from error


def strict_json(raw: bytes) -> Any:
    """JSON with one meaning only: UTF-8, no name twice, no fractions, no huge numbers, no half surrogates."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice in one object")
        return found

    def whole(digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            raise ValueError("a number is too large")
        return int(digits)

    def never(found: str) -> NoReturn:
        raise ValueError(f"numbers are whole, not {found[:20]}")

    try:
        text = raw.decode()
        value = json.loads(text, object_pairs_hook=once, parse_int=whole, parse_float=never, parse_constant=never)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadTokenError(Fault.MALFORMED, f"not plain JSON: {words}") from error
    return value


def mistakes(error: ValidationError) -> str:
    """The first mistakes, short: places and what is allowed, without the values.

    A name that nobody asked for stands among the places: what strangers wrote must not steer a terminal or a log.
    """
    found = [
        f"{'.'.join(str(step)[:40] for step in detail['loc']) or 'it'}: {detail['msg']}"
        for detail in error.errors(include_url=False, include_input=False)[:4]
    ]
    return "".join(sign if sign.isprintable() else "�" for sign in "; ".join(found))


def plain_text(text: str) -> str:
    """For a validator: one line that can be shown."""
    if not all(char.isprintable() for char in text):
        raise ValueError("printable characters only, in one line")
    return text


def _base64url(segment: bytes) -> bytes:
    """Of its one form only."""
    try:
        raw = base64.b64decode(segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise BadTokenError(Fault.MALFORMED, "broken base64url") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != segment:
        raise BadTokenError(Fault.MALFORMED, "base64url in other than its one form")
    return raw
