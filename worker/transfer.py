"""Files between a run folder and the object store, hash-checked at both ends."""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from domain.errors import ChecksumMismatch, Unavailable
from domain.store import ObjectStore, read_sha256
from vader_core.lines import File

Result = TypeVar("Result")
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 5.0
_LESS_KNOWN_TYPES = {".safetensors": "application/octet-stream", ".md": "text/markdown"}


def send(store: ObjectStore, key: str, path: Path, announced: File) -> None:
    """Stores `path` under `key`. Raises `ChecksumMismatch` for a file that is not as announced."""
    try:
        store.put_file(key, path, sha256=announced.sha256, content_type=content_type(path))
    except FileNotFoundError:
        raise ChecksumMismatch(f"The file {announced.path} is gone.") from None


def send_and_read_back(store: ObjectStore, key: str, path: Path, announced: File) -> None:
    """`send`, then every byte read again: what is published must be what was trained."""
    send(store, key, path, announced)
    if read_sha256(store, key) != announced.sha256:
        raise ChecksumMismatch(f"The store returns other bytes for {announced.path}.")


def while_away(action: Callable[[], Result], *, give_up: Callable[[], bool]) -> Result:
    """`action()`, again and again while the store is away. Raises `Unavailable` once `give_up()`."""
    pause_s = FIRST_RETRY_S
    while True:
        try:
            return action()
        except Unavailable:
            if give_up():
                raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)


def inside(folder: Path, relative: str) -> Path:
    """`relative` below `folder`. Raises `ChecksumMismatch` for a path that leads out of it."""
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ChecksumMismatch(f"The path {relative!r} leads out of the run folder.")
    return path


def content_type(path: Path) -> str:
    known = _LESS_KNOWN_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return known or "application/octet-stream"
