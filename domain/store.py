"""The object store: where samples, checkpoints and adapters lie. One interface, a folder and S3.

Every file is stored with the sha256 that was announced for it, and refused when its bytes are others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from domain.objects import Stat, sha256_of
from domain.settings import Settings
from domain.store_folder import FolderStore
from domain.store_s3 import S3Store


class ObjectStore(Protocol):
    """Raises `Unavailable` when the store cannot be reached, `ArtifactExpired` for a missing object."""

    def put_file(self, key: str, path: Path, *, sha256: str, content_type: str) -> None:
        """Stores the file; it appears whole or not at all. Raises `ChecksumMismatch`."""

    def put_if_absent(self, key: str, data: bytes, *, content_type: str) -> bool:
        """Stores a small object unless there is one; whether it did. Of several, one succeeds."""

    def open(self, key: str) -> BinaryIO:
        """A stream of the object's bytes, to be closed by the caller."""

    def read(self, key: str, *, start: int, size: int) -> bytes:
        """At most `size` bytes, at least 1, from byte `start` on; fewer at the end, none past it."""

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Writes the object to `path`, whole or not at all. Raises `ChecksumMismatch`."""

    def stat(self, key: str) -> Stat | None:
        """What is stored under `key`, None for nothing."""

    def delete(self, key: str) -> None:
        """Removes the object, if there is one."""

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`, sorted."""

    def link(self, key: str, *, filename: str, ttl_s: int) -> str:
        """An address from which anybody can download the object for `ttl_s` seconds."""

    def check(self) -> None:
        """Raises `Unavailable` when nothing can be stored."""

    def prepare(self) -> None:
        """Makes the folder or bucket where it is missing."""


def open_store(settings: Settings) -> ObjectStore:
    """The object store at `settings.object_store`."""
    place = settings.store_place
    if place.kind == "folder":
        return FolderStore(
            place.folder,
            public_url=settings.public_url,
            secret=settings.secret_key.get_secret_value().encode(),
        )
    return S3Store(
        place.bucket,
        prefix=place.prefix,
        region=settings.s3_region,
        endpoint_url=settings.s3_endpoint_url,
        public_endpoint_url=settings.s3_public_endpoint_url,
    )


def read_sha256(store: ObjectStore, key: str) -> str:
    """The sha256 of the bytes that the store gives back for `key`."""
    with store.open(key) as stream:
        return sha256_of(stream)
