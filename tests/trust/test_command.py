from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.clock import US
from edge_agent.model import Interval, PersonId
from edge_agent.trust.age import Identity, Recipient
from edge_agent.trust.command import (
    LEEWAY_S,
    MAX_EXPORT_S,
    MAX_LIFETIME_S,
    MAX_TOKEN_BYTES,
    TYPE,
    CommandRefusedError,
    ExportArgs,
    RefusalCode,
    StatusArgs,
    sign,
    verify,
)
from edge_agent.trust.policy import Action, Role
from tests.trust.support import NOW_US, somebody

NODE = "melitopol/node-7"
KEY = Ed25519PrivateKey.generate()
OTHERS_KEY = Ed25519PrivateKey.generate()
OFFICER = somebody("o-shevchenko", Role.ARCHIVE_OFFICER, KEY)
MAYOR = somebody("mayor", Role.MAYOR, OTHERS_KEY)
PEOPLE = {OFFICER.person_id: OFFICER, MAYOR.person_id: MAYOR}
RECIPIENT = str(Identity.generate().recipient)
EXPORT = ExportArgs(
    camera="gate",
    start_us=NOW_US - 600 * US,
    end_us=NOW_US - 300 * US,
    recipient=RECIPIENT,
    target="disk",
    reason="Запит № 7",
)


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def claims(**changed: Any) -> dict[str, Any]:
    now_s = NOW_US // US
    whole = {
        "iss": "o-shevchenko", "aud": NODE, "iat": now_s, "exp": now_s + 120, "jti": "n" * 16,
        "action": "export", "args": EXPORT.model_dump(),
    }  # fmt: skip
    return {name: value for name, value in (whole | changed).items() if value is not ...}


def signed(payload: bytes | dict[str, Any], header: bytes | dict[str, Any] | None = None) -> bytes:
    """A token with a right signature over whatever it says."""
    if header is None:
        header = {"alg": "EdDSA", "kid": "o-shevchenko", "typ": TYPE}
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    text = b".".join(b64(part) for part in parts)
    return text + b"." + b64(KEY.sign(text))


def refusal(token: bytes, now_us: int = NOW_US) -> CommandRefusedError:
    with pytest.raises(CommandRefusedError) as caught:
        verify(token, PEOPLE, NODE, now_us)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_signed_command_says_who_wants_what_and_until_when() -> None:
    command = verify(sign(KEY, "o-shevchenko", NODE, EXPORT, NOW_US), PEOPLE, NODE, NOW_US)
    assert command.person_id == "o-shevchenko"
    assert command.action is Action.EXPORT
    assert command.args == EXPORT
    assert EXPORT.interval == Interval(EXPORT.start_us, EXPORT.end_us)
    assert (command.issued_us, command.expires_us) == (NOW_US, NOW_US + 120 * US)
    assert len(command.nonce) >= 16


def test_each_signing_has_its_own_nonce() -> None:
    tokens = {sign(KEY, "o-shevchenko", NODE, StatusArgs(), NOW_US) for _ in range(5)}
    assert len({verify(token, PEOPLE, NODE, NOW_US).nonce for token in tokens}) == 5


def test_another_jwt_program_signs_what_the_node_accepts() -> None:
    token = jwt.encode(claims(), KEY, "EdDSA", {"typ": TYPE, "kid": "o-shevchenko"})
    assert verify(token.encode(), PEOPLE, NODE, NOW_US).args == EXPORT


