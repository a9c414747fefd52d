"""A real mosquitto on loopback: a TLS listener that asks for client certificates and a plain one, killable.

Certificates are made afresh by `Authority`.  What the broker keeps (retained messages, sessions) survives `kill` as far
as it was saved; `restart` uses the same ports, files and authority.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import pwd
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.uplink.link import Fate, Phase
from edge_agent.uplink.mqtt import Link
from tests.peers.support import ManagedProcess, free_port, wait_until

MOSQUITTO = "/usr/sbin/mosquitto"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a PEM certificate and its key."""

    cert_file: str
    key_file: str


class Authority:
    """A certificate authority for a test, in `folder`."""

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file, self.crl_file = str(folder / "ca.pem"), str(folder / "crl.pem")
        Path(self.ca_file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._revoked: list[x509.RevokedCertificate] = []
        self._write_revoked()

    def issue(self, name: str, *, hosts: Sequence[str] = ("localhost", "127.0.0.1")) -> Certificate:
        """A certificate for `name`, good for a client and for a server called one of `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_path, key_path = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.touch(mode=0o600)
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Certificate(str(cert_path), str(key_path))

    def sign(self, request_pem: bytes) -> bytes:
        """The PEM certificate for a client's request, with the name and the usage that it asks for."""
        request = x509.load_pem_x509_csr(request_pem)
        assert request.is_signature_valid
        public = request.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        usage = request.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        certificate = (
            _builder(request.subject, self._name, public)
            .add_extension(usage.value, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def revoke(self, certificate_pem: bytes) -> None:
        """Put it on the list; a broker knows after it was restarted."""
        serial = x509.load_pem_x509_certificate(certificate_pem).serial_number
        now = datetime.datetime.now(datetime.UTC)
        self._revoked.append(x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build())
        self._write_revoked()

    def _write_revoked(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        until = now + datetime.timedelta(days=2)
        builder = x509.CertificateRevocationListBuilder(self._name, now, until, revoked_certificates=self._revoked)
        revoked = builder.sign(self._key, hashes.SHA256())
        Path(self.crl_file).write_bytes(revoked.public_bytes(serialization.Encoding.PEM))


class Mosquitto:
    """`with Mosquitto(tmp_path) as broker:` – up when entered, ended at the end.

    `tls_port` asks for a certificate of `authority`; `port` is plain, and takes anybody, or only `users` (name →
    password) where given.  `acl` are lines of an access list, for both.  `settings` are further global lines.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        acl: Sequence[str] = (),
        settings: Sequence[str] = (),
        server_hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    ) -> None:
        self.folder = folder / "mosquitto"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(self.folder / "authority")
        self._server = self.authority.issue("broker", hosts=server_hosts)
        self.port, self.tls_port = free_port(), free_port()
        self._config = self.folder / "mosquitto.conf"
        self._process: ManagedProcess | None = None
        self._config.write_text("\n".join(self._lines(users, acl, settings)) + "\n")

    def start(self) -> None:
        self._process = ManagedProcess([MOSQUITTO, "-c", self._config], self.folder / "mosquitto.log")
        process = self._process
        wait_until(lambda: not process.running or self._listens(), 30, f"mosquitto on {self.port}")
        if not process.running:
            raise AssertionError(f"mosquitto did not start:\n{process.text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL: nothing is saved or said."""
        self.process.kill()

    def stop(self) -> None:
        """SIGTERM: retained messages and sessions are saved."""
        self.process.end()

    def restart(self) -> None:
        self.start()

    def save(self) -> None:
        """Have it write its sessions and retained messages to disk now."""
        self.process.signal(signal.SIGUSR1)

    def freeze(self) -> None:
        """The broker neither answers nor closes until `thaw`."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.signal(signal.SIGCONT)

    @property
    def process(self) -> ManagedProcess:
        if self._process is None:
            raise AssertionError("the broker was not started")
        return self._process

    def log(self) -> str:
        return self.process.text()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.end()

    def _lines(self, users: Mapping[str, str] | None, acl: Sequence[str], settings: Sequence[str]) -> list[str]:
        lines = [
            f"user {pwd.getpwuid(os.getuid()).pw_name}",
            "per_listener_settings false",
            "persistence true",
            f"persistence_location {self.folder}/",
            "max_queued_messages 0",
            "log_dest stderr",
            *settings,
        ]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            secret = self.folder / "passwords"
            secret.touch(mode=0o600)
            secret.write_text("".join(f"{name}:{_hashed(password)}\n" for name, password in users.items()))
            lines += ["allow_anonymous false", f"password_file {secret}"]
        if acl:
            listed = self.folder / "acl"
            listed.write_text("\n".join(acl) + "\n")
            lines.append(f"acl_file {listed}")
        lines += [f"listener {self.port} 127.0.0.1"]
        lines += [
            f"listener {self.tls_port} 127.0.0.1",
            f"cafile {self.authority.ca_file}",
            f"crlfile {self.authority.crl_file}",
            f"certfile {self._server.cert_file}",
            f"keyfile {self._server.key_file}",
            "require_certificate true",
            "use_identity_as_username true" if users is None else "",
        ]
        return lines

    def _listens(self) -> bool:
        for port in (self.port, self.tls_port):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
        return True


def _hashed(password: str) -> str:
    """mosquitto's `$7$` entry: PBKDF2-HMAC-SHA512."""
    import base64
    import hashlib

    salt, rounds = os.urandom(12), 101
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=2))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def listening(link: Link, seconds: float = 30) -> None:
    """Until the broker has taken the link's subscriptions: it answers in order, so this answer comes after those."""
    wait_until(lambda: link.state.phase is Phase.ONLINE, seconds, "online")
    token = link.publish("listening", b"")
    wait_until(lambda: token.delivery, seconds, "the broker's answer")
    assert token.delivery is not None
    assert token.delivery.fate is Fate.ACKED
