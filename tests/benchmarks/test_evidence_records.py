"""From a trainer's lines, or a service's events, to the points that are compared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from benchmarks.evidence import records, through_service
from benchmarks.evidence.through_service import Service
from client.models import AdapterLink, Event, Job
from tests import trainer_lines
from tests.benchmarks.evidence_material import cell
from vader_core.lines import AnyLine

LINES: list[AnyLine] = [
    trainer_lines.evaluation(kind="base", step=0, reward=0.5),
    trainer_lines.step(1, denoiser_forwards=100),
    trainer_lines.step(2, denoiser_forwards=200),
    trainer_lines.evaluation(kind="periodic", step=2, reward=0.55),
    trainer_lines.step(3, denoiser_forwards=300),
    trainer_lines.evaluation(kind="final", step=3, reward=0.6),
]


def used(points: list[records.Point]) -> list[tuple[int, int, int, float]]:
    return [
        (one.used.step, one.used.reward_queries, one.used.denoiser_forwards, one.used.seconds)
        for one in points
    ]


def test_every_evaluation_knows_what_training_had_used_by_then() -> None:
    points = records.points(LINES)
    assert used(points) == [(0, 0, 0, 0.0), (2, 16, 200, 4.0), (3, 24, 300, 6.0)]
    assert [point.heldout_reward for point in points] == [0.5, 0.55, 0.6]


def test_steps_that_were_taken_again_after_a_resume_count_once() -> None:
    again = [*LINES[:4], *LINES[2:]]
    assert records.points(again) == records.points(LINES)


def test_a_run_that_went_back_shows_why_it_stopped_and_what_it_kept() -> None:
    kept = trainer_lines.evaluation(kind="final", step=2, reward=0.58)
    points = records.points([*LINES[:4], kept])
    assert [point.heldout_reward for point in points] == [0.5, 0.55, 0.58]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = records.Record(
        stop_reason="early_stop", error=None, wall_seconds=3.0, points=records.points(LINES)
    )
    records.write(tmp_path, record)
    assert records.read(tmp_path) == record
    assert [file.name for file in tmp_path.iterdir()] == [records.FILE]


class ServiceInMemory:
    """A client whose service has one job that ended well."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], str]] = []
        self._job = Job(
            id="job_1",
            status="succeeded",
            terminal=True,
            stop_reason="completed_steps",
            created_at=trainer_lines.BEGAN,
            started_at=trainer_lines.BEGAN + timedelta(seconds=5),
            finished_at=trainer_lines.BEGAN + timedelta(seconds=65),
            adapter=AdapterLink(id="adp_1"),
        )

    def __enter__(self) -> ServiceInMemory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def create_job(self, spec: dict[str, Any], *, idempotency_key: str) -> Job:
        self.asked.append((spec, idempotency_key))
        return self._job

    def job(self, _job_id: str) -> Job:
        return self._job

    def events(self, job_id: str) -> Iterator[Event]:
        kinds = {"step": "job.metric", "evaluation": "job.evaluation_done"}
        yield Event(job_id=job_id, seq=1, type="job.queued", at=trainer_lines.BEGAN)
        for number, line in enumerate(LINES, start=2):
            yield Event(
                job_id=job_id,
                seq=number,
                type=kinds[line.type],
                at=line.at,
                data=line.model_dump(mode="json"),
            )

    def download_adapter(self, _adapter_id: str, *, to: Path) -> None:
        to.mkdir()


def test_a_job_of_a_service_gives_the_same_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ServiceInMemory()
    monkeypatch.setattr(through_service, "connect", lambda **_where: client)
    one = cell("ddpo")
    service = Service(url="http://x", api_key="k", data_dir=tmp_path)
    record = service(one, tmp_path / one.run)
    assert record is not None
    assert record.points == records.points(LINES)
    assert (record.stop_reason, record.wall_seconds) == ("completed_steps", 60.0)
    assert client.asked == [(one.spec, f"evidence-{one.run}")]
    assert (tmp_path / one.run / "adapter").is_dir()
