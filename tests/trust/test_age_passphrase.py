from __future__ import annotations

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.age_passphrase import MAGIC, seal, unseal

PHRASE = "кінь батарея скріпка"
SEALED = seal(b"AGE-SECRET-KEY-1", PHRASE, work=4)


def test_another_age_program_opens_what_is_sealed_and_the_other_way_round() -> None:
    assert SEALED.startswith(MAGIC)
    assert pyrage.passphrase.decrypt(SEALED, PHRASE) == b"AGE-SECRET-KEY-1"
    assert pyrage.passphrase.decrypt(seal(b"x", PHRASE), PHRASE) == b"x"
    assert unseal(pyrage.passphrase.encrypt(b"secret", PHRASE), PHRASE) == b"secret"


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(BadKeyError, match="this passphrase"):
        unseal(SEALED, PHRASE + " ")


def test_a_work_factor_beyond_the_memory_is_refused_unread() -> None:
    with pytest.raises(BadKeyError, match="work factor"):
        unseal(SEALED.replace(b" 4\n", b" 30\n", 1), PHRASE)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_or_cut_file_is_refused_in_words(data: st.DataObject) -> None:
    whole = bytearray(SEALED)
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[place:]
    else:
        whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadKeyError):
        unseal(bytes(whole), PHRASE)


@given(st.binary(max_size=300))
def test_nonsense_is_refused_in_words(content: bytes) -> None:
    for file in (content, MAGIC + b"v1\n" + content):
        with pytest.raises(BadKeyError):
            unseal(file, PHRASE)
