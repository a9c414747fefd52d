"""Pictures of alarms: marked, sealed to the dispatchers, opened by them alone; kept as files by their moment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.desk.pictures import Pictures
from edge_agent.errors import ArchiveError
from edge_agent.model import Moment
from edge_agent.trust.age import Identity
from edge_agent.trust.keys import write_secret_file
from edge_agent.uplink.alarm_pictures import SEALED, marked, moment_of, open_sealed, seal

PLACE = ("town", "n1", "gate", "a1")


def jpeg() -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (90, 160, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", noise)[1].tobytes())


def shown(picture: bytes) -> bytes:
    decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return bytes(decoded.tobytes())


def test_a_marked_picture_says_what_it_shows_and_is_the_same_picture() -> None:
    plain = jpeg()
    for moment in Moment:
        picture = marked(plain, "a1", moment)
        assert moment_of(picture, "a1") == moment
        assert moment_of(picture, "a2") == ""
        assert shown(picture) == shown(plain)
    assert moment_of(plain, "a1") == ""


@given(st.binary(max_size=200).map(lambda tail: b"\xff\xd8\xff\xfe" + tail) | st.binary(max_size=200))
def test_no_garbage_is_a_moment(garbage: bytes) -> None:
    assert moment_of(garbage, "a1") == ""


def test_a_sealed_picture_opens_with_age_and_only_with_the_right_key(tmp_path: Path) -> None:
    first, second, stranger = (Identity.generate() for _ in range(3))
    picture = marked(jpeg(), "a1", Moment.START)
    sealed = seal(picture, [first.recipient, second.recipient])
    assert sealed.startswith(SEALED)
    assert len(sealed) - len(picture) < 500
    for number, identity in enumerate((first, second, stranger)):
        key = tmp_path / f"{number}.age"
        write_secret_file(key, f"{identity}\n".encode())
        opened = subprocess.run(
            ["age", "-d", "-i", str(key)], input=sealed, capture_output=True, check=False, timeout=30
        )
        assert (opened.returncode == 0) == (identity is not stranger)
        assert opened.stdout == (b"" if identity is stranger else picture)
    assert open_sealed(sealed, [second]) == picture


def test_what_age_seals_the_desk_opens(tmp_path: Path) -> None:
    identity, picture = Identity.generate(), marked(jpeg(), "a1", Moment.BEST)
    sealed = subprocess.run(
        ["age", "-r", str(identity.recipient)], input=picture, capture_output=True, check=True, timeout=30
    ).stdout
    path = Pictures(tmp_path, identities=[identity]).save(*PLACE, sealed)
    assert (path.name, path.read_bytes()) == ("town.n1.gate.a1.best.jpg", picture)


def test_pictures_of_an_alarm_are_kept_by_their_moments(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path)
    for moment in (*Moment, Moment.UPDATE):
        pictures.save(*PLACE, marked(jpeg(), "a1", moment))
    pictures.save(*PLACE, jpeg())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"town.n1.gate.a1{moment}.jpg" for moment in (".best", ".end", "", ".start", ".update")]


def test_a_picture_for_somebody_else_is_kept_sealed(tmp_path: Path) -> None:
    mine, other = Identity.generate(), Identity.generate()
    sealed = seal(jpeg(), [other.recipient])
    path = Pictures(tmp_path, identities=[mine]).save(*PLACE, sealed)
    assert path.name.endswith(".jpg.age")
    assert path.read_bytes() == sealed
    assert open_sealed(path.read_bytes(), [other]) == jpeg()


@pytest.mark.parametrize("spoil", ["torn", "changed", "no picture"])
def test_a_sealed_picture_that_is_not_whole_is_not_kept(tmp_path: Path, spoil: str) -> None:
    identity = Identity.generate()
    sealed = seal(b"<svg/>" if spoil == "no picture" else jpeg(), [identity.recipient])
    if spoil == "torn":
        sealed = sealed[:-20]
    if spoil == "changed":
        sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(ArchiveError):
        Pictures(tmp_path, identities=[identity]).save(*PLACE, sealed)
    assert list(tmp_path.iterdir()) == []


def test_without_recipients_a_picture_goes_as_it_is() -> None:
    assert seal(jpeg(), []) == jpeg()
