"""Uploads to a folder, to a real object store (Swift) and, for breadth, nowhere at all."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.config import FolderTarget, S3Target
from edge_agent.errors import UplinkError, UsageError
from edge_agent.uplink import s3
from edge_agent.uplink.targets import upload
from tests.peers.support import free_port
from tests.peers.swift import Swift


def quiet(_done: int, _size: int) -> None: ...


@pytest.fixture
def folder(tmp_path: Path) -> FolderTarget:
    path = tmp_path / "disk"
    path.mkdir()
    return FolderTarget(kind="folder", name="usb", path=str(path))


def names(folder: FolderTarget) -> list[str]:
    return [path.name for path in Path(folder.path).iterdir()]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4.age"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_a_clip_arrives_in_the_folder_whole_with_its_hash(folder: FolderTarget, clip: Path) -> None:
    steps: list[tuple[int, int]] = []
    receipt = upload(folder, clip, "a.mp4.age", lambda done, size: steps.append((done, size)))
    assert Path(receipt.location).read_bytes() == clip.read_bytes()
    assert receipt.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert receipt.size_bytes == 3_000_000
    assert steps[-1] == (3_000_000, 3_000_000)
    assert names(folder) == ["a.mp4.age"]


def test_uploading_the_same_again_succeeds_and_another_of_that_name_is_never_replaced(
    folder: FolderTarget, clip: Path
) -> None:
    first = upload(folder, clip, "a.age", quiet)
    assert upload(folder, clip, "a.age", quiet) == first
    before = clip.read_bytes()
    clip.write_bytes(b"another")
    with pytest.raises(UplinkError, match="already holds another file"):
        upload(folder, clip, "a.age", quiet)
    assert Path(first.location).read_bytes() == before
    assert names(folder) == ["a.age"]


def test_a_missing_folder_is_named_and_never_made(folder: FolderTarget, clip: Path) -> None:
    Path(folder.path).rmdir()
    with pytest.raises(UplinkError, match="is the disk mounted"):
        upload(folder, clip, "a.age", quiet)
    assert not Path(folder.path).exists()


def test_a_disk_that_fills_up_leaves_no_part_behind(folder: FolderTarget, clip: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
        with pytest.raises(UplinkError, match="usb"):
            upload(folder, clip, "a.age", quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert names(folder) == []
    upload(folder, clip, "a.age", quiet)


def test_a_device_without_room_is_said_to_be_full(clip: Path) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.fail("needs /dev/shm")
    free = os.statvfs("/dev/shm")
    huge = clip.with_name("huge")
    with huge.open("wb") as file:
        file.truncate(free.f_bavail * free.f_frsize + (1 << 30))
    with pytest.raises(UplinkError, match="has no room for"):
        upload(FolderTarget(kind="folder", name="shm", path="/dev/shm"), huge, "edge-test.age", quiet)


def test_a_part_left_by_a_killed_upload_does_not_hinder_the_next(folder: FolderTarget, clip: Path) -> None:
    elsewhere = clip.with_name("precious")
    elsewhere.write_text("precious")
    (Path(folder.path) / "a.age.part").symlink_to(elsewhere)
    receipt = upload(folder, clip, "a.age", quiet)
    assert Path(receipt.location).read_bytes() == clip.read_bytes()
    assert elsewhere.read_text() == "precious"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "x.part", "ї.age", "a" * 300, "-rf "])
def test_names_that_are_not_plain_are_refused(folder: FolderTarget, clip: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a name"):
        upload(folder, clip, name, quiet)


def test_a_source_that_is_gone_is_named(folder: FolderTarget, tmp_path: Path) -> None:
    with pytest.raises(UplinkError, match=r"cannot read .*gone"):
        upload(folder, tmp_path / "gone", "a.age", quiet)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with Swift(tmp_path_factory.mktemp("store")) as store:
        store.client().create_bucket(Bucket="clips")
        yield store


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    path = tmp_path / "long.mp4.age"
    path.write_bytes(os.urandom(20_000_000))
    return path


def test_20_mb_arrive_intact_in_parts(store: Swift, long_clip: Path) -> None:
    steps: list[int] = []
    target = store.target("clips", prefix="/released//../2026/")
    receipt = upload(target, long_clip, "long.age", lambda done, _: steps.append(done))
    assert receipt.location == "s3://clips/released/2026/long.age"
    body = store.client().get_object(Bucket="clips", Key="released/2026/long.age")["Body"].read()
    assert body == long_clip.read_bytes()
    assert receipt.sha256 == hashlib.sha256(body).hexdigest()
    assert receipt.etag.endswith("-3")
    assert steps == [8 << 20, 16 << 20, 20_000_000]


def test_a_small_clip_arrives_in_one_piece_and_again_without_harm(store: Swift, clip: Path) -> None:
    first = upload(store.target("clips"), clip, "small.age", quiet)
    assert first.etag == hashlib.md5(clip.read_bytes()).hexdigest()
    assert upload(store.target("clips"), clip, "small.age", quiet) == first
    clip.write_bytes(b"another")
    with pytest.raises(UplinkError, match="already holds another object"):
        upload(store.target("clips"), clip, "small.age", quiet)


def test_wrong_keys_and_a_missing_bucket_are_said_in_words(store: Swift, clip: Path, long_clip: Path) -> None:
    for source in (clip, long_clip):
        for target, words in (
            (store.target("clips", secret_key="wrong"), "check secret_key_file"),
            (store.target("clips", access_key="nobody:nobody"), "does not know the access key|refuses the secret key"),
            (store.target("no-such-bucket"), "the bucket does not exist"),
        ):
            with pytest.raises(UplinkError, match=words):
                upload(target, source, "refused.age", quiet)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts instead of five: the time between them is botocore's and not what is tested."""
    monkeypatch.setattr(s3, "ATTEMPTS", 2)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_not_there_is_said_to_be_unreachable(store: Swift, clip: Path) -> None:
    target = store.target("clips").model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(UplinkError, match="cannot be reached"):
        upload(target, clip, "x.age", quiet)


@pytest.mark.usefixtures("impatient")
def test_a_store_killed_halfway_is_an_error_in_words_and_the_retry_succeeds(store: Swift, long_clip: Path) -> None:
    target = store.target("clips")
    killed = threading.Event()

    def kill_once(_done: int, _size: int) -> None:
        if not killed.is_set():
            killed.set()
            store.kill()

    with pytest.raises(UplinkError, match=r"cannot be reached|broke off"):
        upload(target, long_clip, "halfway.age", kill_once)
    store.start()
    assert unfinished(store, target) == ["halfway.age"]
    receipt = upload(target, long_clip, "halfway.age", quiet)
    body = store.client().get_object(Bucket="clips", Key="halfway.age")["Body"].read()
    assert hashlib.sha256(body).hexdigest() == receipt.sha256
    assert unfinished(store, target) == []


def test_an_upload_that_is_stopped_leaves_no_unfinished_parts(store: Swift, long_clip: Path) -> None:
    class StopError(Exception):
        pass

    def stop(_done: int, _size: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        upload(store.target("clips"), long_clip, "stopped.age", stop)
    assert unfinished(store, store.target("clips")) == []


def unfinished(store: Swift, target: S3Target) -> list[Any]:
    found = store.client().list_multipart_uploads(Bucket=target.bucket)
    return [entry["Key"] for entry in found.get("Uploads", [])]
