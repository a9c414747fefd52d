"""Topics: what is built is parsed back, and nothing can reach into another node's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.topics import Address, TopicKind, Topics, parse, subscription

slugs = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)


@given(slugs, slugs, slugs, ids)
def test_every_topic_is_parsed_back_into_what_it_was_built_of(site: str, node: str, camera: str, some_id: str) -> None:
    topics = Topics(site, node)
    built = {
        topics.status: Address(TopicKind.STATUS, site, node),
        topics.health: Address(TopicKind.HEALTH, site, node),
        topics.command: Address(TopicKind.COMMAND, site, node),
        topics.camera(camera): Address(TopicKind.CAMERA, site, node, camera=camera),
        topics.node_alarm: Address(TopicKind.NODE_ALARM, site, node),
        topics.alarm(camera): Address(TopicKind.ALARM, site, node, camera=camera),
        topics.picture(camera, some_id): Address(TopicKind.PICTURE, site, node, camera=camera, alarm_id=some_id),
        topics.reply(some_id): Address(TopicKind.REPLY, site, node, request_id=some_id),
    }
    for topic, address in built.items():
        assert parse(topic) == address


@given(st.text(max_size=80))
def test_any_other_text_is_refused_or_is_a_topic_that_is_built_the_same(text: str) -> None:
    for topic in (text, f"edge/a/b/{text}", f"edge/a/b/alarm/{text}"):
        try:
            address = parse(topic)
        except ValueError:
            continue
        assert topic.startswith(Topics(address.site, address.node).base)
        assert not set(topic) & set("+#\0\n ")


@pytest.mark.parametrize("bad", ["", "+", "#", "a/b", "A", "a b", "a\n", "-a", "а", "a" * 33, "a\0"])
def test_no_name_smuggles_a_level_or_a_wildcard_in(bad: str) -> None:
    topics = Topics("melitopol", "node-1")
    with pytest.raises(ValueError, match="not the name"):
        Topics(bad, "n")
    with pytest.raises(ValueError, match="not the name"):
        topics.alarm(bad)
    for build in (topics.reply, lambda text: topics.picture("c", text)):
        if bad not in ("A", "a" * 33):
            with pytest.raises(ValueError, match="not the id"):
                build(bad)
    if bad:
        with pytest.raises(ValueError, match="not the name"):
            subscription(TopicKind.ALARM, bad)


def test_subscriptions_match_what_is_built() -> None:
    assert subscription(TopicKind.STATUS) == "edge/+/+/status"
    assert subscription(TopicKind.REPLY, "s", "n") == "edge/s/n/reply/+"
    assert subscription(TopicKind.PICTURE, "s") == "edge/s/+/alarm/+/+/picture"
