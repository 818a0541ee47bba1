"""The object store as a folder, for one machine. The API serves its links.

Objects appear by rename after an fsync, so a crash leaves old or new and never half. Links carry an
expiry and an HMAC over key, expiry and file name.
"""

from __future__ import annotations

import errno
import hmac
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode
from uuid import uuid4

from domain.errors import ArtifactExpired, NotFound, Unavailable
from domain.objects import Stat, checked_key, demand_sha256, missing, sha256_of

_OBJECTS = "objects"
_STAGED = "staged"
_ABANDONED_S = 24 * 3600


class FolderStore:
    """See `domain.store.ObjectStore`."""

    def __init__(self, folder: Path, *, public_url: str, secret: bytes) -> None:
        self._objects, self._staged = folder / _OBJECTS, folder / _STAGED
        self._public_url = public_url.rstrip("/")
        self._secret = hmac.digest(secret, b"object-links", "sha256")

    def put_file(self, key: str, path: Path, *, sha256: str, content_type: str) -> None:
        with path.open("rb") as source, self._staging() as staged:
            with staged.open("wb") as target:
                demand_sha256(sha256_of(source, copy_to=target), sha256, key=key)
                _to_disk(target)
            self._appear(staged, key)

    def put_if_absent(self, key: str, data: bytes, *, content_type: str) -> bool:
        place = self._place(key)
        with self._staging() as staged:
            with staged.open("wb") as target:
                target.write(data)
                _to_disk(target)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(staged, place)
            except FileExistsError:
                return False
            _folder_to_disk(place.parent)
        return True

    def open(self, key: str) -> BinaryIO:
        try:
            return self._place(key).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise missing(key) from None

    def read(self, key: str, *, start: int, size: int) -> bytes:
        with self.open(key) as stream:
            stream.seek(start)
            return stream.read(size)

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        staged = path.with_name(f".{path.name}.{uuid4().hex}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.open(key) as source, staged.open("wb") as target:
                demand_sha256(sha256_of(source, copy_to=target), sha256, key=key)
                _to_disk(target)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)

    def stat(self, key: str) -> Stat | None:
        try:
            with self.open(key) as stream:
                return Stat(os.fstat(stream.fileno()).st_size, sha256_of(stream))
        except ArtifactExpired:
            return None

    def delete(self, key: str) -> None:
        self._place(key).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[str]:
        # Below the last whole part of the prefix: other jobs' folders need no look.
        top = self._objects / prefix.rpartition("/")[0]
        found = (path for path in top.rglob("*") if path.is_file())
        keys = (path.relative_to(self._objects).as_posix() for path in found)
        yield from sorted(key for key in keys if key.startswith(prefix))

    def link(self, key: str, *, filename: str, ttl_s: int) -> str:
        expires = int(time.time()) + ttl_s
        signature = self._signature(key, expires=expires, filename=filename)
        query = urlencode({"exp": expires, "filename": filename, "sig": signature})
        return f"{self._public_url}/v1/objects/{quote(checked_key(key))}?{query}"

    def check_link(self, key: str, *, exp: int, sig: str, filename: str) -> Path:
        """The file that a link leads to, for the API to send.

        Raises `NotFound` when the link was not made by `link`, `ArtifactExpired` when it is too old or the
        file is gone.
        """
        wanted = self._signature(key, expires=exp, filename=filename)
        if not hmac.compare_digest(wanted.encode(), sig.encode(errors="replace")):
            raise NotFound("This link is not one that the service gave.")
        if exp < time.time():
            raise ArtifactExpired("This link is too old: ask for a new one.")
        place = self._place(key)
        if not place.is_file():
            raise missing(key)
        return place

    def check(self) -> None:
        try:
            with self._staging() as staged:
                staged.touch()
        except OSError as error:
            raise Unavailable("The object store's folder cannot be written.") from error

    def prepare(self) -> None:
        self._objects.mkdir(parents=True, exist_ok=True)
        self._staged.mkdir(parents=True, exist_ok=True)
        # What processes left there that were killed while they wrote.
        for path in self._staged.iterdir():
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                path.unlink(missing_ok=True)

    def _place(self, key: str) -> Path:
        return self._objects / checked_key(key)

    def _signature(self, key: str, *, expires: int, filename: str) -> str:
        signed = "\n".join([key, str(expires), filename]).encode(errors="replace")
        return hmac.digest(self._secret, signed, "sha256").hex()

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """A path of its own on the same file system; what is left there is removed."""
        self._staged.mkdir(parents=True, exist_ok=True)
        staged = self._staged / uuid4().hex
        try:
            yield staged
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}:
                raise Unavailable("The object store's folder cannot be written.") from error
            raise
        finally:
            staged.unlink(missing_ok=True)

    def _appear(self, staged: Path, key: str) -> None:
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(place)
        _folder_to_disk(place.parent)


def _to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _folder_to_disk(folder: Path) -> None:
    """A rename lasts only once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
