"""The same trainings as ordinary jobs of a running service, over its public API alone."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.evidence import records
from benchmarks.evidence.cells import Cell
from benchmarks.evidence.records import Record
from client import VaderClient
from client.credentials import connect
from vader_core.lines import AnyLine, parse

_WITH_FIGURES = ("job.metric", "job.evaluation_done")


class Service:
    """Trains a cell by a job. Jobs are named to the service by their cell, so that a cell which is asked for
    again is waited for and not trained twice."""

    def __init__(self, *, url: str | None, api_key: str | None, data_dir: Path) -> None:
        self._url, self._api_key, self._data_dir = url, api_key, data_dir

    def __call__(self, cell: Cell, run: Path) -> Record | None:
        """What the job showed once it has ended; its adapter lies in `run`. Raises `VaderError`."""
        with connect(url=self._url, api_key=self._api_key, data_dir=self._data_dir) as client:
            return _train(client, cell, run)

    def stop(self) -> None:
        """Jobs go on without anyone who waits for them."""


def _train(client: VaderClient, cell: Cell, run: Path) -> Record:
    job = client.create_job(cell.spec, idempotency_key=f"evidence-{cell.run}")
    lines: list[AnyLine] = [
        parse(json.dumps(event.data))
        for event in client.events(job.id)
        if event.type in _WITH_FIGURES
    ]
    job = client.job(job.id)
    run.mkdir(parents=True, exist_ok=True)
    if job.adapter is not None:
        client.download_adapter(job.adapter.id, to=run / "adapter")
    started, ended = job.started_at or job.created_at, job.finished_at or job.created_at
    return Record(
        stop_reason=job.stop_reason,
        error=f"{job.error.code}: {job.error.message}" if job.error else None,
        wall_seconds=(ended - started).total_seconds(),
        points=records.points(lines),
    )
