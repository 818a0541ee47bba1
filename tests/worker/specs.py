"""Specs and claims for the worker's tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from domain.claims import Claim
from vader_core.spec import JobSpec, spec_hash


def small_spec(**changes: Any) -> JobSpec:
    """A resolved spec of six steps with a checkpoint every second one."""
    document = {
        "base_model": "tiny-unet@1",
        "rewards": [{"reward": "tiny-action@1"}],
        "prompts": {"inline": [{"prompt": "a red circle moving left", "target": "moving left"}]},
        "budget": {"max_steps": 6},
        "checkpoints": {"every_steps": 2},
        "seed": 7,
    }
    return JobSpec.model_validate({**document, **changes})


def a_claim(spec: JobSpec, **changes: Any) -> Claim:
    values: dict[str, Any] = {
        "job_id": uuid4(),
        "project_id": uuid4(),
        "attempt": 1,
        "max_attempts": 3,
        "spec": spec,
        "spec_hash": spec_hash(spec),
        "budget": spec.budget,
        "init_from": None,
        "trace_id": "",
        "created_at": datetime(2026, 11, 23, tzinfo=UTC),
        "spent_gpu_seconds": 0.0,
        "spent_wall_clock_s": 0.0,
        "spent_reward_queries": 0,
        "spent_evaluation_queries": 0,
        "cost_gpu_seconds": None,
        "checkpoints": [],
        "images": [],
    }
    return Claim(**{**values, **changes})
