"""Uploads to an S3 bucket; the one file that imports boto3.

One part at a time (bounded memory, and an LTE link gains nothing from more), each with its Content-MD5, so that the
store itself refuses a damaged part.  After the last one the store is asked what it holds.  A failed upload is aborted,
and what an earlier, killed one left of the same object is cleared first: unfinished parts cost money unseen.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as failures
from botocore.config import Config as BotoConfig

from edge_agent.config import S3Target
from edge_agent.errors import UplinkError
from edge_agent.toml_file import read_secret
from edge_agent.uplink.targets import Progress, UploadReceipt, file_sha256

S3Client = Any
"""boto3 makes its clients' classes at run time."""

log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
MAX_PARTS = 10_000
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, ATTEMPTS = 15, 60, 5
CONTENT_TYPE = "application/octet-stream"

_WORDS = {
    "InvalidAccessKeyId": "the store does not know the access key; check access_key_file",
    "SignatureDoesNotMatch": "the store refuses the secret key; check secret_key_file",
    "AccessDenied": "the store says that these keys may not write here; check the keys and the bucket's policy",
    "NoSuchBucket": "the bucket does not exist; create it or correct `bucket`",
    "RequestTimeTooSkewed": "the node's clock differs too much from the store's; set the clock",
    "EntityTooLarge": "the file is larger than the store takes",
    "QuotaExceeded": "the store's quota is used up",
    "BadDigest": "the data was damaged on its way; try again",
    "InvalidDigest": "the data was damaged on its way; try again",
    "SlowDown": "the store is busy; try again later",
    "ServiceUnavailable": "the store is not available now; try again later",
    "InternalError": "the store has failed; try again later",
}


def to_bucket(target: S3Target, source: Path, name: str, progress: Progress) -> UploadReceipt:
    """Upload and verify; UplinkError in words otherwise, with nothing left behind that can be cleared."""
    with _words(target):
        try:
            size = source.stat().st_size
            sha256 = file_sha256(source)
        except OSError as error:
            raise UplinkError(f"target {target.name}: cannot read {source}: {error.strerror}") from error
        client = _client(target, read_secret(target.access_key_file), read_secret(target.secret_key_file))
        return _Upload(client, target, source, _key(target.prefix, name), size, sha256, progress).run()


