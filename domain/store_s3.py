"""The object store on S3 or a server that speaks it. Credentials come from boto3's own chain.

The sha256 travels as the object's metadata, and as its checksum where the server verifies one. ETags
are never taken for hashes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote
from uuid import uuid4

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from domain.errors import Unavailable
from domain.objects import Stat, checked_key, demand_sha256, missing, sha256_of

_GONE = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_PAST_THE_END = {"InvalidRange", "416"}
_LISTED_AT_ONCE = 1000


class S3Store:
    """See `domain.store.ObjectStore`. Thread-safe, as boto3's clients are."""

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str,
        region: str,
        endpoint_url: str | None,
        public_endpoint_url: str | None,
    ) -> None:
        self._bucket, self._prefix, self._region = bucket, prefix, region
        self._client = _client(region, endpoint_url)
        public = public_endpoint_url or endpoint_url
        self._signer = self._client if public == endpoint_url else _client(region, public)

    def put_file(self, key: str, path: Path, *, sha256: str, content_type: str) -> None:
        with path.open("rb") as stream:
            demand_sha256(sha256_of(stream), sha256, key=key)
        extra = {
            "ContentType": content_type,
            "Metadata": {"sha256": sha256},
            "ChecksumAlgorithm": "SHA256",
        }
        # One thread: an upload must not take the processor from the training beside it.
        config = TransferConfig(use_threads=False)
        with _reachable(key):
            self._client.upload_file(
                str(path), self._bucket, self._name(key), ExtraArgs=extra, Config=config
            )

    def put_if_absent(self, key: str, data: bytes, *, content_type: str) -> bool:
        try:
            with _reachable(key):
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._name(key),
                    Body=data,
                    ContentType=content_type,
                    Metadata={"sha256": hashlib.sha256(data).hexdigest()},
                    ChecksumAlgorithm="SHA256",
                    IfNoneMatch="*",
                )
        except ClientError as error:
            if _code(error) in _TAKEN:
                return False
            raise
        return True

    def open(self, key: str) -> BinaryIO:
        with _reachable(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._name(key))
        return cast(BinaryIO, answer["Body"])

    def read(self, key: str, *, start: int, size: int) -> bytes:
        wanted = f"bytes={start}-{start + size - 1}"
        try:
            with _reachable(key):
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=self._name(key), Range=wanted
                )
                with closing(answer["Body"]) as body:
                    return cast(bytes, body.read())
        except ClientError as error:
            if _code(error) in _PAST_THE_END:
                return b""
            raise

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        staged = path.with_name(f".{path.name}.{uuid4().hex}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.open(key) as source, staged.open("wb") as target, _reachable(key):
                demand_sha256(sha256_of(source, copy_to=target), sha256, key=key)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)

    def stat(self, key: str) -> Stat | None:
        name = self._name(key)
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=name)
        except ClientError as error:
            if _code(error) in _GONE:
                return None
            raise Unavailable(f"The object store refused: {_code(error)}.") from error
        except BotoCoreError as error:
            raise _unreachable() from error
        return Stat(int(answer["ContentLength"]), answer["Metadata"].get("sha256", ""))

    def delete(self, key: str) -> None:
        with _reachable(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def list(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket,
            Prefix=self._prefix + prefix,
            PaginationConfig={"PageSize": _LISTED_AT_ONCE},
        )
        with _reachable(prefix):
            for page in pages:
                for found in page.get("Contents", []):
                    yield found["Key"].removeprefix(self._prefix)

    def link(self, key: str, *, filename: str, ttl_s: int) -> str:
        params = {
            "Bucket": self._bucket,
            "Key": self._name(key),
            "ResponseContentDisposition": _saved_as(filename),
        }
        url: str = self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=ttl_s)
        return url

    def check(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except (ClientError, BotoCoreError) as error:
            raise Unavailable("The object store's bucket cannot be reached now.") from error

    def prepare(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in {*_GONE, "NoSuchBucket"}:
                raise Unavailable(f"The object store refused: {_code(error)}.") from error
            # S3 itself refuses its default region as a constraint.
            constraint = {"LocationConstraint": self._region}
            where = {} if self._region == "us-east-1" else {"CreateBucketConfiguration": constraint}
            self._client.create_bucket(Bucket=self._bucket, **where)

    def _name(self, key: str) -> str:
        return self._prefix + checked_key(key)


def _client(region: str, endpoint_url: str | None) -> Any:
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 4},
        signature_version="s3v4",
        # A server of one's own seldom has a host name for every bucket.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
    )
    return boto3.client("s3", region_name=region, endpoint_url=endpoint_url, config=config)


@contextmanager
def _reachable(key: str) -> Iterator[None]:
    """Turns what boto3 raises into the store's errors; a failed condition or range stays as it is."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _GONE:
            raise missing(key) from None
        if _code(error) in _TAKEN | _PAST_THE_END:
            raise
        raise Unavailable(f"The object store refused: {_code(error)}.") from error
    except (BotoCoreError, Boto3Error) as error:
        raise _unreachable() from error


def _saved_as(filename: str) -> str:
    """The header for a download under this name: in ASCII, and whole as RFC 8187 has it."""
    plain = re.sub(r"[^ -~]|[\"\\%]", "_", filename)
    whole = quote(filename.encode(errors="replace"), safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unreachable() -> Unavailable:
    return Unavailable("The object store cannot be reached now.")
