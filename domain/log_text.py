"""The text of a log, wherever it lies: the stored file of an attempt that is over, or its pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import BinaryIO

from domain.store import ObjectStore
from domain.tables import Attempt

BLOCK_BYTES = 64 * 1024
TAIL_BYTES = 4 * 2**20
"""How far back from its end a log is looked for its last lines."""


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The stream's bytes block by block; it is closed at their end."""
    with closing(stream):
        while block := stream.read(BLOCK_BYTES):
            yield block


def last_lines(parts: Iterable[bytes], count: int) -> bytes:
    """The last `count` lines of the text in `parts`, as far as they lie in its last 4 MiB."""
    kept = bytearray()
    for part in parts:
        kept += part
        if len(kept) > 2 * TAIL_BYTES:
            del kept[:-TAIL_BYTES]
    end = len(kept) - 1 if kept.endswith(b"\n") else len(kept)
    for _ in range(count):
        end = kept.rfind(b"\n", 0, end)
        if end == -1:
            return bytes(kept)
    return bytes(kept[end + 1 :])


def stored_from(store: ObjectStore, attempt: Attempt, offset: int) -> bytes:
    """What the attempt's stored log holds from byte `offset` on: at most 64 KiB, cut at a line's end.

    Empty at its end. Raises `ArtifactExpired`, `Unavailable`.
    """
    assert attempt.log is not None
    found = store.read(attempt.log["key"], start=offset, size=BLOCK_BYTES)
    if len(found) < BLOCK_BYTES:
        return found
    end = max(found.rfind(b"\n"), found.rfind(b"\r")) + 1
    return found[:end] or found
