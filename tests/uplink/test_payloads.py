"""Payloads: every example of the documentation is valid, and no broker's garbage is more than a ValueError."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.model import Alarm, AlarmNature, AlarmPhase, Box, CameraId
from edge_agent.trust.reply import opened
from edge_agent.uplink import payloads
from edge_agent.uplink.incident_payloads import TYPES as INCIDENT_TYPES
from edge_agent.uplink.payloads import (
    MAX_JSON_BYTES,
    AlarmMessage,
    Health,
    Reply,
    Status,
    alarm_message,
    decode,
    encode,
    iso,
    schema,
)
from edge_agent.uplink.payloads import TYPES as OTHER_TYPES
from edge_agent.uplink.topics import TopicKind, Topics, parse

TYPES = OTHER_TYPES | INCIDENT_TYPES
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "mqtt.md"
EXAMPLE = re.compile(r"^`(edge/[^`\n]+)`\n+```json\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in EXAMPLE.finditer(DOCUMENT.read_text())]


def test_the_documentation_has_an_example_of_every_payload() -> None:
    assert {parse(topic).kind for topic, _ in examples()} == {TopicKind(name) for name in TYPES}


@pytest.mark.parametrize(("topic", "text"), examples(), ids=lambda value: value[:40].split("{")[0] or "json")
def test_every_example_of_the_documentation_is_valid_to_the_letter(topic: str, text: str) -> None:
    kind = parse(topic).kind.value
    message = decode(TYPES[kind], text.encode())
    assert json.loads(encode(message)) == json.loads(text)
    jsonschema.validate(json.loads(text), schema(TYPES)[kind])


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_garbage_is_a_value_error_and_nothing_else(garbage: bytes) -> None:
    for kind in TYPES.values():
        with pytest.raises(ValueError, match=kind.__name__) as caught:
            decode(kind, garbage)
        assert len(str(caught.value)) < 700
        assert str(caught.value).isprintable()


def test_the_documentations_reply_is_signed_as_it_says() -> None:
    (text,) = (text for topic, text in examples() if "/reply/" in topic)
    compact = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode()
    body, key = opened(compact)
    assert str(key) == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert decode(Reply, body).model_dump_json(exclude={"signature"}).encode() == body


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"at_us": -1},
        {"at_us": 10**18},
        {"request_id": "a/b"},
        {"request_id": "x" * 65},
        {"code": "Not a code"},
        {"progress": 1.5},
        {"words": {"uk": "a", "en": "b\x1b[2J"}},
        {"words": {"uk": "a", "en": "b" * 501}},
        {"words": {"uk": "a"}},
        {"state": "sure"},
        {"result": {str(n): n for n in range(65)}},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_reply_that_breaks_the_rules_is_refused(change: dict[str, object]) -> None:
    good = {"v": 1, "at_us": 1, "request_id": "r1", "state": "done", "code": "ok", "words": {"uk": "a", "en": "b"}}
    decode(Reply, json.dumps(good).encode())
    with pytest.raises(ValueError, match="Reply"):
        decode(Reply, json.dumps({**good, **change}).encode())


@pytest.mark.parametrize("payload", [b"[" * 100_000, b'{"a":' * 50_000, b" " * (MAX_JSON_BYTES + 1), b'{"at_us":NaN}'])
def test_deep_and_large_payloads_are_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="Health"):
        decode(Health, payload)


def test_a_newer_nodes_additional_keys_are_passed_over() -> None:
    status = decode(Status, b'{"v":1,"at_us":1,"at":"lies","state":"online","version":"9","more":[1]}')
    assert status.at == "1970-01-01T00:00:00.000001Z"


@given(
    st.floats(-0.5, 1.5),
    st.floats(-360, 720) | st.none(),
    st.text(max_size=600),
    st.sampled_from(AlarmPhase),
    st.sampled_from(AlarmNature),
    st.integers(0, 4 * 10**15),
)
def test_any_alarm_becomes_a_valid_message(
    part: float, direction: float | None, name: str, phase: AlarmPhase, nature: AlarmNature, at_us: int
) -> None:
    box = Box(part, 0.25, 0.5, part)
    alarm = Alarm("01-a", CameraId("gate"), nature, phase, at_us, at_us, "yard", box, direction, b"jpeg")
    message = alarm_message(alarm, Topics("melitopol", "node-1"), name, name)
    assert decode(AlarmMessage, encode(message)) == message
    assert message.picture_topic == "edge/melitopol/node-1/alarm/gate/01-a/picture"
    assert len(encode(message)) < 8000


def test_an_alarm_says_nature_place_and_direction_in_both_languages() -> None:
    alarm = Alarm("a", CameraId("gate"), AlarmNature.MOTION, AlarmPhase.START, 1, 1, "yard", None, 92.0)
    message = alarm_message(alarm, Topics("s", "n"), "Ворота", "Двір")
    assert message.text.uk == "Рух: Ворота, зона «Двір», рухається праворуч"
    assert message.text.en == "Motion: Ворота, zone “Двір”, moving to the right"
    assert message.message_id == alarm_message(alarm, Topics("s", "n"), "Ворота", "Двір").message_id


def test_iso_times_keep_their_microseconds() -> None:
    assert iso(1_795_356_309_000_001) == "2026-11-22T14:05:09.000001Z"
    assert iso(payloads._LAST_US) == "9999-12-31T23:59:59.999999Z"


def test_a_cameras_clock_that_is_off_or_was_set_is_told_in_words_of_two_languages() -> None:
    assert payloads.camera_clock_words(None, None) is None
    assert payloads.camera_clock_words(-4.9, None) is None
    ahead = payloads.camera_clock_words(10_805.2, 10_800.0)
    assert ahead is not None
    assert "3 hours ahead of the node's" in ahead.en
    assert "поспішає на 3 год" in ahead.uk
    behind = payloads.camera_clock_words(-26 * 365.25 * 86_400, None)
    assert behind is not None
    assert "9496 days behind the node's" in behind.en
    was_set = payloads.camera_clock_words(0.1, -90.0)
    assert was_set is not None
    assert was_set.en == "The camera's clock was just set back by 90 seconds"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_reply_whose_result_holds_no_number_is_refused(number: str) -> None:
    good = (
        b'{"at_us":1,"request_id":"r","state":"done","code":"x","words":{"uk":"a","en":"b"},"result":{"a":[{"b":1.5}]}}'
    )
    reply = decode(Reply, good)
    assert decode(Reply, encode(reply)) == reply
    with pytest.raises(ValueError, match="result"):
        decode(Reply, good.replace(b"1.5", number.encode()))
