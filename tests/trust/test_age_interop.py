"""The files are everybody's: Debian's `age` and the Rust implementation open what the product seals, and back."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pyrage
import pytest

from edge_agent.trust.age import AgeReader, AgeWriter, Identity, load_identities
from tests.trust.support import CHUNK, read_all, sealed

SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17]


def plain_of(size: int) -> bytes:
    return bytes(n % 251 for n in range(size))


@pytest.fixture(scope="module")
def age() -> str:
    found = shutil.which("age")
    assert found, "these tests need the age tool: apt install age"
    return found


def test_age_keygen_file_is_read(age: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    done = subprocess.run([f"{age}-keygen", "-o", path], check=True, capture_output=True, text=True)
    (identity,) = load_identities(path)
    assert str(identity.recipient) in done.stderr + path.read_text()


@pytest.mark.parametrize("size", SIZES)
def test_the_age_tool_opens_what_was_sealed(age: str, tmp_path: Path, size: int) -> None:
    me, other = Identity.generate(), Identity.generate()
    key = tmp_path / "key"
    key.write_text(str(me))
    file = sealed(plain_of(size), [other.recipient, me.recipient], [1000])
    done = subprocess.run([age, "-d", "-i", key], input=file, check=True, capture_output=True)
    assert done.stdout == plain_of(size)


@pytest.mark.parametrize("size", SIZES)
def test_what_the_age_tool_sealed_is_opened(age: str, size: int) -> None:
    me, other = Identity.generate(), Identity.generate()
    command = [age, "-r", str(other.recipient), "-r", str(me.recipient)]
    file = subprocess.run(command, input=plain_of(size), check=True, capture_output=True).stdout
    reader = AgeReader(io.BytesIO(file), [me])
    assert read_all(reader) == plain_of(size)
    assert not reader.torn


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_and_the_product_open_each_other(size: int) -> None:
    me = Identity.generate()
    theirs = pyrage.x25519.Identity.from_str(str(me))
    assert str(theirs.to_public()) == str(me.recipient)
    assert pyrage.decrypt(sealed(plain_of(size), [me.recipient]), [theirs]) == plain_of(size)
    file = pyrage.encrypt(plain_of(size), [pyrage.x25519.Recipient.from_str(str(me.recipient))])
    assert read_all(AgeReader(io.BytesIO(file), [me])) == plain_of(size)


def test_a_muxer_writes_into_it_and_a_demuxer_reads_and_seeks_in_it() -> None:
    me, out = Identity.generate(), io.BytesIO()
    writer = AgeWriter(out, [me.recipient])
    options = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
    with av.open(writer, "w", format="mp4", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.gop_size = 160, 120, 10
        noise = np.random.default_rng(1)
        for _ in range(50):
            picture = noise.integers(0, 255, (120, 160, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    writer.finish()
    assert len(out.getvalue()) > 3 * CHUNK, "the film should span several chunks"
    with av.open(AgeReader(io.BytesIO(out.getvalue()), [me]), "r") as film:
        assert len([packet for packet in film.demux(video=0) if packet.size]) == 50
        film.seek(3_000_000)  # microseconds, without a stream
        assert next(iter(film.decode(video=0))).time == pytest.approx(3.0)
