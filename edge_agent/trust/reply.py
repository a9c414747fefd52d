"""The node's signature under what it answers: a JSON object with a detached JWS of itself as its last member
(RFC 7515, appendix F; `docs/mqtt.md`, «A reply's signature»).

So it stays plain JSON for whoever does not care, and what is signed are its very bytes, no form of them that could be
made in two ways.  Pure.
"""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.trust import jws
from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.jws import BadTokenError, Fault
from edge_agent.trust.keys import PublicKey, parse_public_key, public_key_of

TYPE = "edge-reply+jwt"
NAME = "signature"
_BEGIN = f',"{NAME}":"'.encode()
_END = b'"}'
_DETACHED = re.compile(rb"([A-Za-z0-9_-]{1,300})\.\.([A-Za-z0-9_-]{86})")


def signed(body: bytes, key: Ed25519PrivateKey) -> bytes:
    """`body`, a JSON object that is not empty, with its signature; the public key is the signature's `kid`."""
    header, _, signature = jws.encode(key, TYPE, str(public_key_of(key)), body).split(b".")
    return body[:-1] + _BEGIN + header + b".." + signature + _END


def opened(message: bytes) -> tuple[bytes, PublicKey | None]:
    """What was signed, and with which key; the message itself and None where it bears no signature.

    BadTokenError when it bears one that does not hold.  Whose key that is, the caller has to know.
    """
    body, begin, tail = message.rpartition(_BEGIN)
    if not begin or not tail.endswith(_END):
        return message, None
    parts = _DETACHED.fullmatch(tail.removesuffix(_END))
    if parts is None:
        raise BadTokenError(Fault.MALFORMED, "the reply's signature is none")
    body += b"}"
    token = b".".join([parts[1], base64.urlsafe_b64encode(body).rstrip(b"="), parts[2]])
    signer, _ = jws.decode(token, TYPE, "a reply", len(token), _key)
    return body, parse_public_key(signer)


def _key(text: str) -> PublicKey | None:
    try:
        return parse_public_key(text)
    except BadKeyError:
        return None
