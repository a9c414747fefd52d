from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import ArchiveError, ConfigError, UsageError
from edge_agent.trust.age import (
    AgeReader,
    AgeWriter,
    BadKeyError,
    Identity,
    NoIdentityError,
    Recipient,
    load_identities,
    open_file,
)
from tests.trust.support import CHUNK, Forge, b64, header_bytes, pipe, read_all, sealed

ME = Identity(bytes(range(1, 33)))
OTHER = Identity(bytes(range(33, 65)))
SEALED_CHUNK = CHUNK + 16
THREE = bytes(range(256)) * 512 + b"the third chunk is short"
"""Two whole chunks and a short one."""
THREE_SEALED = sealed(THREE, [ME.recipient])
THREE_START = header_bytes(THREE_SEALED)

around_chunks = st.integers(0, 3).flatmap(
    lambda chunks: st.integers(-2, 2).map(lambda more: max(0, chunks * CHUNK + more))
)


def flipped(content: bytes, place: int) -> bytes:
    """One bit of one byte changed."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def filled(size: int) -> bytes:
    return (b"sixteen letters." * (size // 16 + 1))[:size]


@settings(max_examples=60, deadline=None)
@given(around_chunks, st.lists(st.integers(0, 2 * CHUNK), max_size=4))
def test_what_is_sealed_in_any_pieces_opens_to_the_same_bytes(size: int, pieces: list[int]) -> None:
    plain = filled(size)
    file = sealed(plain, [OTHER.recipient, ME.recipient], pieces)
    for source in (io.BytesIO(file), pipe(file)):
        reader = AgeReader(source, [ME])
        assert read_all(reader) == plain
        assert not reader.torn
    assert AgeReader(io.BytesIO(file), [ME]).payload_size() == size


@given(st.lists(around_chunks, max_size=4))
def test_pieces_given_together_are_sealed_as_if_they_came_one_by_one(sizes: list[int]) -> None:
    pieces = [filled(size) for size in sizes]
    together, apart = io.BytesIO(), io.BytesIO()
    one, other = AgeWriter(together, [ME.recipient]), AgeWriter(apart, [ME.recipient])
    one.writelines(pieces)
    for piece in pieces:
        other.write(piece)
    assert one.tell() == other.tell() == sum(sizes)
    assert len(together.getvalue()) == len(apart.getvalue())
    one.finish()
    assert read_all(AgeReader(io.BytesIO(together.getvalue()), [ME])) == b"".join(pieces)


def test_a_full_chunk_is_sealed_only_when_more_follows_so_that_the_last_is_never_empty() -> None:
    out = io.BytesIO()
    writer = AgeWriter(out, [ME.recipient])
    before = len(out.getvalue())
    writer.write(bytes(CHUNK))
    assert len(out.getvalue()) == before
    writer.write(b"!")
    assert len(out.getvalue()) == before + SEALED_CHUNK
    assert writer.tell() == CHUNK + 1
    writer.finish()
    writer.finish()
    assert len(out.getvalue()) == before + SEALED_CHUNK + 17
    with pytest.raises(ArchiveError, match="finished"):
        writer.write(b"late")


def test_writer_takes_any_bytes_object_and_says_what_it_can() -> None:
    out = io.BytesIO()
    writer = AgeWriter(out, [ME.recipient])
    assert [writer.write(b"a"), writer.write(bytearray(b"bc")), writer.write(memoryview(b"def"))] == [1, 2, 3]
    writer.flush()
    assert (writer.readable(), writer.writable(), writer.seekable()) == (False, True, False)
    writer.finish()
    assert not out.closed
    assert read_all(AgeReader(io.BytesIO(out.getvalue()), [ME])) == b"abcdef"


def test_writer_keeps_nothing_of_a_buffer_that_its_owner_uses_again() -> None:
    out = io.BytesIO()
    writer = AgeWriter(out, [ME.recipient])
    buffer = bytearray(b"x" * (CHUNK + 5))
    writer.write(buffer)
    buffer[:] = b"y" * len(buffer)
    writer.finish()
    assert read_all(AgeReader(io.BytesIO(out.getvalue()), [ME])) == b"x" * (CHUNK + 5)


def test_a_sink_that_takes_less_than_given_gets_all() -> None:
    taken = bytearray()

    class Narrow:
        def write(self, data: bytes, /) -> int:
            taken.extend(data[:1000])
            return min(len(data), 1000)

    writer = AgeWriter(Narrow(), [ME.recipient])
    writer.write(THREE)
    writer.finish()
    assert read_all(AgeReader(io.BytesIO(taken), [ME])) == THREE


def test_after_a_failed_write_nothing_follows_and_the_file_is_torn_not_damaged() -> None:
    taken = bytearray()

    class Full:
        def write(self, data: bytes, /) -> int:
            room = SEALED_CHUNK + 1000 - len(taken)
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken.extend(data[:room])
            return min(len(data), room)

    writer = AgeWriter(Full(), [ME.recipient])
    with pytest.raises(OSError, match="No space left"):
        writer.write(THREE)
    with pytest.raises(ArchiveError, match="begin a new one"):
        writer.write(b"more")
    with pytest.raises(ArchiveError, match="begin a new one"):
        writer.finish()
    reader = AgeReader(io.BytesIO(taken), [ME])
    assert read_all(reader) == THREE[:CHUNK]
    assert reader.torn


def test_a_file_needs_a_recipient() -> None:
    with pytest.raises(ValueError, match="recipient"):
        AgeWriter(io.BytesIO(), [])


def test_reader_reads_any_place_as_a_file_would() -> None:
    plain, reader = io.BytesIO(THREE), AgeReader(io.BytesIO(THREE_SEALED), [ME])
    for offset, whence, size in [
        (CHUNK - 3, 0, 10),
        (5, 1, 7),
        (-4, 2, 100),
        (0, 0, CHUNK + 1),
        (2 * CHUNK, 0, 3),
        (10 * CHUNK, 0, 3),
        (-CHUNK, 2, 2 * CHUNK),
    ]:
        assert reader.seek(offset, whence) == plain.seek(offset, whence)
        assert reader.read(size) == plain.read(size)
        assert reader.tell() == plain.tell()
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(THREE) + 10), st.integers(0, 2 * CHUNK)), max_size=8))
def test_reader_and_plain_file_agree_at_any_places(places: list[tuple[int, int]]) -> None:
    plain, reader = io.BytesIO(THREE), AgeReader(io.BytesIO(THREE_SEALED), [ME])
    for offset, size in places:
        plain.seek(offset)
        reader.seek(offset)
        assert reader.read(size) == plain.read(size)


def test_reader_begins_where_its_source_stands() -> None:
    source = io.BytesIO(b"leading" + THREE_SEALED)
    source.seek(7)
    reader = AgeReader(source, [ME])
    assert reader.payload_size() == len(THREE)
    assert read_all(reader) == THREE


def test_a_stream_has_no_size_and_no_other_place() -> None:
    reader = AgeReader(pipe(THREE_SEALED), [ME])
    with pytest.raises(io.UnsupportedOperation):
        reader.seek(1)
    with pytest.raises(io.UnsupportedOperation):
        reader.payload_size()


def test_a_file_still_being_written_is_read_as_far_as_it_reached() -> None:
    file = io.BytesIO(THREE_SEALED[: THREE_START + SEALED_CHUNK + 100])
    reader = AgeReader(file, [ME])
    file.seek(0, io.SEEK_END)
    file.write(THREE_SEALED[len(file.getvalue()) :])
    assert reader.payload_size() == CHUNK
    assert read_all(reader) == THREE[:CHUNK]
    assert reader.torn


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.integers(0, len(THREE_SEALED) - 1),
        st.integers(0, THREE_START + 40),
        st.tuples(st.integers(0, 2), st.integers(-20, 20)).map(lambda at: THREE_START + at[0] * SEALED_CHUNK + at[1]),
    )
)
def test_every_truncation_gives_whole_chunks_and_says_torn(length: int) -> None:
    cut = THREE_SEALED[:length]
    for source in (io.BytesIO(cut), pipe(cut)):
        try:
            reader = AgeReader(source, [ME])
        except ArchiveError:
            assert length < THREE_START - 16, "only a cut within the header leaves nothing to read"
            continue
        whole = max(0, length - THREE_START) // SEALED_CHUNK
        assert read_all(reader) == THREE[: whole * CHUNK]
        assert reader.torn
    if length >= THREE_START - 16:
        reader = AgeReader(io.BytesIO(cut), [ME])
        assert reader.payload_size() == whole * CHUNK
        assert reader.torn


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.integers(0, len(THREE_SEALED) - 1), st.integers(0, THREE_START)), st.integers(0, 7))
def test_every_flipped_bit_is_noticed_and_nothing_after_it_is_given(place: int, bit: int) -> None:
    file = bytearray(THREE_SEALED)
    file[place] ^= 1 << bit
    for source in (io.BytesIO(file), pipe(bytes(file))):
        got = bytearray()
        reader = None
        try:
            reader = AgeReader(source, [ME])
            while piece := reader.read(10_000):
                got += piece
        except ArchiveError:
            noticed = True
        else:
            noticed = reader.torn
        assert noticed
        assert bytes(got) == THREE[: max(0, place - THREE_START) // SEALED_CHUNK * CHUNK]


def test_damage_in_the_middle_is_told_with_its_place_and_the_rest_can_be_read() -> None:
    file = bytearray(THREE_SEALED)
    file[THREE_START + SEALED_CHUNK + 5] ^= 1
    reader = AgeReader(io.BytesIO(file), [ME])
    assert reader.read(CHUNK + 1) == THREE[:CHUNK]
    for _ in range(2):
        with pytest.raises(ArchiveError, match=f"damaged from byte {THREE_START + SEALED_CHUNK}"):
            reader.read(1)
    assert not reader.torn
    reader.seek(2 * CHUNK)
    assert reader.read(100) == THREE[2 * CHUNK :]


@pytest.mark.parametrize("zeros_from", [THREE_START, THREE_START + 4096, THREE_START + SEALED_CHUNK + 8192])
def test_a_tail_of_zeros_that_a_power_cut_leaves_is_a_tear(zeros_from: int) -> None:
    file = THREE_SEALED[:zeros_from] + bytes(3 * SEALED_CHUNK + 77)
    whole = (zeros_from - THREE_START) // SEALED_CHUNK * CHUNK
    for source in (io.BytesIO(file), pipe(file)):
        reader = AgeReader(source, [ME])
        assert read_all(reader) == THREE[:whole]
        assert reader.torn
    assert AgeReader(io.BytesIO(file), [ME]).payload_size() == whole


@pytest.mark.parametrize("place", [0, CHUNK, SEALED_CHUNK - 1])
def test_a_whole_last_chunk_that_was_changed_is_damage_not_a_tear(place: int) -> None:
    file = bytearray(sealed(filled(CHUNK), [ME.recipient]))
    file[-SEALED_CHUNK + place] ^= 1
    for source in (io.BytesIO(file), pipe(bytes(file))):
        with pytest.raises(ArchiveError, match="damaged"):
            AgeReader(source, [ME]).read(1)


def test_a_hole_of_zeros_with_more_behind_it_is_damage() -> None:
    file = bytearray(THREE_SEALED)
    file[THREE_START + 60_000 : THREE_START + SEALED_CHUNK] = bytes(SEALED_CHUNK - 60_000)
    for source in (io.BytesIO(file), pipe(bytes(file))):
        with pytest.raises(ArchiveError, match="damaged"):
            AgeReader(source, [ME]).read(1)


@pytest.mark.parametrize("added", [1, 100, CHUNK, 2 * CHUNK])
@pytest.mark.parametrize("size", [CHUNK, 2 * CHUNK])
def test_bytes_added_after_a_full_end_are_damage(size: int, added: int) -> None:
    plain = filled(size)
    file = sealed(plain, [ME.recipient]) + b"a" * added
    for source in (io.BytesIO(file), pipe(file)):
        reader = AgeReader(source, [ME])
        assert reader.read(size) == plain
        with pytest.raises(ArchiveError, match="added after its end"):
            reader.read(1)


@pytest.mark.parametrize("added", [1, CHUNK])
def test_bytes_added_after_a_short_end_never_pass(added: int) -> None:
    reader = AgeReader(io.BytesIO(sealed(b"short", [ME.recipient]) + b"a" * added), [ME])
    if added < CHUNK:
        assert reader.read(1) == b""
        assert reader.torn
    else:
        with pytest.raises(ArchiveError, match="damaged"):
            reader.read(1)


def test_chunks_cannot_be_dropped_or_exchanged() -> None:
    head, body = THREE_SEALED[:THREE_START], THREE_SEALED[THREE_START:]
    first, second, third = body[:SEALED_CHUNK], body[SEALED_CHUNK : 2 * SEALED_CHUNK], body[2 * SEALED_CHUNK :]
    for forged in (second + third, second + first + third):
        with pytest.raises(ArchiveError, match="damaged"):
            AgeReader(io.BytesIO(head + forged), [ME]).read(1)
    reader = AgeReader(io.BytesIO(head + first + third), [ME])
    assert read_all(reader) == THREE[:CHUNK]
    assert reader.torn


def test_an_empty_last_chunk_after_others_is_refused_and_an_empty_file_is_fine() -> None:
    forge = Forge(ME)
    reader = AgeReader(io.BytesIO(forge.file(forge.chunk(0, b"", final=True))), [ME])
    assert read_all(reader) == b""
    assert not reader.torn
    bad = forge.file(forge.chunk(0, bytes(CHUNK), final=False), forge.chunk(1, b"", final=True))
    reader = AgeReader(io.BytesIO(bad), [ME])
    with pytest.raises(ArchiveError, match="last chunk is empty"):
        read_all(reader)


def test_a_short_chunk_that_is_not_final_counts_as_torn() -> None:
    forge = Forge(ME)
    reader = AgeReader(io.BytesIO(forge.file(forge.chunk(0, b"short", final=False))), [ME])
    assert read_all(reader) == b""
    assert reader.torn


def test_stanzas_of_other_kinds_are_passed_over() -> None:
    forge = Forge(ME)
    grease = b"-> example.com/grease with ~arguments!\n" + b"A" * 64 + b"\n\n"
    header = forge.header(grease, Forge(OTHER).stanza(), forge.stanza(), b"-> x25519 lower\n\n")
    reader = AgeReader(io.BytesIO(forge.file(forge.chunk(0, b"found", final=True), header=header)), [OTHER, ME][::-1])
    assert reader.read(9) == b"found"


def test_a_file_for_somebody_else_is_told_apart() -> None:
    forge = Forge(ME)
    for header in (forge.header(), forge.header(b"-> scrypt bA 10\n" + b64(bytes(32)) + b"\n")):
        with pytest.raises(NoIdentityError, match="somebody else"):
            AgeReader(io.BytesIO(header + bytes(16)), [OTHER])
    with pytest.raises(NoIdentityError):
        AgeReader(io.BytesIO(forge.header()), [])


FORGE = Forge(ME)
STANZA = FORGE.stanza()
SHARE = b64(FORGE.ephemeral.public_key().public_bytes_raw())


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "ends within its header"),
        (b"\x00\x01 no text at all", "ends within"),
        (b"something else\n", "doesn't begin as one"),
        (FORGE.header(version=b"v2"), "later version"),
        (FORGE.header().replace(b"v1\n", b"v1\r\n", 1), "later version"),
        (FORGE.header(b"--- \n"), "recipients"),
        (FORGE.header(mac=b64(bytes(32))), "altered"),
        (FORGE.header(mac=b64(bytes(31))), "MAC"),
        (FORGE.header(mac=b64(bytes(32)) + b"="), "base64"),
        (FORGE.header(mac=b64(bytes(32))[:-1] + b"B"), "base64"),
        (FORGE.header(mac=b" " + b64(bytes(32))), "base64"),
        (FORGE.header(b"->X25519\n" + STANZA), "begin"),
        (FORGE.header(b"-> X25519  double\n\n" + STANZA), "begin"),
        (FORGE.header(b"-> caf\xc3\xa9\n\n" + STANZA), "begin"),
        (FORGE.header(b"-> long\n" + b"A" * 65 + b"\n" + STANZA), "too long"),
        (FORGE.header(b"-> unended\n" + b"A" * 64 + b"\n" + STANZA), "base64"),
        (FORGE.header(b"-> padded\nAA==\n" + STANZA), "base64"),
        (FORGE.header(b"-> loose\nAB\n" + STANZA), "base64"),
        (FORGE.header(FORGE.stanza(extra=b" more")), "share"),
        (FORGE.header(FORGE.stanza(share=b64(bytes(31)))), "share"),
        (FORGE.header(FORGE.stanza(share=SHARE[:-1] + b"B")), "base64"),
        (FORGE.header(FORGE.stanza(share=b64(bytes(32)))), "low order"),
        (FORGE.header(FORGE.stanza(file_key=b"a key of twenty-four b.")), "wrong length"),
        (FORGE.header(STANZA, b"-> scrypt bA 10\n" + b64(bytes(32)) + b"\n"), "passphrase"),
        (FORGE.header(b"-> x\n\n" * 20_000), "goes on beyond"),
        (b"x" * 100_000, "goes on beyond"),
    ],
)
def test_malformed_headers_are_refused_in_words(header: bytes, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        AgeReader(io.BytesIO(header), [ME])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_garbage_raises_nothing_but_our_own_error(garbage: bytes, disguised: bool) -> None:
    file = b"age-encryption.org/v1\n-> " + garbage if disguised else garbage
    with pytest.raises(ArchiveError):
        AgeReader(io.BytesIO(file), [ME])


def test_keys_keep_their_text_form_and_the_secret_does_not_show() -> None:
    assert Recipient.parse(str(ME.recipient)) == ME.recipient
    assert Identity.parse(str(ME)) == ME
    assert str(ME)[-20:] not in repr(ME)
    assert ME.raw.hex() not in repr(ME)
    assert repr(ME.raw) not in repr(ME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        str(ME.recipient)[:-1],
        str(ME.recipient)[:-1] + ("q" if str(ME.recipient)[-1] != "q" else "p"),
        str(ME.recipient).upper(),
        str(ME.recipient) + " ",
        str(ME),
        "age1pq1xyz",
        "age1" + "q" * 100_000,
        "ключ",
        str(Recipient(bytes(32))),
    ],
)
def test_a_text_that_is_no_recipient_is_refused_as_a_value_and_as_configuration(text: str) -> None:
    with pytest.raises(BadKeyError) as caught:
        Recipient.parse(text)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ConfigError)


@given(st.text(max_size=120))
def test_no_text_makes_key_parsing_fail_otherwise(text: str) -> None:
    for parse in (Recipient.parse, Identity.parse):
        with pytest.raises(BadKeyError):
            parse(text)


def test_a_bad_identity_is_not_repeated_in_the_error() -> None:
    secret = str(ME)
    with pytest.raises(BadKeyError) as caught:
        Identity.parse(secret[:-1])
    assert secret[20:40] not in str(caught.value)


def identity_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "node.age"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_identity_file_may_have_comments_blank_lines_and_several_keys(tmp_path: Path) -> None:
    path = identity_file(tmp_path, f"# created by hand\n\n{ME}\n  {OTHER}  \r\n")
    assert load_identities(path) == [ME, OTHER]


def test_identity_file_open_to_others_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = identity_file(tmp_path, str(ME), 0o640)
    with pytest.raises(ConfigError, match=rf"chmod 600 {path}"):
        load_identities(path)


@pytest.mark.parametrize(
    ("text", "words"), [("# nothing\n", "no identity"), (f"\n{ME.recipient}\n", "line 2"), ("x" * 70_000, "too large")]
)
def test_identity_file_with_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_identities(identity_file(tmp_path, text))


def test_missing_identity_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_identities(tmp_path / "absent")
    with pytest.raises(ConfigError, match="not a file"):
        load_identities(tmp_path)


def test_open_file_gives_the_whole_clip_or_nothing(tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.mp4.age", tmp_path / "clip.mp4"
    clip.write_bytes(THREE_SEALED)
    assert open_file(clip, out, [ME]) == len(THREE)
    assert out.read_bytes() == THREE
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4.age", "clip.mp4"}


def test_open_file_never_overwrites(tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.mp4.age", tmp_path / "clip.mp4"
    clip.write_bytes(THREE_SEALED)
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        open_file(clip, out, [ME])
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (THREE_SEALED[:-1], "torn"),
        (THREE_SEALED[: THREE_START + SEALED_CHUNK], "torn"),
        (
            THREE_SEALED[: THREE_START + 9]
            + bytes([THREE_SEALED[THREE_START + 9] ^ 1])
            + THREE_SEALED[THREE_START + 10 :],
            "damaged",
        ),
        (sealed(b"x", [OTHER.recipient]), "somebody else"),
        (b"", "header"),
    ],
)
def test_open_file_leaves_nothing_of_a_bad_clip(tmp_path: Path, content: bytes, words: str) -> None:
    clip = tmp_path / "clip.age"
    clip.write_bytes(content)
    with pytest.raises(ArchiveError, match=words):
        open_file(clip, tmp_path / "clip", [ME])
    assert [path.name for path in tmp_path.iterdir()] == ["clip.age"]


def test_open_file_says_which_file_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="absent"):
        open_file(tmp_path / "absent", tmp_path / "out", [ME])
    clip = tmp_path / "clip.age"
    clip.write_bytes(THREE_SEALED)
    with pytest.raises(ArchiveError, match="nowhere"):
        open_file(clip, tmp_path / "nowhere" / "out", [ME])
