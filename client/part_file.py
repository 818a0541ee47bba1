"""A file on its way: written beside its place, hashed as it grows, moved there only when right."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from client.errors import DownloadCorrupt, FileUnusable
from client.models import File


class PartFile:
    """What there is of `file` so far, in a `.part` file that outlives a download that broke off.

    Its name holds a part of the sha256, so nobody goes on with the beginning of another file. All methods
    may raise OSError.
    """

    def __init__(self, file: File, to: Path) -> None:
        self.size = 0
        self._file, self._to = file, to
        self._path = to.with_name(f"{to.name}.{file.sha256[:8]}.part")
        self._digest = hashlib.sha256()
        self._sink: BinaryIO | None = None

    def is_done(self) -> bool:
        """Whether the right file is in its place already."""
        if not self._to.is_file() or self._to.stat().st_size != self._file.size_bytes:
            return False
        with self._to.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest() == self._file.sha256

    def begin(self) -> None:
        """Opens the part, with what an earlier download has left of it."""
        self._to.parent.mkdir(parents=True, exist_ok=True)
        self._sink = self._path.open("a+b")
        self._sink.seek(0)
        while chunk := self._sink.read(1 << 20):
            self._digest.update(chunk)
            self.size += len(chunk)
        if self.size >= self._file.size_bytes:
            # Nothing is left to ask for, so it was not moved because it was wrong.
            self.restart()

    def restart(self) -> None:
        """Throws away what there is."""
        assert self._sink is not None
        self._sink.truncate(0)
        self._digest, self.size = hashlib.sha256(), 0

    def write(self, chunk: bytes) -> None:
        """Adds to the end."""
        assert self._sink is not None
        self._sink.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """Moves the whole file to its place. Raises `DownloadCorrupt`, and keeps nothing, if it is wrong."""
        self.close()
        digest, wanted = self._digest.hexdigest(), self._file
        if (digest, self.size) != (wanted.sha256, wanted.size_bytes):
            self._path.unlink(missing_ok=True)
            raise DownloadCorrupt(
                f"{wanted.path}: got {self.size} bytes with sha256 {digest}, the service says "
                f"{wanted.size_bytes} bytes with sha256 {wanted.sha256}. Nothing was kept; try again."
            )
        self._path.replace(self._to)

    def close(self) -> None:
        """Closes the part; an empty one is removed."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None
            if self.size == 0:
                self._path.unlink(missing_ok=True)


def safe_path(path: str) -> Path:
    """`path` as a path below a folder. Raises `FileUnusable` for one that would lead out of it."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise FileUnusable(
            f"The service names a file {path!r}, which would lead out of the folder."
        )
    return Path(*pure.parts)
