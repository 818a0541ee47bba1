"""Answers of the service in their least form."""

from __future__ import annotations

from collections.abc import Mapping

JOB_ID = "job_01kax4b7c8d9e0f1g2h3j4k5m6"


def job_body(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "id": JOB_ID,
        "status": "queued",
        "phase": "queued",
        "terminal": False,
        "created_at": "2026-11-23T10:00:00Z",
    }
    return {**body, **changes}


def event_body(
    seq: int,
    kind: str,
    *,
    at: str = "2026-11-23T10:00:00Z",
    step: int | None = None,
    data: Mapping[str, object] | None = None,
) -> dict[str, object]:
    return {
        "id": f"evt_{seq}",
        "job_id": JOB_ID,
        "seq": seq,
        "type": f"job.{kind}",
        "at": at,
        "step": step,
        "data": data or {},
    }