class _Upload:
    """One object on its way."""

    def __init__(
        self, client: S3Client, target: S3Target, source: Path, key: str, size: int, sha256: str, progress: Progress
    ) -> None:
        self._client, self._target, self._source, self._progress = client, target, source, progress
        self._size, self._sha256 = size, sha256
        self._where: dict[str, Any] = {"Bucket": target.bucket, "Key": key}
        self._about: dict[str, Any] = {"Metadata": {"sha256": sha256}, "ContentType": CONTENT_TYPE}

    def run(self) -> UploadReceipt:
        held = self._head()
        if held is not None:
            if held.get("Metadata", {}).get("sha256") != self._sha256 or held.get("ContentLength") != self._size:
                raise UplinkError(f"{self._location} already holds another object; nothing was changed")
            self._progress(self._size, self._size)
            return self._receipt(str(held.get("ETag", "")))
        etag = self._put_whole() if self._size <= PART_BYTES else self._put_in_parts()
        self._verify(etag)
        return self._receipt(etag)

    @property
    def _location(self) -> str:
        return f"s3://{self._target.bucket}/{self._where['Key']}"

    def _receipt(self, etag: str) -> UploadReceipt:
        return UploadReceipt(self._location, self._size, self._sha256, etag.strip('"'))

    def _put_whole(self) -> str:
        body = self._source.read_bytes()
        md5 = _md5(body)
        answer = self._client.put_object(**self._where, **self._about, Body=body, ContentMD5=_base64(md5))
        self._progress(self._size, self._size)
        return self._same(answer, md5.hex())

    def _put_in_parts(self) -> str:
        self._clear_leftovers()
        upload_id = self._client.create_multipart_upload(**self._where, **self._about)["UploadId"]
        part_bytes = max(PART_BYTES, -(-self._size // MAX_PARTS))
        try:
            parts: list[Any] = []
            md5s = b""
            done = 0
            with self._source.open("rb") as reader:
                while body := reader.read(part_bytes):
                    number = len(parts) + 1
                    md5 = _md5(body)
                    answer = self._client.upload_part(
                        **self._where, UploadId=upload_id, PartNumber=number, Body=body, ContentMD5=_base64(md5)
                    )
                    parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                    md5s += md5
                    done += len(body)
                    self._progress(done, self._size)
            if done != self._size:
                raise UplinkError(f"{self._source} changed while it was uploaded: {done} bytes instead of {self._size}")
            answer_whole = self._client.complete_multipart_upload(
                **self._where, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
            return self._same(answer_whole, f"{_md5(md5s).hex()}-{len(parts)}")
        except BaseException:
            self._abort(upload_id)
            raise

    def _same(self, answer: Any, expected: str) -> str:
        """The ETag; where the store makes it of MD5s, as most do, it must be ours."""
        etag = str(answer.get("ETag", "")).strip('"')
        encrypted = "aws:kms" in str(answer.get("ServerSideEncryption", ""))
        same_form = re.fullmatch(r"[0-9a-f]{32}(-\d+)?", etag) and ("-" in etag) == ("-" in expected)
        if same_form and not encrypted and etag != expected:
            raise UplinkError(f"{self._location}: the store holds something else (ETag {etag} instead of {expected})")
        return etag

    def _verify(self, etag: str) -> None:
        held = self._head()
        if held is None:
            # A key that may write but not look: the parts' checksums are what there is to go by.
            log.info("%s: the store does not let this key look at what it wrote", self._location)
            return
        if held.get("ContentLength") != self._size or str(held.get("ETag", "")).strip('"') != etag:
            raise UplinkError(
                f"{self._location}: the store holds {held.get('ContentLength')} of {self._size} bytes; try again"
            )

    def _head(self) -> dict[str, Any] | None:
        """What the store holds under this key; None when nothing, or when this key may not look."""
        try:
            return dict(self._client.head_object(**self._where))
        except failures.ClientError as error:
            if _status(error) in (403, 404):
                return None
            raise

    def _clear_leftovers(self) -> None:
        """Unfinished uploads of this very object; a key that may not list them is no reason to stop."""
        with suppress(failures.ClientError):
            found = self._client.list_multipart_uploads(Bucket=self._target.bucket, Prefix=self._where["Key"])
            for entry in found.get("Uploads", []):
                if entry.get("Key") == self._where["Key"] and "UploadId" in entry:
                    self._client.abort_multipart_upload(**self._where, UploadId=entry["UploadId"])

    def _abort(self, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(**self._where, UploadId=upload_id)
        except (failures.BotoCoreError, failures.ClientError) as error:
            log.warning("%s: the unfinished upload stays until the next attempt (%s)", self._location, error)


def _client(target: S3Target, access_key: str, secret_key: str) -> S3Client:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=target.endpoint,
        region_name=target.region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=BotoConfig(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # Newer checksums by trailer are refused by stores that speak the older S3; Content-MD5 all understand.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _key(prefix: str, name: str) -> str:
    steps = [step for step in prefix.split("/") if step not in ("", ".", "..")]
    return "/".join([*steps, name])


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _status(error: failures.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def _words(target: S3Target) -> Iterator[None]:
    where = f"target {target.name} ({urlsplit(target.endpoint).netloc}, bucket {target.bucket})"
    try:
        yield
    except failures.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "?")
        words = _WORDS.get(code, f"the store answers {_status(error)} {code}")
        raise UplinkError(f"{where}: {words}") from error
    except failures.SSLError as error:
        raise UplinkError(f"{where}: the store's certificate is not trusted ({error})") from error
    except (failures.ConnectTimeoutError, failures.ReadTimeoutError) as error:
        raise UplinkError(
            f"{where}: the store does not answer in time; try again when the network is better"
        ) from error
    except failures.EndpointConnectionError as error:
        raise UplinkError(f"{where}: cannot be reached; is the network there, is `endpoint` right?") from error
    except (failures.HTTPClientError, failures.BotoCoreError) as error:
        raise UplinkError(f"{where}: the upload broke off ({type(error).__name__}); try again") from error
