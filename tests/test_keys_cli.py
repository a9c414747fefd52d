"""The node's own keys, as a contractor makes them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.cli import app
from edge_agent.errors import ConfigError, EdgeError
from edge_agent.trust.age_keys import BadKeyError, read_secret_file
from edge_agent.trust.keys import create_key, load_key, parse_public_key, public_key_of
from edge_agent.trust.tls_key import signing_request, tls_key


def keys(folder: Path, *arguments: str) -> int:
    config = folder / "edge-agent.toml"
    config.write_text('site = "town"\nnode = "n1"\ndata = "data"\n[[camera]]\nid = "gate"\nurl = "rtsp://h/x"\n')
    try:
        app(["keys", *arguments, "--config", str(config)], standalone_mode=False)
    except EdgeError as error:
        return error.exit_code
    return 0


def told(text: str) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in text.splitlines()}


def test_the_nodes_keys_are_made_once_and_for_the_node_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys(tmp_path, "show") == 66
    assert keys(tmp_path, "make") == 0
    first = told(capsys.readouterr().out)
    assert keys(tmp_path, "make") == 0
    assert told(capsys.readouterr().out) == first
    folder = tmp_path / "data" / "keys"
    for name in ("node.sign", "node.age", "tls.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert parse_public_key(first["public_key"]) == public_key_of(load_key(folder / "node.sign"))
    assert first["recipient"].startswith("age1")


def test_the_request_is_by_the_key_and_in_the_nodes_name(tmp_path: Path) -> None:
    assert keys(tmp_path, "make") == 0
    folder = tmp_path / "data" / "keys"
    request = x509.load_pem_x509_csr((folder / "tls.csr").read_bytes())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=edge-town-n1"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    own = tls_key(folder / "tls.key").public_key()
    assert request.public_key().public_bytes(serialization.Encoding.DER, form) == own.public_bytes(
        serialization.Encoding.DER, form
    )


@pytest.mark.parametrize("name", ["node.sign", "node.age", "tls.key"])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    assert keys(tmp_path, "make") == 0
    (tmp_path / "data" / "keys" / name).chmod(0o640)
    assert keys(tmp_path, "show") == 78
    assert keys(tmp_path, "make") == 78


def test_a_tls_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tls.key"
    create_key(path)
    with pytest.raises(BadKeyError, match="another kind"):
        tls_key(path)
    path.write_bytes(b"garbage")
    with pytest.raises(BadKeyError, match="PEM"):
        tls_key(path)
    with pytest.raises(ConfigError, match="64 characters"):
        signing_request(ec.generate_private_key(ec.SECP256R1()), "x" * 65)


@pytest.mark.parametrize(("mode", "read"), [(0o400, True), (0o440, True), (0o444, False), (0o460, False)])
def test_a_credential_of_systemd_may_show_its_access_list_as_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, read: bool
) -> None:
    path = tmp_path / "secret_node.key"
    path.write_text("secret")
    path.chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    if read:
        assert read_secret_file(path) == b"secret"
    else:
        with pytest.raises(ConfigError, match="others can read"):
            read_secret_file(path)
    if mode != 0o400:
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
        with pytest.raises(ConfigError, match="others can read"):
            read_secret_file(path)
