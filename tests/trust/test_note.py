"""Signed notes, checkpoints and cosignatures: the examples of their specifications, and what must not be believed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.trust.age_keys import BadKeyError
from edge_agent.trust.checkpoint import (
    Checkpoint,
    Verdict,
    cosign,
    cosignatures,
    judge,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from edge_agent.trust.keys import public_key_of
from edge_agent.trust.merkle import consistency, inclusion, leaf_hash, root
from edge_agent.trust.note import BadNoteError, NoteKey, SignatureKind, parse_note, parse_note_key, sign_note
from edge_agent.trust.tlog_proof import TlogProof, parse_proof
from tests.trust.rfc6962 import signed_text

# The example of c2sp.org/signed-note, «Example».
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
# The example of c2sp.org/tlog-cosignature (its keys are not published).
SPEC_COSIGNED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501
ORIGIN = "edge-agent/melitopol/node-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NODE = NoteKey(ORIGIN, public_key_of(KEY))
CHECKPOINT = Checkpoint(ORIGIN, 17, leaf_hash(b"any"))
SIGNED = str(sign_checkpoint(CHECKPOINT, KEY))


def test_the_specifications_example_note_verifies() -> None:
    key = parse_note_key(SPEC_KEY)
    note = parse_note(SPEC_NOTE)
    note.require(key)
    assert (note.text, str(note), str(key)) == ("This is an example message.\n", SPEC_NOTE, SPEC_KEY)


def test_the_second_opinion_takes_the_specifications_example_too() -> None:
    raw = base64.b64decode(SPEC_KEY.split("+", 2)[2])[1:]
    assert signed_text(SPEC_NOTE, "example.com/foo", raw) == "This is an example message.\n"
    with pytest.raises(AssertionError):
        signed_text(SPEC_NOTE.replace("example message", "example massage"), "example.com/foo", raw)


def test_the_specifications_cosigned_checkpoint_is_read() -> None:
    note = parse_note(SPEC_COSIGNED)
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert str(note) == SPEC_COSIGNED
    assert int.from_bytes(note.signatures[1].raw[:8], "big") == 1679315147


def test_a_cosigned_message_is_the_specifications() -> None:
    note = cosign(parse_note(SPEC_COSIGNED), "witness.example.com/w2", OTHER, 1679315147)
    message = b"cosignature/v1\ntime 1679315147\n" + note.text.encode()
    OTHER.public_key().verify(note.signatures[-1].raw[8:], message)


def test_a_checkpoint_is_believed_under_its_nodes_key_alone() -> None:
    assert open_checkpoint(SIGNED, NODE) == CHECKPOINT
    assert signed_text(SIGNED, ORIGIN, NODE.public.raw) == CHECKPOINT.text
    for wrong in (NoteKey(ORIGIN, public_key_of(OTHER)), NoteKey(ORIGIN + "7", public_key_of(KEY))):
        with pytest.raises(BadNoteError, match="not signed by"):
            open_checkpoint(SIGNED, wrong)
    with pytest.raises(BadNoteError, match="a checkpoint of elsewhere"):
        open_checkpoint(sign_note(f"elsewhere\n17\n{SIGNED.splitlines()[2]}\n", ORIGIN, KEY), NODE)


@given(st.integers(0, len(SIGNED.encode()) - 1), st.integers(1, 255))
def test_a_checkpoint_with_any_byte_changed_is_refused(at: int, change: int) -> None:
    changed = bytearray(SIGNED.encode())
    changed[at] ^= change
    with pytest.raises(BadNoteError):
        open_checkpoint(bytes(changed), NODE)


@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"{text}\n\n— a b\n".encode("utf-8", "replace"))
)
def test_garbage_is_no_note_no_checkpoint_and_no_proof(garbage: bytes) -> None:
    with pytest.raises(BadNoteError):
        open_checkpoint(garbage, NODE)
    with pytest.raises(BadNoteError):
        parse_proof(garbage).verify(b"", NODE)


@pytest.mark.parametrize(
    "text",
    ["", "a\n", "a\n1\n", "a\n01\nAA==\n", "a\n-1\nAA==\n", "a\n1\nAA==\n", "a\n1\n!\n", f"a\n{'9' * 30}\nAA==\n",
     "\n1\n" + "A" * 43 + "=\n", "a\n1\n" + "A" * 42 + "B=\n", "a\n１\n" + "A" * 43 + "=\n"],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNoteError, match="checkpoint"):
        parse_checkpoint(text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a+b", "a+00000000+", "a+00000000+AQ==", f"a+00000000+{'A' * 44}", SPEC_KEY.replace("530d", "530e"),
     SPEC_KEY.replace("foo", "f oo"), SPEC_KEY + "=", SPEC_KEY.replace("+Aeky", "+Beky")],
)  # fmt: skip
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(BadKeyError):
        parse_note_key(text)


def test_a_verifier_key_reads_as_it_is_written() -> None:
    for kind in SignatureKind:
        key = NoteKey(ORIGIN, public_key_of(KEY), kind)
        assert parse_note_key(str(key)) == key


def test_a_cosignature_tells_its_witness_and_time_and_fits_no_other_checkpoint() -> None:
    witness = NoteKey("desk/o-shevchenko", public_key_of(OTHER), SignatureKind.COSIGNATURE)
    note = cosign(parse_note(SIGNED), witness.name, OTHER, 1_790_000_000)
    (found,) = cosignatures(parse_note(str(note)), [witness])
    assert (found.witness, found.time_s) == (witness, 1_790_000_000)
    assert open_checkpoint(note, NODE) == CHECKPOINT
    assert cosignatures(parse_note(SIGNED), [witness]) == []
    assert len(cosign(note, witness.name, OTHER, 1_790_000_001).signatures) == 2
    longer = sign_checkpoint(Checkpoint(ORIGIN, 18, CHECKPOINT.root), KEY)
    with pytest.raises(BadNoteError, match="does not fit"):
        cosignatures(longer.plus(note.signatures[1]), [witness])


def test_a_nodes_own_signature_is_no_cosignature_nor_the_other_way() -> None:
    own = NoteKey(ORIGIN, public_key_of(KEY), SignatureKind.COSIGNATURE)
    assert cosignatures(parse_note(SIGNED), [own]) == []
    cosigned_only = cosign(parse_note(SIGNED), ORIGIN, KEY, 5)
    with pytest.raises(BadNoteError, match="not signed by"):
        open_checkpoint(parse_note(f"{cosigned_only.text}\n{cosigned_only.signatures[1]}"), NODE)


def test_a_signature_with_bytes_too_many_is_refused() -> None:
    head, encoded = SIGNED.rstrip("\n").rsplit(" ", 1)
    longer = base64.b64encode(base64.b64decode(encoded)[:4] + b"\0" + base64.b64decode(encoded)[4:]).decode()
    with pytest.raises(BadNoteError, match="65 bytes"):
        open_checkpoint(f"{head} {longer}\n", NODE)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 39))
def test_a_later_checkpoint_is_judged_by_what_it_proves(first: int, second: int, changed: int) -> None:
    tree = [leaf_hash(bytes([n])) for n in range(40)]
    forged = [leaf_hash(b"forged") if n == changed else leaf for n, leaf in enumerate(tree)]
    earlier = Checkpoint(ORIGIN, first, root(tree[:first]))

    def verdict(leaves: list[bytes]) -> Verdict:
        later = Checkpoint(ORIGIN, len(leaves), root(leaves))
        return judge(earlier, later, consistency(leaves, first) if first <= len(leaves) else [])

    if second < first:
        assert verdict(tree[:second]) is Verdict.SHORTENED
        return
    assert verdict(tree[:second]) is (Verdict.SAME if second == first else Verdict.GROWN)
    if changed < first:
        assert verdict(forged[:second]) is (Verdict.FORKED if second == first else Verdict.REWRITTEN)
    assert judge(earlier, Checkpoint("other", second, earlier.root), []) is Verdict.ANOTHER


@given(st.integers(1, 40), st.data())
def test_a_proof_is_read_as_it_is_written_and_proves_one_line_only(size: int, data: st.DataObject) -> None:
    lines = [b"line %d" % n for n in range(size)]
    tree = [leaf_hash(line) for line in lines]
    index = data.draw(st.integers(0, size - 1))
    note = sign_checkpoint(Checkpoint(ORIGIN, size, root(tree)), KEY)
    extra = data.draw(st.none() | st.binary(max_size=20))
    proof = parse_proof(str(TlogProof(index, tuple(inclusion(tree, index)), note, extra)))
    assert proof.extra == extra
    assert proof.verify(lines[index], NODE).size == size
    for other in {b"another", *lines} - {lines[index]}:
        with pytest.raises(BadNoteError, match="is not number"):
            proof.verify(other, NODE)
