"""The trainer's process tree: start, read its lines, stop, kill. Knows nothing of jobs' rows.

The trainer runs under a keeper (`worker.keeper`) in a session of its own, with a marker in its
environment by which `worker.orphans` finds whatever may be left of it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from vader_core.lines import AnyLine, parse
from vader_core.present_budget import Ceilings, write_ceilings
from vader_core.run_folder import BUDGET_FILE
from worker import keeper, orphans

log = logging.getLogger(__name__)
KEEPER_PATIENCE_S = 2.0


class TrainerProcess:
    """One running trainer. `on_line` is called in the reading thread, once for every line."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log_path: Path,
        environment: Mapping[str, str],
        mark: orphans.Mark,
        on_line: Callable[[AnyLine], None],
    ) -> None:
        self.folder, self.mark = folder, mark
        self._on_line = on_line
        self._log = log_path.open("ab")
        self._log_size = 0
        self._alive_at = time.monotonic()
        self._keeper = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "worker.keeper", str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**environment, **mark.environment()},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="trainer-lines", daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """None while it runs, then its exit status (128 + n: ended by signal n), all lines read."""
        status = self._keeper.poll()
        if status is None:
            return None
        if self._reader.is_alive():
            # Usually it reads the last lines. If the keeper was killed, orphans may hold the pipe open.
            orphans.kill_marked(self.mark)
            return None
        return status if status >= 0 else 128 - status

    def quiet_s(self) -> float:
        """Seconds since the last sign of life: a line, or (as seen by these calls) a grown log."""
        size = os.fstat(self._log.fileno()).st_size
        if size != self._log_size:
            self._log_size, self._alive_at = size, time.monotonic()
        return time.monotonic() - self._alive_at

    def ask_to_stop(self, reason: str) -> None:
        """Writes stop.json: the trainer ends between steps, as a normal end with that reason."""
        staged = self.folder / "tmp-stop.json"
        staged.write_text(json.dumps({"reason": reason}), encoding="utf-8")
        staged.replace(self.folder / "stop.json")

    def take_back_stop(self) -> None:
        """Removes stop.json. A trainer that has gone by it already evaluates, and then looks again."""
        (self.folder / "stop.json").unlink(missing_ok=True)

    def tell_budget(self, ceilings: Ceilings) -> None:
        """Writes budget.json: the trainer goes by it from its next step on."""
        write_ceilings(self.folder / BUDGET_FILE, ceilings)

    def interrupt(self) -> None:
        """SIGTERM: the trainer writes a checkpoint between steps and exits with status 3."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the whole tree and waits until nothing of it is left. Any thread; any number of times."""
        self._signal(keeper.KILL_TREE)
        try:
            self._keeper.wait(KEEPER_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        orphans.kill_marked(self.mark)

    def close(self) -> None:
        """Kills what is left and closes the log."""
        self.kill()
        self._reader.join()
        self._log.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._keeper.poll() is None:
            self._keeper.send_signal(number)

    def _read(self) -> None:
        stream: IO[bytes] | None = self._keeper.stdout
        assert stream is not None
        with stream:
            for raw in stream:
                self._alive_at = time.monotonic()
                try:
                    line = parse(raw.decode(errors="replace"))
                except ValidationError:
                    # A library's stray print must not end a run of hours: it belongs in the log.
                    os.write(self._log.fileno(), raw)
                    continue
                self._on_line(line)
