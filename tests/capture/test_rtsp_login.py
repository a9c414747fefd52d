"""Digest and basic login, by the examples of their RFCs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture.rtsp_login import Challenge, Login, best, challenges

NONCE_7616 = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE_7616 = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def response(value: str) -> str:
    found = re.search(r'response="([0-9a-f]+)"', value)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("header", "password", "cnonce", "expected"),
    [
        (  # RFC 2617 §3.5
            'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
            'opaque="5ccc069c403ebaf9f0171e9517f40e41"',
            "Circle Of Life",
            "0a4f113b",
            "6629fae49393a05397450978507c4ef1",
        ),
        (  # RFC 7616 §3.9.1
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="{NONCE_7616}"',
            "Circle of Life",
            CNONCE_7616,
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
        (
            f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="{NONCE_7616}"',
            "Circle of Life",
            CNONCE_7616,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ],
)
def test_digests_are_those_of_the_rfcs(header: str, password: str, cnonce: str, expected: str) -> None:
    login = Login("Mufasa", password, lambda: cnonce)
    (challenge,) = challenges([header])
    answer = login.answer(challenge, "GET", "/dir/index.html")
    assert response(answer) == expected
    assert "nc=00000001" in answer
    assert "nc=00000002" in login.answer(challenge, "GET", "/dir/index.html")
    assert ('opaque="5ccc069c403ebaf9f0171e9517f40e41"' in answer) == ("opaque" in header)


def test_the_strongest_way_in_is_taken_and_basic_only_where_allowed() -> None:
    offered = challenges(
        ['Basic realm="a, b", Digest realm="c", nonce="1"', 'Digest realm="c", nonce="2", algorithm=SHA-256']
    )
    assert [one.scheme for one in offered] == ["basic", "digest", "digest"]
    assert best(offered, basic=True) == offered[2]
    assert best(offered[:2], basic=True) == offered[1]
    assert best(offered[:1], basic=True) == offered[0]
    assert best(offered[:1], basic=False) is None
    assert best(challenges(['Digest realm="c", nonce="1", algorithm=SHA-512-256']), basic=True) is None
    assert best(challenges(['Digest realm="c", nonce="1", qop="auth-int"']), basic=True) is None


def test_basic_is_as_the_rfc_has_it_and_no_password_is_in_a_repr() -> None:
    login = Login("Aladdin", "open sesame")
    assert login.answer(Challenge("basic", {}), "GET", "/") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert "sesame" not in repr(login)


@given(st.lists(st.text(max_size=200), max_size=4))
def test_no_challenge_breaks_the_reader(headers: list[str]) -> None:
    for one in challenges(headers):
        if best([one], basic=True):
            Login("a", "b").answer(one, "GET", "/")
