"""What a node answers is signed as it stands, and nothing else passes for it."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.trust.jws import BadTokenError
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.reply import opened, signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BODY = '{"request_id":"r","words":"сказано","nested":{"signature":"x"}}'.encode()
SIGNED = signed(BODY, KEY)


def test_a_signed_reply_is_still_plain_json_with_its_signature_last() -> None:
    assert json.loads(SIGNED) == {**json.loads(BODY), "signature": json.loads(SIGNED)["signature"]}
    assert opened(SIGNED) == (BODY, public_key_of(KEY))


def test_another_jwt_program_verifies_it() -> None:
    header, _, signature = json.loads(SIGNED)["signature"].split(".")
    payload = base64.urlsafe_b64encode(BODY).rstrip(b"=").decode()
    found = jwt.api_jws.PyJWS().decode_complete(f"{header}.{payload}.{signature}", KEY.public_key(), ["EdDSA"])
    assert found["header"] == {"alg": "EdDSA", "typ": "edge-reply+jwt", "kid": str(public_key_of(KEY))}
    assert found["payload"] == BODY


def test_what_bears_no_signature_is_told_as_such() -> None:
    for unsigned in (BODY, b"", b"rubbish", b'{"signature":null}', SIGNED + b" "):
        assert opened(unsigned) == (unsigned, None)


@pytest.mark.parametrize(
    "wrong",
    [
        SIGNED.replace(b'"r"', b'"s"'),
        SIGNED.replace(b'"nested"', b'"nested" '),
        signed(BODY, Ed25519PrivateKey.generate())[:-90] + SIGNED[-90:],
        BODY[:-1] + b',"signature":"a..b"}',
        BODY[:-1] + b',"signature":"' + jwt.PyJWS().encode(BODY, KEY, "EdDSA").encode() + b'"}',
        signed(BODY, KEY).replace(b"..", b"." + base64.urlsafe_b64encode(b"{}") + b"."),
    ],
    ids=["said-otherwise", "a-blank-more", "anothers-signature", "no-signature", "a-whole-token", "with-a-payload"],
)
def test_a_signature_that_does_not_hold_is_refused(wrong: bytes) -> None:
    with pytest.raises(BadTokenError):
        opened(wrong)


@given(place=st.integers(0, len(SIGNED) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_passes_for_what_the_node_said(place: int, bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[place] ^= 1 << bit
    try:
        body, key = opened(bytes(changed))
    except BadTokenError:
        return
    assert key is None
    assert body == bytes(changed)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(garbage: bytes) -> None:
    for message in (garbage, BODY[:-1] + b',"signature":"' + garbage + b'"}'):
        try:
            assert opened(message)[1] is None
        except BadTokenError:
            continue
