"""The configuration: all mistakes at once, each with its place; secrets stay out of it and out of messages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.config import Config, load, parse_size, schema
from edge_agent.errors import ConfigError
from edge_agent.toml_file import ConfigFileError, read_secret

ROOT = Path(__file__).parent.parent
MINIMAL = """
site = "town"
node = "n1"
data = "data"
[[camera]]
id = "gate"
url = "rtsp://192.0.2.1/main"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "edge-agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(ConfigFileError) as raised:
        load(write(folder, text))
    return {mistake.place: f"{mistake.found} | {mistake.allowed}" for mistake in raised.value.mistakes}


def test_a_minimal_configuration_has_the_citys_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL))
    assert config.retention.days == 10
    assert config.archive_dir == tmp_path / "data" / "archive"
    assert not config.camera[0].audio
    assert config.audience == "town/n1"


def test_the_example_is_right_once_its_files_are_there(tmp_path: Path) -> None:
    text = (ROOT / "edge-agent.example.toml").read_text(encoding="utf-8")
    for name in re.findall(r'^\w+_file = "([^"/]+/[^"]+)"', text, re.MULTILINE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    config = load(write(tmp_path, text))
    assert config.camera[0].watch.zone[0].id == "door"
    assert [target.kind for target in config.target] == ["folder", "s3"]
    assert config.person[0].person().full_name == "Коваленко Олена Петрівна"


def test_every_mistake_is_told_with_its_place_in_one_go(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        site = "Bad Site"
        data = 5
        timezone = "Kyiv"
        nodes = "x"
        [archive]
        segment_s = "60"
        [retention]
        max_size = "lots"
        [[camera]]
        id = "a"
        url = "ftp://x"
        watchh = 1
        [camera.watch]
        fps = 99
        [[camera]]
        id = "a"
        url = "rtsp://x"
        password_file = "nowhere"
        [mqtt]
        host = "broker.example"
        tls = false
        [[target]]
        kind = "ftp"
        [[person]]
        id = "x"
        surname = ""
        name = "n"
        role = "boss"
        public_key = "zzz"
        """,
    )
    assert set(found) == {
        "site",
        "node",
        "data",
        "timezone",
        "nodes",
        "archive.segment_s",
        "retention.max_size",
        "camera 1 (a).url",
        "camera 1 (a).watchh",
        "camera 1 (a).watch.fps",
        "camera 2.id",
        "camera 2 (a).password_file",
        "mqtt",
        "target 1",
        "person 1 (x).surname",
        "person 1 (x).role",
        "person 1 (x).public_key",
    }
    assert "did you mean node" in found["nodes"]
    assert "did you mean watch" in found["camera 1 (a).watchh"]
    assert "archive_officer" in found["person 1 (x).role"]


def test_a_password_in_a_camera_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    found = mistakes(tmp_path, MINIMAL.replace("192.0.2.1", "admin:hunter2@192.0.2.1"))
    assert "password_file" in found["camera 1 (gate).url"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "rtsps://camera:322/main",
        "http://192.0.2.1:8080/video.cgi?fps=10",
        "https://camera/stream.ts",
        "v4l2:/dev/video0",
        "v4l2:/dev/v4l/by-id/usb-Maker_Camera-video-index0",
        "file:///srv/clip.mp4",
    ],
)
def test_a_camera_is_had_over_the_network_from_a_device_or_from_a_file(tmp_path: Path, url: str) -> None:
    assert load(write(tmp_path, MINIMAL.replace("rtsp://192.0.2.1/main", url))).camera[0].url == url


@pytest.mark.parametrize(
    "url",
    [
        "http:///path",
        "https://me:hunter2@camera/",
        "rtsp://me:hunt/er2@camera/",
        "v4l2:video0",
        "v4l2:/etc/passwd",
        "v4l2:/dev/../etc/passwd",
        "v4l2://host/dev/video0?x",
        "udp://239.0.0.1:5000",
        "/dev/video0",
    ],
)
def test_any_other_address_is_refused_with_the_allowed_ones(tmp_path: Path, url: str) -> None:
    told = mistakes(tmp_path, MINIMAL.replace("rtsp://192.0.2.1/main", url))["camera 1 (gate).url"]
    assert "v4l2:/dev/videoN" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "text", ["site = ", "\x00", "site = 1\nsite = 2", "[[camera]]\n" * 3, "camera = 1", "[camera]\nid = 1", "a" * 100]
)
def test_wrong_toml_is_told_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"edge-agent\.toml"):
        load(write(tmp_path, text))


def test_a_missing_or_binary_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "nowhere.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        load(tmp_path / "b.toml")


def test_a_credential_of_systemd_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gate").write_text("x\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    config = load(write(tmp_path, MINIMAL + 'password_file = "$CREDENTIALS_DIRECTORY/gate"\n'))
    assert config.camera[0].password_file == str(tmp_path / "gate")


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "s"
    secret.write_text("word\nmore\n")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(str(secret))
    secret.chmod(0o600)
    assert read_secret(str(secret)) == "word"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Config.model_fields, "x"]), inner),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(Config.model_fields)), values))
def test_any_table_is_a_configuration_or_a_list_of_mistakes(
    tmp_path_factory: pytest.TempPathFactory, raw: dict[str, object]
) -> None:
    lines = [f"{key} = {_toml(value)}" for key, value in raw.items() if value is not None]
    text = "\n".join(lines)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    told = _told(write(tmp_path_factory.mktemp("c"), text))
    assert told is None or "edge-agent.toml" in told


def _told(path: Path) -> str | None:
    try:
        load(path)
    except ConfigError as error:
        return str(error)
    return None


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items() if inner is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value if inner is not None) + "]"
    return f"'{value}'" if isinstance(value, str) else repr(value)


def test_sizes() -> None:
    assert parse_size("1.5 GB") == 1_500_000_000
    assert parse_size("2 GiB") == 2 << 30
    assert parse_size(7) == 7
    for wrong in ("lots", "-1 GB", -1, True, "1 PBs"):
        with pytest.raises(ValueError, match="a size"):
            parse_size(wrong)


def test_the_schema_names_every_section() -> None:
    assert {"archive", "camera", "mqtt", "person", "retention", "target"} <= set(schema()["properties"])


def test_a_path_in_the_folder_of_nobody_is_a_mistake(tmp_path: Path) -> None:
    for line in ('socket = "~no-such-user/agent.sock"\n', 'identity_file = "~no-such-user/x"\n'):
        assert "~no-such-user" in mistakes(tmp_path, line + MINIMAL)["a path"]
    assert "a path" in mistakes(tmp_path, MINIMAL + 'ca_file = "~no-such-user/ca.pem"\n')


def test_numbers_beyond_all_measure_are_mistakes(tmp_path: Path) -> None:
    found = mistakes(tmp_path, MINIMAL + f'[retention]\nmin_free = "{"9" * 400} GB"\n')
    assert "500 GB" in found["retention.min_free"]
    with pytest.raises(ConfigError, match="is not TOML"):
        load(write(tmp_path, MINIMAL + f"[retention]\ndays = {'9' * 5000}\n"))