def test_another_jwt_program_verifies_what_the_desk_signs() -> None:
    token = sign(KEY, "o-shevchenko", NODE, EXPORT, NOW_US)
    found = jwt.decode(
        token.decode(), KEY.public_key(), ["EdDSA"], audience=NODE, options={"verify_exp": False, "verify_iat": False}
    )
    assert found["action"] == "export"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"aud": "melitopol/node-8"}, RefusalCode.OTHER_NODE),
        ({"iss": "mayor"}, RefusalCode.MALFORMED),
        ({"jti": "short"}, RefusalCode.MALFORMED),
        ({"jti": "n" * 65}, RefusalCode.MALFORMED),
        ({"jti": "-" + "n" * 20}, RefusalCode.MALFORMED),
        ({"jti": "n" * 15 + "/#"}, RefusalCode.MALFORMED),
        ({"jti": "n" * 15 + "\n"}, RefusalCode.MALFORMED),
        ({"jti": ...}, RefusalCode.MALFORMED),
        ({"exp": ...}, RefusalCode.MALFORMED),
        ({"iat": True}, RefusalCode.MALFORMED),
        ({"iat": str(NOW_US // US)}, RefusalCode.MALFORMED),
        ({"iat": NOW_US / US}, RefusalCode.MALFORMED),
        ({"exp": 10**30}, RefusalCode.MALFORMED),
        ({"iat": -1}, RefusalCode.MALFORMED),
        ({"exp": NOW_US // US}, RefusalCode.MALFORMED),
        ({"admin": True}, RefusalCode.MALFORMED),
        ({"aud": [NODE]}, RefusalCode.MALFORMED),
        ({"args": []}, RefusalCode.MALFORMED),
        ({"exp": NOW_US // US + MAX_LIFETIME_S + 1}, RefusalCode.TOO_LONG_LIVED),
        ({"action": "destroy"}, RefusalCode.UNKNOWN_ACTION),
        ({"action": "EXPORT"}, RefusalCode.UNKNOWN_ACTION),
        ({"action": "status"}, RefusalCode.BAD_ARGUMENTS),
        ({"args": {}}, RefusalCode.BAD_ARGUMENTS),
    ],
)
def test_claims_that_do_not_fit_are_refused_with_their_code(changed: dict[str, Any], code: RefusalCode) -> None:
    error = refusal(signed(claims(**changed)))
    assert error.code is code
    assert error.person == OFFICER
    assert error.exit_code == 77


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"camera": "../etc"}, "camera"),
        ({"camera": "gate\n"}, "camera"),
        ({"start_us": EXPORT.end_us}, "empty"),
        ({"end_us": EXPORT.start_us - 1}, "empty"),
        ({"end_us": EXPORT.start_us + MAX_EXPORT_S * US + 1}, "24 hours"),
        ({"start_us": -1}, "start_us"),
        ({"end_us": 10**18 - 1}, "end_us"),
        ({"start_us": str(EXPORT.start_us)}, "start_us"),
        ({"recipient": RECIPIENT[:-1]}, "recipient"),
        ({"recipient": str(Recipient(bytes(32)))}, "weak"),
        ({"target": ""}, "target"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "red \x1b[31m"}, "printable"),
        ({"speed": 2}, "speed"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(changed: dict[str, Any], words: str) -> None:
    error = refusal(signed(claims(args=EXPORT.model_dump() | changed)))
    assert error.code is RefusalCode.BAD_ARGUMENTS
    assert words in str(error)


def test_a_command_lives_from_its_issue_to_its_expiry_give_or_take_the_leeway() -> None:
    token = sign(KEY, "o-shevchenko", NODE, EXPORT, NOW_US, lifetime_s=60)
    for late_s in (-LEEWAY_S, 0, 60 + LEEWAY_S - 1):
        assert verify(token, PEOPLE, NODE, NOW_US + late_s * US)
    assert refusal(token, NOW_US - LEEWAY_S * US - 1).code is RefusalCode.NOT_YET
    assert refusal(token, NOW_US + (60 + LEEWAY_S) * US).code is RefusalCode.EXPIRED


def test_signing_for_too_long_is_refused_at_the_desk() -> None:
    for lifetime_s in (0, MAX_LIFETIME_S + 1):
        with pytest.raises(ValueError, match="lives from 1"):
            sign(KEY, "o-shevchenko", NODE, EXPORT, NOW_US, lifetime_s=lifetime_s)


def test_a_stranger_and_a_forger_are_told_apart() -> None:
    assert refusal(sign(KEY, "nobody", NODE, EXPORT, NOW_US)).code is RefusalCode.UNKNOWN_PERSON
    assert refusal(sign(OTHERS_KEY, "o-shevchenko", NODE, EXPORT, NOW_US)).code is RefusalCode.BAD_SIGNATURE
    error = refusal(sign(KEY, "mayor", NODE, EXPORT, NOW_US))
    assert error.code is RefusalCode.BAD_SIGNATURE
    assert error.person is None


def test_nothing_of_an_unsigned_payload_is_looked_at() -> None:
    header, _, signature = signed(claims()).split(b".")
    for payload in (b64(b"{" * 5000), b64(json.dumps(claims(aud="x")).encode()), b64(b"\xff")):
        assert refusal(b".".join([header, payload, signature])).code is RefusalCode.BAD_SIGNATURE


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": "o-shevchenko", "typ": TYPE},
        {"alg": "HS256", "kid": "o-shevchenko", "typ": TYPE},
        {"alg": "eddsa", "kid": "o-shevchenko", "typ": TYPE},
        {"alg": "EdDSA", "kid": "o-shevchenko", "typ": "JWT"},
        {"alg": "EdDSA", "kid": "o-shevchenko"},
        {"alg": "EdDSA", "typ": TYPE},
        {"alg": "EdDSA", "kid": 7, "typ": TYPE},
        {"alg": "EdDSA", "kid": "", "typ": TYPE},
        {"alg": ["EdDSA"], "kid": "o-shevchenko", "typ": TYPE},
        {"alg": "EdDSA", "kid": "o-shevchenko", "typ": TYPE, "crit": ["exp"]},
        {"alg": "EdDSA", "kid": "o-shevchenko", "typ": TYPE, "b64": False},
        {"alg": "EdDSA", "kid": "o-shevchenko", "typ": TYPE, "jwk": {}},
        b'{"alg":"none","alg":"EdDSA","kid":"o-shevchenko","typ":"edge-command+jwt"}',
        b'["EdDSA"]',
        b"null",
        b"\xff\xfe",
    ],
)
def test_a_header_that_says_anything_else_is_malformed(header: bytes | dict[str, Any]) -> None:
    assert refusal(signed(claims(), header)).code is RefusalCode.MALFORMED


def test_the_public_key_is_no_hmac_secret() -> None:
    text = b64(json.dumps({"alg": "HS256", "kid": "o-shevchenko", "typ": TYPE}).encode()) + b"."
    text += b64(json.dumps(claims()).encode())
    mac = jwt.get_algorithm_by_name("HS256").sign(text, OFFICER.public_key.raw)
    assert refusal(text + b"." + b64(mac)).code is RefusalCode.MALFORMED


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b"[" * 9000,
        json.dumps(claims()).replace('"jti"', '"aud": "x", "jti"').encode(),
        json.dumps(claims()).replace("Запит".encode("unicode_escape").decode(), "\\ud800").encode(),
        json.dumps(claims(iat=0)).replace('"iat": 0', '"iat": NaN').encode(),
        json.dumps(claims(iat=0)).replace('"iat": 0', '"iat": ' + "1" * 5000).encode(),
        json.dumps(claims(iat=0)).replace('"iat": 0', '"iat": 1e3').encode(),
    ],
)
def test_payloads_with_more_than_one_meaning_or_none_are_malformed(payload: bytes) -> None:
    assert refusal(signed(payload)).code is RefusalCode.MALFORMED


