"""Asking a run to stop: signals and the file stop.json. Looked at between steps and evaluation batches.

SIGTERM and SIGINT ask for an interruption: the run writes a checkpoint and can go on later. The file
`stop.json` ({"reason": ...}) asks for an end: "cancelled" without, any other reason with a final
evaluation. Free of torch, so that a signal during the long imports is not lost.
"""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Literal

from pydantic import ValidationError

from vader_core.strict import Strict

AskedReason = Literal["cancelled", "deadline", "gpu_seconds", "wall_clock", "cost"]
Wish = Literal["interrupted", "cancelled", "deadline", "gpu_seconds", "wall_clock", "cost"]


class StopFile(Strict):
    """What stop.json holds."""

    reason: AskedReason


class Stopped(Exception):
    """Leaves what the run is doing because a stop was asked for; `wish` says which."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(wish)
        self.wish = wish


class StopFlag:
    """What was asked for so far. A signal wins over the file: it leaves the least time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._signalled = False

    def catch_signals(self) -> None:
        """From now on SIGTERM and SIGINT raise the flag instead of ending the process."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

    def wish(self) -> Wish | None:
        """What is asked for now, None when the run may go on."""
        if self._signalled:
            return "interrupted"
        try:
            return StopFile.model_validate_json(self._file.read_bytes()).reason
        except FileNotFoundError:
            return None
        except ValidationError:
            # Caught half-written: it is whole at the next look.
            return None

    def raise_if_asked(self, *, while_finishing: bool = False) -> None:
        """Raises `Stopped`. A run that is finishing leaves only for an interruption or a cancellation."""
        wish = self.wish()
        if wish is None or (while_finishing and wish not in {"interrupted", "cancelled"}):
            return
        raise Stopped(wish)
