"""Sends what the trainer logs to the database while it runs, so that its log can be read meanwhile."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from domain import logs
from worker.lease import Lease, LeaseLost

log = logging.getLogger(__name__)

LOOK_S = 2.0
CLOSE_S = 5.0
PIECE_BYTES = 64 * 1024
_FIRST_OF_SEVERAL = 0xC0


class LiveLog:
    """Within the block, what is added to the file `path` is written to the job's record in pieces.

    Pieces end with a line where there is one, and never within a character. What is there at the end of
    the block is sent too. A lost lease ends it: the attempt's own writes tell of that.
    """

    def __init__(self, lease: Lease, path: Path, *, look_s: float = LOOK_S) -> None:
        self._lease, self._path, self._look_s = lease, path, look_s
        self._sent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="live-log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._over.set()
        # Not for ever: the database may be away, and the whole log is stored after this.
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        try:
            while not self._over.wait(self._look_s):
                self._send(whole=False)
            self._send(whole=True)
        except LeaseLost:
            return
        except Exception:
            # Nothing else depends on the live log.
            log.exception("%s: its live log ends here", self._lease.name)

    def _send(self, *, whole: bool) -> None:
        with self._path.open("rb") as file:
            file.seek(self._sent)
            while piece := file.read(PIECE_BYTES):
                piece = _cut(piece, whole=whole and len(piece) < PIECE_BYTES)
                if not piece:
                    return
                self._lease.write(logs.append, start=self._sent, body=piece)
                self._sent += len(piece)
                file.seek(self._sent)


def _cut(piece: bytes, *, whole: bool) -> bytes:
    """What of `piece` can be sent now: up to its last line's end; all of it if `whole` or very long."""
    if whole:
        return piece
    end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
    if end == 0 and len(piece) == PIECE_BYTES:
        # One long line. A character has four bytes at most, the first of which is at least 0xC0.
        starts = (n for n in range(1, 5) if piece[-n] >= _FIRST_OF_SEVERAL)
        return piece[: -next(starts, 0) or None]
    return piece[:end]
