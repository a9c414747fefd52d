from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ConfigError
from edge_agent.trust.age import BadKeyError
from edge_agent.trust.keys import PublicKey, create_key, load_key, parse_public_key, public_key_of


def test_a_created_key_is_its_owners_alone_and_loads_again(tmp_path: Path) -> None:
    path = tmp_path / "officer.pem"
    key = create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public_key_of(load_key(path)) == public_key_of(key)


def test_openssl_reads_the_key(tmp_path: Path) -> None:
    path = tmp_path / "officer.pem"
    key = create_key(path)
    done = subprocess.run(
        ["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True
    )
    assert done.stdout.endswith(public_key_of(key).raw)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "officer.pem"
    create_key(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        create_key(path)
    assert path.read_bytes() == before


def test_a_key_with_a_passphrase_opens_with_it_only(tmp_path: Path) -> None:
    path = tmp_path / "officer.pem"
    key = create_key(path, "слово")
    assert b"ENCRYPTED" in path.read_bytes()
    assert public_key_of(load_key(path, "слово")) == public_key_of(key)
    with pytest.raises(ConfigError, match="locked with a passphrase"):
        load_key(path)
    with pytest.raises(ConfigError, match="can't be opened with this passphrase"):
        load_key(path, "інше")


def test_a_passphrase_for_a_key_without_one_is_told(tmp_path: Path) -> None:
    create_key(tmp_path / "key")
    with pytest.raises(ConfigError, match="has no passphrase"):
        load_key(tmp_path / "key", "слово")


def test_a_key_open_to_others_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "officer.pem"
    create_key(path)
    path.chmod(0o604)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        load_key(path)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a PEM file"):
        load_key(path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", path], check=True, capture_output=True)
    with pytest.raises(ConfigError, match="another kind"):
        load_key(path)


def test_a_key_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be made"):
        create_key(tmp_path / "absent" / "key")


def test_the_public_text_form_is_that_of_rfc_8037() -> None:
    text = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # appendix A.2
    key = parse_public_key(text)
    assert key.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert str(key) == text


@given(st.binary(min_size=32, max_size=32))
def test_every_key_has_one_text_form(secret: bytes) -> None:
    key = public_key_of(Ed25519PrivateKey.from_private_bytes(secret))
    assert parse_public_key(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 42,
        "A" * 44,
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        " 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "ключ",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadKeyError, match="not an Ed25519 public key"):
        parse_public_key(text)


@pytest.mark.parametrize("y", [0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18])
@pytest.mark.parametrize("sign", [0, 1])
def test_points_under_which_anybody_could_sign_are_refused(y: int, sign: int) -> None:
    raw = (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(BadKeyError, match="weak"):
        parse_public_key(str(PublicKey(raw)))


@given(st.text(max_size=50))
def test_no_text_makes_parsing_fail_otherwise(text: str) -> None:
    try:
        assert str(parse_public_key(text)) == text
    except BadKeyError:
        return