@pytest.mark.parametrize(
    "token",
    [b"", b".", b"..", b"a.b", b"a.b.c", b"a.b.c.d", b"A" * (MAX_TOKEN_BYTES + 1), b"\xff.\xff.\xff", "є.є.є".encode(),
     b" " + signed(claims()), signed(claims()) + b"\n", signed(claims()) + b"=", signed(claims()) + b"." * 9,
     signed(claims(args={"camera": "x" * MAX_TOKEN_BYTES}))],
)  # fmt: skip
def test_what_is_no_token_is_malformed(token: bytes) -> None:
    assert refusal(token).code is RefusalCode.MALFORMED


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_get_in_or_raise_anything_else(garbage: bytes) -> None:
    refusal(garbage)
    refusal(b".".join(b64(piece) for piece in garbage.split(b" ")[:3]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*claims(), "other"]), json_values)
def test_no_value_of_a_claim_raises_anything_else(name: str, value: Any) -> None:
    try:
        command = verify(signed(claims(**{name: value})), PEOPLE, NODE, NOW_US)
    except CommandRefusedError:
        return
    assert name in ("iat", "exp", "jti")
    assert command.args == EXPORT


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*EXPORT.model_dump(), "other"]), json_values)
def test_no_value_of_an_argument_raises_anything_else(name: str, value: Any) -> None:
    try:
        command = verify(signed(claims(args=EXPORT.model_dump() | {name: value})), PEOPLE, NODE, NOW_US)
    except CommandRefusedError as error:
        assert error.code in (RefusalCode.BAD_ARGUMENTS, RefusalCode.MALFORMED)  # noqa: PT017
        return
    assert isinstance(command.args, ExportArgs)
    assert command.args.end_us > command.args.start_us


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(signed(claims())) - 1), st.integers(0, 7))
def test_every_flipped_bit_of_a_token_is_refused(place: int, bit: int) -> None:
    token = bytearray(signed(claims()))
    token[place] ^= 1 << bit
    refusal(bytes(token))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(signed(claims())) - 1))
def test_every_truncated_token_is_refused(length: int) -> None:
    refusal(signed(claims())[:length])


def test_nobody_is_known_to_a_node_without_people() -> None:
    with pytest.raises(CommandRefusedError, match="knows nobody"):
        verify(signed(claims()), dict[PersonId, Any](), NODE, NOW_US)
