"""Sends the trainer's lines: all to stdout, those with figures to metrics.jsonl too. Free of torch."""

from __future__ import annotations

import sys
from pathlib import Path

from vader_core import lines
from vader_core.files import write_whole

Metric = lines.Step | lines.EvaluationDone


class Output:
    """Where a run's lines go. Each is flushed, so that a supervisor never waits for a buffer."""

    def __init__(self, metrics: Path) -> None:
        self._metrics = metrics
        self.last_step = 0

    def emit(self, line: lines.AnyLine) -> None:
        self.last_step = line.step
        text = line.model_dump_json() + "\n"
        if isinstance(line, lines.Step | lines.EvaluationDone):
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(text)
        sys.stdout.write(text)
        sys.stdout.flush()

    def metrics_so_far(self) -> bytes:
        return self._metrics.read_bytes() if self._metrics.exists() else b""

    def go_back_to(self, metrics: bytes) -> None:
        """Makes metrics.jsonl what it was when a checkpoint was written."""
        write_whole(self._metrics, metrics)

    def metric_lines(self) -> list[Metric]:
        """The step and evaluation lines so far, in order."""
        parsed = [lines.parse(text) for text in self.metrics_so_far().decode().splitlines()]
        return [line for line in parsed if isinstance(line, lines.Step | lines.EvaluationDone)]
