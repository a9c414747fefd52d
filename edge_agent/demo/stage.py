"""What the demonstration needs on disk before it begins: keys, two configurations, folders.  Nothing is overwritten."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edge_agent.errors import UsageError
from edge_agent.trust.age import Identity, load_identities
from edge_agent.trust.keys import create_key, load_key, public_key_of, write_secret_file
from edge_agent.trust.policy import Role

SITE, NODE, CAMERA, TARGET = "demo", "node-1", "street", "released"
OFFICER = "o-kovalenko"
SEGMENT_S = 15


@dataclass(frozen=True, slots=True)
class CameraChoice:
    """Whose pictures are recorded."""

    url: str
    sub_url: str | None = None
    username: str | None = None
    password: str | None = None

    @classmethod
    def of_url(cls, url: str) -> CameraChoice:
        """A newcomer's own camera; a login in the URL is taken out of it."""
        parts = urlsplit(url)
        if parts.scheme not in ("rtsp", "rtsps") or not parts.hostname:
            raise UsageError(f'--camera wants rtsp://[user:password@]host[:port]/path, not "{parts.scheme}://…"')
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        username = unquote(parts.username) if parts.username else None
        return cls(bare, None, username, unquote(parts.password) if parts.password else None)


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """Where alarms go."""

    host: str
    port: int

    @property
    def local(self) -> bool:
        return self.host in ("127.0.0.1", "localhost", "::1")

    @classmethod
    def of_text(cls, text: str) -> BrokerChoice:
        """`host` or `host:port`; plain MQTT on this machine, TLS elsewhere."""
        try:
            parts = urlsplit(f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or parts.username or parts.path or not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
            raise UsageError(f'--broker wants host or host:port, not "{text}"')
        return cls(host, port or (1883 if cls(host, 0).local else 8883))


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def agent_config(self) -> Path:
        return self.folder / "edge-agent.toml"

    @property
    def desk_config(self) -> Path:
        return self.folder / "edge-desk.toml"

    @property
    def released(self) -> Path:
        return self.folder / "released"

    @property
    def opened(self) -> Path:
        return self.folder / "opened"

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def officer_key(self) -> Path:
        return self.folder / "keys" / "officer.key"

    @property
    def recipient_key(self) -> Path:
        return self.folder / "keys" / "recipient.age"

    def recipient(self) -> Identity:
        return load_identities(self.recipient_key)[0]

    def set(self, camera: CameraChoice, broker: BrokerChoice, language: str) -> None:
        """Make folders and keys where there are none, and the configurations anew."""
        for folder in (self.folder, self.folder / "keys", self.released, self.opened, self.pictures):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.officer_key.exists():
            create_key(self.officer_key)
        if not self.recipient_key.exists():
            identity = Identity.generate()
            write_secret_file(self.recipient_key, f"# public key: {identity.recipient}\n{identity}\n".encode())
        password = self.folder / "keys" / "camera.password"
        password.unlink(missing_ok=True)
        if camera.password:
            write_secret_file(password, camera.password.encode() + b"\n")
        self.agent_config.write_text(self._agent_toml(camera, broker, language), encoding="utf-8")
        self.desk_config.write_text(self._desk_toml(broker, language), encoding="utf-8")

    def _agent_toml(self, camera: CameraChoice, broker: BrokerChoice, language: str) -> str:
        login = f"username = {_quoted(camera.username)}\n" if camera.username else ""
        login += 'password_file = "keys/camera.password"\n' if camera.password else ""
        sub = f"sub_url = {_quoted(camera.sub_url)}\n" if camera.sub_url else ""
        return f"""# Written by the demonstration; edge-agent.example.toml explains every key.
site = "{SITE}"
node = "{NODE}"
data = "data"
language = "{language}"

[archive]
segment_s = {SEGMENT_S}

[retention]
days = 10
max_size = "2 GB"
min_free = "500 MB"

[[camera]]
id = "{CAMERA}"
name = "{"Вулиця" if language == "uk" else "Street"}"
url = {_quoted(camera.url)}
{sub}{login}
{_mqtt_toml(broker)}
[[target]]
kind = "folder"
name = "{TARGET}"
path = "released"

[[person]]
id = "{OFFICER}"
surname = "Коваленко"
name = "Олена"
patronymic = "Петрівна"
role = "{Role.ARCHIVE_OFFICER}"
public_key = "{public_key_of(load_key(self.officer_key))}"
"""

    def _desk_toml(self, broker: BrokerChoice, language: str) -> str:
        return f"""# Written by the demonstration: the desk of an archive officer.
person = "{OFFICER}"
key_file = "keys/officer.key"
identity_file = "keys/recipient.age"
site = "{SITE}"
language = "{language}"
state_dir = "desk-state"

{_mqtt_toml(broker)}"""


def _mqtt_toml(broker: BrokerChoice) -> str:
    tls = "true" if not broker.local else "false  # allowed on this machine only"
    return f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\ntls = {tls}\n'


def _quoted(text: str | None) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's."""
    return json.dumps(text or "", ensure_ascii=False).replace("\x7f", "\\u007f")
